"""Directories and archives as sources of pictures: what is listed, what is read, and what is refused."""

import io
import os
import pickle
import stat
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fader.datasets import pictures as module
from fader.datasets.pictures import PictureFiles, PictureReader, is_picture
from fader.errors import UserError
from fader.images import Framing


def archive(folder: Path, entries: dict[str, bytes], kind: int = zipfile.ZIP_DEFLATED) -> Path:
    path = folder / "pictures.zip"
    with zipfile.ZipFile(path, "w", kind) as out:
        for name, data in entries.items():
            out.writestr(name, data)
    return path


CONTENT = {"a.png": b"A", "b/c.jpg": b"C", "b/d/e.txt": b"E"}
JUNK = {"__MACOSX/b/._c.jpg": b"", ".DS_Store": b"", "b/Thumbs.db": b"", ".git/x.png": b""}


def test_a_directory_and_an_archive_list_the_same(tmp_path: Path) -> None:
    root = tmp_path / "root"
    for name, data in {**CONTENT, **JUNK}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    for path in (root, archive(tmp_path, {**CONTENT, **JUNK, "empty/": b""})):
        with PictureFiles(path) as files:
            assert files.names == list(CONTENT)
            for name, data in CONTENT.items():
                found, content = files.fetch(name)
                assert found == name
                assert (content if isinstance(content, bytes) else content.read_bytes()) == data
                with files.open(name) as stream:
                    assert stream.read() == data


def test_nothing_of_an_archive_is_written_to_disk(tmp_path: Path) -> None:
    path = archive(tmp_path, CONTENT)
    with PictureFiles(path) as files:
        for name in files.names:
            files.fetch(name)
    assert list(tmp_path.iterdir()) == [path]


def test_windows_separators_are_read_as_folders(tmp_path: Path) -> None:
    with PictureFiles(archive(tmp_path, {"b\\c.jpg": b"C"})) as files:
        assert files.names == ["b/c.jpg"]
        assert files.fetch("b/c.jpg") == ("b/c.jpg", b"C")


def test_linked_folders_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "x.png").touch()
    root = tmp_path / "root"
    (root / "sub").mkdir(parents=True)
    (root / "sub" / "y.png").touch()
    (root / "linked").symlink_to(tmp_path / "elsewhere")
    (root / "sub" / "circle").symlink_to(root)
    with PictureFiles(root) as files:
        assert files.names == ["linked/x.png", "sub/y.png"]


def test_a_pipe_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "p.png")
    with PictureFiles(tmp_path) as files, pytest.raises(UserError, match="not a regular file"):
        files.fetch("p.png")


@pytest.mark.parametrize(
    "name", ["../x.png", "a/../../x.png", "/etc/x.png", "C:/x.png", "..\\x.png", "\\\\host\\x.png"]
)
def test_entries_that_lead_outside_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="leads outside the archive"):
        PictureFiles(archive(tmp_path, {"a.png": b"", name: b""}))


def test_links_in_an_archive_are_refused(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("l.png")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "l.zip", "w") as out:
        out.writestr(link, "/etc/passwd")
    with pytest.raises(UserError, match=r"its entry 'l\.png' is a link"):
        PictureFiles(tmp_path / "l.zip")


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("names", [("b/a.png",) * 2, ("b//a.png", "b/a.png"), ("./b/./a.png", "b\\a.png")])
def test_two_entries_of_one_name_are_refused(tmp_path: Path, names: tuple[str, str]) -> None:
    with zipfile.ZipFile(tmp_path / "d.zip", "w") as out:
        out.writestr(names[0], b"1")
        out.writestr(names[1], b"2")
    with pytest.raises(UserError, match=r"two of its entries are named 'b/a\.png'"):
        PictureFiles(tmp_path / "d.zip")


def test_an_entry_without_a_name_is_passed_over(tmp_path: Path) -> None:
    path = archive(tmp_path, {"a.png": b"A", "b.png": b"B"})
    path.write_bytes(path.read_bytes().replace(b"b.png", b"\0.png"))  # Where zipfile has a name end.
    with PictureFiles(path) as files:
        assert files.names == ["a.png"]


