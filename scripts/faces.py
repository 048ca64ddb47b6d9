"""A Fader Network of real faces: four attributes at once, glasses being rare.

    python scripts/faces.py FACES64 OUT

FACES64 holds `images.zip` and `attributes.csv`, faces of CelebA at 64 pixels with their 40 attributes and CelebA's own
split into train and valid. Every second picture of valid is held out for testing. A run that was interrupted goes on
with the same command, and what is done already is not done again.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

from fader.config import configure
from fader.datasets.folder import prepare_folder
from fader.evaluation.evaluate import evaluate
from fader.evaluation.report import summary
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
    print(summary(evaluate(run, overwrite=True)))


def write_table(source: Path, table: Path) -> Path:
    """The table with every second validation picture in the split "test"."""
    with source.open(newline="") as file:
        rows = list(csv.DictReader(file))
    validation = [row for row in rows if row["split"] == "valid"]
    for row in validation[1::2]:
        row["split"] = "test"
    with table.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    return table


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
