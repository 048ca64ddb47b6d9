"""Freed memory comes back without the system's help, and is not read any more."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import fader
from fader.memory import sent

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


def test_apples_gpus_are_waited_for_where_a_tensor_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: dict[torch.device, bool] = {}

    def to(tensor: torch.Tensor, device: torch.device, non_blocking: bool) -> None:
        waited[device] = not non_blocking

    monkeypatch.setattr(torch.Tensor, "to", to)
    devices = [torch.device(name) for name in ("mps", "cuda:1", "meta")]
    for device in devices:
        sent(torch.zeros(1), device)
    assert waited == dict(zip(devices, [True, False, False], strict=True))


def test_nobody_else_sends_what_is_not_kept() -> None:
    source = Path(fader.__file__).parent
    homes = {path.name for path in source.rglob("*.py") if "non_blocking" in path.read_text()}
    assert homes == {"memory.py", "batches.py"}  # Pinned memory, for CUDA alone.
