"""Several processes train one model together: the same model as one process, one writer, and good order at the end."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

import fader
from fader import cli
from fader.config import ClassifierConfig, Config, DiscriminatorConfig, NetworkConfig, TrainingConfig
from fader.datasets.portraits import renderer, specification
from fader.datasets.prepared import SPLITS, DatasetWriter, open_dataset
from fader.errors import UserError
from fader.interruption import interruptions
from fader.networks.autoencoder import AutoEncoder
from fader.networks.classifier import make_classifier
from fader.training import loop, processes
from fader.training.checkpoints import checkpoints, newest_checkpoint
from fader.training.classifier import Classifier, save_classifier
from fader.training.records import Window, read_records
from fader.training.sampling import Sampler
from fader.training.selection import assess
from fader.training.step import Players, training_step

ROOT = Path(__file__).parents[2]
CPU = torch.device("cpu")
SCHEMA = specification.SCHEMA.select(["Eyeglasses", "Beard"])
STEPS = 20


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """97 portraits at 32 pixels: no number of processes but 1 shares out its validation pictures evenly."""
    folder = tmp_path_factory.mktemp("processes") / "portraits"
    folder.mkdir()
    with DatasetWriter(folder, specification.SCHEMA, 32, 3) as writer:
        for index in range(97):
            split = SPLITS.index("valid" if index % 5 == 0 and index < 55 else "train")
            writer.add(renderer.portrait(index, 32), renderer.labels(index), split, str(index))
        writer.finish(framing={"crop": "centre"}, source={"kind": "portraits", "specification": specification.NAME})
    return folder


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights will do."""
    folder = tmp_path_factory.mktemp("processes") / "classifier"
    config = ClassifierConfig(width=8, max_width=16, hidden=16)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = make_classifier(config, 32, 3, SCHEMA).eval()
    info = {"accuracy": dict.fromkeys(SCHEMA.names, 0.5), "dataset": "none"}
    save_classifier(Classifier(network, SCHEMA, 32, 3, config, info), folder)
    return folder


def environment(**variables: str) -> dict[str, str]:
    paths = os.pathsep.join([str(Path(fader.__file__).parents[1]), str(ROOT)])
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": paths, **variables}


