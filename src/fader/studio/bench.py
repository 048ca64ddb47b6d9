"""A model at work for many visitors: one after the other on a thread of its own, so that nobody waits for a lock."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch

from fader.errors import UserError
from fader.model import MOST, Faces, Model

R = TypeVar("R")
PIXELS_A_REQUEST = 2**19  # 128 pictures of 64 pixels or 8 of 256: no visitor keeps the others waiting for long.


@dataclass(frozen=True)
class Opened:
    """A picture that a model has encoded."""

    faces: Faces
    """Of the one picture."""
    own: torch.Tensor
    """The values that reconstruct it, [n]."""

    familiar: bool | None
    """Whether it is like what the model saw in training; None: not known."""
    error: float
    """Mean squared error of the reconstruction, of pixels in [-1, 1]."""

    @property
    def bytes(self) -> int:
        return self.faces.arrays.nbytes + sum(z.nbytes for z in self.faces.latent)


class Bench:
    """A model, what it is called, and its thread."""

    def __init__(self, model: Model, name: str) -> None:
        self.model = model
        self.name = name
        self._thread = ThreadPoolExecutor(1, f"model {name}")
        self._thread.submit(self._warm_up)

    @property
    def most(self) -> int:
        """How many pictures a request may ask for."""
        return max(1, PIXELS_A_REQUEST // self.model.size**2)

    async def run(self, work: Callable[[], R]) -> R:
        """The result of work that is done on the model's thread."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def open(self, array: np.ndarray, known: list[int] | None = None) -> Opened:
        """Encode an array (uint8, S x S x C). Labels that are not known are estimated."""
        faces = self.model.encode_framed(np.stack([array]), None if known is None else np.array([known]), one=True)
        return Opened(faces, faces.own_values[0], faces.familiar, float(faces.reconstruction_errors[0]))

    def decode(self, opened: Opened, values: np.ndarray) -> np.ndarray:
        """The picture with each of K vectors of values [K, n]: uint8, K x S x S x C."""
        vectors = torch.from_numpy(values)
        if self.model.config.system == "icgan":  # Of others nothing goes along with what is set.
            vectors = torch.stack(
                [self.model.settle(row, (row != opened.own).nonzero()[:, 0].tolist()) for row in vectors]
            )
        return opened.faces.decode(vectors[None])[0]

    def checked(self, data: object) -> np.ndarray:
        """Vectors of values [K, n] from a request's JSON. Raises UserError if they are none, or too many."""
        schema = self.model.schema
        if not isinstance(data, list) or not 1 <= len(data) <= self.most:
            raise UserError(f"A request takes from 1 to {self.most} vectors of values.")
        for row in data:
            if not isinstance(row, list) or len(row) != len(schema):
                raise UserError(f"Values have to be vectors of {len(schema)}.")
            for value, attribute in zip(row, schema, strict=True):
                if type(value) not in (int, float) or not -MOST <= value <= MOST:
                    raise UserError(f"{attribute.name} has to be a number from {-MOST} to {MOST}.")
                if not attribute.binary and value not in range(len(attribute.values)):
                    raise UserError(f"{attribute.name} has to be a whole number below {len(attribute.values)}.")
        return np.array(data, dtype=np.float32)

    def _warm_up(self) -> None:
        """The first picture takes longest; it is nobody's."""
        size, channels = self.model.size, self.model.channels
        known = None if self.model.classifier is not None else [0] * len(self.model.schema)
        opened = self.open(np.zeros((size, size, channels), np.uint8), known)
        self.decode(opened, opened.own[None].numpy())


def rgba(arrays: np.ndarray) -> bytes:
    """Arrays (uint8, K x S x S x C) as a canvas takes them: four bytes a pixel."""
    full = np.full((*arrays.shape[:3], 4), 255, np.uint8)
    full[..., :3] = arrays
    return full.tobytes()
