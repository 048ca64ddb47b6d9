"""CelebA in all its packagings: made up, so that it always runs, and the real thing where it is there."""

import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fader.datasets.celeba import prepare_celeba
from fader.datasets.prepared import PreparedDataset, open_dataset
from fader.errors import UserError

NAMES = ["5_o_Clock_Shadow", "Eyeglasses", "Smiling"]
# At both edges of each of the standard splits.
NUMBERS = [1, 2, 162_770, 162_771, 182_637, 182_638, 202_599]
SPLITS = [0, 0, 0, 1, 1, 2, 2]
LABELS = np.array([[i % 2, i // 2 % 2, i // 4 % 2] for i in range(len(NUMBERS))])


def noise(i: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(i).integers(0, 256, (218, 178, 3), np.uint8))


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """Pictures in a folder and list_attr_celeba.txt, with no partition."""
    root = tmp_path / "celeba"
    (root / "img_align_celeba").mkdir(parents=True)
    rows = []
    for i, number in enumerate(NUMBERS):
        noise(i).save(root / "img_align_celeba" / f"{number:06}.jpg")
        rows.append(f"{number:06}.jpg " + " ".join(f"{2 * label - 1:2d}" for label in LABELS[i]))
    text = "\n".join([str(len(rows)), " ".join(NAMES) + " ", *rows]) + "\n"
    (root / "list_attr_celeba.txt").write_text(text)
    return root


def prepared(folder: Path, **options: Any) -> PreparedDataset:
    output = folder.parent / "data"
    prepare_celeba(folder, output, **{"size": 32, "workers": 1, "overwrite": True, **options})
    return open_dataset(output)


def expected(path: Path, size: int) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.crop((0, 20, 178, 198)).resize((size, size), Image.Resampling.LANCZOS))


def test_published_with_the_standard_splits(published: Path) -> None:
    dataset = prepared(published)
    assert dataset.schema.names == tuple(NAMES)
    np.testing.assert_array_equal(dataset.labels, LABELS)
    assert dataset.splits.tolist() == SPLITS
    assert dataset.names.tolist() == [f"{number:06}.jpg" for number in NUMBERS]
    for i, number in enumerate(NUMBERS):
        path = published / "img_align_celeba" / f"{number:06}.jpg"
        np.testing.assert_array_equal(dataset.images[i], expected(path, 32))
    assert dataset.info["framing"] == {"crop": [0, 20, 178, 198], "picture_size": [178, 218]}
    assert dataset.info["source"]["kind"] == "celeba"


def zip_pictures(root: Path) -> None:
    with zipfile.ZipFile(root / "img_align_celeba.zip", "w") as archive:
        for path in sorted((root / "img_align_celeba").iterdir()):
            archive.write(path, f"img_align_celeba/{path.name}")
    shutil.rmtree(root / "img_align_celeba")


def as_downloaded(root: Path) -> None:
    """Folders Img, Anno and Eval, as on the authors' page."""
    zip_pictures(root)
    for folder, name in [("Img", "img_align_celeba.zip"), ("Anno", "list_attr_celeba.txt")]:
        (root / folder).mkdir()
        (root / name).rename(root / folder / name)


def repackage(root: Path) -> None:
    (root / "img_align_celeba").rename(root / "pictures")
    (root / "img_align_celeba").mkdir()
    (root / "pictures").rename(root / "img_align_celeba" / "img_align_celeba")
    (root / "list_attr_celeba.txt").unlink()
    rows = [
        f"{number:06}.jpg," + ",".join(str(2 * label - 1) for label in LABELS[i]) for i, number in enumerate(NUMBERS)
    ]
    (root / "list_attr_celeba.csv").write_text("\n".join(["image_id," + ",".join(NAMES), *rows]) + "\n")


@pytest.mark.parametrize("packing", [zip_pictures, as_downloaded, repackage])
def test_every_packaging_gives_the_same_dataset(published: Path, packing: Callable[[Path], None]) -> None:
    fingerprint = prepared(published).fingerprint
    packing(published)
    assert prepared(published).fingerprint == fingerprint


def test_one_archive_with_everything_gives_the_same_dataset(published: Path) -> None:
    fingerprint = prepared(published).fingerprint
    repackage(published)
    archive = Path(shutil.make_archive(str(published.parent / "archive"), "zip", published))
    assert prepared(archive).fingerprint == fingerprint


@pytest.mark.parametrize("kind", ["txt", "csv"])
def test_the_partition_file_has_precedence_over_the_numbers(published: Path, kind: str) -> None:
    splits = [2, 1, 0, 0, 1, 2, 0]
    separator, header = (" ", []) if kind == "txt" else (",", ["image_id,partition"])
    # In another order than the attributes, and with pictures that are not there.
    rows = [f"{number:06}.jpg{separator}{split}" for number, split in zip(NUMBERS, splits, strict=True)][::-1]
    path = published / f"list_eval_partition.{kind}"
    path.write_text("\n".join([*header, *rows, f"000009.jpg{separator}2"]) + "\n")
    assert prepared(published).splits.tolist() == splits
    path.write_text("\n".join([*header, *rows[1:]]) + "\n")
    with pytest.raises(UserError, match=r"does not say which split '202599\.jpg' belongs to"):
        prepared(published)
    path.write_text("\n".join([*header, f"000001.jpg{separator}7", *rows[:-1]]) + "\n")
    with pytest.raises(UserError, match="column 'partition' has '7' in row 2"):
        prepared(published)


def test_attributes_sizes_and_grey(published: Path) -> None:
    dataset = prepared(published, attributes=["Smiling", "Eyeglasses"], size=48, channels=1)
    assert dataset.schema.names == ("Smiling", "Eyeglasses")
    np.testing.assert_array_equal(dataset.labels, LABELS[:, [2, 1]])
    assert dataset.images.shape == (7, 48, 48, 1)
    with pytest.raises(
        UserError, match="no column 'Smilling' of labels; there are 5_o_Clock_Shadow, Eyeglasses, Smiling"
    ):
        prepared(published, attributes=["Smilling"])


def test_another_part_may_be_cut_out(published: Path) -> None:
    dataset = prepared(published, crop=(30, 40, 168, 178))
    assert dataset.info["framing"] == {"crop": [30, 40, 168, 178], "picture_size": [178, 218]}
    with Image.open(published / "img_align_celeba" / "000002.jpg") as image:
        cut = image.crop((30, 40, 168, 178)).resize((32, 32), Image.Resampling.LANCZOS)
    np.testing.assert_array_equal(dataset.images[1], np.asarray(cut))
    message = "the crop 0 40 179 178 reaches outside its 178 x 218 pixels"
    with pytest.raises(UserError, match=message):
        prepared(published, crop=(0, 40, 179, 178))


def test_pictures_of_another_size_are_left_out(published: Path) -> None:
    noise(0).resize((64, 64)).save(published / "img_align_celeba" / "000001.jpg")
    dataset = prepared(published)
    assert dataset.names.tolist()[0] == "000002.jpg"
    report = Path(dataset.path, "report.txt").read_text()
    assert "img_align_celeba/000001.jpg: it is 64 x 64 pixels, not 178 x 218." in report


def test_a_folder_that_is_not_celeba_is_refused_in_one_sentence(published: Path, tmp_path: Path) -> None:
    table = published / "list_attr_celeba.txt"
    text = table.read_text()
    for changed, reason in [
        (text.replace("7\n", "8\n", 1), "it has 7 rows and says 8; it is incomplete"),
        (text.partition("\n")[2], "its first line is .* not the number of its rows"),
        (text.replace("  1", "  3", 1), "it has the number 3 in row"),
        (text.replace(" -1", "", 1), "cells and the header 4"),
        ("", "not the number of its rows"),
        ("0\nEyeglasses\n", "a header but no rows"),
    ]:
        table.write_text(changed)
        with pytest.raises(UserError, match=reason):
            prepared(published)
    table.write_text(text)
    (published / "img_align_celeba" / "000001.jpg").rename(published / "img_align_celeba" / "one.jpg")
    table.write_text(text.replace("000001.jpg", "one.jpg"))
    with pytest.raises(UserError, match=r"'one\.jpg' is not a number from 1 to 202599"):
        prepared(published)
    (published / "img_align_celeba").rename(published / "img_celeba")
    with pytest.raises(
        UserError, match=r"neither a folder img_align_celeba with pictures in it nor img_align_celeba\.zip"
    ):
        prepared(published)
    table.unlink()
    with pytest.raises(UserError, match=r"no list_attr_celeba\.txt or list_attr_celeba\.csv"):
        prepared(published)
    with pytest.raises(UserError, match="no such directory or zip archive"):
        prepared(tmp_path / "missing")


def test_real_celeba(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "celeba_layout"
    text = prepare_celeba(folder, tmp_path / "data", size=64, workers=1)
    dataset = open_dataset(tmp_path / "data")
    assert dataset.images.shape == (32, 64, 64, 3)
    lines = (folder / "list_attr_celeba.txt").read_text().splitlines()
    assert dataset.schema.names == tuple(lines[1].split())
    np.testing.assert_array_equal(dataset.labels, np.array([line.split()[1:] for line in lines[2:]], int) > 0)
    assert dataset.info["splits"] == {"train": 32, "valid": 0, "test": 0}
    for i in (0, 31):
        np.testing.assert_array_equal(dataset.images[i], expected(folder / "img_align_celeba" / f"{i + 1:06}.jpg", 64))
    assert "Warning: Eyeglasses is present in only 0.0% of the pictures" in text


@pytest.mark.parametrize("table", ["list_attr_celeba.txt", "list_eval_partition.txt", "list_eval_partition.csv"])
def test_damaged_tables_in_an_archive_are_refused(published: Path, table: str) -> None:
    lines = [f"{number:06}.jpg {split}" for number, split in zip(NUMBERS, SPLITS, strict=True)] * 2000
    text = "\n".join(lines) if table.endswith(".txt") else "image_id,partition\n" + "\n".join(lines).replace(" ", ",")
    if "partition" in table:
        (published / table).write_text(text)
    path = published.parent / "celeba.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(published.rglob("*.*")):
            archive.write(file, f"celeba/{file.relative_to(published)}")
        entry = archive.getinfo(f"celeba/{table}")
    data = bytearray(path.read_bytes())
    start = entry.header_offset + 30 + len(entry.filename)
    data[start : start + 10] = b"\xff" * 10
    path.write_bytes(data)
    with pytest.raises(UserError, match=f"{table}: it cannot be read"):
        prepared(path)
