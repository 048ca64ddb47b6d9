"""Model selection as at the end of section 4: reconstruction error and swap accuracy on the validation split.

The two criteria filter the candidates (the front of the trade-off); the final model is a person's choice, on
*training* pictures reconstructed with swapped attributes.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from fader import familiarity
from fader.attributes import Schema
from fader.config import AnyConfig, ClassifierConfig
from fader.datasets.prepared import PreparedDataset
from fader.edits import decode_rows, row_titles, swaps
from fader.errors import UserError
from fader.files import read_json
from fader.images import Framing, to_pixels
from fader.model import Model, save_model
from fader.networks.autoencoder import AutoEncoder
from fader.networks.icgan import IcGAN
from fader.networks.weights import load_weights
from fader.training import processes
from fader.training.classifier import Classifier, load_classifier, save_classifier, train_classifier
from fader.training.run import AnyRun, Run

BATCH = 128
PERSON = "a person"  # Who chose a model, where no rule did.
TOLERANCE = 0.02  # The best is sought among candidates whose mean swap accuracy is this close to the highest.

Evaluation = dict[str, Any]
"""A record of kind "evaluation": "epoch", "step", "mse", "errors", "accuracy" by attribute, "mean_accuracy"."""


@torch.inference_mode()
def assess(
    network: AutoEncoder | IcGAN,
    classifier: nn.Module,
    dataset: PreparedDataset,
    schema: Schema,
    device: torch.device,
    between_batches: Callable[[int], None],
) -> dict[str, Any]:
    """Reconstruction MSE in [-1, 1] and swap accuracy, over the whole validation split, shared out over the processes.

    For the accuracy each attribute is swapped by itself, with the others at their true labels, and the classifier has
    to find the swapped value in the decoding. Returns "mse", "errors" (`familiarity.summary`),
    "accuracy" (by attribute) and "mean_accuracy".
    """
    network.eval()
    columns = dataset.columns(schema)
    indices = dataset.indices("valid")
    errors = torch.zeros(len(indices), len(familiarity.MEASURES), dtype=torch.float64)
    right = torch.zeros(len(schema), dtype=torch.int64)
    together = BATCH * processes.count()
    for start in range(0, len(indices), together):
        batch = indices[start : start + together]
        between_batches(len(batch))
        positions = processes.share(np.arange(start, start + len(batch)))
        if not len(positions):
            continue
        chosen = indices[positions]
        pixels = to_pixels(dataset.images[chosen], device)
        labels = torch.from_numpy(dataset.labels[chosen][:, columns]).to(device)
        latent = network.encoder(pixels)
        decoded = network.decoder(latent, schema.code(network.own_values(latent, labels)))
        errors[torch.from_numpy(positions)] = familiarity.reconstruction_errors(pixels, decoded).cpu().double()
        for k, name in enumerate(schema.names):
            swapped = schema.flipped(labels, name)
            seen, _ = schema.predictions(classifier(network.decoder(latent, schema.code(swapped))))
            right[k] += (seen[:, k] == swapped[:, k]).sum().cpu()
    processes.add_up(errors)  # Each process has 0 where others have the error.
    processes.add_up(right)
    accuracy = {name: float(right[k]) / len(indices) for k, name in enumerate(schema.names)}
    return {
        "mse": float(errors[:, 0].mean()),
        "errors": familiarity.summary(errors),
        "accuracy": accuracy,
        "mean_accuracy": sum(accuracy.values()) / len(accuracy),
    }


def selection_classifier(run: AnyRun, dataset: PreparedDataset, given: Path | None, device: torch.device) -> Classifier:
    """The run's classifier: the one that it has, else the one given, else one trained now; it is kept in the run.

    `device` is where it is trained; what is returned is on the CPU.

    Raises UserError if the one given is of other attributes or pictures, or another than the run has.
    """
    if run.classifier.exists():
        if given is not None and not _alike(load_classifier(given), load_classifier(run.classifier)):
            raise UserError(
                f"{given}: the run in {run.folder} has another classifier, which its evaluations so far are by; leave"
                " out --classifier to go on with it, or name another output."
            )
    else:
        if given is None:
            progress_folder = run.folder / "classifier-progress"
            classifier = train_classifier(
                dataset, run.schema, ClassifierConfig(), device, progress_folder=progress_folder
            )
        else:
            classifier = load_classifier(given, device)
            if (classifier.schema, classifier.size, classifier.channels) != (
                run.schema,
                dataset.size,
                dataset.channels,
            ):
                raise UserError(
                    f"{given}: this classifier is of {', '.join(classifier.schema.names)} at {classifier.size} pixels;"
                    f" the run needs one of {', '.join(run.schema.names)} at {dataset.size}, in this order."
                )
        save_classifier(classifier, run.classifier)
    shutil.rmtree(run.folder / "classifier-progress", ignore_errors=True)
    return load_classifier(run.classifier)


def _alike(one: Classifier, other: Classifier) -> bool:
    """Whether two classifiers, on the CPU, see the same in all pictures."""
    if (one.schema, one.size, one.channels, one.config) != (other.schema, other.size, other.channels, other.config):
        return False
    theirs = other.network.state_dict()
    return all(torch.equal(tensor, theirs[name]) for name, tensor in one.network.state_dict().items())


def front(evaluations: Sequence[Evaluation]) -> list[Evaluation]:
    """The evaluations that no other beats in both criteria: the candidates for the final model."""

    def beaten(one: Evaluation) -> bool:
        return any(
            other["mse"] <= one["mse"]
            and other["mean_accuracy"] >= one["mean_accuracy"]
            and (other["mse"], -other["mean_accuracy"], -other["epoch"])
            < (one["mse"], -one["mean_accuracy"], -one["epoch"])
            for other in evaluations
        )

    return [one for one in evaluations if not beaten(one)]


def best(evaluations: Sequence[Evaluation]) -> Evaluation:
    """The lowest MSE within TOLERANCE of the best mean swap accuracy."""
    highest = max(one["mean_accuracy"] for one in evaluations)
    close = [one for one in evaluations if one["mean_accuracy"] >= highest - TOLERANCE]
    return min(close, key=lambda one: (one["mse"], -one["epoch"]))


def keep_front(run: Run, evaluations: Sequence[Evaluation], oldest_step: int) -> None:
    """Delete the weights of epochs that are not candidates (any more).

    Those that were candidates at `oldest_step`, the oldest checkpoint, stay: the run may have to go back there.
    """
    then = [one for one in evaluations if one["step"] <= oldest_step]
    kept = {run.candidate(one["epoch"]) for one in [*front(evaluations), *front(then)]}
    for path in run.candidate(0).parent.glob("epoch-*.safetensors"):
        if path not in kept:
            path.unlink()


def write_model(run: Run, dataset: PreparedDataset, evaluation: Evaluation, by: str) -> None:
    """Make a candidate the run's model: its weights, the classifier, the configuration and the model card.

    `by` says who chose it. Raises UserError if the candidate's weights are not there.
    """
    config, schema = run.config, run.schema
    network = load_weights(lambda: AutoEncoder(config.network, schema.code_size), run.candidate(evaluation["epoch"]))
    classifier = load_classifier(run.classifier)
    model = Model(
        network=network,
        schema=schema,
        config=config,
        framing=Framing.from_json(dataset.info["framing"]),
        classifier=classifier.network,
        classifier_config=classifier.config,
        dataset={name: run.dataset[name] for name in ("name", "fingerprint")},
        selection={
            "chosen by": by,
            **{name: evaluation[name] for name in evaluation if name not in ("kind", "errors")},
        },
        errors=evaluation.get("errors", {}),
    )
    save_model(model, run.model, overwrite=True)


def is_selected(run: Run, evaluation: Evaluation) -> bool:
    """Whether the run's model is of this evaluation."""
    return _is_of(_selection(run), evaluation)


