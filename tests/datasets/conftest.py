"""Pictures that tell by their colour which one they are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

SaveColour = Callable[[Path, int], None]


def colour(i: int) -> tuple[int, int, int]:
    """The one colour of picture number i."""
    return i * 12 % 256, 255 - i * 7 % 256, i * 31 % 256


@pytest.fixture
def save_colour() -> SaveColour:
    """Writes picture number i, 40 x 30 pixels of its colour, to a path, making folders."""

    def save(path: Path, i: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 30), colour(i)).save(path)

    return save


@pytest.fixture
def pictures(tmp_path: Path, save_colour: SaveColour) -> Path:
    """A folder with 20 pictures, p00.png to p19.png."""
    for i in range(20):
        save_colour(tmp_path / "pictures" / f"p{i:02}.png", i)
    return tmp_path / "pictures"


def colours(images: np.ndarray) -> list[tuple[int, ...]]:
    """The one colour of each of the images [N, H, W, 3]."""
    assert (images == images[:, :1, :1]).all()
    return [tuple(image[0, 0].tolist()) for image in images]
