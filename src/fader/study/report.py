"""`fader study report`: Table 1 from the raters' answers, or which candidate of a run they chose."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fader import markdown
from fader.errors import UserError, printable
from fader.files import new_folder, refuse_existing, write_json, write_text
from fader.study.agreement import krippendorff_alpha, share
from fader.study.answers import Answer, open_answers
from fader.study.folder import ANSWERS, KEY, Item, Study, Task, open_key, open_study

REPORT = "report.json"
FORMAT = {"format": "fader-study-report", "version": 1}


@dataclass(frozen=True)
class _Given:
    """All answers of some kind: of which picture and by whom each is, int [N], and whether it is what is counted."""

    pictures: np.ndarray
    raters: np.ndarray
    hits: np.ndarray


def report(folder: Path, output: Path | None = None, overwrite: bool = False) -> str:
    """Evaluate the answers so far; write report.json, report.md and answers.csv; return the shares.

    Args:
        folder: A study folder.
        output: The folder to write; by default `report` in the study's, which is always made anew.
        overwrite: Whether an older report may be replaced.

    Raises UserError if there is no study, key or answer.
    """
    study = open_study(folder)
    key = open_key(study)
    target, overwrite = (folder / "report", True) if output is None else (output, overwrite)
    refuse_existing(target, overwrite, REPORT)
    if not study.answers.exists():
        raise UserError(f"{folder}: there are no answers yet (no {ANSWERS}); serve it, or import results.")
    with open_answers(study) as answers:
        given = answers.all()
    if not given:
        raise UserError(f"{folder}: there is no answer yet; give raters the link that 'fader study serve' shows.")
    try:
        content = evaluate(study, key, given)
        texts = {"report.md": to_markdown(content), "answers.csv": answers_csv(study, key, given)}
        shares = summary(content)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{folder}: its {KEY} or {ANSWERS} is damaged or of another study (at {error}).") from None
    with new_folder(target, overwrite, REPORT) as temporary:
        write_json(temporary / REPORT, content)
        for name, text in texts.items():
            write_text(temporary / name, text)
    return f"{shares}\n\n{target}: report.json, report.md and answers.csv, a line an answer."


def evaluate(study: Study, key: dict[str, Any], given: Sequence[Answer]) -> dict[str, Any]:
    """The content of report.json. A share of which there is no answer is null."""
    wanted = study.raters * sum(len(task.items) for task in study.tasks)
    content = {
        **FORMAT,
        "kind": key["kind"],
        "raters": len({one.rater for one in given}),
        "answers": len(given),
        "wanted": wanted,
    }
    columns = _selection(study, key, given) if key["kind"] == "selection" else _table(study, key, given)
    return content | {"rows": key["rows"], "columns": columns} | ({"run": key["run"]} if "run" in key else {})


def summary(content: dict[str, Any]) -> str:
    """The shares as plain text."""
    width = max(len(printable(row)) for row in content["rows"])
    lines = [_lead(content)]
    for column in content["columns"]:
        lines += ["", printable(column["title"])]
        lines += [f"  {printable(row):{width}}  {_percent(column['shares'][row])}" for row in content["rows"]]
    return "\n".join(lines)


def to_markdown(content: dict[str, Any]) -> str:
    """The table as text to read, with what it is of."""
    columns, rows = content["columns"], content["rows"]
    titles = [column["title"] for column in columns]
    shares = [[row, *(_percent(column["shares"][row]) for column in columns)] for row in rows]
    if content["kind"] == "selection":
        chosen = max(rows, key=lambda row: columns[0]["shares"][row]["value"] if columns[0]["shares"][row] else -1.0)
        closing = (
            f"Chosen most often: {markdown.escape(chosen)}. To make it the model: fader select RUN --choose"
            f" {chosen.rpartition(' ')[2]}\n"
        )
        agreement = [["alpha", *(_alpha(column["alpha"]) for column in columns)]]
    else:
        closing = (
            "Naturalness: how many were called real photographs. Accuracy: how many were seen to have the value that"
            " the row claims, which for a swap is the one that the picture did not have.\n"
        )
        agreement = [[row, *(_alpha(column["alphas"].get(row)) for column in columns)] for row in ["all rows", *rows]]
        agreement = [row for row in agreement if set(row[1:]) != {"-"}]
    return (
        f"# Study\n\n{_lead(content)}\n\n{markdown.table(['', *titles], shares)}\n{closing}\n## Agreement\n\n"
        f"Krippendorff's alpha (nominal): 1 is agreement, 0 is what chance would give.\n\n"
        f"{markdown.table(['', *titles], agreement)}"
    )


def answers_csv(study: Study, key: dict[str, Any], given: Sequence[Answer]) -> str:
    """A line an answer. Raters are numbered."""
    items = _items(study)
    numbers = {rater: i for i, rater in enumerate(sorted({one.rater for one in given}), start=1)}
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["rater", "measure", "attribute", "row", "picture", "item", "answer", "as claimed"])
    for one in given:
        task, item = items[one.item]
        about, of_task = key["items"][one.item], key["tasks"][one.task]
        if item.choices:
            row, answer, claimed = about["rows"][one.answer], str(one.answer + 1), ""
        else:
            row, answer, claimed = about["row"], task.options[one.answer], str(int(one.answer == about["claimed"]))
        attribute = of_task["attribute"]
        writer.writerow(
            [numbers[one.rater], of_task["measure"], attribute, row, about["name"], one.item, answer, claimed]
        )
    return text.getvalue()


def _lead(content: dict[str, Any]) -> str:
    return (
        f"{content['answers']:,} of {content['wanted']:,} answers, by {content['raters']} raters; in brackets 95%"
        " confidence intervals, which allow for differences between raters and between pictures."
    )


def _table(study: Study, key: dict[str, Any], given: Sequence[Answer]) -> list[dict[str, Any]]:
    """The columns of Table 1: naturalness, then accuracy, by attribute."""
    columns = []
    for measure in ("naturalness", "accuracy"):
        for attribute in key["attributes"]:
            tasks = {
                task
                for task, about in key["tasks"].items()
                if about["measure"] == measure and about["attribute"] == attribute
            }
            own = [one for one in given if one.task in tasks]
            by_row = {row: [one for one in own if key["items"][one.item]["row"] == row] for row in key["rows"]}
            shares = {
                row: _share(_given(some, [one.answer == key["items"][one.item]["claimed"] for one in some]))
                for row, some in by_row.items()
            }
            # The raters of a task agree, or do not: a task of naturalness has all rows, one of accuracy has one.
            alphas = {"all rows": _agreement(own)} if measure == "naturalness" else {}
            alphas |= {row: _agreement(some) for row, some in by_row.items()} if measure == "accuracy" else {}
            title = f"{measure}: {attribute}"
            columns.append(
                {"title": title, "measure": measure, "attribute": attribute, "shares": shares, "alphas": alphas}
            )
    return columns


def _selection(study: Study, key: dict[str, Any], given: Sequence[Answer]) -> list[dict[str, Any]]:
    """Of each candidate how often it was chosen: of all attributes, then of each."""
    columns = []
    for title in ["all", *key["attributes"]]:
        own = [one for one in given if title in ("all", key["tasks"][one.task]["attribute"])]
        chosen = [key["items"][one.item]["rows"][one.answer] for one in own]
        shares = {row: _share(_given(own, [one == row for one in chosen])) for row in key["rows"]}
        alpha = krippendorff_alpha(np.array([one.item for one in own]), np.array(chosen))
        columns.append({"title": title, "measure": "chosen", "attribute": title, "shares": shares, "alpha": alpha})
    return columns


def _given(answers: Sequence[Answer], hits: Sequence[bool]) -> _Given:
    pictures, raters = [one.item for one in answers], [one.rater for one in answers]
    return _Given(np.array(pictures), np.array(raters), np.array(hits, dtype=bool))


def _share(given: _Given) -> dict[str, Any] | None:
    found = share(given.hits, given.pictures, given.raters)
    return None if found is None else asdict(found)


def _agreement(answers: Sequence[Answer]) -> float | None:
    return krippendorff_alpha(np.array([one.item for one in answers]), np.array([one.answer for one in answers]))


def _items(study: Study) -> dict[str, tuple[Task, Item]]:
    return {item.id: (task, item) for task in study.tasks for item in task.items}


def _percent(found: dict[str, Any] | None) -> str:
    return "-" if found is None else f"{found['value']:.1%} ({found['low']:.1%} to {found['high']:.1%})"


def _alpha(alpha: float | None) -> str:
    return "-" if alpha is None else f"{alpha:.2f}"
