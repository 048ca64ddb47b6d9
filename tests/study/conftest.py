"""A small study of two models with random weights, of 80 portraits."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from fader.attributes import Schema
from fader.datasets.prepared import open_dataset
from fader.model import Model, save_model
from fader.study.create import create
from fader.study.folder import Study, open_study
from tests.models import tiny_model

ATTRIBUTES = ("Smiling", "Beard")


@pytest.fixture(scope="session")
def models(portraits: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Model]]:
    """Two models by name; the second has its attributes in another order."""
    folder, names = tmp_path_factory.mktemp("models"), open_dataset(portraits).schema.names
    made = {}
    for seed, (name, own) in enumerate({"One": names, "Other": names[::-1]}.items()):
        model = tiny_model(Schema.binary(own), seed=seed)
        save_model(model, folder / name)
        made[name] = (folder / name, model)
    return made


@pytest.fixture(scope="session")
def made(portraits: Path, models: dict[str, tuple[Path, Model]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study folder; not to be written to."""
    folder = tmp_path_factory.mktemp("studies") / "study"
    paths = [path for path, _ in models.values()]
    create(paths, portraits, folder, ATTRIBUTES, split="train", a_row=8, raters=4, seed=3, device="cpu")
    return folder


@pytest.fixture
def study(made: Path, tmp_path: Path) -> Study:
    """A copy of the study, without answers."""
    shutil.copytree(made, tmp_path / "study")
    return open_study(tmp_path / "study")


@pytest.fixture
def truth(study: Study) -> Callable[[str], dict[str, object]]:
    """What the key says of an item."""
    from fader.study.folder import open_key

    items = open_key(study)["items"]
    return lambda item: items[item]
