"""`fader study select`: the candidates of a run before raters, as at the end of section 4.

"The final model was selected based on human evaluation on images from the train set reconstructed with swapped
attributes." Raters see a training picture and every candidate's swap of it, in random order, and choose one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import fader
from fader.datasets.prepared import Location, PreparedDataset
from fader.errors import UserError
from fader.files import new_folder, write_json
from fader.progress import progress
from fader.study.create import Names, read_consent, refuse_study, write_picture
from fader.study.folder import CONSENT, PICTURES, STUDY, Item, Study, Task, write_key
from fader.study.protocol import RATERS
from fader.training.choice import candidate_network, candidates_of, fader_run, open_run_dataset
from fader.training.run import Run
from fader.training.selection import Evaluation, best, swap_rows

PICTURES_SHOWN = 10
MOST = 9  # Candidates: as many as there are number keys.
SIDE = 128  # At which small pictures are shown, in pixels.


@dataclass(frozen=True)
class _Question:
    """A picture, and a swap of it by every candidate: uint8, S x S x C."""

    title: str
    attribute: str
    index: int
    original: np.ndarray
    swaps: list[np.ndarray]


def select(
    folder: Path,
    output: Path,
    dataset: Location | None = None,
    count: int = PICTURES_SHOWN,
    raters: int = RATERS,
    consent: Path | None = None,
    seed: int = 0,
    overwrite: bool = False,
) -> str:
    """Write a study of the candidates of a run into a folder, for `serve`; return what it is of.

    Args:
        folder: The run folder.
        output: The folder to write.
        dataset: The run's dataset, where it is no longer where it was.
        count: Training pictures to show, each with every attribute swapped.
        raters: How many are wanted for each picture.
        consent: A text file to show before the first question, instead of the text that there is.
        seed: Another one gives another order.
        overwrite: Whether an older study may be replaced.

    Raises UserError, with nothing written, if the run has fewer than two candidates, and on anything unusable.
    """
    if count < 1 or raters < 1:
        raise UserError("A study needs 1 picture and 1 rater at least.")
    refuse_study(output, overwrite)
    texts = CONSENT if consent is None else read_consent(consent)
    run = fader_run(folder)
    candidates = _shown(candidates_of(run))
    if len(candidates) < 2:
        raise UserError(f"{folder}: it has {len(candidates)} candidates, and raters need two to choose from.")
    data = open_run_dataset(run, dataset)
    questions = list(_questions(run, data, candidates, count))
    rows = [f"epoch {one['epoch']}" for one in candidates]

    generator = np.random.default_rng(seed)
    names = Names(generator)
    tasks: list[Task] = []
    about: dict[str, Any] = {"tasks": {}, "items": {}}
    with new_folder(output, overwrite, STUDY) as temporary:
        (temporary / PICTURES).mkdir()
        with progress("pictures", len(questions)) as bar:
            for title in dict.fromkeys(question.title for question in questions):
                own = [question for question in questions if question.title == title]
                task = f"task-{len(tasks) + 1}"
                items = []
                for question in own:
                    order = generator.permutation(len(rows))
                    item = Item(names.new(), names.new(), tuple(names.new() for _ in rows))
                    write_picture(temporary, item.picture, question.original)
                    for name, i in zip(item.choices, order, strict=True):
                        write_picture(temporary, name, question.swaps[i])
                    items.append(item)
                    about["items"][item.id] = {
                        "rows": [rows[i] for i in order],
                        "index": question.index,
                        "name": str(data.names[question.index]),
                    }
                    bar.advance()
                about["tasks"][task] = {"measure": "chosen", "attribute": own[0].attribute}
                tasks.append(_task(task, title, items))
        zoom = max(1, SIDE // data.size)
        study = Study(output, "Pictures", texts, raters, data.size, zoom, tuple(tasks))
        write_json(temporary / STUDY, study.to_json())
        key = {
            "seed": seed,
            "fader": fader.__version__,
            "kind": "selection",
            "run": str(run.folder),
            "dataset": {"path": data.path, "fingerprint": data.fingerprint, "split": "train"},
            "rows": rows,
            "attributes": list(run.schema.names),
        }
        write_key(temporary, key | about)
    return f"{output}: {len(tasks)} tasks, {len(questions)} pictures, {len(rows)} candidates ({', '.join(rows)})."


def _shown(candidates: Sequence[Evaluation]) -> list[Evaluation]:
    """The candidates to show, by epoch: all, or of too many those nearest in MSE to the best by rule."""
    if len(candidates) <= MOST:
        return list(candidates)
    middle = best(candidates)["mse"]
    near = sorted(candidates, key=lambda one: abs(one["mse"] - middle))[:MOST]
    return sorted(near, key=lambda one: one["epoch"])


def _questions(run: Run, data: PreparedDataset, candidates: Sequence[Evaluation], count: int) -> Iterator[_Question]:
    """Swap by swap, the pictures with what every candidate makes of them. A swap that changes nothing is left out."""
    schema = run.schema
    indices = data.indices("train", most=count)
    images, labels = data.images[indices], data.labels[indices][:, data.columns(schema)]
    rows = [
        swap_rows(candidate_network(run, one["epoch"]), run.config, schema, images, labels)[0] for one in candidates
    ]
    column = 2  # After the original and the reconstruction.
    for k, attribute in enumerate(schema):
        for value in [None] if attribute.binary else attribute.values:
            title = attribute.name if value is None else f"{attribute.name} {value}"
            for i, index in enumerate(indices):
                if value is None or attribute.values[labels[i, k]] != value:
                    swaps = [of_candidate[i][column] for of_candidate in rows]
                    yield _Question(title, attribute.name, int(index), images[i], swaps)
            column += 1


def _task(task: str, title: str, items: Sequence[Item]) -> Task:
    question = (
        f"The upper picture was to be changed in this alone: {title.replace('_', ' ')}. Which of the others shows that"
        " best, with all else as it was?"
    )
    return Task(task, "Which is best?", question, (), tuple(items))
