"""How good a model is after how long a training: preset `small` beside a plain transcription of the authors' release.

    python benchmarks/time_to_quality.py PORTRAITS OUTPUT [--judge FOLDER] [--minutes 20] [--only ours]

Both train the networks of `small` (64 px, 5 layers from 24 wide, discriminator 256 wide) in batches of its size, on the
same prepared portraits. Each run is a process of its own. The same command started several times at once, with the
same OUTPUT, shares the runs out; started again, it goes on with those that are not complete. At its end it writes
`rows.jsonl`, `report.md` and `curves.png` of those that are.

**The release's side** is `released.ReleasedStep` with what `official-recipe.md` says of the release: a batch for each
player, drawn with replacement, one coin a batch for the flip, a constant learning rate, gradients clipped at 5, a pair
of logits an attribute, no dropout after the hidden layer. It trains for `--minutes`. The release's ramp of lambda_E
takes 500,000 of its 1,562,500 iterations, so here the first 32% of the minutes; the speed of a machine is not known
beforehand, so it follows the clock and not a number of steps. What is measured is the latest state; the release lets a
person choose among the epochs.

**Our side** is the preset as `fader train` runs it: its own length of 8,000 steps, its ramp over half and its decay of
the learning rate over the other half of them, shuffled passes, a coin for each picture, and the erasure, fitted before
each evaluation. Its schedule is made for this length; at an earlier time the state is not what a shorter run would end
with. The time to a state is that of the training up to it and of fitting one erasure.

**The grid**: learning rates 2e-4 (release) and 2e-3 (paper, `small`), lambda_E 1e-4 (release, paper) and 8e-3
(`small`). The release's side gets all four pairs, ours the three with at least one value of `small`. On each side the
run counts whose last state has the best score on validation pictures: the mean of swap accuracy, gain to absent and
explained share. What is reported is measured on test pictures.

**The clock** runs while a side trains, not while it is evaluated. Minutes are those of the processor time of the
training process, by its number of threads: what it takes on a machine that has nothing else to do. Minutes on the wall
are beside it.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import torch
from curves import Curve, plot
from measuring import machine
from released import CLIP, ReleasedStep
from torch import Tensor

from fader import markdown
from fader.config import PRESETS, Config, configure
from fader.datasets.prepared import SPLITS, PreparedDataset, open_dataset
from fader.errors import UserError
from fader.evaluation.judge import find_judge
from fader.evaluation.measure import look_at_training, measure
from fader.evaluation.report import build_report
from fader.evaluation.results import figures_of
from fader.files import read_json, replacing, write_json, write_text
from fader.images import save_picture, to_pixels
from fader.interruption import Interruption
from fader.model import Model
from fader.networks.autoencoder import AutoEncoder
from fader.progress import say
from fader.training.classifier import Classifier, load_classifier
from fader.training.loop import Trainer
from fader.training.run import create_or_continue

CPU = torch.device("cpu")
SEED = 0
RAMP_SHARE = PRESETS["released"].training.ramp_share
MEASURES = {
    "swap_accuracy": "swaps seen",
    "gain": "gain",
    "gain_to_absent": "gain to absent",
    "unexplained": "unexplained",
    "linear_probe": "linear probe",
    "network_probe": "network probe",
}
"""What is measured, the mean over the attributes, and what it is called."""
AT_LEAST = ("swap_accuracy", "gain", "gain_to_absent")
AT_MOST = ("unexplained", "linear_probe")
COLOURS = {"released": ("#c0392b", "#f0c4be"), "ours": ("#1f5fa8", "#bcd2ea")}
"""Of the run that counts, and of the others."""

Side = Literal["ours", "released"]
Row = dict[str, Any]
"""An evaluation: the setting, `split`, `step`, `cpu_seconds` and `wall_seconds` (training, and one fit of the erasure),
MEASURES, and `attributes`: the same by attribute."""


@dataclass(frozen=True)
class Setting:
    """A run of the grid."""

    side: Side
    learning_rate: float
    adversarial_weight: float

    @property
    def name(self) -> str:
        return f"{self.side}-{self.learning_rate:g}-{self.adversarial_weight:g}"


GRID = [
    Setting("released", 2e-4, 1e-4),
    Setting("released", 2e-3, 1e-4),
    Setting("released", 2e-4, 8e-3),
    Setting("released", 2e-3, 8e-3),
    Setting("ours", 2e-3, 8e-3),
    Setting("ours", 2e-3, 1e-4),
    Setting("ours", 2e-4, 8e-3),
]


class Training(Protocol):
    """A side in training. `clock` is the seconds that it has trained for."""

    @property
    def config(self) -> Config: ...

    @property
    def done(self) -> int:
        """Updates so far."""
        ...

    @property
    def network(self) -> AutoEncoder: ...

    def share(self, clock: float) -> float:
        """How much of the run is done, from 0 to 1."""
        ...

    def step(self, clock: float) -> None: ...

    def ready(self) -> AbstractContextManager[None]:
        """In the block the network is as it would be used."""
        ...


class Ours:
    """Preset `small`, by the product's own loop."""

    def __init__(self, setting: Setting, data: PreparedDataset, judge: Classifier, folder: Path, steps: int) -> None:
        self.config = configure(
            "small",
            steps=steps,
            learning_rate=setting.learning_rate,
            adversarial_weight=setting.adversarial_weight,
            seed=SEED,
        )
        run = create_or_continue(folder / "run", self.config, data.schema, data, None)
        # A classifier of the selection has no part in the step.
        self.trainer = Trainer(run, data, judge, CPU, Interruption())

    @property
    def done(self) -> int:
        return self.trainer.done

    @property
    def network(self) -> AutoEncoder:
        return self.trainer.result

    def share(self, clock: float) -> float:
        return self.done / self.config.training.steps

    def step(self, clock: float) -> None:
        self.trainer.step()

    def ready(self) -> AbstractContextManager[None]:
        return self.trainer.erasing()


