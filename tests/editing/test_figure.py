"""`swap` and `slide` on portraits with small random models: what is drawn where, written, and refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from fader import cli, familiarity
from fader.attributes import Schema
from fader.datasets.portraits import renderer
from fader.datasets.portraits.specification import SCHEMA as PORTRAITS
from fader.datasets.prepared import SPLITS, DatasetWriter
from fader.editing.figure import Selection, slide, swap
from fader.images import Framing, open_picture, to_array, to_picture
from fader.model import Model, save_model
from tests import markers
from tests.models import tiny_model
from tests.refusals import refusal

GPS = 0x8825


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    """Three portraits of several sizes and formats, one of them with a place in its metadata."""
    (tmp_path / "in").mkdir()
    paths = [tmp_path / "in" / name for name in ("anna.png", "bert.jpg", "carl.webp")]
    exif = Image.Exif()
    exif.get_ifd(GPS)[1] = "N"
    exif.get_ifd(GPS)[2] = (52.0, 30.0, 0.0)
    for i, (path, size) in enumerate(zip(paths, (32, 100, 64), strict=True)):
        to_picture(renderer.portrait(i, size)).save(path, exif=exif if i == 1 else Image.Exif())
    with Image.open(paths[1]) as image:
        assert image.getexif().get_ifd(GPS)
    return paths


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Eight portraits of 64 pixels, the last four of them the test split; Smiling is an attribute of the model too."""
    path = tmp_path / "dataset"
    path.mkdir()
    with DatasetWriter(path, PORTRAITS, 64, 3) as writer:
        for i in range(8):
            split = SPLITS.index("train" if i < 4 else "test")
            writer.add(renderer.portrait(i), renderer.labels(i), split, f"faces/{'..' if i == 7 else ''}{i}.png")
        writer.finish({"crop": "centre", "picture_size": None}, {"kind": "portraits"})
    return path


def cell(figure: Path, row: int, column: int, lines: int = 1) -> np.ndarray:
    """A picture of a figure: 32 pixels shown as 128, margin 8, gap 4, titles in so many lines of 18."""
    left, top = 8 + column * 132, 8 + 18 * lines + row * 132
    with Image.open(figure) as image:
        return np.asarray(image)[top : top + 128, left : left + 128]


def shown(image: Image.Image) -> np.ndarray:
    """A picture of 32 pixels as a figure shows it."""
    return np.asarray(image.resize((128, 128), Image.Resampling.BICUBIC))


def same(one: np.ndarray, other: np.ndarray) -> bool:
    """Equal but for what a rounding of the last bit makes after enlarging."""
    return one.shape == other.shape and np.abs(one.astype(int) - other.astype(int)).max() <= 2


# --- swap -----------------------------------------------------------------------------------------------------------


def test_swap_has_a_row_a_face_and_a_column_an_attribute(
    model: Model, folder: Path, pictures: list[Path], tmp_path: Path
) -> None:
    output = tmp_path / "out.png"
    assert swap(folder, pictures, output) == [output]
    with Image.open(output) as image:
        # Original, reconstruction, Smiling, three colours of Hair, 5_o_Clock_Shadow.
        assert image.size == (8 + 7 * 132 - 4 + 8, 8 + 18 + 3 * 132 - 4 + 8)
    faces = model.encode(pictures)
    for i, (original, reconstruction, values) in enumerate(
        zip(faces.original, faces.reconstruction(), faces.values, strict=True)
    ):
        assert np.array_equal(cell(output, i, 0), shown(original))
        assert same(cell(output, i, 1), shown(reconstruction))
        assert same(cell(output, i, 2), shown(faces.edit(Smiling=1 - values["Smiling"])[i]))
        for j, hair in enumerate(("black", "blond", "red")):
            assert same(cell(output, i, 3 + j), shown(faces.edit(Hair=hair)[i]))
        shadow = {"5_o_Clock_Shadow": 1 - values["5_o_Clock_Shadow"]}
        assert same(cell(output, i, 6), shown(faces.edit(shadow)[i]))
    assert not same(cell(output, 0, 1), cell(output, 0, 2))


