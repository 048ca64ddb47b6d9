"""The encoder and the decoder of section 4."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fader.config import NetworkConfig
from fader.networks.blocks import by_product, convolve, double, double_with_code, make_norm
from fader.networks.erasure import LinearErasure

Latent = tuple[Tensor, ...]
"""What the encoder hands on: the latent z, [B, C, s, s], and behind it one feature map for each skip connection, deep
to shallow. The last entry determines all the others, so it is what the discriminator has to read."""

DROPOUT_LAYERS = 3  # Decoder dropout acts in "the first layers of the decoder", which in pix2pix are three.


class Encoder(nn.Module):
    """E: pixels [B, C, S, S] in [-1, 1] to the latent; C16-C32-C64-C128-C256-C512-C512 in the preset `paper`."""

    def __init__(self, config: NetworkConfig, code_size: int) -> None:
        super().__init__()
        self.layers = convolve(config.channels, config.encoder_widths, config.norm, norm_first=False)
        self.skips = config.skips
        self.erasure = LinearErasure(math.prod(config.latent_shape), code_size) if config.erase else None

    def forward(self, pixels: Tensor) -> Latent:
        features = []
        for layer in self.layers:
            pixels = layer(pixels)
            features.append(pixels)
        latent = tuple(features[::-1][: self.skips + 1])
        return latent if self.erasure is None else (self.erasure(latent[0]),)


class Decoder(nn.Module):
    """D: the latent and a code [B, code_size] to pixels [B, C, S, S] in [-1, 1].

    The code is appended to the input of every layer as constant channels. Layers mirror the encoder's, with ReLU; the
    last one has no norm and ends in tanh.
    """

    def __init__(self, config: NetworkConfig, code_size: int) -> None:
        super().__init__()
        inputs = config.encoder_widths[::-1]
        outputs = [*inputs[1:], config.channels]
        self.layers = nn.ModuleList()
        for i in range(config.layers):
            # A skip connection brings the encoder's feature map of the same side, which has as many channels.
            skipped = inputs[i] if 1 <= i <= config.skips else 0
            layers = upsample(config.upsampling, inputs[i] + skipped + code_size, outputs[i])
            if i < config.layers - 1:
                layers += [make_norm(config.norm, outputs[i]), nn.ReLU(inplace=True)]
                if config.decoder_dropout and i < DROPOUT_LAYERS:
                    layers.append(nn.Dropout(config.decoder_dropout))
            else:
                layers.append(nn.Tanh())
            self.layers.append(DecoderLayer(layers))

    def forward(self, latent: Latent, code: Tensor) -> Tensor:
        features = latent[0]
        code = code.to(features.dtype)
        for i, layer in enumerate(self.layers):
            if 1 <= i < len(latent):
                features = torch.cat([features, latent[i]], dim=1)
            features = layer(features, code)
        return features


class DecoderLayer(nn.ModuleList):
    """A layer of the decoder: modules one after the other, the convolution with the code appended to its input."""

    def forward(self, features: Tensor, code: Tensor) -> Tensor:
        for module in self:
            if isinstance(module, nn.ConvTranspose2d | nn.Conv2d):
                features = convolve_with_code(module, features, code)
            else:
                features = module(features)
        return features


def convolve_with_code(convolution: nn.Conv2d | nn.ConvTranspose2d, features: Tensor, code: Tensor) -> Tensor:
    """What the convolution makes of features [B, C, s, s] with a code [B, m] appended as m constant channels.

    Where the map is not small the channels are never made: a constant map's convolution is the same everywhere but at
    the border (and, where the convolution doubles the side, alternates), so the smallest map that shows all of it is
    convolved, and what came out is added over and over. The cost hardly depends on m.
    """
    operation: Callable[[Tensor, Tensor], Tensor]
    if isinstance(convolution, nn.ConvTranspose2d):
        operation, dim, smallest = double, 0, 2
    else:
        operation, dim, smallest = partial(F.conv2d, padding=1), 1, 3
    side = features.shape[2]
    if operation is double and by_product(features, side):
        return double_with_code(features, code, convolution.weight)
    of_features, of_code = convolution.weight.split([features.shape[1], code.shape[1]], dim)
    convolved = operation(features, of_features)
    smallest = min(smallest, side)
    response = operation(code[:, :, None, None].expand(-1, -1, smallest, smallest), of_code)
    if response.shape == convolved.shape:
        return convolved + response
    return _add_repeatedly(convolved.permute(0, 2, 3, 1), response.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def _add_repeatedly(maps: Tensor, pattern: Tensor) -> Tensor:
    """To maps [B, S, S, K] a pattern [B, p, p, K] of which all but the border is repeated, so that it covers them."""
    side, interior = maps.shape[1], pattern.shape[1] - 2
    left, middle, right = pattern.split([1, interior, 1], dim=2)
    rows = torch.cat([left, middle.repeat(1, 1, (side - 2) // interior, 1), right], dim=2)  # [B, p, S, K]
    first_row, repeated, last_row = rows.split([1, interior, 1], dim=1)
    top, inside, bottom = maps.split([1, side - 2, 1], dim=1)
    inside = (inside.unflatten(1, (-1, interior)) + repeated[:, None]).flatten(1, 2)
    return torch.cat([top + first_row, inside, bottom + last_row], dim=1)


def upsample(kind: str, in_channels: int, out_channels: int) -> list[nn.Module]:
    """Doubles the side. Convolutions of the decoder have no bias: the constant code channels act as one."""
    if kind == "transposed":
        return [nn.ConvTranspose2d(in_channels, out_channels, kernel_size=4, stride=2, padding=1, bias=False)]
    if kind == "nearest":
        return [
            nn.Upsample(scale_factor=2, mode="nearest"),
            nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1, bias=False),
        ]
    return [
        nn.Conv2d(in_channels, 4 * out_channels, kernel_size=3, padding=1, bias=False),
        nn.PixelShuffle(2),
    ]


class AutoEncoder(nn.Module):
    """Encoder and decoder, which are trained as one player."""

    def __init__(self, config: NetworkConfig, code_size: int) -> None:
        super().__init__()
        self.encoder = Encoder(config, code_size)
        self.decoder = Decoder(config, code_size)

    def forward(self, pixels: Tensor, code: Tensor) -> Tensor:
        return self.decoder(self.encoder(pixels), code)

    def own_values(self, latent: Latent, labels: Tensor) -> Tensor:
        """The values [B, n] that pictures with these labels [B, n] are reconstructed with."""
        return labels
