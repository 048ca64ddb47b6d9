"""Small models with random weights, for tests of what is done with a model."""

from __future__ import annotations

from typing import Any

import torch

from fader.attributes import Attribute, Schema
from fader.config import ClassifierConfig, Config, NetworkConfig
from fader.images import Framing
from fader.model import Model
from fader.networks.autoencoder import AutoEncoder
from fader.networks.classifier import make_classifier

SCHEMA = Schema((Attribute("Smiling"), Attribute("Hair", ("black", "blond", "red")), Attribute("5_o_Clock_Shadow")))


def tiny_model(
    schema: Schema = SCHEMA, with_classifier: bool = True, framing: Framing | None = None, seed: int = 0, **fields: Any
) -> Model:
    """A model of 32 pixels; BatchNorm's buffers have seen a batch, so that they matter."""
    network_config = NetworkConfig(**{"size": 32, "layers": 3, "width": 8, "max_width": 16, **fields})
    classifier_config = ClassifierConfig(width=4, max_width=8, hidden=8)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = AutoEncoder(network_config, schema.code_size)
        classifier = make_classifier(classifier_config, network_config.size, network_config.channels, schema)
        pixels = torch.rand(8, network_config.channels, network_config.size, network_config.size) * 2 - 1
        with torch.no_grad():
            network(pixels, torch.rand(8, schema.code_size))
            classifier(pixels)
    return Model(
        network.eval(),
        schema,
        Config(network=network_config),
        framing or Framing(),
        classifier.eval() if with_classifier else None,
        classifier_config if with_classifier else None,
        dataset={"name": "faces", "fingerprint": "0123456789abcdef"},
        selection={"epoch": 3, "mse": 0.0123456789, "accuracy": {"Smiling": 0.97}},
    )
