"""The model folder and the public object: what goes in, what comes out, and what is refused."""

from __future__ import annotations

import dataclasses
import io
import json
import pickle
import re
import resource
import struct
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import fader
import fader.model
from fader import alignment, cli, familiarity, mtcnn
from fader.alignment import Placement
from fader.attributes import Schema
from fader.datasets.celeba import prepare_celeba
from fader.datasets.portraits.renderer import portrait
from fader.datasets.prepared import open_dataset
from fader.errors import UserError
from fader.images import Framing, from_pixels, open_picture, to_array, to_picture, to_pixels
from fader.model import Ends, Faces, Model, Picture, load, mark_ends, model_card, save_model
from tests import markers
from tests.models import SCHEMA, tiny_model
from tests.refusals import refusal

FACES = np.stack([portrait(i, 32) for i in range(5)])
FACE = FACES[3]
GPS = 0x8825


@pytest.fixture(scope="module")
def model() -> Model:
    return tiny_model()


@pytest.fixture
def folder(model: Model, tmp_path: Path) -> Path:
    save_model(model, tmp_path / "model")
    return tmp_path / "model"


def array(image: Image.Image) -> np.ndarray:
    return np.asarray(image)


def close(one: Image.Image, other: Image.Image) -> bool:
    """Equal but for a rounding of the last bit: convolutions of batches of different sizes may differ in float32."""
    return one.size == other.size and np.abs(array(one).astype(int) - array(other).astype(int)).max() <= 1


# --- Encoding and editing -------------------------------------------------------------------------------------------


def test_the_example_of_the_documentation(folder: Path, tmp_path: Path) -> None:
    to_picture(FACE).save(tmp_path / "me.png")

    model = fader.load(folder)
    face = model.encode(tmp_path / "me.png")
    assert set(face.values) == set(SCHEMA.names)
    edited = face.edit(Smiling=1, Hair="red")
    edited.save(tmp_path / "out.png")
    assert edited.size == (32, 32)
    assert face.edit({"5_o_Clock_Shadow": 1}).mode == "RGB"
    assert len(face.sweep("Smiling", -1, 2, steps=9)) == 9


def test_a_picture_edited_to_its_own_values_is_its_reconstruction(model: Model) -> None:
    face = model.encode(FACE)
    assert face.edit(**face.values) == face.edit() == face.reconstruction()
    faces = model.encode(FACES)
    assert faces.edit() == faces.reconstruction()


def test_reconstruction_is_the_decoding_of_the_latent_with_the_own_code(model: Model) -> None:
    face = model.encode(FACE, values={"Smiling": 1, "Hair": "blond", "5_o_Clock_Shadow": 0})
    code = torch.tensor([[0.0, 1, 0, 1, 0, 1, 0]])  # Absent, present; black, blond, red; absent, present.
    with torch.no_grad():
        expected = model.network(to_pixels(FACES[3:4]), code)
    assert np.array_equal(array(face.reconstruction()), from_pixels(expected)[0])