def test_swap_of_chosen_attributes_together(model: Model, folder: Path, pictures: list[Path], tmp_path: Path) -> None:
    output = tmp_path / "out.png"
    swap(folder, pictures[:1], output, attributes=["5_o_Clock_Shadow", "Smiling"], together=True)
    with Image.open(output) as image:
        assert image.width == 8 + 5 * 132 - 4 + 8
    face = model.encode(pictures[0])
    smiling, shadow = 1 - face.values["Smiling"], 1 - face.values["5_o_Clock_Shadow"]
    assert same(cell(output, 0, 2), shown(face.edit({"5_o_Clock_Shadow": shadow})))
    assert same(cell(output, 0, 3), shown(face.edit(Smiling=smiling)))
    assert same(cell(output, 0, 4), shown(face.edit({"5_o_Clock_Shadow": shadow}, Smiling=smiling)))


def test_pictures_of_a_dataset_come_with_their_true_labels(
    model: Model, folder: Path, dataset: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out.png"
    swap(folder, Selection(dataset, "test", 3), output, ["Smiling"])
    with Image.open(output) as image:
        assert image.height == 8 + 18 + 3 * 132 - 4 + 8
    smiles = {int(renderer.labels(i)[PORTRAITS.index("Smiling")]) for i in range(4, 7)}
    assert smiles == {0, 1}
    for row, i in enumerate(range(4, 7)):
        smiling = int(renderer.labels(i)[PORTRAITS.index("Smiling")])
        face = model.encode(renderer.portrait(i), values={"Smiling": smiling})
        assert same(cell(output, row, 1), shown(face.reconstruction()))
        assert same(cell(output, row, 2), shown(face.edit(Smiling=1 - smiling)))


def test_pictures_of_a_dataset_are_cut_as_the_models_own(dataset: Path, tmp_path: Path) -> None:
    info = json.loads((dataset / "dataset.json").read_text())
    info["framing"] = {"crop": [0, 20, 178, 198], "picture_size": [178, 218]}
    (dataset / "dataset.json").write_text(json.dumps(info))
    save_model(tiny_model(framing=Framing((30, 40, 168, 178), (178, 218))), tmp_path / "icgan")
    swap(tmp_path / "icgan", Selection(dataset, "test", 1), tmp_path / "out.png", ["Smiling"])
    box = tuple(64 / 178 * edge for edge in (30, 20, 168, 158))
    seen = to_array(to_picture(renderer.portrait(4)), 32, 3, box)  # type: ignore[arg-type]
    assert np.array_equal(cell(tmp_path / "out.png", 0, 0), shown(to_picture(seen)))


def test_a_count_beyond_the_split_takes_what_there_is(folder: Path, dataset: Path, tmp_path: Path) -> None:
    written = swap(
        folder, Selection(dataset, count=99), tmp_path / "out.png", ["Smiling"], separate=tmp_path / "singles"
    )
    assert len(written) == 1 + 4
    assert {path.name[0] for path in written[1:]} == {"4", "5", "6", "7"}


# --- slide ----------------------------------------------------------------------------------------------------------


def test_slide_has_a_row_a_face_and_a_column_a_value(
    model: Model, folder: Path, pictures: list[Path], tmp_path: Path
) -> None:
    output = tmp_path / "out.png"
    assert slide(folder, pictures, output, "Smiling", -1, 2, steps=4) == [output]
    with Image.open(output) as image:
        assert image.size == (8 + 6 * 132 - 4 + 8, 8 + 18 + 3 * 132 - 4 + 8)
    faces = model.encode(pictures)
    for i in range(3):
        assert np.array_equal(cell(output, i, 0), shown(faces.original[i]))
        assert same(cell(output, i, 1), shown(faces.reconstruction()[i]))
        for j, value in enumerate((-1, 0, 1, 2)):
            assert same(cell(output, i, 2 + j), shown(faces.edit(Smiling=value)[i]))
    assert not same(cell(output, 0, 2), cell(output, 0, 5))


def test_a_loop_goes_there_and_back(model: Model, folder: Path, pictures: list[Path], tmp_path: Path) -> None:
    output = tmp_path / "out.png"
    assert slide(folder, pictures[:2], output, "Smiling", steps=5, gif=True) == [output, tmp_path / "out.gif"]
    with Image.open(tmp_path / "out.gif") as image:
        assert image.n_frames == 2 * 5 - 2  # type: ignore[attr-defined]
        assert image.info["loop"] == 0
        # The original and the value, side by side, a row a face.
        assert image.size == (8 + 2 * 132 - 4 + 8, 8 + 18 + 2 * 132 - 4 + 8)
        frames = []
        for i in range(8):
            image.seek(i)
            frames.append(np.asarray(image.convert("RGB")))
    assert all(np.array_equal(frames[i], frames[8 - i]) for i in (1, 2, 3))
    # A GIF has few colours; still each frame is nearest to the picture of its value.
    swept = [shown(picture).astype(int) for picture in model.encode(pictures[1]).sweep("Smiling", -1, 2, 5)]
    for i, frame in enumerate(frames[:5]):
        distances = [np.abs(frame[158:286, 140:268] - picture).mean() for picture in swept]
        assert np.argmin(distances) == i


def test_an_output_that_ends_in_gif_is_the_loop_alone(folder: Path, pictures: list[Path], tmp_path: Path) -> None:
    output = tmp_path / "out.GIF"
    assert slide(folder, pictures[:1], output, "Smiling", steps=3, gif=True) == [output]
    with Image.open(output) as image:
        assert image.n_frames == 4  # type: ignore[attr-defined]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out.GIF"]


# --- Single files ---------------------------------------------------------------------------------------------------


def test_single_files_are_named_by_picture_attribute_and_value(
    model: Model, folder: Path, pictures: list[Path], tmp_path: Path
) -> None:
    singles = tmp_path / "singles"
    written = slide(folder, pictures[:2], tmp_path / "out.png", "Smiling", -1, 1, steps=4, separate=singles)
    names = [f"{name}_Smiling_{value}.png" for name in ("anna", "bert") for value in ("-1", "-0.33", "0.33", "1")]
    assert written == [tmp_path / "out.png", *(singles / name for name in names)]
    assert sorted(path.name for path in singles.iterdir()) == sorted(names)
    with Image.open(singles / "anna_Smiling_1.png") as image:
        assert image.size == (32, 32)
        assert same(np.asarray(image), np.asarray(model.encode(pictures[0]).edit(Smiling=1)))


def test_single_files_of_a_swap_say_what_it_is_swapped_to(
    model: Model, folder: Path, pictures: list[Path], tmp_path: Path
) -> None:
    written = swap(
        folder, pictures[:1], tmp_path / "out.png", ["Smiling", "Hair"], separate=tmp_path / "s", together=True
    )
    values = model.encode(pictures[0]).values
    smiling = 1 - values["Smiling"]
    next_hair = {"black": "blond", "blond": "red", "red": "black"}[values["Hair"]]
    assert [path.name for path in written[1:]] == [
        f"anna_Smiling_{smiling}.png",
        "anna_Hair_black.png",
        "anna_Hair_blond.png",
        "anna_Hair_red.png",
        f"anna_Smiling_{smiling}_Hair_{next_hair}.png",
    ]


def test_names_of_single_files_are_safe_and_never_the_same(pictures: list[Path], tmp_path: Path) -> None:
    attributes = ["../../up", "..\\..\\up", "a" * 300, "ß" * 300, ".", "NUL\x00\n"]
    save_model(tiny_model(Schema.binary(attributes)), tmp_path / "model")
    twin = tmp_path / "twin"
    twin.mkdir()
    (twin / "Anna.png").write_bytes(pictures[0].read_bytes())
    singles = tmp_path / "deep" / "singles"
    written = swap(tmp_path / "model", [pictures[0], twin / "Anna.png"], tmp_path / "out.png", separate=singles)
    assert len(written) == 1 + 2 * 6 == 1 + len(list(singles.iterdir()))
    assert {path.parent for path in written[1:]} == {singles}
    names = [path.name for path in written[1:]]
    assert len({name.casefold() for name in names}) == len(names)
    assert all(len(name.encode()) < 200 and not set(name) & set('/\\:*?"<>|\x00\n') for name in names)


def test_metadata_is_dropped(folder: Path, pictures: list[Path], tmp_path: Path) -> None:
    written = slide(
        folder, pictures[1:2], tmp_path / "out.jpg", "Smiling", steps=2, gif=True, separate=tmp_path / "singles"
    )
    assert len(written) == 4
    for path in written:
        with Image.open(path) as image:
            assert not image.getexif()
            assert not {"exif", "icc_profile", "comment", "xmp"} & set(image.info)
        assert b"Exif" not in path.read_bytes()


# --- What is said and refused -----------------------------------------------------------------------------------------


def test_a_folder_stands_for_its_pictures(folder: Path, pictures: list[Path], tmp_path: Path) -> None:
    (tmp_path / "in" / "notes.txt").write_text("not a picture")
    (tmp_path / "in" / ".hidden.png").write_bytes(b"")
    written = swap(folder, [tmp_path / "in"], tmp_path / "out.png", ["Smiling"], separate=tmp_path / "singles")
    assert [path.name.split("_")[0] for path in written[1:]] == ["anna", "bert", "carl"]


def test_pictures_that_fail_are_named_and_left_out(
    folder: Path, pictures: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(pictures[1].read_bytes()[:500])
    swap(folder, [broken, tmp_path / "gone.png", pictures[0]], tmp_path / "out.png", ["Smiling"])
    said = capsys.readouterr().err
    assert "broken.jpg" in said
    assert "gone.png: there is no such file" in said
    with Image.open(tmp_path / "out.png") as image:
        assert image.height == 8 + 18 + 128 + 8
    assert "No picture is left" in refusal(lambda: swap(folder, [broken], tmp_path / "none.png"))
    assert not (tmp_path / "none.png").exists()


def test_labels_that_are_unsure_are_said(
    pictures: list[Path], dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tiny_model(Schema.binary(["Smiling", "Hat"]))
    last = model.classifier.head[-1]  # type: ignore[union-attr, index]
    with torch.no_grad():
        last.weight.zero_()  # type: ignore[union-attr]
        last.bias.copy_(torch.tensor([0.0, 1.0, 0.0, 2.0]))  # type: ignore[union-attr]
    save_model(model, tmp_path / "model")
    swap(tmp_path / "model", pictures[:1], tmp_path / "out.png")
    # sigmoid(1) is 0.731, sigmoid(2) is 0.881.
    assert "anna: unsure about Smiling (present, 73%);" in capsys.readouterr().err
    swap(tmp_path / "model", Selection(dataset), tmp_path / "known.png")
    assert "unsure" not in capsys.readouterr().err


def slide_smile(model: Path, pictures: list[Path], output: Path, overwrite: bool = False) -> list[Path]:
    return slide(model, pictures, output, "Smiling", overwrite=overwrite)


@pytest.mark.parametrize("verb", [swap, slide_smile])
def test_outputs_are_never_inputs_and_never_overwritten_unasked(
    verb: Callable[..., list[Path]], folder: Path, pictures: list[Path], tmp_path: Path
) -> None:
    before = pictures[0].read_bytes()
    link = tmp_path / "link.png"
    link.symlink_to(pictures[0])
    for output in (pictures[0], link):
        assert "one of the pictures" in refusal(lambda output=output: verb(folder, pictures, output))  # type: ignore[misc]
        message = refusal(lambda output=output: verb(folder, [pictures[0].parent], output, overwrite=True))  # type: ignore[misc]
        assert "one of the pictures" in message
    output = tmp_path / "out.png"
    output.write_bytes(b"mine")
    assert "exists already" in refusal(lambda: verb(folder, pictures, output))
    assert output.read_bytes() == b"mine"
    verb(folder, pictures, output, overwrite=True)
    assert output.read_bytes() != b"mine"
    assert pictures[0].read_bytes() == before


def test_single_files_and_loops_are_never_inputs_either(folder: Path, pictures: list[Path], tmp_path: Path) -> None:
    here = pictures[0].parent
    for name in ("anna_Smiling_0.png", "anna_Smiling_1.png", "out.gif"):
        to_picture(renderer.portrait(0)).save(here / name)
    inputs, before = list(here.iterdir()), {path: path.read_bytes() for path in here.iterdir()}
    output = tmp_path / "out.png"
    for call in (
        lambda: slide(folder, inputs, output, "Smiling", 0, 1, 2, separate=here, overwrite=True),
        lambda: swap(folder, inputs, output, ["Smiling"], separate=here, overwrite=True),
        lambda: slide(folder, inputs, here / "out.png", "Smiling", gif=True, overwrite=True),
    ):
        assert "one of the pictures" in refusal(call)
    for call in (
        lambda: slide(folder, pictures, output, "Smiling", 0, 1, 2, separate=here),
        lambda: swap(folder, pictures, output, ["Smiling"], separate=here),
        lambda: slide(folder, pictures, here / "out.png", "Smiling", gif=True),
    ):
        assert "exists already" in refusal(call)
    assert {path: path.read_bytes() for path in here.iterdir()} == before
    assert not output.exists()


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda m, p, o: swap(m, p, o, ["Beard"]), "no attribute 'Beard'; there are Smiling, Hair"),
        (lambda m, p, o: swap(m, p, o, ["Smiling", "Smiling"], together=True), "takes two attributes"),
        (lambda m, p, o: swap(m, [], o), "No picture is left"),
        (lambda m, p, o: swap(m, Selection(m), o), "no prepared dataset"),
        (lambda m, p, o: swap(m, p, o.with_suffix(".xyz")), ".xyz names no picture format"),
        (lambda m, p, o: swap(m, p, o.with_suffix("")), "no ending names no picture format"),
        (lambda m, p, o: swap(p[0], p, o), "no model folder"),
        (lambda m, p, o: swap(m, [o.parent / "empty"], o), "no picture in this folder"),
        (lambda m, p, o: swap(m, p * 400, o), "too many to look at"),
        (lambda m, p, o: slide(m, p, o, "Hair"), "fader swap shows each of them"),
        (lambda m, p, o: slide(m, p, o, "Beard"), "no attribute 'Beard'"),
        (lambda m, p, o: slide(m, p, o, "Smiling", float("nan")), "finite"),
        (lambda m, p, o: slide(m, p, o, "Smiling", steps=0), "0 steps"),
        (lambda m, p, o: slide(m, p, o, "Smiling", steps=10**12), "too many to look at"),
    ],
)
def test_what_makes_no_sense_is_refused(
    folder: Path, pictures: list[Path], tmp_path: Path, call: Callable[..., Any], says: str
) -> None:
    (tmp_path / "empty").mkdir()
    before = sorted(tmp_path.iterdir())
    assert says in refusal(lambda: call(folder, pictures, tmp_path / "out.png"))
    assert sorted(tmp_path.iterdir()) == before