class Released:
    """The release's structure and recipe, for so many seconds."""

    def __init__(self, setting: Setting, data: PreparedDataset, seconds: float) -> None:
        self.config = configure(
            "small",
            erase=False,
            discriminator_convolutions="all",
            discriminator_logits="pair",
            learning_rate=setting.learning_rate,
            adversarial_weight=setting.adversarial_weight,
            decay=0.0,
            clip=CLIP,
            seed=SEED,
        )
        self.data, self.seconds, self.done = data, seconds, 0
        self.indices = data.indices("train")
        self.random = np.random.default_rng(SEED)
        torch.manual_seed(SEED)
        self.players = ReleasedStep(self.config, data.schema)

    @property
    def network(self) -> AutoEncoder:
        return self.players.autoencoder

    def share(self, clock: float) -> float:
        return clock / self.seconds

    def step(self, clock: float) -> None:
        risen = min(1.0, self.share(clock) / RAMP_SHARE)
        self.players(self._batch(), self._batch(), risen * self.config.training.adversarial_weight)
        self.done += 1

    def ready(self) -> AbstractContextManager[None]:
        return nullcontext()

    def _batch(self) -> tuple[Tensor, Tensor]:
        chosen = self.random.choice(self.indices, self.config.training.batch_size)
        pixels = to_pixels(self.data.images[chosen], CPU)
        if self.random.random() < 0.5:
            pixels = pixels.flip(3)
        return pixels, torch.from_numpy(self.data.labels[chosen])


class Clock:
    """Processor seconds by the number of threads, and seconds on the wall, spent in its blocks."""

    def __init__(self, threads: int) -> None:
        self.threads, self.cpu, self.wall = threads, 0.0, 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        cpu, wall = time.process_time(), time.perf_counter()
        yield
        self.cpu += (time.process_time() - cpu) / self.threads
        self.wall += time.perf_counter() - wall


def train(setting: Setting, options: argparse.Namespace) -> None:
    """Train a run of the grid, unless another process does, and write its rows: of test pictures at evenly spaced
    times, and of validation pictures at the end."""
    torch.set_num_threads(options.threads)
    folder = options.output / setting.name
    with locked(folder / "lock", wait=False) as free:
        if not free or rows_of(options.output, setting).exists():
            return
        data = open_dataset(options.dataset)
        judge = load_classifier(options.judge)
        training: Training = (
            Ours(setting, data, judge, folder, options.steps)
            if setting.side == "ours"
            else Released(setting, data, 60 * options.minutes)
        )
        clock = Clock(options.threads)
        rows: list[Row] = []
        for k in range(1, options.evaluations + 1):
            while training.share(clock.cpu) < k / options.evaluations:
                with clock.running():
                    training.step(clock.cpu)
            splits = ("test", "valid") if k == options.evaluations else ("test",)
            new = evaluated(training, setting, data, judge, clock, splits, options.pictures)
            say(f"{setting.name}: {describe(new[0])}")
            rows += new
        with replacing(rows_of(options.output, setting)) as temporary:
            temporary.write_text("".join(json.dumps(row) + "\n" for row in rows))