class Recorder(nn.Module):
    """Stands in for a decoder and keeps the codes it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.codes: list[list[float]] = []

    def forward(self, latent: tuple[Tensor, ...], code: Tensor) -> Tensor:
        self.codes += code.tolist()
        return torch.zeros(len(code), 3, 32, 32)


def test_what_reaches_the_decoder() -> None:
    """The code of value v is (1 - v, v), absent first; what is not named stays as the picture has it."""
    model = tiny_model()
    model.network.decoder = recorder = Recorder()  # type: ignore[assignment]
    face = model.encode(FACE, values={"Smiling": "present", "Hair": "blond", "5_o_Clock_Shadow": False})
    face.edit()
    face.edit(Smiling=0)
    face.edit({"Smiling": 0.25}, Hair="red")
    face.edit({"5_o_Clock_Shadow": "present", "Hair": 0})
    face.sweep("Smiling", -1, 2, 4)
    blond, off = [0, 1, 0], [1, 0]
    assert recorder.codes == [
        [0, 1, *blond, *off],
        [1, 0, *blond, *off],
        [0.75, 0.25, 0, 0, 1, *off],
        [0, 1, 1, 0, 0, 0, 1],
        [2, -1, *blond, *off],
        [1, 0, *blond, *off],
        [0, 1, *blond, *off],
        [-1, 2, *blond, *off],
    ]


def test_an_edit_does_not_stick(model: Model) -> None:
    face = model.encode(FACE)
    before = face.reconstruction()
    face.edit(Smiling=2, Hair="red")
    face.sweep("Smiling", -1, 2)
    assert face.reconstruction() == before


def test_a_sweep_is_as_many_edits(model: Model) -> None:
    face = model.encode(FACE)
    swept = face.sweep("Smiling", -1, 2, steps=7)
    assert all(close(one, face.edit(Smiling=value)) for one, value in zip(swept, np.linspace(-1, 2, 7), strict=True))
    values = face.swept("Smiling", -1, 2, 7)[0]
    together = model.decode_pixels(tuple(z.expand(7, -1, -1, -1) for z in face.latent), values)
    apart = torch.cat([model.decode_pixels(face.latent, value[None]) for value in values])
    torch.testing.assert_close(together, apart, rtol=0, atol=1e-6)
    assert swept[0] != swept[-1]


def test_a_sweep_of_a_categorical_attribute_visits_its_categories(model: Model) -> None:
    face = model.encode(FACE)
    swept = face.sweep("Hair", 0, 2, steps=3)
    assert all(close(one, face.edit(Hair=hair)) for one, hair in zip(swept, ("black", "blond", "red"), strict=True))
    assert "switch between black, blond, red" in refusal(lambda: face.sweep("Hair", 0, 1, steps=4))


def test_many_pictures_in_parts_are_the_pictures_one_by_one(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = [model.encode(face) for face in FACES]
    monkeypatch.setattr(fader.model, "PIXELS_AT_ONCE", 2 * 32 * 32)
    assert [len(range(5)[part]) for part in model.batches(5)] == [2, 2, 1]
    faces = model.encode(FACES)
    assert faces.values == [face.values for face in alone]
    assert len(faces.edit(Smiling=1)) == 5
    assert all(close(one, face.edit(Smiling=1)) for one, face in zip(faces.edit(Smiling=1), alone, strict=True))
    for row, face in zip(faces.sweep("Smiling", 0, 1, 3), alone, strict=True):
        assert all(close(one, other) for one, other in zip(row, face.sweep("Smiling", 0, 1, 3), strict=True))
    for confidence, face in zip(faces.confidence, alone, strict=True):
        assert confidence == pytest.approx(face.confidence, abs=1e-6)
    assert faces.original == [to_picture(face) for face in FACES]


def test_one_picture_alone_and_one_in_a_list(model: Model) -> None:
    assert isinstance(model.encode(FACE).reconstruction(), Image.Image)
    faces = model.encode([FACE])
    assert faces.reconstruction() == [model.encode(FACE).reconstruction()]
    assert isinstance(faces.values, list)


@pytest.mark.parametrize("fields", [{"skips": 2}, {"norm": "instance"}, {"upsampling": "pixelshuffle"}, {"layers": 5}])
def test_other_networks_edit_too(fields: dict[str, Any]) -> None:
    faces = tiny_model(**fields).encode(FACES)
    assert faces.edit(**faces.values[0]) != faces.edit(Smiling=3)
    one, other = faces.sweep("Smiling", 0, 1, 2)[4]
    assert close(one, faces.edit(Smiling=0)[4])
    assert close(other, faces.edit(Smiling=1)[4])


def test_latent_features_are_what_the_discriminator_reads() -> None:
    model = tiny_model(skips=1)
    latent = model.encode_pixels(to_pixels(FACES))
    assert [tuple(z.shape) for z in latent] == [(5, 16, 4, 4), (5, 16, 8, 8)]
    assert torch.equal(model.latent_features(latent), latent[1].reshape(5, 16 * 8 * 8))


# --- Pictures -------------------------------------------------------------------------------------------------------


def test_every_kind_of_picture_is_the_same_picture(model: Model, tmp_path: Path) -> None:
    path = tmp_path / "face.png"
    to_picture(FACE).save(path)
    pixels = torch.from_numpy(FACE).permute(2, 0, 1).double() / 255 * 2 - 1
    expected = model.encode(FACE)
    for picture in (path, str(path), to_picture(FACE), Image.open(path), pixels, pixels.float()):
        face = model.encode(picture)
        assert torch.equal(face.latent[0], expected.latent[0])
        assert face.original == to_picture(FACE)
    three: list[Picture] = [path, FACE, pixels]
    for many in (three, iter(three), np.stack([FACE] * 3), torch.stack([pixels] * 3)):
        faces = model.encode(many)
        torch.testing.assert_close(faces.latent[0], expected.latent[0].expand(3, -1, -1, -1), rtol=0, atol=1e-5)


def test_pictures_of_any_size_are_cut_to_the_centred_square_and_scaled(model: Model) -> None:
    wide = np.random.default_rng(0).integers(0, 256, (48, 81, 3), dtype=np.uint8)
    expected = to_picture(wide[:, 16:64]).resize((32, 32), Image.Resampling.LANCZOS)
    assert np.array_equal(model.frame(wide), array(expected))


def test_an_open_file_is_a_picture(model: Model, tmp_path: Path) -> None:
    to_picture(FACE).save(tmp_path / "face.png")
    with (tmp_path / "face.png").open("rb") as file, io.BytesIO((tmp_path / "face.png").read_bytes()) as memory:
        assert np.array_equal(model.encode(file).arrays[0], model.frame(FACE))
        assert len(model.encode([memory]).values) == 1


def test_the_fingerprint_is_of_what_decides_an_edit() -> None:
    model = tiny_model()
    other_framing = Framing((0, 0, 16, 16), (32, 32))
    others = [tiny_model(seed=1), tiny_model(framing=other_framing), tiny_model(Schema.binary(["A", "B", "C"]))]
    others += [tiny_model(with_classifier=False), tiny_model()]
    with torch.no_grad():
        next(others[-1].classifier.parameters()).view(-1)[0] += 1  # type: ignore[union-attr]
    fingerprints = {one.fingerprint for one in (model, *others)}
    assert len(fingerprints) == 6
    same = tiny_model()
    same.selection, same.dataset = {}, {}
    assert same.fingerprint == model.fingerprint
    assert re.fullmatch("[0-9a-f]{16}", model.fingerprint)


def test_pictures_of_the_datasets_size_are_cut_as_they_were() -> None:
    celeba = np.random.default_rng(0).integers(0, 256, (218, 178, 3), dtype=np.uint8)
    # The crop of CelebA is the centred square; one that lies elsewhere tells them apart.
    model = tiny_model(framing=Framing((0, 0, 100, 100), (178, 218)))
    assert np.array_equal(model.frame(celeba), to_array(to_picture(celeba), 32, box=(0, 0, 100, 100)))
    assert np.array_equal(model.frame(celeba[:217]), to_array(to_picture(celeba[:217]), 32, box=(0, 19, 178, 197)))
    # What is framed already is not framed again.
    model = tiny_model(framing=Framing((0, 0, 16, 16), (32, 32)))
    assert np.array_equal(model.encode_framed(FACES).arrays, FACES)
    assert not np.array_equal(model.encode(FACES).arrays, FACES)


def test_a_photograph_is_framed_as_the_dataset_that_it_could_be_of(shared_data: Path, tmp_path: Path) -> None:
    """Genuine CelebA pictures: what the model sees of a file is what `prepare celeba` makes of it."""
    layout = shared_data / "celeba_layout"
    prepare_celeba(layout, tmp_path / "celeba", attributes=["Smiling"], size=32, workers=1)
    dataset = open_dataset(tmp_path / "celeba")
    model = tiny_model(framing=Framing.from_json(dataset.info["framing"]))
    assert len(dataset) == 32
    for name, prepared in zip(dataset.names, dataset.images[:], strict=True):
        assert np.array_equal(model.frame(layout / "img_align_celeba" / Path(name).name), prepared)


def test_framing_round_trip_and_damage() -> None:
    for framing in (
        Framing(),
        Framing((0, 20, 178, 198), (178, 218)),
        Framing((1.5, 2, 33.5, 34)),
        Framing(None, (9, 9)),
    ):
        assert Framing.from_json(json.loads(json.dumps(framing.to_json()))) == framing


@pytest.mark.parametrize(
    "damaged",
    [
        None,
        [],
        {},
        {"crop": "left"},
        {"crop": [0, 0, 10]},
        {"crop": [0, 0, True, 10]},
        {"crop": [0, 0, "10", 10]},
        {"crop": [5, 0, 5, 10]},
        {"crop": [-1, 0, 5, 10]},
        {"crop": [0, 0, float("nan"), 10]},
        {"crop": [0, 0, 200, 178], "picture_size": [178, 218]},
        {"crop": "centre", "picture_size": 178},
    ],
)
def test_damaged_framing_is_refused(damaged: Any) -> None:
    assert "framing is damaged" in refusal(lambda: Framing.from_json(damaged))


# --- Faces in whole photos --------------------------------------------------------------------------------------------

# A frame of 32 pixels with its upper left corner at (20, 30), and one of 48 at (90, 60).
SMALL, LARGE = ((20, 30), (52, 30)), ((90, 60), (138, 60))


@pytest.fixture(scope="module")
def faces_model() -> Model:
    """A model that knows where faces lie in its pictures."""
    return tiny_model(framing=Framing(points=alignment.STANDARD))


def familiar_within(model: Model, mse: float) -> None:
    """Photos are familiar to the model up to this mean squared error."""
    model.errors = familiarity.summary(torch.tensor([[mse / familiarity.MARGIN, 1e9]]))


@pytest.mark.usefixtures("marked_faces")
def test_a_face_is_cut_where_it_was_found(faces_model: Model) -> None:
    photo = markers.photo(SMALL)
    face = faces_model.encode(photo, align=True)
    # The frame has as many pixels as the model sees, so that they are the photo's own.
    np.testing.assert_allclose(array(face.original), array(photo)[30:62, 20:52], atol=1)
    assert face.placements is not None
    (placement,) = face.placements
    assert dataclasses.astuple(placement) == pytest.approx((36, 46, 32, 0))
    assert not np.array_equal(array(faces_model.encode(photo).original), array(face.original))


@pytest.mark.usefixtures("marked_faces")
def test_a_turned_face_is_cut_upright(faces_model: Model) -> None:
    # Its upper edge runs downwards in the photo: a quarter clockwise, with the face to the left of it.
    photo = markers.photo(((80, 20), (80, 52)))
    face = faces_model.encode(photo, align=True)
    assert face.placements is not None
    assert dataclasses.astuple(face.placements[0]) == pytest.approx((64, 36, 32, 90))
    expected = np.rot90(array(photo)[20:52, 48:80])
    np.testing.assert_allclose(array(face.original), expected, atol=1)


@pytest.mark.usefixtures("marked_faces")
def test_of_several_faces_the_largest_or_another(faces_model: Model) -> None:
    photos = [markers.photo(SMALL, LARGE), markers.photo(LARGE, SMALL)]
    for face, centre, side in ((1, (114, 84), 48), (2, (36, 46), 32)):
        placements = faces_model.encode(photos, align=True, face=face).placements
        assert placements is not None
        for placement in placements:
            assert dataclasses.astuple(placement) == pytest.approx((*centre, side, 0))
    assert "picture 2: there is no face 2" in refusal(
        lambda: faces_model.encode([photos[0], markers.photo(SMALL)], align=True, face=2)
    )
    for given in (None, Placement(36, 46, 32)):
        assert "face=2 chooses among" in refusal(partial(faces_model.encode, photos, face=2, placements=given))


def test_a_placement_takes_no_detector(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(alignment, "detect")
    photos = [markers.photo(size=(160, 120)), markers.photo(size=(90, 100))]
    placements = [Placement(36, 46, 32), Placement(50, 60, 32)]
    # This model does not even know where faces lie in its pictures.
    faces = model.encode(photos, placements=placements)
    assert np.array_equal(faces.arrays[0], array(photos[0])[30:62, 20:52])
    assert np.array_equal(faces.arrays[1], array(photos[1])[44:76, 34:66])
    faces = model.encode(photos, placements=placements[0])
    assert faces.placements == [placements[0]] * 2
    assert np.array_equal(faces.arrays[1], array(photos[1])[30:62, 20:52])
    one = model.encode(photos[0], placements=placements[0], align=True)
    assert np.array_equal(one.arrays[0], faces.arrays[0])
    assert "2 picture(s) and 1 placements" in refusal(lambda: model.encode(photos, placements=placements[:1]))
    assert "outside of the picture of 90 x 100" in refusal(
        lambda: model.encode(photos, placements=Placement(140, 60, 32))
    )


@pytest.mark.usefixtures("marked_faces")
def test_an_edited_face_is_pasted_into_its_photo(faces_model: Model, tmp_path: Path) -> None:
    """Each picture of a batch into its own photo; the pixels around the frame stay bit by bit, the metadata goes."""
    exif = Image.Exif()
    exif.get_ifd(GPS)[1] = "N"
    for name, frame, size in (("a.png", SMALL, (160, 120)), ("b.jpg", LARGE, (200, 150))):
        markers.photo(frame, size=size).save(tmp_path / name, exif=exif, quality=100, subsampling=0)
    paths = [tmp_path / "a.png", tmp_path / "b.jpg"]
    faces = faces_model.encode(paths, align=True)
    assert faces.unfit_to_paste == [None, None]
    changes: dict[str, float | str] = {"Smiling": 5, "Hair": "red"}
    for i, (path, (left, top, side)) in enumerate(zip(paths, ((20, 30, 32), (90, 60, 48)), strict=True)):
        photo, pasted = open_picture(path), faces.paste(changes)[i]
        assert (pasted.size, pasted.mode, pasted.info) == (photo.size, "RGB", {})
        # JPEG moves the marked corners by less than a pixel.
        around = markers.outside(photo.size, left - i, top - i, side + 2 * i)
        assert np.array_equal(array(pasted)[around], array(photo)[around])
        assert (array(pasted) != array(photo))[~around].mean() > 0.3
        assert faces.placements is not None
        expected = alignment.paste(
            photo, array(faces.edit(changes)[i]), faces.placements[i], array(faces.reconstruction()[i])
        )
        assert close(pasted, expected)
        pasted.save(tmp_path / "again.png")
        with Image.open(tmp_path / "again.png") as image:
            assert not image.getexif()
    # Nothing changed is nothing pasted, and the photo that is kept is not drawn on.
    for pasted, path in zip(faces.paste(), paths, strict=True):
        assert np.array_equal(array(pasted), array(open_picture(path)))
    one = faces_model.encode(paths[0], align=True)
    assert isinstance(one.paste(Smiling=1), Image.Image)


@pytest.mark.usefixtures("marked_faces")
def test_what_cannot_be_aligned_or_pasted_is_refused(
    model: Model, faces_model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    markers.photo().save(tmp_path / "wall.png")
    assert "wall.png: no face was found" in refusal(lambda: faces_model.encode(tmp_path / "wall.png", align=True))
    assert "does not know where faces lie" in refusal(lambda: model.encode(markers.photo(SMALL), align=True))
    assert "align=True" in refusal(lambda: faces_model.encode(markers.photo(SMALL)).paste(Smiling=1))
    assert "no attribute" in refusal(lambda: faces_model.encode(markers.photo(SMALL), align=True).paste(Smile=1))
    monkeypatch.undo()
    monkeypatch.setattr("fader.mtcnn.PACKAGE", "no-such-package")
    mtcnn._networks.cache_clear()
    assert "'fader-networks[align]'" in refusal(lambda: faces_model.encode(markers.photo(SMALL), align=True))


@pytest.mark.usefixtures("marked_faces")
def test_a_face_that_is_not_familiar_is_not_pasted() -> None:
    model = tiny_model(framing=Framing(points=alignment.STANDARD))
    faces = model.encode([markers.photo(SMALL), markers.photo(LARGE)], align=True)
    errors = faces.reconstruction_errors
    worse = int(errors.argmax())
    familiar_within(model, float(errors.mean()))
    reasons = faces.unfit_to_paste
    assert reasons[1 - worse] is None
    assert "own copy of this face is too far" in (reasons[worse] or "")
    assert f"Picture {worse + 1}: the model's own copy" in refusal(lambda: faces.paste(Smiling=1))
    assert len(faces.edit(Smiling=1)) == 2
    familiar_within(model, float(errors.max()) * 1.01)
    assert len(faces.paste(Smiling=1)) == 2


@pytest.mark.parametrize("points", [[[0.4, 0.5]] * 4, [[0.4, 0.5]] * 4 + [[0.4, 5]], "centre"])
def test_a_model_with_damaged_points_is_refused(
    points: Any, folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["framing"]["points"] = points
    (folder / "config.json").write_text(json.dumps(config))
    markers.photo(SMALL).save(tmp_path / "me.png")
    command = ["swap", str(folder), str(tmp_path / "me.png"), "-o", str(tmp_path / "out.png"), "--align"]
    assert cli.main(command) == 2
    message = capsys.readouterr().err
    assert message.startswith(f"fader: {folder / 'config.json'}: The framing is damaged: points has to be five pairs")
    assert message.count("\n") == 1
    assert not (tmp_path / "out.png").exists()


def test_points_are_kept_with_the_model(faces_model: Model, tmp_path: Path) -> None:
    save_model(faces_model, tmp_path / "model")
    assert load(tmp_path / "model").framing.points == alignment.STANDARD
    save_model(tiny_model(), tmp_path / "unknown")
    assert "points" not in json.loads((tmp_path / "unknown" / "config.json").read_text())["framing"]


def test_grey_models_take_colour_pictures_and_colour_models_grey_ones(model: Model) -> None:
    grey = tiny_model(channels=1)
    face = grey.encode(FACE)
    assert face.original == to_picture(FACE).convert("L")
    assert face.edit(Smiling=1).mode == "L"
    assert np.array_equal(model.frame(FACE[:, :, :1]), np.repeat(FACE[:, :, :1], 3, axis=2))


def test_pictures_are_turned_upright(model: Model, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # To be turned by a quarter clockwise.
    lying = to_picture(np.rot90(FACE).copy())
    lying.save(tmp_path / "lying.png", exif=exif)
    assert np.array_equal(model.frame(tmp_path / "lying.png"), FACE)
    assert np.array_equal(model.frame(Image.open(tmp_path / "lying.png")), FACE)


@pytest.mark.parametrize(
    ("picture", "says"),
    [
        ("nowhere.jpg", "nowhere.jpg: there is no such file"),
        ([FACE, "nowhere.jpg"], "nowhere.jpg: there is no such file"),
        ([], "no picture to encode"),
        (np.zeros((0, 32, 32, 3), np.uint8), "no picture to encode"),
        (FACE.astype(np.float32), r"picture 1: an array has to be uint8 .* it is float32"),
        (FACE[:, :, 0], r"picture 1: an array has to be uint8 .* \(32, 32\)"),
        (FACE[:0], r"picture 1: an array has to be uint8"),
        ([FACE, np.zeros((8, 8, 4), np.uint8)], "picture 2: an array has to be uint8"),
        (torch.zeros(3, 32, 32, dtype=torch.uint8), "picture 1: a tensor has to be floating-point"),
        (torch.zeros(32, 32, 3), "picture 1: a tensor has to be floating-point pixels of the shape"),
        (torch.full((3, 32, 32), 255.0), r"picture 1: the pixels of a tensor have to be in \[-1, 1\]"),
        (torch.full((3, 32, 32), float("nan")), r"picture 1: the pixels of a tensor have to be in \[-1, 1\]"),
        (None, "picture 1: a NoneType is no picture"),
        (7, "picture 1: a int is no picture"),
    ],
)
def test_what_is_no_picture_is_refused(model: Model, picture: Any, says: str) -> None:
    with pytest.raises(UserError, match=says):
        model.encode(picture)


# --- Labels ---------------------------------------------------------------------------------------------------------


def test_labels_are_estimated_with_the_classifier(model: Model) -> None:
    faces = model.encode(FACES)
    assert model.classifier is not None
    with torch.no_grad():
        logits = model.classifier(to_pixels(FACES)).double().numpy()
    for row, values, confidence in zip(logits, faces.values, faces.confidence, strict=True):
        for name, part in (("Smiling", row[:2]), ("Hair", row[2:5]), ("5_o_Clock_Shadow", row[5:])):
            probabilities = np.exp(part) / np.exp(part).sum()
            best = int(probabilities.argmax())
            assert values[name] == (["black", "blond", "red"][best] if name == "Hair" else best)
            assert confidence[name] == pytest.approx(probabilities.max(), abs=1e-5)


def test_labels_that_are_known_are_not_estimated(model: Model) -> None:
    estimated = model.encode(FACES).values
    opposite = [{"Smiling": 1 - values["Smiling"]} for values in estimated]
    faces = model.encode(FACES, values=opposite)
    assert faces.values == [{**values, **known} for values, known in zip(estimated, opposite, strict=True)]
    assert all(confidence["Smiling"] == 1 > confidence["Hair"] for confidence in faces.confidence)
    assert {values["Hair"] for values in model.encode(FACES, values={"Hair": 2}).values} == {"red"}
    assert model.encode(FACE, values={"Hair": "red", "Smiling": True}).values["Smiling"] == 1


def test_a_model_without_classifier_needs_all_labels() -> None:
    model = tiny_model(with_classifier=False)
    assert "no classifier" in refusal(lambda: model.encode(FACE, values={"Smiling": 1}))
    known: Mapping[str, Any] = {"Smiling": 1, "Hair": "red", "5_o_Clock_Shadow": 0}
    assert model.encode(FACE, values=known).values == known


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"Beard": 1}, "no attribute 'Beard'; there are Smiling, Hair, 5_o_Clock_Shadow"),
        ({"Smiling": 0.5}, "Smiling of a picture is one of absent, present; 0.5 is no label"),
        ({"Smiling": -1}, "-1 is no label"),
        ({"Hair": "green"}, "Hair has no value 'green'"),
        ({"Hair": 3}, "3 is not the number of one of them"),
        ([{"Smiling": 1}, {}], r"1 picture\(s\) and 2 sets of values"),
    ],
)
def test_wrong_labels_are_refused(model: Model, values: Any, says: str) -> None:
    with pytest.raises(UserError, match=says):
        model.encode(FACE, values=values)


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (lambda face: face.edit(Beard=1), "no attribute 'Beard'; there are Smiling, Hair, 5_o_Clock_Shadow"),
        (lambda face: face.edit(Hair=0.5), "switch between black, blond, red"),
        (lambda face: face.edit(Smiling="broadly"), "Smiling has no value 'broadly'"),
        (lambda face: face.edit(Smiling=float("nan")), "finite"),
        (lambda face: face.sweep("Beard", 0, 1), "no attribute 'Beard'"),
        (lambda face: face.sweep("Smiling", 0, float("inf")), "finite"),
        (lambda face: face.sweep("Smiling", 0, 1, steps=0), "0 steps"),
    ],
)
def test_wrong_edits_are_refused(model: Model, edit: Callable[[Faces], Any], says: str) -> None:
    face = model.encode(FACE)
    assert says in refusal(lambda: edit(face))


# --- The model folder -----------------------------------------------------------------------------------------------


def test_a_model_folder_gives_the_model_back(model: Model, folder: Path) -> None:
    assert sorted(file.name for file in folder.iterdir()) == [
        "README.md",
        "classifier.safetensors",
        "config.json",
        "model.safetensors",
    ]
    loaded = load(folder, device="cpu")
    assert (loaded.schema, loaded.config, loaded.framing) == (model.schema, model.config, model.framing)
    assert (loaded.classifier_config, loaded.dataset, loaded.selection) == (
        model.classifier_config,
        model.dataset,
        model.selection,
    )
    assert (loaded.size, loaded.channels, loaded.device.type) == (32, 3, "cpu")
    before, after = model.encode(FACES), loaded.encode(FACES)
    assert after.values == before.values
    assert after.edit(Smiling=2) == before.edit(Smiling=2)
    # A run starts from a loaded model, so its weights have to be able to learn.
    assert all(parameter.requires_grad for parameter in loaded.network.parameters())


def test_a_run_folder_stands_for_its_model(model: Model, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{}")
    assert "go on with" in refusal(lambda: load(tmp_path))
    save_model(model, tmp_path / "model")
    assert load(str(tmp_path)).schema == model.schema


def test_half_precision_halves_the_file_and_is_cast_back(tmp_path: Path) -> None:
    model = tiny_model(max_width=64)
    save_model(model, tmp_path / "half", half=True)
    save_model(model, tmp_path / "full")
    sizes = [(tmp_path / name / "model.safetensors").stat().st_size for name in ("half", "full")]
    assert sizes[0] < 0.6 * sizes[1]
    state, half = model.network.state_dict(), load(tmp_path / "half").network.state_dict()
    for name, tensor in state.items():
        expected = tensor.half().float() if tensor.is_floating_point() else tensor
        assert half[name].dtype == expected.dtype
        assert torch.equal(half[name], expected)


def test_weights_that_cannot_be_kept_are_refused(tmp_path: Path) -> None:
    model = tiny_model()
    weight = model.network.decoder.layers[0][0].weight  # type: ignore[index]
    with torch.no_grad():
        weight[0, 0, 0, 0] = 1e5  # Too large for float16.
    save_model(model, tmp_path / "full")
    assert "decoder.layers.0.0.weight" in refusal(lambda: save_model(model, tmp_path / "half", half=True))
    with torch.no_grad():
        weight[0, 0, 0, 0] = float("nan")
    assert "decoder.layers.0.0.weight" in refusal(lambda: save_model(model, tmp_path / "nan"))
    assert [path.name for path in tmp_path.iterdir()] == ["full"]


def test_a_model_without_classifier_is_saved_without(tmp_path: Path) -> None:
    save_model(tiny_model(with_classifier=False), tmp_path / "model")
    assert not (tmp_path / "model" / "classifier.safetensors").exists()
    assert load(tmp_path / "model").classifier is None


def test_nothing_is_overwritten_unasked(model: Model, folder: Path) -> None:
    before = (folder / "model.safetensors").read_bytes()
    other = tiny_model(seed=1)
    assert "exists already" in refusal(lambda: save_model(other, folder))
    assert (folder / "model.safetensors").read_bytes() == before
    save_model(other, folder, overwrite=True)
    assert (folder / "model.safetensors").read_bytes() != before
    assert [path.name for path in folder.parent.iterdir()] == ["model"]


def test_a_folder_that_is_no_model_is_not_overwritten_even_if_asked(model: Model, tmp_path: Path) -> None:
    other = tmp_path / "holiday"
    other.mkdir()
    (other / "photo.jpg").write_text("mine")
    assert "something else" in refusal(lambda: save_model(model, other, overwrite=True))
    assert [(path.name, path.read_text()) for path in other.iterdir()] == [("photo.jpg", "mine")]


def test_files_may_be_read_by_whoever_may_read_new_files(folder: Path) -> None:
    """safetensors' own writer leaves them to their owner alone."""
    assert len({file.stat().st_mode for file in folder.iterdir()}) == 1


