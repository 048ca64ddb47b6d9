"""Tables of labels, CSV, TSV or Parquet: attributes, labels and splits from columns of text.

A table is read once, as a stream, and a cell is kept as one byte. Rows are counted as a spreadsheet shows them: the
header is row 1.
"""

from __future__ import annotations

import csv
import importlib
import io
import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np

from fader.attributes import Attribute, Schema
from fader.errors import UserError

# The label that stands for a missing one, and so also the number of values that an attribute can have.
MISSING = 255
# Rows that are sorted into columns at a time.
CHUNK = 1024
# A column of more different texts than this becomes an attribute only where it is asked for by name.
MAX_CATEGORIES = 20
# A few bytes of Parquet can say that there are millions of rows. So many are read of any file, and of a larger one so
# many a byte (a row names a picture, which takes a byte at the least); and on average so many columns.
FREE_ROWS, ROWS_A_BYTE, FREE_COLUMNS = 1_000_000, 10, 100
MAX_CHUNK_BYTES = 1 << 26

MISSING_WORDS = {"", "na", "n/a", "nan", "null"}
ZERO_WORDS = {"0", "0.0"}
MINUS_WORDS = {"-1", "-1.0"}
BINARY_WORDS = {
    **dict.fromkeys(("1", "1.0", "true", "yes"), 1),
    **dict.fromkeys((*ZERO_WORDS, *MINUS_WORDS, "false", "no"), 0),
}
SPLIT_WORDS = {
    **dict.fromkeys(("train", "training", "0"), 0),
    **dict.fromkeys(("valid", "validation", "val", "dev", "1"), 1),
    **dict.fromkeys(("test", "testing", "2"), 2),
}


@dataclass
class Column:
    """A column of text: the different values, and for each row which of them it has."""

    name: str
    values: list[str] = field(default_factory=list)
    """The different values in order of appearance."""
    rows: list[int] = field(default_factory=list)
    """The row in which each of them appears first."""
    codes: bytearray = field(default_factory=bytearray)
    """For each row the position of its value in `values`."""
    crowded: bool = False
    """Whether there are more values than an attribute can have; `codes` is then good for nothing."""
    _known: dict[str, int] = field(default_factory=dict)
    """The codes of the texts, with the spaces around them, that have appeared."""

    def extend(self, cells: Sequence[str], rows: Sequence[int]) -> None:
        """Append these cells, which are in these rows of the table."""
        if self.crowded:
            return
        codes = list(map(self._known.get, cells))
        if None in codes:
            codes = [self._code(cell, row) for cell, row in zip(cells, rows, strict=True)]
        self.codes.extend(codes)  # type: ignore[arg-type]

    def _code(self, cell: str, row: int) -> int:
        value = cell.strip()
        if value not in self._known:
            if len(self.values) == MISSING:
                self.crowded = True
                return 0
            self._known[value] = len(self.values)
            self.values.append(value)
            self.rows.append(row)
        self._known[cell] = self._known[value]
        return self._known[value]

    def translated(self, codes: Sequence[int]) -> np.ndarray:
        """uint8 [N]: each row's entry of a list with one entry for each of `values`."""
        return np.array(codes, dtype=np.uint8)[np.frombuffer(self.codes, dtype=np.uint8)]


