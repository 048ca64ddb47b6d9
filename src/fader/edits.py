"""Edits of faces: which fader values show each attribute swapped, and the rows of a figure that shows them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fader.attributes import Attribute, Schema
from fader.errors import UserError
from fader.model import Faces, Model


@dataclass(frozen=True)
class Edit:
    """One edit of N faces: what it is called, which attributes it changes, and the values it decodes [N, n]."""

    title: str
    changed: tuple[str, ...]
    values: Tensor


def to_swap(schema: Schema, attributes: Sequence[str] = (), together: bool = False) -> tuple[str, ...]:
    """The attributes to swap: those named, by default all.

    Raises UserError on a name that the schema has not, and if one alone shall be swapped together.
    """
    names = schema.select(tuple(dict.fromkeys(attributes))).names if attributes else schema.names
    if together and len(names) < 2:
        raise UserError("Swapping together takes two attributes at least; name more, or leave out --together.")
    return names


def swaps(model: Model, labels: Tensor, names: Sequence[str], together: bool = False) -> list[Edit]:
    """Each of these attributes swapped by itself by a model, for faces with the labels [N, n].

    A binary attribute makes one edit, one of more values an edit for each of them. With `together` there is one more,
    in which all of the attributes are swapped at once, one of more values to its next (cyclically).
    """
    schema = model.schema
    edits = [edit for name in names for edit in _swapped(model, labels, schema.attributes[schema.index(name)])]
    if together:
        for name in names:
            labels = schema.flipped(labels, name)
        edits.append(Edit("together", tuple(names), labels))
    return edits


def decode_rows(faces: Faces, edits: Sequence[Edit]) -> list[list[np.ndarray]]:
    """A row a face: the picture, its reconstruction, then each edit; uint8, S x S x C."""
    values = torch.stack([faces.own_values, *(edit.values.float() for edit in edits)], dim=1)
    return [[original, *decoded] for original, decoded in zip(faces.arrays, faces.decode(values), strict=True)]


def row_titles(edits: Sequence[Edit]) -> list[str]:
    """What the columns of `decode_rows` are called."""
    return ["original", "reconstruction", *(edit.title for edit in edits)]


def _swapped(model: Model, labels: Tensor, attribute: Attribute) -> list[Edit]:
    name, k = attribute.name, model.schema.index(attribute.name)
    if attribute.binary:
        return [Edit(name, (name,), model.settle(model.schema.flipped(labels, name), [k]))]
    edits = []
    for label, value in enumerate(attribute.values):
        values = labels.clone()
        values[:, k] = label
        edits.append(Edit(f"{name} {value}", (name,), values))
    return edits