def test_a_loaded_model_does_not_depend_on_its_files(folder: Path) -> None:
    model = load(folder)
    before = model.encode(FACE).reconstruction()
    path = folder / "model.safetensors"
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.write(bytes(size))
    assert model.encode(FACE).reconstruction() == before


def test_the_model_card_tells_what_there_is_to_know() -> None:
    card = model_card(tiny_model())
    for line in (
        "# Fader Network: Smiling, Hair, 5\\_o\\_Clock\\_Shadow",
        "| Hair | black, blond, red |",
        "| name | faces |",
        "| mse | 0.012346 |",
        "| accuracy Smiling | 0.97 |",
        "| network layers | 3 |",
        "face.edit({'Smiling': 1})",
    ):
        assert line in card.splitlines()


def test_names_cannot_break_the_model_card() -> None:
    name = "a|b](http://x)<script>\n# c `d`\n```"
    model = tiny_model(Schema.binary([name]))
    model.dataset = {"name": "*x*"}
    lines = model_card(model).splitlines()
    escaped = r"a\|b\](http\://x)\<script\> \# c \`d\` \`\`\`"
    assert f"# Fader Network: {escaped}" in lines
    assert f"| {escaped} | absent, present |" in lines
    assert r"| name | \*x\* |" in lines
    assert [line for line in lines if line.startswith("```")] == ["```python", "```"]


