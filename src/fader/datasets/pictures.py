"""Where pictures come from, the files of a directory or a zip archive, and how each is cut and scaled.

An archive is read in place; nothing of it is ever extracted to disk.
"""

from __future__ import annotations

import io
import os
import stat
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, BinaryIO

import numpy as np
from PIL import Image

from fader import alignment
from fader.errors import UserError
from fader.images import FORMATS, Framing, open_picture, to_array

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

# A larger file in an archive is refused before it is read: a few bytes can claim terabytes.
MAX_ENTRY_BYTES = 1 << 28
# What reading a damaged entry of an archive raises, or a file on a damaged disk.
READ_ERRORS = (zipfile.BadZipFile, OSError, EOFError, ValueError, NotImplementedError, zlib.error)
# What operating systems leave behind in folders and archives; hidden files are passed over as well.
JUNK = {"__MACOSX", "Thumbs.db", "desktop.ini"}


class PictureFiles:
    """The files of a directory or a zip archive by their path inside it, with "/" between folders.

    Raises UserError if the path is neither, and for an archive that is damaged, encrypted or built to do harm: paths
    that lead outside, links, two entries of one name, absurd sizes.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._archive: zipfile.ZipFile | None = None
        self._entries: dict[str, zipfile.ZipInfo] = {}
        if path.is_dir():
            self.names = sorted(_walk(path))
        elif path.is_file():
            try:
                self._archive = zipfile.ZipFile(path)
            except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
                raise UserError(f"{path}: it is neither a directory nor a sound zip archive ({error}).") from None
            try:
                self._entries = _checked_entries(path, self._archive)
            except UserError:
                self._archive.close()
                raise
            self.names = sorted(self._entries)
        else:
            raise UserError(f"{path}: there is no such directory or zip archive.")

    def __enter__(self) -> PictureFiles:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._archive:
            self._archive.close()

    def hand_over(self, name: str) -> tuple[str, Path | Packed]:
        """What `PictureReader` needs to make the picture of this file, in any process; small. Raises UserError."""
        if self._archive is None:
            path = self._regular(name)
            _read_ahead(path)
            return name, path
        return name, Packed(self.path, name, self)

    def fetch(self, name: str) -> tuple[str, Path | bytes]:
        """The name, and the path of the file or, in an archive, what it holds. Raises UserError."""
        if self._archive is None:
            return name, self._regular(name)
        if name not in self._entries:  # A worker opens the archive again, which may be another by then.
            raise UserError(f"{name}: it is not in {self.path} any more.")
        try:
            return name, self._archive.read(self._entries[name])
        except READ_ERRORS as error:
            raise UserError(f"{name}: it is damaged in the archive ({error}).") from None

    def read(self, name: str, most: int) -> bytes:
        """What a small file holds, which is refused if it is over `most` bytes. Raises UserError."""
        if self._archive is None:
            self._regular(name)
        with self.open(name) as stream:
            content = stream.read(most + 1)
        if len(content) > most:
            raise UserError(f"{name}: it is over the limit of {most:,} bytes.")
        return content

    def open(self, name: str) -> IO[bytes]:
        """Open a file to read it as a stream. Raises UserError, and so does the stream where the file is damaged."""
        with _reading(self.path / name):
            stream = self._archive.open(self._entries[name]) if self._archive else (self.path / name).open("rb")
        return io.BufferedReader(_Checked(stream, self.path / name))

    def _regular(self, name: str) -> Path:
        """The path of a file in the directory. Opening a pipe or a device could wait for ever."""
        path = self.path / name
        if not path.is_file():
            raise UserError(f"{name}: it is not a regular file.")
        return path


@dataclass(frozen=True)
class Packed:
    """A file in an archive. Pickled it is its name alone: a worker opens the archive, once, and reads it there."""

    archive: Path
    name: str
    files: PictureFiles | None = None
    """The archive, where it is open."""

    def __reduce__(self) -> tuple[type[Packed], tuple[Path, str]]:
        return Packed, (self.archive, self.name)

    def open(self) -> BinaryIO:
        """Raises UserError if it is damaged."""
        content = (self.files or _opened(self.archive)).fetch(self.name)[1]
        assert isinstance(content, bytes)
        return io.BytesIO(content)


@cache
def _opened(archive: Path) -> PictureFiles:
    """In a worker, which ends with what it works on."""
    return PictureFiles(archive)


class _Checked(io.RawIOBase):
    """A stream whose errors are of the user's file."""

    def __init__(self, stream: IO[bytes], path: Path) -> None:
        self._stream = stream
        self._path = path

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        with _reading(self._path), memoryview(buffer) as view:
            content = self._stream.read(len(view))
            view[: len(content)] = content
            return len(content)

    def close(self) -> None:
        self._stream.close()
        super().close()


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except READ_ERRORS as error:
        raise UserError(f"{path}: it cannot be read ({error}).") from None


