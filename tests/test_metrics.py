"""Metrics against numbers worked out by hand and against formulas written out."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from fader import metrics


def test_errors_of_pictures_one_by_one() -> None:
    target = torch.zeros(2, 3, 16, 16)
    pixels = torch.zeros(2, 3, 16, 16)
    pixels[0] += 0.1
    pixels[1, :, :8] = 1.0  # Half of the second picture is wrong by 1.
    assert metrics.squared_error(pixels, target).tolist() == pytest.approx([0.01, 0.5])
    # 10 log10(4 / 0.01) and 10 log10(4 / 0.5): the peak of [-1, 1] is 2.
    assert metrics.psnr(pixels, target).tolist() == pytest.approx([26.0206, 9.0309], abs=1e-4)
    assert metrics.psnr(target, target).tolist() == [math.inf, math.inf]


def test_ssim_of_plain_pictures() -> None:
    # In plain pictures all variances are 0, and SSIM is (2 a b + c1) / (a^2 + b^2 + c1), of values a, b in [0, 1].
    a, b, c1 = 0.25, 0.75, 0.01**2
    plain = [torch.full((1, 3, 16, 16), 2 * value - 1) for value in (a, b)]
    expected = (2 * a * b + c1) / (a**2 + b**2 + c1)
    assert metrics.ssim(plain[0], plain[1]).tolist() == pytest.approx([expected], abs=1e-3)
    noise = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    assert metrics.ssim(noise, noise).tolist() == pytest.approx([1.0] * 3)
    assert metrics.ssim(noise, -noise).max() < 0


def test_region_error_sums_over_channels_and_the_region_alone() -> None:
    pixels, target = torch.full((1, 3, 4, 4), 0.5), torch.zeros(1, 3, 4, 4)
    region = torch.zeros(1, 1, 4, 4, dtype=torch.bool)
    region[0, 0, 0, :2] = True
    assert metrics.region_error(pixels, target, region).tolist() == [0.25 * 2 * 3]
    assert metrics.region_error(pixels, target, ~region).tolist() == [0.25 * 14 * 3]


def test_gain_is_of_the_sums() -> None:
    # A small change done perfectly and a large one half done: 1 - (0 + 4) / (2 + 8), not the mean of 1 and 0.5.
    assert metrics.gain(np.array([0.0, 4.0]), np.array([2.0, 8.0])) == pytest.approx(0.6)
    assert metrics.gain(np.array([3.0]), np.array([3.0])) == 0.0
    assert metrics.gain(np.array([6.0]), np.array([3.0])) == -1.0
    assert metrics.gain(np.array([]), np.array([])) is None


def test_collateral_is_a_mean_over_all_values_outside() -> None:
    assert metrics.collateral(np.array([1.0, 5.0]), np.array([10, 20])) == pytest.approx(0.2)
    assert metrics.collateral(np.array([0.0]), np.array([0])) is None


def test_mean_is_none_where_it_is_no_number() -> None:
    assert metrics.mean(np.array([True, False, True, True])) == 0.75
    assert metrics.mean(np.array([])) is None
    assert metrics.mean(np.array([1.0, np.inf])) is None


def test_balanced_accuracy_by_hand() -> None:
    labels = np.array([0] * 8 + [1] * 2)
    assert metrics.balanced_accuracy(np.zeros(10, dtype=np.int64), labels, 2) == 0.5
    predicted = np.array([0] * 6 + [1] * 2 + [1, 0])
    assert metrics.balanced_accuracy(predicted, labels, 2) == pytest.approx((6 / 8 + 1 / 2) / 2)
    three = np.array([0, 0, 1, 1, 2, 2])
    assert metrics.balanced_accuracy(np.array([0, 0, 1, 2, 0, 1]), three, 3) == pytest.approx((1 + 0.5 + 0) / 3)
    assert metrics.balanced_accuracy(labels, labels, 3) is None
