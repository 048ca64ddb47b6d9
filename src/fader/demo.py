"""`fader demo`: what fader does, from nothing to a report, on pictures that it draws itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fader.config import configure
from fader.datasets.portraits.source import prepare_portraits
from fader.errors import UserError
from fader.evaluation.evaluate import REPORT, evaluate
from fader.evaluation.report import summary
from fader.files import read_json, spelled_out
from fader.model import load
from fader.progress import say
from fader.training.loop import train


def demo(output: Path, count: int, steps: int | None = None, device: str = "auto") -> str:
    """Draw `count` portraits, train a Fader Network of the preset `small` on them, and evaluate it.

    The run folder is `output`, the dataset is beside it. What is done already is not done again, and an interrupted
    training goes on. `steps` shortens or lengthens the training. Returns a table and where to look.

    Raises UserError if `output` holds something else.
    """
    dataset = spelled_out(output).with_name(f"portraits-{count}")
    if not dataset.exists():
        say(f"1 of 3: drawing {count:,} portraits into {dataset}.")
        prepare_portraits(dataset, count=count)
    say(f"2 of 3: training a Fader Network in {output}.")
    train(dataset, output, configure("small", **({} if steps is None else {"steps": steps})), device=device)
    report = report_of_model(output)
    if report is None:
        say("3 of 3: evaluating it on portraits that it has not seen.")
        report = evaluate(output, device=device, overwrite=True)
    return f"""{summary(report)}

model    {output / "model"}
report   {output / "evaluation" / "report.md"}
figures  {output / "evaluation" / "swaps.png"}, {output / "samples"}
try      fader slide {output} --dataset {dataset} --attribute Smiling -o smiles.png"""


def report_of_model(output: Path) -> dict[str, Any] | None:
    """The report that is there, if it is whole and of the model that is there."""
    path = output / "evaluation" / REPORT
    if not path.exists():
        return None
    try:
        report: dict[str, Any] = read_json(path)
        summary(report)
        selection = report["meta"]["model"]["selection"]
    except (UserError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError):
        return None  # What is damaged is made again.
    return report if selection == load(output, device="cpu").selection else None
