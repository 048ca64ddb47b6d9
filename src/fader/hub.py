"""Model folders on the Hugging Face Hub, by way of huggingface_hub (extra `hub`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any

from fader.errors import UserError

PREFIX = "hf:"


def on_hub(location: str | PathLike[str]) -> bool:
    """Whether this names a model on the hub, as hf:user/model, and not a path."""
    return str(location).startswith(PREFIX)


def download(location: str, names: Sequence[str]) -> Path:
    """The folder in huggingface_hub's cache with these files, and no others, of hf:user/model.

    hf:user/model@REVISION names a branch, tag or commit. Raises UserError where there is none, or no way to it.
    """
    repository, _, revision = location.removeprefix(PREFIX).partition("@")
    with _hub(location) as hub:
        return Path(hub.snapshot_download(repository, revision=revision or None, allow_patterns=list(names)))


def upload(folder: Path, names: Sequence[str], repository: str, private: bool) -> str:
    """Put these files of a folder, and nothing else, into a repository of models; returns its address.

    It is made if it is not there, as a private one with `private`; of one that is there nothing but these files
    changes, nor who may see it. Raises UserError where that fails.
    """
    with _hub(f"{PREFIX}{repository}") as hub:
        api = hub.HfApi()
        address = str(api.create_repo(repository, private=private, exist_ok=True))
        api.upload_folder(repo_id=repository, folder_path=folder, allow_patterns=list(names))
        return address


@contextmanager
def _hub(location: str) -> Iterator[Any]:
    """The library; what goes wrong with it in the block is an error of the user's, which names `location`."""
    try:
        import huggingface_hub
        from httpx2 import HTTPError
    except ImportError:
        raise UserError(f"{location}: the hub takes the extra 'hub': pip install 'fader-networks[hub]'.") from None
    try:
        yield huggingface_hub
    # All that is said of names, tokens, connections and missing files; the first line says which.
    except (HTTPError, OSError, ValueError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise UserError(f"{location}: {reason}.") from None
