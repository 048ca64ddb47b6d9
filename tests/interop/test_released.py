"""The authors' files: what comes out computes what they compute, and nothing in a file is ever run."""

from __future__ import annotations

import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import fader
from fader.alignment import STANDARD
from fader.attributes import Attribute
from fader.cli import main
from fader.interop.checkpoint import MOST_PICKLE, Checkpoint, fields, stored_tensor
from fader.interop.released import import_released, read_released
from tests.interop.release import (
    AutoEncoder,
    Classifier,
    compute,
    compute_logits,
    rewrite,
    their_modules,  # noqa: F401
    write_old,
    write_stream,
    write_zip,
)
from tests.refusals import refusal

pytestmark = [
    pytest.mark.usefixtures("their_modules"),
    pytest.mark.filterwarnings("ignore:Couldn't retrieve source code"),
]
Writer = Callable[[Any, Path], None]


def layer_by_layer(model: fader.Model, pixels: Tensor, code: Tensor) -> list[Tensor]:
    """What each layer of our network makes, encoder and then decoder."""
    made: list[Tensor] = []
    network: Any = model.network
    for layer in (*network.encoder.layers, *network.decoder.layers):
        layer.register_forward_hook(lambda module, inputs, output: made.append(output.clone()))
    with torch.inference_mode():
        network(pixels, code)
    return made


def pixels(count: int = 2) -> Tensor:
    return torch.rand(count, 3, 32, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1


@pytest.mark.parametrize("write", [write_old, write_stream, write_zip])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"n_skip": 2, "dropout": 0.3},
        {"deconv_method": "upsampling", "instance_norm": True},
        {"deconv_method": "upsampling", "n_skip": 1},
        {"deconv_method": "pixelshuffle", "n_skip": 2},
        {"n_layers": 5, "attr": [("Male", 2)]},
    ],
)
def test_every_layer_computes_what_theirs_does(tmp_path: Path, write: Writer, settings: dict[str, Any]) -> None:
    theirs = AutoEncoder(**settings)
    write(theirs, tmp_path / "model.pth")
    import_released(tmp_path / "model.pth", tmp_path / "model")
    model = fader.load(tmp_path / "model", device="cpu")
    values = torch.tensor([[0.3, 2.0], [-1.5, 0.0]])[:, : len(theirs.attr)]
    code = torch.stack([1 - values[:, 0], values[:, 0]], dim=1)
    if len(theirs.attr) == 2:
        code = torch.cat([code, torch.tensor([[0.0, 0, 1], [1, 0, 0]])], dim=1)
    assert torch.equal(model.schema.code(values), code)
    expected, made = compute(theirs, pixels(), code), layer_by_layer(model, pixels(), code)
    assert len(expected) == len(made) == 2 * theirs.n_layers
    for one, other in zip(expected, made, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-4, atol=1e-5)


def test_attributes_are_those_of_the_checkpoint(tmp_path: Path) -> None:
    write_old(AutoEncoder(), tmp_path / "model.pth")
    schema = read_released(tmp_path / "model.pth").schema
    assert schema.attributes == (Attribute("Smiling"), Attribute("Hair", ("0", "1", "2")))


def test_photos_are_aligned_as_celeba_lies(tmp_path: Path) -> None:
    write_old(AutoEncoder(), tmp_path / "model.pth")
    import_released(tmp_path / "model.pth", tmp_path / "model")
    model = fader.load(tmp_path / "model", device="cpu")
    assert model.framing.points == STANDARD
    # Without a placement the centred square of CelebA's pictures, as theirs are: rows 20 to 198.
    rows = np.broadcast_to(np.arange(218, dtype=np.uint8)[:, None, None], (218, 178, 3))
    scaled = Image.fromarray(rows[20:198]).resize((32, 32), Image.Resampling.LANCZOS)
    np.testing.assert_array_equal(model.frame(rows), np.asarray(scaled))


