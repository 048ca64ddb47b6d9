"""Pictures in and out, against values worked out by hand and pictures made to be awkward."""

import io
import json
import struct
import zlib
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from fader import images
from fader.errors import UserError
from fader.images import (
    SRGB,
    Framing,
    centre_box,
    from_pixels,
    open_picture,
    save_picture,
    to_array,
    to_picture,
    to_pixels,
)
from tests.refusals import refusal

# No two pixels alike, so that every turn and mirroring shows.
UNEVEN = (np.arange(18).reshape(2, 3, 3) * 14).astype(np.uint8)


def stored(image: Image.Image, kind: str = "PNG", **options: object) -> io.BytesIO:
    stream = io.BytesIO()
    image.save(stream, format=kind, **options)
    stream.seek(0)
    return stream


@pytest.mark.parametrize(
    ("orientation", "upright"),
    [
        (1, UNEVEN),
        (2, UNEVEN[:, ::-1]),
        (3, UNEVEN[::-1, ::-1]),
        (4, UNEVEN[::-1]),
        (5, UNEVEN.swapaxes(0, 1)),
        (6, np.rot90(UNEVEN, -1)),
        (7, UNEVEN[::-1, ::-1].swapaxes(0, 1)),
        (8, np.rot90(UNEVEN)),
    ],
)
def test_exif_orientation_is_applied(orientation: int, upright: np.ndarray) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    opened = open_picture(stored(Image.fromarray(UNEVEN), exif=exif))
    np.testing.assert_array_equal(np.asarray(opened), upright)


def test_damaged_exif_data_does_not_cost_the_picture() -> None:
    opened = open_picture(stored(Image.fromarray(UNEVEN), exif=b"Exif\x00\x00II*\x00\xff\xff\xff\xff junk"))
    np.testing.assert_array_equal(np.asarray(opened), UNEVEN)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([[0, 257, 65535]], np.uint16), [0, 1, 255]),
        (np.array([[0, 100, 255]], np.int32), [0, 100, 255]),
        (np.array([[0, 25700, 65535]], np.int32), [0, 100, 255]),
        (np.array([[0.0, 0.5, 1.0]], np.float32), [0, 128, 255]),
        (np.array([[0.0, 100.0, 255.0]], np.float32), [0, 100, 255]),
        (np.array([[np.nan, 2.0, 255.0]], np.float32), [0, 2, 255]),
        (np.array([[np.inf, -np.inf, 2.0, 255.0]], np.float32), [255, 0, 2, 255]),
        (np.array([[np.inf, 0.0, 1.0]], np.float32), [255, 0, 255]),
    ],
)
def test_deep_grey_becomes_eight_bits(values: np.ndarray, expected: list[int]) -> None:
    opened = open_picture(stored(Image.fromarray(values), "TIFF"))
    assert opened.mode == "L"
    assert np.asarray(opened).tolist() == [expected]


def test_transparency_is_laid_on_white() -> None:
    rgba = Image.fromarray(np.array([[[0, 0, 0, 0], [0, 0, 0, 255], [255, 0, 0, 51]]], np.uint8))
    # A fifth of red on white: 255, 204, 204.
    assert np.asarray(open_picture(stored(rgba))).tolist() == [[[255, 255, 255], [0, 0, 0], [255, 204, 204]]]
    grey = open_picture(stored(Image.fromarray(np.array([[[0, 0], [7, 255]]], np.uint8), mode=None)))
    assert grey.mode == "L"
    assert np.asarray(grey).tolist() == [[255, 7]]
    palette = Image.new("P", (2, 1))
    palette.putpalette([10, 20, 30, 40, 50, 60])
    palette.putpixel((1, 0), 1)
    opened = open_picture(stored(palette, transparency=0))
    assert np.asarray(opened).tolist() == [[[255, 255, 255], [40, 50, 60]]]


MODES_OF_FORMAT = {
    "BMP": ("1", "L", "P", "RGB"),
    "GIF": ("1", "L", "P", "RGB"),
    "JPEG": ("1", "L", "RGB", "CMYK"),
    "PNG": ("1", "L", "P", "RGB"),
    "PPM": ("1", "L", "RGB"),
    "TIFF": ("1", "L", "P", "RGB", "CMYK"),
    "WEBP": ("1", "L", "P", "RGB"),
}


