"""Naturalness where it is known: made pictures that are the real ones, and made ones that anyone tells apart."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fader.config import JUDGE
from fader.evaluation import naturalness as module
from fader.evaluation.bootstrap import intervals, values
from fader.evaluation.judged import judged
from fader.evaluation.naturalness import naturalness
from fader.images import from_pixels, to_pixels
from fader.metrics import frechet_distance
from fader.networks.classifier import make_classifier
from tests.evaluation.world import SCHEMA, Model, Unmoved, judge, world

CPU = torch.device("cpu")


class Striped(Unmoved):
    """Paints every second column black."""

    def decode_pixels(self, latent: Tensor, values: Tensor) -> Tensor:
        pixels = latent.clone()
        pixels[..., ::2] = -1
        return pixels


def means(pixels: Tensor) -> Tensor:
    """An extractor whose features are the means of the columns."""
    return pixels.mean(dim=(1, 2))


def test_real_pictures_cannot_be_told_apart_and_striped_ones_can(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CONFIG", replace(module.CONFIG, width=8, max_width=8, batch_size=16, epochs=4.0))
    data = world()
    figures = naturalness({"same": Unmoved(), "striped": Striped()}, judge(), data, "test", CPU, means)
    found, bounds = ({name: function(figures[name]) for name in figures} for function in (values, intervals))
    for kind in (found["same"]["reconstruction"], found["same"]["swap"]["Shade"]):
        assert kind["auc"] == 0.5  # The same picture has the same score, and ties count half.
        assert kind["kid"] == pytest.approx(0.0, abs=1e-12)
        assert kind["fid"] == pytest.approx(0.0, abs=1e-6)
    striped = found["striped"]["reconstruction"]
    assert striped["auc"] > 0.99
    assert striped["kid"] > 0.1
    real = means(torch.from_numpy(judged(data).images[data.indices("test")]).permute(0, 3, 1, 2) / 127.5 - 1).numpy()
    assert striped["fid"] > np.square(real[:, ::2].mean(axis=0) + 1).sum() - 1e-3  # At least the means' distance.
    low, high = bounds["striped"]["reconstruction"]["kid"]
    assert low < striped["kid"] < high
    assert bounds["striped"]["reconstruction"]["fid"] is None
    assert set(found["striped"]["swap"]) == {"Square", "Shade"}


class Dark(nn.Module):
    """Logits of [made, real]: how light the even columns are, with an offset."""

    def __init__(self, offset: float) -> None:
        super().__init__()
        self.offset = offset

    def forward(self, pixels: Tensor) -> Tensor:
        real = pixels[..., ::2].mean(dim=(1, 2, 3)) + self.offset
        return torch.stack([torch.zeros_like(real), real], dim=1)


def test_the_scores_of_the_two_classifiers_are_not_ranked_together(monkeypatch: pytest.MonkeyPatch) -> None:
    offsets = iter((0.0, 100.0))
    monkeypatch.setattr(module, "train_classifier", lambda *_: replace(judge(), network=Dark(next(offsets))))
    found = naturalness({"striped": Striped()}, judge(), world(), "test", CPU, means)["striped"]
    assert np.all(found["reconstruction"]["auc"] == 1.0)  # Each classifier tells all; ranked together it were 0.75.


def test_features_are_the_judges_unless_others_are_given(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    trained = make_classifier(replace(JUDGE, width=4, max_width=8), 16, 1, SCHEMA).eval()
    classifier = replace(judge(), network=trained)
    pixels = torch.rand(3, 1, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    last: Any = trained.logits
    with torch.inference_mode():
        assert torch.allclose(last(classifier.features(pixels)), trained(pixels))
    monkeypatch.setattr(module, "CONFIG", replace(module.CONFIG, width=4, max_width=4, epochs=0.2))
    data, model = world(), Model(noise=0.1)
    found = naturalness({"model": model}, classifier, data, "test", CPU)["model"]["reconstruction"]
    real = to_pixels(data.images[data.indices("test")], CPU)
    made = to_pixels(from_pixels(real + model.noise), CPU)
    expected = frechet_distance(classifier.features(real).numpy(), classifier.features(made).numpy())
    assert found["fid"][0] == pytest.approx(expected, rel=1e-3)
    assert found["fid"][0] > 1e-4
