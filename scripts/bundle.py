"""Put the model of a run on drawn portraits into the package, as `fader.load("portraits")`.

    python scripts/bundle.py RUN TRAINED_ON

TRAINED_ON says on what it was trained, e.g. "two cores of a laptop", for the model card. The weights are written in
half precision first, and everything that the card and the configuration say of the model is measured from that file:
errors on the validation split, figures and the faders' ends on the test split, by the run's judge (trained now if there
is none). All of it is kept in RUN/bundle. A few minutes on two CPU cores.
"""

from __future__ import annotations

import argparse
import shlex
import shutil
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from fader import cli, familiarity, markdown
from fader.config import ClassifierConfig, Config, configure
from fader.datasets.portraits.source import FRAMING
from fader.datasets.portraits.specification import NAME
from fader.datasets.prepared import PreparedDataset
from fader.errors import UserError
from fader.evaluation.evaluate import ends_of, evaluate
from fader.evaluation.report import summary
from fader.files import new_folder, write_text
from fader.locations import BUNDLES
from fader.model import FILES, WEIGHTS, Faces, Model, load, save_model
from fader.training.choice import open_run_dataset
from fader.training.run import AnyRun, open_run

LARGEST = 12_000_000  # Bytes of the bundle.
LEAST_MEAN_ACCURACY, LEAST = 0.97, {"accuracy": 0.94, "gain_to_absent": 0.8}
MOST_UNEXPLAINED = 0.04


def main(folder: Path, trained_on: str, target: Path = BUNDLES / "portraits") -> None:
    run = open_run(folder)
    data = open_run_dataset(run)
    if data.info["source"].get("specification") != NAME:
        raise UserError(f"{data.path}: these are no portraits of the specification {NAME}.")
    if run.init is not None:
        raise UserError(f"{folder}: it started from {run.init}, and the card says nothing of how that was made.")
    shipped, judge, measured = folder / "bundle" / "model", folder / "judge", folder / "bundle" / "evaluation"
    save_model(load(folder, "cpu"), shipped, half=True, overwrite=True)
    report = evaluate(shipped, data.path, judge=judge, output=measured, device="cpu", overwrite=True)
    model = load(shipped, "cpu")
    model.ends = ends_of(report)
    model.framing = FRAMING  # Datasets of older versions do not say where faces are.
    model.errors = familiarity.summary(encoded(model, data, "valid").errors)
    familiar = float(np.mean(encoded(model, data, "test").familiar))
    save_model(model, shipped, half=True, overwrite=True)
    write_text(shipped / "README.md", card(model, run, data, report, familiar, trained_on))
    size = sum((shipped / name).stat().st_size for name in FILES)
    if size > LARGEST:
        raise UserError(f"{shipped}: it takes {size:,} bytes, and a bundle may take {LARGEST:,}.")
    with new_folder(target, overwrite=True, holding=WEIGHTS) as temporary:
        for name in FILES:
            shutil.copy(shipped / name, temporary)
    print(summary(report))
    print(f"\n{target}: {size:,} bytes; {familiar:.1%} of the test portraits are familiar to it.")
    for miss in misses(report):
        print(f"Missed: {miss}.")


def encoded(model: Model, data: PreparedDataset, split: str) -> Faces:
    """All pictures of a split, with the values that the model's own classifier sees, as anyone's picture would be."""
    return model.encode_framed(data.images[data.indices(split)])


def misses(report: dict[str, Any]) -> list[str]:
    """What of the targets the figures miss."""
    found = [("mean swap accuracy", report["mean_swap_accuracy"], LEAST_MEAN_ACCURACY)]
    found += [(f"{name} {key}", swap[key], LEAST[key]) for name, swap in report["swap"].items() for key in LEAST]
    missed = [f"{what} is {value:.3f}, to be {least} at least" for what, value, least in found if value < least]
    unexplained = report["reconstruction"]["unexplained"]
    if unexplained > MOST_UNEXPLAINED:
        missed.append(f"unexplained is {unexplained:.3f}, to be {MOST_UNEXPLAINED} at most")
    return missed