def _read_ahead(path: Path) -> None:
    """Have the system read a file while others are worked on: with the disk busy writing, each read is a wait."""
    if hasattr(os, "posix_fadvise"):
        with suppress(OSError), path.open("rb", buffering=0) as stream:
            os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_WILLNEED)


def is_picture(name: str) -> bool:
    """Whether a file's name ends as those of the picture formats that are read do."""
    stem, dot, ending = name.rpartition("/")[2].rpartition(".")
    return bool(stem) and f"{dot}{ending}".lower() in _picture_endings()


@cache
def _picture_endings() -> set[str]:
    return {ending for ending, kind in Image.registered_extensions().items() if kind in FORMATS}


@dataclass(frozen=True)
class PictureReader:
    """Makes an array of a picture file, in a worker."""

    framing: Framing
    """What to cut out. Pictures must be of its `picture_size`, if it has one."""
    size: int
    """Side of the result in pixels."""
    channels: int = 3
    """3 for colour, 1 for grey."""
    align: bool = False
    """Whether to place the largest face of each picture as `framing.points` say, instead of cutting the framing's box.
    A picture without a face cannot be used."""

    def __post_init__(self) -> None:
        if self.framing.crop is not None:
            left, top, right, bottom = self.framing.crop
            if not (0 <= left < right and 0 <= top < bottom):
                raise UserError(f"crop is {self._crop}; it has to be left, top, right and bottom, in pixels from 0.")

    def __call__(self, item: tuple[str, Path | Packed]) -> np.ndarray:
        """The picture of what `PictureFiles.hand_over` gave: uint8, size x size x channels. Raises UserError."""
        name, file = item
        image = open_picture(file.open() if isinstance(file, Packed) else file, name)
        if self.align:
            assert self.framing.points is not None
            face = alignment.find_face(image, name)
            return alignment.cut(image, alignment.place(face.points, self.framing.points), self.size, self.channels)
        crop, expected = self.framing.crop, self.framing.picture_size
        if expected and image.size != expected:
            raise UserError(f"{name}: it is {image.width} x {image.height} pixels, not {expected[0]} x {expected[1]}.")
        if crop and (crop[2] > image.width or crop[3] > image.height):
            raise UserError(f"{name}: the crop {self._crop} reaches outside its {image.width} x {image.height} pixels.")
        return to_array(image, self.size, self.channels, crop)

    @property
    def _crop(self) -> str:
        return " ".join(f"{edge:g}" for edge in self.framing.crop or ())


def _junk(name: str) -> bool:
    return any(part in JUNK or part.startswith(".") for part in name.split("/"))


def _walk(root: Path) -> Iterator[str]:
    visited = set()
    for folder, folders, names in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in visited:  # A link to a folder that holds it would never end.
            folders.clear()
            continue
        visited.add(real)
        prefix = Path(folder).relative_to(root).as_posix()
        for name in names:
            name = name if prefix == "." else f"{prefix}/{name}"
            if not _junk(name):
                yield name


def _checked_entries(path: Path, archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    entries: dict[str, zipfile.ZipInfo] = {}
    packed = 0
    for entry in archive.infolist():
        name = entry.filename.replace("\\", "/")
        if name.startswith("/") or name[1:2] == ":" or ".." in name.split("/"):
            raise UserError(f"{path}: its entry {name!r} leads outside the archive; such an archive is not read.")
        if stat.S_ISLNK(entry.external_attr >> 16):
            raise UserError(f"{path}: its entry {name!r} is a link; pack the files themselves.")
        if entry.flag_bits & 1:
            raise UserError(f"{path}: its entry {name!r} is encrypted; pack the files without a password.")
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise UserError(f"{path}: its entry {name!r} is packed by an unusual method; use a plain zip.")
        if entry.file_size > MAX_ENTRY_BYTES:
            raise UserError(
                f"{path}: its entry {name!r} claims {entry.file_size:,} bytes, over the limit of {MAX_ENTRY_BYTES:,}."
            )
        # As the system takes it: two names of one path are two entries of one name.
        name = "/".join(part for part in name.split("/") if part not in ("", "."))
        packed += entry.compress_size
        if not name or entry.is_dir() or _junk(name):
            continue
        if name in entries:
            raise UserError(f"{path}: two of its entries are named {name!r}; pack it again.")
        entries[name] = entry
    if packed > path.stat().st_size:
        raise UserError(f"{path}: its entries claim more bytes than the archive has; such an archive is not read.")
    return entries
