"""Anyone's photo: find the face, cut it out as the model's pictures are framed, and put the edited face back.

Points are pairs of x and y: of a picture in its pixels, (0, 0) being its upper left corner and (width, height) its
lower right; of a frame in units of its side, from 0 to 1. A frame is the square that a model sees.

Importing this module imports neither torch nor a detector: only `find_faces` needs the extra [align].
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageFilter

from fader.errors import UserError
from fader.images import FacePoints, to_array, to_picture
from fader.mtcnn import detect, weights

Points = Sequence[Sequence[float]] | np.ndarray
"""K points, [K, 2]: x and y of each."""

# Where `prepare folder --align` puts the points of every face: where they lie in CelebA cut as in section 5.1, as
# `find_faces` sees them (the median, made symmetric).
STANDARD: FacePoints = ((0.389, 0.515), (0.611, 0.515), (0.5, 0.653), (0.403, 0.745), (0.597, 0.745))

MOST = 1e6  # No coordinate or side of a placement, in pixels, is larger: pictures have 100 million pixels at most.
LONGEST = 1024  # A picture is scaled down to this before faces are looked for: those under 2% of it are not found.
LEAST = 128  # Pictures of a dataset are scaled up to this: their faces may be smaller than the detector takes.
FEATHER = 0.12  # Of the frame's side: over so much of its border a pasted face passes into the picture.
OVERSAMPLING = 4  # A picture is scaled down beforehand to so many pixels for each that a turned frame takes.
CHANGED = (8, 24)  # Of 255: an edit that changes more than the second replaces the picture, less than the first adds.
BAND = 256  # Rows that are pasted at a time, so that memory stays bounded.
GREY = (0.299, 0.587, 0.114)  # Of red, green and blue, as Pillow converts.


@dataclass(frozen=True)
class Face:
    """A face in a picture."""

    points: np.ndarray
    """float64 [5, 2], in pixels of the picture: the left and the right eye, the nose, the left and the right corner of
    the mouth, left and right as seen in the picture."""
    box: tuple[float, float, float, float]
    """Around it, in pixels: left, top, right, bottom."""
    score: float
    """How sure the detector is, from 0 to 1."""


@dataclass(frozen=True)
class Placement:
    """Where a frame lies in a picture: a similarity from the frame to the picture."""

    x: float
    """Of the frame's centre, in pixels from the picture's left."""
    y: float
    """Of the frame's centre, in pixels from the picture's top."""
    side: float
    """Of the frame, in pixels of the picture: at least 1."""
    angle: float = 0.0
    """By which the frame is turned, in degrees, clockwise as seen in the picture: from -360 to 360."""

    def __post_init__(self) -> None:
        for name, value, least, most in (
            ("x", self.x, -MOST, MOST),
            ("y", self.y, -MOST, MOST),
            ("side", self.side, 1.0, MOST),
            ("angle", self.angle, -360.0, 360.0),
        ):
            if type(value) not in (int, float) or not least <= value <= most:
                raise UserError(
                    f"{name} of a placement is {value!r}; it has to be a number from {least:g} to {most:g}."
                )

    def to_json(self) -> dict[str, float]:
        """{"x": ..., "y": ..., "side": ..., "angle": ...}"""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Any) -> Placement:
        """The placement that `to_json` wrote. Raises UserError if `data` is anything else."""
        if not isinstance(data, dict) or not {"x", "y", "side"} <= set(data) <= {"x", "y", "side", "angle"}:
            raise UserError("A placement has to be an object with x, y and side, in pixels, and an angle in degrees.")
        return cls(**data)

    def in_picture(self, points: Points) -> np.ndarray:
        """Points of the frame [K, 2], in units of its side, as points of the picture [K, 2], in pixels."""
        return (np.asarray(points, dtype=np.float64) - 0.5) @ self._axes.T + (self.x, self.y)

    def in_frame(self, points: Points) -> np.ndarray:
        """Points of the picture [K, 2], in pixels, as points of the frame [K, 2], in units of its side."""
        return (np.asarray(points, dtype=np.float64) - (self.x, self.y)) @ np.linalg.inv(self._axes).T + 0.5

    def bounds(self, width: int, height: int) -> tuple[int, int, int, int]:
        """The upright box around the frame within a picture of this size: left, top, right, bottom, in whole pixels.

        Raises UserError if the frame lies outside of the picture.
        """
        corners = self.in_picture([(0, 0), (1, 0), (1, 1), (0, 1)])
        left, top = (max(0, math.floor(edge)) for edge in corners.min(axis=0))
        right, bottom = (
            min(most, math.ceil(edge)) for most, edge in zip((width, height), corners.max(axis=0), strict=True)
        )
        if left >= right or top >= bottom:
            raise UserError(f"The frame lies outside of the picture of {width} x {height} pixels; move it into it.")
        return left, top, right, bottom

    @property
    def _axes(self) -> np.ndarray:
        """The frame's side to the right and downwards, in the picture: the columns of [2, 2]."""
        turn = math.radians(self.angle % 360)
        return self.side * np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])


