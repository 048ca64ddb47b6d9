"""Shapes layer by layer and parameter counts, against section 4 and numbers worked out by hand."""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fader.attributes import Attribute, Schema
from fader.config import PRESETS, ClassifierConfig, DiscriminatorConfig, NetworkConfig
from fader.networks.autoencoder import AutoEncoder, DecoderLayer, upsample
from fader.networks.blocks import double, halve
from fader.networks.classifier import make_classifier
from fader.networks.discriminators import LatentDiscriminator, PatchDiscriminator

ONE = Schema.binary(["Smiling"])
THREE = Schema.binary(["Smiling", "Male", "Eyeglasses"])
K = 4 * 4  # Weights of a kernel.


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def output_shapes(layers: nn.Module, call: Any) -> list[tuple[int, ...]]:
    shapes: list[tuple[int, ...]] = []
    assert isinstance(layers, nn.ModuleList | nn.Sequential)
    handles = [
        layer.register_forward_hook(lambda module, inputs, output: shapes.append(tuple(output.shape[1:])))
        for layer in layers
    ]
    call()
    for handle in handles:
        handle.remove()
    return shapes


def test_paper_layer_by_layer() -> None:
    network = AutoEncoder(PRESETS["paper"].network, THREE.code_size).eval()
    pixels = torch.zeros(1, 3, 256, 256)
    assert output_shapes(network.encoder.layers, lambda: network.encoder(pixels)) == [
        (16, 128, 128),
        (32, 64, 64),
        (64, 32, 32),
        (128, 16, 16),
        (256, 8, 8),
        (512, 4, 4),
        (512, 2, 2),
    ]
    latent = network.encoder(pixels)
    code = THREE.code(torch.zeros(1, 3))
    assert output_shapes(network.decoder.layers, lambda: network.decoder(latent, code)) == [
        (512, 4, 4),
        (256, 8, 8),
        (128, 16, 16),
        (64, 32, 32),
        (32, 64, 64),
        (16, 128, 128),
        (3, 256, 256),
    ]
    # C_{k+2n}: the decoder's input widths, with n = 3.
    inputs = [layer[0].in_channels for layer in network.decoder.layers]  # type: ignore[index]
    assert inputs == [512 + 6, 512 + 6, 256 + 6, 128 + 6, 64 + 6, 32 + 6, 16 + 6]


def test_paper_parameter_counts() -> None:
    config = PRESETS["paper"]
    network = AutoEncoder(config.network, ONE.code_size)
    # Convolutions with a bias each, BatchNorm (scale and shift) on all but the first.
    convolutions = K * (3 * 16 + 16 * 32 + 32 * 64 + 64 * 128 + 128 * 256 + 256 * 512 + 512 * 512)
    biases = 16 + 32 + 64 + 128 + 256 + 512 + 512
    norms = 2 * (32 + 64 + 128 + 256 + 512 + 512)
    assert parameters(network.encoder) == convolutions + biases + norms == 6_993_072
    # Two code channels at the input of every layer, no bias, no norm on the last.
    transposed = K * (514 * 512 + 514 * 256 + 258 * 128 + 130 * 64 + 66 * 32 + 34 * 16 + 18 * 3)
    norms = 2 * (512 + 256 + 128 + 64 + 32 + 16)
    assert parameters(network.decoder) == transposed + norms == 7_022_912
    discriminator = LatentDiscriminator(config.discriminator, config.network, THREE)
    # C512 on 512x2x2 (with bias and norm), then 512 -> 512 -> n.
    expected = K * 512 * 512 + 512 + 2 * 512 + (512 * 512 + 512) + (512 * 3 + 3)
    assert parameters(discriminator) == expected == 4_460_035


def test_released_parameter_counts() -> None:
    config = PRESETS["released"]
    network = AutoEncoder(config.network, ONE.code_size)
    convolutions = K * (3 * 32 + 32 * 64 + 64 * 128 + 128 * 256 + 256 * 512 + 512 * 512)
    biases = 32 + 64 + 128 + 256 + 512 + 512
    norms = 2 * (64 + 128 + 256 + 512 + 512)
    assert parameters(network.encoder) == convolutions + biases + norms == 6_985_568
    transposed = K * (514 * 512 + 514 * 256 + 258 * 128 + 130 * 64 + 66 * 32 + 34 * 3)
    norms = 2 * (512 + 256 + 128 + 64 + 32)
    assert parameters(network.decoder) == transposed + norms
    discriminator = LatentDiscriminator(config.discriminator, config.network, ONE)
    # 512x4x4 takes two convolutions to side 1; a pair of logits for the one attribute.
    expected = 2 * (K * 512 * 512 + 512 + 2 * 512) + (512 * 512 + 512) + (512 * 2 + 2)
    assert parameters(discriminator) == expected


