"""Metrics of reconstructions, swaps and predictions; docs/evaluation.md says what they mean together.

Pictures are pixels [B, C, H, W] in [-1, 1], as the decoder gives them: nothing is rounded to 8 bits or compressed
before it is measured. Where a metric is undefined (nothing to average over, a division by 0) it is None.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torchmetrics.functional.classification import multiclass_recall
from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

VALUE_RANGE = 2.0  # Of pixels in [-1, 1].


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


def gain(swapped_error: np.ndarray, unswapped_error: np.ndarray) -> float | None:
    """1 - MSE(swapped, truth) / MSE(reconstruction, truth): 0 is no better than leaving the picture, 1 is perfect.

    From the squared errors of pictures [N], each summed over the pixels in which its true counterfactual differs from
    it. Both MSEs are over all of these pixels of all pictures, so it is the ratio of the errors' sums.
    """
    return 1 - ratio if (ratio := _ratio(swapped_error.sum(), unswapped_error.sum())) is not None else None


def collateral(outside_error: np.ndarray, outside_values: np.ndarray) -> float | None:
    """MSE between swap and reconstruction outside the pixels that a swap has to change.

    From the squared errors of pictures [N], each summed over the pixels in which its true counterfactual equals it,
    and how many values (pixels times channels) those are.
    """
    return _ratio(outside_error.sum(), outside_values.sum())


def mean(values: np.ndarray) -> float | None:
    """The mean of numbers or of truth values [N]; None where there is none, or where it is infinite."""
    if not len(values):
        return None
    average = float(np.mean(values, dtype=np.float64))
    return average if np.isfinite(average) else None


def balanced_accuracy(predicted: np.ndarray, labels: np.ndarray, values: int) -> float | None:
    """The mean over an attribute's values of the share of its pictures that are recognised; chance is 1 / values.

    From labels in range(values), int64 [N]. None if a value has no picture.
    """
    if len(np.unique(labels)) < values:
        return None
    predictions, truth = torch.from_numpy(predicted), torch.from_numpy(labels)
    return float(multiclass_recall(predictions, truth, num_classes=values, average="macro"))


def _ratio(numerator: float, denominator: float) -> float | None:
    return float(numerator / denominator) if denominator > 0 else None
