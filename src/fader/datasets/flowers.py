"""A source: Oxford-102 (Nilsback and Zisserman 2008), with colours taken from captions as section 5.2 says.

The folder, or one zip archive, holds at any depth

- `jpg/image_00001.jpg` ...: the pictures, from the page of their authors
- `text_c10/class_00001/image_06734.txt` ...: ten captions of each, a line each (Reed et al. 2016)
- `imagelabels.mat` and `setid.mat`: the class of every picture and the published split; only the latter is needed, and
  only where that split is asked for
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from fader.attributes import Schema
from fader.datasets.folder import RANDOM_SPLIT, random_splits
from fader.datasets.matlab import MOST_BYTES, read_whole_numbers
from fader.datasets.pictures import PictureFiles, PictureReader
from fader.datasets.preparation import Source, check_output, prepare
from fader.errors import UserError, printable
from fader.images import Framing

COLOURS = {
    "red": ("red", "reds", "reddish", "crimson", "scarlet"),
    "orange": ("orange", "oranges", "orangish", "orangeish"),
    "yellow": ("yellow", "yellows", "yellowish"),
    "pink": ("pink", "pinks", "pinkish"),
    "purple": ("purple", "purples", "purplish", "violet", "lavender", "lilac"),
    "blue": ("blue", "blues", "bluish", "blueish"),
    "white": ("white", "whites", "whitish"),
}
"""The words that name a colour. Green is left out: captions name it for leaves and stems."""
CAPTIONS, AT_LEAST = 10, 5
MOST_CAPTION_BYTES = 1 << 16

_PICTURE = re.compile(r"(?:.*/)?jpg/(image_\d{5})\.jpg")
_CAPTIONS = re.compile(r"(?:.*/)?text_c10/class_(\d{5})/(image_\d{5})\.txt")
_WORD = re.compile(r"[^\W\d_]+")
_SPLIT_NAMES = ("trnid", "valid", "tstid")


def prepare_flowers(
    folder: Path,
    output: Path,
    *,
    attributes: Sequence[str] | None = None,
    at_least: int = AT_LEAST,
    size: int = 64,
    channels: int = 3,
    random_split: tuple[float, float] | None = None,
    published_split: bool = False,
    seed: int = 0,
    workers: int | None = None,
    strict: bool = False,
    overwrite: bool = False,
) -> str:
    """Make a dataset of Oxford-102 whose attributes are the colours that the captions name.

    A flower has a colour if at least `at_least` of its ten captions name it, by one of the words of COLOURS, as a whole
    word in any case. It may have several colours, or none. Pictures without ten captions are left out.

    Args:
        folder: Where the pictures and the captions are, a directory or a zip archive.
        output: The dataset's folder.
        attributes: The colours to take; by default all of COLOURS.
        at_least: In how many of the ten captions a colour has to be named.
        size: Side of the prepared pictures in pixels; 64 in the paper. The centred square is cut out.
        channels: 3 for colour, 1 for grey.
        random_split: The shares of the pictures that are drawn for validation and for testing; by default 0.1 and 0.1.
        published_split: Take the split of setid.mat, which has 1,020 of 8,189 pictures for training: few for a network.
        seed: Another seed draws another split.
        workers: Processes that read pictures; by default one a processor.
        strict: Stop at the first picture that has not ten captions or cannot be read, instead of leaving it out.
        overwrite: Replace the output if it exists.

    Returns the closing report. Raises UserError.
    """
    check_output(output, overwrite, [folder])
    if not 1 <= at_least <= CAPTIONS:
        raise UserError(f"at_least is {at_least}; a flower has {CAPTIONS} captions, so it has to be from 1 to that.")
    if published_split and random_split is not None:
        raise UserError("published_split and random_split are two splits; leave out one.")
    schema = Schema.binary(COLOURS).select(attributes or list(COLOURS))
    reader = PictureReader(Framing(), size, channels)
    with PictureFiles(folder) as files:
        pictures, captions = _found(files)
        _check_classes(files, captions)
        names, labels = [], []
        left_out = [f"{file}: there is no picture {name}." for name, file in captions.items() if name not in pictures]
        for name in pictures:
            try:
                if name not in captions:
                    raise UserError(f"{name}: there are no captions of it.")
                lines = _captions(files, captions[name])
            except UserError as error:
                left_out.append(str(error))
            else:
                names.append(name)
                labels.append([named(lines, colour) >= at_least for colour in schema.names])
        if not names:
            raise UserError(f"{folder}: no picture has its captions; the first: {left_out[0]}")
        source = Source(
            schema=schema,
            names=names,
            labels=np.array(labels, dtype=np.uint8),
            splits=_published_splits(files, names)
            if published_split
            else random_splits(names, random_split or RANDOM_SPLIT, seed),
            size=size,
            channels=channels,
            fetch=lambda i: files.hand_over(pictures[names[i]]),
            render=reader,
            framing=reader.framing,
            info={
                "kind": "flowers",
                "pictures": printable(folder.name),
                "at_least": at_least,
                "words": {colour: list(COLOURS[colour]) for colour in schema.names},
            },
            left_out=left_out,
        )
        return prepare(source, output, workers, strict, overwrite)


def named(captions: Sequence[str], colour: str) -> int:
    """How many of the captions name a colour of COLOURS: as a whole word ("pink-edged" does, "shredded" is not red)."""
    words = set(COLOURS[colour])
    return sum(not words.isdisjoint(_WORD.findall(caption.casefold())) for caption in captions)


def _found(files: PictureFiles) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """The files of the pictures and of the captions, by the picture's name (image_00001), in order."""
    pictures, captions = (_by_name(files, pattern, group) for pattern, group in ((_PICTURE, 1), (_CAPTIONS, 2)))
    for what, found in (("jpg/image_00001.jpg", pictures), ("text_c10/class_00001/image_06734.txt", captions)):
        if not found:
            raise UserError(f"{files.path}: there is nothing like {what} in it; Oxford-102 has its files so.")
    return pictures, captions


