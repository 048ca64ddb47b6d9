"""`fader demo`: what fader does, from nothing to a report, on pictures that it draws itself."""

from __future__ import annotations

from pathlib import Path

from fader.config import configure
from fader.datasets.portraits.source import prepare_portraits
from fader.progress import say
from fader.training.loop import train


def demo(output: Path, count: int, steps: int | None = None, device: str = "auto") -> str:
    """Draw `count` portraits, train a Fader Network (preset `small`) on them and evaluate it, in the run folder `output`.

    What is done already is not done again; an interrupted training goes on. `steps` shortens the training. Returns a
    short table and where to look. Raises UserError if `output` holds something else.
    """
    dataset = output.with_name(f"portraits-{count}")
    if not dataset.exists():
        say(f"Drawing {count:,} portraits in {dataset}")
        prepare_portraits(dataset, count=count)
    config = configure("small", **({} if steps is None else {"steps": steps}))
    train(dataset, output, config, device=device)
    ...
    return ""
