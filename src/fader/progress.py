"""Progress in a terminal (what, how far, how long yet), and silence in a pipe."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

# Standard error, so that standard output holds results only. Progress is drawn only where this is a terminal.
console = Console(stderr=True, highlight=False)


class Task:
    """One bar: `advance` moves it, and what is shown beside it can change as it moves."""

    def __init__(self, progress: Progress, task: Any) -> None:
        self._progress = progress
        self._task = task

    @property
    def speed(self) -> float | None:
        """Steps a second lately; None as long as that is unknown, and where no bar is drawn."""
        return next((task.speed for task in self._progress.tasks if task.id == self._task), None)

    def advance(self, steps: int = 1, shown: str | None = None) -> None:
        self._progress.advance(self._task, steps)
        if shown is not None:
            self._progress.update(self._task, shown=escape(shown))


@contextmanager
def progress(what: str, total: int, done: int = 0, shown: bool = True) -> Iterator[Task]:
    """A progress bar for `total` steps of which `done` were done before. Of several processes one should be `shown`."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[shown]}"),
    )
    with Progress(*columns, console=console, disable=not (shown and console.is_terminal), transient=True) as bars:
        yield Task(bars, bars.add_task(escape(what), total=total, completed=done, shown=""))


def say(message: str) -> None:
    """A line for the person at the terminal (or in the log), between bars."""
    console.print(escape(message), soft_wrap=True)