@pytest.mark.parametrize("write", [write_old, write_zip])
def test_a_classifier_of_more_attributes_in_another_order(tmp_path: Path, write: Writer) -> None:
    whole = Classifier([("Hair", 3), ("Male", 2), ("Smiling", 2)])
    write(AutoEncoder(), tmp_path / "model.pth")
    write(whole, tmp_path / "classifier.pth")
    import_released(tmp_path / "model.pth", tmp_path / "model", tmp_path / "classifier.pth")
    network = fader.load(tmp_path / "model", device="cpu").classifier
    assert network is not None
    with torch.inference_mode():
        made = network(pixels())
    torch.testing.assert_close(made, compute_logits(whole, pixels())[:, [5, 6, 0, 1, 2]], rtol=1e-4, atol=1e-5)


def test_verbs_take_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_old(AutoEncoder(), tmp_path / "model.pth")
    write_old(Classifier(), tmp_path / "classifier.pth")
    folder, picture = str(tmp_path / "model"), str(tmp_path / "me.png")
    Image.fromarray(np.full((40, 50, 3), 90, np.uint8)).save(picture)
    assert main(["import", "released", str(tmp_path / "model.pth"), "--classifier", str(tmp_path / "classifier.pth"),
                 "-o", folder]) == 0  # fmt: skip
    assert main(["info", folder]) == 0
    assert "model.pth" in capsys.readouterr().out
    assert main(["swap", folder, picture, "-o", str(tmp_path / "swap.png")]) == 0
    assert main(["slide", folder, picture, "--attribute", "Smiling", "-o", str(tmp_path / "slide.png")]) == 0


# What is not theirs


def saying(path: Path, classifier: Path | None = None) -> str:
    """How a file is refused: in one sentence that names it, and nothing is written."""
    output = path.parent / "refused"
    message = refusal(lambda: import_released(path, output, classifier))
    assert not output.exists()
    assert message.startswith(str(classifier or path))
    return message


class Trap(nn.Module):
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("write", [write_old, write_stream, write_zip])
@pytest.mark.parametrize("where", ["root", "attribute", "layer"])
def test_what_a_pickle_would_run_is_not_run(tmp_path: Path, write: Writer, where: str) -> None:
    network, sprung = AutoEncoder(), tmp_path / "sprung"
    trap: Any = Trap(sprung)
    if where == "attribute":
        network.attr = trap
    elif where == "layer":
        network.__dict__["_modules"]["enc_layers"] = trap
    write(trap if where == "root" else network, tmp_path / "model.pth")
    assert "nothing of it was run" in saying(tmp_path / "model.pth")
    assert not sprung.exists()


HEADER = b"".join(pickle.dumps(value, 2) for value in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}))


ORDERED = b"\x80\x02ccollections\nOrderedDict\nq\x02"


@pytest.mark.parametrize(
    ("pickled", "met"),
    [
        (b"cposix\nsystem\n(S'touch sprung'\ntR.", "posix.system"),
        (b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x0ctouch sprung\x85R.", "posix.system"),
        (b"(S'touch sprung'\niposix\nsystem\n.", "INST"),
        (b"(cposix\nsystem\nS'touch sprung'\no.", "posix.system"),
        (b"\x82\x01.", "EXT1"),
        (b"cbuiltins\neval\n.", "builtins.eval"),
        (b"csrc.model\nAutoEncoder.__init__\n.", "AutoEncoder.__init__"),
        (b"ctorch._utils\n_rebuild_tensor.__globals__\n.", "__globals__"),
        (b"\x80\x02]r\xff\xff\xff\xff.", "list"),  # A memo of four billion entries, were it an array.
        (b"\x80\x02cbuiltins\nset\n]\x85R.", "builtins.set"),
        (b"\x8e\xff\xff\xff\xff\x00\x00\x00\x00.", "no whole file"),  # Four gigabytes claimed.
        (b"\x8b\xff\xff\xff\x7f.", "no whole file"),
        (b"\x80\x02}].", "it holds a list"),
        (b"0.", "POP"),
        (b"u.", "no whole file"),
        (b"R.", "no whole file"),
        (b"h\x07.", "no whole file"),
        (b"(" * 1000, "no whole file"),
        (b"\x80\x02}q\x00h\x00h\x00s.", "no whole file"),
        (ORDERED + b"](](S'a'\nNS'b'\nNee\x85R.", "no whole file"),  # No pairs.
        (ORDERED + b"]q\x01(](S'a'\nNeq\x00" + b"h\x00" * 1999 + b"e\x85R" + b"h\x02h\x01\x85R" * 600 + b".",
         "no whole file"),  # 1.2 million pairs of 7 KB.
        (b"\x80\x02((S'module'\n" + b"N" * 9 + b"tQ.", "no whole file"),
        (b"", "no whole file"),
    ],
)  # fmt: skip
def test_tricks_of_pickles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pickled: bytes, met: str) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "model.pth"
    path.write_bytes(HEADER + pickled + pickle.dumps([], 2))
    assert met in saying(path)
    assert not (tmp_path / "sprung").exists()


