"""Mechanical Turk: what is exported, and that only what fits the study is imported."""

from __future__ import annotations

import csv
import html
import json
import re
from collections.abc import Callable
from pathlib import Path
from string import Template

import pytest

from fader.study.answers import open_answers
from fader.study.folder import Study, open_study
from fader.study.turk import export, import_results
from tests.refusals import refusal

URL = "https://example.org/pictures"


def results(study: Study, path: Path, answer: Callable[[str, int], int], workers: int = 2, flat: bool = True) -> Path:
    """A result file as Mechanical Turk makes it of a batch of the first task, every HIT done by every Worker."""
    export(study.folder, path.parent / "turk", URL, a_hit=10, overwrite=True)
    with (path.parent / "turk" / "task-1.csv").open(newline="") as stream:
        hits = list(csv.DictReader(stream))
    lines = []
    for number, hit in enumerate(hits):
        for worker in range(workers):
            line = {"HITId": f"HIT{number}", "WorkerId": f"A{worker}WORKER", "AssignmentStatus": "Approved"}
            line |= {f"Input.{name}": picture for name, picture in hit.items()}
            for name, picture in hit.items():
                given, column = answer(picture, worker), f"Answer.answer_{name.removeprefix('picture_')}"
                line |= {column: str(given)} if flat else {f"{column}.{k}": str(k == given).lower() for k in (0, 1)}
            lines.append(line)
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(lines[0]))
        writer.writeheader()
        writer.writerows(lines)
    return path


def test_a_hit_has_every_picture_once(study: Study, tmp_path: Path) -> None:
    export(study.folder, tmp_path / "turk", URL + "/", a_hit=12)
    for task in study.tasks:
        pictures: list[str] = []
        for name in (task.id, f"{task.id}-rest"):
            if not (tmp_path / "turk" / f"{name}.csv").exists():
                continue
            template = (tmp_path / "turk" / f"{name}.html").read_text()
            with (tmp_path / "turk" / f"{name}.csv").open(newline="") as stream:
                for hit in csv.DictReader(stream):
                    # As Mechanical Turk replaces the variables.
                    page = Template(template).substitute(hit)
                    shown = re.findall(rf'src="{URL}/([0-9a-f]{{16}})\.png"', page)
                    assert shown == [*(one.picture for one in task.examples), *hit.values()]
                    assert html.escape(task.question) in page
                    assert page.count('type="radio"') == len(hit) * len(task.options)
                    pictures += hit.values()
        assert pictures == [item.picture for item in task.items]
    there = {path.name for path in (tmp_path / "turk" / "pictures").iterdir()}
    assert there == {path.name for path in (study.folder / "pictures").iterdir()}
    assert not list((tmp_path / "turk").rglob("key.json"))


def test_what_is_left_is_named(study: Study, tmp_path: Path) -> None:
    export(study.folder, tmp_path / "turk", URL, a_hit=len(study.tasks[0].items) - 1)
    assert (tmp_path / "turk" / "task-1-rest.csv").exists()
    text = (tmp_path / "turk" / "README.md").read_text()
    assert {"task-N.html", "task-N.csv", "task-N-rest.html", "task-N-rest.csv"} <= set(re.findall("`(.+?)`", text))


def test_pictures_that_were_moved_away(study: Study, tmp_path: Path) -> None:
    export(study.folder, tmp_path / "turk", URL)
    before = sorted(path.name for path in (tmp_path / "turk").iterdir())
    (study.folder / "pictures").rename(tmp_path / "server")
    assert "put it back" in refusal(lambda: export(study.folder, tmp_path / "turk", URL, overwrite=True))
    assert sorted(path.name for path in (tmp_path / "turk").iterdir()) == before


def test_imported_answers_take_places(study: Study, tmp_path: Path) -> None:
    file = results(study, tmp_path / "batch.csv", lambda picture, worker: 0, workers=study.raters)
    lines = file.read_text().splitlines()
    with open_answers(study) as answers:
        everything = answers.free("f" * 32)
        (tmp_path / "part.csv").write_text("\n".join(lines[:-1]) + "\n")
        import_results(study.folder, tmp_path / "part.csv")
        # One HIT wants another Worker still, so there is a place for one rater more.
        assert answers.free("f" * 32) == [*(task for task in everything if task != "task-1"), "task-1"]
        import_results(study.folder, file)
        assert answers.free("f" * 32) == [task for task in everything if task != "task-1"]


