"""A Fader Network of real faces: four attributes at once, glasses being rare.

    python scripts/faces.py FACES64 OUT

FACES64 holds `images.zip` and `attributes.csv`, faces of CelebA at 64 pixels with their 40 attributes and CelebA's own
split into train and valid. Every second picture of valid is held out for testing. About 80 minutes on one CPU core.
OUT/run is the run with its evaluation, whose table is printed. A run that was interrupted goes on with the same
command, and what is done already is not done again.
"""

from __future__ import annotations

import argparse
import csv
import io
import sys
from pathlib import Path
from typing import Any

from fader import cli
from fader.config import configure
from fader.datasets.folder import prepare_folder
from fader.errors import UserError
from fader.evaluation.evaluate import REPORT, evaluate
from fader.evaluation.report import summary
from fader.files import read_json, write_text
from fader.training.loop import train

ATTRIBUTES = ["Smiling", "Male", "Mouth_Slightly_Open", "Eyeglasses"]
SETTINGS = {
    "layers": 6,
    "width": 32,
    "max_width": 512,
    "discriminator_hidden": 512,
    "adversarial_weight": 0.02,
    "ramp_share": 0.4,
    "decay": 0.6,
    "steps": 24_000,
    "balance": True,
    "epoch_images": 48_000,
}


def main(faces: Path, output: Path) -> None:
    dataset, run = output / "faces", output / "run"
    if not dataset.exists():
        output.mkdir(parents=True, exist_ok=True)
        table = write_table(faces / "attributes.csv", output / "faces.csv")
        print(prepare_folder(faces / "images.zip", table, dataset, attributes=ATTRIBUTES), end="")
    train(dataset, run, configure("small", **SETTINGS))
    print(summary(evaluation(run)))


def evaluation(run: Path) -> dict[str, Any]:
    """The report of a run's evaluation, which is made unless it is there."""
    report = run / "evaluation" / REPORT
    return read_json(report) if report.exists() else evaluate(run)


def write_table(source: Path, table: Path) -> Path:
    """Write the table with every second validation picture in the split "test". Raises UserError if it has no split."""
    try:
        with source.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{source}: it cannot be read as a table ({error}).") from None
    if not rows or any(row.get("split") is None for row in rows):
        raise UserError(f'{source}: it needs a column "split" with train or valid in every row.')
    validation = [row for row in rows if row["split"] == "valid"]
    for row in validation[1::2]:
        row["split"] = "test"
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0].keys(), extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    write_text(table, text.getvalue())
    return table


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("faces64", type=Path)
    parser.add_argument("output", type=Path)
    given = parser.parse_args()
    sys.exit(cli.exit_code(lambda: main(given.faces64, given.output)))
