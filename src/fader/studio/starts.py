"""Pictures to start from: portraits that no model was trained on, drawn when they are asked for."""

from __future__ import annotations

import numpy as np

from fader.datasets.portraits.renderer import labels, newcomer
from fader.datasets.portraits.specification import FIRST_NEWCOMER, SCHEMA
from fader.errors import UserError
from fader.images import to_array
from fader.model import Model

A_PAGE = 24
PAGES = 10**7
MOST_SHOWN = 96  # The side of the small pictures, at most.
TRIED = 4  # Portraits by which it is told whether a model knows their kind.


def has_starts(model: Model) -> bool:
    """Whether a model edits drawn portraits: it has no other attributes than theirs, and finds them familiar."""
    if not set(model.schema.names) <= set(SCHEMA.names):
        return False
    arrays = np.stack([start(model, number)[0] for number in range(TRIED)])
    known = np.array([start(model, number)[1] for number in range(TRIED)])
    return model.encode_framed(arrays, known).familiar.count(True) > TRIED // 2


def starts(model: Model, page: int) -> list[tuple[int, np.ndarray]]:
    """The portraits of a page, from 0 on: the number of each and a small picture of it, uint8 S x S x C."""
    if not 0 <= page < PAGES:
        raise UserError(f"There is no page {page} of portraits.")
    side, numbers = min(model.size, MOST_SHOWN), range(page * A_PAGE, (page + 1) * A_PAGE)
    return [(number, to_array(newcomer(number, side), side, model.channels)) for number in numbers]


def start(model: Model, number: object) -> tuple[np.ndarray, list[int]]:
    """A portrait by its number: what the model sees of it, and its labels. Raises UserError if there is none."""
    if type(number) is not int or not 0 <= number < PAGES * A_PAGE:
        raise UserError("There is no portrait of this number.")
    known = labels(FIRST_NEWCOMER + number)
    array = to_array(newcomer(number, model.size), model.size, model.channels)
    return array, [int(known[SCHEMA.index(name)]) for name in model.schema.names]
