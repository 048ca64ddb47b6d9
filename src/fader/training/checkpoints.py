"""Checkpoints to resume from: plain tensors and JSON-like state, written whole or not at all.

They are trusted only as the run's own, and even so read with `weights_only`: no code in them is ever run.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch

from fader.errors import UserError
from fader.files import replacing
from fader.training.step import Players

CHECKPOINT_SECONDS = 120.0  # Between two checkpoints: a killed run loses no more than this.
KEPT = 2  # The newest, and the one before it, should the newest turn out damaged.
FORMAT, VERSION = "fader-checkpoint", 2
NAME = re.compile(r"step-(\d{9})\.pt")


def save_checkpoint(folder: Path, step: int, state: dict[str, Any]) -> Path:
    """Write `state` (tensors, numbers, strings, lists and dicts of them) as the checkpoint after `step` updates."""
    path = folder / f"step-{step:09d}.pt"
    with replacing(path) as temporary:
        torch.save({"format": FORMAT, "version": VERSION, "step": step, **state}, temporary)
    for old in checkpoints(folder)[:-KEPT]:
        old.unlink()
    return path


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoints in a folder, oldest first."""
    return sorted(path for path in folder.glob("step-*.pt") if NAME.fullmatch(path.name))


def oldest_step(folder: Path) -> int:
    """After how many updates the oldest checkpoint was written: as far back as the run may have to go."""
    names = [NAME.fullmatch(path.name) for path in checkpoints(folder)]
    return min((int(name[1]) for name in names if name), default=0)


def newest_checkpoint(folder: Path) -> dict[str, Any] | None:
    """The newest checkpoint's state, or None if there is none. Raises UserError if it is damaged."""
    paths = checkpoints(folder)
    if not paths:
        return None
    try:
        state = torch.load(paths[-1], map_location="cpu", weights_only=True)
    except Exception as error:  # Whatever torch raises on a truncated or foreign file.
        raise UserError(
            f"{paths[-1]}: the checkpoint is damaged ({type(error).__name__}); delete it to go on from the one before."
        ) from None
    if not isinstance(state, dict) or state.get("format") != FORMAT or state.get("version") != VERSION:
        raise UserError(f"{paths[-1]}: this is not a checkpoint that this version of fader reads.")
    return dict(state)


def players_state(players: Players) -> dict[str, Any]:
    """Weights, buffers and optimisers of all players."""
    return {name: player.state() for name, player in players.moving().items()}


def restore_players(players: Players, state: dict[str, Any]) -> None:
    """Put `players_state` back. Raises RuntimeError or KeyError if it is of another architecture."""
    for name, player in players.moving().items():
        player.restore(state[name])
