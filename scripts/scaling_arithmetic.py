"""Prints the tables of docs/scale.md: what processes exchange in a training step, and what that may cost.

Run it after a change of the presets or the networks: .venv/bin/python scripts/scaling_arithmetic.py
Nothing here is measured: sizes are counted, times follow from the assumptions below.
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from fader.attributes import Schema
from fader.config import PRESETS, Config
from fader.training.step import Players

FLOAT = 4  # Bytes.
GPUS = (8, 64, 512)
PICTURES = (32, 256)  # On each GPU.
# Assumptions.
SPEED = 20e12  # Floating-point operations a second that these networks get out of a GPU.
WITHIN, BETWEEN = 200e9, 50e9  # Bytes a second and GPU: between the 8 of a machine, and to other machines.
HOP = 7e-6  # Seconds; an exchange takes log2(GPUs) of them, however little is exchanged.


class Step:
    """The sizes of a preset's training step, with one binary attribute."""

    def __init__(self, config: Config) -> None:
        nowhere = torch.device("meta")  # Where a convolution is counted as one, however a CPU would compute it.
        players = Players.create(config, Schema.binary(["Smiling"]), nowhere)
        autoencoder, discriminator = players.autoencoder.network.eval(), players.discriminator.network.eval()
        modules = [*autoencoder.modules(), *discriminator.modules()]
        norms = [module for module in modules if isinstance(module, nn.BatchNorm2d)]
        self.gradients = [_bytes_of_parameters(network) for network in (autoencoder, discriminator)]
        self.norms = len(norms)
        self.statistics = FLOAT * sum(2 * norm.num_features for norm in norms)
        pixels = torch.zeros(1, config.network.channels, config.network.size, config.network.size, device=nowhere)
        counter = FlopCounterMode(display=False)
        with counter, torch.no_grad():
            latent = autoencoder.encoder(pixels)
            autoencoder.decoder(latent, torch.zeros(1, 2, device=nowhere))
            discriminator(latent)  # In its own turn,
            discriminator(latent)  # and in the encoder's.
        self.operations = 3 * counter.get_total_flops()  # A backward pass is twice a forward pass.

    def exchanged(self, gpus: int) -> tuple[float, float]:
        """Bytes that a GPU sends in a step: of gradients, and of statistics.

        To sum something over K GPUs, in a ring, each sends 2 (K - 1) / K of it. In the forward pass each GPU's
        statistics go to all others; in the backward pass sums of the same size are summed.
        """
        summed = 2 * (gpus - 1) / gpus
        return summed * sum(self.gradients), (gpus - 1 + summed) * self.statistics

    def efficiency(self, gpus: int, pictures: int) -> float:
        """The share of the time in which a GPU computes, where it computes nothing while it exchanges."""
        bandwidth = WITHIN if gpus <= 8 else BETWEEN
        exchanges = 2 + 2 * self.norms
        exchanging = sum(self.exchanged(gpus)) / bandwidth + exchanges * HOP * math.log2(gpus)
        computing = pictures * self.operations / SPEED
        return computing / (computing + exchanging)


def _bytes_of_parameters(network: nn.Module) -> int:
    return FLOAT * sum(parameter.numel() for parameter in network.parameters())


def tables() -> str:
    """Both tables as Markdown."""
    rows = [["preset", "encoder-decoder", "discriminator", "norms", *(f"sent on {gpus} GPUs" for gpus in GPUS)]]
    costs = [["preset", "pictures a GPU", *(f"{gpus} GPUs" for gpus in GPUS)]]
    for name, preset in PRESETS.items():
        step = Step(preset)
        sizes = [_megabytes(size) for size in step.gradients]
        sent = [" + ".join(_megabytes(size) for size in step.exchanged(gpus)) for gpus in GPUS]
        rows.append([f"`{name}`", *sizes, str(step.norms), *sent])
        for pictures in PICTURES:
            shares = [f"{step.efficiency(gpus, pictures):.0%}" for gpus in GPUS]
            costs.append([f"`{name}`", str(pictures), *shares])
    return _table(rows) + "\n" + _table(costs)


def _megabytes(size: float) -> str:
    return f"{size / 1e6:.1f} MB"


def _table(rows: list[list[str]]) -> str:
    head, *body = rows
    return "".join(f"| {' | '.join(row)} |\n" for row in [head, ["---"] * len(head), *body])


if __name__ == "__main__":
    print(tables(), end="")
