"""Several models side by side, of different pictures and attributes, from end to end."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from PIL import Image

from fader.attributes import Schema
from fader.config import JUDGE, ClassifierConfig
from fader.datasets.prepared import DatasetWriter, open_dataset
from fader.datasets.views import view
from fader.errors import UserError
from fader.evaluation import compare as module
from fader.evaluation import judge as judge_module
from fader.evaluation import naturalness as naturalness_module
from fader.evaluation.compare import compare
from fader.evaluation.report import comparison_summary
from fader.files import new_folder
from fader.images import from_pixels, to_pixels
from fader.interop.inception import read_inception
from fader.metrics import frechet_distance
from fader.model import Model, load, save_model
from fader.networks import inception as inception_module
from fader.networks.classifier import make_classifier
from fader.networks.inception import Inception
from fader.training.classifier import Classifier
from tests.models import tiny_model
from tests.networks.inception_weights import made_up_weights

SCHEMA = Schema.binary(["Hat"])


@pytest.fixture(autouse=True)
def short_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judge_module, "JUDGE", replace(JUDGE, width=4, max_width=8, epochs=0.5))
    small = replace(naturalness_module.CONFIG, width=4, max_width=4, epochs=0.2)
    monkeypatch.setattr(naturalness_module, "CONFIG", small)


@pytest.fixture
def models(tmp_path: Path) -> list[Path]:
    """One of 64 pixels and two attributes, one of 32 pixels and one of them."""
    save_model(tiny_model(Schema.binary(["Smiling", "Hat"]), size=64), tmp_path / "two" / "model")
    save_model(tiny_model(Schema.binary(["Hat"])), tmp_path / "one" / "model")
    return [tmp_path / "two" / "model", tmp_path / "one" / "model"]


def selected_by(architecture: Literal["strided", "residual"]) -> Model:
    """A tiny model with a classifier of this architecture."""
    config = ClassifierConfig(architecture, width=4, max_width=8, hidden=8)
    return replace(tiny_model(SCHEMA), classifier=make_classifier(config, 32, 3, SCHEMA), classifier_config=config)


def test_models_of_other_sizes_and_attributes(models: list[Path], portraits: Path, tmp_path: Path) -> None:
    before = [(path / "config.json").read_bytes() for path in models]
    comparison = compare(models, tmp_path / "out", portraits, device="cpu")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "extremes-1.png",
        "extremes-2.png",
        "per_image.csv",
        "report.json",
        "report.md",
        "strength.png",
        "systems.png",
    ]
    assert json.loads((tmp_path / "out" / "report.json").read_text()) == comparison
    assert list(comparison["systems"]) == ["two", "one"]
    two, one = comparison["systems"].values()
    assert (list(two["swap"]), list(one["swap"])) == (["Smiling", "Hat"], ["Hat"])
    assert two["table1"]["Hat"]["real"] == one["table1"]["Hat"]["real"]
    assert two["naturalness"]["swap"].keys() == {"Smiling", "Hat"}
    difference = comparison["differences"]["one"]
    assert set(difference["swap"]) == {"Hat"}
    mse = difference["reconstruction"]["mse"]
    assert mse["difference"] == pytest.approx(one["reconstruction"]["mse"] - two["reconstruction"]["mse"])
    low, high = mse["interval"]
    assert low <= mse["difference"] <= high
    page = (tmp_path / "out" / "report.md").read_text()
    table = page.split("## Table 1 of the paper")[1].split("##")[0]
    assert [line.split("|")[1].strip() for line in table.splitlines() if line.startswith("| ")][2:] == [
        "Real",
        "two AE",
        "two Swap",
        "one AE",
        "one Swap",
    ]
    header, *rows = (tmp_path / "out" / "per_image.csv").read_text().splitlines()
    assert len(rows) == two["meta"]["pictures"]
    assert {"two mse", "one mse", "one Hat swap gain"} <= set(header.split(","))
    with Image.open(tmp_path / "out" / "systems.png") as figure:
        assert figure.width > 4 * 64
    assert "one: " in comparison_summary(comparison)
    # The models are only read.
    assert [(path / "config.json").read_bytes() for path in models] == before


def test_what_cannot_be_compared_is_refused_with_nothing_written(
    models: list[Path], portraits: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    with pytest.raises(UserError, match="--dataset"):
        compare(models, output)
    with pytest.raises(UserError, match="2 models and 1 names"):
        compare(models, output, portraits, names=["a"])
    with pytest.raises(UserError, match="called alike"):
        compare(models, output, portraits, names=["a", "a"])
    with pytest.raises(UserError, match="--names"):
        compare([models[0], models[0]], output, portraits)
    with pytest.raises(UserError, match="no model"):
        compare([], output, portraits)
    save_model(tiny_model(Schema.binary(["Hat"]), size=128), tmp_path / "large")
    with pytest.raises(UserError, match="--size 128"):
        compare([*models, tmp_path / "large"], output, portraits)
    save_model(selected_by("residual"), tmp_path / "residual")
    save_model(tiny_model(SCHEMA, with_classifier=False), tmp_path / "none")
    for some in ([models[1], tmp_path / "residual"], [tmp_path / "none", tmp_path / "residual", models[1]]):
        with pytest.raises(UserError, match="classifiers of one architecture"):
            compare(some, output, portraits)
    assert not output.exists()
    assert not (tmp_path / "out-judge").exists()


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_whichever_model_comes_first_the_judge_is_not_of_the_selecting_kind(
    portraits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, order: tuple[int, int]
) -> None:
    chosen = []

    def find(*arguments: Any) -> Classifier:
        chosen.append(arguments[4].architecture)
        raise UserError("Enough.")

    monkeypatch.setattr(module, "find_judge", find)
    save_model(tiny_model(SCHEMA, with_classifier=False), tmp_path / "0")
    save_model(selected_by("residual"), tmp_path / "1")
    with pytest.raises(UserError, match="Enough"):
        compare([tmp_path / str(i) for i in order], tmp_path / "out", portraits)
    assert chosen == ["residual"]


def test_kid_and_fid_are_by_inceptions_features_where_its_weights_are_given(
    models: list[Path], portraits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = tmp_path / "weights.pth"
    torch.save(made_up_weights(Inception()), weights)
    monkeypatch.setattr(inception_module, "SIDE", 75)  # The smallest that it takes.
    comparison = compare(models[:1], tmp_path / "out", portraits, device="cpu", inception=weights)
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    assert comparison["meta"]["features"] == {"inception": digest}
    assert f"SHA-256 {digest})" in (tmp_path / "out" / "report.md").read_text()
    data, model, network = open_dataset(portraits), load(models[0]), read_inception(weights)
    seen = view(data, model.framing, model.size)
    indices = seen.indices("test")
    pixels = to_pixels(seen.images[indices], torch.device("cpu"))
    with torch.inference_mode():
        own = torch.from_numpy(seen.labels[indices][:, seen.columns(model.schema)])
        latent = model.encode_pixels(pixels)
        decoded = model.decode_pixels(latent, model.own_values(latent, own))
        rebuilt = to_pixels(from_pixels(decoded), torch.device("cpu"))
        distance = frechet_distance(network(pixels).numpy(), network(rebuilt).numpy())
    assert comparison["systems"]["two"]["naturalness"]["reconstruction"]["fid"] == pytest.approx(distance, rel=1e-3)


def test_one_picture_has_no_naturalness(models: list[Path], portraits: Path, tmp_path: Path) -> None:
    data = open_dataset(portraits)
    chosen = [data.indices("test")[0], *data.indices("train")[:20], *data.indices("valid")]
    with new_folder(tmp_path / "data") as folder, DatasetWriter(folder, data.schema, data.size, 3) as writer:
        for i in chosen:
            writer.add(data.images[i], data.labels[i], int(data.splits[i]), str(data.names[i]))
        writer.finish(data.info["framing"], {})
    comparison = compare(models[1:], tmp_path / "out", tmp_path / "data", device="cpu")
    assert comparison["systems"]["one"]["meta"]["pictures"] == 1
    assert comparison["systems"]["one"]["naturalness"] is None
    assert "Naturalness" not in (tmp_path / "out" / "report.md").read_text()
