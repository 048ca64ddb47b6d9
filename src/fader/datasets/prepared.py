"""The prepared dataset: a folder or URL that is read in place, by any number of processes, without loading it.

- `images.npy`: uint8, N x H x W x C, memory-mapped, or fetched in blocks
- `labels.npz`: `labels` uint8 [N, n], `splits` uint8 [N], `names` text [N]; no pickles
- `dataset.json`: format and version, attributes, sizes, framing, splits, source, and checksums: SHA-256 of every
  `BLOCK` pictures' bytes and of `labels.npz`

Importing this module does not import torch.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import sys
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from fader import files
from fader.attributes import Schema
from fader.datasets.remote import RemoteFolder, remember
from fader.datasets.storage import Folder, Pictures, Shape, Store, Which, numbers
from fader.errors import UserError
from fader.files import MAX_JSON, is_url, parse_json
from fader.images import Framing

FORMAT = "fader-dataset"
VERSION = 1
SPLITS = ("train", "valid", "test")
# Pictures under one checksum.
BLOCK = 1024
MAX_SIZE = 4096
SEALING_THREADS = 4
READ_BYTES = 1 << 18
# The longest header that `images.npy` may have, and the most bytes of `labels.npz`, which is read whole.
HEADER_BYTES = 1 << 12
MAX_LABELS = 1 << 30

Location = str | PathLike[str]
"""Where a dataset is: a folder, or a URL that fsspec reads, such as s3://bucket/faces."""


@dataclass(frozen=True, eq=False)
class PreparedDataset:
    """A prepared dataset, opened for reading by `open_dataset`."""

    store: Store
    """Where it is; in a message, what it is called."""
    schema: Schema
    size: int
    """Side of the pictures in pixels."""
    channels: int
    """1 (grey) or 3 (RGB)."""
    images: Pictures
    """uint8 [N, size, size, channels], to be indexed with numbers, ranges and int64 [B]; read as they are asked for."""
    labels: np.ndarray
    """int64 [N, n], in the order of the schema."""
    names: np.ndarray
    """Text [N]: what the source calls each picture: a file name, or the number of a portrait."""
    splits: np.ndarray
    """uint8 [N]: positions in SPLITS."""
    info: dict[str, Any]
    """The content of `dataset.json`."""

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def path(self) -> str:
        """Its folder or URL, as error messages call it."""
        return str(self.store)

    def __reduce__(self) -> tuple[Any, ...]:
        # To another process travels where it is, not the pictures.
        return open_dataset, (self.store.location,)

    def indices(self, split: str, most: int | None = None) -> np.ndarray:
        """Which pictures belong to a split, int64; of more than `most`, so many, evenly spaced.

        Raises UserError if there is no such split or it is empty.
        """
        if split not in SPLITS:
            raise UserError(f"There is no split {split!r}; there are {', '.join(SPLITS)}.")
        found = np.flatnonzero(self.splits == SPLITS.index(split))
        if not len(found):
            filled = [name for k, name in enumerate(SPLITS) if (self.splits == k).any()]
            raise UserError(
                f"{self.path}: no picture is in split {split!r}; there are pictures in {', '.join(filled)}; prepare it"
                " again with more pictures or other splits."
            )
        if most is not None and len(found) > most:
            found = found[np.linspace(0, len(found) - 1, most).round().astype(np.int64)]
        return found

    def columns(self, schema: Schema) -> list[int]:
        """The columns of `labels` that hold these attributes.

        Raises UserError if the dataset lacks one of them or gives it other values.
        """
        for attribute in schema:
            if attribute.name not in self.schema.names:
                raise UserError(
                    f"{self.path}: there is no attribute {attribute.name!r}; there are {', '.join(self.schema.names)}."
                )
            own = self.schema.attributes[self.schema.index(attribute.name)]
            if own.values != attribute.values:
                raise UserError(
                    f"{self.path}: attribute {attribute.name!r} has the values {', '.join(own.values)},"
                    f" not {', '.join(attribute.values)}."
                )
        return [self.schema.index(name) for name in schema.names]

    @cached_property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that identify the content: pictures, labels, names, splits and attributes."""
        return _fingerprint(self.info)

    def verify(self) -> None:
        """Read all pictures and compare them with the checksums. Raises UserError naming the first that are wrong."""
        checksums = self.info["checksums"]["images.npy"]
        pictures = self.images.pictures if isinstance(self.images, _VerifiedPictures) else self.images
        for block, checksum in enumerate(checksums):
            _verify_block(pictures, block, checksum, f"{self.path}/images.npy")

    @cached_property
    def has_counterfactuals(self) -> bool:
        """Whether `counterfactual` can draw this dataset's pictures: it says so, and is as portraits are."""
        from fader.datasets.portraits.specification import FIRST_NEWCOMER, NAME, SCHEMA

        return (
            self.info["source"].get("specification") == NAME
            and self.channels == 3
            and self.schema == SCHEMA
            and all(name.isdecimal() and len(name) <= len(str(FIRST_NEWCOMER)) for name in self.names.tolist())
        )

    def counterfactual(self, index: int, changes: Mapping[str, int]) -> np.ndarray:
        """Picture `index` with attributes changed and everything else identical: uint8 [size, size, channels].

        Raises UserError if the dataset is not one of rendered portraits or has no such attribute.
        """
        if not self.has_counterfactuals:
            raise UserError(f"{self.path}: counterfactuals can be drawn of rendered portraits only.")
        from fader.datasets.portraits import renderer

        return renderer.counterfactual(int(self.names[index]), changes, self.size)


