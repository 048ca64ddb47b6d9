"""The verbs `swap` and `slide`: figures of anyone's pictures with their attributes changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fader import figures
from fader.alignment import paste
from fader.attributes import Attribute, Schema
from fader.datasets.pictures import is_picture
from fader.datasets.prepared import Location, open_dataset
from fader.datasets.views import view
from fader.editing.names import distinct, safe
from fader.editing.photos import Alignment, framed
from fader.edits import Edit, decode_rows, row_titles, swaps, to_swap
from fader.errors import UserError
from fader.files import refuse_existing
from fader.images import open_picture, picture_format, save_picture, to_array, to_picture
from fader.locations import ModelLocation
from fader.model import Faces, Model, load
from fader.progress import say

UNSURE = 0.8  # A label estimated with less confidence than this is named.
MOST_PICTURES = 5000  # In a figure: more could not be looked at, and would fill the memory.


@dataclass(frozen=True)
class Selection:
    """Pictures of a prepared dataset, which come with their true labels."""

    dataset: Location
    split: str = "test"
    count: int = 10
    """How many, from the first of the split on."""


def swap(
    model: ModelLocation,
    pictures: Sequence[Path] | Selection,
    output: Path,
    attributes: Sequence[str] = (),
    together: bool = False,
    separate: Path | None = None,
    align: Alignment | None = None,
    device: str = "auto",
    overwrite: bool = False,
) -> list[Path]:
    """Draw faces with each of their attributes swapped by itself (figure 3): a row a face, a column an attribute.

    Args:
        model: A model or a run: its folder, "portraits" or "hf:user/model".
        pictures: Picture files of any size, and folders of such; or a selection of a prepared dataset.
        output: The figure to write.
        attributes: What to swap; by default all that the model has. One of more than two values has a column for each.
        together: Add a column with all of these attributes swapped at once (figure 4).
        separate: A folder to write every edited picture to by itself as well, named by picture, attribute and value.
        align: Find the face in each picture file and align it; with `paste`, the separate files are the whole pictures
            in full resolution, but of pictures whose face is not familiar.
        device: "auto", "cpu", "cuda", ...
        overwrite: Whether files to be written may be there already.

    Labels of picture files are estimated by the model's classifier. Returns the files written. Raises UserError, with
    nothing written, on unusable input and where a file to be written exists or is itself one of the pictures.
    """
    picture_format(output)
    _check_alignment(pictures, separate, align)
    files = [] if isinstance(pictures, Selection) else _picture_files(pictures)
    _refuse([output], files, overwrite)
    loaded = load(model, device)
    if align is not None:
        loaded.require_alignment()
    schema = loaded.schema
    swapped = to_swap(schema, attributes, together)
    encoded = _encode(loaded, pictures if isinstance(pictures, Selection) else files, align)
    faces = encoded.faces
    edits = swaps(loaded, faces.labels, swapped, together)
    rows = _rows(faces, edits)
    singles = _singles(separate, encoded.names, schema, edits, rows)
    _refuse(list(singles), files, overwrite)
    save_picture(figures.grid(rows, row_titles(edits)), output)
    return [output, *_save(singles, encoded, align)]


def slide(
    model: ModelLocation,
    pictures: Sequence[Path] | Selection,
    output: Path,
    attribute: str,
    start: float = -1.0,
    stop: float = 2.0,
    steps: int = 10,
    gif: bool = False,
    separate: Path | None = None,
    align: Alignment | None = None,
    device: str = "auto",
    overwrite: bool = False,
) -> list[Path]:
    """Draw faces with one attribute slid from `start` to `stop` (figure 1): a row a face, a column a value.

    Args:
        attribute: What to slide: 0 is absent, 1 is present, values outside exaggerate.
        start: Its first value.
        stop: Its last value.
        steps: How many values, evenly spaced, both ends included.
        gif: Write an animation as well, there and back for ever, to the output's name with the ending .gif. An output
            that itself ends in .gif is the animation, without a figure.

    The other arguments, what is returned and the errors are those of `swap`.
    """
    picture_format(output)
    _check_alignment(pictures, separate, align)
    files = [] if isinstance(pictures, Selection) else _picture_files(pictures)
    figure = None if output.suffix.lower() == ".gif" else output
    animation = output.with_suffix(".gif") if figure and gif else None if figure else output
    outputs = [path for path in (figure, animation) if path]
    _refuse(outputs, files, overwrite)
    loaded = load(model, device)
    if align is not None:
        loaded.require_alignment()
    schema = loaded.schema
    slid = schema.attributes[schema.index(attribute)]
    if not slid.binary:
        raise UserError(f"{attribute} is a switch between {', '.join(slid.values)}; fader swap shows each of them.")
    encoded = _encode(loaded, pictures if isinstance(pictures, Selection) else files, align)
    faces = encoded.faces
    if steps > MOST_PICTURES:
        raise UserError(f"{steps:,} steps are too many to look at; take {MOST_PICTURES:,} at most.")
    values = faces.swept(attribute, start, stop, steps)
    k = schema.index(attribute)
    edits = [Edit(f"{attribute} {_shown(slid, float(v[0, k]))}", (attribute,), v) for v in values.unbind(1)]
    rows = _rows(faces, edits)
    singles = _singles(separate, encoded.names, schema, edits, rows)
    _refuse(list(singles), files, overwrite)
    if figure:
        save_picture(figures.grid(rows, row_titles(edits)), figure)
    if animation:
        frames = [
            figures.grid([[row[0], row[2 + i]] for row in rows], ["original", edits[i].title]) for i in range(steps)
        ]
        figures.animation(frames + frames[-2:0:-1], animation)
    return [*outputs, *_save(singles, encoded, align)]


def _shown(attribute: Attribute, value: float) -> str:
    """A value as titles and file names show it: a number of a fader, the name of a switch's position."""
    return f"{round(value, 2) + 0.0:g}" if attribute.binary else attribute.values[int(value)]


