"""Seeds that take a few steps to make: the authors' checkpoints, and a study."""

from __future__ import annotations

from pathlib import Path

import pytest

from fader.study.folder import Study
from tests.interop.release import AutoEncoder, Classifier, their_modules, write_old, write_stream, write_zip


def released_files(folder: Path) -> tuple[list[bytes], list[bytes]]:
    """Networks and classifiers of theirs, each in every serialisation."""
    with pytest.MonkeyPatch.context() as patch:
        their_modules.__wrapped__(patch)  # type: ignore[attr-defined]
        made: tuple[list[bytes], list[bytes]] = ([], [])
        for files, network in zip(made, (AutoEncoder(), Classifier()), strict=True):
            for write in (write_old, write_stream, write_zip):
                write(network, folder / "seed.pth")
                files.append((folder / "seed.pth").read_bytes())
    return made


def small_study(folder: Path) -> Study:
    """A study of one model with random weights."""
    from fader.attributes import Schema
    from fader.datasets.portraits.source import prepare_portraits
    from fader.datasets.prepared import open_dataset
    from fader.model import save_model
    from fader.study.create import create
    from fader.study.folder import open_study
    from tests.models import tiny_model

    dataset, model = folder.with_name("portraits"), folder.with_name("studied")
    prepare_portraits(dataset, count=60, workers=1)
    save_model(tiny_model(Schema.binary(open_dataset(dataset).schema.names)), model)
    create([model], dataset, folder, ("Smiling",), split="train", a_row=4, raters=2, device="cpu")
    return open_study(folder)
