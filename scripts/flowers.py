"""Figure 5 of the paper: real flowers whose pink is slid, and how far the background moves with it.

    python scripts/flowers.py FLOWERS64 OUT [STEPS]

FLOWERS64 holds `images.zip` and `attributes.csv`, the 8,189 flowers of Oxford-102 at 64 pixels with colours computed
from their petals. (With the captions, `fader prepare flowers` names the colours by the paper's rule; what it writes may
lie at OUT/flowers before this runs.) A run that was interrupted goes on with the same command, and what is done already
is not done again.
"""

from __future__ import annotations

import sys
from pathlib import Path

from fader.config import configure
from fader.datasets.folder import prepare_folder
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


def main(flowers: Path, output: Path, steps: int = 10_000) -> None:
    dataset, run = output / "flowers", output / "run"
    if not dataset.exists():
        # The published split has 1,020 pictures for training.
        report = prepare_folder(
            flowers / "images.zip",
            flowers / "attributes.csv",
            dataset,
            attributes=[ATTRIBUTE],
            random_split=(0.1, 0.1),
        )
        print(report, end="")
    train(dataset, run, configure("small", steps=steps, **SETTINGS), [ATTRIBUTE])


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *map(int, sys.argv[3:]))
