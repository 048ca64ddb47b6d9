"""The Inception network whose features FID and KID are published with (Szegedy et al. 2015; Heusel et al. 2017).

It is the one of TensorFlow's release of 2015-12-05, which differs from the Inception of the paper and of torchvision:
its averages leave out the padding, and its last block takes a maximum instead. Layers are called as in the file of its
weights that PyTorch's implementations of FID share (`fader.interop.inception` reads it).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SIDE, FEATURES = 299, 2048


@dataclass(frozen=True)
class Layer:
    """A convolution of a block: of stride 1 with padding that keeps the side, of stride 2 without padding."""

    name: str
    channels: int
    kernel: tuple[int, int] = (1, 1)
    stride: int = 1


Step = Layer | str | tuple[Layer, Layer]
"""A layer, a pooling ("mean", "max", or "halve" for the maximum of stride 2), or two layers side by side."""
Branch = Sequence[Step]


class Inception(nn.Module):
    """Pixels [B, C, S, S] in [-1, 1], of 1 or 3 channels and any side, to features [B, 2048]."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = Convolution(3, 32, (3, 3), stride=2)
        self.Conv2d_2a_3x3 = Convolution(32, 32, (3, 3))
        self.Conv2d_2b_3x3 = Convolution(32, 64, (3, 3), padding=(1, 1))
        self.Conv2d_3b_1x1 = Convolution(64, 80, (1, 1))
        self.Conv2d_4a_3x3 = Convolution(80, 192, (3, 3))
        self.Mixed_5b = Block(192, _small(pooled=32))
        self.Mixed_5c = Block(256, _small(pooled=64))
        self.Mixed_5d = Block(288, _small(pooled=64))
        self.Mixed_6a = Block(288, _FIRST_HALVING)
        self.Mixed_6b = Block(768, _wide(128))
        self.Mixed_6c = Block(768, _wide(160))
        self.Mixed_6d = Block(768, _wide(160))
        self.Mixed_6e = Block(768, _wide(192))
        self.Mixed_7a = Block(768, _SECOND_HALVING)
        self.Mixed_7b = Block(1280, _forked("mean"))
        self.Mixed_7c = Block(FEATURES, _forked("max"))

    def forward(self, pixels: Tensor) -> Tensor:
        levels = ((pixels + 1) * 127.5).round().expand(-1, 3, -1, -1)
        maps = (resized(levels, SIDE) - 128) / 128
        maps = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(maps)))
        maps = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(_POOLINGS["halve"](maps)))
        maps = _POOLINGS["halve"](maps)
        for name, block in self.named_children():
            if name.startswith("Mixed"):
                maps = block(maps)
        return maps.mean(dim=(2, 3))


class Convolution(nn.Module):
    """Convolution, BatchNorm and ReLU."""

    def __init__(
        self, channels: int, maps: int, kernel: tuple[int, int], stride: int = 1, padding: tuple[int, int] = (0, 0)
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, maps, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(maps, eps=1e-3)

    def forward(self, maps: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(maps)), inplace=True)


class Block(nn.Module):
    """Branches side by side, whose maps are put one behind the other."""

    def __init__(self, channels: int, branches: Sequence[Branch]) -> None:
        super().__init__()
        self.branches = branches
        for branch in branches:
            given = channels
            for step in branch:
                layers = step if isinstance(step, tuple) else (step,)
                found = [layer for layer in layers if isinstance(layer, Layer)]
                for layer in found:
                    self.add_module(layer.name, _convolution(given, layer))
                given = sum(layer.channels for layer in found) or given

    def forward(self, maps: Tensor) -> Tensor:
        return torch.cat([self._along(branch, maps) for branch in self.branches], dim=1)

    def _along(self, branch: Branch, maps: Tensor) -> Tensor:
        for step in branch:
            if isinstance(step, str):
                maps = _POOLINGS[step](maps)
            else:
                layers = step if isinstance(step, tuple) else (step,)
                maps = torch.cat([self.get_submodule(layer.name)(maps) for layer in layers], dim=1)
        return maps


def resized(images: Tensor, side: int) -> Tensor:
    """Images [B, C, S, S] to [B, C, side, side] bilinearly, as TensorFlow 1 does: pixel i lies at i * S / side, where
    others mean the middles of the pixels."""
    size = images.shape[-1]
    places = torch.arange(side, dtype=images.dtype, device=images.device) * (size / side)
    low = places.long()
    high, part = (low + 1).clamp(max=size - 1), places - low
    rows = torch.lerp(images[:, :, low], images[:, :, high], part[:, None])
    return torch.lerp(rows[..., low], rows[..., high], part)


_POOLINGS = {
    "mean": nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False),
    "max": nn.MaxPool2d(3, stride=1, padding=1),
    "halve": nn.MaxPool2d(3, stride=2),
}


def _convolution(channels: int, layer: Layer) -> Convolution:
    height, width = layer.kernel
    padding = (height // 2, width // 2) if layer.stride == 1 else (0, 0)
    return Convolution(channels, layer.channels, layer.kernel, layer.stride, padding)


def _small(pooled: int) -> list[Branch]:
    return [
        [Layer("branch1x1", 64)],
        [Layer("branch5x5_1", 48), Layer("branch5x5_2", 64, (5, 5))],
        [Layer("branch3x3dbl_1", 64), Layer("branch3x3dbl_2", 96, (3, 3)), Layer("branch3x3dbl_3", 96, (3, 3))],
        ["mean", Layer("branch_pool", pooled)],
    ]


def _wide(between: int) -> list[Branch]:
    return [
        [Layer("branch1x1", 192)],
        [
            Layer("branch7x7_1", between),
            Layer("branch7x7_2", between, (1, 7)),
            Layer("branch7x7_3", 192, (7, 1)),
        ],
        [
            Layer("branch7x7dbl_1", between),
            Layer("branch7x7dbl_2", between, (7, 1)),
            Layer("branch7x7dbl_3", between, (1, 7)),
            Layer("branch7x7dbl_4", between, (7, 1)),
            Layer("branch7x7dbl_5", 192, (1, 7)),
        ],
        ["mean", Layer("branch_pool", 192)],
    ]


def _forked(pooling: str) -> list[Branch]:
    return [
        [Layer("branch1x1", 320)],
        [
            Layer("branch3x3_1", 384),
            (Layer("branch3x3_2a", 384, (1, 3)), Layer("branch3x3_2b", 384, (3, 1))),
        ],
        [
            Layer("branch3x3dbl_1", 448),
            Layer("branch3x3dbl_2", 384, (3, 3)),
            (Layer("branch3x3dbl_3a", 384, (1, 3)), Layer("branch3x3dbl_3b", 384, (3, 1))),
        ],
        [pooling, Layer("branch_pool", 192)],
    ]


_FIRST_HALVING: list[Branch] = [
    [Layer("branch3x3", 384, (3, 3), stride=2)],
    [Layer("branch3x3dbl_1", 64), Layer("branch3x3dbl_2", 96, (3, 3)), Layer("branch3x3dbl_3", 96, (3, 3), stride=2)],
    ["halve"],
]
_SECOND_HALVING: list[Branch] = [
    [Layer("branch3x3_1", 192), Layer("branch3x3_2", 320, (3, 3), stride=2)],
    [
        Layer("branch7x7x3_1", 192),
        Layer("branch7x7x3_2", 192, (1, 7)),
        Layer("branch7x7x3_3", 192, (7, 1)),
        Layer("branch7x7x3_4", 192, (3, 3), stride=2),
    ],
    ["halve"],
]
