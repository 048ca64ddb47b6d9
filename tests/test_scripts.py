"""The scripts of the paper's figures, tables and findings, but for their long runs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from fader import cli
from fader.attributes import Schema
from fader.config import Config, configure
from fader.datasets.prepared import DatasetWriter, PreparedDataset, open_dataset

SCRIPTS = Path(__file__).parents[1] / "scripts"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Imports a script by its name, as it is when it is started."""
    monkeypatch.syspath_prepend(SCRIPTS)
    names = {path.stem for path in SCRIPTS.glob("*.py")}

    def load(name: str) -> ModuleType:
        return import_module(name)

    yield load
    for name in names:
        sys.modules.pop(name, None)


def test_every_ablation_changes_what_it_says(script: Any) -> None:
    ablations = script("ablations").ABLATIONS
    plain = ablations["plain"].config(1, 100)
    assert plain == configure("small", steps=100, seed=1, erase=False)
    changed = {name: differences(ablations[name].config(1, 100), plain) for name in ablations}
    assert changed == {
        "plain": {},
        "no-ramp": {"ramp": 0},
        "no-dropout": {"discriminator_dropout": 0},
        "decoder-dropout": {"decoder_dropout": 0.3},
        "fewer-layers": {"layers": 4},
        "more-layers": {"layers": 6},
        "no-adversary": {"adversarial_weight": 0},
        "lambda-small": {"adversarial_weight": pytest.approx(8e-4)},
        "lambda-large": {"adversarial_weight": pytest.approx(8e-2)},
        "lambda-paper": {"adversarial_weight": configure("paper").training.adversarial_weight},
        "lambda-third": {"adversarial_weight": pytest.approx(8e-3 / 3)},
        "lambda-triple": {"adversarial_weight": pytest.approx(2.4e-2)},
        "demo": {"erase": True},
    }
    assert ablations["demo"].config(0, 8000) == configure("small")


def differences(config: Config, other: Config) -> dict[str, Any]:
    fields, others = ({k: v for part in one.to_json().values() for k, v in part.items()} for one in (config, other))
    return {name: value for name, value in fields.items() if value != others[name]}


def test_tables_and_frontier_of_the_runs_that_are_done(script: Any, tmp_path: Path) -> None:
    ablations, results = script("ablations"), tmp_path / "results.jsonl"
    assert ablations.read_results(results) == []
    for name, seen, unexplained in (("plain-0", 0.9, 0.1), ("no-ramp-1", 0.7, 0.3), ("plain-1", 0.8, 0.2)):
        report = {
            "mean_swap_accuracy": seen,
            "swap": {"A": {"accuracy": 1.0, "gain_to_absent": 0.5}, "B": {"accuracy": 0.25, "gain_to_absent": 0.75}},
            "reconstruction": {"unexplained": unexplained},
            "latent": {
                "A": {"probe_balanced": 0.5, "network_probe_balanced": 0.6},
                "B": {"probe_balanced": 0.6, "network_probe_balanced": 1.0},
            },
        }
        assert ablations.kept_of({**report, "meta": {"size": 64}}) == report
        with results.open("a") as file:
            file.write(json.dumps({"run": name, "config": {}, "report": report}) + "\n")
    shown = ablations.show(tmp_path, results)
    rows = [line.split(" | ") for line in shown.splitlines() if line.startswith(("| plain", "| no"))]
    assert [row[0] for row in rows] == ["| plain", r"| no\-ramp"]
    assert rows[0][2:] == [
        "90.0 / 80.0%",
        "25.0 / 25.0%",
        "0.62 / 0.62",
        "10.0 / 20.0%",
        "55.0 / 55.0%",
        "80.0 / 80.0% |",
    ]
    assert rows[1][2] == "70.0%"
    # Only runs that differ in lambda alone; the two seeds of plain are at its lambda.
    points = ablations._frontier({"plain": [report], "no-ramp": [report], "no-adversary": [report], "demo": [report]})
    assert [point.weight for point in points] == [0.0, 8e-3]
    assert points[0].leakage == {"linear probe": pytest.approx(0.55), "network probe": pytest.approx(0.8)}
    with Image.open(tmp_path / "frontier.png") as figure:
        # A point at 10% of 22% of the width, and 60% of the way from 50% to 100%.
        assert figure.getpixel((60 + round(640 * 0.1 / 0.22), 60 + round(400 * 0.4))) == (0xD9, 0x48, 0x0F)


