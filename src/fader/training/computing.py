"""How networks are computed in training: precision and compilation.

What a step computes stays the same up to rounding; on a CPU, by default, to the bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fader.config import TrainingConfig
from fader.errors import UserError, ran_out_of_memory
from fader.memory import keep_freed
from fader.networks.autoencoder import Encoder


@contextmanager
def enough_memory(output: Path) -> Iterator[None]:
    """Within the block memory that runs out is a UserError; what was saved in the run folder `output` stays."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not ran_out_of_memory(error):
            raise
        raise UserError(
            f"{output}: memory ran out; make room and repeat the command, which goes on from the newest checkpoint, or"
            " start another run with a smaller --batch-size."
        ) from None


def check(device: torch.device, config: TrainingConfig) -> None:
    """Raises UserError if the device cannot compute as the configuration asks for."""
    if config.precision == "bfloat16" and not _has_bfloat16(device):
        raise UserError(f"{device} does not compute in bfloat16; leave out --precision bfloat16.")
    if config.compile:
        try:
            torch.compile(lambda numbers: numbers + 1)(torch.zeros(2, device=device))
        except RuntimeError as error:
            first_line, *_ = str(error).strip().splitlines() or [type(error).__name__]
            raise UserError(
                f"torch.compile does not work here for {device} ({first_line}); install what it lacks, or leave out"
                " --compile."
            ) from None


def _has_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.amp.is_autocast_available(device.type)


def compile_in_place(*networks: nn.Module) -> None:
    """Compile what these networks compute when they are called. The names of their weights stay as they are."""
    for network in networks:
        network.compile(dynamic=False)


def uncompiled(config: TrainingConfig) -> AbstractContextManager[Any]:
    """Within the block nothing is compiled: an evaluation has batches of other sizes, each to be compiled anew."""
    return torch.compiler.set_stance("force_eager") if config.compile else nullcontext()


def keep_latent_precise(encoder: Encoder) -> None:
    """In bfloat16, compute what follows the last convolution before what the discriminator reads in float32.

    There the gradients of both losses meet. A sum of two bfloat16 numbers, rounded to bfloat16, is often the larger
    one, and lambda makes the adversary's far smaller: it would be lost. Behind a norm in float32 it is not.
    """
    _, after_convolution, *_ = encoder.layers[-1 - encoder.skips].children()
    after_convolution.register_forward_pre_hook(_in_float32)


def _in_float32(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(_full(tensor) for tensor in inputs)


def forward(network: Callable[..., Any], *inputs: Any, config: TrainingConfig) -> Any:
    """What a network makes of its inputs, computed in the precision of the configuration; losses are for float32.

    Each call has an autocast region of its own: one around a whole step would go on with a player's weights as they
    were before its update, which autocast keeps in bfloat16.
    """
    if config.precision != "bfloat16":
        return network(*inputs)
    with torch.autocast(_device_type(inputs[0]), torch.bfloat16):
        outputs = network(*inputs)
    return _full(outputs) if isinstance(outputs, Tensor) else tuple(_full(output) for output in outputs)


def _device_type(input: Tensor | tuple[Tensor, ...]) -> str:
    return (input if isinstance(input, Tensor) else input[0]).device.type


def _full(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.dtype == torch.bfloat16 else tensor


@contextmanager
def tuned(device: torch.device, config: TrainingConfig) -> Iterator[None]:
    """Within the block a CUDA GPU multiplies float32 as the configuration says, and looks for its fastest convolutions.

    All batches being of one size, the search pays off. On a CPU, from then on, freed memory is kept.
    """
    if device.type != "cuda":
        keep_freed()
        yield
        return
    cudnn = torch.backends.cudnn
    before = torch.get_float32_matmul_precision(), cudnn.allow_tf32, cudnn.benchmark
    torch.set_float32_matmul_precision("highest" if config.precision == "float32" else "high")
    cudnn.allow_tf32, cudnn.benchmark = config.precision != "float32", True
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before[0])
        cudnn.allow_tf32, cudnn.benchmark = before[1:]