# --- Hostile and damaged folders --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "says"),
    [
        (None, "there is no such folder; name a run folder"),
        ([], "no model folder"),
        (["dataset.json"], "a prepared dataset, not a model"),
        (["run.json"], "this run has no model yet"),
    ],
)
def test_what_is_no_model_is_named(tmp_path: Path, files: list[str] | None, says: str) -> None:
    path = tmp_path / "thing"
    if files is not None:
        path.mkdir()
        for name in files:
            (path / name).write_text("{}")
    message = refusal(lambda: load(path))
    assert says in message
    assert str(path) in message


def nested(depth: int) -> dict[str, Any]:
    inner: dict[str, Any] = {}
    for _ in range(depth):
        inner = {"a": inner}
    return inner


def change(folder: Path, *keys: str, to: Any) -> None:
    data = json.loads((folder / "config.json").read_text())
    inner = data
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = to
    (folder / "config.json").write_text(json.dumps(data))


@pytest.mark.parametrize(
    ("keys", "to", "says"),
    [
        (["format"], "fader-classifier", "does not describe a Fader Network"),
        (["version"], 2, "format version 2 is not the one that this fader reads"),
        (["version"], None, "format version None"),
        (["config"], [], "not an object of named fields"),
        (["config", "network"], {"sise": 32}, "unknown field 'sise'"),
        (["config", "network", "width"], "8", "'width' cannot be '8'"),
        (["config", "network", "size"], 2**20, "size is 1048576"),
        (["config", "network", "size"], 33, "size is 33"),
        (["config", "network", "layers"], 40, "layers is 40"),
        (["config", "network", "norm"], ["batch"], "'norm' cannot be"),
        (["attributes"], [], "No attribute"),
        (["attributes"], [{"name": "Smiling"}], "list of attributes is damaged"),
        (["attributes"], [{"name": "a", "values": ["x"]}], "two at least"),
        (["framing"], {"crop": [9, 9, 0, 0]}, "framing is damaged"),
        (["classifier"], {"width": -1}, "width is -1"),
        (["classifier"], "strided", "no usable part for ClassifierConfig"),
        (["dataset"], None, "'dataset' is damaged"),
        (["selection"], [1], "'selection' is damaged"),
        (["selection"], {"mse": float("nan")}, "the number NaN"),
        (["dataset"], {"path": "\ud800"}, "cannot be read as JSON"),
        (["attributes"], [{"name": "\ud800", "values": ["a", "b"]}], "cannot be read as JSON"),
        (["selection"], nested(400), "'selection' is damaged: it is nested over 20 deep"),
        (["dataset"], {"name": ["faces", nested(400)]}, "'dataset' is damaged: it is nested over 20 deep"),
    ],
)
def test_damaged_configurations_are_refused(folder: Path, keys: list[str], to: Any, says: str) -> None:
    change(folder, *keys, to=to)
    message = refusal(lambda: load(folder))
    assert says in message
    assert str(folder / "config.json") in message