def test_what_is_no_network(tmp_path: Path) -> None:
    path = tmp_path / "model.pth"
    assert "there is no such file" in saying(path)
    path.write_bytes(b"")
    assert "no whole file" in saying(path)
    path.write_bytes(b"PK\x03\x04 and no more")
    assert "no whole file" in saying(path)
    path.write_bytes(HEADER + b"X" + struct.pack("<I", MOST_PICKLE) + b"a" * MOST_PICKLE + b".")
    assert "no whole file" in saying(path)
    write_zip(AutoEncoder().state_dict(), path)
    assert "it holds a dict" in saying(path)
    write_old(Classifier(), path)
    assert "it holds a src.model.Classifier" in saying(path)
    write_old(nn.Sequential(nn.Bilinear(1, 1, 1)), path)
    assert "Bilinear" in saying(path)


def test_cut_and_compressed_files(tmp_path: Path) -> None:
    path = tmp_path / "model.pth"
    write_old(AutoEncoder(), path)
    whole = path.read_bytes()
    for kept in (len(whole) - 1, len(whole) - 5000, 3000, 200, 10):
        path.write_bytes(whole[:kept])
        assert "download it again" in saying(path)
    write_zip(AutoEncoder(), path)
    rewrite(path, lambda pickled: pickled, zipfile.ZIP_DEFLATED)
    assert "compressed" in saying(path)


def attribute(name: str, value: Any) -> Callable[[AutoEncoder], Any]:
    return lambda network: setattr(network, name, value)


def layer(i: int, j: int, name: str, value: Any) -> Callable[[AutoEncoder], Any]:
    return lambda network: setattr(network.dec_layers[i][j], name, value)  # type: ignore[index]


@pytest.mark.parametrize(
    ("change", "met"),
    [
        (attribute("img_sz", 10**9), "size is 1000000000"),
        (attribute("img_sz", 33), "size is 33"),
        (attribute("img_sz", 10**40), "no whole file"),
        (attribute("init_fm", 10**12), "width"),
        (attribute("max_fm", 2**70), "shape"),
        (attribute("n_layers", 4), "layers"),
        (attribute("n_layers", "3"), "layers"),
        (attribute("n_skip", 1), "shape"),
        (attribute("attr", [("Smiling", 10**9)]), "categories"),
        (attribute("attr", [("Smiling", 2)]), "n_attr"),
        (attribute("attr", None), "list of attributes"),
        (attribute("attr", [("Smiling", 2)] * 2), "it names an attribute twice"),
        (attribute("attr", [(f"a{i}", 600) for i in range(2)]), "more than 1,000 values"),
        (attribute("deconv_method", "bilinear"), "bilinear"),
        (attribute("instance_norm", True), "InstanceNorm2d"),
        (attribute("extra", nn.Tanh()), "parts"),
        (layer(0, 0, "stride", (1, 1)), "stride"),
        (layer(0, 0, "groups", 2), "groups"),
        (layer(0, 0, "groups", (1,) * 4), "groups"),
        (layer(0, 1, "eps", 1e-3), "eps"),
        (layer(0, 1, "affine", False), "affine"),
        (layer(0, 1, "track_running_stats", False), "track_running_stats"),
        (layer(0, 2, "_parameters", None), "_parameters"),
        (layer(0, 0, "weight", nn.Parameter(torch.zeros(4, 4))), "shape"),
        (layer(0, 0, "weight", nn.Parameter(torch.zeros((1,) * 65))), "damaged shape"),
        (layer(0, 0, "weight", nn.Parameter(torch.zeros(13, 8, 4, 4, dtype=torch.float64))), "float64"),
        (layer(0, 0, "weight", nn.Parameter(torch.zeros(1).expand(13, 8, 4, 4))), "scattered"),
        (layer(0, 0, "weight", nn.Parameter(torch.full((13, 8, 4, 4), float("nan")))), "finite"),
        (lambda network: network.dec_layers.append(nn.Tanh()), "layers"),
        (lambda network: network.dec_layers[0].__setitem__(2, nn.Tanh()), "Tanh"),
    ],
)
def test_other_networks_are_refused(tmp_path: Path, change: Callable[[AutoEncoder], Any], met: str) -> None:
    network = AutoEncoder()
    change(network)
    path = tmp_path / "model.pth"
    torch.save(network, path)
    message = refusal(lambda: import_released(path, tmp_path / "refused"))
    assert met in message
    assert not (tmp_path / "refused").exists()