def together(function: str, *arguments: Any, count: int = 2) -> list[tuple[int, str]]:
    """Exit codes and standard error of so many processes that call a function of this module, with a group's variables
    in their environment but no torchrun to watch over them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1]), "WORLD_SIZE": str(count)}
    values = ", ".join(repr(str(argument)) for argument in arguments)
    code = f"import sys; from tests.training import test_processes; sys.exit(test_processes.{function}({values}))"
    running = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            env=environment(**address, RANK=str(rank), LOCAL_RANK=str(rank)),
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(count)
    ]
    return [(process.returncode, error) for process in running for error in [process.communicate(timeout=120)[1]]]


def torchrun(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", *arguments]


def train_arguments(dataset: Path, output: Path, classifier: Path, **fields: Any) -> list[str]:
    """A tiny run without dropout, so that it does not depend on the number of processes."""
    tiny = {"layers": 3, "width": 4, "discriminator_width": 8, "discriminator_hidden": 8, "discriminator_dropout": 0}
    options = {"batch_size": 8, "epoch_images": 80, "steps": 24} | tiny | fields
    flags = [part for name, value in options.items() for part in (f"--{name.replace('_', '-')}", str(value))]
    paths = [str(dataset), "-o", str(output), "--classifier", str(classifier)]
    return ["train", *paths, "--attributes", *SCHEMA.names, *flags, "--device", "cpu"]


# One process and two, step by step, in double precision.


def step_config(**fields: Any) -> Config:
    return Config(
        network=NetworkConfig(size=32, layers=3, width=4),
        discriminator=DiscriminatorConfig(discriminator_width=8, discriminator_hidden=8, discriminator_dropout=0.0),
        training=TrainingConfig(steps=STEPS, batch_size=32, **fields),
    )


def step_players(config: Config) -> Players:
    torch.manual_seed(0)
    players = Players.create(config, SCHEMA, CPU)
    for player in players.moving().values():
        player.network.double()
    return players


def take_steps(players: Players, config: Config, share: Callable[[np.ndarray], np.ndarray], steps: int) -> Window:
    generator = np.random.default_rng(1)
    window = Window()
    for _ in range(steps):
        pixels = share(generator.uniform(-1, 1, (32, 3, 32, 32)))
        labels = share(generator.integers(0, 2, (32, 2)))
        x, y = torch.from_numpy(pixels), torch.from_numpy(labels)
        window.add(training_step(players, x, y, 0.3, SCHEMA, config.training))
    return window


def parameters_and_buffers(players: Players) -> dict[str, Tensor]:
    return {
        f"{name}.{key}": tensor
        for name, player in players.moving().items()
        for key, tensor in player.network.state_dict().items()
    }


# The last one draws labels of other pictures, within a process's share: it differs from that of one process.
STEP_CONFIGS = [
    step_config(),
    step_config(clip=0.05),
    step_config(accumulate=2),
    step_config(patchgan_weight=0.1),
]


def work_of_the_group(folder: str) -> None:
    """What each of two processes does for the tests below; what they see is written to `folder`."""
    with processes.joined("cpu") as device:
        results: dict[str, Any] = {"device": str(device), "quiet": fader.progress.console.quiet}
        for i, config in enumerate(STEP_CONFIGS):
            players = step_players(config)
            micro_batches = config.training.accumulate
            window = take_steps(players, config, lambda batch: processes.share(batch, micro_batches), STEPS)  # noqa: B023
            window.average_over_processes()
            results[f"steps {i}"] = parameters_and_buffers(players) | window.state()
        autoencoder, judge, data = assessed(Path(folder))
        rounds: list[int] = []
        results["assessment"] = assess(autoencoder, judge, data, SCHEMA, device, rounds.append)
        results["rounds"] = rounds
        results["batch"] = processes.share(Sampler(np.arange(96), 32, seed=5).batch(1)[0]).tolist()
        # A number that is not finite in one process is seen by all.
        window = Window()
        window.add({"loss": torch.tensor(float("nan") if processes.rank() else 1.0)})
        window.average_over_processes()
        results["finite"] = window.first_not_finite() is None
        results["largest"] = processes.largest(processes.rank(), 5 - processes.rank())
        try:
            processes.first(lambda: refuse(f"seen by {processes.rank()}"))
        except UserError as error:
            results["refusal"] = str(error)
        try:
            processes.refuse_uneven(33, 1)
        except UserError as error:
            results["uneven"] = str(error)
        torch.save(results, Path(folder) / f"{processes.rank()}.pt")


def refuse(message: str) -> None:
    raise UserError(message)


def assessed(folder: Path) -> tuple[AutoEncoder, nn.Module, Any]:
    torch.manual_seed(3)
    autoencoder = AutoEncoder(NetworkConfig(size=32, layers=3, width=4), SCHEMA.code_size)
    judge = make_classifier(ClassifierConfig(width=8, max_width=16, hidden=16), 32, 3, SCHEMA).eval()
    return autoencoder, judge, open_dataset(folder / "portraits")


@pytest.fixture(scope="module")
def group(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What two processes saw."""
    folder = tmp_path_factory.mktemp("group")
    (folder / "portraits").symlink_to(dataset)
    for code, error in together("work_of_the_group", folder):
        assert code == 0, error
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


@pytest.mark.parametrize("case", range(3), ids=["plain", "clipped", "micro-batches"])
def test_two_processes_equal_one(group: list[dict[str, Any]], case: int) -> None:
    """16 pictures each in two processes are 32 in one, after 20 steps."""
    config = STEP_CONFIGS[case]
    players = step_players(config)
    window = take_steps(players, config, lambda batch: batch, STEPS)
    expected = parameters_and_buffers(players) | window.state()
    for seen in group:
        ours = seen[f"steps {case}"]
        assert ours.keys() == expected.keys()
        for name, tensor in expected.items():
            torch.testing.assert_close(ours[name], tensor, rtol=1e-5, atol=1e-7, msg=name)


