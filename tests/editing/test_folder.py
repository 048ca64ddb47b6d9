"""`fader swap` of a whole folder: what is written where, in bounded memory, and what a restart does not do again."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
import weakref
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from fader import cli, familiarity
from fader.attributes import Schema
from fader.datasets.portraits import renderer
from fader.editing import folder as editing
from fader.editing.folder import edit_folder
from fader.errors import Interrupted
from fader.files import read_json
from fader.images import open_picture, save_picture, to_picture
from fader.model import Faces, Model, save_model
from tests import markers
from tests.models import tiny_model
from tests.refusals import refusal

GPS = 0x8825
ROOT = Path(__file__).parents[2]


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Four portraits in two folders, one with a place in its metadata; two of them are called alike but for the end."""
    path = tmp_path / "in"
    (path / "sub").mkdir(parents=True)
    exif = Image.Exif()
    exif.get_ifd(GPS)[1] = "N"
    for i, name in enumerate(("anna.png", "sub/bert.jpg", "sub/bert.png", "sub/carl.webp")):
        to_picture(renderer.portrait(i, 40)).save(path / name, exif=exif if i == 1 else Image.Exif())
    with Image.open(path / "sub" / "bert.jpg") as image:
        assert image.getexif().get_ifd(GPS)
    (path / "notes.txt").write_text("not a picture")
    (path / ".hidden.png").write_bytes(b"")
    return path


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """Forty pictures of one colour each."""
    path = tmp_path / "many"
    path.mkdir()
    for i in range(40):
        Image.new("RGB", (32, 32), (6 * i, 255 - 6 * i, 90)).save(path / f"{i:02d}.png")
    return path


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(editing, "BATCH", 4)


def written(output: Path) -> list[str]:
    return sorted(path.relative_to(output).as_posix() for path in output.rglob("*.png"))


def contents(output: Path) -> dict[str, bytes]:
    return {path.relative_to(output).as_posix(): path.read_bytes() for path in output.rglob("*") if path.is_file()}


def records(output: Path) -> list[dict[str, Any]]:
    lines = [line for path in sorted(output.glob("manifest-*.jsonl")) for line in path.read_text().splitlines()]
    return [json.loads(line) for line in lines]


def shows(path: Path, picture: Image.Image) -> bool:
    """Equal but for the last bit: convolutions of batches of different sizes may differ in float32."""
    with Image.open(path) as image:
        one, other = np.asarray(image).astype(int), np.asarray(picture).astype(int)
    return one.shape == other.shape and np.abs(one - other).max() <= 1


# --- What is written --------------------------------------------------------------------------------------------------


