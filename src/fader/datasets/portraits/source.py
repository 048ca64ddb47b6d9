"""A source: the portraits, rendered instead of read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np

from fader.datasets.portraits.renderer import portrait
from fader.datasets.portraits.specification import (
    COUNT,
    FACE,
    FIRST_NEWCOMER,
    NAME,
    SCHEMA,
    SIZE,
    VIEW_BOX,
    avatar_options,
    person_and_labels,
    split,
)
from fader.datasets.preparation import Source, check_output, prepare
from fader.datasets.prepared import SPLITS
from fader.errors import UserError
from fader.images import Framing

_left, _top, _width, _height = VIEW_BOX
FRAMING = Framing(points=tuple(((x - _left) / _width, (y - _top) / _height) for x, y in FACE))
"""Of all portraits: the renderer knows where their faces are."""


def prepare_portraits(
    output: Path,
    *,
    count: int = COUNT,
    first: int = 0,
    size: int = SIZE,
    workers: int | None = None,
    overwrite: bool = False,
) -> str:
    """Make the dataset of rendered portraits.

    Args:
        output: The dataset's folder.
        count: How many portraits.
        first: The number of the first; the others follow it. Portrait number i is the same in every dataset.
        size: Side of the pictures in pixels.
        workers: Processes that draw; by default one a processor.
        overwrite: Replace the output if it exists.

    Returns the closing report. Raises UserError.
    """
    check_output(output, overwrite, [])
    if count < 1:
        raise UserError(f"count is {count}; it has to be at least 1.")
    if first < 0:
        raise UserError(f"first is {first}; it has to be 0 or more.")
    if first + count > FIRST_NEWCOMER:
        raise UserError(f"Portraits of numbers from {FIRST_NEWCOMER:,} on are in no dataset; take lower ones.")
    numbers = range(first, first + count)
    labels = np.array([person_and_labels(i)[1] for i in numbers], dtype=np.uint8)
    source = Source(
        schema=SCHEMA,
        names=[str(i) for i in numbers],
        labels=labels,
        splits=np.array([SPLITS.index(split(i)) for i in numbers], dtype=np.uint8),
        size=size,
        channels=3,
        fetch=numbers.__getitem__,
        render=partial(portrait, size=size),
        framing=FRAMING,
        info={
            "kind": "portraits",
            "specification": NAME,
            "checksum": checksum(numbers),
            "renderer": {name: version(name) for name in ("resvg-py", "dicebear-core", "dicebear-styles")},
        },
    )
    return prepare(source, output, workers, overwrite=overwrite)


def checksum(numbers: Iterable[int]) -> str:
    """SHA-256 of everything that the specification says of the portraits of these numbers."""
    total = hashlib.sha256()
    for i in numbers:
        person, labels = person_and_labels(i)
        drawn = [i, labels, split(i), VIEW_BOX, avatar_options(person, labels)]
        total.update(json.dumps(drawn, sort_keys=True).encode())
    return total.hexdigest()
