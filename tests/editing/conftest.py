"""What tests of editing share: a small random model, in Python and in a folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from fader.model import Model, save_model
from tests.models import tiny_model


@pytest.fixture(scope="session")
def model() -> Model:
    return tiny_model()


@pytest.fixture(scope="session")
def folder(model: Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of `model`; not to be written to."""
    path = tmp_path_factory.mktemp("editing") / "model"
    save_model(model, path)
    return path
