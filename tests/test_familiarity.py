"""Familiar pictures: errors by hand, limits from a summary, and what a model keeps of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import fader
from fader.familiarity import MARGIN, familiar, limits, reconstruction_errors, summary
from fader.model import save_model
from tests.models import tiny_model
from tests.refusals import refusal

KNOWN = {
    "mse_median": 0.01,
    "mse_p99": 0.04,
    "mse_max": 0.05,
    "relative_median": 0.1,
    "relative_p99": 0.2,
    "relative_max": 0.3,
}


def test_errors_by_hand() -> None:
    # Channels of their own means, halves 0.5 above and below them: variance 0.25, whatever the means are.
    pixels = torch.tensor([0.5, -0.5]).repeat(8).reshape(1, 1, 4, 4) + torch.tensor([-0.5, 0, 0.5])[:, None, None]
    errors = reconstruction_errors(pixels, pixels + torch.tensor([0.1, 0.2, 0.3])[:, None, None])
    mse = (0.01 + 0.04 + 0.09) / 3
    torch.testing.assert_close(errors, torch.tensor([[mse, mse / 0.25]]))
    blank = torch.full((1, 3, 4, 4), 0.3)
    assert reconstruction_errors(blank, blank + 0.1)[0].tolist() == pytest.approx([0.01, 10_000], rel=1e-4)
    assert reconstruction_errors(blank, blank)[0].tolist() == [0, 0]


def test_a_summary_has_quantiles() -> None:
    errors = torch.stack([torch.arange(101.0), 2 * torch.arange(101.0)], dim=1)[torch.randperm(101)]
    assert summary(errors) == {
        "mse_median": 50,
        "mse_p99": 99,
        "mse_max": 100,
        "relative_median": 100,
        "relative_p99": 198,
        "relative_max": 200,
    }


def test_both_errors_have_to_be_within_their_limits() -> None:
    assert limits(KNOWN) == {"mse": MARGIN * 0.04, "relative": MARGIN * 0.2}
    just, over = 0.999 * MARGIN, 1.001 * MARGIN
    errors = [[0.04 * just, 0.2 * just], [0.04 * over, 0.2 * just], [0.04 * just, 0.2 * over], [0, 0]]
    assert familiar(torch.tensor(errors), KNOWN) == [True, False, False, True]
    assert familiar(torch.tensor(errors), {}) == [None] * 4
    assert limits({}) == {}


def test_faces_say_how_well_they_are_reconstructed() -> None:
    model = tiny_model()
    pictures = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    faces = model.encode(list(pictures))
    reconstructed = np.stack([np.asarray(picture) for picture in faces.reconstruction()]).astype(float)
    by_hand = np.square((reconstructed - pictures) / 127.5).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(faces.reconstruction_errors, by_hand, rtol=1e-2)  # Of 8-bit pixels, so not the same.
    assert faces.familiar == [None, None, None]
    alone = model.encode(pictures[1])
    assert alone.reconstruction_errors == pytest.approx(faces.reconstruction_errors[1:2], rel=1e-4)
    assert alone.familiar is None
    limit = float(faces.errors.max()) / MARGIN
    model.errors = KNOWN | {"mse_p99": limit, "relative_p99": limit}
    assert faces.familiar == [True, True, True]
    model.errors["mse_p99"] = float(by_hand.min()) / 2
    assert model.encode(pictures[1]).familiar is False


def test_errors_are_saved_with_a_model(tmp_path: Path) -> None:
    model = tiny_model()
    model.errors = dict(KNOWN)
    save_model(model, tmp_path / "model")
    assert fader.load(tmp_path / "model", device="cpu").errors == KNOWN


def test_a_model_of_an_older_version_knows_none(tmp_path: Path) -> None:
    save_model(tiny_model(), tmp_path / "model")
    config = tmp_path / "model" / "config.json"
    data = json.loads(config.read_text())
    assert data.pop("errors") == {}
    config.write_text(json.dumps(data))
    assert fader.load(tmp_path / "model", device="cpu").errors == {}


@pytest.mark.parametrize(
    "errors",
    [
        None,
        [],
        0.5,
        {"mse_p99": 0.1},
        KNOWN | {"more": 1.0},
        KNOWN | {"mse_p99": -0.1},
        KNOWN | {"mse_p99": "0.1"},
        KNOWN | {"mse_p99": True},
        KNOWN | {"mse_p99": None},
    ],
)
def test_damaged_errors_are_refused(errors: Any, tmp_path: Path) -> None:
    save_model(tiny_model(), tmp_path / "model")
    config = tmp_path / "model" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "errors": errors}))
    message = refusal(lambda: fader.load(tmp_path / "model"))
    assert message.startswith(str(config))
    assert "'errors' is damaged" in message
