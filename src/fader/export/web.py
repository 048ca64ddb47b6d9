"""`fader export web`: the studio's page as a folder of files, with the models computed in the visitor's browser."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

import fader
from fader.datasets.pictures import PictureFiles
from fader.editing.names import distinct
from fader.errors import UserError
from fader.export.graphs import graphs
from fader.export.onnx import write_graphs
from fader.export.runtime import CDN, PACKAGE, VERSION, WASM, WEBGPU, Runtime, copy_runtime, published
from fader.files import new_folder, write_json, write_text
from fader.images import names_picture, save_picture, to_picture
from fader.locations import ModelLocation, called
from fader.model import Model, load
from fader.studio.description import describe
from fader.studio.starts import start

FORMAT, VERSION_OF_PAGE = "fader-web", 1
DESK = "desk.json"
OF_SERVER = ("server-engine.js", "engine-choice.js")  # Of the studio's page; the exported one has an engine of its own.
POLICY = (
    "default-src 'none'; script-src 'self'{cdn} 'wasm-unsafe-eval'; worker-src 'self' blob:; style-src 'self';"
    " img-src 'self'; connect-src 'self'{cdn}; base-uri 'none'; form-action 'none'"
)
"""Nothing is loaded from anywhere else, nothing can be sent anywhere else. It holds for a worker too if that comes from
a blob of the page, and not from a file of its own."""
MOST_HEIGHT = 2**14  # Pixels; the pictures to start from are one below the other, and browsers show no higher ones.
AT = '<meta charset="utf-8">'


def export_web(
    models: Sequence[ModelLocation],
    output: Path,
    runtime: Path | None = None,
    pictures: Path | None = None,
    count: int = 24,
    webgpu: bool = False,
    cdn: bool = False,
    overwrite: bool = False,
) -> str:
    """Write the studio's page with these models into a folder that any server of files serves; return how to see it.

    Args:
        models: Run or model folders, or names of models.
        output: The folder to write.
        runtime: The npm package onnxruntime-web, unpacked or its .tgz; by default npm fetches it.
        pictures: A folder of pictures to start from, instead of the drawn portraits that a model of those starts from.
        count: How many pictures to start from.
        webgpu: Let browsers decode on the GPU where that gives the same pictures.
        cdn: Let browsers load the runtime from jsDelivr instead of copying it.
        overwrite: Whether an older page may be replaced.

    Raises UserError, with nothing written, on a model that is none or has no classifier, on pictures that cannot be
    read, and where the runtime cannot be had.
    """
    if count < 1:
        raise UserError(f"--count {count} shows nothing to start from; it needs at least 1.")
    if cdn and runtime is not None:
        raise UserError("Give --runtime or --cdn: the runtime's files are copied or they are not.")
    chosen = WEBGPU if webgpu else WASM
    names = distinct(map(called, models))
    with new_folder(output, overwrite, DESK) as folder:
        files = folder / f"onnxruntime-web-{VERSION}"
        if not cdn:
            copy_runtime(chosen, runtime, files)
        desk = {
            "format": FORMAT,
            "version": VERSION_OF_PAGE,
            "fader": fader.__version__,
            "runtime": _addresses(chosen, f"{CDN}/npm/{PACKAGE}/dist" if cdn else f"./{files.name}", cdn),
            "models": [
                _write_model(load(location, device="cpu"), name, str(i), folder, pictures, count)
                for i, (location, name) in enumerate(zip(models, names, strict=True))
            ],
        }
        write_json(folder / DESK, desk)
        _write_page(folder, POLICY.format(cdn=f" {CDN}" if cdn else ""))
    return f"{output}\nTo see it here: python -m http.server --bind 127.0.0.1 --directory {output}"


def _addresses(runtime: Runtime, where: str, cdn: bool) -> dict[str, str]:
    script, loader, program = (f"{where}/{file.name if cdn else published(file)}" for file in runtime.files)
    return {"provider": runtime.provider, "script": script, "loader": loader, "program": program}


def _write_model(model: Model, name: str, key: str, folder: Path, pictures: Path | None, count: int) -> dict[str, Any]:
    """Write a model's graphs and the pictures to start from; return what the page is told of it."""
    if model.classifier is None:
        raise UserError(
            f"{name} has no classifier, so that the page could not tell what a picture shows; leave it out."
        )
    about = describe(model, name, key)
    place = folder / "models" / model.fingerprint  # So that a browser never takes an older model's file for this one's.
    begin = []
    if not place.exists():
        place.mkdir(parents=True)
        write_graphs(model, place)
    if pictures is not None:
        about |= {"starts": "own"}
        begin = _write_starts(model, _own(model, pictures, count), None, place)
    elif about["starts"]:
        drawn = [start(model, number) for number in range(count)]
        begin = _write_starts(model, np.stack([array for array, _ in drawn]), [known for _, known in drawn], place)
    return {
        **about,
        "channels": model.channels,
        "folder": f"models/{model.fingerprint}",
        "graphs": [graph.name for graph in graphs(model)],
        "begin": begin,
    }


def _own(model: Model, pictures: Path, count: int) -> np.ndarray:
    """What a model sees of the first pictures of a folder: uint8, N x S x S x C."""
    with PictureFiles(pictures) as files:
        names = [name for name in files.names if names_picture(name)][:count]
        if not names:
            raise UserError(f"{pictures}: there is no picture in it to start from.")
        return np.stack(
            [
                model.frame(BytesIO(file) if isinstance(file, bytes) else file, name)
                for name, file in map(files.fetch, names)
            ]
        )


def _write_starts(model: Model, arrays: np.ndarray, known: list[list[int]] | None, place: Path) -> list[dict[str, Any]]:
    """Write pictures (uint8, N x S x S x C) as one, below each other; return the values and confidences of each."""
    if len(arrays) * model.size > MOST_HEIGHT:
        most = MOST_HEIGHT // model.size
        raise UserError(
            f"Of pictures of {model.size} pixels there can be {most} to start from; name a --count up to that."
        )
    save_picture(to_picture(arrays.reshape(-1, *arrays.shape[2:])), place / "starts.png")
    faces = model.encode_framed(arrays, None if known is None else np.array(known))
    sure = [[None] * len(model.schema)] * len(arrays) if known is not None else faces.confidences.tolist()
    return [
        {"values": values, "confidences": confidences}
        for values, confidences in zip(faces.own_values.tolist(), sure, strict=True)
    ]


def _write_page(folder: Path, policy: str) -> None:
    studio, own = resources.files("fader.studio") / "page", resources.files("fader.export") / "page"
    files = {file.name: file for file in studio.iterdir() if file.name not in OF_SERVER}
    for name, file in (files | {file.name: file for file in own.iterdir()}).items():
        (folder / name).write_bytes(file.read_bytes())
    page = (folder / "index.html").read_text(encoding="utf-8")
    assert AT in page
    write_text(
        folder / "index.html",
        page.replace(AT, f'{AT}\n<meta http-equiv="Content-Security-Policy" content="{policy}">', 1),
    )
