"""Running a web application on this machine until it is told to stop."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

import uvicorn
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from fader.errors import UserError
from fader.progress import say
from fader.web.guard import Site, origins_of

CONNECTIONS = 1000  # At a time; more are turned away.
PATIENCE = 5  # Seconds that requests may go on for once the server is told to stop.
MOST_MESSAGE = 2**16  # Bytes of a message that a WebSocket takes.
UNREAD = 30_000  # Milliseconds that what was sent may lie unread before the connection is dropped.

BODY_TIME = 10  # Seconds in which a small body has to arrive.


async def small_body(request: Request) -> bytes:
    """The body of a request that is no upload. Raises HTTPException if it is long on its way, and ClientDisconnect."""
    try:
        async with asyncio.timeout(BODY_TIME):
            return await request.body()
    except TimeoutError:
        raise HTTPException(408, "The request took too long to arrive.") from None


async def nobody(request: Request, error: Exception) -> Response:
    """What is answered to a client that has gone (ClientDisconnect)."""
    return Response(status_code=400)


def serve(
    application: Callable[[Site], ASGIApp],
    token: str,
    what: str,
    address: str = "127.0.0.1",
    port: int = 8765,
    public_url: str | None = None,
    ready: Callable[[Site], object] = lambda site: None,
) -> None:
    """Serve what `application` makes of the site until SIGINT or SIGTERM; tell the person at the terminal the link.

    `ready` is called once visitors can come. Nothing about them is logged. Port 0 is any free one.
    Raises UserError where it cannot listen.
    """
    if not 0 <= port < 2**16:
        raise UserError(f"{port} is no port; it goes from 0 (any free one) to 65535.")
    origins_of(address, port, public_url)
    name = "127.0.0.1" if address == "localhost" else address
    try:
        listening = socket.create_server((name, port), family=socket.AF_INET6 if ":" in name else socket.AF_INET)
    except OSError as error:
        raise UserError(f"{address}:{port} cannot be listened at ({error.strerror}); try another --port.") from None
    with listening:
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux; accepted connections have it from here.
            listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD)
        site = Site(origins_of(address, listening.getsockname()[1], public_url), token)
        config = uvicorn.Config(
            application(site),
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,  # Where a visitor is, is nobody's business.
            lifespan="off",
            limit_concurrency=CONNECTIONS,
            timeout_graceful_shutdown=PATIENCE,
            ws_max_size=MOST_MESSAGE,
            ws_per_message_deflate=False,  # What is sent is pixels, to be there soon.
        )
        say(f"{what}: {site.link}\nWhoever has the link can come in. Stop with Ctrl-C.")
        ready(site)
        uvicorn.Server(config).run(sockets=[listening])
