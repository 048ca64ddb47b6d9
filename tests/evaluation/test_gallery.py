"""The figure of extremes shows the best, median and worst swaps of models whose gains are known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from fader.evaluation.counterfactuals import swaps
from fader.evaluation.gallery import EACH, extremes_figure
from fader.evaluation.measure import Measurements, look_at_training, measure
from tests.evaluation.world import BLOCKS, BYTES, SCHEMA, Model, World, judge, world

CPU = torch.device("cpu")
KINDS = ["Square to absent", "Square to present", "Shade +1", "Shade +2"]


class Glaring(Model):
    """Paints a block the more too light, the lighter the ground of the picture is."""

    def decode_pixels(self, latent: Tensor, values: Tensor) -> Tensor:
        pixels = super().decode_pixels(latent, values)
        too_light = 0.05 * (1 + latent[:, :, -1:, -1:])
        return torch.where(pixels == latent, pixels, pixels + too_light)


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the last figure was made of: its titles, and the rows under their labels, kind by kind."""
    found: dict[str, Any] = {}

    def grid(rows: list[list[np.ndarray]], titles: Sequence[str], labels: Sequence[str]) -> None:
        found.update(rows=rows, titles=titles, labels=labels)

    monkeypatch.setattr("fader.figures.grid", grid)
    return found


def measured(data: World) -> Measurements:
    model = Glaring()
    return measure(model, judge(), data, "test", look_at_training(model, data, CPU), CPU, workers=1)


def unit(bytes_: np.ndarray) -> np.ndarray:
    """Bytes as pixel values in [-1, 1]."""
    return bytes_ / 127.5 - 1


def places_of(kind: int, scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The scores that the figure has to show of a kind, best, median and worst, the best first."""
    if kind < 2:
        scores = scores[labels[:, 0] != kind]
    ranked, middle = np.sort(scores)[::-1], (len(scores) - EACH) // 2
    return np.concatenate([ranked[:EACH], ranked[middle : middle + EACH], ranked[-EACH:]])


def test_ranked_by_the_gain_of_the_picture(shown: dict[str, Any]) -> None:
    data = world()
    extremes_figure(Glaring(), data, measured(data), CPU)
    assert shown["titles"] == [name for name in ("best", "median", "worst") for _ in range(EACH)]
    assert shown["labels"] == [label for kind in KINDS for label in (kind, "swapped", "truth")]
    indices = data.indices("test")
    places = {data.images[i].tobytes(): i for i in indices}
    grounds = unit(data.images[:][:, -1, -1, 0])
    for number in range(len(KINDS)):
        k, shift = swaps(SCHEMA)[max(0, number - 1)]
        own = np.array(BYTES[k])[data.labels[:, k]]
        target = np.array(BYTES[k])[(data.labels[:, k] + shift) % len(BYTES[k])]
        gains = 1 - (0.05 * (1 + grounds) / (unit(target) - unit(own))) ** 2
        originals, swapped, truths = shown["rows"][3 * number : 3 * number + 3]
        found = [places[picture.tobytes()] for picture in originals]
        assert gains[found] == pytest.approx(places_of(number, gains[indices], data.labels[indices]))
        for i, made, truth in zip(found, swapped, truths, strict=True):
            assert (truth[BLOCKS[k]] == target[i]).all()
            painted = target[i] + 127.5 * 0.05 * (1 + grounds[i])
            assert made[BLOCKS[k]] == pytest.approx(np.full_like(made[BLOCKS[k]], painted, dtype=float), abs=0.51)


def test_ranked_by_the_judge_where_no_truth_is_known(shown: dict[str, Any]) -> None:
    data = world(knows=False)
    found = measured(data)
    generator = np.random.default_rng(0)
    given = [generator.random(len(found.indices)) for _ in found.swaps]
    judged = [replace(swap, probability=of_swap) for swap, of_swap in zip(found.swaps, given, strict=True)]
    extremes_figure(Glaring(), data, replace(found, swaps=judged), CPU)
    assert shown["labels"] == [label for kind in KINDS for label in (kind, "swapped")]
    for number in range(len(KINDS)):
        scores = given[max(0, number - 1)]
        expected = places_of(number, scores, found.labels)
        chosen = found.indices[[int(np.flatnonzero(scores == score)[0]) for score in expected]]
        assert [picture.tobytes() for picture in shown["rows"][2 * number]] == [
            data.images[i].tobytes() for i in chosen
        ]
