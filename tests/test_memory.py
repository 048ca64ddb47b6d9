"""Freed memory comes back without the system's help."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

# Four blocks at a time, as when a picture is decoded and scaled: together they are more than glibc keeps by itself.
SCRIPT = """
import resource
from fader.memory import keep_freed

def faults(rounds):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(rounds):
        blocks = [b"x" * (200_000 + k) for k in range(4)]
        del blocks
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

by_itself = faults(100)
keep_freed()
faults(1)
print(by_itself, faults(100))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="it is for glibc's allocator")
def test_freed_blocks_are_kept() -> None:
    ended = subprocess.run([sys.executable, "-c", SCRIPT], check=True, capture_output=True, text=True)
    by_itself, kept = map(int, ended.stdout.split())
    assert kept < 100 < by_itself
