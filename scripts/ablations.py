"""The paper's findings (section 4) as ablations on drawn portraits, the demo's spread, and what leaks at which lambda.

    python scripts/ablations.py PORTRAITS OUT [--only NAME ...] [--steps STEPS] [--results FILE] [--table]

PORTRAITS is what `fader prepare portraits` made. Every run is preset `small`, the demo's budget, with what it is named
after changed; all are selected by one classifier and judged by another, OUT/classifier and OUT/judge. But for `demo`
they are trained without `erase`, which the paper has not and which would take out by itself what a linear probe can
read. 11 minutes a run on one CPU core (OMP_NUM_THREADS=1), four and a half hours in all.

A run lies in OUT/NAME-SEED, and what it gave is a line of OUT/results.jsonl, or of the FILE that --results names, as
docs/ablations.jsonl. What has a line there is not done again, whichever machine did it, and what was interrupted goes
on with the same command. --only takes some of the runs, so that several processes can share OUT once its classifier and
judge are there, and --table only shows: tables of all that are done, in Markdown, and the leakage against the
unexplained share over lambda as a figure, OUT/frontier.png.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from fader import cli, markdown
from fader.config import PRESETS, Config, configure
from fader.evaluation.evaluate import evaluate
from fader.images import save_picture
from fader.progress import say
from fader.training.classifier import make_classifier_folder
from fader.training.loop import train

PRESET = "small"
LAYERS = PRESETS[PRESET].network.layers
LAMBDA = PRESETS[PRESET].training.adversarial_weight


@dataclass(frozen=True)
class Ablation:
    """One change of the preset, trained with some seeds."""

    what: str
    fields: dict[str, Any]
    seeds: Sequence[int] = (0, 1)
    erase: bool = False

    def config(self, seed: int, steps: int) -> Config:
        return configure(PRESET, steps=steps, seed=seed, erase=self.erase, **self.fields)


ABLATIONS = {
    "plain": Ablation("as the paper recommends", {}),
    "no-ramp": Ablation("lambda at its end from the first step", {"ramp": 0}),
    "no-dropout": Ablation("no dropout in the discriminator", {"discriminator_dropout": 0.0}),
    "decoder-dropout": Ablation("dropout of 0.3 in the decoder's first layers", {"decoder_dropout": 0.3}),
    "fewer-layers": Ablation("one layer fewer", {"layers": LAYERS - 1}),
    "more-layers": Ablation("one layer more", {"layers": LAYERS + 1}),
    "no-adversary": Ablation("lambda 0", {"adversarial_weight": 0.0}),
    "lambda-small": Ablation("lambda / 10", {"adversarial_weight": LAMBDA / 10}),
    "lambda-large": Ablation("lambda x 10", {"adversarial_weight": LAMBDA * 10}),
    # Further points of the frontier, the first at the lambda of the presets `paper` and `released`.
    "lambda-paper": Ablation("lambda of the paper", {"adversarial_weight": 1e-4}, seeds=(0,)),
    "lambda-third": Ablation("lambda / 3", {"adversarial_weight": LAMBDA / 3}, seeds=(0,)),
    "lambda-triple": Ablation("lambda x 3", {"adversarial_weight": LAMBDA * 3}, seeds=(0,)),
    "demo": Ablation("the demo itself, with erase", {}, seeds=(0, 1, 2), erase=True),
}

Reports = dict[str, list[dict[str, Any]]]
"""By name what is kept of the reports of the runs that are done, in the order of their seeds."""


def main(portraits: Path, output: Path, results: Path, names: Sequence[str], steps: int) -> None:
    """Train and evaluate what is not done yet of these ablations, the first seed of each first."""
    output.mkdir(parents=True, exist_ok=True)
    classifier = output / "classifier"
    if not classifier.exists():
        make_classifier_folder(portraits, classifier)
    runs = [(seed, name) for name in names for seed in ABLATIONS[name].seeds]
    for seed, name in sorted(runs, key=lambda run: run[0]):
        run, config = output / f"{name}-{seed}", ABLATIONS[name].config(seed, steps)
        if run.name in read_results(results, steps):
            continue
        say(f"{run}: {ABLATIONS[name].what}.")
        train(portraits, run, config, classifier=classifier)
        report = evaluate(run, judge=output / "judge", overwrite=True)
        with results.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"run": run.name, "config": config.to_json(), "report": kept_of(report)}) + "\n")


def read_results(path: Path, steps: int) -> dict[str, dict[str, Any]]:
    """By run, what a file of results keeps of its report; a line of other settings than those of this script is none.

    A setting that a line lacks is one that there was not yet, and has its default.
    """
    lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.exists() else []
    settings = {f"{name}-{seed}": one.config(seed, steps) for name, one in ABLATIONS.items() for seed in one.seeds}
    return {
        line["run"]: line["report"]
        for line in lines
        if line["run"] in settings and Config.from_json(line["config"]) == settings[line["run"]]
    }


def kept_of(report: dict[str, Any]) -> dict[str, Any]:
    """What the tables take from an evaluation's report, under the same keys."""

    def some(part: dict[str, Any], keys: Sequence[str]) -> dict[str, Any]:
        return {name: {key: entry[key] for key in keys} for name, entry in part.items()}

    return {
        "mean_swap_accuracy": report["mean_swap_accuracy"],
        "reconstruction": {"unexplained": report["reconstruction"]["unexplained"]},
        "swap": some(report["swap"], ("accuracy", "gain_to_absent")),
        "latent": some(report["latent"], tuple(PROBES.values())),
    }


