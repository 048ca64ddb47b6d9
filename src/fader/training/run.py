"""The run folder: what a run is made of, and whether a folder may be gone on with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeAlias, TypeVar

from fader.attributes import Schema
from fader.config import AnyConfig, Config, IcganConfig, Settings, read_config
from fader.datasets.prepared import PreparedDataset
from fader.errors import UserError
from fader.files import clear_half_written, read_json, write_json
from fader.locations import ModelLocation, path_of

FORMAT, VERSION = "fader-run", 1

Settings_co = TypeVar("Settings_co", bound=AnyConfig, covariant=True)


@dataclass(frozen=True)
class RunOf(Generic[Settings_co]):
    """A run folder and what `run.json` in it says."""

    folder: Path
    config: Settings_co
    schema: Schema
    dataset: dict[str, Any]
    init: str | None

    @property
    def checkpoints(self) -> Path:
        return self.folder / "checkpoints"

    @property
    def metrics(self) -> Path:
        return self.folder / "metrics.jsonl"

    @property
    def classifier(self) -> Path:
        return self.folder / "classifier"

    @property
    def model(self) -> Path:
        return self.folder / "model"

    def candidate(self, epoch: int) -> Path:
        return self.folder / "candidates" / f"epoch-{epoch:04d}.safetensors"

    def part(self, name: str) -> Path:
        """The weights of one of the networks that an IcGAN is put together of."""
        return self.folder / "networks" / f"{name}.safetensors"

    def sample(self, epoch: int) -> Path:
        return self.folder / "samples" / f"epoch-{epoch:04d}.png"

    @property
    def settings(self) -> dict[str, Any]:
        """What makes it the run that it is, by name."""
        settings: dict[str, Any] = {"system": self.config.system}
        for part in self.config.to_json().values():
            settings |= part
        # A dataset may have been moved; it is the same where its content is.
        settings["attributes"] = ", ".join(f"{a.name} ({'/'.join(a.values)})" for a in self.schema)
        return settings | {"init": self.init, "dataset": self.dataset.get("fingerprint")}

    def to_json(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "version": VERSION,
            "system": self.config.system,
            "config": self.config.to_json(),
            "attributes": self.schema.to_json(),
            "dataset": self.dataset,
            "init": self.init,
        }


Run: TypeAlias = RunOf[Config]
IcganRun: TypeAlias = RunOf[IcganConfig]
AnyRun: TypeAlias = RunOf[AnyConfig]


def open_run(folder: Path) -> AnyRun:
    """The run in a folder. Raises UserError if there is none or it is of a newer version."""
    if not (folder / "run.json").is_file():
        raise UserError(f"{folder}: there is no training run (no run.json); name a folder that `fader train` wrote.")
    data = read_json(folder / "run.json")
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise UserError(f"{folder / 'run.json'}: this does not describe a training run.")
    if data.get("version") != VERSION:
        raise UserError(f"{folder / 'run.json'}: version {data.get('version')} is newer than this fader; upgrade it.")
    try:
        dataset, init = dict(data["dataset"]), data["init"]
        if not all(isinstance(dataset[name], str) for name in ("path", "name", "fingerprint")):
            raise ValueError("dataset")
        if not isinstance(init, str | None):
            raise ValueError("init")
        return RunOf(
            folder=folder,
            config=read_config(data.get("system", "fader"), data["config"]),
            schema=Schema.from_json(data["attributes"]),
            dataset=dataset,
            init=init,
        )
    except UserError as error:
        raise UserError(f"{folder / 'run.json'}: {error}") from None
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{folder / 'run.json'}: the file is damaged (at {error}).") from None


def run_at(location: ModelLocation) -> AnyRun | None:
    """The run whose folder was named as a model; None where that is no run. Raises UserError as `open_run` does."""
    path = path_of(location)
    return open_run(path) if path is not None and (path / "run.json").is_file() else None


def create_or_continue(
    folder: Path, config: Settings, schema: Schema, dataset: PreparedDataset, init: ModelLocation | None = None
) -> RunOf[Settings]:
    """The run to work on: a new one in a new folder, or the one there if it has the same settings.

    Raises UserError, listing the differences, if the folder holds a run with other settings, or something else. The
    folder is to be locked (`files.locked`).
    """
    about = {"path": dataset.store.location, "name": dataset.store.name, "fingerprint": dataset.fingerprint}
    source = None if init is None else str(path.absolute() if (path := path_of(init)) else init)
    run = RunOf(folder, config, schema, about, source)
    if (folder / "run.json").exists():
        there = open_run(folder)
        found = differences(there.settings, run.settings)
        if found:
            raise UserError(
                f"{folder} holds a run with other settings ({'; '.join(found)}); name another output, or repeat"
                " those settings to go on with it."
            )
        clear_half_written(folder)
        return run
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} exists and is not a training run; name another output.")
    try:
        write_json(folder / "run.json", run.to_json())
    except OSError as error:
        raise UserError(f"{folder}: it cannot be written ({error.strerror}).") from None
    return run


def differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    """The settings that are others there than here."""
    return [
        f"{name} is {there.get(name)} there, {value} here" for name, value in here.items() if there.get(name) != value
    ]