def find_faces(image: Image.Image) -> list[Face]:
    """The faces in an upright picture, the largest first; none if there are none.

    Faces are found from 20 pixels on, and turned by up to about 45 degrees. Raises UserError, naming the extra, if the
    detector is not installed.
    """
    size = image.size
    if max(size) > LONGEST:
        share = LONGEST / max(size)
        smaller = max(1, round(size[0] * share)), max(1, round(size[1] * share))
        image = image.resize(smaller, Image.Resampling.BOX, reducing_gap=2.0)
    scale = np.divide(size, image.size)
    boxes, scores, points = detect(image if image.mode == "RGB" else image.convert("RGB"))
    order = np.argsort(-np.prod(boxes[:, 2:] - boxes[:, :2], axis=1), kind="stable")
    return [Face(points[i] * scale, tuple((boxes[i] * np.tile(scale, 2)).tolist()), float(scores[i])) for i in order]


def find_face(image: Image.Image, name: str, number: int = 1) -> Face:
    """The face of an upright picture, of several the largest, or with `number` the second largest, ...

    `name` is what errors call the picture. Raises UserError if there is no such face, and as `find_faces` does.
    """
    faces = find_faces(image)
    if not faces:
        raise UserError(f"{name}: no face was found in it; place the frame by hand, in fader studio.")
    if not 1 <= number <= len(faces):
        raise UserError(f"{name}: there is no face {number} in it; its faces are 1 (the largest) to {len(faces)}.")
    return faces[number - 1]


def require_detector() -> None:
    """Raises UserError, naming the extra, if the detector is not installed."""
    weights()


def usual_points(pictures: Iterable[Image.Image]) -> FacePoints | None:
    """Where faces have their five points in pictures of the same framing: the median. None if most show no face."""
    found, count = [], 0
    for picture in pictures:
        count += 1
        scale = max(1.0, LEAST / max(picture.size))
        larger = picture.resize([round(edge * scale) for edge in picture.size], Image.Resampling.BICUBIC)
        found += [face.points / larger.size for face in find_faces(larger)[:1]]
    if 2 * len(found) <= count:
        return None
    return tuple((round(x, 4), round(y, 4)) for x, y in np.median(found, axis=0).tolist())


def eyes_and_mouth(points: Points) -> np.ndarray:
    """Of the five points of a face those that a person can click: both eyes and the middle of the mouth, [3, 2]."""
    left_eye, right_eye, _, *corners = np.asarray(points, dtype=np.float64)
    return np.array([left_eye, right_eye, np.mean(corners, axis=0)])


