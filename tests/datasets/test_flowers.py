"""Oxford-102: a small made-up set in the genuine layout, and MATLAB files that SciPy wrote."""

from __future__ import annotations

import base64
import contextlib
import shutil
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fader.datasets.flowers import named, prepare_flowers
from fader.datasets.matlab import MOST_BYTES, read_whole_numbers
from fader.datasets.prepared import PreparedDataset, open_dataset
from fader.errors import UserError
from fader.files import read_json
from tests.datasets.conftest import SaveColour
from tests.refusals import refusal

# scipy.io.savemat(path, {"trnid": np.array([[3.0, 1.0]]), "valid": np.array([[2.0]]), "tstid":
#   np.array([[4, 300]], np.uint16), "note": "text", "odd": np.array([0.5]), "c": np.array([1 + 2j])},
#   do_compression=True): doubles, integers, small elements, and kinds of array that are passed over.
SETID = bytes(124) + base64.b64decode(
    "AAFJTQ8AAAAxAAAAeJzjY2Bg8ABiNiDmgNIgwArlMwIxE5QGiZUU5WWmAGlOIBZggAEOBwj9wR4AakoEMg8AAAAoAAAAeJzjY2BgcABiNiDmgN"
    "IgwArlMyJhkFhZYk5mCpDmhMpDgQMAS9wC2Q8AAAAsAAAAeJzjY2BgsABiNiDmAGJuBghghfIZgZgJSoPESopLMlOANAsY6jACADeXAtcPAAAA"
    "KgAAAHic42NgYDAAYjYg5gBiFgYIYIXyGaFijEAyL78kVQBIl6RWlAAAKVUD9w8AAAAnAAAAeJzjY2BgsABiNiDmgNIgwArlM8IxM0N+SgoDJ1"
    "QcAh7YAwAxfQLVDwAAACsAAAB4nONjYGDwAGI2IOYA0SACCFihfEY4ZmRIBtKcUHEI+GCPymdwAABK5QJ4"
)
PINK, PLAIN = "A flower with Pink petals.", "This flower has many stamens on green, shredded leaves."


def matrix(name: bytes, values: np.ndarray, order: str = "<") -> bytes:
    """An array of doubles in a MATLAB file, with the name in an element of full size."""

    def element(kind: int, content: bytes) -> bytes:
        return struct.pack(f"{order}II", kind, len(content)) + content + bytes(-len(content) % 8)

    dimensions = np.array([1, len(values)], f"{order}i4").tobytes()
    parts = [struct.pack(f"{order}II", 6, 0), dimensions, name, values.astype(f"{order}f8").tobytes()]
    return element(14, b"".join(map(element, (6, 5, 1, 9), parts)))


def matlab(*elements: bytes, order: str = "<") -> bytes:
    return (
        b"MATLAB 5.0".ljust(124)
        + struct.pack(f"{order}H", 0x0100)
        + (b"IM" if order == "<" else b"MI")
        + b"".join(elements)
    )


@pytest.fixture
def flowers(tmp_path: Path, save_colour: SaveColour) -> Path:
    """Twelve flowers of two classes, of which as many captions name pink as the flower's number less one, at most 10.

    Numbers 4 and 5 are of class 2, the last is yellow as well.
    """
    root = tmp_path / "oxford"
    for number in range(1, 13):
        save_colour(root / "jpg" / f"image_{number:05}.jpg", number)
        pinks = min(number - 1, 10)
        captions = [PINK] * pinks + [PLAIN] * (10 - pinks)
        if number == 12:
            captions = [f"{caption[:-1]} and yellowish edges." for caption in captions]
        path = root / "text_c10" / f"class_{2 if number in (4, 5) else 1:05}" / f"image_{number:05}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(captions) + "\n")
    classes = np.array([2 if number in (4, 5) else 1 for number in range(1, 13)])
    (root / "imagelabels.mat").write_bytes(matlab(matrix(b"labels", classes)))
    splits = {b"tstid": [1, 2, 3, 4, 12], b"trnid": [5, 6, 7, 8, 9], b"valid": [11, 10]}
    (root / "setid.mat").write_bytes(matlab(*(matrix(name, np.array(ids)) for name, ids in splits.items())))
    return root


def prepared(folder: Path, **options: Any) -> PreparedDataset:
    output = folder.parent / "data"
    prepare_flowers(folder, output, **{"size": 32, "workers": 1, "overwrite": True, **options})
    return open_dataset(output)


