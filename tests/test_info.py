"""`fader info` on every kind of folder."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from fader.config import configure
from fader.datasets.prepared import open_dataset
from fader.errors import UserError
from fader.info import describe
from fader.model import mark_ends, save_model
from fader.training.classifier import Classifier, save_classifier
from fader.training.run import create_or_continue
from tests.models import tiny_model


def test_dataset(portraits: Path) -> None:
    text = describe(portraits)
    data = open_dataset(portraits)
    train = data.labels[data.indices("train")]
    assert text.splitlines()[0] == f"Dataset {portraits}"
    assert "80 of 64 x 64 pixels, colour" in text
    assert f"train {len(train)}, " in text
    smiling = next(line for line in text.splitlines() if line.split()[0] == "Smiling")
    assert f"train {train[:, data.schema.index('Smiling')].mean():.1%}" in smiling
    assert "checksums" not in text


def test_verifying_a_dataset(portraits: Path, tmp_path: Path) -> None:
    assert describe(portraits, verify=True).splitlines()[-1].split() == ["checksums", "all", "right"]
    copy = tmp_path / "copy"
    shutil.copytree(portraits, copy)
    images = np.lib.format.open_memmap(copy / "images.npy", mode="r+")
    images[7, 3, 3, 0] ^= 1
    images.flush()
    assert describe(copy)
    with pytest.raises(UserError, match=r"images.npy.*changed"):
        describe(copy, verify=True)


def test_model_and_classifier(tmp_path: Path) -> None:
    model = tiny_model()
    save_model(model, tmp_path / "model")
    assert "fader ends" not in describe(tmp_path / "model")
    mark_ends(tmp_path / "model", {"Smiling": {"absent": -0.125, "present": None}})
    text = describe(tmp_path / "model")
    assert "fader ends" in text
    assert "Smiling -0.12 to ?" in text
    assert text.startswith(f"Model {tmp_path / 'model'}\n")
    assert "Smiling, Hair (black/blond/red), 5_o_Clock_Shadow" in text
    assert f"{sum(p.numel() for p in model.network.parameters()):,}" in text
    assert "epoch 3, mse 0.012346" in text
    assert "size 32, channels 3, layers 3" in text

    assert model.classifier is not None
    assert model.classifier_config is not None
    info = {"accuracy": {"Smiling": 0.5, "Hair": 0.75, "5_o_Clock_Shadow": 1.0}, "dataset": "0123"}
    classifier = Classifier(model.classifier, model.schema, 32, 3, model.classifier_config, info)
    save_classifier(classifier, tmp_path / "classifier")
    text = describe(tmp_path / "classifier")
    assert text.startswith(f"Classifier {tmp_path / 'classifier'}\n")
    assert "Smiling 50.0%, Hair 75.0%, 5_o_Clock_Shadow 100.0%" in text


def test_run(portraits: Path, tmp_path: Path) -> None:
    data = open_dataset(portraits)
    run = create_or_continue(tmp_path / "run", configure("small", steps=1000), data.schema, data, None)
    assert "step 0 of 1,000, 0 epoch(s) evaluated" in describe(run.folder)
    evaluation = {
        "kind": "evaluation",
        "step": 500,
        "epoch": 1,
        "mse": 0.25,
        "seconds": 125.0,
        "accuracy": {"Smiling": 0.875},
    }
    run.metrics.write_text(json.dumps(evaluation) + "\n" + json.dumps({"kind": "train", "step": 550}) + "\n")
    text = describe(run.folder)
    assert "step 550 of 1,000, 1 epoch(s) evaluated" in text
    assert "MSE 0.2500, swap accuracy Smiling 87.5%" in text
    assert str(portraits) in text
    assert "layers 5" in text


@pytest.mark.parametrize("verify", [False, True])
def test_other_folders_are_refused(verify: bool, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nowhere: there is no such folder"):
        describe(tmp_path / "nowhere", verify)
    with pytest.raises(UserError, match=r"no dataset, run, model|only a dataset has checksums"):
        describe(tmp_path, verify)


def test_damaged_folders_are_refused(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(json.dumps({"format": "fader-run", "version": 1}))
    with pytest.raises(UserError, match=r"run\.json: the file is damaged"):
        describe(tmp_path)


def test_what_is_nested_too_deep_is_refused(portraits: Path, tmp_path: Path) -> None:
    deep: dict[str, object] = {}
    for _ in range(400):
        deep = {"a": deep}
    shutil.copytree(portraits, tmp_path / "data")
    save_model(tiny_model(), tmp_path / "model")
    for file, part in (("data/dataset.json", "source"), ("model/config.json", "selection")):
        about = json.loads((tmp_path / file).read_text())
        about[part] = deep
        (tmp_path / file).write_text(json.dumps(about))
        with pytest.raises(UserError, match="nested"):
            describe(tmp_path / file.partition("/")[0])
