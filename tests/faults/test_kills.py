"""kill -9 at drawn moments of a training run; `make faults` has the long version, and of the other commands."""

import sys
from pathlib import Path

import pytest

from tests.faults import campaigns
from tests.faults.commands import commands

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the timer that kills is Linux's")


def test_a_training_run_survives_five_kills(tmp_path: Path) -> None:
    with commands(tmp_path / "said") as started:
        found = campaigns.train(started, tmp_path, kills=5, steps=60, seed=1)
    assert sum(found.values()) == 5
