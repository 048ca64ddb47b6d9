"""`fader info`: what a folder of fader's is, in a few lines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fader.attributes import BINARY, Attribute, Schema
from fader.config import AnyConfig, Config
from fader.datasets.prepared import SPLITS, Location, PreparedDataset, open_dataset
from fader.errors import UserError, printable
from fader.files import is_url
from fader.locations import ModelLocation, path_of

if TYPE_CHECKING:
    from fader.model import Ends

Lines = list[tuple[str, object]]
"""Names and what is said of them."""


def describe(location: Location, verify: bool = False) -> str:
    """What a dataset, run, model or classifier folder holds: attributes, sizes, settings, splits, figures.

    A dataset may be named by its URL, a model by its name.
    With `verify` all of a dataset is read and compared with its checksums. Raises UserError if the folder is none of
    these, or damaged.
    """
    try:
        return _described(location, verify)
    except RecursionError:
        raise UserError(f"{location}: what it says of itself is nested too deep; it is damaged.") from None


def _described(location: Location, verify: bool) -> str:
    path = path_of(location)
    if is_url(location) or (path is not None and (path / "dataset.json").is_file()):
        data = open_dataset(location)
        if verify:
            data.verify()
        return _text(f"Dataset {data.path}", [*_dataset(data), *([("checksums", "all right")] if verify else [])])
    if path is not None and not path.exists():
        raise UserError(f"{path}: there is no such folder; name a dataset, run, model or classifier folder.")
    if verify:
        raise UserError(f"{location}: only a dataset has checksums to verify.")
    if path is None:
        return _text(f"Model {location}", _model(location))
    if (path / "run.json").is_file():
        return _text(f"Training run {path}", _run(path))
    if (path / "classifier.safetensors").is_file() and not (path / "model.safetensors").is_file():
        return _text(f"Classifier {path}", _classifier(path))
    if (path / "config.json").is_file():
        return _text(f"Model {path}", _model(path))
    raise UserError(f"{path}: this is no dataset, run, model or classifier folder of fader's.")


def _text(title: str, lines: Lines) -> str:
    width = max(len(name) for name, _ in lines)
    return "\n".join(printable(line) for line in (title, *(f"  {name:{width}}  {value}" for name, value in lines)))


def _dataset(data: PreparedDataset) -> Lines:
    count = {split: data.splits == SPLITS.index(split) for split in SPLITS}
    lines: Lines = [
        ("pictures", f"{len(data.images):,} of {data.size} x {data.size} pixels, {_colour(data.channels)}"),
        ("splits", ", ".join(f"{split} {chosen.sum():,}" for split, chosen in count.items())),
        ("source", _pairs(data.info["source"])),
        ("framing", _pairs(data.info["framing"])),
        ("fingerprint", data.fingerprint),
    ]
    present = {split: chosen for split, chosen in count.items() if chosen.any()}
    for k, attribute in enumerate(data.schema):
        shares = [f"{split} {_shares(data.labels[chosen, k], attribute)}" for split, chosen in present.items()]
        lines.append((attribute.name, "; ".join(shares)))
    return lines


def _shares(labels: np.ndarray, attribute: Attribute) -> str:
    shares = np.bincount(labels, minlength=len(attribute.values)) / len(labels)
    if attribute.values == BINARY:
        return f"{shares[1]:.1%}"
    return ", ".join(f"{value} {share:.1%}" for value, share in zip(attribute.values, shares, strict=True))


def _run(path: Path) -> Lines:
    from fader.training.records import read_records
    from fader.training.run import open_run

    run = open_run(path)
    records, evaluations = read_records(run.metrics), read_records(run.metrics, "evaluation")
    done = records[-1]["step"] if records else 0
    lines: Lines = [
        ("dataset", run.dataset["path"]),
        ("attributes", _attributes(run.schema)),
        *_settings(run.config),
        ("progress", f"step {done:,}{_of_steps(run.config)}, {len(evaluations)} epoch(s) evaluated"),
    ]
    try:
        lines += map(_stage, read_records(run.metrics, "epoch"))
        lines += map(_evaluation, evaluations)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise UserError(f"{run.metrics}: a record is damaged (at {error}).") from None
    for name, part in (("model", run.model), ("evaluation", run.folder / "evaluation")):
        if part.is_dir():
            lines.append((name, part))
    return lines


def _stage(one: dict[str, Any]) -> tuple[str, object]:
    known = ("kind", "step", "stage", "epoch", "seconds")
    found = _pairs({name: value for name, value in one.items() if name not in known})
    where = f"step {one['step']:,}, {one['seconds'] / 60:.0f} min"
    return f"{one['stage']} epoch {one['epoch']}", f"{where}, {found}"


def _evaluation(one: dict[str, Any]) -> tuple[str, object]:
    found = f"MSE {one['mse']:.4f}, swap accuracy {_percentages(one['accuracy'])}"
    return f"epoch {one['epoch']}", f"step {one['step']:,}, {one['seconds'] / 60:.0f} min, {found}"


def _model(location: ModelLocation) -> Lines:
    from fader.model import load

    model = load(location, device="cpu")
    lines: Lines = [
        ("attributes", _attributes(model.schema)),
        ("weights", f"{sum(parameter.numel() for parameter in model.network.parameters()):,}"),
        ("classifier", "yes" if model.classifier is not None else "none: labels have to be given"),
        *([("fader ends", _ends(model.ends))] if model.ends else []),
        *([("errors", _pairs(model.errors))] if model.errors else []),
        ("trained on", _pairs(model.dataset)),
        ("selected", _pairs(model.selection)),
        *_settings(model.config),
    ]
    return lines


def _ends(ends: Ends) -> str:
    """Where 95% of the pictures show each value, e.g. "Hat -0.10 to 1.25"; "?" where none that was tried does."""

    def shown(end: float | None) -> str:
        return "?" if end is None else f"{end:.2f}"

    return ", ".join(f"{name} {shown(one['absent'])} to {shown(one['present'])}" for name, one in ends.items())


def _classifier(path: Path) -> Lines:
    from fader.training.classifier import load_classifier

    classifier = load_classifier(path)
    return [
        ("attributes", _attributes(classifier.schema)),
        ("pictures", f"{classifier.size} x {classifier.size} pixels, {_colour(classifier.channels)}"),
        ("accuracy", _percentages(classifier.info["accuracy"])),
        ("trained on", classifier.info["dataset"]),
    ]


def _settings(config: AnyConfig) -> Lines:
    return [("system", config.system), *((name, _pairs(fields)) for name, fields in config.to_json().items())]


def _of_steps(config: AnyConfig) -> str:
    return f" of {config.training.steps:,}" if isinstance(config, Config) else ""


def _attributes(schema: Schema) -> str:
    return ", ".join(a.name if a.values == BINARY else f"{a.name} ({'/'.join(a.values)})" for a in schema)


def _colour(channels: int) -> str:
    return "colour" if channels == 3 else "grey"


def _percentages(shares: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {share:.1%}" for name, share in shares.items())


def _pairs(fields: Mapping[str, Any]) -> str:
    def shown(value: Any) -> str:
        if isinstance(value, Mapping):
            return f"({_pairs(value)})"
        return f"{value:.5g}" if isinstance(value, float) else str(value)

    pairs: Iterable[str] = (f"{name} {shown(value)}" for name, value in fields.items() if value is not None)
    return ", ".join(pairs) or "not recorded"