@pytest.mark.parametrize(("kind", "mode"), [(kind, mode) for kind, modes in MODES_OF_FORMAT.items() for mode in modes])
def test_any_format_and_mode_becomes_grey_or_colour(kind: str, mode: str) -> None:
    opened = open_picture(stored(Image.new("RGB", (9, 5), "white").convert(mode), kind))
    assert opened.mode in ("L", "RGB")
    assert np.asarray(opened).shape[:2] == (5, 9)
    assert np.asarray(opened).min() >= 253


def test_cmyk_without_a_profile_is_converted() -> None:
    ink = Image.fromarray(np.array([[[0, 255, 255, 0], [0, 0, 0, 255]]], np.uint8), mode="CMYK")
    assert np.asarray(open_picture(stored(ink, "TIFF"))).tolist() == [[[255, 0, 0], [0, 0, 0]]]


def test_a_colour_profile_is_applied() -> None:
    # sRGB with its red and green primaries exchanged: what such a picture calls red is green.
    profile = ImageCms.ImageCmsProfile(SRGB).tobytes()
    exchanged = profile.replace(b"rXYZ", b"_XYZ", 1).replace(b"gXYZ", b"rXYZ", 1).replace(b"_XYZ", b"gXYZ", 1)
    for mode in ("RGB", "P"):
        red = Image.new("RGB", (4, 4), (255, 0, 0)).convert(mode)
        colour = np.asarray(open_picture(stored(red, icc_profile=exchanged)))[0, 0]
        assert np.abs(colour.astype(int) - [0, 255, 0]).max() <= 2
        assert np.asarray(open_picture(stored(red, icc_profile=profile)))[0, 0].tolist() == [255, 0, 0]


def test_a_grey_profile_is_applied() -> None:
    curve = b"curv" + bytes(8)  # No entries: linear light.
    white = b"XYZ " + struct.pack(">4x3i", 63190, 65536, 54061)
    tags = struct.pack(">I", 2) + struct.pack(">4s2I4s2I", b"kTRC", 156, len(curve), b"wtpt", 168, len(white))
    header = struct.pack(">4xI4s4s4s12x4s", 0x02400000, b"mntr", b"GRAY", b"XYZ ", b"acsp")
    header += bytes(28) + struct.pack(">3i", 63190, 65536, 54061) + bytes(48)
    body = header + tags + curve + white
    profile = struct.pack(">I", len(body) + 4) + body
    opened = open_picture(stored(Image.new("L", (4, 4), 128), icc_profile=profile))
    assert opened.mode == "L"
    # Linear 128/255 in sRGB: 1.055 * 0.502 ** (1 / 2.4) - 0.055 = 0.737, of 255.
    assert abs(int(np.asarray(opened)[0, 0]) - 188) <= 1


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_an_unusable_profile_is_passed_over(mode: str) -> None:
    picture = Image.new(mode, (4, 4), 77 if mode == "L" else (1, 2, 3))
    for profile in (b"junk", ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()):
        opened = open_picture(stored(picture, icc_profile=profile))
        np.testing.assert_array_equal(np.asarray(opened), np.asarray(picture))


def test_what_is_no_picture_is_refused_in_one_sentence(tmp_path: Path) -> None:
    text = tmp_path / "text.jpg"
    text.write_text("hello")
    whole = stored(Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)), "JPEG").getvalue()
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "program.png").write_bytes(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n"
    )
    for name, reason in [
        ("missing.jpg", "no such file"),
        (".", "folder"),
        ("text.jpg", "not a picture"),
        ("cut.jpg", "truncated"),
        ("program.png", "not a picture"),
    ]:
        with pytest.raises(UserError, match=reason) as caught:
            open_picture(tmp_path / name)
        assert str(tmp_path) in str(caught.value)
        assert str(caught.value).count(". ") == 0
    with pytest.raises(UserError, match=r"^some/name\.jpg: "):
        open_picture(io.BytesIO(b""), "some/name.jpg")


@pytest.mark.parametrize("side", [12_000, 50_000])
def test_a_picture_of_too_many_pixels_is_refused_before_it_is_decoded(side: int) -> None:
    header = b"IHDR" + struct.pack(">2I5B", side, side, 8, 2, 0, 0, 0)
    data = b"IDAT" + zlib.compress(bytes(1000))
    chunks = [struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in (header, data, b"IEND")]
    bomb = b"\x89PNG\r\n\x1a\n" + b"".join(chunks)
    with pytest.raises(UserError, match="limit of 100 million"):
        open_picture(io.BytesIO(bomb), "bomb.png")


