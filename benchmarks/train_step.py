"""The training step against a plain transcription of the release's structure, pair by pair.

    python benchmarks/train_step.py [CASE ...] [--pairs 9]

The transcription does what `official-recipe.md` says of the authors' code, in the plainest PyTorch: a batch and an
encoder pass for each player, the code's channels appended as maps, contiguous NCHW, gradients clipped and Adam's rule
applied parameter by parameter, all eager. Networks, batch size and precision are the same on both sides, and both clip.

Printed beside the ratio: what share of the time the convolutions' multiply-adds alone would take, at the rate of a
large matrix product measured in the same run.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_
from torch.optim import Adam

from fader import objectives
from fader.attributes import Schema
from fader.config import Config
from fader.networks.autoencoder import AutoEncoder, Decoder, DecoderLayer, Latent
from fader.networks.blocks import Halving
from fader.training.step import Players

CLIP = 5.0
ATTRIBUTES = (1, 3, 40)
NETWORKS = {
    "small": ("small", {}),
    "64": ("small", {"width": 32, "max_width": 512, "batch_size": 32}),
    "128": ("small", {"size": 128, "width": 32, "max_width": 512, "batch_size": 32}),
    "256": ("paper", {}),
}


class PlainConvolution(nn.Conv2d):
    """As PyTorch has it, whatever the map's size."""


class ReleasedStep:
    """The structure of the release: two batches, two encoder passes."""

    def __init__(self, config: Config, schema: Schema) -> None:
        self.schema, self.config = schema, config
        players = Players.create(config, schema, torch.device("cpu"))
        self.autoencoder, self.discriminator = players.autoencoder.network, players.discriminator.network
        _make_plain(self.autoencoder)
        _make_plain(self.discriminator)
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

    def __call__(self, first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor]) -> None:
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
        self._update(self.autoencoder, self.optimizers[0], reconstruction + 1e-4 * adversarial)


class ConcatenatingDecoder(Decoder):
    """The code as maps, appended to the input of every layer."""

    def forward(self, latent: Latent, code: Tensor) -> Tensor:
        features = latent[0]
        for layer in self.layers:
            maps = code[:, :, None, None].expand(-1, -1, *features.shape[2:])
            features = torch.cat([features, maps], dim=1)
            for module in layer:
                features = module(features)
        return features


def _make_plain(network: nn.Module) -> None:
    """Give back to PyTorch what fader computes in its own way; the parameters stay the same."""
    for module in network.modules():
        if isinstance(module, Decoder):
            module.__class__ = ConcatenatingDecoder
        if isinstance(module, Halving):
            module.__class__ = PlainConvolution


def multiply_adds(config: Config, code_size: int) -> int:
    """Of the convolutions of one of our steps, forward and backward, without the code's."""
    total = 0
    network = AutoEncoder(config.network, code_size)

    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        if isinstance(module, DecoderLayer):
            convolution, coarse = module[0], inputs[0]
            inner, outer = inputs[0].shape[1], output.shape[1]
        else:
            convolution, coarse = module, output
            inner, outer = inputs[0].shape[1], output.shape[1]
        del convolution
        passes = 2 if inputs[0].shape[2] == config.network.size else 3  # The picture needs no gradient.
        total += passes * coarse.shape[2] * coarse.shape[3] * 16 * inner * outer

    for module in network.modules():
        if isinstance(module, Halving | DecoderLayer):
            module.register_forward_hook(count)
    network.eval()(torch.zeros(1, 3, config.network.size, config.network.size), torch.zeros(1, code_size))
    return total * config.training.batch_size
