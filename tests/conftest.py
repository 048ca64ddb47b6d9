"""What tests share: one thread a process, the real data where it is, a small dataset of portraits."""

from __future__ import annotations

import os
import signal
from pathlib import Path

# Before torch is imported. Small tensors gain nothing from threads, and the tests run one process a core.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest

# A shell starts what runs in its background with Ctrl-C ignored, which every process started from there inherits.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real pictures beside the repository; a test that asks for it is skipped where there is none."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the real pictures (../shared/data) are not here")
    return folder


@pytest.fixture(scope="session")
def portraits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared dataset of 80 portraits of 64 pixels; not to be written to."""
    from fader.datasets.portraits.source import prepare_portraits

    folder = tmp_path_factory.mktemp("datasets") / "portraits"
    prepare_portraits(folder, count=80, workers=1)
    return folder
