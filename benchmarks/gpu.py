"""The training step on a GPU, in every precision and form, against the transcription of the release, pair by pair.

    python benchmarks/gpu.py [--attributes 1 3] [--pairs 9] [--network 256]

Prints the machine, and a table with the hours that 500,000 iterations take. A pair is 20 updates of each side, up to
the end of what the GPU was given. The transcription (`released.ReleasedStep`) computes float32 as the row does: in
float32, or in TF32, also beside bfloat16. The last row has batches read from memory, sent, normalised and flipped.

`--device cpu --network small --updates 1 --pairs 1` shows on any machine that the script works.
"""

from __future__ import annotations

import argparse
import platform
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import torch
from measuring import in_turn, machine, seconds
from released import CLIP, ReleasedStep
from torch import Tensor
from train_step import NETWORKS, WEIGHT

from fader import markdown
from fader.attributes import Schema
from fader.config import Config, configure
from fader.devices import find_device
from fader.errors import UserError
from fader.training import computing
from fader.training.batches import Batches
from fader.training.sampling import Sampler
from fader.training.step import Players, training_step

ITERATIONS = 500_000
PICTURES = 2_048  # In memory, for the row with batches read.

# Name, fields of the configuration, whether kernels and pictures lie with the channels last, whether batches are read.
FORMS: list[tuple[str, dict[str, Any], bool, bool]] = [
    ("float32, contiguous", {"precision": "float32"}, False, False),
    ("float32", {"precision": "float32"}, True, False),
    ("TF32, contiguous", {"precision": "tf32"}, False, False),
    ("TF32", {"precision": "tf32"}, True, False),
    ("bfloat16", {"precision": "bfloat16"}, True, False),
    ("TF32, compiled", {"precision": "tf32", "compile": True}, True, False),
    ("bfloat16, compiled", {"precision": "bfloat16", "compile": True}, True, False),
    ("bfloat16, compiled, batches read", {"precision": "bfloat16", "compile": True}, True, True),
]


def batches_of(config: Config, schema: Schema, device: torch.device) -> Batches:
    """Random pictures and labels in memory, as a run's batches."""
    generator = np.random.default_rng(0)
    size = config.network.size
    images = generator.integers(0, 256, (PICTURES, size, size, config.network.channels), dtype=np.uint8)
    labels = generator.integers(0, 2, (PICTURES, len(schema)))
    data = SimpleNamespace(images=InMemory(images), labels=labels)
    sampler = Sampler(np.arange(PICTURES), config.training.batch_size, seed=0)
    return Batches(cast(Any, data), range(len(schema)), sampler, device)


class InMemory:
    """Pictures that need no reading ahead."""

    def __init__(self, images: np.ndarray) -> None:
        self.images = images

    def __getitem__(self, which: np.ndarray) -> np.ndarray:
        return self.images[which]

    def read_ahead(self, which: np.ndarray) -> None:
        pass


def updates_of_release(config: Config, schema: Schema, batches: Batches, device: torch.device) -> Callable[[], None]:
    released = ReleasedStep(config, schema)
    released.autoencoder.to(device)
    released.discriminator.to(device)
    first, second = ((pixels.contiguous(), labels) for pixels, labels in map(batches.take, (0, 1)))
    return lambda: released(first, second, WEIGHT)


def updates_of_ours(
    config: Config, schema: Schema, batches: Batches, device: torch.device, channels_last: bool, reading: bool
) -> Callable[[], None]:
    players = Players.create(config, schema, device)
    pixels, labels = batches.take(0)
    if not channels_last:
        pixels = pixels.contiguous()
        for player in players.moving().values():
            player.network.to(memory_format=torch.contiguous_format)
    done = 0

    def update() -> None:
        nonlocal done
        batch: tuple[Tensor, Tensor] = batches.take(done) if reading else (pixels, labels)
        training_step(players, *batch, WEIGHT, schema, config.training)
        done += 1

    return update


def compare(
    form: tuple[str, dict[str, Any], bool, bool],
    network: str,
    attributes: int,
    device: torch.device,
    pairs: int,
    updates: int,
) -> list[str | float]:
    """A row of the table."""
    name, fields, channels_last, reading = form
    preset, network_fields = NETWORKS[network]
    config = configure(preset, **network_fields, **fields, clip=CLIP)
    schema = Schema.binary([f"attribute_{k}" for k in range(attributes)])
    with computing.tuned(device, config.training):
        batches = batches_of(config, schema, device)
        theirs = updates_of_release(config, schema, batches, device)
        ours = updates_of_ours(config, schema, batches, device, channels_last, reading)

        def timed(update: Callable[[], None]) -> float:
            def run() -> None:
                for _ in range(updates):
                    update()
                if device.type != "cpu":
                    torch.accelerator.synchronize(device)

            return seconds(run) / updates

        for update in (ours, theirs) * 2:  # Compiling, and looking for the fastest convolutions.
            timed(update)
        there, here, ratio = in_turn(pairs, lambda: timed(theirs), lambda: timed(ours))
        batches.pause()
    hours = [round(time * ITERATIONS / 3600, 1) for time in (there, here)]
    milliseconds = [round(1e3 * time, 2) for time in (there, here)]
    return [name, attributes, *milliseconds, round(ratio, 2), *hours]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=list(NETWORKS), default="256", help="by default preset paper at 256 px")
    parser.add_argument("--attributes", nargs="+", type=int, default=[1, 3])
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--updates", type=int, default=20, help="of each side in a pair")
    parser.add_argument("--device", help="by default a GPU")
    arguments = parser.parse_args()
    if arguments.device is None and not torch.accelerator.is_available():
        print("There is no GPU here to measure; --device cpu shows that the script works.", file=sys.stderr)
        return 2
    device = find_device(arguments.device or "auto")
    gpu = f"{torch.cuda.get_device_name(device)}; " if device.type == "cuda" else ""
    print(f"{gpu}{machine()}; torch {torch.__version__}, CUDA {torch.version.cuda}, {platform.machine()}")
    print(f"medians of {arguments.pairs} pairs of {arguments.updates} updates; network {arguments.network}\n")
    rows: list[list[str | float]] = []
    for attributes in arguments.attributes:
        for form in FORMS:
            try:
                computing.check(device, configure("paper", **form[1]).training)
            except UserError as error:
                print(f"{form[0]} is left out: {error}", file=sys.stderr)
                continue
            rows.append(compare(form, arguments.network, attributes, device, arguments.pairs, arguments.updates))
    hours = f"hours for {ITERATIONS:,}"
    header = ("fader's step", "attributes", "release's structure, ms", "fader, ms", "ratio", f"release, {hours}", hours)
    print(markdown.table(header, rows), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
