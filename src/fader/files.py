"""Writing so that nothing is lost or half-written: everything appears whole, under its name, or not at all."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fader.errors import UserError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name beside `path`; when the block ends well, what was written there is synced and renamed to it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        _sync(temporary)
        temporary.replace(path)
        _sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def new_folder(path: Path, overwrite: bool = False, holding: str | None = None) -> Iterator[Path]:
    """A temporary folder beside `path`; when the block ends well, it is synced and renamed to it.

    Raises UserError before anything is done where `refuse_existing` does.
    """
    refuse_existing(path, overwrite, holding)
    path = path.absolute()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.tmp")
        if temporary.exists():  # What a killed process left behind.
            shutil.rmtree(temporary)
        temporary.mkdir()
    except OSError as error:
        raise UserError(f"{path}: it cannot be written ({error.strerror}).") from None
    try:
        yield temporary
        for file in temporary.rglob("*"):
            _sync(file)
        if path.exists():
            remove(path)
        temporary.replace(path)
        _sync(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


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
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, data: Any) -> None:
    write_text(path, json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Raises UserError if the file is missing or is not JSON."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such file.") from None
    except OSError as error:
        raise UserError(f"{path}: it cannot be read as JSON ({error}).") from None
    return parse_json(data, str(path))


def parse_json(data: bytes, name: str) -> Any:
    """Raises UserError, calling it by this name, if it is not JSON in UTF-8."""
    try:
        return json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{name}: it cannot be read as JSON ({error}).") from None


def is_url(location: str | os.PathLike[str]) -> bool:
    """Whether this is an address such as s3://bucket/faces and not a path."""
    return isinstance(location, str) and "://" in location


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
