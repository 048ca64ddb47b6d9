"""The training step against a plain transcription of the release's structure, pair by pair.

    python benchmarks/train_step.py [NETWORK ...] [--attributes 1 3 40] [--pairs 9]

The transcription is `released.ReleasedStep`. Networks, batch size and precision are the same on both sides, and both
clip.

Printed beside the ratio: what share of the time the convolutions' multiply-adds alone would take, at the rate of a
large matrix product measured in the same run.
"""

from __future__ import annotations

import argparse
from typing import Any

import torch
from measuring import in_turn, machine, seconds
from released import CLIP, ReleasedStep
from torch import Tensor, nn

from fader.attributes import Schema
from fader.config import Config, configure
from fader.networks.autoencoder import AutoEncoder, DecoderLayer
from fader.networks.blocks import Halving
from fader.training.step import Players, training_step

WEIGHT = 1e-4  # lambda_E.
NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "small": ("small", {}),
    "64": ("small", {"width": 32, "max_width": 512, "batch_size": 32}),
    "128": ("small", {"size": 128, "width": 32, "max_width": 512, "batch_size": 32}),
    "256": ("paper", {}),
}


def multiply_adds(config: Config, code_size: int) -> int:
    """Of the convolutions of one of our steps, forward and backward, without those of the code."""
    network = AutoEncoder(config.network, code_size).eval()
    total = 0

    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        fine, coarse = sorted((inputs[0], output), key=lambda features: features.shape[2], reverse=True)
        # Forward, and backward to the weight and to the input; the picture needs no gradient.
        passes = 2 if inputs[0].shape[2] == config.network.size else 3
        total += passes * coarse.shape[2] ** 2 * 4 * 4 * fine.shape[1] * coarse.shape[1]

    for module in network.modules():
        if isinstance(module, Halving | DecoderLayer):
            module.register_forward_hook(count)
    network(
        torch.zeros(1, config.network.channels, config.network.size, config.network.size), torch.zeros(1, code_size)
    )
    return total * config.training.batch_size


def multiply_adds_per_second(size: int = 2048) -> float:
    """Of a large matrix product, the best of ten."""
    matrix = torch.randn(size, size)
    return size**3 / min(seconds(lambda: matrix @ matrix) for _ in range(10))


def compare(name: str, attributes: int, pairs: int) -> None:
    """Print the two medians, the median ratio of the pairs, and the distance to the machine's limit."""
    preset, fields = NETWORKS[name]
    config = configure(preset, **fields, clip=CLIP)
    schema = Schema.binary([f"attribute_{k}" for k in range(attributes)])
    batch, size = config.training.batch_size, config.network.size
    batches = [(torch.rand(batch, 3, size, size) * 2 - 1, torch.randint(0, 2, (batch, attributes))) for _ in range(2)]
    released = ReleasedStep(config, schema)
    players = Players.create(config, schema, torch.device("cpu"))

    _check_that_networks_are_equal(players.autoencoder.network, released.autoencoder, *batches[0], schema)

    def ours() -> None:
        training_step(players, *batches[0], WEIGHT, schema, config.training)

    def theirs() -> None:
        released(batches[0], batches[1], WEIGHT)

    for _ in range(2):
        ours()
        theirs()
    there, here, ratio = in_turn(pairs, lambda: seconds(theirs), lambda: seconds(ours))
    limit = multiply_adds(config, schema.code_size) / multiply_adds_per_second()
    print(
        f"| {name} | {batch} x {size} px, {config.network.layers} layers from {config.network.width} | {attributes} |"
        f" {1e3 * there:.0f} | {1e3 * here:.0f} | {ratio:.2f} | {1e3 * limit:.0f} | {limit / here:.0%} |",
        flush=True,
    )


def _check_that_networks_are_equal(
    ours: AutoEncoder, theirs: AutoEncoder, pixels: Tensor, labels: Tensor, schema: Schema
) -> None:
    theirs.load_state_dict(ours.state_dict())
    with torch.inference_mode():
        torch.testing.assert_close(
            ours(pixels, schema.code(labels)), theirs(pixels, schema.code(labels)), rtol=0, atol=1e-4
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", metavar="NETWORK", default=list(NETWORKS), help=", ".join(NETWORKS))
    parser.add_argument("--attributes", nargs="+", type=int, default=[1, 3, 40])
    parser.add_argument("--pairs", type=int, default=9)
    arguments = parser.parse_args()
    print(f"{machine()}; {torch.get_num_threads()} threads, torch {torch.__version__}")
    print(f"medians of {arguments.pairs} pairs\n")
    print("| network | batch | attributes | release's structure, ms | fader, ms | ratio | arithmetic, ms | share |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for name in arguments.networks:
        for attributes in arguments.attributes:
            compare(name, attributes, arguments.pairs)


if __name__ == "__main__":
    main()
