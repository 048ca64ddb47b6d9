"""What editing costs: ten values of a picture beside one, the decoder with up to 40 attributes, and a whole folder.

    python benchmarks/editing.py [PICTURES]

Networks are untrained, of preset `small` at 64 pixels; time does not depend on the weights. Sides that are compared are
timed in turn, and the medians are printed. PICTURES (2,000) are the JPEG files, of 256 pixels, of the folder.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from fader.attributes import Schema
from fader.config import ClassifierConfig, configure
from fader.datasets.portraits.renderer import portrait
from fader.editing.folder import BATCH, edit_folder
from fader.images import save_picture, to_picture
from fader.model import Faces, Model, save_model
from fader.networks.autoencoder import AutoEncoder
from fader.networks.classifier import make_classifier
from fader.parallel import processors

SIZE = 64
ROUNDS = 50
FADER = "attribute 1"


def main(pictures: int = 2000) -> None:
    print(f"{processors()} processors, {torch.get_num_threads()} threads of torch")
    ten_values()
    attributes()
    whole_folder(pictures)


def ten_values() -> None:
    """Both as in Python, from an encoded picture to PIL images."""
    face = encoded(untrained(5))
    one, ten = in_turn(lambda: face.edit({FADER: 0.5}), lambda: face.sweep(FADER, -1, 2, steps=10))
    ratio = statistics.median(b / a for a, b in zip(one, ten, strict=True))
    print(f"one value {ms(one)}, ten in a batch {ms(ten)}: {ratio:.2f} times as long (at most 3 is the aim)")


def attributes() -> None:
    """The decoder alone, for one picture and for a batch of the folder's."""
    counts = (1, 2, 5, 10, 20, 40)
    for batch in (1, BATCH):
        faces = [encoded(untrained(count), batch) for count in counts]
        times = in_turn(*(lambda one=one: one.decode(one.labels[:, None]) for one in faces))
        first = statistics.median(times[0])
        for count, own in zip(counts, times, strict=True):
            print(f"decoder, {count} attribute(s), batch of {batch}: {ms(own)}, {statistics.median(own) / first:.2f}")


def whole_folder(pictures: int) -> None:
    """From files to files, beside the networks alone on what the files hold."""
    model = untrained(5)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save_model(model, folder / "model")
        for i in range(pictures):
            save_picture(to_picture(portrait(i % 50, 256)), folder / "in" / f"{i:05d}.jpg")
        start = time.perf_counter()
        edit_folder(folder / "model", folder / "in", folder / "out", {FADER: 1})
        elapsed = time.perf_counter() - start
    arrays = np.stack([portrait(i % 50, SIZE) for i in range(BATCH)])
    start = time.perf_counter()
    for _ in range(-(-pictures // BATCH)):
        faces = model.encode_framed(arrays)
        faces.decode(faces.changed({FADER: 1})[:, None])
    alone = time.perf_counter() - start
    print(f"folder of {pictures:,} pictures: {elapsed:.1f} s, {pictures / elapsed:.0f} pictures/s")
    print(f"the networks alone: {alone:.1f} s; the folder takes {elapsed / alone:.2f} times as long")


def untrained(count: int) -> Model:
    config, classifier = configure("small", size=SIZE), ClassifierConfig()
    schema = Schema.binary(f"attribute {i}" for i in range(1, count + 1))
    return Model(
        AutoEncoder(config.network, schema.code_size).eval(),
        schema,
        config,
        classifier=make_classifier(classifier, SIZE, 3, schema).eval(),
        classifier_config=classifier,
    )


def encoded(model: Model, batch: int = 1) -> Faces:
    return model.encode_framed(np.stack([portrait(i, SIZE) for i in range(batch)]), one=batch == 1)


def in_turn(*sides: Callable[[], object]) -> list[list[float]]:
    """The seconds that each side takes, ROUNDS times in turn, after some rounds that do not count."""
    times: list[list[float]] = [[] for _ in sides]
    for i in range(-5, ROUNDS):
        for own, side in zip(times, sides, strict=True):
            start = time.perf_counter()
            side()
            if i >= 0:
                own.append(time.perf_counter() - start)
    return times


def ms(times: list[float]) -> str:
    return f"{1e3 * statistics.median(times):.2f} ms"


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
