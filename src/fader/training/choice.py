"""`fader select`: the candidates of a run side by side, and the choice of one by a person (end of section 4)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fader import figures
from fader.config import IcganConfig
from fader.datasets.prepared import Location, PreparedDataset, open_dataset
from fader.datasets.remote import is_remembered
from fader.errors import UserError
from fader.files import is_url, refuse_existing
from fader.images import save_picture
from fader.networks.autoencoder import AutoEncoder
from fader.networks.weights import load_weights
from fader.training.records import read_records
from fader.training.run import AnyRun, Run, open_run
from fader.training.selection import PERSON, Evaluation, best, front, swap_rows, write_model

MOST = 1e9  # Figures of a sound evaluation are closer to 0.


def show_candidates(
    folder: Path, output: Path | None = None, dataset: Location | None = None, count: int = 4, overwrite: bool = False
) -> str:
    """Draw every candidate's swaps of the same training pictures; return a table of the candidates.

    Args:
        folder: The run folder.
        output: The picture to write; by default `candidates.png` in the run folder, which is always drawn anew.
        dataset: The run's dataset, where it is no longer where it was.
        count: How many training pictures to show.
        overwrite: Whether `output` may be there already.
    """
    run = fader_run(folder)
    candidates = candidates_of(run)
    if output is not None:
        refuse_existing(output, overwrite)
    data = open_run_dataset(run, dataset)
    pictures = data.indices("train")[:count]
    images, labels = data.images[pictures], data.labels[pictures][:, data.columns(run.schema)]
    rows: list[list[np.ndarray]] = []
    for one in candidates:
        network = candidate_network(run, one["epoch"])
        swapped, columns = swap_rows(network, run.config, run.schema, images, labels)
        rows += swapped
    # Picture by picture, so that the candidates' versions of one face stand under one another.
    order = [c * len(pictures) + p for p in range(len(pictures)) for c in range(len(candidates))]
    titles = [f"epoch {one['epoch']}" for _ in pictures for one in candidates]
    path = output or run.folder / "candidates.png"
    save_picture(figures.grid([rows[i] for i in order], columns, titles), path)
    return f"{candidates_table(candidates, run)}\n\nSide by side on training pictures: {path}"


def choose(folder: Path, epoch: int, dataset: Location | None = None) -> str:
    """Make the candidate of this epoch the run's model. Raises UserError if it is none."""
    run = fader_run(folder)
    candidates = candidates_of(run)
    chosen = [one for one in candidates if one["epoch"] == epoch]
    if not chosen:
        there = ", ".join(str(one["epoch"]) for one in candidates)
        raise UserError(f"{folder}: epoch {epoch} is not a candidate; the candidates are {there}.")
    write_model(run, open_run_dataset(run, dataset), chosen[0], by=PERSON)
    return f"The model of epoch {epoch} is now in {run.model}."


def candidates_table(candidates: list[Evaluation], run: Run) -> str:
    """The candidates with their two criteria, the best by rule marked."""
    marked = best(candidates)["epoch"]
    lines = [f"{'epoch':>7} {'step':>9} {'MSE':>8} {'swaps':>7}  " + "  ".join(run.schema.names)]
    for one in candidates:
        accuracies = "  ".join(f"{one['accuracy'][name]:{len(name)}.1%}" for name in run.schema.names)
        mark = "*" if one["epoch"] == marked else " "
        lines.append(
            f"{mark}{one['epoch']:>6} {one['step']:>9,} {one['mse']:>8.4f} {one['mean_accuracy']:>7.1%}  {accuracies}"
        )
    return "\n".join([*lines, "* lowest MSE within 2 points of the best mean swap accuracy"])


def candidate_network(run: Run, epoch: int) -> AutoEncoder:
    """The encoder and decoder as they were after an epoch."""
    return load_weights(lambda: AutoEncoder(run.config.network, run.schema.code_size), run.candidate(epoch))


def open_run_dataset(run: AnyRun, dataset: Location | None = None) -> PreparedDataset:
    """The dataset of a run, from where it was or from where it is now. Raises UserError if it is another one.

    A run may be a stranger's: it leads to no URL that was not named to fader on this machine before.
    """
    location = dataset or str(run.dataset["path"])
    if dataset is None and is_url(location) and not is_remembered(str(location)):
        raise UserError(
            f"{run.folder}: this run says that its dataset is at {location}, which was not read on this machine before;"
            f" if you trust that address, name it with --dataset {location}."
        )
    if not is_url(location) and not Path(location).exists():
        raise UserError(f"{location}: the run's dataset is not there any more; say where it is with --dataset.")
    data = open_dataset(location)
    if data.fingerprint != run.dataset["fingerprint"]:
        raise UserError(f"{location}: this is not the dataset that {run.folder} was trained on.")
    return data


def fader_run(folder: Path) -> Run:
    """The run of a Fader Network, which has candidates. Raises UserError."""
    run = open_run(folder)
    if isinstance(run.config, IcganConfig):
        raise UserError(
            f"{folder}: the run of an IcGAN has no candidates to choose from; its encoders' best epochs are kept."
        )
    return Run(run.folder, run.config, run.schema, run.dataset, run.init)


def candidates_of(run: Run) -> list[Evaluation]:
    """The evaluations of a run's candidates, by epoch. Raises UserError if there is none, or a record is damaged."""
    evaluations = read_records(run.metrics, "evaluation")
    if not all(_is_evaluation(one, run) for one in evaluations):
        raise UserError(f"{run.metrics}: a record of an evaluation is damaged.")
    candidates = front(evaluations)
    if not candidates:
        raise UserError(f"{run.folder}: no epoch is finished yet; go on with `fader train`.")
    return candidates


def _is_evaluation(one: Evaluation, run: Run) -> bool:
    accuracies = one.get("accuracy")
    if type(one.get("epoch")) is not int or not isinstance(accuracies, dict):
        return False
    figures = [one.get("mse"), one.get("mean_accuracy"), *(accuracies.get(name) for name in run.schema.names)]
    return all(isinstance(figure, int | float) and abs(figure) < MOST for figure in figures)
