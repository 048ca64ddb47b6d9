"""The training step against an independent, literal transcription of section 3."""

import copy
import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any, cast

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fader.attributes import Attribute, Schema
from fader.config import Config, DiscriminatorConfig, NetworkConfig, TrainingConfig
from fader.training.player import Player
from fader.training.step import Players, training_step

SCHEMA = Schema.binary(["Smiling", "Hat"])
CONFIG = Config(
    network=NetworkConfig(size=32, layers=3, width=4),
    discriminator=DiscriminatorConfig(discriminator_width=8, discriminator_hidden=8, discriminator_dropout=0.0),
    training=TrainingConfig(steps=10, batch_size=4, learning_rate=1e-2),
)
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _double_precision() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    yield
    torch.set_default_dtype(torch.float32)


def batches(count: int) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(1)
    return [
        (torch.rand(4, 3, 32, 32, generator=generator) * 2 - 1, torch.randint(0, 2, (4, 2), generator=generator))
        for _ in range(count)
    ]


def adam(parameters: Sequence[Tensor], gradients: Sequence[Tensor], moments: list[list[Tensor]], t: int) -> None:
    """Kingma and Ba 2015, algorithm 1, with beta1 0.5 and beta2 0.999."""
    for parameter, gradient, (mean, square) in zip(parameters, gradients, moments, strict=True):
        mean.mul_(0.5).add_(0.5 * gradient)
        square.mul_(0.999).add_(0.001 * gradient**2)
        corrected_mean, corrected_square = mean / (1 - 0.5**t), square / (1 - 0.999**t)
        parameter.data -= 1e-2 * corrected_mean / (corrected_square.sqrt() + 1e-8)


