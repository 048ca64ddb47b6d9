"""Training runs on a handful of portraits: resuming, refusing, selecting."""

import dataclasses
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from tests.apple import OnAppleGpu
from tests.refusals import refusal

import fader
import fader.datasets.prepared
from fader.attributes import Schema
from fader.config import ClassifierConfig, Config, configure
from fader.datasets.portraits import renderer, specification
from fader.datasets.portraits.source import prepare_portraits
from fader.devices import find_device
from fader.errors import Interrupted, UserError
from fader.files import locked
from fader.interruption import interruptions
from fader.networks.autoencoder import AutoEncoder
from fader.training import loop, selection
from fader.training.checkpoints import checkpoints, save_checkpoint
from fader.training.choice import choose, show_candidates
from fader.training.classifier import load_classifier, save_classifier, train_classifier
from fader.training.loop import train
from fader.training.records import read_records
from fader.training.run import RunOf, create_or_continue, open_run
from fader.training.selection import best, front
from fader.training.step import training_step


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """96 portraits at 32 pixels."""
    folder = tmp_path_factory.mktemp("loop") / "portraits"
    prepare_portraits(folder, count=96, size=32, workers=1)
    return folder


@pytest.fixture(scope="module")
def classifier(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("loop") / "classifier"
    schema = specification.SCHEMA.select(["Eyeglasses", "Beard"])
    config = ClassifierConfig(width=8, max_width=16, hidden=16, epochs=1)
    data = fader.datasets.prepared.open_dataset(dataset)
    save_classifier(train_classifier(data, schema, config, find_device("cpu")), folder)
    return folder


def config(**fields: Any) -> Config:
    tiny: dict[str, Any] = {
        "size": 32,
        "layers": 3,
        "width": 4,
        "discriminator_width": 8,
        "discriminator_hidden": 8,
        "steps": 24,
        "batch_size": 8,
        "epoch_images": 80,
        "decay": 0.5,
    }
    return configure("small", **(tiny | fields))


def run_training(dataset: Path, output: Path, classifier: Path, **fields: Any) -> Path:
    train(dataset, output, config(**fields), ["Eyeglasses", "Beard"], classifier, device="cpu")
    return output


def weights(run: Path) -> dict[str, torch.Tensor]:
    state = torch.load(checkpoints(run / "checkpoints")[-1], weights_only=True)
    return {
        f"{player}.{name}": tensor
        for player in ("autoencoder", "discriminator")
        for name, tensor in state[player]["network"].items()
    }


def test_a_run_leaves_everything_behind(dataset: Path, classifier: Path, tmp_path: Path) -> None:
    run = run_training(dataset, tmp_path / "run", classifier)
    evaluations = read_records(run / "metrics.jsonl", "evaluation")
    # 24 steps of 8 pictures, epochs of 80: after steps 10, 20 and the last.
    assert [(one["epoch"], one["step"]) for one in evaluations] == [(1, 10), (2, 20), (3, 24)]
    assert sorted(path.name for path in (run / "samples").iterdir()) == [f"epoch-000{e}.png" for e in (1, 2, 3)]
    kept = {int(path.stem[-4:]) for path in (run / "candidates").iterdir()}
    assert kept == {one["epoch"] for one in [*front(evaluations), *front(evaluations[:2])]}
    model = fader.load(run)
    assert model.schema.names == ("Eyeglasses", "Beard")
    assert model.selection["epoch"] == best(evaluations)["epoch"]
    # The errors of the validation pictures: of 96, numbers 10, 22, ...
    validation = range(10, 96, 12)
    columns = [specification.SCHEMA.index(name) for name in model.schema.names]
    labels = np.array([renderer.labels(i)[columns] for i in validation])
    faces = model.encode_framed(np.array([renderer.portrait(i, 32) for i in validation]), labels)
    assert model.errors == best(evaluations)["errors"]
    assert model.errors["mse_max"] == pytest.approx(faces.reconstruction_errors.max(), rel=1e-4)
    assert "errors" not in model.selection
    face = model.encode(renderer.portrait(3))
    assert face.edit(Beard=1).size == (32, 32)
    # The same command again has nothing to do and changes nothing.
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file()}
    run_training(dataset, run, classifier)
    after = {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file()}
    changed = {path.name for path in after if after[path] != before.get(path)}
    assert changed <= {"metrics.jsonl"}


