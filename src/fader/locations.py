"""What a user names a model by: the folder of a model or a run, a name that comes with fader, or hf:user/model."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import TypeAlias

from fader import hub
from fader.errors import UserError
from fader.files import is_url
from fader.progress import say

BUNDLED = ("portraits",)
"""The models that lie in the package."""
BUNDLES = Path(__file__).parent / "bundled"
ModelLocation: TypeAlias = str | PathLike[str]
"""Text that is a name means the name, whatever lies in the current folder; a Path is always a path."""


def parse(text: str) -> str | Path:
    """What a word of the command line means: a model's name or a URL as it is, else a path. `./portraits` is one."""
    return text if is_name(text) or is_url(text) else Path(text)


def is_name(location: ModelLocation) -> bool:
    """Whether this is a name, of a model that comes with fader or lies on the hub, and not a path."""
    return isinstance(location, str) and (location in BUNDLED or hub.on_hub(location))


def path_of(location: ModelLocation) -> Path | None:
    """The path that was named; None where it was no path but a name."""
    return None if is_name(location) else Path(location)


def called(location: ModelLocation) -> str:
    """What to call a model where there are several: its name, or that of its folder or run."""
    path = path_of(location)
    if path is None:
        return str(location)
    path = path.absolute()
    return path.parent.name if path.name == "model" else path.name


def titles(locations: Sequence[ModelLocation], names: Sequence[str] = ()) -> list[str]:
    """What each of several models is called: its name of those given, else that of its folder, no two of them alike.

    Names that are given may be alike. Raises UserError.
    """
    if not locations:
        raise UserError("There is no model; name one run or model at least.")
    if names and len(names) != len(locations):
        raise UserError(
            f"There are {len(locations)} models and {len(names)} names for them; give one for each with --names."
        )
    found = list(names) or list(map(called, locations))
    if not names and len(set(found)) < len(found):
        found = list(map(str, locations))
    if (not names and len(set(found)) < len(found)) or not all(title.strip() for title in found):
        raise UserError(f"The models are called {', '.join(found)}; tell them apart with --names.")
    return found


def fetched(location: ModelLocation, files: Sequence[str]) -> Path:
    """Where a model lies on this machine: its files are fetched first if it lies on the hub.

    Raises UserError where the hub has none, or no way to it.
    """
    path = path_of(location)
    if path is not None:
        return path
    name = str(location)
    if hub.on_hub(name):
        return hub.download(name, files)
    if Path(name).exists():
        say(f"{name} is the model that comes with fader; the folder of that name is ./{name}.")
    return BUNDLES / name
