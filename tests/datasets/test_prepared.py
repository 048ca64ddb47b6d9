"""The prepared format: round trips, and everything that a damaged or hostile folder may hold."""

import io
import json
import os
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fader.attributes import Attribute, Schema
from fader.datasets.portraits import specification
from fader.datasets.prepared import BLOCK, DatasetWriter, PreparedDataset, open_dataset
from fader.errors import UserError
from fader.images import Framing
from tests.refusals import refusal

SCHEMA = Schema((Attribute("Hat"), Attribute("Hair", ("black", "blond", "red"))))
COUNT = 7
IMAGES = np.random.default_rng(0).integers(0, 256, (COUNT, 4, 4, 3), dtype=np.uint8)
LABELS = np.array([[0, 2], [1, 0], [1, 1], [0, 0], [0, 1], [1, 2], [1, 2]])
SPLITS = [0, 0, 1, 0, 2, 1, 0]
NAMES = [f"å{i}.jpg" for i in range(COUNT)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    write(folder)
    return folder


def write(folder: Path) -> None:
    with DatasetWriter(folder, SCHEMA, 4, 3) as writer:
        for image, labels, split, name in zip(IMAGES, LABELS, SPLITS, NAMES, strict=True):
            writer.add(image, labels, split, name)
        writer.finish({"crop": "centre"}, {"kind": "folder"})


def test_round_trip(folder: Path) -> None:
    dataset = open_dataset(folder)
    assert len(dataset) == COUNT
    assert (dataset.schema, dataset.size, dataset.channels) == (SCHEMA, 4, 3)
    np.testing.assert_array_equal(dataset.images[:], IMAGES)
    assert dataset.images.shape == IMAGES.shape
    np.testing.assert_array_equal(dataset.labels, LABELS)
    assert dataset.labels.dtype == np.int64
    assert dataset.names.tolist() == NAMES
    assert dataset.indices("train").tolist() == [0, 1, 3, 6]
    assert dataset.indices("valid").tolist() == [2, 5]
    assert dataset.indices("test").tolist() == [4]
    assert dataset.info["splits"] == {"train": 4, "valid": 2, "test": 1}
    with pytest.raises(ValueError, match="read-only"):
        dataset.images[0][:] = 0
    dataset.verify()


def test_plain_numpy_reads_what_is_written(folder: Path) -> None:
    np.testing.assert_array_equal(np.load(folder / "images.npy", mmap_mode="r"), IMAGES)
    with np.load(folder / "labels.npz", allow_pickle=False) as arrays:
        assert all(not array.dtype.hasobject for array in arrays.values())
        np.testing.assert_array_equal(arrays["labels"], LABELS)


def test_the_same_content_is_the_same_bytes_and_other_content_has_another_fingerprint(
    folder: Path, tmp_path: Path
) -> None:
    again = tmp_path / "again"
    again.mkdir()
    write(again)
    for name in ("images.npy", "labels.npz", "dataset.json"):
        assert (again / name).read_bytes() == (folder / name).read_bytes()
    fingerprint = open_dataset(folder).fingerprint
    assert open_dataset(again).fingerprint == fingerprint
    for k, changed in enumerate([(IMAGES[0] ^ 1, [0, 2], 0, "å0.jpg"), (IMAGES[0], [0, 2], 0, "b.jpg")]):
        other = tmp_path / f"other{k}"
        other.mkdir()
        with DatasetWriter(other, SCHEMA, 4, 3) as writer:
            writer.add(changed[0], np.array(changed[1]), changed[2], changed[3])
            for image, labels, split, name in list(zip(IMAGES, LABELS, SPLITS, NAMES, strict=True))[1:]:
                writer.add(image, labels, split, name)
            writer.finish({"crop": "centre"}, {"kind": "folder"})
        assert open_dataset(other).fingerprint != fingerprint


def test_verify_names_the_block_that_was_changed(tmp_path: Path) -> None:
    schema = Schema.binary(["Hat"])
    with DatasetWriter(tmp_path, schema, 1, 1) as writer:
        for i in range(BLOCK + 5):
            writer.add(np.full((1, 1, 1), i % 251, np.uint8), np.array([i % 2]), 0, str(i))
        writer.finish({"crop": "centre"}, {})
    dataset = open_dataset(tmp_path)
    dataset.verify()
    assert len(dataset.info["checksums"]["images.npy"]) == 2
    with (tmp_path / "images.npy").open("r+b") as stream:
        stream.seek(-2, io.SEEK_END)
        stream.write(b"\xff")
    with pytest.raises(UserError, match=f"pictures {BLOCK} to {BLOCK + 4} were changed"):
        open_dataset(tmp_path).verify()
    # A block is verified when the first of its pictures is read, and not before.
    images = open_dataset(tmp_path).images
    assert images[np.array([0, BLOCK - 1])].ravel().tolist() == [0, (BLOCK - 1) % 251]
    for which in (BLOCK, slice(BLOCK - 1, BLOCK + 1), np.array([3, BLOCK + 4])):
        with pytest.raises(UserError, match=f"pictures {BLOCK} to {BLOCK + 4} were changed"):
            images[which]


@pytest.mark.skipif(not hasattr(os, "posix_fadvise"), reason="the page cache takes no advice here")
def test_what_is_on_the_disk_leaves_the_page_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left: list[tuple[int, int, int]] = []
    monkeypatch.setattr(os, "posix_fadvise", lambda descriptor, *advice: left.append(advice))
    with DatasetWriter(tmp_path, Schema.binary(["Hat"]), 2, 1) as writer:
        for i in range(2 * BLOCK + 5):
            writer.add(np.zeros((2, 2, 1), np.uint8), np.array([i % 2]), 0, str(i))
        writer.finish({"crop": "centre"}, {})
    header, block, last = (tmp_path / "images.npy").stat().st_size - 4 * (2 * BLOCK + 5), 4 * BLOCK, 4 * 5
    assert sorted(left) == [
        (header, block, os.POSIX_FADV_DONTNEED),
        (header + block, block, os.POSIX_FADV_DONTNEED),
        (header + 2 * block, last, os.POSIX_FADV_DONTNEED),
    ]


def test_changed_labels_are_found_when_it_is_opened(folder: Path) -> None:
    np.savez(
        folder / "labels.npz", labels=LABELS.astype(np.uint8)[::-1], splits=np.array(SPLITS, np.uint8), names=NAMES
    )
    with pytest.raises(UserError, match=r"labels\.npz: it was changed"):
        open_dataset(folder)


def test_columns_of_a_schema(folder: Path) -> None:
    dataset = open_dataset(folder)
    assert dataset.columns(SCHEMA.select(["Hair", "Hat"])) == [1, 0]
    with pytest.raises(UserError, match="no attribute 'Beard'; there are Hat, Hair"):
        dataset.columns(Schema.binary(["Beard"]))
    with pytest.raises(UserError, match="has the values black, blond, red, not absent, present"):
        dataset.columns(Schema.binary(["Hair"]))


def test_splits_that_are_not_there(tmp_path: Path) -> None:
    with DatasetWriter(tmp_path, SCHEMA, 4, 3) as writer:
        writer.add(IMAGES[0], LABELS[0], 1, "a")
        writer.finish({"crop": "centre"}, {})
    dataset = open_dataset(tmp_path)
    with pytest.raises(UserError, match="no picture is in split 'test'; there are pictures in valid"):
        dataset.indices("test")
    with pytest.raises(UserError, match="no split 'dev'"):
        dataset.indices("dev")


def test_only_portraits_have_counterfactuals(folder: Path) -> None:
    dataset = open_dataset(folder)
    assert not dataset.has_counterfactuals
    with pytest.raises(UserError, match="portraits only"):
        dataset.counterfactual(0, {"Hat": 1})


@pytest.mark.parametrize(
    ("schema", "channels", "names"),
    [
        (specification.SCHEMA, 3, ["0", "no"]),
        (specification.SCHEMA, 3, ["0", "1" * 5000]),
        (specification.SCHEMA, 1, ["0", "1"]),
        (Schema.binary(["Hat", "Halo"]), 3, ["0", "1"]),
    ],
)
def test_what_only_claims_to_be_of_portraits_has_none(
    tmp_path: Path, schema: Schema, channels: int, names: list[str]
) -> None:
    def claiming(folder: Path, schema: Schema, channels: int, names: list[str]) -> PreparedDataset:
        folder.mkdir()
        with DatasetWriter(folder, schema, 32, channels) as writer:
            for name in names:
                writer.add(np.zeros((32, 32, channels), np.uint8), np.zeros(len(schema), np.uint8), 0, name)
            writer.finish(Framing().to_json(), {"specification": specification.NAME})
        return open_dataset(folder)

    assert claiming(tmp_path / "sound", specification.SCHEMA, 3, ["0", "999999999"]).has_counterfactuals
    dataset = claiming(tmp_path / "claiming", schema, channels, names)
    assert not dataset.has_counterfactuals
    assert "portraits only" in refusal(lambda: dataset.counterfactual(1, {"Hat": 1}))


def test_the_writer_refuses_other_shapes(tmp_path: Path) -> None:
    with DatasetWriter(tmp_path, SCHEMA, 4, 3) as writer, pytest.raises(ValueError, match="is not uint8"):
        writer.add(IMAGES[0, :3], LABELS[0], 0, "a")


def test_a_full_disk_is_told_in_one_sentence(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("/dev/full is not here")
    (tmp_path / "images.npy").symlink_to("/dev/full")
    big = np.zeros((600, 600, 3), np.uint8)
    with pytest.raises(UserError, match="No space left"), DatasetWriter(tmp_path, SCHEMA, 600, 3) as writer:
        writer.add(big, LABELS[0], 0, "a")


def manifest(folder: Path, **changes: Any) -> None:
    path = folder / "dataset.json"
    info = json.loads(path.read_text())
    path.write_text(json.dumps({**info, **changes}))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"format": "zip"}, "does not describe a prepared dataset"),
        ({"version": 2}, "version 2, and this fader reads version 1; update fader"),
        ({"version": "1"}, "damaged"),
        ({"attributes": None}, "attributes"),
        ({"attributes": [{"name": "Hat", "values": ["a"]}]}, "two at least"),
        ({"size": "4"}, "damaged"),
        ({"size": 10**9}, "damaged"),
        ({"channels": 2}, "damaged"),
        ({"count": 0}, "damaged"),
        ({"count": COUNT + 1}, r"images\.npy: it does not hold the pictures"),
        ({"count": 10**30}, "damaged"),
        ({"count": 10**400}, "damaged"),
        ({"checksums": {}}, "damaged"),
        ({"checksums": {"images.npy": 3, "labels.npz": ""}}, "damaged"),
        ({"source": "portraits"}, "damaged"),
        ({"splits": {"train": 7, "valid": 0, "test": 0}}, "splits are not those"),
        ({"attributes": [{"name": "Hat", "values": ["a", "b"]}]}, r"labels\.npz: it does not hold the labels"),
        ({"attributes": Schema.binary(["Hat", "Hair"]).to_json()}, "labels or splits that there are not"),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused(folder: Path, changes: dict[str, Any], reason: str) -> None:
    manifest(folder, **changes)
    with pytest.raises(UserError, match=reason) as caught:
        open_dataset(folder)
    assert str(folder) in str(caught.value)


