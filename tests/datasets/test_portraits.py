"""The frozen portraits, and what only they can do: the true answer to a swap."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from fader.datasets.portraits.renderer import counterfactual, labels, newcomer, portrait
from fader.datasets.portraits.source import checksum, prepare_portraits
from fader.datasets.portraits.specification import BASE_RATES, COUNT, NAME, SCHEMA, split
from fader.datasets.prepared import open_dataset
from fader.errors import UserError

# Never to be changed: a specification that draws or labels otherwise is another dataset and needs another name.
SPECIFICATION = "0493e635c4c8840901861098381d8c5cddd3a95d9100a29db742fbfb567d5d9b"
LABELS = "b4fbb6ded2c1ad6c73dd201bdb4299e182f8ed41ca2459f5401aa897978d9a1d"
PICTURES = "614118cb68bf012e7e7fe0e0ba5fcbcc581871e08d049354271f6601a446f71e"


def test_the_specification_is_frozen() -> None:
    assert NAME == "portraits-1"
    drawn = np.array([labels(i) for i in range(COUNT)], dtype=np.uint8)
    assert hashlib.sha256(drawn.tobytes()).hexdigest() == LABELS
    assert checksum(range(COUNT)) == SPECIFICATION


def test_64_pictures_are_frozen() -> None:
    pictures = np.stack([portrait(i) for i in range(64)])
    assert hashlib.sha256(pictures.tobytes()).hexdigest() == PICTURES, (
        "portraits are drawn otherwise than with resvg-py 0.5.0, dicebear-core 10.7.0 and dicebear-styles 10.6.0:"
        " with those, the specification was changed and needs another name; with others, see whether it shows"
    )


def test_newcomers_are_in_no_dataset(tmp_path: Path) -> None:
    picture = newcomer(7, 32)
    assert picture.size == (32, 32)
    np.testing.assert_array_equal(np.asarray(picture), portrait(1_000_000_007, 32))
    with pytest.raises(UserError, match="from 1,000,000,000 on are in no dataset"):
        prepare_portraits(tmp_path / "portraits", first=999_999_999, count=2)
    assert not (tmp_path / "portraits").exists()


def test_base_rates_and_independence() -> None:
    drawn = np.array([labels(i) for i in range(COUNT)], dtype=np.float64)
    # Four standard errors: of a rate at most 4 * 0.5 / sqrt(12,000) = 0.018, of a correlation 4 / sqrt(12,000) = 0.037.
    assert np.abs(drawn.mean(axis=0) - list(BASE_RATES.values())).max() < 0.018
    correlations = np.asarray(np.corrcoef(drawn.T))[np.triu_indices(len(SCHEMA), 1)]
    assert np.abs(correlations).max() < 0.037


def test_a_counterfactual_changes_what_it_is_asked_to_and_nothing_else() -> None:
    for i in range(6):
        own = dict(zip(SCHEMA.names, labels(i).tolist(), strict=True))
        picture = portrait(i)
        np.testing.assert_array_equal(counterfactual(i, own), picture)
        for name, value in own.items():
            changed = counterfactual(i, {name: 1 - value})
            differs = (changed != picture).any(axis=2)
            assert 10 < differs.sum() < 64 * 64 / 2
            # Smiles and open mouths are in the lower half of the face, hats on top of it; the eyes are between.
            rows = np.flatnonzero(differs.any(axis=1))
            if name in ("Smiling", "Mouth_Open", "Beard"):
                assert rows.min() > 24
            if name == "Hat":
                assert rows.max() < 40
    with pytest.raises(UserError, match="no attribute 'Beards'"):
        counterfactual(0, {"Beards": 1})


def test_prepared_portraits_are_the_portraits(portraits: Path) -> None:
    dataset = open_dataset(portraits)
    assert dataset.schema == SCHEMA
    assert len(dataset) == 80
    assert dataset.images.shape[1:] == (64, 64, 3)
    for i in (0, 10, 79):
        np.testing.assert_array_equal(dataset.images[i], portrait(i))
        np.testing.assert_array_equal(dataset.labels[i], labels(i))
    assert dataset.names.tolist() == [str(i) for i in range(80)]
    assert dataset.indices("test").tolist() == [i for i in range(80) if split(i) == "test"]
    source = dataset.info["source"]
    assert (source["kind"], source["specification"], source["checksum"]) == ("portraits", NAME, checksum(range(80)))
    assert dataset.has_counterfactuals
    value = int(dataset.labels[5, 0])
    np.testing.assert_array_equal(dataset.counterfactual(5, {}), dataset.images[5])
    np.testing.assert_array_equal(
        dataset.counterfactual(5, {"Eyeglasses": 1 - value}), counterfactual(5, {"Eyeglasses": 1 - value})
    )


def test_more_portraits_and_other_sizes(tmp_path: Path) -> None:
    prepare_portraits(tmp_path / "data", count=3, size=32, workers=1)
    dataset = open_dataset(tmp_path / "data")
    np.testing.assert_array_equal(dataset.images[2], portrait(2, 32))
    np.testing.assert_array_equal(dataset.counterfactual(2, {}), dataset.images[2])
    prepare_portraits(tmp_path / "later", first=12_001, count=3, size=32, workers=2)
    later = open_dataset(tmp_path / "later")
    assert later.names.tolist() == ["12001", "12002", "12003"]
    assert [int(s) for s in later.splits] == [0, 0, 0]
    np.testing.assert_array_equal(later.images[2], portrait(12_003, 32))
    np.testing.assert_array_equal(later.labels[2], labels(12_003))
    np.testing.assert_array_equal(later.counterfactual(2, {}), later.images[2])
    with pytest.raises(UserError, match="first is -1"):
        prepare_portraits(tmp_path / "none", first=-1)
    with pytest.raises(UserError, match="count is 0"):
        prepare_portraits(tmp_path / "none", count=0)
    assert not (tmp_path / "none").exists()
