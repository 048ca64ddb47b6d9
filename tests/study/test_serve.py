"""The raters' server: what it shows and stores, and the table that comes out of raters whose accuracy is known."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import signal
import sqlite3
import struct
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.testclient import TestClient

from fader.study.answers import AWAY, Answer, Answers, open_answers
from fader.study.folder import Study, open_key, open_study
from fader.study.report import report
from fader.study.serve import application
from fader.web.guard import Site
from tests.refusals import refusal
from tests.study.raters import of_accuracy, post, rate

Connect = Callable[[], TestClient]
CHANCES = {"Real": 0.95, "One AE": 0.8, "One Swap": 0.6, "Other AE": 0.3, "Other Swap": 0.1}


@pytest.fixture
def answers(study: Study) -> Iterator[Answers]:
    with open_answers(study) as found:
        yield found


@pytest.fixture
def connect(study: Study, answers: Answers) -> Connect:
    """Makes a browser, so to speak, with cookies of its own."""
    site = Site(("http://127.0.0.1:8765",), answers.secret())
    app = application(study, answers, site)
    return lambda: TestClient(app, base_url=site.link)


def test_the_page_and_its_pictures(connect: Connect, study: Study) -> None:
    client = connect()
    page = client.get("")
    assert page.headers["Content-Type"].startswith("text/html")
    for name in re.findall(r'(?:src|href)="([^"]+)"', page.text):
        assert client.get(name).status_code == 200
    assert not re.search(r"https?://", page.text + client.get("page.js").text + client.get("page.css").text)
    picture = client.get(f"pictures/{study.tasks[0].items[0].picture}.png")
    assert picture.content == study.picture(study.tasks[0].items[0].picture).read_bytes()
    assert "last-modified" not in picture.headers
    for path in ("key.json", "study.json", "answers.sqlite", "pictures/0000000000000000.png", "pictures/..%2fkey.png"):
        assert client.get(path).status_code == 404


def test_raters_of_known_accuracy_give_the_table(connect: Connect, study: Study) -> None:
    given = []
    for seed in range(4):
        given += rate(connect(), of_accuracy(study, CHANCES, seed))
    items, tasks = open_key(study)["items"], open_key(study)["tasks"]
    assert len(given) == 4 * sum(len(task.items) for task in study.tasks)
    assert set(Counter(item for item, _ in given).values()) == {4}
    assert rate(connect(), of_accuracy(study, CHANCES, 9)) == []  # All places are taken.

    text = report(study.folder)
    content = json.loads((study.folder / "report" / "report.json").read_text())
    of_item = {item.id: task.id for task in study.tasks for item in task.items}
    assert (content["answers"], content["wanted"], content["raters"]) == (len(given), len(given), 4)
    assert len(content["columns"]) == 4
    for column in content["columns"]:
        for row, chance in CHANCES.items():
            hits = [
                answer == items[item]["claimed"]
                for item, answer in given
                if items[item]["row"] == row
                and tasks[of_item[item]]["measure"] == column["measure"]
                and tasks[of_item[item]]["attribute"] == column["attribute"]
            ]
            found = column["shares"][row]
            assert found["value"] == sum(hits) / len(hits)
            assert len(hits) == 32
            assert abs(found["value"] - chance) < 4 * (chance * (1 - chance) / 32) ** 0.5
            assert found["low"] < found["value"] < found["high"] or found["value"] in (0, 1)
            assert f"{found['value']:.1%} ({found['low']:.1%} to {found['high']:.1%})" in text
    lines = list(csv.DictReader(io.StringIO((study.folder / "report" / "answers.csv").read_text())))
    assert len(lines) == len(given)
    real = [line for line in lines if line["row"] == "Real" and line["measure"] == "naturalness"]
    assert sum(int(line["as claimed"]) for line in real) == sum(line["answer"] == "Real photograph" for line in real)


def test_one_answer_an_item_and_the_first_one_stays(connect: Connect, study: Study, answers: Answers) -> None:
    client = connect()
    begun = post(client, "begin", task=post(client, "consent")["task"]["id"])
    item = begun["items"][0]["id"]
    after = post(client, "answer", item=item, answer=1)
    assert (after["done"], after["items"][0]["id"]) == (1, begun["items"][1]["id"])
    assert post(client, "answer", item=item, answer=0) == after  # As when the first reply was lost.
    assert [one.answer for one in answers.all()] == [1]


def test_a_rater_goes_on_in_the_same_browser(connect: Connect, study: Study) -> None:
    client = connect()
    assert client.get("api/state").json()["phase"] == "consent"
    rate(client, lambda *_: 0, most=3)
    state = client.get("api/state").json()
    assert (state["phase"], state["done"]) == ("item", 3)
    assert state["items"][0]["id"] == study.tasks[0].items[3].id
    cookie = next(cookie for cookie in client.cookies.jar if cookie.name == "rater")
    assert cookie.has_nonstandard_attr("HttpOnly")
    assert cookie.path.strip("/") in str(client.base_url)


def test_places_are_shared_out_and_those_who_went_away_give_theirs_back(
    connect: Connect, study: Study, answers: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = [post(connect(), "consent")["task"]["id"]]
    for rater in range(len(study.tasks) * study.raters):
        free = answers.free(f"{rater:032x}")
        assert answers.assign(f"{rater:032x}", free[0])
        first.append(free[0])
    assert Counter(first[1:]) == {task.id: study.raters for task in study.tasks}
    assert post(connect(), "consent")["phase"] == "end"
    assert not answers.assign("f" * 32, study.tasks[0].id)
    assert answers.assign("0" * 32, first[1])  # It is this rater's already.
    later = time.time() + AWAY + 1
    monkeypatch.setattr("fader.study.answers.time.time", lambda: later)
    assert len(answers.free("f" * 32)) == len(study.tasks)


@pytest.mark.parametrize(
    ("action", "body", "status"),
    [
        ("begin", {"task": "task-99"}, 400),
        ("begin", {"task": ["task-1"]}, 400),
        ("answer", {"item": "0000000000000000", "answer": 0}, 400),
        ("answer", {"item": "ITEM", "answer": 2}, 400),
        ("answer", {"item": "ITEM", "answer": -1}, 400),
        ("answer", {"item": "ITEM", "answer": True}, 400),
        ("answer", {"item": "ITEM", "answer": "0"}, 400),
        ("answer", {"item": "ITEM"}, 400),
        ("answer", {"item": "ITEM", "answer": 0}, 409),
    ],
)
def test_what_makes_no_sense_is_not_stored(
    connect: Connect, study: Study, answers: Answers, action: str, body: dict[str, Any], status: int
) -> None:
    client = connect()
    body = {name: study.tasks[0].items[0].id if value == "ITEM" else value for name, value in body.items()}
    headers = {"Origin": "http://127.0.0.1:8765"}
    assert client.post(f"api/{action}", json=body, headers=headers).status_code == 403  # Consent comes first.
    post(client, "consent")
    if status == 400 and action == "answer":
        post(client, "begin", task=study.tasks[0].id)
    assert client.post(f"api/{action}", json=body, headers=headers).status_code == status
    for content in (b"", b"[]", b"\xff", b"[" * 4000):
        assert client.post(f"api/{action}", content=content, headers=headers).status_code == 400
    assert answers.all() == []


def test_commits_are_synced(answers: Answers) -> None:
    database = answers._database
    assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert database.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL


def test_nothing_personal_is_stored(connect: Connect, study: Study, answers: Answers) -> None:
    client = connect()
    client.headers["User-Agent"] = "a browser of its own"
    rate(client, lambda *_: 0, most=2)
    columns = [
        column[1]
        for (table,) in answers._database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        for column in answers._database.execute(f"PRAGMA table_info({table})")
    ]
    assert sorted(columns) == ["active", "answer", "item", "rater", "rater", "task", "task", "value"]
    stored = b"".join(path.read_bytes() for path in study.folder.glob("answers.sqlite*"))
    assert b"browser" not in stored
    assert b"testclient" not in stored


def test_answers_that_are_no_database(study: Study) -> None:
    study.answers.write_text("x" * 4096)
    assert "cannot be used as the study's answers" in refusal(lambda: Answers(study))


@pytest.mark.parametrize(
    "own",
    [
        "CREATE VIEW answers AS WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT 3)"
        " SELECT 'r' AS rater, 't' AS task, x AS item, 0 AS answer FROM c",
        "CREATE TABLE answers (rater, task, item, answer)",
        "CREATE TABLE notes (text); CREATE TRIGGER noting AFTER INSERT ON notes BEGIN DELETE FROM notes; END",
    ],
)
def test_answers_of_another_making(study: Study, own: str) -> None:
    with closing(sqlite3.connect(study.answers)) as database:
        database.executescript(own)
    before = study.answers.read_bytes()
    assert "something else than the tables of answers" in refusal(lambda: Answers(study))
    assert study.answers.read_bytes() == before


def test_answers_whose_pages_hold_one_another(study: Study) -> None:
    task = study.tasks[0]
    with open_answers(study) as answers:
        answers.store_all([Answer(f"{rater:0200}", task.id, task.items[0].id, 0) for rater in range(100)])
    with closing(sqlite3.connect(study.answers)) as database:
        database.execute("PRAGMA journal_mode = DELETE")
        (root,) = database.execute("SELECT rootpage FROM sqlite_master WHERE name = 'answers'").fetchone()
        (size,) = database.execute("PRAGMA page_size").fetchone()
    content = bytearray(study.answers.read_bytes())
    page = memoryview(content)[(root - 1) * size : root * size]
    (cells,) = struct.unpack(">H", page[3:5])
    starts = struct.unpack(f">{cells}H", page[12 : 12 + 2 * cells])
    assert page[0] == 2  # An inner page of an index: each cell begins with the page of what comes before.
    assert cells > 1
    for start in starts[1:]:
        page[start : start + 4] = page[starts[0] : starts[0] + 4]
    page.release()
    study.answers.write_bytes(content)
    assert "cannot be used as the study's answers" in refusal(lambda: Answers(study))


def test_a_report_takes_answers(study: Study) -> None:
    assert "no answers yet" in refusal(lambda: report(study.folder))
    with open_answers(study) as answers:
        assert "no answer yet" in refusal(lambda: report(study.folder))
        item = study.tasks[0].items[0]
        answers.store_all([Answer("a", study.tasks[0].id, item.id, 0)])
    report(study.folder)
    content = json.loads((study.folder / "report" / "report.json").read_text())
    assert sum(share is not None for column in content["columns"] for share in column["shares"].values()) == 1


@contextmanager
def served(folder: Path, port: int = 0) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`fader study serve` as a process, and the link that it shows."""
    command = [sys.executable, "-m", "fader", "study", "serve", str(folder), "--port", str(port)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            link = re.search(r"http://\S+", process.stderr.readline())
            assert link is not None
            yield process, link.group()
        finally:
            process.kill()


def test_no_acknowledged_answer_is_lost_to_kill_9(study: Study) -> None:
    acknowledged: list[list[tuple[str, int]]] = [[] for _ in range(4)]
    enough = threading.Barrier(5)
    cookies: list[Any] = [None] * 4

    def work(rater: int, link: str) -> None:
        with httpx2.Client(base_url=link) as client:
            choose = of_accuracy(study, CHANCES, rater)
            acknowledged[rater] += rate(client, choose, most=5)
            cookies[rater] = client.cookies
            enough.wait(60)
            with pytest.raises(httpx2.TransportError):
                while True:  # The server is killed in the midst of this.
                    acknowledged[rater] += rate(client, choose, most=1)

    with served(study.folder) as (process, link):
        raters = [threading.Thread(target=work, args=(rater, link)) for rater in range(4)]
        for one in raters:
            one.start()
        enough.wait(60)
        while sum(map(len, acknowledged)) < 40 and any(one.is_alive() for one in raters):
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
        for one in raters:
            one.join(60)
        assert process.wait() == -signal.SIGKILL

    given = [one for of_rater in acknowledged for one in of_rater]
    assert len(given) >= 40
    with open_answers(open_study(study.folder)) as answers:
        stored = Counter((one.item, one.answer) for one in answers.all())
    assert not Counter(given) - stored
    # At most the one answer of each rater that was on its way when the server died is there beyond those.
    assert sum((stored - Counter(given)).values()) <= 4

    # The link is the same after that, and raters go on where they were.
    with served(study.folder, port=int(link.split(":")[2].split("/")[0])) as (process, again):
        assert again == link
        with httpx2.Client(base_url=link, cookies=cookies[0]) as client:
            assert client.get("api/state").json()["done"] >= len(acknowledged[0])
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
