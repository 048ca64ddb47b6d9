"""Figures to look at beside the numbers: swaps of the first pictures, and the best, median and worst swaps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from PIL import Image

from fader import figures
from fader.attributes import Schema
from fader.datasets.prepared import PreparedDataset
from fader.datasets.views import cut, view
from fader.evaluation.counterfactuals import Swap, counterfactual, swapped, swaps
from fader.evaluation.judged import judged, judged_part
from fader.evaluation.measure import Measurements, SwapMeasurement
from fader.evaluation.protocol import EditingModel
from fader.images import from_pixels, to_pixels

FIRST = 8  # Pictures in the figure of swaps.
EACH = 3  # Best, median and worst swaps of each kind.
SHOWN = 4  # Pictures in the figure of several systems.


def swap_figure(
    model: EditingModel, dataset: PreparedDataset, indices: np.ndarray, device: torch.device
) -> Image.Image:
    """A row for each of the first pictures: original, reconstruction, every swap; beneath, if known, the true answers.

    `indices`, int64 [N], are their positions in the dataset.
    """
    indices = indices[:FIRST]
    images, reconstructions = dataset.images[indices], _decode(model, dataset, indices, None, device)
    columns = [_decode(model, dataset, indices, swap, device) for swap in swaps(model.schema)]
    truths = (
        [counterfactual(dataset, model.schema, indices, swap) for swap in swaps(model.schema)]
        if dataset.has_counterfactuals
        else []
    )
    rows: list[list[np.ndarray]] = []
    row_labels: list[str] = []
    for i, index in enumerate(indices):
        rows.append([images[i], reconstructions[i], *(column[i] for column in columns)])
        row_labels.append(str(dataset.names[index]))
        if truths:
            rows.append([images[i], images[i], *(column[i] for column in truths)])
            row_labels.append("truth")
    titles = ["original", "reconstruction", *(_title(swap, model.schema) for swap in swaps(model.schema))]
    return figures.grid(rows, titles, row_labels)


def systems_figure(
    systems: Mapping[str, EditingModel], dataset: PreparedDataset, indices: np.ndarray, device: torch.device
) -> Image.Image:
    """Of each of the first pictures a row a system: original, reconstruction, each attribute moved to its next value.

    All are cut and scaled as they were judged. What a system has not is left empty.
    """
    indices, shown = indices[:SHOWN], judged(dataset)
    names = list(dict.fromkeys(name for model in systems.values() for name in model.schema.names))
    empty = np.full((len(indices), shown.size, shown.size, dataset.channels), 255, dtype=np.uint8)
    made: dict[str, list[np.ndarray]] = {}
    for system, model in systems.items():
        seen, box = view(dataset, model.framing, model.size), judged_part(model.framing, dataset)
        edits: list[Swap | None] = [None, *((model.schema.index(n), 1) for n in names if n in model.schema.names)]
        decoded = iter([cut(_decode(model, seen, indices, edit, device), box, shown.size) for edit in edits])
        made[system] = [next(decoded), *(next(decoded) if n in model.schema.names else empty for n in names)]
    rows: list[list[np.ndarray]] = []
    row_labels: list[str] = []
    for i, image in enumerate(shown.images[indices]):
        for system in systems:
            rows.append([image, *(column[i] for column in made[system])])
            row_labels.append(system)
    return figures.grid(rows, ["original", "reconstruction", *names], row_labels)


def extremes_figure(
    model: EditingModel, dataset: PreparedDataset, measurements: Measurements, device: torch.device
) -> Image.Image:
    """For each kind of swap its best, median and worst pictures: original, swap and, if known, the true answer.

    A binary attribute has two kinds, to absent and to present. They are ranked by the gain of the single picture where
    the truth is known, else by the probability that the judge gives to what was asked for.
    """
    schema = model.schema
    kinds = list(_kinds(measurements, schema))
    each = max(1, min(EACH, min(len(order) for _, _, order in kinds) // 3))
    rows: list[list[np.ndarray]] = []
    row_labels: list[str] = []
    for title, swap, order in kinds:
        middle = (len(order) - each) // 2
        indices = measurements.indices[np.r_[order[:each], order[middle : middle + each], order[len(order) - each :]]]
        rows += [list(dataset.images[indices]), list(_decode(model, dataset, indices, swap, device))]
        row_labels += [title, "swapped"]
        if dataset.has_counterfactuals:
            rows.append(list(counterfactual(dataset, schema, indices, swap)))
            row_labels.append("truth")
    titles = [name for name in ("best", "median", "worst") for _ in range(each)]
    return figures.grid(rows, titles, row_labels)


def _kinds(measurements: Measurements, schema: Schema) -> Iterator[tuple[str, Swap, np.ndarray]]:
    """Each kind of swap that there is: its title, and which of the pictures are of it, the best first."""
    for swap, measured in zip(swaps(schema), measurements.swaps, strict=True):
        attribute, order = schema.attributes[swap[0]], np.argsort(-_scores(measured), kind="stable")
        if not attribute.binary:
            yield _title(swap, schema), swap, order
            continue
        for label, value in enumerate(attribute.values):
            if len(of_value := order[measured.target[order] == label]):
                yield f"{attribute.name} to {value}", swap, of_value


def _scores(measured: SwapMeasurement) -> np.ndarray:
    if measured.errors is None:
        return measured.probability
    return -measured.errors.swapped / np.maximum(measured.errors.unswapped, 1e-9)


def _title(swap: Swap, schema: Schema) -> str:
    attribute, shift = schema.attributes[swap[0]], swap[1]
    return attribute.name if attribute.binary else f"{attribute.name} +{shift}"


@torch.inference_mode()
def _decode(
    model: EditingModel, dataset: PreparedDataset, indices: np.ndarray, swap: Swap | None, device: torch.device
) -> np.ndarray:
    labels = dataset.labels[indices][:, dataset.columns(model.schema)]
    latent = model.encode_pixels(to_pixels(dataset.images[indices], device))
    values = torch.from_numpy(labels if swap is None else swapped(labels, swap, model.schema)).to(device)
    return from_pixels(model.decode_pixels(latent, model.own_values(latent, values) if swap is None else values))
