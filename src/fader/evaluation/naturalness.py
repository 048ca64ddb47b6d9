"""Naturalness by machine: how well a classifier tells what systems make from real pictures, and distances of features.

A person is asked whether a picture is real (section 5.1); here one classifier, trained on what all of the systems make,
is. It says more of blur than a person would: there is no target.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fader import metrics
from fader.attributes import Schema
from fader.config import JUDGE
from fader.datasets.prepared import SPLITS, PreparedDataset
from fader.datasets.storage import Folder, Shape, Which
from fader.datasets.views import view
from fader.evaluation.bootstrap import Figures, resamplings
from fader.evaluation.counterfactuals import swapped
from fader.evaluation.judged import judged
from fader.evaluation.measure import Eye, split_batches
from fader.evaluation.protocol import EditingModel
from fader.images import from_pixels, to_pixels
from fader.progress import progress
from fader.training.classifier import BATCH, Classifier, train_classifier

PICTURES = 1000  # Of a split, at most, evenly spaced.
REAL = Schema.binary(["Real"])
CONFIG = replace(JUDGE, width=16, max_width=64, epochs=2.0, seed=2)
RECONSTRUCTION = "reconstruction"

Extractor = Callable[[Tensor], Tensor]
"""Pixels [B, C, S, S] in [-1, 1] to features [B, F]."""
Kinds = dict[str, np.ndarray]
"""By kind, what a system makes of M pictures, as the judge sees it: "reconstruction", or the attribute swapped."""


def naturalness(
    systems: Mapping[str, EditingModel],
    judge: Classifier,
    dataset: PreparedDataset,
    split: str,
    device: torch.device,
    extractor: Extractor | None = None,
) -> dict[str, Figures]:
    """By system and kind ("reconstruction", or "swap" by attribute): "auc", "kid" and "fid".

    `judge` sees what `judged` makes of the dataset. The features are the judge's, or those of `extractor`.
    """
    indices = dataset.indices(split, PICTURES)
    real = judged(dataset).images[indices]
    made = {name: _made(model, judge, dataset, indices, device) for name, model in systems.items()}
    kinds = [(name, kind) for name, found in made.items() for kind in found]
    weights = resamplings(len(indices))
    scores = _held_out_scores(np.stack([real, *(made[name][kind] for name, kind in kinds)]), device)
    extractor = extractor or judge.features
    truth = _features(extractor, real, device)
    found: dict[str, Figures] = {name: {RECONSTRUCTION: None, "swap": {}} for name in systems}
    for (name, kind), of_kind in zip(kinds, scores[1:], strict=True):
        features = _features(extractor, made[name][kind], device)
        figures = {
            "auc": _mean_auc(scores[0], of_kind, weights),
            "kid": metrics.kernel_distance(truth, features, weights),
            "fid": _once(metrics.frechet_distance(truth, features), len(weights)),
        }
        (found[name] if kind == RECONSTRUCTION else found[name]["swap"])[kind] = figures
    return found


@torch.inference_mode()
def _made(
    model: EditingModel, judge: Classifier, dataset: PreparedDataset, indices: np.ndarray, device: torch.device
) -> Kinds:
    """What a system makes of pictures: uint8 [M, S, S, C] by kind; a categorical attribute moves to its next value."""
    schema, seen = model.schema, view(dataset, model.framing, model.size)
    eye = Eye(judge, schema, model, dataset)
    columns = seen.columns(schema)
    kinds: dict[str, list[np.ndarray]] = {}
    with progress("Pictures to tell from real ones", len(indices)) as bar:
        for batch in split_batches(indices, model.size):
            latent = model.encode_pixels(to_pixels(seen.images[batch], device))
            labels = seen.labels[batch][:, columns]
            asked = {RECONSTRUCTION: model.own_values(latent, torch.from_numpy(labels).to(device))}
            for k, name in enumerate(schema.names):
                asked[name] = torch.from_numpy(swapped(labels, (k, 1), schema)).to(device)
            for kind, values in asked.items():
                decoded = model.decode_pixels(latent, values)
                kinds.setdefault(kind, []).append(from_pixels(eye.shown(decoded)))
            bar.advance(len(batch))
    return {kind: np.concatenate(parts) for kind, parts in kinds.items()}


def _held_out_scores(pictures: np.ndarray, device: torch.device) -> np.ndarray:
    """How real each picture looks, [1 + K, M]: of M real ones, and of K kinds made of them, uint8 [1 + K, M, S, S, C].

    A classifier that learnt from one half of the pictures scores the other. Real ones are shown as often as all others.
    """
    kinds, count = pictures.shape[:2]
    scores = np.empty((kinds, count), dtype=np.float32)
    for held_out in _halves(count):
        classifier = train_classifier(_told_apart(pictures, held_out), REAL, CONFIG, device, "Real or made")
        for kind in range(kinds):
            logits = _features(classifier.network, pictures[kind, held_out], device)
            scores[kind, held_out] = logits[:, 1] - logits[:, 0]
    return scores


def _mean_auc(real: np.ndarray, made: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """AUC [1 + R] of the scores [M] of real and made pictures, the mean of both halves.

    Each half was scored by a classifier of its own, and nothing puts the scores of two on one scale.
    """
    areas = []
    for half in _halves(len(real)):
        scores, truth = np.concatenate([real[half], made[half]]), np.repeat([True, False], half.sum())
        areas.append(metrics.auc(scores, truth, np.tile(weights[:, half], 2)))
    return np.mean(areas, axis=0)


def _halves(count: int) -> list[np.ndarray]:
    """Which of so many pictures each half has, bool [count]."""
    return [np.arange(count) % 2 == half for half in (0, 1)]


def _told_apart(pictures: np.ndarray, held_out: np.ndarray) -> PreparedDataset:
    """A dataset of real and made pictures, balanced, in which some, bool [M], are not for training."""
    kinds, count = pictures.shape[:2]
    made = np.stack(np.meshgrid(np.arange(1, kinds), np.arange(count), indexing="ij"), axis=-1).reshape(-1, 2)
    places = np.concatenate([made * [0, 1], made])
    labels = (places[:, :1] == 0).astype(np.int64)
    splits = np.where(held_out[places[:, 1]], SPLITS.index("valid"), SPLITS.index("train")).astype(np.uint8)
    size, channels = pictures.shape[2], pictures.shape[4]
    info = {"attributes": REAL.to_json(), "size": size, "channels": channels, "count": len(places), "checksums": {}}
    images = _Pictures(pictures, places)
    names = np.array([""] * len(places))
    return PreparedDataset(Folder(Path("real and made")), REAL, size, channels, images, labels, names, splits, info)


class _Pictures:
    """Pictures of an array [K, M, S, S, C] in memory, by their places int64 [N, 2] in it."""

    def __init__(self, array: np.ndarray, places: np.ndarray) -> None:
        self.shape: Shape = (len(places), array.shape[2], array.shape[3], array.shape[4])
        self._array = array
        self._places = places

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, which: Which) -> np.ndarray:
        kinds, pictures = self._places[which].T
        return self._array[kinds, pictures]

    def read_ahead(self, which: np.ndarray) -> None:
        pass


@torch.inference_mode()
def _features(extractor: Extractor, arrays: np.ndarray, device: torch.device) -> np.ndarray:
    parts = [arrays[start : start + BATCH] for start in range(0, len(arrays), BATCH)]
    return np.concatenate([extractor(to_pixels(part, device)).float().cpu().numpy() for part in parts])


def _once(value: float, count: int) -> np.ndarray:
    """A figure without an interval: what is drawn twice makes a Fréchet distance larger, so resamplings are biased."""
    return np.r_[value, np.full(count - 1, np.nan)]
