"""The scripts of the paper's figures, tables and findings, but for their long runs."""

from __future__ import annotations

import json
import re
import runpy
import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
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
from fader.config import JUDGE, Config, configure
from fader.datasets.portraits.specification import SCHEMA
from fader.datasets.prepared import DatasetWriter, PreparedDataset, open_dataset
from fader.evaluation.evaluate import ends_of
from fader.files import read_json
from fader.model import load, save_model
from fader.training.run import create_or_continue
from tests.models import tiny_model
from tests.refusals import refusal

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
    assert ablations.read_results(results, 100) == {}
    runs = [(100, "plain-0", 0.9, 0.1), (100, "no-ramp-1", 0.7, 0.3), (100, "plain-1", 0.8, 0.2)]
    # Of other settings: a longer run, and one from when `plain` was with erase.
    runs += [(200, "plain-0", 0.1, 0.9), (100, "demo-0", 0.2, 0.8)]
    for steps, name, seen, unexplained in runs:
        of, _, seed = name.rpartition("-")
        config = ablations.ABLATIONS[of].config(int(seed), steps).to_json()
        del config["training"]["ema"]  # As if there had been no such setting then.
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
            run = name.replace("demo", "plain")
            file.write(json.dumps({"run": run, "config": config, "report": report}) + "\n")
    assert list(ablations.read_results(results, 200)) == ["plain-0"]
    shown = ablations.show(tmp_path, results, 100)
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
        # From 10% / 1.2 to 20% x 1.2 it is a factor of 2.88, of which the point has 1.2 behind it: 17.2% of the width.
        # Upwards, 60% of the way from 50% to 100%.
        assert figure.getpixel((60 + round(640 * 0.172), 60 + round(400 * 0.4))) == (0xD9, 0x48, 0x0F)


@pytest.mark.parametrize("scale", ["paper", "small"])
def test_the_commands_of_the_figures_are_understood(
    scale: str, script: Any, monkeypatch: pytest.MonkeyPatch, portraits: Path
) -> None:
    paper = script("paper")
    data, calls = open_dataset(portraits), []
    monkeypatch.setattr("fader.datasets.prepared.open_dataset", lambda _: data)
    monkeypatch.setattr(paper, "open_dataset", lambda _: replace(data, size=paper.SCALES[scale].size))
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
    chosen = paper.SCALES[scale]
    chosen = replace(chosen, training=[*chosen.training, "--seed", "7"])
    assert paper.main(Path("c"), Path("o"), chosen, ["figure1", "figure3", "figure4"], True) == 0
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
    pictures_of_halves(tmp_path / "pictures", splits=(0, 1, 2))
    small = replace(paper.SCALES["small"], size=32)
    assert paper.main(tmp_path / "c", tmp_path, small, ["figure1"], True) == 2
    assert [command[0] for command in ran] == ["train", "train", "slide"]
    capsys.readouterr()
    assert paper.main(tmp_path / "c", tmp_path, small, ["table1", "study"], False) == 0
    assert len(ran) == 3
    listed = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in listed] == ["prepare", *["train"] * 3, "prepare", "train", "compare", "study"]


