"""The command line: quick help, presets and their overrides, exit codes, and every option reaching the API."""

from __future__ import annotations

import errno
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from fader import cli
from fader.config import (
    ICGAN_PRESETS,
    PRESETS,
    AnyConfig,
    ClassifierConfig,
    Config,
    IcganConfig,
    configure,
    configure_icgan,
)
from fader.editing.figure import Selection
from fader.editing.photos import Alignment
from fader.errors import Interrupted, UserError, ran_out_of_memory

VERBS = (
    "demo",
    "prepare",
    "prepare folder",
    "prepare celeba",
    "prepare flowers",
    "prepare portraits",
    "classifier",
    "train",
    "train --system icgan",
    "select",
    "evaluate",
    "swap",
    "slide",
    "import",
    "import released",
    "info",
)


@pytest.fixture
def captured(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[tuple[tuple[Any, ...], dict[str, Any]]]]:
    """Replaces a function of the API by one that only notes what it is called with."""

    def capture(target: str, returned: Any = None) -> list[tuple[tuple[Any, ...], dict[str, Any]]]:
        calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

        def note(*args: Any, **kwargs: Any) -> Any:
            calls.append((args, kwargs))
            return returned

        monkeypatch.setattr(target, note)
        return calls

    return capture


def help_of(verb: str, capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as exit_:
        cli.main([*verb.split(), "--help"])
    assert exit_.value.code == 0
    return " ".join(re.sub("[│|]", " ", capsys.readouterr().out).split())


def test_help_imports_no_torch() -> None:
    program = """
import contextlib, io, sys
from fader.cli import main
for arguments in {verbs!r}:
    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()) as out:
        main([*arguments.split(), "--help"])
    print(arguments, "usage: fader" in out.getvalue(), "torch" in sys.modules)
"""
    verbs = ["", *VERBS]
    done = subprocess.run(
        [sys.executable, "-c", program.format(verbs=verbs)], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == [f"{verb} True False" for verb in verbs]


def test_without_arguments_there_is_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        cli.main([])
    assert exit_.value.code == 0
    out = capsys.readouterr().out
    assert all(verb.split()[0] in out for verb in VERBS)


def test_every_option_has_help(capsys: pytest.CaptureFixture[str]) -> None:
    for verb in VERBS:
        with pytest.raises(SystemExit):
            cli.main([*verb.split(), "--help"])
        for line, following in pairwise(capsys.readouterr().out.splitlines()):
            if re.match("[│|] --?[a-z]", line):  # Help texts are further in.
                option = line.strip("│| ")
                said = (option.split("  ", 1)[1] if "  " in option else following).strip("│| ")
                assert re.match('[A-Za-z0-9"]', said), f"{verb}: {line} is not explained"


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        *((f"--preset {name}", preset) for name, preset in PRESETS.items()),
        *((f"--system icgan --preset {name}", preset) for name, preset in ICGAN_PRESETS.items()),
    ],
)
def test_training_help_shows_every_field_with_the_default_of_the_preset(
    options: str, shown: AnyConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    text = help_of(f"train {options}", capsys)
    for part in fields(shown):
        values = getattr(shown, part.name)
        for field in fields(values):
            option = "--" + field.name.replace("_", "-")
            after = text.split(f" {option}", 1)[1]
            default = "the dataset's" if field.name in ("size", "channels") else getattr(values, field.name)
            said = after.split("(default: ", 1)[1]
            assert said.startswith((f"{default})", f"{default} at ")), option


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("", configure("small")),
        ("--preset paper", configure("paper", size=64)),
        ("--layers 6 --steps 7 --preset=paper", configure("paper", size=64, layers=6, steps=7)),
        (
            "--preset released --clip None --no-flip --ramp 5 --norm instance --layers 4 --balance --ema 0.9",
            configure(
                "released", size=64, clip=None, flip=False, ramp=5, norm="instance", layers=4, balance=True, ema=0.9
            ),
        ),
        ("--steps 5 --steps 6", configure("small", steps=6)),
    ],
)
def test_options_override_the_preset_and_pictures_decide_the_size(
    options: str, expected: Config, portraits: Path, captured: Callable[..., Any]
) -> None:
    calls = captured("fader.training.loop.train")
    assert cli.main(["train", str(portraits), "-o", "run", *options.split()]) == 0
    ((dataset, output, config, attributes, classifier, init, device), kwargs) = calls[0]
    assert config == expected
    assert (dataset, output, classifier, init, device, kwargs) == (portraits, Path("run"), None, None, "auto", {})
    assert not attributes