def open_dataset(location: Location) -> PreparedDataset:
    """Open a prepared dataset. What it costs does not grow with the pixels.

    Those are compared with their checksums, block by block, when the first picture of a block is read: that raises
    UserError, naming the block. Of a dataset at a URL only `verify` does so, because it takes the whole block.

    Raises UserError if it is missing, of a newer version, or does not hold what `dataset.json` says.
    """
    store = RemoteFolder(str(location)) if is_url(location) else Folder(Path(location))
    if store.size("dataset.json") is None:
        raise UserError(f"{store}: there is no prepared dataset here; make one with 'fader prepare'.")
    info = parse_json(_read(store, "dataset.json", MAX_JSON), f"{store}/dataset.json")
    schema, size, channels, count = _manifest(f"{store}/dataset.json", info)
    images = _open_images(store, (count, size, size, channels), _fingerprint(info))
    if isinstance(store, Folder):
        images = _VerifiedPictures(images, info["checksums"]["images.npy"], f"{store}/images.npy")
    data = _read(store, "labels.npz", MAX_LABELS)
    labels, splits, names = _parse_labels(store, data, count, len(schema))
    most = [len(attribute.values) for attribute in schema]
    if (labels >= most).any() or (splits >= len(SPLITS)).any():
        raise UserError(f"{store}/labels.npz: it holds labels or splits that there are not; prepare it again.")
    if _split_counts(splits) != info["splits"]:
        raise UserError(f"{store}/labels.npz: its splits are not those of dataset.json; prepare it again.")
    if _sha256(data) != info["checksums"]["labels.npz"]:
        raise UserError(f"{store}/labels.npz: it was changed since it was written; prepare it again.")
    if is_url(location):
        remember(store.location)
    return PreparedDataset(store, schema, size, channels, images, labels.astype(np.int64), names, splits, info)


class _VerifiedPictures:
    """Pictures whose block is compared with its checksum before the first of it is given away."""

    def __init__(self, pictures: Pictures, checksums: Sequence[str], name: str) -> None:
        """`name`: of the file, for messages."""
        self.shape = pictures.shape
        self.pictures, self._checksums, self._name = pictures, checksums, name
        self._verified, self._all_verified = np.zeros(len(checksums), dtype=bool), False

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, which: Which) -> np.ndarray:
        if not self._all_verified:
            blocks = numbers(which, len(self)) // BLOCK
            for block in np.unique(blocks[~self._verified[blocks]]).tolist():
                _verify_block(self.pictures, block, self._checksums[block], self._name)
                self._verified[block] = True
            self._all_verified = bool(self._verified.all())
        return self.pictures[which]

    def read_ahead(self, which: np.ndarray) -> None:
        self.pictures.read_ahead(which)


