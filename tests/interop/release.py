"""Stand-ins for the authors' networks, files of them as PyTorch 0.3 and today's write them, and what they compute."""

from __future__ import annotations

import io
import pickle
import struct
import sys
import zipfile
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

ATTRIBUTES = [("Smiling", 2), ("Hair", 3)]


class AutoEncoder(nn.Module):
    """Their network with random weights, as official-recipe.md of this project describes it."""

    def __init__(
        self,
        attr: list[tuple[str, int]] = ATTRIBUTES,
        n_skip: int = 0,
        deconv_method: str = "convtranspose",
        instance_norm: bool = False,
        dropout: float = 0.0,
        n_layers: int = 3,
    ) -> None:
        super().__init__()
        self.img_sz, self.img_fm, self.init_fm, self.max_fm, self.n_layers = 32, 3, 4, 8, n_layers
        self.instance_norm, self.n_skip, self.deconv_method = instance_norm, n_skip, deconv_method
        self.dropout, self.attr, self.n_attr = dropout, attr, sum(count for _, count in attr)
        widths = [min(self.init_fm * 2**i, self.max_fm) for i in range(n_layers)]
        self.enc_layers = nn.ModuleList(encoder(widths, instance_norm))
        layers = []
        for i, width in enumerate(widths[::-1]):
            inputs = width + self.n_attr + (width if 0 < i <= n_skip else 0)
            last = i == n_layers - 1
            outputs = 3 if last else widths[-2 - i]
            layer: list[nn.Module]
            if deconv_method == "convtranspose":
                layer = [nn.ConvTranspose2d(inputs, outputs, 4, 2, 1, bias=False)]
            elif deconv_method == "upsampling":
                layer = [nn.UpsamplingNearest2d(scale_factor=2), nn.Conv2d(inputs, outputs, 3, 1, 1)]
            else:
                layer = [nn.Conv2d(inputs, 4 * outputs, 3, 1, 1), nn.PixelShuffle(2)]
            if not last:
                layer.append(norm(outputs, instance_norm))
                layer += [nn.Dropout(dropout)] if dropout and i < 3 else []
            layer.append(nn.Tanh() if last else nn.ReLU(inplace=True))
            layers.append(nn.Sequential(*layer))
        self.dec_layers = nn.ModuleList(layers)
        randomise(self)


class Classifier(nn.Module):
    """Their classifier with random weights."""

    def __init__(self, attr: list[tuple[str, int]] = ATTRIBUTES) -> None:
        super().__init__()
        self.img_sz, self.img_fm, self.init_fm, self.max_fm, self.hid_dim = 32, 3, 4, 8, 16
        self.attr, self.n_attr = attr, sum(count for _, count in attr)
        self.conv_layers = nn.Sequential(*encoder([4, 8, 8, 8, 8], False))
        self.proj_layers = nn.Sequential(nn.Linear(8, 16), nn.LeakyReLU(0.2, inplace=True), nn.Linear(16, self.n_attr))
        randomise(self)


for kind in (AutoEncoder, Classifier):
    kind.__module__ = "src.model"


def encoder(widths: list[int], instance_norm: bool) -> list[nn.Sequential]:
    layers = []
    for i, width in enumerate(widths):
        layer: list[nn.Module] = [nn.Conv2d(widths[i - 1] if i else 3, width, 4, 2, 1)]
        layer += [norm(width, instance_norm)] if i else []
        layers.append(nn.Sequential(*layer, nn.LeakyReLU(0.2, inplace=True)))
    return layers


def norm(channels: int, instance: bool) -> nn.Module:
    return nn.InstanceNorm2d(channels, affine=True) if instance else nn.BatchNorm2d(channels)


