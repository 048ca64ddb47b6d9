"""One pass over a split: what a model makes of every picture, in numbers, a batch at a time."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from fader import metrics
from fader.attributes import Schema
from fader.datasets.prepared import PreparedDataset
from fader.evaluation.counterfactuals import Swap, counterfactuals, swapped, swaps
from fader.evaluation.probe import Probe, fit_probes
from fader.evaluation.protocol import EditingModel
from fader.images import to_pixels
from fader.progress import progress
from fader.training.classifier import Classifier

TRAINING_PICTURES = 10_000  # Looked at, at most, evenly spaced: for the mean picture, and for the probes.
PROBE_NUMBERS = 2**27  # Features times pictures that the probes learn from, at most: 512 MB.
BATCH_PIXELS = 2**19  # 128 pictures of 64 pixels, 8 of 256.

Numbers = dict[str, np.ndarray]
"""By name, arrays with an entry a picture."""


@dataclass(frozen=True)
class Background:
    """What is taken from the training split to compare with."""

    mean_picture: Tensor
    """Pixels [C, S, S]."""
    pictures: int
    """How many the mean picture is of."""
    linear_probe: Probe
    network_probe: Probe
    probe_pictures: int
    shares: list[np.ndarray]
    """Of each value of each attribute, in the labels of the whole split."""


@dataclass(frozen=True)
class Errors:
    """Sums of squared errors against the true counterfactual of each picture, [N]."""

    swapped: np.ndarray
    """Of the swap, over the pixels in which the counterfactual differs from the picture."""
    unswapped: np.ndarray
    """The same of the reconstruction."""
    outside: np.ndarray
    """Between swap and reconstruction, over the pixels in which the counterfactual equals the picture."""
    outside_values: np.ndarray
    """How many values (pixels times channels) the last sum is over."""


@dataclass(frozen=True)
class SwapMeasurement:
    """One kind of swap of every picture. Arrays are [N], in the order of the pictures."""

    attribute: int
    """Its position in the schema."""
    errors: Errors | None
    """Where the true counterfactuals are known."""
    target: np.ndarray
    """The label that it is swapped to."""
    seen: np.ndarray
    """The label that the judge sees in the decoding."""
    probability: np.ndarray
    """What the judge gives to the target."""


@dataclass(frozen=True)
class Measurements:
    """What was measured of N pictures. Arrays are [N] or [N, n], in one order."""

    indices: np.ndarray
    """Positions in the dataset."""
    labels: np.ndarray
    swaps: list[SwapMeasurement]
    mse: np.ndarray
    psnr: np.ndarray
    ssim: np.ndarray
    distance: np.ndarray
    """MSE between the picture and the mean training picture."""
    judged: np.ndarray
    """The judge's labels of the picture itself."""
    probed: np.ndarray
    """The linear probe's labels, for equally frequent values."""
    probed_natural: np.ndarray
    """The linear probe's labels, for values as frequent as in training."""
    probed_by_network: np.ndarray
    """The network probe's labels, for equally frequent values."""
    own: np.ndarray | None = None
    """The labels by the model's own classifier, where it has one."""


