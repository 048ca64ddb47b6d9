"""A plain transcription of the structure of the authors' release, to compare with.

It does what `official-recipe.md` says of their code, in the plainest PyTorch: a batch and an encoder pass for each
player, the code's channels appended as maps, contiguous NCHW, gradients clipped and Adam's rule applied parameter by
parameter, all eager.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_
from torch.optim import Adam

from fader import objectives
from fader.attributes import Schema
from fader.config import Config
from fader.networks.autoencoder import AutoEncoder, Decoder, Encoder, Latent
from fader.networks.blocks import Halving
from fader.networks.discriminators import LatentDiscriminator

CLIP = 5.0


class ReleasedStep:
    """The structure of the release: two batches, two encoder passes. Networks and Adam are as `config` has them."""

    def __init__(self, config: Config, schema: Schema) -> None:
        self.schema, self.config = schema, config
        self.autoencoder = AutoEncoder(config.network, schema.code_size)
        self.autoencoder.encoder = PlainEncoder(config.network, schema.code_size)
        self.autoencoder.decoder = PlainDecoder(config.network, schema.code_size)
        self.discriminator = LatentDiscriminator(config.discriminator, config.network, schema)
        self.optimizers = [self._optimizer(self.autoencoder), self._optimizer(self.discriminator)]

    def _optimizer(self, network: nn.Module) -> Adam:
        training = self.config.training
        betas = (training.beta1, training.beta2)
        return Adam(network.parameters(), lr=training.learning_rate, betas=betas, foreach=False, fused=False)

    def _update(self, network: nn.Module, optimizer: Adam, loss: Tensor) -> None:
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        clip_grad_norm_(network.parameters(), CLIP, foreach=False)
        optimizer.step()

    def __call__(self, first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor], adversarial_weight: float) -> None:
        """One update of each player, the discriminator's on the first batch: pixels [B, C, S, S], labels [B, n]."""
        pixels, labels = first
        self.autoencoder.eval()
        self.discriminator.train()
        with torch.no_grad():
            latent = self.autoencoder.encoder(pixels)
        loss, _ = objectives.discrimination(self.discriminator(latent), labels, self.schema)
        self._update(self.discriminator, self.optimizers[1], loss)

        pixels, labels = second
        self.autoencoder.train()
        self.discriminator.eval()
        latent = self.autoencoder.encoder(pixels)
        decoded = self.autoencoder.decoder(latent, self.schema.code(labels))
        reconstruction, _ = objectives.reconstruction(decoded, pixels)
        targets = self.schema.adversarial_target(labels)
        adversarial, _ = objectives.adversarial(self.discriminator(latent), targets, self.schema)
        self._update(self.autoencoder, self.optimizers[0], reconstruction + adversarial_weight * adversarial)


class PlainEncoder(Encoder):
    """Every convolution as PyTorch has it."""

    def forward(self, pixels: Tensor) -> Latent:
        for layer in self.layers:
            for module in layer.children():
                if isinstance(module, Halving):
                    pixels = F.conv2d(pixels, module.weight, module.bias, stride=2, padding=1)
                else:
                    pixels = module(pixels)
        return (pixels,)


class PlainDecoder(Decoder):
    """The code as maps, appended to the input of every layer."""

    def forward(self, latent: Latent, code: Tensor) -> Tensor:
        features = latent[0]
        for layer in self.layers:
            maps = code[:, :, None, None].expand(-1, -1, *features.shape[2:])
            features = torch.cat([features, maps], dim=1)
            for module in layer.children():
                features = module(features)
        return features
