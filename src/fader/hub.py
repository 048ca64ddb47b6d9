"""Model folders on the Hugging Face Hub, by way of huggingface_hub (extra `hub`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from fader.errors import UserError
from fader.files import write_text

PREFIX = "hf:"
MOST_BYTES = {".safetensors": 4 * 10**9}  # Of a file that is fetched; of the preset `paper` it has 0.2 * 10**9.
MOST_OTHER_BYTES = 10**6


def on_hub(location: str) -> bool:
    """Whether this names a model on the hub, as hf:user/model."""
    return location.startswith(PREFIX)


def download(location: str, names: Sequence[str]) -> Path:
    """The folder in huggingface_hub's cache with these files, and no others, of hf:user/model.

    hf:user/model@REVISION names a branch, tag or commit. Raises UserError where there is none, or no way to it and it
    was not fetched before; and, before anything is fetched, where a file is larger than one of a model may be.
    """
    repository, _, revision = location.removeprefix(PREFIX).partition("@")
    with _hub(location) as hub:
        from httpx2 import HTTPError

        fetch = partial(hub.snapshot_download, repository, allow_patterns=list(names))
        try:
            info = hub.HfApi().model_info(repository, revision=revision or None, files_metadata=True)
        except (HTTPError, OSError) as error:  # There is no way to it, or it is not there.
            try:
                return Path(fetch(revision=revision or None, local_files_only=True))
            except hub.errors.LocalEntryNotFoundError:
                raise error from None
        for file in info.siblings or []:
            most = MOST_BYTES.get(Path(file.rfilename).suffix, MOST_OTHER_BYTES)
            if file.rfilename in names and not (file.size is not None and file.size <= most):
                size = "does not say its size" if file.size is None else f"takes {file.size:,} bytes"
                raise UserError(f"{location}: {file.rfilename} {size}; of a model it may take {most:,}.")
        folder = Path(fetch(revision=info.sha))  # A branch may have moved on to files that were not looked at.
        if revision != info.sha:  # As the cache notes it of a branch, for when there is no way to the hub.
            reference = folder.parents[1] / "refs" / (revision or "main")
            reference.parent.mkdir(parents=True, exist_ok=True)
            write_text(reference, info.sha)
        return folder


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
