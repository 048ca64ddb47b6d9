"""`fader study create`: the pictures of the protocol as PNG, in tasks, with the key apart."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import torch

import fader
from fader.attributes import Attribute, Schema
from fader.datasets.prepared import Location, PreparedDataset, open_dataset
from fader.datasets.views import cut, part, view
from fader.errors import UserError
from fader.evaluation.judged import JUDGED_SIZE, judged_framing
from fader.files import new_folder, refuse_existing, write_json
from fader.images import Box, to_picture
from fader.locations import ModelLocation, titles
from fader.model import Model, load
from fader.progress import progress
from fader.study.folder import ANSWERS, CONSENT, MOST_ZOOM, PICTURES, STUDY, Example, Item, Study, Task, write_key
from fader.study.protocol import (
    A_ROW,
    NATURAL,
    NATURALNESS,
    RATERS,
    Kind,
    Row,
    accuracy_pictures,
    accuracy_question,
    example_rows,
    naturalness_pictures,
    rows_of,
)

ATTRIBUTES = 3  # As many as Table 1 has, unless they are named.
AT_ONCE = 128  # Pictures in memory.
MOST_TEXT = 10_000  # Characters of a consent text.


@dataclass(frozen=True)
class _Shown:
    """A picture of the study: its name, and what is to be drawn."""

    name: str
    row: Row
    attribute: str
    index: int
    """In the dataset."""


class Names:
    """Random names, so that a file's name tells nothing."""

    def __init__(self, generator: np.random.Generator) -> None:
        self._generator = generator
        self._given: set[str] = set()

    def new(self) -> str:
        while (name := self._generator.bytes(8).hex()) in self._given:
            pass
        self._given.add(name)
        return name


def create(
    locations: Sequence[ModelLocation],
    dataset: Location,
    output: Path,
    attributes: Sequence[str] = (),
    names: Sequence[str] = (),
    split: str = "test",
    a_row: int = A_ROW,
    raters: int = RATERS,
    zoom: float = 1.0,
    consent: Path | None = None,
    seed: int = 0,
    device: str = "auto",
    overwrite: bool = False,
) -> str:
    """Write a study of models into a folder, for `serve` or `export`; return what it is of.

    Args:
        locations: Runs or models: folders, "portraits", "hf:user/model".
        dataset: A prepared dataset with the attributes of all models.
        output: The folder to write.
        attributes: What the tasks are of; by default the first three that all models have.
        names: What the table calls the models; by default as their folders. Models of one name are one system, as
            Fader Networks of one attribute each are in Table 1: each makes the pictures for its own attributes.
        split: Where the pictures are from.
        a_row: Pictures of each row.
        raters: How many are wanted for each picture.
        zoom: How large the page shows the pictures; at 1 a pixel is a pixel, as in the paper.
        consent: A text file to show before the first question, instead of the text that there is.
        seed: Another one gives another order.
        device: "auto", "cpu", "cuda", ...
        overwrite: Whether an older study may be replaced.

    Raises UserError, with nothing written, on anything unusable.
    """
    if a_row < 2 or raters < 1 or not 0 < zoom <= MOST_ZOOM:
        raise UserError(f"A study needs 2 pictures a row, 1 rater at least, and a zoom above 0 and up to {MOST_ZOOM}.")
    refuse_study(output, overwrite)
    texts = CONSENT if consent is None else read_consent(consent)
    called = titles(locations, names)
    models = [load(location, device) for location in locations]
    data = open_dataset(dataset)
    schema = _schema(called, models, attributes)
    size = min(JUDGED_SIZE, data.size, *(model.size for model in models))
    studio = Studio(data, list(zip(called, models, strict=True)), schema, size)

    generator = np.random.default_rng(seed)
    rows = rows_of(list(dict.fromkeys(called)))
    plan = _plan(data, schema, rows, split, a_row, generator)
    study = Study(output, "Pictures", texts, raters, size, zoom, plan.tasks)
    key = {
        "seed": seed,
        "fader": fader.__version__,
        "kind": "table",
        "dataset": {"path": data.path, "fingerprint": data.fingerprint, "split": split},
        "systems": {
            title: [str(location) for own, location in zip(called, locations, strict=True) if own == title]
            for title in called
        },
        "rows": [row.title for row in rows],
        "attributes": list(schema.names),
        "tasks": plan.about_tasks,
        "items": plan.about_items,
    }
    with new_folder(output, overwrite, STUDY) as folder:
        write_json(folder / STUDY, study.to_json())
        write_key(folder, key)
        (folder / PICTURES).mkdir()
        with progress("pictures", len(plan.pictures)) as bar:
            for name, array in studio.draw(plan.pictures):
                write_picture(folder, name, array)
                bar.advance()
    return "\n".join([*plan.notes, f"{output}: {len(study.tasks)} tasks, {len(plan.pictures):,} pictures."])