def place(points: Points, frame_points: Points) -> Placement:
    """Where the frame has to lie for its points [K, 2] to fall as close to a picture's [K, 2] as a similarity allows.

    Least squares of the distances in the picture (Umeyama 1991; in the plane a similarity is z -> a z + b of complex
    numbers, which makes it a linear fit). K is at least 2: the five points of a face, or those of `eyes_and_mouth`.
    Raises UserError if the points say nothing, such as all in the same place.
    """
    seen, wanted = (np.asarray(given, dtype=np.float64) for given in (points, frame_points))
    if seen.shape != wanted.shape or seen.ndim != 2 or seen.shape[1] != 2 or len(seen) < 2:
        raise UserError(
            f"A face is placed by two points or more, each x and y; these are {seen.shape} for {wanted.shape}."
        )
    if not (np.isfinite(seen).all() and np.isfinite(wanted).all()):
        raise UserError("A face is placed by points in numbers; one of these is none.")
    seen, wanted = (given[:, 0] + 1j * given[:, 1] for given in (seen, wanted))
    spread = wanted - wanted.mean()
    turn = np.vdot(spread, seen - seen.mean()) / max(np.vdot(spread, spread).real, 1e-12)
    centre = seen.mean() + turn * (0.5 + 0.5j - wanted.mean())
    if abs(turn) < 1:
        raise UserError("The points of the face lie too close together; the frame would be smaller than a pixel.")
    return Placement(float(centre.real), float(centre.imag), float(abs(turn)), math.degrees(np.angle(turn)))


def cut(image: Image.Image, placement: Placement, size: int, channels: int = 3) -> np.ndarray:
    """What a frame holds of a picture, scaled to the frame's pixels: uint8, size x size x channels.

    A frame that is not turned and lies within the picture is cut exactly as `images.to_array` does. Beyond the
    picture's border the picture is mirrored. Raises UserError if the frame lies outside of the picture.
    """
    left, top, right, bottom = placement.bounds(*image.size)
    corners = placement.in_picture([(0, 0), (1, 0), (1, 1), (0, 1)])
    (least_x, least_y), (most_x, most_y) = corners.min(axis=0), corners.max(axis=0)
    turned = placement.angle % 360 != 0
    if not turned and least_x >= 0 and least_y >= 0 and most_x <= image.width and most_y <= image.height:
        return to_array(image, size, channels, (least_x, least_y, most_x, most_y))
    part = image.crop((left, top, right, bottom))
    scale = min(1.0, OVERSAMPLING * size / placement.side)
    part = part.resize([max(1, round(edge * scale)) for edge in part.size], Image.Resampling.LANCZOS)
    # An edge of one pixel is the same all along; as long as in the picture it would be mirrored a million times over.
    scales = np.where(np.equal(part.size, 1), scale, np.divide(part.size, (right - left, bottom - top)))
    # From here on in pixels of the part, which is mirrored at its borders as far as the frame reaches.
    corners = (corners - (left, top)) * scales
    before = np.ceil(np.maximum(0, -corners.min(axis=0))).astype(int)
    after = np.ceil(np.maximum(0, corners.max(axis=0) - part.size)).astype(int)
    padding = [(before[1], after[1]), (before[0], after[0])]
    array = np.asarray(part)
    part = Image.fromarray(np.pad(array, padding + [(0, 0)] * (array.ndim - 2), mode="symmetric"))
    corners += before
    if not turned:
        return to_array(part, size, channels, (*corners[0], *corners[2]))
    side = max(size, math.ceil(placement.side * scale - 1e-6))  # Not a pixel more for an error of rounding.
    across, down = (corners[1] - corners[0]) / side, (corners[3] - corners[0]) / side
    affine = (across[0], down[0], corners[0, 0], across[1], down[1], corners[0, 1])
    part = part.transform((side, side), Image.Transform.AFFINE, affine, Image.Resampling.BICUBIC)
    return to_array(part, size, channels)


