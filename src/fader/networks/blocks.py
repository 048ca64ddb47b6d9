"""The layer that every network here is made of: C_k of section 4, convolution - normalisation - activation.

Bias rule, in all presets: the encoder's pattern of convolutions has a bias, the decoder's convolutions have none (the
constant channels of the code act as one).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Norm = Literal["batch", "instance"]
Network = TypeVar("Network", bound=nn.Module)


def make_norm(kind: Norm, channels: int) -> nn.Module:
    """BatchNorm, or instance norm with a learnt scale and shift."""
    return nn.BatchNorm2d(channels) if kind == "batch" else nn.InstanceNorm2d(channels, affine=True)


SMALL_SIDE = 4
"""On a CPU, a convolution between maps of this side and twice it is a matrix product of our own, which is faster than
the library's (benchmarks/train_step.py): several times where most of the kernel lies on the padding."""
FEW = 8
"""Times as many features as entries of the code, at least, for these to be few."""


def place(network: Network, device: torch.device | str) -> Network:
    """The network on a device, its kernels laid out with the channels last: what both the CPU's convolutions and the
    tensor cores of a GPU are fastest with, and what makes a kernel a matrix without a copy."""
    return network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]


def halve(features: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The 4x4 convolution of stride 2 and padding 1: [B, C, 2s, 2s] to [B, K, s, s], for a weight [K, C, 4, 4]."""
    if not by_product(features, features.shape[2] // 2):
        return F.conv2d(features, weight, bias, stride=2, padding=1)
    side = features.shape[2] // 2
    # Of a map of side 2 the only window is the map; the rest of the kernel lies on the padding.
    windows = features.permute(0, 2, 3, 1)[:, None, None] if side == 1 else _Windows.apply(features)  # type: ignore[no-untyped-call]
    return F.linear(windows.flatten(3), _part_used(weight, side).flatten(1), bias).permute(0, 3, 1, 2)


def double(features: Tensor, weight: Tensor) -> Tensor:
    """The transposed 4x4 convolution of stride 2 and padding 1: [B, C, s, s] to [B, K, 2s, 2s], for [C, K, 4, 4]."""
    side = features.shape[2]
    if not by_product(features, side):
        return F.conv_transpose2d(features, weight, stride=2, padding=1)
    return _overlaid(features.permute(0, 2, 3, 1) @ _part_used(weight, side).flatten(1))


def double_with_code(features: Tensor, code: Tensor, weight: Tensor) -> Tensor:
    """`double` of a small map with a code [B, m] appended as m constant channels: where they are few they are made,
    else they are multiplied once and not at every place."""
    rows, kernel = features.permute(0, 2, 3, 1), _part_used(weight, features.shape[2]).flatten(1)
    if FEW * code.shape[1] <= features.shape[1]:
        return _overlaid(torch.cat([rows, code[:, None, None].expand(*rows.shape[:3], -1)], dim=3) @ kernel)
    of_features, of_code = kernel.split([features.shape[1], code.shape[1]])
    return _overlaid(rows @ of_features + (code @ of_code)[:, None, None])


def _part_used(weight: Tensor, side: int) -> Tensor:
    """Of a kernel [C, K, 4, 4] as [C, 4, 4, K]: all of it, of a map of side 1 the middle, the rest of which is cut."""
    kernel = weight.permute(0, 2, 3, 1)
    return kernel[:, 1:3, 1:3] if side == 1 else kernel


def _overlaid(windows: Tensor) -> Tensor:
    """What windows [B, s, s, 4 * 4 * K], of a map of side 1 the middle of its only one, make: [B, K, 2s, 2s]."""
    if windows.shape[1] == 1:
        return windows.unflatten(3, (2, 2, -1))[:, 0, 0].permute(0, 3, 1, 2)
    return _Overlaid.apply(windows.unflatten(3, (4, 4, -1)))  # type: ignore[no-untyped-call]


def by_product(features: Tensor, side: int) -> bool:
    """Whether a convolution of features between maps of a side and twice it is best made as a matrix product."""
    square = features.shape[2] == features.shape[3]
    return side <= SMALL_SIDE and square and features.device.type == "cpu" and not torch.compiler.is_compiling()


class _Windows(torch.autograd.Function):
    """The 4x4 windows that a kernel of stride 2 and padding 1 sees: [B, C, 2s, 2s] to [B, s, s, 4, 4, C].

    It is linear, and _Overlaid is its transpose: each is the other's gradient.
    """

    @staticmethod
    def forward(ctx: Any, features: Tensor) -> Tensor:
        padded = F.pad(features.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1))
        return padded.unfold(1, 4, 2).unfold(2, 4, 2).permute(0, 1, 2, 4, 5, 3).contiguous()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _Overlaid.apply(gradient)  # type: ignore[no-untyped-call]


class _Overlaid(torch.autograd.Function):
    """Windows laid over one another and added up: [B, s, s, 4, 4, C] to [B, C, 2s, 2s]."""

    @staticmethod
    def forward(ctx: Any, windows: Tensor) -> Tensor:
        batch, side, _, _, _, channels = windows.shape
        padded = windows.new_zeros(batch, 2 * side + 2, 2 * side + 2, channels)
        # A quarter of every window at a time, so that nothing overlaps.
        for top in (0, 2):
            for left in (0, 2):
                quarters = windows[:, :, :, top : top + 2, left : left + 2].transpose(2, 3)  # [B, s, 2, s, 2, C]
                target = padded[:, top : top + 2 * side, left : left + 2 * side]
                target.unflatten(1, (side, 2)).unflatten(3, (side, 2)).add_(quarters)
        return padded[:, 1:-1, 1:-1].contiguous().permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _Windows.apply(gradient)  # type: ignore[no-untyped-call]


class Halving(nn.Conv2d):
    """4x4 convolution of stride 2 that halves the side."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, kernel_size=4, stride=2, padding=1)

    def forward(self, input: Tensor) -> Tensor:
        return halve(input, self.weight, self.bias)


def downsample(in_channels: int, out_channels: int, norm: Norm | None = "batch", dropout: float = 0.0) -> nn.Sequential:
    """C_k of the encoder: 4x4 convolution of stride 2 (halves the side), norm, leaky ReLU 0.2; dropout after it."""
    layers: list[nn.Module] = [Halving(in_channels, out_channels)]
    if norm:
        layers.append(make_norm(norm, out_channels))
    layers.append(nn.LeakyReLU(0.2, inplace=True))
    if dropout:
        layers.append(nn.Dropout(dropout))
    return nn.Sequential(*layers)


def convolve(
    in_channels: int, outputs: Sequence[int], norm: Norm = "batch", norm_first: bool = True, dropout: float = 0.0
) -> nn.Sequential:
    """C_k for each k of `outputs`, one after the other; the first without norm where it sees the picture itself."""
    inputs = [in_channels, *outputs[:-1]]
    return nn.Sequential(
        *(
            downsample(inputs[i], outputs[i], norm=norm if i > 0 or norm_first else None, dropout=dropout)
            for i in range(len(outputs))
        )
    )


def head(in_features: int, hidden: int, out_features: int, dropout: float = 0.0) -> nn.Sequential:
    """The two fully connected layers that end the discriminator and the classifiers."""
    layers: list[nn.Module] = [nn.Flatten(), nn.Linear(in_features, hidden), nn.LeakyReLU(0.2, inplace=True)]
    if dropout:
        layers.append(nn.Dropout(dropout))
    return nn.Sequential(*layers, nn.Linear(hidden, out_features))
