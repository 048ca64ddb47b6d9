"""Prints the most memory that `fader slide` takes for one picture, and what of it `import torch` takes alone.

    python scripts/slide_memory.py

The models are untrained, of five attributes, and of the presets' own sizes; memory does not depend on the weights.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

from fader.attributes import Schema
from fader.config import PRESETS, ClassifierConfig, Config
from fader.model import Model, save_model
from fader.networks.autoencoder import AutoEncoder
from fader.networks.classifier import make_classifier

SCHEMA = Schema.binary(f"attribute {i}" for i in range(1, 6))
PICTURE_SIZE = 1024  # Pixels.


def main() -> None:
    print(f"import torch: {peak(['-c', 'import torch']):.0f} MB")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        Image.effect_noise((PICTURE_SIZE, PICTURE_SIZE), 80).convert("RGB").save(folder / "picture.jpg")
        for preset, config in PRESETS.items():
            save_model(untrained(config), folder / preset)
            command = ["-m", "fader", "slide", str(folder / preset), str(folder / "picture.jpg")]
            command += ["--attribute", SCHEMA.names[0], "--device", "cpu", "-o", str(folder / f"{preset}.png")]
            print(f"fader slide, {preset}, {config.network.size} pixels, 10 values: {peak(command):.0f} MB")


def untrained(config: Config) -> Model:
    classifier, network = ClassifierConfig(), config.network
    return Model(
        AutoEncoder(network, SCHEMA.code_size),
        SCHEMA,
        config,
        classifier=make_classifier(classifier, network.size, network.channels, SCHEMA),
        classifier_config=classifier,
    )


def peak(arguments: list[str]) -> float:
    """The largest resident set of `python ARGUMENTS` in megabytes. Raises SystemExit if it fails."""
    process = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(process.returncode)
    # Linux counts kilobytes, macOS bytes.
    return usage.ru_maxrss / (1e6 if sys.platform == "darwin" else 1e6 / 1024)


if __name__ == "__main__":
    main()
