"""Prints the oldest versions that pyproject.toml allows, as constraints for pip: what `make oldest` tests with."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from packaging.requirements import Requirement

PROJECT = Path(__file__).parents[1] / "pyproject.toml"


def oldest() -> Iterator[str]:
    """A line NAME==VERSION for each dependency with a lower bound, of all extras, sorted."""
    project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]
    listed = chain(project["dependencies"], *project["optional-dependencies"].values())
    requirements = {required.name: required for required in map(Requirement, listed)}
    for name, required in sorted(requirements.items()):
        for bound in required.specifier:
            if bound.operator == ">=":
                yield f"{name}=={bound.version}"


if __name__ == "__main__":
    print("\n".join(oldest()))
