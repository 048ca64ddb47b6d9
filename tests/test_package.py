"""The installed package: one version, types, and nothing heavy imported before it is wanted."""

import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest

import fader


def test_version_has_one_home() -> None:
    assert importlib.metadata.version("fader-networks") == fader.__version__


def test_importing_the_package_does_not_import_torch() -> None:
    program = (
        "import sys, fader, fader.cli, fader.config, fader.attributes, fader.images; print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_the_package_itself_is_small() -> None:
    root = Path(fader.__file__).parent
    installed = [path for path in root.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert 0 < sum(path.stat().st_size for path in installed) < 15_000_000


def test_public_names_are_those_of_the_model_module() -> None:
    from fader import model

    assert fader.load is model.load
    assert fader.Model is model.Model
    assert fader.Faces is model.Faces
    assert set(fader.__all__) <= {*dir(fader), "Faces", "Model", "load", "push_to_hub"}


def test_unknown_names_are_attribute_errors() -> None:
    with pytest.raises(AttributeError, match="no attribute 'lode'"):
        fader.lode  # noqa: B018