def is_chosen(run: Run, evaluations: Sequence[Evaluation]) -> bool:
    """Whether the run's model is of one of its evaluations that a person chose."""
    selection = _selection(run)
    return selection.get("chosen by") == PERSON and any(_is_of(selection, one) for one in evaluations)


def _selection(run: Run) -> dict[str, Any]:
    """What the run's model says of its selection; nothing where there is no model yet."""
    config = run.model / "config.json"
    selection: dict[str, Any] = read_json(config)["selection"] if config.exists() else {}
    return selection


def _is_of(selection: Mapping[str, Any], evaluation: Evaluation) -> bool:
    # A run that had to go back comes to an epoch again, on a GPU with other weights.
    return all(selection.get(key) == evaluation[key] for key in ("epoch", "mse"))


def swap_rows(
    network: AutoEncoder | IcGAN, config: AnyConfig, schema: Schema, images: np.ndarray, labels: np.ndarray
) -> tuple[list[list[np.ndarray]], list[str]]:
    """Rows for a figure, and its columns' titles: each picture, its reconstruction, each attribute swapped by itself.

    `images` are uint8 [N, S, S, C], `labels` whole numbers [N, n].
    """
    model = Model(network.eval(), schema, config)
    faces = model.encode_framed(images, labels)
    edits = swaps(model, faces.labels, schema.names)
    return decode_rows(faces, edits), row_titles(edits)
