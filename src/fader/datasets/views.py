"""A dataset seen in another frame: its pictures cut and scaled as a model needs them, or a judge."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np

from fader.datasets.prepared import PreparedDataset
from fader.datasets.storage import Pictures, Shape, Which
from fader.errors import UserError
from fader.images import Box, Framing, to_array, to_picture

WHOLE: Box = (0.0, 0.0, 1.0, 1.0)


def framing_of(dataset: PreparedDataset) -> Framing:
    """How a dataset's pictures were cut."""
    return Framing.from_json(dataset.info["framing"])


def part(outer: Framing, inner: Framing) -> Box | None:
    """Where what `inner` cuts out lies in what `outer` does: left, top, right, bottom as shares of the side.

    All of it, unless both are of pictures of one size; None if some of it lies outside.
    """
    if outer == inner or outer.picture_size is None or outer.picture_size != inner.picture_size:
        return WHOLE
    left, top, right, bottom = outer.box(*outer.picture_size)
    (x, y, to_x, to_y), width, height = inner.box(*outer.picture_size), right - left, bottom - top
    if x < left or y < top or to_x > right or to_y > bottom:
        return None
    return (x - left) / width, (y - top) / height, (to_x - left) / width, (to_y - top) / height


def view(dataset: PreparedDataset, framing: Framing, size: int) -> PreparedDataset:
    """A dataset with its pictures cut as `framing` says and scaled to `size`, one by one as they are asked for.

    Raises UserError if its pictures are smaller than that, or hold less.
    """
    if size > dataset.size:
        raise UserError(
            f"{dataset.path} has pictures of {dataset.size} pixels, too few: prepare it with --size {size}."
        )
    box = part(framing_of(dataset), framing)
    if box is None:
        raise UserError(f"{dataset.path}: its pictures were cut so that a part is missing of what the model sees.")
    if size == dataset.size and box == WHOLE:
        return dataset
    own = {field.name: getattr(dataset, field.name) for field in fields(PreparedDataset)}
    info = {**dataset.info, "framing": framing.to_json()}
    own |= {"images": CutPictures(dataset.images, box, size), "size": size, "info": info}
    return View(**own, whole=dataset, box=box)


def cut(arrays: np.ndarray, box: Box, size: int) -> np.ndarray:
    """A part of arrays (uint8, B x S x S x C), scaled to B x size x size x C."""
    side, channels = arrays.shape[1], arrays.shape[3]
    left, top, right, bottom = (side * share for share in box)
    scaled = [to_array(to_picture(array), size, channels, (left, top, right, bottom)) for array in arrays]
    return np.stack(scaled) if scaled else np.empty((0, size, size, channels), np.uint8)


class CutPictures:
    """Pictures cut and scaled as they are asked for."""

    def __init__(self, pictures: Pictures, box: Box, size: int) -> None:
        self.shape: Shape = (len(pictures), size, size, pictures.shape[3])
        self._pictures = pictures
        self._box = box

    def __len__(self) -> int:
        return len(self._pictures)

    def __getitem__(self, which: Which) -> np.ndarray:
        arrays = self._pictures[which]
        return (
            cut(arrays, self._box, self.shape[1])
            if arrays.ndim == 4
            else cut(arrays[None], self._box, self.shape[1])[0]
        )

    def read_ahead(self, which: np.ndarray) -> None:
        self._pictures.read_ahead(which)


@dataclass(frozen=True, eq=False)
class View(PreparedDataset):
    """A dataset seen in another frame."""

    whole: PreparedDataset
    box: Box

    def __reduce__(self) -> tuple[Any, ...]:
        return view, (self.whole, framing_of(self), self.size)

    @cached_property
    def fingerprint(self) -> str:
        about = f"{self.whole.fingerprint} {framing_of(self).to_json()} {self.size}"
        return hashlib.sha256(about.encode()).hexdigest()[:16]

    @property
    def has_counterfactuals(self) -> bool:
        return self.whole.has_counterfactuals

    def counterfactual(self, index: int, changes: Mapping[str, int]) -> np.ndarray:
        return cut(self.whole.counterfactual(index, changes)[None], self.box, self.size)[0]