@pytest.mark.parametrize("init", ["portraits", "hf:a/b"])
def test_training_starts_from_a_model_by_its_name(portraits: Path, captured: Callable[..., Any], init: str) -> None:
    calls = captured("fader.training.loop.train")
    assert cli.main(["train", str(portraits), "--output", "run", "--init", init]) == 0
    assert calls[0][0][5] == init


def test_other_training_options(portraits: Path, captured: Callable[..., Any]) -> None:
    calls = captured("fader.training.loop.train")
    options = "--attributes Hat Smiling --classifier c --init i --device cpu --output run"
    assert cli.main(["train", str(portraits), *options.split()]) == 0
    (args, _) = calls[0]
    assert args[1] == Path("run")
    assert args[3:] == (("Hat", "Smiling"), Path("c"), Path("i"), "cpu")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("--system icgan", configure_icgan("small")),
        ("--system=icgan --preset paper", IcganConfig()),
        ("--epochs 3 --no-flip --system icgan --width 16", configure_icgan("small", epochs=3, flip=False, width=16)),
    ],
)
def test_options_of_an_icgan(
    options: str, expected: IcganConfig, portraits: Path, captured: Callable[..., Any]
) -> None:
    calls = captured("fader.training.icgan.train_icgan")
    more = "-o run --attributes Hat --classifier c --device cpu"
    assert cli.main(["train", str(portraits), *options.split(), *more.split()]) == 0
    assert calls == [((portraits, Path("run"), expected, ("Hat",), Path("c"), "cpu"), {})]


def test_size_that_is_not_the_datasets_is_refused(portraits: Path, tmp_path: Path) -> None:
    assert cli.main(["train", str(portraits), "-o", str(tmp_path / "run"), "--size", "128", "--steps", "1"]) == 2
    assert not (tmp_path / "run").exists()


