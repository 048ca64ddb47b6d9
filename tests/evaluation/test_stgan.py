"""STGAN's conflict rules, and its two figures by hand."""

from __future__ import annotations

import numpy as np
import pytest

from fader.attributes import Attribute, Schema
from fader.evaluation import stgan
from fader.evaluation.measure import _inversion
from fader.evaluation.stgan import inverted, present

HAIR = Schema.binary(["Bald", "Bangs", "Black_Hair", "Blond_Hair", "Gray_Hair", "Mustache", "No_Beard", "Smiling"])


@pytest.mark.parametrize(
    ("labels", "name", "expected"),
    [
        ([0, 1, 1, 0, 0, 0, 1, 0], "Bald", [1, 0, 1, 0, 0, 0, 1, 0]),
        ([1, 0, 0, 0, 0, 0, 1, 0], "Bangs", [0, 1, 0, 0, 0, 0, 1, 0]),
        ([0, 0, 1, 0, 1, 0, 1, 0], "Blond_Hair", [0, 0, 0, 1, 0, 0, 1, 0]),
        ([0, 0, 1, 0, 0, 0, 1, 0], "Black_Hair", [0, 0, 0, 0, 0, 0, 1, 0]),  # Becoming absent is in no conflict.
        ([0, 0, 0, 0, 0, 0, 1, 0], "Mustache", [0, 0, 0, 0, 0, 1, 0, 0]),
        ([0, 0, 0, 0, 0, 1, 0, 1], "No_Beard", [0, 0, 0, 0, 0, 0, 1, 1]),
        ([1, 1, 0, 0, 0, 0, 0, 0], "Smiling", [1, 1, 0, 0, 0, 0, 0, 1]),
    ],
)
def test_conflicts(labels: list[int], name: str, expected: list[int]) -> None:
    given = np.array([labels])
    assert inverted(given, HAIR.index(name), HAIR).tolist() == [expected]
    assert given.tolist() == [labels]


def test_which_attributes_are_of_the_protocol() -> None:
    assert len(stgan.ATTRIBUTES) == 13
    assert [HAIR.names[k] for k in present(HAIR)] == [n for n in HAIR.names if n not in ("Gray_Hair", "Smiling")]
    assert present(Schema((Attribute("Male", ("a", "b", "c")), Attribute("Young")))) == [1]


def test_what_the_rules_changed_is_not_counted_as_disturbed() -> None:
    schema = Schema.binary(["Bald", "Bangs", "Young", "Smiling"])
    protocol = present(schema)
    labels = np.array([[0, 1, 1, 0], [0, 0, 1, 0]])
    asked = inverted(labels, 0, schema)
    seen = np.array([[1, 0, 1, 1], [0, 1, 0, 1]])
    found = _inversion(seen, labels, asked, 0, protocol)
    assert found["seen"].tolist() == [True, False]
    assert found["others"].tolist() == [1, 2]  # Of the first picture the bangs had to go; Smiling is not of the 13.
    assert found["disturbed"].tolist() == [0, 2]
