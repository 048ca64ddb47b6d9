"""A world in which everything is known: pictures of two blocks on a plain ground, and the models and judge of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from fader.attributes import Attribute, Schema
from fader.config import JUDGE
from fader.datasets.prepared import SPLITS, PreparedDataset
from fader.datasets.storage import Folder, Shape, Which
from fader.images import Framing, to_pixels
from fader.training.classifier import Classifier

SIZE = 16
SCHEMA = Schema((Attribute("Square"), Attribute("Shade", ("dark", "grey", "light"))))
# The byte that each value of each attribute paints its block with, and where the blocks are: 12 and 20 pixels.
BYTES = ((40, 200), (20, 120, 240))
BLOCKS = ((slice(0, 3), slice(0, 4)), (slice(8, 12), slice(8, 13)))


def paint(image: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """A copy of an array uint8 [S, S, 1] with its blocks as the labels [n] say."""
    image = image.copy()
    for k, block in enumerate(BLOCKS):
        image[block] = BYTES[k][labels[k]]
    return image


class Held:
    """Pictures that are in memory anyway."""

    def __init__(self, array: np.ndarray) -> None:
        self.shape: Shape = array.shape
        self._array = array

    def __len__(self) -> int:
        return len(self._array)

    def __getitem__(self, which: Which) -> np.ndarray:
        return self._array[which]

    def read_ahead(self, which: np.ndarray) -> None:
        pass


@dataclass(frozen=True, eq=False)
class World(PreparedDataset):
    """A dataset in memory of which every true counterfactual is known, unless `knows` is False."""

    knows: bool = True

    @property
    def has_counterfactuals(self) -> bool:
        return self.knows

    def counterfactual(self, index: int, changes: Mapping[str, int]) -> np.ndarray:
        labels = self.labels[index].copy()
        for name, value in changes.items():
            labels[SCHEMA.index(name)] = value
        return paint(self.images[index], labels)


def world(count: int = 240, knows: bool = True, labels: np.ndarray | None = None) -> World:
    """Pictures of random labels (or those given, int64 [N, 2]) on grounds of random grey, a third in each split."""
    generator = np.random.default_rng(0)
    if labels is None:
        labels = np.stack([generator.integers(2, size=count), generator.integers(3, size=count)], axis=1)
    count = len(labels)
    grounds = generator.integers(256, size=count).astype(np.uint8)
    images = np.stack([paint(np.full((SIZE, SIZE, 1), g, np.uint8), y) for g, y in zip(grounds, labels, strict=True)])
    splits = (np.arange(count) % len(SPLITS)).astype(np.uint8)
    info = {
        "attributes": SCHEMA.to_json(),
        "size": SIZE,
        "channels": 1,
        "count": count,
        "framing": Framing().to_json(),
        "source": {},
        "checksums": {"labels.npz": str(hash(labels.tobytes()))},
    }
    names = np.array([f"picture {i}" for i in range(count)])
    return World(Folder(Path("world")), SCHEMA, SIZE, 1, Held(images), labels, names, splits, info, knows)


def values_of(bytes_: tuple[int, ...]) -> Tensor:
    """Bytes as pixel values in [-1, 1]."""
    return to_pixels(np.array(bytes_, dtype=np.uint8).reshape(1, 1, 1, -1))[0, :, 0, 0]


class Eye(nn.Module):
    """A judge that is never wrong: it compares each block's mean with the values' brightness."""

    def forward(self, pixels: Tensor) -> Tensor:
        logits = []
        for (rows, columns), bytes_ in zip(BLOCKS, BYTES, strict=True):
            seen = pixels[:, 0, rows, columns].mean(dim=(1, 2))
            logits.append(-100 * (seen[:, None] - values_of(bytes_)).square())
        return torch.cat(logits, dim=1)


def judge(schema: Schema = SCHEMA) -> Classifier:
    return Classifier(Eye(), schema, SIZE, 1, JUDGE, {"accuracy": {}, "dataset": "world"})


class Model:
    """Paints what it is asked for, so its swaps are the true counterfactuals; its latent is the picture itself.

    `error` is added to all that it paints into a block whose value is not the picture's, `noise` to every pixel.
    """

    schema = SCHEMA
    size = SIZE
    channels = 1
    framing = Framing()

    def __init__(self, error: float = 0.0, noise: float = 0.0) -> None:
        self.error = error
        self.noise = noise

    def encode_pixels(self, pixels: Tensor) -> Tensor:
        return pixels

    def decode_pixels(self, latent: Tensor, values: Tensor) -> Tensor:
        pixels = latent.clone()
        for k, (rows, columns) in enumerate(BLOCKS):
            wanted = values_of(BYTES[k])[values[:, k].long()][:, None, None]
            block = latent[:, 0, rows, columns]
            changed = (block[:, :1, :1] - wanted).abs() > 1e-6
            pixels[:, 0, rows, columns] = torch.where(changed, wanted + self.error, block)
        return pixels + self.noise

    def own_values(self, latent: Tensor, labels: Tensor) -> Tensor:
        return labels

    def latent_features(self, latent: Tensor) -> Tensor:
        return latent.flatten(1)


class Unmoved(Model):
    """Gives back the picture whatever it is asked for; its latent tells the ground alone."""

    def decode_pixels(self, latent: Tensor, values: Tensor) -> Tensor:
        return latent

    def latent_features(self, latent: Tensor) -> Tensor:
        return latent[:, 0, -1, :2]
