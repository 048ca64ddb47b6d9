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
from fader.datasets.views import view
from fader.evaluation import stgan
from fader.evaluation.counterfactuals import Swap, counterfactuals, swapped, swaps
from fader.evaluation.judged import judged, judged_part, seen_in
from fader.evaluation.probe import Probe, fit_probes
from fader.evaluation.protocol import EditingModel
from fader.images import from_pixels, to_pixels
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
    kept: np.ndarray
    """Share of the other attributes that the judge sees as it does in the picture itself; NaN if there is none."""


@dataclass(frozen=True)
class Inversion:
    """One attribute inverted by STGAN's protocol, of every picture. Arrays are [N]."""

    attribute: int
    seen: np.ndarray
    """Whether the judge sees it."""
    disturbed: np.ndarray
    """How many of the protocol's other attributes the judge sees other than the labels say."""
    others: np.ndarray
    """How many those are: without what conflicts with the attribute and was therefore changed with it."""


@dataclass(frozen=True)
class Measurements:
    """What was measured of N pictures. Arrays are [N] or [N, n], in one order."""

    indices: np.ndarray
    """Positions in the dataset."""
    labels: np.ndarray
    swaps: list[SwapMeasurement]
    inversions: list[Inversion]
    mse: np.ndarray
    psnr: np.ndarray
    ssim: np.ndarray
    png_psnr: np.ndarray
    """Of the reconstruction rounded to 8 bits, as a PNG holds it."""
    png_ssim: np.ndarray
    distance: np.ndarray
    """MSE between the picture and the mean training picture."""
    judged: np.ndarray
    """The judge's labels of the picture itself."""
    judged_reconstruction: np.ndarray
    """Those of its reconstruction."""
    probed: np.ndarray
    """The linear probe's labels, for equally frequent values."""
    probed_natural: np.ndarray
    """The linear probe's labels, for values as frequent as in training."""
    probed_by_network: np.ndarray
    """The network probe's labels, for equally frequent values."""
    probe_scores: np.ndarray
    """The linear probe's log-probabilities of every value, [N, code_size]."""
    network_probe_scores: np.ndarray
    own: np.ndarray | None = None
    """The labels by the model's own classifier, where it has one."""


