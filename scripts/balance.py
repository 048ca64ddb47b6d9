"""Does `--balance` help a rare attribute? Portraits of which 5% wear glasses, trained with it and without.

    python scripts/balance.py PORTRAITS OUT [STEPS]

PORTRAITS is what `fader prepare portraits` made. Portraits with glasses are left out of its training split until 5% are
left; validation and test pictures stay as they are. Then preset `small` is trained twice, and evaluated on all test
portraits. About 25 minutes on two CPU cores for 4,000 steps; trainings that are done are not done again,
evaluations are.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from fader import cli
from fader.config import configure
from fader.datasets.prepared import SPLITS, DatasetWriter, PreparedDataset, open_dataset
from fader.evaluation.evaluate import evaluate
from fader.files import new_folder
from fader.training.loop import train

ATTRIBUTE, SHARE = "Eyeglasses", 0.05


def main(portraits: Path, output: Path, steps: int) -> None:
    thinned = output / "thinned"
    if not thinned.exists():
        write_thinned(open_dataset(portraits), thinned)
    print(f"{ATTRIBUTE} in {SHARE:.0%} of the training pictures, {steps:,} steps, seed 0, test pictures as they are")
    for balance in (False, True):
        run = output / ("balanced" if balance else "plain")
        # Both are selected by one classifier, which does not know of the balance.
        classifier = output / "plain" / "classifier" if balance else None
        train(thinned, run, configure("small", steps=steps, balance=balance), classifier=classifier)
        report = evaluate(run, dataset=portraits, judge=output / "judge", overwrite=True)
        swap = report["swap"][ATTRIBUTE]
        print(
            f"{run.name}: swaps {swap['accuracy']:.1%}, to present {swap['to_present']:.1%}, to absent"
            f" {swap['to_absent']:.1%}, gain {swap['gain']:.2f}; all attributes {report['mean_swap_accuracy']:.1%},"
            f" unexplained {report['reconstruction']['unexplained']:.1%}"
        )


def write_thinned(data: PreparedDataset, folder: Path) -> None:
    """The dataset without so many training pictures with the attribute that SHARE of those left have it."""
    column = data.schema.index(ATTRIBUTE)
    training = data.indices("train")
    present = training[data.labels[training, column] == 1]
    wanted = round((len(training) - len(present)) * SHARE / (1 - SHARE))
    kept = present[np.linspace(0, len(present) - 1, wanted).round().astype(int)]
    left_out = np.setdiff1d(present, kept)
    with new_folder(folder) as temporary, DatasetWriter(temporary, data.schema, data.size, data.channels) as writer:
        for i in np.setdiff1d(np.arange(len(data)), left_out):
            writer.add(data.images[i], data.labels[i], int(data.splits[i]), str(data.names[i]))
        writer.finish(data.info["framing"], data.info["source"])
    thinned = open_dataset(folder)
    share = thinned.labels[thinned.indices(SPLITS[0]), column].mean()
    print(f"{folder}: {len(thinned.indices('train')):,} training pictures, {share:.1%} with {ATTRIBUTE}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("portraits", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("steps", type=int, nargs="?", default=4000)
    given = parser.parse_args()
    sys.exit(cli.exit_code(lambda: main(given.portraits, given.output, given.steps)))