def iptc(content: bytes) -> bytes:
    """A file that Pillow takes for IPTC and whose content it opens as a picture of any format."""
    fields = [(3, 60, b"\x01\x00"), (3, 20, b"\x0a"), (3, 30, b"\x0a"), (3, 120, b"\x05"), (8, 10, content)]
    return b"".join(bytes([0x1C, part, tag]) + struct.pack(">H", len(data)) + data for part, tag, data in fields)


def test_only_formats_that_are_pictures_through_and_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = []
    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", lambda *about, **more: ran.append(about))
    program = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n%%EOF\n"
    quite_ok = b"qoif" + struct.pack(">2I2B", 9, 9, 4, 0) + bytes(81)
    icon = stored(Image.new("RGB", (16, 16)), "ICO").getvalue()
    for content in (program, iptc(program), quite_ok, icon):
        (tmp_path / "evil.png").write_bytes(content)
        assert "not a picture of one of the formats PNG, JPEG" in refusal(lambda: open_picture(tmp_path / "evil.png"))
    assert not ran


@pytest.mark.parametrize("kind", images.FORMATS)
def test_every_format_of_the_list_is_read(kind: str) -> None:
    assert np.asarray(open_picture(stored(Image.new("RGB", (32, 32), "white"), kind))).min() >= 253


def test_a_photo_of_several_pictures_is_its_first(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8), "white").save(
        tmp_path / "phone.jpg", "MPO", save_all=True, append_images=[Image.new("L", (8, 8))]
    )
    with Image.open(tmp_path / "phone.jpg") as image:
        assert image.format == "MPO"
    assert np.asarray(open_picture(tmp_path / "phone.jpg")).min() >= 253


def test_a_jpeg_of_absurdly_many_scans_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    # libjpeg stores progressive colour in 10 scans. What only looks like more, in a comment or behind the end, is none.
    looks = b"\xff\xda\x00\x02" * 50
    whole = stored(to_picture(UNEVEN.repeat(8, 0).repeat(8, 1)), "JPEG", progressive=True, comment=looks).getvalue()
    last = whole.rindex(b"\xff\xda")
    monkeypatch.setattr(images, "MAX_SCANNED", 10 * 16 * 24)
    for behind in (b"", looks):
        assert open_picture(io.BytesIO(whole + behind)).size == (24, 16)
    for fill in (b"", b"\xff\xff", b"\xff\x00 nothing"):
        slow = partial(open_picture, io.BytesIO(whole[:-2] + fill + whole[last:]), "slow.jpg")
        assert "more than the 10 scans that a JPEG of 24 x 16" in refusal(slow)
    monkeypatch.undo()
    assert open_picture(io.BytesIO(whole[:-2] + whole[last:-2] * 90 + whole[-2:])).size == (24, 16)
    segments = whole[:2] + b"\xff\xfe\x00\x02" * images.MAX_SEGMENTS + whole[2:]
    assert "save it anew" in refusal(lambda: open_picture(io.BytesIO(segments)))


def run_length_bmp(width: int, height: int) -> bytes:
    """A BMP whose rows are each one run of white."""
    row = b"".join(bytes([min(255, width - start), 1]) for start in range(0, width, 255)) + b"\x00\x00"
    data = row * height + b"\x00\x01"
    palette = b"\x00\x00\x00\x00\xff\xff\xff\x00"
    header = struct.pack("<I2i2H6I", 40, width, height, 1, 8, 1, len(data), 2835, 2835, 2, 2)
    start = 14 + len(header) + len(palette)
    return b"BM" + struct.pack("<I4xI", start + len(data), start) + header + palette + data


def test_a_large_bmp_with_run_length_encoding_is_refused() -> None:
    assert np.asarray(open_picture(io.BytesIO(run_length_bmp(300, 9)))).tolist() == [[255] * 300] * 9
    assert "save it as PNG" in refusal(lambda: open_picture(io.BytesIO(run_length_bmp(3_163, 3_163)), "slow.bmp"))


def test_the_centred_square() -> None:
    assert centre_box(178, 218) == (0, 20, 178, 198)
    assert centre_box(5, 2) == (1, 0, 3, 2)
    assert centre_box(7, 7) == (0, 0, 7, 7)