@dataclass(frozen=True)
class Table:
    """A table that names files and says something of each."""

    where: str
    """What error messages call it."""
    file_column: str
    names: list[str]
    """The file that each row is about [N], each once."""
    columns: dict[str, Column]
    """All other columns by name."""

    def attributes(self, chosen: Sequence[str] | None) -> tuple[Schema, np.ndarray, list[str]]:
        """The chosen columns as attributes; where none are chosen, all columns that can be one.

        Columns of 0/1, -1/1, true/false or yes/no, in any case, are binary attributes (absent, present). Columns of
        names are attributes with these values, in alphabetical order.

        Returns the schema, the labels (uint8 [N, n], MISSING where there is none) and, where none were chosen, a
        sentence for each column that is ignored. Raises UserError for a chosen column that cannot be an attribute, if
        there is none that can, and for a column of 0 and 1 with something else in between.
        """
        ignored: dict[str, str] = {}
        attributes, labels = [], []
        for name in self.columns if chosen is None else chosen:
            if chosen is None and name.casefold() == "split":
                continue
            try:
                attribute, codes = self._attribute(self._column(name), by_name=chosen is not None)
            except _UnsuitableColumnError as error:
                if chosen is not None:
                    raise UserError(f"{self.where}: column {name!r} cannot be an attribute: {error}.") from None
                ignored[name] = str(error)
            else:
                attributes.append(attribute)
                labels.append(self.columns[name].translated(codes))
        sentences = [f"Column {name!r} is ignored: {reason}." for name, reason in ignored.items()]
        if not attributes:
            found = f" ({sentences[0].removesuffix('.')})" if sentences else ""
            raise UserError(f"{self.where}: no column can be an attribute{found}; add one of 0/1, yes/no or names.")
        return Schema(tuple(attributes)), np.stack(labels, axis=1), sentences

    def splits(self, name: str) -> np.ndarray:
        """uint8 [N]: positions in `prepared.SPLITS`. Raises UserError for a value that names no split."""
        column = self._column(name)
        codes = [SPLIT_WORDS.get(value.casefold()) for value in column.values]
        for value, row, code in zip(column.values, column.rows, codes, strict=True):
            if code is None:
                raise UserError(
                    f"{self.where}: column {name!r} has {value!r} in row {row}; a split is train, valid or test,"
                    " or 0, 1 or 2."
                )
        return column.translated([code or 0 for code in codes])

    @property
    def split_column(self) -> str | None:
        """The column called "split", in any case."""
        return next((name for name in self.columns if name.casefold() == "split"), None)

    def _column(self, name: str) -> Column:
        if name not in self.columns:
            raise UserError(
                f"{self.where}: there is no column {name!r} of labels; there are {', '.join(self.columns) or 'none'}."
            )
        return self.columns[name]

    def _attribute(self, column: Column, by_name: bool) -> tuple[Attribute, list[int]]:
        """The attribute that a column makes, and the label for each of the column's values."""
        words = [value.casefold() for value in column.values]
        given = [k for k, word in enumerate(words) if word not in MISSING_WORDS]
        if not given:
            raise _UnsuitableColumnError("it is empty")
        for k in given:
            if _is_number(words[k]) and words[k] not in BINARY_WORDS:
                raise _UnsuitableColumnError(
                    f"it has the number {column.values[k]} in row {column.rows[k]}; labels are 0/1, -1/1, true/false,"
                    " yes/no or names"
                )
        if column.crowded:
            raise _UnsuitableColumnError(f"it has more than {MISSING} different values")
        missing = [k for k, word in enumerate(words) if word in MISSING_WORDS]
        if missing and not by_name:
            raise _UnsuitableColumnError(
                f"it has no value in row {column.rows[missing[0]]}; named with --attributes, it leaves out the pictures"
                " without one"
            )
        if all(words[k] in BINARY_WORDS for k in given):
            if not ZERO_WORDS.isdisjoint(words) and not MINUS_WORDS.isdisjoint(words):
                raise _UnsuitableColumnError(
                    "it has both 0 and -1, so that it is not clear which is absent; use 0 and 1"
                )
            return Attribute(column.name), [BINARY_WORDS.get(word, MISSING) for word in words]
        self._refuse_slips(column, words, given)
        values = sorted(column.values[k] for k in given)
        if len(values) == 1:
            raise _UnsuitableColumnError(f"it has only the value {values[0]!r}")
        if not all(value.isprintable() for value in values):
            raise _UnsuitableColumnError("it has line breaks or control characters in its values")
        if not by_name and (len(values) > MAX_CATEGORIES or 2 * len(values) > len(self.names)):
            raise _UnsuitableColumnError(
                f"it has {len(values)} different values; name it with --attributes if they are categories"
            )
        labels = [MISSING if k in missing else values.index(value) for k, value in enumerate(column.values)]
        return Attribute(column.name, tuple(values)), labels

    def _refuse_slips(self, column: Column, words: list[str], given: list[int]) -> None:
        """Of the values that are `given`, some are texts; raises if others are 0, 1 or -1."""
        numbers = [k for k in given if _is_number(words[k])]
        if numbers:
            counts = np.bincount(np.frombuffer(column.codes, dtype=np.uint8), minlength=len(words))
            text = next(k for k in given if not _is_number(words[k]))
            reason = f"it has {column.values[text]!r} in row {column.rows[text]} among numbers; correct the table"
            if 2 * counts[numbers].sum() >= counts[given].sum():  # A column of labels with a slip, not one of text.
                raise UserError(f"{self.where}: column {column.name!r} cannot be an attribute: {reason}.")
            raise _UnsuitableColumnError(reason)


def read_table(path: Path, file_column: str | None = None) -> Table:
    """Read a table file: Parquet (.parquet), tab-separated (.tsv), or separated by what its header uses: , ; or tab.

    Args:
        file_column: The column that names the files; the first by default.

    Raises UserError if the file is missing, empty, not such a table, or names a file twice.
    """
    if not path.is_file():
        raise UserError(f"{path}: there is no such table.")
    if path.suffix.lower() in (".parquet", ".pq"):
        return parse_table(_parquet_rows(path), str(path), file_column)
    with path.open("rb") as stream:
        return parse_table(text_rows(stream, str(path)), str(path), file_column)


