"""A user's folder, end to end: pictures and tables as people have them, and a sentence for each way to get it wrong."""

import csv
import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fader import cli
from fader.alignment import STANDARD
from fader.datasets.folder import prepare_folder
from fader.datasets.prepared import PreparedDataset, open_dataset
from fader.datasets.tables import read_table
from fader.errors import UserError
from fader.images import Framing, open_picture, to_array
from tests import markers
from tests.datasets.conftest import colour, colours

SaveColour = Callable[[Path, int], None]


def prepared(pictures: Path, table: Path | None, **options: Any) -> tuple[PreparedDataset, str]:
    output = pictures.parent / "data"
    text = prepare_folder(pictures, table, output, **{"size": 8, "workers": 1, "overwrite": True, **options})
    return open_dataset(output), text


def labels(folder: Path, rows: list[str], header: str = "file,Hat") -> Path:
    path = folder / "labels.csv"
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def zipped(folder: Path, prefix: str = "") -> Path:
    path = folder.parent / "pictures.zip"
    with zipfile.ZipFile(path, "w") as out:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                out.write(file, prefix + file.relative_to(folder).as_posix())
    return path


def test_a_directory_and_a_table(pictures: Path) -> None:
    # Not in the order of the files, and with a column for another use.
    order = [7, 3, 19, 0, 12]
    table = labels(
        pictures.parent, [f"p{i:02}.png,{i % 2},{'red' if i > 5 else 'fair'},{i}" for i in order], "file,Hat,Hair,note"
    )
    dataset, text = prepared(pictures, table, random_split=(0, 0))
    assert dataset.schema.names == ("Hat", "Hair")
    assert dataset.schema.attributes[1].values == ("fair", "red")
    assert dataset.labels.tolist() == [[1, 1], [1, 0], [1, 1], [0, 0], [0, 1]]
    assert dataset.names.tolist() == [f"p{i:02}.png" for i in order]
    assert colours(dataset.images[:]) == [colour(i) for i in order]
    assert dataset.info["source"] == {"kind": "folder", "pictures": "pictures", "table": "labels.csv", "left_out": 0}
    assert "Column 'note' is ignored: it has the number 7 in row 2" in text
    assert "15 pictures have no row in the table and are not used: p01.png, p02.png, p04.png, p05.png, p06.png" in text


def test_an_archive_gives_the_same_dataset_as_its_directory(pictures: Path) -> None:
    table = labels(pictures.parent, [f"p{i:02}.png,{i % 2}" for i in range(20)])
    first, _ = prepared(pictures, table)
    second, _ = prepared(zipped(pictures, "some folder/"), table)
    assert second.fingerprint == first.fingerprint


def test_several_processes_give_the_same_dataset_as_one(pictures: Path) -> None:
    table = labels(pictures.parent, [f"p{i:02}.png,{i % 2}" for i in range(20)])
    first, _ = prepared(pictures, table)
    for path in (pictures, zipped(pictures)):
        second, _ = prepared(path, table, workers=2)
        assert second.fingerprint == first.fingerprint


@pytest.mark.parametrize(
    "write", ["{0}", "p{1:02}", "./{0}", "images/{0}", "C:\\images\\{0}", "/home/me/images/{0}", "images/p{1:02}"]
)
def test_names_may_have_another_folder_or_no_ending(pictures: Path, write: str) -> None:
    table = labels(pictures.parent, [f"{write.format(f'p{i:02}.png', i)},{i % 2}" for i in (4, 1)])
    dataset, _ = prepared(pictures, table)
    assert colours(dataset.images[:]) == [colour(4), colour(1)]
    assert dataset.names.tolist() == [write.format(f"p{i:02}.png", i) for i in (4, 1)]


def test_names_in_sub_folders(tmp_path: Path, save_colour: SaveColour) -> None:
    root = tmp_path / "pictures"
    for i, name in enumerate(["a/x.png", "b/x.png", "b/y.png"]):
        save_colour(root / name, i)
    dataset, _ = prepared(root, labels(tmp_path, ["b/x.png,1", "y.png,0", "pictures/a/x.png,0"]))
    assert colours(dataset.images[:]) == [colour(1), colour(2), colour(0)]
    with pytest.raises(UserError, match=r"'x\.png' may be 'a/x\.png' or 'b/x\.png' of .*; write the path"):
        prepared(root, labels(tmp_path, ["x.png,1"]))
    with pytest.raises(UserError, match=r"'y\.png' and 'b/y' both name 'b/y\.png'"):
        prepared(root, labels(tmp_path, ["y.png,1", "b/y,0"]))
    # Another folder of the same file name is another picture, not this one.
    dataset, text = prepared(root, labels(tmp_path, ["b/x.png,1", "c/y.png,0"]))
    assert len(dataset) == 1
    assert "c/y.png: there is no such file in" in text


