"""A dataset at a URL: what is read is what a folder holds, the cache is bounded and only a help, errors are sentences.

The URLs are of fsspec's file system in memory, and of a local stand-in for S3.
"""

from __future__ import annotations

import os
import pickle
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import fsspec
import numpy as np
import pytest

from fader import cli
from fader.attributes import Schema
from fader.datasets import remote
from fader.datasets.prepared import DatasetWriter, open_dataset
from fader.datasets.remote import BlockCache, RemoteFolder, RemotePictures, cache_limit
from fader.errors import UserError

COUNT = 60
IMAGES = np.random.default_rng(0).integers(0, 256, (COUNT, 16, 16, 3), dtype=np.uint8)
OF_BLOCK = 7  # So that the last block is a short one.


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FADER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(remote, "BLOCK_BYTES", OF_BLOCK * IMAGES[0].nbytes + 5)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "faces"
    folder.mkdir()
    with DatasetWriter(folder, Schema.binary(["Hat"]), 16, 3) as writer:
        for i, image in enumerate(IMAGES):
            writer.add(image, np.array([i % 2]), i % 3, f"{i}.png")
        writer.finish({"crop": "centre"}, {})
    return folder


@pytest.fixture
def url(folder: Path) -> Iterator[str]:
    files = fsspec.filesystem("memory")
    files.put(str(folder), "/datasets/faces", recursive=True)
    yield "memory://datasets/faces"
    files.rm("/datasets", recursive=True)


def counting(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """The byte ranges of images.npy that are fetched from now on."""
    fetched: list[tuple[int, int]] = []
    read = RemoteFolder.read

    def noting(self: RemoteFolder, file: str, start: int, stop: int) -> bytes:
        fetched.append((start, stop))
        return read(self, file, start, stop)

    monkeypatch.setattr(RemoteFolder, "read", noting)
    return fetched


def test_it_is_the_same_dataset_as_in_the_folder(folder: Path, url: str) -> None:
    there, here = open_dataset(url), open_dataset(folder)
    assert there.fingerprint == here.fingerprint
    assert (there.schema, there.size, there.channels, len(there)) == (here.schema, 16, 3, COUNT)
    np.testing.assert_array_equal(there.labels, here.labels)
    np.testing.assert_array_equal(there.splits, here.splits)
    np.testing.assert_array_equal(there.names, here.names)
    assert (there.path, there.store.location, there.store.name) == (url, url, "faces")
    for which in (0, -1, slice(5, 23), slice(None), np.array([59, 3, 3, -60, 6, 7]), np.array([], dtype=np.int64)):
        np.testing.assert_array_equal(there.images[which], IMAGES[which])
    there.verify()
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(there)).images[4:6], IMAGES[4:6])


