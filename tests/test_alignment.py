"""Faces found, cut out and put back, against worked-out numbers, on drawn portraits and, where it is, on real data."""

from __future__ import annotations

import math
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fader import alignment, mtcnn
from fader.alignment import (
    STANDARD,
    Face,
    Placement,
    cut,
    eyes_and_mouth,
    find_face,
    find_faces,
    paste,
    place,
    usual_points,
)
from fader.datasets.portraits import renderer
from fader.datasets.portraits.source import FRAMING
from fader.images import open_picture, to_array
from tests.refusals import refusal

FOUND = (1, 17, 21)  # Portraits whose faces the detector, which learned on photographs, finds.
# 5 x 5 pixels; the first network takes a wall of such tiles for a face at almost every place.
LIKELY = (
    "6c546ca3a3c15a1b088d8847ae9f9abd7b8fffddd5c2c1bae4bdc4aa9fa3071d32293033fbf6"
    "fbff95f4a79ba75b1818a06875b4c0a8c9cfa4020136424a50eef8af12021888695c000400"
)
UPRIGHT = Placement(128.0, 128.0, 256.0)


def portrait(index: int, size: int = 256) -> Image.Image:
    return Image.fromarray(renderer.portrait(index, size))


def smooth(width: int, height: int) -> Image.Image:
    """Waves that differ everywhere and survive being turned, since none is shorter than 40 pixels."""
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / 9.0 + y / 13.0), np.cos(x / 11.0 - y / 7.0), np.sin((x + y) / 15.0)]
    return Image.fromarray((127.5 + 100 * np.stack(waves, axis=-1)).astype(np.uint8))


def shot(face: Image.Image, placement: Placement, size: tuple[int, int]) -> Image.Image:
    """A photo of this size with a face laid into it at a placement."""
    corners = placement.in_frame([(0, 0), (1, 0), (0, 1)]) * face.width
    (x0, y0), across, down = corners[0], corners[1] - corners[0], corners[2] - corners[0]
    affine = (across[0], down[0], x0, across[1], down[1], y0)
    mask = Image.new("L", face.size, 255).transform(size, Image.Transform.AFFINE, affine)
    moved = face.transform(size, Image.Transform.AFFINE, affine, Image.Resampling.BICUBIC)
    return Image.composite(moved, smooth(*size), mask)


class TestPlacement:
    def test_worked_out_by_hand(self) -> None:
        # A quarter turn clockwise: the frame's right is the picture's down, its down the picture's left.
        placement = Placement(100.0, 50.0, 40.0, 90.0)
        np.testing.assert_allclose(
            placement.in_picture([(0.5, 0.5), (1, 0.5), (0.5, 1), (0, 0)]), [(100, 50), (100, 70), (80, 50), (120, 30)]
        )
        assert placement.bounds(110, 200) == (80, 30, 110, 70)

    @given(st.floats(-500, 500), st.floats(-500, 500), st.floats(1, 900), st.floats(-360, 360))
    def test_frame_and_picture_are_inverse(self, x: float, y: float, side: float, angle: float) -> None:
        placement = Placement(x, y, side, angle)
        points = np.array([(0.0, 0.25), (0.9, 1.5), (-1.0, 0.5)])
        np.testing.assert_allclose(placement.in_frame(placement.in_picture(points)), points, atol=1e-9)
        assert Placement.from_json(placement.to_json()) == placement

    @pytest.mark.parametrize(
        "data",
        [
            None,
            [1, 2, 3],
            {"x": 1, "y": 2},
            {"x": 1, "y": 2, "side": 3, "angle": 0, "z": 1},
            {"x": math.nan, "y": 2, "side": 3},
            {"x": 1, "y": math.inf, "side": 3},
            {"x": 1, "y": 2, "side": 0.5},
            {"x": 1, "y": 2, "side": 1e9},
            {"x": True, "y": 2, "side": 3},
            {"x": "1", "y": 2, "side": 3},
            {"x": 1, "y": 2, "side": 3, "angle": 1000},
            {"x": 10**400, "y": 2, "side": 3},
        ],
    )
    def test_anything_else_is_refused(self, data: Any) -> None:
        assert "placement" in refusal(lambda: Placement.from_json(data))

    def test_a_frame_outside_of_the_picture_is_refused(self) -> None:
        image = smooth(60, 40)
        for call in (
            lambda: cut(image, Placement(-50, 20, 40), 32),
            lambda: paste(image, np.zeros((8, 8, 3), np.uint8), Placement(30, 90, 40), np.zeros((8, 8, 3), np.uint8)),
        ):
            assert "outside of the picture of 60 x 40" in refusal(call)


