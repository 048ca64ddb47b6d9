"""Writes docs/presets.md: every field of every preset, from fader.config.

Run it after a change of the presets: .venv/bin/python scripts/presets_table.py
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from fader.cli import field_help
from fader.config import ICGAN_PRESETS, PRESETS, AnyConfig

PAGE = Path(__file__).parents[1] / "docs" / "presets.md"
INTRODUCTION = """\
# Presets

`fader train --preset NAME` starts from one of these; every field is an option of its own (`batch_size` is
`--batch-size`), and what you give replaces the preset's value. `size` and `channels` are the dataset's; `layers`
follows the size, so that the latent keeps its side, unless you give it.

- `paper`: sections 4 and 5.1 of the paper. It does not say how long it trained beyond the 500,000 steps of the ramp.
- `released`: the authors' released implementation where its networks and numbers differ from the paper. The update
  is the paper's: both steps are on the same pictures, which are drawn in shuffled passes, each with a coin of its own
  for its flip, and the encoder is in train mode throughout. (The release draws two batches with replacement, flips a
  batch as a whole, and has the encoder in eval mode while the discriminator learns.)
- `small`: 64 pixels on a CPU, found by experiment ([experiments.md](experiments.md)).

This page is written by `scripts/presets_table.py`; a test compares it with the code.
"""

ICGAN = """\
The baseline of the paper's table 1, `fader train --system icgan` ([icgan.md](icgan.md)), has presets of its own:
`paper`, as its authors trained it, and `small` (the default), half as wide.
"""


def page() -> str:
    """The page as Markdown."""
    return "\n".join([INTRODUCTION, *_tables(PRESETS), ICGAN, *_tables(ICGAN_PRESETS, "IcGAN: ")])


def _tables(presets: Mapping[str, AnyConfig], before: str = "") -> Iterator[str]:
    """Headings, with this before each, and tables, of the parts of a system's presets."""
    for part in dataclasses.fields(next(iter(presets.values()))):
        configurations = [getattr(preset, part.name) for preset in presets.values()]
        kind = type(configurations[0])
        heading = f"{before}{part.name}"
        yield f"## {heading[0].upper()}{heading[1:]}\n\n{(kind.__doc__ or '').strip()}\n"
        rows = [["field", *presets, "meaning"], ["---"] * (len(presets) + 2)]
        helps = field_help(kind)
        for field in dataclasses.fields(kind):
            values = [_shown(getattr(configuration, field.name)) for configuration in configurations]
            rows.append([f"`{field.name}`", *values, helps.get(field.name, "")])
        yield "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
