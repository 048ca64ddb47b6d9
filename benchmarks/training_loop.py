"""What the training loop costs beside the step: everything but forward, backward and optimisers, in preset `small`.

    python benchmarks/training_loop.py DATASET

The loop's own update (batch from the memory-mapped file, flips, schedules, numbers kept) and the bare training step on
a batch that is already there are timed in turn, pair by pair; the medians and the median ratio are printed.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import torch
from measuring import in_turn, seconds

from fader.config import ClassifierConfig, configure
from fader.datasets.prepared import open_dataset
from fader.interruption import Interruption
from fader.networks.classifier import make_classifier
from fader.training import computing
from fader.training.classifier import Classifier
from fader.training.loop import Trainer
from fader.training.run import create_or_continue
from fader.training.step import training_step

PAIRS = 60


def main(dataset: Path) -> None:
    data = open_dataset(dataset)
    config = configure("small", size=data.size, channels=data.channels)
    untrained = make_classifier(ClassifierConfig(), data.size, data.channels, data.schema)
    judge = Classifier(untrained, data.schema, data.size, data.channels, ClassifierConfig())
    cpu = torch.device("cpu")
    with tempfile.TemporaryDirectory() as folder, computing.tuned(cpu, config.training):
        run = create_or_continue(Path(folder) / "run", config, data.schema, data, None)
        trainer = Trainer(run, data, judge, cpu, Interruption())
        pixels, labels = trainer.batches.take(0)

        def bare() -> None:
            training_step(trainer.players, pixels, labels, 1e-3, trainer.schema, trainer.config)

        for _ in range(10):
            trainer.step()
            bare()
        step, loop, ratio = in_turn(PAIRS, lambda: seconds(bare), lambda: seconds(trainer.step))
    print(f"loop {1e3 * loop:.1f} ms, step {1e3 * step:.1f} ms an update, {torch.get_num_threads()} threads")
    print(f"the loop's own share of a step: {ratio - 1:.1%} (median of {PAIRS} pairs)")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