@torch.inference_mode()
def look_at_training(model: EditingModel, dataset: PreparedDataset, device: torch.device) -> Background:
    """The mean training picture, probes trained on training latents, and how frequent every value is.

    Raises UserError if the dataset has no training pictures or lacks an attribute of the model.
    """
    columns = dataset.columns(model.schema)
    labels = dataset.labels[dataset.indices("train")][:, columns]
    shares = [np.bincount(labels[:, k], minlength=len(a.values)) / len(labels) for k, a in enumerate(model.schema)]
    indices = dataset.indices("train", TRAINING_PICTURES)
    labels = dataset.labels[indices][:, columns]
    total = torch.zeros(model.channels, model.size, model.size, dtype=torch.float64)
    features = np.empty((0, 0), dtype=np.float32)
    filled = 0
    with progress("Training pictures", len(indices)) as bar:
        for batch in _batches(np.arange(len(indices)), model.size):
            pixels = to_pixels(dataset.images[indices[batch]], device)
            total += pixels.sum(dim=0).cpu().double()
            # The order of training pictures may mean something, so the probes' share of them is evenly spaced too.
            latents = model.latent_features(model.encode_pixels(pixels)).float().cpu().numpy()
            if not features.size:
                step = -(-len(indices) * latents.shape[1] // PROBE_NUMBERS)
                features = np.empty((len(range(0, len(indices), step)), latents.shape[1]), dtype=np.float32)
            taken = latents[batch % step == 0]
            features[filled : filled + len(taken)] = taken
            filled += len(taken)
            bar.advance(len(batch))
    with torch.inference_mode(False):
        learnt = torch.from_numpy(labels[::step].copy()).to(device)
        probes = fit_probes(torch.from_numpy(features).to(device), learnt, model.schema)
    return Background((total / len(indices)).float().to(device), len(indices), *probes, filled, shares)


@torch.inference_mode()
def measure(
    model: EditingModel,
    judge: Classifier,
    dataset: PreparedDataset,
    split: str,
    background: Background,
    device: torch.device,
    own: nn.Module | None = None,
    workers: int | None = None,
) -> Measurements:
    """Reconstruct every picture of a split, and swap every attribute by itself with the others at their true labels.

    `judge` may know more attributes than the model. `own` is the model's own classifier, which is only compared with
    the labels. Counterfactuals are drawn by so many `workers` where the dataset has them. Only numbers are kept.
    """
    schema = model.schema
    indices = dataset.indices(split)
    columns = dataset.columns(schema)
    batches = _batches(indices, model.size)
    judged = [judge.schema.index(name) for name in schema.names]
    pictures: list[Numbers] = []
    judgements: dict[Swap, list[Numbers]] = {swap: [] for swap in swaps(schema)}
    errors: dict[Swap, list[Numbers]] = {swap: [] for swap in swaps(schema)}
    with (
        progress(f"Pictures of split {split}", len(indices)) as bar,
        closing(_truths(dataset, batches, schema, workers)) as truths,
    ):
        for batch, truth in zip(batches, truths, strict=True):
            images = dataset.images[batch]
            labels = dataset.labels[batch][:, columns]
            pixels = to_pixels(images, device)
            latent = model.encode_pixels(pixels)
            reconstruction = model.decode_pixels(latent, model.own_values(latent, torch.from_numpy(labels).to(device)))
            features = model.latent_features(latent)
            numbers = {
                "mse": metrics.squared_error(reconstruction, pixels),
                "psnr": metrics.psnr(reconstruction, pixels),
                "ssim": metrics.ssim(reconstruction, pixels),
                "distance": metrics.squared_error(background.mean_picture, pixels),
                "judged": judge.classify(pixels)[0][:, judged],
                "probed": background.linear_probe.predict(features),
                "probed_natural": background.linear_probe.predict(features, balanced=False),
                "probed_by_network": background.network_probe.predict(features),
            }
            if own is not None:
                numbers["own"] = schema.predictions(own(pixels))[0]
            pictures.append(_on_cpu(numbers))
            for i, swap in enumerate(swaps(schema)):
                k = swap[0]
                values = torch.from_numpy(swapped(labels, swap, schema)).to(device)
                edited = model.decode_pixels(latent, values)
                logits = judge.network(edited)[:, judge.schema.slices[judged[k]]]
                judgement = {
                    "target": values[:, k],
                    "seen": logits.argmax(dim=1),
                    "probability": logits.softmax(dim=1).gather(1, values[:, k, None])[:, 0],
                }
                judgements[swap].append(_on_cpu(judgement))
                if truth is not None:
                    errors[swap].append(_on_cpu(_errors(edited, reconstruction, images, truth[:, i], device)))
            bar.advance(len(batch))
    measured = [
        SwapMeasurement(swap[0], Errors(**_joined(errors[swap])) if errors[swap] else None, **_joined(judgements[swap]))
        for swap in swaps(schema)
    ]
    return Measurements(indices, dataset.labels[indices][:, columns], measured, **_joined(pictures))


def _errors(
    edited: Tensor, reconstruction: Tensor, images: np.ndarray, truth: np.ndarray, device: torch.device
) -> dict[str, Tensor]:
    """What `Errors` holds, of a batch; `truth` is uint8 [B, S, S, C] as `images` are."""
    differs = torch.from_numpy((truth != images).any(axis=3)[:, None]).to(device)
    target = to_pixels(truth, device)
    return {
        "swapped": metrics.region_error(edited, target, differs),
        "unswapped": metrics.region_error(reconstruction, target, differs),
        "outside": metrics.region_error(edited, reconstruction, ~differs),
        "outside_values": images.shape[3] * (~differs).sum(dim=(1, 2, 3)),
    }


def _truths(
    dataset: PreparedDataset, batches: Sequence[np.ndarray], schema: Schema, workers: int | None
) -> Generator[np.ndarray | None, None, None]:
    """For each batch its counterfactuals, or None where the dataset has none."""
    if not dataset.has_counterfactuals:
        yield from (None for _ in batches)
        return
    with closing(counterfactuals(dataset, batches, schema, workers)) as drawn:
        yield from drawn


def _batches(indices: np.ndarray, size: int) -> list[np.ndarray]:
    most = max(1, BATCH_PIXELS // size**2)
    return [indices[start : start + most] for start in range(0, len(indices), most)]


def _on_cpu(numbers: dict[str, Tensor]) -> Numbers:
    return {name: values.cpu().numpy() for name, values in numbers.items()}


def _joined(parts: Sequence[Numbers]) -> Numbers:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