def randomise(network: nn.Module) -> None:
    """Weights of every kind matter; BatchNorm counts nothing, as in PyTorch 0.3."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for tensor in network.state_dict().values():
            if tensor.is_floating_point():
                tensor.copy_(torch.rand(tensor.shape, generator=generator) - 0.4)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_var is not None
            module.running_var.abs_().add_(0.1)
            del module._buffers["num_batches_tracked"]
    network.eval()


def compute(network: AutoEncoder, pixels: Tensor, code: Tensor) -> list[Tensor]:
    """What each layer of their network makes, encoder and then decoder, by the functions of PyTorch alone."""
    weights = network.state_dict()

    def normalised(x: Tensor, name: str) -> Tensor:
        weight, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
        if network.instance_norm:
            return F.instance_norm(x, weight=weight, bias=bias)
        return F.batch_norm(x, weights[f"{name}.running_mean"], weights[f"{name}.running_var"], weight, bias)

    maps = [pixels]
    for i in range(network.n_layers):
        name = f"enc_layers.{i}"
        x = F.conv2d(maps[-1], weights[f"{name}.0.weight"], weights[f"{name}.0.bias"], stride=2, padding=1)
        maps.append(F.leaky_relu(normalised(x, f"{name}.1") if i else x, 0.2))
    decoded = [maps[-1]]
    for i in range(network.n_layers):
        name, x = f"dec_layers.{i}", decoded[-1]
        inputs = [x, code[:, :, None, None].expand(-1, -1, *x.shape[2:])]
        inputs += [maps[-1 - i]] if 0 < i <= network.n_skip else []
        x = torch.cat(inputs, 1)
        if network.deconv_method == "convtranspose":
            x, after = F.conv_transpose2d(x, weights[f"{name}.0.weight"], stride=2, padding=1), 1
        elif network.deconv_method == "upsampling":
            x = x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
            x, after = F.conv2d(x, weights[f"{name}.1.weight"], weights[f"{name}.1.bias"], padding=1), 2
        else:
            x = F.conv2d(x, weights[f"{name}.0.weight"], weights[f"{name}.0.bias"], padding=1)
            x, after = F.pixel_shuffle(x, 2), 2
        last = i == network.n_layers - 1
        decoded.append(torch.tanh(x) if last else F.relu(normalised(x, f"{name}.{after}")))
    return maps[1:] + decoded[1:]


def compute_logits(network: Classifier, pixels: Tensor) -> Tensor:
    weights = network.state_dict()
    x = pixels
    for i in range(5):
        name = f"conv_layers.{i}"
        x = F.conv2d(x, weights[f"{name}.0.weight"], weights[f"{name}.0.bias"], stride=2, padding=1)
        if i:
            mean, var = weights[f"{name}.1.running_mean"], weights[f"{name}.1.running_var"]
            x = F.batch_norm(x, mean, var, weights[f"{name}.1.weight"], weights[f"{name}.1.bias"])
        x = F.leaky_relu(x, 0.2)
    x = F.leaky_relu(F.linear(x.flatten(1), weights["proj_layers.0.weight"], weights["proj_layers.0.bias"]), 0.2)
    return F.linear(x, weights["proj_layers.2.weight"], weights["proj_layers.2.bias"])


@pytest.fixture
def their_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    """The module paths that a pickle of their networks names, for as long as a test writes one."""
    package, model, thnn = ModuleType("src"), ModuleType("src.model"), ModuleType("torch.nn.backends.thnn")
    model.__dict__.update(AutoEncoder=AutoEncoder, Classifier=Classifier)
    thnn.__dict__.update(_get_thnn_function_backend=_get_thnn_function_backend)
    package.__dict__["model"] = model
    backends = ModuleType("torch.nn.backends")
    backends.__dict__["thnn"] = thnn
    for module in (package, model, backends, thnn):
        monkeypatch.setitem(sys.modules, module.__name__, module)


def _get_thnn_function_backend() -> None:
    raise AssertionError("nothing of a file is to be called")


_get_thnn_function_backend.__module__ = "torch.nn.backends.thnn"


class Backend:
    def __reduce__(self) -> Any:
        return _get_thnn_function_backend, ()


@dataclass(frozen=True)
class StorageReference:
    key: str
    count: int


class OldPickler(pickle.Pickler):
    """Pickles a network as PyTorch 0.3 did on a GPU."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file, protocol=2)
        self.storages: dict[str, Tensor] = {}
        self.classes: set[type] = set()

    def persistent_id(self, obj: Any) -> Any:
        if isinstance(obj, StorageReference):
            return ("storage", torch.cuda.FloatStorage, obj.key, "cuda:1", obj.count, None)
        if isinstance(obj, type) and issubclass(obj, nn.Module) and obj not in self.classes:
            self.classes.add(obj)
            return ("module", obj, "/home/somebody/src/model.py", "class " + obj.__name__)
        return None

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, nn.Parameter):
            return nn.Parameter, (obj.data,), (True, False, OrderedDict())
        if isinstance(obj, Tensor):
            key = str(94_000_000 + len(self.storages))
            self.storages[key] = obj
            arguments = (StorageReference(key, obj.numel()), 0, tuple(obj.shape), obj.stride())
            return torch._utils._rebuild_tensor, arguments
        return NotImplemented


def write_old(network: Any, path: Path) -> None:
    """The serialisation of PyTorch 0.3: pickles one after the other, then each storage after the count of it."""
    stream = io.BytesIO()
    for header in (
        0x1950A86A20F9469CFC6C,
        1001,
        {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}},
    ):
        pickle.dump(header, stream, protocol=2)
    if isinstance(network, nn.Module):
        for module in network.modules():
            module.__dict__["_backend"] = Backend()
    pickler = OldPickler(stream)
    pickler.dump(network)
    pickle.dump(sorted(pickler.storages), stream, protocol=2)
    for _, tensor in sorted(pickler.storages.items()):
        stream.write(struct.pack("<q", tensor.numel()) + tensor.detach().contiguous().numpy().tobytes())
    path.write_bytes(stream.getvalue())


def write_stream(network: Any, path: Path) -> None:
    """Today's PyTorch in the old serialisation."""
    torch.save(network, path, _use_new_zipfile_serialization=False)


def write_zip(network: Any, path: Path) -> None:
    """Today's PyTorch, as if on a GPU."""
    torch.save(network, path)
    rewrite(path, on_gpu)


def on_gpu(pickled: bytes) -> bytes:
    changed = pickled.replace(b"ctorch\nFloatStorage\n", b"ctorch.cuda\nFloatStorage\n")
    assert changed != pickled or b"FloatStorage" not in pickled
    return changed.replace(b"X\x03\0\0\0cpu", b"X\x06\0\0\0cuda:0")


def rewrite(path: Path, change: Any, compression: int = zipfile.ZIP_STORED) -> None:
    """Changes the pickle in a zip archive of PyTorch's."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(name, change(data) if name.endswith("/data.pkl") else data)