@pytest.mark.parametrize("scale", ["paper", "small"])
def test_the_commands_of_the_figures_are_understood(
    scale: str, script: Any, monkeypatch: pytest.MonkeyPatch, portraits: Path
) -> None:
    paper = script("paper")
    data, calls = open_dataset(portraits), []
    monkeypatch.setattr("fader.datasets.prepared.open_dataset", lambda _: data)
    for target in (
        "datasets.celeba.prepare_celeba",
        "training.loop.train",
        "editing.figure.slide",
        "editing.figure.swap",
    ):

        def note(*values: Any, target: str = target, **named: Any) -> Any:
            calls.append((target.rpartition(".")[2], values, named))
            return "" if target.endswith("celeba") else []

        monkeypatch.setattr(f"fader.{target}", note)
    items = [item for item in paper.ITEMS if item != "table1"]
    assert paper.main(Path("c"), Path("o"), paper.SCALES[scale], items, ["--seed", "7"], True) == 0
    trained = {values[1].name: values for kind, values, _ in calls if kind == "train"}
    assert list(trained) == ["Young", "Male", "Eyeglasses", "Mouth_Slightly_Open", "Smiling", "together"]
    assert len([kind for kind, *_ in calls if kind == "train"]) == 6
    assert trained["together"][3] == ("Male", "Narrow_Eyes", "Eyeglasses")
    config = trained["Male"][2]
    assert config.training.seed == 7
    assert (config.training.steps, config.training.balance) == (
        (1_000_000, False) if scale == "paper" else (24_000, True)
    )
    assert calls[0][2]["size"] == (256 if scale == "paper" else 64)
    figures = [values[2].name for kind, values, _ in calls if kind in ("slide", "swap")]
    assert figures == [
        "figure1-Young.png",
        "figure1-Male.png",
        *(f"figure3-{name}.png" for name in ("Eyeglasses", "Mouth_Slightly_Open", "Smiling", "Male", "Young")),
        "figure4.png",
    ]


def test_what_failed_or_is_there_is_not_gone_on_with(
    script: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paper = script("paper")
    ran: list[list[str]] = []

    def run(command: list[str]) -> int:
        ran.append(command)
        return 2 if command[0] == "slide" else 0

    monkeypatch.setattr(cli, "main", run)
    (tmp_path / "pictures").mkdir()
    assert paper.main(tmp_path / "c", tmp_path, paper.SCALES["small"], ["figure1"], [], True) == 2
    assert [command[0] for command in ran] == ["train", "train", "slide"]
    capsys.readouterr()
    assert paper.main(tmp_path / "c", tmp_path, paper.SCALES["small"], ["table1"], [], False) == 0
    assert len(ran) == 3
    listed = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in listed] == ["prepare", *["train"] * 3, "prepare", "train", "compare"]


class Brightening:
    """Stands for a model: brightens the left half of a picture by 0.2 for each unit of pink, and the right by 0.04."""

    schema = Schema.binary(["pink"])
    device = torch.device("cpu")

    def batches(self, count: int) -> list[slice]:
        return [slice(0, 1), slice(1, count)]

    def encode_pixels(self, pixels: Tensor) -> Tensor:
        return pixels

    def decode_pixels(self, latent: Tensor, values: Tensor) -> Tensor:
        half = latent.shape[-1] // 2
        amount = torch.full_like(latent, 0.2)
        amount[..., half:] = 0.04
        return latent + values.float()[:, :, None, None] * amount


def test_the_background_is_told_by_what_is_green_or_dark(script: Any, tmp_path: Path) -> None:
    flowers = script("flowers")
    colours = {
        "green": [(40, 160, 40), (90, 120, 60)],
        "dark": [(0, 0, 0), (60, 10, 40), (20, 60, 20)],
        "all others": [(255, 105, 180), (250, 220, 30), (255, 255, 255), (90, 90, 250), (130, 128, 128)],
    }
    for name, some in colours.items():
        found = flowers.regions(np.array(some, np.uint8)[None, None].repeat(2, axis=1))
        assert {region for region, pixels in found.items() if pixels.any()} == {name}
        assert found[name].all()

    dataset = pictures_of_halves(tmp_path / "data")
    table = flowers.background_change(Brightening(), dataset)
    rows = [row.strip("| ").split(" | ") for row in table.splitlines()[2:]]
    # Pink on the left moves by 0.2 of a range of 2, so by 25.5 levels, green on the right by 0.04; nothing is dark in
    # the picture that is not pink, and a quarter of the other is.
    assert rows == [
        ["green", "37.5", "5.1", "5.1"],
        ["dark", "12.5", "none", "5.1"],
        ["all others", "50.0", "25.5", "25.5"],
    ]


def pictures_of_halves(folder: Path) -> PreparedDataset:
    """Two test pictures, not pink and pink by their labels: half pink, half green; the green of one is half black."""
    folder.mkdir()
    with DatasetWriter(folder, Schema.binary(["pink"]), 32, 3) as writer:
        for label in (0, 1):
            picture = np.full((32, 32, 3), (255, 105, 180), np.uint8)
            picture[:, 16:] = (40, 160, 40)
            if label:
                picture[16:, 16:] = 0
            writer.add(picture, np.array([label], np.uint8), 2, str(label))
        writer.finish({"crop": "centre", "picture_size": None}, {"kind": "folder"})
    return open_dataset(folder)
