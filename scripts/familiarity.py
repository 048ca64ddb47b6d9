"""The table of docs/models.md: which pictures a model of portraits calls familiar, by each error and by both.

    python scripts/familiarity.py MODEL PORTRAITS [PICTURES ...]

PORTRAITS is what `fader prepare portraits` made; PICTURES are folders or zip archives of other pictures, of which 300
are looked at, evenly spaced. A minute on two CPU cores.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from fader import cli, markdown
from fader.datasets.pictures import PictureFiles, is_picture
from fader.datasets.prepared import open_dataset
from fader.familiarity import MEASURES, limits
from fader.locations import ModelLocation, parse
from fader.model import Model, load

LOOKED_AT = 300


def main(location: ModelLocation, portraits: Path, others: list[Path]) -> None:
    model = load(location)
    data = open_dataset(portraits)
    kinds = {"portraits of the test split": data.images[data.indices("test")]}
    kinds |= changed(kinds["portraits of the test split"][:LOOKED_AT]) | drawn(model.size)
    kinds |= {title: pictures(path, model) for title, path in titled(others).items()}
    rows = []
    for kind, arrays in kinds.items():
        errors = model.encode_framed(np.ascontiguousarray(arrays)).errors.numpy()
        within = errors <= [limits(model.errors)[measure] for measure in MEASURES]
        shares = (*within.mean(axis=0), within.all(axis=1).mean())
        rows.append([kind, f"{len(arrays):,}", f"{np.median(errors[:, 0]):.4f}", *(f"{share:.1%}" for share in shares)])
    print(f"Limits: {limits(model.errors)}\n")
    print(markdown.table(["pictures", "number", "median error", "error", "error over variance", "familiar"], rows))


def titled(paths: Sequence[Path]) -> dict[str, Path]:
    """Folders and archives by name, an archive by its folder's; by the whole path where names are alike."""
    names = [path.parent.name if path.suffix else path.name for path in paths]
    return {str(path) if names.count(name) > 1 else name: path for name, path in zip(names, paths, strict=True)}


def changed(portraits: np.ndarray) -> dict[str, np.ndarray]:
    """Portraits that something was done to."""
    return {
        "the same as JPEG of quality 30": np.stack([as_jpeg(array) for array in portraits]),
        "the same in grey": np.repeat(portraits.mean(axis=3, keepdims=True), 3, axis=3).astype(np.uint8),
        "the same at 30% of their contrast": (128 + 0.3 * (portraits.astype(float) - 128)).astype(np.uint8),
        "the same, 12 pixels to the side": np.roll(portraits, 12, axis=2),
        "the same upside down": portraits[:, ::-1],
    }


def as_jpeg(array: np.ndarray) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(array).save(file, "JPEG", quality=30)
    return np.asarray(Image.open(file))


def drawn(size: int) -> dict[str, np.ndarray]:
    """Pictures of nothing."""
    generator = np.random.default_rng(0)
    shape = (LOOKED_AT, size, size, 3)
    ends = generator.integers(0, 256, (2, LOOKED_AT, 1, 1, 3))
    down = np.linspace(0, 1, size)[:, None, None]
    colours = generator.integers(0, 256, (LOOKED_AT, 1, 1, 3))
    return {
        "noise": generator.integers(0, 256, shape).astype(np.uint8),
        "faint noise on grey": generator.normal(128, 10, shape).clip(0, 255).astype(np.uint8),
        "one colour": np.broadcast_to(colours, shape).astype(np.uint8),
        "from one colour to another": np.broadcast_to(ends[0] * (1 - down) + ends[1] * down, shape).astype(np.uint8),
    }


def pictures(path: Path, model: Model) -> np.ndarray:
    with PictureFiles(path) as files:
        names = [name for name in files.names if is_picture(name)]
        chosen = [names[i] for i in np.linspace(0, len(names) - 1, min(LOOKED_AT, len(names))).astype(int)]
        contents = [files.fetch(name)[1] for name in chosen]
        opened = [io.BytesIO(one) if isinstance(one, bytes) else one for one in contents]
        return np.stack([model.frame(one) for one in opened])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=parse)
    parser.add_argument("portraits", type=Path)
    parser.add_argument("pictures", type=Path, nargs="*")
    given = parser.parse_args()
    sys.exit(cli.exit_code(lambda: main(given.model, given.portraits, given.pictures)))
