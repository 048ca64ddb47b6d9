"""The report of an evaluation: numbers by stable keys (docs/evaluation.md), and the same as text to read."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from fader import markdown, metrics
from fader.attributes import Attribute, Schema
from fader.datasets.prepared import PreparedDataset
from fader.errors import printable
from fader.evaluation.counterfactuals import swaps
from fader.evaluation.measure import Background, Measurements, SwapMeasurement

FORMAT = {"format": "fader-evaluation", "version": 1}
WIDTH = 120  # Characters of the table.
COLUMNS = {
    "attribute": "",
    "swaps seen": "by the judge",
    "to present": "",
    "to absent": "",
    "gain": "0 none, 1 perfect",
    "gain to absent": "",
    "collateral": "",
    "judge on real": "share right",
    "linear probe": "of the latent, balanced",
    "network probe": "of the latent, balanced",
}


def build_report(
    measurements: Measurements, background: Background, schema: Schema, meta: dict[str, Any]
) -> dict[str, Any]:
    """The content of report.json but for the diagnosis. What is undefined is None. `meta` goes in as it is, with what
    the measurements say of themselves."""
    m = measurements
    mse, variance = metrics.mean(m.mse), metrics.mean(m.distance)
    swap = {
        attribute.name: _swap_report(attribute, [one for one in m.swaps if one.attribute == k])
        for k, attribute in enumerate(schema)
    }
    return {
        **FORMAT,
        "meta": {
            **meta,
            "pictures": len(m.indices),
            "counterfactuals": len(m.indices) if m.swaps[0].errors is not None else 0,
            "mean_picture_of": background.pictures,
            "probe_trained_on": background.probe_pictures,
            "training_shares": {
                attribute.name: dict(zip(attribute.values, shares.tolist(), strict=True))
                for attribute, shares in zip(schema, background.shares, strict=True)
            },
        },
        "reconstruction": {
            "mse": mse,
            "unexplained": mse / variance if mse is not None and variance else None,
            "psnr": metrics.mean(m.psnr),
            "ssim": metrics.mean(m.ssim),
        },
        "mean_swap_accuracy": float(np.mean([entry["accuracy"] for entry in swap.values()])),
        "swap": swap,
        "classifier": {
            attribute.name: {
                "accuracy": metrics.mean(m.judged[:, k] == m.labels[:, k]),
                "balanced_accuracy": metrics.balanced_accuracy(m.judged[:, k], m.labels[:, k], len(attribute.values)),
                "own_accuracy": None if m.own is None else metrics.mean(m.own[:, k] == m.labels[:, k]),
            }
            for k, attribute in enumerate(schema)
        },
        "latent": {
            attribute.name: {
                "accuracy": metrics.mean(m.probed_natural[:, k] == m.labels[:, k]),
                "majority": float(np.bincount(m.labels[:, k]).max() / len(m.labels)),
                "probe_balanced": metrics.balanced_accuracy(m.probed[:, k], m.labels[:, k], len(attribute.values)),
                "network_probe_balanced": metrics.balanced_accuracy(
                    m.probed_by_network[:, k], m.labels[:, k], len(attribute.values)
                ),
            }
            for k, attribute in enumerate(schema)
        },
    }


def _swap_report(attribute: Attribute, measured: Sequence[SwapMeasurement]) -> dict[str, Any]:
    target = np.concatenate([one.target for one in measured])
    right = np.concatenate([one.seen for one in measured]) == target
    to = {value: metrics.mean(right[target == i]) for i, value in enumerate(attribute.values)}
    report: dict[str, Any] = {
        "accuracy": metrics.mean(right),
        "to_present": to[attribute.values[1]] if attribute.binary else None,
        "to_absent": to[attribute.values[0]] if attribute.binary else None,
        "to": to,
        "gain": None,
        "gain_to_present": None,
        "gain_to_absent": None,
        "collateral": None,
    }
    errors = [one.errors for one in measured if one.errors is not None]
    if errors:
        swapped = np.concatenate([one.swapped for one in errors])
        unswapped = np.concatenate([one.unswapped for one in errors])
        report["gain"] = metrics.gain(swapped, unswapped)
        if attribute.binary:
            for key, value in (("gain_to_absent", 0), ("gain_to_present", 1)):
                report[key] = metrics.gain(swapped[target == value], unswapped[target == value])
        report["collateral"] = metrics.collateral(
            np.concatenate([one.outside for one in errors]), np.concatenate([one.outside_values for one in errors])
        )
    return report


def summary(report: dict[str, Any]) -> str:
    """The report as a short table in plain text, with the diagnosis beneath."""
    lines = io.StringIO()
    console = Console(file=lines, width=WIDTH, color_system=None, highlight=False)
    table = Table(box=SIMPLE_HEAD, padding=(0, 1), show_edge=False)
    for name in COLUMNS:
        table.add_column(name, justify="left" if name == "attribute" else "right", overflow="fold")
    for row in _rows(report):
        table.add_row(*(Text(printable(cell)) for cell in row))
    console.print(Text(printable(_headline(report))))
    console.print(table)
    for sentence in _sentences(report):
        console.print(Text(printable(sentence)))
    return "\n".join(line.rstrip() for line in lines.getvalue().splitlines())


def to_markdown(report: dict[str, Any]) -> str:
    """The report as report.md, which shows the figures beside it."""
    meta = report["meta"]
    diagnosis = [f"- {markdown.escape(sentence)}\n" for sentence in _sentences(report)]
    diagnosed = report["diagnosis"] is not None
    nothing = "Every fader does what it should." if diagnosed else "Only a Fader Network has a diagnosis."
    return f"""# Evaluation

