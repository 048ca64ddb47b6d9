"""What every server of fader asks of a request before looking at it: the right host, origin, token and size.

A server on one's own machine can be reached by every page that one's browser shows, so being local protects nothing:
a foreign page may send requests to it, and a foreign name may be made to point to it.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketClose

from fader.errors import UserError

READING = ("GET", "HEAD")
HEADERS = {
    # Nothing is loaded from anywhere else, nor by anybody else, and no script stands in the page itself.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self';"
        " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",  # The address holds the token.
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex, nofollow",
}


@dataclass(frozen=True)
class Site:
    """Where a server is found: its origins, of which the first is for links, and the token that links hold."""

    origins: tuple[str, ...]
    token: str

    @property
    def link(self) -> str:
        return f"{self.origins[0]}/{self.token}/"

    @property
    def hosts(self) -> frozenset[str]:
        """What requests name in their Host header."""
        return frozenset(urlsplit(origin).netloc for origin in self.origins)


def origins_of(address: str, port: int, public_url: str | None = None) -> tuple[str, ...]:
    """The origins of a server that listens at an address, or is reached by a public URL.

    Raises UserError on an unusable URL, and where it listens at all addresses and nothing says how it is called.
    """
    found = []
    if public_url is not None:
        try:
            url = urlsplit(public_url)
            usable = url.port != 0 and url.scheme in ("http", "https") and url.hostname and "@" not in url.netloc
        except ValueError:
            usable = False
        if not usable or url.path not in ("", "/") or url.query or url.fragment:
            raise UserError(f"{public_url!r} is no address of a server; give one such as https://study.example.org.")
        default = {"http": 80, "https": 443}[url.scheme] == url.port
        netloc = url.netloc.rpartition(":")[0] if default else url.netloc
        found.append(f"{url.scheme}://{netloc.lower()}")
    try:
        ip = ip_address("127.0.0.1" if address == "localhost" else address)
    except ValueError:
        raise UserError(f"{address!r} is no address to listen at; give one such as 127.0.0.1 or 0.0.0.0.") from None
    ending = "" if port == 80 else f":{port}"  # As browsers write it.
    if ip.is_loopback:
        found += [f"http://{name}{ending}" for name in ("127.0.0.1", "localhost", "[::1]")]
    elif not ip.is_unspecified:
        found.append(f"http://{f'[{ip}]' if ip.version == 6 else ip}{ending}")
    elif public_url is None:
        raise UserError(
            f"A server at {address} answers under any name; say with --public-url which one its visitors will use."
        )
    return tuple(dict.fromkeys(found))


class Guard:
    """Lets through to `app` only what was meant for it, and adds the security headers to everything that is answered.

    - Host: one of the site's, so that a foreign name that points here is no way in (DNS rebinding).
    - Origin: one of the site's where the request says one, and it has to unless it only reads.
    - The path starts with the token, which `app` does not see (it is its root path).
    - The body's length is told, and at most `most_bytes`, or what `uploads` allows a path (the token left out).
    """

    def __init__(
        self, app: ASGIApp, site: Site, most_bytes: int = 4096, uploads: Mapping[str, int] | None = None
    ) -> None:
        self.app = app
        self.site = site
        self.most_bytes = most_bytes
        self.uploads = uploads or {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(HEADERS)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        refusal = self._refusal(scope)
        if refusal is None:
            await self.app({**scope, "root_path": f"/{self.site.token}"}, receive, send_with_headers)
        elif scope["type"] == "websocket":
            await WebSocketClose(1008, refusal[1])(scope, receive, send)
        else:
            await PlainTextResponse(f"{refusal[1]}\n", refusal[0])(scope, receive, send_with_headers)

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        headers = Headers(scope=scope)
        if headers.getlist("host") != [host := headers.get("host", "")] or host.lower() not in self.site.hosts:
            return 421, "This server goes by another name."
        origin, reads = headers.get("origin"), scope["type"] == "http" and scope["method"] in READING
        if (origin is None and not reads) or (origin is not None and origin not in self.site.origins):
            return 403, "This request comes from another page."
        token = scope["path"].split("/")[1] if scope["path"].count("/") >= 2 else ""
        if not hmac.compare_digest(token.encode(), self.site.token.encode()):
            return 404, "There is nothing here; is the link whole?"
        if scope["type"] == "http" and not reads:
            length = headers.get("content-length", "")
            # With both, servers go by the chunks, of which there may be any number.
            if not length.isascii() or not length.isdigit() or "transfer-encoding" in headers:
                return 411, "The request does not say how long it is."
            most = self.uploads.get(scope["path"].removeprefix(f"/{token}"), self.most_bytes)
            if len(length) > 18 or int(length) > most:
                return 413, f"That is too much: {most:,} bytes at most."
        return None
