"""The figures of the paper's section 5.1 and its Table 1, as the `fader` commands that make them.

    python scripts/paper.py CELEBA OUT [--scale paper|small] [--only ITEM ...] [--list] [--icgan "OPTION ..."]
                            [OPTION OF `fader train` ...]

| item | what it makes in OUT | models |
| --- | --- | --- |
| `figure1` | `figure1-Young.png`, `figure1-Male.png`: either attribute slid from -1 to 2 | one for each attribute |
| `figure3` | `figure3-Eyeglasses.png` ...: a single attribute swapped | one for each of five attributes |
| `figure4` | `figure4.png`: gender, opened eyes, glasses swapped, one by one and together | one for all three |
| `table1` | `table1.md`: Table 1 by a classifier; `table1/`: all else measured | three of figure 3, an IcGAN |
| `study` | `study/`: Table 1 by people, for `fader study serve OUT/study` | those of table1 |

Figure 5 is of flowers: scripts/flowers.py.

CELEBA is a folder as `fader prepare celeba` takes it, or one with `images.zip` and `attributes.csv`, as
scripts/faces.py takes it. Each figure shows the first 8 test pictures, a row each: the picture, its reconstruction, the
edits. In figure 4 eyes are opened where Narrow_Eyes is swapped to absent. table1.md has the paper's accuracies beside.

With `--scale paper` pictures have 256 pixels and training is as in the paper: 1,000,000 steps a model on a GPU, six
models in all. By arithmetic that is an hour a model at 20 TFLOP/s, the assumption of docs/scale.md, so expect one to a
few, and less than that for the IcGAN; the prepared pictures take 40 GB. `--scale small` has 64 pixels and the settings
of scripts/faces.py: about 80 minutes a model on one CPU core, and for the half-width IcGAN of 25,000 faces about three
hours on two. The comparison adds 20 minutes or so on a CPU, figures and the study a minute each.

Commands are printed before they run. What is there already is not made again, a training that was stopped goes on, and
models are shared between the items. --list only prints. Further options go to every training of a Fader Network, what
--icgan quotes to the IcGAN's, so that this tries everything in minutes:

    python scripts/paper.py CELEBA OUT --scale small --steps 100 --width 8 --max-width 32 --icgan "--epochs 1 --width 8"
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from faces import SETTINGS, write_table

from fader import cli, markdown
from fader.datasets.prepared import SPLITS, open_dataset
from fader.errors import UserError
from fader.evaluation.tables import number
from fader.files import read_json, write_text

SINGLE = {
    "figure1": ("Young", "Male"),
    "figure3": ("Eyeglasses", "Mouth_Slightly_Open", "Smiling", "Male", "Young"),
    "table1": ("Mouth_Slightly_Open", "Smiling", "Eyeglasses"),
}
"""The attributes of an item, each with a model of its own."""
# Of figure 4. The paper's "opened eyes" are Narrow_Eyes reversed, and a swap goes in both directions.
TOGETHER = ("Male", "Narrow_Eyes", "Eyeglasses")
ITEMS = ("figure1", "figure3", "figure4", "table1", "study")
# The accuracies that Table 1 of the paper has for the attributes of `table1`, in the table's order.
PUBLISHED = {
    "Real": (89.0, 88.3, 97.6),
    "IcGAN AE": (88.1, 91.7, 86.2),
    "IcGAN Swap": (10.1, 9.9, 47.5),
    "FadNet AE": (91.8, 90.1, 94.5),
    "FadNet Swap": (66.2, 97.1, 76.6),
}
# What the authors of IcGAN trained it on, and what of a picture of 178 x 218 pixels they showed it.
ICGAN_ATTRIBUTES = (
    "Bald",
    "Bangs",
    "Black_Hair",
    "Blond_Hair",
    "Brown_Hair",
    "Bushy_Eyebrows",
    "Eyeglasses",
    "Gray_Hair",
    "Heavy_Makeup",
    "Male",
    "Mouth_Slightly_Open",
    "Mustache",
    "Pale_Skin",
    "Receding_Hairline",
    "Smiling",
    "Straight_Hair",
    "Wavy_Hair",
    "Wearing_Hat",
)
ICGAN_SIZE, ICGAN_CROP = 64, ("30", "40", "168", "178")
FACES = 8  # In a figure.

Command = list[str]


@dataclass(frozen=True)
class Scale:
    """How large the pictures are, and with what the networks are trained."""

    size: int
    training: Sequence[str]
    """Options of `fader train`."""
    icgan: Sequence[str]
    """Options of `fader train --system icgan`."""


def _options(fields: dict[str, int | float | bool]) -> list[str]:
    """Fields of the configuration as options of `fader train`; True is a flag."""
    options = ((f"--{name.replace('_', '-')}", value) for name, value in fields.items())
    return [text for name, value in options for text in ((name,) if value is True else (name, str(value)))]


SCALES = {
    "paper": Scale(256, ("--preset", "paper"), ("--preset", "paper")),
    "small": Scale(64, ("--preset", "small", *_options(SETTINGS)), ("--preset", "small")),
}


def commands(source: Path, output: Path, scale: Scale, items: Sequence[str]) -> Iterator[Command]:
    """The commands that make these items, without the word `fader`; some may come twice."""
    data = str(output / "pictures")
    shown = ["--dataset", data, "--count", str(FACES)]

    def training(run: Path, attributes: Sequence[str]) -> Command:
        return ["train", data, "-o", str(run), "--attributes", *attributes, *scale.training]

    yield _preparation(source, output, data, scale.size)
    for item in items:
        attributes = SINGLE["table1" if item == "study" else item] if item != "figure4" else ()
        runs = [output / attribute for attribute in attributes]
        yield from (training(run, [run.name]) for run in runs)
        if item == "figure1":
            for run in runs:
                figure = str(output / f"figure1-{run.name}.png")
                yield ["slide", str(run), *shown, "--attribute", run.name, "-o", figure]
        elif item == "figure3":
            for run in runs:
                yield ["swap", str(run), *shown, "-o", str(output / f"figure3-{run.name}.png")]
        elif item == "figure4":
            yield training(output / "together", TOGETHER)
            figure = str(output / "figure4.png")
            yield ["swap", str(output / "together"), *shown, "--together", "-o", figure]
        else:
            yield from _icgan(source, output, data, scale)
            models = [*map(str, runs), str(output / "icgan")]
            if item == "table1":
                yield ["compare", *models, "--dataset", data, "-o", str(output / "table1")]
            else:
                names = ["--names", *("FadNet" for _ in runs), "IcGAN", "--attributes", *attributes]
                yield ["study", "create", *models, *names, "--dataset", data, "-o", str(output / "study")]


def _preparation(source: Path, output: Path, data: str, size: int, crop: Sequence[str] = ()) -> Command:
    if not _is_faces64(source):
        return ["prepare", "celeba", str(source), "-o", data, "--size", str(size), *(("--crop", *crop) if crop else ())]
    return ["prepare", "folder", str(source / "images.zip"), str(output / "faces.csv"), "-o", data, "--size", str(size)]


def _icgan(source: Path, output: Path, data: str, scale: Scale) -> Iterator[Command]:
    if not _is_faces64(source) or scale.size != ICGAN_SIZE:
        data = str(output / "pictures-icgan")
        yield _preparation(source, output, data, ICGAN_SIZE, ICGAN_CROP)
    attributes = ["--attributes", *ICGAN_ATTRIBUTES]
    yield ["train", data, "--system", "icgan", "-o", str(output / "icgan"), *attributes, *scale.icgan]


def _is_faces64(source: Path) -> bool:
    return (source / "images.zip").is_file() and (source / "attributes.csv").is_file()


def main(source: Path, output: Path, scale: Scale, items: Sequence[str], run: bool) -> int:
    """Print the commands, each once, and run those whose output is not there, up to the first that fails.

    Returns its exit code, or 0. Raises UserError.
    """
    if run and _is_faces64(source) and not (output / "faces.csv").exists():
        output.mkdir(parents=True, exist_ok=True)
        write_table(source / "attributes.csv", output / "faces.csv")
    done: list[Command] = []
    for command in commands(source, output, scale, items):
        if command in done:
            continue
        print(f"fader {shlex.join(command)}", flush=True)
        there = command[0] != "train" and Path(command[command.index("-o") + 1]).exists()
        if run and not there and (code := cli.main(command)):
            return code
        if run and not done:
            _check(output / "pictures", scale)
        done.append(command)
    if run and "table1" in items:
        table = table1(read_json(output / "table1" / "report.json"))
        if not (output / "table1.md").exists():
            write_text(output / "table1.md", table)
        print(f"\n{table}", end="", flush=True)
    return 0


def _check(pictures: Path, scale: Scale) -> None:
    """Raises UserError if the pictures, which may have been there, are of another size or lack a split."""
    data = open_dataset(pictures)
    if data.size != scale.size:
        raise UserError(
            f"{pictures}: its pictures have {data.size} pixels, not {scale.size}; give each scale an output of its own."
        )
    for split in SPLITS:
        data.indices(split)


def table1(report: dict[str, Any]) -> str:
    """Table 1 in the paper's layout from a comparison's report.json, the paper's accuracies beside ours."""
    systems, columns = report["systems"], SINGLE["table1"]
    keys = {"Real": "real", "AE": "reconstruction", "Swap": "swap"}
    rows: list[list[str]] = []
    naturalness: list[list[str]] = []
    for title, published in PUBLISHED.items():
        system, _, kind = title.rpartition(" ")
        row, natural = [title], [title]
        for attribute, percent in zip(columns, published, strict=True):
            of = systems["icgan" if system == "IcGAN" else attribute]
            found, intervals = (one["table1"][attribute][keys[kind]]["first"] for one in (of, of["intervals"]))
            row += [number(found, ".1%", intervals), f"{percent}%"]
            if system:
                parts = [one["naturalness"][keys[kind]] for one in (of, of["intervals"])]
                auc, interval = (part["auc"] if kind == "AE" else part[attribute]["auc"] for part in parts)
                natural.append(number(auc, ".3f", interval))
        rows.append(row)
        if system:
            naturalness.append(natural)
    header = ["accuracy", *(cell for name in columns for cell in (f"{name}, by the judge", "the paper, by people"))]
    return (
        f"# Table 1\n\n{markdown.table(header, rows)}\n"
        "In brackets are 95% confidence intervals. Naturalness by machine: AUC of a classifier that tells pictures from"
        " real ones, 0.5 where it cannot. What people say is for OUT/study.\n\n"
        f"{markdown.table(['AUC against real', *columns], naturalness)}"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("celeba", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--scale", choices=SCALES, default="paper")
    parser.add_argument("--only", nargs="+", choices=ITEMS, default=ITEMS, metavar="ITEM")
    parser.add_argument("--list", action="store_true", help="print the commands and run none")
    parser.add_argument("--icgan", default="", metavar='"OPTION ..."', help="options for the training of the IcGAN")
    given, further = parser.parse_known_args()
    chosen = SCALES[given.scale]
    chosen = replace(chosen, training=[*chosen.training, *further], icgan=[*chosen.icgan, *shlex.split(given.icgan)])
    codes: list[int] = []
    failed = cli.exit_code(lambda: codes.append(main(given.celeba, given.output, chosen, given.only, not given.list)))
    sys.exit(failed or codes[0])
