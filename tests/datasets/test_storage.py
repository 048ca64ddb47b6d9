"""Pictures in place: every way to ask for them, warm and cold, and read-ahead that changes nothing of what is read."""

from __future__ import annotations

import mmap
from pathlib import Path

import numpy as np
import pytest

from fader.datasets import storage
from fader.datasets.storage import Folder, MappedPictures, numbers

START = 128
ARRAY = np.random.default_rng(0).integers(0, 256, (30, 40, 40, 3), dtype=np.uint8)


@pytest.fixture
def pictures(tmp_path: Path) -> MappedPictures:
    path = tmp_path / "pictures"
    path.write_bytes(bytes(START) + ARRAY.tobytes())
    return MappedPictures(path, START, (30, 40, 40, 3))


def test_numbers() -> None:
    assert numbers(3, 5).tolist() == [3]
    assert numbers(-1, 5).tolist() == [4]
    assert numbers(slice(1, 4), 5).tolist() == [1, 2, 3]
    assert numbers(slice(None), 3).tolist() == [0, 1, 2]
    assert numbers(np.array([4, -5, 4]), 5).tolist() == [4, 0, 4]
    for wrong in (5, -6, np.array([0, 5])):
        with pytest.raises(IndexError):
            numbers(wrong, 5)


def test_mapped_pictures_are_those_of_the_file(pictures: MappedPictures) -> None:
    assert len(pictures) == 30
    chosen = np.array([7, 0, 29, 7, -1])
    pictures.read_ahead(chosen)
    for which in (0, -1, slice(2, 9), slice(None), chosen, np.array([], dtype=np.int64)):
        np.testing.assert_array_equal(pictures[which], ARRAY[which])
    assert pictures[3].shape == (40, 40, 3)


@pytest.mark.skipif(not hasattr(mmap, "MADV_RANDOM"), reason="the system takes no advice on memory maps")
def test_advice_covers_each_picture_of_a_batch_as_long_as_the_disk_is_read(
    pictures: MappedPictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    advised: list[tuple[int, int]] = []

    class Map:
        def madvise(self, advice: int, start: int, length: int) -> None:
            assert advice == mmap.MADV_WILLNEED
            assert start % mmap.PAGESIZE == 0
            advised.append((start, start + length))

    blocks = iter([8, 16, 16, 24, 32])
    monkeypatch.setattr(storage, "_blocks_read", lambda: next(blocks))
    monkeypatch.setattr(pictures, "_map", Map())
    batch = np.array([11, 2])

    def begins_and_ends() -> list[tuple[int, int]]:
        pictures[batch]
        found = advised.copy()
        advised.clear()
        return found

    bounds = [(START + 4800 * n, START + 4800 * (n + 1)) for n in batch.tolist()]
    for _ in range(3):  # At first nothing is known; then the batches before were read from the disk.
        found = begins_and_ends()
        assert [end for _, end in found] == [end for _, end in bounds]
        assert all(0 <= first - start < mmap.PAGESIZE for (start, _), (first, _) in zip(found, bounds, strict=True))
    assert begins_and_ends() == []  # The third had everything in memory; during this one the disk is read again.
    assert len(begins_and_ends()) == 2


def test_a_folder_has_files_by_name(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"0123456789")
    folder = Folder(tmp_path)
    assert (folder.size("file"), folder.size("none"), folder.size(".")) == (10, None, None)
    assert folder.read("file", 2, 5) == b"234"
    assert (str(folder), folder.location, folder.name) == (str(tmp_path), str(tmp_path), tmp_path.name)