def test_all_processes_have_the_same_weights(group: list[dict[str, Any]]) -> None:
    for case in range(len(STEP_CONFIGS)):
        first, second = (seen[f"steps {case}"] for seen in group)
        assert all(torch.equal(first[name], second[name]) for name in first)


def test_pictures_are_shared_out_without_overlap(group: list[dict[str, Any]]) -> None:
    assert group[0]["batch"] + group[1]["batch"] == Sampler(np.arange(96), 32, seed=5).batch(1)[0].tolist()


def test_evaluation_is_shared_out(group: list[dict[str, Any]], dataset: Path) -> None:
    autoencoder, judge, data = assessed(dataset.parent)
    expected = assess(autoencoder, judge, data, SCHEMA, CPU, lambda pictures: None)
    for seen in group:
        assert seen["assessment"]["accuracy"] == expected["accuracy"]
        assert seen["assessment"]["mse"] == pytest.approx(expected["mse"], rel=1e-6)
        assert seen["assessment"]["errors"] == pytest.approx(expected["errors"], rel=1e-5)
        assert seen["rounds"] == [11]


def test_decisions_and_errors_are_everybodys(group: list[dict[str, Any]]) -> None:
    for seen in group:
        assert seen["largest"] == [1, 5]
        assert seen["finite"] is False
        assert seen["refusal"] == "seen by 0"
        assert "33 pictures cannot be shared out evenly over 2 processes" in seen["uneven"]
        assert seen["device"] == "cpu"
    assert [seen["quiet"] for seen in group] == [False, True]


# Whole runs.


def test_torchrun_trains_stops_and_goes_on_in_one_process(dataset: Path, classifier: Path, tmp_path: Path) -> None:
    """SIGTERM in the middle of a run of two processes; the same command, in one, ends it."""
    run = tmp_path / "run"
    arguments = train_arguments(dataset, run, classifier, steps=400, epoch_images=3200)
    process = subprocess.Popen(
        torchrun("-m", "fader", *arguments), env=environment(), stderr=subprocess.PIPE, text=True, cwd=tmp_path
    )
    deadline = time.monotonic() + 90
    while not read_records(run / "metrics.jsonl", "train"):
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.terminate()
    _, error = process.communicate(timeout=60)
    assert process.returncode != 0
    [stopped] = re.findall(r"Stopped after step (\d+) of 400; the same command goes on from there", error)
    state = newest_checkpoint(run / "checkpoints")
    assert state is not None
    assert state["step"] == int(stopped) < 400
    assert error.count("lambda_E rises") == 1
    assert cli.main(arguments) == 0
    # 8 pictures a step whatever the number of processes: an epoch of 3,200 ends at step 400.
    assert [one["step"] for one in read_records(run / "metrics.jsonl", "evaluation")] == [400]
    assert [one["step"] for one in read_records(run / "metrics.jsonl", "train")] == list(range(50, 401, 50))
    assert fader.load(run).schema == SCHEMA


