"""What systems and judge see of the same pictures."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from fader.datasets import celeba
from fader.datasets.prepared import open_dataset
from fader.datasets.views import WHOLE, part, view
from fader.errors import UserError
from fader.evaluation.judged import ICGAN_CROP, judged, judged_part, seen_in
from fader.images import Framing, from_pixels, to_array, to_picture, to_pixels

FADER = Framing(celeba.CROP, celeba.PICTURE_SIZE)
ICGAN = Framing(ICGAN_CROP, celeba.PICTURE_SIZE)


def test_icgans_part_of_the_faders() -> None:
    box = part(FADER, ICGAN)
    assert box is not None
    assert [178 * share for share in box] == pytest.approx([30, 20, 168, 158])
    assert part(ICGAN, FADER) is None
    assert part(FADER, FADER) == part(Framing(), FADER) == part(FADER, Framing()) == WHOLE


def test_a_dataset_is_seen_as_if_its_pictures_were_cut(portraits: Path) -> None:
    data = open_dataset(portraits)
    celeba_like = replace(data, info={**data.info, "framing": FADER.to_json(), "source": {"kind": "celeba"}})
    seen = judged(celeba_like)
    assert (seen.size, seen.images.shape) == (64, (80, 64, 64, 3))
    box = (64 * 30 / 178, 64 * 20 / 178, 64 * 168 / 178, 64 * 158 / 178)
    expected = to_array(to_picture(data.images[3]), 64, 3, box)
    assert np.array_equal(seen.images[3], expected)
    assert np.array_equal(seen.images[np.array([5, 3])][1], expected)
    assert np.array_equal(seen.images[3:4][0], expected)
    assert seen.fingerprint != data.fingerprint
    assert judged(data) is data
    assert np.array_equal(
        seen_in(to_pixels(data.images[np.array([3])]), part(FADER, ICGAN) or WHOLE, 64), to_pixels(expected[None])
    )


@pytest.mark.parametrize(("size", "judged_size"), [(64, 64), (50, 32), (48, 32), (32, 32)])
def test_a_judge_takes_powers_of_two(portraits: Path, size: int, judged_size: int) -> None:
    seen = judged(view(open_dataset(portraits), Framing(), size))
    assert (seen.size, seen.images[:1].shape) == (judged_size, (1, judged_size, judged_size, 3))


def test_smaller_pictures_and_their_counterfactuals(portraits: Path) -> None:
    data = open_dataset(portraits)
    small = view(data, Framing.from_json(data.info["framing"]), 32)
    assert np.array_equal(small.images[0], to_array(to_picture(data.images[0]), 32))
    assert small.has_counterfactuals
    truth = data.counterfactual(0, {"Smiling": 1})
    assert np.array_equal(small.counterfactual(0, {"Smiling": 1}), to_array(to_picture(truth), 32))
    again = pickle.loads(pickle.dumps(small))
    assert (again.size, again.fingerprint) == (32, small.fingerprint)
    with pytest.raises(UserError, match="--size 128"):
        view(data, Framing.from_json(data.info["framing"]), 128)


def test_what_is_missing_of_a_picture_is_refused(portraits: Path) -> None:
    data = open_dataset(portraits)
    whole = replace(data, info={**data.info, "framing": Framing(None, celeba.PICTURE_SIZE).to_json()})
    assert judged_part(FADER, whole) == WHOLE
    with pytest.raises(UserError, match="does not see all of a picture that is judged"):
        judged_part(ICGAN, whole)
    with pytest.raises(UserError, match="a part is missing"):
        view(replace(data, info={**data.info, "framing": ICGAN.to_json()}), FADER, 64)


def test_pixels_that_are_shown_whole_are_not_rounded() -> None:
    pixels = torch.rand(2, 3, 16, 16) * 2 - 1
    assert seen_in(pixels, WHOLE, 16) is pixels
    assert np.array_equal(from_pixels(seen_in(pixels, WHOLE, 8))[0], to_array(to_picture(from_pixels(pixels)[0]), 8))
