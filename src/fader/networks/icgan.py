"""IcGAN (Perarnau et al., 2016, "Invertible conditional GANs for image editing"), the baseline of the paper's table 1.

All at 64 x 64 pixels. G makes a picture of z, which is N(0, 1), and of attributes y coded -1 and +1 (`Schema.signs`);
E_z and E_y read z and y back from a picture. Convolutions have a bias; BatchNorm's channels are named in brackets, for
the full width of 64.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise, permutations

import torch
from torch import Tensor, nn

from fader.attributes import Schema
from fader.config import IcganNetworkConfig
from fader.networks.autoencoder import Latent

SLOPE = 0.2  # Of the discriminator's leaky ReLU.
LEAST = 1e-6  # Probability that E_y gives to a value at least.

EXCLUSIVE = (
    ("Bald", "Bangs", "Receding_Hairline"),
    ("Black_Hair", "Blond_Hair", "Brown_Hair", "Gray_Hair"),
    ("Straight_Hair", "Wavy_Hair"),
)
"""Attributes of CelebA of which an edit leaves one at the most: where one is set, the others are taken away."""


class Generator(nn.Module):
    """G: z and y as a map of side 1, to [512] 4 x 4, [256] 8 x 8, [128] 16 x 16, [64] 32 x 32, and the picture.

    It has a decoder's form: a latent, of which the last entry is z [B, noise], and a code [B, code_size], to pixels
    [B, C, 64, 64] in [-1, 1].
    """

    def __init__(self, config: IcganNetworkConfig, schema: Schema) -> None:
        super().__init__()
        self.schema = schema
        w = config.width
        self.layers = nn.Sequential(
            nn.ConvTranspose2d(config.noise + schema.signs_size, 8 * w, kernel_size=4),
            *(nn.BatchNorm2d(8 * w), nn.ReLU(inplace=True)),
            *(nn.ConvTranspose2d(8 * w, 4 * w, 4, 2, 1), nn.BatchNorm2d(4 * w), nn.ReLU(inplace=True)),
            *(nn.ConvTranspose2d(4 * w, 2 * w, 4, 2, 1), nn.BatchNorm2d(2 * w), nn.ReLU(inplace=True)),
            *(nn.ConvTranspose2d(2 * w, w, 4, 2, 1), nn.BatchNorm2d(w), nn.ReLU(inplace=True)),
            *(nn.ConvTranspose2d(w, config.channels, 4, 2, 1), nn.Tanh()),
        )
        self.apply(_initialise)

    def forward(self, latent: Latent, code: Tensor) -> Tensor:
        signs = self.schema.signs(code).to(latent[-1].dtype)
        return self.layers(torch.cat([latent[-1], signs], dim=1)[:, :, None, None])


class Discriminator(nn.Module):
    """D(x, y), in two parts: what it sees of x alone is the same for any y.

    A convolution without norm to 64 x 32 x 32, where y is appended as constant maps, then [128] 16 x 16, [256] 8 x 8,
    [512] 4 x 4 and one logit, of which the sigmoid is the probability.
    """

    def __init__(self, config: IcganNetworkConfig, schema: Schema) -> None:
        super().__init__()
        self.schema = schema
        w = config.width
        self.of_picture = nn.Sequential(nn.Conv2d(config.channels, w, 4, 2, 1), nn.LeakyReLU(SLOPE))
        self.of_both = nn.Sequential(
            *(nn.Conv2d(w + schema.signs_size, 2 * w, 4, 2, 1), nn.BatchNorm2d(2 * w), nn.LeakyReLU(SLOPE, True)),
            *(nn.Conv2d(2 * w, 4 * w, 4, 2, 1), nn.BatchNorm2d(4 * w), nn.LeakyReLU(SLOPE, True)),
            *(nn.Conv2d(4 * w, 8 * w, 4, 2, 1), nn.BatchNorm2d(8 * w), nn.LeakyReLU(SLOPE, True)),
            nn.Conv2d(8 * w, 1, kernel_size=4),
        )
        self.apply(_initialise)

    def look(self, pixels: Tensor) -> Tensor:
        """What it sees of pixels [B, C, 64, 64] without y: [B, 64, 32, 32]."""
        return self.of_picture(pixels)

    def judge(self, seen: Tensor, code: Tensor) -> Tensor:
        """Logits [B] of what `look` returned with a code [B, code_size]."""
        signs = self.schema.signs(code).to(seen.dtype)[:, :, None, None].expand(-1, -1, *seen.shape[2:])
        return self.of_both(torch.cat([seen, signs], dim=1)).flatten()

    def forward(self, pixels: Tensor, code: Tensor) -> Tensor:
        return self.judge(self.look(pixels), code)


def regressor(config: IcganNetworkConfig, hidden: int, outputs: int) -> nn.Sequential:
    """E_z or E_y: 5x5 convolutions of stride 2, [32] 32 x 32 to [256] 4 x 4, then two linear layers, `hidden` between.

    Pixels [B, C, 64, 64] to [B, outputs].
    """
    widths = [config.channels, *(config.width // 2 * 2**i for i in range(4))]
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Conv2d(before, after, 5, 2, 2), nn.BatchNorm2d(after), nn.ReLU(inplace=True)]
    layers += [nn.Flatten(), nn.Linear(16 * widths[-1], hidden), nn.BatchNorm1d(hidden), nn.ReLU(inplace=True)]
    network = nn.Sequential(*layers, nn.Linear(hidden, outputs))
    network.apply(_initialise)
    return network


def make_noise_encoder(config: IcganNetworkConfig) -> nn.Sequential:
    """E_z: pixels to z [B, noise]; 4096 hidden units at full width."""
    return regressor(config, 64 * config.width, config.noise)


def make_attribute_encoder(config: IcganNetworkConfig, schema: Schema) -> nn.Sequential:
    """E_y: pixels to y, about -1 and +1; 512 hidden units at full width."""
    return regressor(config, 8 * config.width, schema.signs_size)


class Encoder(nn.Module):
    """E_y and E_z side by side: the latent is (E_y(x), E_z(x)), whose last entry should not tell the attributes."""

    def __init__(self, config: IcganNetworkConfig, schema: Schema) -> None:
        super().__init__()
        self.attributes = make_attribute_encoder(config, schema)
        self.noise = make_noise_encoder(config)

    def forward(self, pixels: Tensor) -> Latent:
        return self.attributes(pixels), self.noise(pixels)


class IcGAN(nn.Module):
    """The finished system: it encodes and decodes as an `AutoEncoder` does."""

    def __init__(self, config: IcganNetworkConfig, schema: Schema) -> None:
        super().__init__()
        self.schema = schema
        self.encoder = Encoder(config, schema)
        self.decoder = Generator(config, schema)

    def own_values(self, latent: Latent, labels: Tensor) -> Tensor:
        """The values [B, n] that a picture is reconstructed with: what E_y says, as it is.

        A categorical attribute, a switch, has its label of `labels` [B, n].
        """
        values = labels.to(latent[0])
        for k, attribute in enumerate(self.schema):
            if attribute.binary:
                values[:, k] = (1 + latent[0][:, self.schema.sign_slices[k].start]) / 2
        return values

    def settle(self, values: Tensor, wanted: Iterable[int]) -> Tensor:
        """Values [..., n] of an edit in which the attributes at the positions `wanted` were set; see `settle_where`."""
        chosen = torch.zeros(values.shape[-1], dtype=torch.bool, device=values.device)
        chosen[list(wanted)] = True
        return self.settle_where(values, chosen)

    def settle_where(self, values: Tensor, chosen: Tensor) -> Tensor:
        """Values [..., n] of an edit in which some attributes were set, bool, [n] or [..., n].

        What excludes one of them (EXCLUSIVE) falls as that one rises, and is absent where it is present.
        """
        columns = list(values.unbind(-1))
        for group in EXCLUSIVE:
            members = [self.schema.index(name) for name in group if name in self.schema.names]
            for k, other in permutations(members, 2):
                falls = chosen[..., k] & ~chosen[..., other]
                most = 1 - values[..., k].clamp(0, 1)
                columns[other] = torch.where(falls, torch.minimum(columns[other], most), columns[other])
        return torch.stack(columns, dim=-1)


class AttributeReader(nn.Module):
    """E_y as a classifier: pixels to logits [B, code_size]; the likelier value of a binary attribute is y's sign.

    The squared error that E_y learnt by is least at y = 2 P - 1, so P = (1 + y) / 2.
    """

    def __init__(self, encoder: nn.Module, schema: Schema) -> None:
        super().__init__()
        self.encoder = encoder
        self.schema = schema

    def forward(self, pixels: Tensor) -> Tensor:
        probabilities = (1 + self.encoder(pixels)) / 2
        parts = []
        for attribute, entries in zip(self.schema, self.schema.sign_slices, strict=True):
            part = probabilities[:, entries]
            parts.append(torch.cat([1 - part, part], dim=1) if attribute.binary else part)
        return torch.cat(parts, dim=1).clamp(min=LEAST).log()


def _initialise(module: nn.Module) -> None:
    """Convolutions N(0, 0.02), BatchNorm's scale N(1, 0.02), their biases 0; linear layers as PyTorch does."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
        nn.init.zeros_(module.bias)  # type: ignore[arg-type]
    elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
        nn.init.zeros_(module.bias)
