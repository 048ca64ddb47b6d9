"""The closing report of a preparation: what is in the dataset, what was left out, and what to beware of."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import numpy as np

from fader.attributes import BINARY, Schema
from fader.datasets.prepared import SPLITS, PreparedDataset
from fader.errors import printable

RARE = 0.05
CORRELATED = 0.5
# Of each kind of warning so many are given, the worst.
MOST_WARNINGS = 20


def report(
    dataset: PreparedDataset, path: Path, left_out: Sequence[str], notes: Sequence[str], most: int | None = None
) -> str:
    """The report as plain text, naming at most `most` of the pictures that were left out (all by default).

    Args:
        path: What the dataset is called, which may be under a temporary name yet.
        left_out: A sentence for each picture that was left out.
        notes: Other sentences for the person.
    """
    splits = ", ".join(f"{name} {count:,}" for name, count in dataset.info["splits"].items())
    colour = "grey" if dataset.channels == 1 else "colour"
    lines = [f"{path}: {len(dataset):,} pictures of {dataset.size} x {dataset.size} pixels in {colour} ({splits})"]
    if left_out:
        shown = left_out[:most]
        lines += ["", f"Left out: {len(left_out):,}", *(f"  {sentence}" for sentence in shown)]
        if len(shown) < len(left_out):
            lines.append(f"  ... and {len(left_out) - len(shown):,} more, all in {path / 'report.txt'}")
    lines += ["", *counts(dataset)]
    warned = warnings(dataset.schema, dataset.labels)
    if dataset.size < 32 or dataset.size & (dataset.size - 1):
        warned.append(f"Warning: networks take sizes that are powers of two from 32 on, which {dataset.size} is not.")
    empty = [name for name, count in dataset.info["splits"].items() if not count]
    if empty:
        warned.append(
            f"Warning: no picture is for {' or '.join(empty)}, and training needs train and valid, evaluation test: add"
            " pictures, or have larger shares drawn (--random-split 0.2 0.2)."
        )
    lines += ["", *warned] if warned else []
    lines += ["", *notes] if notes else []
    return "".join(f"{printable(line)}\n" for line in lines)


def counts(dataset: PreparedDataset) -> list[str]:
    """A table of how many pictures of each split have each value (of a plain binary attribute: have it)."""
    filled = [k for k, name in enumerate(SPLITS) if dataset.info["splits"][name]]
    rows = [["attribute", *(SPLITS[k] for k in filled)]]
    for column, attribute in enumerate(dataset.schema):
        plain = attribute.values == BINARY
        for value in range(1 if plain else 0, len(attribute.values)):
            row = [attribute.name if plain else f"{attribute.name}: {attribute.values[value]}"]
            for k in filled:
                has = dataset.labels[dataset.splits == k, column] == value
                row.append(f"{has.sum():,} ({has.mean():.1%})")
            rows.append(row)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        row[0].ljust(widths[0])
        + "".join(f"  {cell.rjust(width)}" for cell, width in zip(row[1:], widths[1:], strict=True))
        for row in rows
    ]


def warnings(schema: Schema, labels: np.ndarray) -> list[str]:
    """A sentence for every attribute that is hard to learn, from labels [N, n]: a rare value, a strong correlation.

    Of many such attributes or pairs the worst MOST_WARNINGS, and how many more there are.
    """
    rare, strong = [], []
    together = _counts_together(schema, labels)
    for attribute, part in zip(schema, schema.slices, strict=True):
        shares = np.diag(together)[part] / len(labels)
        rarest = int(shares.argmin())
        if shares[rarest] < RARE:
            sentence = (
                f"Warning: {attribute.name} is {attribute.values[rarest]} in only {shares[rarest]:.1%} of the pictures;"
                " such a value is hard to learn; train with --balance or add pictures."
            )
            rare.append((shares[rarest], sentence))
    for (first, a), (second, b) in combinations(zip(schema, schema.slices, strict=True), 2):
        strength = correlation(together[a, b])
        if abs(strength) >= CORRELATED:
            sentence = (
                f"Warning: {first.name} and {second.name} go together (correlation {strength:+.2f}); sliding one may"
                " move the other."
            )
            strong.append((-abs(strength), sentence))
    return [*_worst(rare, "attributes have such a value"), *_worst(strong, "pairs go together so")]


def _worst(found: list[tuple[float, str]], what: str) -> list[str]:
    """The sentences, each given behind a number; of too many those with the lowest numbers, and one about the rest."""
    if len(found) <= MOST_WARNINGS:
        return [sentence for _, sentence in found]
    lowest = sorted(found, key=lambda one: one[0])[:MOST_WARNINGS]
    return [*(sentence for _, sentence in lowest), f"Warning: {len(found) - MOST_WARNINGS:,} more {what}."]


def correlation(table: np.ndarray) -> float:
    """Cramer's V of a table of counts [K, L]; of a 2 x 2 table phi, with its sign. 0 where either is constant."""
    table = table[table.sum(axis=1) > 0][:, table.sum(axis=0) > 0]
    if min(table.shape) < 2:
        return 0.0
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / table.sum()
    strength = float(np.sqrt(((table - expected) ** 2 / expected).sum() / table.sum() / (min(table.shape) - 1)))
    return -strength if table.shape == (2, 2) and table[0, 0] < expected[0, 0] else strength


def _counts_together(schema: Schema, labels: np.ndarray) -> np.ndarray:
    """How many pictures have both of two values, for every pair of values: float64 [code_size, code_size]."""
    together = np.zeros((schema.code_size, schema.code_size))
    starts = np.array([part.start for part in schema.slices])
    for first in range(0, len(labels), 4096):
        chunk = labels[first : first + 4096]
        one_hot = np.zeros((len(chunk), schema.code_size), dtype=np.float32)
        np.put_along_axis(one_hot, chunk + starts, 1.0, axis=1)
        together += one_hot.T @ one_hot
    return together
