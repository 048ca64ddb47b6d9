"""`fader studio`: the server of the page that pulls the faders.

The page (page/) talks to it as its engine (page/server-engine.js). Photos and encoded faces are kept in memory under
secret names, never on the disk; a socket takes vectors of values and gives pictures.
"""

from __future__ import annotations

import asyncio
import base64
import io
import json
import os
import re
import secrets
import struct
import sys
import time
import webbrowser
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from PIL import Image
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp
from starlette.websockets import WebSocket, WebSocketDisconnect

from fader.alignment import Placement, cut, find_faces, paste, require_detector
from fader.errors import UserError
from fader.images import open_picture
from fader.locations import BUNDLED, ModelLocation, called
from fader.model import load
from fader.progress import say
from fader.studio.bench import Bench, Opened, rgba
from fader.studio.description import describe
from fader.studio.sessions import Sessions
from fader.studio.starts import start, starts
from fader.web.guard import Guard, Site
from fader.web.serving import nobody, small_body
from fader.web.serving import serve as serve_application

R = TypeVar("R")
PAGE = re.compile(r"[0-9]{1,9}")
KINDS = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
MOST_UPLOAD = 64 * 2**20  # Bytes of a picture's file.
UPLOADS = 8  # At a time; more are asked to come again.
UPLOAD_TIME = 60  # Seconds that a file may take to arrive.
PHOTOS, PHOTO_BYTES = 64, 700 * 2**20  # Kept: how many, and how many bytes of pixels.
FACES, FACE_BYTES = 256, 256 * 2**20
PREVIEW = 1280  # The longer side of what is shown of a photo.
SOCKETS = 64  # At a time.
SEND_TIME = 10  # Seconds in which a visitor has to take a picture.
GONE = "That is not here any more."


def studio(
    models: Sequence[ModelLocation] = (),
    address: str = "127.0.0.1",
    port: int = 8766,
    public_url: str | None = None,
    browser: bool = True,
    device: str = "auto",
) -> None:
    """Serve the studio until Ctrl-C.

    Args:
        models: Models or runs: their folders, "portraits" or "hf:user/model"; by default the bundled ones.
        address: Where to listen: by default this machine alone.
        port: Where to listen; 0 is any free port.
        public_url: How visitors reach it, if not by that address.
        browser: Open the page in this machine's browser.
        device: Where the models compute.

    Raises UserError if a model is none, or it cannot listen there.
    """
    locations = list(dict.fromkeys(models)) or list(BUNDLED)
    names = list(map(called, locations))
    if len(set(names)) < len(names):
        names = list(map(str, locations))
    benches = [Bench(load(location, device), name) for location, name in zip(locations, names, strict=True)]
    serve_application(
        partial(application, benches),
        secrets.token_urlsafe(16),
        "Studio",
        address,
        port,
        public_url,
        ready=_show if browser else lambda site: None,
    )


def _show(site: Site) -> None:
    """Open the page, unless there is no screen to show it on."""
    screen = sys.platform in ("darwin", "win32") or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if not screen or not webbrowser.open(site.link):
        say("Open that link in a browser.")


def application(benches: Sequence[Bench], site: Site) -> ASGIApp:
    """The web application of a studio with these models."""
    desk = _Desk(benches)
    routes = [
        Route("/", desk.page, methods=["GET"]),
        Route("/{name}", desk.page, methods=["GET"]),
        Route("/api/desk", desk.desk, methods=["GET"]),
        Route("/api/starts/{model}/{page}", desk.starts, methods=["GET"]),
        Route("/api/photos", desk.read, methods=["POST"]),
        Route("/api/photos/{name}", desk.preview, methods=["GET"]),
        Route("/api/faces", desk.open, methods=["POST"]),
        Route("/api/paste", desk.paste, methods=["POST"]),
        Route("/api/close", desk.close, methods=["POST"]),
        WebSocketRoute("/api/frames", desk.frames),
    ]
    plain = {UserError: _sentence, HTTPException: _sentence, ClientDisconnect: nobody}
    return Guard(Starlette(routes=routes, exception_handlers=plain), site, uploads={"/api/photos": MOST_UPLOAD})


async def _sentence(request: Request, error: Exception) -> Response:
    status, text = (error.status_code, error.detail) if isinstance(error, HTTPException) else (400, str(error))
    return PlainTextResponse(text, status)


