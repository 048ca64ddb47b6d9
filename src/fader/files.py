"""Writing so that nothing is lost or half-written: everything appears whole, under its name, or not at all."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from fader.errors import UserError

try:
    import fcntl
except ImportError:  # On Windows.
    fcntl = None  # type: ignore[assignment]

# What a disk says that takes no more, or nothing at all, or not from this user or under this name.
REFUSALS = {
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO, errno.ESTALE),
    *(errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP),
    *(errno.EBUSY, errno.EXDEV, errno.ENOTEMPTY),  # Of a folder that another file system is mounted on.
}
MAX_JSON = 1 << 24
"""Bytes of a JSON file; the list of checksums of 100 million pictures takes half of it."""
REPLACED = ".old.tmp"
"""How the name of a folder ends that gives way to a new one, for the moment."""

HALVES = re.compile(r"\\u[dD][89a-fA-F]")
"""Of a pair of surrogates, in the text of JSON; whole pairs too."""


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Within the block a disk that is full, read-only or broken is a UserError that names the path."""
    try:
        yield
    except OSError as error:
        if error.errno not in REFUSALS:
            raise
        raise UserError(f"{path}: it cannot be written ({os.strerror(error.errno)}).") from None


def write_all(file: IO[bytes], data: bytes) -> None:
    """Write all of the data to an unbuffered file, which may take less at a time. Raises OSError."""
    while data:
        data = data[file.write(data) :]


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name beside `path`; when the block ends well, what was written there is synced and renamed to it.

    Raises UserError if the disk does not take it.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            yield temporary
            _sync(temporary)
            temporary.replace(path)
            _sync(path.parent)
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)


@contextmanager
def new_folder(path: Path, overwrite: bool = False, holding: str | None = None) -> Iterator[Path]:
    """A temporary folder beside `path`; when the block ends well, it is synced and renamed to it.

    At any time the old folder or the new one is there, whole: under its name, or for a moment beside it, from where the
    next call puts it back.

    Raises UserError before anything is done where `refuse_existing` does and where another process is at the same, and
    later if the disk does not take it.
    """
    with writing(path):
        refuse_existing(path, overwrite, holding)
    path = path.absolute()
    temporary = path.with_name(f".{path.name}.tmp")
    with writing(path), locked(temporary, path):
        old = path.with_name(f".{path.name}{REPLACED}")
        try:
            for left in temporary.iterdir():  # By a killed process.
                remove(left)
            _put_back(old)
            refuse_existing(path, overwrite, holding)
            yield temporary
            for file in temporary.rglob("*"):
                _sync(file)
            _sync(temporary)
            if path.exists():
                path.replace(old)
            temporary.replace(path)
            _sync(path.parent)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        finally:
            _put_back(old)


@contextmanager
def locked(folder: Path, output: Path | None = None) -> Iterator[None]:
    """Within the block no other process has the lock of a folder, which is made if need be.

    The system holds it for this process and drops it with the process, however that ends; it leaves no file. Some file
    systems (of networks) and Windows have no such locks: there nobody is kept out.

    Raises UserError, about the `output` or else the folder, if another process has the lock or if there can be no such
    folder.
    """
    output = output or folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY) if fcntl else None
    except FileExistsError:
        raise UserError(
            f"{output}: it is something else (no folder) and is not written to; name another one."
        ) from None
    except OSError as error:
        raise UserError(f"{output}: it cannot be written ({error.strerror}).") from None
    if descriptor is None:
        yield
        return
    try:
        # With the lock of a folder that was renamed or deleted meanwhile nothing is won.
        if not _try_lock(descriptor) or not _is(folder, descriptor):
            raise UserError(f"{output}: another process is writing to it; wait until it ends or name another output.")
        yield
    finally:
        os.close(descriptor)


def clear_half_written(folder: Path) -> None:
    """Delete what killed processes left half-written in a folder, which is to be locked."""
    for path in list(folder.rglob(".*.tmp")):
        with suppress(OSError):
            _put_back(path) if path.name.endswith(REPLACED) else remove(path)


def _put_back(old: Path) -> None:
    """Give ".NAME.old.tmp", if there is such, its name again, or delete it if that is taken."""
    name = old.with_name(old.name.removeprefix(".").removesuffix(REPLACED))
    if old.exists() or old.is_symlink():
        remove(old) if name.exists() else old.replace(name)


def _try_lock(descriptor: int) -> bool:
    """Whether the lock could be had, or there are no locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True


def _is(folder: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(folder.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def refuse_existing(path: Path, overwrite: bool, holding: str | None = None) -> None:
    """Raises UserError if `path` exists and may not be overwritten.

    A folder that is neither empty nor has a file called `holding` is something else than what is to be written, and is
    not overwritten in any case.
    """
    if path.exists() and not overwrite:
        raise UserError(f"{path} exists already; name another output or add --overwrite.")
    if holding and path.exists() and not ((path / holding).is_file() or (path.is_dir() and not any(path.iterdir()))):
        raise UserError(
            f"{path}: it is something else (no {holding} in it) and is not overwritten; name another output."
        )


def remove(path: Path) -> None:
    """Delete a file or a folder."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def write_text(path: Path, text: str) -> None:
    with replacing(path) as temporary:
        # Names of files that are not UTF-8 have what is not as halves of characters.
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_json(path: Path, data: Any) -> None:
    text = json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False)
    # As `write_text` writes them, they would be read back as what JSON cannot hold.
    text = re.sub("[\ud800-\udfff]", lambda half: rf"\\u{ord(half[0]):04x}", text)
    write_text(path, f"{text}\n")


def read_json(path: Path) -> Any:
    """Raises UserError if the file is missing, of over MAX_JSON bytes or not JSON as `write_json` writes it."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_JSON + 1)
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such file.") from None
    except OSError as error:
        raise UserError(f"{path}: it cannot be read as JSON ({error}).") from None
    if len(data) > MAX_JSON:
        raise UserError(f"{path}: it is over the limit of {MAX_JSON:,} bytes for JSON.")
    return parse_json(data, str(path))


def parse_json(data: bytes, name: str) -> Any:
    """Raises UserError, calling it by this name, if it is not JSON in UTF-8, or is what could not be written again:
    numbers that are not finite, halves of characters."""
    try:
        text = data.decode("utf-8")
        parsed = json.loads(text, parse_constant=_finite, parse_float=_finite)
        if HALVES.search(text):
            json.dumps(parsed, ensure_ascii=False).encode("utf-8")
        return parsed
    except (ValueError, RecursionError) as error:
        raise UserError(f"{name}: it cannot be read as JSON ({error}).") from None


def spelled_out(path: Path) -> Path:
    """The same path with a name at its end, which `.` and `..` are not."""
    return path.resolve() if path.name in ("", "..") else path


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"the number {text[:20]}")
    return number


def is_url(location: str | os.PathLike[str]) -> bool:
    """Whether this is an address such as s3://bucket/faces and not a path."""
    return isinstance(location, str) and "://" in location


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def file_digest(path: Path) -> str:
    """The SHA-256 of a file in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
