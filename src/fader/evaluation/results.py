"""What was measured of a system's pictures, as figures by the keys of report.json (docs/evaluation.md)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fader import metrics
from fader.attributes import Attribute, Schema
from fader.evaluation.bootstrap import Figures, resampling_count, resamplings
from fader.evaluation.measure import Background, Inversion, Measurements, SwapMeasurement

FIRST = 500  # Pictures of Table 1, in the paper.


def meta_of(measurements: Measurements, background: Background, schema: Schema) -> dict[str, Any]:
    """What the measurements say of themselves."""
    m = measurements
    return {
        "pictures": len(m.indices),
        "counterfactuals": len(m.indices) if m.swaps[0].errors is not None else 0,
        "mean_picture_of": background.pictures,
        "probe_trained_on": background.probe_pictures,
        "resamplings": resampling_count(len(m.indices)),
        "training_shares": {
            attribute.name: dict(zip(attribute.values, shares.tolist(), strict=True))
            for attribute, shares in zip(schema, background.shares, strict=True)
        },
        "table1_pictures": {
            attribute.name: int(first_of_each_value(m.labels[:, k], len(attribute.values)).sum())
            for k, attribute in enumerate(schema)
        },
    }


def figures_of(measurements: Measurements, background: Background, schema: Schema) -> Figures:
    """What was measured of a system, as figures by the keys of report.json."""
    m, weights = measurements, resamplings(len(measurements.indices))
    of_attribute = [[one for one in m.swaps if one.attribute == k] for k in range(len(schema))]
    swap = {
        attribute.name: _swap_figures(attribute, measured, weights)
        for attribute, measured in zip(schema, of_attribute, strict=True)
    }
    mse = metrics.mean(m.mse, weights)
    return {
        "reconstruction": {
            "mse": mse,
            "mse_0_1": mse / 4,
            "rmse": np.sqrt(mse),
            "rmse_0_1": np.sqrt(mse) / 2,
            "unexplained": metrics.ratio(mse, metrics.mean(m.distance, weights)),
            "psnr": metrics.mean(m.psnr, weights),
            "ssim": metrics.mean(m.ssim, weights),
            "png_psnr": metrics.mean(m.png_psnr, weights),
            "png_ssim": metrics.mean(m.png_ssim, weights),
        },
        "mean_swap_accuracy": np.mean([entry["accuracy"] for entry in swap.values()], axis=0),
        "swap": swap,
        "table1": {
            attribute.name: _table1_figures(m, k, attribute, of_attribute[k], weights)
            for k, attribute in enumerate(schema)
        },
        "stgan": _stgan_figures(m.inversions, schema, weights),
        "classifier": {
            attribute.name: {
                "accuracy": metrics.mean(m.judged[:, k] == m.labels[:, k], weights),
                "balanced_accuracy": metrics.balanced_accuracy(
                    m.judged[:, k], m.labels[:, k], len(attribute.values), weights
                ),
                "own_accuracy": None if m.own is None else metrics.mean(m.own[:, k] == m.labels[:, k], weights),
            }
            for k, attribute in enumerate(schema)
        },
        "latent": {
            attribute.name: _latent_figures(m, k, attribute, schema.slices[k], weights)
            for k, attribute in enumerate(schema)
        },
    }


def _latent_figures(m: Measurements, k: int, attribute: Attribute, part: slice, weights: np.ndarray) -> Figures:
    labels, values = m.labels[:, k], len(attribute.values)
    return {
        "accuracy": metrics.mean(m.probed_natural[:, k] == labels, weights),
        "majority": np.max([metrics.mean(labels == v, weights) for v in range(values)], axis=0),
        "probe_balanced": metrics.balanced_accuracy(m.probed[:, k], labels, values, weights),
        "probe_auc": metrics.multiclass_auc(m.probe_scores[:, part], labels, weights),
        "network_probe_balanced": metrics.balanced_accuracy(m.probed_by_network[:, k], labels, values, weights),
        "network_probe_auc": metrics.multiclass_auc(m.network_probe_scores[:, part], labels, weights),
    }


def _swap_figures(attribute: Attribute, measured: Sequence[SwapMeasurement], weights: np.ndarray) -> Figures:
    """Of one attribute, over all its swaps."""

    def added(of_swap: Callable[[SwapMeasurement], np.ndarray]) -> np.ndarray:
        return np.sum([of_swap(one) for one in measured], axis=0)

    def errors(which: str, value: int | None = None) -> np.ndarray:
        """The sums of `Errors`, of the swaps to one value or of all."""
        return added(lambda one: np.where((one.target == value) | (value is None), getattr(one.errors, which), 0.0))

    def gain(value: int | None = None) -> np.ndarray:
        return metrics.gain(errors("swapped", value), errors("unswapped", value), weights)

    def collateral(value: int | None = None) -> np.ndarray:
        return metrics.collateral(errors("outside", value), errors("outside_values", value), weights)

    def accuracy(value: int) -> np.ndarray:
        right = added(lambda one: (one.seen == value) & (one.target == value))
        return metrics.ratio(
            metrics.total(right, weights), metrics.total(added(lambda one: one.target == value), weights)
        )

    to = {value: accuracy(i) for i, value in enumerate(attribute.values)}
    absent, present = (0, 1) if attribute.binary else (None, None)
    known = measured[0].errors is not None
    return {
        "accuracy": metrics.mean(added(lambda one: one.seen == one.target) / len(measured), weights),
        "to_present": to[attribute.values[1]] if attribute.binary else None,
        "to_absent": to[attribute.values[0]] if attribute.binary else None,
        "to": to,
        "preservation": metrics.mean(added(lambda one: one.kept) / len(measured), weights),
        "gain": gain() if known else None,
        "gain_to_present": gain(present) if known and attribute.binary else None,
        "gain_to_absent": gain(absent) if known and attribute.binary else None,
        "collateral": collateral() if known else None,
        "collateral_to_present": collateral(present) if known and attribute.binary else None,
        "collateral_to_absent": collateral(absent) if known and attribute.binary else None,
    }


def _table1_figures(
    m: Measurements, k: int, attribute: Attribute, measured: Sequence[SwapMeasurement], weights: np.ndarray
) -> Figures:
    """Share classified as having the value that each row of Table 1 claims."""
    rows = {
        "real": m.judged[:, k] == m.labels[:, k],
        "reconstruction": m.judged_reconstruction[:, k] == m.labels[:, k],
        "swap": np.mean([one.seen == one.target for one in measured], axis=0),
    }
    first = first_of_each_value(m.labels[:, k], len(attribute.values))
    return {
        row: {"first": metrics.mean(right, weights, first), "whole": metrics.mean(right, weights)}
        for row, right in rows.items()
    }


def first_of_each_value(labels: np.ndarray, values: int) -> np.ndarray:
    """Which of N pictures are the first 500, as many of each value: bool [N], for labels [N] in the split's order.

    Section 5.1: "the first 500 images in the test set such that we have a balanced number of each class". Where there
    are fewer of a value, there are as few of the others.
    """
    counts = np.bincount(labels, minlength=values)
    each = min(FIRST // values, counts.min())
    rank = np.empty(len(labels), dtype=np.int64)
    for value in range(values):
        rank[labels == value] = np.arange(counts[value])
    return rank < each


def _stgan_figures(inversions: Sequence[Inversion], schema: Schema, weights: np.ndarray) -> Figures:
    """Of those of STGAN's attributes that there are, and their mean."""
    of_attribute = {
        schema.names[one.attribute]: {
            "accuracy": metrics.mean(one.seen, weights),
            "preservation_error": metrics.ratio(
                metrics.total(one.disturbed, weights), metrics.total(one.others, weights)
            ),
        }
        for one in inversions
    }
    return {
        **{
            key: np.mean([one[key] for one in of_attribute.values()], axis=0) if of_attribute else None
            for key in ("accuracy", "preservation_error")
        },
        "attributes": of_attribute,
    }