def _rows(faces: Faces, edits: Sequence[Edit]) -> list[list[np.ndarray]]:
    pictures = len(faces.arrays) * (2 + len(edits))
    if pictures > MOST_PICTURES:
        raise UserError(
            f"A figure of {pictures:,} pictures is too many to look at; take fewer faces or columns, for"
            f" {MOST_PICTURES:,} at most."
        )
    return decode_rows(faces, edits)


def _picture_files(pictures: Sequence[Path]) -> list[Path]:
    """The files named, and the pictures in the folders named, sorted."""
    files = []
    for path in pictures:
        if path.is_dir():
            found = sorted(
                file
                for file in path.iterdir()
                if is_picture(file.name) and not file.name.startswith(".") and file.is_file()
            )
            if not found:
                raise UserError(f"{path}: there is no picture in this folder.")
            files += found
        else:
            files.append(path)
    return files


@dataclass(frozen=True)
class _Encoded:
    """The pictures of a figure, encoded."""

    names: list[str]
    faces: Faces
    files: Sequence[Path] = ()
    """Those of picture files."""


def _check_alignment(pictures: Sequence[Path] | Selection, separate: Path | None, align: Alignment | None) -> None:
    """Raises UserError if what is asked makes no sense."""
    if align is not None and isinstance(pictures, Selection):
        raise UserError("The pictures of a dataset are framed already; --align and --paste are for picture files.")
    if align is not None and align.paste and separate is None:
        raise UserError(
            "A figure shows what the model sees; for --paste name a folder as the output, or add --separate."
        )


def _encode(model: Model, pictures: Sequence[Path] | Selection, align: Alignment | None) -> _Encoded:
    """The pictures, from files or from a dataset, encoded."""
    encoded = _from_dataset(model, pictures) if isinstance(pictures, Selection) else _from_files(model, pictures, align)
    for i, name in enumerate(encoded.names):
        unsure = [
            f"{attribute.name} ({attribute.values[encoded.faces.labels[i, k]]}, {encoded.faces.confidences[i, k]:.0%})"
            for k, attribute in enumerate(model.schema)
            if encoded.faces.confidences[i, k] < UNSURE
        ]
        if unsure:
            say(f"{name}: unsure about {', '.join(unsure)}; a fader that starts from a wrong label seems not to work.")
    return encoded


