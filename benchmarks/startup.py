"""How long `fader --help` takes beside an interpreter that does nothing.

python benchmarks/startup.py [PAIRS]
"""

from __future__ import annotations

import subprocess
import sys

from measuring import in_turn, machine, seconds


def main(pairs: int = 7) -> None:
    print(machine())

    def run(*arguments: str) -> float:
        return seconds(lambda: subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, check=True))

    nothing, shown, ratio = in_turn(pairs, lambda: run("-c", "pass"), lambda: run("-m", "fader", "--help"))
    print(f"fader --help {shown:.2f} s, nothing {nothing:.2f} s: {ratio:.1f} times as long (median of {pairs} pairs)")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
