"""Each command killed again and again at moments drawn by a seed, and what has to be true in the end."""

from __future__ import annotations

import json
import random
import re
import statistics
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import torch
from PIL import Image

from fader.attributes import Schema
from fader.config import ClassifierConfig
from fader.datasets.portraits import specification
from fader.datasets.portraits.source import prepare_portraits
from fader.datasets.prepared import open_dataset
from fader.model import save_model
from fader.networks.classifier import make_classifier
from fader.study.answers import open_answers
from fader.study.create import create
from fader.study.folder import open_key, open_study
from fader.training.checkpoints import checkpoints
from fader.training.classifier import Classifier, save_classifier
from tests.faults.commands import Command, Commands, Ended, Kill
from tests.models import tiny_model
from tests.study.raters import of_accuracy, rate

ATTRIBUTES = ("Eyeglasses", "Beard")
KILLED = -9
LATER = 1.5  # Moments are drawn from so many times the time that a call took in the unbroken run.


class Moments:
    """Draws when to kill a command: in which call of which function, and how far into it."""

    def __init__(self, functions: Mapping[str, int], unbroken: Ended, seed: int) -> None:
        """`functions`: which, each with the last call of a process that it may be; `unbroken` has timed them."""
        self._random, self._functions = random.Random(seed), functions
        self._seconds = {name: statistics.median(unbroken.times[name]) for name in functions}

    def draw(self, functions: Sequence[str] | None = None) -> Kill:
        """In one of these functions, by default of all."""
        name = self._random.choice(functions or list(self._functions))
        seconds = self._random.uniform(0, LATER * self._seconds[name])
        return Kill(name, self._random.randint(1, self._functions[name]), seconds)


Kills = dict[str, int]
"""How many processes were killed, by the function that they were in when the clock was set."""