def test_a_picture_without_an_ending_is_found_by_its_name(tmp_path: Path, save_colour: SaveColour) -> None:
    save_colour(tmp_path / "pictures" / "x.png", 5)
    (tmp_path / "pictures" / "x.png").rename(tmp_path / "pictures" / "5f3a")
    dataset, _ = prepared(tmp_path / "pictures", labels(tmp_path, ["5f3a,1"]))
    assert colours(dataset.images[:]) == [colour(5)]


def test_what_cannot_be_used_is_left_out_by_name_and_reason(pictures: Path) -> None:
    (pictures / "p01.png").write_bytes((pictures / "p01.png").read_bytes()[:60])
    (pictures / "p02.png").write_text("hello")
    rows = ["p00.png,1", "p01.png,0", "p02.png,1", "p03.png,", "gone.png,0", "p05.png,0"]
    table = labels(pictures.parent, rows)
    dataset, text = prepared(pictures, table, attributes=["Hat"])
    assert dataset.names.tolist() == ["p00.png", "p05.png"]
    assert "Left out: 4\n" in text
    assert "p03.png: it has no value for Hat." in text
    assert f"gone.png: there is no such file in {pictures}." in text
    assert "p01.png: it cannot be read as a picture (" in text
    assert "p02.png: it cannot be read as a picture (not a picture of one of the formats PNG, JPEG," in text
    output = pictures.parent / "strict"
    with pytest.raises(UserError, match="without --strict it is left out"):
        prepare_folder(pictures, table, output, attributes=["Hat"], strict=True, workers=1)
    assert not output.exists()
    # A column with gaps is not taken unasked.
    with pytest.raises(UserError, match="it has no value in row 5; named with --attributes"):
        prepared(pictures, table)


def test_no_name_with_a_file_is_an_error_that_names_the_remedy(pictures: Path) -> None:
    table = labels(pictures.parent, ["0,p00.png,1", "1,p01.png,0"], ",path,Hat")
    with pytest.raises(UserError, match=r"no row of its 2 .* 0: there is no such file in .*--file-column"):
        prepared(pictures, table)
    dataset, _ = prepared(pictures, table, file_column="path")
    assert colours(dataset.images[:]) == [colour(0), colour(1)]


def test_formats_modes_and_sizes_are_mixed_freely(tmp_path: Path) -> None:
    root = tmp_path / "pictures"
    root.mkdir()
    names = []
    for k, (mode, ending) in enumerate(
        [("RGB", "jpg"), ("L", "png"), ("P", "gif"), ("CMYK", "jpg"), ("RGBA", "webp"), ("1", "tif"), ("LA", "png")]
    ):
        names.append(f"{k}.{ending}")
        Image.new("RGB", (9 + 5 * k, 40 - 4 * k), "white").convert(mode).save(root / names[-1])
    for channels in (1, 3):
        dataset, _ = prepared(
            root, labels(tmp_path, [f"{name},{k % 2}" for k, name in enumerate(names)]), channels=channels
        )
        assert dataset.images.shape == (7, 8, 8, channels)
        assert dataset.images[:].min() >= 252


def test_the_centre_or_a_crop_is_cut_out(tmp_path: Path) -> None:
    root = tmp_path / "pictures"
    root.mkdir()
    array = np.zeros((20, 40, 3), np.uint8)
    array[:, 10:30] = 100
    array[:10, 30:] = 200
    Image.fromarray(array).save(root / "a.png")
    table = labels(tmp_path, ["a.png,1"])
    dataset, _ = prepared(root, table)
    assert (dataset.images[:] == 100).all()
    assert dataset.info["framing"] == {"crop": "centre", "picture_size": None}
    dataset, _ = prepared(root, table, crop=(30, 0, 40, 10))
    assert (dataset.images[:] == 200).all()
    assert dataset.info["framing"] == {"crop": [30, 0, 40, 10], "picture_size": None}
    with pytest.raises(UserError, match=r"a\.png: the crop 30 0 41 10 reaches outside its 40 x 20 pixels"):
        prepared(root, table, crop=(30, 0, 41, 10))