class TestPlace:
    @given(st.floats(-300, 300), st.floats(-300, 300), st.floats(2, 900), st.floats(-179, 179), st.integers(2, 5))
    def test_a_similarity_is_found_again(self, x: float, y: float, side: float, angle: float, count: int) -> None:
        placement = Placement(x, y, side, angle)
        found = place(placement.in_picture(STANDARD[:count]), STANDARD[:count])
        np.testing.assert_allclose([found.x, found.y, found.side, found.angle], [x, y, side, angle], atol=1e-6)

    def test_least_squares_as_umeyama_has_it(self) -> None:
        # The formulas of Umeyama 1991 (40 to 43), by singular values, which also hold in more dimensions.
        rng = np.random.default_rng(0)
        wanted = np.array(STANDARD)
        seen = Placement(200, 120, 90, 25).in_picture(wanted) + rng.normal(scale=3, size=(5, 2))
        a, b = wanted - wanted.mean(0), seen - seen.mean(0)
        u, s, v = np.linalg.svd(b.T @ a / 5)
        flip = np.diag([1.0, np.sign(np.linalg.det(u) * np.linalg.det(v))])
        turn, scale = u @ flip @ v, (s * flip.diagonal()).sum() / a.var(axis=0).sum()
        expected = scale * (wanted - wanted.mean(0)) @ turn.T + seen.mean(0)
        np.testing.assert_allclose(place(seen, wanted).in_picture(wanted), expected, atol=1e-9)

    def test_eyes_and_mouth_clicked_by_hand(self) -> None:
        placement = Placement(70, 80, 50, -12)
        clicked = placement.in_picture([STANDARD[0], STANDARD[1], (0.5, 0.745)])
        found = place(clicked, eyes_and_mouth(STANDARD))
        np.testing.assert_allclose(found.in_picture(STANDARD), placement.in_picture(STANDARD), atol=1e-9)

    @pytest.mark.parametrize(
        "points",
        [[(5, 5)] * 5, [(1, 2)], [(1, 2), (3, 4)], [(0, 0, 0)] * 5, [(math.nan, 0)] * 5, [(1e9, 0), *[(0, 0)] * 4]],
    )
    def test_points_that_say_nothing_are_refused(self, points: Any) -> None:
        refusal(lambda: place(points, STANDARD))


class TestCut:
    def test_not_turned_it_is_the_usual_resize(self) -> None:
        image = smooth(120, 90)
        for channels in (1, 3):
            expected = to_array(image, 32, channels, (20.5, 10.25, 80.5, 70.25))
            np.testing.assert_array_equal(cut(image, Placement(50.5, 40.25, 60), 32, channels), expected)

    def test_a_full_turn_is_none(self) -> None:
        image = smooth(120, 90)
        np.testing.assert_array_equal(cut(image, Placement(60, 45, 50, 360), 32), cut(image, Placement(60, 45, 50), 32))

    def test_a_quarter_turn_is_exact(self) -> None:
        image = smooth(64, 64)
        turned = np.rot90(np.asarray(image))  # Counterclockwise: what the frame's right shows lay below.
        np.testing.assert_allclose(cut(image, Placement(32, 32, 64, 90), 64), turned, atol=1)

    @pytest.mark.parametrize("side", [40, 100, 900])
    def test_a_turned_face_stands_upright(self, side: int) -> None:
        # Shrunk by 14 it would alias if it were merely sampled.
        face = portrait(4, side)
        photo = shot(face, Placement(700, 600, side, 33), (1400, 1200))
        seen = cut(photo, Placement(700, 600, side, 33), 64)
        expected = np.asarray(face.resize((64, 64), Image.Resampling.LANCZOS))
        assert np.abs(seen.astype(float) - expected)[4:-4, 4:-4].mean() < (5 if side < 64 else 2)

    def test_beyond_the_border_the_picture_is_mirrored(self) -> None:
        image = smooth(60, 60)
        seen = cut(image, Placement(30, 15, 60), 60)  # The upper quarter lies above the picture.
        np.testing.assert_array_equal(seen[15:], np.asarray(image)[:45])
        np.testing.assert_array_equal(seen[:15], np.asarray(image)[14::-1])

    def test_a_vast_frame_takes_little_memory(self) -> None:
        # At the picture's own scale it would take 3 TB. Narrow pictures become less than a pixel wide.
        for tall in (Image.new("RGB", (3, 2000), "red"), Image.new("RGB", (2000, 3), "red")):
            for angle in (0, 45):
                tracemalloc.start()
                seen = cut(tall, Placement(tall.width / 2, tall.height / 2, 1e6, angle), 64)
                _, most = tracemalloc.get_traced_memory()
                tracemalloc.stop()
                np.testing.assert_array_equal(seen, np.broadcast_to([255, 0, 0], (64, 64, 3)))
                assert most < 8 << 20

    @settings(max_examples=40, deadline=None)
    @given(
        st.floats(-30, 90), st.floats(-30, 70), st.floats(1, 300), st.floats(-360, 360), st.sampled_from(["L", "RGB"])
    )
    def test_any_frame_that_touches_the_picture(self, x: float, y: float, side: float, angle: float, mode: str) -> None:
        image = smooth(60, 40).convert(mode)
        placement = Placement(x, y, side, angle)
        try:
            placement.bounds(60, 40)
        except Exception:
            return
        for channels in (1, 3):
            assert cut(image, placement, 16, channels).shape == (16, 16, channels)
        same = np.full((8, 8, 3), 77, np.uint8)
        assert paste(image, same, placement, same).tobytes() == image.tobytes()


