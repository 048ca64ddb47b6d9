"""The whole demo in miniature, in about a minute: the one test in which a Fader Network really learns something."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import fader
from fader import cli
from fader.datasets.portraits.specification import SCHEMA
from fader.datasets.prepared import open_dataset
from fader.errors import UserError


@pytest.mark.demo
def test_demo_makes_model_report_and_figures_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "demo"
    command = ["demo", "-o", str(run), "--count", "600", "--steps", "300", "--device", "cpu"]
    assert cli.main(command) == 0
    first = capsys.readouterr().out
    assert all(name in first for name in SCHEMA.names)
    assert f"report   {run / 'evaluation' / 'report.md'}" in first

    report = json.loads((run / "evaluation" / "report.json").read_text())
    # The mean picture leaves 1 unexplained. Of so short a training nothing is asked of the faders.
    assert report["reconstruction"]["unexplained"] < 0.35
    assert report["meta"]["pictures"] == len(open_dataset(tmp_path / "portraits-600").indices("test"))
    # The ends of the faders went with the model.
    ends = {n: {k: c[f"end_{k}"] for k in ("absent", "present")} for n, c in report["strength"].items()}
    assert fader.load(run).ends == ends
    files = ["model/model.safetensors", "evaluation/report.md", "evaluation/swaps.png", "evaluation/per_image.csv"]
    assert [name for name in files if not (run / name).is_file()] == []

    written = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    assert cli.main(command) == 0
    assert capsys.readouterr().out == first
    unchanged = {path for path, time in written.items() if path.exists() and path.stat().st_mtime_ns == time}
    assert {path.name for path in written.keys() - unchanged} <= {"metrics.jsonl"}


def test_the_run_may_be_the_folder_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Path] = []

    def prepare(dataset: Path, count: int) -> None:
        drawn.append(dataset)
        raise UserError("That will do.")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("fader.demo.prepare_portraits", prepare)
    assert cli.main(["demo", "-o", ".", "--count", "600"]) == 2
    assert drawn == [tmp_path.with_name("portraits-600")]
