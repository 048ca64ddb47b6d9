"""The IcGAN's networks against its specification: shapes and parameter counts worked out by hand, codes, edits."""

import pytest
import torch
from tests.networks.test_networks import output_shapes, parameters
from torch import Tensor, nn

from fader.attributes import Attribute, Schema
from fader.config import IcganNetworkConfig
from fader.networks.icgan import (
    AttributeReader,
    Discriminator,
    Generator,
    IcGAN,
    make_attribute_encoder,
    make_noise_encoder,
)

EIGHTEEN = Schema.binary([f"a{k}" for k in range(18)])  # As many as its authors used.
MIXED = Schema((Attribute("Smiling"), Attribute("Hair", ("black", "blond", "red")), Attribute("Hat")))
FULL = IcganNetworkConfig()


def code(schema: Schema, *values: float) -> Tensor:
    return schema.code(torch.tensor([values]))


def test_generator_layer_by_layer() -> None:
    generator = Generator(FULL, EIGHTEEN).eval()
    shapes = output_shapes(
        generator.layers, lambda: generator((torch.zeros(1, 100),), EIGHTEEN.code(torch.zeros(1, 18)))
    )
    # Convolution, BatchNorm, ReLU; the last one ends in tanh.
    assert shapes[::3] == [(512, 4, 4), (256, 8, 8), (128, 16, 16), (64, 32, 32), (3, 64, 64)]
    k = 4 * 4
    weights = k * (118 * 512 + 512 * 256 + 256 * 128 + 128 * 64 + 64 * 3)
    biases, norms = 512 + 256 + 128 + 64 + 3, 2 * (512 + 256 + 128 + 64)
    assert parameters(generator) == weights + biases + norms == 3_725_123


def test_discriminator_layer_by_layer() -> None:
    discriminator = Discriminator(FULL, EIGHTEEN).eval()
    pixels, y = torch.zeros(2, 3, 64, 64), EIGHTEEN.code(torch.zeros(2, 18))
    seen = discriminator.look(pixels)
    assert seen.shape == (2, 64, 32, 32)
    shapes = output_shapes(discriminator.of_both, lambda: discriminator.judge(seen, y))
    assert shapes[::3] == [(128, 16, 16), (256, 8, 8), (512, 4, 4), (1, 1, 1)]
    assert discriminator(pixels, y).shape == (2,)
    k = 4 * 4
    weights = k * (3 * 64 + (64 + 18) * 128 + 128 * 256 + 256 * 512 + 512)
    biases, norms = 64 + 128 + 256 + 512 + 1, 2 * (128 + 256 + 512)
    assert parameters(discriminator) == weights + biases + norms == 2_803_393


def test_encoders_layer_by_layer() -> None:
    pixels = torch.zeros(1, 3, 64, 64)
    of_noise, of_attributes = make_noise_encoder(FULL).eval(), make_attribute_encoder(FULL, EIGHTEEN).eval()
    for encoder, hidden, out in ((of_noise, 4096, 100), (of_attributes, 512, 18)):
        shapes = output_shapes(encoder, lambda encoder=encoder: encoder(pixels))
        assert shapes[:12:3] == [(32, 32, 32), (64, 16, 16), (128, 8, 8), (256, 4, 4)]
        assert shapes[12:] == [(4096,), (hidden,), (hidden,), (hidden,), (out,)]
    trunk = 25 * (3 * 32 + 32 * 64 + 64 * 128 + 128 * 256) + 3 * (32 + 64 + 128 + 256)
    assert parameters(of_noise) == trunk + 4096 * 4096 + 3 * 4096 + 4096 * 100 + 100 == 18_278_244
    assert parameters(of_attributes) == trunk + 4096 * 512 + 3 * 512 + 512 * 18 + 18 == 3_186_962


def test_width_scales_every_layer_but_the_outer_ones() -> None:
    config = IcganNetworkConfig(width=8)
    generator, encoder = Generator(config, EIGHTEEN), make_noise_encoder(config)
    outputs = [layer.out_channels for layer in generator.layers if isinstance(layer, nn.ConvTranspose2d)]
    assert outputs == [64, 32, 16, 8, 3]
    assert [layer.out_channels for layer in encoder if isinstance(layer, nn.Conv2d)] == [4, 8, 16, 32]
    linear = [layer for layer in encoder if isinstance(layer, nn.Linear)]
    assert [(layer.in_features, layer.out_features) for layer in linear] == [(512, 512), (512, 100)]


