"""A source: pictures in a directory or a zip archive with a table of labels, or in one sub-folder a class."""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from fader import alignment
from fader.attributes import Attribute, Schema
from fader.datasets.pictures import PictureFiles, PictureReader, is_picture
from fader.datasets.preparation import Source, check_output, prepare
from fader.datasets.prepared import SPLITS
from fader.datasets.tables import MISSING, SPLIT_WORDS, Table, read_table
from fader.errors import UserError, printable
from fader.images import Box, Framing

# Folders named 0, 1 and 2 are more likely classes.
_SPLIT_FOLDERS = {word for word in SPLIT_WORDS if word.isalpha()}
# Shares of the pictures for validation and testing where nothing else is said.
RANDOM_SPLIT = (0.1, 0.1)


def prepare_folder(
    pictures: Path,
    table: Path | None,
    output: Path,
    *,
    attributes: Sequence[str] | None = None,
    file_column: str | None = None,
    size: int = 64,
    channels: int = 3,
    crop: Box | None = None,
    align: bool = False,
    random_split: tuple[float, float] | None = None,
    seed: int = 0,
    workers: int | None = None,
    strict: bool = False,
    overwrite: bool = False,
) -> str:
    """Make a dataset of pictures and a table of labels, or of pictures in one sub-folder a class.

    Args:
        pictures: A directory or a zip archive of pictures in any format, size and mode.
        table: CSV, TSV or Parquet: a row a picture, a column an attribute. Columns of 0/1, -1/1, true/false, yes/no or
            of category names can be attributes; a column named "split" says train, valid or test. Without a table,
            the sub-folders of `pictures` are the values of a single attribute.
        output: The dataset's folder.
        attributes: The columns to take; by default all that can be attributes. Without a table: the name of the one
            attribute, by default "class".
        file_column: The column that names the files, with or without their folder and ending; by default the first.
        size: Side of the prepared pictures in pixels. By default 64, which a network can be trained on without a GPU;
            the paper's networks take 256.
        channels: 3 for colour, 1 for grey.
        crop: What to cut out of each picture, in pixels: left, top, right, bottom. By default the largest centred
            square.
        align: Place the largest face of every picture alike, where `alignment.STANDARD` says, by moving, scaling and
            turning the picture; pictures without a face are left out. Takes the extra [align].
        random_split: The shares of the pictures that are drawn for validation and for testing. By default 0.1 and 0.1
            where there is no "split" column; if given, such a column is set aside.
        seed: Another seed draws another split.
        workers: Processes that read pictures; by default one a processor.
        strict: Stop at the first picture that cannot be read, or has no file or label, instead of leaving it out.
        overwrite: Replace the output if it exists.

    Returns the closing report. Raises UserError.
    """
    check_output(output, overwrite, [pictures] if table is None else [pictures, table])
    if align and crop:
        raise UserError("Pictures are either aligned by their faces or cropped; leave out the one or the other.")
    if align:
        alignment.require_detector()
    reader = PictureReader(Framing(crop, points=alignment.STANDARD if align else None), size, channels, align)
    with PictureFiles(pictures) as files:
        if table is None:
            source = _class_folders(files, reader, attributes, random_split, seed)
        else:
            source = _labelled(files, reader, read_table(table, file_column), attributes, random_split, seed)
        return prepare(source, output, workers, strict, overwrite)


@dataclass(frozen=True)
class LabelledFiles:
    """The rows of a table that can be used: those with a file, and with a value for every attribute."""

    schema: Schema
    labels: np.ndarray
    """uint8 [N, n]."""
    rows: np.ndarray
    """Their positions in the table, int64 [N]."""
    names: list[str]
    """What the table calls them [N]."""
    paths: list[str]
    """Their files [N]."""
    left_out: list[str]
    """A sentence for each other row."""
    notes: list[str]
    """Sentences on the columns and the files that are not used."""

    def source(self, files: PictureFiles, reader: PictureReader, splits: np.ndarray, info: Mapping[str, Any]) -> Source:
        return Source(
            schema=self.schema,
            names=self.names,
            labels=self.labels,
            splits=splits,
            size=reader.size,
            channels=reader.channels,
            fetch=lambda i: files.hand_over(self.paths[i]),
            render=reader,
            framing=reader.framing,
            info=info,
            left_out=self.left_out,
            notes=self.notes,
            find_faces=True,
        )


def labelled_files(table: Table, attributes: Sequence[str] | None, files: Sequence[str], where: Path) -> LabelledFiles:
    """Bring a table and files of `where` together.

    A name in the table means the only file whose path ends with it, or with which it ends; it may lack the file's
    ending. Raises UserError if a name may mean two files or two names mean one, or if no row can be used.
    """
    schema, labels, notes = table.attributes(attributes)
    find = _FileFinder(files).find
    used: dict[str, int] = {}
    left_out = []
    for row, name in enumerate(table.names):
        found = find(name)
        lacking = [schema.names[k] for k in np.flatnonzero(labels[row] == MISSING)]
        if len(found) > 1:
            raise UserError(f"{table.where}: {name!r} may be {found[0]!r} or {found[1]!r} of {where}; write the path.")
        if not found:
            left_out.append(f"{name}: there is no such file in {where}.")
        elif found[0] in used:
            raise UserError(f"{table.where}: {table.names[used[found[0]]]!r} and {name!r} both name {found[0]!r}.")
        elif lacking:
            left_out.append(f"{name}: it has no value for {', '.join(lacking)}.")
        else:
            used[found[0]] = row
    if not used:
        raise UserError(
            f"{table.where}: no row of its {len(left_out):,} can be used, the first because of {left_out[0][:-1]}; file"
            f" names come from column {table.file_column!r}, unless --file-column names another."
        )
    unused = [name for name in files if name not in used and is_picture(name)]
    if unused:
        notes = [*notes, f"{len(unused):,} pictures have no row in the table and are not used: {_some(unused)}."]
    rows = np.array(list(used.values()))
    return LabelledFiles(schema, labels[rows], rows, [table.names[row] for row in rows], list(used), left_out, notes)