def kill_and_repeat(
    commands: Commands,
    arguments: Sequence[str],
    settings: Mapping[str, Any],
    moments: Moments,
    kills: int,
    phases: Sequence[Sequence[str] | None] = (None,),
) -> Kills:
    """Start a command and kill it, so many times; then let it end. Processes that end before are not counted.

    Each of the `phases` has its share of the kills, in functions of its own, by default in all: a command that is to be
    killed in what comes late first does all that comes before.
    """
    found: Counter[str] = Counter()
    for _ in range(4 * kills):
        kill = moments.draw(phases[found.total() * len(phases) // kills])
        ended = commands.run(Command(arguments, kill, settings=settings))
        assert ended.code in (0, KILLED), ended.said
        found[kill.function.rpartition(":")[2]] += ended.code == KILLED
        if found.total() == kills:
            break
    assert found.total() == kills, f"the command ended before it could be killed {kills} times; give it more to do"
    ended = commands.run(Command(arguments, settings=settings))
    assert ended.code == 0, ended.said
    return dict(found)


def train(commands: Commands, folder: Path, kills: int, steps: int, seed: int) -> Kills:
    """One run of a Fader Network: the same weights, records and candidates to the bit."""
    arguments = (
        "--size 32 --layers 3 --width 4 --discriminator-width 8 --discriminator-hidden 8 --batch-size 8"
        f" --epoch-images 80 --decay 0.5 --steps {steps}"
    )
    loop = "fader.training.loop"
    functions = {
        f"{loop}:training_step": 8,
        f"{loop}:selection.assess": 1,
        f"{loop}:save_checkpoint": 4,
        f"{loop}:Records.append": 3,
        f"{loop}:Trainer._select": 1,
    }
    settings = {f"{loop}:CHECKPOINT_SECONDS": 0.02, f"{loop}:RECORD_EVERY": 3}
    whole, broken, found = _two_runs(commands, folder, 32, arguments, functions, settings, kills, seed)
    for name in ("model/model.safetensors", *_names(whole / "candidates"), *_names(whole / "samples")):
        assert (whole / name).read_bytes() == (broken / name).read_bytes(), name
    assert _names(whole / "candidates") == _names(broken / "candidates")
    theirs, ours = (torch.load(checkpoints(run / "checkpoints")[-1], weights_only=True) for run in (whole, broken))
    assert _same({**theirs, "seconds": 0}, {**ours, "seconds": 0})
    return found


def icgan(commands: Commands, folder: Path, kills: int, epochs: int, seed: int) -> Kills:
    """One run of an IcGAN through all of its stages."""
    arguments = (
        f"--system icgan --width 4 --noise 8 --epochs {epochs} --encoder-epochs {epochs} --batch-size 16"
        " --refresh-passes 3 --refresh-batch 8"
    )
    training = "fader.training.icgan"
    functions = {
        f"{training}_stages:gan_step": 4,
        f"{training}_stages:EncoderStage.step": 4,
        f"{training}:Records.append": 3,
        f"{training}:save_checkpoint": 4,
        f"{training}:save_weights": 1,
        f"{training}:Trainer._finish": 1,
    }
    gan, encoder, record, checkpoint, weights, finish = functions
    phases = [[gan, record, checkpoint], [encoder, record, checkpoint], [weights], [finish]]
    settings = {f"{training}:CHECKPOINT_SECONDS": 0.02, f"{training}:RECORD_EVERY": 3}
    settings |= {f"{training}:CHECKED": 20, f"{training}_stages:SEEN": 16}
    whole, broken, found = _two_runs(commands, folder, 64, arguments, functions, settings, kills, seed, phases)
    for name in ("model/model.safetensors", *_names(whole / "networks"), *_names(whole / "samples")):
        assert (whole / name).read_bytes() == (broken / name).read_bytes(), name
    return found


def prepare(commands: Commands, folder: Path, kills: int, seed: int) -> Kills:
    """One dataset, by two processes: the same bytes, and never half of it under its name."""
    functions = {
        "fader.datasets.preparation:_fetch": 4,
        "fader.datasets.prepared:DatasetWriter.take": 60,
        "fader.datasets.prepared:DatasetWriter.finish": 1,
        "fader.datasets.preparation:_write_report": 1,
        "fader.files:_sync": 4,
    }
    options = "--count 64 --size 32 --workers 2"
    arguments = ["prepare", "portraits", *options.split(), "-o", str(folder / "whole" / "data")]
    unbroken = commands.run(Command(arguments, timed=list(functions)))
    assert unbroken.code == 0, unbroken.said
    moments, found = Moments(functions, unbroken, seed), Counter[str]()
    arguments[-1] = str(folder / "broken" / "data")
    output = Path(arguments[-1])
    while found.total() < kills:
        kill = moments.draw()
        ended = commands.run(Command(arguments, kill))
        assert ended.code in (0, KILLED), ended.said
        found[kill.function.rpartition(":")[2]] += ended.code == KILLED
        if output.exists():  # Killed after it was renamed, or not killed.
            open_dataset(output).verify()
            assert commands.run(Command([*arguments, "--overwrite"])).code == 0
            _same_files(folder / "whole", folder / "broken")
            for path in output.iterdir():
                path.unlink()
            output.rmdir()
    assert commands.run(Command(arguments)).code == 0
    _same_files(folder / "whole", folder / "broken")
    return dict(found)


def swap(commands: Commands, folder: Path, kills: int, count: int, seed: int) -> Kills:
    """One folder of pictures: each edited, and each once in the manifest."""
    model, pictures = folder / "model", folder / "pictures"
    save_model(tiny_model(Schema.binary(["Smiling"])), model)
    pictures.mkdir()
    random_pixels = np.random.default_rng(seed)
    for i in range(count):
        Image.fromarray(random_pixels.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(pictures / f"{i:03}.png")
    editing = "fader.editing.folder"
    functions = {
        f"{editing}:_Editor._edit": 3,
        f"{editing}:save_picture": 8,
        f"{editing}:Manifest.append": 8,
        "fader.files:_sync": 12,
    }
    settings = {f"{editing}:BATCH": 4}
    arguments = ["swap", str(model), str(pictures), "--set", "Smiling=1", "--workers", "2", "-o"]
    unbroken = commands.run(Command([*arguments, str(folder / "whole")], timed=list(functions), settings=settings))
    assert unbroken.code == 0, unbroken.said
    moments = Moments(functions, unbroken, seed)
    found = kill_and_repeat(commands, [*arguments, str(folder / "broken")], settings, moments, kills)
    whole, broken = folder / "whole", folder / "broken"
    assert {path.name for path in whole.iterdir()} == {path.name for path in broken.iterdir()}
    for path in whole.glob("*.png"):
        # In batches of another size sums are rounded otherwise.
        differences = np.asarray(Image.open(path)).astype(int) - np.asarray(Image.open(broken / path.name))
        assert np.abs(differences).max() <= 1
    lines = [line for line in (broken / "manifest-0.jsonl").read_text().split("\n") if line]
    edited = Counter(json.loads(line)["picture"] for line in lines if line.endswith("}"))
    assert set(edited) == {path.name for path in pictures.iterdir()}
    return found


def study(commands: Commands, folder: Path, kills: int, seed: int) -> Kills:
    """One study with four raters at work: every answer that was acknowledged is there, and no other."""
    models = []
    prepare_portraits(folder / "data", count=80, workers=1)
    for number in range(2):
        models.append(folder / f"model-{number}")
        save_model(tiny_model(Schema.binary(open_dataset(folder / "data").schema.names), seed=number), models[-1])
    create(models, folder / "data", folder / "study", ATTRIBUTES, split="train", a_row=8, raters=4, device="cpu")
    about = open_study(folder / "study")
    chances = dict.fromkeys({one["row"] for one in open_key(about)["items"].values()}, 0.7)
    given: list[list[tuple[str, int]]] = [[] for _ in range(4)]
    link, done = "", threading.Event()

    def work(rater: int) -> None:
        choose, cookies = of_accuracy(about, chances, rater), None
        while not done.is_set():
            try:
                with httpx2.Client(base_url=link, cookies=cookies, timeout=20) as client:
                    before = len(given[rater])
                    given[rater].extend(rate(client, choose, most=1))
                    cookies = client.cookies
                    if len(given[rater]) == before:
                        return  # All is answered.
            except httpx2.TransportError:
                time.sleep(0.05)  # The server is dead and about to be started again.

    moments, found, port = random.Random(seed), Counter[str](), 0
    raters = [threading.Thread(target=work, args=(rater,)) for rater in range(4)]
    for _ in range(kills):
        kill = Kill("fader.study.answers:Answers.store", moments.randint(2, 8), moments.uniform(0, 0.01))
        arguments = ["study", "serve", str(folder / "study"), "--port", str(port)]
        process = commands.start(Command(arguments, kill))
        said = folder / "said" / f"{process}.txt"
        while not (shown := re.search(r"http://\S+(?=\s)", said.read_text() if said.exists() else "")):
            time.sleep(0.02)
        assert not link or link == shown.group()  # The raters' link stays what it was.
        link = shown.group()
        port = int(link.split(":")[2].split("/")[0])
        for one in raters:
            if one.ident is None:
                one.start()
        ended = commands.wait(process)
        assert ended.code == KILLED, ended.said
        found["Answers.store"] += 1
    done.set()
    for one in raters:
        one.join(60)
    acknowledged = Counter(answer for of_rater in given for answer in of_rater)
    with open_answers(about) as answers:
        stored = Counter((one.item, one.answer) for one in answers.all())
    assert acknowledged.total() >= kills
    assert not acknowledged - stored
    # Beyond those there are at most the answers that were on their way when a server died.
    assert (stored - acknowledged).total() <= 4 * kills
    return dict(found)


def _two_runs(
    commands: Commands,
    folder: Path,
    size: int,
    options: str,
    functions: Mapping[str, int],
    settings: Mapping[str, Any],
    kills: int,
    seed: int,
    phases: Sequence[Sequence[str] | None] = (None,),
) -> tuple[Path, Path, Kills]:
    """A run that is left alone, and the same one killed so many times; their records are the same."""
    prepare_portraits(folder / "data", count=60, size=size, workers=1)
    save_random_classifier(folder / "classifier", size)
    arguments = ["train", str(folder / "data"), *options.split(), "--attributes", *ATTRIBUTES, "--device", "cpu"]
    arguments += ["--classifier", str(folder / "classifier"), "-o"]
    whole, broken = folder / "whole", folder / "broken"
    unbroken = commands.run(Command([*arguments, str(whole)], timed=list(functions), settings=settings))
    assert unbroken.code == 0, unbroken.said
    moments = Moments(functions, unbroken, seed)
    found = kill_and_repeat(commands, [*arguments, str(broken)], settings, moments, kills, phases)
    records = [
        [json.loads(line) | {"seconds": 0} for line in (run / "metrics.jsonl").read_text().splitlines()]
        for run in (whole, broken)
    ]
    assert records[0] == records[1]
    assert not list(broken.rglob(".*"))
    return whole, broken, found


def save_random_classifier(folder: Path, size: int) -> None:
    """A classifier that has learnt nothing, for runs whose result does not matter."""
    schema, config = specification.SCHEMA.select(ATTRIBUTES), ClassifierConfig(width=4, max_width=8, hidden=8)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = make_classifier(config, size, 3, schema).eval()
    info = {"accuracy": dict.fromkeys(ATTRIBUTES, 0.5), "dataset": "none"}
    save_classifier(Classifier(network, schema, size, 3, config, info), folder)


def _names(folder: Path) -> list[str]:
    return sorted(f"{folder.name}/{path.name}" for path in folder.iterdir())


def _same_files(one: Path, other: Path) -> None:
    """The same files, hidden ones and those in folders too."""
    found = [{path.relative_to(folder): path for path in folder.rglob("*")} for folder in (one, other)]
    assert found[0].keys() == found[1].keys()
    for name, path in found[0].items():
        if path.is_file() and name.name != "report.txt":  # Which says where the dataset is.
            assert path.read_bytes() == found[1][name].read_bytes(), name


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other)