def test_the_split_column_decides_unless_a_random_split_is_asked_for(pictures: Path) -> None:
    words = ["train"] * 12 + ["val"] * 5 + ["test"] * 3
    table = labels(pictures.parent, [f"p{i:02}.png,{i % 2},{word}" for i, word in enumerate(words)], "file,Hat,split")
    dataset, _ = prepared(pictures, table)
    assert dataset.schema.names == ("Hat",)
    assert dataset.splits.tolist() == [0] * 12 + [1] * 5 + [2] * 3
    dataset, _ = prepared(pictures, table, random_split=(0.25, 0.1))
    assert dataset.info["splits"] == {"train": 13, "valid": 5, "test": 2}


def test_the_random_split_has_exact_shares_and_belongs_to_the_seed_and_the_names(pictures: Path) -> None:
    rows = [f"p{i:02}.png,{i % 2}" for i in range(20)]
    table = labels(pictures.parent, rows)
    first, _ = prepared(pictures, table)
    assert first.info["splits"] == {"train": 16, "valid": 2, "test": 2}
    by_name = dict(zip(first.names.tolist(), first.splits.tolist(), strict=True))
    again, _ = prepared(pictures, labels(pictures.parent, rows[::-1]))
    assert dict(zip(again.names.tolist(), again.splits.tolist(), strict=True)) == by_name
    other, _ = prepared(pictures, table, seed=1)
    assert other.info["splits"] == first.info["splits"]
    assert dict(zip(other.names.tolist(), other.splits.tolist(), strict=True)) != by_name
    for shares in [(0.5, 0.5), (-0.1, 0.2), (float("nan"), 0.1)]:
        with pytest.raises(UserError, match="random_split is"):
            prepared(pictures, table, random_split=shares)


def test_a_sub_folder_a_class(tmp_path: Path, save_colour: SaveColour) -> None:
    root = tmp_path / "animals"
    for i, name in enumerate(["cat/a.png", "dog/a.png", "dog/deep/b.png", "cat/c.png"]):
        save_colour(root / name, i)
    (root / "dog" / "notes.txt").write_text("hello")
    dataset, _ = prepared(root, None)
    assert [(a.name, a.values) for a in dataset.schema] == [("class", ("cat", "dog"))]
    assert dataset.names.tolist() == ["cat/a.png", "cat/c.png", "dog/a.png", "dog/deep/b.png"]
    assert dataset.labels[:, 0].tolist() == [0, 0, 1, 1]
    assert colours(dataset.images[:]) == [colour(i) for i in (0, 3, 1, 2)]
    in_archive, _ = prepared(zipped(root, "animals/"), None, attributes=["Species"])
    assert in_archive.schema.names == ("Species",)
    np.testing.assert_array_equal(in_archive.labels, dataset.labels)
    save_colour(root / "loose.png", 9)
    dataset, text = prepared(root, None)
    assert len(dataset) == 4
    assert "loose.png: it lies in no sub-folder." in text
    with pytest.raises(UserError, match="give it one name"):
        prepared(root, None, attributes=["A", "B"])


def test_sub_folders_of_splits_and_classes(tmp_path: Path, save_colour: SaveColour) -> None:
    root = tmp_path / "animals"
    for i, name in enumerate(["train/cat/a.png", "train/dog/b.png", "val/cat/c.png", "test/emu/d.png"]):
        save_colour(root / name, i)
    dataset, _ = prepared(root, None)
    assert dataset.schema.attributes[0].values == ("cat", "dog", "emu")
    assert dict(zip(dataset.names.tolist(), dataset.splits.tolist(), strict=True)) == {
        "train/cat/a.png": 0, "train/dog/b.png": 0, "val/cat/c.png": 1, "test/emu/d.png": 2,
    }  # fmt: skip
    dataset, _ = prepared(root, None, random_split=(0, 0))
    assert dataset.info["splits"] == {"train": 4, "valid": 0, "test": 0}


def test_folders_that_are_no_classes_are_refused(pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there are 0, not 2 to 255; give a table"):
        prepared(pictures, None)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="there are no pictures in it"):
        prepared(tmp_path / "empty", None)