@torch.inference_mode()
def look_at_training(model: EditingModel, dataset: PreparedDataset, device: torch.device) -> Background:
    """The mean training picture, probes trained on training latents, and how frequent every value is.

    Raises UserError if the dataset has no training pictures or lacks an attribute of the model.
    """
    dataset = view(dataset, model.framing, model.size)
    columns = dataset.columns(model.schema)
    labels = dataset.labels[dataset.indices("train")][:, columns]
    shares = [np.bincount(labels[:, k], minlength=len(a.values)) / len(labels) for k, a in enumerate(model.schema)]
    indices = dataset.indices("train", TRAINING_PICTURES)
    labels = dataset.labels[indices][:, columns]
    total = torch.zeros(model.channels, model.size, model.size, dtype=torch.float64)
    features = np.empty((0, 0), dtype=np.float32)
    filled = 0
    with progress("Training pictures", len(indices)) as bar:
        for batch in split_batches(np.arange(len(indices)), model.size):
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

    `judge` may know more attributes than the model, and sees what `judged` makes of the dataset. `own` is the model's
    own classifier, which is only compared with the labels. Counterfactuals are drawn by so many `workers` where the
    dataset has them. Only numbers are kept.
    """
    schema = model.schema
    eye = Eye(judge, schema, model, dataset)
    shown, dataset = judged(dataset), view(dataset, model.framing, model.size)
    indices = dataset.indices(split)
    columns = dataset.columns(schema)
    batches = split_batches(indices, model.size)
    protocol = stgan.present(schema)
    pictures: list[Numbers] = []
    judgements: dict[Swap, list[Numbers]] = {swap: [] for swap in swaps(schema)}
    errors: dict[Swap, list[Numbers]] = {swap: [] for swap in swaps(schema)}
    inversions: dict[int, list[Numbers]] = {k: [] for k in protocol}
    with (
        progress(f"Pictures of split {split}", len(indices)) as bar,
        closing(_truths(dataset, batches, schema, workers)) as truths,
    ):
        for batch, truth in zip(batches, truths, strict=True):
            images = dataset.images[batch]
            labels = dataset.labels[batch][:, columns]
            pixels = to_pixels(images, device)
            latent = model.encode_pixels(pixels)
            own_values = model.own_values(latent, torch.from_numpy(labels).to(device))
            reconstruction = model.decode_pixels(latent, own_values)
            png = to_pixels(from_pixels(reconstruction), device)
            features = model.latent_features(latent)
            truly_seen = eye.labels(pixels if shown is dataset else to_pixels(shown.images[batch], device))
            numbers = {
                "mse": metrics.squared_error(reconstruction, pixels),
                "psnr": metrics.psnr(reconstruction, pixels),
                "ssim": metrics.ssim(reconstruction, pixels),
                "png_psnr": metrics.psnr(png, pixels),
                "png_ssim": metrics.ssim(png, pixels),
                "distance": metrics.squared_error(background.mean_picture, pixels),
                "judged": truly_seen,
                "judged_reconstruction": eye.labels(eye.shown(reconstruction)),
                "probed": background.linear_probe.predict(features),
                "probed_natural": background.linear_probe.predict(features, balanced=False),
                "probed_by_network": background.network_probe.predict(features),
                "probe_scores": background.linear_probe.log_probabilities(features),
                "network_probe_scores": background.network_probe.log_probabilities(features),
            }
            if own is not None:
                numbers["own"] = schema.predictions(own(pixels))[0]
            pictures.append(_on_cpu(numbers))
            for i, swap in enumerate(swaps(schema)):
                k, values = swap[0], swapped(labels, swap, schema)
                targets = torch.from_numpy(values[:, k]).to(device)
                edited = model.decode_pixels(latent, torch.from_numpy(values).to(device))
                logits = eye.logits(eye.shown(edited))
                seen = schema.predictions(logits)[0]
                judgement = {
                    "target": targets,
                    "seen": seen[:, k],
                    "probability": logits[:, schema.slices[k]].softmax(dim=1).gather(1, targets[:, None])[:, 0],
                    "kept": _others(seen == truly_seen, k).float().mean(dim=1),
                }
                judgements[swap].append(_on_cpu(judgement))
                if truth is not None:
                    errors[swap].append(_on_cpu(_errors(edited, reconstruction, images, truth[:, i], device)))
                if k in protocol:
                    asked = stgan.inverted(labels, k, schema)
                    if not np.array_equal(asked, values):
                        edited = model.decode_pixels(latent, torch.from_numpy(asked).to(device))
                        seen = eye.labels(eye.shown(edited))
                    inversions[k].append(_inversion(seen.cpu().numpy(), labels, asked, k, protocol))
            bar.advance(len(batch))
    return Measurements(
        indices,
        dataset.labels[indices][:, columns],
        [
            SwapMeasurement(swap[0], Errors(**_joined(errors[swap])) if errors[swap] else None, **_joined(judgement))
            for swap, judgement in judgements.items()
        ],
        [Inversion(k, **_joined(numbers)) for k, numbers in inversions.items()],
        **_joined(pictures),
    )


class Eye:
    """A judge that looks at what a model makes of a dataset's pictures, for the attributes of that model."""

    def __init__(self, judge: Classifier, schema: Schema, model: EditingModel, dataset: PreparedDataset) -> None:
        self._judge = judge
        self._box = judged_part(model.framing, dataset)
        places = torch.arange(judge.schema.code_size)
        self._places = torch.cat([places[judge.schema.slices[judge.schema.index(name)]] for name in schema.names])
        self._schema = schema

    def shown(self, pixels: Tensor) -> Tensor:
        """A model's pixels [B, C, S, S] as the judge sees them."""
        return seen_in(pixels, self._box, self._judge.size)

    def logits(self, pixels: Tensor) -> Tensor:
        """[B, code_size] of the model's attributes, for pixels that are as `shown` returns them."""
        return self._judge.network(pixels)[:, self._places.to(pixels.device)]

    def labels(self, pixels: Tensor) -> Tensor:
        """The likeliest labels, int64 [B, n], for pixels that are as `shown` returns them."""
        return self._schema.predictions(self.logits(pixels))[0]


def _others(of_attributes: Tensor, k: int) -> Tensor:
    """All columns of [B, n] but one."""
    return of_attributes[:, [j for j in range(of_attributes.shape[1]) if j != k]]


def _inversion(seen: np.ndarray, labels: np.ndarray, asked: np.ndarray, k: int, protocol: Sequence[int]) -> Numbers:
    """What `Inversion` holds, of a batch: labels int64 [B, n] that are seen, true, and were asked for."""
    others = [j for j in protocol if j != k]
    compared = asked[:, others] == labels[:, others]
    wrong = (seen[:, others] != labels[:, others]) & compared
    return {"seen": seen[:, k] == asked[:, k], "disturbed": wrong.sum(axis=1), "others": compared.sum(axis=1)}


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


def split_batches(indices: np.ndarray, size: int) -> list[np.ndarray]:
    most = max(1, BATCH_PIXELS // size**2)
    return [indices[start : start + most] for start in range(0, len(indices), most)]


def _on_cpu(numbers: dict[str, Tensor]) -> Numbers:
    return {name: values.cpu().numpy() for name, values in numbers.items()}


def _joined(parts: Sequence[Numbers]) -> Numbers:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
