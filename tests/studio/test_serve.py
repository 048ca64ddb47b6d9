"""The studio's server without a browser: what it answers, what it refuses, and that its memory is bounded."""

from __future__ import annotations

import io
import json
import re
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import numpy as np
import pytest
import uvicorn
import websockets.exceptions
import websockets.sync.client
from PIL import Image
from starlette.testclient import TestClient
from starlette.types import ASGIApp
from starlette.websockets import WebSocketDisconnect

from fader.studio import serve
from fader.studio.bench import Bench
from fader.studio.sessions import Sessions
from fader.web.guard import Site
from tests.models import tiny_model
from tests.studio.conftest import SITE, ask, connect, frames, opened, picture_bytes, pixels


def test_the_page_is_whole_and_loads_nothing_from_elsewhere(client: TestClient) -> None:
    page = client.get("")
    assert page.headers["Content-Type"].startswith("text/html")
    names, seen = re.findall(r'(?:src|href)="([^"]+)"', page.text), ""
    assert "main.js" in names
    while names:
        answer = client.get(name := names.pop())
        assert answer.status_code == 200, name
        seen += answer.text
        names += re.findall(r'^(?:import|export) .*from "\./([^"]+)"', answer.text, re.M)
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", page.text + seen)
    assert not re.search(r"innerHTML|document\.write|eval\(", seen)
    for path in ("serve.py", "../serve.py", "%2e%2e/serve.py", "main.py"):
        assert client.get(path).status_code == 404


def test_edits_are_those_of_the_python_interface(client: TestClient, bench: Bench) -> None:
    face = opened(client)
    model = bench.model
    with Image.open(io.BytesIO(picture_bytes())) as image:
        same = model.encode(image)
    assert face["values"] == same.own_values[0].tolist()
    assert face["confidences"] == same.confidences[0].tolist()
    assert face["familiar"] is None
    np.testing.assert_array_equal(pixels(face["original"])[..., :3], same.arrays[0])
    with connect(client) as socket:
        ask(socket, 7, face["id"], [[0.5, 2, -1], [1, 0, 0]])
        number, shown = frames(socket.receive_bytes())
    assert number == 7
    edits: list[dict[str, float | str | bool]] = [
        {"Smiling": 0.5, "Hair": "red", "5_o_Clock_Shadow": -1},
        {"Smiling": 1, "Hair": "black", "5_o_Clock_Shadow": 0},
    ]
    for picture, changes in zip(shown, edits, strict=True):
        # One pixel value: a batch of two is not computed in the order of one.
        assert np.abs(picture[..., :3].astype(int) - np.asarray(same.edit(changes)).astype(int)).max() <= 1
    assert (shown[..., 3] == 255).all()


def test_what_is_known_of_models(client: TestClient) -> None:
    (model,) = client.get("api/desk").json()["models"]
    assert (model["name"], model["size"], model["kind"], model["drawn"]) == ("faces", 32, "Fader Network", False)
    assert [(one["name"], one["binary"], one["least"], one["most"]) for one in model["attributes"]] == [
        ("Smiling", True, -1, 2),
        ("Hair", False, 0, 2),
        ("5_o_Clock_Shadow", True, -1, 2),
    ]


def test_a_fader_has_room_beyond_its_marked_ends() -> None:
    model = tiny_model()
    model.ends = {"Smiling": {"absent": -0.7, "present": 1.6}, "5_o_Clock_Shadow": {"absent": None, "present": 0.8}}
    smiling, _, shadow = (
        TestClient(serve.application([Bench(model, "faces")], SITE), base_url=SITE.link)
        .get("api/desk")
        .json()["models"][0]["attributes"]
    )
    assert (smiling["least"], smiling["most"], smiling["absent"], smiling["present"]) == (-2, 3, -0.7, 1.6)
    assert (shadow["least"], shadow["most"], shadow["absent"], shadow["present"]) == (-1, 2, None, 0.8)


def cmyk() -> bytes:
    content = io.BytesIO()
    Image.new("CMYK", (40, 50), (200, 0, 100, 20)).save(content, "JPEG")
    return content.getvalue()