def test_weights_take_no_more_memory_than_the_file_is_large(tmp_path: Path) -> None:
    """However often its tensors name the same numbers."""
    path = tmp_path / "model.pth"
    write_zip(nn.Sequential(nn.Linear(100, 100, bias=False)), path)
    modules = {"torch.nn.modules.container.Sequential", "torch.nn.modules.linear.Linear"}
    with Checkpoint(path, modules) as checkpoint:
        tensor = stored_tensor(fields(fields(checkpoint.root)["_modules"]["0"])["_parameters"]["weight"])
        assert checkpoint.read(tensor, (100, 100)).shape == (100, 100)
        assert "claim more" in refusal(lambda: checkpoint.read(tensor, (100, 100)))


def test_storages_are_as_large_as_the_pickle_says(tmp_path: Path) -> None:
    path = tmp_path / "model.pth"
    write_old(AutoEncoder(), path)
    claimed = path.read_bytes().replace(b"M\x80\x06", b"M\x81\x06")  # Of the 13 * 8 * 16 numbers one more.
    assert claimed != path.read_bytes()
    path.write_bytes(claimed)
    assert "no whole file" in saying(path)


@pytest.mark.parametrize(
    ("classifier", "met"),
    [
        (Classifier([("Male", 2)]), "does not know the attribute Smiling"),
        (AutoEncoder(), "it holds a src.model.AutoEncoder"),
    ],
)
def test_classifiers_of_something_else(tmp_path: Path, classifier: nn.Module, met: str) -> None:
    write_old(AutoEncoder(), tmp_path / "model.pth")
    write_old(classifier, tmp_path / "classifier.pth")
    assert met in saying(tmp_path / "model.pth", tmp_path / "classifier.pth")


def test_modules_within_themselves_end(tmp_path: Path) -> None:
    network = AutoEncoder()
    loop = nn.Sequential()
    loop._modules = OrderedDict(a=loop, b=loop)
    network.__dict__["_modules"]["enc_layers"] = loop
    torch.save(network, tmp_path / "model.pth")
    assert "more than" in saying(tmp_path / "model.pth")


@pytest.mark.parametrize("write", [write_old, write_zip])
def test_damaged_bytes_are_read_or_refused(tmp_path: Path, write: Writer) -> None:
    """Wherever a byte of the file is another one, no other error comes of it."""
    path = tmp_path / "model.pth"
    write(AutoEncoder(n_layers=1), path)
    whole, random = path.read_bytes(), np.random.default_rng(3)
    refused = 0
    for _ in range(150):
        damaged = bytearray(whole)
        damaged[random.integers(len(whole))] = random.integers(256)
        path.write_bytes(damaged)
        try:
            read_released(path)
        except fader.UserError:
            refused += 1
    assert 0 < refused < 150
