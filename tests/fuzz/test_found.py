"""What fuzzing found, by hand."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
import torch

from fader.config import Config
from fader.datasets.celeba import _published_rows
from fader.datasets.portraits.source import prepare_portraits
from fader.datasets.prepared import open_dataset
from fader.datasets.remote import is_remembered, remember
from fader.info import describe
from fader.study.report import report
from fader.study.turk import import_results
from fader.training.checkpoints import newest_checkpoint
from fader.training.choice import open_run_dataset, show_candidates
from fader.training.records import read_records
from fader.training.run import RunOf, open_run
from tests.fuzz.seeds import small_study
from tests.fuzz.targets import _csv, _turk_rows
from tests.models import SCHEMA
from tests.refusals import refusal

URL = "s3://stranger/faces"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run folder that a stranger made."""
    folder = tmp_path / "run"
    folder.mkdir()
    about = {"path": URL, "name": "faces", "fingerprint": "0123456789abcdef"}
    (folder / "run.json").write_text(json.dumps(RunOf(folder, Config(), SCHEMA, about, None).to_json()))
    return folder


def test_a_run_leads_to_no_url_that_was_not_named_before(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FADER_CACHE", str(tmp_path / "cache"))
    opened: list[object] = []

    def open_nothing(location: object) -> None:
        opened.append(location)
        raise ConnectionError

    monkeypatch.setattr("fader.training.choice.open_dataset", open_nothing)
    assert f"--dataset {URL}" in refusal(lambda: open_run_dataset(open_run(run)))
    assert opened == []
    with pytest.raises(ConnectionError):
        open_run_dataset(open_run(run), URL)
    assert not is_remembered(URL)
    remember(URL)
    with pytest.raises(ConnectionError):
        open_run_dataset(open_run(run))
    assert opened == [URL, URL]


@pytest.mark.parametrize(
    "record",
    [
        {"kind": "evaluation", "step": 1},
        {"kind": "evaluation", "step": 1, "epoch": 1, "seconds": 1, "mse": [], "accuracy": {}},
        {"kind": "evaluation", "step": 1, "epoch": "../x", "seconds": 1, "mse": 1, "accuracy": {"Smiling": 10**400}},
        {"kind": "epoch", "step": 1},
    ],
)
def test_records_that_are_none(run: Path, record: object) -> None:
    (run / "metrics.jsonl").write_text(json.dumps(record))
    assert "damaged" in refusal(lambda: describe(run))
    refusal(lambda: show_candidates(run))


def test_lines_that_are_no_records_count_for_nothing(run: Path) -> None:
    lines = [b"\xff", b"[" * 100_000, b'{"step": "x"}', b'{"step": 3}', b'{"st']
    (run / "metrics.jsonl").write_bytes(b"\n".join(lines))
    assert read_records(run / "metrics.jsonl") == [{"step": 3}]


def test_a_run_without_its_dataset_is_refused(run: Path) -> None:
    data = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(data | {"dataset": {}}))
    assert "damaged" in refusal(lambda: open_run(run))


def test_a_checkpoint_that_is_something_else(tmp_path: Path) -> None:
    torch.save([1], tmp_path / "step-000000001.pt")
    refusal(lambda: newest_checkpoint(tmp_path))


def test_a_header_that_does_not_end(tmp_path: Path) -> None:
    prepare_portraits(tmp_path / "dataset", count=12, size=32, workers=1)
    path = tmp_path / "dataset/images.npy"
    path.write_bytes(path.read_bytes().replace(b"}", b"(", 1))
    assert "images.npy" in refusal(lambda: open_dataset(tmp_path / "dataset"))


def test_numbers_that_never_end() -> None:
    rows = _published_rows(io.BytesIO(b"9" * 5000 + b"\nSmiling\n"), "list_attr_celeba.txt")
    refusal(lambda: list(rows))


def test_a_damaged_key_and_damaged_answers(tmp_path: Path) -> None:
    study = small_study(tmp_path / "study")
    names = [item.picture for item in study.tasks[0].items]
    results = tmp_path / "results.csv"
    results.write_bytes(_csv(_turk_rows(names)))
    import_results(study.folder, results)
    report(study.folder)
    key = json.loads((study.folder / "key.json").read_text())
    for name in ("measure", "attribute"):
        damaged = {task: {k: v for k, v in about.items() if k != name} for task, about in key["tasks"].items()}
        (study.folder / "key.json").write_text(json.dumps(key | {"tasks": damaged}))
        assert "key.json" in refusal(lambda: report(study.folder))
    (study.folder / "key.json").write_text(json.dumps(key))
    content = bytearray(study.answers.read_bytes())
    content[4096:] = b"\xff" * len(content[4096:])
    study.answers.write_bytes(content)
    assert "answers.sqlite" in refusal(lambda: report(study.folder))
