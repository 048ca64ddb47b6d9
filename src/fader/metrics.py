"""Metrics of reconstructions, swaps and predictions; docs/evaluation.md says what they mean together.

Metrics of single pictures take pixels [B, C, H, W] in [-1, 1]. Those of many pictures take numbers of N pictures and
`weights`, float [R, N]: how often each picture counts, in each of R ways to draw them (evaluation/bootstrap.py). They
return [R], with NaN where it is undefined (nothing to average over, a division by 0). So one definition gives the
figure and its confidence interval. (torchmetrics knows no weights; tests compare with it.)
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure
from torchmetrics.image.fid import FrechetInceptionDistance

VALUE_RANGE = 2.0  # Of pixels in [-1, 1].
AT_ONCE = 2**22  # Numbers that an area under the curve is computed from at once: 32 MB.


def squared_error(pixels: Tensor, target: Tensor) -> Tensor:
    """Each picture's mean squared error over pixels and channels, [B]; in [0, 1] it would be a quarter of this."""
    return (pixels - target).square().mean(dim=(1, 2, 3))


def psnr(pixels: Tensor, target: Tensor) -> Tensor:
    """Each picture's peak signal-to-noise ratio in dB, [B]: 10 log10(4 / its MSE); infinite where they are equal."""
    return peak_signal_noise_ratio(pixels, target, data_range=VALUE_RANGE, reduction="none", dim=(1, 2, 3))


def ssim(pixels: Tensor, target: Tensor) -> Tensor:
    """Each picture's structural similarity, [B] (Wang et al. 2004), averaged over channels.

    Gaussian window of 11 pixels and sigma 1.5, K1 0.01, K2 0.03, on values scaled to [0, 1].
    """
    pixels, target = (p.add(1).div(VALUE_RANGE) for p in (pixels, target))
    similarity = structural_similarity_index_measure(pixels, target, data_range=1.0, reduction="none")
    assert isinstance(similarity, Tensor)
    return similarity.reshape(len(pixels))


def region_error(pixels: Tensor, target: Tensor, region: Tensor) -> Tensor:
    """Each picture's squared error summed over channels and the pixels of a region (bool [B, 1, H, W]), [B]."""
    return ((pixels - target).square() * region).sum(dim=(1, 2, 3))


def total(values: np.ndarray, weights: np.ndarray, where: np.ndarray | None = None) -> np.ndarray:
    """The sum of numbers or of truth values [N] over all pictures, or over those that are true in `where` [N]."""
    counted = values if where is None else np.where(where, values, 0)
    with np.errstate(invalid="ignore"):  # Of infinite values that do not count.
        return weights @ counted.astype(np.float64)


def ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """One by the other; NaN where the divisor is not positive."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(denominator > 0, numerator / denominator, np.nan)


def mean(values: np.ndarray, weights: np.ndarray, where: np.ndarray | None = None) -> np.ndarray:
    """The mean of numbers or of truth values [N], over all pictures or over those that are true in `where` [N]."""
    return ratio(total(values, weights, where), total(np.ones(len(values)), weights, where))


def gain(swapped_error: np.ndarray, unswapped_error: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """1 - MSE(swapped, truth) / MSE(reconstruction, truth): 0 is no better than leaving the picture, 1 is perfect.

    From the squared errors of pictures [N], each summed over the pixels in which its true counterfactual differs from
    it. Both MSEs are over all of these pixels of all pictures, so it is the ratio of the errors' sums.
    """
    return 1 - ratio(total(swapped_error, weights), total(unswapped_error, weights))


def collateral(outside_error: np.ndarray, outside_values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """MSE between swap and reconstruction outside the pixels that a swap has to change.

    From the squared errors of pictures [N], each summed over the pixels in which its true counterfactual equals it,
    and how many values (pixels times channels) those are.
    """
    return ratio(total(outside_error, weights), total(outside_values, weights))


def balanced_accuracy(predicted: np.ndarray, labels: np.ndarray, values: int, weights: np.ndarray) -> np.ndarray:
    """The mean over an attribute's values of the share of its pictures that are recognised; chance is 1 / values.

    From labels in range(values), int64 [N]. NaN if a value has no picture.
    """
    return np.mean([mean(predicted == v, weights, labels == v) for v in range(values)], axis=0)


def auc(scores: np.ndarray, positive: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The area under the ROC curve of scores [N] for the truth bool [N]; chance is 0.5.

    It is the probability that a positive picture has a higher score than a negative one, where ties count half. NaN
    without pictures of both kinds.
    """
    order = np.argsort(scores, kind="stable")
    ranked, positive = scores[order], positive[order]
    levels = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]])  # Where each run of equal scores begins.
    areas = []
    for part in np.array_split(weights, -(-weights.size // AT_ONCE)):
        counts = part[:, order]
        above, level = (np.add.reduceat(counts * kind, levels, axis=1) for kind in (positive, ~positive))
        won = (above * (np.cumsum(level, axis=1) - level / 2)).sum(axis=1)
        areas.append(ratio(won, above.sum(axis=1) * level.sum(axis=1)))
    return np.concatenate(areas)


def multiclass_auc(scores: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The area under the ROC curve of each value against the others, averaged over the values; chance is 0.5.

    From scores [N, K] and labels in range(K), int64 [N]. Of two values both areas are the same if the scores are
    probabilities. NaN if a value has no picture.
    """
    columns = range(1, 2) if scores.shape[1] == 2 else range(scores.shape[1])
    return np.mean([auc(scores[:, v], labels == v, weights) for v in columns], axis=0)


def kernel_distance(features: np.ndarray, others: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The squared maximum mean discrepancy of two sets of features [N, F], row i of both being of picture i.

    The kernel is KID's, (x y / F + 1)^3 (Binkowski et al. 2018). It is Gretton's unbiased estimate for pairs (2012,
    lemma 6), which leaves out what a picture has with itself: for equal distributions it is 0 on average, and so may
    be negative.
    """

    def kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return (x @ y.T / x.shape[1] + 1) ** 3

    features, others = features.astype(np.float64), others.astype(np.float64)
    across = kernel(features, others)
    pairs = kernel(features, features) + kernel(others, others) - across - across.T
    np.fill_diagonal(pairs, 0)
    return ratio(((weights @ pairs) * weights).sum(axis=1), weights.sum(axis=1) ** 2 - (weights**2).sum(axis=1))


def frechet_distance(features: np.ndarray, others: np.ndarray) -> float:
    """The Fréchet distance of two sets of features [N, F] taken as normally distributed (FID, Heusel et al. 2017)."""
    same = nn.Identity()
    same.num_features = torch.tensor(features.shape[1])
    metric = FrechetInceptionDistance(feature=same)
    metric.update(torch.from_numpy(features), real=True)
    metric.update(torch.from_numpy(others), real=False)
    return float(metric.compute())