def test_wrong_paths_and_columns_are_told_in_one_sentence_and_leave_nothing(pictures: Path) -> None:
    output = pictures.parent / "data"
    table = labels(pictures.parent, ["p00.png,1,2.5", "p01.png,0,0.1"], "file,Hat,Age")
    before = set(pictures.parent.iterdir())
    cases: list[tuple[tuple[Path, Path], dict[str, Any], str]] = [
        ((pictures / "no", table), {}, "no such directory or zip archive"),
        ((table, table), {}, "neither a directory nor a sound zip archive"),
        ((pictures, pictures / "no.csv"), {}, "there is no such table"),
        ((pictures, pictures), {}, "there is no such table"),
        ((pictures, table), {"attributes": ["Beard"]}, "no column 'Beard' of labels; there are Hat, Age"),
        ((pictures, table), {"attributes": ["Age"]}, "it has the number 2.5 in row 2"),
        ((pictures, table), {"attributes": ["Hat", "Hat"]}, "named twice"),
        ((pictures, table), {"file_column": "name"}, "no column 'name'; there are file, Hat, Age"),
        ((pictures, table), {"size": 0}, "size is 0"),
        ((pictures, table), {"channels": 2}, "channels is 2"),
    ]
    for arguments, options, reason in cases:
        with pytest.raises(UserError, match=reason):
            prepare_folder(*arguments, output, **{"workers": 1, **options})
        assert set(pictures.parent.iterdir()) == before
    with pytest.raises(UserError, match="would delete the input"):
        prepare_folder(pictures, table, pictures, overwrite=True)


def test_bytes_of_a_name_that_are_no_text_do_no_harm(tmp_path: Path, save_colour: SaveColour) -> None:
    save_colour(tmp_path / "pictures" / "a" / "x.png", 0)
    save_colour(tmp_path / "pictures" / "b" / "y.png", 1)
    try:
        (tmp_path / "pictures" / "b" / "y.png").rename(tmp_path / "pictures" / "b" / os.fsdecode(b"\xff\n.png"))
    except OSError:
        pytest.skip("this file system takes text only")
    dataset, text = prepared(tmp_path / "pictures", None)
    assert len(dataset) == 2
    (tmp_path / "pictures" / "b" / os.fsdecode(b"\xff\n.png")).write_bytes(b"junk")
    dataset, text = prepared(tmp_path / "pictures", None)
    assert "b/\\udcff\\n.png: it cannot be read as a picture" in text
    text.encode()


def test_real_faces_from_the_archive(shared_data: Path, tmp_path: Path) -> None:
    with (shared_data / "faces64" / "attributes.csv").open(newline="") as stream:
        rows = [row for row, _ in zip(csv.DictReader(stream), range(40), strict=False)]
    table = tmp_path / "some.csv"
    with table.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    archive = shared_data / "faces64" / "images.zip"
    text = prepare_folder(archive, table, tmp_path / "data", workers=1)
    dataset = open_dataset(tmp_path / "data")
    assert dataset.images.shape == (40, 64, 64, 3)
    assert len(dataset.schema) == 40
    assert "27,136 pictures have no row in the table" in text
    with zipfile.ZipFile(archive) as pictures:
        for i, row in enumerate(rows):
            assert dataset.names[i] == row["file"]
            assert dataset.splits[i] == {"train": 0, "valid": 1}[row["split"]]
            assert dataset.labels[i].tolist() == [int(row[name]) for name in dataset.schema.names]
            if i < 5:  # Of the right size already, so nothing may change.
                with pictures.open(row["file"]) as entry, Image.open(entry) as image:
                    np.testing.assert_array_equal(dataset.images[i], np.asarray(image.convert("RGB")))


def test_the_table_of_real_flowers(shared_data: Path) -> None:
    table = read_table(shared_data / "flowers64" / "attributes.csv")
    schema, found, ignored = table.attributes(None)
    assert schema.names == ("red", "orange", "yellow", "pink", "purple", "blue", "white")
    assert found.shape == (8189, 7)
    assert found.max() == 1
    assert [sentence.split("'")[1] for sentence in ignored] == [
        "class_id",
        "class_name",
        *(f"share_{name}" for name in schema.names),
    ]
    assert np.bincount(table.splits("split")).tolist() == [1020, 1020, 6149]
    assert len(table.attributes(["class_name"])[0].attributes[0].values) == 102


# --- Placed by their faces --------------------------------------------------------------------------------------------

# Frames in a photo: of 16 pixels, with its upper left corner at (20, 30), and of 32 at (90, 60).
SMALL, LARGE = ((20, 30), (36, 30)), ((90, 60), (122, 60))


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """Photos with a face, with a turned one, with two (the second of which is larger), and with none."""
    path = tmp_path / "album"
    path.mkdir()
    turned = ((80, 20), (80, 36))  # The face's upper edge runs downwards: it is turned by a quarter clockwise.
    for name, frames in (("one", [SMALL]), ("turned", [turned]), ("two", [SMALL, LARGE]), ("wall", [])):
        markers.photo(*frames).save(path / f"{name}.png")
    return path


def photo_of(album: Path, name: str) -> np.ndarray:
    with Image.open(album / name) as image:
        return np.asarray(image)