def evaluated(
    training: Training,
    setting: Setting,
    data: PreparedDataset,
    judge: Classifier,
    clock: Clock,
    splits: Sequence[str],
    pictures: int,
) -> list[Row]:
    """A row for each split. Leaves the clock as it is."""
    fitting, rows = Clock(clock.threads), []
    with ExitStack() as stack:
        with fitting.running():
            stack.enter_context(training.ready())
        model = Model(training.network.eval(), data.schema, training.config)
        background = look_at_training(model, data, CPU)
        for split in splits:
            measurements = measure(model, judge, first(data, split, pictures), split, background, CPU, workers=1)
            about = {
                "side": setting.side,
                "learning_rate": setting.learning_rate,
                "adversarial_weight": setting.adversarial_weight,
                "split": split,
                "step": training.done,
                "cpu_seconds": round(clock.cpu + fitting.cpu, 2),
                "wall_seconds": round(clock.wall + fitting.wall, 2),
            }
            rows.append(about | measured(build_report(figures_of(measurements, background, data.schema), {})))
    return rows


def measured(report: dict[str, Any]) -> Row:
    """MEASURES and `attributes` from a report's content."""
    attributes = {
        name: {
            "swap_accuracy": swap["accuracy"],
            "gain": swap["gain"],
            "gain_to_absent": swap["gain_to_absent"],
            "linear_probe": report["latent"][name]["probe_balanced"],
            "network_probe": report["latent"][name]["network_probe_balanced"],
        }
        for name, swap in report["swap"].items()
    }
    keys = next(iter(attributes.values()))
    means = {key: float(np.mean([one[key] for one in attributes.values()])) for key in keys}
    return means | {"unexplained": report["reconstruction"]["unexplained"], "attributes": attributes}


def first(data: PreparedDataset, split: str, pictures: int) -> PreparedDataset:
    """The dataset with no more than so many pictures in a split, evenly spaced."""
    splits = data.splits.copy()
    splits[data.indices(split)] = len(SPLITS)  # None.
    splits[data.indices(split, pictures)] = SPLITS.index(split)
    return replace(data, splits=splits)


@contextmanager
def locked(path: Path, wait: bool) -> Iterator[bool]:
    """Whether this process alone holds the lock; it is given back however the process ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
        else:
            yield True


def rows_of(output: Path, setting: Setting) -> Path:
    return output / setting.name / "rows.jsonl"


def score(row: Row) -> float:
    """By which a setting is chosen: 1 is perfect."""
    return (row["swap_accuracy"] + row["gain_to_absent"] + 1 - row["unexplained"]) / 3


def as_good(row: Row, other: Row) -> bool:
    """Whether it is at least as good in everything. The network probe is left out: it is reported alone."""
    return all(row[key] >= other[key] for key in AT_LEAST) and all(row[key] <= other[key] for key in AT_MOST)


def write_report(output: Path, options: argparse.Namespace) -> str:
    """Write rows.jsonl, report.md and curves.png from the rows of the runs that are complete, of each side at least
    one. Returns the report."""
    complete = [setting for setting in GRID if rows_of(output, setting).exists()]
    missing = ", ".join(setting.name for setting in GRID if setting not in complete)
    runs = {s: [json.loads(line) for line in rows_of(output, s).read_text().splitlines()] for s in complete}
    test = {s: [row for row in rows if row["split"] == "test"] for s, rows in runs.items()}
    scores = {s: score(row) for s, rows in runs.items() for row in rows if row["split"] == "valid"}
    ours, released = (
        max((s for s in complete if s.side == side), key=lambda s: scores[s]) for side in ("ours", "released")
    )
    write_text(output / "rows.jsonl", "".join(json.dumps(row) + "\n" for rows in runs.values() for row in rows))
    save_picture(plot(panels(test, (ours, released)), "minutes"), output / "curves.png")
    columns = ["minutes", "on the wall", "step", *MEASURES.values()]
    ends = [[s.side, s.learning_rate, s.adversarial_weight, round(scores[s], 4), *cells(test[s][-1])] for s in complete]
    report = f"""# Time to quality

{machine()}; threads of a run: {options.threads}, torch {torch.__version__}

{verdict(test[ours], test[released][-1])}

![Measures over minutes of training](curves.png)

## All runs at their end

The score is of validation pictures, all else of test pictures.{f" Not complete: {missing}." if missing else ""}

{markdown.table(["side", "learning rate", "lambda", "score", *columns], ends)}
"""
    for title, setting in (("The release's structure", released), ("Preset small", ours)):
        report += f"""
## {title}: learning rate {setting.learning_rate:g}, lambda {setting.adversarial_weight:g}

