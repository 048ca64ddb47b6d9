"""What an output folder of edited pictures says of itself: edits.json, and manifest-K.jsonl of each process K.

edits.json says which model did what, and is there before anything else. A manifest has a JSON object a line for each
picture, which is appended when its outputs are whole on the disk; it decides what a restart need not do again.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from fader import files
from fader.errors import UserError

FORMAT, VERSION = "fader-edits", 1
HEADER = "edits.json"

Record = dict[str, Any]
"""What is said of a picture: "picture", "sha256", "labels", "outputs"; or "picture" and "error" if it was left out."""


def open_output(output: Path, model: str, edit: dict[str, Any], overwrite: bool) -> None:
    """Make a folder ready to be written to: a new one, or the one there if the same model did the same edit.

    `model` is the model's fingerprint; `edit` says what is done to each picture, as JSON. With `overwrite` what is
    there is deleted, if it is a folder of edits. Several processes may do this at once, without `overwrite`.

    Raises UserError if the folder holds other edits or something else, or cannot be written.
    """
    # Looked at in this order, because another process may be at the same; hidden files are those being written.
    used = output.exists() and not (output.is_dir() and all(path.name.startswith(".") for path in output.iterdir()))
    header = {"format": FORMAT, "version": VERSION, "model": model, "edit": edit}
    if used and not (output / HEADER).is_file():
        raise UserError(f"{output}: it is something else (no {HEADER} in it) and is not written to; name another one.")
    if used:
        there = _read_header(output)
        if not overwrite:
            _compare(output, there, header)
            return
    try:
        if used:
            for path in output.iterdir():  # And not the folder, which is locked.
                files.remove(path)
        files.write_json(output / HEADER, header)
    except OSError as error:
        raise UserError(f"{output}: it cannot be written ({error.strerror}).") from None


def read_done(output: Path) -> dict[str, str]:
    """The pictures that the manifests of all processes call done, with the SHA-256 of each.

    Lines that are cut short, as a killed process leaves them, count for nothing.
    """
    done = {}
    for path in sorted(output.glob("manifest-*.jsonl")):
        with path.open("rb") as lines:
            for line in lines:
                try:
                    record = json.loads(line)
                    if "error" not in record:
                        done[record["picture"]] = record["sha256"]
                except (ValueError, TypeError, KeyError, RecursionError):
                    continue
    return done


class Manifest:
    """Appends records to the manifest of process `number`."""

    def __init__(self, output: Path, number: int) -> None:
        self._path = output / f"manifest-{number}.jsonl"
        try:
            self._file = self._path.open("ab+", buffering=0)
            if self._file.tell():
                self._file.seek(-1, os.SEEK_END)
                if self._file.read() != b"\n":  # What a killed process wrote last must not spoil what comes next.
                    self._file.write(b"\n")
        except OSError as error:
            raise UserError(f"{self._path}: it cannot be written ({error.strerror}).") from None

    def append(self, record: Record) -> None:
        """Raises UserError if it cannot be written."""
        try:
            files.write_all(self._file, json.dumps(record).encode() + b"\n")
        except OSError as error:
            raise UserError(f"{self._path}: it cannot be written ({error.strerror}).") from None

    def __enter__(self) -> Manifest:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()


def _read_header(output: Path) -> dict[str, Any]:
    """Raises UserError if it is none of a folder of edits."""
    header = files.read_json(output / HEADER)
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise UserError(f"{output / HEADER}: this does not describe a folder of edits; name another output.")
    return header


def _compare(output: Path, there: dict[str, Any], header: dict[str, Any]) -> None:
    """Raises UserError, naming the differences, if what was done there is not what the header says."""
    if there.get("version") != VERSION:
        raise UserError(
            f"{output / HEADER}: version {there.get('version')!r} is not the one that this fader reads ({VERSION});"
            " name another output."
        )
    differences = [
        f"{part} is {json.dumps(there.get(part))} there, {json.dumps(header[part])} here"
        for part in ("model", "edit")
        if there.get(part) != header[part]
    ]
    if differences:
        raise UserError(
            f"{output} holds other edits ({'; '.join(differences)}); name another output, repeat those settings to go"
            " on with it, or add --overwrite."
        )