def test_only_what_is_asked_for_is_fetched_and_once(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = open_dataset(url).images
    fetched = counting(monkeypatch)
    batch = np.array([0, 1, 30, 59])
    pictures.read_ahead(batch)
    np.testing.assert_array_equal(pictures[batch], IMAGES[batch])
    size = IMAGES[0].nbytes
    expected = [(128 + first * size, 128 + last * size) for first, last in ((0, 7), (28, 35), (56, 60))]
    assert sorted(fetched) == expected
    np.testing.assert_array_equal(pictures[batch], IMAGES[batch])
    np.testing.assert_array_equal(open_dataset(url).images[batch], IMAGES[batch])
    assert len([one for one in fetched if one in expected]) == 3  # Another process would find them in the cache, too.


def test_damaged_and_deleted_blocks_are_fetched_again(url: str, tmp_path: Path) -> None:
    dataset = open_dataset(url)
    np.testing.assert_array_equal(dataset.images[:], IMAGES)
    blocks = sorted((tmp_path / "cache" / "blocks" / dataset.fingerprint).iterdir())
    assert len(blocks) == 9
    blocks[0].write_bytes(b"cut")
    blocks[1].unlink()
    np.testing.assert_array_equal(dataset.images[:], IMAGES)


def test_the_cache_stays_within_its_limit_and_lets_the_oldest_go(tmp_path: Path) -> None:
    others = [tmp_path / "thesis" / "chapter.tex", tmp_path / "named" / "mark"]
    for other in others:
        other.parent.mkdir()
        other.write_bytes(bytes(20_000))
        os.utime(other, (0, 0))
    cache = BlockCache(tmp_path, "print", 16_000)
    for k in range(40):
        cache.keep((k, k + 1), bytes([k]) * 1000)
        path = tmp_path / "blocks" / "print" / f"{k}-{k + 1}"
        os.utime(path, (k, k))
        assert sum(file.stat().st_size for file in path.parent.iterdir()) <= 16_000 + 16_000 // 16 + 1000
    assert cache.read((39, 40), 10, 12) == bytes([39, 39])
    assert cache.read((0, 1), 0, 1) is None
    assert not cache.holds((0, 1))
    assert all(other.exists() for other in others)


def test_a_cache_that_cannot_be_written_is_said_once(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "cache").write_text("not a folder")
    pictures = open_dataset(url).images
    for _ in range(2):
        np.testing.assert_array_equal(pictures[:], IMAGES)
    assert capsys.readouterr().err.count("cannot be kept there") == 1


def test_waiting_blocks_are_bounded(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "MAX_WAITING", 2 * OF_BLOCK * IMAGES[0].nbytes)
    pictures = open_dataset(url).images
    assert isinstance(pictures, RemotePictures)
    for start in range(0, COUNT, 10):
        pictures.read_ahead(np.arange(start, start + 10))
        assert len(pictures._fetched) <= 2
    np.testing.assert_array_equal(pictures[:], IMAGES)


@pytest.mark.parametrize(("given", "limit"), [("1.5", 1_500_000_000), ("0", 0)])
def test_cache_limit(given: str, limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FADER_CACHE_GB", given)
    assert cache_limit() == limit


@pytest.mark.parametrize("given", ["", "much", "-1", "nan", "inf"])
def test_a_cache_limit_that_is_no_number_is_refused(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FADER_CACHE_GB", given)
    with pytest.raises(UserError, match="FADER_CACHE_GB"):
        cache_limit()


def test_wrong_places_are_told_in_one_sentence(url: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for place, reason in (
        ("memory://datasets/nothing", "memory://datasets/nothing: there is no prepared dataset here"),
        ("foo://bucket/faces", "it is not a URL that can be read (Protocol not known: foo)"),
        ("simplecache::memory://datasets/faces", "chains of URLs are not read"),
    ):
        assert cli.main(["info", place]) == 2
        said = capsys.readouterr().err
        assert reason in said
        assert said.count("\n") == 1
    files = fsspec.filesystem("memory")
    files.pipe("/datasets/faces/images.npy", files.cat("/datasets/faces/images.npy")[:-1])
    with pytest.raises(UserError, match=r"images\.npy: it does not hold the pictures"):
        open_dataset(url)
    files.rm("/datasets/faces/labels.npz")
    files.put(str(folder / "images.npy"), "/datasets/faces/images.npy")
    with pytest.raises(UserError, match=r"faces/labels\.npz: there is no such file"):
        open_dataset(url)


def test_files_of_absurd_size_are_refused_before_they_are_read(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for limit, file in (("MAX_JSON", "dataset.json"), ("MAX_LABELS", "labels.npz")):
        with monkeypatch.context() as patch, pytest.raises(UserError, match=f"{file}: its .* over the limit of 100"):
            patch.setattr(f"fader.datasets.prepared.{limit}", 100)
            open_dataset(url)


def test_what_changes_while_it_is_read_is_an_error(url: str) -> None:
    pictures = open_dataset(url).images
    fsspec.filesystem("memory").pipe("/datasets/faces/images.npy", bytes(200))
    with pytest.raises(UserError, match=r"faces/images\.npy: it was cut short"):
        pictures[np.array([50])]


def test_without_the_extra_a_sentence_names_it() -> None:
    program = """
import sys
sys.modules["s3fs"] = None
from fader.cli import main
sys.exit(main(["info", "s3://bucket/faces"]))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "pip install 'fader-networks[remote]'" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_bucket(s3: fsspec.AbstractFileSystem, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    s3.put(str(folder), "bucket/faces", recursive=True)
    dataset = open_dataset("s3://bucket/faces/")
    batch = np.array([1, 58, 30, 31])
    dataset.images.read_ahead(np.array([2, 44]))
    np.testing.assert_array_equal(dataset.images[batch], IMAGES[batch])
    dataset.verify()
    assert cli.main(["info", "s3://bucket/faces", "--verify"]) == 0
    assert "all right" in capsys.readouterr().out
    for place in ("s3://bucket/nothing", "s3://nobucket/faces"):
        with pytest.raises(UserError, match=f"^{place}: there is no prepared dataset here"):
            open_dataset(place)


def test_a_server_that_does_not_answer_is_told_in_one_sentence(
    s3: fsspec.AbstractFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{unused.getsockname()[1]}")
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
        monkeypatch.setattr(
            "fsspec.core.url_to_fs",
            lambda url: (fsspec.filesystem("s3", skip_instance_cache=True), url.removeprefix("s3://")),
        )
        with pytest.raises(UserError, match=r"s3://bucket/faces/dataset\.json: it cannot be read \(.*; check the URL"):
            open_dataset("s3://bucket/faces")
