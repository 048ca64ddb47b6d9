"""Writing: whole or not at all, and nothing overwritten by accident."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fader import files
from fader.errors import UserError
from fader.files import MAX_JSON, clear_half_written, locked, new_folder, parse_json, read_json, replacing, write_json


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file.txt"
    with replacing(path) as temporary:
        temporary.write_text("first")
        assert not path.exists()
    assert path.read_text() == "first"
    with pytest.raises(RuntimeError), replacing(path) as temporary:
        temporary.write_text("second")
        raise RuntimeError
    assert path.read_text() == "first"
    assert [entry.name for entry in path.parent.iterdir()] == ["file.txt"]


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "out"
    with pytest.raises(RuntimeError), new_folder(path) as temporary:
        (temporary / "half").write_text("written")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    with new_folder(path) as temporary:
        (temporary / "inner").mkdir()
        (temporary / "inner" / "file").write_text("whole")
        assert not path.exists()
    assert (path / "inner" / "file").read_text() == "whole"


def test_an_existing_folder_is_refused_or_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.mkdir()
    (path / "old").write_text("kept")
    with pytest.raises(UserError, match=r"exists already.*--overwrite"), new_folder(path):
        pytest.fail("the block must not run")
    with pytest.raises(RuntimeError), new_folder(path, overwrite=True):
        raise RuntimeError
    assert (path / "old").read_text() == "kept"
    with new_folder(path, overwrite=True) as temporary:
        (temporary / "new").write_text("there")
    assert [entry.name for entry in path.iterdir()] == ["new"]


def test_what_a_killed_process_left_is_cleared_away(tmp_path: Path) -> None:
    (tmp_path / ".out.tmp").mkdir()
    (tmp_path / ".out.tmp" / "half").write_text("written")
    with new_folder(tmp_path / "out") as temporary:
        (temporary / "file").write_text("whole")
    assert [entry.name for entry in tmp_path.rglob("*")] == ["out", "file"]


@pytest.mark.parametrize("done", [False, True])
def test_a_folder_that_was_being_replaced_when_the_process_was_killed(tmp_path: Path, done: bool) -> None:
    old, path = tmp_path / ".out.old.tmp", tmp_path / "out"
    old.mkdir()
    (old / "file").write_text("old")
    if done:
        path.mkdir()
        (path / "file").write_text("new")
    with pytest.raises(UserError, match="exists already"), new_folder(path):
        pytest.fail("the block must not run")
    if done:
        clear_half_written(tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]
    assert (path / "file").read_text() == ("new" if done else "old")


def test_a_replaced_folder_outlives_what_goes_wrong_at_the_last_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "out"
    path.mkdir()
    (path / "file").write_text("old")
    replace = Path.replace

    def interrupted(source: Path, target: Path) -> Path:
        if source.name == ".out.tmp":
            raise KeyboardInterrupt
        return replace(source, target)

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt), new_folder(path, overwrite=True) as temporary:
        (temporary / "file").write_text("new")
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]
    assert (path / "file").read_text() == "old"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="another user is to be played")
def test_a_folder_of_another_user_is_a_sentence(tmp_path: Path) -> None:
    os.seteuid(65534)
    try:
        with pytest.raises(UserError, match="cannot be written"):
            write_json(tmp_path / "file.json", {})
        with pytest.raises(UserError, match="cannot be written"), new_folder(tmp_path / "out"):
            pytest.fail("the block must not run")
    finally:
        os.seteuid(0)


def test_the_second_writer_of_a_folder_is_refused(tmp_path: Path) -> None:
    with new_folder(tmp_path / "out") as temporary:
        (temporary / "file").write_text("the first's")
        with pytest.raises(UserError, match="out: another process is writing"), new_folder(tmp_path / "out"):
            pytest.fail("the block must not run")
        assert (temporary / "file").exists()
    assert (tmp_path / "out" / "file").read_text() == "the first's"
    with new_folder(tmp_path / "out", overwrite=True) as temporary:
        (temporary / "file").write_text("again")
    assert [entry.name for entry in tmp_path.rglob("*")] == ["out", "file"]


def test_a_lock_ends_with_its_process(tmp_path: Path) -> None:
    code = "import sys, os; from pathlib import Path; from fader.files import locked\nwith locked(Path(sys.argv[1])):"
    code += "\n print('locked', flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with pytest.raises(UserError, match="another process is writing"), locked(tmp_path):
            pytest.fail("the block must not run")
        process.kill()
    with locked(tmp_path):
        assert list(tmp_path.iterdir()) == []


def test_an_output_below_a_file_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"), new_folder(tmp_path / "file" / "out"):
        pytest.fail("the block must not run")


@pytest.mark.parametrize(
    "content",
    [
        *(b"{", b"\xff\xfe", b"[" * 100_000, b"[NaN]", b'{"a": -Infinity}', b"1e999", b"1" * 5000),
        *(rb'"\ud800"', rb'{"\uDc00": 1}', rb'["\udc00\ud800"]'),
    ],
)
def test_damaged_json_is_a_sentence(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match="cannot be read as JSON"):
        read_json(path)
    with pytest.raises(UserError, match="no such file"):
        read_json(tmp_path / "missing.json")


def test_json_of_absurd_size_is_refused_before_memory_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    path.write_bytes(b'"' + b"a" * (MAX_JSON - 2) + b'"')
    assert len(read_json(path)) == MAX_JSON - 2
    with path.open("r+b") as file:
        file.truncate(1 << 40)
    with pytest.raises(UserError, match="over the limit of 16,777,216 bytes"):
        read_json(path)


def test_json_round_trip_and_no_numbers_that_json_has_not(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"ä": [1, 2.5, None]})
    assert read_json(tmp_path / "a.json") == {"ä": [1, 2.5, None]}
    assert parse_json(rb'["\ud83d\ude00", 1e3, -0.5]', "b") == ["\U0001f600", 1000.0, -0.5]
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "b.json", float("nan"))
    assert not (tmp_path / "b.json").exists()


def test_a_folder_that_another_file_system_is_mounted_on_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "volume").mkdir()

    def busy(source: Path, target: Path) -> Path:
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), str(source))

    monkeypatch.setattr(Path, "replace", busy)
    with pytest.raises(UserError, match="volume: it cannot be written"), new_folder(tmp_path / "volume", True):
        pass
    assert [entry.name for entry in tmp_path.iterdir()] == ["volume"]


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="it tells what a descriptor is of")
def test_everything_is_synced_before_it_is_renamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[str] = []
    replace, sync = Path.replace, os.fsync

    def noted_sync(descriptor: int) -> None:
        events.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        sync(descriptor)

    def noted_replace(source: Path, target: Path) -> Path:
        events.append(f"{source.name} -> {target.name}")
        return replace(source, target)

    monkeypatch.setattr(os, "fsync", noted_sync)
    monkeypatch.setattr(Path, "replace", noted_replace)
    with new_folder(tmp_path / "out") as temporary:
        (temporary / "inner").mkdir()
        (temporary / "inner" / "file").write_text("whole")
    assert sorted(events[:3]) == [".out.tmp", "file", "inner"]
    assert events[3:] == [".out.tmp -> out", tmp_path.name]


def test_names_that_are_not_utf8_are_written_as_escapes(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.png")
    files.write_text(tmp_path / "a.txt", f"{name}, caf\xe9")
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "caf\\udce9.png, caf\xe9"
    write_json(tmp_path / "a.json", {"path": name})
    assert read_json(tmp_path / "a.json") == {"path": "caf\\udce9.png"}
