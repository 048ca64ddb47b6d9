"""A studio of two small models, and what a visitor does to it without a browser."""

from __future__ import annotations

import base64
import io
import json
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient, WebSocketTestSession

from fader.datasets.portraits.renderer import portrait
from fader.studio.bench import Bench
from fader.studio.serve import application
from fader.web.guard import Site
from tests.models import tiny_model

SITE = Site(("http://127.0.0.1:8766",), "secret")
ORIGIN = {"Origin": SITE.origins[0]}


@pytest.fixture(scope="session")
def bench() -> Bench:
    return Bench(tiny_model(), "faces")


@pytest.fixture
def client(bench: Bench) -> Iterator[TestClient]:
    with TestClient(application([bench], SITE), base_url=SITE.link, headers=ORIGIN) as client:
        yield client


def picture_bytes(side: int = 96, kind: str = "PNG", **options: Any) -> bytes:
    """A portrait's file."""
    content = io.BytesIO()
    Image.fromarray(portrait(3, side)).save(content, kind, **options)
    return content.getvalue()


def opened(client: TestClient, side: int = 96) -> dict[str, Any]:
    """Bring a photo and have its middle encoded."""
    photo = client.post("api/photos", content=picture_bytes(side)).json()
    placement = {"x": side / 2, "y": side / 2, "side": side, "angle": 0}
    face = client.post("api/faces", json={"model": "0", "photo": photo["id"], "placement": placement}).json()
    return {**face, "photo": photo["id"]}


def connect(client: TestClient) -> WebSocketTestSession:
    return client.websocket_connect("/secret/api/frames", headers={**ORIGIN, "Host": "127.0.0.1:8766"})


def ask(socket: WebSocketTestSession, number: int, face: str, values: list[list[float]]) -> None:
    socket.send_text(json.dumps({"n": number, "face": face, "values": values}))


def frames(answer: bytes, side: int = 32) -> tuple[int, np.ndarray]:
    """The number of an answer and its pictures, [K, S, S, 4]."""
    number, milliseconds = struct.unpack("<If", answer[:8])
    assert 0 <= milliseconds < 60_000
    return number, np.frombuffer(answer[8:], np.uint8).reshape(-1, side, side, 4)


def pixels(text: str, side: int = 32) -> np.ndarray:
    """RGBA in base64 as [S, S, 4]."""
    return np.frombuffer(base64.b64decode(text), np.uint8).reshape(side, side, 4)