def show(output: Path, results: Path, steps: int) -> str:
    """Tables of all runs that are done, with one number a seed, and where the figure is."""
    kept = read_results(results, steps)
    reports = {
        name: found
        for name, ablation in ABLATIONS.items()
        if (found := [kept[run] for seed in ablation.seeds if (run := f"{name}-{seed}") in kept])
    }
    header = ["run", "what", "swaps seen", "least of an attribute", "gain to absent", "unexplained", *PROBES]
    rows = [[name, ABLATIONS[name].what, *_cells(found)] for name, found in reports.items()]
    parts = [markdown.table(header, rows)]
    if "demo" in reports:
        parts.append(_spread(reports["demo"]))
    points = _frontier(reports)
    if points:
        save_picture(draw_frontier(points), output / "frontier.png")
        parts.append(f"{output / 'frontier.png'}: {len(points)} runs\n")
    return "\n".join(parts)


PROBES = {"linear probe": "probe_balanced", "network probe": "network_probe_balanced"}
"""Their balanced accuracy, by the name of the column: the key under `latent` of an attribute."""


def _cells(reports: Sequence[dict[str, Any]]) -> list[str]:
    columns = [
        [f"{100 * report['mean_swap_accuracy']:.1f}" for report in reports],
        [f"{100 * min(swap['accuracy'] for swap in report['swap'].values()):.1f}" for report in reports],
        [f"{np.mean([swap['gain_to_absent'] for swap in report['swap'].values()]):.2f}" for report in reports],
        [f"{100 * report['reconstruction']['unexplained']:.1f}" for report in reports],
        *([f"{100 * _leakage(report, key):.1f}" for report in reports] for key in PROBES.values()),
    ]
    units = ["%", "%", "", "%", *("%" for _ in PROBES)]
    return [" / ".join(numbers) + unit for numbers, unit in zip(columns, units, strict=True)]


def _leakage(report: dict[str, Any], key: str) -> float:
    return float(np.mean([entry[key] for entry in report["latent"].values()]))


def _spread(reports: Sequence[dict[str, Any]]) -> str:
    """How far the seeds of the demo are apart, attribute by attribute."""
    rows = []
    for name in reports[0]["swap"]:
        seen, gains = ([report["swap"][name][key] for report in reports] for key in ("accuracy", "gain_to_absent"))
        probed = [report["latent"][name]["network_probe_balanced"] for report in reports]
        percent = [f"{100 * min(values):.1f} to {100 * max(values):.1f}%" for values in (seen, probed)]
        rows.append([name, percent[0], f"{min(gains):.2f} to {max(gains):.2f}", percent[1]])
    header = [f"demo, {len(reports)} seeds", "swaps seen", "gain to absent", "network probe"]
    return markdown.table(header, rows)


@dataclass(frozen=True)
class Point:
    """A run of the frontier."""

    weight: float
    """lambda."""
    unexplained: float
    leakage: dict[str, float]
    """By probe, the mean of the attributes' balanced accuracy."""


