"""Weights for an Inception network, from a formula."""

from __future__ import annotations

import torch
from torch import Tensor, nn

SCALE = 0.7
"""With it the features are neither lost nor without bounds."""


def made_up_weights(network: nn.Module) -> dict[str, Tensor]:
    """A sine through every weight, of the size that such a weight has."""
    weights = {}
    for i, (name, tensor) in enumerate(network.state_dict().items()):
        wave = torch.sin(0.7 * torch.arange(tensor.numel(), dtype=torch.float64) + i).reshape(tensor.shape)
        match name.rpartition(".")[2]:
            case "num_batches_tracked":
                weights[name] = torch.tensor(0)
                continue
            case "running_var":
                wave = 1 + 0.5 * wave
            case "weight" if tensor.ndim == 4:
                wave = wave * (SCALE / tensor[0].numel()) ** 0.5
            case "weight":
                wave = 1 + 0.2 * wave
            case _:
                wave = 0.1 * wave
        weights[name] = wave.float()
    return weights
