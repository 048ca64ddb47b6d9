"""A short run of every target, always of the same inputs, so that it can be repeated; `make fuzz` is the long one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.campaign import run
from tests.fuzz.targets import TARGETS

EXAMPLES = 40


@pytest.mark.parametrize("target", TARGETS)
def test_damaged_input_is_read_or_refused(target: str, tmp_path: Path) -> None:
    outcome = run(target, tmp_path / "kept", examples=EXAMPLES)
    assert outcome.found == {}
    assert outcome.accepted + outcome.refused == EXAMPLES