def test_a_folder_that_is_no_dataset_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing"):
        with pytest.raises(UserError, match="no prepared dataset here"):
            open_dataset(path)
    for text in ("[]", "{", ""):
        (tmp_path / "dataset.json").write_text(text)
        with pytest.raises(UserError, match=r"dataset\.json"):
            open_dataset(tmp_path)


@pytest.mark.parametrize("name", ["images.npy", "labels.npz"])
@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "longer", "noise", "folder"])
def test_damaged_arrays_are_refused(folder: Path, name: str, damage: str) -> None:
    path = folder / name
    data = path.read_bytes()
    path.unlink()
    if damage == "folder":
        path.mkdir()
    elif damage != "missing":
        noise = np.random.default_rng(0).bytes(len(data))
        path.write_bytes({"empty": b"", "cut": data[:-9], "longer": data + b"more", "noise": noise}[damage])
    with pytest.raises(UserError, match=name):
        open_dataset(folder)


class Trap:
    def __reduce__(self) -> tuple[Any, ...]:
        return shutil.rmtree, ("/nowhere/at/all",)


def npy(array: np.ndarray, allow_pickle: bool = False) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=allow_pickle)
    return stream.getvalue()


def test_pickles_are_never_loaded(folder: Path) -> None:
    trap = npy(np.array([Trap()] * COUNT, dtype=object), allow_pickle=True)
    with zipfile.ZipFile(folder / "labels.npz") as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    for name in entries:
        with zipfile.ZipFile(folder / "labels.npz", "w") as archive:
            for entry, data in {**entries, name: trap}.items():
                archive.writestr(entry, data)
        with pytest.raises(UserError, match="does not hold the labels"):
            open_dataset(folder)
    (folder / "images.npy").write_bytes(trap)
    with pytest.raises(UserError, match=r"images\.npy"):
        open_dataset(folder)


