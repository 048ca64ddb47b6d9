"""How fast training's random batches are read: from memory, from the file, warm and cold, and by a DataLoader of JPEGs.

    python benchmarks/reading.py [--count 20000] [--batches 100] [--pairs 7] [--size 256] [--batch-size 32] [--folder .]

Pictures are generated and prepared as in benchmarks/prepare.py. The same batches are then read

1. from the prepared file, all of it in the page cache, as training does it, and from an array in memory;
2. from the file with nothing of it in the page cache, as training does it after its checksums were compared, and from a
   plain memory map: as where the file is larger than memory, no picture is there already, as long as the batches are a
   small part of it;
3. from the file in the page cache, and by a torch DataLoader that decodes the JPEGs in one worker a core.

What comparing the checksums takes, which each process does once, as a block is first read, is said too. The disk's free
space is checked first, and everything is deleted after. Part 2 needs posix_fadvise (Linux).
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from measuring import check_free, in_turn, machine, seconds
from PIL import Image
from prepare import JPEG_BYTES, generate
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from fader.datasets.celeba import CROP, prepare_celeba
from fader.datasets.prepared import open_dataset
from fader.datasets.storage import Pictures
from fader.parallel import processors
from fader.training.sampling import READ_AHEAD, Sampler

Batches = Sequence[np.ndarray]


def main(count: int, batches: int, pairs: int, size: int, batch_size: int, folder: Path) -> None:
    print(machine())
    check_free(folder, count * (JPEG_BYTES + 3 * size**2))
    with tempfile.TemporaryDirectory(prefix="reading-", dir=folder) as temporary:
        paths = generate(Path(temporary, "celeba"), count)
        prepare_celeba(Path(temporary, "celeba"), Path(temporary, "prepared"), size=size)
        file = Path(temporary, "prepared", "images.npy")
        sampler = Sampler(np.arange(count), batch_size, seed=0)
        chosen = [sampler.batch(step)[0] for step in range(min(batches, count // batch_size))]
        gigabytes = file.stat().st_size / 1e9
        print(f"{len(chosen)} batches of {batch_size} of {count:,} pictures at {size} px, {gigabytes:.2f} GB")
        warm = Warm(file, chosen)
        array = np.load(file)

        def report(first: str, second: str, result: tuple[float, float, float], remark: str = "") -> None:
            rates = [len(chosen) * batch_size / time for time in result[:2]]
            print(
                f"{second} {rates[1]:,.0f} images/s, {first} {rates[0]:,.0f}: {1 / result[2]:.2f} times as fast"
                f" (median of {pairs} pairs){remark}"
            )

        result = in_turn(pairs, lambda: seconds(lambda: gather(array, chosen)), warm.seconds)
        report("an array in memory", "the file in the page cache", result)
        loader = Loader(paths, size, chosen)
        report("a DataLoader of JPEGs", "the file in the page cache", in_turn(pairs, loader.seconds, warm.seconds))
        del warm  # What is mapped stays in the page cache.
        if hasattr(os, "posix_fadvise"):
            plain, ahead = Cold(file, chosen, plainly), Cold(file, chosen, as_in_training)
            result = in_turn(pairs, plain.seconds, ahead.seconds)
            remark = f"; the plain map reads {plain.read / ahead.read:.1f} times as much from the disk"
            report("a plain memory map", "a cold file with read-ahead", result, remark)
            verified = Cold(file, chosen, verify).seconds()
            print(f"comparing all blocks with their checksums, from the disk: {verified:.1f} s")
            whole = Cold(file, chosen, sequentially)
            result = in_turn(pairs, whole.seconds, ahead.seconds)
            rates = [side.read / side.times / time / 1e6 for side, time in zip((whole, ahead), result[:2], strict=True)]
            print(f"the disk: {rates[1]:,.0f} MB/s by these batches, {rates[0]:,.0f} MB/s from end to end")


def read(pictures: Pictures, chosen: Batches) -> None:
    """Read batches as training does, asking for those to come."""
    for step, batch in enumerate(chosen):
        if step + READ_AHEAD < len(chosen):
            pictures.read_ahead(chosen[step + READ_AHEAD])
        pictures[batch]


def gather(array: np.ndarray, chosen: Batches) -> None:
    for batch in chosen:
        array[batch]


class Warm:
    """A dataset that is in the page cache and mapped, so that reading knows that it need not read ahead."""

    def __init__(self, file: Path, chosen: Batches) -> None:
        self._pictures, self._chosen = open_dataset(file.parent).images, chosen
        for _ in range(2):
            self.seconds()

    def seconds(self) -> float:
        return seconds(lambda: read(self._pictures, self._chosen))


def as_in_training(file: Path, chosen: Batches) -> None:
    images = open_dataset(file.parent).images
    read(getattr(images, "pictures", images), chosen)  # Without the comparison at the first reading.


def verify(file: Path, chosen: Batches) -> None:
    open_dataset(file.parent).verify()


def plainly(file: Path, chosen: Batches) -> None:
    gather(np.load(file, mmap_mode="r"), chosen)


def sequentially(file: Path, chosen: Batches) -> None:
    with file.open("rb", buffering=0) as stream:
        while stream.read(1 << 23):
            pass


class Cold:
    """A way of reading, timed with nothing of the file in the page cache; and what it reads from the disk."""

    def __init__(self, file: Path, chosen: Batches, reading: Callable[[Path, Batches], None]) -> None:
        self._file, self._chosen, self._reading = file, chosen, reading
        self.read = self.times = 0

    def seconds(self) -> float:
        with self._file.open("rb") as stream:
            os.fsync(stream.fileno())
            os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        before = bytes_read()
        elapsed = seconds(lambda: self._reading(self._file, self._chosen))
        self.read, self.times = self.read + bytes_read() - before, self.times + 1
        return elapsed


def bytes_read() -> int:
    """What this process has had read from disks."""
    fields = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(fields["read_bytes"])


class Pictures178(Dataset[Tensor]):
    """JPEGs, cropped and scaled as they are read: uint8 [size, size, 3]."""

    def __init__(self, paths: list[Path], size: int) -> None:
        self.paths, self.size = paths, size

    def __getitem__(self, index: int) -> Tensor:
        with Image.open(self.paths[index]) as image:
            scaled = image.crop(CROP).resize((self.size, self.size), Image.Resampling.LANCZOS)
        return torch.from_numpy(np.array(scaled))


class Loader:
    def __init__(self, paths: list[Path], size: int, chosen: Batches) -> None:
        self._chosen = chosen
        # The first batch waits for the workers to start; it is not timed.
        batches = [chosen[0].tolist(), *(batch.tolist() for batch in chosen)]
        self._loader = DataLoader(Pictures178(paths, size), batch_sampler=batches, num_workers=processors())

    def seconds(self) -> float:
        iterator = iter(self._loader)
        next(iterator)
        return seconds(lambda: list(map(len, iterator)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--batches", type=int, default=100)
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--folder", type=Path, default=Path(), help="where to write, on the disk to measure")
    main(**vars(parser.parse_args()))
