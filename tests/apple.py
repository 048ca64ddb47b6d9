"""What a CPU can show of a program on Apple's GPUs."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class OnAppleGpu(Tensor):
    """A tensor that cannot be of float64, nor what is computed of it, before it is asked for on the CPU."""

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, arguments: Any = (), options: Any = None) -> Any:
        result = super().__torch_function__(function, types, arguments, options or {})  # type: ignore[no-untyped-call]
        if function is Tensor.cpu:
            return result.as_subclass(Tensor)
        if isinstance(result, cls) and result.dtype == torch.float64:
            raise TypeError("Cannot convert a MPS Tensor to float64 dtype.")
        return result