class TestPaste:
    placement = Placement(70.0, 60.0, 64.0, 20.0)

    def edited(self, change: int = 60) -> tuple[np.ndarray, np.ndarray]:
        """A reconstruction, and an edit that changes a square in the middle of it."""
        before = np.full((32, 32, 3), 120, np.uint8)
        after = before.copy()
        after[10:22, 10:22] += np.uint8(change)
        return after, before

    def test_no_change_changes_nothing(self) -> None:
        image = smooth(140, 120)
        _, before = self.edited()
        np.testing.assert_array_equal(np.asarray(paste(image, before, self.placement, before)), np.asarray(image))

    def test_outside_of_the_frame_every_pixel_stays(self) -> None:
        image = smooth(140, 120)
        pasted = paste(image, *self.edited()[:1], self.placement, np.zeros((32, 32, 3), np.uint8))
        y, x = np.mgrid[:120, :140] + 0.5
        within = self.placement.in_frame(np.stack([x.ravel(), y.ravel()], axis=1))
        outside = ((within < 0) | (within > 1)).any(axis=1).reshape(120, 140)
        assert 0 < outside.sum() < outside.size
        changed = np.asarray(pasted) != np.asarray(image)
        assert not changed[outside].any()
        assert changed[~outside].mean() > 0.8

    def test_a_small_change_is_added_and_keeps_the_picture_s_detail(self) -> None:
        rng = np.random.default_rng(0)
        noise = Image.fromarray(rng.integers(60, 160, (120, 140, 3), dtype=np.uint8))
        before = np.full((32, 32, 3), 120, np.uint8)
        pasted = paste(noise, before + np.uint8(5), self.placement, before)
        middle = np.s_[50:70, 60:80]
        np.testing.assert_array_equal(np.asarray(pasted)[middle], np.asarray(noise)[middle] + 5)

    def test_a_large_change_takes_the_picture_s_place(self) -> None:
        rng = np.random.default_rng(0)
        noise = Image.fromarray(rng.integers(0, 256, (120, 140, 3), dtype=np.uint8))
        after, before = self.edited()
        pasted = paste(noise, after, self.placement, before)
        np.testing.assert_allclose(np.asarray(pasted)[55:65, 65:75], 180, atol=2)

    def test_it_lands_where_it_was_cut(self) -> None:
        # A turned white square, pasted into black and cut again, is where it was.
        black = Image.new("RGB", (140, 120))
        before = np.zeros((64, 64, 3), np.uint8)
        after = before.copy()
        after[20:30, 36:50] = 255
        again = cut(paste(black, after, self.placement, before), self.placement, 64)
        assert np.abs(again.astype(float) - after).mean() < 3
        rows, columns = np.nonzero(again[:, :, 0] > 127)
        assert (rows.min(), rows.max(), columns.min(), columns.max()) == (20, 29, 36, 49)

    def test_in_bands_as_in_one(self, monkeypatch: pytest.MonkeyPatch) -> None:
        image, (after, before) = smooth(140, 120), self.edited()
        whole = paste(image, after, self.placement, before)
        monkeypatch.setattr(alignment, "BAND", 7)
        assert paste(image, after, self.placement, before).tobytes() == whole.tobytes()

    def test_over_the_picture_s_border(self) -> None:
        image, (after, before) = smooth(140, 120), self.edited()
        pasted = paste(image, after, Placement(0, 120, 64), before)
        changed = (np.asarray(pasted) != np.asarray(image)).any(axis=2)
        assert changed[100:, :20].any()
        assert not changed[:80].any()
        assert not changed[:, 40:].any()

    def test_a_face_of_few_pixels(self) -> None:
        image, (after, before) = smooth(60, 60), self.edited()
        pasted = paste(image, after, Placement(30, 30, 12), before)
        changed = (np.asarray(pasted) != np.asarray(image)).any(axis=2)
        assert 4 < changed.sum() <= 144

    @pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("L", 3), ("RGB", 1), ("RGB", 3)])
    def test_grey_and_colour(self, mode: str, channels: int) -> None:
        image, (after, before) = smooth(140, 120).convert(mode), self.edited()
        pasted = paste(image, after[:, :, :channels], self.placement, before[:, :, :channels])
        assert pasted.mode == mode
        assert pasted.size == image.size
        np.testing.assert_allclose(np.asarray(pasted)[60, 70], 180, atol=2)

    def test_metadata_is_dropped(self, tmp_path: Path) -> None:
        exif = Image.Exif()
        exif.get_ifd(0x8825)[1] = "N"
        smooth(140, 120).save(tmp_path / "photo.jpg", exif=exif, comment=b"at home")
        after, before = self.edited()
        with Image.open(tmp_path / "photo.jpg") as image:
            assert image.info
            assert paste(image.convert("RGB"), after, self.placement, before).info == {}