def test_absurd_claims_are_refused_before_memory_is_taken(folder: Path) -> None:
    def claim(shape: tuple[int, ...], descr: str = "|u1") -> bytes:
        stream = io.BytesIO()
        np.lib.format.write_array_header_1_0(stream, {"descr": descr, "fortran_order": False, "shape": shape})
        return stream.getvalue()

    with zipfile.ZipFile(folder / "labels.npz") as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    # Names of 10**12 characters each; a count that only the header claims; zeros that compress a thousandfold.
    bomb = claim((COUNT,), f"<U{10**7}") + bytes(4 * COUNT * 10**7 // 100)
    for data, kind in [
        (claim((COUNT,), f"<U{10**12}"), zipfile.ZIP_STORED),
        (claim((10**15,), "<U1"), zipfile.ZIP_STORED),
        (bomb, zipfile.ZIP_DEFLATED),
    ]:
        with zipfile.ZipFile(folder / "labels.npz", "w", kind) as archive:
            for entry, content in {**entries, "names.npy": data}.items():
                archive.writestr(entry, content)
        with pytest.raises(UserError, match="does not hold the labels"):
            open_dataset(folder)
    (folder / "images.npy").write_bytes(claim((10**15, 4, 4, 3)))
    manifest(folder, count=10**15, checksums={"images.npy": [], "labels.npz": ""})
    with pytest.raises(UserError, match="damaged"):
        open_dataset(folder)


def test_names_that_are_not_text_are_refused(folder: Path) -> None:
    names = np.full((COUNT, 1), 0xFFFFFFFF, dtype="<u4").view("<U1").reshape(COUNT)
    np.savez(folder / "labels.npz", labels=LABELS.astype(np.uint8), splits=np.array(SPLITS, np.uint8), names=names)
    with pytest.raises(UserError, match="names that are not text"):
        open_dataset(folder)
