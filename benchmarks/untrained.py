"""A model with random weights, for benchmarks that need no better one."""

from __future__ import annotations

import torch

from fader.attributes import Schema
from fader.config import ClassifierConfig, configure
from fader.model import Model, make_network
from fader.networks.classifier import make_classifier


def random_model(preset: str, size: int) -> Model:
    """A preset with five attributes and a classifier, untrained."""
    torch.manual_seed(0)
    schema = Schema.binary([f"attribute {i}" for i in range(5)])
    config, of_classifier = configure(preset, size=size, channels=3), ClassifierConfig()
    classifier = make_classifier(of_classifier, size, 3, schema).eval()
    network = make_network(config, schema).eval()
    return Model(network, schema, config, classifier=classifier, classifier_config=of_classifier)
