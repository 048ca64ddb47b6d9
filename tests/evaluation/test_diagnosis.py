"""Each cause of a weak fader is named where the numbers show it, and only there."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from fader.attributes import Attribute, Schema
from fader.config import TrainingConfig
from fader.evaluation.diagnosis import diagnose

SCHEMA = Schema.binary(["Smiling"])
TRAINING = TrainingConfig(steps=1000, ramp=500, adversarial_weight=0.004)


def report(
    accuracy: float = 0.99,
    to_absent: float | None = 0.99,
    gain: float | None = 0.9,
    probe: float | None = 0.52,
    network: float | None = 0.53,
    judge: float | None = 0.99,
    share: float = 0.4,
    unexplained: float | None = 0.05,
) -> dict[str, Any]:
    return {
        "swap": {
            "Smiling": {
                "accuracy": accuracy,
                "to": {"absent": to_absent, "present": 0.99},
                "gain": gain,
                "gain_to_absent": gain,
            }
        },
        "classifier": {"Smiling": {"balanced_accuracy": judge}},
        "latent": {"Smiling": {"probe_balanced": probe, "network_probe_balanced": network}},
        "reconstruction": {"unexplained": unexplained},
        "meta": {"training_shares": {"Smiling": {"absent": 1 - share, "present": share}}},
    }


def causes(numbers: dict[str, Any], training: TrainingConfig = TRAINING, step: int | None = 1000) -> list[str]:
    return [one["cause"] for one in diagnose(numbers, SCHEMA, training, step).get("Smiling", [])]


def test_a_good_fader_needs_no_diagnosis() -> None:
    assert diagnose(report(), SCHEMA, TRAINING, 1000) == {}
    # Nor does a latent that tells, where the fader works.
    assert diagnose(report(probe=0.9, share=0.01), SCHEMA, TRAINING, 100) == {}
    nothing = report(to_absent=None, gain=None, probe=None, network=None, judge=None)
    assert diagnose(nothing, SCHEMA, TRAINING, None) == {}


@pytest.mark.parametrize("weak", [{"accuracy": 0.8}, {"to_absent": 0.7}, {"gain": 0.4}])
def test_a_weak_fader_has_one(weak: dict[str, float]) -> None:
    assert causes(report(**weak)) == ["unknown"]


@pytest.mark.parametrize(
    ("numbers", "step", "cause", "setting"),
    [
        ({"probe": 0.83}, 1000, "latent leaks", "--adversarial-weight 0.008 or --steps 2000"),
        ({"network": 0.83}, 1000, "latent leaks", "--adversarial-weight 0.008 or --steps 2000"),
        ({"share": 0.05}, 1000, "too rare", "--balance"),
        ({"share": 0.95}, 1000, "too rare", "--balance"),
        ({}, 250, "ramp unfinished", "set --ramp 125"),
        ({"judge": 0.9}, 1000, "classifier unsure", "--judge"),
        ({"unexplained": 0.2}, 1000, "blurred", "--adversarial-weight 0.002"),
        ({}, 1000, "unknown", "--steps 2000"),
    ],
)
def test_causes_and_settings(numbers: dict[str, float], step: int, cause: str, setting: str) -> None:
    found = diagnose(report(accuracy=0.3, **numbers), SCHEMA, TRAINING, step)["Smiling"]
    assert [one["cause"] for one in found] == [cause]
    assert setting in found[0]["setting"]
    assert "30%" in found[0]["finding"]


@pytest.mark.parametrize(
    ("numbers", "setting"),
    [
        ({"probe": 0.9}, "--adversarial-weight 0.008 or --steps 2000"),
        ({"unexplained": 0.2}, "--steps 2000 or a larger --width"),
    ],
)
def test_an_adversary_that_was_off(numbers: dict[str, float], setting: str) -> None:
    off = replace(TRAINING, adversarial_weight=0.0)
    assert [one["setting"] for one in diagnose(report(accuracy=0.3, **numbers), SCHEMA, off, 1000)["Smiling"]] == [
        setting
    ]


def test_several_causes_are_all_named() -> None:
    numbers = report(accuracy=0.1, probe=0.9, judge=0.6, share=0.02)
    assert causes(numbers, step=10) == ["classifier unsure", "ramp unfinished", "too rare", "latent leaks"]
    balanced = TrainingConfig(balance=True)
    found = diagnose(report(accuracy=0.1, share=0.02), SCHEMA, balanced, None)["Smiling"]
    assert "add pictures" in found[0]["setting"]


def test_chance_of_a_switch_is_one_in_its_values() -> None:
    schema = Schema((Attribute("Smiling", ("no", "a little", "much")),))
    for probe, expected in ((0.4, "unknown"), (0.5, "latent leaks")):
        numbers = report(accuracy=0.1, probe=probe, network=0.33)
        assert [one["cause"] for one in diagnose(numbers, schema, TRAINING, 1000)["Smiling"]] == [expected]