def _verify_block(pictures: Pictures, block: int, checksum: str, name: str) -> None:
    first, last = block * BLOCK, min((block + 1) * BLOCK, len(pictures))
    pictures.read_ahead(np.arange(first, last))
    if _sha256(pictures[first:last].data) != checksum:
        raise UserError(
            f"{name}: pictures {first} to {last - 1} were changed since they were written; prepare it again."
        )


@dataclass(frozen=True)
class PicturesFile:
    """`images.npy` of a dataset that is being written, to which any number of processes write pictures at a time."""

    path: Path
    shape: tuple[int, int, int]
    """Of a picture: size, size, channels."""

    def create(self) -> None:
        with _writing(self.path.parent), self.path.open("wb") as stream:
            stream.write(self._header(0))

    def write(self, place: int, pictures: Iterable[np.ndarray]) -> None:
        """Write pictures (uint8, size x size x channels) one after the other from a place on, each as it comes.

        Raises UserError if the disk does not take them.
        """
        with _writing(self.path.parent), self._open_at(place) as stream:
            for picture in pictures:
                if picture.shape != self.shape or picture.dtype != np.uint8:
                    raise ValueError(f"{picture.dtype} {picture.shape} is not uint8 {self.shape}")
                stream.write(np.ascontiguousarray(picture).data)

    def read(self, place: int) -> np.ndarray:
        """The picture at a place."""
        with self._open_at(place) as stream:
            return np.frombuffer(stream.read(math.prod(self.shape)), dtype=np.uint8).reshape(self.shape)

    def move(self, place: int, to: int) -> None:
        """Copy the picture at a place to an earlier one."""
        with _writing(self.path.parent), self._open_at(place) as stream:
            data = stream.read(math.prod(self.shape))
            stream.seek(self._offset(to))
            stream.write(data)

    def sealed(self, first: int, last: int) -> str:
        """The SHA-256 of pictures `first` to `last` - 1, once they are on the disk.

        They leave the page cache: its pages are used again for the next pictures, which is faster than to fill ever
        new ones, and what other programs read stays in it.
        """
        with self._open_at(first) as stream:
            os.fsync(stream.fileno())
            checksum, left = hashlib.sha256(), self._offset(last) - self._offset(first)
            part = memoryview(bytearray(READ_BYTES))
            while read := stream.readinto(part[:left]):
                checksum.update(part[:read])
                left -= read
            if hasattr(os, "posix_fadvise"):
                start = self._offset(first)
                os.posix_fadvise(stream.fileno(), start, self._offset(last) - start, os.POSIX_FADV_DONTNEED)
            return checksum.hexdigest()

    def finish(self, count: int) -> None:
        """Make it an array of the first `count` pictures."""
        with _writing(self.path.parent), self._open_at(0) as stream:
            stream.truncate(self._offset(count))
            stream.seek(0)
            stream.write(self._header(count))

    def _open_at(self, place: int) -> io.BufferedRandom:
        stream = self.path.open("r+b")
        stream.seek(self._offset(place))
        return stream

    def _offset(self, place: int) -> int:
        return len(self._header(0)) + place * math.prod(self.shape)

    def _header(self, count: int) -> bytes:
        # NumPy leaves room in the header for the first axis to grow, so that it can be rewritten in place.
        stream = io.BytesIO()
        shape = (count, *self.shape)
        np.lib.format.write_array_header_1_0(stream, {"descr": "|u1", "fortran_order": False, "shape": shape})
        return stream.getvalue()


def refuse_long_names(names: Sequence[str], attributes: int) -> None:
    """Raise UserError if the labels of so many pictures with such names would be over what is read back."""
    longest = max(names, key=len, default="")
    # An array of text has room for the longest in every row, 4 bytes a character; then the labels and the split.
    if len(names) * (4 * len(longest) + attributes + 1) > MAX_LABELS - HEADER_BYTES:
        raise UserError(
            f"{longest}: names of up to {len(longest):,} characters are too long for {len(names):,} pictures; name the"
            " folder in which the pictures lie, or give them shorter names."
        )