def _from_files(model: Model, files: Sequence[Path], align: Alignment | None) -> _Encoded:
    arrays, placements, used = [], [], []
    for path in files:
        try:
            array, placement = framed(model, path, str(path), align)
        except UserError as error:
            say(f"Left out: {error}")
            continue
        used.append(path)
        arrays.append(array)
        if placement:
            placements.append(placement)
    if not arrays:
        raise UserError("No picture is left to edit; name one that can be read.")
    faces = model.encode_framed(np.stack(arrays))
    faces.placements = placements or None
    return _Encoded([path.stem for path in used], faces, used)


def _from_dataset(model: Model, selection: Selection) -> _Encoded:
    if selection.count < 1:
        raise UserError(f"A count of {selection.count} leaves no picture; give 1 at least.")
    whole = open_dataset(selection.dataset)
    data = view(whole, model.framing, min(model.size, whole.size))
    chosen = data.indices(selection.split)[: selection.count]
    arrays = np.stack([to_array(to_picture(array), model.size, model.channels) for array in data.images[chosen]])
    labels = np.full((len(chosen), len(model.schema)), -1)
    for k, attribute in enumerate(model.schema):
        if attribute.name in data.schema.names:
            labels[:, k] = data.labels[chosen][:, data.columns(Schema((attribute,)))[0]]
    return _Encoded([Path(name).stem for name in data.names[chosen].tolist()], model.encode_framed(arrays, labels))


def _refuse(outputs: Sequence[Path], inputs: Sequence[Path], overwrite: bool) -> None:
    """Raises UserError if an output is one of the inputs, or is there and may not be overwritten."""
    for path in outputs:
        if path.exists() and any(file.exists() and path.samefile(file) for file in inputs):
            raise UserError(f"{path} is one of the pictures themselves; name another output.")
        refuse_existing(path, overwrite)


@dataclass(frozen=True)
class _Single:
    """An edited picture that gets a file of its own."""

    row: int
    """Of the figure: which picture it is of."""
    edited: np.ndarray
    before: np.ndarray
    """The reconstruction."""


def _singles(
    folder: Path | None,
    names: Sequence[str],
    schema: Schema,
    edits: Sequence[Edit],
    rows: Sequence[Sequence[np.ndarray]],
) -> dict[Path, _Single]:
    """The single files of edited pictures and what each holds: PICTURE_ATTRIBUTE_VALUE.png."""
    if folder is None:
        return {}
    stems: list[str] = []
    for i, name in enumerate(names):
        for edit in edits:
            changed = [(one, schema.index(one)) for one in edit.changed]
            what = "_".join(f"{one}_{_shown(schema.attributes[k], float(edit.values[i, k]))}" for one, k in changed)
            stems.append(f"{safe(name)}_{safe(what)}")
    singles = [_Single(i, array, row[1]) for i, row in enumerate(rows) for array in row[2:]]
    return {folder / f"{stem}.png": single for stem, single in zip(distinct(stems), singles, strict=True)}


def _save(singles: dict[Path, _Single], encoded: _Encoded, align: Alignment | None) -> list[Path]:
    """Write the single files, pasted into their pictures if that is wanted and sensible. Returns those written."""
    if not singles or align is None or not align.paste:
        for path, single in singles.items():
            save_picture(to_picture(single.edited), path)
        return list(singles)
    placements = encoded.faces.placements or []
    reasons = encoded.faces.unfit_to_paste
    for file, reason in zip(encoded.files, reasons, strict=True):
        if reason:
            say(f"Not pasted: {file}: {reason}")
    written = {path: single for path, single in singles.items() if not reasons[single.row]}
    for path, single in written.items():
        photo = open_picture(encoded.files[single.row])
        save_picture(paste(photo, single.edited, placements[single.row], single.before), path)
    return list(written)
