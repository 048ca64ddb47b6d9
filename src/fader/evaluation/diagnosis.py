"""Why a fader does little, as far as the numbers tell, and which setting to change."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from fader.attributes import Attribute, Schema
from fader.config import PRESETS, TrainingConfig

# A fader does little where one of these is not reached.
ACCURACY = 0.85  # Of its swaps.
DIRECTION = 0.75  # Of its swaps to one value.
GAIN = 0.5  # To absent; to present, a picture does not always tell what should be added.
# What points to a cause.
UNSURE = 0.95  # Balanced accuracy of the judge on real pictures: below.
RARE = 0.1  # Share of the training pictures: below.
LEAK = 0.15  # Balanced accuracy of the better probe above chance: above.
BLURRED = 0.1  # Unexplained share of the reconstruction: above.


@dataclass(frozen=True)
class Cause:
    """What may be the reason, what tells so, and what to change."""

    cause: str
    finding: str
    setting: str


def diagnose(
    report: dict[str, Any], schema: Schema, training: TrainingConfig, step: int | None
) -> dict[str, list[dict[str, str]]]:
    """The possible causes for every attribute whose fader does little, as JSON.

    Args:
        report: What was measured, as in report.json.
        schema: The model's attributes.
        training: How the model was trained.
        step: After how many updates its weights were taken, if that is known.
    """
    diagnosis = {}
    for attribute in schema:
        weakness = _weakness(report["swap"][attribute.name])
        if weakness:
            causes = list(_causes(report, attribute, training, step)) or [_no_plain_cause(report, training)]
            diagnosis[attribute.name] = [asdict(one) | {"finding": f"{weakness}: {one.finding}"} for one in causes]
    return diagnosis


def _weakness(swap: dict[str, Any]) -> str | None:
    if swap["accuracy"] < ACCURACY:
        return f"only {swap['accuracy']:.0%} of the swaps are seen"
    for value, accuracy in swap["to"].items():
        if accuracy is not None and accuracy < DIRECTION:
            return f"only {accuracy:.0%} of the swaps to {value} are seen"
    gain = swap["gain"] if swap["gain_to_absent"] is None else swap["gain_to_absent"]
    if gain is not None and gain < GAIN:
        return f"swaps are seen, but with a gain of {gain:.2f} they are far from the true pictures"
    return None


def _causes(
    report: dict[str, Any], attribute: Attribute, training: TrainingConfig, step: int | None
) -> Iterator[Cause]:
    judged = report["classifier"][attribute.name]["balanced_accuracy"]
    if judged is not None and judged < UNSURE:
        yield Cause(
            "classifier unsure",
            f"the judge recognises only {judged:.0%} on real pictures (mean over the values)",
            "look at the labels, or train a judge for longer (fader classifier --architecture residual --epochs 20)"
            " and name it with --judge",
        )
    if step is not None and step < training.ramp_steps:
        yield Cause(
            "ramp unfinished",
            f"these weights were taken when lambda had risen to {step / training.ramp_steps:.0%}",
            f"train to the end, choose a later epoch with fader select, or set --ramp {max(1, step // 2)}",
        )
    value, share = min(report["meta"]["training_shares"][attribute.name].items(), key=lambda item: item[1])
    if share < RARE:
        yield Cause(
            "too rare",
            f"only {share:.1%} of the training pictures are {value}",
            f"add pictures that are {value}" if training.balance else "--balance",
        )
    latent, chance = report["latent"][attribute.name], 1 / len(attribute.values)
    probe, reader = max(
        (latent[key] or 0.0, reader)
        for key, reader in (("probe_balanced", "linear probe"), ("network_probe_balanced", "network"))
    )
    if probe > chance + LEAK:
        yield Cause(
            "latent leaks",
            f"a {reader} finds it in the latent ({probe:.0%}, chance {chance:.0%}), so the decoder need not look at"
            " the fader",
            f"--adversarial-weight {_more(training):g} or --steps {2 * training.steps}",
        )


def _more(training: TrainingConfig) -> float:
    """Twice its lambda; where that was 0, the one of the preset that trains about as long: short runs need more."""
    like = min(PRESETS.values(), key=lambda preset: abs(math.log(preset.training.steps / training.steps)))
    return 2 * training.adversarial_weight or like.training.adversarial_weight


def _no_plain_cause(report: dict[str, Any], training: TrainingConfig) -> Cause:
    unexplained = report["reconstruction"]["unexplained"]
    if unexplained is not None and unexplained > BLURRED:
        weight = training.adversarial_weight
        less = f", a larger --width, or --adversarial-weight {weight / 2:g}" if weight else " or a larger --width"
        return Cause(
            "blurred",
            f"{unexplained:.0%} of the pictures stays unexplained, which leaves little to see of anything",
            f"--steps {2 * training.steps}{less}",
        )
    return Cause(
        "unknown", "the latent hides it, it is frequent, and the judge is sure", f"--steps {2 * training.steps}"
    )
