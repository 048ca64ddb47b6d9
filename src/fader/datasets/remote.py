"""A prepared dataset at a URL that fsspec reads, such as s3://bucket/faces: pictures by byte ranges, kept in a cache.

The batches, and going on with a run, are those of the same dataset in a folder: only where the bytes come from differs.
`FADER_CACHE` names the cache's folder, `FADER_CACHE_GB` the most that it may hold.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import os
import stat
import tempfile
import threading
from collections import OrderedDict
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np

from fader.datasets.storage import Pictures, Shape, Which, numbers
from fader.errors import UserError
from fader.progress import say

# What is fetched at a time, in whole pictures: a request costs about as much as the transfer of so many bytes.
BLOCK_BYTES = 1 << 18
CONNECTIONS = 32
# Blocks that are fetched and not asked for yet are let go beyond so many bytes; they are in the cache.
MAX_WAITING = 1 << 28
CACHE_GB = 50.0


class RemoteFolder:
    """A folder at a URL. Raises UserError if what reads such URLs is not installed."""

    def __init__(self, url: str) -> None:
        self.location = url.rstrip("/")
        self.name = self.location.rpartition("/")[2]
        if "::" in url:
            raise UserError(f"{url}: chains of URLs are not read; give the URL of the folder itself.")
        try:
            self._files, self._root = importlib.import_module("fsspec.core").url_to_fs(self.location)
        except ImportError as error:
            raise UserError(
                f"{url}: reading it needs another package ({error}); for s3:// run: pip install"
                " 'fader-networks[remote]'."
            ) from None
        except Exception as error:  # Of as many kinds as there are implementations.
            raise UserError(f"{url}: it is not a URL that can be read ({_reason(error)}).") from None

    def __str__(self) -> str:
        return self.location

    def size(self, file: str) -> int | None:
        try:
            return int(self._files.size(f"{self._root}/{file}"))
        except FileNotFoundError:
            return None
        except Exception as error:
            raise self._unreadable(file, error) from None

    def read(self, file: str, start: int, stop: int) -> bytes:
        try:
            data: bytes = self._files.cat_file(f"{self._root}/{file}", start=start, end=stop)
        except Exception as error:
            raise self._unreadable(file, error) from None
        if len(data) != stop - start:
            raise UserError(f"{self}/{file}: it was cut short; upload the dataset again.")
        return data

    def pictures(self, file: str, start: int, shape: Shape, fingerprint: str) -> Pictures:
        return RemotePictures(self, file, start, shape, BlockCache(cache_folder(), fingerprint, cache_limit()))

    def _unreadable(self, file: str, error: Exception) -> UserError:
        return UserError(f"{self}/{file}: it cannot be read ({_reason(error)}); check the URL and the access to it.")


class RemotePictures:
    """The pictures of a remote file, fetched in blocks by several threads."""

    def __init__(self, folder: RemoteFolder, file: str, start: int, shape: Shape, cache: BlockCache) -> None:
        self.shape = shape
        self._folder, self._file, self._start, self._cache = folder, file, start, cache
        self._bytes = int(np.prod(shape[1:]))
        self._of_block = max(1, BLOCK_BYTES // self._bytes)
        self._threads = ThreadPoolExecutor(CONNECTIONS, thread_name_prefix="fetch")
        self._fetched: OrderedDict[int, Future[bytes]] = OrderedDict()

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, which: Which) -> np.ndarray:
        chosen = numbers(which, len(self))
        self.read_ahead(chosen)
        pictures = np.empty((len(chosen), *self.shape[1:]), dtype=np.uint8)
        try:
            for picture, number in zip(pictures, chosen.tolist(), strict=True):
                picture[...] = np.frombuffer(self._picture(number), dtype=np.uint8).reshape(self.shape[1:])
        finally:
            for block in (chosen // self._of_block).tolist():
                self._fetched.pop(block, None)
        return pictures[0] if isinstance(which, int | np.integer) else pictures

    def read_ahead(self, which: np.ndarray) -> None:
        for block in np.unique(numbers(which, len(self)) // self._of_block).tolist():
            if block not in self._fetched and not self._cache.holds(self._range(block)):
                self._fetched[block] = self._threads.submit(self._fetch, block)
        while len(self._fetched) * self._of_block * self._bytes > MAX_WAITING:
            self._fetched.popitem(last=False)

    def _picture(self, number: int) -> bytes:
        block, place = divmod(number, self._of_block)
        start, stop = place * self._bytes, (place + 1) * self._bytes
        if block not in self._fetched:
            kept = self._cache.read(self._range(block), start, stop)
            if kept is not None:
                return kept
            self._fetched[block] = self._threads.submit(self._fetch, block)
        return self._fetched[block].result()[start:stop]

    def _fetch(self, block: int) -> bytes:
        first, last = self._range(block)
        data = self._folder.read(self._file, self._start + first * self._bytes, self._start + last * self._bytes)
        self._cache.keep((first, last), data)
        return data

    def _range(self, block: int) -> tuple[int, int]:
        """The pictures of a block: the first, and the one after the last."""
        return block * self._of_block, min((block + 1) * self._of_block, len(self))


class BlockCache:
    """Blocks of a dataset in files, shared by all processes of this machine; the oldest give way to new ones.

    It is only a help: where a block cannot be kept or was deleted, it is fetched again.
    """

    def __init__(self, root: Path, fingerprint: str, limit: int) -> None:
        """`limit` in bytes, for the blocks of all datasets. They lie in a folder of their own below `root`."""
        self._root, self._limit = root / "blocks", limit
        self._folder = self._root / fingerprint
        self._lock = threading.Lock()
        self._kept = limit  # Bytes since the last look at what all processes have kept; the first block looks.
        self._works = True

    def holds(self, block: tuple[int, int]) -> bool:
        return self._path(block).is_file()

    def read(self, block: tuple[int, int], start: int, stop: int) -> bytes | None:
        """A range of the bytes of a block, or None if it is not there, or not whole."""
        try:
            with self._path(block).open("rb") as stream:
                stream.seek(start)
                data = stream.read(stop - start)
        except OSError:
            return None
        return data if len(data) == stop - start else None

    def keep(self, block: tuple[int, int], data: bytes) -> None:
        if not self._works or len(data) > self._limit:
            return
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=self._folder, delete=False) as stream:
                try:
                    stream.write(data)
                    stream.flush()
                    os.fsync(stream.fileno())  # Or a power cut might leave zeros under the block's name.
                except OSError:
                    Path(stream.name).unlink()
                    raise
            with contextlib.suppress(FileNotFoundError):  # Another process has made room.
                Path(stream.name).replace(self._path(block))
            with self._lock:
                self._kept += len(data)
                if self._kept > self._limit // 16:
                    self._make_room()
                    self._kept = 0
        except OSError as error:
            with self._lock:
                if self._works:
                    say(f"{self._root}: pictures cannot be kept there ({error.strerror}) and are fetched each time.")
                self._works = False

    def _make_room(self) -> None:
        found = []
        for path in self._root.rglob("*"):
            with contextlib.suppress(FileNotFoundError):
                status = path.stat()
                if stat.S_ISREG(status.st_mode):
                    found.append((status.st_mtime, status.st_size, path))
        total = sum(size for _, size, _ in found)
        for _, size, path in sorted(found):
            if total <= self._limit:
                break
            path.unlink(missing_ok=True)
            total -= size

    def _path(self, block: tuple[int, int]) -> Path:
        return self._folder / f"{block[0]}-{block[1]}"


def remember(url: str) -> None:
    """Note that the user of this machine named this URL: runs that name it are then followed to it."""
    with contextlib.suppress(OSError):
        _mark(url).parent.mkdir(parents=True, exist_ok=True)
        _mark(url).touch()


def is_remembered(url: str) -> bool:
    return _mark(url).is_file()


def _mark(url: str) -> Path:
    return cache_folder() / "named" / hashlib.sha256(url.rstrip("/").encode(errors="replace")).hexdigest()


def cache_folder() -> Path:
    given = os.environ.get("FADER_CACHE")
    return Path(given) if given else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fader"


def cache_limit() -> int:
    """In bytes. Raises UserError if FADER_CACHE_GB is not a number of gigabytes."""
    given = os.environ.get("FADER_CACHE_GB", str(CACHE_GB))
    try:
        limit = float(given)
    except ValueError:
        limit = -1.0
    if not 0 <= limit < 1e9:
        raise UserError(f"FADER_CACHE_GB is {given!r}; it has to be a number of gigabytes.")
    return int(limit * 1e9)


def _reason(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
