"""The one pipeline from a source to a prepared dataset: parallel, in order, in bounded memory, whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from fader import alignment, files
from fader.attributes import Schema
from fader.datasets.prepared import MAX_SIZE, DatasetWriter, PicturesFile, open_dataset, refuse_long_names
from fader.datasets.report import report
from fader.errors import UserError, printable
from fader.images import Framing, to_picture
from fader.parallel import map_in_order, processors
from fader.progress import progress

# A worker makes this many bytes of finished pictures at a time, and at most MAX_CHUNK pictures.
CHUNK_BYTES = 1 << 23
MAX_CHUNK = 64
# Chunks a worker, at least, where there are so many pictures: the last ones end together.
CHUNKS = 4
# Pictures left out that the report names at the terminal; the file names all.
MOST_NAMED = 20
# How many training pictures say where faces lie in the frame.
FACES = 64


@dataclass(frozen=True)
class Source:
    """What a dataset is made from: N pictures that are yet to be made, and what is known of them."""

    schema: Schema
    names: Sequence[str]
    """What the source calls each picture [N]."""
    labels: np.ndarray
    """uint8 [N, n], in the order of the schema."""
    splits: np.ndarray
    """uint8 [N]: positions in `prepared.SPLITS`."""
    size: int
    channels: int
    fetch: Callable[[int], Any]
    """What a worker needs to make picture i, small; it is called in the parent. It may raise UserError."""
    render: Callable[[Any], np.ndarray]
    """Makes the picture (uint8, size x size x channels) of what `fetch` gave, in a worker, to which it is pickled. It
    may raise UserError."""
    framing: Framing
    """How pictures were cut."""
    info: Mapping[str, Any]
    """What else the manifest says of the source."""
    left_out: Sequence[str] = ()
    """Pictures that were left out already: a sentence each."""
    notes: Sequence[str] = ()
    """What else the person should know: a sentence each."""
    find_faces: bool = False
    """Whether its pictures may be faces, so that it is worth finding out where in the frame those lie."""

    def __post_init__(self) -> None:
        if not 1 <= self.size <= MAX_SIZE:
            raise UserError(f"size is {self.size}; it has to be from 1 to {MAX_SIZE} pixels.")
        if self.channels not in (1, 3):
            raise UserError(f"channels is {self.channels}; it has to be 1 (grey) or 3 (colour).")


def check_output(output: Path, overwrite: bool, inputs: Iterable[Path]) -> None:
    """Raises UserError if writing `output` would destroy something that is not an older version of itself."""
    files.refuse_existing(output, overwrite)
    for path in inputs:
        if output.resolve() in (path.resolve(), *path.resolve().parents):
            raise UserError(f"{output}: writing it would delete the input {path}; name another output.")
    if output.exists() and not ((output / "dataset.json").is_file() or _empty_folder(output)):
        raise UserError(f"{output}: it is not a prepared dataset, so it is not overwritten; name another output.")


def prepare(
    source: Source, output: Path, workers: int | None = None, strict: bool = False, overwrite: bool = False
) -> str:
    """Make a source's pictures and write them as the prepared dataset `output`. Returns the closing report.

    The folder appears under its name when it is whole; after an interruption the same call starts afresh. Pictures
    that cannot be read are left out and named in the report, which the folder holds too, as `report.txt`. Memory does
    not grow with the pictures: a few chunks a worker are under way at any time.

    Args:
        workers: Processes that make pictures; by default one a processor. With 1, no process is started.
        strict: Raise UserError at the first picture that would be left out.
        overwrite: Replace `output` if it exists.

    Raises UserError also if `output` exists or cannot be written, or if no picture is left.
    """
    if workers is not None and workers < 1:
        raise UserError(f"workers is {workers}; it has to be at least 1.")
    names = [printable(name) for name in source.names]  # Also where they are not UTF-8, as reports name them.
    refuse_long_names(names, len(source.schema))
    left_out = list(source.left_out)
    if strict and left_out:
        raise _strict_error(left_out[0])
    total, workers = len(names), workers or processors()
    chunk = max(1, min(MAX_CHUNK, CHUNK_BYTES // (source.size**2 * source.channels), total // (CHUNKS * workers)))
    chunks = (range(first, min(first + chunk, total)) for first in range(0, total, chunk))
    workers = min(workers, -(-total // chunk))
    with (
        files.new_folder(output, overwrite) as folder,
        progress(f"Preparing {output.name}", total) as bar,
        DatasetWriter(folder, source.schema, source.size, source.channels) as writer,
        # Closed at once when the loop is left by an exception, so that no worker outlives it.
        closing(_write_pictures(source, chunks, writer.pictures, workers)) as results,
    ):
        for place, reason in results:
            if reason is None:
                writer.take(place, source.labels[place], int(source.splits[place]), names[place])
            elif strict:
                raise _strict_error(reason)
            else:
                left_out.append(reason)
            bar.advance(shown=f"{len(left_out)} left out" if left_out else None)
        if not len(writer):
            reason = f"; the first: {left_out[0]}" if left_out else "."
            raise UserError(f"{output}: no picture is left to make a dataset of{reason}")
        framing, notes = source.framing, list(source.notes)
        if source.find_faces and framing.points is None:
            framing, note = _with_points(framing, writer)
            notes += [note] if note else []
        writer.finish(framing.to_json(), {**source.info, "left_out": len(left_out)})
        return _write_report(folder, output, left_out, notes)


def _with_points(framing: Framing, writer: DatasetWriter) -> tuple[Framing, str | None]:
    """The framing with what the training pictures say of where faces lie in it, and what there is to say of that."""
    places = writer.of_split("train")
    sample = places[np.linspace(0, len(places) - 1, min(FACES, len(places))).round().astype(np.int64)]
    try:
        alignment.require_detector()
    except UserError:
        return framing, (
            "Where faces lie in the pictures was not measured, which takes pip install 'fader-networks[align]';"
            " --align needs it."
        )
    points = alignment.usual_points(to_picture(writer.pictures.read(int(place))) for place in sample)
    return replace(framing, points=points), None


def _write_report(folder: Path, output: Path, left_out: Sequence[str], notes: Sequence[str]) -> str:
    dataset = open_dataset(folder)
    text = report(dataset, output, left_out, notes)
    (folder / "report.txt").write_text(text, encoding="utf-8")
    return text if len(left_out) <= MOST_NAMED else report(dataset, output, left_out, notes, most=MOST_NAMED)


def _write_pictures(
    source: Source, chunks: Iterable[range], file: PicturesFile, workers: int
) -> Generator[tuple[int, str | None], None, None]:
    """Write the pictures from several processes, each to the place of its index, so that none travels between them.

    Gives each index, in order, with the reason why there is no such picture, if there is none.
    """
    fetched = ((chunk, _fetch(source, chunk)) for chunk in chunks)
    with closing(map_in_order(partial(_write_chunk, source.render, file), fetched, workers)) as written:
        for chunk, reasons in written:
            yield from zip(chunk, reasons, strict=True)


def _fetch(source: Source, chunk: range) -> list[Any]:
    items: list[Any] = []
    for i in chunk:
        try:
            items.append(source.fetch(i))
        except UserError as error:
            items.append(error)
    return items


def _write_chunk(
    render: Callable[[Any], np.ndarray], file: PicturesFile, fetched: tuple[range, list[Any]]
) -> tuple[range, list[str | None]]:
    chunk, items = fetched
    reasons: list[str | None] = []

    def rendered() -> Iterator[np.ndarray]:
        for item in items:
            try:
                if isinstance(item, UserError):
                    raise item
                picture, reason = render(item), None
            except UserError as error:
                picture, reason = np.zeros(file.shape, dtype=np.uint8), str(error)
            reasons.append(reason)
            yield picture

    file.write(chunk.start, rendered())
    return chunk, reasons


def _empty_folder(path: Path) -> bool:
    return path.is_dir() and not any(path.iterdir())


def _strict_error(sentence: str) -> UserError:
    return UserError(f"{sentence.removesuffix('.')}; without --strict it is left out.")
