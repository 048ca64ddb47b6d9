"""A network that is trained, and the optimiser that moves it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Generic, cast

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_
from torch.optim import Adam

from fader.errors import UserError
from fader.networks.blocks import Network, place
from fader.training import processes


class Player(Generic[Network]):
    """A network on a device, and Adam."""

    def __init__(
        self,
        network: Network,
        device: torch.device,
        learning_rate: float,
        betas: tuple[float, float] = (0.9, 0.999),
        clip: float | None = None,
        shared: bool = False,
    ) -> None:
        """`clip`: the norm of the gradient, at most; `shared`: all processes have it, and average its gradients."""
        self.network = place(network, device)
        self.clip, self.shared = clip, shared
        beta1, beta2 = map(float, betas)  # Adam takes no whole number, not even 0.
        self.optimizer = Adam(network.parameters(), lr=learning_rate, betas=(beta1, beta2), fused=True)

    @contextmanager
    def update(self) -> Iterator[None]:
        """Move this network, and no other, a step down the gradients that the block leaves in it."""
        self.optimizer.zero_grad(set_to_none=True)
        yield
        if self.shared:
            processes.average_gradients(self.network)
        if self.clip is not None:
            clip_grad_norm_(self.network.parameters(), self.clip)
        with _seen_as_they_lie(self.network.parameters()):
            self.optimizer.step()

    def set_learning_rate(self, learning_rate: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate

    def state(self) -> dict[str, Any]:
        """Weights, buffers and the optimiser's moments."""
        return {"network": self.network.state_dict(), "optimizer": self.optimizer.state_dict()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Put `state` back. Raises UserError if it is of another architecture."""
        try:
            self.network.load_state_dict(state["network"])
            self.optimizer.load_state_dict(state["optimizer"])
        except (KeyError, RuntimeError, ValueError):
            raise UserError("The newest checkpoint is of other networks than this run's; delete it.") from None


@contextmanager
def _seen_as_they_lie(parameters: Iterable[nn.Parameter]) -> Iterator[None]:
    """Within the block kernels [K, C, h, w] that lie with the channels last (networks/blocks.py: `place`) are
    [K, h, w, C], and everything is contiguous.

    On a CPU torch's fused Adam takes that for granted; where it is not so, it copies, or moves the wrong weights (torch
    2.13).
    """
    parameters = [parameter for parameter in parameters if parameter.grad is not None]
    kernels = [parameter for parameter in parameters if not parameter.is_contiguous()]
    _permute(kernels, (0, 2, 3, 1))
    for parameter in parameters:
        parameter.grad = cast(Tensor, parameter.grad).contiguous()
    try:
        yield
    finally:
        _permute(kernels, (0, 3, 1, 2))


def _permute(kernels: Iterable[nn.Parameter], order: Sequence[int]) -> None:
    for kernel in kernels:
        gradient, kernel.grad = cast(Tensor, kernel.grad), None
        kernel.data = kernel.data.permute(*order)
        kernel.grad = gradient.permute(*order)
