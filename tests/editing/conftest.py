"""What tests of editing share: a small random model, in Python and in a folder."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from fader.alignment import STANDARD
from fader.images import Framing
from fader.model import Model, save_model
from tests import markers
from tests.models import tiny_model

# Frames in the photos of `album`: of 32 pixels, with its upper left corner at (20, 30), and of 48 at (90, 60).
SMALL, LARGE = ((20, 30), (52, 30)), ((90, 60), (138, 60))


@pytest.fixture(scope="session")
def model() -> Model:
    return tiny_model()


@pytest.fixture(scope="session")
def folder(model: Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of `model`; not to be written to."""
    path = tmp_path_factory.mktemp("editing") / "model"
    save_model(model, path)
    return path


@pytest.fixture(scope="session")
def faces_model() -> Model:
    """A model that knows where faces lie in its pictures, which are those that `markers.photo` marks."""
    return tiny_model(framing=Framing(points=STANDARD))


@pytest.fixture(scope="session")
def faces_folder(faces_model: Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of `faces_model`; not to be written to."""
    path = tmp_path_factory.mktemp("editing") / "faces"
    save_model(faces_model, path)
    return path


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """Photos with a face, with two (the second of which is larger), and with none; with a place in their metadata."""
    path = tmp_path / "album"
    path.mkdir()
    exif = Image.Exif()
    exif.get_ifd(0x8825)[1] = "N"
    for name, frames in (("one", [SMALL]), ("two", [SMALL, LARGE]), ("wall", [])):
        markers.photo(*frames).save(path / f"{name}.png", exif=exif)
    return path
