"""Figure 5 of the paper: real flowers whose pink is slid, and how far the background moves with it.

    python scripts/flowers.py FLOWERS64 OUT [--steps STEPS]

FLOWERS64 holds `images.zip` and `attributes.csv`, the 8,189 flowers of Oxford-102 at 64 pixels with colours computed
from their petals. (With the captions, `fader prepare flowers FOLDER -o OUT/flowers --attributes pink` before this gives
the colours by the paper's rule.) About 25 minutes on one CPU core. OUT/figure5.png has test pictures, evenly spaced in
the split; OUT/run the model and its evaluation. A run that was interrupted goes on with the same command, and what is
done already is not done again.

There are no masks of the flowers, so the background is told by a stand-in: the pixels that are green, or dark, in the
picture itself. Seldom is one of those a petal's; but earth, sky and walls are then counted with the flowers.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from faces import evaluation
from PIL import Image

from fader import cli, figures, markdown
from fader.config import configure
from fader.datasets.folder import prepare_folder
from fader.datasets.prepared import PreparedDataset, open_dataset
from fader.evaluation.report import summary
from fader.images import save_picture, to_pixels
from fader.model import Model, load
from fader.training.loop import train

ATTRIBUTE = "pink"
SETTINGS = {
    # A latent of side 2, for the background's layout; one attribute, and much that is not rebuilt in any case, bear a
    # larger lambda than the portraits.
    "width": 32,
    "max_width": 256,
    "adversarial_weight": 0.03,
    "ramp_share": 0.4,
    "balance": True,  # 16% are pink.
    "epoch_images": 16_000,
}
FROM, TO, COLUMNS = -1.0, 2.0, 7
ROWS = 5  # Of the figure, for each value of the attribute.
GREEN, SATURATED, DARK = (70, 170), 0.15, 0.25  # Degrees of hue; shares of saturation and of value.


def main(flowers: Path, output: Path, steps: int) -> None:
    dataset, run = output / "flowers", output / "run"
    if not dataset.exists():
        # The published split has 1,020 pictures for training.
        split = (0.1, 0.1)
        table = flowers / "attributes.csv"
        print(prepare_folder(flowers / "images.zip", table, dataset, attributes=[ATTRIBUTE], random_split=split))
    train(dataset, run, configure("small", steps=steps, **SETTINGS), [ATTRIBUTE])
    print(summary(evaluation(run)))
    model, data, figure = load(run), open_dataset(dataset), output / "figure5.png"
    if not figure.exists():
        figure5(model, data, figure)
    print(f"\n{figure}\n\n{background_change(model, data)}", end="")


def figure5(model: Model, data: PreparedDataset, path: Path) -> None:
    """Flowers that are not pink and flowers that are, a row each: the picture, then pink slid."""
    indices = data.indices("test")
    labels = data.labels[indices][:, data.columns(model.schema)]
    rows = []
    for value in (0, 1):
        having = np.flatnonzero(labels[:, 0] == value)
        shown = having[np.linspace(0, len(having) - 1, ROWS).round().astype(int)]
        faces = model.encode_framed(data.images[indices[shown]], labels[shown])
        slid = faces.decode(faces.swept(ATTRIBUTE, FROM, TO, COLUMNS))
        rows += [[picture, *decoded] for picture, decoded in zip(faces.arrays, slid, strict=True)]
    titles = [f"{ATTRIBUTE} {value:g}" for value in np.linspace(FROM, TO, COLUMNS)]
    save_picture(figures.grid(rows, ["original", *titles]), path)


@torch.inference_mode()
def background_change(model: Model, data: PreparedDataset) -> str:
    """A table: how far a swap moves the pixels of each region, against the reconstruction, over the test split.

    The mean absolute difference over the region's pixels in all pictures and over channels, in levels of 255.
    """
    indices = data.indices("test")
    pictures = data.images[indices]
    labels = torch.from_numpy(data.labels[indices][:, data.columns(model.schema)])
    moved = []
    for part in model.batches(len(indices)):
        latent = model.encode_pixels(to_pixels(pictures[part], model.device))
        swapped = model.decode_pixels(latent, model.schema.flipped(labels[part], ATTRIBUTE))
        moved.append((swapped - model.decode_pixels(latent, labels[part])).abs().mean(dim=1).cpu().numpy() * 127.5)
    change, present = np.concatenate(moved), labels[:, 0].numpy() == 1
    rows: list[list[str | float]] = []
    for name, region in regions(pictures).items():
        changes = (change[having][region[having]] for having in (~present, present))
        means = [round(float(pixels.mean()), 1) if pixels.size else "none" for pixels in changes]
        rows.append([name, round(100 * float(region.mean()), 1), *means])
    return markdown.table(["pixels", "share (%)", f"change to {ATTRIBUTE}", f"change from {ATTRIBUTE}"], rows)


def regions(pictures: np.ndarray) -> dict[str, np.ndarray]:
    """Which pixels of pictures (uint8, N x S x S x 3) are green, dark, or neither: bool, N x S x S."""
    hsv = np.stack([np.asarray(Image.fromarray(picture).convert("HSV"), dtype=float) / 255 for picture in pictures])
    hue, saturation, value = hsv[..., 0] * 360, hsv[..., 1], hsv[..., 2]
    dark = value < DARK
    green = (hue >= GREEN[0]) & (hue <= GREEN[1]) & (saturation >= SATURATED) & ~dark
    return {"green": green, "dark": dark, "all others": ~green & ~dark}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("flowers64", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--steps", type=int, default=10_000)
    given = parser.parse_args()
    sys.exit(cli.exit_code(lambda: main(given.flowers64, given.output, given.steps)))
