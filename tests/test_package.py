"""The installed package: one version, types, and nothing heavy imported before it is wanted."""

import importlib.metadata
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import fader

ROOT = Path(__file__).parents[1]


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


def test_wheel_and_sdist_are_the_same_bytes_whenever_they_are_built(tmp_path: Path) -> None:
    built = []
    for name, seconds in (("one", 1_000_000_000), ("other", 1_700_000_000)):
        source = tmp_path / name
        shutil.copytree(ROOT / "src", source / "src", ignore=shutil.ignore_patterns("__pycache__"))
        for file in ("pyproject.toml", "README.md", "LICENSE", ".gitignore"):
            shutil.copy(ROOT / file, source)
        for path in source.rglob("*"):
            os.utime(path, (seconds, seconds))
        subprocess.run(
            [sys.executable, "-m", "hatchling", "build", "-d", tmp_path / f"{name}-dist"],
            cwd=source,
            env={**os.environ, "SOURCE_DATE_EPOCH": "1600000000"},
            capture_output=True,
            check=True,
        )
        built.append({path.name: path.read_bytes() for path in (tmp_path / f"{name}-dist").iterdir()})
    assert {Path(name).suffix for name in built[0]} == {".whl", ".gz"}
    assert built[0].keys() == built[1].keys()
    assert all(built[0][name] == built[1][name] for name in built[0])
    wheel = next(path for path in (tmp_path / "one-dist").iterdir() if path.suffix == ".whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    kept = {path.relative_to(ROOT / "src").as_posix() for path in (ROOT / "src" / "fader").rglob("*") if path.is_file()}
    kept = {name for name in kept if "__pycache__" not in name}
    assert "fader/py.typed" in kept
    assert {name for name in names if ".dist-info/" not in name} == kept