class _FileFinder:
    def __init__(self, files: Sequence[str]) -> None:
        self._files = files

    @cached_property
    def _named(self) -> Mapping[str, Sequence[str]]:
        return _grouped((file.rpartition("/")[2], file) for file in self._files)

    @cached_property
    def _stemmed(self) -> Mapping[str, Sequence[str]]:
        return _grouped((file.rpartition("/")[2].rpartition(".")[0], file) for file in self._files if is_picture(file))

    def find(self, name: str) -> list[str]:
        """The files that a table's name may mean."""
        name = name.replace("\\", "/").removeprefix("./")
        last = name.rpartition("/")[2]
        found = [file for file in self._named.get(last, ()) if _one_ends_with_other(file, name)]
        if not found:
            found = [
                file for file in self._stemmed.get(last, ()) if _one_ends_with_other(file.rpartition(".")[0], name)
            ]
        return [name] if name in found else found


def _grouped(pairs: Iterable[tuple[str, str]]) -> Mapping[str, Sequence[str]]:
    groups: dict[str, list[str]] = defaultdict(list)
    for key, file in pairs:
        groups[key].append(file)
    return groups


def _one_ends_with_other(first: str, second: str) -> bool:
    return f"/{first}".endswith(f"/{second}") or f"/{second}".endswith(f"/{first}")


def _labelled(
    files: PictureFiles,
    reader: PictureReader,
    table: Table,
    attributes: Sequence[str] | None,
    random_split: tuple[float, float] | None,
    seed: int,
) -> Source:
    found = labelled_files(table, attributes, files.names, files.path)
    info = {**_about(files, reader), "table": printable(Path(table.where).name)}
    if table.split_column and random_split is None:
        splits = table.splits(table.split_column)[found.rows]
    else:
        splits = random_splits(found.names, random_split or RANDOM_SPLIT, seed)
    return found.source(files, reader, splits, info)


def _about(files: PictureFiles, reader: PictureReader) -> dict[str, Any]:
    aligned = {"aligned": True} if reader.align else {}
    return {"kind": "folder", "pictures": printable(files.path.name), **aligned}


def _class_folders(
    files: PictureFiles,
    reader: PictureReader,
    attributes: Sequence[str] | None,
    random_split: tuple[float, float] | None,
    seed: int,
) -> Source:
    """Pictures at CLASS/... or, where all first folders are named as splits are, at SPLIT/CLASS/..."""
    if attributes is not None and len(attributes) != 1:
        raise UserError(f"{files.path}: without a table there is one attribute, the sub-folder; give it one name.")
    paths = [PurePosixPath(name) for name in files.names if is_picture(name)]
    if not paths:
        raise UserError(f"{files.path}: there are no pictures in it.")
    # An archive often has everything in one folder.
    top = len(Path(os.path.commonpath([path.parent for path in paths])).parts)
    parts = [path.parts[top:] for path in paths]
    split_folders = all(len(part) > 2 and part[0].casefold() in _SPLIT_FOLDERS for part in parts)
    level = 1 if split_folders else 0
    classes = sorted({part[level] for part in parts if len(part) > level + 1})
    if not 2 <= len(classes) <= MISSING:
        raise UserError(
            f"{files.path}: without a table its sub-folders are the values of an attribute, and there are"
            f" {len(classes)}, not 2 to {MISSING}; give a table, or sort the pictures into sub-folders."
        )
    placed = [k for k, part in enumerate(parts) if len(part) > level + 1]
    loose = [str(path) for path, part in zip(paths, parts, strict=True) if len(part) <= level + 1]
    names = [str(paths[k]) for k in placed]
    labels = np.array([[classes.index(parts[k][level])] for k in placed], dtype=np.uint8)
    if split_folders and random_split is None:
        splits = np.array([SPLIT_WORDS[part[0].casefold()] for part in parts], dtype=np.uint8)
    else:
        splits = random_splits(names, random_split or RANDOM_SPLIT, seed)
    return Source(
        schema=Schema((Attribute(attributes[0] if attributes else "class", tuple(map(printable, classes))),)),
        names=names,
        labels=labels,
        splits=splits,
        size=reader.size,
        channels=reader.channels,
        fetch=lambda i: files.hand_over(names[i]),
        render=reader,
        framing=reader.framing,
        info={**_about(files, reader), "table": None},
        left_out=[f"{name}: it lies in no sub-folder." for name in loose],
        find_faces=True,
    )


def random_splits(names: Sequence[str], shares: tuple[float, float], seed: int) -> np.ndarray:
    """uint8 [N]: exactly these shares for validation and testing, drawn by the names, so that adding pictures moves
    few of the others. Raises UserError if they are no shares."""
    if not (min(shares) >= 0 and sum(shares) < 1):
        raise UserError(f"random_split is {shares[0]:g} {shares[1]:g}; each has to be 0 or more, the sum below 1.")
    order = sorted(
        range(len(names)),
        key=lambda i: hashlib.sha256(f"{seed}/{names[i]}".encode("utf-8", "surrogateescape")).digest(),
    )
    valid, test = (round(share * len(names)) for share in shares)
    splits = np.zeros(len(names), dtype=np.uint8)
    splits[order[:valid]] = SPLITS.index("valid")
    splits[order[valid : valid + test]] = SPLITS.index("test")
    return splits


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