def test_names_of_an_archive_are_as_the_system_takes_them(tmp_path: Path) -> None:
    with PictureFiles(archive(tmp_path, {"./b//c.jpg": b"C", ".": b"", "./.hidden.png": b""})) as files:
        assert files.names == ["b/c.jpg"]
        assert files.fetch("b/c.jpg") == ("b/c.jpg", b"C")


def patched(path: Path, offset: int, layout: str, value: int) -> None:
    """Overwrite a field of the first entry in the archive's central directory."""
    data = bytearray(path.read_bytes())
    struct.pack_into(layout, data, data.index(b"PK\x01\x02") + offset, value)
    path.write_bytes(data)


def test_encrypted_entries_are_refused(tmp_path: Path) -> None:
    path = archive(tmp_path, {"a.png": b"1"})
    patched(path, 8, "<H", 1)
    with pytest.raises(UserError, match="encrypted"):
        PictureFiles(path)


def test_absurd_sizes_are_refused(tmp_path: Path) -> None:
    path = archive(tmp_path, {"a.png": b"1"})
    patched(path, 24, "<I", 2**31)
    with pytest.raises(UserError, match="claims 2,147,483,648 bytes, over the limit"):
        PictureFiles(path)
    path = archive(tmp_path, {"a.png": b"1"})
    patched(path, 20, "<I", 2**20)
    with pytest.raises(UserError, match="claim more bytes than the archive has"):
        PictureFiles(path)


def test_an_entry_that_is_larger_than_it_claims_is_not_read_to_its_end(tmp_path: Path) -> None:
    path = archive(tmp_path, {"a.png": bytes(10_000_000)})
    patched(path, 24, "<I", 1000)
    with PictureFiles(path) as files, pytest.raises(UserError, match=r"a\.png: it is damaged in the archive"):
        files.fetch("a.png")


