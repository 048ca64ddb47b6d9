"""metrics.jsonl: one JSON object a line, and the same numbers in TensorBoard where that is installed."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fader.files import replacing, write_all, writing
from fader.training import processes

RECORD_EVERY = 50  # Updates between two records: only then are numbers read from the device.


class Records:
    """Appends records to `folder/metrics.jsonl`; on resuming, those later than the checkpoint are dropped first."""

    def __init__(self, folder: Path, step: int) -> None:
        self.path = folder / "metrics.jsonl"
        kept = [record for record in read_records(self.path) if record["step"] <= step]
        with replacing(self.path) as temporary:
            temporary.write_text("".join(json.dumps(record) + "\n" for record in kept))
        self._file = self.path.open("ab", buffering=0)
        self._board = _tensorboard(folder, step)

    def append(self, kind: str, step: int, numbers: Mapping[str, Any]) -> None:
        """Add a record of this kind ("train", "evaluation" or, of an IcGAN, "epoch"), after `step` updates.

        Numbers may be grouped by name, as those of attributes are. Raises UserError if the disk does not take it.
        """
        line = json.dumps({"kind": kind, "step": step, **numbers}, allow_nan=False) + "\n"
        with writing(self.path):
            write_all(self._file, line.encode())
        if self._board is not None:
            for name, value in numbers.items():
                for part, number in value.items() if isinstance(value, Mapping) else [("", value)]:
                    if isinstance(number, int | float):
                        self._board.add_scalar("/".join(filter(None, (kind, name, part))), number, step)

    def sync(self) -> None:
        """Make sure that what was appended is on the disk: to be called before a checkpoint is written."""
        with writing(self.path):
            os.fsync(self._file.fileno())

    def __enter__(self) -> Records:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()
        if self._board is not None:
            self._board.close()


def read_records(path: Path, kind: str | None = None) -> list[dict[str, Any]]:
    """The records of a run (all, or one kind), oldest first; a line cut short by a killed process is left out."""
    if not path.exists():
        return []
    records = []
    for line in path.read_bytes().splitlines():
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(record, dict) and type(record.get("step")) is int and kind in (None, record.get("kind")):
            records.append(record)
    return records


def _tensorboard(folder: Path, step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)


class Window:
    """The named numbers of the updates since the last record, left on the device until they are read."""

    def __init__(self, state: Mapping[str, Tensor] | None = None) -> None:
        self._numbers: dict[str, list[Tensor]] = {name: list(rows) for name, rows in (state or {}).items()}

    def __len__(self) -> int:
        return max((len(rows) for rows in self._numbers.values()), default=0)

    def add(self, numbers: Mapping[str, Tensor]) -> None:
        for name, number in numbers.items():
            self._numbers.setdefault(name, []).append(number)

    def average_over_processes(self) -> None:
        """Each process adds the numbers of its share of the batches; these are then those of the whole batches."""
        if processes.count() == 1 or not self._numbers:
            return
        numbers = torch.stack([torch.stack(rows) for rows in self._numbers.values()])
        processes.average(numbers)
        self._numbers = {name: list(rows) for name, rows in zip(self._numbers, numbers, strict=True)}

    def state(self) -> dict[str, Tensor]:
        """What a checkpoint keeps, so that a resumed run records the same means."""
        return {name: torch.stack(rows).cpu() for name, rows in self._numbers.items()}

    def first_not_finite(self) -> tuple[int, dict[str, float]] | None:
        """The first update of the window (from 0) that has a number that is not finite, and its numbers."""
        stacked = self.state()
        if not stacked:
            return None
        finite = torch.stack([rows.isfinite() for rows in stacked.values()]).all(dim=0)
        if finite.all():
            return None
        first = int(finite.int().argmin())
        return first, {name: float(rows[first]) for name, rows in stacked.items()}

    def close(self) -> dict[str, float]:
        """The means; the window is empty afterwards."""
        means = {name: float(rows.double().mean()) for name, rows in self.state().items()}
        self._numbers = {}
        return means
