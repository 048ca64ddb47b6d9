"""docs/evaluation.md defines the keys that report.json has, and no others."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from fader.config import ClassifierConfig, Config
from fader.evaluation import counterfactuals, evaluate, stgan
from fader.files import read_json
from tests.evaluation.world import SCHEMA, Eye, Unmoved, judge, world

PAGE = (Path(__file__).parents[2] / "docs" / "evaluation.md").read_text(encoding="utf-8")
OPEN = ("meta.model.trained_on", "meta.model.selection", "intervals")  # As they are in the model; as the figures are.
VALUES = {value for attribute in SCHEMA for value in attribute.values}


class WorldModel(Unmoved):
    """The model of the tiny world whose faders do nothing, with what a loaded model knows besides."""

    def __init__(self) -> None:
        super().__init__()
        self.config = Config()
        self.classifier, self.classifier_config = Eye(), ClassifierConfig()
        self.device = torch.device("cpu")
        self.dataset, self.selection = {"name": "world"}, {"step": 1}


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An evaluation on the tiny world; every attribute has a diagnosis."""
    found = judge()
    found.info["dataset"] = world().fingerprint
    monkeypatch.setattr(evaluate, "load", lambda path, device: WorldModel())
    monkeypatch.setattr(evaluate, "open_dataset", lambda path: world())
    monkeypatch.setattr(evaluate, "find_judge", lambda *arguments: found)
    monkeypatch.setattr(counterfactuals, "processors", lambda: 1)
    monkeypatch.setattr(stgan, "ATTRIBUTES", SCHEMA.names)
    evaluate.evaluate(tmp_path / "model", tmp_path / "dataset", output=tmp_path / "evaluation")
    return tmp_path / "evaluation"


def key_paths(content: Any, path: str = "") -> Iterator[str]:
    """The paths of all leaves, with placeholders for the names of attributes and values."""
    if isinstance(content, dict) and path not in OPEN:
        for name, value in content.items():
            step = "<attribute>" if name in SCHEMA.names else "<value>" if name in VALUES else name
            step = "<fader>" if re.fullmatch(r"-?[0-9.]+", name) else step
            yield from key_paths(value, f"{path}.{step}" if path else step)
    elif isinstance(content, list):
        for value in content:
            yield from key_paths(value, f"{path}[]")
    else:
        yield path


def documented() -> set[str]:
    """The keys in the first column of the tables of keys."""
    part = PAGE.split("\n## The keys of report.json\n")[1].split("\n## ")[0]
    first_cells = re.findall(r"^\| (`.*?) \|", part, re.MULTILINE)
    return {key for cell in first_cells for key in re.findall(r"`([^`]+)`", cell)}


def test_every_key_is_documented_and_no_other(folder: Path) -> None:
    report = read_json(folder / "report.json")
    assert tuple(report["diagnosis"]) == SCHEMA.names
    parents = {"diagnosis", "diagnosis.<attribute>"}  # Explained by themselves, as they may be empty.
    assert documented() == {*key_paths(report), *parents}


def test_every_figure_has_an_interval_by_the_same_path(folder: Path) -> None:
    report = read_json(folder / "report.json")

    def numbers(content: Any, path: str = "") -> dict[str, Any]:
        if not isinstance(content, dict):
            return {path: content}
        return {k: v for name, value in content.items() for k, v in numbers(value, f"{path}.{name}").items()}

    parts = ("reconstruction", "mean_swap_accuracy", "swap", "table1", "stgan", "classifier", "latent", "strength")
    figures, intervals = numbers({name: report[name] for name in parts}), numbers(report["intervals"])
    assert set(intervals) - {".naturalness"} == set(figures)
    for path, value in figures.items():
        if value is None:
            assert intervals[path] is None
        else:
            low, high = intervals[path]
            assert low - 1e-6 <= value <= high + 1e-6, path


def test_every_file_and_column_is_documented(folder: Path) -> None:
    part = PAGE.split("\n## The files\n")[1].split("\n## ")[0]
    assert set(re.findall(r"^\| `([^`]+)` \|", part, re.MULTILINE)) == {path.name for path in folder.iterdir()}
    columns = (folder / "per_image.csv").read_text(encoding="utf-8").splitlines()[0].split(",")
    named = re.compile(rf"^({'|'.join(SCHEMA.names)})\b")
    for column in {re.sub(r" \+\d", "", named.sub("<attribute>", column)) for column in columns}:
        assert f"`{column}`" in part, column
