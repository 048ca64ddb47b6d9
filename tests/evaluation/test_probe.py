"""The probe where the answer is known: separable, independent, rare, and the optimum by its own formula."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fader.attributes import Attribute, Schema
from fader.evaluation.probe import L2, Probe, fit_probes
from fader.metrics import balanced_accuracy

ONE = Schema.binary(["Smiling"])


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def fit_probe(features: Tensor, labels: Tensor, schema: Schema) -> Probe:
    return fit_probes(features.clone(), labels, schema)[0]


def fit_network(features: Tensor, labels: Tensor, schema: Schema) -> Probe:
    return fit_probes(features.clone(), labels, schema)[1]


def score(predicted: Tensor, labels: Tensor, values: int = 2) -> float:
    return float(balanced_accuracy(predicted.numpy(), labels.numpy(), values, np.ones((1, len(labels))))[0])


def test_separable_labels_are_read_whatever_the_scales_of_the_features() -> None:
    schema = Schema((Attribute("Smiling"), Attribute("Hair", ("black", "blond", "red"))))
    features = normal(3000, 6)
    smiling = (features[:, 0] > 0).long()
    hair = torch.stack([features[:, 1], features[:, 2], features[:, 3]], dim=1).argmax(dim=1)
    labels = torch.stack([smiling, hair], dim=1)
    features = features * torch.tensor([1e-3, 1.0, 1.0, 1.0, 1e3, 0.0]) + 5.0
    probe = fit_probe(features[:2000], labels[:2000], schema)
    predicted = probe.predict(features[2000:])
    assert score(predicted[:, 0], labels[2000:, 0]) > 0.98
    assert score(predicted[:, 1], labels[2000:, 1], 3) > 0.98


def test_independent_labels_are_chance() -> None:
    labels = (normal(6000, 1, seed=1) > 0).long()
    features = normal(6000, 20)
    probe = fit_probe(features[:4000], labels[:4000], ONE)
    assert score(probe.predict(features[4000:])[:, 0], labels[4000:, 0]) == pytest.approx(0.5, abs=0.03)


def test_rare_and_independent_is_chance_when_balanced_and_the_majority_when_not() -> None:
    labels = (torch.rand(6000, 1, generator=torch.Generator().manual_seed(1)) < 0.05).long()
    features = normal(6000, 20)
    probe = fit_probe(features[:4000], labels[:4000], ONE)
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
    probe = fit_probe(features[:2000], labels[:2000], ONE)
    assert score(probe.predict(features[2000:])[:, 0], labels[2000:, 0]) > 0.98


def test_weights_are_the_optimum() -> None:
    """At the optimum of the convex loss its gradient, written out for a softmax of a pair, is 0."""
    features = normal(500, 3).double()
    labels = ((features[:, 0] + normal(500, seed=2)) > 1.0).long()[:, None]
    probe = fit_probe(features.float(), labels, ONE)
    x = ((features - features.mean(0)) / features.std(0, correction=0)).numpy()
    y = labels[:, 0].numpy()
    assert isinstance(probe.network, nn.Linear)
    weight, bias = probe.network.weight.double().numpy(), probe.network.bias.double().numpy()
    logits = x @ (weight[1] - weight[0]) + bias[1] - bias[0]
    share = np.where(y == 1, 0.5 / y.sum(), 0.5 / (1 - y).sum())
    residual = share * (1 / (1 + np.exp(-logits)) - y)
    assert weight[1] == pytest.approx(-weight[0], abs=1e-4)
    assert np.abs(residual @ x + L2 * weight[1]).max() < 1e-3
    assert abs(residual.sum()) < 1e-3


def test_constant_features_and_a_value_without_pictures() -> None:
    features = torch.ones(50, 4)
    labels = torch.zeros(50, 1, dtype=torch.int64)
    probe = fit_probe(features, labels, ONE)
    assert probe.predict(features, balanced=False).tolist() == labels.tolist()


def test_a_network_reads_what_no_plane_separates() -> None:
    """Whether two features have the same sign (exclusive or), beside one that can be read and one that cannot."""
    schema = Schema.binary(["Same", "Plain", "Independent"])
    features = normal(6000, 6)
    same = (features[:, 0] * features[:, 1] > 0).long()
    labels = torch.stack([same, (features[:, 2] > 0).long(), (normal(6000, seed=1) > 0).long()], dim=1)
    linear, network = fit_probes(features[:4000].clone(), labels[:4000], schema)
    for probe, expected in ((linear, [0.5, 1.0, 0.5]), (network, [1.0, 1.0, 0.5])):
        predicted = probe.predict(features[4000:])
        assert [score(predicted[:, k], labels[4000:, k]) for k in range(3)] == pytest.approx(expected, abs=0.06)


def test_a_network_weighs_rare_values_as_much_as_frequent_ones() -> None:
    labels = (torch.rand(4000, 1, generator=torch.Generator().manual_seed(1)) < 0.1).long()
    features = normal(4000, 4)
    features[:, 0] += 2.0 * labels[:, 0]
    predicted = fit_network(features[:2000], labels[:2000], ONE).predict(features[2000:])[:, 0]
    # Two normal distributions, two deviations apart: the best reader of equally frequent values is right in 84%.
    assert score(predicted, labels[2000:, 0]) == pytest.approx(0.84, abs=0.04)
    for value, share in ((0, 0.84), (1, 0.84)):
        of_value = labels[2000:, 0] == value
        assert float((predicted[of_value] == value).float().mean()) == pytest.approx(share, abs=0.09)


def test_they_are_deterministic_and_leave_the_random_state_alone() -> None:
    features, labels = normal(300, 8), (normal(300, 1, seed=1) > 0).long()
    predictions = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        state = torch.random.get_rng_state()
        probes = fit_probes(features.clone(), labels, ONE)
        assert torch.equal(torch.random.get_rng_state(), state)
        predictions.append([probe.network(features) for probe in probes])
    for first, second in zip(*predictions, strict=True):
        assert torch.equal(first, second)
