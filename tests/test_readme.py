"""Runs the README: every block of commands and Python in order, as it stands, in one folder.

Only the work is smaller: the `fader` that the blocks find adds a small budget to what takes long. A block that is not
run says why in a comment above it, <!-- not run: ... -->.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from fader.datasets.portraits import renderer
from fader.datasets.portraits.specification import SCHEMA

ROOT = Path(__file__).parents[1]
RUN = ("bash", "python")
SHOWN = ("csv", "bibtex")

SMALL_NETWORKS = "--width 4 --max-width 16 --discriminator-width 8 --discriminator-hidden 8"
BUDGETS = {
    "demo": "--count 160 --steps 12",
    "classifier": "--epochs 1 --width 4 --max-width 16",
    "train": f"--steps 8 --batch-size 4 {SMALL_NETWORKS}",
}
FADER = f"""#!{sys.executable}
import sys

from fader.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] + {BUDGETS!r}.get(sys.argv[1], "").split()))
"""


@dataclass(frozen=True)
class Block:
    language: str
    code: str
    not_run: str | None
    line: int


def blocks() -> list[Block]:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    found = re.finditer(r"^(?:<!-- not run:(.*?)-->\n)?```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [Block(one[2], one[3], one[1] and one[1].strip(), text.count("\n", 0, one.start()) + 1) for one in found]


def test_every_block_is_run_or_says_why_not() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert 2 * len(blocks()) == len(re.findall(r"^```", text, re.MULTILINE))
    assert {block.language for block in blocks()} <= {*RUN, *SHOWN}
    assert all(block.not_run is None or len(block.not_run) > 10 for block in blocks())
    assert text.count("not run:") == sum(block.not_run is not None for block in blocks())
    assert len([block for block in blocks() if block.language in RUN and block.not_run is None]) >= 8


def test_the_readme_runs(tmp_path: Path) -> None:
    prepare_folder(tmp_path)
    environment = {**os.environ, "PATH": f"{tmp_path / '.venv' / 'bin'}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
    for block in blocks():
        if block.language not in RUN or block.not_run is not None:
            continue
        command = ["bash", "-euo", "pipefail", "-c"] if block.language == "bash" else [sys.executable, "-c"]
        done = subprocess.run([*command, block.code], cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, f"README.md, line {block.line}:\n{block.code}\n{done.stdout}\n{done.stderr}"
    for name in ("edited.png", "smile-6.png", "swap.png", "slide.png", "smile.gif", "test.png", "edited/0060.png"):
        with Image.open(tmp_path / name) as picture:
            picture.load()
    for run in ("demo", "mine", "celeba", "smile", "both"):
        assert (tmp_path / "runs" / run / "model" / "model.safetensors").is_file()
    for run in ("demo", "mine"):
        assert (tmp_path / "runs" / run / "evaluation" / "report.md").is_file()


def prepare_folder(folder: Path) -> None:
    """What the README takes for granted: the command, pictures with a table, a photo, sub-folders, flowers, CelebA."""
    (folder / ".venv" / "bin").mkdir(parents=True)
    command = folder / ".venv" / "bin" / "fader"
    command.write_text(FADER)
    command.chmod(0o755)
    (folder / "docs").symlink_to(ROOT / "docs")

    table = next(block.code for block in blocks() if block.language == "csv").splitlines()
    names = SCHEMA.names
    (folder / "photos").mkdir()
    for i in range(60):
        Image.fromarray(renderer.portrait(i, 80)).save(folder / "photos" / f"{i + 1:04d}.jpg")
        values = [renderer.labels(i)[names.index(name)] for name in table[0].split(",")[1:]]
        if i + 1 >= len(table):  # The README's rows come first.
            table.append(",".join([f"{i + 1:04d}.jpg", *map(str, values)]))
    (folder / "labels.csv").write_text("\n".join(table) + "\n")
    Image.fromarray(renderer.portrait(99, 300)).save(folder / "me.jpg")

    for value in ("daisy", "rose"):
        (folder / "flowers" / value).mkdir(parents=True)
        for i in range(12):
            Image.new("RGB", (40, 50), (20 * i, 90, 200)).save(folder / "flowers" / value / f"{value}-{i}.png")

    pictures, captions = folder / "oxford-102" / "jpg", folder / "oxford-102" / "text_c10" / "class_00001"
    pictures.mkdir(parents=True)
    captions.mkdir(parents=True)
    for i in range(12):
        Image.new("RGB", (40, 50), (20 * i, 90, 200)).save(pictures / f"image_{i + 1:05}.jpg")
        (captions / f"image_{i + 1:05}.txt").write_text(10 * f"a {('white', 'pink')[i % 2]} flower\n")

    pictures = folder / "celeba" / "img_align_celeba"
    pictures.mkdir(parents=True)
    rows, partition = [], []
    for i in range(48):
        name = f"{i + 1:06d}.jpg"
        Image.fromarray(renderer.portrait(i, 218)).crop((20, 0, 198, 218)).save(pictures / name)
        rows.append(f"{name} {'1' if i % 2 else '-1'} {' 1' if i % 3 else '-1'} {' 1' if i % 5 else '-1'}")
        partition.append(f"{name} {(i % 6 == 4) + 2 * (i % 6 == 5)}")
    attributes = "\n".join(["48", "Eyeglasses Male Smiling", *rows])
    (folder / "celeba" / "list_attr_celeba.txt").write_text(attributes + "\n")
    (folder / "celeba" / "list_eval_partition.txt").write_text("\n".join(partition) + "\n")
