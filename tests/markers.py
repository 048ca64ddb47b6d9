"""A stand-in for the face detector: it finds frames by their two upper corners, which a test has marked in a photo."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw

from fader import alignment
from fader.alignment import STANDARD

Corners = tuple[tuple[int, int], tuple[int, int]]
"""Of a frame in a photo: where its upper left and its upper right corner are, in pixels."""
COLOURS = (((255, 0, 0), (0, 255, 0)), ((255, 0, 255), (0, 255, 255)))
"""Of the two corners of a photo's first frame, and of its second."""


def photo(*frames: Corners, size: tuple[int, int] = (160, 120)) -> Image.Image:
    """A photo whose pixels differ from their neighbours, with a square of 4 pixels around each corner of the frames."""
    x, y = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
    levels = np.stack([64 + (5 * x + y) % 128, 64 + (3 * x + 2 * y) % 128, 64 + (x + 7 * y) % 128], axis=2)
    image = Image.fromarray(levels.astype(np.uint8))
    draw = ImageDraw.Draw(image)
    for corners, colours in zip(frames, COLOURS, strict=False):
        for (left, top), colour in zip(corners, colours, strict=True):
            draw.rectangle((left - 2, top - 2, left + 1, top + 1), fill=colour)
    return image


def detect(image: Image.Image) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """As `mtcnn.detect`: the face of each marked frame, whose five points lie in the frame as STANDARD has them."""
    pixels = np.asarray(image).astype(int)
    points = []
    for colours in COLOURS:
        seen = [np.nonzero(np.abs(pixels - colour).max(axis=2) < 50) for colour in colours]
        if all(len(rows) for rows, _ in seen):
            left, right = (np.array([columns.mean(), rows.mean()]) + 0.5 for rows, columns in seen)
            across = right - left
            down = np.array([-across[1], across[0]])
            points.append([left + x * across + y * down for x, y in STANDARD])
    found = np.array(points).reshape(-1, 5, 2)
    return np.concatenate([found.min(axis=1), found.max(axis=1)], axis=1), np.ones(len(found)), found


def outside(size: tuple[int, int], left: int, top: int, side: int) -> np.ndarray:
    """Which pixels of a photo of this size lie outside of an upright frame: bool [H, W]."""
    mask = np.ones(size[::-1], dtype=bool)
    mask[top : top + side, left : left + side] = False
    return mask


def use(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the stand-in in the detector's place; the extra [align] need not be installed."""
    monkeypatch.setattr(alignment, "detect", detect)
    monkeypatch.setattr(alignment, "weights", lambda: [])
