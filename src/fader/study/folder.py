"""The study folder: what raters are shown and asked, and apart from it what each picture is.

- `study.json`: the texts and the tasks, in which pictures have random names; all that a server needs of the study
- `pictures/`: PNG files of those names
- `key.json`: which row of the table each picture is of; whoever has it knows the answers
- `answers.sqlite`: see answers.py
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fader.errors import UserError
from fader.files import read_json, write_json

STUDY, KEY, PICTURES, ANSWERS = "study.json", "key.json", "pictures", "answers.sqlite"
FORMAT, KEY_FORMAT, VERSION = "fader-study", "fader-study-key", 1
MOST_ZOOM = 16
NAME = re.compile(r"[0-9a-f]{16}")

CONSENT = (
    "You will see small pictures, one after the other, and answer one question about each by a key or a click.",
    "Your answers are stored under a random number, which this browser keeps in a cookie so that you can go on later."
    " Nothing else is asked or stored: no name, no address, nothing about your device.",
    "Taking part is voluntary. You may stop at any time by closing the page. Answers given until then stay, and nobody"
    " can tell that they are yours.",
    "By going on you agree that your answers are used for research, and published without any trace of you.",
)


@dataclass(frozen=True)
class Item:
    """One question about a picture, or (of a selection) which of several pictures answers it best."""

    id: str
    picture: str
    """What is shown: the name of a picture, without .png."""
    choices: tuple[str, ...] = ()
    """Pictures to choose from, in the order in which they are shown; without, the task's options are chosen from."""


@dataclass(frozen=True)
class Example:
    """A picture whose answer raters are told before they begin."""

    picture: str
    option: int


@dataclass(frozen=True)
class Task:
    """What a rater does in one go."""

    id: str
    title: str
    question: str
    options: tuple[str, ...]
    items: tuple[Item, ...]
    examples: tuple[Example, ...] = ()

    def answers(self, item: Item) -> int:
        """How many answers there are to choose from."""
        return len(item.choices) or len(self.options)


@dataclass(frozen=True)
class Study:
    """What raters are shown and asked."""

    folder: Path
    title: str
    consent: tuple[str, ...]
    raters: int
    """How many raters a task wants."""
    size: int
    """The side of the pictures in pixels."""
    zoom: float
    """At how many times that size the page shows them."""
    tasks: tuple[Task, ...]

    def picture(self, name: str) -> Path:
        return self.folder / PICTURES / f"{name}.png"

    @property
    def answers(self) -> Path:
        return self.folder / ANSWERS

    def to_json(self) -> dict[str, Any]:
        data = {name: value for name, value in asdict(self).items() if name != "folder"}
        return {"format": FORMAT, "version": VERSION, **data}


def write_key(folder: Path, key: dict[str, Any]) -> None:
    """Write `key.json`, which only its owner may read."""
    write_json(folder / KEY, {"format": KEY_FORMAT, "version": VERSION, **key})
    (folder / KEY).chmod(0o600)


def open_study(folder: Path) -> Study:
    """Read `study.json`, which its owner may have edited. Raises UserError if it is missing or damaged."""
    path = folder / STUDY
    if not path.is_file():
        raise UserError(f"{folder}: there is no study (no {STUDY}); make one with 'fader study create'.")
    data = _read(path, FORMAT)
    try:
        study = Study(
            folder=folder,
            title=_text(data["title"]),
            consent=tuple(map(_text, data["consent"])),
            raters=_whole(data["raters"], 1),
            size=_whole(data["size"], 1),
            zoom=_zoom(data["zoom"]),
            tasks=tuple(map(_task, data["tasks"])),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: the file is damaged (at {error}); make the study anew.") from None
    ids = [item.id for task in study.tasks for item in task.items]
    if len(set(ids)) != len(ids) or len({task.id for task in study.tasks}) != len(study.tasks):
        raise UserError(f"{path}: two tasks or items have the same id; make the study anew.")
    return study


def open_key(study: Study) -> dict[str, Any]:
    """What each picture is. Raises UserError if `key.json` is missing or is not that of the study."""
    path = study.folder / KEY
    key = _read(path, KEY_FORMAT)
    tasks, items = key.get("tasks"), key.get("items")
    if not isinstance(tasks, dict) or not isinstance(items, dict):
        raise UserError(f"{path}: the file is damaged; it has to hold what each task and each item is.")
    missing = [task.id for task in study.tasks if task.id not in tasks]
    missing += [item.id for task in study.tasks for item in task.items if item.id not in items]
    if missing:
        raise UserError(f"{path}: it is not the key of this study; {missing[0]} is not in it.")
    return key


def _read(path: Path, form: str) -> dict[str, Any]:
    data = read_json(path)
    if not isinstance(data, dict) or data.get("format") != form:
        raise UserError(f"{path}: it is not of the format {form}.")
    if data.get("version") != VERSION:
        raise UserError(f"{path}: version {data.get('version')!r} is not the one that this fader reads ({VERSION}).")
    return data


def _task(data: dict[str, Any]) -> Task:
    task = Task(
        id=_name(data["id"], r"task-[0-9]+"),
        title=_text(data["title"]),
        question=_text(data["question"]),
        options=tuple(map(_text, data["options"])),
        items=tuple(_item(item) for item in _filled(data["items"])),
        examples=tuple(Example(_name(one["picture"]), _whole(one["option"])) for one in data["examples"]),
    )
    if any(task.answers(item) < 2 for item in task.items):
        raise ValueError(f"an item of {task.id} with fewer than two answers")
    if any(example.option >= len(task.options) for example in task.examples):
        raise ValueError(f"an example of {task.id} whose option there is not")
    return task


def _item(data: dict[str, Any]) -> Item:
    return Item(_name(data["id"]), _name(data["picture"]), tuple(map(_name, data["choices"])))


def _name(data: Any, form: str | re.Pattern[str] = NAME) -> str:
    # Names become paths and addresses, so they are of one form.
    if not isinstance(data, str) or not re.fullmatch(form, data):
        raise ValueError(f"{data!r}, which is no name")
    return data


def _text(data: Any) -> str:
    if not isinstance(data, str):
        raise ValueError(f"{data!r}, which is no text")
    return data


def _whole(data: Any, least: int = 0) -> int:
    if type(data) is not int or data < least:
        raise ValueError(f"{data!r}, which is no number from {least} on")
    return data


def _zoom(data: Any) -> float:
    if type(data) not in (int, float) or not 0 < data <= MOST_ZOOM:
        raise ValueError(f"{data!r}, which is no zoom above 0 and up to {MOST_ZOOM}")
    return float(data)


def _filled(data: Sequence[Any]) -> Sequence[Any]:
    if not data:
        raise ValueError("a task without items")
    return data