def test_a_colour_is_what_at_least_five_captions_name(flowers: Path) -> None:
    dataset = prepared(flowers)
    assert dataset.schema.names == ("red", "orange", "yellow", "pink", "purple", "blue", "white")
    assert dataset.names.tolist() == [f"image_{number:05}" for number in range(1, 13)]
    # Numbers 1 to 5 have 0 to 4 captions with pink, number 6 has five.
    assert dataset.labels[:, 3].tolist() == [0] * 5 + [1] * 7
    assert dataset.labels[:, 2].tolist() == [0] * 11 + [1]
    assert not dataset.labels[:, [0, 1, 4, 5, 6]].any()
    assert dataset.info["source"]["at_least"] == 5
    assert "crimson" in dataset.info["source"]["words"]["red"]

    dataset = prepared(flowers, at_least=3, attributes=["pink"])
    assert dataset.schema.names == ("pink",)
    assert dataset.labels[:, 0].tolist() == [0] * 3 + [1] * 9
    assert prepared(flowers, at_least=10, attributes=["pink"]).labels[:, 0].tolist() == [0] * 10 + [1] * 2
    for wrong in (0, 11):
        assert f"at_least is {wrong}" in refusal(lambda wrong=wrong: prepared(flowers, at_least=wrong))  # type: ignore[misc]
    assert "no attribute 'green'" in refusal(lambda: prepared(flowers, attributes=["green"]))


@pytest.mark.parametrize(
    ("caption", "colours"),
    [
        ("the petals are red.", {"red"}),
        ("RED, Orange-tipped; yellow/white petals", {"red", "orange", "yellow", "white"}),
        ("pinkish purple", {"pink", "purple"}),
        ("lavender with bluish veins", {"purple", "blue"}),
        ("a coloured, layered, shredded flower, pinked at its whitewashed blueberry edge", set()),
        ("pink2 pink_petals", {"pink"}),  # Digits and underscores part words as spaces do.
        ("", set()),
    ],
)
def test_colours_are_named_by_whole_words(caption: str, colours: set[str]) -> None:
    names = ("red", "orange", "yellow", "pink", "purple", "blue", "white")
    assert {colour for colour in names if named([caption], colour)} == colours
    assert named([caption, "", caption], "red") == 2 * ("red" in colours)


def test_the_split_is_drawn_by_the_seed_or_the_published_one(flowers: Path) -> None:
    drawn = prepared(flowers, random_split=(0.25, 0.25))
    assert drawn.info["splits"] == {"train": 6, "valid": 3, "test": 3}
    again, other = (prepared(flowers, random_split=(0.25, 0.25), seed=seed).splits.copy() for seed in (0, 1))
    np.testing.assert_array_equal(again, drawn.splits)
    assert (other != again).any()
    assert prepared(flowers).info["splits"] == {"train": 10, "valid": 1, "test": 1}
    assert prepared(flowers, published_split=True).splits.tolist() == [2] * 4 + [0] * 5 + [1] * 2 + [2]
    assert "two splits" in refusal(lambda: prepared(flowers, published_split=True, random_split=(0.1, 0.1)))
    (flowers / "setid.mat").write_bytes(matlab(matrix(b"trnid", np.arange(1, 12))))
    assert "it has no split for image_00012" in refusal(lambda: prepared(flowers, published_split=True))
    (flowers / "setid.mat").unlink()
    assert "no setid.mat" in refusal(lambda: prepared(flowers, published_split=True))


def test_an_archive_gives_the_same_dataset(flowers: Path) -> None:
    fingerprint = prepared(flowers).fingerprint
    (flowers / "102flowers").mkdir()
    (flowers / "jpg").rename(flowers / "102flowers" / "jpg")
    archive = Path(shutil.make_archive(str(flowers.parent / "flowers"), "zip", flowers))
    assert prepared(archive).fingerprint == fingerprint