def card(
    model: Model, run: AnyRun, data: PreparedDataset, report: dict[str, Any], familiar: float, trained_on: str
) -> str:
    """The bundle's README.md."""
    assert isinstance(run.config, Config)
    training, selection = run.config.training, model.selection
    splits = {split: len(data.indices(split)) for split in ("train", "valid", "test")}
    return f"""# Portraits

A Fader Network (Lample et al., 2017) for drawn portraits of {model.size} x {model.size} pixels, with the faders
{markdown.escape(", ".join(model.schema.names))}. It comes with `fader` (`pip install fader-networks`):

```python
import fader
from fader.datasets.portraits.renderer import newcomer

model = fader.load("portraits")
face = model.encode(newcomer(7))  # a portrait that it has not seen
face.edit(Smiling=1)
```

A fader at 0 is absent, at 1 present; values beyond exaggerate.

## What it is for

To see and try what a Fader Network does, with nothing to download and nothing to train. It edits portraits drawn as
those that it learnt from, and nothing else. Of a photograph it makes mush, and says so: `face.familiar` is then False.
For other pictures train a model on your own, or import one.

## Data

{splits["train"]:,} portraits for training, {splits["valid"]:,} for validation and {splits["test"]:,} for testing, drawn
by `fader prepare portraits` (specification {NAME}): avatars of the style Avataaars by Pablo Stanley, which is free for
personal and commercial use. The attributes are drawn independently of one another and of all else. There are six
colours of skin, but no age, no gender and no real person in it.

## Budget

{selection["step"]:,} steps of {training.batch_size} pictures, of a schedule of {training.steps:,}, in
{selection["seconds"] / 60:.0f} minutes on {trained_on}. Chosen by: {markdown.escape(str(selection["chosen by"]))}.
PatchGAN's loss {_weight(training.patchgan_weight)}, the classifier's loss {_weight(training.classifier_weight)}.

## Figures

Measured from these files, which are in half precision (and computed with in single), on the {splits["test"]:,}
portraits of the test split. What the figures mean is in docs/evaluation.md of fader. The judge is a classifier of
another architecture, which neither training nor selection looked at; the gain needs no judge, as the true answer to
every swap can be drawn.

{figures(report, familiar)}
## How it was made

```bash
{commands(run, data, model.classifier_config)}
python scripts/bundle.py runs/{shlex.quote(run.folder.name)} {shlex.quote(trained_on)}
```

## Settings

{markdown.fields(model.config.to_json())}"""


def figures(report: dict[str, Any], familiar: float) -> str:
    """Tables of the figures of each attribute, and of all."""
    columns = {
        "accuracy": ".1%",
        "to_present": ".1%",
        "to_absent": ".1%",
        "gain": ".3f",
        "gain_to_absent": ".3f",
        "collateral": ".5f",
    }
    rows = [
        [name, *(format(swap[key], form) for key, form in columns.items())] for name, swap in report["swap"].items()
    ]
    formats = {"unexplained": ".2%", "mse": ".5f", "psnr": ".2f", "ssim": ".4f"}
    of_all = {
        "mean_swap_accuracy": f"{report['mean_swap_accuracy']:.1%}",
        **{key: format(report["reconstruction"][key], form) for key, form in formats.items()},
        "familiar": f"{familiar:.1%}",
    }
    return f"{markdown.table(['attribute', *columns], rows)}\n{markdown.table(['of all', 'value'], of_all.items())}"


def commands(run: AnyRun, data: PreparedDataset, classifier: ClassifierConfig | None) -> str:
    """The commands that draw these portraits, train such a classifier, if it is not the usual one, and such a run."""
    dataset, folder = f"runs/{shlex.quote(data.store.name)}", shlex.quote(f"runs/{run.folder.name}-classifier")
    first = f" --first {data.names[0]}" if data.names[0] != "0" else ""
    lines = [f"fader prepare portraits --count {len(data.names)}{first} -o {dataset}"]
    train = [
        "fader train",
        dataset,
        f"-o runs/{shlex.quote(run.folder.name)}",
        *_options(_settings(run.config), _settings(configure("small"))),
    ]
    if classifier is not None and classifier != ClassifierConfig():
        options = _options(asdict(classifier), asdict(ClassifierConfig()))
        lines.append(" ".join(["fader classifier", dataset, f"-o {folder}", *options]))
        train.append(f"--classifier {folder}")
    return "\n".join([*lines, " ".join(train)])


def _options(settings: dict[str, Any], usual: dict[str, Any]) -> list[str]:
    """Of the command line, for what is not as usual."""
    return [_option(name, value) for name, value in settings.items() if value != usual[name]]


def _settings(config: Any) -> dict[str, Any]:
    return {name: value for part in config.to_json().values() for name, value in part.items()}


def _option(name: str, value: Any) -> str:
    flag = name.replace("_", "-")
    if isinstance(value, bool):
        return f"--{flag}" if value else f"--no-{flag}"
    return f"--{flag} {value}"


def _weight(weight: float) -> str:
    return f"has the weight {weight:g}" if weight else "is off"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("trained_on")
    given = parser.parse_args()
    sys.exit(cli.exit_code(lambda: main(given.run, given.trained_on)))
