"""The strength curve: what the judge sees as a fader is pushed, and from where on nearly every picture shows it.

Accuracy at one position says little of a fader: pushed to twice its range, most look better (docs/evaluation.md).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from fader import metrics
from fader.attributes import Schema
from fader.datasets.prepared import PreparedDataset
from fader.datasets.views import view
from fader.evaluation.bootstrap import Figures, resamplings
from fader.evaluation.judged import judged
from fader.evaluation.measure import Eye, split_batches
from fader.evaluation.protocol import EditingModel
from fader.images import to_pixels
from fader.progress import progress
from fader.training.classifier import Classifier

VALUES = (-1.0, -0.5, 0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 3.0)
MIDDLE = 0.5  # Neither absent nor present.
REACHED = 0.95  # Accuracy at a fader's marked end.


@dataclass(frozen=True)
class Strength:
    """What the judge sees in M pictures with a binary attribute set to each of V values."""

    attribute: int
    label: np.ndarray
    """Of the pictures themselves, [M]."""
    present: np.ndarray
    """Whether the attribute is seen, bool [M, V]."""
    kept: np.ndarray
    """Share of the other attributes seen as in the picture itself, [M, V]; NaN if there is none."""


@torch.inference_mode()
def measure_strength(
    model: EditingModel, judge: Classifier, dataset: PreparedDataset, split: str, pictures: int, device: torch.device
) -> list[Strength]:
    """Every binary attribute at each of VALUES, in at most so many pictures of a split, evenly spaced.

    `judge` sees what `judged` makes of the dataset.
    """
    schema = model.schema
    eye = Eye(judge, schema, model, dataset)
    shown, dataset = judged(dataset), view(dataset, model.framing, model.size)
    columns = dataset.columns(schema)
    indices = dataset.indices(split, pictures)
    binary = [k for k, attribute in enumerate(schema) if attribute.binary]
    present = np.empty((len(binary), len(indices), len(VALUES)), dtype=bool)
    kept = np.empty(present.shape, dtype=np.float32)
    with progress("Strength of the faders", len(indices)) as bar:
        for rows in split_batches(np.arange(len(indices)), model.size):
            batch = indices[rows]
            latent = model.encode_pixels(to_pixels(dataset.images[batch], device))
            own = eye.labels(to_pixels(shown.images[batch], device))
            labels = torch.from_numpy(dataset.labels[batch][:, columns]).float().to(device)
            for i, k in enumerate(binary):
                others = [j for j in range(len(schema)) if j != k]
                for j, value in enumerate(VALUES):
                    values = labels.clone()
                    values[:, k] = value
                    seen = eye.labels(eye.shown(model.decode_pixels(latent, values)))
                    present[i, rows, j] = (seen[:, k] == 1).cpu().numpy()
                    kept[i, rows, j] = (seen == own)[:, others].float().mean(dim=1).cpu().numpy()
            bar.advance(len(batch))
    labels_of = dataset.labels[indices][:, columns]
    return [Strength(k, labels_of[:, k], present[i], kept[i]) for i, k in enumerate(binary)]


def strength_figures(measured: list[Strength], schema: Schema) -> Figures:
    """The curves and the faders' ends, by attribute."""
    return {schema.names[one.attribute]: _curve(one) for one in measured}


def _curve(one: Strength) -> Figures:
    weights = resamplings(len(one.label))
    # A value is asked of the pictures that have the other: those that have it could just as well be left alone.
    shares = {
        label: [metrics.mean(one.present[:, j] == bool(label), weights, one.label != label) for j in range(len(VALUES))]
        for label in (0, 1)
    }
    kept = [metrics.mean(one.kept[:, j], weights) for j in range(len(VALUES))]
    up = [j for j, value in enumerate(VALUES) if value >= MIDDLE]
    down = [j for j, value in enumerate(VALUES) if value <= MIDDLE][::-1]
    return {
        "to_present": _by_value(shares[1]),
        "to_absent": _by_value(shares[0]),
        "preservation": _by_value(kept),
        "end_present": end([VALUES[j] for j in up], np.stack([shares[1][j] for j in up], axis=1)),
        "end_absent": end([VALUES[j] for j in down], np.stack([shares[0][j] for j in down], axis=1)),
    }


def end(values: list[float], accuracies: np.ndarray) -> np.ndarray:
    """The first of V values, from the fader's middle outwards, at which the accuracy reaches 95%: [R] of [R, V].

    Linear between the values; NaN where it is not reached.
    """
    place = (accuracies >= REACHED).argmax(axis=1)
    rows, before = np.arange(len(accuracies)), np.maximum(place - 1, 0)
    high, low = accuracies[rows, place], accuracies[rows, before]
    steps = np.asarray(values)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(place > 0, (REACHED - low) / (high - low), 0.0)
    found = steps[before] + share * (steps[place] - steps[before])
    return np.where(high >= REACHED, found, np.nan)


def _by_value(figures: list[np.ndarray]) -> Figures:
    return {f"{value:g}": figure for value, figure in zip(VALUES, figures, strict=True)}
