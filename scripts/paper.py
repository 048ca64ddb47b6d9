"""The figures of the paper's section 5.1 and its Table 1, as the `fader` commands that make them.

    python scripts/paper.py CELEBA OUT [--scale paper|small] [--only ITEM ...] [--list] [OPTION OF `fader train` ...]

| item | what it makes | models |
| --- | --- | --- |
| `figure1` | `figure1-Young.png`, `figure1-Male.png`: either attribute slid | one for each attribute |
| `figure3` | `figure3-Eyeglasses.png` ...: a single attribute swapped | one for each of five attributes |
| `figure4` | `figure4.png`: gender, opened eyes, glasses swapped, one by one and together | one for all three |
| `table1` | `table1/report.md`: real pictures, reconstructions, swaps, and IcGAN's | three of figure 3, an IcGAN |

Figure 5 is of flowers: scripts/flowers.py.

CELEBA is a folder as `fader prepare celeba` takes it. With `--scale paper` pictures have 256 pixels and training is as
in the paper: 1,000,000 steps a model on a GPU, six models in all. By arithmetic that is an hour a model at 20 TFLOP/s,
the assumption of docs/scale.md, so expect one to a few; the prepared pictures take 40 GB. `--scale small` has 64 pixels
and the settings of scripts/faces.py: about 80 minutes a model on one CPU core. CELEBA may then also be the faces that
scripts/faces.py takes. The time of an IcGAN comes on top.

Commands are printed before they run. What is there already is not made again, a training that was stopped goes on, and
models are shared between the items. --list only prints; further options go to every training of a Fader Network.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from faces import SETTINGS, write_table

from fader import cli

SINGLE = {
    "figure1": ("Young", "Male"),
    "figure3": ("Eyeglasses", "Mouth_Slightly_Open", "Smiling", "Male", "Young"),
    "table1": ("Mouth_Slightly_Open", "Smiling", "Eyeglasses"),
}
"""The attributes of an item, each with a model of its own."""
# Of figure 4. The paper's "opened eyes" are Narrow_Eyes reversed, and a swap goes in both directions.
TOGETHER = ("Male", "Narrow_Eyes", "Eyeglasses")
ITEMS = ("figure1", "figure3", "figure4", "table1")
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
    icgan: Sequence[str]


def _options(fields: dict[str, int | float | bool]) -> list[str]:
    """Fields of the configuration as options of `fader train`; True is a flag."""
    options = ((f"--{name.replace('_', '-')}", value) for name, value in fields.items())
    return [text for name, value in options for text in ((name,) if value is True else (name, str(value)))]


SCALES = {
    "paper": Scale(256, ("--preset", "paper"), ("--preset", "paper")),
    "small": Scale(64, ("--preset", "small", *_options(SETTINGS)), ("--preset", "small")),
}


def commands(
    source: Path, output: Path, scale: Scale, items: Sequence[str], options: Sequence[str]
) -> Iterator[Command]:
    """The commands that make these items, without the word `fader`; some may come twice."""
    data = str(output / "pictures")
    shown = ["--dataset", data, "--count", str(FACES)]

    def training(run: Path, attributes: Sequence[str]) -> Command:
        return ["train", data, "-o", str(run), "--attributes", *attributes, *scale.training, *options]

    yield _preparation(source, output, data, scale.size)
    for item in items:
        attributes = SINGLE.get(item, ())
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
            yield ["compare", *models, "--dataset", data, "-o", str(output / "table1")]


def _preparation(source: Path, output: Path, data: str, size: int, crop: Sequence[str] = ()) -> Command:
    if not _is_faces64(source):
        return ["prepare", "celeba", str(source), "-o", data, "--size", str(size), *(("--crop", *crop) if crop else ())]
    return ["prepare", "folder", str(source / "images.zip"), str(output / "faces.csv"), "-o", data, "--size", str(size)]


def _icgan(source: Path, output: Path, data: str, scale: Scale) -> Iterator[Command]:
    if not _is_faces64(source):
        data = str(output / "pictures-icgan")
        yield _preparation(source, output, data, ICGAN_SIZE, ICGAN_CROP)
    attributes = ["--attributes", *ICGAN_ATTRIBUTES]
    yield ["train", data, "--system", "icgan", "-o", str(output / "icgan"), *attributes, *scale.icgan]


def _is_faces64(source: Path) -> bool:
    return (source / "images.zip").is_file() and (source / "attributes.csv").is_file()


def main(source: Path, output: Path, scale: Scale, items: Sequence[str], options: Sequence[str], run: bool) -> int:
    """Print the commands, each once, and run those whose output is not there, up to the first that fails."""
    done: list[Command] = []
    if run and _is_faces64(source) and not (output / "faces.csv").exists():
        output.mkdir(parents=True, exist_ok=True)
        write_table(source / "attributes.csv", output / "faces.csv")
    for command in commands(source, output, scale, items, options):
        if command in done:
            continue
        done.append(command)
        print(f"fader {shlex.join(command)}", flush=True)
        there = command[0] != "train" and Path(command[command.index("-o") + 1]).exists()
        if run and not there and (code := cli.main(command)):
            return code
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("celeba", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--scale", choices=SCALES, default="paper")
    parser.add_argument("--only", nargs="+", choices=ITEMS, default=ITEMS, metavar="ITEM")
    parser.add_argument("--list", action="store_true", help="print the commands and run none")
    given, further = parser.parse_known_args()
    sys.exit(main(given.celeba, given.output, SCALES[given.scale], given.only, further, not given.list))
