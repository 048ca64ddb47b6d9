"""How fast pictures are prepared beside a bare Pillow loop, and in how much memory.

    python benchmarks/prepare.py [--counts 5000 50000] [--pairs 7] [--size 256] [--folder .]

For each count, so many JPEGs of 178 x 218 pixels are generated in CelebA's layout. The whole of `fader prepare celeba`
and a bare loop, which opens, crops and resizes the same files and keeps nothing, run in turn, both in one process a
core. Memory is what no file backs (RssAnon), summed over all processes ten times a second while preparing (Linux). The
disk's free space is checked first, and everything is deleted after.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from measuring import check_free, in_turn, machine, seconds
from PIL import Image

from fader.datasets.celeba import CROP, PICTURE_SIZE, PICTURES, prepare_celeba
from fader.parallel import processors

ATTRIBUTES = 40
JPEG_BYTES = 12_000  # More than any generated picture takes.


def main(counts: list[int], pairs: int, size: int, folder: Path) -> None:
    print(machine())
    check_free(folder, max(counts) * (JPEG_BYTES + 3 * size**2))
    for count in counts:
        with tempfile.TemporaryDirectory(prefix="prepare-", dir=folder) as temporary:
            compare(count, pairs, size, Path(temporary))


def compare(count: int, pairs: int, size: int, folder: Path) -> None:
    celeba, output = folder / "celeba", folder / "prepared"
    paths = generate(celeba, count)
    memory = Memory()

    def prepare() -> float:
        shutil.rmtree(output, ignore_errors=True)
        os.sync()  # What deleting takes is not of the preparing.
        with memory.sampled():
            return seconds(lambda: prepare_celeba(celeba, output, size=size))

    bare, whole, ratio = in_turn(pairs, lambda: seconds(lambda: bare_loop(paths, size)), prepare)
    cores = processors()
    print(
        f"{count:,} pictures at {size} px, {cores} cores: preparing {count / whole / cores:.0f} a second and core, the"
        f" bare loop {count / bare / cores:.0f}: {1 / ratio:.2f} of it (median of {pairs} pairs);"
        f" at most {memory.most / 1e6:.0f} MB of anonymous memory in all processes"
    )


def generate(folder: Path, count: int) -> list[Path]:
    """CelebA's layout with random pictures, smooth with some noise, which compress as photographs do."""
    width, height = PICTURE_SIZE
    pictures = folder / PICTURES
    pictures.mkdir(parents=True)
    random = np.random.default_rng(0)
    paths = [pictures / f"{i + 1:06}.jpg" for i in range(count)]
    noise = random.normal(0, 4, (2 * height, 2 * width, 3)).astype(np.float32)
    for path in paths:
        coarse = Image.fromarray(random.integers(0, 256, (9, 7, 3), dtype=np.uint8))
        smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), dtype=np.float32)
        top, left = random.integers(0, (height, width))
        array = np.clip(smooth + noise[top : top + height, left : left + width], 0, 255).astype(np.uint8)
        Image.fromarray(array).save(path, quality=85)
    labels = random.choice([-1, 1], (count, ATTRIBUTES))
    rows = [f"{path.name} {' '.join(map(str, row))}" for path, row in zip(paths, labels.tolist(), strict=True)]
    header = " ".join(f"Attribute_{k}" for k in range(ATTRIBUTES))
    (folder / "list_attr_celeba.txt").write_text("\n".join([str(count), header, *rows]) + "\n")
    parts = [f"{path.name} {(i % 10 == 8) + 2 * (i % 10 == 9)}" for i, path in enumerate(paths)]
    (folder / "list_eval_partition.txt").write_text("\n".join(parts) + "\n")
    return paths


def bare_loop(paths: list[Path], size: int) -> None:
    """A share of the pictures in each of as many processes as there are cores, which start like those of `prepare`."""
    workers = processors()
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        list(pool.map(decode, [(paths[k::workers], size) for k in range(workers)]))


def decode(share: tuple[list[Path], int]) -> None:
    paths, size = share
    for path in paths:
        with Image.open(path) as image:
            image.crop(CROP).resize((size, size), Image.Resampling.LANCZOS)


class Memory:
    """The most bytes of anonymous memory that this process and its descendants had together."""

    def __init__(self) -> None:
        self.most = 0

    @contextmanager
    def sampled(self) -> Iterator[None]:
        stop = threading.Event()

        def sample() -> None:
            while not stop.wait(0.1):
                self.most = max(self.most, anonymous(Path("/proc/self")))

        thread = threading.Thread(target=sample)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()


def anonymous(process: Path) -> int:
    """RssAnon of a process and its descendants in bytes; 0 of one that has just ended."""
    try:
        lines = (process / "status").read_text().splitlines()
        children = [pid for task in (process / "task").iterdir() for pid in (task / "children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return 0
    own = sum(1024 * int(line.split()[1]) for line in lines if line.startswith("RssAnon"))
    return own + sum(anonymous(Path("/proc") / pid) for pid in children)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", type=int, nargs="+", default=[5_000, 50_000])
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--folder", type=Path, default=Path(), help="where to write, on the disk to measure")
    main(**vars(parser.parse_args()))
