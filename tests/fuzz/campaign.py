"""Runs a target in a process of its own, and says what came of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Outcome:
    """What came of a target."""

    accepted: int
    refused: int
    seconds: float
    found: dict[str, int]
    """What should not have been, and how often."""


def run(target: str, kept: Path, examples: int = 0, seconds: float = 0, seed: int = 0) -> Outcome:
    """Fuzz a target with so many inputs or for so many seconds; inputs that did harm are left in `kept`."""
    command = [sys.executable, "-m", "tests.fuzz.child", target, "--kept", str(kept), "--seed", str(seed)]
    command += ["--examples", str(examples), "--seconds", str(seconds)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}
    done = subprocess.run(command, cwd=kept.parent, env=environment, capture_output=True, text=True)
    if done.returncode:  # Not even an error: a crash, or the end of all patience.
        return Outcome(0, 0, 0.0, {f"the process ended with {done.returncode}: {done.stderr[-2000:]}": 1})
    return Outcome(**json.loads(done.stdout))
