"""Commands of fader as processes that the kernel kills at a drawn moment.

A process is forked from one that has imported fader, so that it starts at once; what it runs is `fader.cli.main`. It is
killed (SIGKILL) by a timer of the kernel, which it sets itself when it enters, for so many times, a function: in the
middle of whatever it is doing then, be it Python, torch or a system call. Linux only.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import fader

ROOT = Path(__file__).parents[2]
IMPORTED = (
    *("fader.cli", "fader.training.loop", "fader.training.icgan", "fader.editing.folder", "fader.study.serve"),
    *("torch._dynamo", "torch.utils.tensorboard", "dicebear"),  # What is otherwise imported on the way, for seconds.
)
CLOCK_MONOTONIC = 1


@dataclass(frozen=True)
class Kill:
    """When to kill: so many seconds after a function, "module:name", was entered for the `call`th time."""

    function: str
    call: int
    seconds: float


@dataclass
class Command:
    """A command that is to run in a process of its own."""

    arguments: Sequence[str]
    kill: Kill | None = None
    timed: Sequence[str] = ()
    """Functions whose calls are to be counted and timed."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """What to set in modules of fader first, "module:name": a tiny run has to be quicker with everything."""


@dataclass
class Ended:
    """How a command ended: -9 if it was killed."""

    code: int
    said: str
    times: dict[str, list[float]]
    """Of the functions that were timed: how many seconds each call took."""


class Commands:
    """Starts commands; needs an interpreter, and two seconds, once."""

    def __init__(self, folder: Path) -> None:
        """`folder`: for what they say."""
        self._folder = folder
        paths = os.pathsep.join(str(path) for path in (Path(fader.__file__).parents[1], ROOT))
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": paths, "COLUMNS": "200"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.commands"],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def close(self) -> None:
        self._process.communicate()

    def start(self, command: Command) -> int:
        """Start it, and return its process id."""
        return int(self._ask(["start", asdict(command), str(self._folder)]))

    def wait(self, process: int) -> Ended:
        """Wait until it ends."""
        code = int(self._ask(["wait", process]))
        said = (self._folder / f"{process}.txt").read_text(errors="replace")
        times = self._folder / f"{process}.json"
        return Ended(code, said, json.loads(times.read_text()) if times.exists() else {})

    def run(self, command: Command) -> Ended:
        return self.wait(self.start(command))

    def _ask(self, question: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


@contextmanager
def commands(folder: Path) -> Iterator[Commands]:
    folder.mkdir(parents=True, exist_ok=True)
    started = Commands(folder)
    try:
        yield started
    finally:
        started.close()


def _serve() -> None:
    for module in IMPORTED:
        with contextlib.suppress(ImportError):
            importlib.import_module(module)
    for line in sys.stdin:
        what, *about = json.loads(line)
        answer = _start(*about) if what == "start" else os.waitstatus_to_exitcode(os.waitpid(about[0], 0)[1])
        print(json.dumps(answer), flush=True)


def _start(about: Mapping[str, Any], folder: str) -> int:
    process = os.fork()
    if process:
        return process
    code = 70
    try:
        code = _run(about, Path(folder))
    except SystemExit as error:
        code = int(error.code or 0)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _run(about: Mapping[str, Any], folder: Path) -> int:
    said = os.open(folder / f"{os.getpid()}.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for descriptor, number in ((nothing, 0), (said, 1), (said, 2)):
        os.dup2(descriptor, number)
    for name, value in about["settings"].items():
        module, attribute = name.split(":")
        setattr(importlib.import_module(module), attribute, value)
    times: dict[str, list[float]] = {name: [] for name in about["timed"]}
    for name in times:
        _wrap(name, partial(_timed, times=times[name]))
    if about["kill"]:
        kill = Kill(**about["kill"])
        _wrap(kill.function, partial(_killed, kill=kill))
    from fader.cli import main

    code = main(about["arguments"])
    if times:
        (folder / f"{os.getpid()}.json").write_text(json.dumps(times))
    return code


def _wrap(name: str, wrapper: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
    module, path = name.split(":")
    owner: Any = importlib.import_module(module)
    *classes, attribute = path.split(".")
    for part in classes:
        owner = getattr(owner, part)
    setattr(owner, attribute, wrapper(getattr(owner, attribute)))


def _timed(call: Callable[..., Any], times: list[float]) -> Callable[..., Any]:
    def timed(*arguments: Any, **named: Any) -> Any:
        started = time.monotonic()
        try:
            return call(*arguments, **named)
        finally:
            times.append(time.monotonic() - started)

    return timed


def _killed(call: Callable[..., Any], kill: Kill) -> Callable[..., Any]:
    calls = 0

    def killed(*arguments: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == kill.call:
            _kill_in(kill.seconds)
        return call(*arguments, **named)

    return killed


class _SignalEvent(ctypes.Structure):
    """struct sigevent of Linux, 64 bytes."""

    _fields_ = [
        ("value", ctypes.c_void_p),
        ("signal", ctypes.c_int),
        ("notify", ctypes.c_int),
        ("rest", ctypes.c_char * 48),
    ]


class _TimerSpecification(ctypes.Structure):
    """struct itimerspec."""

    _fields_ = [(name, ctypes.c_long) for name in ("every_s", "every_ns", "first_s", "first_ns")]


def _kill_in(seconds: float) -> None:
    """Have the kernel kill this process in so many seconds."""
    library = ctypes.CDLL(None, use_errno=True)
    timer, event = ctypes.c_void_p(), _SignalEvent(signal=signal.SIGKILL)
    specification = _TimerSpecification(0, 0, int(seconds), max(1, int(seconds % 1 * 1e9)))
    if library.timer_create(CLOCK_MONOTONIC, ctypes.byref(event), ctypes.byref(timer)) or library.timer_settime(
        timer, 0, ctypes.byref(specification), None
    ):
        raise OSError(ctypes.get_errno(), "no timer")


if __name__ == "__main__":
    _serve()