@pytest.mark.parametrize("text", ["", "[]", "{", "\xff", "[" * 100_000, '{"format": "fader-model"'])
def test_configurations_that_are_not_json_objects_are_refused(folder: Path, text: str) -> None:
    (folder / "config.json").write_text(text, encoding="latin-1")
    assert "config.json" in refusal(lambda: load(folder))


@pytest.mark.parametrize(
    ("keys", "to", "says"),
    [
        (["config", "network", "width"], 16, "model.safetensors: the tensor encoder.layers.0.0.weight is of shape"),
        (
            ["config", "network", "max_width"],
            10**30,
            "model.safetensors: the tensor encoder.layers.2.0.weight is of shape",
        ),
        (["classifier", "hidden"], 10**9, "classifier.safetensors: the tensor head.1.weight is of shape"),
        (["classifier", "hidden"], 10**30, "classifier.safetensors: the sizes in its configuration"),
        (["attributes"], [{"name": "a", "values": [str(i) for i in range(900)]}], "decoder.layers.0.0.weight"),
    ],
)
def test_sizes_that_are_not_the_files_are_refused(folder: Path, keys: list[str], to: Any, says: str) -> None:
    change(folder, *keys, to=to)
    assert says in refusal(lambda: load(folder))


def peak_memory() -> int:
    """Bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def test_absurd_networks_take_no_memory(folder: Path) -> None:
    change(folder, "config", "network", "max_width", to=2**14)
    change(folder, "config", "network", "width", to=2**14)  # 3 layers: 2 * (2**28 * 16) weights in the encoder alone.
    before = peak_memory()
    assert "shape" in refusal(lambda: load(folder))
    assert peak_memory() - before < 2**27
    change(folder, "config", "network", "max_width", to=10**12)
    change(folder, "config", "network", "width", to=10**12)
    assert "sizes in its configuration make no network" in refusal(lambda: load(folder))
    assert peak_memory() - before < 2**27


def rewrite(folder: Path, edit: Callable[[dict[str, Tensor]], Any]) -> None:
    tensors = load_file(folder / "model.safetensors")
    edit(tensors)
    save_file(tensors, folder / "model.safetensors")


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (lambda t: t.pop("decoder.layers.0.0.weight"), "decoder.layers.0.0.weight is missing"),
        (lambda t: t.update({"more\n": torch.zeros(1)}), r"'more\n' is not one of the network"),
        (lambda t: t.update({"encoder.layers.0.0.bias": torch.zeros(9)}), "shape (9,) and not (8,)"),
        (lambda t: t.update({"encoder.layers.0.0.bias": torch.zeros(1, 8)}), "shape (1, 8) and not (8,)"),
        (lambda t: t.update({"encoder.layers.0.0.bias": torch.zeros(8).double()}), "of type F64 and not F32 or F16"),
        (lambda t: t.update({"encoder.layers.0.0.bias": torch.zeros(8).int()}), "of type I32"),
        (lambda t: t.update({"encoder.layers.1.1.num_batches_tracked": torch.tensor(1.0)}), "of type F32 and not I64"),
    ],
)
def test_weights_of_another_network_are_refused(
    folder: Path, edit: Callable[[dict[str, Tensor]], Any], says: str
) -> None:
    rewrite(folder, edit)
    assert says in refusal(lambda: load(folder))


def with_header(header: dict[str, Any]) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text


HUGE = {"dtype": "F32", "shape": [2**40, 2**20], "data_offsets": [0, 2**62]}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00" * 7,
        struct.pack("<Q", 2**60) + b"{}",
        with_header({"encoder.layers.0.0.bias": HUGE}),
        with_header({"encoder.layers.0.0.bias": {**HUGE, "data_offsets": [0, 32]}}) + b"\x00" * 32,
        with_header({"encoder.layers.0.0.bias": {"dtype": "F32", "shape": [-8], "data_offsets": [0, 32]}})
        + b"\x00" * 32,
        with_header({"encoder.layers.0.0.bias": {"dtype": "X", "shape": [8], "data_offsets": [0, 32]}}) + b"\x00" * 32,
        pickle.dumps({"encoder.layers.0.0.bias": [0.0] * 8}),
    ],
)
def test_files_that_are_not_safetensors_are_refused(folder: Path, content: bytes) -> None:
    (folder / "model.safetensors").write_bytes(content)
    before = peak_memory()
    assert "model.safetensors" in refusal(lambda: load(folder))
    assert peak_memory() - before < 2**27


def test_a_truncated_file_and_missing_files_are_refused(folder: Path) -> None:
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[:-1])
    assert "cannot be read as a safetensors file" in refusal(lambda: load(folder))
    (folder / "model.safetensors").unlink()
    assert "model.safetensors: there is no such file" in refusal(lambda: load(folder))
    (folder / "model.safetensors").write_bytes(whole)
    (folder / "classifier.safetensors").unlink()
    assert "classifier.safetensors: there is no such file" in refusal(lambda: load(folder))


class Attack:
    """Unpickling it writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.write_text, (self.path, "code ran"))


