"""No pickle is executed, ever: the known tricks in everything that is read, with a canary that must not appear."""

from __future__ import annotations

import contextlib
import io
import json
import pickle
import shutil
import struct
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import fader
from fader.datasets.portraits.source import prepare_portraits
from fader.datasets.prepared import open_dataset
from fader.errors import UserError
from fader.interop.released import import_released
from fader.model import save_model
from fader.study.folder import open_study
from fader.training.checkpoints import newest_checkpoint
from fader.training.classifier import load_classifier
from tests.models import tiny_model
from tests.refusals import refusal

SHELL = "touch canary"


class Reduced:
    """What __reduce__ names is called."""

    def __reduce__(self) -> Any:
        return __import__("os").system, (SHELL,)


class BuiltByState:
    """Its state is set by a function that pickle calls as __setstate__: protocol 2's sixth part of a reduction."""

    def __reduce__(self) -> Any:
        return dict, (), {"a": 1}, None, None, _run_shell


class ByExtension:
    """Evaluates a text."""

    def __reduce__(self) -> Any:
        return eval, (f"__import__('os').system({SHELL!r})",)


def _run_shell(*arguments: Any) -> None:
    __import__("os").system(SHELL)


def _text(value: str) -> bytes:
    return b"\x8c" + bytes([len(value)]) + value.encode()


PICKLES = {
    **{f"reduce {protocol}": pickle.dumps(Reduced(), protocol) for protocol in range(6)},
    "eval": pickle.dumps(ByExtension(), 2),
    "state setter": pickle.dumps(BuiltByState(), 4),
    "GLOBAL": b"cposix\nsystem\n(S'%b'\ntR." % SHELL.encode(),
    "STACK_GLOBAL": b"\x80\x04" + _text("posix") + _text("system") + b"\x93" + _text(SHELL) + b"\x85R.",
    "STACK_GLOBAL of the memo": b"\x80\x04" + _text("posix") + b"\x94" + _text("system") + b"\x94"
    b"0" * 2 + b"h\x00h\x01\x93" + _text(SHELL) + b"\x85R.",
    "INST": b"(S'%b'\niposix\nsystem\n." % SHELL.encode(),
    "OBJ": b"(cposix\nsystem\nS'%b'\no." % SHELL.encode(),
    "NEWOBJ": b"\x80\x02csubprocess\nPopen\n(S'%b'\nNI-1\nNNNI01\nI01\nt\x81." % SHELL.encode(),
    "NEWOBJ_EX": b"\x80\x04csubprocess\nPopen\n(S'%b'\nt}S'shell'\nI01\ns\x92." % SHELL.encode(),
    "BUILD": b"\x80\x02ctorch.nn.modules.module\nModule\n)\x81}S'__setstate__'\ncposix\nsystem\nsbS'%b'\nb."
    % SHELL.encode(),
    "dotted name": b"\x80\x04" + _text("torch") + _text("os.system") + b"\x93" + _text(SHELL) + b"\x85R.",
    "two pickles": pickle.dumps({}, 2) + pickle.dumps(Reduced(), 2),
    "nothing told of": b"S'harmless'\ncposix\nsystem\n(S'%b'\ntR0." % SHELL.encode(),
    "torch's own": b"ctorch.serialization\nload\n(S'other.pt'\ntR.",
    "copyreg": b"ccopyreg\n__newobj__\n(cposix\nsystem\nS'%b'\ntR." % SHELL.encode(),
    "getattr": b"cbuiltins\ngetattr\n(c__builtin__\n__import__\nS'__call__'\ntR(S'os'\ntR.",
    "persistent id": b"(S'storage'\ncposix\nsystem\nS'%b'\nS'cpu'\nI1\ntQ." % SHELL.encode(),
    "EXT1": b"\x80\x02\x82\x01.",
}


def _torch_zip(pickled: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("archive/data.pkl", pickled)
        archive.writestr("archive/byteorder", "little")
        archive.writestr("archive/version", "3\n")
        archive.writestr("archive/data/0", bytes(64))
    return stream.getvalue()


def _torch_stream(pickled: bytes) -> bytes:
    header = (0x1950A86A20F9469CFC6C, 1001, {"protocol_version": 1001, "little_endian": True, "type_sizes": {}})
    return b"".join(pickle.dumps(part, 2) for part in header) + pickled + pickle.dumps([], 2)


def _torch_tar(pickled: bytes) -> bytes:
    """As PyTorch 0.1 wrote files: its reader unpickles several of the members."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name in ("storages", "tensors", "pickle", "sys_info"):
            info = tarfile.TarInfo(name)
            info.size = len(pickled)
            archive.addfile(info, io.BytesIO(pickled))
    return stream.getvalue()


def _torchscript(pickled: bytes) -> bytes:
    """Code in a zip of today's: torch.load hands such an archive to torch.jit."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("archive/data.pkl", pickled)
        archive.writestr("archive/constants.pkl", pickled)
        archive.writestr("archive/code/__torch__.py", "import os\nos.system('touch canary')\n")
        archive.writestr("archive/version", "3\n")
    return stream.getvalue()


def _npy(pickled: bytes) -> bytes:
    """An array of objects."""
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "|O", "fortran_order": False, "shape": (12,)})
    return stream.getvalue() + pickled