@pytest.mark.parametrize(("layers", "side"), [(6, 4), (7, 2), (8, 1)])
@pytest.mark.parametrize("preset", ["paper", "released"])
def test_six_seven_and_eight_layers(preset: str, layers: int, side: int) -> None:
    config = PRESETS[preset]
    network_config = dataclasses.replace(config.network, layers=layers)
    network = AutoEncoder(network_config, ONE.code_size).eval()
    latent = network.encoder(torch.zeros(1, 3, 256, 256))
    assert latent[0].shape == (1, 512, side, side) == (1, *network_config.latent_shape)
    assert network.decoder(latent, torch.zeros(1, 2)).shape == (1, 3, 256, 256)
    discriminator = LatentDiscriminator(config.discriminator, network_config, ONE).eval()
    assert discriminator(latent).shape == (1, 2)
    # One convolution, or as many as it takes to side 1; none where the latent is 1x1 already.
    wanted = {4: (1 if preset == "paper" else 2), 2: 1, 1: 0}[side]
    assert len(discriminator.convolutions) == wanted


def test_a_latent_larger_than_one_after_the_convolution_is_flattened() -> None:
    network = NetworkConfig(size=64, layers=3, width=8)  # A latent of 32x8x8, so 4x4 after the one convolution.
    discriminator = LatentDiscriminator(DiscriminatorConfig(discriminator_width=16), network, THREE)
    first = discriminator.head[1]
    assert isinstance(first, nn.Linear)
    assert first.in_features == 16 * 4 * 4


def test_dropout_is_where_each_preset_has_it() -> None:
    def dropouts(preset: str) -> tuple[int, int]:
        config = PRESETS[preset]
        network = LatentDiscriminator(config.discriminator, config.network, ONE)
        return tuple(  # type: ignore[return-value]
            sum(isinstance(module, nn.Dropout) for module in part.modules())
            for part in (network.convolutions, network.head)
        )

    assert dropouts("paper") == (1, 1)
    assert dropouts("released") == (2, 0)


@pytest.mark.parametrize("upsampling", ["transposed", "nearest", "pixelshuffle"])
@pytest.mark.parametrize("skips", [0, 2])
def test_the_code_reaches_every_decoder_layer(upsampling: Any, skips: int) -> None:
    torch.manual_seed(0)
    config = NetworkConfig(size=32, layers=4, width=8, upsampling=upsampling, skips=skips)
    network = AutoEncoder(config, THREE.code_size).eval()
    code = THREE.code(torch.tensor([[0, 1, 0]]))
    network(torch.rand(1, 3, 32, 32), code).square().sum().backward()
    for layer in network.decoder.layers:
        assert isinstance(layer, DecoderLayer)
        (convolution,) = (module for module in layer if isinstance(module, nn.Conv2d | nn.ConvTranspose2d))
        assert convolution.weight.grad is not None
        gradient = convolution.weight.grad.movedim(0 if upsampling == "transposed" else 1, 0)
        # The last inputs are the code's: a weight is felt exactly where its channel is 1 and not 0.
        felt = gradient[-THREE.code_size :].flatten(1).any(dim=1)
        assert felt.tolist() == code[0].bool().tolist()


@pytest.mark.parametrize(
    ("size", "channels", "layers", "norm", "skips"),
    [(32, 1, 5, "batch", 0), (32, 3, 3, "instance", 1), (64, 1, 4, "batch", 3), (128, 3, 5, "instance", 0)],
)
def test_sizes_channels_norms_and_skips(size: int, channels: int, layers: int, norm: Any, skips: int) -> None:
    config = NetworkConfig(size=size, channels=channels, layers=layers, width=8, norm=norm, skips=skips)
    network = AutoEncoder(config, THREE.code_size)
    latent = network.encoder(torch.rand(2, channels, size, size))
    assert len(latent) == skips + 1
    # The discriminator reads what the last skip leaves: the shallowest map that the decoder gets.
    side = size // 2 ** (layers - skips)
    assert latent[-1].shape[2:] == (side, side)
    decoded = network.decoder(latent, THREE.code(torch.zeros(2, 3)))
    assert decoded.shape == (2, channels, size, size)
    assert decoded.abs().max() <= 1
    discriminator = LatentDiscriminator(DiscriminatorConfig(), config, THREE)
    assert discriminator(latent).shape == (2, THREE.code_size)


def test_decoder_dropout_is_in_the_first_three_layers_only() -> None:
    network = AutoEncoder(NetworkConfig(size=64, layers=5, width=8, decoder_dropout=0.3), 2)
    found = [any(isinstance(m, nn.Dropout) for m in layer.modules()) for layer in network.decoder.layers]
    assert found == [True, True, True, False, False]