@pytest.mark.parametrize(
    ("init", "kept"),
    [
        (None, None),
        ("portraits", "portraits"),
        ("hf:someone/faces@v1", "hf:someone/faces@v1"),
        ("runs/demo", str(Path.cwd() / "runs" / "demo")),
        (Path("portraits"), str(Path.cwd() / "portraits")),
    ],
)
def test_what_a_run_started_from_is_kept(dataset: Path, tmp_path: Path, init: Any, kept: str | None) -> None:
    data = fader.datasets.prepared.open_dataset(dataset)
    create_or_continue(tmp_path / "run", config(), data.schema, data, init)
    assert open_run(tmp_path / "run").init == kept


OPTIONAL = {"ema": 0.9, "balance": True, "patchgan_weight": 0.01}
COMPILED = {"precision": "bfloat16", "compile": True, "epoch_images": 160}


@pytest.mark.parametrize(
    ("at", "fields"),
    [(at, fields) for fields in ({}, OPTIONAL) for at in (3, 10, 17)] + [(17, COMPILED)],
)
def test_an_interrupted_run_ends_bit_identical(
    dataset: Path, classifier: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int, fields: dict[str, Any]
) -> None:
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))  # Without machine code: quick.
    whole = run_training(dataset, tmp_path / "whole", classifier, **fields)
    broken = tmp_path / "broken"
    original = training_step
    calls = 0

    def step_with_a_signal(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == at:
            signal.raise_signal(signal.SIGTERM)
        return original(*arguments)

    monkeypatch.setattr(loop, "training_step", step_with_a_signal)
    with pytest.raises(Interrupted, match=rf"after step {at} of 24; the same command goes on") as caught:
        run_training(dataset, broken, classifier, **fields)
    assert caught.value.signal == signal.SIGTERM
    monkeypatch.setattr(loop, "training_step", original)
    run_training(dataset, broken, classifier, **fields)
    ours, theirs = weights(broken), weights(whole)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    drop = {"seconds"}
    records = [
        [{k: v for k, v in record.items() if k not in drop} for record in read_records(run / "metrics.jsonl")]
        for run in (broken, whole)
    ]
    assert records[0] == records[1]


def test_dropout_depends_on_the_seed_and_the_step(
    dataset: Path, classifier: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[float] = []

    def step_that_draws(*arguments: Any) -> Any:
        drawn.append(float(torch.rand(())))
        return training_step(*arguments)

    monkeypatch.setattr(loop, "training_step", step_that_draws)
    for run, seed in enumerate((0, 1, 0)):
        run_training(dataset, tmp_path / str(run), classifier, steps=2, seed=seed)
    assert len(set(drawn[:4])) == 4
    assert drawn[4:] == drawn[:2]


def test_a_killed_process_goes_on(dataset: Path, classifier: Path, tmp_path: Path) -> None:
    """kill -9 of the real command, at whatever moment it comes, then the same command."""
    whole = run_training(dataset, tmp_path / "whole", classifier, steps=60)
    broken = tmp_path / "broken"
    code = (
        "import sys; from pathlib import Path; from fader.training import loop; from tests.training.test_loop import *;"
        "loop.CHECKPOINT_SECONDS = 0.1;"
        f"run_training(Path({str(dataset)!r}), Path({str(broken)!r}), Path({str(classifier)!r}), steps=60)"
    )
    command = [sys.executable, "-c", code]
    paths = os.pathsep.join(str(path) for path in (Path(fader.__file__).parents[1], Path(__file__).parents[2]))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": paths}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 60
    while not (broken / "checkpoints").exists() or not checkpoints(broken / "checkpoints"):
        assert process.poll() is None, process.stderr.read().decode() if process.stderr else ""
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.kill()
    process.communicate()
    assert checkpoints(broken / "checkpoints")
    run_training(dataset, broken, classifier, steps=60)
    ours, theirs = weights(broken), weights(whole)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    steps = [(record["kind"], record["step"]) for record in read_records(broken / "metrics.jsonl")]
    assert steps == [(record["kind"], record["step"]) for record in read_records(whole / "metrics.jsonl")]
    assert len((broken / "metrics.jsonl").read_text().splitlines()) == len(steps)


def test_other_settings_are_refused_and_listed(dataset: Path, classifier: Path, tmp_path: Path) -> None:
    run_training(dataset, tmp_path / "run", classifier, steps=2)
    with pytest.raises(UserError, match=r"steps is 2 there, 3 here; learning_rate is 0\.002 there, 0\.1 here"):
        run_training(dataset, tmp_path / "run", classifier, steps=3, learning_rate=0.1)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "precious.txt").write_text("kept")
    with pytest.raises(UserError, match="not a training run"):
        run_training(dataset, tmp_path / "other", classifier)
    assert (tmp_path / "other" / "precious.txt").read_text() == "kept"


def test_a_network_of_another_size_is_refused(dataset: Path, classifier: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"side 32.*side 64"):
        run_training(dataset, tmp_path / "run", classifier, size=64)
    assert not (tmp_path / "run").exists()


def test_a_classifier_of_other_attributes_is_refused(dataset: Path, classifier: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"of Eyeglasses, Beard .* needs one of Hat"):
        train(dataset, tmp_path / "run", config(), ["Hat"], classifier, device="cpu")


def test_a_run_keeps_its_classifier(dataset: Path, classifier: Path, tmp_path: Path) -> None:
    run = run_training(dataset, tmp_path / "run", classifier, steps=2)
    for given in (classifier, run / "classifier"):
        run_training(dataset, run, given, steps=2)
    first = load_classifier(classifier)
    with torch.no_grad():
        next(first.network.parameters()).mul_(2)
    save_classifier(first, tmp_path / "other")
    message = refusal(lambda: run_training(dataset, run, tmp_path / "other", steps=2))
    assert f"{tmp_path / 'other'}: the run in {run} has another classifier" in message
    assert "none" in refusal(lambda: run_training(dataset, run, tmp_path / "none", steps=2))


def test_evaluations_need_no_float64_on_the_device(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As there is none on Apple's GPUs."""
    data = fader.datasets.prepared.open_dataset(dataset)
    schema = data.schema.select(["Beard"])
    network = AutoEncoder(config().network, schema.code_size)
    judge = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 32 * 32, schema.code_size))
    there: list[OnAppleGpu] = []

    def to_pixels(*arguments: Any) -> torch.Tensor:
        there.append(fader.images.to_pixels(*arguments).as_subclass(OnAppleGpu))
        return there[-1]

    def assess() -> dict[str, Any]:
        return selection.assess(network, judge, data, schema, torch.device("cpu"), lambda pictures: None)

    found = assess()
    monkeypatch.setattr(selection, "to_pixels", to_pixels)
    assert assess() == found
    with pytest.raises(TypeError, match="float64"):
        there[0].double()