def parse_table(rows: Iterator[list[str]], where: str, file_column: str | None = None) -> Table:
    """The table of these rows, of which the first is the header; `where` is what error messages call it."""
    header = [name.strip() for name in next(rows, [])]
    if not any(header):
        raise UserError(f"{where}: the table is empty; it needs a header row and a row for each picture.")
    occurrences = Counter(header)
    for name in header:
        if not name.isprintable():
            raise UserError(f"{where}: the column name {name!r} has line breaks or control characters; rename it.")
        if name and occurrences[name] > 1:
            raise UserError(f"{where}: two columns are named {name!r}; rename one.")
    file_column = header[0] if file_column is None else file_column
    if file_column not in header:
        raise UserError(f"{where}: there is no column {file_column!r}; there are {', '.join(filter(None, header))}.")
    position = header.index(file_column)
    columns = [Column(name) for k, name in enumerate(header) if k != position]
    names: dict[str, int] = {}
    numbered = ((row, cells) for row, cells in enumerate(rows, start=2) if any(cells))
    while chunk := list(itertools.islice(numbered, CHUNK)):
        for row, cells in chunk:
            if len(cells) != len(header):
                raise UserError(f"{where}: row {row} has {len(cells)} cells and the header {len(header)}.")
            name = cells.pop(position).strip()
            if not name:
                raise UserError(f"{where}: row {row} names no file in column {file_column!r}.")
            if names.setdefault(name, row) != row:
                raise UserError(f"{where}: row {row} names {name!r} again, after row {names[name]}.")
        numbers, lines = zip(*chunk, strict=True)
        for column, column_cells in zip(columns, zip(*lines, strict=True), strict=True):
            column.extend(column_cells, numbers)
    if not names:
        raise UserError(f"{where}: the table has a header but no rows; it needs a row for each picture.")
    return Table(where, file_column, list(names), {column.name: column for column in columns if column.name})


def text_rows(stream: IO[bytes], where: str) -> Iterator[list[str]]:
    """The rows of a separated text file, which is closed in the end. Raises UserError where it is not one."""
    try:
        with io.TextIOWrapper(stream, encoding="utf-8-sig", newline="") as text:
            first = text.readline()
            delimiter = "\t" if where.lower().endswith((".tsv", ".tab")) else max(",;\t", key=first.count)
            # Strict, or a quotation mark that is never closed would silently swallow the rest of the table.
            yield from csv.reader(itertools.chain([first], text), delimiter=delimiter, strict=True)
    except UnicodeDecodeError:
        raise UserError(f"{where}: it is not a text file in UTF-8; save the table as CSV in UTF-8.") from None
    except csv.Error as error:
        raise UserError(f"{where}: it is not a sound CSV or TSV file ({error}).") from None
    except OSError as error:
        raise UserError(f"{where}: it cannot be read ({error}).") from None


def _parquet_rows(path: Path) -> Iterator[list[str]]:
    try:
        arrow, parquet = map(importlib.import_module, ("pyarrow", "pyarrow.parquet"))
    except ImportError:
        raise UserError(
            f"{path}: reading Parquet needs pyarrow; run: pip install 'fader-networks[parquet]', or save it as CSV."
        ) from None
    try:
        most = max(FREE_ROWS, ROWS_A_BYTE * path.stat().st_size)
        kinds = {arrow.string(), arrow.large_string(), arrow.binary(), arrow.large_binary()}
        texts = [field.name for field in parquet.read_schema(path) if field.type in kinds]
        # As dictionaries, in which a text that many rows repeat is held once.
        with parquet.ParquetFile(path, read_dictionary=texts) as file:
            names = list(file.schema_arrow.names)
            most = most * FREE_COLUMNS // max(FREE_COLUMNS, len(names))
            rows, too_much = 0, f"{path}: it claims far more than its bytes can hold; save the table as CSV."
            if file.metadata.num_rows > most:
                raise UserError(too_much)
            yield names
            for batch in file.iter_batches(CHUNK):
                rows += batch.num_rows
                size = sum(column.nbytes for column in batch.columns if not hasattr(column, "dictionary"))
                if rows > most or size > MAX_CHUNK_BYTES:
                    raise UserError(too_much)
                for cells in zip(*map(_texts, batch.columns), strict=True):
                    yield list(cells)
    # OverflowError and LookupError: times that Python has not, and zones that there are not.
    except (OSError, ValueError, OverflowError, LookupError, arrow.ArrowException) as error:
        raise UserError(f"{path}: it cannot be read as Parquet ({error}).") from None


def _texts(column: Any) -> list[str]:
    """The cells of an Arrow array as text."""
    if hasattr(column, "dictionary"):
        used = column.indices.unique().drop_null()
        texts = dict(zip(used.to_pylist(), _texts(column.dictionary.take(used)), strict=True))
        return ["" if place is None else texts[place] for place in column.indices.to_pylist()]
    return ["" if cell is None else str(cell) for cell in column.to_pylist()]


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


class _UnsuitableColumnError(Exception):
    """Why a column cannot be an attribute, to follow a colon."""
