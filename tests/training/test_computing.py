"""Precision and compilation change how a step is computed, not what: checked on the CPU, and on a pretended GPU."""

import shutil
from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch._inductor.config
from torch import Tensor, nn
from torch._dynamo.utils import counters
from torch.optim import Adam
from torch.utils._python_dispatch import TorchDispatchMode

from fader import objectives
from fader.attributes import Attribute, Schema
from fader.config import Config, DiscriminatorConfig, NetworkConfig, TrainingConfig
from fader.errors import UserError
from fader.training import computing
from fader.training.checkpoints import players_state
from fader.training.step import Players, training_step

SCHEMA = Schema((Attribute("Smiling"), Attribute("Color", ("red", "green", "blue")), Attribute("Hat")))
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    torch.manual_seed(0)
    counters.clear()
    yield
    torch.compiler.reset()
    torch.compiler.set_default_backend(None)


def config(size: int = 32, layers: int = 3, skips: int = 0, **training: Any) -> Config:
    return Config(
        network=NetworkConfig(size=size, layers=layers, width=8, skips=skips),
        discriminator=DiscriminatorConfig(discriminator_width=8, discriminator_hidden=8, discriminator_dropout=0.0),
        training=TrainingConfig(**{"steps": 10, "batch_size": 8, "learning_rate": 1e-4, **training}),
    )


def batch(size: int = 32, count: int = 8) -> tuple[Tensor, Tensor]:
    """Smooth pictures and labels that say something about them."""
    coarse = torch.randn(count, 3, 4, 4)
    pixels = nn.functional.interpolate(coarse, size=size, mode="bicubic").clamp(-1, 1)
    pixels = pixels.contiguous(memory_format=torch.channels_last)
    bright = (pixels.mean(dim=(1, 2, 3)) > 0).long()
    return pixels, torch.stack([bright, torch.randint(0, 3, (count,)), 1 - bright], dim=1)


def as_first(config: Config, first: Players) -> Players:
    """Players of a configuration with the weights of others."""
    players = Players.create(config, SCHEMA, CPU)
    for name, player in players.moving().items():
        player.network.load_state_dict(first.moving()[name].network.state_dict())
    return players


def gradients(players: Players) -> dict[str, Tensor]:
    """Of each player, all of them in one vector."""
    return {
        name: torch.cat([parameter.grad.flatten() for parameter in player.network.parameters()])
        for name, player in players.moving().items()
    }


def step(players: Players, config: Config, pixels: Tensor, labels: Tensor, weight: float = 0.1) -> dict[str, Tensor]:
    torch.manual_seed(1)  # Of random categories.
    return training_step(players, pixels, labels, weight, SCHEMA, config.training)


@pytest.mark.parametrize("fields", [{}, {"accumulate": 2}, {"patchgan_weight": 0.1, "classifier_weight": 0.1}])
def test_a_step_in_bfloat16_is_near_that_in_float32(fields: dict[str, Any]) -> None:
    plain, mixed = config(**fields), config(**fields, precision="bfloat16")
    judge = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, SCHEMA.code_size))
    first = Players.create(plain, SCHEMA, CPU, judge)
    second = Players.create(mixed, SCHEMA, CPU, judge)
    for name, player in second.moving().items():
        player.network.load_state_dict(first.moving()[name].network.state_dict())
    pixels, labels = batch()
    expected, found = step(first, plain, pixels, labels), step(second, mixed, pixels, labels)
    assert found.keys() == expected.keys()
    for name in expected.keys() - {"discriminator_accuracy"}:
        assert found[name].dtype == torch.float32
        assert found[name] != expected[name], "nothing was computed in bfloat16"
        torch.testing.assert_close(found[name], expected[name], rtol=0.02, atol=0)
    for name, gradient in gradients(first).items():
        assert nn.functional.cosine_similarity(gradients(second)[name], gradient, dim=0) > 0.99
    for player in second.moving().values():
        for tensor in player.network.state_dict().values():
            assert tensor.dtype in (torch.float32, torch.int64)


