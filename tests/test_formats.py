"""What older versions of fader wrote is read: a small file of every version of every format so far.

`python -m tests.formats.make` wrote them.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fader.datasets.prepared import open_dataset
from fader.editing.folder import edit_folder
from fader.evaluation.report import comparison_to_markdown, summary, to_markdown
from fader.files import read_json
from fader.model import load
from fader.study.folder import open_key, open_study
from fader.study.report import report as study_report
from fader.training.checkpoints import newest_checkpoint
from fader.training.classifier import load_classifier
from fader.training.loop import train
from fader.training.records import read_records
from fader.training.run import open_run
from tests.formats.make import ATTRIBUTES, HERE, OUTPUTS, PORTRAITS, SIZE, VERSIONS, config, edited
from tests.refusals import refusal

# A checkpoint is for going on with the run that wrote it. Version 1 was gone before the first release.
FIRST = dict.fromkeys(VERSIONS, 1) | {"checkpoint": 2}
ROOT = Path(__file__).parents[1]
Unpack = Callable[[str, int], Path]


def versions(form: str) -> pytest.MarkDecorator:
    """The test once for each version of a format."""
    return pytest.mark.parametrize("version", range(FIRST[form], VERSIONS[form] + 1))


@pytest.fixture
def unpack(tmp_path: Path) -> Unpack:
    """Unpacks what a version of a format looks like."""

    def unpacked(form: str, version: int) -> Path:
        with zipfile.ZipFile(HERE / f"{form}-{version}.zip") as archive:
            archive.extractall(tmp_path / form)
        return tmp_path / form

    return unpacked


def test_there_is_a_file_of_every_version() -> None:
    wanted = {f"{form}-{v}.zip" for form, version in VERSIONS.items() for v in range(FIRST[form], version + 1)}
    assert wanted == {path.name for path in HERE.glob("*.zip")}
    assert all((HERE / name).stat().st_size < 40_000 for name in wanted)


def test_the_table_has_every_format() -> None:
    page = (ROOT / "docs/formats.md").read_text(encoding="utf-8").partition("## Versions")[2]
    rows = re.findall(r"^\| (`fader-.*?) \| (\d+) \|", page, re.MULTILINE)
    listed = {name: int(version) for names, version in rows for name in re.findall("`fader-(.*?)`", names)}
    assert listed == {**VERSIONS, **OUTPUTS, "study-key": VERSIONS["study"]}
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "src").rglob("*.py")]
    lines = [line for text in sources for line in re.findall(r"^FORMAT.*", text, re.MULTILINE)]
    assert set(listed) == {name for line in lines for name in re.findall(r'"fader-([a-z-]+)"', line)}


@versions("dataset")
def test_datasets(unpack: Unpack, version: int) -> None:
    data = open_dataset(unpack("dataset", version))
    data.verify()
    assert (len(data), data.size, data.channels) == (PORTRAITS, SIZE, 3)
    assert {*ATTRIBUTES} < {*data.schema.names}
    assert sum(len(data.indices(split)) for split in ("train", "valid", "test")) == PORTRAITS
    smiling = data.labels[0, data.schema.index("Smiling")]
    unchanged = data.counterfactual(0, {"Smiling": int(smiling)}).astype(int)
    np.testing.assert_allclose(data.images[0], unchanged, atol=2)


@versions("model")
def test_models(unpack: Unpack, version: int) -> None:
    folder = unpack("model", version)
    assert load(folder, "cpu").schema.names == ATTRIBUTES
    with Image.open(folder / "edited.png") as then:
        np.testing.assert_allclose(edited(folder).astype(int), np.asarray(then).astype(int), atol=2)


@versions("classifier")
def test_classifiers(unpack: Unpack, version: int) -> None:
    assert load_classifier(unpack("classifier", version)).schema.names == ATTRIBUTES


@versions("run")
def test_runs_are_gone_on_with(unpack: Unpack, version: int) -> None:
    folder = unpack("run", version)
    assert open_run(folder).schema.names == ATTRIBUTES
    unpack("checkpoint", VERSIONS["checkpoint"]).joinpath("checkpoints").rename(folder / "checkpoints")
    then = read_records(folder / "metrics.jsonl")
    # A preset's later fields have values that change nothing, so the settings are still the same.
    train(unpack("dataset", VERSIONS["dataset"]), folder, config(), ATTRIBUTES, device="cpu")
    now = read_records(folder / "metrics.jsonl")
    assert [(record["kind"], record["step"]) for record in now] == [(record["kind"], record["step"]) for record in then]
    # The networks are those of then, whatever torch's version.
    assert now[-1]["mse"] == pytest.approx(then[-1]["mse"], rel=0.01)
    assert load(folder, "cpu").schema.names == ATTRIBUTES


@versions("checkpoint")
def test_checkpoints(unpack: Unpack, version: int) -> None:
    state = newest_checkpoint(unpack("checkpoint", version) / "checkpoints")
    assert state is not None
    assert state["step"] == 2


@versions("edits")
def test_edited_folders_are_gone_on_with(unpack: Unpack, version: int) -> None:
    folder, model = unpack("edits", version), unpack("model", VERSIONS["model"])
    edit_folder(model, folder / "pictures", folder / "edited", {"Smiling": "1"}, device="cpu")
    # Nothing was left to do.
    assert len((folder / "edited" / "manifest-0.jsonl").read_text().splitlines()) == 1


@versions("study")
def test_studies(unpack: Unpack, version: int) -> None:
    folder = unpack("study", version)
    assert open_key(open_study(folder))["attributes"] == list(ATTRIBUTES)
    study_report(folder)
    then = read_json(unpack("study-report", VERSIONS["study-report"]) / "report.json")
    assert read_json(folder / "report" / "report.json") == then


@pytest.mark.parametrize(
    ("form", "texts"),
    [
        ("study-report", []),
        ("evaluation", [summary, to_markdown]),
        ("comparison", [comparison_to_markdown]),
    ],
)
def test_reports(unpack: Unpack, form: str, texts: list[Callable[[dict[str, Any]], str]]) -> None:
    for version in range(FIRST[form], VERSIONS[form] + 1):
        data = read_json(unpack(form, version) / "report.json")
        assert (data["format"], data["version"]) == (f"fader-{form}", version)
        for text in texts:
            assert "Smiling" in text(data)


@pytest.mark.parametrize(
    ("form", "file", "call"),
    [
        ("dataset", "dataset.json", open_dataset),
        ("model", "config.json", load),
        ("classifier", "config.json", load_classifier),
        ("run", "run.json", open_run),
        ("study", "study.json", open_study),
    ],
)
def test_a_newer_version_is_refused_in_a_sentence(
    unpack: Unpack, form: str, file: str, call: Callable[[Path], object]
) -> None:
    folder = unpack(form, VERSIONS[form])
    data = read_json(folder / file)
    data["version"] += 1
    (folder / file).write_text(json.dumps(data))
    message = refusal(lambda: call(folder))
    assert "version" in message
    assert str(folder) in message
