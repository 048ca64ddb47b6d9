"""What names a model: a name is never taken for a path, nor a path for a name."""

from __future__ import annotations

from pathlib import Path

import pytest

import fader
from fader import locations
from fader.cli import main
from fader.locations import called, is_name, parse, path_of, titles
from fader.model import FILES, save_model
from tests.models import tiny_model
from tests.refusals import refusal

HERE = Path.cwd()


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("portraits", "portraits"),
        ("./portraits", Path("portraits")),
        ("portraits/", Path("portraits")),
        ("runs/portraits", Path("runs/portraits")),
        ("Portraits", Path("Portraits")),
        ("hf:someone/faces", "hf:someone/faces"),
        ("hf:someone/faces@v1", "hf:someone/faces@v1"),
        ("./hf:someone/faces", Path("hf:someone/faces")),
        ("s3://bucket/faces", "s3://bucket/faces"),
        ("runs/demo", Path("runs/demo")),
    ],
)
def test_a_word_of_the_command_line(text: str, meant: str | Path) -> None:
    assert parse(text) == meant
    assert type(parse(text)) is (type(HERE) if isinstance(meant, Path) else str)


def test_a_path_is_never_a_name() -> None:
    assert is_name("portraits")
    assert path_of("portraits") is None
    assert path_of("hf:someone/faces") is None
    assert path_of(Path("portraits")) == Path("portraits")
    assert path_of(Path("hf:someone/faces")) == Path("hf:someone/faces")
    assert path_of("runs/demo") == Path("runs/demo")


def test_what_models_are_called() -> None:
    given = ("portraits", "hf:someone/faces", "runs/demo", "runs/demo/model", Path("runs/demo/"), ".")
    assert [called(one) for one in given] == ["portraits", "hf:someone/faces", "demo", "demo", "demo", HERE.name]


def test_what_several_models_are_called() -> None:
    one, other = Path("one/demo/model"), Path("other/demo")
    assert titles([one, "portraits"]) == ["demo", "portraits"]
    assert titles([one, other]) == [str(one), str(other)]
    assert titles([one, other], ["A", "A"]) == ["A", "A"]
    assert "tell them apart" in refusal(lambda: titles([one, one]))
    assert "tell them apart" in refusal(lambda: titles([one, other], ["A", " "]))
    assert "2 models and 1 names" in refusal(lambda: titles([one, other], ["A"]))
    assert "no model" in refusal(lambda: titles([]))


def test_a_folder_of_the_same_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The name is the model that comes with fader wherever one is; it is said that there is a folder as well."""
    elsewhere = fader.load("portraits", device="cpu").fingerprint
    assert capsys.readouterr().err == ""
    monkeypatch.chdir(tmp_path)
    own = tiny_model()
    save_model(own, Path("portraits"))
    assert fader.load("portraits", device="cpu").fingerprint == elsewhere
    said = "portraits is the model that comes with fader; the folder of that name is ./portraits.\n"
    assert capsys.readouterr().err == said
    assert fader.load("./portraits", device="cpu").fingerprint == own.fingerprint
    assert fader.load(Path("portraits"), device="cpu").fingerprint == own.fingerprint
    assert capsys.readouterr().err == ""
    assert main(["info", "portraits"]) == 0
    assert "Eyeglasses" in capsys.readouterr().out
    assert main(["info", "./portraits"]) == 0
    assert "5_o_Clock_Shadow" in capsys.readouterr().out


def test_every_name_has_a_model_in_the_package() -> None:
    for name in locations.BUNDLED:
        assert sorted(path.name for path in locations.fetched(name, FILES).iterdir()) == sorted(FILES)