def test_losses_are_of_float32_and_networks_of_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Tensor] = {}
    for name in ("reconstruction", "discrimination", "adversarial"):
        original = getattr(objectives, name)

        def loss(given: Tensor, *rest: Any, name: str = name, original: Any = original) -> Any:
            seen[name] = given.detach()
            assert not torch.is_autocast_enabled("cpu")
            return original(given, *rest)

        monkeypatch.setattr(objectives, name, loss)
    mixed = config(precision="bfloat16")
    step(Players.create(mixed, SCHEMA, CPU), mixed, *batch())
    assert len(seen) == 3
    for tensor in seen.values():
        assert tensor.dtype == torch.float32
        torch.testing.assert_close(tensor, tensor.bfloat16().float(), rtol=0, atol=0)


@pytest.mark.parametrize("skips", [0, 1])
def test_in_bfloat16_the_adversarys_push_is_not_rounded_away(skips: int) -> None:
    """What a small lambda changes in the encoder's gradient is on average as large, along the true change, as it is."""
    plain, mixed = config(skips=skips), config(skips=skips, precision="bfloat16")

    def encoder_gradient(config: Config, first: Players, weight: float, precise: bool = True) -> Tensor:
        players = as_first(config, first)
        encoder = players.autoencoder.network.encoder
        if not precise:
            _, norm, *_ = encoder.layers[-1 - skips].children()
            norm._forward_pre_hooks.clear()
            norm.register_forward_pre_hook(lambda module, inputs: (inputs[0].bfloat16(),))
        step(players, config, pixels, labels, weight)
        return torch.cat([p.grad.flatten() for p in encoder.parameters() if p.grad is not None]).double()

    weight, kept = 3e-5, []
    for seed in range(12):
        torch.manual_seed(seed)
        first = Players.create(plain, SCHEMA, CPU)
        pixels, labels = batch(count=16)
        true = encoder_gradient(plain, first, 1.0) - encoder_gradient(plain, first, 0.0)
        for precise in (True, False):
            change = encoder_gradient(mixed, first, weight, precise) - encoder_gradient(mixed, first, 0.0, precise)
            kept.append(float(change @ true / (true @ true) / weight))
    assert sum(kept[::2]) / 12 == pytest.approx(1, abs=0.25)
    assert sum(kept[1::2]) / 12 < 0.6


def test_channels_last_or_not_is_the_same_step() -> None:
    torch.set_default_dtype(torch.float64)
    try:
        plain = config()
        last = Players.create(plain, SCHEMA, CPU)
        contiguous = as_first(plain, last)
        for player in contiguous.moving().values():
            player.network.to(memory_format=torch.contiguous_format)
        for _ in range(3):
            pixels, labels = batch()
            expected = step(contiguous, plain, pixels.contiguous(), labels)
            found = step(last, plain, pixels, labels)
            torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
        for name, player in last.moving().items():
            theirs = contiguous.moving()[name].network.state_dict()
            torch.testing.assert_close(
                dict(player.network.state_dict()), dict(theirs), rtol=1e-10, atol=1e-10, check_stride=False
            )
    finally:
        torch.set_default_dtype(torch.float32)


def test_a_compiled_step_equals_the_plain_one() -> None:
    """The graphs that torch.compile makes, computed by PyTorch's own kernels."""
    torch.compiler.set_default_backend("aot_eager")
    plain, compiled_config = config(learning_rate=1e-6), config(learning_rate=1e-6, compile=True)
    first = Players.create(plain, SCHEMA, CPU)
    compiled = as_first(compiled_config, first)
    assert_equal_steps(compiled, compiled_config, first, plain)
    for name, state in players_state(compiled).items():
        assert state["network"].keys() == players_state(first)[name]["network"].keys()
    graphs = counters["stats"]["unique_graphs"]
    assert graphs == 4, "encoder, decoder and, in its two modes, the discriminator"
    encoder = compiled.autoencoder.network.encoder.eval()
    with torch.inference_mode(), computing.uncompiled(compiled_config.training):
        encoder(batch(count=3)[0])
    assert counters["stats"]["unique_graphs"] == graphs, "an evaluation compiles nothing"


