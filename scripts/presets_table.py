"""Writes docs/presets.md: every field of every preset, from fader.config.

Run it after a change of the presets: .venv/bin/python scripts/presets_table.py
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from fader.cli import field_help
from fader.config import PRESETS, Config

PAGE = Path(__file__).parents[1] / "docs" / "presets.md"
INTRODUCTION = """\
# Presets

`fader train --preset NAME` starts from one of these; every field is an option of its own (`batch_size` is
`--batch-size`), and what you give replaces the preset's value. `size` and `channels` are the dataset's; `layers`
follows the size, so that the latent keeps its side, unless you give it.

- `paper`: sections 4 and 5.1 of the paper. It does not say how long it trained beyond the 500,000 steps of the ramp.
- `released`: the authors' released implementation where it differs from the paper.
- `small`: 64 pixels on a CPU, found by experiment ([experiments.md](experiments.md)).

This page is written by `scripts/presets_table.py`; a test compares it with the code.
"""


def page() -> str:
    """The page as Markdown."""
    parts = [INTRODUCTION]
    for part in dataclasses.fields(Config):
        configurations = [getattr(preset, part.name) for preset in PRESETS.values()]
        kind = type(configurations[0])
        parts.append(f"## {part.name.capitalize()}\n\n{(kind.__doc__ or '').strip()}\n")
        rows = [["field", *PRESETS, "meaning"], ["---"] * (len(PRESETS) + 2)]
        helps = field_help(kind)
        for field in dataclasses.fields(kind):
            values = [_shown(getattr(configuration, field.name)) for configuration in configurations]
            rows.append([f"`{field.name}`", *values, helps.get(field.name, "")])
        parts.append("".join(f"| {' | '.join(row)} |\n" for row in rows))
    return "\n".join(parts)


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
