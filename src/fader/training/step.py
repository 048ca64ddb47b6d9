"""The training step: the update rule of section 3.

    dis(t+1)        = dis(t)        - eta grad L_dis(dis(t) | enc(t), x, y)
    [enc, dec](t+1) = [enc, dec](t) - eta grad L(enc(t), dec(t) | dis(t+1), x, y)

with Adam in the place of plain gradient steps. The latent z = E(x) is computed once for both players: the encoder does
not move between the two updates.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_
from torch.optim import Adam

from fader import objectives
from fader.attributes import Schema
from fader.config import Config, TrainingConfig
from fader.networks.autoencoder import AutoEncoder, Latent
from fader.networks.discriminators import LatentDiscriminator, PatchDiscriminator
from fader.objectives import Numbers

Network = TypeVar("Network", bound=nn.Module)


class Player(Generic[Network]):
    """A network and the optimiser that moves it."""

    def __init__(self, network: Network, config: TrainingConfig) -> None:
        self.network = network
        self.clip = config.clip
        betas = (config.beta1, config.beta2)
        self.optimizer = Adam(network.parameters(), lr=config.learning_rate, betas=betas, fused=True)

    def update(self, loss: Tensor) -> None:
        """Move this network, and no other, a step down the gradient of the loss."""
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        if self.clip is not None:
            clip_grad_norm_(self.network.parameters(), self.clip)
        self.optimizer.step()


@dataclass
class Players:
    """Encoder-decoder and discriminator, and what the optional losses add (absent in all presets)."""

    autoencoder: Player[AutoEncoder]
    discriminator: Player[LatentDiscriminator]
    patch_discriminator: Player[PatchDiscriminator] | None = None
    classifier: nn.Module | None = None  # It only judges: nothing moves it.

    @classmethod
    def create(
        cls, config: Config, schema: Schema, device: torch.device, classifier: nn.Module | None = None
    ) -> Players:
        """Fresh networks on the device. `classifier` is used where `classifier_weight` is above 0."""

        def player(network: Network) -> Player[Network]:
            return Player(network.to(device), config.training)

        return cls(
            autoencoder=player(AutoEncoder(config.network, schema.code_size)),
            discriminator=player(LatentDiscriminator(config.discriminator, config.network, schema)),
            patch_discriminator=player(PatchDiscriminator(config.network.channels))
            if config.training.patchgan_weight
            else None,
            classifier=classifier.eval().requires_grad_(False)
            if config.training.classifier_weight and classifier is not None
            else None,
        )

    def moving(self) -> dict[str, Player[Any]]:
        """The players that are trained, by name."""
        players: dict[str, Player[Any]] = {"autoencoder": self.autoencoder, "discriminator": self.discriminator}
        if self.patch_discriminator is not None:
            players["patch_discriminator"] = self.patch_discriminator
        return players

    def set_learning_rate(self, learning_rate: float) -> None:
        for player in self.moving().values():
            for group in player.optimizer.param_groups:
                group["lr"] = learning_rate


def training_step(
    players: Players, pixels: Tensor, labels: Tensor, adversarial_weight: float, schema: Schema, config: TrainingConfig
) -> Numbers:
    """One update of each player on pixels x [B, C, S, S] and labels y [B, n], with lambda_E as given.

    Returns named scalars, left on the device.
    """
    autoencoder, discriminator = players.autoencoder.network, players.discriminator.network
    autoencoder.train()
    latent = autoencoder.encoder(pixels)

    # The discriminator learns y from z, which is a constant to it (equation 1).
    discriminator.train()
    logits = discriminator(tuple(part.detach() for part in latent))
    loss, numbers = objectives.discrimination(logits, labels, schema)
    players.discriminator.update(loss)

    # Encoder and decoder learn against the discriminator as it now is (equation 2). It is held fixed: gradients pass
    # through it and leave none in it.
    discriminator.train(config.discriminator_mode == "train")
    discriminator.requires_grad_(False)
    decoded = autoencoder.decoder(latent, schema.code(labels))
    reconstruction, reconstruction_numbers = objectives.reconstruction(decoded, pixels)
    adversarial, adversarial_numbers = objectives.adversarial(
        discriminator(latent), schema.adversarial_target(labels), schema
    )
    loss = reconstruction + adversarial_weight * adversarial
    numbers |= reconstruction_numbers | adversarial_numbers
    if players.patch_discriminator is not None or players.classifier is not None:
        extra, extra_numbers = _losses_on_random_decodings(players, latent, pixels, labels, schema, config)
        loss = loss + extra
        numbers |= extra_numbers
    players.autoencoder.update(loss)
    discriminator.requires_grad_(True)
    return numbers


def _losses_on_random_decodings(
    players: Players, latent: Latent, pixels: Tensor, labels: Tensor, schema: Schema, config: TrainingConfig
) -> tuple[Tensor, Numbers]:
    """The optional losses, on pictures decoded with the labels of other pictures of the batch."""
    others = labels[torch.randperm(len(labels)).to(labels.device)]
    decoded = players.autoencoder.network.decoder(latent, schema.code(others))
    total, numbers = torch.zeros((), device=pixels.device), Numbers()
    if players.patch_discriminator is not None:
        patches = players.patch_discriminator.network
        loss, more = objectives.patch_discrimination(patches(pixels), patches(decoded.detach()))
        players.patch_discriminator.update(loss)
        numbers |= more
        patches.requires_grad_(False)
        loss, more = objectives.patch_realism(patches(decoded))
        patches.requires_grad_(True)
        total, numbers = total + config.patchgan_weight * loss, numbers | more
    if players.classifier is not None:
        loss, more = objectives.classification(players.classifier(decoded), others, schema)
        total, numbers = total + config.classifier_weight * loss, numbers | more
    return total, numbers