@pytest.mark.skipif(shutil.which("c++") is None, reason="there is no C++ compiler here")
def test_a_step_with_machine_code_equals_the_plain_one() -> None:
    """Of the decoder alone, and without vector instructions: each graph takes the compiler seconds."""
    plain = config(layers=1, learning_rate=1e-6)
    first = Players.create(plain, SCHEMA, CPU)
    compiled = as_first(plain, first)
    computing.compile_in_place(compiled.autoencoder.network.decoder)
    with torch._inductor.config.patch({"cpp.simdlen": 0, "cpp_cache_precompile_headers": False}):
        assert_equal_steps(compiled, plain, first, plain)
    assert counters["stats"]["unique_graphs"] == 1


def assert_equal_steps(ours: Players, our_config: Config, theirs: Players, their_config: Config) -> None:
    pixels, labels = batch()
    found, expected = step(ours, our_config, pixels, labels), step(theirs, their_config, pixels, labels)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    for name, gradient in gradients(theirs).items():
        assert (gradients(ours)[name] - gradient).norm() < 1e-5 * gradient.norm()


def test_without_a_compiler_there_is_a_sentence() -> None:
    training = TrainingConfig(compile=True)
    with (
        torch._inductor.config.patch({"cpp.cxx": ("no-such-compiler",), "force_disable_caches": True}),
        pytest.raises(UserError, match=r"torch.compile does not work here for cpu .*leave out --compile"),
    ):
        computing.check(CPU, training)


def test_bfloat16_is_refused_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    training = TrainingConfig(precision="bfloat16")
    computing.check(CPU, training)
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda including_emulation: False)
    with pytest.raises(UserError, match="cuda does not compute in bfloat16; leave out --precision"):
        computing.check(torch.device("cuda"), training)


@pytest.mark.parametrize(("precision", "tf32"), [("float32", False), ("tf32", True), ("bfloat16", True)])
def test_a_gpu_is_tuned_for_as_long_as_the_block_lasts(precision: Any, tf32: bool) -> None:
    def flags() -> tuple[bool, ...]:
        cuda, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
        return cuda.allow_tf32, cudnn.allow_tf32, cudnn.benchmark

    before = flags()
    training = TrainingConfig(precision=precision)
    with computing.tuned(torch.device("cuda"), training):
        assert flags() == (tf32, tf32, True)
    assert flags() == before
    with computing.tuned(CPU, training):
        assert flags() == before


class Waits(TorchDispatchMode):
    """Notes what makes a program wait for a device: numbers read from it, and copies to it that are waited for."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found: list[str] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name, kwargs = function.name(), kwargs or {}
        if name == "aten::_local_scalar_dense" and not args[0].is_cpu:
            self.found.append(name)
        if name == "aten::_to_copy" and kwargs.get("device", args[0].device) != args[0].device:
            self.found += [] if kwargs.get("non_blocking") else [name]
        return function(*args, **kwargs)


def test_a_step_never_waits_for_its_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """On the device "meta", which knows shapes and types but no numbers; only Adam has to do without its fused form."""
    monkeypatch.setattr("fader.training.player.Adam", lambda *args, fused, **kwargs: Adam(*args, **kwargs))
    meta = torch.device("meta")
    plain = config(patchgan_weight=0.1, clip=1.0)
    players = Players.create(plain, SCHEMA, meta)
    pixels, labels = torch.empty(8, 3, 32, 32, device=meta), torch.empty(8, 3, dtype=torch.int64, device=meta)
    with Waits() as waits:
        numbers = training_step(players, pixels, labels, 0.1, SCHEMA, plain.training)
        assert waits.found == []
        labels[:, 0] = torch.zeros(8, dtype=torch.int64).to(meta)
        assert waits.found == ["aten::_to_copy"], "it would have been noticed"
    assert {number.device for number in numbers.values()} == {meta}
