"""The training step: the update rule of section 3.

    dis(t+1)        = dis(t)        - eta grad L_dis(dis(t) | enc(t), x, y)
    [enc, dec](t+1) = [enc, dec](t) - eta grad L(enc(t), dec(t) | dis(t+1), x, y)

with Adam in the place of plain gradient steps. The latent z = E(x) is computed once for both players: the encoder does
not move between the two updates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from fader import objectives
from fader.attributes import Schema
from fader.config import Config, TrainingConfig
from fader.memory import sent
from fader.networks.autoencoder import AutoEncoder, Encoder, Latent
from fader.networks.blocks import Network
from fader.networks.discriminators import LatentDiscriminator, PatchDiscriminator
from fader.objectives import Numbers
from fader.training import computing, processes
from fader.training.player import Player


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
            network, training = processes.share_statistics(network, device), config.training
            betas = (training.beta1, training.beta2)
            return Player(network, device, training.learning_rate, betas, training.clip, shared=True)

        players = cls(
            autoencoder=player(AutoEncoder(config.network, schema.code_size)),
            discriminator=player(LatentDiscriminator(config.discriminator, config.network, schema)),
            patch_discriminator=player(PatchDiscriminator(config.network.channels))
            if config.training.patchgan_weight
            else None,
            classifier=classifier.eval().requires_grad_(False)
            if config.training.classifier_weight and classifier is not None
            else None,
        )
        encoder, decoder = players.autoencoder.network.encoder, players.autoencoder.network.decoder
        if config.training.precision == "bfloat16":
            computing.keep_latent_precise(encoder)
        if config.training.compile:
            computing.compile_in_place(encoder, decoder, players.discriminator.network)
        return players

    def moving(self) -> dict[str, Player[Any]]:
        """The players that are trained, by name."""
        players: dict[str, Player[Any]] = {"autoencoder": self.autoencoder, "discriminator": self.discriminator}
        if self.patch_discriminator is not None:
            players["patch_discriminator"] = self.patch_discriminator
        return players

    def set_learning_rate(self, learning_rate: float) -> None:
        for player in self.moving().values():
            player.set_learning_rate(learning_rate)


def training_step(
    players: Players, pixels: Tensor, labels: Tensor, adversarial_weight: float, schema: Schema, config: TrainingConfig
) -> Numbers:
    """One update of each player on pixels x [B, C, S, S] and labels y [B, n], with lambda_E as given.

    Losses and their gradients are means over `config.accumulate` micro-batches of equal size, and over the processes.
    Returns named scalars, left on the device.
    """
    autoencoder, discriminator = players.autoencoder.network, players.discriminator.network
    forward = partial(computing.forward, config=config)
    count = config.accumulate
    micro_batches = list(zip(pixels.chunk(count), labels.chunk(count), strict=True))
    all_numbers: list[Numbers] = []
    autoencoder.train()

    # The discriminator learns y from z, which is a constant to it (equation 1).
    discriminator.train()
    with players.discriminator.update():
        for x, y in micro_batches:
            # With one micro-batch z serves both players. With several it is computed again in the encoder's turn.
            latent = forward(autoencoder.encoder, x) if count == 1 else _constant_latent(autoencoder.encoder, x, config)
            logits = forward(discriminator, tuple(part.detach() for part in latent))
            loss, numbers = objectives.discrimination(logits, y, schema)
            torch.autograd.backward(loss / count)
            all_numbers.append(numbers)

    # Encoder and decoder learn against the discriminator as it now is (equation 2). It is held fixed: gradients pass
    # through it and leave none in it.
    discriminator.train(config.discriminator_mode == "train")
    discriminator.requires_grad_(False)
    with players.autoencoder.update():
        for x, y in micro_batches:
            if count > 1:
                latent = forward(autoencoder.encoder, x)
            decoded = forward(autoencoder.decoder, latent, schema.code(y))
            reconstruction, reconstruction_numbers = objectives.reconstruction(decoded, x)
            adversarial, adversarial_numbers = objectives.adversarial(
                forward(discriminator, latent), schema.adversarial_target(y), schema
            )
            loss = reconstruction + adversarial_weight * adversarial
            numbers = reconstruction_numbers | adversarial_numbers
            if players.patch_discriminator is not None or players.classifier is not None:
                extra, extra_numbers = _losses_on_random_decodings(players, latent, x, y, schema, config)
                loss = loss + extra
                numbers |= extra_numbers
            torch.autograd.backward(loss / count)
            all_numbers.append(numbers)
    discriminator.requires_grad_(True)
    return _means(all_numbers, count)


@torch.no_grad()
def _constant_latent(encoder: Encoder, pixels: Tensor, config: TrainingConfig) -> Latent:
    """The latent in train mode without a graph, and without moving BatchNorm's running statistics: that happens when
    the same pictures are encoded again."""
    norms = [module for module in encoder.modules() if isinstance(module, nn.BatchNorm2d | nn.SyncBatchNorm)]
    for norm in norms:
        norm.track_running_stats = False
    latent: Latent = computing.forward(encoder, pixels, config=config)
    for norm in norms:
        norm.track_running_stats = True
    return latent


def _means(all_numbers: Sequence[Numbers], micro_batches: int) -> Numbers:
    """The means over the micro-batches."""
    means = Numbers()
    for numbers in all_numbers:
        for name, number in numbers.items():
            means[name] = means.get(name, 0) + number / micro_batches
    return means


def _losses_on_random_decodings(
    players: Players, latent: Latent, pixels: Tensor, labels: Tensor, schema: Schema, config: TrainingConfig
) -> tuple[Tensor, Numbers]:
    """The optional losses, on pictures decoded with the labels of other pictures of the batch."""
    forward = partial(computing.forward, config=config)
    others = labels[sent(torch.randperm(len(labels)), labels.device)]
    decoded = forward(players.autoencoder.network.decoder, latent, schema.code(others))
    total, numbers = torch.zeros((), device=pixels.device), Numbers()
    if players.patch_discriminator is not None:
        patches = players.patch_discriminator.network
        loss, more = objectives.patch_discrimination(forward(patches, pixels), forward(patches, decoded.detach()))
        with players.patch_discriminator.update():
            torch.autograd.backward(loss)
        numbers |= more
        patches.requires_grad_(False)
        loss, more = objectives.patch_realism(forward(patches, decoded))
        patches.requires_grad_(True)
        total, numbers = total + config.patchgan_weight * loss, numbers | more
    if players.classifier is not None:
        loss, more = objectives.classification(forward(players.classifier, decoded), others, schema)
        total, numbers = total + config.classifier_weight * loss, numbers | more
    return total, numbers
