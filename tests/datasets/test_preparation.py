"""The pipeline: order, bounded memory, and nothing half-written whatever happens."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from fader.attributes import Schema
from fader.datasets import preparation, prepared
from fader.datasets.preparation import MAX_CHUNK, Source, check_output, prepare
from fader.datasets.prepared import HEADER_BYTES, DatasetWriter, open_dataset
from fader.errors import UserError
from fader.images import Framing

BAD = {3, 4, 41}


def draw(i: int, bad: frozenset[int] = frozenset()) -> np.ndarray:
    if i in bad:
        raise UserError(f"p{i}: it is damaged.")
    return np.full((8, 8, 1), i % 256, np.uint8)


def leave_the_process(i: int) -> np.ndarray:
    os._exit(3)


def source(
    count: int,
    fetch: Callable[[int], int] = int,
    render: Callable[[int], np.ndarray] = draw,
    left_out: tuple[str, ...] = (),
    size: int = 8,
) -> Source:
    return Source(
        schema=Schema.binary(["Odd"]),
        names=[f"p{i}" for i in range(count)],
        labels=np.arange(count, dtype=np.uint8)[:, None] % 2,
        splits=np.arange(count, dtype=np.uint8) % 3,
        size=size,
        channels=1,
        fetch=fetch,
        render=render,
        framing=Framing(),
        info={"kind": "test"},
        left_out=left_out,
        notes=("A note.",),
    )


@pytest.mark.parametrize("workers", [1, 2])
def test_pictures_are_written_in_order_and_the_bad_ones_left_out_by_name(
    tmp_path: Path, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fader.datasets.prepared.BLOCK", 16)  # So that blocks are hashed while pictures move up.

    def fetch(i: int) -> int:
        if i == 50:
            raise UserError("p50: it cannot be fetched.")
        return i

    made = source(120, fetch, partial(draw, bad=frozenset(BAD)), ("p120: there is no such file.",))
    text = prepare(made, tmp_path / "data", workers)
    dataset = open_dataset(tmp_path / "data")
    kept = [i for i in range(120) if i not in BAD | {50}]
    assert dataset.names.tolist() == [f"p{i}" for i in kept]
    assert dataset.images[:][:, 0, 0, 0].tolist() == kept
    assert dataset.labels[:, 0].tolist() == [i % 2 for i in kept]
    assert dataset.splits.tolist() == [i % 3 for i in kept]
    assert dataset.info["source"] == {"kind": "test", "left_out": 5}
    reasons = ["p120: there is no such file.", "p3: it is damaged.", "p4: it is damaged.", "p41: it is damaged."]
    assert "Left out: 5\n" + "".join(f"  {reason}\n" for reason in [*reasons, "p50: it cannot be fetched."]) in text
    assert text.endswith("A note.\n")
    assert (tmp_path / "data" / "report.txt").read_text() == text
    assert len(dataset.info["checksums"]["images.npy"]) == 8
    dataset.verify()


@pytest.mark.parametrize("workers", [1, 2])
def test_what_is_in_flight_does_not_grow_with_the_number_of_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    fetched = written = most = 0
    take = DatasetWriter.take

    def fetch(i: int) -> int:
        nonlocal fetched, most
        fetched += 1
        most = max(most, fetched - written)
        return i

    def counting(self: DatasetWriter, place: int, labels: np.ndarray, split: int, name: str) -> None:
        nonlocal written
        take(self, place, labels, split, name)
        written += 1

    monkeypatch.setattr(DatasetWriter, "take", counting)
    prepare(source(2000, fetch), tmp_path / "data", workers)
    assert written == 2000
    assert MAX_CHUNK <= most <= (1 if workers == 1 else 2 * workers) * MAX_CHUNK


def test_big_pictures_are_handed_over_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preparation, "CHUNK_BYTES", 64)
    fetched = 0
    rendered: list[int] = []

    def fetch(i: int) -> int:
        nonlocal fetched
        fetched += 1
        return i

    def render(i: int) -> np.ndarray:
        rendered.append(fetched)
        return draw(i)

    prepare(source(5, fetch, render), tmp_path / "data", workers=1)
    assert rendered == [1, 2, 3, 4, 5]


def test_strict_stops_at_the_first_and_leaves_nothing(tmp_path: Path) -> None:
    bad = partial(draw, bad=frozenset(BAD))
    for workers in (1, 2):
        with pytest.raises(UserError, match=r"^p3: it is damaged; without --strict it is left out"):
            prepare(source(60, render=bad), tmp_path / "data", workers, strict=True)
    with pytest.raises(UserError, match=r"^gone: no file; without --strict"):
        prepare(source(60, left_out=("gone: no file.",)), tmp_path / "data", 1, strict=True)
    assert list(tmp_path.iterdir()) == []


def test_no_picture_left_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no picture is left to make a dataset of; the first: p0: it is damaged\."):
        prepare(source(4, render=partial(draw, bad=frozenset(range(4)))), tmp_path / "data", 1)
    assert list(tmp_path.iterdir()) == []


def test_a_worker_that_dies_is_told_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="worker process ended unexpectedly"):
        prepare(source(60, render=leave_the_process), tmp_path / "data", 2)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_interrupted_and_begun_again(tmp_path: Path, error: type[BaseException]) -> None:
    def fetch(i: int) -> int:
        if i == 100:
            raise error
        return i

    with pytest.raises(error):
        prepare(source(300, fetch), tmp_path / "data", 2)
    assert list(tmp_path.iterdir()) == []
    prepare(source(300), tmp_path / "data", 1)
    assert len(open_dataset(tmp_path / "data")) == 300


def test_nothing_is_overwritten_that_is_not_an_older_dataset(tmp_path: Path) -> None:
    output = tmp_path / "data"
    prepare(source(4), output, 1)
    with pytest.raises(UserError, match="exists already; name another output or add --overwrite"):
        prepare(source(5), output, 1)
    assert len(open_dataset(output)) == 4
    prepare(source(5), output, 1, overwrite=True)
    assert len(open_dataset(output)) == 5
    inputs = tmp_path / "inputs"
    inputs.mkdir()
    check_output(inputs, True, [])  # Empty: nothing is lost.
    (inputs / "a.png").touch()
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(UserError, match="not a prepared dataset, so it is not overwritten"):
        check_output(inputs, True, [])
    (inputs / "dataset.json").touch()
    for path, read in [(inputs, inputs), (inputs, inputs / "a.png"), (tmp_path / "link" / "inputs", inputs)]:
        with pytest.raises(UserError, match="would delete the input"):
            check_output(path, True, [read])


@pytest.mark.parametrize(
    ("workers", "size", "reason"), [(0, 8, "workers is 0"), (1, 0, "size is 0"), (1, 5000, "size")]
)
def test_senseless_numbers_are_refused(tmp_path: Path, workers: int, size: int, reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        prepare(source(4, size=size), tmp_path / "data", workers)


def running(group: int) -> list[str]:
    """The processes of a process group that have not ended (those that have, and await their parent, not counted)."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, process_group = path.read_text().rpartition(") ")[2].split()[:3]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(process_group) == group and state not in "ZX":
            found.append(path.parent.name)
    return found


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc to see processes")
@pytest.mark.parametrize("how", ["Ctrl-C", "kill"])
def test_a_stopped_run_leaves_no_dataset_and_no_worker(tmp_path: Path, how: str) -> None:
    script = (
        "import sys; from pathlib import Path; from fader.datasets.portraits.source import prepare_portraits;"
        "prepare_portraits(Path(sys.argv[1]), count=int(sys.argv[2]), workers=2)"
    )
    output = tmp_path / "data"
    process = subprocess.Popen(
        [sys.executable, "-c", script, output, "3000"], start_new_session=True, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 60
    images = tmp_path / ".data.tmp" / "images.npy"
    while not (images.exists() and images.stat().st_size > 100_000):
        assert process.poll() is None, process.stderr
        assert time.monotonic() < deadline
        time.sleep(0.02)
    if how == "Ctrl-C":  # What a terminal does: every process of the group gets the signal.
        os.killpg(process.pid, signal.SIGINT)
    else:
        process.kill()
    _, errors = process.communicate(timeout=60)
    while running(process.pid):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert not output.exists()
    if how == "Ctrl-C":
        assert errors.count("KeyboardInterrupt") == 1  # The parent's own; the workers end in silence.
        assert list(tmp_path.iterdir()) == []
    else:
        subprocess.run([sys.executable, "-c", script, output, "40"], check=True)
        assert len(open_dataset(output)) == 40
        assert list(tmp_path.iterdir()) == [output]


def test_preparing_imports_no_torch() -> None:
    script = (
        "import sys, fader.datasets.celeba, fader.datasets.folder, fader.datasets.portraits.source as s;"
        "s.portrait(0); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_names_that_are_not_utf8_can_be_written_anywhere(tmp_path: Path) -> None:
    pictures = replace(source(3), names=[os.fsdecode(b"caf\xe9.png"), "caf\xe9.png", "b.png"])
    prepare(pictures, tmp_path / "out", workers=1)
    assert open_dataset(tmp_path / "out").names.tolist() == ["caf\\udce9.png", "caf\xe9.png", "b.png"]


def test_names_whose_labels_could_not_be_read_back_are_refused_before_work_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The longest of 300 names is "p299": 16 bytes in each row, one attribute and the split.
    needed = 300 * 18 + HEADER_BYTES
    monkeypatch.setattr(prepared, "MAX_LABELS", needed)
    prepare(source(300), tmp_path / "whole", workers=1)
    assert len(open_dataset(tmp_path / "whole").names) == 300
    monkeypatch.setattr(prepared, "MAX_LABELS", needed - 1)
    with pytest.raises(UserError, match=r"^p\d+: names of up to 4 characters are too long for 300 pictures"):
        prepare(source(300, render=leave_the_process), tmp_path / "refused", workers=1)
    assert not (tmp_path / "refused").exists()