def test_pictures_without_ten_captions_are_left_out(flowers: Path) -> None:
    captions = flowers / "text_c10" / "class_00001"
    (captions / "image_00001.txt").write_text(f"{PINK}\n" * 9 + "\n")
    (captions / "image_00002.txt").write_text(f"{PINK}\n" * 10_000)
    (captions / "image_00003.txt").unlink()
    (flowers / "jpg" / "image_00004.jpg").unlink()
    dataset = prepared(flowers)
    assert dataset.names.tolist() == [f"image_{number:05}" for number in range(5, 13)]
    report = Path(dataset.path, "report.txt").read_text()
    for sentence in (
        "text_c10/class_00001/image_00001.txt: it has 9 captions, not 10.",
        "text_c10/class_00001/image_00002.txt: it is over the limit of 65,536 bytes.",
        "image_00003: there are no captions of it.",
        "text_c10/class_00002/image_00004.txt: there is no picture image_00004.",
    ):
        assert sentence in report
    assert read_json(Path(dataset.path) / "dataset.json")["source"]["left_out"] == 4
    assert "without --strict it is left out" in refusal(lambda: prepared(flowers, strict=True))


def test_a_folder_that_is_not_oxford_102_is_refused(flowers: Path) -> None:
    (flowers / "imagelabels.mat").write_bytes(matlab(matrix(b"labels", np.ones(12))))
    message = refusal(lambda: prepared(flowers))
    assert "image_00004 in class 1" in message
    assert "class_00002" in message
    (flowers / "imagelabels.mat").unlink()
    assert len(prepared(flowers)) == 12  # It is there for that check alone.
    copy = flowers / "text_c10" / "class_00002" / "image_00001.txt"
    shutil.copy(flowers / "text_c10" / "class_00001" / "image_00001.txt", copy)
    assert "are both of image_00001; remove one" in refusal(lambda: prepared(flowers))
    shutil.rmtree(flowers / "text_c10")
    assert "nothing like text_c10/class_00001/image_06734.txt" in refusal(lambda: prepared(flowers))


def test_files_that_scipy_wrote_are_read() -> None:
    arrays = read_whole_numbers(SETID, "setid.mat")
    assert {name: values.tolist() for name, values in arrays.items()} == {
        "trnid": [3, 1],
        "valid": [2],
        "tstid": [4, 300],
    }


@pytest.mark.parametrize("order", ["<", ">"])
def test_arrays_in_either_byte_order(order: str) -> None:
    plain = matrix(b"labels", np.arange(-3, 9), order)
    packed = zlib.compress(plain)
    packed += bytes((1 - len(packed)) % 8)  # Of an odd length: nothing after it is at a multiple of 8.
    other = matrix(b"other", np.array([4]), order)
    for element in (plain, struct.pack(f"{order}II", 15, len(packed)) + packed):
        arrays = read_whole_numbers(matlab(element, other, other, order=order), "x")
        assert arrays.keys() == {"labels", "other"}
        np.testing.assert_array_equal(arrays["labels"], np.arange(-3, 9))
        assert arrays["other"].tolist() == [4]


def compressed(content: bytes) -> bytes:
    packed = zlib.compress(content)
    return struct.pack("<II", 15, len(packed)) + packed


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not of version 5"),
        (b"\x89HDF" + bytes(600), "not of version 5"),
        (bytes(MOST_BYTES + 1), "over 1,048,576 bytes"),
        (matlab(compressed(bytes(MOST_BYTES + 8))), "when unpacked"),
        (matlab(*[compressed(matrix(b"a", np.zeros(50_000)))] * 3), "when unpacked"),
        (matlab(struct.pack("<II", 14, 2**32 - 1)), "cut off"),
        (matlab(matrix(b"labels", np.arange(9)).replace(struct.pack("<ii", 1, 9), struct.pack("<ii", 1, 99))), "99"),
        (matlab(matrix(b"labels", np.arange(9)))[:-3], "cut off"),
        (matlab(struct.pack("<II", 15, 4) + b"zlib"), "header"),
        (matlab(struct.pack("<II", 14, 0)), "cut off"),
    ],
)
def test_damaged_and_harmful_files_are_refused(content: bytes, reason: str) -> None:
    message = refusal(lambda: read_whole_numbers(content, "setid.mat"))
    assert message.startswith("setid.mat: ")
    assert reason in message


def test_no_damage_to_a_file_gets_past_the_reader() -> None:
    """With any one byte changed, or cut anywhere, it is read or refused in a sentence; another error fails here."""
    whole = matlab(matrix(b"labels", np.arange(4)))
    for at in range(124, len(whole)):
        for content in (whole[:at], whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :]):
            with contextlib.suppress(UserError):
                assert all(values.dtype == np.int64 for values in read_whole_numbers(content, "x").values())
