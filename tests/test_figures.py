"""Sizes and places worked out by hand: margin 8, gap 4, a line of text 18, row labels 120 and a gap."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fader.errors import UserError
from fader.figures import animation, grid

RANDOM = np.random.default_rng(0)
NAMES = [
    "Smiling",
    "5_o_Clock_Shadow 0.33",
    "x" * 100_000,
    "one two " * 1000,
    "日本語 مرحبا ♥",
    "a\nb\tc\x00d\ud800",
    "Z" + "\u0301" * 50,
    "_" * 40,
    " ",
    "",
]


def pictures(rows: int, columns: int, side: int = 64, channels: int = 3) -> list[list[np.ndarray]]:
    shape = (rows, columns, side, side, channels)
    return [list(row) for row in RANDOM.integers(0, 256, shape, dtype=np.uint8)]


def cut(figure: Image.Image, left: int, top: int, side: int) -> np.ndarray:
    return np.asarray(figure)[top : top + side, left : left + side]


def test_size_without_labels() -> None:
    # 64 pixels are doubled: 8 + 3 * 128 + 2 * 4 + 8, 8 + 2 * 128 + 4 + 8.
    assert grid(pictures(2, 3)).size == (408, 276)


def test_size_with_labels() -> None:
    titles, sides = ["original", "reconstruction", "Smiling"], ["one", "two"]
    assert grid(pictures(2, 3), titles).size == (408, 276 + 18)
    # At 128 pixels this name takes two lines.
    assert grid(pictures(2, 3), ["original", "Mouth_Slightly_Open 0.33"]).size == (408, 276 + 36)
    assert grid(pictures(2, 3), titles, sides).size == (408 + 124, 276 + 18)
    assert grid(pictures(2, 3), ["", ""], [" "]).size == (408, 276)


@pytest.mark.parametrize(
    ("side", "scale", "shown"), [(32, None, 128), (64, None, 128), (128, None, 128), (48, None, 96)]
)
def test_small_pictures_are_enlarged(side: int, scale: int | None, shown: int) -> None:
    assert grid(pictures(1, 1, side), scale=scale).size == (shown + 16, shown + 16)


def test_large_pictures_stay_as_they_are_and_a_scale_can_be_given() -> None:
    assert grid(pictures(1, 1, 200)).size == (216, 216)
    assert grid(pictures(1, 1, 64), scale=1).size == (80, 80)
    assert grid(pictures(1, 1, 64), scale=3).size == (208, 208)


def test_every_picture_is_in_its_place() -> None:
    rows = pictures(2, 3)
    figure = grid(rows, ["a", "b", "c"], ["d", "e"], scale=1)
    for i, row in enumerate(rows):
        for j, array in enumerate(row):
            assert np.array_equal(cut(figure, 8 + 124 + j * 68, 8 + 18 + i * 68, 64), array)


def test_grey_pictures_and_rows_of_different_lengths() -> None:
    rows = [pictures(1, 2, channels=1)[0], pictures(1, 1)[0]]
    figure = grid(rows, scale=1)
    assert figure.size == (8 + 2 * 64 + 4 + 8, 8 + 2 * 64 + 4 + 8)
    assert np.array_equal(cut(figure, 76, 8, 64), np.repeat(rows[0][1], 3, axis=2))
    assert (cut(figure, 76, 76, 64) == 255).all()


def test_enlarging_keeps_colours() -> None:
    flat = np.full((32, 32, 3), (10, 200, 30), np.uint8)
    assert (cut(grid([[flat]]), 8, 8, 128) == (10, 200, 30)).all()


def test_titles_stand_over_their_column() -> None:
    white = [[np.full((64, 64, 3), 255, np.uint8)] * 3]
    dark = np.asarray(grid(white, ["", "Smiling", ""])).min(axis=2) < 128
    rows, columns = np.nonzero(dark)
    assert rows.min() >= 8
    assert rows.max() < 8 + 18
    assert columns.min() >= 8 + 132
    assert columns.max() < 8 + 132 + 128
    # In the middle of it.
    assert columns.min() + columns.max() == pytest.approx(2 * (8 + 132 + 64), abs=4)


@pytest.mark.parametrize("name", NAMES)
def test_no_name_breaks_the_layout(name: str) -> None:
    rows = pictures(2, 2)
    figure = grid(rows, [name, "Hat"], [name, "two"], scale=2)
    left, top = 8 + 124, figure.height - 8 - 2 * 128 - 4
    assert figure.width == left + 2 * 128 + 4 + 8
    assert top in (8 + 18, 8 + 36)
    plain = grid(rows, scale=2)
    for i in range(2):
        for j in range(2):
            here = cut(figure, left + j * 132, top + i * 132, 128)
            assert np.array_equal(here, cut(plain, 8 + j * 132, 8 + i * 132, 128))
    # And nothing runs into the neighbour's title.
    other = grid(rows, ["", "Hat"], ["", "two"], scale=2)
    title = np.asarray(figure)[top - 18 : top, left + 132 :]
    assert np.array_equal(title, np.asarray(other)[8 : 8 + 18, left + 132 :])


def test_what_makes_no_figure_is_a_value_error() -> None:
    for rows, columns, sides in (
        ([], [], []),
        ([[]], [], []),
        (pictures(1, 1), ["a", "b"], []),
        (pictures(1, 1), [], "ab"),
    ):
        with pytest.raises(ValueError, match="figure"):
            grid(rows, columns, sides)


def test_an_animation_loops_with_all_its_frames(tmp_path: Path) -> None:
    colours = [(255, 0, 0), (250, 10, 0), (0, 0, 255), (0, 120, 0), (255, 255, 255)]
    animation([Image.new("RGB", (40, 30), colour) for colour in colours], tmp_path / "a.gif", milliseconds=50)
    with Image.open(tmp_path / "a.gif") as image:
        assert (image.n_frames, image.size) == (5, (40, 30))  # type: ignore[attr-defined]
        assert (image.info["loop"], image.info["duration"]) == (0, 50)
        for i, colour in enumerate(colours):
            image.seek(i)
            pixel = image.convert("RGB").getpixel((20, 15))
            assert np.abs(np.subtract(pixel, colour)).max() <= 6  # type: ignore[arg-type]


def test_a_colour_of_a_few_pixels_survives_the_palette(tmp_path: Path) -> None:
    frame = np.asarray(Image.fromarray(RANDOM.integers(0, 60, (64, 64, 3), dtype=np.uint8))).copy()
    frame[30:34, 30:34] = (230, 40, 60)
    animation([Image.fromarray(frame)], tmp_path / "a.gif")
    with Image.open(tmp_path / "a.gif") as image:
        pixel = image.convert("RGB").getpixel((32, 32))
    assert np.abs(np.subtract(pixel, (230, 40, 60))).max() <= 12  # type: ignore[arg-type]


def test_an_animation_that_cannot_be_written_is_the_users_to_mend(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        animation([Image.new("RGB", (8, 8))], tmp_path / "file" / "a.gif")
