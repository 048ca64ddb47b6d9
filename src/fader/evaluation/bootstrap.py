"""Confidence intervals by the bootstrap: the pictures drawn again, with replacement, the same way for every figure.

A *figure* is an array [1 + R] (metrics.py): first its value, every picture counting once, then its value in each of R
resamplings. As these are the same for all figures of N pictures, the difference of two figures has its interval too,
paired on the same pictures, be they of one system or of two.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

RESAMPLINGS = 1000
NUMBERS = 2**25  # Resamplings times pictures, at most: 256 MB. Of many pictures the draws differ less anyway.
LEAST = 200
CONFIDENCE = 0.95

Figures = dict[str, Any]
"""Figures by name, and objects of such; None is a figure that there is not."""


def resamplings(pictures: int) -> np.ndarray:
    """How often each of N pictures counts, float [1 + R, N]: once, then as often as it was drawn. Has no seed."""
    shares, count = np.full(pictures, 1 / pictures), resampling_count(pictures)
    drawn = np.random.default_rng(0).multinomial(pictures, shares, size=count)
    return np.concatenate([np.ones((1, pictures)), drawn])


def resampling_count(pictures: int) -> int:
    """How many resamplings there are of so many pictures, R."""
    return min(RESAMPLINGS, max(LEAST, NUMBERS // pictures))


def values(figures: Figures) -> dict[str, Any]:
    """Each figure's value, as JSON; None where it is undefined or infinite."""
    return _each(figures, _value)


def intervals(figures: Figures) -> dict[str, Any]:
    """Each figure's 95% interval, [low, high] (percentiles), as JSON; None where the figure is undefined."""
    return _each(figures, _interval)


def differences(figures: Figures, others: Figures) -> dict[str, Any]:
    """Of each figure that both have, how much higher the first is: {"difference", "interval"}, paired, as JSON."""
    found: dict[str, Any] = {}
    for name in figures:
        one, other = figures[name], others.get(name)
        if isinstance(one, dict) and isinstance(other, dict):
            found[name] = differences(one, other)
        elif isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
            with np.errstate(invalid="ignore"):
                found[name] = {"difference": _value(one - other), "interval": _interval(one - other)}
    return found


def _each(figures: Figures, function: Callable[[np.ndarray], Any]) -> dict[str, Any]:
    return {
        name: _each(figure, function) if isinstance(figure, dict) else None if figure is None else function(figure)
        for name, figure in figures.items()
    }


def _value(figure: np.ndarray) -> float | None:
    return float(figure[0]) if np.isfinite(figure[0]) else None


def _interval(figure: np.ndarray) -> list[float] | None:
    drawn = figure[1:][np.isfinite(figure[1:])]
    if not np.isfinite(figure[0]) or not len(drawn):
        return None
    low, high = np.quantile(drawn, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return [float(low), float(high)]