{_headline(report)}

{markdown.table(list(COLUMNS), _rows(report))}
{"".join(diagnosis) or nothing}

Model {markdown.escape(meta["model"]["path"])}, dataset {markdown.escape(meta["dataset"]["path"])}, judge of the
{meta["judge"]["architecture"]} architecture (seed {meta["judge"]["seed"]}). What the numbers mean, and what they do
not, is in docs/evaluation.md; all of them are in report.json, and those of each picture in per\\_image.csv.

## Swaps

![The first pictures, their reconstructions and swaps](swaps.png)

## The best, middling and worst swaps

![The best, middling and worst swaps of each kind](extremes.png)
"""


def per_image_csv(measurements: Measurements, schema: Schema, dataset: PreparedDataset) -> str:
    """A row a picture. Values of attributes are named; what is unknown is empty."""
    m = measurements
    names, columns = ["name", "mse", "psnr", "ssim"], [dataset.names[m.indices], m.mse, m.psnr, m.ssim]
    for k, attribute in enumerate(schema):
        values = np.array(attribute.values)
        names += [f"{attribute.name} label", f"{attribute.name} judge", f"{attribute.name} probe"]
        columns += [values[labels[:, k]] for labels in (m.labels, m.judged, m.probed)]
    for (k, shift), one in zip(swaps(schema), m.swaps, strict=True):
        attribute = schema.attributes[k]
        title = f"{attribute.name} swap" if attribute.binary else f"{attribute.name} swap +{shift}"
        names += [f"{title} to", f"{title} judge", f"{title} probability"]
        columns += [*(np.array(attribute.values)[labels] for labels in (one.target, one.seen)), one.probability]
        if one.errors is not None:
            names += [f"{title} gain", f"{title} collateral"]
            with np.errstate(divide="ignore", invalid="ignore"):
                columns += [
                    1 - one.errors.swapped / one.errors.unswapped,
                    one.errors.outside / one.errors.outside_values,
                ]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([_cell(value) for value in row] for row in zip(*columns, strict=True))
    return text.getvalue()


def _headline(report: dict[str, Any]) -> str:
    reconstruction, meta = report["reconstruction"], report["meta"]
    return (
        f"{meta['pictures']:,} pictures of split {meta['split']}. Reconstruction:"
        f" MSE {_number(reconstruction['mse'], '.4f')} in [-1, 1],"
        f" unexplained {_number(reconstruction['unexplained'], '.1%')},"
        f" PSNR {_number(reconstruction['psnr'], '.1f')} dB, SSIM {_number(reconstruction['ssim'], '.3f')}."
        f" Swaps seen: {report['mean_swap_accuracy']:.1%} on average."
    )


def _rows(report: dict[str, Any]) -> list[list[str]]:
    rows = []
    for name, swap in report["swap"].items():
        rows.append(
            [
                name,
                *(_number(swap[key], ".1%") for key in ("accuracy", "to_present", "to_absent")),
                *(_number(swap[key], ".2f") for key in ("gain", "gain_to_absent")),
                _number(swap["collateral"], ".4f"),
                _number(report["classifier"][name]["accuracy"], ".1%"),
                _number(report["latent"][name]["probe_balanced"], ".1%"),
                _number(report["latent"][name]["network_probe_balanced"], ".1%"),
            ]
        )
    return rows


def _sentences(report: dict[str, Any]) -> Iterator[str]:
    for name, causes in (report["diagnosis"] or {}).items():
        for cause in causes:
            yield f"{name}: {cause['finding']}. Try: {cause['setting']}."


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _cell(value: Any) -> str:
    if isinstance(value, float | np.floating):
        return f"{value:.6g}" if np.isfinite(value) else ""
    return str(value)
