"""Attribute classifiers: one for selection and for pictures without labels, another to judge evaluations by."""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fader import objectives
from fader.attributes import Schema
from fader.config import ClassifierConfig, from_json
from fader.datasets.prepared import Location, PreparedDataset, open_dataset
from fader.devices import find_device
from fader.errors import UserError
from fader.files import new_folder, read_json, refuse_existing, write_json
from fader.images import to_pixels
from fader.networks.classifier import make_classifier
from fader.networks.weights import load_weights, save_weights
from fader.progress import progress, say
from fader.training.batches import Batches
from fader.training.checkpoints import CHECKPOINT_SECONDS, newest_checkpoint, save_checkpoint
from fader.training.player import Player
from fader.training.sampling import Sampler

WEIGHTS = "classifier.safetensors"
FORMAT = {"format": "fader-classifier", "version": 1}
SIZES = tuple(2**power for power in range(4, 17))  # Of pictures.
BATCH = 256  # Pictures classified at once where nothing is learnt.
RISE = 0.3  # Share of the steps over which the learning rate rises; it then falls along a cosine (one cycle).


@dataclass(frozen=True)
class Classifier:
    """A trained classifier and what it is one of; the network is in eval mode, pixels to logits [B, code_size]."""

    network: nn.Module
    schema: Schema
    size: int
    channels: int
    config: ClassifierConfig
    info: dict[str, Any] = field(default_factory=dict)
    """`accuracy`: the share of the validation pictures that it is right on, by attribute; `dataset`: the fingerprint
    of the data set it was trained on."""

    def classify(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """The likeliest labels, int64 [B, n], and the probability given to each, [B, n], for pixels [B, C, S, S]."""
        with torch.inference_mode():
            return self.schema.predictions(self.network(pixels))

    def features(self, pixels: Tensor) -> Tensor:
        """What the network's last layer reads, [B, F], for pixels [B, C, S, S]."""
        features: Any = self.network.features
        with torch.inference_mode():
            return features(pixels)


def make_classifier_folder(
    dataset: Location,
    output: Path,
    attributes: tuple[str, ...] = (),
    config: ClassifierConfig | None = None,
    device: str = "auto",
    overwrite: bool = False,
) -> Classifier:
    """Train a classifier on a prepared data set and write it to the folder `output`.

    It is one of `attributes`, by default of all that the data set has. Raises UserError where the data set cannot be
    used or the output exists.
    """
    refuse_existing(output, overwrite, WEIGHTS)
    opened = open_dataset(dataset)
    schema = opened.schema.select(attributes) if attributes else opened.schema
    classifier = train_classifier(opened, schema, config or ClassifierConfig(), find_device(device))
    save_classifier(classifier, output, overwrite)
    return classifier


def train_classifier(
    dataset: PreparedDataset,
    schema: Schema,
    config: ClassifierConfig,
    device: torch.device,
    what: str = "Training the classifier",
    progress_folder: Path | None = None,
) -> Classifier:
    """Train a classifier of these attributes on the training split: Adam, one cycle of the learning rate, flips.

    On a CPU the weights are a function of the data, the configuration and the number of threads. `what` is said beside
    the progress bar. In `progress_folder`, if given, checkpoints are kept while it trains, which the same call goes on
    from after an interruption. Raises UserError if there are not two training pictures, or no validation picture, or if
    the pictures' side is none of SIZES.
    """
    if dataset.size not in SIZES:
        raise UserError(
            f"{dataset.path}: its pictures are of {dataset.size} pixels; a classifier needs a power of two from"
            f" {SIZES[0]}: prepare them with another --size."
        )
    indices = dataset.indices("train")
    batch_size = min(config.batch_size, len(indices))
    if batch_size < 2:
        raise UserError(f"{dataset.path}: a classifier needs at least two training pictures; there is one.")
    dataset.indices("valid")  # Refuse now rather than when all is trained.
    labels = dataset.labels[:, dataset.columns(schema)]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        network = make_classifier(config, dataset.size, dataset.channels, schema)
    player = Player(network.train(), device, config.learning_rate)
    batches = Batches(dataset, dataset.columns(schema), Sampler(indices, batch_size, config.seed), device)
    steps = max(1, round(config.epochs * len(indices) / batch_size))
    loss = 0.0
    done, saved = _resume(progress_folder, player), time.monotonic()
    with progress(what, steps, done) as bar:
        for step in range(done, steps):
            pixels, true = batches.take(step)
            player.set_learning_rate(config.learning_rate * _one_cycle((step + 0.5) / steps))
            batch_loss, _ = objectives.classification(network(pixels), true, schema)
            with player.update():
                torch.autograd.backward(batch_loss)
            if step % 20 == 0:
                loss = batch_loss.item() / len(schema)
                if not math.isfinite(loss):
                    raise UserError(
                        f"{what}: it diverged at step {step + 1:,} (loss {loss:.4g}); give it a lower --learning-rate."
                    )
            bar.advance(shown=f"loss {loss:.3f} an attribute")
            if progress_folder and time.monotonic() - saved > CHECKPOINT_SECONDS:
                save_checkpoint(progress_folder, step + 1, player.state())
                saved = time.monotonic()
    batches.pause()
    classifier = Classifier(network.eval(), schema, dataset.size, dataset.channels, config)
    right = (classify_split(classifier, dataset, "valid", device) == labels[dataset.indices("valid")]).mean(axis=0)
    accuracy = dict(zip(schema.names, right.tolist(), strict=True))
    say(f"{what}: right on the validation pictures: " + ", ".join(f"{n} {a:.1%}" for n, a in accuracy.items()) + ".")
    classifier.info.update(accuracy=accuracy, dataset=dataset.fingerprint)
    return classifier


def _resume(folder: Path | None, player: Player[nn.Module]) -> int:
    """Go back to the newest checkpoint in a folder, and return after how many updates it was written."""
    state = newest_checkpoint(folder) if folder else None
    if state is None:
        return 0
    player.restore(state)
    return int(state["step"])


def classify_split(classifier: Classifier, dataset: PreparedDataset, split: str, device: torch.device) -> np.ndarray:
    """The labels that a classifier gives to the pictures of a split: int64 [N, n]."""
    indices = dataset.indices(split)
    batches = np.split(indices, range(BATCH, len(indices), BATCH))
    seen = [classifier.classify(to_pixels(dataset.images[batch], device))[0].cpu().numpy() for batch in batches]
    return np.concatenate(seen)


def save_classifier(classifier: Classifier, folder: Path, overwrite: bool = False) -> None:
    """Write a classifier folder: classifier.safetensors and config.json. Raises UserError if it exists."""
    with new_folder(folder, overwrite, WEIGHTS) as temporary:
        save_weights(classifier.network, temporary / WEIGHTS)
        write_json(
            temporary / "config.json",
            {
                **FORMAT,
                "classifier": asdict(classifier.config),
                "attributes": classifier.schema.to_json(),
                "size": classifier.size,
                "channels": classifier.channels,
                **classifier.info,
            },
        )


def load_classifier(folder: Path, device: torch.device | str = "cpu") -> Classifier:
    """Read a classifier folder. Raises UserError where it is damaged, incomplete or something else."""
    path = folder / "config.json"
    data = read_json(path)
    if not isinstance(data, dict) or any(data.get(key) != value for key, value in FORMAT.items()):
        raise UserError(f"{folder}: this is not a classifier folder that this version of fader reads.")
    try:
        config = from_json(ClassifierConfig, data.get("classifier"))
        schema = Schema.from_json(data.get("attributes"))
        size, channels, info = data.get("size"), data.get("channels"), _checked_info(data, schema)
        if not isinstance(size, int) or size not in SIZES or channels not in (1, 3):
            raise UserError(f"Pictures of {size} pixels and {channels} channels are none that a classifier reads.")
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    network = load_weights(lambda: make_classifier(config, size, channels, schema), folder / WEIGHTS, device)
    return Classifier(network, schema, size, channels, config, info)


def _checked_info(data: dict[str, Any], schema: Schema) -> dict[str, Any]:
    accuracy, dataset = data.get("accuracy"), data.get("dataset")
    if not isinstance(accuracy, dict) or set(accuracy) != set(schema.names) or not isinstance(dataset, str):
        raise UserError("It does not say how accurate the classifier is and on which data set.")
    if not all(isinstance(share, float | int) and 0 <= share <= 1 for share in accuracy.values()):
        raise UserError("An accuracy is not a share from 0 to 1.")
    return {"accuracy": accuracy, "dataset": dataset}


def _one_cycle(position: float) -> float:
    """The learning rate at a position in (0, 1) of the run, as a share of its peak."""
    if position < RISE:
        return position / RISE
    return 0.5 * (1 + float(np.cos(np.pi * (position - RISE) / (1 - RISE))))
