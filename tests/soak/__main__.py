"""The studio with many visitors who slide: python -m tests.soak [--clients 20] [--minutes 10] [MODEL]

Each visitor has a socket, moves a fader 20 times a second as long as the answers keep up, looks at a strip now and
then, and every half minute brings another picture. Fails on any error, and where the server's memory still grows after
the first fifth of the time.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import re
import statistics
import struct
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import numpy as np
import websockets.asyncio.client
from PIL import Image

from fader.datasets.portraits.renderer import portrait

PACE = 0.05  # Seconds between two moves of a hand.
STRIP_EVERY, PICTURE_EVERY = 5.0, 30.0  # Seconds.
PATIENCE = 30  # Seconds for an answer.
GROWTH = 0.05  # Of the memory, after the warm-up, at the most.


@dataclass
class Seen:
    """What all visitors saw."""

    latencies: list[float] = field(default_factory=list)
    """Seconds from a move to its picture."""
    strips: list[float] = field(default_factory=list)
    pictures: int = 0
    asked_again: int = 0
    """How often a visitor was asked to bring its picture again later."""
    errors: list[str] = field(default_factory=list)
    memory: list[tuple[float, int]] = field(default_factory=list)
    """When, in seconds, and how many bytes the server had."""


async def visit(link: str, number: int, until: float, seen: Seen) -> None:
    """One visitor."""
    origin, generator = "http://" + urlsplit(link).netloc, np.random.default_rng(number)
    headers = {"Origin": origin}
    socket_address = link.replace("http://", "ws://") + "api/frames"
    try:
        async with (
            httpx2.AsyncClient(base_url=link, headers=headers, timeout=PATIENCE) as client,
            websockets.asyncio.client.connect(socket_address, origin=origin, max_size=None) as socket,  # type: ignore[arg-type]
        ):
            await asyncio.sleep(generator.uniform(0, 5))
            asked = 0
            while time.monotonic() < until:
                face, own = await _bring(client, generator, seen)
                seen.pictures += 1
                leaves, strip_at = time.monotonic() + PICTURE_EVERY, time.monotonic() + STRIP_EVERY
                while (now := time.monotonic()) < min(until, leaves):
                    count = 8 if now > strip_at else 1
                    strip_at = now + STRIP_EVERY if count > 1 else strip_at
                    values = [[*generator.uniform(-1, 2, 1), *own[1:]] for _ in range(count)]
                    asked += 1
                    await socket.send(json.dumps({"n": asked, "face": face, "values": values}))
                    answer = await asyncio.wait_for(socket.recv(), PATIENCE)
                    if isinstance(answer, str) or struct.unpack("<I", answer[:4])[0] != asked:
                        seen.errors.append(f"visitor {number}: {answer[:100]!r} for request {asked}")
                    (seen.strips if count > 1 else seen.latencies).append(time.monotonic() - now)
                    await asyncio.sleep(max(0.0, PACE - (time.monotonic() - now)))
                (await client.post("api/close", json={"face": face})).raise_for_status()
    except Exception as error:  # Whatever it is, it is what the soak looks for.
        seen.errors.append(f"visitor {number}: {type(error).__name__}: {error}")


async def _bring(client: httpx2.AsyncClient, generator: np.random.Generator, seen: Seen) -> tuple[str, list[float]]:
    """Bring a photo and have its middle encoded: the name of the face, and its values."""
    side = int(generator.integers(100, 600))
    content = io.BytesIO()
    Image.fromarray(portrait(int(generator.integers(10_000)), side)).save(content, "JPEG")
    deadline = time.monotonic() + PATIENCE
    while (photo := await client.post("api/photos", content=content.getvalue())).status_code == 503:
        # The server takes so many files at a time, and says so: come again.
        seen.asked_again += 1
        await asyncio.sleep(generator.uniform(0.2, 1))
        if time.monotonic() > deadline:
            break
    photo.raise_for_status()
    placement = {"x": side / 2, "y": side / 2, "side": side, "angle": 0}
    face = await client.post("api/faces", json={"model": "0", "photo": photo.json()["id"], "placement": placement})
    face.raise_for_status()
    return face.json()["id"], face.json()["values"]


async def soak(link: str, server: int, clients: int, seconds: float) -> Seen:
    """So many visitors for so long, beside a look at the server's memory every second."""
    seen, begun = Seen(), time.monotonic()
    visitors = [asyncio.create_task(visit(link, number, begun + seconds, seen)) for number in range(clients)]
    while not all(visitor.done() for visitor in visitors):
        seen.memory.append((time.monotonic() - begun, memory_of(server)))
        await asyncio.sleep(1)
    return seen


def memory_of(process: int) -> int:
    """The bytes of memory that a process has."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{process}/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


def report(seen: Seen, seconds: float) -> bool:
    """Say what was seen; returns whether all was well."""
    for name, latencies in (("a move", seen.latencies), ("a strip of 8", seen.strips)):
        if len(latencies) > 1:
            cut = statistics.quantiles([1000 * one for one in latencies], n=100)
            print(f"{name}: {len(latencies):,}, ms: median {cut[49]:.0f}, p95 {cut[94]:.0f}, p99 {cut[98]:.0f}")
    warm = [size for when, size in seen.memory if seconds / 5 < when <= seconds * 2 / 5]
    last = [size for when, size in seen.memory if seconds * 4 / 5 < when <= seconds]
    before, after = statistics.median(warm) / 2**20, statistics.median(last) / 2**20
    print(f"{seen.pictures:,} pictures brought, {seen.asked_again:,} times asked to come again")
    print(f"memory {before:.0f} MiB after the warm-up, {after:.0f} MiB at the end")
    print(f"errors: {len(seen.errors)}", *seen.errors[:10], sep="\n  ")
    level = after <= before * (1 + GROWTH)
    if not level:
        print("The memory grows.")
    return level and not seen.errors and bool(seen.latencies)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description="The studio with many visitors.")
    parser.add_argument("model", nargs="?", default="portraits")
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--minutes", type=float, default=10)
    arguments = parser.parse_args()
    command = [sys.executable, "-m", "fader", "studio", arguments.model, "--no-browser", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as server:
        try:
            assert server.stdout is not None
            link = next(found[0] for line in server.stdout if (found := re.search(r"http://\S+/", line)))
            seconds = 60 * arguments.minutes
            print(
                f"{time.strftime('%Y-%m-%d')}: {arguments.clients} visitors for {arguments.minutes:g} minutes",
                flush=True,
            )
            return 0 if report(asyncio.run(soak(link, server.pid, arguments.clients, seconds)), seconds) else 1
        finally:
            server.terminate()


if __name__ == "__main__":
    sys.exit(main())
