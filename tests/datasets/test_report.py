"""The closing report's figures, against NumPy's and hand counts."""

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from fader.attributes import Attribute, Schema
from fader.datasets.prepared import DatasetWriter, PreparedDataset, open_dataset
from fader.datasets.report import correlation, report, warnings


def counts(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    table = np.zeros((first.max() + 1, second.max() + 1))
    np.add.at(table, (first, second), 1)
    return table


def test_correlation_of_binary_attributes_is_phi_with_its_sign() -> None:
    draw = np.random.default_rng(0)
    for agreement in (0.1, 0.5, 0.8):
        first = draw.integers(0, 2, 500)
        second = np.where(draw.random(500) < agreement, first, 1 - first)
        assert correlation(counts(first, second)) == pytest.approx(np.corrcoef(first, second)[0, 1], abs=1e-12)
    assert correlation(np.array([[50, 0], [0, 50]])) == pytest.approx(1)
    assert correlation(np.array([[0, 50], [50, 0]])) == pytest.approx(-1)


def test_correlation_of_categorical_attributes_is_cramers_v() -> None:
    assert correlation(np.array([[4, 0, 0], [0, 4, 0], [0, 0, 4]])) == pytest.approx(1)
    assert correlation(np.outer([1, 2, 3], [4, 5])) == pytest.approx(0, abs=1e-9)
    # By hand: rows (10, 20), columns (10, 10, 10); expected 10/3 and 20/3; chi2 = 3 * (d^2 / (10/3) + d^2 / (20/3)),
    # d = (20/3, 10/3, 10/3): (400/9 + 200/9) * (3/10 + 3/20) = 30, over N = 30: V = 1.
    assert correlation(np.array([[10, 0, 0], [0, 10, 10]])) == pytest.approx(1)


def test_a_constant_attribute_correlates_with_nothing() -> None:
    assert correlation(np.array([[30, 70]])) == 0
    assert correlation(np.array([[30, 70], [0, 0]])) == 0


def test_warnings_are_for_rare_values_and_strong_correlations_only() -> None:
    draw = np.random.default_rng(1)
    fair = draw.integers(0, 2, 1000)
    other = np.where(draw.random(1000) < 0.9, 1 - fair, fair)
    number = np.arange(1000)
    labels = np.stack([fair, number < 49, number < 951, number < 50, other], axis=1).astype(np.int64)
    found = warnings(Schema.binary(["Fair", "Rare", "Common", "Five", "Other"]), labels)
    assert [sentence.split()[1] for sentence in found] == ["Rare", "Common", "Fair", "Rare"]
    assert "Rare is present in only 4.9%" in found[0]
    assert "Common is absent in only 4.9%" in found[1]
    assert "Rare and Five go together (correlation +0.99)" in found[3]
    assert f"Fair and Other go together (correlation {np.corrcoef(fair, other)[0, 1]:.2f})" in found[2]


def test_of_many_warnings_the_worst_are_given() -> None:
    number = np.arange(1000)
    labels = np.stack([number < 5 + k for k in range(30)], axis=1).astype(np.int64)
    found = warnings(Schema.binary([f"A{k}" for k in range(30)]), labels)
    assert [sentence.split()[1] for sentence in found[:20]] == [f"A{k}" for k in range(20)]
    assert found[20] == "Warning: 10 more attributes have such a value."
    # The correlation of k and k + 1 of a thousand grows with k.
    assert "A28 and A29 go together" in found[21]
    strong = sum(correlation(counts(a, b)) >= 0.5 for a, b in combinations(labels.T, 2))
    assert found[41:] == [f"Warning: {strong - 20:,} more pairs go together so."]


def made(folder: Path) -> PreparedDataset:
    schema = Schema((Attribute("Hat"), Attribute("Hair", ("black", "[red]"))))
    with DatasetWriter(folder, schema, 20, 1) as writer:
        for i in range(10):
            writer.add(np.zeros((20, 20, 1), np.uint8), np.array([i % 2, i > 6]), 0 if i < 8 else 2, str(i))
        writer.finish({"crop": "centre"}, {})
    return open_dataset(folder)


def test_the_report_counts_every_value_of_every_split(tmp_path: Path) -> None:
    lines = report(made(tmp_path), Path("data"), [], []).splitlines()
    assert lines[:6] == [
        "data: 10 pictures of 20 x 20 pixels in grey (train 8, valid 0, test 2)",
        "",
        "attribute        train        test",
        "Hat          4 (50.0%)   1 (50.0%)",
        "Hair: black  7 (87.5%)    0 (0.0%)",
        "Hair: [red]  1 (12.5%)  2 (100.0%)",
    ]
    assert any("powers of two" in line for line in lines)
    assert any("no picture is for valid, " in line and "--random-split" in line for line in lines)


def test_the_report_names_what_was_left_out_up_to_a_number(tmp_path: Path) -> None:
    dataset = made(tmp_path)
    sentences = [f"{i}\x1b[31m.jpg: it is damaged." for i in range(5)]
    short = report(dataset, Path("data"), sentences, ["A note."], most=2)
    assert "Left out: 5\n  0\\x1b[31m.jpg: it is damaged.\n" in short
    assert "... and 3 more, all in data/report.txt" in short
    assert short.endswith("\nA note.\n")
    assert "\x1b" not in short
    whole = report(dataset, Path("data"), sentences, [])
    assert whole.count("damaged") == 5
