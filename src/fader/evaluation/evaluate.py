"""`fader evaluate`: how good a model is, by a stated protocol, in a folder with report, figures and every number."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import fader
from fader.config import Config
from fader.datasets.prepared import Location, PreparedDataset, open_dataset
from fader.errors import UserError
from fader.evaluation.diagnosis import diagnose
from fader.evaluation.gallery import extremes_figure, swap_figure
from fader.evaluation.judge import find_judge
from fader.evaluation.measure import look_at_training, measure
from fader.evaluation.probe import L2
from fader.evaluation.report import build_report, per_image_csv, to_markdown
from fader.files import new_folder, refuse_existing, write_json, write_text
from fader.images import save_picture
from fader.model import Model, load
from fader.training.choice import open_run_dataset
from fader.training.run import AnyRun, open_run

REPORT = "report.json"


def evaluate(
    path: Path,
    dataset: Location | None = None,
    split: str = "test",
    judge: Path | None = None,
    output: Path | None = None,
    device: str = "auto",
    overwrite: bool = False,
) -> dict[str, Any]:
    """Evaluate a model and write report.json, report.md, per_image.csv and figures into a folder.

    Args:
        path: A run folder, or a model folder.
        dataset: A prepared dataset with the model's attributes; by default the run's.
        split: Which of its splits.
        judge: A classifier folder to judge by, see `find_judge`; trained and kept there if there is none yet. By
            default RUN/judge, of a model folder a folder beside the output.
        output: The folder to write; by default RUN/evaluation.
        device: "auto", "cpu", "cuda", ...
        overwrite: Whether an older report may be replaced, and an unusable judge that was not named.

    Returns the content of report.json. Raises UserError, with nothing written, on anything unusable.
    """
    model = load(path, device)
    run = open_run(path) if (path / "run.json").is_file() else None
    if output is None:
        if run is None:
            raise UserError(f"{path} is a model folder, not a run; say where the report shall go with --output.")
        output = run.folder / "evaluation"
    refuse_existing(output, overwrite, REPORT)
    data = _dataset(path, model, run, dataset, split)
    judge_folder = judge or (run.folder / "judge" if run else output.with_name(f"{output.name}-judge"))
    classifier = find_judge(
        judge_folder, judge is not None, data, model.schema, model.classifier_config, model.device, overwrite
    )
    background = look_at_training(model, data, model.device)
    measurements = measure(model, classifier, data, split, background, model.device, model.classifier)
    meta = {
        "fader": fader.__version__,
        "model": {"path": str(path), "trained_on": model.dataset, "selection": model.selection},
        "dataset": {"path": data.path, "fingerprint": data.fingerprint},
        "split": split,
        "judge": {"path": str(judge_folder), **asdict(classifier.config), "trained_on": classifier.info["dataset"]},
        "probe_l2": L2,
        "device": str(model.device),
    }
    report = build_report(measurements, background, model.schema, meta)
    step = model.selection.get("step")
    step = step if isinstance(step, int) else None
    # Causes and settings are those of a Fader Network.
    fader_config = model.config if isinstance(model.config, Config) else None
    report["diagnosis"] = diagnose(report, model.schema, fader_config.training, step) if fader_config else None
    with new_folder(output, overwrite, REPORT) as folder:
        write_json(folder / REPORT, report)
        write_text(folder / "report.md", to_markdown(report))
        write_text(folder / "per_image.csv", per_image_csv(measurements, model.schema, data))
        save_picture(swap_figure(model, data, measurements.indices, model.device), folder / "swaps.png")
        save_picture(extremes_figure(model, data, measurements, model.device), folder / "extremes.png")
    return report


def _dataset(path: Path, model: Model, run: AnyRun | None, dataset: Location | None, split: str) -> PreparedDataset:
    """The dataset to evaluate on. Raises UserError if it is not fit for the model or has no picture in the split."""
    if dataset is not None:
        data = open_dataset(dataset)
    elif run is not None:
        data = open_run_dataset(run)
    else:
        raise UserError(f"{path} is a model folder, not a run; name a prepared dataset with --dataset.")
    if (data.size, data.channels) != (model.size, model.channels):
        raise UserError(
            f"{data.path} has pictures of {data.size} pixels and {data.channels} channel(s), the model takes"
            f" {model.size} and {model.channels}; prepare it with --size {model.size} --channels {model.channels}."
        )
    data.columns(model.schema)
    data.indices(split)
    return data