def paste(image: Image.Image, edited: np.ndarray, placement: Placement, before: np.ndarray) -> Image.Image:
    """A picture with an edited face put back to where it was cut out, in the picture's full resolution.

    Where the edit changes little, that change is added to the picture, which so keeps its own detail: a model that
    sees fewer pixels could not give it back. Where it changes much, the picture's detail is of what is no longer there
    (the rims of glasses that were taken off), and the edit takes its place.

    Args:
        image: The picture, upright, as `images.open_picture` gives it.
        edited: What the model made of the face: uint8, S x S x C.
        placement: Where the face was cut out.
        before: The model's reconstruction of the face with nothing changed: uint8, S x S x C.

    The change fades towards the frame's border; outside of it every pixel stays as it is. Returns a picture of the
    same size and mode without metadata. Raises UserError if the frame lies outside of the picture.
    """
    left, top, right, bottom = placement.bounds(*image.size)
    grey = image.mode == "L"
    edited, before = _as_float(edited, grey), _as_float(before, grey)
    layers = np.concatenate([edited - before, before, _replaced(edited - before)], axis=2)
    # Not more pixels than the frame has in the picture, or some would be skipped.
    size = min(len(layers), max(1, round(placement.side)))
    planes = [
        Image.fromarray(layer).resize((size, size), Image.Resampling.LANCZOS) for layer in np.moveaxis(layers, 2, 0)
    ]
    result = image.copy()
    result.info.clear()
    origin, right_of, below = placement.in_frame([(0, 0), (1, 0), (0, 1)])
    across, down = right_of - origin, below - origin  # A pixel's step in the frame.
    for first in range(top, bottom, BAND):
        band = left, first, right, min(first + BAND, bottom)
        width, height = band[2] - band[0], band[3] - band[1]
        start = origin + across * left + down * first
        steps = size * np.array([across[0], down[0], start[0], across[1], down[1], start[1]])
        moved = [
            p.transform((width, height), Image.Transform.AFFINE, steps.tolist(), Image.Resampling.BICUBIC)
            for p in planes
        ]
        channels = len(planes) // 2
        change, copy, replaced = np.split(np.stack([np.asarray(m) for m in moved], axis=2), [channels, 2 * channels], 2)
        x, y = np.arange(width)[None, :, None] + 0.5, np.arange(height)[:, None, None] + 0.5
        within = np.concatenate([start[k] + across[k] * x + down[k] * y for k in (0, 1)], axis=2)
        share = _smooth(np.minimum(within, 1 - within).min(axis=2, keepdims=True) / FEATHER)
        old = np.asarray(result.crop(band)).reshape(height, width, -1)
        new = old + share * (change + np.clip(replaced, 0, 1) * (copy - old))
        result.paste(to_picture(np.clip(np.rint(new), 0, 255).astype(np.uint8)), band)
    return result


def _as_float(array: np.ndarray, grey: bool) -> np.ndarray:
    """An array (uint8, S x S x C) as float32, of one channel for a grey picture and of three for others."""
    if grey and array.shape[2] == 3:
        return array @ np.array(GREY, dtype=np.float32)[:, None]
    return np.repeat(array.astype(np.float32), 1 if grey or array.shape[2] == 3 else 3, axis=2)


def _replaced(change: np.ndarray) -> np.ndarray:
    """From 0 to 1, S x S x 1: how far the edit takes the picture's place, from what it changes, S x S x C."""
    strength = Image.fromarray(np.clip(np.abs(change).max(axis=2), 0, 255).astype(np.uint8))
    reach = max(1, round(len(change) / 64))  # The change of a fine line is drawn as wide as the model's pixels are.
    strength = strength.filter(ImageFilter.MaxFilter(2 * reach + 1)).filter(ImageFilter.GaussianBlur(reach))
    least, most = CHANGED
    return _smooth((np.asarray(strength, dtype=np.float32)[:, :, None] - least) / (most - least))


def _smooth(share: np.ndarray) -> np.ndarray:
    """0 below 0, 1 above 1, and smooth in between."""
    share = np.clip(share, 0, 1)
    return share * share * (3 - 2 * share)