@dataclass(frozen=True)
class _Maker:
    """A model, the dataset as it sees it, the columns of its labels, and what is compared of its pictures."""

    model: Model
    seen: PreparedDataset
    columns: list[int]
    box: Box


class Studio:
    """Draws rows of the table: real pictures and what models make of them, all cut alike and of one size."""

    def __init__(self, data: PreparedDataset, models: Sequence[tuple[str, Model]], schema: Schema, size: int) -> None:
        """Models by the name of their system; of one system each attribute of the schema is one model's."""
        self._real = view(data, judged_framing(data), size)
        self._size = size
        self._maker: dict[tuple[str, str], _Maker] = {}
        for name, model in models:
            box = part(model.framing, judged_framing(data))
            if box is None:
                raise UserError(f"{name} sees less of {data.path}'s pictures than what is compared; leave it out.")
            if model.channels != data.channels:
                raise UserError(f"{name} takes {model.channels} channel(s); the pictures of {data.path} differ.")
            maker = _Maker(model, view(data, model.framing, model.size), data.columns(model.schema), box)
            self._maker |= {(name, attribute.name): maker for attribute in schema if attribute in list(model.schema)}

    def draw(self, pictures: Sequence[_Shown]) -> Iterator[tuple[str, np.ndarray]]:
        """The name and the array (uint8, size x size x channels) of each picture, in an order of its own."""

        def kind(shown: _Shown) -> tuple[str, str, str]:
            return shown.row.kind, shown.row.system, shown.attribute

        for _, group in groupby(sorted(pictures, key=kind), kind):
            alike = list(group)
            for start in range(0, len(alike), AT_ONCE):
                some = alike[start : start + AT_ONCE]
                arrays = self._arrays(some[0].row, some[0].attribute, np.array([shown.index for shown in some]))
                yield from zip((shown.name for shown in some), arrays, strict=True)

    def _arrays(self, row: Row, attribute: str, indices: np.ndarray) -> np.ndarray:
        if row.kind == Kind.REAL:
            return self._real.images[indices]
        maker = self._maker[row.system, attribute]
        arrays = maker.seen.images[indices]
        labels = maker.seen.labels[indices][:, maker.columns]
        if row.kind == Kind.RECONSTRUCTED:
            made = np.stack([_array(one) for one in maker.model.encode_framed(arrays, labels).reconstruction()])
        else:
            made = _swapped(maker.model, arrays, labels, attribute)
        return cut(made, maker.box, self._size)


@dataclass(frozen=True)
class _Plan:
    tasks: tuple[Task, ...]
    about_tasks: dict[str, Any]
    about_items: dict[str, Any]
    pictures: list[_Shown]
    notes: list[str]


def _plan(
    data: PreparedDataset, schema: Schema, rows: list[Row], split: str, a_row: int, generator: np.random.Generator
) -> _Plan:
    """Which pictures of the dataset are shown in which tasks, in which order, under which names."""
    indices, columns = data.indices(split), data.columns(schema)
    examples = example_rows(rows)
    set_apart, indices = indices[-len(examples) :], indices[: -len(examples)]
    labels = data.labels[indices][:, columns]
    names, pictures, notes = Names(generator), [], []
    tasks: list[tuple[dict[str, Any], dict[str, Any], list[tuple[Item, dict[str, Any]]]]] = []

    def show(row: Row, attribute: str, index: int) -> str:
        pictures.append(_Shown(names.new(), row, attribute, index))
        return pictures[-1].name

    def item(row: Row, attribute: str, index: int, claimed: int) -> tuple[Item, dict[str, Any]]:
        name = show(row, attribute, index)
        about = {"row": row.title, "index": index, "name": str(data.names[index]), "claimed": claimed}
        return Item(name, name), about

    for k, attribute in enumerate(schema):
        dealt = naturalness_pictures(labels[:, k], attribute, len(rows), a_row)
        if len(dealt[0]) < a_row // len(attribute.values) * len(attribute.values):
            notes.append(f"Naturalness, {attribute.name}: {len(dealt[0])} pictures a row; the split has no more.")
        items = [
            item(row, attribute.name, int(indices[i]), 0) for row, own in zip(rows, dealt, strict=True) for i in own
        ]
        told = [
            Example(show(row, attribute.name, int(index)), 0 if row.kind == Kind.REAL else 1)
            for row, index in zip(examples, generator.permutation(set_apart), strict=True)
        ]
        order = generator.permutation(len(items))
        text = {"title": "Real or fake?", "question": NATURALNESS, "options": NATURAL, "examples": tuple(told)}
        tasks.append((text, {"measure": "naturalness", "attribute": attribute.name}, [items[i] for i in order]))

    accuracy = []
    for k, attribute in enumerate(schema):
        question, options, option_of = accuracy_question(attribute)
        chosen = accuracy_pictures(labels[:, k], attribute, a_row)
        if len(chosen) < a_row // len(attribute.values) * len(attribute.values):
            notes.append(f"Accuracy, {attribute.name}: {len(chosen)} pictures a row; the split has no more.")
        for row in rows:
            claimed = labels[chosen, k]
            if row.kind == Kind.SWAPPED:
                claimed = (claimed + 1) % len(attribute.values)
            items = [
                item(row, attribute.name, int(indices[i]), option_of[value])
                for i, value in zip(chosen, claimed, strict=True)
            ]
            text = {"title": "What is in the picture?", "question": question, "options": options}
            about = {"measure": "accuracy", "attribute": attribute.name, "row": row.title}
            accuracy.append((text, about, items))
    # Those who do several tasks should not see the rows in the order of the table.
    tasks += [accuracy[i] for i in generator.permutation(len(accuracy))]

    ids = [f"task-{number}" for number in range(1, len(tasks) + 1)]
    return _Plan(
        tasks=tuple(
            Task(id=task, items=tuple(one for one, _ in items), **text)
            for task, (text, _, items) in zip(ids, tasks, strict=True)
        ),
        about_tasks={task: about for task, (_, about, _) in zip(ids, tasks, strict=True)},
        about_items={one.id: about for _, _, items in tasks for one, about in items},
        pictures=pictures,
        notes=notes,
    )


