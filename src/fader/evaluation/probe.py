"""What a latent still tells of the attributes: fresh linear probes, trained from scratch on frozen latents.

The discriminator of the training says little of that: it is the one that the encoder learnt to fool.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from fader.attributes import Schema

L2 = 1e-4
"""Weight of half the squared norm of the probe's weights, beside the mean cross-entropy."""
ITERATIONS = 150  # Of L-BFGS, at most.


@dataclass(frozen=True)
class Probe:
    """Logistic regressions on standardised features, one an attribute."""

    schema: Schema
    mean: Tensor
    scale: Tensor
    weight: Tensor
    """[code_size, F]"""
    bias: Tensor
    """[code_size]"""
    log_prior: Tensor
    """[code_size]: log of each value's share in the training labels."""

    def predict(self, features: Tensor, balanced: bool = True) -> Tensor:
        """The likeliest labels, int64 [N, n], of features [N, F].

        The probe learnt from classes of equal weight, so its logits are those of equally frequent values; without
        `balanced` the values' shares in the training labels are taken into account.
        """
        logits = F.linear((features.to(self.mean) - self.mean) / self.scale, self.weight, self.bias)
        return self.schema.predictions(logits if balanced else logits + self.log_prior)[0]


def fit_probe(features: Tensor, labels: Tensor, schema: Schema) -> Probe:
    """Fit the probes to features [N, F], which are overwritten, and labels [N, n]. It is deterministic.

    The loss is the cross-entropy, in which the values of an attribute have equal weight however frequent they are,
    plus L2 / 2 times the squared weights; it is convex and is minimised by L-BFGS with a line search.
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
    weight = torch.zeros(schema.code_size, features.shape[1], device=features.device, requires_grad=True)
    bias = torch.zeros(schema.code_size, device=features.device, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [weight, bias],
        max_iter=ITERATIONS,
        tolerance_grad=1e-5,
        tolerance_change=1e-6,
        line_search_fn="strong_wolfe",
    )

    def loss() -> Tensor:
        optimizer.zero_grad()
        log_probabilities = schema.log_probabilities(F.linear(features, weight, bias))
        total = -(log_probabilities.gather(1, places) * shares).sum() + 0.5 * L2 * weight.square().sum()
        total.backward()
        return total

    optimizer.step(loss)
    log_prior = torch.log(counts.clamp(min=0.5) / len(labels))
    return Probe(schema, mean, scale, weight.detach(), bias.detach(), log_prior.to(features))