def test_pictures_of_another_scale_or_without_a_split_are_refused(
    script: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    paper = script("paper")
    monkeypatch.setattr(cli, "main", lambda command: 0)
    pictures_of_halves(tmp_path / "pictures", splits=(0, 2))
    large, small = paper.SCALES["paper"], replace(paper.SCALES["small"], size=32)
    for scale, words in ((large, "32 pixels, not 256"), (small, "no picture is in split 'valid'")):
        message = refusal(partial(paper.main, tmp_path / "c", tmp_path, scale, ["figure1"], True))
        assert words in message
    (tmp_path / "attributes.csv").write_text("file,Male\n1.jpg,1\n")
    message = refusal(lambda: script("faces").write_table(tmp_path / "attributes.csv", tmp_path / "faces.csv"))
    assert 'needs a column "split"' in message
    assert not (tmp_path / "faces.csv").exists()


def test_table_1_has_the_papers_rows_of_three_models_and_an_icgan(script: Any) -> None:
    def of_system(attributes: Sequence[str], share: float) -> dict[str, Any]:
        rows = {"real": 0.875, "reconstruction": share, "swap": share / 2}
        values = {
            "table1": {a: {row: {"first": of, "whole": 0.0} for row, of in rows.items()} for a in attributes},
            "naturalness": {"reconstruction": {"auc": share}, "swap": {a: {"auc": share / 4} for a in attributes}},
        }
        return {**values, "intervals": intervals_of(values)}

    def intervals_of(value: Any) -> Any:
        return {k: intervals_of(v) for k, v in value.items()} if isinstance(value, dict) else [value, value]

    paper = script("paper")
    systems = {
        name: of_system([name], share) for name, share in zip(paper.SINGLE["table1"], (0.8, 0.6, 0.4), strict=True)
    }
    table = paper.table1({"systems": {**systems, "icgan": of_system(paper.ICGAN_ATTRIBUTES, 0.2)}})
    rows = [
        [cell.split(" (")[0] for cell in line.strip("| ").split(" | ")] for line in table.splitlines() if "|" in line
    ]
    accuracy, naturalness = rows[2:7], rows[9:]
    assert accuracy == [
        ["Real", "87.5%", "89.0%", "87.5%", "88.3%", "87.5%", "97.6%"],
        ["IcGAN AE", "20.0%", "88.1%", "20.0%", "91.7%", "20.0%", "86.2%"],
        ["IcGAN Swap", "10.0%", "10.1%", "10.0%", "9.9%", "10.0%", "47.5%"],
        ["FadNet AE", "80.0%", "91.8%", "60.0%", "90.1%", "40.0%", "94.5%"],
        ["FadNet Swap", "40.0%", "66.2%", "30.0%", "97.1%", "20.0%", "76.6%"],
    ]
    assert naturalness == [
        ["IcGAN AE", "0.200", "0.200", "0.200"],
        ["IcGAN Swap", "0.050", "0.050", "0.050"],
        ["FadNet AE", "0.800", "0.600", "0.400"],
        ["FadNet Swap", "0.200", "0.150", "0.100"],
    ]


@pytest.mark.usefixtures("script")
def test_a_script_says_in_a_sentence_what_it_cannot_use(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = {"paper": "nowhere", "flowers": "images.zip", "faces": "attributes.csv"}
    said |= dict.fromkeys(["ablations", "balance", "bundle", "familiarity"], "nowhere")
    for name, words in said.items():
        path = str(SCRIPTS / f"{name}.py")
        monkeypatch.setattr(sys, "argv", [path, str(tmp_path / "nowhere"), str(tmp_path / "out")])
        with pytest.raises(SystemExit) as left:
            runpy.run_path(path, run_name="__main__")
        assert left.value.code == 2
        said_of_it = capsys.readouterr().err
        assert said_of_it.startswith("fader: ")
        assert words in said_of_it
        assert said_of_it.count("\n") == 1


def test_archives_of_one_folder_are_two_kinds_of_pictures(script: Any) -> None:
    paths = [Path("here/cats"), Path("flowers/images.zip"), Path("more/one.zip"), Path("more/two.zip")]
    assert script("familiarity").titled(paths) == {
        **{"cats": paths[0], "flowers": paths[1]},
        **{str(Path("more/one.zip")): paths[2], str(Path("more/two.zip")): paths[3]},
    }


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


def pictures_of_halves(folder: Path, splits: Sequence[int] = (2, 2)) -> PreparedDataset:
    """Pictures in these splits, not pink and pink by their labels: half pink, half green; half the green of the latter
    is black."""
    folder.mkdir()
    with DatasetWriter(folder, Schema.binary(["pink"]), 32, 3) as writer:
        for i, split in enumerate(splits):
            label = i % 2
            picture = np.full((32, 32, 3), (255, 105, 180), np.uint8)
            picture[:, 16:] = (40, 160, 40)
            if label:
                picture[16:, 16:] = 0
            writer.add(picture, np.array([label], np.uint8), split, str(i))
        writer.finish({"crop": "centre", "picture_size": None}, {"kind": "folder"})
    return open_dataset(folder)


def test_a_run_is_bundled_with_a_card_of_its_figures(
    script: Any, tmp_path: Path, portraits: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("fader.evaluation.judge.JUDGE", replace(JUDGE, width=4, max_width=8, epochs=0.5))
    bundle, data = script("bundle"), open_dataset(portraits)
    config = configure("small", width=8, max_width=16, steps=4000, erase=False, ema=0.9, adversarial_weight=0.01)
    run = create_or_continue(tmp_path / "my run", config, SCHEMA, data)
    selection = {"chosen by": "the rule", "step": 3000, "epoch": 2, "seconds": 600.0}
    model = tiny_model(SCHEMA, size=64, layers=5)
    model.config, model.selection = config, selection
    save_model(model, run.model)
    bundle.main(run.folder, "two cores", tmp_path / "bundled")
    assert "Missed: mean swap accuracy is" in capsys.readouterr().out
    shipped, report = load(tmp_path / "bundled"), read_json(run.folder / "bundle" / "evaluation" / "report.json")
    for name, tensor in model.network.state_dict().items():
        half = tensor.half() if tensor.is_floating_point() else tensor
        assert torch.equal(shipped.network.state_dict()[name], half.to(tensor.dtype))
    assert shipped.selection == selection
    assert shipped.ends == ends_of(report)
    valid = shipped.encode_framed(data.images[data.indices("valid")])
    assert shipped.errors["mse_max"] == pytest.approx(valid.reconstruction_errors.max(), rel=1e-5)
    text = (tmp_path / "bundled" / "README.md").read_text()
    swap = report["swap"]["Hat"]
    assert f"| Hat | {swap['accuracy']:.1%} | {swap['to_present']:.1%} |" in text
    assert f"| unexplained | {report['reconstruction']['unexplained']:.2%} |" in text
    assert "3,000 steps of 16 pictures, of a schedule of 4,000, in\n10 minutes on two cores." in text
    prepare, classifier, train, again = re.findall(r"```bash\n(.*)\n(.*)\n(.*)\n(.*)\n```", text)[0]
    assert prepare == "fader prepare portraits --count 80 -o runs/portraits"
    folder = "'runs/my run-classifier'"
    assert classifier == f"fader classifier runs/portraits -o {folder} --width 4 --max-width 8 --hidden 8"
    assert again == "python scripts/bundle.py runs/'my run' 'two cores'"
    calls = []
    monkeypatch.setattr("fader.datasets.prepared.open_dataset", lambda _: data)
    monkeypatch.setattr("fader.training.loop.train", lambda *arguments: calls.append(arguments))
    assert cli.main(shlex.split(train)[1:]) == 0
    assert calls[0][1:3] == (Path("runs/my run"), config)
    assert Path("runs/my run-classifier") in calls[0]
