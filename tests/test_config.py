"""The presets against the paper and the release, and refusals of what cannot work."""

import dataclasses
import math
from typing import Any, get_type_hints

import pytest

from fader.config import (
    ICGAN_PRESETS,
    PRESETS,
    ClassifierConfig,
    Config,
    DiscriminatorConfig,
    IcganConfig,
    IcganNetworkConfig,
    IcganTrainingConfig,
    NetworkConfig,
    TrainingConfig,
    configure,
    configure_icgan,
    read_config,
)
from fader.errors import UserError


def test_paper_is_section_4_and_5_1() -> None:
    config = PRESETS["paper"]
    assert config.network.encoder_widths == [16, 32, 64, 128, 256, 512, 512]
    assert config.network.latent_shape == (512, 2, 2)
    assert config.training.learning_rate == 0.002
    assert config.training.beta1 == 0.5
    assert config.training.batch_size == 32
    assert config.training.adversarial_weight == 1e-4
    assert config.training.ramp_steps == 500_000
    assert config.training.clip is None
    assert config.discriminator.discriminator_dropout == 0.3


def test_released_is_the_release_where_it_differs() -> None:
    config = PRESETS["released"]
    assert config.network.encoder_widths == [32, 64, 128, 256, 512, 512]
    assert config.network.latent_shape == (512, 4, 4)
    assert config.training.learning_rate == 2e-4
    assert config.training.ramp_steps == 500_000
    assert config.training.clip == 5.0
    assert config.training.steps * config.training.batch_size == 1_000 * 50_000


def test_extras_are_off_in_all_presets() -> None:
    for config in PRESETS.values():
        assert config.training.patchgan_weight == config.training.classifier_weight == 0
        assert config.network.skips == 0
        assert config.training.discriminator_mode == "eval"


def test_ramp_shortens_with_the_run_unless_it_is_given() -> None:
    paper = PRESETS["paper"].training
    assert dataclasses.replace(paper, steps=2_000).ramp_steps == 1_000
    assert dataclasses.replace(paper, steps=2_000, ramp=500_000).ramp_steps == 500_000


def test_layers_follow_the_size_of_the_pictures() -> None:
    assert configure("paper", size=64).network.latent_shape == (256, 2, 2)
    assert configure("released", size=128).network.layers == 5
    assert configure("small", size=256).network.layers == 7
    assert configure("small", size=32, layers=3).network.layers == 3
    assert configure("paper") == PRESETS["paper"]


def test_unknown_presets_and_fields_are_named() -> None:
    with pytest.raises(UserError, match=r"'large'.*paper, released, small"):
        configure("large")
    with pytest.raises(UserError, match="lambda"):
        configure("small", **{"lambda": 1})


@pytest.mark.parametrize("preset", PRESETS)
def test_configuration_survives_json(preset: str) -> None:
    assert Config.from_json(PRESETS[preset].to_json()) == PRESETS[preset]


@pytest.mark.parametrize(
    ("part", "field", "value"),
    [
        ("network", "layers", "7"),
        ("network", "layers", 7.5),
        ("network", "layers", True),
        ("network", "norm", "group"),
        ("network", "unknown", 1),
        ("network", "size", 10**30),
        ("training", "clip", "5"),
        ("training", "steps", 0),
        ("discriminator", "discriminator_dropout", 1.0),
    ],
)
def test_damaged_configurations_are_refused(part: str, field: str, value: Any) -> None:
    data = PRESETS["paper"].to_json()
    data[part][field] = value
    with pytest.raises(UserError, match=field):
        Config.from_json(data)


@pytest.mark.parametrize("data", [None, [], {}, {"network": {}, "training": {}}])
def test_configurations_with_parts_missing_are_refused(data: Any) -> None:
    with pytest.raises(UserError):
        Config.from_json(data)


@pytest.mark.parametrize(
    "fields",
    [
        {"size": 96},
        {"size": 16},
        {"channels": 2},
        {"size": 64, "layers": 7},
        {"layers": 0},
        {"skips": 7},
        {"width": 1024},
        {"size": 64, "layers": 6, "norm": "instance"},
        {"decoder_dropout": 1.0},
    ],
)
def test_impossible_networks_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(UserError):
        NetworkConfig(**fields)


