"""A small model of random weights with a switch among its attributes, and its graphs: exported once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fader.datasets.prepared import open_dataset
from fader.errors import UserError
from fader.export.onnx import export_onnx
from fader.export.runtime import fetch
from fader.model import Model, save_model
from tests.models import tiny_model


@pytest.fixture(scope="session")
def model() -> Model:
    made = tiny_model(size=64, layers=4, erase=True)
    for name, buffer in made.network.encoder.named_buffers():
        if name.startswith("erasure."):  # As if it had been fitted.
            buffer.normal_(std=0.1)
    # With these it knows some portraits and others not.
    made.errors = {"mse_median": 0.1, "mse_p99": 1 / 6, "mse_max": 1.0}
    made.errors |= {"relative_median": 0.8, "relative_p99": 5 / 6, "relative_max": 2.0}
    return made


@pytest.fixture(scope="session")
def model_folder(model: Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "<b>tiny"
    save_model(model, folder)
    return folder


@pytest.fixture(scope="session")
def exported(model_folder: Path) -> Path:
    """The folder of the model's graphs; not to be written to."""
    folder = model_folder.with_name("graphs")
    export_onnx(model_folder, folder)
    return folder


@pytest.fixture(scope="session")
def pictures(portraits: Path) -> np.ndarray:
    """Portraits: uint8, 5 x 64 x 64 x 3."""
    return np.array(open_dataset(portraits).images[:5])


@pytest.fixture(scope="session")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package onnxruntime-web, as npm packs it."""
    try:
        return fetch(tmp_path_factory.mktemp("runtime"))
    except UserError as error:
        pytest.skip(f"ONNX Runtime Web cannot be had here: {error}")