def test_values_are_set_in_every_picture(model: Model, folder: Path, pictures: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    report = edit_folder(folder, pictures, output, {"Smiling": 0.5, "Hair": "blond"})
    assert report == f"{output}: 4 edited, 0 done before, 0 left out"
    names = {"anna.png": "anna", "sub/bert.jpg": "sub/bert.jpg", "sub/bert.png": "sub/bert.png"}
    names["sub/carl.webp"] = "sub/carl"
    assert written(output) == sorted(f"{stem}.png" for stem in names.values())
    for name, stem in names.items():
        face = model.encode(pictures / name)
        assert shows(output / f"{stem}.png", face.edit(Smiling=0.5, Hair="blond"))
        assert not shows(output / f"{stem}.png", face.edit(Smiling=-1, Hair="black"))


def test_each_attribute_is_swapped(model: Model, folder: Path, pictures: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    edit_folder(folder, pictures, output, attributes=["Smiling", "Hair"], together=True)
    endings = ("Smiling", "Hair_black", "Hair_blond", "Hair_red", "together")
    stems = ("anna", "sub/bert.jpg", "sub/bert.png", "sub/carl")
    assert written(output) == sorted(f"{stem}.{ending}.png" for stem in stems for ending in endings)
    face = model.encode(pictures / "anna.png")
    smiling = 1 - face.values["Smiling"]
    next_hair = {"black": "blond", "blond": "red", "red": "black"}[face.values["Hair"]]
    assert shows(output / "anna.Smiling.png", face.edit(Smiling=smiling))
    assert shows(output / "anna.Hair_red.png", face.edit(Hair="red"))
    assert shows(output / "anna.together.png", face.edit(Smiling=smiling, Hair=next_hair))


def test_outputs_never_share_a_name(tmp_path: Path) -> None:
    """Endings and attributes that could be taken for another picture's, or for each other."""
    save_model(tiny_model(Schema.binary(["b.c", "b_c", "c", "together", "../up"])), tmp_path / "model")
    pictures = tmp_path / "in"
    pictures.mkdir()
    for name in ("a.png", "A.jpg", "a.jpg.png", "a.b.png", "a.b_c.png", "d.png"):
        to_picture(renderer.portrait(0, 32)).save(pictures / name)
    edit_folder(tmp_path / "model", pictures, tmp_path / "out", together=True)
    outputs = [path for record in records(tmp_path / "out") for path in record["outputs"]]
    assert len({path.casefold() for path in outputs}) == len(outputs) == 6 * 6
    assert sorted(outputs) == written(tmp_path / "out")
    assert {path.split("/")[0] for path in outputs} == set(outputs)
    assert "d.b_c.png" in outputs
    assert "d.b_c_2.png" in outputs


def test_the_manifest_says_what_was_done(model: Model, folder: Path, pictures: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    edit_folder(folder, pictures, output, {"Smiling": 1})
    assert read_json(output / "edits.json") == {
        "format": "fader-edits",
        "version": 1,
        "model": model.fingerprint,
        "edit": {"set": {"Smiling": 1.0}},
    }
    record = next(record for record in records(output) if record["picture"] == "anna.png")
    assert record == {
        "picture": "anna.png",
        "sha256": hashlib.sha256((pictures / "anna.png").read_bytes()).hexdigest(),
        "labels": model.encode(pictures / "anna.png").values,
        "outputs": ["anna.png"],
    }


def test_metadata_is_dropped(folder: Path, pictures: Path, tmp_path: Path) -> None:
    edit_folder(folder, pictures, tmp_path / "out")
    for name in written(tmp_path / "out"):
        with Image.open(tmp_path / "out" / name) as image:
            image.load()
            assert not image.getexif()
            assert not image.info


def test_a_zip_archive_is_read_in_place(folder: Path, pictures: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "in.zip", "w") as archive:
        for name in ("anna.png", "sub/bert.jpg", "sub/bert.png", "sub/carl.webp", "notes.txt"):
            archive.write(pictures / name, name)
    edit_folder(folder, tmp_path / "in.zip", tmp_path / "zipped", {"Smiling": 1})
    edit_folder(folder, pictures, tmp_path / "plain", {"Smiling": 1})
    assert contents(tmp_path / "zipped") == contents(tmp_path / "plain")


# --- In bounded memory, side by side ----------------------------------------------------------------------------------


def test_memory_does_not_grow_with_the_pictures(
    folder: Path, many: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_batches: None
) -> None:
    """Of 40 pictures only a few are there at any time, as decoded inputs and as edited outputs."""
    lock, alive, most = threading.Lock(), {"in": 0, "out": 0}, {"in": 0, "out": 0}

    def watch(kind: str, array: np.ndarray, pictures: int) -> None:
        def gone() -> None:
            with lock:
                alive[kind] -= pictures

        with lock:
            alive[kind] += pictures
            most[kind] = max(most[kind], alive[kind])
        weakref.finalize(array, gone)

    frame, decode = Model.frame, Faces.decode

    def watched_frame(self: Model, *args: Any) -> np.ndarray:
        array = frame(self, *args).copy()
        watch("in", array, 1)
        return array

    def watched_decode(self: Faces, *args: Any) -> np.ndarray:
        arrays = decode(self, *args).copy()  # Not a view, so that it lives as long as what is cut from it.
        watch("out", arrays, len(arrays))
        return arrays

    def slow_save(*args: Any) -> None:  # The network must not run ahead of it.
        time.sleep(0.002)
        save_picture(*args)

    monkeypatch.setattr(Model, "frame", watched_frame)
    monkeypatch.setattr(Faces, "decode", watched_decode)
    monkeypatch.setattr(editing, "save_picture", slow_save)
    edit_folder(folder, many, tmp_path / "out", workers=2)
    assert len(written(tmp_path / "out")) == 40 * 5
    assert alive == {"in": 0, "out": 0}
    # A batch of 4 that the network works on, and for each of its neighbours a batch and what the threads have.
    assert 4 <= most["in"] <= 3 * 4 + 2
    assert 4 <= most["out"] <= 3 * 4


def test_decoding_and_encoding_go_on_while_the_network_works(
    folder: Path, many: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_batches: None
) -> None:
    """The network waits until the next batch is decoded and the one before written; the last picture of that is only
    written when the network has begun. Done one after the other, this would wait for ever."""
    read, wrote, batches = [], [], 0
    frame, encode = Model.frame, Model.encode_framed

    def wait_for(condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 20
        while not condition():
            assert time.monotonic() < deadline, "they wait for each other"
            time.sleep(0.001)

    def noted_frame(self: Model, picture: Any, name: Any) -> np.ndarray:
        read.append(name)
        return frame(self, picture, name)

    def noted_save(image: Image.Image, path: Path) -> None:
        batch, position = divmod(int(path.stem), 4)
        wait_for(lambda: position < 3 or batches >= min(batch + 2, 10))
        save_picture(image, path)
        wrote.append(path)

    def patient_encode(self: Model, arrays: np.ndarray) -> Faces:
        nonlocal batches
        batches += 1
        wait_for(lambda: len(read) >= min(40, 4 * batches + 4) and len(wrote) >= 4 * (batches - 1))
        return encode(self, arrays)

    monkeypatch.setattr(Model, "frame", noted_frame)
    monkeypatch.setattr(editing, "save_picture", noted_save)
    monkeypatch.setattr(Model, "encode_framed", patient_encode)
    edit_folder(folder, many, tmp_path / "out", {"Smiling": 1}, workers=2)
    assert batches == 10
    assert len(written(tmp_path / "out")) == 40


def test_large_edits_make_small_batches(
    folder: Path, many: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shapes: set[tuple[int, ...]] = set()
    decode = Faces.decode

    def noted_decode(self: Faces, values: Tensor) -> np.ndarray:
        shapes.add(tuple(values.shape[:2]))
        return decode(self, values)

    monkeypatch.setattr(Faces, "decode", noted_decode)
    monkeypatch.setattr("fader.model.PIXELS_AT_ONCE", 32 * 32 * 17)
    edit_folder(folder, many, tmp_path / "out")
    assert shapes == {(3, 5), (1, 5)}  # 17 pictures at once are 3 of 5 edits each; 40 are 13 times 3 and 1.


# --- What fails, and going on -----------------------------------------------------------------------------------------


def test_a_picture_that_fails_is_named_and_the_rest_goes_on(folder: Path, pictures: Path, tmp_path: Path) -> None:
    (pictures / "sub" / "broken.jpg").write_bytes((pictures / "sub" / "bert.jpg").read_bytes()[:300])
    (pictures / ("n" * 200 + ".png")).write_bytes((pictures / "anna.png").read_bytes())
    os.mkfifo(pictures / "pipe.png")
    output = tmp_path / "out"
    lines = edit_folder(folder, pictures, output, {"Smiling": 1}).splitlines()
    assert lines[0] == f"{output}: 4 edited, 0 done before, 3 left out:"
    assert "its name is too long" in lines[1]
    assert "pipe.png: it is not a regular file" in lines[2]
    assert "sub/broken.jpg: it cannot be read as a picture" in lines[3]
    assert [record["error"] for record in records(output) if "error" in record] == [line.strip() for line in lines[1:]]
    assert len(written(output)) == 4
    # A mended picture is done by the next call, and nothing else.
    (pictures / "sub" / "broken.jpg").write_bytes((pictures / "sub" / "bert.jpg").read_bytes())
    assert f"{output}: 1 edited, 4 done before, 2 left out:" in edit_folder(folder, pictures, output, {"Smiling": 1})


def test_folders_with_names_that_no_system_takes_are_left_out(folder: Path, pictures: Path, tmp_path: Path) -> None:
    content = (pictures / "anna.png").read_bytes()
    names = ["a.png", f"{'f' * 255}/a.png", f"{'f' * 256}/a.png", f"{'f' * 200}/" * 20 + "a.png"]
    with zipfile.ZipFile(tmp_path / "in.zip", "w") as packed:
        for name in names:
            packed.writestr(name, content)
    lines = edit_folder(folder, tmp_path / "in.zip", tmp_path / "out", {"Smiling": 1}).splitlines()
    assert lines[0] == f"{tmp_path / 'out'}: 2 edited, 0 done before, 2 left out:"
    assert all("its name is too long" in line for line in lines[1:])
    assert written(tmp_path / "out") == sorted(names[:2])


def test_strict_stops_at_the_first_failure(folder: Path, pictures: Path, tmp_path: Path) -> None:
    (pictures / "b.png").write_bytes(b"")
    output = tmp_path / "out"
    message = refusal(lambda: edit_folder(folder, pictures, output, {"Smiling": 1}, strict=True))
    assert "b.png: it cannot be read" in message
    assert "--strict" in message
    (pictures / "b.png").unlink()
    edit_folder(folder, pictures, output, {"Smiling": 1}, strict=True)
    assert len(written(output)) == 4


def test_many_failures_are_counted_and_some_named(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for i in range(25):
        (tmp_path / "in" / f"{i:02d}.png").write_bytes(b"")
    lines = edit_folder(folder, tmp_path / "in", tmp_path / "out").splitlines()
    assert len(lines) == 1 + 20 + 1
    assert lines[-1].startswith("  and 5 more")
    assert len(records(tmp_path / "out")) == 25


def test_what_is_done_is_not_done_again(
    folder: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "out"
    edit_folder(folder, pictures, output)
    before = contents(output)
    sizes: list[int] = []
    encode = Model.encode_framed

    def noted_encode(self: Model, arrays: np.ndarray) -> Faces:
        sizes.append(len(arrays))
        return encode(self, arrays)

    monkeypatch.setattr(Model, "encode_framed", noted_encode)
    assert "0 edited, 4 done before" in edit_folder(folder, pictures, output)
    assert contents(output) == before
    assert sizes == []
    # An output that is gone, a picture that has changed, and one that is new.
    (output / "anna.Smiling.png").unlink()
    to_picture(renderer.portrait(9, 40)).save(pictures / "sub" / "carl.webp")
    to_picture(renderer.portrait(8, 40)).save(pictures / "sub" / "dora.png")
    assert "3 edited, 2 done before" in edit_folder(folder, pictures, output)
    assert sizes == [3]
    after = contents(output)
    assert after["anna.Smiling.png"] == before["anna.Smiling.png"]
    assert after["sub/carl.Smiling.png"] != before["sub/carl.Smiling.png"]
    assert "sub/dora.Smiling.png" in after
    assert "0 edited, 5 done before" in edit_folder(folder, pictures, output)


def test_half_a_last_line_is_survived(folder: Path, pictures: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    edit_folder(folder, pictures, output)
    manifest = output / "manifest-0.jsonl"
    whole = manifest.read_bytes()
    manifest.write_bytes(whole[:-10])
    assert "1 edited, 3 done before" in edit_folder(folder, pictures, output)
    assert "0 edited, 4 done before" in edit_folder(folder, pictures, output)
    assert manifest.read_bytes().splitlines()[-1] == whole.splitlines()[-1]
    manifest.write_bytes(b'[]\nnull\n"error"\n{}\n{"picture": ["a"], "sha256": 1}\n\xff\n' + b"[" * 100_000)
    assert "4 edited, 0 done before" in edit_folder(folder, pictures, output)


def test_other_edits_are_refused_unless_overwritten(folder: Path, pictures: Path, tmp_path: Path) -> None:
    output, other = tmp_path / "out", tmp_path / "other-model"
    save_model(tiny_model(seed=1), other)
    edit_folder(folder, pictures, output, {"Smiling": 1})
    before = contents(output)
    values = refusal(lambda: edit_folder(folder, pictures, output, {"Smiling": 2}))
    assert '"Smiling": 1.0' in values
    assert '"Smiling": 2.0' in values
    assert "--overwrite" in values
    assert "model is" not in values
    assert "edit is" in refusal(lambda: edit_folder(folder, pictures, output))
    message = refusal(lambda: edit_folder(other, pictures, output, {"Smiling": 1}))
    assert "model is" in message
    assert "edit is" not in message
    assert contents(output) == before
    # The same number in other words is the same edit.
    assert "4 done before" in edit_folder(folder, pictures, output, {"Smiling": "present"})
    edit_folder(other, pictures, output, attributes=["Smiling"], overwrite=True)
    assert len(written(output)) == 4
    assert all(name.endswith(".Smiling.png") for name in written(output))
    assert len(records(output)) == 4


def test_a_signal_leaves_what_the_same_call_completes(
    folder: Path, many: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_batches: None
) -> None:
    whole, output = tmp_path / "whole", tmp_path / "out"
    edit_folder(folder, many, whole, {"Smiling": 1})

    def save_and_signal(image: Image.Image, path: Path) -> None:
        save_picture(image, path)
        if path.name == "09.png":
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(editing, "save_picture", save_and_signal)
    with pytest.raises(Interrupted, match=r"Stopped after \d+ of 40 pictures; the same command goes on") as caught:
        edit_folder(folder, many, output, {"Smiling": 1})
    assert caught.value.signal == signal.SIGTERM
    monkeypatch.undo()
    monkeypatch.setattr(editing, "BATCH", 4)
    done = [record["picture"] for record in records(output)]
    assert written(output) == done
    assert 10 <= len(done) < 40
    assert f"{40 - len(done)} edited, {len(done)} done before" in edit_folder(folder, many, output, {"Smiling": 1})
    assert contents(output) == contents(whole)


def test_a_killed_process_leaves_what_the_same_call_completes(folder: Path, many: Path, tmp_path: Path) -> None:
    whole, output = tmp_path / "whole", tmp_path / "out"
    code = (
        "import sys, time; from pathlib import Path; from fader.editing import folder; folder.BATCH = 2;"
        "edit = folder._Editor._edit;"
        "folder._Editor._edit = lambda *args: time.sleep(0.05) or edit(*args);"
        "folder.edit_folder(*map(Path, sys.argv[1:]), {'Smiling': 1})"
    )
    command = [sys.executable, "-c", code, str(folder), str(many), str(output)]
    process = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT / "src")})
    deadline = time.monotonic() + 60
    while not (output / "manifest-0.jsonl").exists() or len(records_so_far(output)) < 6:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    done = len(records_so_far(output))
    assert done < 40
    assert f"{40 - done} edited, {done} done before" in edit_folder(folder, many, output, {"Smiling": 1})
    edit_folder(folder, many, whole, {"Smiling": 1})
    assert written(output) == written(whole)
    for name in written(whole):
        with Image.open(whole / name) as image:
            assert shows(output / name, image)


def records_so_far(output: Path) -> list[str]:
    """The whole lines of a manifest that is being written."""
    return (output / "manifest-0.jsonl").read_text().split("\n")[:-1]


# --- Several processes ------------------------------------------------------------------------------------------------


def test_processes_share_the_pictures_and_a_restart_may_have_another_number(
    folder: Path, many: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "out"
    monkeypatch.setenv("WORLD_SIZE", "3")
    for rank, count in ((0, 14), (2, 13)):
        monkeypatch.setenv("RANK", str(rank))
        assert f"{count} edited, 0 done before" in edit_folder(folder, many, output, {"Smiling": 1})
        own = [json.loads(line)["picture"] for line in (output / f"manifest-{rank}.jsonl").read_text().splitlines()]
        assert own == [f"{i:02d}.png" for i in range(rank, 40, 3)]
    refused = refusal(lambda: edit_folder(folder, many, output, {"Smiling": 1}, overwrite=True))
    assert "several processes cannot overwrite" in refused
    monkeypatch.delenv("RANK")
    monkeypatch.delenv("WORLD_SIZE")
    assert "13 edited, 27 done before" in edit_folder(folder, many, output, {"Smiling": 1})
    assert written(output) == [f"{i:02d}.png" for i in range(40)]


def test_torchrun_starts_them(folder: Path, pictures: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += ["-m", "fader", "swap", str(folder), str(pictures), "-o", str(output), "--set", "Smiling=1"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(": 2 edited, 0 done before, 0 left out") == 2
    assert len(written(output)) == 4
    assert sorted(path.name for path in output.glob("manifest-*")) == ["manifest-0.jsonl", "manifest-1.jsonl"]


# --- What is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda m, p, o: edit_folder(m, p, p), "lies in the pictures"),
        (lambda m, p, o: edit_folder(m, p, p / "sub" / "out"), "lies in the pictures"),
        (lambda m, p, o: edit_folder(m, p, o / "link" / "out"), "lies in the pictures"),
        (lambda m, p, o: edit_folder(m, p / "sub", p, overwrite=True), "lies in it"),
        (lambda m, p, o: edit_folder(m, p, m.parent, overwrite=True), "lies in it"),
        (lambda m, p, o: edit_folder(m, p / "anna.png", o / "out"), "out.png for a figure"),
        (lambda m, p, o: edit_folder(m, p / "notes.txt", o / "out"), "neither a directory nor a sound zip"),
        (lambda m, p, o: edit_folder(m, p / "gone", o / "out"), "no such directory"),
        (lambda m, p, o: edit_folder(m, o / "empty", o / "out"), "no picture in this folder"),
        (lambda m, p, o: edit_folder(p, p, o / "out"), "no model folder"),
        (lambda m, p, o: edit_folder(m, p, o / "out", {"Beard": 1}), "no attribute 'Beard'"),
        (lambda m, p, o: edit_folder(m, p, o / "out", {"Hair": "green"}), "no value 'green'"),
        (lambda m, p, o: edit_folder(m, p, o / "out", {"Smiling": float("nan")}), "finite"),
        (lambda m, p, o: edit_folder(m, p, o / "out", attributes=["Beard"]), "no attribute 'Beard'"),
        (lambda m, p, o: edit_folder(m, p, o / "out", attributes=["Hair"], together=True), "takes two attributes"),
        (lambda m, p, o: edit_folder(m, p, o / "out", {"Smiling": 1}, ["Hair"]), "either set to values or swapped"),
        (lambda m, p, o: edit_folder(m, p, o / "out", workers=0), "workers is 0"),
        (lambda m, p, o: edit_folder(m, p, o / "holiday"), "something else"),
        (lambda m, p, o: edit_folder(m, p, o / "holiday", overwrite=True), "something else"),
        (lambda m, p, o: edit_folder(m, p, o / "holiday" / "photo"), "something else"),
        (lambda m, p, o: edit_folder(m, p, o / "holiday" / "photo" / "out"), "cannot be written"),
    ],
)
def test_what_makes_no_sense_is_refused(
    folder: Path, pictures: Path, tmp_path: Path, call: Callable[..., Any], says: str
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "holiday").mkdir()
    (tmp_path / "holiday" / "photo").write_text("mine")
    (tmp_path / "link").symlink_to(pictures)
    before = contents(tmp_path)
    assert says in refusal(lambda: call(folder, pictures, tmp_path))
    assert contents(tmp_path) == before


def test_a_model_without_classifier_is_refused(pictures: Path, tmp_path: Path) -> None:
    save_model(tiny_model(with_classifier=False), tmp_path / "model")
    assert "no classifier" in refusal(lambda: edit_folder(tmp_path / "model", pictures, tmp_path / "out"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("header", "says"),
    [
        ("{}", "does not describe a folder of edits"),
        ("[]", "does not describe a folder of edits"),
        ("{", "cannot be read as JSON"),
        ('{"format": "fader-edits", "version": 2}', "version 2"),
    ],
)
def test_a_folder_of_another_version_or_damaged_is_refused(
    folder: Path, pictures: Path, tmp_path: Path, header: str, says: str
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "edits.json").write_text(header)
    assert says in refusal(lambda: edit_folder(folder, pictures, tmp_path / "out"))
    if "version" not in header:  # It is somebody else's, and stays in any case.
        assert says in refusal(lambda: edit_folder(folder, pictures, tmp_path / "out", overwrite=True))
    assert contents(tmp_path / "out") == {"edits.json": header.encode()}


# --- Faces in whole photos --------------------------------------------------------------------------------------------

SETTING = ["--set", "Smiling=5", "Hair=red"]


@pytest.mark.usefixtures("marked_faces")
def test_faces_are_pasted_into_every_photo_once(
    faces_folder: Path, faces_model: Model, album: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out"
    command = ["swap", str(faces_folder), str(album), "-o", str(output), *SETTING, "--paste"]
    assert cli.main(command) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{output}: 2 edited, 0 done before, 1 left out:",
        "  wall.png: no face was found in it; place the frame by hand, in fader studio.",
    ]
    assert written(output) == ["one.png", "two.png"]
    frames = {"one": (20, 30, 32), "two": (90, 60, 48)}
    for name, (left, top, side) in frames.items():
        photo = open_picture(album / f"{name}.png")
        with Image.open(output / f"{name}.png") as image:
            assert not image.info
            assert not image.getexif()
            pasted = np.asarray(image)
        around = markers.outside(photo.size, left, top, side)
        assert np.array_equal(pasted[around], np.asarray(photo)[around])
        assert (pasted != np.asarray(photo))[~around].mean() > 0.3
        expected = faces_model.encode(photo, align=True).paste(Smiling=5, Hair="red")
        assert shows(output / f"{name}.png", expected)
    placements = {record["picture"]: record.get("placement") for record in records(output)}
    assert placements["two.png"] == pytest.approx({"x": 114, "y": 84, "side": 48, "angle": 0})
    assert placements["wall.png"] is None

    before = contents(output)
    assert cli.main(command) == 0
    assert f"{output}: 0 edited, 2 done before, 1 left out:\n" in capsys.readouterr().out
    after = contents(output)
    assert {name: after[name] for name in written(output)} == {name: before[name] for name in written(output)}
    # Another face is another edit, which is not mixed with this one.
    assert cli.main([*command, "--face", "2"]) == 2
    assert contents(output) == after


@pytest.mark.usefixtures("marked_faces")
def test_the_second_face_as_the_model_sees_it(
    faces_folder: Path, faces_model: Model, album: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out"
    command = ["swap", str(faces_folder), str(album), "-o", str(output), *SETTING, "--align", "--face", "2"]
    assert cli.main(command) == 0
    said = capsys.readouterr().out
    assert "1 edited, 0 done before, 2 left out" in said
    assert "one.png: there is no face 2 in it" in said
    assert written(output) == ["two.png"]
    second = to_picture(np.asarray(open_picture(album / "two.png"))[30:62, 20:52])
    assert shows(output / "two.png", faces_model.encode(second).edit(Smiling=5, Hair="red"))


@pytest.mark.usefixtures("marked_faces")
def test_a_photo_without_a_face_stops_a_strict_run(
    faces_folder: Path, album: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["swap", str(faces_folder), str(album), "-o", str(tmp_path / "out"), *SETTING, "--align", "--strict"]
    assert cli.main(command) == 2
    assert "wall.png: no face was found" in capsys.readouterr().err


@pytest.mark.usefixtures("marked_faces")
def test_faces_that_are_not_familiar_are_left_out_of_pasting(
    faces_model: Model, album: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (album / "wall.png").unlink()
    model = tiny_model(framing=faces_model.framing)
    errors = model.encode([album / "one.png", album / "two.png"], align=True).reconstruction_errors
    model.errors = familiarity.summary(torch.tensor([[errors.mean() / familiarity.MARGIN, 1e9]]))
    save_model(model, tmp_path / "model")
    kept, left = ("one", "two") if errors[0] < errors[1] else ("two", "one")
    command = ["swap", str(tmp_path / "model"), str(album), *SETTING]
    assert cli.main([*command, "-o", str(tmp_path / "out"), "--paste"]) == 0
    said = capsys.readouterr().out
    assert "1 edited, 0 done before, 1 left out" in said
    assert f"{left}.png: the model's own copy of this face is too far from it" in said
    assert written(tmp_path / "out") == [f"{kept}.png"]
    # What the model sees can be looked at all the same.
    assert cli.main([*command, "-o", str(tmp_path / "seen"), "--align"]) == 0
    assert written(tmp_path / "seen") == ["one.png", "two.png"]


def test_what_cannot_be_aligned_is_refused_before_anything_is_written(
    folder: Path,
    faces_folder: Path,
    album: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("fader.mtcnn.PACKAGE", "no-such-package")
    for model, options, says in (
        (folder, ["--align"], "does not know where faces lie"),
        (faces_folder, ["--paste"], "'fader-networks[align]'"),
        (faces_folder, ["--align", "--face", "0"], "face is 0"),
        (faces_folder, ["--face", "1"], "add one of them"),
    ):
        command = ["swap", str(model), str(album), "-o", str(tmp_path / "out"), *SETTING, *options]
        assert cli.main(command) == 2
        message = capsys.readouterr().err
        assert says in message
        assert message.count("\n") == 1
        assert not (tmp_path / "out").exists()