def refuse_study(output: Path, overwrite: bool) -> None:
    """Raises UserError if there is something that may not be replaced: with answers, a study never is."""
    refuse_existing(output, overwrite, STUDY)
    if (output / ANSWERS).exists():
        raise UserError(f"{output} holds a study that raters may have answered; delete it yourself, or name another.")


def write_picture(folder: Path, name: str, array: np.ndarray) -> None:
    """Write a picture as PNG. Raises UserError if the disk does not take it."""
    path = folder / PICTURES / f"{name}.png"
    try:
        to_picture(array).save(path, format="PNG")
        os.utime(path, (0, 0))  # When a file was written would tell which row it is of.
    except OSError as error:
        raise UserError(f"{path}: it cannot be written ({error.strerror}).") from None


def read_consent(path: Path) -> tuple[str, ...]:
    """The paragraphs of a text file. Raises UserError if it cannot be read, is empty or too long."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: it cannot be read as text ({error}).") from None
    paragraphs = tuple(" ".join(one.split()) for one in text.split("\n\n") if one.strip())
    if not paragraphs or len(text) > MOST_TEXT:
        raise UserError(f"{path}: a consent text has a paragraph at least and up to {MOST_TEXT:,} characters.")
    return paragraphs


def _schema(titles: Sequence[str], models: Sequence[Model], attributes: Sequence[str]) -> Schema:
    """What the tasks are of: what is named, else the first that all systems have. Raises UserError."""
    having: dict[str, list[Attribute]] = {}
    for title, model in zip(titles, models, strict=True):
        having.setdefault(title, []).extend(model.schema)
    known = Schema(tuple({attribute.name: attribute for attribute in having[titles[0]]}.values()))
    common = [one for one in known if all(one in own for own in having.values())]
    if attributes:
        chosen = known.select(attributes)
        lacking = [(title, one.name) for one in chosen for title, own in having.items() if one not in own]
        if lacking:
            raise UserError(
                f"No model of {lacking[0][0]} has the attribute {lacking[0][1]!r} of {titles[0]}; leave it out."
            )
    elif common:
        chosen = Schema(tuple(common[:ATTRIBUTES]))
    else:
        raise UserError("The models have no attribute in common; there is nothing to compare them by.")
    for title, own in having.items():
        twice = [one.name for one in chosen if own.count(one) > 1]
        if twice:
            raise UserError(f"Two models are called {title} and have {twice[0]}; tell them apart with --names.")
    return chosen


def _swapped(model: Model, arrays: np.ndarray, labels: np.ndarray, attribute: str) -> np.ndarray:
    """Pictures with an attribute swapped: uint8, N x S x S x C."""
    targets = model.schema.flipped(torch.from_numpy(labels), attribute)[:, model.schema.index(attribute)].numpy()
    made = np.empty_like(arrays)
    for target in np.unique(targets):
        which = np.flatnonzero(targets == target)
        edited = model.encode_framed(arrays[which], labels[which]).edit({attribute: int(target)})
        made[which] = np.stack([_array(picture) for picture in edited])
    return made


def _array(picture: Any) -> np.ndarray:
    array = np.asarray(picture)
    return array if array.ndim == 3 else array[..., None]
