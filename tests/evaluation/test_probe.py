"""The probe where the answer is known: separable, independent, rare, and the optimum by its own formula."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from fader.attributes import Attribute, Schema
from fader.evaluation.probe import L2, fit_probe
from fader.metrics import balanced_accuracy

ONE = Schema.binary(["Smiling"])


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def score(predicted: Tensor, labels: Tensor, values: int = 2) -> float:
    accuracy = balanced_accuracy(predicted.numpy(), labels.numpy(), values)
    assert accuracy is not None
    return accuracy


def test_separable_labels_are_read_whatever_the_scales_of_the_features() -> None:
    schema = Schema((Attribute("Smiling"), Attribute("Hair", ("black", "blond", "red"))))
    features = normal(3000, 6)
    smiling = (features[:, 0] > 0).long()
    hair = torch.stack([features[:, 1], features[:, 2], features[:, 3]], dim=1).argmax(dim=1)
    labels = torch.stack([smiling, hair], dim=1)
    features = features * torch.tensor([1e-3, 1.0, 1.0, 1.0, 1e3, 0.0]) + 5.0
    probe = fit_probe(features[:2000].clone(), labels[:2000], schema)
    predicted = probe.predict(features[2000:])
    assert score(predicted[:, 0], labels[2000:, 0]) > 0.98
    assert score(predicted[:, 1], labels[2000:, 1], 3) > 0.98


def test_independent_labels_are_chance() -> None:
    labels = (normal(6000, 1, seed=1) > 0).long()
    features = normal(6000, 20)
    probe = fit_probe(features[:4000].clone(), labels[:4000], ONE)
    assert score(probe.predict(features[4000:])[:, 0], labels[4000:, 0]) == pytest.approx(0.5, abs=0.03)


def test_rare_and_independent_is_chance_when_balanced_and_the_majority_when_not() -> None:
    labels = (torch.rand(6000, 1, generator=torch.Generator().manual_seed(1)) < 0.05).long()
    features = normal(6000, 20)
    probe = fit_probe(features[:4000].clone(), labels[:4000], ONE)
    predicted = probe.predict(features[4000:])[:, 0]
    assert score(predicted, labels[4000:, 0]) == pytest.approx(0.5, abs=0.07)
    assert 0.3 < predicted.float().mean() < 0.7
    natural = probe.predict(features[4000:], balanced=False)[:, 0]
    majority = float((labels[4000:] == 0).float().mean())
    assert float((natural == labels[4000:, 0]).float().mean()) == pytest.approx(majority, abs=0.005)


def test_rare_and_known_is_read_in_both_directions() -> None:
    labels = (torch.rand(4000, 1, generator=torch.Generator().manual_seed(1)) < 0.05).long()
    features = normal(4000, 10)
    features[:, 3] += 6.0 * labels[:, 0]
    probe = fit_probe(features[:2000].clone(), labels[:2000], ONE)
    assert score(probe.predict(features[2000:])[:, 0], labels[2000:, 0]) > 0.98


def test_weights_are_the_optimum() -> None:
    """At the optimum of the convex loss its gradient, written out for a softmax of a pair, is 0."""
    features = normal(500, 3).double()
    labels = ((features[:, 0] + normal(500, seed=2)) > 1.0).long()[:, None]
    probe = fit_probe(features.float().clone(), labels, ONE)
    x = ((features - features.mean(0)) / features.std(0, correction=0)).numpy()
    y = labels[:, 0].numpy()
    weight, bias = probe.weight.double().numpy(), probe.bias.double().numpy()
    logits = x @ (weight[1] - weight[0]) + bias[1] - bias[0]
    share = np.where(y == 1, 0.5 / y.sum(), 0.5 / (1 - y).sum())
    residual = share * (1 / (1 + np.exp(-logits)) - y)
    assert weight[1] == pytest.approx(-weight[0], abs=1e-4)
    assert np.abs(residual @ x + L2 * weight[1]).max() < 1e-3
    assert abs(residual.sum()) < 1e-3


def test_constant_features_and_a_value_without_pictures() -> None:
    features = torch.ones(50, 4)
    labels = torch.zeros(50, 1, dtype=torch.int64)
    probe = fit_probe(features.clone(), labels, ONE)
    assert probe.predict(features, balanced=False).tolist() == labels.tolist()


def test_it_is_deterministic() -> None:
    features, labels = normal(300, 8), (normal(300, 1, seed=1) > 0).long()
    first, second = (fit_probe(features.clone(), labels, ONE) for _ in range(2))
    assert torch.equal(first.weight, second.weight)