@pytest.mark.parametrize("kind", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_methods_that_cannot_be_bounded_are_refused(tmp_path: Path, kind: int) -> None:
    with pytest.raises(UserError, match="unusual method"):
        PictureFiles(archive(tmp_path, {"a.png": b"1"}, kind))


def test_a_damaged_entry_costs_itself_only(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).bytes(5000)
    path = archive(tmp_path, {"a.png": noise, "b.png": b"B"}, zipfile.ZIP_STORED)
    data = path.read_bytes().replace(noise[100:120], bytes(20))
    path.write_bytes(data)
    with PictureFiles(path) as files:
        with pytest.raises(UserError, match=r"a\.png: it is damaged in the archive"):
            files.fetch("a.png")
        assert files.fetch("b.png") == ("b.png", b"B")


def test_what_is_neither_directory_nor_archive_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such directory or zip archive"):
        PictureFiles(tmp_path / "missing")
    whole = archive(tmp_path, CONTENT).read_bytes()
    for data in (b"", b"Rar!\x1a\x07", whole[:-30], whole[30:60]):
        (tmp_path / "x.zip").write_bytes(data)
        with pytest.raises(UserError, match="neither a directory nor a sound zip archive"):
            PictureFiles(tmp_path / "x.zip")


def test_endings_of_pictures() -> None:
    assert all(map(is_picture, ["a.jpg", "b/c.JPEG", "d.png", "e.webp", "f.tif", "g.bmp", "h.avif"]))
    assert not any(map(is_picture, ["a.txt", "b.csv", "png", "c.png/d", "e.pdf", "f.zip", "g.eps", "h.qoi"]))


def test_reading_cuts_and_scales(tmp_path: Path) -> None:
    halves = np.zeros((10, 20, 3), np.uint8)
    halves[:, 10:] = 200
    Image.fromarray(halves).save(tmp_path / "a.png")
    item = ("a.png", tmp_path / "a.png")
    right = PictureReader(Framing((10, 0, 20, 10)), 4)
    assert (right(item) == 200).all()
    assert right(item).shape == (4, 4, 3)
    with PictureFiles(archive(tmp_path, {"a.png": (tmp_path / "a.png").read_bytes()})) as files:
        np.testing.assert_array_equal(right(files.hand_over("a.png")), right(item))
    for framing, reason in [
        (Framing((10, 0, 21, 10)), "the crop 10 0 21 10 reaches outside its 20 x 10 pixels"),
        (Framing(None, (10, 20)), "it is 20 x 10 pixels, not 10 x 20"),
    ]:
        with pytest.raises(UserError, match=f"^a.png: {reason}"):
            PictureReader(framing, 4)(item)
    for crop in [(5, 0, 5, 9), (0, 9, 5, 8), (-1, 0, 5, 5)]:
        with pytest.raises(UserError, match="left, top, right and bottom"):
            PictureReader(Framing(crop), 4)


def test_an_entry_may_not_be_larger_than_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_ENTRY_BYTES", 10)
    PictureFiles(archive(tmp_path, {"a.png": bytes(10)})).__exit__(None, None, None)
    with pytest.raises(UserError, match="claims 11 bytes, over the limit of 10"):
        PictureFiles(archive(tmp_path, {"a.png": bytes(11)}))


def test_a_damaged_stream_raises_what_is_said_to_the_user(tmp_path: Path) -> None:
    rows = "".join(f"{i},{i * i % 7919}\n" for i in range(20_000)).encode()
    path = archive(tmp_path, {"labels.csv": rows})
    whole = path.read_bytes()
    middle = len(whole) // 2
    damaged = {
        "deflate": whole[:middle] + b"\xff" * 40 + whole[middle + 40 :],
        "checksum": whole.replace(struct.pack("<I", zlib.crc32(rows)), b"\0\0\0\0"),
    }
    for name, content in damaged.items():
        path.write_bytes(content)
        with (
            PictureFiles(path) as files,
            files.open("labels.csv") as stream,
            pytest.raises(UserError, match=r"pictures\.zip/labels\.csv: it cannot be read") as caught,
        ):
            list(stream)
        assert caught.value.__cause__ is None, name
    path.write_bytes(whole)
    with PictureFiles(path) as files, files.open("labels.csv") as stream:
        assert stream.read() == rows


def test_an_entry_that_lies_behind_the_end_of_the_archive_is_damaged(tmp_path: Path) -> None:
    path = archive(tmp_path, {"a.png": b"1"})
    patched(path, 42, "<I", 10_000)
    with PictureFiles(path) as files:
        for call in (files.fetch, files.open):
            with pytest.raises(UserError, match=r"a\.png: it "):
                call("a.png")


def test_a_worker_is_handed_a_name_and_opens_the_archive_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (200, 200, 3), np.uint8)).save(stream, "PNG")
    path = archive(
        tmp_path, {"a.png": stream.getvalue(), "b.png": stream.getvalue(), "c.png": stream.getvalue()[:-9000]}
    )
    reader = PictureReader(Framing(), 8)
    module._opened.cache_clear()
    with PictureFiles(path) as files:
        items = list(map(files.hand_over, files.names))
        expected = reader(items[0])
    handed_over = pickle.dumps(items)
    assert len(handed_over) < 1000 < len(stream.getvalue())
    opened, open_archive = [], zipfile.ZipFile

    def noted(path: Path) -> zipfile.ZipFile:
        opened.append(path)
        return open_archive(path)

    monkeypatch.setattr(zipfile, "ZipFile", noted)
    items = pickle.loads(handed_over)
    np.testing.assert_array_equal(reader(items[0]), expected)
    np.testing.assert_array_equal(reader(items[1]), expected)
    with pytest.raises(UserError, match=r"^c\.png: "):
        reader(items[2])
    assert opened == [path]
    module._opened(path).__exit__(None, None, None)
    module._opened.cache_clear()


def test_a_file_that_is_not_in_the_archive_any_more_is_named(tmp_path: Path) -> None:
    path = archive(tmp_path, {"a.png": b"1", "b.png": b"2"})
    module._opened.cache_clear()
    with PictureFiles(path) as files:
        handed_over = pickle.loads(pickle.dumps(files.hand_over("b.png")))
    archive(tmp_path, {"a.png": b"1"})  # Replaced before the worker opens it.
    with pytest.raises(UserError, match=r"^b\.png: it is not in .*any more\.$"):
        PictureReader(Framing(), 8)(handed_over)
    module._opened(path).__exit__(None, None, None)
    module._opened.cache_clear()
