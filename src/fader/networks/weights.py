"""Weights as safetensors files: written plainly, read strictly, never a pickle."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from fader.errors import UserError
from fader.networks.blocks import Network, place


def save_weights(network: nn.Module, path: Path, half: bool = False) -> None:
    """Write all parameters and buffers: those that are floating-point as float32, or as float16 with `half`.

    Raises UserError if a weight is not finite, or too large for float16.
    """
    dtype = torch.float16 if half else torch.float32
    tensors = {}
    for name, tensor in network.state_dict().items():
        if tensor.is_floating_point():
            tensor = tensor.to(dtype)
            if not tensor.isfinite().all():
                raise UserError(f"{path.name} cannot be written: {name} holds values that are no finite {dtype}.")
        tensors[name] = tensor.cpu().contiguous()
    path.write_bytes(save(tensors))  # safetensors' own save_file makes files that only their owner may read.


def load_weights(build: Callable[[], Network], path: Path, device: torch.device | str = "cpu") -> Network:
    """The network that `build` makes, with the weights of a file: in float32, in eval mode, on `device`.

    `build` is called on the meta device, where a network takes no memory, and the names, shapes and types in the
    file's header have to be that network's before a single weight is read: what a stranger's configuration and file
    claim costs nothing.

    Raises UserError, naming the file and the first tensor that differs.
    """
    try:
        with torch.device("meta"):
            network = build()
    except (RuntimeError, TypeError, ValueError, ArithmeticError):
        raise UserError(f"{path}: the sizes in its configuration make no network.") from None
    expected = network.state_dict()
    try:
        with safe_open(path, framework="pt") as file:
            _compare(path, expected, {name: file.get_slice(name) for name in file.keys()})  # noqa: SIM118
            # A copy in any case: the file may be replaced or cut short while the network lives.
            weights = {name: file.get_tensor(name).to(tensor.dtype, copy=True) for name, tensor in expected.items()}
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such file.") from None
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path}: it cannot be read as a safetensors file ({error}).") from None
    network.load_state_dict(weights, assign=True)
    return place(network.eval(), device)


def _compare(path: Path, expected: Mapping[str, Tensor], found: Mapping[str, Any]) -> None:
    for name, tensor in expected.items():
        if name not in found:
            raise UserError(f"{path}: the tensor {name} is missing; the file is not of the network in config.json.")
        shape, kind = tuple(found[name].get_shape()), found[name].get_dtype()
        if shape != tuple(tensor.shape):
            raise UserError(f"{path}: the tensor {name} is of shape {shape} and not {tuple(tensor.shape)}.")
        kinds = ("F32", "F16") if tensor.is_floating_point() else ("I64",)
        if kind not in kinds:
            raise UserError(f"{path}: the tensor {name} is of type {kind} and not {' or '.join(kinds)}.")
    for name in found:
        if name not in expected:
            raise UserError(f"{path}: the tensor {name!r} is not one of the network in config.json.")
