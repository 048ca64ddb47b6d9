"""Metrics against numbers worked out by hand and against formulas written out."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torchmetrics.functional.classification import binary_auroc, multiclass_recall

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


def once(count: int) -> np.ndarray:
    return np.ones((1, count))


def test_gain_is_of_the_sums() -> None:
    # A small change done perfectly and a large one half done: 1 - (0 + 4) / (2 + 8), not the mean of 1 and 0.5.
    assert metrics.gain(np.array([0.0, 4.0]), np.array([2.0, 8.0]), once(2)) == pytest.approx([0.6])
    assert metrics.gain(np.array([3.0]), np.array([3.0]), once(1)) == [0.0]
    assert metrics.gain(np.array([6.0]), np.array([3.0]), once(1)) == [-1.0]
    assert np.isnan(metrics.gain(np.array([0.0]), np.array([0.0]), once(1)))


def test_collateral_is_a_mean_over_all_values_outside() -> None:
    assert metrics.collateral(np.array([1.0, 5.0]), np.array([10, 20]), once(2)) == pytest.approx([0.2])
    assert np.isnan(metrics.collateral(np.array([0.0]), np.array([0]), once(1)))


def test_mean_of_all_and_of_some() -> None:
    truth = np.array([True, False, True, True])
    assert metrics.mean(truth, once(4)) == [0.75]
    assert metrics.mean(truth, once(4), np.array([True, True, False, False])) == [0.5]
    assert np.isnan(metrics.mean(truth, once(4), np.zeros(4, bool)))
    assert metrics.mean(np.array([1.0, np.inf]), once(2)) == [np.inf]


def test_a_picture_of_weight_two_counts_as_two_pictures() -> None:
    generator = np.random.default_rng(0)
    labels, scores = generator.integers(3, size=40), generator.random((40, 3))
    counts = generator.integers(4, size=40)

    def found(which: np.ndarray, weights: np.ndarray) -> np.ndarray:
        labels_of, scores_of = labels[which], scores[which]
        return np.stack(
            [
                metrics.mean(scores_of[:, 0], weights),
                metrics.gain(scores_of[:, 0], scores_of[:, 1], weights),
                metrics.balanced_accuracy(scores_of.argmax(axis=1), labels_of, 3, weights),
                metrics.multiclass_auc(scores_of, labels_of, weights),
            ]
        )

    both = found(np.arange(40), np.stack([np.ones(40), counts]))
    repeated = np.repeat(np.arange(40), counts)
    assert both[:, 0] == pytest.approx(found(np.arange(40), once(40))[:, 0])
    assert both[:, 1] == pytest.approx(found(repeated, once(len(repeated)))[:, 0])


def test_balanced_accuracy_by_hand_and_by_torchmetrics() -> None:
    labels = np.array([0] * 8 + [1] * 2)
    assert metrics.balanced_accuracy(np.zeros(10, dtype=np.int64), labels, 2, once(10)) == [0.5]
    predicted = np.array([0] * 6 + [1] * 2 + [1, 0])
    assert metrics.balanced_accuracy(predicted, labels, 2, once(10)) == pytest.approx([(6 / 8 + 1 / 2) / 2])
    three = np.array([0, 0, 1, 1, 2, 2])
    seen = np.array([0, 0, 1, 2, 0, 1])
    assert metrics.balanced_accuracy(seen, three, 3, once(6)) == pytest.approx([(1 + 0.5 + 0) / 3])
    assert np.isnan(metrics.balanced_accuracy(labels, labels, 3, once(10)))
    generator = np.random.default_rng(0)
    predicted, labels = generator.integers(4, size=(2, 100))
    expected = multiclass_recall(torch.from_numpy(predicted), torch.from_numpy(labels), num_classes=4, average="macro")
    assert metrics.balanced_accuracy(predicted, labels, 4, once(100)) == pytest.approx([float(expected)])


def test_auc_by_hand_and_by_torchmetrics(monkeypatch: pytest.MonkeyPatch) -> None:
    # Positive 3 and 1, negative 2, 1 and 0: won 3 + 1 of 6, and one tie that counts half.
    scores, positive = np.array([3.0, 1.0, 2.0, 1.0, 0.0]), np.array([True, True, False, False, False])
    assert metrics.auc(scores, positive, once(5)) == pytest.approx([(3 + 1 + 0.5) / 6])
    assert metrics.auc(-scores, positive, once(5)) == pytest.approx([(0 + 1 + 0.5) / 6])
    assert metrics.auc(np.zeros(5), positive, once(5)) == [0.5]
    assert np.isnan(metrics.auc(scores, np.ones(5, bool), once(5)))
    generator = np.random.default_rng(0)
    scores, positive = generator.integers(20, size=300) / 20, generator.random(300) < 0.3
    expected = binary_auroc(torch.from_numpy(scores), torch.from_numpy(positive).long())
    assert metrics.auc(scores, positive, once(300)) == pytest.approx([float(expected)])
    weights = generator.integers(3, size=(7, 300)).astype(float)
    whole = metrics.auc(scores, positive, weights)
    monkeypatch.setattr(metrics, "AT_ONCE", 600)
    assert metrics.auc(scores, positive, weights) == pytest.approx(whole)


def test_auc_of_several_values() -> None:
    scores = np.array([[0.8, 0.1, 0.1], [0.2, 0.7, 0.1], [0.1, 0.2, 0.7], [0.1, 0.6, 0.3]])
    labels = np.array([0, 1, 2, 2])
    # Value 0: 1 of its 1 picture beats all others; value 1: all; value 2: 0.7 and 0.3 against 0.1 and 0.1.
    assert metrics.multiclass_auc(scores, labels, once(4)) == pytest.approx([1.0])
    assert metrics.multiclass_auc(scores[:, [1, 0, 2]], np.array([0, 1, 2, 2]), once(4)) < 0.7
    two = np.array([[0.9, 0.1], [0.4, 0.6], [0.7, 0.3]])
    assert metrics.multiclass_auc(two, np.array([0, 1, 1]), once(3)) == [1.0]


def test_kernel_distance_by_its_definition() -> None:
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(2, 6, 3))

    def kernel(a: np.ndarray, b: np.ndarray) -> float:
        return float((a @ b / 3 + 1) ** 3)

    pairs = [(i, j) for i in range(6) for j in range(6) if i != j]
    expected = np.mean(
        [kernel(x[i], x[j]) + kernel(y[i], y[j]) - kernel(x[i], y[j]) - kernel(x[j], y[i]) for i, j in pairs]
    )
    assert metrics.kernel_distance(x, y, once(6)) == pytest.approx([expected])
    assert metrics.kernel_distance(x, x, once(6)) == pytest.approx([0.0])
    # Leaving a picture out is giving it no weight.
    left_out = np.array([[1.0] * 5 + [0.0]])
    assert metrics.kernel_distance(x, y, left_out) == pytest.approx(metrics.kernel_distance(x[:5], y[:5], once(5)))


def test_frechet_distance_of_shifted_and_of_scaled_features() -> None:
    generator = np.random.default_rng(0)
    features = generator.normal(size=(500, 4))
    # The same covariance: the squared distance of the means. Twice the deviations: the trace of the covariance.
    shift = np.array([1.0, 0.0, -2.0, 0.5])
    assert metrics.frechet_distance(features, features + shift) == pytest.approx(1 + 4 + 0.25, rel=1e-6)
    centred = features - features.mean(axis=0)
    trace = np.trace(np.cov(centred.T))
    assert metrics.frechet_distance(centred, 2 * centred) == pytest.approx(trace, rel=1e-6)