def sixteen_bit() -> bytes:
    content = io.BytesIO()
    Image.fromarray(np.linspace(0, 65535, 40 * 50, dtype=np.uint16).reshape(50, 40)).save(content, "PNG")
    return content.getvalue()


def animated() -> bytes:
    content = io.BytesIO()
    first, second = (Image.new("RGB", (40, 50), colour) for colour in ("red", "blue"))
    first.save(content, "GIF", save_all=True, append_images=[second])
    return content.getvalue()


@pytest.mark.parametrize("make", [cmyk, sixteen_bit, animated])
def test_unusual_pictures_are_taken(client: TestClient, make: Any) -> None:
    photo = client.post("api/photos", content=make()).json()
    assert (photo["width"], photo["height"]) == (40, 50)
    with Image.open(io.BytesIO(client.get(f"api/photos/{photo['id']}").content)) as preview:
        assert preview.size == (40, 50)
        if make is animated:
            assert preview.convert("RGB").getpixel((20, 20)) == (255, 0, 0)
    placement = {"x": 20, "y": 25, "side": 12, "angle": 30}  # A face of 12 pixels.
    answer = client.post("api/faces", json={"model": "0", "photo": photo["id"], "placement": placement})
    assert answer.status_code == 200


def vast() -> bytes:
    content = io.BytesIO()
    Image.new("1", (10_001, 10_000)).save(content, "PNG")
    return content.getvalue()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (lambda: b"This is a text.\n" * 9, "cannot be read as a picture"),
        (lambda: b"", "cannot be read as a picture"),
        (lambda: picture_bytes()[:200], "cannot be read as a picture"),
        (vast, "over the limit"),
    ],
)
def test_what_is_no_picture_is_refused_in_a_sentence(client: TestClient, content: Any, says: str) -> None:
    answer = client.post("api/photos", content=content())
    assert answer.status_code == 400
    assert says in answer.text
    assert "<" not in answer.text
    assert opened(client)["values"]


def test_too_large_a_file_is_refused_before_it_is_read(client: TestClient) -> None:
    answer = client.post("api/photos", content=b"", headers={"Content-Length": str(serve.MOST_UPLOAD + 1)})
    assert answer.status_code == 413
    assert client.post("api/faces", content=b"x" * 5000).status_code == 413


@pytest.mark.parametrize(
    "request_",
    [
        {},
        {"model": "1", "start": 0},
        {"model": "0", "start": 10**12},
        {"model": "0", "start": True},
        {"model": "0", "photo": "nothing", "placement": {}},
        {"model": "0", "photo": ["a"]},
    ],
)
def test_requests_that_make_no_sense_are_refused(client: TestClient, request_: dict[str, Any]) -> None:
    assert 400 <= client.post("api/faces", json=request_).status_code < 500


@pytest.mark.parametrize(
    "placement", [None, {}, {"x": 1, "y": 1, "side": 0}, {"x": 1e9, "y": 1, "side": 9, "angle": 0}]
)
def test_placements_that_are_none_are_refused(client: TestClient, placement: Any) -> None:
    photo = client.post("api/photos", content=picture_bytes()).json()["id"]
    answer = client.post("api/faces", json={"model": "0", "photo": photo, "placement": placement})
    assert answer.status_code == 400
    assert "placement" in answer.text


GARBAGE = [
    "no JSON",
    "[" * 50_000,
    "{}",
    '{"n": -1}',
    '{"n": 1.5}',
    '{"n": 1, "face": FACE}',
    '{"n": 1, "face": FACE, "values": []}',
    '{"n": 1, "face": FACE, "values": [[0, 0]]}',
    '{"n": 1, "face": FACE, "values": [[0, 0, NaN]]}',
    '{"n": 1, "face": FACE, "values": [[0, 0, 1e999]]}',
    '{"n": 1, "face": FACE, "values": [[0, 3, 0]]}',
    '{"n": 1, "face": FACE, "values": [[0, 0.5, 0]]}',
    '{"n": 1, "face": FACE, "values": [["0", 0, 0]]}',
    b"\x00\xff",
]


