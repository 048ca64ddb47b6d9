"""`fader compare`: several models side by side, on the same pictures, by the same judge and the same report builder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fader.attributes import Schema
from fader.config import ClassifierConfig
from fader.datasets.prepared import Location
from fader.datasets.views import view
from fader.errors import UserError
from fader.evaluation.bootstrap import differences
from fader.evaluation.charts import strength_chart
from fader.evaluation.evaluate import REPORT, dataset_for, measure_system, meta_for
from fader.evaluation.gallery import extremes_figure, systems_figure
from fader.evaluation.judge import find_judge, judge_beside
from fader.evaluation.judged import judged
from fader.evaluation.naturalness import naturalness
from fader.evaluation.report import build_report, comparison_to_markdown, per_image_csv
from fader.evaluation.results import meta_of
from fader.files import file_digest, new_folder, refuse_existing, write_json, write_text
from fader.images import save_picture
from fader.interop.inception import read_inception
from fader.locations import ModelLocation, titles
from fader.model import Model, load

FORMAT = {"format": "fader-comparison", "version": 1}
STRENGTH_PICTURES = 500  # That the strength curves are of, at most, evenly spaced.


def compare(
    locations: Sequence[ModelLocation],
    output: Path,
    dataset: Location | None = None,
    split: str = "test",
    names: Sequence[str] = (),
    judge: Path | None = None,
    device: str = "auto",
    overwrite: bool = False,
    inception: Path | None = None,
) -> dict[str, Any]:
    """Measure models on the same pictures and write report.json, report.md, per_image.csv and figures into a folder.

    Args:
        locations: Runs or models (folders, "portraits", "hf:user/model"); differences are to the first.
        output: The folder to write.
        dataset: A prepared dataset with the attributes of all models, of pictures as large as the largest of them
            takes; by default that of the first run.
        split: Which of its splits.
        names: What to call the models; by default as their folders.
        judge: A classifier folder to judge all by, see `find_judge`; by default a folder beside the output.
        device: "auto", "cpu", "cuda", ...
        overwrite: Whether an older comparison may be replaced, and an unusable judge that was not named.
        inception: The file of the Inception network's weights, see `read_inception`, for KID and FID to take features
            from it as published ones do; by default they are the judge's.

    Returns the content of report.json. Raises UserError, with nothing written, on anything unusable.
    """
    called = titles(locations, names)
    if len(set(called)) < len(called):
        raise UserError(f"Two of the models are called alike: {', '.join(called)}; tell them apart with --names.")
    refuse_existing(output, overwrite, REPORT)
    network = read_inception(inception) if inception else None
    models = dict(zip(called, (load(location, device) for location in locations), strict=True))
    first = models[called[0]]
    data = dataset_for(locations, list(models.values()), dataset, split)
    together = _together(list(models.values()))
    shown = judged(data)
    judge_folder = judge or judge_beside(output)
    classifier = find_judge(
        judge_folder, judge is not None, shown, together, _selecting(models), first.device, overwrite
    )
    systems = {
        name: measure_system(model, classifier, data, split, STRENGTH_PICTURES) for name, model in models.items()
    }
    if len(data.indices(split)) > 1:  # Of which one half is told apart by what the other teaches.
        extractor = network and network.to(first.device)
        for name, found in naturalness(models, classifier, data, split, first.device, extractor).items():
            systems[name].figures["naturalness"] = found
    reports = {
        name: build_report(
            system.figures,
            {
                **meta_for(location, models[name], data, split, judge_folder, classifier),
                **meta_of(system.measurements, system.background, models[name].schema),
            },
        )
        for location, (name, system) in zip(locations, systems.items(), strict=True)
    }
    shared = ("dataset", "split", "judge", "judged_size", "judged_framing", "fader")
    comparison = {
        **FORMAT,
        "meta": {
            **{key: reports[called[0]]["meta"][key] for key in shared},
            "features": {"inception": file_digest(inception)} if inception else "judge",
        },
        "systems": reports,
        "differences": {
            name: differences(system.figures, systems[called[0]].figures)
            for name, system in systems.items()
            if name != called[0]
        },
    }
    measurements = {name: system.measurements for name, system in systems.items()}
    schemas = {name: model.schema for name, model in models.items()}
    with new_folder(output, overwrite, REPORT) as folder:
        write_json(folder / REPORT, comparison)
        write_text(folder / "report.md", comparison_to_markdown(comparison))
        write_text(folder / "per_image.csv", per_image_csv(measurements, schemas, data))
        save_picture(systems_figure(models, data, shown.indices(split), first.device), folder / "systems.png")
        save_picture(strength_chart(reports), folder / "strength.png")
        for i, (name, model) in enumerate(models.items()):
            seen = view(data, model.framing, model.size)
            figure = extremes_figure(model, seen, measurements[name], model.device)
            save_picture(figure, folder / f"extremes-{i + 1}.png")
    return comparison


def _selecting(models: Mapping[str, Model]) -> ClassifierConfig | None:
    """A classifier that models by name were selected by, if they have any. Raises UserError if they are of two kinds.

    The judge is of the other kind.
    """
    configs = {name: model.classifier_config for name, model in models.items() if model.classifier_config}
    by_kind = {config.architecture: name for name, config in configs.items()}
    if len(by_kind) > 1:
        these = " and ".join(f"{name} was selected by a {kind} classifier" for kind, name in by_kind.items())
        raise UserError(
            f"{these}, so there is none left to judge both by; compare models that were selected by classifiers of one"
            " architecture."
        )
    return next(iter(configs.values()), None)


def _together(models: Sequence[Model]) -> Schema:
    """The attributes of all models, each once."""
    return Schema(tuple(dict.fromkeys(attribute for model in models for attribute in model.schema)))