def test_first_weights() -> None:
    torch.manual_seed(0)
    discriminator = Discriminator(FULL, EIGHTEEN)
    last, norm = discriminator.of_both[6], discriminator.of_both[7]
    assert isinstance(last, nn.Conv2d)
    assert isinstance(norm, nn.BatchNorm2d)
    with torch.no_grad():
        spread, mean, of_norm = (float(x) for x in (last.weight.std(), norm.weight.mean(), norm.weight.std()))
    assert spread == pytest.approx(0.02, rel=0.01)
    assert mean == pytest.approx(1, abs=0.005)
    assert of_norm == pytest.approx(0.02, rel=0.15)
    assert last.bias is not None
    assert not last.bias.any()
    assert not norm.bias.any()


def test_what_reaches_generator_and_discriminator() -> None:
    """y is -1 for absent and +1 for present, and a map of its own in D."""
    config = IcganNetworkConfig(width=4, noise=3)
    torch.manual_seed(0)
    generator, discriminator = Generator(config, MIXED).eval(), Discriminator(config, MIXED).eval()
    z, y = torch.randn(1, 3), [1.0, -1.0, 1.0, -1.0, -1.0]
    with torch.no_grad():
        drawn = generator((z,), code(MIXED, 1, 1, 0))
        torch.testing.assert_close(drawn, generator.layers(torch.cat([z, torch.tensor([y])], dim=1)[:, :, None, None]))
        maps = torch.tensor(y)[None, :, None, None].repeat(1, 1, 32, 32)
        literal = discriminator.of_both(torch.cat([discriminator.of_picture(drawn), maps], dim=1))
        assert literal.shape == (1, 1, 1, 1)
        torch.testing.assert_close(discriminator(drawn, code(MIXED, 1, 1, 0)), literal.flatten())


@pytest.mark.parametrize(("value", "sign"), [(0, -1), (1, 1), (0.5, 0), (2, 3), (-1, -3)])
def test_signs_are_linear_in_the_fader_value(value: float, sign: float) -> None:
    assert MIXED.signs(code(MIXED, value, 2, 0)).tolist() == [[sign, -1, -1, 1, -1]]
    assert MIXED.signs_size == 5


def test_reconstruction_uses_what_the_attribute_encoder_says_as_it_is() -> None:
    icgan = IcGAN(IcganNetworkConfig(width=4), MIXED)
    estimate = torch.tensor([[0.8, -0.9, 0.7, -1.1, -1.3]])
    labels = torch.tensor([[0, 2, 1]])  # Given, and otherwise than the estimate.
    values = icgan.own_values((estimate, torch.zeros(1, 100)), labels)
    signs = MIXED.signs(MIXED.code(values))
    torch.testing.assert_close(signs, torch.tensor([[0.8, -1, -1, 1, -1.3]]))  # Hair is a switch: its label.


def test_the_sign_of_the_attribute_encoder_is_the_label() -> None:
    class Says(nn.Module):
        def forward(self, pixels: Tensor) -> Tensor:
            return torch.tensor([[0.2, -0.9, 0.1, -0.5, -0.4], [-1.5, 1.2, -1, -1, 1.5]])

    labels, probabilities = MIXED.predictions(AttributeReader(Says(), MIXED)(torch.zeros(2, 3, 64, 64)))
    assert labels.tolist() == [[1, 1, 0], [0, 0, 1]]
    # (1 + y) / 2 of a binary attribute; of a categorical one its share of the sum of those.
    expected = [[0.6, 0.55 / (0.05 + 0.55 + 0.25), 0.7], [1, 1, 1]]
    torch.testing.assert_close(probabilities, torch.tensor(expected), atol=1e-4, rtol=0)


def test_what_excludes_the_wanted_attribute_goes() -> None:
    schema = Schema.binary(["Black_Hair", "Blond_Hair", "Smiling", "Bald", "Bangs"])
    icgan = IcGAN(IcganNetworkConfig(width=4), schema)
    own = torch.tensor([[1.0, 0, 1, 0, 1]])
    dyed = torch.tensor([[1.0, 1, 1, 0, 1]])
    assert icgan.settle(dyed, [1]).tolist() == [[0, 1, 1, 0, 1]]
    assert icgan.settle(torch.tensor([[1.0, 0.25, 1, 0, 1]]), [1]).tolist() == [[0.75, 0.25, 1, 0, 1]]  # On the way.
    assert icgan.settle(torch.tensor([[1.0, -1, 1, 0, 1]]), [1]).tolist() == [[1, -1, 1, 0, 1]]  # Taken away: no more.
    assert icgan.settle(dyed, [0, 1]).tolist() == dyed.tolist()  # Both were asked for.
    assert icgan.settle(own, [2]).tolist() == own.tolist()
    assert icgan.settle(torch.tensor([[1.0, 0, 1, 1, 1]]), [3]).tolist() == [[1, 0, 1, 1, 0]]
