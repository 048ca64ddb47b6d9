"""A source: CelebA (Liu et al. 2015), framed as section 5.1 says, in the layouts in which it is passed around.

- as published: `img_align_celeba/` or `img_align_celeba.zip`, `list_attr_celeba.txt` (a line with the number of rows,
  a line with the names of the attributes, rows of a file name and of -1 or 1) and `list_eval_partition.txt`
- repackaged: `img_align_celeba/img_align_celeba/`, `list_attr_celeba.csv` and `list_eval_partition.csv`

either as a directory or as one zip archive, with these files at any depth.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path, PurePosixPath
from typing import IO

import numpy as np

from fader.datasets.folder import labelled_files
from fader.datasets.pictures import PictureFiles, PictureReader
from fader.datasets.preparation import check_output, prepare
from fader.datasets.tables import Table, parse_table, text_rows
from fader.errors import UserError, printable
from fader.images import Box, Framing

PICTURES = "img_align_celeba"
PICTURE_SIZE = (178, 218)
# The centred 178 x 178 of 178 x 218 pixels: left, top, right, bottom.
CROP = (0, 20, 178, 198)
# The last picture of each split, for collections without list_eval_partition.
LAST_OF_SPLIT = (162_770, 182_637, 202_599)

MOST_DIGITS = 18  # Of a number in a stranger's file.


def prepare_celeba(
    folder: Path,
    output: Path,
    *,
    attributes: Sequence[str] | None = None,
    size: int = 256,
    channels: int = 3,
    crop: Box = CROP,
    workers: int | None = None,
    strict: bool = False,
    overwrite: bool = False,
) -> str:
    """Make a dataset of CelebA: cropped, by default to 178 x 178, and scaled, in the standard split.

    Args:
        folder: Where CelebA is, a directory or a zip archive: the pictures (img_align_celeba, a folder or a zip
            archive), list_attr_celeba (.txt or .csv) and, if there is one, list_eval_partition.
        output: The dataset's folder.
        attributes: The attributes to take; by default all 40.
        size: Side of the prepared pictures in pixels; 256 in the paper.
        channels: 3 for colour, 1 for grey.
        crop: What to cut out of each picture of 178 x 218 pixels: left, top, right, bottom.
        workers: Processes that read pictures; by default one a processor.
        strict: Stop at the first picture that is missing or cannot be read, instead of leaving it out.
        overwrite: Replace the output if it exists.

    Returns the closing report. Raises UserError.
    """
    check_output(output, overwrite, [folder])
    reader = PictureReader(Framing(crop, PICTURE_SIZE), size, channels)
    with ExitStack() as stack:
        files = stack.enter_context(PictureFiles(folder))
        table_name = _find(files, "list_attr_celeba")
        if table_name is None:
            raise UserError(f"{folder}: there is no list_attr_celeba.txt or list_attr_celeba.csv in it.")
        with files.open(table_name) as stream:
            where = str(folder / table_name)
            rows = _published_rows(stream, where) if table_name.endswith(".txt") else text_rows(stream, where)
            table = parse_table(rows, where)
        pictures = stack.enter_context(_pictures(files))
        inside = [name for name in pictures.names if _is_inside(name)]
        # All columns are attributes by name: one that cannot be is damage, not something to pass over.
        found = labelled_files(table, attributes or list(table.columns), inside, pictures.path)
        splits = _splits(files, found.names)
        info = {"kind": "celeba", "pictures": printable(pictures.path.name), "table": PurePosixPath(table_name).name}
        return prepare(found.source(pictures, reader, splits, info), output, workers, strict, overwrite)


def _find(files: PictureFiles, stem: str) -> str | None:
    """The file of this name, as text or as CSV, that lies least deep."""
    found = [name for name in files.names if name.rpartition("/")[2] in (f"{stem}.txt", f"{stem}.csv")]
    return min(found, key=lambda name: (name.count("/"), name), default=None)


def _pictures(files: PictureFiles) -> PictureFiles:
    """What holds the pictures: the files themselves, or an archive among them."""
    if any(map(_is_inside, files.names)):
        return files
    archive = next((name for name in files.names if name.rpartition("/")[2] == f"{PICTURES}.zip"), None)
    if archive is None or not files.path.is_dir():
        raise UserError(f"{files.path}: there is neither a folder {PICTURES} with pictures in it nor {PICTURES}.zip.")
    return PictureFiles(files.path / archive)


def _is_inside(name: str) -> bool:
    return name.rpartition("/")[0].rpartition("/")[2] == PICTURES


def _published_rows(stream: IO[bytes], where: str) -> Iterator[list[str]]:
    """The rows of list_attr_celeba.txt as those of a table with a header."""
    lines = (line.decode("utf-8", "replace") for line in stream)
    count = next(lines, "").strip()
    if not count.isdecimal() or len(count) > MOST_DIGITS:
        raise UserError(f"{where}: its first line is {count[:40]!r}, not the number of its rows as CelebA has it.")
    yield ["file", *next(lines, "").split()]
    rows = 0
    for line in lines:
        if cells := line.split():
            rows += 1
            yield cells
    if rows != int(count):
        raise UserError(f"{where}: it has {rows:,} rows and says {int(count):,}; it is incomplete, so fetch it again.")


def _splits(files: PictureFiles, names: Sequence[str]) -> np.ndarray:
    """uint8 [N]: by list_eval_partition or, where there is none, by the numbers that the files are named by."""
    table_name = _find(files, "list_eval_partition")
    if table_name is None:
        numbers = np.array([_number(files.path, name) for name in names])
        return np.searchsorted(LAST_OF_SPLIT, numbers).astype(np.uint8)
    where = str(files.path / table_name)
    with files.open(table_name) as stream:
        if table_name.endswith(".txt"):
            table = parse_table(_partition_rows(stream), where)
        else:
            table = parse_table(text_rows(stream, where), where)
    return _in_order(table, names)


def _partition_rows(stream: IO[bytes]) -> Iterator[list[str]]:
    yield ["file", "partition"]
    for line in stream:
        yield line.decode("utf-8", "replace").split()


def _in_order(table: Table, names: Sequence[str]) -> np.ndarray:
    splits = dict(zip(table.names, table.splits("partition"), strict=True))
    for name in names:
        if name not in splits:
            raise UserError(f"{table.where}: it does not say which split {name!r} belongs to; fetch it again.")
    return np.array([splits[name] for name in names], dtype=np.uint8)


def _number(folder: Path, name: str) -> int:
    stem = PurePosixPath(name).stem
    if not stem.isdecimal() or len(stem) > MOST_DIGITS or not 1 <= int(stem) <= LAST_OF_SPLIT[-1]:
        raise UserError(
            f"{folder}: {name!r} is not a number from 1 to {LAST_OF_SPLIT[-1]}, and there is no list_eval_partition to"
            " say which split it belongs to."
        )
    return int(stem)
