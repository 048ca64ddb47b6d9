"""metrics.jsonl: no gap, repeat or half line after a resume."""

import json
from pathlib import Path

import pytest
import torch

from fader.training.records import Records, Window, read_records


def test_resuming_drops_what_the_checkpoint_has_not_seen(tmp_path: Path) -> None:
    with Records(tmp_path, 0) as records:
        for step in (50, 100, 150):
            records.append("train", step, {"reconstruction": step / 10})
        records.append("evaluation", 100, {"epoch": 1, "mse": 0.5})
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "train", "step": 2')  # A killed process.
    with Records(tmp_path, 100):
        pass
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [50, 100, 100]
    assert read_records(tmp_path / "metrics.jsonl", "evaluation") == [
        {"kind": "evaluation", "step": 100, "epoch": 1, "mse": 0.5}
    ]


def test_numbers_that_json_has_not_are_refused(tmp_path: Path) -> None:
    with Records(tmp_path, 0) as records, pytest.raises(ValueError, match="JSON"):
        records.append("train", 1, {"reconstruction": float("nan")})


def test_window_means_survive_an_interruption() -> None:
    whole, first = Window(), Window()
    for value in (1.0, 2.0, 6.0):
        whole.add({"loss": torch.tensor(value)})
    first.add({"loss": torch.tensor(1.0)})
    resumed = Window(first.state())
    resumed.add({"loss": torch.tensor(2.0)})
    resumed.add({"loss": torch.tensor(6.0)})
    assert whole.first_not_finite() is None
    assert resumed.close() == whole.close() == {"loss": 3.0}
    assert len(whole) == 0


def test_window_names_the_first_update_that_was_not_finite() -> None:
    window = Window()
    for a, b in ((1.0, 1.0), (2.0, float("inf")), (float("nan"), 3.0)):
        window.add({"a": torch.tensor(a), "b": torch.tensor(b)})
    assert window.first_not_finite() == (1, {"a": 2.0, "b": float("inf")})


def test_tensorboard_has_the_same_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Board:
        def __init__(self) -> None:
            self.scalars: dict[tuple[str, int], float] = {}

        def add_scalar(self, name: str, number: float, step: int) -> None:
            self.scalars[name, step] = number

        def close(self) -> None:
            pass

    board = Board()
    monkeypatch.setattr("fader.training.records._tensorboard", lambda folder, step: board)
    with Records(tmp_path, 0) as records:
        records.append("evaluation", 7, {"mse": 0.5, "accuracy": {"Hat": 0.75, "Beard": 1.0}})
        records.append("epoch", 8, {"stage": "generator", "epoch": 1})
    assert board.scalars == {
        ("evaluation/mse", 7): 0.5,
        ("evaluation/accuracy/Hat", 7): 0.75,
        ("evaluation/accuracy/Beard", 7): 1.0,
        ("epoch/epoch", 8): 1,
    }
