"""Several processes that train one model together, as torchrun starts them: the only home of torch.distributed.

Every process runs the same program on its share of each batch; process 0 alone writes files and talks. A process that
was started by itself is alone: then torch.distributed is not initialised, and what is here changes nothing.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed import Store, TCPStore, rendezvous  # type: ignore[attr-defined]

from fader.devices import find_device
from fader.errors import CommonError, Interrupted, ProcessLostError, UserError
from fader.networks.blocks import Network
from fader.parallel import rank_and_count
from fader.progress import console

Result = TypeVar("Result")

MEETING_TIMEOUT = timedelta(minutes=5)  # For processes that start later than others.
STEP_TIMEOUT = timedelta(minutes=10)  # For a process that hangs. One that ends is noticed at once.
WAIT_TIMEOUT = timedelta(days=2)  # For what process 0 does alone, such as training a classifier.

_patient: Any = None  # The process group with WAIT_TIMEOUT; its tensors are on the CPU, so that no GPU waits for it.


def count() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Which of them this one is, from 0."""
    return dist.get_rank() if count() > 1 else 0


def silence_all_but_one() -> None:
    """Leave it to the first process of each machine to say what all of it come upon before they join."""
    console.quiet = int(os.environ.get("LOCAL_RANK", "0")) > 0


@contextmanager
def joined(device: str) -> Iterator[torch.device]:
    """Within the block this process trains together with those that torchrun started beside it; it gets its device.

    That is what `find_device` finds, and with several processes a GPU each, or the CPU.

    Raises UserError if there is no such device or if the processes do not find each other, and ProcessLostError if one
    of them ends before the block does.
    """
    if rank_and_count()[1] == 1:
        yield find_device(device)
        return
    own = _own_device(device)
    console.quiet = False
    _meet(own)
    console.quiet = rank() > 0
    try:
        with _with_the_others(dist.DistError):  # Of torch's own exchanges, such as nn.SyncBatchNorm's.
            yield own
        largest(0)  # Process 0 may be writing yet.
    except Interrupted:  # All of them were, at the same step; process 0 says so.
        _part()
        raise
    except BaseException as error:
        console.quiet = rank() > 0 and isinstance(error, CommonError)
        _part(in_good_order=False)
        raise
    console.quiet = False
    _part()


def _own_device(name: str) -> torch.device:
    if name not in ("auto", "cpu", "cuda"):
        raise UserError(f"Several processes compute on a CUDA GPU each or on the CPU; --device cannot be {name!r}.")
    if name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    processes, gpus = int(os.environ.get("LOCAL_WORLD_SIZE", "1")), torch.cuda.device_count()
    if 0 < gpus < processes:
        raise UserError(
            f"{processes} processes were started on this machine, which has {gpus} GPU(s); start as many as that, or"
            " add --device cpu."
        )
    device = find_device("cuda")
    torch.cuda.set_device(device)
    return device


def _meet(device: torch.device) -> None:
    global _patient
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    try:
        store, own_rank, processes = next(rendezvous("env://"))
        if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
            store = _store_of_this_attempt(store, own_rank, processes)
        dist.init_process_group(backend, store=store, rank=own_rank, world_size=processes, timeout=STEP_TIMEOUT)
        _patient = dist.new_group(backend="gloo", timeout=WAIT_TIMEOUT)
    except (RuntimeError, ValueError) as error:
        address = ":".join(os.environ.get(name, "?") for name in ("MASTER_ADDR", "MASTER_PORT"))
        raise UserError(
            f"The {os.environ['WORLD_SIZE']} processes did not find each other at {address} ({_reason(error)}); start"
            " them with torchrun."
        ) from error


def _part(in_good_order: bool = True) -> None:
    global _patient
    if not in_good_order and dist.group.WORLD is not None:
        dist.group.WORLD.abort()  # Not to wait for a process that is gone.
    # A group that outlives the interpreter would take the process down with it, and its exit code.
    dist.destroy_process_group()
    _patient = None


def _store_of_this_attempt(shared: Store, own_rank: int, processes: int) -> Store:
    """A store of process 0, for the others to find through the one of torchrun.

    That one still has the addresses of the processes before a restart, which the new ones would try to reach
    (https://github.com/pytorch/pytorch/issues/135712). So has it process 0's port, but there nobody answers any more.
    """
    host, key = os.environ["MASTER_ADDR"], "fader/port"
    if own_rank == 0:
        store = TCPStore(host, 0, processes, is_master=True, wait_for_workers=False)
        shared.set(key, str(store.port))
        return store
    deadline = time.monotonic() + MEETING_TIMEOUT.total_seconds()
    while True:
        port = int(shared.get(key))
        try:
            return TCPStore(host, port, processes, is_master=False, timeout=timedelta(seconds=2))
        except dist.DistError:
            if time.monotonic() > deadline:
                raise


@contextmanager
def _with_the_others(failure: type[RuntimeError] = RuntimeError) -> Iterator[None]:
    """Within the block a `failure` means that another process is gone; gloo's are plain RuntimeErrors."""
    try:
        yield
    except failure as error:
        raise ProcessLostError(
            f"process {rank()} of {count()} lost another one ({_reason(error)}); what that one said last tells why. The"
            " same command goes on from the newest checkpoint."
        ) from error


