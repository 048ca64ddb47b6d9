"""The layer that every network here is made of: C_k of section 4, convolution - normalisation - activation.

Bias rule, in all presets: the encoder's pattern of convolutions has a bias, the decoder's convolutions have none (the
constant channels of the code act as one).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

Norm = Literal["batch", "instance"]


def make_norm(kind: Norm, channels: int) -> nn.Module:
    """BatchNorm, or instance norm with a learnt scale and shift."""
    return nn.BatchNorm2d(channels) if kind == "batch" else nn.InstanceNorm2d(channels, affine=True)


SMALL_SIDE = 2
"""On a CPU, a convolution between maps of this side and twice it is a matrix product, which is several times faster
(benchmarks/train_step.py)."""


def halve(features: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The 4x4 convolution of stride 2 and padding 1: [B, C, 2s, 2s] to [B, K, s, s], for a weight [K, C, 4, 4]."""
    side = features.shape[2] // 2
    if side > SMALL_SIDE or features.device.type != "cpu" or features.shape[2] != features.shape[3]:
        return F.conv2d(features, weight, bias, stride=2, padding=1)
    if side == 1:  # All but the middle of the kernel lies on the padding.
        return F.linear(features.flatten(1), weight[:, :, 1:3, 1:3].flatten(1), bias)[:, :, None, None]
    patches = F.unfold(features, kernel_size=4, stride=2, padding=1)  # [B, C * 16, s * s]
    convolved = (weight.flatten(1) @ patches).unflatten(2, (side, side))
    return convolved if bias is None else convolved + bias[:, None, None]


def double(features: Tensor, weight: Tensor) -> Tensor:
    """The transposed 4x4 convolution of stride 2 and padding 1: [B, C, s, s] to [B, K, 2s, 2s], for [C, K, 4, 4]."""
    side = features.shape[2]
    if side > SMALL_SIDE or features.device.type != "cpu" or side != features.shape[3]:
        return F.conv_transpose2d(features, weight, stride=2, padding=1)
    if side == 1:
        middle = weight[:, :, 1:3, 1:3]
        return (features.flatten(1) @ middle.flatten(1)).unflatten(1, middle.shape[1:])
    patches = weight.flatten(1).T @ features.flatten(2)  # [B, K * 16, s * s]
    return F.fold(patches, 2 * side, kernel_size=4, stride=2, padding=1)


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