def test_a_pickle_is_never_run(folder: Path, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    buffer = io.BytesIO()
    torch.save(Attack(trace), buffer)
    (folder / "model.safetensors").write_bytes(buffer.getvalue())
    refusal(lambda: load(folder))
    assert not trace.exists()
    pickle.loads(pickle.dumps(Attack(trace)))  # The attack would work.
    assert trace.exists()


def test_an_unknown_device_is_refused(folder: Path) -> None:
    assert "not available" in refusal(lambda: load(folder, device="abacus"))


def test_the_ends_of_faders_are_saved_with_the_model(tmp_path: Path) -> None:
    model = tiny_model()
    save_model(model, tmp_path / "model")
    assert load(tmp_path / "model").ends == {}
    ends: Ends = {"Smiling": {"absent": -0.5, "present": 1.25}, "5_o_Clock_Shadow": {"absent": None, "present": 0.75}}
    mark_ends(tmp_path / "model", ends)
    marked = load(tmp_path / "model")
    assert marked.ends == ends
    assert marked.fingerprint == model.fingerprint
    save_model(marked, tmp_path / "copy")
    assert load(tmp_path / "copy").ends == ends


@pytest.mark.parametrize(
    "ends",
    [
        [],
        {"Moustache": {"absent": 0, "present": 1}},
        {"Smiling": {"present": 1}},
        {"Smiling": {"absent": 0, "present": "1"}},
        {"Smiling": {"absent": 0, "present": 1e9}},
        {"Smiling": {"absent": True, "present": 1}},
        {"Smiling": 1},
    ],
)
def test_damaged_ends_are_refused(ends: Any, tmp_path: Path) -> None:
    save_model(tiny_model(), tmp_path / "model")
    mark_ends(tmp_path / "model", ends)
    with pytest.raises(UserError, match="'ends' is damaged"):
        load(tmp_path / "model")
