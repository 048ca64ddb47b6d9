"""File names made of names that may hold anything."""

from __future__ import annotations

from collections.abc import Iterable

LONGEST = 60  # Bytes of each part of a file name; file systems take 255 in all.


def safe(name: str) -> str:
    """A part of a file name: letters, digits, and what is harmless in every system."""
    name = "".join(c if c.isalnum() or c in "_-+." else "_" for c in name).lstrip(".")
    return name.encode()[:LONGEST].decode(errors="ignore") or "_"


def distinct(names: Iterable[str]) -> list[str]:
    """The names with a number appended where one was there before, on file systems too that ignore case."""
    found: list[str] = []
    taken: set[str] = set()
    for name in names:
        unique, number = name, 1
        while unique.casefold() in taken:
            number += 1
            unique = f"{name}_{number}"
        taken.add(unique.casefold())
        found.append(unique)
    return found