def _npz(pickled: bytes) -> bytes:
    """Arrays of objects, under the names that are read and under others, and members that are no arrays."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name in ("labels.npy", "splits.npy", "names.npy", "other.npy"):
            archive.writestr(name, _npy(pickled))
        archive.writestr("names", pickled)
    return stream.getvalue()


CONTAINERS: dict[str, Callable[[bytes], bytes]] = {
    "bare": bytes,
    "zip": _torch_zip,
    "stream": _torch_stream,
    "tar": _torch_tar,
    "torchscript": _torchscript,
    "npy": _npy,
    "npz": _npz,
    "length first": lambda pickled: struct.pack("<Q", len(pickled)) + pickled,
}


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset, a model and a classifier as they should be."""
    folder = tmp_path_factory.mktemp("sound")
    prepare_portraits(folder / "dataset", count=12, size=32, workers=1)
    save_model(tiny_model(), folder / "model")
    shutil.copytree(folder / "model", folder / "classifier")
    return folder


@pytest.fixture
def canary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """What the pickles would make in the current folder."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    yield tmp_path / "here" / "canary"
    assert not (tmp_path / "here" / "canary").exists()


def test_the_canary_appears_where_a_pickle_is_executed(canary: Path) -> None:
    for name in ("reduce 2", "STACK_GLOBAL", "GLOBAL", "INST", "OBJ", "eval"):
        pickle.loads(PICKLES[name])
        assert canary.exists(), name
        canary.unlink()
    torch.load(io.BytesIO(_torch_zip(PICKLES["reduce 2"])), weights_only=False)
    assert canary.exists()
    canary.unlink()


@pytest.mark.filterwarnings("ignore:Detected pickle protocol", "ignore:'torch.load' received a zip")
@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("trick", PICKLES)
def test_nothing_that_is_read_executes_a_pickle(
    sound: Path, tmp_path: Path, canary: Path, trick: str, container: str
) -> None:
    content = CONTAINERS[container](PICKLES[trick])
    for place in ("model.pth", "run/checkpoints/step-000000001.pt"):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).write_bytes(content)
    refusal(lambda: import_released(tmp_path / "model.pth", tmp_path / "imported"))
    # torch reads some of them as data: what nothing was executed of.
    _tolerated(lambda: newest_checkpoint(tmp_path / "run/checkpoints"))

    for kind, name, load in (
        ("model", "model.safetensors", fader.load),
        ("model", "classifier.safetensors", fader.load),
        ("model", "config.json", fader.load),
        ("classifier", "config.json", load_classifier),
        ("dataset", "dataset.json", open_dataset),
        ("dataset", "labels.npz", open_dataset),
        ("dataset", "images.npy", open_dataset),
    ):
        shutil.copytree(sound / kind, tmp_path / kind, dirs_exist_ok=True)
        (tmp_path / kind / name).write_bytes(content)
        refusal(lambda load=load, kind=kind: load(tmp_path / kind))  # type: ignore[misc]
    (tmp_path / "study").mkdir()
    (tmp_path / "study/study.json").write_bytes(content)
    refusal(lambda: open_study(tmp_path / "study"))


def _tolerated(read: Callable[[], Any]) -> None:
    with contextlib.suppress(UserError):
        json.dumps(read())


def test_text_is_only_ever_text(sound: Path, tmp_path: Path, canary: Path) -> None:
    """Where tables and manifests take text, a pickle in it stays that."""
    pickled = PICKLES["reduce 0"].decode()
    shutil.copytree(sound / "model", tmp_path / "model")
    config = json.loads((tmp_path / "model/config.json").read_text())
    config["dataset"], config["selection"] = {"name": pickled}, {pickled: pickled}
    (tmp_path / "model/config.json").write_text(json.dumps(config))
    assert fader.load(tmp_path / "model", device="cpu").dataset["name"] == pickled
