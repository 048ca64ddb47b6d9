"""Where to compute."""

from __future__ import annotations

import os

import torch

from fader.errors import UserError


def find_device(name: str = "auto") -> torch.device:
    """The device of this name; "auto" is a CUDA GPU, else Apple's GPU, else the CPU.

    Of several processes that torchrun starts on a machine with several CUDA GPUs, each has its own, unless the name
    says which.

    Raises UserError if the device is not there.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return _own_gpu()
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = _own_gpu() if name == "cuda" else torch.device(name)
        torch.zeros(1, device=device)  # On no other GPU, where it would take memory for as long as the process lives.
    except (RuntimeError, AssertionError, NotImplementedError):
        raise UserError(f"Device {name!r} is not available on this machine; try --device cpu.") from None
    return device


def _own_gpu() -> torch.device:
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")) % max(1, torch.cuda.device_count()))