class TestFindFaces:
    @pytest.mark.parametrize("index", FOUND)
    def test_a_drawn_face_where_it_was_drawn(self, index: int) -> None:
        faces = find_faces(portrait(index))
        assert len(faces) == 1
        assert faces[0].score > 0.8
        distances = np.linalg.norm(faces[0].points / 256 - np.array(FRAMING.points), axis=1)
        assert distances.max() < 0.16
        left, top, right, bottom = faces[0].box
        assert ((faces[0].points > (left, top)) & (faces[0].points < (right, bottom))).all()

    @pytest.mark.parametrize("placement", [Placement(300, 250, 200, 15), Placement(200, 300, 300, -20)])
    def test_moved_scaled_and_turned(self, placement: Placement) -> None:
        face = portrait(21)
        seen = place(find_faces(face)[0].points, STANDARD)
        found = place(find_faces(shot(face, placement, (640, 480)))[0].points, STANDARD)
        # Where the frame lay in the portrait, moved along.
        expected = placement.in_picture([(seen.x / 256, seen.y / 256)])[0]
        assert math.dist((found.x, found.y), expected) < 0.1 * placement.side
        assert found.side == pytest.approx(seen.side / 256 * placement.side, rel=0.15)
        assert found.angle == pytest.approx(seen.angle + placement.angle, abs=6)

    def test_the_largest_first_and_each_by_its_number(self) -> None:
        photo = smooth(900, 400)
        photo.paste(portrait(17, 160), (40, 100))
        photo.paste(portrait(21, 320), (400, 40))
        large, small = find_faces(photo)
        assert large.points[0][0] > 400 > small.points[1][0]
        np.testing.assert_array_equal(find_face(photo, "party.jpg").points, large.points)
        np.testing.assert_array_equal(find_face(photo, "party.jpg", 2).points, small.points)
        assert "party.jpg: there is no face 3 in it" in refusal(lambda: find_face(photo, "party.jpg", 3))
        refusal(lambda: find_face(photo, "party.jpg", 0))

    def test_a_large_picture_is_looked_at_smaller(self, monkeypatch: pytest.MonkeyPatch) -> None:
        sizes = []

        def detect(image: Image.Image) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
            sizes.append(image.size)
            return np.array([[10.0, 20, 30, 40]]), np.array([0.9]), np.full((1, 5, 2), 25.0)

        monkeypatch.setattr(alignment, "detect", detect)
        (face,) = find_faces(Image.new("L", (4096, 2048)))
        assert sizes == [(1024, 512)]
        assert face.box == (40, 80, 120, 160)
        np.testing.assert_array_equal(face.points, np.full((5, 2), 100.0))

    @pytest.mark.parametrize("size", [(1, 1), (12, 12), (3000, 2), (300, 200)])
    def test_no_face(self, size: tuple[int, int]) -> None:
        image = smooth(*size)
        assert find_faces(image) == []
        message = refusal(lambda: find_face(image, "wall.jpg"))
        assert "wall.jpg: no face was found" in message
        assert "by hand" in message

    def test_a_face_of_12_pixels_is_none(self) -> None:
        photo = smooth(200, 200)
        photo.paste(portrait(4, 14), (90, 90))
        assert find_faces(photo) == []

    def test_upright_by_its_exif_data_cmyk_and_16_bits(self, tmp_path: Path) -> None:
        face = portrait(21)
        upright = find_faces(face)[0].points
        exif = Image.Exif()
        exif[0x0112] = 6  # Lies on its side: the camera was turned.
        face.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.png", exif=exif)
        face.convert("CMYK").save(tmp_path / "print.tif")
        grey = np.asarray(face.convert("L")).astype(np.uint16) * 257
        Image.fromarray(grey).save(tmp_path / "deep.png")
        for name in ("turned.png", "print.tif", "deep.png"):
            found = find_faces(open_picture(tmp_path / name))
            assert len(found) == 1, name
            np.testing.assert_allclose(found[0].points, upright, atol=12, err_msg=name)

    def test_without_the_extra(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(mtcnn, "PACKAGE", "no-such-package")
        mtcnn._networks.cache_clear()
        for call in (alignment.require_detector, lambda: find_faces(portrait(4))):
            assert "pip install 'fader-networks[align]'" in refusal(call)

    def test_where_faces_usually_are(self, monkeypatch: pytest.MonkeyPatch) -> None:
        shares = {1: 0.25, 2: 0.5, 3: 0.75}

        def found(image: Image.Image) -> list[Face]:
            assert image.size == (128, 128)
            share = shares.get(int(np.asarray(image)[0, 0]))
            return [] if share is None else [Face(np.full((5, 2), 128 * share), (0, 0, 1, 1), 1.0)]

        monkeypatch.setattr(alignment, "find_faces", found)
        pictures = [Image.new("L", (64, 64), value) for value in (1, 2, 3, 4, 5)]
        assert usual_points(pictures) == ((0.5, 0.5),) * 5
        assert usual_points([*pictures, pictures[4]]) is None
        assert usual_points([]) is None


def test_celeba_s_faces_are_found_where_its_authors_aligned_them(shared_data: Path) -> None:
    photos = [open_picture(path) for path in sorted((shared_data / "celeba_layout" / "img_align_celeba").iterdir())]
    faces = [find_faces(photo) for photo in photos]
    assert all(faces)
    points = np.median([found[0].points for found in faces], axis=0)
    expected = [(69, 111), (107, 111), (88, 136), (72, 152), (105, 152)]
    np.testing.assert_allclose(points, expected, atol=3)
    # So that the standard frame is that of the paper's 178 x 178.
    placed = np.array([(p.x, p.y, p.side) for p in (place(found[0].points, STANDARD) for found in faces)])
    np.testing.assert_allclose(np.median(placed, axis=0), (89, 109, 178), atol=3)
    # Turned, they are cut as they stand: 30 of the 32, as measured; of one nothing is found, and one is misplaced.
    distances = []
    for photo, found in zip(photos, faces, strict=True):
        straight = cut(photo, place(found[0].points, STANDARD), 64)
        turned = photo.rotate(20, Image.Resampling.BICUBIC, expand=True)
        for face in find_faces(turned)[:1]:
            again = cut(turned, place(face.points, STANDARD), 64)
            distances.append(np.abs(straight.astype(float) - again)[16:-16, 16:-16].mean())
    assert np.sum(np.array(distances) < 20) >= 28


def test_a_picture_of_nothing_but_likely_faces_takes_bounded_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each comparison of all boxes with all is of so many at most, of which those that are left out are no likelier."""
    tile = np.frombuffer(bytes.fromhex(LIKELY), dtype=np.uint8).reshape(5, 5, 3)
    photo = Image.fromarray(np.tile(np.kron(tile, np.ones((2, 2, 1), np.uint8)), (40, 40, 1)))
    strongest, given = mtcnn._strongest, []

    def noted(boxes: np.ndarray, scores: np.ndarray, *others: Any) -> np.ndarray:
        given.append(len(boxes))
        return strongest(boxes, scores, *others)

    monkeypatch.setattr(mtcnn, "_strongest", noted)
    mtcnn._proposals(mtcnn._networks()[0], photo)
    assert max(given) == mtcnn.MOST_CANDIDATES  # There were more.
    boxes, scores = np.arange(12000.0).reshape(-1, 4), np.linspace(0, 1, 3000)
    kept, best = mtcnn._likeliest(boxes, scores)
    np.testing.assert_array_equal(kept, boxes[:-2001:-1])
    np.testing.assert_array_equal(best, scores[:-2001:-1])
