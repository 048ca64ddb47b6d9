"""Checkpoints to resume from: plain tensors and JSON-like state, written whole or not at all.

They are trusted only as the run's own, and even so read with `weights_only`: no code in them is ever run.
"""

from __future__ import annotations

import errno
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from fader.errors import UserError
from fader.files import replacing
from fader.progress import say
from fader.training.run import differences
from fader.training.step import Players

CHECKPOINT_SECONDS = 120.0  # Between two checkpoints: a killed run loses no more than this.
KEPT = 2  # The newest, and the one before it, should the newest turn out damaged.
FORMAT, VERSION = "fader-checkpoint", 2
NOT_ITS_FAULT = {errno.EMFILE, errno.ENFILE, errno.EACCES, errno.EPERM, errno.ESTALE, errno.ENOMEM}
"""What the system says where a file cannot be read for the moment, or not by this user."""
NAME = re.compile(r"step-(\d{9})\.pt")


def save_checkpoint(folder: Path, step: int, state: dict[str, Any]) -> Path:
    """Write `state` (tensors, numbers, strings, lists and dicts of them) as the checkpoint after `step` updates.

    Raises UserError if the disk does not take it, or if something in it is not finite; those written before stay.
    """
    if not all(bool(tensor.isfinite().all()) for tensor in _tensors(state)):
        raise UserError(
            f"{folder}: training diverged by step {step:,} (a weight is not finite any more); the last good checkpoint"
            " stays; start another run with a lower --learning-rate or with --clip 5."
        )
    path = folder / f"step-{step:09d}.pt"
    with replacing(path) as temporary, temporary.open("wb") as stream:
        try:
            torch.save({"format": FORMAT, "version": VERSION, "step": step, **state}, stream)
        except RuntimeError as error:  # Raised by torch on top of what the disk says.
            raise (error.__context__ if isinstance(error.__context__, OSError) else error) from None
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


def newest_checkpoint(folder: Path, settings: dict[str, Any] | None = None) -> dict[str, Any] | None:
    """The state of the newest checkpoint that is whole, or None if there is none at all.

    Newer ones that are damaged are named, and set aside as `*.damaged`. Raises UserError if all are, or if one is of
    another version or its `settings` are others than these, as far as it names them.
    """
    damaged: list[Path] = []
    for path in reversed(checkpoints(folder)):
        state = _read(path)
        if state is None:
            damaged.append(path)
            continue
        found = state.get("settings", {})  # They were not kept at first.
        # A setting that came later it does not name; what that was in this run, run.json says.
        known = {name: value for name, value in (settings or {}).items() if name in found}
        if others := differences(found, known):
            raise UserError(
                f"{path}: this checkpoint is of a run with other settings ({'; '.join(others)}); delete it to go on"
                " without it."
            )
        for other in damaged:
            aside = other.replace(other.with_name(f"{other.name}.damaged"))
            say(f"{other}: the checkpoint is damaged; it is now {aside.name}, and the one before is gone on with.")
        return state
    if damaged:
        raise UserError(
            f"{damaged[0]}: the checkpoint is damaged, and there is no other that is whole; delete {folder} to begin"
            " again."
        )
    return None


def _read(path: Path) -> dict[str, Any] | None:
    """A checkpoint's state, or None if it is damaged. Raises UserError if it is of another version."""
    try:
        with zipfile.ZipFile(path) as archive:  # torch.load does not compare the checksums.
            if archive.testzip() is not None:
                return None
        state = torch.load(path, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception as error:  # Whatever is raised on a truncated or foreign file.
        if isinstance(error, OSError) and error.errno in NOT_ITS_FAULT:
            raise UserError(f"{path}: it cannot be read ({error.strerror}); it stays as it is.") from None
        if "DefaultCPUAllocator" in str(error):  # Torch's name for memory that ran out.
            raise
        return None
    if not isinstance(state, dict) or state.get("format") != FORMAT or state.get("version") != VERSION:
        raise UserError(f"{path}: this is not a checkpoint that this version of fader reads.")
    return state


def _tensors(state: object) -> Iterator[torch.Tensor]:
    if isinstance(state, torch.Tensor):
        yield state
    elif isinstance(state, dict | list | tuple):
        for part in state.values() if isinstance(state, dict) else state:
            yield from _tensors(part)


def players_state(players: Players) -> dict[str, Any]:
    """Weights, buffers and optimisers of all players."""
    return {name: player.state() for name, player in players.moving().items()}


def restore_players(players: Players, state: dict[str, Any]) -> None:
    """Put `players_state` back. Raises UserError if it is of another architecture."""
    for name, player in players.moving().items():
        player.restore(state[name])
