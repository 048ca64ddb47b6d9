"""What a latent still tells of the attributes: fresh probes, trained from scratch on frozen latents.

The discriminator of the training says little of that: it is the one that the encoder learnt to fool.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fader.attributes import Schema

L2 = 1e-4
"""Weight of half the squared norm of the linear probe's weights, beside the mean cross-entropy."""
ITERATIONS = 150  # Of L-BFGS, at most.
HIDDEN = 512  # Units of the network probe's two hidden layers, as of the paper's discriminator, and its dropout.
DROPOUT = 0.3
EPOCHS = 20
BATCH = 128

Loss = Callable[[Tensor, Tensor], Tensor]
"""Of logits [B, code_size] and the positions [B] that they are of."""


@dataclass(frozen=True)
class Probe:
    """Reads every attribute in standardised features."""

    schema: Schema
    mean: Tensor
    scale: Tensor
    network: nn.Module
    """[N, F] to logits [N, code_size]."""
    log_prior: Tensor
    """[code_size]: log of each value's share in the training labels."""

    def log_probabilities(self, features: Tensor) -> Tensor:
        """log P of every value, [N, code_size], if an attribute's values were equally frequent; of features [N, F].

        That is how it learnt: from classes of equal weight.
        """
        return self.schema.log_probabilities(self.network((features.to(self.mean) - self.mean) / self.scale))

    def predict(self, features: Tensor, balanced: bool = True) -> Tensor:
        """The likeliest labels, int64 [N, n], of features [N, F], for equally frequent values.

        Without `balanced` the values' shares in the training labels are taken into account.
        """
        read = self.log_probabilities(features)
        return self.schema.predictions(read if balanced else read + self.log_prior)[0]


def fit_probes(features: Tensor, labels: Tensor, schema: Schema) -> tuple[Probe, Probe]:
    """A linear probe and a network as strong as the discriminator, fitted to features [N, F] and labels [N, n].

    The features are overwritten. Both minimise the cross-entropy, in which the values of an attribute have equal
    weight however frequent they are. Both are deterministic.
    """
    mean = features.mean(dim=0)
    features -= mean
    scale = torch.linalg.vector_norm(features, dim=0) / len(features) ** 0.5
    scale[scale <= 1e-6 * scale.max()] = 1.0  # A constant feature tells nothing and stays 0.
    features /= scale
    counts = torch.cat([torch.bincount(labels[:, k], minlength=len(a.values)) for k, a in enumerate(schema)])
    starts = torch.tensor([part.start for part in schema.slices], device=labels.device)
    sizes = torch.tensor([len(attribute.values) for attribute in schema], device=labels.device)
    places = labels + starts
    # Of each label in its attribute's loss: so that every value weighs 1 / its attribute's number of values in all.
    shares = 1.0 / (sizes * counts[places])

    def loss(logits: Tensor, rows: Tensor) -> Tensor:
        """Summed over the rows; over all of them it is the sum of the attributes' balanced cross-entropies."""
        log_probabilities = schema.log_probabilities(logits)
        return -(log_probabilities.gather(1, places[rows]) * shares[rows]).sum()

    log_prior = torch.log(counts.clamp(min=0.5) / len(labels)).to(features)
    with torch.random.fork_rng(devices=[features.device] if features.device.type == "cuda" else []):
        torch.manual_seed(0)
        networks = (_fit_linear(features, schema.code_size, loss), _fit_network(features, schema.code_size, loss))
    linear, strong = (Probe(schema, mean, scale, network, log_prior) for network in networks)
    return linear, strong


def _fit_linear(features: Tensor, outputs: int, loss: Loss) -> nn.Linear:
    """Logistic regression: the loss plus L2 / 2 times the squared weights, by L-BFGS with a line search."""
    network = nn.Linear(features.shape[1], outputs, device=features.device)
    nn.init.zeros_(network.weight)
    nn.init.zeros_(network.bias)
    optimizer = torch.optim.LBFGS(
        network.parameters(),
        max_iter=ITERATIONS,
        tolerance_grad=1e-5,
        tolerance_change=1e-6,
        line_search_fn="strong_wolfe",
    )
    everything = torch.arange(len(features), device=features.device)

    def closure() -> Tensor:
        optimizer.zero_grad()
        total = loss(F.linear(features, network.weight, network.bias), everything)
        total = total + 0.5 * L2 * network.weight.square().sum()
        total.backward()
        return total

    optimizer.step(closure)
    return network.requires_grad_(False)


def _fit_network(features: Tensor, outputs: int, loss: Loss) -> nn.Module:
    """As many layers as the discriminator: on a latent of side 2 its convolution is one more linear layer. By Adam."""
    sizes = [features.shape[1], HIDDEN, HIDDEN]
    layers = [
        layer
        for inputs, units in pairwise(sizes)
        for layer in (nn.Linear(inputs, units), nn.LeakyReLU(0.2, inplace=True), nn.Dropout(DROPOUT))
    ]
    network = nn.Sequential(*layers, nn.Linear(HIDDEN, outputs)).to(features.device)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(features)).to(features.device).split(BATCH):
            optimizer.zero_grad()
            total = loss(network(features[rows]), rows) * (len(features) / len(rows))
            torch.autograd.backward(total)
            optimizer.step()
    return network.eval().requires_grad_(False)
