"""`fader swap` of a whole folder: picture files in, edited picture files out, in memory that does not grow with them.

Threads decode and encode while the network works; Pillow and torch let other threads run meanwhile.
"""

from __future__ import annotations

import hashlib
import io
import os
import warnings
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fader.alignment import Placement, paste
from fader.datasets.pictures import PictureFiles, is_picture
from fader.editing.manifest import Manifest, Record, open_output, read_done
from fader.editing.names import distinct, safe
from fader.editing.photos import Alignment, framed
from fader.edits import swaps, to_swap
from fader.errors import Interrupted, UserError
from fader.files import clear_half_written, locked
from fader.images import open_picture, save_picture, to_picture
from fader.interruption import Interruption, interruptions
from fader.locations import ModelLocation, path_of
from fader.model import Faces, Model, Value, load
from fader.parallel import in_order, processors, rank_and_count, threads
from fader.progress import progress

BATCH = 64  # Pictures that the network is given at once; fewer where they are large, or their edits many.
LONGEST_NAME = 200  # Bytes of an output's name; file systems take 255, and while it is written it has a longer one.
LONGEST_FOLDER, LONGEST_PATH = 255, 3_900  # Bytes; systems take 4,095 of a path, with room for the longer name.
MOST_NAMED = 20  # Pictures left out that the closing report names; the manifest has all.


