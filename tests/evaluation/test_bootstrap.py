"""Confidence intervals against what is known of them in closed form."""

from __future__ import annotations

import numpy as np
import pytest

from fader import metrics
from fader.evaluation import bootstrap
from fader.evaluation.bootstrap import differences, intervals, resamplings, values


def test_the_first_is_all_pictures_once_and_the_rest_are_as_many() -> None:
    weights = resamplings(50)
    assert (weights[0] == 1).all()
    assert (weights.sum(axis=1) == 50).all()
    assert len(weights) == 1 + bootstrap.RESAMPLINGS
    assert np.array_equal(resamplings(50), weights)


def test_of_many_pictures_fewer_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "NUMBERS", 30_000)
    assert [len(resamplings(count)) - 1 for count in (10, 100, 1000)] == [1000, 300, 200]


def test_the_interval_of_a_mean_is_that_of_a_normal_distribution() -> None:
    numbers = np.random.default_rng(1).normal(3, 2, size=2000)
    figure = metrics.mean(numbers, resamplings(2000))
    low, high = intervals({"mean": figure})["mean"]
    error = numbers.std() / 2000**0.5
    assert [low, high] == pytest.approx(
        [numbers.mean() - 1.96 * error, numbers.mean() + 1.96 * error], abs=0.15 * error
    )
    assert values({"a": {"mean": figure, "none": None}}) == {"a": {"mean": pytest.approx(numbers.mean()), "none": None}}


def test_the_interval_of_a_share_is_that_of_a_binomial() -> None:
    right = np.arange(1000) % 5 > 0
    low, high = intervals({"share": metrics.mean(right, resamplings(1000))})["share"]
    half = 1.96 * (0.8 * 0.2 / 1000) ** 0.5
    assert (low, high) == pytest.approx((0.8 - half, 0.8 + half), abs=0.004)


def test_differences_are_paired() -> None:
    """Two systems that agree on how hard each picture is: their difference is known better than either."""
    hard = np.random.default_rng(0).normal(size=500)
    weights = resamplings(500)
    one, other = (metrics.mean(hard + shift, weights) for shift in (0.1, 0.0))
    found = differences({"x": {"mse": one, "gone": None}, "only": one}, {"x": {"mse": other, "gone": None}})
    assert found == {"x": {"mse": {"difference": pytest.approx(0.1), "interval": pytest.approx([0.1, 0.1])}}}
    low, high = intervals({"mse": one})["mse"]
    assert high - low > 0.1


def test_what_is_undefined_has_neither_value_nor_interval() -> None:
    for figure in (np.array([np.nan, 1.0]), np.array([np.inf, 1.0]), np.array([1.0, np.nan])):
        assert intervals({"x": figure}) == {"x": None}
    assert values({"x": np.array([np.nan, 1.0])}) == {"x": None}
    assert intervals({"x": np.array([1.0, np.nan, 2.0])}) == {"x": [2.0, 2.0]}