def test_cutting_and_scaling() -> None:
    picture = np.zeros((4, 8, 3), np.uint8)
    picture[:, 2:6] = [10, 20, 30]
    picture[:, 6:] = 255
    assert (to_array(Image.fromarray(picture), 2) == [10, 20, 30]).all()
    assert (to_array(Image.fromarray(picture), 3, box=(6, 0, 8, 4)) == 255).all()
    # ITU-R 601-2: (299 * 10 + 587 * 20 + 114 * 30) / 1000 = 18.15.
    grey = to_array(Image.fromarray(picture), 2, channels=1)
    assert grey.shape == (2, 2, 1)
    assert (grey == 18).all()
    # A checkerboard is all above half the new rate: a filter that is wide enough leaves its mean.
    board = np.indices((64, 64)).sum(axis=0) % 2 * 255
    small = to_array(Image.fromarray(board.astype(np.uint8)), 8, channels=1)
    assert np.abs(small.astype(int) - 128).max() <= 2
    for channels in (1, 3):
        array = to_array(Image.fromarray(picture), 4, channels)
        np.testing.assert_array_equal(np.asarray(to_picture(array)).reshape(array.shape), array)


def test_pixels_are_from_minus_one_to_one_and_back_exactly() -> None:
    arrays = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(3, axis=3)
    pixels = to_pixels(arrays)
    assert pixels.shape == (1, 3, 16, 16)
    assert pixels.dtype == torch.float32
    assert pixels[0, 0, 0, 0].item() == -1.0
    assert pixels[0, 0, 15, 15].item() == 1.0
    np.testing.assert_array_equal(from_pixels(pixels), arrays)
    beyond = torch.tensor([-7.0, 0.0, 7.0]).reshape(1, 1, 1, 3)
    assert from_pixels(beyond).ravel().tolist() == [0, 128, 255]


def test_framing_cuts_pictures_of_another_size_in_the_middle() -> None:
    framing = Framing((0, 20, 178, 198), (178, 218))
    assert framing.box(178, 218) == (0, 20, 178, 198)
    assert framing.box(300, 100) == (100, 0, 200, 100)
    for one in (framing, Framing(), Framing((1.5, 0, 4, 4))):
        assert Framing.from_json(one.to_json()) == one
    for damaged in (None, {}, {"crop": [1, 2, 3]}, {"crop": [4, 0, 2, 2]}, {"crop": "left"}):
        with pytest.raises(UserError, match="framing"):
            Framing.from_json(damaged)


def test_where_faces_lie_survives_json_and_is_absent_when_unknown() -> None:
    points = ((0.389, 0.515), (0.611, 0.515), (0.5, 0.653), (-0.25, 0.745), (0.597, 1.5))
    for crop, size in ((None, None), ((0.0, 20.0, 178.0, 198.0), (178, 218))):
        framing = Framing(crop, size, points)
        again = Framing.from_json(json.loads(json.dumps(framing.to_json())))
        assert (again.crop, again.picture_size, again.points) == (crop, size, points)
        unknown = Framing(crop, size)
        assert "points" not in unknown.to_json()
        assert Framing.from_json(unknown.to_json()).points is None
        assert unknown == framing  # They cut alike.


def with_point(point: object) -> list[object]:
    """The five points of a face, the last of them this one."""
    return [[0.4, 0.5], [0.6, 0.5], [0.5, 0.6], [0.4, 0.7], point]


DAMAGED_POINTS = [
    "none",
    [],
    0,
    {"eyes": [0.4, 0.5]},
    with_point([0.6, 0.7])[:4],
    [*with_point([0.6, 0.7]), [0.5, 0.5]],
    *map(with_point, [None, 0.6, [0.6], [0.6, 0.7, 0.8], [0.6, "0.7"], [0.6, True], [0.6, None], [[0.6], 0.7]]),
    *map(with_point, [[0.6, 2.01], [-1.01, 0.7], [float("nan"), 0.7], [0.6, float("nan")], [0.6, float("inf")]]),
    with_point([0.6, 10**400]),
]


@pytest.mark.parametrize("points", DAMAGED_POINTS)
def test_damaged_points_are_refused(points: object) -> None:
    data = {"crop": "centre", "picture_size": None, "points": points}
    assert "framing is damaged: points has to be five pairs of numbers" in refusal(lambda: Framing.from_json(data))


def test_saved_pictures_carry_no_metadata(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif.get_ifd(0x8825)[1] = "N"
    source = stored(Image.fromarray(UNEVEN), exif=exif, icc_profile=ImageCms.ImageCmsProfile(SRGB).tobytes())
    for name in ("out.png", "out.jpg", "out.webp"):
        with Image.open(source) as image:
            save_picture(image, tmp_path / name)
        with Image.open(tmp_path / name) as saved:
            assert not dict(saved.getexif())
            assert not {"icc_profile", "exif", "comment"} & saved.info.keys()
    with pytest.raises(UserError, match=r"use \.png"):
        save_picture(Image.fromarray(UNEVEN), tmp_path / "out")