def _frontier(reports: Reports) -> list[Point]:
    """The runs that differ in lambda alone, in its order."""
    return sorted(
        (
            Point(
                ABLATIONS[name].fields.get("adversarial_weight", LAMBDA),
                report["reconstruction"]["unexplained"],
                {probe: _leakage(report, key) for probe, key in PROBES.items()},
            )
            for name, found in reports.items()
            if set(ABLATIONS[name].fields) <= {"adversarial_weight"} and not ABLATIONS[name].erase
            for report in found
        ),
        key=lambda point: point.weight,
    )


COLOURS = dict(zip(PROBES, ("#1f6fb4", "#d9480f"), strict=True))
PLOT, MARGIN, RADIUS = (640, 400), 60, 4  # Pixels: width and height of the plot, what is around it, a point.
TICKS = (0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.08, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0)  # Of the unexplained share.


def draw_frontier(points: Sequence[Point]) -> Image.Image:
    """Leakage (50% to 100%) against the unexplained share (by its logarithm): a point a run and probe."""
    figure = Image.new("RGB", (PLOT[0] + 2 * MARGIN, PLOT[1] + 2 * MARGIN), "white")
    draw, font = ImageDraw.Draw(figure), ImageFont.load_default(13)
    shares = [point.unexplained for point in points]
    least, most = min(shares) / 1.2, max(shares) * 1.2

    def place(unexplained: float, leakage: float) -> tuple[float, float]:
        x = math.log(unexplained / least) / math.log(most / least)
        return MARGIN + PLOT[0] * x, MARGIN + PLOT[1] * (2 - 2 * leakage)

    def write(at: tuple[float, float], said: str, anchor: str, colour: str = "black") -> None:
        draw.text(at, said, fill=colour, font=font, anchor=anchor)

    for leakage in (0.5, 0.6, 0.7, 0.8, 0.9, 1.0):
        left, y = place(least, leakage)
        draw.line([(left, y), place(most, leakage)], fill="#dddddd")
        write((left - 6, y), f"{leakage:.0%}", "rm")
    for unexplained in (tick for tick in TICKS if least <= tick <= most):
        x, bottom = place(unexplained, 0.5)
        draw.line([(x, bottom), place(unexplained, 1)], fill="#dddddd")
        write((x, bottom + 6), f"{unexplained:.0%}", "ma")
    write((MARGIN + PLOT[0] / 2, figure.height - 12), "unexplained share of the variance", "ms")
    write((MARGIN, 20), "balanced accuracy of a probe, mean of the attributes; with each point its lambda", "ls")
    for i, (probe, colour) in enumerate(COLOURS.items()):
        write((MARGIN + 140 * i, 40), probe, "ls", colour)
        for point in points:
            x, y = place(point.unexplained, max(0.5, point.leakage[probe]))
            draw.ellipse([x - RADIUS, y - RADIUS, x + RADIUS, y + RADIUS], fill=colour)
    # Up to where, from the left, there is writing, and how far down; what would lie on it goes lower.
    taken = below = 0.0
    for point in sorted(points, key=lambda point: point.unexplained):
        x, y = place(point.unexplained, max(0.5, min(point.leakage.values())))
        said = f"{point.weight:.2g}" + (f" ({PRESET})" if point.weight == LAMBDA else "")
        below = max(y + 24, below + 16) if x < taken else y + 24
        taken = x + font.getlength(said) + 8
        draw.line([(x, y + RADIUS), (x, below - 8)], fill="#999999")
        write((x + 2, below), said, "ls")
    return figure


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("portraits", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--only", nargs="+", choices=ABLATIONS, default=list(ABLATIONS), metavar="NAME")
    parser.add_argument("--steps", type=int, default=PRESETS[PRESET].training.steps)
    parser.add_argument("--results", type=Path, metavar="FILE")
    parser.add_argument("--table", action="store_true")
    given = parser.parse_args()
    kept_in = given.results or given.output / "results.jsonl"

    def run() -> None:
        if not given.table:
            main(given.portraits, given.output, kept_in, given.only, given.steps)
        print(show(given.output, kept_in, given.steps), end="")

    sys.exit(cli.exit_code(run))