class DatasetWriter:
    """Writes a prepared dataset into an existing empty folder, a picture at a time, holding no pictures in memory.

    Raises UserError if the disk does not take it.
    """

    def __init__(self, folder: Path, schema: Schema, size: int, channels: int) -> None:
        self.pictures = PicturesFile(folder / "images.npy", (size, size, channels))
        self._folder = folder
        self._schema = schema
        self._labels = bytearray()
        self._splits = bytearray()
        self._names: list[str] = []
        # A block is synced and hashed beside the writing of those that follow it.
        self._sealing = ThreadPoolExecutor(SEALING_THREADS)
        self._checksums: list[Future[str]] = []
        self.pictures.create()

    def __enter__(self) -> DatasetWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._sealing.shutdown(cancel_futures=True)

    def __len__(self) -> int:
        return len(self._names)

    def add(self, image: np.ndarray, labels: np.ndarray, split: int, name: str) -> None:
        """Append a picture (uint8, size x size x channels), its labels [n], its position in SPLITS and its name."""
        self.pictures.write(len(self), [image])
        self.take(len(self), labels, split, name)

    def take(self, place: int, labels: np.ndarray, split: int, name: str) -> None:
        """Append a picture that was written to `pictures` already, at the place that is next or at a later one."""
        if place != len(self):
            self.pictures.move(place, len(self))
        self._labels += np.asarray(labels, dtype=np.uint8).tobytes()
        self._splits.append(split)
        self._names.append(name)
        if len(self) % BLOCK == 0:
            self._seal(len(self) - BLOCK)

    def of_split(self, split: str) -> np.ndarray:
        """The places of the pictures of a split so far, int64."""
        return np.flatnonzero(np.frombuffer(self._splits, dtype=np.uint8) == SPLITS.index(split))

    def finish(self, framing: Mapping[str, Any], source: Mapping[str, Any]) -> None:
        """Write what is known only now: the number of pictures, the labels and `dataset.json`."""
        self.pictures.finish(len(self))
        if len(self) % BLOCK:
            self._seal(len(self) // BLOCK * BLOCK)
        splits = np.frombuffer(self._splits, dtype=np.uint8)
        labels = np.frombuffer(self._labels, dtype=np.uint8).reshape(len(self), len(self._schema))
        names = np.array(self._names, dtype=np.str_)
        with _writing(self._folder):
            # Not compressed, so that the same content is the same bytes whatever the compression library.
            np.savez(self._folder / "labels.npz", labels=labels, splits=splits, names=names)
            info = {
                "format": FORMAT,
                "version": VERSION,
                "attributes": self._schema.to_json(),
                "size": self.pictures.shape[0],
                "channels": self.pictures.shape[2],
                "count": len(self),
                "splits": _split_counts(splits),
                "framing": dict(framing),
                "source": dict(source),
                "checksums": {
                    "images.npy": [checksum.result() for checksum in self._checksums],
                    "labels.npz": _sha256((self._folder / "labels.npz").read_bytes()),
                },
            }
            files.write_json(self._folder / "dataset.json", info)

    def _seal(self, first: int) -> None:
        self._checksums.append(self._sealing.submit(self.pictures.sealed, first, len(self)))


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(f"{folder.parent}: it cannot be written to ({error.strerror or error}).") from None


def _manifest(path: str, info: Any) -> tuple[Schema, int, int, int]:
    if not isinstance(info, dict) or info.get("format") != FORMAT:
        raise UserError(f"{path}: it does not describe a prepared dataset; make one with 'fader prepare'.")
    version = info.get("version")
    if isinstance(version, int) and version > VERSION:
        raise UserError(
            f"{path}: its format is version {version}, and this fader reads version {VERSION}; update fader."
        )
    try:
        schema = Schema.from_json(info.get("attributes"))
        Framing.from_json(info.get("framing"))
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    size, channels, count, checksums = (info.get(key) for key in ("size", "channels", "count", "checksums"))
    if not (
        version == VERSION
        and isinstance(size, int)
        and 1 <= size <= MAX_SIZE
        and channels in (1, 3)
        and isinstance(count, int)
        and count >= 1
        and all(isinstance(info.get(key), dict) for key in ("splits", "source"))
        and isinstance(checksums, dict)
        and isinstance(checksums.get("labels.npz"), str)
        and isinstance(checksums.get("images.npy"), list)
        and len(checksums["images.npy"]) == -(-count // BLOCK)
    ):
        raise UserError(f"{path}: it is damaged; prepare the dataset again.")
    return schema, size, channels, count


def _read(store: Store, file: str, limit: int) -> bytes:
    """All of a file that has at most `limit` bytes. Raises UserError."""
    length = store.size(file)
    if length is None:
        raise UserError(f"{store}/{file}: there is no such file; prepare the dataset again.")
    if length > limit:
        raise UserError(f"{store}/{file}: its {length:,} bytes are over the limit of {limit:,}.")
    try:
        return store.read(file, 0, length)
    except OSError as error:
        raise UserError(f"{store}/{file}: it cannot be read ({error.strerror or error}).") from None


def _open_images(store: Store, shape: Shape, fingerprint: str) -> Pictures:
    file = "images.npy"
    length = store.size(file)
    if length is None:
        raise UserError(f"{store}/{file}: there is no such file; prepare the dataset again.")
    try:
        stream = io.BytesIO(store.read(file, 0, min(length, HEADER_BYTES)))
        whole = _header(stream) == (shape, np.dtype(np.uint8)) and length == stream.tell() + math.prod(shape)
        if whole:
            return store.pictures(file, stream.tell(), shape, fingerprint)
    except (OSError, ValueError) as error:
        raise UserError(f"{store}/{file}: it cannot be read ({error}); prepare the dataset again.") from None
    raise UserError(f"{store}/{file}: it does not hold the pictures that dataset.json says; prepare the dataset again.")


def _parse_labels(store: Store, data: bytes, count: int, attributes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    byte = np.dtype(np.uint8)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            # An array's claims are compared with the file's true size before memory is taken for it.
            headers = {}
            for entry in archive.infolist():
                if entry.compress_type != zipfile.ZIP_STORED or entry.file_size > len(data):
                    raise ValueError("compressed")
                with archive.open(entry) as stream:
                    shape, dtype = headers[entry.filename] = _header(stream)
                    if stream.tell() + math.prod(shape) * dtype.itemsize != entry.file_size:
                        raise ValueError("truncated")
        names = headers.get("names.npy", ((), byte))
        if (
            headers.get("labels.npy") != ((count, attributes), byte)
            or headers.get("splits.npy") != ((count,), byte)
            or (names[0], names[1].kind) != ((count,), "U")
        ):
            raise ValueError("other arrays than expected")
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            if (arrays["names"].view(np.uint32) > sys.maxunicode).any():
                raise ValueError("names that are not text")
            return arrays["labels"], arrays["splits"], arrays["names"]
    except (OSError, ValueError, KeyError, zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise UserError(
            f"{store}/labels.npz: it does not hold the labels that dataset.json says ({error}); prepare the dataset"
            " again."
        ) from None


def _header(stream: Any) -> tuple[tuple[int, ...], np.dtype[Any]]:
    if np.lib.format.read_magic(stream) != (1, 0):
        raise ValueError("an array of another version than 1.0")
    try:
        shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(stream)
    except Exception as error:  # Of a damaged one NumPy's parser raises many kinds, such as tokenize.TokenError.
        raise ValueError(f"a damaged header: {error}") from None
    if fortran_order or dtype.hasobject or any(length < 0 for length in shape):
        raise ValueError("an array of another kind than expected")
    return shape, dtype


def _split_counts(splits: np.ndarray) -> dict[str, int]:
    return {name: int((splits == k).sum()) for k, name in enumerate(SPLITS)}


def _fingerprint(info: Mapping[str, Any]) -> str:
    content = [info[key] for key in ("attributes", "size", "channels", "count", "checksums")]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def _sha256(data: bytes | memoryview) -> str:
    return hashlib.sha256(data).hexdigest()
