"""The report of an evaluation: numbers by stable keys (docs/evaluation.md), and the same as text to read."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from fader import markdown
from fader.attributes import Schema
from fader.datasets.prepared import PreparedDataset
from fader.errors import printable
from fader.evaluation import bootstrap
from fader.evaluation.bootstrap import Figures
from fader.evaluation.counterfactuals import swaps
from fader.evaluation.measure import Measurements
from fader.evaluation.tables import headline, number, tables

FORMAT = {"format": "fader-evaluation", "version": 1}
WIDTH = 120  # Characters of the table.
SYSTEM_WIDTH = 20  # More, where it says of which system a row is.
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


def build_report(figures: Figures, meta: dict[str, Any]) -> dict[str, Any]:
    """The content of report.json but for the diagnosis. What is undefined is None. `meta` goes in as it is."""
    return {**FORMAT, "meta": meta, **bootstrap.values(figures), "intervals": bootstrap.intervals(figures)}


def summary(report: dict[str, Any]) -> str:
    """The report as a short table in plain text, with the diagnosis beneath."""
    return _text([headline(report)], list(COLUMNS), _rows(report), _sentences(report))


def comparison_summary(comparison: dict[str, Any]) -> str:
    """The comparison as a short table in plain text."""
    systems = comparison["systems"]
    heads = [f"{name}: {headline(report)}" for name, report in systems.items()]
    rows = [[name, *row] for name, report in systems.items() for row in _rows(report)]
    return _text(heads, ["system", *COLUMNS], rows, [])


def _text(heads: Iterable[str], columns: Sequence[str], rows: Iterable[Sequence[str]], feet: Iterable[str]) -> str:
    lines = io.StringIO()
    width = WIDTH + (SYSTEM_WIDTH if "system" in columns else 0)
    console = Console(file=lines, width=width, color_system=None, highlight=False)
    table = Table(box=SIMPLE_HEAD, padding=(0, 1), show_edge=False)
    for name in columns:
        table.add_column(name, justify="left" if name in ("system", "attribute") else "right", overflow="fold")
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    for head in heads:
        console.print(Text(printable(head)))
    console.print(table)
    for foot in feet:
        console.print(Text(printable(foot)))
    return "\n".join(line.rstrip() for line in lines.getvalue().splitlines())


def to_markdown(report: dict[str, Any]) -> str:
    """The report of one system as report.md, which shows the figures beside it."""
    meta = report["meta"]
    diagnosis = [f"- {markdown.escape(sentence)}\n" for sentence in _sentences(report)]
    diagnosed = report["diagnosis"] is not None
    nothing = "Every fader does what it should." if diagnosed else "Only a Fader Network has a diagnosis."
    return f"""# Evaluation

{headline(report)}

{markdown.table(list(COLUMNS), _rows(report))}
{"".join(diagnosis) or nothing}

Model {markdown.escape(meta["model"]["path"])}, dataset {markdown.escape(meta["dataset"]["path"])}, judge of the
{meta["judge"]["architecture"]} architecture (seed {meta["judge"]["seed"]}). What the numbers mean, and what they do
not, is in docs/evaluation.md; all of them are in report.json, and those of each picture in per\\_image.csv. In brackets
are 95% confidence intervals.

{tables({"Model": report})}
## Figures

![The first pictures, their reconstructions and swaps](swaps.png)

![The best, median and worst swaps of each kind](extremes.png)

![What the judge sees, and what it sees unchanged, at every value of the faders](strength.png)
"""


def comparison_to_markdown(comparison: dict[str, Any]) -> str:
    """The comparison of several systems as report.md."""
    meta, systems = comparison["meta"], comparison["systems"]
    models = [(name, report["meta"]["model"]["path"]) for name, report in systems.items()]
    first = next(iter(systems))
    extremes = "".join(f"\n![The best, median and worst swaps](extremes-{i + 1}.png)\n" for i in range(len(systems)))
    return f"""# Comparison

{markdown.table(("system", "model"), models)}
The same {next(iter(systems.values()))["meta"]["pictures"]:,} pictures of split {meta["split"]} of
{markdown.escape(meta["dataset"]["path"])}, judged by one classifier of the {meta["judge"]["architecture"]} architecture
(seed {meta["judge"]["seed"]}) at {meta["judged_size"]} x {meta["judged_size"]} pixels. The features of KID and
FID are {_features(meta.get("features", "judge"))}. What the numbers mean is in docs/evaluation.md. In brackets are 95%
confidence intervals; those of the differences, which are paired on the same pictures, are in report.json.