def _reason(error: Exception) -> str:
    """The first sentence of torch's message, without the place in its source."""
    first_line, *_ = re.sub(r"^\[\S+\]\s+", "", str(error)).splitlines() or [type(error).__name__]
    return first_line.partition(". ")[0].rstrip(".")


def share(items: np.ndarray, micro_batches: int = 1) -> np.ndarray:
    """This process's part of what all have, as large as the others' where the number can be divided.

    It has a part of every micro-batch, so that a micro-batch is the same pictures whatever the number of processes.
    """
    return np.concatenate([np.array_split(part, count())[rank()] for part in np.array_split(items, micro_batches)])


def refuse_uneven(batch_size: int, micro_batches: int) -> None:
    """Raises CommonError if the processes cannot all have as many pictures of every batch."""
    if batch_size % (count() * micro_batches):
        parts = f"{count()} processes" + (f" in {micro_batches} micro-batches each" if micro_batches > 1 else "")
        raise CommonError(
            f"A batch of {batch_size} pictures cannot be shared out evenly over {parts}; give a --batch-size that is a"
            f" multiple of {count() * micro_batches}."
        )


def first(function: Callable[[], Result]) -> Result:
    """What process 0 computes, in all of them; a UserError of its is a CommonError of all. The others wait, for days if
    need be.

    The result travels as a pickle between the processes of one training, which trust each other; tensors in it have to
    be on the CPU.
    """
    if count() == 1:
        return function()
    answer: list[Any] = [None, None]
    if rank() == 0:
        try:
            answer[0] = function()
        except UserError as error:
            answer[1] = str(error)
    with _with_the_others():
        dist.broadcast_object_list(answer, src=0, group=_patient)
    if answer[1] is not None:
        raise CommonError(answer[1])
    return answer[0]


def largest(*numbers: int) -> list[int]:
    """The largest that any process gives, number by number: how all come to the same decision."""
    if count() == 1:
        return list(numbers)
    found = torch.tensor(numbers, dtype=torch.int64)
    with _with_the_others():
        dist.all_reduce(found, dist.ReduceOp.MAX, group=_patient)
    return found.tolist()


def add_up(tensor: Tensor) -> None:
    """Replace a tensor by its sum over the processes."""
    if count() > 1:
        with _with_the_others():
            dist.all_reduce(tensor)


def average(tensor: Tensor) -> None:
    """Replace a tensor by its mean over the processes."""
    add_up(tensor)
    tensor /= count()


def average_gradients(network: nn.Module) -> None:
    """Replace a network's gradients by their means over the processes, in one exchange.

    Losses are means over a process's equal share of the batch, so these are the gradients of the mean over the batch.
    """
    if count() == 1:
        return
    gradients = [parameter.grad for parameter in network.parameters() if parameter.grad is not None]
    gradients = [gradient.as_strided([gradient.numel()], [1]) for gradient in gradients]  # In the order they lie in.
    flat = torch.cat(gradients)
    average(flat)
    for gradient, averaged in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(averaged)


def share_statistics(network: Network, device: torch.device) -> Network:
    """The network, whose BatchNorm now takes its statistics in training over the pictures of all processes."""
    if count() == 1:
        return network
    if device.type == "cuda":
        return nn.SyncBatchNorm.convert_sync_batchnorm(network)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.__class__ = _SharedBatchNorm  # The same parameters and buffers under the same names.
    return network


class _SharedBatchNorm(nn.BatchNorm2d):
    """nn.SyncBatchNorm for the CPU, which that refuses. All processes have as many pictures."""

    def forward(self, features: Tensor) -> Tensor:
        if not self.training:
            return super().forward(features)
        precise = features.to(torch.promote_types(features.dtype, torch.float32))
        own_mean = precise.mean(dim=(0, 2, 3))
        # torch.var_mean takes ten times as long on a CPU.
        own_variance = (precise - own_mean[:, None, None]).square().mean(dim=(0, 2, 3))
        means, variances = _Gathered.apply(torch.stack([own_mean, own_variance])).unbind(1)  # type: ignore[no-untyped-call]
        mean = means.mean(0)
        variance = (variances + (means - mean).square()).mean(0)
        if self.track_running_stats:
            self._move_running_statistics(mean.detach(), variance.detach(), features.numel() // len(mean) * count())
        scale = self.weight * (variance + self.eps).rsqrt()
        shift = self.bias - mean * scale
        return torch.addcmul(shift[:, None, None], precise, scale[:, None, None]).to(features.dtype)

    def _move_running_statistics(self, mean: Tensor, variance: Tensor, values: int) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        self.num_batches_tracked += 1
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance * values / (values - 1), self.momentum)


class _Gathered(torch.autograd.Function):
    """A tensor of every process, stacked: [...] to [processes, ...].

    What a process computes from the others' tensors is part of their gradients: it is summed over the processes.
    """

    @staticmethod
    def forward(ctx: Any, own: Tensor) -> Tensor:
        gathered = own.new_zeros(count(), *own.shape)
        gathered[rank()] = own
        add_up(gathered)
        return gathered

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        gradient = gradient.contiguous()
        add_up(gradient)
        return gradient[rank()]
