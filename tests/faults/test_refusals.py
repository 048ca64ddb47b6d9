"""A full or read-only disk, a second process, damaged inputs: one sentence, exit code 2, and nothing is lost."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from PIL import Image
from starlette.testclient import TestClient

from fader import cli
from fader.attributes import Schema
from fader.datasets.portraits.source import prepare_portraits
from fader.datasets.prepared import open_dataset
from fader.editing.manifest import read_done
from fader.files import locked
from fader.model import save_model
from fader.study.answers import open_answers
from fader.study.create import create
from fader.study.folder import open_study
from fader.study.serve import application
from fader.training.checkpoints import checkpoints
from fader.web.guard import Site
from tests.faults.campaigns import ATTRIBUTES, save_random_classifier
from tests.models import tiny_model
from tests.study.raters import post

Refused = Callable[..., str]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset, a classifier, a model and pictures; not to be written to."""
    folder = tmp_path_factory.mktemp("faults")
    prepare_portraits(folder / "data", count=60, size=32, workers=1)
    save_random_classifier(folder / "classifier", 32)
    save_model(tiny_model(Schema.binary(["Smiling"])), folder / "model")
    (folder / "pictures").mkdir()
    for i in range(120):
        Image.effect_noise((32, 32), 90).save(folder / "pictures" / f"{i:03}.png")
    return folder


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Refused:
    """Runs a command that has to end with exit code 2; gives its sentence."""

    def run(*arguments: object) -> str:
        capsys.readouterr()
        assert cli.main([str(argument) for argument in arguments]) == 2
        said = " ".join(capsys.readouterr().err.split())
        assert said.count("fader: ") == 1
        assert said.endswith(".")
        return said.partition("fader: ")[2]

    return run


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 400 kB."""
    path = tmp_path / "disk"
    path.mkdir()
    options = ["-t", "tmpfs", "-o", "size=400k", "tmpfs"]
    if not shutil.which("mount") or subprocess.run(["mount", *options, str(path)], capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    yield path
    subprocess.run(["umount", str(path)], check=True)


def training(made: Path, output: Path, steps: int = 40) -> list[str]:
    options = "--layers 3 --width 4 --discriminator-width 8 --discriminator-hidden 8 --batch-size 8 --epoch-images 80"
    arguments = ["train", str(made / "data"), "-o", str(output), "--classifier", str(made / "classifier")]
    return [*arguments, "--attributes", *ATTRIBUTES, "--device", "cpu", "--steps", str(steps), *options.split()]


def test_a_dataset_on_a_full_disk(disk: Path, refused: Refused) -> None:
    said = refused("prepare", "portraits", "--count", 200, "--size", 32, "--workers", 1, "-o", disk / "data")
    assert "it cannot be written to (No space left on device)" in said
    assert list(disk.iterdir()) == []


def test_edits_on_a_full_disk_go_on_when_there_is_room(made: Path, disk: Path, refused: Refused) -> None:
    filler = disk / "filler"
    filler.write_bytes(bytes(250_000))
    arguments = ["swap", str(made / "model"), str(made / "pictures"), "-o", str(disk / "out"), "--set", "Smiling=1"]
    assert "it cannot be written (No space left on device)" in refused(*arguments)
    filler.unlink()
    subprocess.run(["mount", "-o", "remount,size=20m", str(disk)], check=True)
    assert cli.main(arguments) == 0
    assert len(list((disk / "out").glob("*.png"))) == len(read_done(disk / "out")) == 120
    assert not list((disk / "out").glob(".*"))


def test_a_run_on_a_full_disk_goes_on_when_there_is_room(
    made: Path, disk: Path, tmp_path: Path, refused: Refused
) -> None:
    """Full at one moment and another: in a checkpoint, in the records, in the model."""
    subprocess.run(["mount", "-o", "remount,size=20m", str(disk)], check=True)
    assert cli.main(training(made, tmp_path / "whole")) == 0
    for room in (50_000, 150_000, 250_000, 350_000, 700_000):
        filler = disk / "filler"
        with filler.open("wb") as stream:
            stream.write(bytes(shutil.disk_usage(disk).free - room))
        assert "it cannot be written (No space left on device)" in refused(*training(made, disk / "run"))
        filler.unlink()
    assert cli.main(training(made, disk / "run")) == 0
    states = [
        torch.load(checkpoints(run / "checkpoints")[-1])["autoencoder"] for run in (disk / "run", tmp_path / "whole")
    ]
    assert all(torch.equal(one, states[1]["network"][name]) for name, one in states[0]["network"].items())
    steps = [
        [json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines()]
        for run in (disk / "run", tmp_path / "whole")
    ]
    assert steps[0] == steps[1]
    assert not list((disk / "run").rglob(".*"))


def test_raters_go_on_when_there_is_room(made: Path, disk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    subprocess.run(["mount", "-o", "remount,size=20m", str(disk)], check=True)
    create([made / "model"], made / "data", disk / "study", ["Smiling"], split="train", a_row=2, raters=1, device="cpu")
    study = open_study(disk / "study")
    with open_answers(study) as answers:
        site = Site(("http://127.0.0.1:8765",), answers.secret())
        client = TestClient(application(study, answers, site), base_url=site.link)
        post(client, "consent")
        item = post(client, "begin", task=study.tasks[0].id)["items"][0]["id"]
        filler = disk / "filler"
        with filler.open("wb") as stream:
            stream.write(bytes(shutil.disk_usage(disk).free))
        headers = {"Origin": "http://127.0.0.1:8765"}
        for _ in range(3):
            answer = client.post("api/answer", json={"item": item, "answer": 0}, headers=headers)
            assert (answer.status_code, answers.all()) == (503, [])
            assert "answers.sqlite: it cannot be used as the study's answers" in capsys.readouterr().err
        filler.unlink()
        assert post(client, "answer", item=item, answer=0)["done"] == 1
        assert len(answers.all()) == 1


def test_a_folder_that_is_read_only(made: Path, disk: Path, refused: Refused) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    for arguments in (
        training(made, disk / "run"),
        ["prepare", "portraits", "--count", "9", "--workers", "1", "-o", str(disk / "data")],
        ["swap", str(made / "model"), str(made / "pictures"), "-o", str(disk / "out")],
        ["classifier", str(made / "data"), "-o", str(disk / "classifier")],
    ):
        assert "it cannot be written (Read-only file system)" in refused(*arguments)


@contextmanager
def at_work(arguments: Sequence[str], until: Callable[[], bool]) -> Iterator[None]:
    """A command in a process of its own from when it has begun until it is killed."""
    with subprocess.Popen([sys.executable, "-m", "fader", *arguments], stderr=subprocess.DEVNULL) as process:
        while not until():
            assert process.poll() is None
            time.sleep(0.05)
        yield
        assert process.poll() is None
        process.kill()


def test_a_second_process_is_refused(made: Path, tmp_path: Path, refused: Refused) -> None:
    run, data = tmp_path / "run", tmp_path / "data"
    with at_work(training(made, run, steps=100_000), (run / "run.json").exists):
        assert "run: another process is writing" in refused(*training(made, run, steps=100_000))
    prepare = ["prepare", "portraits", "--count", "4000", "--workers", "1", "-o", str(data)]
    with at_work(prepare, (tmp_path / ".data.tmp" / "images.npy").exists):
        assert "data: another process is writing" in refused(*prepare)
    prepare[3] = "9"
    assert cli.main(prepare) == 0  # The dead process holds nothing.
    with locked(tmp_path / "out"):
        said = refused("swap", made / "model", made / "pictures", "-o", tmp_path / "out")
        assert "out: another process is writing" in said


def test_damaged_pictures_of_a_dataset_are_found_before_they_are_learnt(
    made: Path, tmp_path: Path, refused: Refused
) -> None:
    shutil.copytree(made / "data", tmp_path / "data")
    with (tmp_path / "data" / "images.npy").open("r+b") as stream:
        stream.seek(-1000, 2)
        byte = stream.read(1)
        stream.seek(-1000, 2)
        stream.write(bytes([byte[0] ^ 1]))
    arguments = training(made, tmp_path / "run")
    arguments[1] = str(tmp_path / "data")
    assert "pictures 0 to 59 were changed since they were written" in refused(*arguments)
    assert "pictures 0 to 59 were changed" in refused("info", tmp_path / "data", "--verify")
    with (tmp_path / "data" / "images.npy").open("r+b") as stream:
        stream.truncate(5000)
    assert "does not hold the pictures" in refused(*arguments)
    manifest = tmp_path / "data" / "dataset.json"
    manifest.write_text(json.dumps({**open_dataset(made / "data").info, "version": 2}))
    assert "its format is version 2, and this fader reads version 1; update fader" in refused(*arguments)
