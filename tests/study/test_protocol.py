"""The protocol's pictures, against the numbers of section 5.1."""

from __future__ import annotations

import numpy as np
import pytest

from fader.attributes import Attribute
from fader.study.protocol import (
    Kind,
    Row,
    accuracy_pictures,
    accuracy_question,
    example_rows,
    naturalness_pictures,
    rows_of,
)
from tests.refusals import refusal

SMILE = Attribute("Smile")


def test_rows_of_the_papers_table() -> None:
    rows = rows_of(["IcGAN", "FadNet"])
    assert [row.title for row in rows] == ["Real", "IcGAN AE", "IcGAN Swap", "FadNet AE", "FadNet Swap"]
    # "4 examples of real images, and 4 examples of fake images (1 FADNET AE, 1 FADNET SWAP, 1 ICGAN AE, 1 ICGAN SWAP)"
    assert example_rows(rows) == [Row(Kind.REAL)] * 4 + rows[1:]
    one = rows_of(["FadNet"])
    assert example_rows(one) == [Row(Kind.REAL)] * 4 + one[1:] * 2
    assert len(example_rows(rows_of(["A", "B", "C"]))) == 12


def test_naturalness_has_the_first_500_pictures_250_of_each_value_100_a_row() -> None:
    labels = (np.random.default_rng(0).uniform(size=2000) < 0.3).astype(np.int64)
    dealt = naturalness_pictures(labels, SMILE, rows=5)
    assert [len(one) for one in dealt] == [100] * 5
    assert [labels[one].sum() for one in dealt] == [50] * 5
    first = [np.flatnonzero(labels == value)[:250] for value in (0, 1)]
    assert sorted(np.concatenate(dealt)) == sorted(np.concatenate(first))
    assert all((np.diff(one) > 0).all() for one in dealt)


def test_accuracy_has_the_first_50_of_each_value_in_order() -> None:
    labels = np.array([1] * 60 + [0] * 70 + [1] * 5)
    assert accuracy_pictures(labels, SMILE).tolist() == [*range(50), *range(60, 110)]


def test_with_fewer_pictures_rows_shrink_alike() -> None:
    labels = np.array([1] * 7 + [0] * 100)
    dealt = naturalness_pictures(labels, SMILE, rows=3)
    assert [one.tolist() for one in dealt] == [[0, 3, 7, 10], [1, 4, 8, 11], [2, 5, 9, 12]]
    assert accuracy_pictures(labels, SMILE).tolist() == [*range(14)]
    hair = Attribute("Hair", ("black", "blond", "red"))
    assert [len(one) for one in naturalness_pictures(np.arange(600) % 3, hair, rows=3)] == [99] * 3


def test_too_few_pictures() -> None:
    labels = np.array([1] * 4 + [0] * 100)
    says = refusal(lambda: naturalness_pictures(labels, SMILE, rows=5))
    assert "Smile present" in says
    assert "4 pictures" in says
    assert "at least 5 of each" in says
    assert "0 pictures" in refusal(lambda: accuracy_pictures(np.zeros(9, dtype=int), SMILE))


@pytest.mark.parametrize(
    ("attribute", "question", "options", "order"),
    [
        (
            Attribute("Mouth_Open"),
            "Is this present in the picture: Mouth Open?",
            ("Yes, present", "No, absent"),
            (1, 0),
        ),
        (Attribute("Mouth", ("open", "shut")), "Which is right for this picture? Mouth:", ("open", "shut"), (0, 1)),
    ],
)
def test_questions(attribute: Attribute, question: str, options: tuple[str, ...], order: tuple[int, ...]) -> None:
    assert accuracy_question(attribute) == (question, options, order)
