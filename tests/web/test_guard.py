"""What a server lets through, and what it says with every answer."""

from __future__ import annotations

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from fader.web.guard import Guard, Site, origins_of
from tests.refusals import refusal

SITE = Site(("https://study.example.org", "http://127.0.0.1:8765"), "secret")
HERE = "http://127.0.0.1:8765"


async def echo(request: Request) -> Response:
    return PlainTextResponse(f"{request.method} {await request.body()!r}")


async def talk(socket: WebSocket) -> None:
    await socket.accept()
    await socket.send_text("hello")
    await socket.close()


@pytest.fixture
def client() -> TestClient:
    routes = [Route("/page", echo, methods=["GET", "POST"]), WebSocketRoute("/talk", talk)]
    return TestClient(Guard(Starlette(routes=routes), SITE, most_bytes=8), base_url=HERE)


def test_what_was_meant_for_it_comes_through(client: TestClient) -> None:
    assert client.get("/secret/page").text == "GET b''"
    assert client.get("/secret/page", headers={"Origin": HERE}).text == "GET b''"
    assert client.post("/secret/page", content=b"12345678", headers={"Origin": HERE}).text == "POST b'12345678'"
    public = {"Host": "study.example.org", "Origin": "https://study.example.org"}
    assert client.post("/secret/page", content=b"1", headers=public).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "headers", "content", "status"),
    [
        ("GET", "/secret/page", {"Host": "evil.example"}, None, 421),
        ("GET", "/secret/page", {"Host": "127.0.0.1"}, None, 421),
        ("GET", "/secret/page", {"Host": "127.0.0.1:8765.evil.example"}, None, 421),
        ("GET", "/secret/page", {"Origin": "http://evil.example"}, None, 403),
        ("POST", "/secret/page", {}, b"1", 403),
        ("POST", "/secret/page", {"Origin": "null"}, b"1", 403),
        ("POST", "/secret/page", {"Origin": "http://127.0.0.1:9999"}, b"1", 403),
        ("GET", "/page", {}, None, 404),
        ("GET", "/secreT/page", {}, None, 404),
        ("GET", "/secret", {}, None, 404),
        ("GET", "//secret/page", {}, None, 404),
        ("GET", "/s%C3%A9cret/page", {}, None, 404),
        ("POST", "/secret/page", {"Origin": HERE}, b"123456789", 413),
        ("POST", "/secret/page", {"Origin": HERE, "Content-Length": "9" * 30}, b"", 413),
        ("POST", "/secret/page", {"Origin": HERE, "Content-Length": "-1"}, b"", 411),
        ("POST", "/secret/page", {"Origin": HERE, "Transfer-Encoding": "chunked"}, iter([b"1"]), 411),
        ("POST", "/secret/page", {"Origin": HERE, "Content-Length": "1", "Transfer-Encoding": "chunked"}, b"1", 411),
    ],
)
def test_what_was_not_meant_for_it_does_not(
    client: TestClient, method: str, path: str, headers: dict[str, str], content: bytes | None, status: int
) -> None:
    answer = client.request(method, path, headers=headers, content=content)
    assert answer.status_code == status
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_a_socket_is_for_its_own_page_alone(client: TestClient) -> None:
    with client.websocket_connect("/secret/talk", headers={"Origin": HERE, "Host": "127.0.0.1:8765"}) as socket:
        assert socket.receive_text() == "hello"
    for headers in ({"Origin": "http://evil.example"}, {}, {"Origin": HERE, "Host": "evil.example"}):
        with pytest.raises(WebSocketDisconnect) as closed:
            client.websocket_connect("/secret/talk", headers={"Host": "127.0.0.1:8765", **headers}).__enter__()
        assert closed.value.code == 1008


def test_every_answer_has_the_security_headers(client: TestClient) -> None:
    for path in ("/secret/page", "/secret/nothing", "/elsewhere/"):
        headers = client.get(path).headers
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert "unsafe" not in headers["Content-Security-Policy"]
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["Cache-Control"] == "no-store"


def test_origins() -> None:
    assert origins_of("127.0.0.1", 80) == ("http://127.0.0.1", "http://localhost", "http://[::1]")
    assert origins_of("localhost", 8765) == origins_of("127.0.0.1", 8765)
    assert origins_of("0.0.0.0", 8765, "https://Study.Example.org:443/") == ("https://study.example.org",)
    assert origins_of("192.168.1.5", 1, "http://a:81") == ("http://a:81", "http://192.168.1.5:1")
    assert Site(origins_of("::1", 7), "t").hosts == {"127.0.0.1:7", "localhost:7", "[::1]:7"}
    assert Site(("https://a.b",), "t").link == "https://a.b/t/"


@pytest.mark.parametrize(
    ("address", "url", "says"),
    [
        ("0.0.0.0", None, "--public-url"),
        ("::", None, "--public-url"),
        ("here", None, "no address"),
        ("127.0.0.1", "study.example.org", "no address of a server"),
        ("127.0.0.1", "https://a.b/path", "no address of a server"),
        ("127.0.0.1", "https://user@a.b", "no address of a server"),
        ("127.0.0.1", "https://a.b:port", "no address of a server"),
        ("127.0.0.1", "javascript://a.b", "no address of a server"),
    ],
)
def test_addresses_that_are_none(address: str, url: str | None, says: str) -> None:
    assert says in refusal(lambda: origins_of(address, 8765, url))
