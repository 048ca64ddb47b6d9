"""How sure a share of answers is, and how far raters agree.

Answers come in two kinds of clusters: a picture is judged by several raters and a rater judges several pictures, so
that N answers tell less than N independent ones would.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

QUANTILE = 1.959964  # Of the normal distribution, for 95%.


@dataclass(frozen=True)
class Share:
    """A share of answers, and its 95% confidence interval."""

    value: float
    low: float
    high: float
    answers: int


def share(hits: np.ndarray, pictures: np.ndarray, raters: np.ndarray) -> Share | None:
    """The share of hits, bool [N], of which each is of a picture and by a rater, int [N]; None if there is none.

    The variance of the mean is that of Cameron, Gelbach and Miller (2011) for two ways of clustering: between pictures
    and between raters, less what both count; never below either of them, nor below that of independent answers. The
    interval is Wilson's for as many independent answers as would have that variance, with Student's quantile for the
    fewer of pictures and raters. Where all answers are alike, no variance can be estimated, and every picture counts as
    one independent answer.
    """
    count = len(hits)
    if not count:
        return None
    value = float(hits.mean())
    residuals = hits - value
    between_pictures, between_raters = (_between(residuals, clusters) for clusters in (pictures, raters))
    within = float(residuals @ residuals) / count**2
    variance = max(between_pictures + between_raters - within, between_pictures, between_raters, within)
    independent = value * (1 - value) / variance if variance else len(np.unique(pictures))
    clusters = min(len(np.unique(pictures)), len(np.unique(raters)))
    low, high = _wilson(value, independent, _quantile(clusters - 1))
    return Share(value, low, high, count)


def krippendorff_alpha(units: np.ndarray, answers: np.ndarray) -> float | None:
    """Krippendorff's alpha for nominal answers: 1 is agreement, 0 is what chance would give.

    For answers int [N], each about a unit, int [N]; any number of raters a unit, of which those with one alone say
    nothing of agreement. From the matrix of coincidences (Krippendorff 2011, "Computing Krippendorff's
    alpha-reliability"). None if nothing can be said: no unit has two answers, or all answers are the same.
    """
    _, units = np.unique(units, return_inverse=True)
    _, answers = np.unique(answers, return_inverse=True)
    counts = np.zeros((units.max(initial=-1) + 1, answers.max(initial=-1) + 1))
    np.add.at(counts, (units, answers), 1)
    counts = counts[counts.sum(axis=1) >= 2]
    raters = counts.sum(axis=1)
    agreeing = (counts * (counts - 1)).sum(axis=1)
    values, total = counts.sum(axis=0), counts.sum()
    expected = total**2 - (values**2).sum()
    if not len(counts) or expected == 0:
        return None
    observed = (raters * (raters - 1) - agreeing) / (raters - 1)
    return float(1 - (total - 1) * observed.sum() / expected)


def _between(residuals: np.ndarray, clusters: np.ndarray) -> float:
    """The variance of a mean of which the residuals of a cluster may move together."""
    _, numbers = np.unique(clusters, return_inverse=True)
    sums = np.bincount(numbers, weights=residuals)
    correction = len(sums) / (len(sums) - 1) if len(sums) > 1 else 0.0
    return float(correction * (sums @ sums)) / len(residuals) ** 2


def _quantile(freedom: int) -> float:
    """Student's quantile for 95%, by its expansion (Abramowitz and Stegun, 26.7.5); the normal one without freedom.

    Within 0.005 from 9 degrees of freedom on, too small for 1 and 2.
    """
    z = QUANTILE
    if freedom < 1:
        return z
    return z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)


def _wilson(value: float, count: float, z: float) -> tuple[float, float]:
    """Wilson's interval (1927) of a share among so many independent answers, for a quantile."""
    middle = (value + z**2 / (2 * count)) / (1 + z**2 / count)
    width = z / (1 + z**2 / count) * np.sqrt(value * (1 - value) / count + z**2 / (4 * count**2))
    return max(0.0, float(middle - width)), min(1.0, float(middle + width))
