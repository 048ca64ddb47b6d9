"""Schedules by hand, and the moving average by its formula."""

import pytest
import torch
from torch import nn

from fader.config import TrainingConfig
from fader.training.schedules import adversarial_weight, evaluation_steps, learning_rate, update_average


def test_lambda_rises_from_zero_in_a_line_and_stays() -> None:
    config = TrainingConfig(steps=1000, ramp=400, adversarial_weight=0.02)
    assert [adversarial_weight(config, step) for step in (0, 100, 400, 999)] == [0.0, 0.005, 0.02, 0.02]
    assert adversarial_weight(TrainingConfig(ramp=0), 0) == 1e-4


def test_learning_rate_is_constant_then_falls_to_zero() -> None:
    config = TrainingConfig(steps=100, decay=0.5, learning_rate=1e-3)
    rates = [learning_rate(config, step) for step in (0, 50, 75, 99)]
    assert rates == pytest.approx([1e-3, 1e-3, 5e-4, 2e-5])
    assert learning_rate(TrainingConfig(), 999_999) == 2e-3


def test_evaluations_end_every_epoch_and_the_run() -> None:
    config = TrainingConfig(steps=100, batch_size=10, epoch_images=255)
    assert evaluation_steps(config, pictures=1) == [26, 51, 77, 100]
    assert evaluation_steps(TrainingConfig(steps=3, batch_size=2), pictures=100) == [3]


def test_average_carries_weights_and_batchnorm_buffers() -> None:
    average, network = nn.BatchNorm2d(2), nn.BatchNorm2d(2)
    with torch.no_grad():
        network.weight.fill_(3.0)
        network.running_mean.fill_(5.0)  # type: ignore[union-attr]
        network.num_batches_tracked.fill_(7)  # type: ignore[union-attr]
    update_average(average, network, decay=0.9, step=10_000)
    torch.testing.assert_close(average.weight, torch.full((2,), 0.9 * 1 + 0.1 * 3))
    torch.testing.assert_close(average.running_mean, torch.full((2,), 0.1 * 5))
    assert average.num_batches_tracked == 7
    # Early on it follows more closely: after the first update, 1/11 of the start is left.
    fresh = nn.BatchNorm2d(2)
    update_average(fresh, network, decay=0.999, step=1)
    torch.testing.assert_close(fresh.weight, torch.full((2,), 1 / 11 + 3 * 10 / 11))
