"""What fuzzing found, by hand."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch

from fader.config import Config
from fader.datasets.celeba import _published_rows
from fader.datasets.portraits.source import prepare_portraits
from fader.datasets.prepared import open_dataset
from fader.datasets.remote import is_remembered, remember
from fader.demo import report_of_model
from fader.errors import UserError
from fader.export.runtime import WASM, copy_runtime
from fader.images import open_picture
from fader.info import describe
from fader.study.report import report
from fader.study.turk import import_results
from fader.training.checkpoints import newest_checkpoint
from fader.training.choice import open_run_dataset, show_candidates
from fader.training.records import read_records
from fader.training.run import RunOf, open_run
from tests.fuzz.seeds import small_study
from tests.fuzz.targets import _csv, _tried, _turk_rows
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


def test_a_package_that_unpacks_to_no_end_or_is_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fader.export.runtime.MOST", 100_000)
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        info = tarfile.TarInfo(f"package/dist/{WASM.loader.name}")
        info.size = 200_000
        archive.addfile(info, io.BytesIO(bytes(info.size)))
    packed = gzip.compress(stream.getvalue())
    damaged = packed[:20] + b"\xff" * 8 + packed[28:]
    for content, says in ((packed, "unpacks to over 100,000 bytes"), (damaged, "cannot be read"), (b"", "cannot be")):
        (tmp_path / "package.tgz").write_bytes(content)
        with pytest.raises(UserError, match=says):
            copy_runtime(WASM, tmp_path / "package.tgz", tmp_path / says)


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"meta": {"model": 1}}'])
def test_a_damaged_report_of_the_demo_is_made_again(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "evaluation").mkdir()
    (tmp_path / "evaluation/report.json").write_bytes(content)
    assert report_of_model(tmp_path) is None


def test_a_lack_of_memory_is_not_the_pictures_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("PIL.Image.open", Mock(side_effect=MemoryError))
    with pytest.raises(MemoryError):
        open_picture(io.BytesIO(b"a picture"))


def test_a_lack_of_memory_behind_a_refusal_is_found() -> None:
    def refuse() -> None:
        try:
            raise MemoryError
        except MemoryError:
            raise UserError("It is damaged.") from None

    with pytest.raises(MemoryError):
        _tried(refuse)
