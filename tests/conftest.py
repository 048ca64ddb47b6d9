"""What tests share: one thread a process, the real data where it is, a small dataset of portraits."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

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


@pytest.fixture
def marked_faces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Faces are found where `markers.photo` marked them."""
    from tests import markers

    markers.use(monkeypatch)


@pytest.fixture(scope="session")
def portraits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared dataset of 80 portraits of 64 pixels; not to be written to."""
    from fader.datasets.portraits.source import prepare_portraits

    folder = tmp_path_factory.mktemp("datasets") / "portraits"
    prepare_portraits(folder, count=80, workers=1)
    return folder


@pytest.fixture(scope="session")
def s3() -> Iterator[Any]:
    """fsspec's file system of a local stand-in for S3, with a bucket called "bucket" in it."""
    import fsspec
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "testing")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        files = fsspec.filesystem("s3", skip_instance_cache=True)
        files.mkdir("bucket")
        yield files
    server.stop()
