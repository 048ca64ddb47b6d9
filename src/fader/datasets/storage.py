"""Where a prepared dataset lies, a folder or a URL, and its pictures, of which no more is read than is asked for."""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import Protocol

import numpy as np

try:
    import resource
except ImportError:  # On Windows.
    resource = None  # type: ignore[assignment]

Which = int | slice | np.ndarray
"""Pictures by number: one, a range, or int64 [B]."""
Shape = tuple[int, int, int, int]
"""N, size, size, channels."""


class Pictures(Protocol):
    """The pictures of a dataset, in place."""

    shape: Shape

    def __len__(self) -> int: ...

    def __getitem__(self, which: Which) -> np.ndarray:
        """These pictures, uint8 [B, size, size, channels], or the one of a number, without the first axis."""

    def read_ahead(self, which: np.ndarray) -> None:
        """Start to fetch pictures, int64 [B], that will be asked for soon, without waiting for them."""


class Store(Protocol):
    """A place that holds files by name. As a text it is what error messages call it."""

    location: str
    """What finds it again from anywhere: an absolute path or a URL."""
    name: str
    """The last part of that."""

    def size(self, file: str) -> int | None:
        """The length of a file in bytes; None if there is no such file. Raises UserError."""

    def read(self, file: str, start: int, stop: int) -> bytes:
        """A range of a file's bytes. Raises UserError, and OSError."""

    def pictures(self, file: str, start: int, shape: Shape, fingerprint: str) -> Pictures:
        """The pictures that lie one after the other in a file from a byte on, of a dataset with this fingerprint."""


class Folder:
    """A folder on this machine."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.location = str(path.absolute())
        self.name = path.absolute().name

    def __str__(self) -> str:
        return str(self.path)

    def size(self, file: str) -> int | None:
        path = self.path / file
        return path.stat().st_size if path.is_file() else None

    def read(self, file: str, start: int, stop: int) -> bytes:
        with (self.path / file).open("rb") as stream:
            stream.seek(start)
            return stream.read(stop - start)

    def pictures(self, file: str, start: int, shape: Shape, fingerprint: str) -> Pictures:
        return MappedPictures(self.path / file, start, shape)


class MappedPictures:
    """The pictures of a file, memory-mapped.

    Where they have to come from the disk, the system is told of all pictures of a batch before the first is touched,
    so that it reads them at once and nothing around them. Where the last batch was in memory already, that is not
    worth its time.
    """

    def __init__(self, path: Path, start: int, shape: Shape) -> None:
        self.shape = shape
        with path.open("rb") as stream:
            self._map = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        self._start = start
        self._array = np.frombuffer(self._map, dtype=np.uint8, offset=start).reshape(shape)
        self._bytes = self._array[0].nbytes
        self._read, self._cold = 0, hasattr(mmap, "MADV_RANDOM")
        if self._cold:
            self._map.madvise(mmap.MADV_RANDOM)

    def __len__(self) -> int:
        return len(self._array)

    def __getitem__(self, which: Which) -> np.ndarray:
        if not isinstance(which, np.ndarray):
            return self._array[which]
        self.read_ahead(which)
        pictures = self._array[which]
        read = _blocks_read()
        self._read, self._cold = read, read > self._read
        return pictures

    def read_ahead(self, which: np.ndarray) -> None:
        if not self._cold:
            return
        for number in numbers(which, len(self)).tolist():
            first = self._start + number * self._bytes
            page = first - first % mmap.PAGESIZE
            self._map.madvise(mmap.MADV_WILLNEED, page, first + self._bytes - page)


def numbers(which: Which, count: int) -> np.ndarray:
    """The numbers of these of `count` pictures, from 0, int64 [B]. Raises IndexError."""
    if isinstance(which, slice):
        return np.arange(count)[which]
    found = np.atleast_1d(np.asarray(which))
    if (found < -count).any() or (found >= count).any():
        raise IndexError(f"There is no picture {found.max()}; there are {count}.")
    return np.where(found < 0, found + count, found)


def _blocks_read() -> int:
    """How many blocks this process has had read from disks; 0 where that is not known."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_inblock if resource else 0