@pytest.mark.usefixtures("marked_faces")
def test_every_face_is_placed_alike(album: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ["one", "turned", "two", "wall"]
    table = labels(album.parent, [f"{name}.png,{i % 2}" for i, name in enumerate(names)])
    output = album.parent / "data"
    command = ["prepare", "folder", str(album), str(table), "-o", str(output), "--align", "--workers", "1"]
    assert cli.main([*command, "--size", "16"]) == 0
    assert "wall.png: no face was found in it" in capsys.readouterr().out
    assert "wall.png: no face was found in it" in (output / "report.txt").read_text()
    dataset = open_dataset(output)
    assert dataset.names.tolist() == ["one.png", "turned.png", "two.png"]
    assert dataset.labels.tolist() == [[0], [1], [0]]
    assert dataset.info["source"]["aligned"] is True
    assert dataset.info["source"]["left_out"] == 1
    assert Framing.from_json(dataset.info["framing"]).points == STANDARD
    one, turned, two = dataset.images[:]
    np.testing.assert_allclose(one, photo_of(album, "one.png")[30:46, 20:36], atol=1)
    np.testing.assert_allclose(turned, np.rot90(photo_of(album, "turned.png")[20:36, 64:80]), atol=1)
    # Of two faces the larger, scaled down to half.
    np.testing.assert_allclose(two, to_array(open_picture(album / "two.png"), 16, box=(90, 60, 122, 92)), atol=2)


@pytest.mark.usefixtures("marked_faces")
def test_a_picture_without_a_face_stops_a_strict_run(album: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = labels(album.parent, [f"{name}.png,{i % 2}" for i, name in enumerate(["one", "wall", "two"])])
    command = ["prepare", "folder", str(album), str(table), "-o", str(album.parent / "data"), "--workers", "1"]
    assert cli.main([*command, "--align", "--strict"]) == 2
    message = capsys.readouterr().err
    assert "wall.png: no face was found in it" in message
    assert "without --strict it is left out" in message
    assert not (album.parent / "data").exists()
    assert cli.main([*command, "--align", "--crop", "0", "0", "9", "9"]) == 2
    assert "either aligned by their faces or cropped" in capsys.readouterr().err


@pytest.mark.usefixtures("marked_faces")
def test_nothing_but_walls_is_no_dataset(album: Path) -> None:
    table = labels(album.parent, ["wall.png,1"])
    with pytest.raises(UserError, match=r"no picture is left to make a dataset of; the first: wall\.png: no face"):
        prepared(album, table, align=True)
    assert not (album.parent / "data").exists()


@pytest.mark.usefixtures("marked_faces")
def test_where_faces_lie_is_noted_where_most_show_one(album: Path) -> None:
    table = labels(album.parent, ["one.png,1", "two.png,0"])
    one, two = (
        markers.photo(((40, 40), (100, 40)), size=(128, 128)),
        markers.photo(((60, 20), (90, 20)), size=(128, 128)),
    )
    one.save(album / "one.png")
    two.save(album / "two.png")
    prepared(album, table, size=128, random_split=(0, 0))
    framing = Framing.from_json(open_dataset(album.parent / "data").info["framing"])
    assert framing.crop is None
    # The mean of two is their median: corners at (50, 30) and (95, 30) of 128.
    expected = np.array([((50 + 45 * x) / 128, (30 + 45 * y) / 128) for x, y in STANDARD])
    assert framing.points is not None
    np.testing.assert_allclose(np.array(framing.points), expected, atol=1e-4)
    prepared(album, labels(album.parent, ["wall.png,1"]), size=32, random_split=(0, 0))
    assert Framing.from_json(open_dataset(album.parent / "data").info["framing"]).points is None


@pytest.mark.usefixtures("marked_faces")
def test_a_dataset_with_damaged_points_is_refused(album: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dataset, _ = prepared(album, labels(album.parent, ["one.png,1", "two.png,0"]), align=True)
    manifest = album.parent / "data" / "dataset.json"
    for points in ([[0.5, 0.5]] * 4, [[0.5, 5]] * 5, {"eyes": 1}):
        damaged = {**dataset.info, "framing": {**dataset.info["framing"], "points": points}}
        manifest.write_text(json.dumps(damaged))
        for command in (["info"], ["train", "-o", str(album.parent / "run")]):
            assert cli.main([command[0], str(manifest.parent), *command[1:]]) == 2
            message = capsys.readouterr().err
            assert message.startswith(f"fader: {manifest}: The framing is damaged: points has to be five pairs")
            assert message.count("\n") == 1
