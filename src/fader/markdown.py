"""Markdown in which names from tables and files, which may hold anything, show as they are."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any


def escape(text: str) -> str:
    """`text` on one line, with a backslash before every character that can mean something in Markdown.

    A point between two digits never does.
    """
    return re.sub(r"([\\`*_{}\[\]<>#|~&!$@:^=+-]|(?<!\d)\.|\.(?!\d))", r"\\\1", " ".join(text.split()))


def table(header: Sequence[str], rows: Iterable[Sequence[str | float]]) -> str:
    """A table, ending in a new line: text is escaped, numbers are as they are."""
    head = [escape(text) for text in header]
    body = [[escape(cell) if isinstance(cell, str) else str(cell) for cell in row] for row in rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in (head, ["---"] * len(head), *body))


def fields(data: Mapping[str, Any]) -> str:
    """A table of named values, those of nested objects with the name of the object before theirs."""

    def flat(data: Mapping[str, Any], before: str) -> Iterator[tuple[str, str | float]]:
        for name, value in data.items():
            if isinstance(value, Mapping):
                yield from flat(value, f"{before}{name} ")
            else:
                yield before + name, float(f"{value:.5g}") if isinstance(value, float) else str(value)

    return table(("name", "value"), flat(data, "")) if data else "Not recorded.\n"