@pytest.mark.parametrize("logits", ["one", "pair"])
def test_two_steps_equal_the_equations(logits: str) -> None:
    config = dataclasses.replace(
        CONFIG,
        discriminator=dataclasses.replace(CONFIG.discriminator, discriminator_logits=logits),  # type: ignore[arg-type]
    )
    players = Players.create(config, SCHEMA, CPU)
    autoencoder = copy.deepcopy(players.autoencoder.network)
    discriminator = copy.deepcopy(players.discriminator.network)
    theta_ae, theta_dis = list(autoencoder.parameters()), list(discriminator.parameters())
    moments_ae = [[torch.zeros_like(p), torch.zeros_like(p)] for p in theta_ae]
    moments_dis = [[torch.zeros_like(p), torch.zeros_like(p)] for p in theta_dis]
    weight = 0.3

    def log_p(latent: tuple[Tensor, ...], labels: Tensor) -> Tensor:
        """log P(y | z) = sum over k of log P_k(y_k | z), from the probabilities of the two values."""
        output = discriminator(latent)
        total = torch.zeros(len(labels))
        for k in range(2):
            exponentials = output[:, 2 * k : 2 * k + 2].exp()
            probabilities = exponentials / exponentials.sum(dim=1, keepdim=True)
            total = total + probabilities[torch.arange(len(labels)), labels[:, k]].log()
        return total

    for t, (x, y) in enumerate(batches(2), start=1):
        numbers = training_step(players, x, y, weight, SCHEMA, config.training)

        # theta_dis(t+1), by equation 1, with an encoder pass of its own.
        autoencoder.train()
        discriminator.train()
        loss_dis = -log_p(autoencoder.encoder(x), y).mean()
        adam(theta_dis, list(torch.autograd.grad(loss_dis, theta_dis)), moments_dis, t)
        # [theta_enc, theta_dec](t+1), by equation 2, with the updated discriminator and another pass.
        discriminator.eval()
        code = torch.stack([1 - y[:, 0], y[:, 0], 1 - y[:, 1], y[:, 1]], dim=1).double()
        reconstruction = ((autoencoder.decoder(autoencoder.encoder(x), code) - x) ** 2).mean()
        adversarial = -log_p(autoencoder.encoder(x), 1 - y).mean()
        loss = reconstruction + weight * adversarial
        adam(theta_ae, list(torch.autograd.grad(loss, theta_ae)), moments_ae, t)

        assert float(numbers["discriminator"]) == pytest.approx(loss_dis.item(), rel=1e-9)
        assert float(numbers["reconstruction"]) == pytest.approx(reconstruction.item(), rel=1e-9)
        assert float(numbers["adversarial"]) == pytest.approx(adversarial.item(), rel=1e-9)
        # The extra encoder passes of the transcription leave another running mean in BatchNorm's buffers, which no
        # training pass of the encoder reads; the discriminator's are read in evaluation mode and have to be the same.
        for ours, literal in zip(players.autoencoder.network.parameters(), theta_ae, strict=True):
            torch.testing.assert_close(ours, literal, rtol=1e-5, atol=1e-9)
        for name, ours in players.discriminator.network.state_dict().items():
            torch.testing.assert_close(ours, discriminator.state_dict()[name], rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("of_weights", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("of_gradients", [torch.contiguous_format, torch.channels_last])
def test_an_update_is_adam_whatever_lies_where(
    of_weights: torch.memory_format, of_gradients: torch.memory_format
) -> None:
    network = nn.Conv2d(3, 5, 4)
    parameters = [parameter.detach().clone() for parameter in network.parameters()]
    moments = [[torch.zeros_like(parameter), torch.zeros_like(parameter)] for parameter in parameters]
    player = Player(network, CPU, 1e-2, (0.5, 0.999))
    network.weight.data = network.weight.data.contiguous(memory_format=of_weights)
    for t in (1, 2):
        gradients = [torch.randn_like(parameter) for parameter in parameters]
        with player.update():
            network.weight.grad = gradients[0].contiguous(memory_format=of_gradients)
            cast(Tensor, network.bias).grad = gradients[1]
        adam(parameters, gradients, moments, t)
        torch.testing.assert_close(list(network.parameters()), parameters, check_stride=False)


def test_each_update_moves_its_own_player_only() -> None:
    """With lambda 0 the encoder-decoder ignores the discriminator; and the discriminator never follows equation 2."""
    players = Players.create(CONFIG, SCHEMA, CPU)
    other = copy.deepcopy(players)
    (x, y), *_ = batches(1)
    training_step(players, x, y, 0.0, SCHEMA, CONFIG.training)
    training_step(other, x, y, 1000.0, SCHEMA, CONFIG.training)
    for ours, theirs in zip(
        players.discriminator.network.parameters(), other.discriminator.network.parameters(), strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
        assert ours.requires_grad
    first = next(players.autoencoder.network.parameters())
    assert not torch.equal(first, next(other.autoencoder.network.parameters()))


def test_the_discriminator_has_no_dropout_in_the_encoders_turn() -> None:
    config = dataclasses.replace(
        CONFIG, discriminator=dataclasses.replace(CONFIG.discriminator, discriminator_dropout=0.9)
    )
    modes: list[list[bool]] = []
    for mode in ("eval", "train"):
        players = Players.create(config, SCHEMA, CPU)
        seen: list[bool] = []
        players.discriminator.network.register_forward_pre_hook(
            lambda module, inputs, seen=seen: seen.append(module.training)
        )
        (x, y), *_ = batches(1)
        training = dataclasses.replace(config.training, discriminator_mode=mode)
        training_step(players, x, y, 0.1, SCHEMA, training)
        modes.append(seen)
    assert modes == [[True, False], [True, True]]


def test_gradients_are_clipped_network_by_network() -> None:
    players = Players.create(
        dataclasses.replace(CONFIG, training=dataclasses.replace(CONFIG.training, clip=1e-3)), SCHEMA, CPU
    )
    (x, y), *_ = batches(1)
    training_step(players, x, y, 5.0, SCHEMA, CONFIG.training)
    for player in players.moving().values():
        gradients = [p.grad for p in player.network.parameters() if p.grad is not None]
        norm = torch.stack([gradient.norm() for gradient in gradients]).norm()
        assert float(norm) == pytest.approx(1e-3, rel=1e-3)


def test_the_encoder_learns_to_hide_and_the_decoder_to_use_the_label() -> None:
    """On pictures that are nothing but their label, training against the adversary empties the latent of it."""
    schema = Schema.binary(["Bright"])
    training = TrainingConfig(steps=150, batch_size=16, learning_rate=5e-3, ramp=0)
    config = dataclasses.replace(CONFIG, training=training)
    players = Players.create(config, schema, CPU)
    torch.set_default_dtype(torch.float32)
    for player in players.moving().values():
        player.network.float()
    generator = torch.Generator().manual_seed(0)
    for _ in range(training.steps):
        y = torch.randint(0, 2, (16, 1), generator=generator)
        x = (y.float() - 0.5)[:, :, None, None].expand(-1, 3, 32, 32) + 0.02 * torch.randn(
            16, 3, 32, 32, generator=generator
        )
        training_step(players, x, y, 0.1, schema, training)
    network = players.autoencoder.network.eval()
    with torch.no_grad():
        latent = network.encoder(x)
        swapped = network.decoder(latent, schema.code(1 - y)).mean(dim=(1, 2, 3))
    torch.testing.assert_close(swapped, 0.5 - y[:, 0].float(), atol=0.15, rtol=0)


def with_instance_norm(players: Players) -> None:
    """BatchNorm makes way for instance norm, under which a picture does not see the others of its batch."""
    for player in players.moving().values():
        for module in list(player.network.modules()):
            for name, child in module.named_children():
                if isinstance(child, torch.nn.BatchNorm2d):
                    setattr(module, name, torch.nn.InstanceNorm2d(child.num_features))


@pytest.mark.parametrize("accumulate", [2, 4])
def test_micro_batches_add_up_to_the_batch(accumulate: int) -> None:
    training = dataclasses.replace(CONFIG.training, batch_size=8, clip=0.1)
    config = dataclasses.replace(CONFIG, training=training)
    players = Players.create(config, SCHEMA, CPU)
    with_instance_norm(players)
    others = copy.deepcopy(players)
    for x, y in batches(3):
        x, y = torch.cat([x, -x]), torch.cat([y, 1 - y])
        plain = training_step(players, x, y, 0.3, SCHEMA, training)
        in_parts = dataclasses.replace(training, accumulate=accumulate)
        accumulated = training_step(others, x, y, 0.3, SCHEMA, in_parts)
        for name, number in plain.items():
            torch.testing.assert_close(accumulated[name], number, rtol=1e-10, atol=1e-10)
    for name, player in players.moving().items():
        for ours, theirs in zip(player.network.parameters(), others.moving()[name].network.parameters(), strict=True):
            torch.testing.assert_close(theirs, ours, rtol=1e-10, atol=1e-10)


def test_encoding_micro_batches_twice_moves_the_running_statistics_once() -> None:
    training = dataclasses.replace(CONFIG.training, accumulate=2)
    players = Players.create(CONFIG, SCHEMA, CPU)
    encoder = copy.deepcopy(players.autoencoder.network.encoder).train()
    (x, y), *_ = batches(1)
    training_step(players, x, y, 0.3, SCHEMA, training)
    for half in x.chunk(2):
        encoder(half)
    for ours, literal in zip(players.autoencoder.network.encoder.buffers(), encoder.buffers(), strict=True):
        torch.testing.assert_close(ours, literal, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("loss", ["patchgan_weight", "classifier_weight"])
def test_an_optional_loss_reaches_the_decoder_and_its_own_player(loss: str) -> None:
    classifier = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 32 * 32, SCHEMA.code_size))
    weight: dict[str, Any] = {loss: 0.1}
    training = dataclasses.replace(CONFIG.training, **weight)
    players = Players.create(dataclasses.replace(CONFIG, training=training), SCHEMA, CPU, classifier)
    plain = Players.create(CONFIG, SCHEMA, CPU)
    plain.autoencoder.network.load_state_dict(players.autoencoder.network.state_dict())
    plain.discriminator.network.load_state_dict(players.discriminator.network.state_dict())
    before = copy.deepcopy(classifier.state_dict())
    patches = players.patch_discriminator
    first = copy.deepcopy(list(patches.network.parameters())) if patches else []
    (x, y), *_ = batches(1)
    numbers = training_step(players, x, y, 0.1, SCHEMA, training)
    its_own = {"patchgan_weight": {"patch_discriminator", "patch_realism"}, "classifier_weight": {"classifier"}}[loss]
    assert training_step(plain, x, y, 0.1, SCHEMA, CONFIG.training).keys() == numbers.keys() - its_own
    assert its_own <= numbers.keys()
    ours, theirs = next(players.autoencoder.network.parameters()), next(plain.autoencoder.network.parameters())
    assert not torch.equal(ours, theirs)
    assert (patches is None) == (loss != "patchgan_weight")
    if patches is not None:
        assert all(not torch.equal(a, b) for a, b in zip(patches.network.parameters(), first, strict=True))
    for name, tensor in classifier.state_dict().items():
        assert torch.equal(tensor, before[name])
    assert plain.patch_discriminator is None
    assert plain.classifier is None


def test_whole_numbers_will_do_for_rates() -> None:
    """As in a configuration that a program writes."""
    (x, y), *_ = batches(1)
    weights = []
    for one, five in ((0, 5), (0.0, 5.0)):
        training = dataclasses.replace(CONFIG.training, beta1=one, clip=five)
        torch.manual_seed(0)
        players = Players.create(dataclasses.replace(CONFIG, training=training), SCHEMA, CPU)
        training_step(players, x, y, 1, SCHEMA, training)
        weights.append(torch.cat([p.flatten() for p in players.autoencoder.network.parameters()]))
    assert torch.equal(*weights)


def test_categorical_attributes_train() -> None:
    schema = Schema((Attribute("Smiling"), Attribute("Color", ("red", "green", "blue"))))
    players = Players.create(CONFIG, schema, CPU)
    labels = torch.tensor([[0, 2], [1, 1], [1, 0], [0, 2]])
    numbers = training_step(players, batches(1)[0][0], labels, 0.1, schema, CONFIG.training)
    assert all(torch.isfinite(value) for value in numbers.values())
    # At the start the discriminator knows nothing: log 2 for the pair and log 3 for the three colours.
    assert float(numbers["discriminator"]) == pytest.approx(1.79, abs=0.4)


def test_equation_1_by_hand() -> None:
    from fader.objectives import adversarial, discrimination

    logits = torch.tensor([[0.0, 1.0, 2.0, 2.0]])
    labels = torch.tensor([[1, 0]])
    loss, numbers = discrimination(logits, labels, SCHEMA)
    # -log(e / (1 + e)) - log(1/2)
    assert float(loss) == pytest.approx(0.3132617 + 0.6931472, abs=1e-6)
    assert float(numbers["discriminator_accuracy"]) == 1.0
    wrong, _ = adversarial(logits, 1 - labels, SCHEMA)
    assert float(wrong) == pytest.approx(1.3132617 + 0.6931472, abs=1e-6)
    assert float(F.softplus(torch.tensor(1.0))) == pytest.approx(1.3132617, abs=1e-6)