class _Desk:
    def __init__(self, benches: Sequence[Bench]) -> None:
        self._benches = benches
        self._models = [describe(bench.model, bench.name, str(i)) for i, bench in enumerate(benches)]
        self._photos: Sessions[Image.Image] = Sessions(PHOTOS, PHOTO_BYTES)
        self._faces: Sessions[tuple[Bench, Opened, str | None, Placement | None]] = Sessions(FACES, FACE_BYTES)
        # Large pictures take their time and much memory: two at a time, apart from the models.
        self._hands = ThreadPoolExecutor(2, "pictures")
        self._finds_faces = _finds_faces()
        self._uploads = 0
        self._sockets = 0
        files = resources.files("fader.studio") / "page"
        self._page = {
            file.name: (file.read_bytes(), KINDS[Path(file.name).suffix])
            for file in files.iterdir()
            if Path(file.name).suffix in KINDS
        }

    async def page(self, request: Request) -> Response:
        found = self._page.get(request.path_params.get("name", "index.html"))
        if found is None:
            raise HTTPException(404, "There is nothing here.")
        return Response(found[0], media_type=found[1])

    async def desk(self, request: Request) -> Response:
        return JSONResponse({"models": self._models, "can": {"faces": self._finds_faces, "paste": True, "draw": True}})

    async def starts(self, request: Request) -> Response:
        bench, page = self._bench(request.path_params["model"]), request.path_params["page"]
        if not PAGE.fullmatch(page):
            raise HTTPException(404, "There is no such page of portraits.")
        found = await self._by_hand(partial(starts, bench.model, int(page)))
        return JSONResponse([{"index": i, "side": array.shape[0], "pixels": _base64(array)} for i, array in found])

    async def read(self, request: Request) -> Response:
        """Take a picture's file: its size, and the faces in it."""
        if self._uploads >= UPLOADS:
            raise HTTPException(503, "Too many pictures come in at the moment; try again.")
        self._uploads += 1
        try:
            async with asyncio.timeout(UPLOAD_TIME):
                body = await request.body()
            photo, faces = await self._by_hand(partial(_read, body, self._finds_faces))
        except TimeoutError:
            raise HTTPException(408, "The picture took too long to arrive.") from None
        except ClientDisconnect:
            raise HTTPException(400, "The picture did not arrive.") from None
        finally:
            self._uploads -= 1
        name = self._photos.put(photo, photo.width * photo.height * len(photo.getbands()))
        return JSONResponse({"id": name, "width": photo.width, "height": photo.height, "faces": faces})

    async def preview(self, request: Request) -> Response:
        photo = self._photos.get(request.path_params["name"])
        if photo is None:
            raise HTTPException(410, GONE)
        return Response(await self._by_hand(partial(_preview, photo)), media_type="image/png")

    async def open(self, request: Request) -> Response:
        """Encode a start, or a part of a photo."""
        data = await _json(request)
        bench = self._bench(data.get("model"))
        photo_name = placement = None
        if "start" in data:
            array, known = await self._by_hand(partial(start, bench.model, data["start"]))
        else:
            photo_name, known = data.get("photo"), None
            photo = self._photos.get(photo_name)
            if photo is None:
                raise HTTPException(410, GONE)
            placement = Placement.from_json(data.get("placement"))
            array = await self._by_hand(partial(cut, photo, placement, bench.model.size, bench.model.channels))
        opened = await bench.run(partial(bench.open, array, known))
        name = self._faces.put((bench, opened, photo_name, placement), opened.bytes)
        sure = [None] * len(opened.own) if known is not None else opened.faces.confidences[0].tolist()
        return JSONResponse(
            {
                "id": name,
                "original": _base64(opened.faces.arrays[0]),
                "values": opened.own.tolist(),
                "confidences": sure,
                "familiar": opened.familiar,
                "error": opened.error,
            }
        )

    async def paste(self, request: Request) -> Response:
        """The photo with the edited face in it."""
        data = await _json(request)
        bench, opened, photo_name, placement = self._face(data.get("face"))
        photo = self._photos.get(photo_name)
        if photo is None or placement is None:
            raise HTTPException(410, GONE)
        if (reason := opened.faces.unfit_to_paste[0]) is not None:
            raise UserError(f"It is not put back: {reason}")
        values = np.concatenate([bench.checked([data.get("values")]), opened.own[None].numpy()])
        edited, before = await bench.run(partial(bench.decode, opened, values))
        return Response(await self._by_hand(partial(_pasted, photo, edited, placement, before)), media_type="image/png")

    async def close(self, request: Request) -> Response:
        data = await _json(request)
        self._faces.drop(data.get("face"))
        self._photos.drop(data.get("photo"))
        return Response(status_code=204)

    async def frames(self, socket: WebSocket) -> None:
        """Pictures of vectors of values: {"n": 7, "face": ..., "values": [[...], ...]} gives 7 and the milliseconds
        it took here (uint32 and float32, little-endian), and the pictures' RGBA. Of requests that wait the newest wins.
        """
        await socket.accept()
        if self._sockets >= SOCKETS:
            await socket.close(1013, "Too many visitors at the moment.")
            return
        self._sockets += 1
        newest: asyncio.Queue[str] = asyncio.Queue(1)
        answering = asyncio.create_task(self._answer(socket, newest))
        listening = asyncio.create_task(_listen(socket, newest))
        try:
            done, _ = await asyncio.wait({answering, listening}, return_when=asyncio.FIRST_COMPLETED)
            refusal = next((str(one.exception()) for one in done if isinstance(one.exception(), UserError)), None)
            if refusal is not None:
                async with asyncio.timeout(SEND_TIME):
                    await socket.close(1008, refusal[:120])
        except (TimeoutError, WebSocketDisconnect, RuntimeError):
            pass  # It is gone, or takes nothing.
        finally:
            self._sockets -= 1
            for task in (answering, listening):
                task.cancel()

    async def _answer(self, socket: WebSocket, newest: asyncio.Queue[str]) -> None:
        while True:
            text = await newest.get()
            begun = time.perf_counter()
            data = _object(text)
            number, kept = data.get("n"), self._faces.get(data.get("face"))
            if type(number) is not int or not 0 <= number < 2**32:
                raise UserError("A request needs its number n.")
            if kept is None:
                await _send(socket.send_text, json.dumps({"n": number, "gone": True}))
                continue
            bench, opened = kept[:2]
            values = bench.checked(data.get("values"))
            try:
                pixels = await bench.run(lambda: rgba(bench.decode(opened, values)))  # noqa: B023
            except Exception as error:  # Whatever goes wrong in a model or on its device: who serves it learns why.
                say(f"{bench.name}: a picture could not be computed ({error}).")
                raise UserError("The model failed; where the studio was started it is said why.") from error
            took = 1000 * (time.perf_counter() - begun)
            await _send(socket.send_bytes, struct.pack("<If", number, took) + pixels)

    def _bench(self, key: object) -> Bench:
        keys = [str(i) for i in range(len(self._benches))]
        if str(key) not in keys:
            raise HTTPException(404, "There is no such model.")
        return self._benches[keys.index(str(key))]

    def _face(self, name: object) -> tuple[Bench, Opened, str | None, Placement | None]:
        found = self._faces.get(name)
        if found is None:
            raise HTTPException(410, GONE)
        return found

    async def _by_hand(self, work: Callable[[], R]) -> R:
        return await asyncio.get_running_loop().run_in_executor(self._hands, work)