{tables(systems)}
## Differences to {markdown.escape(first)}

{_differences(comparison["differences"])}
## Figures

![The first pictures, and what each system makes of them](systems.png)

![What the judge sees, and what it sees unchanged, at every value of the faders](strength.png)
{extremes}"""


def _features(features: str | dict[str, str]) -> str:
    if isinstance(features, str):
        return f"the {features}'s"
    return f"the Inception network's (weights with the SHA-256 {features['inception']})"


def _differences(differences: Mapping[str, Any]) -> str:
    rows = []
    for system, found in differences.items():
        for attribute, figures in found["swap"].items():
            shown = [figures[key] for key in ("accuracy", "preservation", "gain", "collateral") if key in figures]
            rows.append([system, attribute, *(number(one["difference"], "+.4f", one["interval"]) for one in shown)])
    width = max((len(row) for row in rows), default=2)
    names = ["system", "attribute", "swaps seen", "preservation", "gain", "collateral"]
    return markdown.table(names[:width], rows)


def per_image_csv(systems: Mapping[str, Measurements], schemas: Mapping[str, Schema], dataset: PreparedDataset) -> str:
    """A row a picture; of several systems their columns follow one another, with the system's name before theirs.

    Values of attributes are named; what is unknown is empty.
    """
    first = next(iter(systems.values()))
    names, columns = ["name"], [dataset.names[first.indices]]
    for system, measurements in systems.items():
        for name, column in _columns(measurements, schemas[system]):
            names.append(f"{system} {name}" if system else name)
            columns.append(column)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([_cell(value) for value in row] for row in zip(*columns, strict=True))
    return text.getvalue()


def _columns(m: Measurements, schema: Schema) -> Iterator[tuple[str, np.ndarray]]:
    """The columns of one system, [N] each."""
    yield from (("mse", m.mse), ("psnr", m.psnr), ("ssim", m.ssim), ("png_psnr", m.png_psnr), ("png_ssim", m.png_ssim))
    for k, attribute in enumerate(schema):
        values = np.array(attribute.values)
        yield f"{attribute.name} label", values[m.labels[:, k]]
        yield f"{attribute.name} judge", values[m.judged[:, k]]
        yield f"{attribute.name} reconstruction judge", values[m.judged_reconstruction[:, k]]
        yield f"{attribute.name} probe", values[m.probed[:, k]]
        yield f"{attribute.name} network probe", values[m.probed_by_network[:, k]]
    for (k, shift), one in zip(swaps(schema), m.swaps, strict=True):
        attribute = schema.attributes[k]
        values = np.array(attribute.values)
        title = f"{attribute.name} swap" if attribute.binary else f"{attribute.name} swap +{shift}"
        yield f"{title} to", values[one.target]
        yield f"{title} judge", values[one.seen]
        yield f"{title} probability", one.probability
        yield f"{title} preservation", one.kept
        if one.errors is not None:
            with np.errstate(divide="ignore", invalid="ignore"):
                yield f"{title} gain", 1 - one.errors.swapped / one.errors.unswapped
                yield f"{title} collateral", one.errors.outside / one.errors.outside_values


def _rows(report: dict[str, Any]) -> list[list[str]]:
    rows = []
    for name, swap in report["swap"].items():
        rows.append(
            [
                name,
                *(number(swap[key], ".1%") for key in ("accuracy", "to_present", "to_absent")),
                *(number(swap[key], ".2f") for key in ("gain", "gain_to_absent")),
                number(swap["collateral"], ".4f"),
                number(report["classifier"][name]["accuracy"], ".1%"),
                number(report["latent"][name]["probe_balanced"], ".1%"),
                number(report["latent"][name]["network_probe_balanced"], ".1%"),
            ]
        )
    return rows


def _sentences(report: dict[str, Any]) -> Iterator[str]:
    for name, causes in (report["diagnosis"] or {}).items():
        for cause in causes:
            yield f"{name}: {cause['finding']}. Try: {cause['setting']}."


def _cell(value: Any) -> str:
    if isinstance(value, float | np.floating):
        return f"{value:.6g}" if np.isfinite(value) else ""
    return str(value)
