"""Attribute classifiers on pictures: one for selection and for pictures without labels, one to judge by."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from fader.attributes import Schema
from fader.config import ClassifierConfig, widths
from fader.networks.blocks import convolve, head


def make_classifier(config: ClassifierConfig, size: int, channels: int, schema: Schema) -> nn.Module:
    """A classifier of pixels [B, channels, size, size]: it returns logits [B, code_size]."""
    network = StridedClassifier if config.architecture == "strided" else ResidualClassifier
    return network(config, size, channels, schema)


class StridedClassifier(nn.Module):
    """The encoder's pattern down to side 1, then two fully connected layers."""

    def __init__(self, config: ClassifierConfig, size: int, channels: int, schema: Schema) -> None:
        super().__init__()
        outputs = widths(config.width, config.max_width, size.bit_length() - 1)
        self.convolutions = convolve(channels, outputs, norm_first=False)
        self.head = head(outputs[-1], config.hidden, schema.code_size)

    def forward(self, pixels: Tensor) -> Tensor:
        return self.head(self.convolutions(pixels))

    def features(self, pixels: Tensor) -> Tensor:
        """What its last layer reads, [B, hidden]."""
        return self.head[:-1](self.convolutions(pixels))


class ResidualClassifier(nn.Module):
    """Residual blocks of 3x3 convolutions, each halving the side, down to side 4, then the mean over the map.

    It shares no layer type with the encoder and the discriminator, so what fools those has no reason to fool it.
    """

    def __init__(self, config: ClassifierConfig, size: int, channels: int, schema: Schema) -> None:
        super().__init__()
        outputs = widths(config.width, config.max_width, size.bit_length() - 3)
        inputs = [channels, *outputs[:-1]]
        self.blocks = nn.Sequential(*(ResidualBlock(i, o) for i, o in zip(inputs, outputs, strict=True)))
        self.logits = nn.Linear(outputs[-1], schema.code_size)

    def forward(self, pixels: Tensor) -> Tensor:
        return self.logits(self.features(pixels))

    def features(self, pixels: Tensor) -> Tensor:
        """What its last layer reads, [B, channels]."""
        return self.blocks(pixels).mean(dim=(2, 3))


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions, the first of stride 2, beside a shortcut: the mean over 2x2 pixels and a 1x1 convolution.

    (A 1x1 convolution of stride 2 instead, besides not seeing three of four pixels, corrupts memory in its backward
    pass: torch 2.13 on a CPU, channels-last, fewer than 8 input channels.)
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(in_channels, out_channels, 3, stride=2, padding=1, bias=False)
        self.first_norm = nn.BatchNorm2d(out_channels)
        self.second = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.second_norm = nn.BatchNorm2d(out_channels)
        self.shortcut = nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(in_channels, out_channels, 1, bias=False))

    def forward(self, features: Tensor) -> Tensor:
        residual = self.second_norm(self.second(F.relu(self.first_norm(self.first(features)))))
        return F.relu(residual + self.shortcut(features))