def test_first_encoder_and_last_decoder_layer_have_no_norm() -> None:
    network = AutoEncoder(NetworkConfig(size=64, layers=4, width=8), 2)
    assert [any(isinstance(m, nn.BatchNorm2d) for m in layer) for layer in network.encoder.layers] == [  # type: ignore[attr-defined]
        False,
        True,
        True,
        True,
    ]
    assert [any(isinstance(m, nn.BatchNorm2d) for m in layer) for layer in network.decoder.layers] == [  # type: ignore[attr-defined]
        True,
        True,
        True,
        False,
    ]


def test_one_logit_is_a_sigmoid() -> None:
    torch.manual_seed(0)
    schema = Schema((Attribute("Smiling"), Attribute("Color", ("red", "green", "blue"))))
    network = NetworkConfig(size=32, layers=4, width=8)
    discriminator = LatentDiscriminator(DiscriminatorConfig(), network, schema).eval()
    latent = (torch.randn(5, 64, 2, 2),)
    logits = discriminator(latent)
    assert logits.shape == (5, 5)
    raw = discriminator.head(discriminator.convolutions(latent[-1]))
    assert raw.shape == (5, 4)
    present = schema.log_probabilities(logits)[:, 1].exp()
    torch.testing.assert_close(present, raw[:, 0].sigmoid())


def test_patch_discriminator_has_four_convolutions_and_judges_patches() -> None:
    network = PatchDiscriminator(3)
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    assert [module.stride[0] for module in convolutions] == [2, 2, 2, 1]
    assert network(torch.zeros(2, 3, 64, 64)).shape == (2, 1, 7, 7)


@pytest.mark.parametrize("architecture", ["strided", "residual"])
@pytest.mark.parametrize(("size", "channels"), [(32, 1), (64, 3), (128, 3)])
def test_classifiers(architecture: Any, size: int, channels: int) -> None:
    config = ClassifierConfig(architecture=architecture, width=8, max_width=32, hidden=16)
    network = make_classifier(config, size, channels, THREE)
    assert network(torch.zeros(2, channels, size, size)).shape == (2, THREE.code_size)


@pytest.mark.parametrize("kind", ["transposed", "nearest", "pixelshuffle"])
@pytest.mark.parametrize("side", [1, 2, 4, 8])
@pytest.mark.parametrize("channels", [5, 40])
def test_the_code_is_convolved_as_if_its_channels_were_there(kind: str, side: int, channels: int) -> None:
    torch.manual_seed(0)
    layer = DecoderLayer(upsample(kind, channels + 4, 6)).double()
    features = torch.randn(3, channels, side, side, dtype=torch.float64, requires_grad=True)
    code = torch.rand(3, 4, dtype=torch.float64, requires_grad=True)
    parameters = [features, code, *layer.parameters()]
    appended = torch.cat([features, code[:, :, None, None].expand(-1, -1, side, side)], dim=1)
    literal = nn.Sequential(*layer)(appended)
    output = layer(features, code)
    torch.testing.assert_close(output, literal)
    weights = torch.randn_like(literal)
    gradients = torch.autograd.grad((output * weights).sum(), parameters)
    torch.testing.assert_close(gradients, torch.autograd.grad((literal * weights).sum(), parameters))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("side", [1, 2, 4, 8])  # The last is the library's own.
def test_small_maps_as_matrix_products_are_the_convolutions(side: int, layout: torch.memory_format) -> None:
    torch.manual_seed(0)

    def tensor(*shape: int) -> Tensor:
        return torch.randn(*shape, dtype=torch.float64).contiguous(memory_format=layout).requires_grad_()

    fine, coarse, down, up = (
        tensor(3, 5, 2 * side, 2 * side),
        tensor(3, 5, side, side),
        tensor(6, 5, 4, 4),
        tensor(5, 6, 4, 4),
    )
    bias = torch.randn(6, dtype=torch.float64, requires_grad=True)
    convolution = partial(nn.functional.conv2d, stride=2, padding=1)
    _assert_equal_with_gradients(halve, convolution, [fine, down, bias])
    torch.testing.assert_close(halve(fine, down, None), convolution(fine, down))
    _assert_equal_with_gradients(double, partial(nn.functional.conv_transpose2d, stride=2, padding=1), [coarse, up])


def _assert_equal_with_gradients(
    ours: Callable[..., Tensor], literal: Callable[..., Tensor], arguments: list[Tensor]
) -> None:
    expected = literal(*arguments)
    torch.testing.assert_close(ours(*arguments), expected)
    weights = torch.randn_like(expected)
    gradients = torch.autograd.grad((ours(*arguments) * weights).sum(), arguments)
    torch.testing.assert_close(gradients, torch.autograd.grad((expected * weights).sum(), arguments))
