"""The verbs `swap` and `slide`: figures of anyone's pictures with their attributes changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fader import figures
from fader.attributes import Attribute, Schema
from fader.datasets.pictures import is_picture
from fader.datasets.prepared import Location, open_dataset
from fader.errors import UserError
from fader.files import refuse_existing
from fader.images import picture_format, save_picture, to_array, to_picture
from fader.model import Faces, Model, load
from fader.progress import say

UNSURE = 0.8  # A label estimated with less confidence than this is named.
MOST_PICTURES = 5000  # In a figure: more could not be looked at, and would fill the memory.
LONGEST_NAME = 60  # Bytes of each part of a file name; file systems take 255 in all.


def swap(
    model: Path,
    pictures: Sequence[Path],
    output: Path,
    attributes: Sequence[str] = (),
    together: bool = False,
    separate: Path | None = None,
    dataset: Location | None = None,
    split: str = "test",
    count: int = 10,
    device: str = "auto",
    overwrite: bool = False,
) -> list[Path]:
    """Draw faces with each of their attributes swapped by itself (figure 3): a row a face, a column an attribute.

    Args:
        model: A model folder or a run folder.
        pictures: Picture files of any size, and folders of such; none with `dataset`.
        output: The figure to write.
        attributes: What to swap; by default all that the model has. One of more than two values has a column for each.
        together: Add a column with all of these attributes swapped at once (figure 4).
        separate: A folder to write every edited picture to by itself as well, named by picture, attribute and value.
        dataset: A prepared dataset to take pictures and their true labels from.
        split: Which of its splits.
        count: How many of its pictures, from the first on.
        device: "auto", "cpu", "cuda", ...
        overwrite: Whether files to be written may be there already.

    Labels of pictures are estimated by the model's classifier. Returns the files written. Raises UserError, with
    nothing written, on unusable input and where a file to be written exists or is itself one of the pictures.
    """
    picture_format(output)
    files = _picture_files(pictures)
    _refuse([output], files, overwrite)
    loaded = load(model, device)
    schema = loaded.schema
    chosen = schema.select(tuple(dict.fromkeys(attributes))) if attributes else schema
    if together and len(chosen) < 2:
        raise UserError("Swapping together takes two attributes at least; name more, or leave out --together.")
    names, faces = _encode(loaded, files, dataset, split, count)
    columns = [column for attribute in chosen for column in _swapped(schema, faces.labels, attribute)]
    if together:
        columns.append(Column("together", chosen.names, _flipped(schema, faces.labels, chosen.names)))
    rows = _rows(faces, columns)
    singles = _singles(separate, names, schema, columns, rows)
    _refuse(list(singles), files, overwrite)
    save_picture(figures.grid(rows, _titles(columns)), output)
    _save(singles)
    return [output, *singles]


def slide(
    model: Path,
    pictures: Sequence[Path],
    output: Path,
    attribute: str,
    start: float = -1.0,
    stop: float = 2.0,
    steps: int = 10,
    gif: bool = False,
    separate: Path | None = None,
    dataset: Location | None = None,
    split: str = "test",
    count: int = 10,
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
    files = _picture_files(pictures)
    figure = None if output.suffix.lower() == ".gif" else output
    animation = output.with_suffix(".gif") if figure and gif else None if figure else output
    outputs = [path for path in (figure, animation) if path]
    _refuse(outputs, files, overwrite)
    loaded = load(model, device)
    schema = loaded.schema
    slid = schema.attributes[schema.index(attribute)]
    if not slid.binary:
        raise UserError(f"{attribute} is a switch between {', '.join(slid.values)}; fader swap shows each of them.")
    names, faces = _encode(loaded, files, dataset, split, count)
    if steps > MOST_PICTURES:
        raise UserError(f"{steps:,} steps are too many to look at; take {MOST_PICTURES:,} at most.")
    values = faces.swept(attribute, start, stop, steps)
    k = schema.index(attribute)
    columns = [Column(f"{attribute} {_shown(slid, float(v[0, k]))}", (attribute,), v) for v in values.unbind(1)]
    rows = _rows(faces, columns)
    singles = _singles(separate, names, schema, columns, rows)
    _refuse(list(singles), files, overwrite)
    if figure:
        save_picture(figures.grid(rows, _titles(columns)), figure)
    if animation:
        frames = [
            figures.grid([[row[0], row[2 + i]] for row in rows], ["original", columns[i].title]) for i in range(steps)
        ]
        figures.animation(frames + frames[-2:0:-1], animation)
    _save(singles)
    return [*outputs, *singles]


@dataclass(frozen=True)
class Column:
    """A column of a figure: its title, which attributes are not the pictures' own in it, and the values [N, n]."""

    title: str
    changed: tuple[str, ...]
    values: Tensor


def _swapped(schema: Schema, labels: Tensor, attribute: Attribute) -> list[Column]:
    """The column in which a binary attribute is swapped, or one column for each value of a categorical one."""
    name = attribute.name
    if attribute.binary:
        return [Column(name, (name,), schema.flipped(labels, name))]
    columns = []
    for label, value in enumerate(attribute.values):
        values = labels.clone()
        values[:, schema.index(name)] = label
        columns.append(Column(f"{name} {value}", (name,), values))
    return columns


