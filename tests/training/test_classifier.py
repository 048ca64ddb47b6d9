"""Classifiers learn, repeat themselves, and come back from their folder; damaged folders are refused in a sentence."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.evaluation.world import SCHEMA, world

from fader.config import JUDGE, ClassifierConfig
from fader.datasets.prepared import PreparedDataset, open_dataset
from fader.errors import UserError
from fader.networks.classifier import make_classifier
from fader.training import classifier as classifier_module
from fader.training.checkpoints import save_checkpoint
from fader.training.classifier import (
    classify_split,
    load_classifier,
    make_classifier_folder,
    save_classifier,
    train_classifier,
)

CPU = torch.device("cpu")
STRIDED = ClassifierConfig(width=8, max_width=16, hidden=16, epochs=10, batch_size=16)
RESIDUAL = replace(STRIDED, architecture="residual", learning_rate=1e-2)


@pytest.mark.parametrize("config", [STRIDED, RESIDUAL], ids=["strided", "residual"])
def test_it_learns_binary_and_categorical_attributes(config: ClassifierConfig) -> None:
    data = world(480)
    classifier = train_classifier(data, SCHEMA, config, CPU)
    accuracy = (classify_split(classifier, data, "test", CPU) == data.labels[data.indices("test")]).mean(axis=0)
    assert accuracy.min() > 0.95
    assert classifier.info["dataset"] == data.fingerprint
    valid = (classify_split(classifier, data, "valid", CPU) == data.labels[data.indices("valid")]).mean(axis=0)
    assert list(classifier.info["accuracy"].values()) == valid.tolist()
    assert not classifier.network.training


def test_the_judge_is_another_architecture_and_seed_than_selection() -> None:
    assert ClassifierConfig().architecture != JUDGE.architecture
    assert ClassifierConfig().seed != JUDGE.seed
    ours, other = (type(make_classifier(config, 32, 3, SCHEMA)) for config in (ClassifierConfig(), JUDGE))
    assert ours is not other


@pytest.mark.parametrize("size", [8, 96])
def test_pictures_of_a_side_that_no_classifier_reads_are_refused(size: int) -> None:
    for config in (STRIDED, RESIDUAL):
        with pytest.raises(
            UserError, match=f"pictures are of {size} pixels; a classifier needs a power of two from 16"
        ):
            train_classifier(replace(world(9), size=size), SCHEMA, config, CPU)


def test_weights_are_a_function_of_the_seed() -> None:
    config = replace(STRIDED, epochs=1)
    state = torch.get_rng_state()
    first, second, other = (
        train_classifier(world(), SCHEMA, replace(config, seed=seed), CPU).network.state_dict() for seed in (3, 3, 4)
    )
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["head.1.weight"], other["head.1.weight"])
    assert torch.equal(torch.get_rng_state(), state)  # A run's own random numbers are left alone.


def test_a_handful_of_pictures_and_a_part_of_the_attributes() -> None:
    schema = SCHEMA.select(["Shade"])
    classifier = train_classifier(world(9), schema, replace(STRIDED, epochs=0.1), CPU)
    assert classify_split(classifier, world(9), "test", CPU).shape == (3, 1)
    with pytest.raises(UserError, match="at least two training pictures"):
        train_classifier(world(3), SCHEMA, STRIDED, CPU)
    with pytest.raises(UserError, match="'valid'"):
        train_classifier(replace(world(9), splits=np.zeros(9, np.uint8)), SCHEMA, STRIDED, CPU)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_classifier(train_classifier(world(30), SCHEMA, replace(STRIDED, epochs=1), CPU), tmp_path / "classifier")
    return tmp_path / "classifier"


def test_round_trip(folder: Path) -> None:
    saved = train_classifier(world(30), SCHEMA, replace(STRIDED, epochs=1), CPU)
    loaded = load_classifier(folder)
    pixels = torch.rand(4, 1, 16, 16)
    assert torch.equal(loaded.network(pixels), saved.network(pixels))
    assert (loaded.schema, loaded.size, loaded.channels, loaded.config, loaded.info) == (
        SCHEMA,
        16,
        1,
        saved.config,
        saved.info,
    )
    labels, confidence = loaded.classify(pixels)
    assert labels.shape == confidence.shape == (4, 2)
    assert sorted(path.name for path in folder.iterdir()) == ["classifier.safetensors", "config.json"]


def test_nothing_is_overwritten_unasked_and_nothing_else_ever(folder: Path, tmp_path: Path) -> None:
    classifier = load_classifier(folder)
    with pytest.raises(UserError, match="exists already"):
        save_classifier(classifier, folder)
    save_classifier(classifier, folder, overwrite=True)
    other = tmp_path / "holiday"
    other.mkdir()
    (other / "photo.jpg").write_text("mine")
    with pytest.raises(UserError, match="something else"):
        save_classifier(classifier, other, overwrite=True)
    assert (other / "photo.jpg").read_text() == "mine"


Damage = Callable[[dict[str, Any]], object]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda d: d.update(format="something"), "not a classifier folder"),
        (lambda d: d.update(version=2), "not a classifier folder"),
        (lambda d: d.pop("classifier"), "no usable part for ClassifierConfig"),
        (lambda d: d["classifier"].update(depth=3), "unknown field 'depth'"),
        (lambda d: d["classifier"].update(width="8"), "field 'width' cannot be '8'"),
        (lambda d: d["classifier"].update(width=0), "width is 0"),
        (lambda d: d["classifier"].update(width=10**7, max_width=10**7), r"is of shape \(8, .* and not \(10000000,"),
        (lambda d: d["classifier"].update(width=10**12, max_width=10**12), "make no network"),
        (lambda d: d["classifier"].update(hidden=17), r"is of shape \(16, .* and not \(17,"),
        (lambda d: d["classifier"].update(architecture="residual"), "is missing"),
        (lambda d: d.update(attributes=[{"name": "Smiling"}]), "list of attributes is damaged"),
        (lambda d: d["attributes"].pop(), "accurate"),
        (lambda d: d.update(size=24), "none that a classifier reads"),
        (lambda d: d.update(size=2**70), "none that a classifier reads"),
        (lambda d: d.update(size=16.0), "none that a classifier reads"),
        (lambda d: d.update(channels=2), "none that a classifier reads"),
        (lambda d: d.pop("accuracy"), "accurate"),
        (lambda d: d["accuracy"].update(Square=1.5), "share from 0 to 1"),
        (lambda d: d.update(dataset=["x"]), "on which data set"),
    ],
)
def test_damaged_configurations_are_refused(folder: Path, damage: Damage, message: str) -> None:
    data = json.loads((folder / "config.json").read_text())
    damage(data)
    (folder / "config.json").write_text(json.dumps(data))
    with pytest.raises(UserError, match=message) as caught:
        load_classifier(folder)
    assert str(folder) in str(caught.value)


def test_damaged_weights_are_refused(folder: Path, tmp_path: Path) -> None:
    weights = folder / "classifier.safetensors"
    content = weights.read_bytes()
    for damaged in (content[:-10], content[:4], b"", b"\x80\x04K\x01."):  # The last is a pickle.
        weights.write_bytes(damaged)
        with pytest.raises(UserError, match="cannot be read"):
            load_classifier(folder)
    weights.unlink()
    with pytest.raises(UserError, match="no such file"):
        load_classifier(folder)
    shutil.rmtree(folder)
    with pytest.raises(UserError, match="no such file"):
        load_classifier(folder)


def test_the_verb_trains_on_a_prepared_dataset(portraits: Path, tmp_path: Path) -> None:
    config = replace(STRIDED, epochs=0.5)
    classifier = make_classifier_folder(portraits, tmp_path / "out", ("Beard", "Hat"), config, "cpu")
    data: PreparedDataset = open_dataset(portraits)
    assert load_classifier(tmp_path / "out").schema == classifier.schema == data.schema.select(["Beard", "Hat"])
    with pytest.raises(UserError, match="exists already"):
        make_classifier_folder(portraits, tmp_path / "out", (), config, "cpu")
    with pytest.raises(UserError, match="'Moustache'"):
        make_classifier_folder(portraits, tmp_path / "other", ("Moustache",), config, "cpu")
    assert not (tmp_path / "other").exists()


def test_an_interrupted_training_ends_in_the_same_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = train_classifier(world(), SCHEMA, STRIDED, CPU)
    original = save_checkpoint
    monkeypatch.setattr(classifier_module, "CHECKPOINT_SECONDS", 0.0)

    def save_and_stop(folder: Path, step: int, state: dict[str, Any]) -> Path:
        path = original(folder, step, state)
        if step == 7:
            raise KeyboardInterrupt
        return path

    monkeypatch.setattr(classifier_module, "save_checkpoint", save_and_stop)
    with pytest.raises(KeyboardInterrupt):
        train_classifier(world(), SCHEMA, STRIDED, CPU, progress_folder=tmp_path)
    resumed = train_classifier(world(), SCHEMA, STRIDED, CPU, progress_folder=tmp_path)
    theirs = whole.network.state_dict()
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in resumed.network.state_dict().items())


def test_losses_that_are_not_finite_are_refused() -> None:
    with pytest.raises(UserError, match=r"it diverged at step \d+ \(loss (nan|inf)\)"):
        train_classifier(world(), SCHEMA, replace(STRIDED, learning_rate=1e30, epochs=20), CPU)
