"""What changes over a run, as functions of the step; and the moving average over its steps."""

from __future__ import annotations

import math

import torch
from torch import nn

from fader.config import TrainingConfig


def adversarial_weight(config: TrainingConfig, step: int) -> float:
    """lambda_E of the update number `step` (from 0): linear from 0 over the ramp, then constant (section 4)."""
    return config.adversarial_weight * min(1.0, step / config.ramp_steps if config.ramp_steps else 1.0)


def learning_rate(config: TrainingConfig, step: int) -> float:
    """The learning rate of the update number `step` (from 0): constant, then linear to 0 over the decay."""
    falling = config.decay * config.steps
    return config.learning_rate * min(1.0, (config.steps - step) / falling if falling else 1.0)


def evaluation_steps(config: TrainingConfig, pictures: int) -> list[int]:
    """After which updates a run is evaluated: at the end of every epoch, and of the run. The k-th ends epoch k."""
    images = config.epoch_images or pictures
    epochs = config.steps * config.batch_size // images
    steps = {math.ceil(epoch * images / config.batch_size) for epoch in range(1, epochs + 1)}
    return sorted({step for step in steps if step < config.steps} | {config.steps})


@torch.no_grad()
def update_average(average: nn.Module, network: nn.Module, decay: float, step: int) -> None:
    """Move the average towards the network, weights and BatchNorm's buffers alike, after update number `step` (from 1).

    The first steps count more than `decay` alone would let them, so that the start is forgotten.
    """
    decay = min(decay, step / (step + 10))
    for kept, current in zip(average.state_dict().values(), network.state_dict().values(), strict=True):
        if kept.is_floating_point():
            kept.lerp_(current, 1 - decay)
        else:
            kept.copy_(current)
