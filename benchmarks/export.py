"""How long a move of a fader takes on the exported page, in Chromium with one WASM thread.

    python benchmarks/export.py [--runtime PATH] [--moves 60]

From the input event to the animation frame after the canvas was written, at 64 pixels (preset `small`) and at 256
(`paper`), with random weights; the decoding by itself apart. Python's http.server serves the page on this machine.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from measuring import machine
from playwright.sync_api import sync_playwright
from untrained import random_model

from fader.datasets.portraits.renderer import portrait
from fader.export.web import export_web
from fader.images import save_picture, to_picture
from fader.model import save_model

MEASURE = """async (moves) => {
  const slider = document.querySelector("#bank input[type=range]"), edit = document.getElementById("edit");
  const times = [];
  for (let i = 0; i < moves; i++) {
    const painted = new Promise((done) => edit.addEventListener("painted", done, { once: true }));
    const begun = performance.now();
    slider.value = (i % 20) / 20;
    slider.dispatchEvent(new Event("input", { bubbles: true }));
    const { detail } = await painted;
    await new Promise(requestAnimationFrame);
    times.push([performance.now() - begun, detail.milliseconds]);
  }
  return times;
}"""


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *arguments: object) -> None:
        pass


def measure(site: Path, moves: int) -> tuple[list[float], list[float]]:
    """Milliseconds of each move, and of the decoding alone."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            page.goto(f"http://127.0.0.1:{server.server_port}/")
            page.locator("body.ready").wait_for(timeout=300_000)
            page.wait_for_timeout(5000)  # The strip.
            page.evaluate(MEASURE, 5)
            times = page.evaluate(MEASURE, moves)
            browser.close()
    finally:
        server.shutdown()
        server.server_close()
    return [time for time, _ in times], [time for _, time in times]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runtime", type=Path)
    parser.add_argument("--moves", type=int, default=60)
    given = parser.parse_args()
    print(machine())
    print("| size | preset | median ms | 95% | decoding ms |\n| --- | --- | --- | --- | --- |")
    for preset, size in (("small", 64), ("paper", 256)):
        with TemporaryDirectory() as temporary:
            folder = Path(temporary)
            save_model(random_model(preset, size), folder / "model")
            (folder / "pictures").mkdir()
            save_picture(to_picture(portrait(1, size)), folder / "pictures" / "1.png")
            export_web([folder / "model"], folder / "site", given.runtime, folder / "pictures", count=1)
            moves, decoding = measure(folder / "site", given.moves)
        print(
            f"| {size} | {preset} | {statistics.median(moves):.1f} | {np.quantile(moves, 0.95):.1f}"
            f" | {statistics.median(decoding):.1f} |"
        )


if __name__ == "__main__":
    main()