def test_a_run_that_diverges_names_the_step_and_keeps_the_last_good_checkpoint(
    dataset: Path, classifier: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = training_step
    calls = 0

    def step_with_a_nan(players: Any, pixels: Any, *rest: Any) -> Any:
        nonlocal calls
        calls += 1
        return original(players, pixels * (np.nan if calls == 14 else 1), *rest)

    monkeypatch.setattr(loop, "training_step", step_with_a_nan)
    with pytest.raises(UserError, match=r"diverged at step 14 \(.*reconstruction nan.*checkpoint"):
        run_training(dataset, tmp_path / "run", classifier)
    assert [path.name for path in checkpoints(tmp_path / "run" / "checkpoints")] == ["step-000000010.pt"]
    assert all(tensor.isfinite().all() for tensor in weights(tmp_path / "run").values())


def test_starting_from_a_model(dataset: Path, classifier: Path, tmp_path: Path) -> None:
    first = run_training(dataset, tmp_path / "first", classifier)
    hat = ClassifierConfig(width=8, max_width=16, hidden=16, epochs=1)
    schema = Schema.binary(["Hat", "Beard"])
    data = fader.datasets.prepared.open_dataset(dataset)
    save_classifier(train_classifier(data, schema, hat, find_device("cpu")), tmp_path / "hat")
    second = tmp_path / "second"
    # A learning rate of next to nothing shows where the run started.
    still = config(steps=2, learning_rate=1e-12)
    train(dataset, second, still, ["Hat", "Beard"], tmp_path / "hat", init=first / "model", device="cpu")
    there, here = fader.load(first).network, fader.load(second).network
    for old, new in zip(there.encoder.parameters(), here.encoder.parameters(), strict=True):
        torch.testing.assert_close(old, new)
    with pytest.raises(UserError, match="other settings"):
        train(
            dataset,
            tmp_path / "third",
            config(width=8),
            ["Hat", "Beard"],
            tmp_path / "hat",
            init=first / "model",
            device="cpu",
        )
    shutil.rmtree(first)
    before = weights(second)
    train(dataset, second, still, ["Hat", "Beard"], tmp_path / "hat", init=first / "model", device="cpu")
    assert all(torch.equal(tensor, before[name]) for name, tensor in weights(second).items())


def test_front_and_best_by_hand() -> None:
    def one(epoch: int, mse: float, accuracy: float) -> dict[str, Any]:
        return {"epoch": epoch, "mse": mse, "mean_accuracy": accuracy}

    evaluations = [one(1, 0.05, 0.50), one(2, 0.03, 0.90), one(3, 0.04, 0.95), one(4, 0.035, 0.935), one(5, 0.04, 0.94)]
    assert [found["epoch"] for found in front(evaluations)] == [2, 3, 4]
    # Within two points of 95%: epochs 3, 4 and 5; the lowest error of those is epoch 4's.
    assert best(evaluations)["epoch"] == 4
    # The same figures twice: the later epoch stands for both.
    assert [found["epoch"] for found in front([one(1, 0.1, 0.5), one(2, 0.1, 0.5)])] == [2]


def test_candidates_side_by_side_and_a_persons_choice(dataset: Path, classifier: Path, tmp_path: Path) -> None:
    run = run_training(dataset, tmp_path / "run", classifier)
    candidates = front(read_records(run / "metrics.jsonl", "evaluation"))
    text = show_candidates(run)
    for one in candidates:
        assert f"{one['mse']:.4f}" in text
    assert (run / "candidates.png").exists()
    epoch = candidates[0]["epoch"]
    choose(run, epoch)
    model = fader.load(run)
    assert model.selection["epoch"] == epoch
    assert model.selection["chosen by"] == "a person"
    run_training(dataset, run, classifier)
    assert fader.load(run).selection == model.selection
    with pytest.raises(UserError, match="epoch 99 is not a candidate"):
        choose(run, 99)
    with pytest.raises(UserError, match="no training run"):
        show_candidates(tmp_path)


def test_a_moved_dataset_is_found_again_and_another_is_refused(dataset: Path, classifier: Path, tmp_path: Path) -> None:
    run = run_training(dataset, tmp_path / "run", classifier, steps=2)
    data = json.loads((run / "run.json").read_text())
    data["dataset"]["path"] = str(tmp_path / "gone")
    (run / "run.json").write_text(json.dumps(data))
    with pytest.raises(UserError, match=r"not there any more.*--dataset"):
        show_candidates(run)
    show_candidates(run, dataset=dataset)
    data["dataset"]["fingerprint"] = "another"
    (run / "run.json").write_text(json.dumps(data))
    with pytest.raises(UserError, match="not the dataset"):
        show_candidates(run, dataset=dataset)


@pytest.mark.parametrize(
    "change",
    [{"version": 99}, {"format": "else"}, {"config": {}}, {"attributes": []}, {"dataset": None}, {"dataset": {}}],
)
def test_damaged_runs_are_refused(dataset: Path, classifier: Path, tmp_path: Path, change: dict[str, Any]) -> None:
    run = tmp_path / "run"
    run.mkdir()
    good = {
        "format": "fader-run",
        "version": 1,
        "config": config().to_json(),
        "attributes": [{"name": "Hat", "values": ["absent", "present"]}],
        "dataset": {"path": "faces", "name": "faces", "fingerprint": "0123456789abcdef"},
        "init": None,
    }
    (run / "run.json").write_text(json.dumps(good))
    assert open_run(run).schema.names == ("Hat",)
    (run / "run.json").write_text(json.dumps(good | change))
    with pytest.raises(UserError, match=r"run\.json"):
        open_run(run)


def damaged(data: bytes, damage: str) -> bytes:
    """What a power cut may leave of a file, or a bad disk."""
    middle = len(data) // 2
    return {
        "truncated": data[:1000],
        "empty": b"",
        "zeroed": bytes(len(data)),
        "a hole": data[:middle] + bytes(512) + data[middle + 512 :],
        "a bit": data[:middle] + bytes([data[middle] ^ 4]) + data[middle + 1 :],
    }[damage]


@pytest.mark.parametrize("damage", ["truncated", "empty", "zeroed", "a hole", "a bit"])
def test_a_damaged_checkpoint_is_set_aside_and_the_one_before_gone_on_with(
    dataset: Path, classifier: Path, tmp_path: Path, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run = run_training(dataset, tmp_path / "run", classifier, steps=12)
    finished, records = weights(run), (run / "metrics.jsonl").read_text()
    before, newest = checkpoints(run / "checkpoints")
    newest.write_bytes(damaged(newest.read_bytes(), damage))
    capsys.readouterr()
    run_training(dataset, run, classifier, steps=12)
    said = " ".join(capsys.readouterr().err.split())
    assert f"{newest.name}: the checkpoint is damaged; it is now {newest.name}.damaged" in said
    assert "Going on after step 10." in said
    assert newest.with_name(f"{newest.name}.damaged").exists()
    assert checkpoints(run / "checkpoints") == [before, newest]
    assert all(torch.equal(tensor, finished[name]) for name, tensor in weights(run).items())
    assert [json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines()] == [
        json.loads(line)["step"] for line in records.splitlines()
    ]


def test_a_checkpoint_that_cannot_be_read_for_the_moment_is_not_called_damaged(
    dataset: Path, classifier: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_training(dataset, tmp_path / "run", classifier, steps=12)
    there = sorted((run / "checkpoints").iterdir())
    for error in (OSError(errno.EMFILE, "Too many open files"), MemoryError()):
        with monkeypatch.context() as patch:
            patch.setattr(torch, "load", Mock(side_effect=error))
            said = refusal(lambda: run_training(dataset, run, classifier, steps=12))
        assert "cannot be read (Too many open files)" in said or "memory ran out" in said
        assert sorted((run / "checkpoints").iterdir()) == there


def test_a_checkpoint_that_is_not_finite_is_never_written(tmp_path: Path) -> None:
    for state in ({"a": [{"b": torch.tensor([1, torch.nan])}]}, {"a": (torch.tensor(torch.inf),)}):
        assert "a weight is not finite" in refusal(lambda state=state: save_checkpoint(tmp_path, 3, state))  # type: ignore[misc]
    assert list(tmp_path.iterdir()) == []


def test_without_a_whole_checkpoint_nothing_is_begun_again_unasked(
    dataset: Path, classifier: Path, tmp_path: Path
) -> None:
    run = run_training(dataset, tmp_path / "run", classifier, steps=12)
    for path in checkpoints(run / "checkpoints"):
        path.write_bytes(b"")
    for _ in range(2):
        assert "no other that is whole; delete" in refusal(lambda: run_training(dataset, run, classifier, steps=12))
    assert len(checkpoints(run / "checkpoints")) == 2


def test_a_checkpoint_of_another_run_is_refused(dataset: Path, classifier: Path, tmp_path: Path) -> None:
    """Of the same shapes, but of other attributes; and, as before settings were kept, of other shapes."""
    run = run_training(dataset, tmp_path / "run", classifier, steps=2)
    data = fader.datasets.prepared.open_dataset(dataset)
    other = RunOf(tmp_path, config(steps=2), data.schema.select(["Beard", "Eyeglasses"]), open_run(run).dataset, None)
    [path] = checkpoints(run / "checkpoints")
    state = torch.load(path, weights_only=True)
    torch.save(state | {"settings": other.settings}, path)
    message = refusal(lambda: run_training(dataset, run, classifier, steps=2))
    assert f"{path}: this checkpoint is of a run with other settings (attributes is Beard (absent/present)" in message
    del state["settings"]
    state["autoencoder"]["network"] = {"weight": torch.zeros(3)}
    torch.save(state, path)
    assert "of other networks" in refusal(lambda: run_training(dataset, run, classifier, steps=2))


def test_a_checkpoint_from_before_a_setting_is_gone_on_with(dataset: Path, classifier: Path, tmp_path: Path) -> None:
    """Of the run too the setting is not known; its default is what was computed."""
    run = run_training(dataset, tmp_path / "run", classifier, steps=2)
    [path] = checkpoints(run / "checkpoints")
    state = torch.load(path, weights_only=True)
    del state["settings"]["ema"]
    torch.save(state, path)
    about = json.loads((run / "run.json").read_text())
    del about["config"]["training"]["ema"]
    (run / "run.json").write_text(json.dumps(about))
    run_training(dataset, run, classifier, steps=2)
    assert "ema is 0.0 there, 0.5 here" in refusal(lambda: run_training(dataset, run, classifier, steps=2, ema=0.5))


def test_one_process_trains_in_a_folder(dataset: Path, classifier: Path, tmp_path: Path) -> None:
    run = run_training(dataset, tmp_path / "run", classifier, steps=2)
    with locked(run):  # As the process does that trains there.
        assert "another process is writing to it" in refusal(lambda: run_training(dataset, run, classifier, steps=2))
    run_training(dataset, run, classifier, steps=2)


def test_what_a_killed_run_left_half_written_is_cleared_away(dataset: Path, classifier: Path, tmp_path: Path) -> None:
    run = run_training(dataset, tmp_path / "run", classifier, steps=2)
    left = [run / "checkpoints" / ".step-000000001.pt.99.tmp", run / ".metrics.jsonl.99.tmp", run / ".model.tmp" / "a"]
    for path in left:
        path.parent.mkdir(exist_ok=True)
        path.write_text("half")
    run_training(dataset, run, classifier, steps=2)
    assert not list(run.rglob(".*"))


@pytest.mark.parametrize(
    "error",
    [MemoryError(), torch.OutOfMemoryError("CUDA out of memory."), "the allocator for the CPU"],
    ids=["Python", "GPU", "CPU"],
)
def test_a_run_goes_on_after_memory_ran_out(
    dataset: Path, classifier: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Any
) -> None:
    whole = run_training(dataset, tmp_path / "whole", classifier, steps=12)
    original, calls = training_step, 0

    def step_that_needs_more(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 11:
            if isinstance(error, Exception):
                raise error
            torch.empty(2**60)
        return original(*arguments)

    monkeypatch.setattr(loop, "training_step", step_that_needs_more)
    message = refusal(lambda: run_training(dataset, tmp_path / "run", classifier, steps=12))
    assert "memory ran out" in message
    run = run_training(dataset, tmp_path / "run", classifier, steps=12)
    ours, theirs = weights(run), weights(whole)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_a_defect_is_not_taken_for_memory(
    dataset: Path, classifier: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*arguments: Any) -> Any:
        raise RuntimeError("a defect")

    monkeypatch.setattr(loop, "training_step", broken)
    with pytest.raises(RuntimeError, match="a defect"):
        run_training(dataset, tmp_path / "run", classifier)


def test_a_second_signal_acts_at_once() -> None:
    with interruptions() as interruption:
        signal.raise_signal(signal.SIGINT)
        assert interruption.signal == signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_one_network_needs_a_batch_of_pictures(dataset: Path, classifier: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="80 training pictures; a batch takes 500"):
        run_training(dataset, tmp_path / "run", classifier, batch_size=500)


def test_run_survives_json(dataset: Path, classifier: Path, tmp_path: Path) -> None:
    run = run_training(dataset, tmp_path / "run", classifier, steps=2)
    opened = open_run(run)
    assert opened.config == config(steps=2)
    assert dataclasses.replace(opened, folder=Path("x")).schema == opened.schema


def test_a_dataset_in_a_bucket_makes_the_same_run_and_resumes_to_the_bit(
    dataset: Path, classifier: Path, s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3.put(str(dataset), "bucket/portraits", recursive=True)
    monkeypatch.setenv("FADER_CACHE", str(tmp_path / "cache"))
    run_training(dataset, tmp_path / "local", classifier)
    original, calls = training_step, 0

    def step_with_a_signal(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 13:
            signal.raise_signal(signal.SIGTERM)
        return original(*arguments)

    monkeypatch.setattr(loop, "training_step", step_with_a_signal)
    there = ("s3://bucket/portraits", tmp_path / "remote", config(), ["Eyeglasses", "Beard"], classifier)
    with pytest.raises(Interrupted):
        train(*there, device="cpu")
    train(*there, device="cpu")
    assert calls == 24
    ours, theirs = weights(tmp_path / "remote"), weights(tmp_path / "local")
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert open_run(tmp_path / "remote").dataset["path"] == "s3://bucket/portraits"
    assert "Side by side" in show_candidates(tmp_path / "remote")
