"""Weak scaling: training on 1 and on 2 processes of one machine, a thread and a preset's batch each, preset `small`.

    python benchmarks/scaling.py DATASET [--pairs 9] [--steps 40]

Runs of one and of two processes are started in turn, pair by pair. What is timed is the training loop from step to
step, evaluations and checkpoints left out. A process's share of an ideal machine's work is the time that a step takes
alone by the time that it takes with two: the medians over the pairs are printed.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from fader.config import PRESETS, ClassifierConfig, configure
from fader.datasets.prepared import open_dataset
from fader.interruption import Interruption
from fader.networks.classifier import make_classifier
from fader.training import processes
from fader.training.classifier import Classifier
from fader.training.loop import Trainer
from fader.training.run import create_or_continue

WARM_UP = 5  # Steps.


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--batch-size", type=int, default=PRESETS["small"].training.batch_size, help="of a process")
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure(options.dataset, options.steps, options.batch_size)
        return
    pairs = []
    for pair in range(options.pairs):
        order = (1, 2) if pair % 2 == 0 else (2, 1)
        found = {count: seconds_per_step(count) for count in order}
        pairs.append((found[1], found[2]))
        print(f"pair {pair + 1}: {1e3 * found[1]:.1f} ms a step alone, {1e3 * found[2]:.1f} ms with two", flush=True)
    alone, two = (statistics.median(times) for times in zip(*pairs, strict=True))
    efficiency = statistics.median(one / both for one, both in pairs)
    print(
        f"a thread and {options.batch_size} pictures each: {1e3 * alone:.1f} ms a step alone, {1e3 * two:.1f} with two"
    )
    print(f"efficiency {efficiency:.0%} (median of {len(pairs)} pairs)")


def seconds_per_step(count: int) -> float:
    """What `measure` prints when torchrun starts so many processes of this program."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, *sys.argv, "--measure"], env=environment, check=True, stdout=subprocess.PIPE, text=True
    )
    return float(done.stdout)


def measure(dataset: Path, steps: int, batch_size: int) -> None:
    """Print the seconds that a step takes, in process 0 of those started together."""
    data = open_dataset(dataset)
    untrained = make_classifier(ClassifierConfig(), data.size, data.channels, data.schema)
    judge = Classifier(untrained, data.schema, data.size, data.channels, ClassifierConfig())
    with tempfile.TemporaryDirectory() as folder, processes.joined("cpu") as device:
        whole_batch = batch_size * processes.count()
        config = configure("small", size=data.size, channels=data.channels, batch_size=whole_batch)
        run = processes.first(lambda: create_or_continue(Path(folder) / "run", config, data.schema, data, None))
        trainer = Trainer(run, data, judge, device, Interruption())
        for step in range(WARM_UP + steps):
            if step == WARM_UP:
                start = time.perf_counter()
            trainer.step()
            processes.largest(0)  # As the loop does to agree on when to stop.
        if processes.rank() == 0:
            print((time.perf_counter() - start) / steps)


if __name__ == "__main__":
    main()