@pytest.mark.parametrize("garbage", GARBAGE)
def test_garbage_closes_its_own_socket_with_a_reason(client: TestClient, garbage: str | bytes) -> None:
    face = opened(client)["id"]
    with connect(client) as other:
        with connect(client) as socket:
            if isinstance(garbage, bytes):
                socket.send_bytes(garbage)
            else:
                socket.send_text(garbage.replace("FACE", f'"{face}"'))
            with pytest.raises(WebSocketDisconnect) as closed:
                socket.receive_bytes()
        assert closed.value.code == 1008
        assert closed.value.reason
        ask(other, 1, face, [[0, 0, 0]])
        assert frames(other.receive_bytes())[0] == 1


def test_of_requests_that_wait_the_newest_wins(client: TestClient, bench: Bench) -> None:
    face = opened(client)["id"]
    go = threading.Event()
    with connect(client) as socket:
        ask(socket, 1, face, [[0, 0, 0]])
        assert frames(socket.receive_bytes())[0] == 1
        bench._thread.submit(go.wait)
        for number in range(2, 20):
            ask(socket, number, face, [[0, 0, 0]])
        # Whoever is answered after the last has been read has been behind it.
        with connect(client) as other:
            ask(other, 1, "nobody", [])
            assert other.receive_json() == {"n": 1, "gone": True}
        go.set()
        answered = [frames(socket.receive_bytes())[0]]
        while answered[-1] != 19:
            answered.append(frames(socket.receive_bytes())[0])
    assert answered == sorted(answered)
    assert len(answered) <= 3


def test_a_model_that_fails_is_said_to_here_and_where_it_runs(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    face = opened(client)["id"]

    def fail(*_: object) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(Bench, "decode", fail)
    with connect(client) as socket:
        ask(socket, 1, face, [[0, 0, 0]])
        with pytest.raises(WebSocketDisconnect) as closed:
            socket.receive_bytes()
    assert "The model failed" in closed.value.reason
    assert "out of memory" in capsys.readouterr().err


@pytest.mark.parametrize("page", ["-1", "x", "9" * 5000, "\N{ARABIC-INDIC DIGIT ONE}"])
def test_pages_of_portraits_that_there_are_not(client: TestClient, page: str) -> None:
    assert client.get(f"api/starts/0/{page}").status_code == 404


def test_what_gave_way_is_said_to_be_gone(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve, "FACES", 2)
    monkeypatch.setattr(serve, "PHOTO_BYTES", 3 * 96 * 96 * 2)
    app = serve.application([Bench(tiny_model(), "faces")], SITE)
    with TestClient(app, base_url=SITE.link, headers=dict(client.headers)) as small:
        first, second, third = (opened(small) for _ in range(3))
        with connect(small) as socket:
            for number, (face, gone) in enumerate([(first, True), (second, False), (third, False)]):
                ask(socket, number, face["id"], [[0, 0, 0]])
                if gone:
                    assert socket.receive_json() == {"n": number, "gone": True}
                else:
                    assert frames(socket.receive_bytes())[0] == number
        assert small.get(f"api/photos/{first['photo']}").status_code == 410
        assert small.post("api/paste", json={"face": second["id"], "values": [0, 0, 0]}).status_code == 200
        small.post("api/close", json={"face": second["id"], "photo": second["photo"]})
        assert small.post("api/paste", json={"face": second["id"], "values": [0, 0, 0]}).status_code == 410


def test_sessions_are_bounded() -> None:
    sessions: Sessions[str] = Sessions(3, 100)
    names = [sessions.put(text, 40) for text in "abc"]
    assert [sessions.get(name) for name in names] == [None, "b", "c"]
    sessions.get(names[1])
    fourth = sessions.put("d", 30)
    assert [sessions.get(name) for name in (*names, fourth)] == [None, "b", None, "d"]
    huge = sessions.put("huge", 1000)
    assert (len(sessions), sessions.get(huge)) == (1, "huge")
    sessions.drop(huge)
    sessions.drop(huge)
    assert [sessions.get(sessions.put(text, 1)) for text in "efg"] == ["e", "f", "g"]
    assert len(sessions) == 3


def test_sockets_are_bounded(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve, "SOCKETS", 1)
    face = opened(client)["id"]
    with connect(client) as socket:
        with connect(client) as one_more, pytest.raises(WebSocketDisconnect) as closed:
            one_more.receive_bytes()
        assert closed.value.code == 1013
        ask(socket, 1, face, [[0, 0, 0]])
        assert frames(socket.receive_bytes())[0] == 1
    with connect(client) as socket:
        ask(socket, 1, face, [[0, 0, 0]])
        assert frames(socket.receive_bytes())[0] == 1


@contextmanager
def listening(app: ASGIApp, port: int) -> Iterator[None]:
    """The application behind a real socket, in a thread."""
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off", ws_per_message_deflate=False))
    with socket.create_server(("127.0.0.1", port)) as own:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [own]})
        thread.start()
        yield
        server.should_exit = True
        thread.join(30)