def test_a_count_of_nothing_is_refused(folder: Path, dataset: Path, tmp_path: Path) -> None:
    assert "count of 0" in refusal(lambda: swap(folder, Selection(dataset, count=0), tmp_path / "out.png"))
    assert "'valid'" in refusal(lambda: swap(folder, Selection(dataset, "valid"), tmp_path / "out.png"))


def test_an_output_that_cannot_be_written_is_the_users_to_mend(
    folder: Path, pictures: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    assert "cannot be written" in refusal(lambda: swap(folder, pictures, tmp_path / "file" / "out.png"))


# --- Faces in whole photos --------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("marked_faces")
def test_a_figure_shows_faces_where_they_were_found(
    faces_folder: Path, album: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figure = tmp_path / "out.png"
    command = ["swap", str(faces_folder), str(album), "-o", str(figure), "--align", "--attributes", "Smiling"]
    assert cli.main(command) == 0
    assert f"Left out: {album / 'wall.png'}: no face was found" in capsys.readouterr().err
    seen = np.asarray(open_picture(album / "one.png"))[30:62, 20:52]
    assert same(cell(figure, 0, 0), shown(to_picture(seen)))
    assert cli.main([*command, "--face", "2", "--overwrite"]) == 0
    assert "one.png: there is no face 2" in capsys.readouterr().err
    second = np.asarray(open_picture(album / "two.png"))[30:62, 20:52]
    assert same(cell(figure, 0, 0), shown(to_picture(second)))


@pytest.mark.usefixtures("marked_faces")
def test_separate_files_are_the_whole_photos(
    faces_folder: Path, faces_model: Model, album: Path, tmp_path: Path
) -> None:
    command = ["slide", str(faces_folder), str(album), "--attribute", "Smiling", "--from", "-5", "--to", "5"]
    singles = tmp_path / "singles"
    options = ["-o", str(tmp_path / "out.png"), "--steps", "2", "--paste", "--separate", str(singles)]
    assert cli.main([*command, *options]) == 0
    frames = {"one": (20, 30, 32), "two": (90, 60, 48)}
    assert {path.name for path in singles.iterdir()} == {f"{one}_Smiling_{v}.png" for one in frames for v in (-5, 5)}
    for name, (left, top, side) in frames.items():
        photo = open_picture(album / f"{name}.png")
        around = markers.outside(photo.size, left, top, side)
        face = faces_model.encode(photo, align=True)
        for value in (-5, 5):
            with Image.open(singles / f"{name}_Smiling_{value}.png") as image:
                assert not image.info
                assert not image.getexif()
                pasted = np.asarray(image)
            assert np.array_equal(pasted[around], np.asarray(photo)[around])
            assert (pasted != np.asarray(photo))[~around].any()
            assert same(pasted, np.asarray(face.paste(Smiling=value)))


@pytest.mark.usefixtures("marked_faces")
def test_what_is_not_familiar_is_named_and_not_pasted(
    faces_model: Model, album: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tiny_model(framing=faces_model.framing)
    errors = model.encode([album / "one.png", album / "two.png"], align=True).reconstruction_errors
    model.errors = familiarity.summary(torch.tensor([[errors.mean() / familiarity.MARGIN, 1e9]]))
    save_model(model, tmp_path / "model")
    kept, left = ("one", "two") if errors[0] < errors[1] else ("two", "one")
    command = ["swap", str(tmp_path / "model"), str(album), "--attributes", "5_o_Clock_Shadow", "--paste"]
    options = ["-o", str(tmp_path / "out.png"), "--separate", str(tmp_path / "singles")]
    assert cli.main([*command, *options]) == 0
    assert f"Not pasted: {album / left}.png: the model's own copy" in capsys.readouterr().err
    assert [path.name.split("_")[0] for path in (tmp_path / "singles").iterdir()] == [kept]


@pytest.mark.usefixtures("marked_faces")
def test_no_alignment_where_it_makes_no_sense(
    folder: Path, faces_folder: Path, album: Path, dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out.png"
    for given, says in (
        ([faces_folder, album, "--paste"], "add --separate"),
        ([faces_folder, "--dataset", dataset, "--align"], "framed already"),
        ([faces_folder, album, "--face", "2"], "add one of them"),
        ([faces_folder, album, "--align", "--face", "0"], "face is 0"),
        ([faces_folder, album / "wall.png", "--align"], "No picture is left to edit"),
        ([folder, album, "--align"], "does not know where faces lie"),
    ):
        assert cli.main(["slide", *map(str, given), "--attribute", "Smiling", "-o", str(output)]) == 2
        assert says in capsys.readouterr().err
        assert not output.exists()
