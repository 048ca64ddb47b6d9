"""The strength curve of models whose faders are known, and where it ends."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from fader.evaluation.bootstrap import intervals, values
from fader.evaluation.charts import COLOURS, strength_chart
from fader.evaluation.strength import VALUES, end, measure_strength, strength_figures
from tests.evaluation.world import BLOCKS, BYTES, SCHEMA, Model, judge, values_of, world

CPU = torch.device("cpu")


class Sliding(Model):
    """Its square's brightness follows the fader; beyond 1.5 the shade is painted over."""

    def decode_pixels(self, latent: Tensor, values: Tensor) -> Tensor:
        pixels = latent.clone()
        low, high = values_of(BYTES[0])
        rows, columns = BLOCKS[0]
        pixels[:, :, rows, columns] = (low + (high - low) * values[:, 0])[:, None, None, None]
        rows, columns = BLOCKS[1]
        pixels[values[:, 0] > 1.6, :, rows, columns] = values_of(BYTES[1])[0]
        return pixels


def test_curve_and_ends_of_a_fader_that_is_known() -> None:
    data = world()
    measured = measure_strength(Sliding(), judge(), data, "test", 30, CPU)
    assert [SCHEMA.names[one.attribute] for one in measured] == ["Square"]  # The other is no fader.
    assert measured[0].present.shape == (30, len(VALUES))
    figures = strength_figures(measured, SCHEMA)
    curve = values(figures)["Square"]
    # The judge compares brightnesses, so it changes its mind in the middle.
    for value in VALUES:
        if value != 0.5:
            assert curve["to_present"][f"{value:g}"] == float(value > 0.5)
            assert curve["to_absent"][f"{value:g}"] == float(value < 0.5)
    indices = data.indices("test", 30)
    assert curve["preservation"]["1"] == 1.0
    assert curve["preservation"]["2"] == pytest.approx((data.labels[indices, 1] == 0).mean())
    assert 0.5 <= curve["end_present"] <= 0.75
    assert 0.25 <= curve["end_absent"] <= 0.5
    assert intervals(figures)["Square"]["preservation"]["1"] == [1.0, 1.0]


def test_ends_are_linear_between_values_and_undefined_where_not_reached() -> None:
    accuracies = np.array([[0.5, 0.9, 1.0], [0.96, 1.0, 1.0], [0.1, 0.5, 0.94], [0.2, 0.95, 0.5]])
    found = end([0.5, 1.0, 2.0], accuracies)
    assert found[[0, 1, 3]] == pytest.approx([1.5, 0.5, 1.0])
    assert np.isnan(found[2])
    assert end([0.5, 0.0, -1.0], accuracies[:1]) == pytest.approx([-0.5])


def test_chart_has_a_line_in_each_systems_colour() -> None:
    curve = {
        "to_present": {"0": 0.0, "1": 0.5, "3": 1.0},
        "to_absent": {"-1": 1.0, "0": 0.5},
        "preservation": {"-1": None, "0": 1.0, "3": 0.5},
    }
    report = {"strength": {"Smiling": curve, "5_o_Clock": curve}}
    chart = strength_chart({"one": report, "\x1b[31m" * 90: report})
    colours = {colour for _, colour in chart.getcolors(2**24) or []}
    for colour in COLOURS[:2]:
        assert tuple(int(colour[i : i + 2], 16) for i in (1, 3, 5)) in colours
    assert strength_chart({"none": {"strength": {}}}).height > 0