def test_a_visitor_that_never_reads_is_dropped_and_nobody_waits(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve, "SEND_TIME", 1)
    monkeypatch.setattr(serve, "SOCKETS", 2)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    site = Site((f"http://127.0.0.1:{port}",), "secret")
    app = serve.application([bench], site)
    address = f"ws://127.0.0.1:{port}/secret/api/frames"
    open_ = partial(websockets.sync.client.connect, address, origin=site.origins[0], compression=None, max_size=None)
    with TestClient(app, base_url=site.link, headers={"Origin": site.origins[0]}) as client:
        face = opened(client)["id"]
    request = {"n": 1, "face": face, "values": [[0, 0, 0]]}
    with listening(app, port), open_() as other, socket.create_connection(("127.0.0.1", port), timeout=5) as stuck:
        # Each answer has 2 MB, which no buffer takes for long.
        stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stuck.sendall(
            f"GET /secret/api/frames HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nOrigin: {site.origins[0]}\r\n"
            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode()
        )
        assert stuck.recv(12) == b"HTTP/1.1 101"
        vast = json.dumps({**request, "values": [[0, 0, 0]] * bench.most}).encode()
        frame = b"\x81\xfe" + struct.pack(">H", len(vast)) + bytes(4) + vast  # Masked by zeros.

        def has_room() -> bool:
            with open_() as third:
                try:
                    third.send(json.dumps(request))
                    return len(third.recv(timeout=30)) > 0
                except websockets.exceptions.ConnectionClosed as closed:
                    return closed.rcvd is None or closed.rcvd.code != 1013

        assert not has_room()
        deadline = time.monotonic() + 60
        while not has_room():  # Until it is dropped, and all the time others are served.
            assert time.monotonic() < deadline
            with suppress(OSError):
                stuck.sendall(frame)
            other.send(json.dumps(request))
            assert len(other.recv(timeout=30)) == 8 + 32 * 32 * 4
            time.sleep(0.1)


def test_a_face_goes_back_into_its_photo_without_metadata(client: TestClient) -> None:
    exif = Image.Exif()
    exif[0x010E] = "where I live"
    content = picture_bytes(200, "JPEG", exif=exif)
    photo = client.post("api/photos", content=content).json()["id"]
    placement = {"x": 100, "y": 90, "side": 80, "angle": 10}
    face = client.post("api/faces", json={"model": "0", "photo": photo, "placement": placement}).json()
    values = [1 - face["values"][0], *face["values"][1:]]
    answer = client.post("api/paste", json={"face": face["id"], "values": values})
    assert b"where I live" in content
    assert b"where I live" not in answer.content
    with Image.open(io.BytesIO(answer.content)) as pasted, Image.open(io.BytesIO(content)) as before:
        assert (pasted.size, pasted.info) == ((200, 200), {})
        outside = np.asarray(pasted)[150:] == np.asarray(before)[150:]
        assert outside.all()
        assert (np.asarray(pasted) != np.asarray(before)).any()
