"""An evaluation from end to end: on drawn portraits, on anyone's names, and refused where it has to be."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from fader.attributes import Schema
from fader.config import JUDGE, Config
from fader.datasets.portraits.source import prepare_portraits
from fader.datasets.prepared import open_dataset
from fader.errors import UserError
from fader.evaluation import evaluate as module
from fader.evaluation import judge as judge_module
from fader.evaluation.evaluate import evaluate
from fader.evaluation.report import summary, to_markdown
from fader.files import write_json
from fader.images import Framing
from fader.model import load, save_model
from fader.training.run import RunOf
from tests.models import tiny_model

SCHEMA = Schema.binary(["Smiling", "Hat"])


@pytest.fixture(autouse=True)
def short_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judge_module, "JUDGE", replace(JUDGE, width=4, max_width=8, epochs=0.5))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    save_model(tiny_model(SCHEMA, size=64), tmp_path / "model")
    return tmp_path / "model"


def test_it_writes_everything_once(model: Path, portraits: Path, tmp_path: Path) -> None:
    output = tmp_path / "report"
    report = evaluate(model, portraits, output=output, device="cpu")
    assert sorted(path.name for path in output.iterdir()) == [
        "extremes.png",
        "per_image.csv",
        "report.json",
        "report.md",
        "strength.png",
        "swaps.png",
    ]
    assert json.loads((output / "report.json").read_text()) == report
    data = open_dataset(portraits)
    count = len(data.indices("test"))
    assert report["meta"]["pictures"] == report["meta"]["counterfactuals"] == count
    assert len((output / "per_image.csv").read_text().splitlines()) == count + 1
    assert list(report["swap"]) == list(SCHEMA.names)
    assert report["meta"]["dataset"]["fingerprint"] == data.fingerprint
    # Random weights do nothing that anyone sees: each fader has its diagnosis.
    assert set(report["diagnosis"]) <= set(SCHEMA.names)
    assert report["diagnosis"]
    for name in ("swaps.png", "extremes.png"):
        with Image.open(output / name) as figure:
            assert figure.width > 5 * 64

    with pytest.raises(UserError, match="exists already"):
        evaluate(model, portraits, output=output)
    # The judge was kept beside the report, and the same numbers come out again.
    assert (tmp_path / "report-judge" / "config.json").is_file()
    assert evaluate(model, portraits, output=output, device="cpu", overwrite=True) == report


def test_what_cannot_be_evaluated_is_refused_with_nothing_written(
    model: Path, portraits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "report"
    with pytest.raises(UserError, match="--output"):
        evaluate(model, portraits)
    with pytest.raises(UserError, match="--dataset"):
        evaluate(model, output=output)
    with pytest.raises(UserError, match="no prepared dataset"):
        evaluate(model, tmp_path / "nowhere", output=output)
    with pytest.raises(UserError, match="no split 'tset'"):
        evaluate(model, portraits, split="tset", output=output)
    save_model(tiny_model(SCHEMA, size=128), tmp_path / "large")
    with pytest.raises(UserError, match="pictures of 64 pixels"):
        evaluate(tmp_path / "large", portraits, output=output)
    in_part = tiny_model(SCHEMA, size=64, framing=Framing((30, 40, 168, 178), (178, 218)))
    save_model(in_part, tmp_path / "part")
    cut = open_dataset(portraits)
    monkeypatch.setattr(
        module,
        "open_dataset",
        lambda _: replace(cut, info={**cut.info, "framing": Framing(None, (178, 218)).to_json()}),
    )
    with pytest.raises(UserError, match="does not see all of a picture that is judged"):
        evaluate(tmp_path / "part", portraits, output=output)
    monkeypatch.undo()
    save_model(tiny_model(Schema.binary(["Moustache"]), size=64), tmp_path / "other")
    with pytest.raises(UserError, match="'Moustache'"):
        evaluate(tmp_path / "other", portraits, output=output)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("mine")
    with pytest.raises(UserError, match="something else"):
        evaluate(model, portraits, output=tmp_path / "mine", overwrite=True)
    assert not output.exists()
    assert not (tmp_path / "report-judge").exists()


def test_pictures_of_a_side_that_is_no_power_of_two(tmp_path: Path) -> None:
    prepare_portraits(tmp_path / "data", count=40, size=48, workers=1)
    save_model(tiny_model(SCHEMA), tmp_path / "model")
    first, second = (
        evaluate(tmp_path / "model", tmp_path / "data", output=tmp_path / "report", device="cpu", overwrite=overwrite)
        for overwrite in (False, True)
    )
    assert first == second
    assert first["meta"]["judged_size"] == 32


def test_names_are_shown_as_they_are(model: Path, portraits: Path, tmp_path: Path) -> None:
    odd = "[red]<script>|*x*\x1b[31m\n"

    def renamed(content: Any) -> Any:
        if not isinstance(content, dict):
            return content
        return {odd if name == "Smiling" else name: renamed(value) for name, value in content.items()}

    report = renamed(evaluate(model, portraits, output=tmp_path / "report", device="cpu"))
    text, page = summary(report), to_markdown(report)
    assert "\x1b" not in text
    assert "[red]<script>" in text
    assert "<script>" not in page
    for table in page.split("\n\n| ")[1:]:
        lines = [line for line in ("| " + table).splitlines() if line.startswith("| ")]
        assert len({line.replace(r"\|", "").count("|") for line in lines}) == 1, lines


@pytest.mark.parametrize("trained_on", [False, True])
def test_ends_go_to_the_model_that_was_measured_alone(
    trained_on: bool, portraits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = open_dataset(portraits)
    about = {"path": str(portraits), "name": "portraits", "fingerprint": data.fingerprint}
    run = RunOf(tmp_path / "run", Config(), SCHEMA, about, None)
    write_json(run.folder / "run.json", run.to_json())
    save_model(tiny_model(SCHEMA, size=64), run.model)
    measure_system = module.measure_system

    def measure_while_training(*arguments: Any) -> Any:
        system = measure_system(*arguments)
        if trained_on:
            save_model(tiny_model(SCHEMA, size=64, seed=1), run.model, overwrite=True)
        return system

    monkeypatch.setattr(module, "measure_system", measure_while_training)
    evaluate(run.folder, device="cpu")
    assert (run.folder / "evaluation" / "report.md").is_file()
    assert load(run.folder, "cpu").ends.keys() == (set() if trained_on else {*SCHEMA.names})