def edit_folder(
    model: ModelLocation,
    pictures: Path,
    output: Path,
    values: Mapping[str, Value] | None = None,
    attributes: Sequence[str] = (),
    together: bool = False,
    align: Alignment | None = None,
    workers: int | None = None,
    strict: bool = False,
    device: str = "auto",
    overwrite: bool = False,
) -> str:
    """Edit every picture of a folder, and write the edited pictures as PNG files to another that is laid out alike.

    `sub/name.jpg` becomes `sub/name.png` with the values that are set, or `sub/name.ATTRIBUTE.png` for each attribute
    that is swapped. A call that was stopped is repeated to go on: what the manifest calls done is not done again,
    unless the picture has changed or an output is gone. Processes that torchrun starts share the pictures.

    Args:
        model: A model or a run: its folder, "portraits" or "hf:user/model".
        pictures: A folder, with all folders in it, or a zip archive.
        output: The folder to write.
        values: The value to set each attribute named to; the others stay. By default attributes are swapped instead.
        attributes: What to swap; by default all that the model has. One of more than two values is set to each.
        together: Swap all of these at once as well, for `sub/name.together.png`.
        align: Find the face in each picture and align it; with `paste`, the outputs are the whole pictures in full
            resolution. Pictures without a face are left out, and with `paste` those whose face is not familiar.
        workers: Threads that decode and encode; by default one a processor.
        strict: Raise UserError at the first picture that cannot be edited, instead of leaving it out.
        device: "auto", "cpu", "cuda", ...
        overwrite: Delete what is at the output first, if it is such a folder.

    Returns the closing report. Raises UserError, with nothing written, on unusable input and where the output holds
    other edits or something else, or another process writes to it; Interrupted after Ctrl-C or SIGTERM.
    """
    if workers is not None and workers < 1:
        raise UserError(f"workers is {workers}; it has to be at least 1.")
    number, count = rank_and_count()
    if overwrite and count > 1:
        raise UserError(f"{output}: several processes cannot overwrite it together; delete it first.")
    _check_paths(model, pictures, output)
    with PictureFiles(pictures) as files:
        names = [name for name in files.names if is_picture(name)]
        if not names:
            raise UserError(f"{pictures}: there is no picture in this folder.")
        loaded = load(model, device)
        if loaded.classifier is None:
            raise UserError(f"{model}: this model has no classifier to estimate what a picture shows.")
        if align is not None:
            loaded.require_alignment()
        request = replace(_request(loaded, values or {}, attributes, together), align=align)
        with locked(output) if count == 1 else nullcontext():  # Several processes share it.
            open_output(output, loaded.fingerprint, request.to_json(), overwrite)
            if count == 1:
                clear_half_written(output)
            editor = _Editor(loaded, files, output, request, _stems(names), read_done(output))
            return _run(editor, names[number::count], number, workers or max(1, processors() // count), strict)


@dataclass(frozen=True)
class _Request:
    """What to do to each picture: attributes set to values, or swapped."""

    values: dict[str, float]
    swapped: tuple[str, ...]
    together: bool
    endings: tuple[str, ...]
    """What follows a picture's name in that of each of its K outputs."""
    align: Alignment | None = None

    def to_json(self) -> dict[str, Any]:
        edit = {"set": self.values} if self.values else {"swap": list(self.swapped), "together": self.together}
        return edit if self.align is None else {**edit, "align": self.align.to_json()}

    @property
    def paste(self) -> bool:
        """Whether the edited faces are put back into the whole pictures."""
        return self.align is not None and self.align.paste

    def decoded(self, faces: Faces) -> Tensor:
        """The values to decode faces with: [N, K, n]."""
        if self.values:
            return faces.changed(self.values)[:, None]
        edits = swaps(faces.model, faces.labels, self.swapped, self.together)
        return torch.stack([edit.values for edit in edits], dim=1)


@dataclass(frozen=True)
class _Job:
    """A picture under way, and what the manifest will say of it (nothing if it was done before)."""

    record: Record | None
    array: np.ndarray | None = None
    """The picture as the model sees it, if there is something to do: uint8, S x S x C."""
    outputs: Mapping[str, np.ndarray] = field(default_factory=dict)
    """What to write, by its path in the output folder."""
    placement: Placement | None = None
    """Where the array lies in the picture, if it is aligned."""
    before: np.ndarray | None = None
    """The reconstruction, if the outputs are to be pasted into the picture: uint8, S x S x C."""


@dataclass(frozen=True)
class _Editor:
    model: Model
    files: PictureFiles
    output: Path
    request: _Request
    stems: Mapping[str, str]
    done: Mapping[str, str]

    def records(
        self, names: Sequence[str], workers: int, interruption: Interruption
    ) -> Generator[Record | None, None, None]:
        """Edit these pictures and write what comes of each, in order; then its record, None if it was done before.

        Once interrupted, it ends as soon as what the network has edited is written.
        """
        batch = max(1, min(BATCH, self.model.pictures_at_once // len(self.request.endings)))
        with (
            # Decoding turns warnings off and on again, in all threads at once: here they are off before and after.
            warnings.catch_warnings(action="ignore"),
            threads(workers) as pool,
            # The next batch is decoded and the one before encoded while the network works on one.
            closing(in_order(pool, self._read, names, batch + workers)) as read,
            closing(self._edited(read, batch, interruption)) as edited,
            closing(in_order(pool, self._write, edited, batch)) as written,
        ):
            yield from written

    def _read(self, name: str) -> _Job:
        record: Record = {"picture": name}
        try:
            self._check_name(name)
            _, content = self.files.fetch(name)
            with io.BytesIO(content) if isinstance(content, bytes) else content.open("rb") as file:
                record["sha256"] = hashlib.file_digest(file, "sha256").hexdigest()
                if self._is_done(name, record["sha256"]):
                    return _Job(None)
                file.seek(0)
                array, placement = framed(self.model, file, name, self.request.align)
                return _Job(record, array, placement=placement)
        except UserError as error:
            return _Job(record | {"error": str(error)})
        except OSError as error:
            return _Job(record | {"error": str(UserError(f"{name}: it cannot be read ({error.strerror})."))})

    def _edited(self, read: Iterable[_Job], batch: int, interruption: Interruption) -> Generator[_Job, None, None]:
        waiting: list[_Job] = []
        for job in read:
            if interruption.signal:
                return
            if job.array is None:
                yield job
            else:
                waiting.append(job)
            if len(waiting) == batch:
                yield from self._edit(waiting)
                waiting = []
        if waiting and not interruption.signal:
            yield from self._edit(waiting)

    def _edit(self, jobs: Sequence[_Job]) -> Iterator[_Job]:
        faces = self.model.encode_framed(np.stack([job.array for job in jobs if job.array is not None]))
        pasted = self.request.paste
        values = self.request.decoded(faces)
        decoded = faces.decode(torch.cat([faces.own_values[:, None], values.float()], dim=1) if pasted else values)
        reasons = faces.unfit_to_paste if pasted else [None] * len(jobs)
        for job, labels, arrays, reason in zip(jobs, faces.values, decoded, reasons, strict=True):
            assert job.record is not None
            paths = self._outputs(job.record["picture"])
            if reason:
                yield _Job(job.record | {"error": str(UserError(f"{job.record['picture']}: {reason}"))})
                continue
            record = job.record | {"labels": labels, "outputs": paths}
            if job.placement:
                record["placement"] = job.placement.to_json()
            before, edited = (arrays[0], arrays[1:]) if pasted else (None, arrays)
            yield _Job(record, None, dict(zip(paths, edited, strict=True)), job.placement, before)

    def _write(self, job: _Job) -> Record | None:
        photo = None
        if job.before is not None and job.record is not None:
            # Read again, as it would take much memory to keep the whole pictures of a batch.
            try:
                name, content = self.files.fetch(job.record["picture"])
                photo = open_picture(io.BytesIO(content) if isinstance(content, bytes) else content, name)
            except UserError as error:
                return {key: job.record[key] for key in ("picture", "sha256")} | {"error": str(error)}
        for path, array in job.outputs.items():
            if photo is None or job.placement is None or job.before is None:
                picture = to_picture(array)
            else:
                picture = paste(photo, array, job.placement, job.before)
            save_picture(picture, self.output / path)
        return job.record

    def _outputs(self, name: str) -> list[str]:
        return [f"{self.stems[name]}{ending}.png" for ending in self.request.endings]

    def _is_done(self, name: str, sha256: str) -> bool:
        return self.done.get(name) == sha256 and all((self.output / path).is_file() for path in self._outputs(name))

    def _check_name(self, name: str) -> None:
        paths = [PurePosixPath(path) for path in self._outputs(name)]
        if (
            any(len(os.fsencode(path.name)) > LONGEST_NAME for path in paths)
            or any(len(os.fsencode(part)) > LONGEST_FOLDER for path in paths for part in path.parts)
            or any(len(os.fsencode((self.output / path).absolute())) > LONGEST_PATH for path in paths)
        ):
            raise UserError(f"{name}: its name is too long for an output to be named after it; shorten it.")


def _run(editor: _Editor, names: Sequence[str], number: int, workers: int, strict: bool) -> str:
    """Edit these pictures as process `number`, and return the closing report."""
    edited, before = 0, 0
    left_out: list[str] = []
    with (
        interruptions() as interruption,
        Manifest(editor.output, number) as manifest,
        progress(f"Editing {editor.files.path}", len(names), shown=number == 0) as bar,
        closing(editor.records(names, workers, interruption)) as records,
    ):
        for record in records:
            if record is None:
                before += 1
            else:
                manifest.append(record)
                if "error" not in record:
                    edited += 1
                elif strict:
                    raise UserError(f"{record['error'].removesuffix('.')}; without --strict it is left out.")
                else:
                    left_out.append(record["error"])
            bar.advance(shown=f"{len(left_out):,} left out" if left_out else None)
    finished = edited + before + len(left_out)
    if finished < len(names):
        raise Interrupted(
            f"Stopped after {finished:,} of {len(names):,} pictures; the same command goes on from there.",
            interruption.signal,
        )
    return _report(editor.output, number, edited, before, left_out)


def _report(output: Path, number: int, edited: int, before: int, left_out: Sequence[str]) -> str:
    counts = f"{edited:,} edited, {before:,} done before, {len(left_out):,} left out"
    lines = [f"{output}: {counts}{':' if left_out else ''}", *(f"  {reason}" for reason in left_out[:MOST_NAMED])]
    if len(left_out) > MOST_NAMED:
        lines.append(f"  and {len(left_out) - MOST_NAMED:,} more, which manifest-{number}.jsonl in it names")
    return "\n".join(lines)


def _request(model: Model, values: Mapping[str, Value], attributes: Sequence[str], together: bool) -> _Request:
    """Raises UserError if there is no such attribute or value."""
    schema = model.schema
    if values:
        if attributes or together:
            raise UserError("Attributes are either set to values or swapped; leave out the one or the other.")
        numbers = {name: schema.attributes[schema.index(name)].value(value) for name, value in values.items()}
        return _Request(numbers, (), False, ("",))
    names = to_swap(schema, attributes, together)
    titles = [edit.title for edit in swaps(model, torch.zeros(1, len(schema), dtype=torch.int64), names, together)]
    # Without a dot, so that where an ending begins, and so whose it is, is never in doubt.
    endings = distinct(safe(title).replace(".", "_") for title in titles)
    return _Request({}, names, together, tuple(f".{ending}" for ending in endings))


def _stems(names: Sequence[str]) -> dict[str, str]:
    """What the outputs of each picture are named after: its path without the ending, or with it where that is needed
    to tell two pictures apart, on file systems too that ignore case."""
    stems = {name: str(PurePosixPath(name).with_suffix("")) for name in names}
    taken = Counter(text.casefold() for text in (*stems.values(), *names))
    return {name: stem if taken[stem.casefold()] == 1 else name for name, stem in stems.items()}


def _check_paths(model: ModelLocation, pictures: Path, output: Path) -> None:
    """Raises UserError where the output would lie in the pictures, or they or the model in it, and for one picture."""
    if pictures.is_file() and is_picture(pictures.name):
        raise UserError(
            f"{output} has no picture's ending and so is a folder, but {pictures} is one picture; name a folder of"
            f" pictures, or {output}.png for a figure."
        )
    real = output.resolve()
    if pictures.resolve() in (real, *real.parents):
        raise UserError(f"{output}: it lies in the pictures that are to be edited; name another output.")
    for path in (pictures, path_of(model)):
        if path is not None and real in path.resolve().parents:
            raise UserError(f"{output}: {path} lies in it; name another output.")
