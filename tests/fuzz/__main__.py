"""The long run: python -m tests.fuzz [--seconds 600] [--seed 0] [TARGET ...]"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from tests.fuzz.campaign import run
from tests.fuzz.targets import TARGETS


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Fuzz everything that reads files.")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)}; by default all")
    parser.add_argument("--seconds", type=float, default=600, help="for each target (600)")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of the first input; by default the time")
    parser.add_argument("--kept", type=Path, default=Path("build/fuzz"), help="where inputs that did harm are left")
    arguments = parser.parse_args()
    arguments.kept.mkdir(parents=True, exist_ok=True)
    print(f"{time.strftime('%Y-%m-%d')}, seed {arguments.seed}", flush=True)
    print(f"{'target':12} {'seconds':>8} {'inputs':>8} {'accepted':>9} {'refused':>8}  found", flush=True)
    worst = 0
    for target in arguments.targets or TARGETS:
        outcome = run(target, arguments.kept.absolute() / target, seconds=arguments.seconds, seed=arguments.seed)
        tried = outcome.accepted + outcome.refused + sum(outcome.found.values())
        counts = f"{outcome.seconds:8.0f} {tried:8,} {outcome.accepted:9,} {outcome.refused:8,}"
        print(f"{target:12} {counts}  {len(outcome.found) or 'nothing'}", flush=True)
        for what, times in outcome.found.items():
            print(f"    {times} x {what}", flush=True)
            worst = 1
    if worst:
        print(f"The inputs are in {arguments.kept}.")
    return worst


if __name__ == "__main__":
    sys.exit(main())
