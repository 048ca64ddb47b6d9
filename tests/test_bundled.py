"""The model in the package: small, and as good on portraits as its card says."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

import fader
from fader.datasets.portraits.renderer import counterfactual, labels, newcomer, portrait
from fader.datasets.portraits.specification import COUNT, SCHEMA, split
from fader.images import to_pixels
from fader.locations import BUNDLES
from fader.model import Faces, Model

FOLDER = BUNDLES / "portraits"
SAMPLE = [i for i in range(COUNT) if split(i) == "test"][::20]  # 50 of the 1,000 of the test split.


@pytest.fixture(scope="module")
def model() -> Model:
    return fader.load("portraits", device="cpu")


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    return np.stack([portrait(i) for i in SAMPLE])


@pytest.fixture(scope="module")
def faces(model: Model, pictures: np.ndarray) -> Faces:
    return model.encode_framed(pictures)


@cache
def card() -> dict[str, dict[str, float]]:
    """The figures of the model card: by attribute, and "of all", by name."""
    text = (FOLDER / "README.md").read_text(encoding="utf-8").replace("\\", "")
    found: dict[str, dict[str, float]] = {"of all": {}}
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        header, _, *rows = ([cell.strip() for cell in line.strip("|\n ").split("|")] for line in table.splitlines())
        if header == ["of all", "value"]:
            found["of all"] = {name: number(value) for name, value in rows}
        elif header[0] == "attribute" and "gain" in header:
            found |= {row[0]: dict(zip(header[1:], map(number, row[1:]), strict=True)) for row in rows}
    return found


def number(text: str) -> float:
    return float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)


def test_it_takes_little_room() -> None:
    assert sum(file.stat().st_size for file in FOLDER.iterdir()) <= 12_000_000
    header = (FOLDER / "model.safetensors").read_bytes()[:20_000]
    assert b'"F16"' in header
    assert b'"F32"' not in header


def test_it_is_computed_with_in_single_precision(model: Model) -> None:
    assert {parameter.dtype for parameter in model.network.parameters()} == {torch.float32}
    assert model.schema == SCHEMA
    assert (model.size, model.channels) == (64, 3)
    assert model.classifier is not None


def test_the_card_meets_the_targets() -> None:
    figures = card()
    assert figures["of all"]["mean_swap_accuracy"] >= 0.97
    assert figures["of all"]["unexplained"] <= 0.04
    for name in SCHEMA.names:
        assert figures[name]["accuracy"] >= 0.94
        assert figures[name]["gain_to_absent"] >= 0.8


def test_it_reads_portraits(model: Model, faces: Faces) -> None:
    true = np.stack([labels(i) for i in SAMPLE])
    assert (faces.labels.numpy() == true).mean() >= 0.99


def test_reconstructions_are_as_the_card_says(faces: Faces) -> None:
    assert faces.reconstruction_errors.mean() == pytest.approx(card()["of all"]["mse"], rel=0.2)


def test_swaps_are_as_the_card_says(model: Model, faces: Faces, pictures: np.ndarray) -> None:
    """By the true answer to each swap, and by the model's own classifier."""
    figures = card()
    own = to_pixels(pictures, model.device)
    reconstruction = model.decode_pixels(faces.latent, faces.labels.float())
    for k, name in enumerate(SCHEMA.names):
        targets = 1 - faces.labels[:, k]
        values = faces.labels.clone()
        values[:, k] = targets
        edited = model.decode_pixels(faces.latent, values.float())
        seen = model.classify(edited)[0][:, k]
        assert (seen == targets).float().mean() >= figures[name]["accuracy"] - 0.1, name
        truth = to_pixels(
            np.stack([counterfactual(i, {name: int(t)}) for i, t in zip(SAMPLE, targets, strict=True)]), model.device
        )
        differs = (truth != own).any(dim=1, keepdim=True)
        swapped = ((edited - truth).square() * differs).sum(dim=(1, 2, 3))
        unswapped = ((reconstruction - truth).square() * differs).sum(dim=(1, 2, 3))
        gain = 1 - swapped.sum() / unswapped.sum()
        assert float(gain) == pytest.approx(figures[name]["gain"], abs=0.05), name


def test_portraits_are_familiar(model: Model, faces: Faces) -> None:
    familiar = faces.familiar + model.encode([newcomer(i) for i in range(50)]).familiar
    assert np.mean(familiar) >= 0.97  # 99 of 100 are, and of 100 there may be three that are not.


def test_what_is_no_portrait_is_not_familiar(model: Model, pictures: np.ndarray) -> None:
    generator = np.random.default_rng(0)
    size = pictures.shape[1:]
    ramp = np.linspace(0, 255, 64)[:, None, None]
    others = {
        "noise": generator.integers(0, 256, size, dtype=np.uint8),
        "faint noise": generator.normal(128, 10, size).clip(0, 255).astype(np.uint8),
        "ramp": np.broadcast_to(ramp, size).astype(np.uint8),
        **{f"blank {grey}": np.full(size, grey, np.uint8) for grey in range(0, 256, 17)},
        **{f"blank {rgb}": np.full(size, rgb, np.uint8) for rgb in ([237, 185, 138], [182, 227, 244], [174, 93, 41])},
    }
    familiar = model.encode_framed(np.stack(list(others.values()))).familiar
    assert [name for name, one in zip(others, familiar, strict=True) if one] == []
    shifted = model.encode_framed(np.roll(pictures, 20, axis=2))  # A face that is not where faces are.
    assert np.mean(shifted.familiar) <= 0.02


def test_photographs_are_not_familiar(model: Model, shared_data: Path) -> None:
    import io
    import zipfile

    for name in ("faces64", "flowers64"):
        with zipfile.ZipFile(shared_data / name / "images.zip") as archive:
            names = [one for one in archive.namelist() if one.endswith(".jpg")][::250]
            faces = model.encode([io.BytesIO(archive.read(one)) for one in names])
        assert np.mean(faces.familiar) <= 0.01