def _by_name(files: PictureFiles, pattern: re.Pattern[str], group: int) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for file in files.names:
        if match := pattern.fullmatch(file):
            name = match[group]
            if name in found:
                raise UserError(f"{files.path}: {found[name]!r} and {file!r} are both of {name}; remove one.")
            found[name] = file
    return dict(sorted(found.items()))


def _captions(files: PictureFiles, file: str) -> list[str]:
    text = files.read(file, MOST_CAPTION_BYTES).decode("utf-8", "replace")
    lines = [line for line in text.splitlines() if line.strip()]
    if len(lines) != CAPTIONS:
        raise UserError(f"{file}: it has {len(lines)} captions, not {CAPTIONS}.")
    return lines


def _check_classes(files: PictureFiles, captions: Mapping[str, str]) -> None:
    """Raises UserError if imagelabels.mat is there and says that a picture is of another class than its captions."""
    vectors = _vectors(files, "imagelabels.mat")
    if vectors is None:
        return
    where, labels = files.path / "imagelabels.mat", vectors.get("labels", np.array([], dtype=np.int64))
    for name, file in captions.items():
        match = _CAPTIONS.fullmatch(file)
        assert match
        number = _number(name)
        found = labels[number - 1] if 1 <= number <= len(labels) else None
        if found != int(match[1]):
            raise UserError(
                f"{where}: it has {name} in class {found or 'none'}, and the captions are in {file}; pictures and"
                " captions do not belong together."
            )


def _published_splits(files: PictureFiles, names: Sequence[str]) -> np.ndarray:
    """uint8 [N]: by setid.mat, which lists the numbers of the pictures of each split."""
    vectors = _vectors(files, "setid.mat")
    if vectors is None:
        raise UserError(f"{files.path}: there is no setid.mat in it, which has the published split.")
    splits = {
        int(number): k for k, name in enumerate(_SPLIT_NAMES) for number in vectors.get(name, np.array([])).tolist()
    }
    for name in names:
        if _number(name) not in splits:
            raise UserError(f"{files.path / 'setid.mat'}: it has no split for {name}; fetch it again.")
    return np.array([splits[_number(name)] for name in names], dtype=np.uint8)


def _vectors(files: PictureFiles, name: str) -> Mapping[str, np.ndarray] | None:
    """What a MATLAB file has, by name, or None if there is no such file."""
    file = next((file for file in files.names if file.rpartition("/")[2] == name), None)
    return None if file is None else read_whole_numbers(files.read(file, MOST_BYTES), str(files.path / file))


def _number(name: str) -> int:
    return int(name.removeprefix("image_"))
