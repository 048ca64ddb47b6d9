"""How fast portraits are prepared: the whole of `fader prepare portraits`, images a second and core.

python benchmarks/portraits.py [COUNT] [WORKERS]
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

from fader.datasets.portraits.source import prepare_portraits


def main(count: int = 3000, workers: int = os.cpu_count() or 1) -> None:
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        prepare_portraits(Path(folder) / "portraits", count=count, workers=workers)
        elapsed = time.perf_counter() - start
    cores = min(workers, os.cpu_count() or 1)
    rate = count / elapsed / cores
    print(f"{count:,} portraits in {elapsed:.1f} s with {workers} workers: {rate:.0f} a second and core")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
