"""Writes a small file of the present version of every format, of drawn portraits alone, for `test_formats.py`.

    python -m tests.formats.make

Run it when a version was raised, and keep what older versions wrote: what is there already is not written again.
"""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from fader.config import ClassifierConfig, Config, configure
from fader.datasets import prepared
from fader.datasets.portraits import renderer
from fader.datasets.portraits.source import prepare_portraits
from fader.editing import manifest
from fader.editing.folder import edit_folder
from fader.evaluation import compare, evaluate, report
from fader.export import onnx, web
from fader.files import write_json
from fader.model import VERSION as MODEL_VERSION
from fader.model import load
from fader.study import folder as study_folder
from fader.study.answers import Answer, open_answers
from fader.study.create import create
from fader.study.report import FORMAT as STUDY_REPORT
from fader.study.report import report as study_report
from fader.training import checkpoints, classifier, run
from fader.training.loop import train

HERE = Path(__file__).parent


def _version(form: Mapping[str, object]) -> int:
    version = form["version"]
    assert isinstance(version, int)
    return version


VERSIONS = {
    "dataset": prepared.VERSION,
    "model": MODEL_VERSION,
    "classifier": _version(classifier.FORMAT),
    "run": run.VERSION,
    "checkpoint": checkpoints.VERSION,
    "edits": manifest.VERSION,
    "study": study_folder.VERSION,
    "study-report": _version(STUDY_REPORT),
    "evaluation": _version(report.FORMAT),
    "comparison": _version(compare.FORMAT),
}
"""The present version of every format that fader reads, or you do."""
OUTPUTS = {"onnx": onnx.VERSION, "web": web.VERSION_OF_PAGE}
"""That of those for other programs, which no fader ever reads."""
ATTRIBUTES = ("Eyeglasses", "Smiling")
SIZE, PORTRAITS = 32, 12
STRANGER = 20_000  # The number of a portrait that no dataset of these has.


def config() -> Config:
    """A run of two epochs of two steps each, as small as can be."""
    return configure(
        "small",
        size=SIZE,
        layers=3,
        width=2,
        max_width=4,
        discriminator_width=2,
        discriminator_hidden=2,
        steps=4,
        batch_size=4,
        epoch_images=8,
    )


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        made = make(Path(name))
        for form, folder in made.items():
            archive = HERE / f"{form}-{VERSIONS[form]}.zip"
            if not archive.exists():
                pack(folder, archive)
                print(f"{archive.name}: {archive.stat().st_size:,} bytes")


def make(folder: Path) -> dict[str, Path]:
    """Everything that fader writes, in folders by their format."""
    dataset, more, judges = folder / "dataset", folder / "more", folder / "classifier"
    prepare_portraits(dataset, count=PORTRAITS, size=SIZE, workers=1)
    prepare_portraits(more, count=80, size=SIZE, workers=1)
    tiny = ClassifierConfig(width=2, max_width=4, hidden=4, epochs=1)
    classifier.make_classifier_folder(dataset, judges, ATTRIBUTES, tiny)
    trained = train(dataset, folder / "run", config(), ATTRIBUTES, judges, device="cpu")
    shutil.rmtree(trained.folder / "samples")
    shutil.rmtree(trained.folder / "tensorboard", ignore_errors=True)
    shutil.copytree(trained.model, folder / "model")
    Image.fromarray(edited(trained.model)).save(folder / "model" / "edited.png")

    # As it was when it was stopped after the first epoch.
    newest = checkpoints.checkpoints(trained.checkpoints)[-1]
    newest.unlink()
    (folder / "checkpoint").mkdir()
    shutil.move(trained.checkpoints, folder / "checkpoint" / "checkpoints")

    pictures = folder / "pictures"
    pictures.mkdir()
    Image.fromarray(renderer.portrait(STRANGER, SIZE)).save(pictures / "stranger.png")
    edit_folder(folder / "model", pictures, folder / "edits" / "edited", {"Smiling": "1"}, device="cpu")
    shutil.move(pictures, folder / "edits" / "pictures")

    judge = folder / "evaluated-judge"
    evaluated = evaluate.evaluate(folder / "model", more, "train", judge, folder / "evaluated", device="cpu")
    pair = [folder / "model", trained.folder]
    compared = compare.compare(pair, folder / "compared", more, "train", ("A", "B"), judge, device="cpu")
    for form, found in (("evaluation", evaluated), ("comparison", compared)):
        (folder / form).mkdir()
        write_json(folder / form / "report.json", found)

    study = folder / "study"
    create([folder / "model"], more, study, ATTRIBUTES, split="train", a_row=2, raters=2, device="cpu")
    shutil.rmtree(study / "pictures")
    opened = study_folder.open_study(study)
    with open_answers(opened) as answers:
        given = [
            Answer(rater, task.id, item.id, (i + (rater == "b") * (i % 3 == 0)) % 2)
            for task in opened.tasks
            for i, item in enumerate(task.items)
            for rater in "ab"
        ]
        answers.store_all(given)
    study_report(study)
    (folder / "study-report").mkdir()
    shutil.move(study / "report" / "report.json", folder / "study-report" / "report.json")
    shutil.rmtree(study / "report")
    shutil.rmtree(trained.model)
    return {form: folder / form for form in VERSIONS}


def edited(model: Path) -> np.ndarray:
    """A portrait as a model folder edits it: uint8, SIZE x SIZE x 3."""
    face = load(model, "cpu").encode(renderer.portrait(STRANGER, SIZE), {"Eyeglasses": 0, "Smiling": 0})
    return np.asarray(face.edit(Smiling=1))


def pack(folder: Path, archive: Path) -> None:
    """Write a folder as a zip archive that is the same whenever it is made."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as packed:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                entry = zipfile.ZipInfo(path.relative_to(folder).as_posix(), (1980, 1, 1, 0, 0, 0))
                packed.writestr(entry, path.read_bytes(), zipfile.ZIP_DEFLATED, 9)


if __name__ == "__main__":
    main()
