"""The classifier that swaps are judged by, which is never the one that training or selection looked at."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from fader.attributes import Schema
from fader.config import JUDGE, ClassifierConfig
from fader.datasets.prepared import PreparedDataset
from fader.errors import UserError
from fader.files import refuse_existing, spelled_out
from fader.progress import say
from fader.training.classifier import WEIGHTS, Classifier, load_classifier, save_classifier, train_classifier


def judge_beside(output: Path) -> Path:
    """Where the judge of a report of no run is kept: a folder beside the report's."""
    output = spelled_out(output)
    return output.with_name(f"{output.name}-judge")


def find_judge(
    folder: Path,
    named: bool,
    dataset: PreparedDataset,
    schema: Schema,
    own: ClassifierConfig | None,
    device: torch.device,
    overwrite: bool = False,
) -> Classifier:
    """The judge in a classifier folder, or, where there is no such folder, one trained now and kept there.

    Args:
        folder: The classifier folder.
        named: Whether a person named it. If not, a judge of other pictures in it is not used.
        dataset: What is evaluated on; a new judge learns from its training split.
        schema: What has to be judged; the judge may know more.
        own: The model's own classifier, which selected it and perhaps trained it. (A model without one has none that
            could be mistaken for a judge, but `ClassifierConfig()` is what selection uses by default.)
        device: Where it computes.
        overwrite: Whether an unusable judge that nobody named is replaced.

    Raises UserError where the judge there is damaged, is of the same architecture as the model's classifier, or cannot
    judge these attributes or pictures.
    """
    own = own or ClassifierConfig()
    config = JUDGE if own.architecture != JUDGE.architecture else replace(ClassifierConfig(), seed=JUDGE.seed)
    if folder.exists() and named:
        judge = load_classifier(folder, device)
        if problem := _problem(judge, dataset, schema, own):
            raise UserError(f"{folder}: {problem}; name another with --judge.")
        if judge.info["dataset"] != dataset.fingerprint:
            say(f"The judge in {folder} was trained on other pictures than those of {dataset.path}.")
        return judge
    if folder.exists():
        try:
            judge = load_classifier(folder, device)
            problem = _problem(judge, dataset, schema, own)
            if not problem and judge.info["dataset"] != dataset.fingerprint:
                problem = "this classifier was trained on other pictures"
        except UserError as error:
            problem = f"this classifier cannot be read: {str(error).removesuffix('.')}"
        if not problem:
            return judge
        if not overwrite:
            raise UserError(
                f"{folder}: {problem}; add --overwrite to train another in its place, or name one with --judge."
            )
        refuse_existing(folder, overwrite, WEIGHTS)  # Now rather than when another is trained.
    judge = train_classifier(dataset, schema, config, device, "Training the judge")
    save_classifier(judge, folder, overwrite=not named)
    return judge


def _problem(judge: Classifier, dataset: PreparedDataset, schema: Schema, own: ClassifierConfig) -> str | None:
    """Why a classifier cannot judge, if it cannot."""
    if judge.config.architecture == own.architecture:
        return (
            f"this classifier is of the {own.architecture} architecture, as the one that the model was selected by,"
            " and shares its weaknesses or is the same"
        )
    if (judge.size, judge.channels) != (dataset.size, dataset.channels):
        return (
            f"this classifier takes pictures of {judge.size} pixels and {judge.channels} channel(s), and those of"
            f" {dataset.path} have {dataset.size} and {dataset.channels}"
        )
    for attribute in schema:
        if attribute not in judge.schema.attributes:
            return f"this classifier does not know {attribute.name!r} with the values {', '.join(attribute.values)}"
    return None
