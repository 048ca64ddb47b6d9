"""The true answers to swaps: rendered portraits drawn again with one attribute changed."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from functools import partial

import numpy as np

from fader.attributes import Schema
from fader.datasets.prepared import PreparedDataset
from fader.parallel import map_in_order, processors

Swap = tuple[int, int]
"""The position of an attribute, and by how many values it is moved on (cyclically): 1 alone if it is binary."""


def swaps(schema: Schema) -> list[Swap]:
    """All ways to swap one attribute of a picture: every attribute to every value that it does not have."""
    return [(k, shift) for k, attribute in enumerate(schema) for shift in range(1, len(attribute.values))]


def swapped(labels: np.ndarray, swap: Swap, schema: Schema) -> np.ndarray:
    """Labels int64 [N, n] with one attribute swapped and the others as they are."""
    k, shift = swap
    changed = labels.copy()
    changed[:, k] = (labels[:, k] + shift) % len(schema.attributes[k].values)
    return changed


def counterfactuals(
    dataset: PreparedDataset, batches: Sequence[np.ndarray], schema: Schema, workers: int | None = None
) -> Generator[np.ndarray, None, None]:
    """For each batch of indices int64 [B], its pictures after each of `swaps(schema)`: uint8 [B, swaps, S, S, C].

    Drawn by other processes (by default one a processor), a few batches ahead. Raises UserError if the dataset is not
    one of rendered portraits.
    """
    workers = min(workers or processors(), len(batches))
    return map_in_order(partial(_every_swap, dataset, schema), batches, workers)


def counterfactual(dataset: PreparedDataset, schema: Schema, indices: np.ndarray, swap: Swap) -> np.ndarray:
    """Pictures int64 [B] of a dataset of portraits after one swap: uint8 [B, S, S, C]."""
    targets = swapped(dataset.labels[indices][:, dataset.columns(schema)], swap, schema)[:, swap[0]]
    name = schema.names[swap[0]]
    return np.stack([dataset.counterfactual(int(i), {name: int(y)}) for i, y in zip(indices, targets, strict=True)])


def _every_swap(dataset: PreparedDataset, schema: Schema, indices: np.ndarray) -> np.ndarray:
    return np.stack([counterfactual(dataset, schema, indices, swap) for swap in swaps(schema)], axis=1)
