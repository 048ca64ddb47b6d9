"""Agreement against published worked examples; shares against numbers worked out by hand, and their coverage."""

from __future__ import annotations

import numpy as np
import pytest

from fader.study.agreement import _quantile, krippendorff_alpha, share

# Krippendorff (2011), "Computing Krippendorff's Alpha-Reliability". Part B: two observers, 10 units, two values.
MEG, OWEN = "0100000010", "1110010000"
# Part C: four observers, 12 units, five values, missing data ("." is none).
FOUR = ("1 2 3 3 2 1 4 1 2 . . .", "1 2 3 3 2 2 4 1 2 5 . 3", ". 3 3 3 2 3 4 2 2 5 1 .", "1 2 3 3 2 4 4 1 2 5 1 .")


def alpha(*observers: str) -> float | None:
    given = [(unit, int(value)) for one in observers for unit, value in enumerate(one) if value != "."]
    units, values = np.array(given).T
    return krippendorff_alpha(units, values)


def test_krippendorffs_own_examples() -> None:
    assert alpha(MEG, OWEN) == pytest.approx(0.095, abs=5e-4)
    assert alpha(*(one.replace(" ", "") for one in FOUR)) == pytest.approx(0.743, abs=5e-4)


def test_agreement_of_all_and_of_none() -> None:
    assert alpha("0101", "0101", "0101") == 1
    # Two units, two raters who always differ: disagreement 1 where chance gives 4/6.
    assert alpha("01", "10") == pytest.approx(1 - 1 / (2 / 3))
    assert alpha("000", "000") is None
    assert alpha("0..", ".1.") is None
    assert krippendorff_alpha(np.array([], dtype=int), np.array([], dtype=int)) is None


def test_a_share_by_hand() -> None:
    # 2 pictures, 2 raters; the answers yes yes / yes no. Mean 3/4, residuals 1/4 1/4 / 1/4 -3/4. Sums of pictures
    # 1/2 and -1/2, of raters the same: each variance 2 (1/4 + 1/4) / 16 = 1/16. Within: (3/16 + 9/16) / 16 = 3/64.
    # Together 5/64, so that 3/16 / (5/64) = 12/5 independent answers.
    found = share(np.array([1, 1, 1, 0], dtype=bool), np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1]))
    assert found is not None
    n, z = 2.4, _quantile(1)
    middle = (0.75 + z * z / (2 * n)) / (1 + z * z / n)
    width = z * (0.1875 / n + z * z / (4 * n * n)) ** 0.5 / (1 + z * z / n)
    assert (found.value, found.answers) == (0.75, 4)
    assert (found.low, found.high) == pytest.approx((middle - width, middle + width), abs=1e-6)


def test_where_all_answers_are_alike_a_picture_counts_once() -> None:
    found = share(np.ones(40, dtype=bool), np.repeat(np.arange(20), 2), np.tile(np.arange(2), 20))
    assert found is not None
    assert (found.value, found.high) == (1, 1)
    assert found.low == pytest.approx(20 / (20 + _quantile(1) ** 2))  # Wilson's lower end of 20 out of 20.
    assert share(np.array([], dtype=bool), np.array([]), np.array([])) is None


def test_intervals_cover_the_truth_when_raters_and_pictures_differ() -> None:
    generator = np.random.default_rng(0)
    pictures, raters, covered, naive, runs = 100, 10, 0, 0, 300
    which, who = np.repeat(np.arange(pictures), raters), np.tile(np.arange(raters), pictures)
    for _ in range(runs):
        chances = 0.7 + generator.uniform(-0.15, 0.15, pictures)[which] + generator.uniform(-0.15, 0.15, raters)[who]
        hits = generator.uniform(size=len(which)) < chances
        found = share(hits, which, who)
        assert found is not None
        covered += found.low <= 0.7 <= found.high
        naive += abs(hits.mean() - 0.7) <= 1.96 * np.sqrt(0.21 / len(hits))
    # What treats answers as independent is not even near.
    assert 0.92 < covered / runs <= 0.99
    assert naive / runs < 0.75


def test_students_quantile() -> None:
    # From the printed tables: 2.262 for 9 degrees of freedom, 2.045 for 29.
    assert _quantile(9) == pytest.approx(2.262, abs=0.005)
    assert _quantile(29) == pytest.approx(2.045, abs=0.001)
    assert _quantile(0) == pytest.approx(1.960, abs=0.001)
