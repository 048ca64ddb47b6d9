"""The objectives of section 3: each loss a small function that returns (loss, named numbers).

Named numbers are detached scalars on the device: reading one waits for the device, so nobody does so at every step.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from fader.attributes import Schema

Numbers = dict[str, Tensor]
LABEL_SMOOTHING = 0.2  # Of the PatchGAN discriminator's targets, as in the authors' release.


def log_likelihood(logits: Tensor, labels: Tensor, schema: Schema) -> Tensor:
    """log P(y | z) = sum over k of log P_k(y_k | z), [B], from logits [B, code_size] and labels [B, n]."""
    return schema.log_likelihoods(logits, labels).sum(dim=1)


def reconstruction(decoded: Tensor, pixels: Tensor) -> tuple[Tensor, Numbers]:
    """The first term of equation 2, ||D(E(x), y) - x||^2, as the mean over pixels, channels and batch."""
    loss = F.mse_loss(decoded, pixels)
    return loss, {"reconstruction": loss.detach()}


def discrimination(logits: Tensor, labels: Tensor, schema: Schema) -> tuple[Tensor, Numbers]:
    """Equation 1: -log P(y | E(x)), summed over attributes and averaged over the batch."""
    loss = -log_likelihood(logits, labels, schema).mean()
    right = (schema.predictions(logits.detach())[0] == labels).to(loss.dtype).mean()
    return loss, {"discriminator": loss.detach(), "discriminator_accuracy": right}


def adversarial(logits: Tensor, targets: Tensor, schema: Schema) -> tuple[Tensor, Numbers]:
    """The second term of equation 2 without its weight: -log P(1 - y | E(x)); `targets` are the 1 - y, [B, n]."""
    loss = -log_likelihood(logits, targets, schema).mean()
    return loss, {"adversarial": loss.detach()}


def classification(logits: Tensor, labels: Tensor, schema: Schema) -> tuple[Tensor, Numbers]:
    """Whether a classifier sees in decodings the attributes that they were decoded with."""
    loss = -log_likelihood(logits, labels, schema).mean()
    return loss, {"classifier": loss.detach()}


def patch_discrimination(real: Tensor, decoded: Tensor) -> tuple[Tensor, Numbers]:
    """PatchGAN's discriminator: pictures are real, decodings are not, patch by patch, with smoothed targets."""
    loss = 0.5 * (_against(real, 1 - LABEL_SMOOTHING) + _against(decoded, LABEL_SMOOTHING))
    return loss, {"patch_discriminator": loss.detach()}


def patch_realism(decoded: Tensor) -> tuple[Tensor, Numbers]:
    """PatchGAN's other player: decodings should pass as real."""
    loss = _against(decoded, 1.0)
    return loss, {"patch_realism": loss.detach()}


def conditional_discrimination(real: Tensor, wrong: Tensor, fake: Tensor) -> tuple[Tensor, Numbers]:
    """What an IcGAN's discriminator learns from logits: pictures with their labels are right; pictures with the labels
    of others, and generated ones, are not, and weigh half each."""
    of_real, of_wrong, of_fake = _against(real, 1.0), _against(wrong, 0.0), _against(fake, 0.0)
    loss = of_real + 0.5 * of_wrong + 0.5 * of_fake
    return loss, {"real": of_real.detach(), "wrong": of_wrong.detach(), "fake": of_fake.detach()}


def generation(fake: Tensor) -> tuple[Tensor, Numbers]:
    """What an IcGAN's generator learns from the discriminator's logits: its pictures should pass as right."""
    loss = _against(fake, 1.0)
    return loss, {"generator": loss.detach()}


def regression(estimate: Tensor, target: Tensor) -> tuple[Tensor, Numbers]:
    """What an IcGAN's encoders learn: squared error, as the mean over numbers and batch."""
    loss = F.mse_loss(estimate, target)
    return loss, {"squared_error": loss.detach()}


def _against(logits: Tensor, target: float) -> Tensor:
    """Binary cross-entropy of logits, each against the same target."""
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, target))
