"""One target in a process of its own, with bounds on what it may take: python -m tests.fuzz.child TARGET ...

Writes what it found as JSON to its standard output.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings

from fader.errors import UserError
from tests.fuzz.bounds import TooSlowError, Watch, limit_memory, limited_time, ran_out
from tests.fuzz.targets import TARGETS, Target

A_ROUND = 100  # Inputs between two looks at the clock.


def fuzz(target: Target, examples: int, seconds: float, first_seed: int, kept: Path, work: Path) -> dict[str, Any]:
    """Tries so many inputs, or as many as there is time for; an input that does anything unforeseen stays in `kept`."""
    watch, begun, counts = Watch(), time.monotonic(), {"accepted": 0, "refused": 0}
    found: dict[str, int] = {}
    given_folder, output = work / "given", work / "output"

    def attempt(data: Any) -> None:
        for folder in (given_folder, output):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
        target.write(data, given_folder)
        allowed = [output, given_folder] if target.own else [output]
        problem = None
        try:
            with limited_time(), watch.while_reading(*allowed):
                target.read(given_folder, output)
            counts["accepted"] += 1
        except UserError as error:
            counts["refused"] += 1
            problem = ran_out(error)
        except (Exception, TooSlowError) as error:
            problem = error
        if watch.seen:
            problem = AssertionError(watch.seen[0])
        if problem is not None:
            what = _described(problem)
            if what not in found:
                place = kept / hashlib.sha256(what.encode()).hexdigest()[:12]
                shutil.copytree(given_folder, place, dirs_exist_ok=True)
                (place / "traceback.txt").write_text("".join(traceback.format_exception(problem)), errors="replace")
            found[what] = found.get(what, 0) + 1

    tried = 0
    while tried < examples if examples else time.monotonic() - begun < seconds:
        count = min(A_ROUND, examples - tried) if examples else A_ROUND
        quiet = settings(
            max_examples=count,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        seed(first_seed + tried)(quiet(given(target.inputs)(attempt)))()
        tried += count
    return {**counts, "seconds": time.monotonic() - begun, "found": found}


def _described(error: BaseException) -> str:
    """An error by its kind, the last place in fader's own code, and the beginning of what it says."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if f"{os.sep}fader{os.sep}" in frame.filename]
    last = (own or list(frames))[-1] if frames else None
    where = f"{Path(last.filename).name}:{last.lineno} {last.name}" if last else "nowhere"
    said = re.sub(r"\d+|'.*?'|\".*?\"", "...", str(error))  # One finding, whatever it is about.
    return f"{type(error).__name__} at {where}: {said[:100]!r}"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("target")
    parser.add_argument("--examples", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kept", type=Path, required=True)
    arguments = parser.parse_args()
    kept = arguments.kept.absolute()
    report = os.dup(1)
    os.dup2(2, 1)  # What is said while files are read is not the report.
    kept.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        for name in ("seeds", "here"):
            (work / name).mkdir()
        os.chdir(work / "here")
        os.fsync = lambda fd: None  # Power does not fail here.
        target = TARGETS[arguments.target](work / "seeds")
        limit_memory()
        result = fuzz(target, arguments.examples, arguments.seconds, arguments.seed, kept, work)
    with os.fdopen(report, "w") as stream:
        json.dump(result, stream)


if __name__ == "__main__":
    main()