async def _listen(socket: WebSocket, newest: asyncio.Queue[str]) -> None:
    while True:
        message = await socket.receive()
        if message["type"] == "websocket.disconnect":
            return
        if message.get("text") is None:
            raise UserError("This socket takes text.")
        if newest.full():
            newest.get_nowait()
        newest.put_nowait(message["text"])


async def _send(send: Callable[[Any], Any], content: object) -> None:
    try:
        async with asyncio.timeout(SEND_TIME):
            await send(content)
    except TimeoutError:
        raise UserError("The pictures were not taken.") from None


def _finds_faces() -> bool:
    """Whether the extra [align] is installed."""
    try:
        require_detector()
    except UserError:
        return False
    return True


def _read(body: bytes, look: bool) -> tuple[Image.Image, list[Any] | None]:
    photo = open_picture(io.BytesIO(body), "This file")
    return photo, [face.points.tolist() for face in find_faces(photo)] if look else None


def _preview(photo: Image.Image) -> bytes:
    small = photo.copy() if max(photo.size) <= PREVIEW else photo.resize(_within(photo.size), Image.Resampling.BICUBIC)
    return _png(small)


def _within(size: tuple[int, int]) -> tuple[int, int]:
    return tuple(max(1, round(edge * PREVIEW / max(size))) for edge in size)  # type: ignore[return-value]


def _pasted(photo: Image.Image, edited: np.ndarray, placement: Placement, before: np.ndarray) -> bytes:
    return _png(paste(photo, edited, placement, before))


def _png(image: Image.Image) -> bytes:
    """Without metadata."""
    image.info.clear()
    content = io.BytesIO()
    image.save(content, "PNG", compress_level=3)
    return content.getvalue()


def _base64(array: np.ndarray) -> str:
    """An array (uint8, S x S x C) as base64 of its RGBA."""
    return base64.b64encode(rgba(array[None])).decode()


async def _json(request: Request) -> dict[str, Any]:
    return _object(await small_body(request))


def _object(text: str | bytes) -> dict[str, Any]:
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        data = None
    if not isinstance(data, dict):
        raise UserError("The request is no JSON object.")
    return data