def dying(marker: str, *arguments: str) -> int:
    """`fader` with these arguments; in process 1 the first one to come to step 14 is killed."""
    calls = 0

    def step(*values: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 14 and os.environ["RANK"] == "1" and not Path(marker).exists():
            Path(marker).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return training_step(*values)

    loop.__dict__["training_step"] = step
    return cli.main(arguments)


def test_a_killed_process_ends_the_others(dataset: Path, classifier: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    arguments = train_arguments(dataset, run, classifier)
    (code, error), (killed, _) = together("dying", tmp_path / "marker", *arguments)
    assert killed == -signal.SIGKILL
    assert code == 75
    last = error.splitlines()[-1]
    assert "process 0 of 2 lost another one" in last
    assert "The same command goes on from the newest checkpoint" in last
    assert "Traceback" not in error
    assert [path.name for path in checkpoints(run / "checkpoints")] == ["step-000000010.pt"]


def test_torchrun_restarts_a_killed_run(dataset: Path, classifier: Path, tmp_path: Path) -> None:
    """It goes on by itself, and ends as a run of one process does."""
    run, alone = tmp_path / "run", tmp_path / "alone"
    script = tmp_path / "script.py"
    script.write_text(
        "import sys\nfrom tests.training import test_processes\nsys.exit(test_processes.dying(*sys.argv[1:]))"
    )
    arguments = train_arguments(dataset, run, classifier)
    command = torchrun("--max-restarts=1", str(script), str(tmp_path / "marker"), *arguments)
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=180, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "marker").exists()
    assert "Going on after step 10." in done.stderr
    assert cli.main(train_arguments(dataset, alone, classifier)) == 0
    ours, expected = (read_records(folder / "metrics.jsonl") for folder in (run, alone))
    assert [(one["kind"], one["step"]) for one in ours] == [(one["kind"], one["step"]) for one in expected]
    for one, other in zip(ours, expected, strict=True):
        for name in {"reconstruction", "discriminator", "mse"} & other.keys():
            assert one[name] == pytest.approx(other[name], rel=1e-2)


@pytest.mark.parametrize("wrong", ["dataset", "batch size"])
def test_one_process_says_what_all_come_upon(dataset: Path, classifier: Path, tmp_path: Path, wrong: str) -> None:
    """Before they join, and after."""
    data, fields = (tmp_path / "missing", {}) if wrong == "dataset" else (dataset, {"batch_size": 9})
    first, second = together("refused", *train_arguments(data, tmp_path / "run", classifier, **fields))
    assert first[0] == second[0] == 2
    assert first[1].count("fader: ") == 1
    assert second[1] == ""


def refused(*arguments: str) -> int:
    return cli.main(arguments)


def test_one_process_needs_no_group(
    dataset: Path, classifier: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dist, "init_process_group", lambda *a, **k: pytest.fail("a group of one"))
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert cli.main(train_arguments(dataset, tmp_path / "run", classifier, steps=2)) == 0
    assert not dist.is_initialized()


def test_what_torchrun_passes_on_counts_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with interruptions() as interruption:
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        assert interruption.signal == signal.SIGTERM


def test_processes_that_do_not_meet_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"WORLD_SIZE": "2", "RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "none"}.items():
        monkeypatch.setenv(name, value)
    told = r"2 processes did not find each other at 127\.0\.0\.1:none.*torchrun"
    with pytest.raises(UserError, match=told), processes.joined("cpu"):
        pass
    with pytest.raises(UserError, match="--device cannot be 'mps'"), processes.joined("mps"):
        pass


def test_more_processes_than_gpus_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr("torch.zeros", lambda *shape, device: pytest.fail(f"{device} was used before"))
    with pytest.raises(UserError, match=r"4 processes .* has 2 GPU"), processes.joined("auto"):
        pass


def test_a_process_touches_its_own_gpu_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    touched: list[torch.device] = []
    monkeypatch.setattr("torch.zeros", lambda *shape, device: touched.append(device))
    monkeypatch.setattr(torch.cuda, "set_device", touched.append)
    assert processes._own_device("auto") == torch.device("cuda", 1)
    assert set(touched) == {torch.device("cuda", 1)}


def test_a_group_that_makes_no_sense_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "two")
    with pytest.raises(UserError, match="WORLD_SIZE two; start the processes with torchrun"), processes.joined("cpu"):
        pass


def test_torch_distributed_has_one_home() -> None:
    source = ROOT / "src" / "fader"
    homes = {path.name for path in source.rglob("*.py") if re.search(r"import.*distributed", path.read_text())}
    assert homes == {"processes.py"}
