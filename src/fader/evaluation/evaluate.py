"""`fader evaluate`: how good a model is, by a stated protocol, in a folder with report, figures and every number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import fader
from fader.config import Config
from fader.datasets.prepared import Location, PreparedDataset, open_dataset
from fader.datasets.views import view
from fader.errors import UserError
from fader.evaluation.bootstrap import Figures
from fader.evaluation.charts import strength_chart
from fader.evaluation.diagnosis import diagnose
from fader.evaluation.gallery import extremes_figure, swap_figure
from fader.evaluation.judge import find_judge, judge_beside
from fader.evaluation.judged import judged, judged_framing, judged_part
from fader.evaluation.measure import Background, Measurements, look_at_training, measure
from fader.evaluation.probe import L2
from fader.evaluation.report import build_report, per_image_csv, to_markdown
from fader.evaluation.results import figures_of, meta_of
from fader.evaluation.strength import measure_strength, strength_figures
from fader.files import new_folder, refuse_existing, write_json, write_text
from fader.images import save_picture
from fader.locations import ModelLocation
from fader.model import Ends, Model, load, mark_ends
from fader.progress import say
from fader.training.choice import open_run_dataset
from fader.training.classifier import Classifier
from fader.training.run import run_at

REPORT = "report.json"
STRENGTH_PICTURES = 200  # That the strength curve is of, at most, evenly spaced; a comparison takes more.


def evaluate(
    location: ModelLocation,
    dataset: Location | None = None,
    split: str = "test",
    judge: Path | None = None,
    output: Path | None = None,
    device: str = "auto",
    overwrite: bool = False,
) -> dict[str, Any]:
    """Evaluate a model and write report.json, report.md, per_image.csv and figures into a folder.

    Args:
        location: A run folder, or a model: its folder, "portraits" or "hf:user/model".
        dataset: A prepared dataset with the model's attributes; by default the run's.
        split: Which of its splits.
        judge: A classifier folder to judge by, see `find_judge`; trained and kept there if there is none yet. By
            default RUN/judge, of a model folder a folder beside the output.
        output: The folder to write; by default RUN/evaluation.
        device: "auto", "cpu", "cuda", ...
        overwrite: Whether an older report may be replaced, and an unusable judge that was not named.

    Returns the content of report.json. Raises UserError, with nothing written, on anything unusable.
    """
    model = load(location, device)
    run = run_at(location)
    own_place = output is None
    if output is None:
        if run is None:
            raise UserError(f"{location} is a model, not a run; say where the report shall go with --output.")
        output = run.folder / "evaluation"
    refuse_existing(output, overwrite, REPORT)
    data = dataset_for([location], [model], dataset, split)
    judge_folder = judge or (run.folder / "judge" if run else judge_beside(output))
    classifier = find_judge(
        judge_folder, judge is not None, judged(data), model.schema, model.classifier_config, model.device, overwrite
    )
    system = measure_system(model, classifier, data, split, STRENGTH_PICTURES)
    meta = meta_for(location, model, data, split, judge_folder, classifier)
    report = build_report(system.figures, {**meta, **meta_of(system.measurements, system.background, model.schema)})
    step = model.selection.get("step")
    step = step if isinstance(step, int) else None
    # Causes and settings are those of a Fader Network.
    fader_config = model.config if isinstance(model.config, Config) else None
    report["diagnosis"] = diagnose(report, model.schema, fader_config.training, step) if fader_config else None
    shown = view(data, model.framing, model.size)
    with new_folder(output, overwrite, REPORT) as folder:
        write_json(folder / REPORT, report)
        write_text(folder / "report.md", to_markdown(report))
        write_text(folder / "per_image.csv", per_image_csv({"": system.measurements}, {"": model.schema}, data))
        save_picture(swap_figure(model, shown, system.measurements.indices, model.device), folder / "swaps.png")
        save_picture(extremes_figure(model, shown, system.measurements, model.device), folder / "extremes.png")
        save_picture(strength_chart({"Model": report}), folder / "strength.png")
    if run is not None and own_place:
        if load(location, "cpu").fingerprint == model.fingerprint:
            mark_ends(run.folder, ends_of(report))
        else:
            say(f"{location}: it has another model by now than was evaluated, so where faders end is not kept with it.")
    return report


@dataclass(frozen=True)
class System:
    """What was measured of one model."""

    measurements: Measurements
    background: Background
    figures: Figures


def measure_system(model: Model, judge: Classifier, data: PreparedDataset, split: str, pictures: int) -> System:
    """Measure a model on a split; the strength of its faders on at most so many pictures. All but its naturalness."""
    background = look_at_training(model, data, model.device)
    measurements = measure(model, judge, data, split, background, model.device, model.classifier)
    strength = measure_strength(model, judge, data, split, pictures, model.device)
    figures = figures_of(measurements, background, model.schema)
    figures |= {"strength": strength_figures(strength, model.schema), "naturalness": None}
    return System(measurements, background, figures)


def meta_for(
    location: ModelLocation,
    model: Model,
    data: PreparedDataset,
    split: str,
    judge_folder: Path,
    judge: Classifier,
) -> dict[str, Any]:
    """What a report says of what was compared with what."""
    return {
        "fader": fader.__version__,
        "model": {"path": str(location), "trained_on": model.dataset, "selection": model.selection},
        "dataset": {"path": data.path, "fingerprint": data.fingerprint},
        "split": split,
        "judge": {"path": str(judge_folder), **asdict(judge.config), "trained_on": judge.info["dataset"]},
        "judged_size": judge.size,
        "judged_framing": judged_framing(data).to_json(),
        "probe_l2": L2,
        "device": str(model.device),
    }


def ends_of(report: dict[str, Any]) -> Ends:
    """The ends of a model's faders, as they are saved with it."""
    return {
        name: {"absent": curve["end_absent"], "present": curve["end_present"]}
        for name, curve in report["strength"].items()
    }


def dataset_for(
    locations: Sequence[ModelLocation], models: Sequence[Model], dataset: Location | None, split: str
) -> PreparedDataset:
    """The dataset to evaluate models on: the one named, or that of the first of them that is a run.

    Raises UserError if it is not fit for one of the models, or has no picture in the split.
    """
    runs = [run for run in map(run_at, locations) if run is not None]
    if dataset is not None:
        data = open_dataset(dataset)
    elif runs:
        data = open_run_dataset(runs[0])
    else:
        raise UserError(f"{locations[0]} is a model, not a run; name a prepared dataset with --dataset.")
    for model in models:
        if data.channels != model.channels or data.size < model.size:
            raise UserError(
                f"{data.path} has pictures of {data.size} pixels and {data.channels} channel(s), the model takes"
                f" {model.size} and {model.channels}; prepare it with --size {model.size} --channels {model.channels}."
            )
        data.columns(model.schema)
        view(data, model.framing, model.size)
        judged_part(model.framing, data)
    data.indices(split)
    return data