def _flipped(schema: Schema, labels: Tensor, names: Sequence[str]) -> Tensor:
    for name in names:
        labels = schema.flipped(labels, name)
    return labels


def _titles(columns: Sequence[Column]) -> list[str]:
    return ["original", "reconstruction", *(column.title for column in columns)]


def _shown(attribute: Attribute, value: float) -> str:
    """A value as titles and file names show it: a number of a fader, the name of a switch's position."""
    return f"{round(value, 2) + 0.0:g}" if attribute.binary else attribute.values[int(value)]


def _rows(faces: Faces, columns: Sequence[Column]) -> list[list[np.ndarray]]:
    """A row a face: the picture, its reconstruction, then the columns."""
    pictures = len(faces.arrays) * (2 + len(columns))
    if pictures > MOST_PICTURES:
        raise UserError(
            f"A figure of {pictures:,} pictures is too many to look at; take fewer faces or columns, for"
            f" {MOST_PICTURES:,} at most."
        )
    values = torch.stack([faces.labels.float(), *(column.values.float() for column in columns)], dim=1)
    return [[original, *decoded] for original, decoded in zip(faces.arrays, faces.decode(values), strict=True)]


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


def _encode(
    model: Model, files: Sequence[Path], dataset: Location | None, split: str, count: int
) -> tuple[list[str], Faces]:
    """The names of the pictures, from files or from a dataset, and the pictures encoded."""
    if bool(files) == (dataset is not None):
        raise UserError("Give pictures, or --dataset with a prepared dataset to take them from: one of the two.")
    names, faces = _from_files(model, files) if dataset is None else _from_dataset(model, dataset, split, count)
    for i, name in enumerate(names):
        unsure = [
            f"{attribute.name} ({attribute.values[faces.labels[i, k]]}, {faces.confidences[i, k]:.0%})"
            for k, attribute in enumerate(model.schema)
            if faces.confidences[i, k] < UNSURE
        ]
        if unsure:
            say(f"{name}: unsure about {', '.join(unsure)}; a fader that starts from a wrong label seems not to work.")
    return names, faces


def _from_files(model: Model, files: Sequence[Path]) -> tuple[list[str], Faces]:
    names, arrays = [], []
    for path in files:
        try:
            arrays.append(model.frame(path))
            names.append(path.stem)
        except UserError as error:
            say(f"Left out: {error}")
    if not arrays:
        raise UserError("No picture is left to edit; name one that can be read.")
    return names, model.encode_framed(np.stack(arrays))


def _from_dataset(model: Model, location: Location, split: str, count: int) -> tuple[list[str], Faces]:
    if count < 1:
        raise UserError(f"A count of {count} leaves no picture; give 1 at least.")
    data = open_dataset(location)
    chosen = data.indices(split)[:count]
    arrays = np.stack([to_array(to_picture(array), model.size, model.channels) for array in data.images[chosen]])
    known = [name for name in model.schema.names if name in data.schema.names]
    labels = data.labels[chosen][:, data.columns(model.schema.select(known))] if known else np.empty((len(chosen), 0))
    values = [dict(zip(known, row, strict=True)) for row in labels.tolist()]
    return [Path(name).stem for name in data.names[chosen].tolist()], model.encode_framed(arrays, values)


def _refuse(outputs: Sequence[Path], inputs: Sequence[Path], overwrite: bool) -> None:
    """Raises UserError if an output is one of the inputs, or is there and may not be overwritten."""
    for path in outputs:
        if path.exists() and any(file.exists() and path.samefile(file) for file in inputs):
            raise UserError(f"{path} is one of the pictures themselves; name another output.")
        refuse_existing(path, overwrite)


def _singles(
    folder: Path | None,
    names: Sequence[str],
    schema: Schema,
    columns: Sequence[Column],
    rows: Sequence[Sequence[np.ndarray]],
) -> dict[Path, np.ndarray]:
    """The single files of edited pictures and what each holds: PICTURE_ATTRIBUTE_VALUE.png."""
    singles: dict[Path, np.ndarray] = {}
    if folder is None:
        return singles
    taken = set()
    for i, name in enumerate(names):
        for column, array in zip(columns, rows[i][2:], strict=True):
            changed = [(schema.index(attribute), attribute) for attribute in column.changed]
            values = [_shown(schema.attributes[k], float(column.values[i, k])) for k, _ in changed]
            edits = "_".join(f"{attribute}_{value}" for (_, attribute), value in zip(changed, values, strict=True))
            stem = f"{_safe(name)}_{_safe(edits)}"
            unique, number = stem, 1
            while unique.casefold() in taken:
                number += 1
                unique = f"{stem}_{number}"
            taken.add(unique.casefold())
            singles[folder / f"{unique}.png"] = array
    return singles


def _safe(name: str) -> str:
    """A part of a file name of a name that may hold anything: letters, digits, and what is harmless in every system."""
    name = "".join(c if c.isalnum() or c in "_-+." else "_" for c in name).lstrip(".")
    return name.encode()[:LONGEST_NAME].decode(errors="ignore") or "_"


def _save(singles: dict[Path, np.ndarray]) -> None:
    for path, array in singles.items():
        save_picture(to_picture(array), path)
