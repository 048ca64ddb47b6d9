"""Freed memory: kept for the next use, and read by nobody any more."""

from __future__ import annotations

import ctypes
import platform
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # As malloc.h numbers them.


def keep_freed() -> None:
    """From now on, have glibc's allocator keep large blocks that this process frees, for the next that it asks for.

    By default they go back to the system, which hands them out again page by page, each to be cleared first: several
    percent of a training update of small networks. Elsewhere this does nothing.
    """
    if platform.libc_ver()[0] == "glibc":
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_MMAP_THRESHOLD, 2**25)  # Its largest.
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def sent(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """A CPU's tensor on a device, without waiting for it, also where the tensor itself is not kept.

    Apple's GPUs are waited for: they may read it only when its memory has been freed
    (https://github.com/pytorch/pytorch/issues/189690).
    """
    return tensor.to(device, non_blocking=device.type != "mps")
