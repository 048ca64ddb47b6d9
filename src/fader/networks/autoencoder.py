"""The encoder and the decoder of section 4."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fader.config import NetworkConfig
from fader.networks.blocks import convolve, make_norm

Latent = tuple[Tensor, ...]
"""What the encoder hands on: the latent z, [B, C, s, s], and behind it one feature map for each skip connection, deep
to shallow. The last entry determines all the others, so it is what the discriminator has to read."""

DROPOUT_LAYERS = 3  # Decoder dropout acts in "the first layers of the decoder", which in pix2pix are three.


class Encoder(nn.Module):
    """E: pixels [B, C, S, S] in [-1, 1] to the latent; C16-C32-C64-C128-C256-C512-C512 in the preset `paper`."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.layers = convolve(config.channels, config.encoder_widths, config.norm, norm_first=False)
        self.skips = config.skips

    def forward(self, pixels: Tensor) -> Latent:
        features = []
        for layer in self.layers:
            pixels = layer(pixels)
            features.append(pixels)
        return tuple(features[::-1][: self.skips + 1])


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
            layers: list[nn.Module] = upsample(config.upsampling, inputs[i] + skipped + code_size, outputs[i])
            if i < config.layers - 1:
                layers += [make_norm(config.norm, outputs[i]), nn.ReLU(inplace=True)]
                if config.decoder_dropout and i < DROPOUT_LAYERS:
                    layers.append(nn.Dropout(config.decoder_dropout))
            else:
                layers.append(nn.Tanh())
            self.layers.append(nn.Sequential(*layers))

    def forward(self, latent: Latent, code: Tensor) -> Tensor:
        pixels = latent[0]
        for i, layer in enumerate(self.layers):
            parts = [pixels, code[:, :, None, None].to(pixels.dtype).expand(-1, -1, *pixels.shape[2:])]
            if 1 <= i < len(latent):
                parts.insert(1, latent[i])
            pixels = layer(torch.cat(parts, dim=1))
        return pixels


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
        self.encoder = Encoder(config)
        self.decoder = Decoder(config, code_size)

    def forward(self, pixels: Tensor, code: Tensor) -> Tensor:
        return self.decoder(self.encoder(pixels), code)