def test_names_cannot_break_the_template(study: Study, tmp_path: Path) -> None:
    path = study.folder / "study.json"
    data = json.loads(path.read_text())
    hostile = "</crowd-form><script>alert(1)</script> ${picture_1} \"'"
    data["tasks"][0] |= {"question": hostile, "options": [hostile, "b"]}
    path.write_text(json.dumps(data))
    export(study.folder, tmp_path / "turk", URL)
    template = (tmp_path / "turk" / "task-1.html").read_text()
    assert template.count("<script") == 1
    assert template.count("</crowd-form>") == 1
    assert template.count("${picture_1}") == 1
    page = html.unescape(Template(template).substitute({f"picture_{n}": f"name{n}" for n in range(1, 11)}))
    assert hostile in page


@pytest.mark.parametrize("flat", [True, False])
def test_results_come_back_once(study: Study, tmp_path: Path, flat: bool) -> None:
    claimed = {item.picture: i % 2 for i, item in enumerate(study.tasks[0].items)}
    file = results(study, tmp_path / "results.csv", lambda picture, worker: claimed[picture] ^ worker, flat=flat)
    count = len(study.tasks[0].items)
    assert f"{2 * count} answers of 2 Workers, {2 * count} of them new" in import_results(study.folder, file)
    assert "0 of them new" in import_results(study.folder, file)
    with open_answers(study) as answers:
        given = answers.all()
    assert len(given) == 2 * count
    assert {one.answer == claimed[one.item] for one in given} == {True, False}
    by_rater = {one.rater: one.answer == claimed[one.item] for one in given}
    assert sorted(by_rater.values()) == [False, True]
    assert b"WORKER" not in b"".join(path.read_bytes() for path in study.folder.glob("answers.sqlite*"))


def test_rejected_assignments_are_left_out(study: Study, tmp_path: Path) -> None:
    file = results(study, tmp_path / "results.csv", lambda *_: 0)
    lines = file.read_text().splitlines()
    lines[1:] = [line.replace("Approved", "Rejected") if "A1WORKER" in line else line for line in lines[1:]]
    file.write_text("\n".join(lines))
    assert f"{len(study.tasks[0].items)} answers of 1 Workers" in import_results(study.folder, file)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("Answer.answer_3", "Answer.other", "Answer.answer_3 is missing"),
        ("WorkerId", "Worker", "WorkerId is missing"),
        ("Input.picture_", "Input.image_", "Input.picture_1 is missing"),
        ("A1WORKER", "", "no WorkerId"),
        (",0\n", "\n", "too few or too many"),
        (",0\n", ",0,0\n", "too few or too many"),
        (",0\n", ",2\n", "'2' is no answer"),
        (",0\n", ",\n", "'' is no answer"),
        (",0\n", ",-1\n", "'-1' is no answer"),
        (",0\n", ",\u0663\n", "is no answer"),
        (",0\n", ',"0\n', "cannot be read as CSV"),
        ("PICTURE", "0000000000000000", "is no picture of this study"),
        ("PICTURE", "=HYPERLINK(1)\x1b[2J", "\\x1b[2J"),
        ("PICTURE", "x" * 200_000, "cannot be read as CSV"),
    ],
)
def test_what_does_not_fit_is_refused_whole(study: Study, tmp_path: Path, old: str, new: str, says: str) -> None:
    file = results(study, tmp_path / "results.csv", lambda *_: 0)
    text = file.read_text()
    last = study.tasks[0].items[-1].picture
    old = last if old == "PICTURE" else old
    assert old in text
    head, _, tail = text.rpartition(old) if "." not in old and "Id" not in old else text.partition(old)
    file.write_text(text.replace(old, new) if old.endswith("_") else head + new + tail)
    assert says in refusal(lambda: import_results(study.folder, file))
    with open_answers(study) as answers:
        assert answers.all() == []


def test_files_that_are_none(study: Study, tmp_path: Path) -> None:
    assert "cannot be read" in refusal(lambda: import_results(study.folder, tmp_path / "none.csv"))
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00")
    assert "cannot be read" in refusal(lambda: import_results(study.folder, tmp_path / "binary.csv"))
    (tmp_path / "empty.csv").write_text("")
    assert "missing" in refusal(lambda: import_results(study.folder, tmp_path / "empty.csv"))


@pytest.mark.parametrize(
    "url",
    ["http://example.org", "example.org", "https://", "https://e.org/?q", 'https://e.org/"', "https://e.org/${x}"],
)
def test_addresses_that_are_none(study: Study, tmp_path: Path, url: str) -> None:
    assert "no address" in refusal(lambda: export(study.folder, tmp_path / "turk", url))
    assert open_study(study.folder) == study