@pytest.mark.parametrize(
    "fields",
    [
        {"batch_size": 1},
        {"learning_rate": 0.0},
        {"decay": 1.5},
        {"ramp": -1},
        {"ema": 1.0},
        {"clip": 0.0},
        {"accumulate": 0},
        {"accumulate": 3},
        {"accumulate": 32},
        {"accumulate": 2, "patchgan_weight": 0.1},
        {"beta1": 1.5},
        {"beta1": -0.1},
        {"beta2": 1.0},
        {"seed": 2**63},
    ],
)
def test_impossible_trainings_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(UserError):
        TrainingConfig(**fields)


@pytest.mark.parametrize("fields", [{"seed": -1}, {"seed": 2**63}, {"epochs": 0.0}, {"learning_rate": -1.0}])
def test_impossible_classifiers_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(UserError):
        ClassifierConfig(**fields)


KINDS = (
    NetworkConfig,
    DiscriminatorConfig,
    TrainingConfig,
    ClassifierConfig,
    IcganNetworkConfig,
    IcganTrainingConfig,
)
FLOATS = [
    (kind, name) for kind in KINDS for name, hint in get_type_hints(kind).items() if hint in (float, float | None)
]


@pytest.mark.parametrize(("kind", "name"), FLOATS, ids=lambda one: getattr(one, "__name__", one))
def test_floats_are_finite(kind: type, name: str) -> None:
    for value in (math.inf, -math.inf, math.nan, 10**400):
        with pytest.raises(UserError, match=rf"{name} is .*finite"):
            kind(**{name: value})


def test_icgan_presets_are_as_specified() -> None:
    paper, small = ICGAN_PRESETS["paper"], ICGAN_PRESETS["small"]
    assert (paper.network.size, paper.network.width, paper.network.noise) == (64, 64, 100)
    training = paper.training
    assert (training.batch_size, training.learning_rate, training.beta1, training.epochs) == (64, 2e-4, 0.5, 25)
    assert (training.refresh_passes, training.refresh_batch) == (100, 256)
    assert (training.encoder_learning_rate, training.encoder_beta1, training.encoder_epochs) == (1e-4, 0.1, 15)
    assert training.held_out == 0.34
    assert (small.network.width, small.training) == (32, training)


@pytest.mark.parametrize("config", [*PRESETS.values(), *ICGAN_PRESETS.values()])
def test_a_configuration_is_read_as_that_of_its_system(config: Config | IcganConfig) -> None:
    assert read_config(config.system, config.to_json()) == config
    with pytest.raises(UserError, match="no system 'vae'"):
        read_config("vae", config.to_json())


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (IcganNetworkConfig, {"size": 128}),
        (IcganNetworkConfig, {"channels": 2}),
        (IcganNetworkConfig, {"width": 7}),
        (IcganNetworkConfig, {"width": 0}),
        (IcganNetworkConfig, {"noise": 0}),
        (IcganTrainingConfig, {"epochs": 0}),
        (IcganTrainingConfig, {"encoder_epochs": 0}),
        (IcganTrainingConfig, {"batch_size": 1}),
        (IcganTrainingConfig, {"encoder_learning_rate": 0.0}),
        (IcganTrainingConfig, {"beta1": 1.0}),
        (IcganTrainingConfig, {"refresh_batch": 1}),
        (IcganTrainingConfig, {"held_out": 0.0}),
        (IcganTrainingConfig, {"held_out": 1.0}),
        (IcganTrainingConfig, {"seed": -1}),
        (IcganTrainingConfig, {"seed": 2**64}),
    ],
)
def test_impossible_icgans_are_refused(kind: type, fields: dict[str, Any]) -> None:
    with pytest.raises(UserError):
        kind(**fields)


def test_icgan_has_no_fields_of_a_fader_network() -> None:
    with pytest.raises(UserError, match="steps"):
        configure_icgan("small", steps=3)
    with pytest.raises(UserError, match=r"'released'.*paper, small"):
        configure_icgan("released")