{markdown.table(columns, [cells(row) for row in test[setting]])}"""
    write_text(output / "report.md", report)
    return report


def verdict(ours: Sequence[Row], target: Row) -> str:
    """When ours is first as good as the target, and the ratio of the times."""
    reached = next((row for row in ours if as_good(row, target)), None)
    wanted = ", ".join(MEASURES[key] for key in (*AT_LEAST, *AT_MOST))
    there = f"the state of the release's structure after {target['cpu_seconds'] / 60:.1f} minutes"
    if reached is None:
        short = [MEASURES[key] for key in (*AT_LEAST, *AT_MOST) if not as_good(ours[-1], ours[-1] | {key: target[key]})]
        behind = f"; at its end it is behind in {', '.join(short)}" if short else ""
        return f"At no time measured is ours at least as good in all of {wanted} as {there}{behind}."
    ratios = [reached[clock] / target[clock] for clock in ("cpu_seconds", "wall_seconds")]
    return (
        f"In all of {wanted} ours is first at least as good as {there} after {reached['cpu_seconds'] / 60:.1f} minutes"
        f" (step {reached['step']:,}): {ratios[0]:.2f} of the time, {ratios[1]:.2f} on the wall. The network probe,"
        f" which is no condition, is then at {reached['network_probe']:.1%} and there at {target['network_probe']:.1%}."
    )


def panels(test: dict[Setting, list[Row]], chosen: Sequence[Setting]) -> list[tuple[str, list[Curve]]]:
    """A panel for each measure; the runs that count are drawn last, over the others."""
    order = sorted(test, key=lambda setting: setting in chosen)
    titles = {"ours": "preset small", "released": "release's structure"}
    return [
        (
            title,
            [
                Curve(
                    titles[s.side] + ("" if s in chosen else ", other settings"),
                    COLOURS[s.side][s not in chosen],
                    [(row["cpu_seconds"] / 60, row[key]) for row in test[s]],
                    width=3 if s in chosen else 1,
                )
                for s in order
            ],
        )
        for key, title in MEASURES.items()
    ]


def cells(row: Row) -> list[float | str]:
    minutes = [round(row[clock] / 60, 2) for clock in ("cpu_seconds", "wall_seconds")]
    return [*minutes, row["step"], *(round(row[key], 3) for key in MEASURES)]


def describe(row: Row) -> str:
    """A row in a line."""
    measured = ", ".join(f"{title} {row[key]:.3f}" for key, title in MEASURES.items())
    return f"{row['cpu_seconds'] / 60:.2f} minutes, step {row['step']:,}: {measured}"


def prepare(options: argparse.Namespace) -> None:
    """Refuse what cannot be compared, and see to it that there is a judge."""
    data = open_dataset(options.dataset)
    if not data.has_counterfactuals:
        raise UserError(f"{options.dataset}: the gain is known of portraits only; name a prepared dataset of them.")
    named = options.judge is not None
    options.judge = options.judge or options.output / "judge"
    settings = {
        "dataset": data.fingerprint,
        "judge": str(options.judge),
        **{name: getattr(options, name) for name in ("minutes", "steps", "evaluations", "pictures", "threads")},
    }
    with locked(options.output / "lock", wait=True):
        path = options.output / "settings.json"
        if path.exists() and read_json(path) != settings:
            raise UserError(f"{options.output} holds runs of other settings (settings.json); name another output.")
        write_json(path, settings)
        find_judge(options.judge, named, data, data.schema, None, CPU)


def main() -> None:
    small = PRESETS["small"].training
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--judge", type=Path, help="a classifier folder; by default one is trained in OUTPUT/judge")
    parser.add_argument("--only", choices=["ours", "released"])
    parser.add_argument("--minutes", type=float, default=20.0, help="of the release's side")
    parser.add_argument("--steps", type=int, default=small.steps, help="of ours")
    parser.add_argument("--evaluations", type=int, default=10, help="of a run, evenly spaced")
    parser.add_argument("--pictures", type=int, default=500, help="of a split that are measured, at most")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    try:
        prepare(options)
    except UserError as error:
        sys.exit(str(error))
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # An exit ends the run that is under way.
    for setting in GRID:
        if options.only in (None, setting.side) and not rows_of(options.output, setting).exists():
            process = get_context("spawn").Process(target=train, args=(setting, options), daemon=True)
            process.start()
            process.join()
            if process.exitcode:
                sys.exit(f"{setting.name} failed.")
    if {setting.side for setting in GRID if rows_of(options.output, setting).exists()} == {"ours", "released"}:
        print(write_report(options.output, options))


if __name__ == "__main__":
    main()
