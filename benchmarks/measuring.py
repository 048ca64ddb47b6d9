"""What the benchmarks share: the machine, and two sides timed in turn. It takes no torch, as preparing takes none."""

from __future__ import annotations

import os
import platform
import shutil
import statistics
import time
from collections.abc import Callable
from pathlib import Path

from fader.errors import UserError
from fader.parallel import processors

Seconds = float


def machine() -> str:
    """Processor, cores, memory and system, in a line."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    load = os.getloadavg()[0]
    return (
        f"{_processor()}, {processors()} cores, {memory / 2**30:.0f} GiB, {platform.system()} {platform.release()},"
        f" Python {platform.python_version()}; load {load:.1f} at the start"
    )


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    return next((line.split(": ")[1] for line in lines if line.startswith("model name")), platform.machine())


def seconds(call: Callable[[], object]) -> Seconds:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def in_turn(pairs: int, first: Callable[[], Seconds], second: Callable[[], Seconds]) -> tuple[Seconds, Seconds, float]:
    """Time two sides in turn: the median seconds of each, and the median of the pairs' ratios second / first."""
    times = [(first(), second()) for _ in range(pairs)]
    ratio = statistics.median(b / a for a, b in times)
    return statistics.median(a for a, _ in times), statistics.median(b for _, b in times), ratio


def check_free(folder: Path, needed: int) -> None:
    """Raises UserError if the disk of `folder` has fewer free bytes than twice what is needed."""
    free = shutil.disk_usage(folder).free
    if free < 2 * needed:
        raise UserError(f"{folder}: {free / 1e9:.1f} GB are free, and {needed / 1e9:.1f} GB are written; make room.")
