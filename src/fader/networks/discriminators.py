"""The adversaries: the latent discriminator of section 4, and the optional PatchGAN on the decoder's output."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fader.attributes import Schema
from fader.config import DiscriminatorConfig, NetworkConfig
from fader.networks.autoencoder import Latent
from fader.networks.blocks import convolve, head


class LatentDiscriminator(nn.Module):
    """Tells the attributes from the latent: C512, then two fully connected layers of sizes 512 and n.

    Returns logits [B, code_size]; a softmax over each attribute's values is P(y_k | z). With `logits="one"` a binary
    attribute has one logit l and P(present) = sigmoid(l), which is the softmax over (0, l), so that whoever reads the
    logits knows one form only.

    A convolution needs a latent of side 2 at least: on a 1x1 latent it is left out. What is larger than 1x1 after the
    convolutions is flattened.
    """

    def __init__(self, config: DiscriminatorConfig, network: NetworkConfig, schema: Schema) -> None:
        super().__init__()
        side = network.size // 2 ** (network.layers - network.skips)
        channels = network.encoder_widths[-1 - network.skips]
        convolutions = side.bit_length() - 1
        if config.discriminator_convolutions == "one":
            convolutions = min(convolutions, 1)
        width, dropout = config.discriminator_width, config.discriminator_dropout
        self.convolutions = convolve(channels, [width] * convolutions, dropout=dropout)
        features = (width if convolutions else channels) * (side >> convolutions) ** 2
        one_logit = config.discriminator_logits == "one"
        self.sizes = [1 if one_logit and attribute.binary else len(attribute.values) for attribute in schema]
        self.head = head(features, config.discriminator_hidden, sum(self.sizes), dropout if one_logit else 0.0)

    def forward(self, latent: Latent) -> Tensor:
        parts = self.head(self.convolutions(latent[-1])).split(self.sizes, dim=1)
        return torch.cat([nn.functional.pad(part, (1, 0)) if part.shape[1] == 1 else part for part in parts], dim=1)


class PatchDiscriminator(nn.Module):
    """Tells pictures from decodings, patch by patch (PatchGAN): four 4x4 convolutions, three of stride 2.

    Pixels [B, C, S, S] to logits [B, 1, S/8 - 1, S/8 - 1], each with a loss of its own. (The release takes the mean of
    their sigmoids over the patches, and the loss of that.)
    """

    def __init__(self, channels: int, width: int = 32) -> None:
        super().__init__()
        self.convolutions = convolve(channels, [width, 2 * width, 4 * width], norm_first=False)
        self.logits = nn.Conv2d(4 * width, 1, kernel_size=4, stride=1, padding=1)

    def forward(self, pixels: Tensor) -> Tensor:
        return self.logits(self.convolutions(pixels))