def test_values_that_do_not_go_together_are_refused(
    portraits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["train", str(portraits), "-o", str(tmp_path / "run"), "--layers", "7", "--steps", "1"]) == 2
    assert capsys.readouterr().err == "fader: layers is 7; at 64 pixels it has to be from 1 to 6.\n"
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("command", "target", "expected"),
    [
        (
            "prepare folder p t.csv -o d --attributes A B --file-column f --size 128 --channels 1 --crop 1 2 3 4"
            " --random-split 0.2 0.3 --seed 5 --workers 2 --strict --overwrite",
            "fader.datasets.folder.prepare_folder",
            (
                (Path("p"), Path("t.csv"), Path("d")),
                {
                    "attributes": ("A", "B"),
                    "file_column": "f",
                    "size": 128,
                    "channels": 1,
                    "crop": (1, 2, 3, 4),
                    "align": False,
                    "random_split": (0.2, 0.3),
                    "seed": 5,
                    "workers": 2,
                    "strict": True,
                    "overwrite": True,
                },
            ),
        ),
        (
            "prepare folder p -o d --align",
            "fader.datasets.folder.prepare_folder",
            (
                (Path("p"), None, Path("d")),
                {
                    "attributes": None,
                    "file_column": None,
                    "size": 64,
                    "channels": 3,
                    "crop": None,
                    "align": True,
                    "random_split": None,
                    "seed": 0,
                    "workers": None,
                    "strict": False,
                    "overwrite": False,
                },
            ),
        ),
        (
            "prepare celeba c -o d --attributes A --size 64 --channels 1 --crop 30 40 168 178 --workers 3 --strict"
            " --overwrite",
            "fader.datasets.celeba.prepare_celeba",
            (
                (Path("c"), Path("d")),
                {
                    "attributes": ("A",),
                    "size": 64,
                    "channels": 1,
                    "crop": (30, 40, 168, 178),
                    "workers": 3,
                    "strict": True,
                    "overwrite": True,
                },
            ),
        ),
        (
            "prepare flowers f -o d --attributes pink --at-least 6 --size 32 --channels 1 --random-split 0.2 0.3"
            " --published-split --seed 4 --workers 3 --strict --overwrite",
            "fader.datasets.flowers.prepare_flowers",
            (
                (Path("f"), Path("d")),
                {
                    "attributes": ("pink",),
                    "at_least": 6,
                    "size": 32,
                    "channels": 1,
                    "random_split": (0.2, 0.3),
                    "published_split": True,
                    "seed": 4,
                    "workers": 3,
                    "strict": True,
                    "overwrite": True,
                },
            ),
        ),
        (
            "prepare portraits -o d --count 5 --size 32 --workers 1 --overwrite",
            "fader.datasets.portraits.source.prepare_portraits",
            ((Path("d"),), {"count": 5, "first": 0, "size": 32, "workers": 1, "overwrite": True}),
        ),
        (
            "classifier d -o c --attributes A B --device cpu --overwrite --architecture residual --width 3"
            " --max-width 4 --hidden 5 --epochs 0.5 --batch-size 6 --learning-rate 0.1 --seed 7",
            "fader.training.classifier.make_classifier_folder",
            (
                (
                    Path("d"),
                    Path("c"),
                    ("A", "B"),
                    ClassifierConfig("residual", 3, 4, 5, 0.5, 6, 0.1, 7),
                    "cpu",
                    True,
                ),
                {},
            ),
        ),
        (
            "select r -o p.png --dataset d --count 3 --overwrite",
            "fader.training.choice.show_candidates",
            ((Path("r"), Path("p.png"), Path("d"), 3, True), {}),
        ),
        (
            "select r --choose 4 --dataset d",
            "fader.training.choice.choose",
            ((Path("r"), 4, Path("d")), {}),
        ),
        (
            "evaluate m --dataset d --split train --judge j -o e --device cpu --overwrite",
            "fader.evaluation.evaluate.evaluate",
            ((Path("m"), Path("d"), "train", Path("j"), Path("e"), "cpu", True), {}),
        ),
        (
            "swap m a.png b.png -o o.png --attributes A B --together --separate s --paste --face 2 --device cpu"
            " --overwrite",
            "fader.editing.figure.swap",
            (
                (
                    Path("m"),
                    (Path("a.png"), Path("b.png")),
                    Path("o.png"),
                    ("A", "B"),
                    True,
                    Path("s"),
                    Alignment(2, True),
                    "cpu",
                    True,
                ),
                {},
            ),
        ),
        (
            "swap m photos -o edited --set A=1 B=-0.5 x=y=z --align --device cpu --workers 3 --strict --overwrite",
            "fader.editing.folder.edit_folder",
            (
                (
                    Path("m"),
                    Path("photos"),
                    Path("edited"),
                    {"A": "1", "B": "-0.5", "x=y": "z"},
                    (),
                    False,
                    Alignment(1, False),
                    3,
                    True,
                    "cpu",
                    True,
                ),
                {},
            ),
        ),
        (
            "swap m photos -o edited.2 --attributes A B --together",
            "fader.editing.folder.edit_folder",
            ((Path("m"), Path("photos"), Path("edited.2"), {}, ("A", "B"), True, None, None, False, "auto", False), {}),
        ),
        (
            "slide m --dataset d --split valid --count 3 --attribute A --from -0.5 --to 1.5 --steps 4 --gif -o o.png",
            "fader.editing.figure.slide",
            (
                (
                    Path("m"),
                    Selection(Path("d"), "valid", 3),
                    Path("o.png"),
                    "A",
                    -0.5,
                    1.5,
                    4,
                    True,
                    None,
                    None,
                    "auto",
                    False,
                ),
                {},
            ),
        ),
        (
            "compare m n -o o --dataset d --split valid --names a b --judge j --device cpu --overwrite"
            " --inception w.pth",
            "fader.evaluation.compare.compare",
            (
                (
                    (Path("m"), Path("n")),
                    Path("o"),
                    Path("d"),
                    "valid",
                    ("a", "b"),
                    Path("j"),
                    "cpu",
                    True,
                    Path("w.pth"),
                ),
                {},
            ),
        ),
        (
            "study create m n --dataset s3://b/d -o s --attributes A B --names M N --split valid --a-row 8 --raters 3"
            " --zoom 2 --consent c.txt --seed 7 --device cpu --overwrite",
            "fader.study.create.create",
            (
                ((Path("m"), Path("n")), "s3://b/d", Path("s")),
                {
                    "attributes": ("A", "B"),
                    "names": ("M", "N"),
                    "split": "valid",
                    "a_row": 8,
                    "raters": 3,
                    "zoom": 2.0,
                    "consent": Path("c.txt"),
                    "seed": 7,
                    "device": "cpu",
                    "overwrite": True,
                },
            ),
        ),
        (
            "study serve s --address 0.0.0.0 --port 80 --public-url https://a.b",
            "fader.study.serve.serve",
            ((Path("s"), "0.0.0.0", 80, "https://a.b"), {}),
        ),
        (
            "study export s -o t --mturk https://a.b --a-hit 5 --overwrite",
            "fader.study.turk.export",
            ((Path("s"), Path("t"), "https://a.b", 5, True), {}),
        ),
        (
            "import released m.pth -o d --classifier c.pth --overwrite",
            "fader.interop.released.import_released",
            ((Path("m.pth"), Path("d"), Path("c.pth"), True), {}),
        ),
        ("study import s r.csv", "fader.study.turk.import_results", ((Path("s"), Path("r.csv")), {})),
        ("study report s -o r --overwrite", "fader.study.report.report", ((Path("s"), Path("r"), True), {})),
        (
            "study select r -o s --dataset d --count 2 --raters 3 --consent c.txt --seed 4 --overwrite",
            "fader.study.selection.select",
            ((Path("r"), Path("s"), Path("d"), 2, 3, Path("c.txt"), 4, True), {}),
        ),
        (
            "evaluate portraits -o r",
            "fader.evaluation.evaluate.evaluate",
            (("portraits", None, "test", None, Path("r"), "auto", False), {}),
        ),
        (
            "evaluate ./portraits",
            "fader.evaluation.evaluate.evaluate",
            ((Path("portraits"), None, "test", None, None, "auto", False), {}),
        ),
        (
            "compare portraits hf:a/b@c runs/d --output r",
            "fader.evaluation.compare.compare",
            (
                (("portraits", "hf:a/b@c", Path("runs/d")), Path("r"), None, "test", (), None, "auto", False, None),
                {},
            ),
        ),
        (
            "swap portraits p -o d",
            "fader.editing.folder.edit_folder",
            (("portraits", Path("p"), Path("d"), {}, (), False, None, None, False, "auto", False), {}),
        ),
        ("info hf:a/b", "fader.info.describe", (("hf:a/b", False), {})),
        ("info d --verify", "fader.info.describe", ((Path("d"), True), {})),
        ("demo -o r --count 9 --steps 8 --device cpu", "fader.demo.demo", ((Path("r"), 9, 8, "cpu"), {})),
    ],
)
def test_every_option_reaches_the_api(
    command: str, target: str, expected: tuple[tuple[Any, ...], dict[str, Any]], captured: Callable[..., Any]
) -> None:
    calls = captured(target, returned="")
    if command.startswith("evaluate"):
        captured("fader.evaluation.report.summary", returned="")
    if command.startswith("compare"):
        captured("fader.evaluation.report.comparison_summary", returned="")
    assert cli.main(command.split()) == 0
    assert calls == [expected]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ("a.png -o o.png --set A=1", "are for a whole folder"),
        ("a.png -o o.png --workers 2", "are for a whole folder"),
        ("a.png -o o.png --strict", "are for a whole folder"),
        ("photos -o out --separate s", "out has no picture's ending"),
        ("--dataset d -o out", "out has no picture's ending"),
        ("photos more -o out", "out has no picture's ending"),
        ("-o o.png", "one of the two"),
        ("a.png --dataset d -o o.png", "one of the two"),
        ("photos -o out --set A", "'A' is none"),
        ("photos -o out --set A=1 A=2", "'A=2' is none"),
    ],
)
def test_options_of_figures_and_of_folders_are_not_mixed(
    options: str, says: str, captured: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    calls = captured("fader.editing.figure.swap"), captured("fader.editing.folder.edit_folder")
    assert cli.main(["swap", "m", *options.split()]) == 2
    assert calls == ([], [])
    assert says in capsys.readouterr().err


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    import fader

    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"fader {fader.__version__}\n"


class OutOfMemoryError(RuntimeError):
    """Called as torch's is."""


NO_MEMORY = "memory ran out; make room, or take fewer or smaller pictures at once or a smaller model."


def raising(error: BaseException) -> Callable[..., None]:
    def describe(*args: Any) -> None:
        raise error

    return describe


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (UserError("[red]x[/red].csv: it is empty."), 2, "fader: [red]x[/red].csv: it is empty.\n"),
        (Interrupted("Stopped; go on.", signal.SIGTERM), 143, "fader: Stopped; go on.\n"),
        (Interrupted("Stopped; go on.", signal.SIGINT), 130, "fader: Stopped; go on.\n"),
        (KeyboardInterrupt(), 130, "fader: stopped.\n"),
        (
            PermissionError(errno.EACCES, "Permission denied", "a\nb"),
            2,
            "fader: a\\nb: the system refuses it (Permission denied); name another path or change what is there.\n",
        ),
        *((error, 2, f"fader: {NO_MEMORY}\n") for error in (MemoryError(), OutOfMemoryError("CUDA out of memory."))),
        (RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: no"), 2, f"fader: {NO_MEMORY}\n"),
    ],
)
def test_what_stops_a_verb_is_one_sentence_and_an_exit_code(
    error: BaseException,
    code: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("fader.info.describe", raising(error))
    assert cli.main(["info", "x"]) == code
    assert capsys.readouterr() == ("", said)


@pytest.mark.parametrize("error", [ZeroDivisionError(), RuntimeError("a defect"), FileNotFoundError(2, "No", "x")])
def test_defects_leave_their_traceback(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    monkeypatch.setattr("fader.info.describe", raising(error))
    with pytest.raises(type(error)):
        cli.main(["info", "x"])


@pytest.mark.parametrize(
    "command", ["info {}", "prepare folder {} -o out", "swap portraits {} -o out", "study report {}", "evaluate {}"]
)
def test_a_name_that_no_system_takes_is_a_sentence(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(command.format("x" * 300).split()) == 2
    assert " too long" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="another user is to be played")
@pytest.mark.parametrize("command", ["info {}/x", "prepare folder {}/x -o out", "study report {}/x"])
def test_a_folder_that_may_not_be_entered_is_a_sentence(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "locked").mkdir(mode=0o700)
    os.seteuid(65534)
    try:
        assert cli.main(command.format(tmp_path / "locked").split()) == 2
    finally:
        os.seteuid(0)
    assert "(Permission denied)" in capsys.readouterr().err


def test_torch_says_so_where_memory_is_not_enough() -> None:
    import torch

    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60)
    assert ran_out_of_memory(caught.value)
    assert ran_out_of_memory(torch.OutOfMemoryError("CUDA out of memory."))
    assert not ran_out_of_memory(RuntimeError("a defect"))


@pytest.mark.parametrize(
    "command", ["train", "lift", "info x --verfy", "train d -o r --steps many", "slide m -o x.png"]
)
def test_wrong_usage_exits_with_2(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        cli.main(command.split())
    assert exit_.value.code == 2
    assert "Traceback" not in capsys.readouterr().err


def test_a_reader_that_leaves_is_no_error(portraits: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "fader", "info", str(portraits)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    with process.stderr as errors:
        assert errors.read() == b""
    assert process.wait() == 0
