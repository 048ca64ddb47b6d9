"""The layer that every network here is made of: C_k of section 4, convolution - normalisation - activation.

Bias rule, in all presets: the encoder's pattern of convolutions has a bias, the decoder's convolutions have none (the
constant channels of the code act as one).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from torch import nn

Norm = Literal["batch", "instance"]


def make_norm(kind: Norm, channels: int) -> nn.Module:
    """BatchNorm, or instance norm with a learnt scale and shift."""
    return nn.BatchNorm2d(channels) if kind == "batch" else nn.InstanceNorm2d(channels, affine=True)


def downsample(in_channels: int, out_channels: int, norm: Norm | None = "batch", dropout: float = 0.0) -> nn.Sequential:
    """C_k of the encoder: 4x4 convolution of stride 2 (halves the side), norm, leaky ReLU 0.2; dropout after it."""
    layers: list[nn.Module] = [nn.Conv2d(in_channels, out_channels, kernel_size=4, stride=2, padding=1)]
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
