"""How long a move of a fader takes in the studio, beside a Gradio app of the same model, in Chromium on this machine.

    pip install gradio
    python benchmarks/studio.py [--moves 60]

The mouse drags the studio's fader, and the slider of an app whose `input` event edits the picture (encoded before) for
its image output; both as they are by default, ten moves of one and ten of the other in turn. A move takes from the
slider's input event to the animation frame after the canvas was written, or after the new image was loaded and decoded.
At 64 pixels with the portraits model that comes with fader, at 256 with `paper` and random weights.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import multiprocessing
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from measuring import machine
from playwright.sync_api import Browser, sync_playwright
from untrained import random_model

from fader.datasets.portraits.renderer import portrait
from fader.errors import UserError
from fader.images import save_picture, to_picture
from fader.model import load, save_model

AT_ONCE = 10
REST = 1500  # Milliseconds after a drag: the studio draws its strip anew.
LEAST, MOST = -1.0, 2.0
ALONE = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"  # Gradio's page would ask for fonts.

# Each sets window.move, a promise of what the next move takes.
OF_STUDIO = """() => {
  const edit = document.getElementById("edit");
  window.move = new Promise((done) => addEventListener("input", (input) => {
    const begun = performance.now();
    edit.addEventListener("painted", function painted({ detail }) {
      if (detail.when !== input.timeStamp) return;
      edit.removeEventListener("painted", painted);
      requestAnimationFrame(() => done([performance.now() - begun, detail.milliseconds]));
    });
  }, { capture: true, once: true }));
}"""
OF_GRADIO = """() => {
  window.move = new Promise((done) => addEventListener("input", () => {
    const begun = performance.now();
    document.addEventListener("load", async function loaded({ target }) {
      if (!(target instanceof HTMLImageElement)) return;
      document.removeEventListener("load", loaded, true);
      await target.decode();
      requestAnimationFrame(() => done([performance.now() - begun]));
    }, true);
  }, { capture: true, once: true }));
}"""
MOVED = """() => Promise.race([window.move, new Promise((_, fail) =>
  setTimeout(fail, 30_000, new Error("no picture came of a move within 30 seconds")))])"""


@contextmanager
def chromium() -> Iterator[Browser]:
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", ALONE])
        yield browser
        browser.close()


@contextmanager
def studio(model: str) -> Iterator[str]:
    """The link of `fader studio` with a model."""
    command = [sys.executable, "-m", "fader", "studio", model, "--port", "0", "--no-browser"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            said = process.stderr.readline()
            found = re.search(r"http://\S+", said)
            if found is None:
                raise UserError(f"The studio did not start: {said}")
            yield found.group()
        finally:
            process.terminate()


@contextmanager
def gradio(model: str, picture: Path) -> Iterator[str]:
    """The link of a Gradio app with a model."""
    spawn = multiprocessing.get_context("spawn")
    here, there = spawn.Pipe()
    process = spawn.Process(target=serve_gradio, args=(model, picture, there), daemon=True)
    process.start()
    there.close()
    try:
        yield here.recv()
    finally:
        process.terminate()
        process.join()


def serve_gradio(model: str, picture: Path, to: Connection) -> None:
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # Nothing is sent to anybody.
    os.environ["GRADIO_TEMP_DIR"] = str(picture.parent)
    library: Any = importlib.import_module("gradio")
    loaded = load(model)
    face, name = loaded.encode(picture), loaded.schema.names[0]
    with library.Blocks() as app:
        slider = library.Slider(LEAST, MOST, step=0.001, label=name)
        output = library.Image(face.reconstruction())
        slider.input(lambda value: face.edit({name: value}), slider, output)
    app.launch(server_name="127.0.0.1", prevent_thread_lock=True, quiet=True)
    to.send(app.local_url)
    app.block_thread()


class Side:
    """A page and its slider, pulled by the mouse."""

    def __init__(self, browser: Browser, link: str, slider: str, prepare: str, picture: Path | None = None) -> None:
        self._page = browser.new_page(viewport={"width": 1280, "height": 900})
        self._page.goto(link)
        if picture is not None:
            self._page.locator("#file").set_input_files(picture)
        self._slider = self._page.locator(slider).first
        self._slider.wait_for(timeout=60_000)
        self._prepare = prepare
        self._places = (i * 0.618 % 0.8 + 0.1 for i in count())  # Never one twice, and every one far from the last.
        self.times: list[list[float]] = []
        """Milliseconds of each move, then what the studio's server says that it took of them."""

    def pull(self, moves: int) -> None:
        """Take the slider, move it, each time when the picture of the last move is there, and let it go."""
        self._page.bring_to_front()
        self._slider.scroll_into_view_if_needed()
        self._page.mouse.move(*self._place())
        self._timed(self._page.mouse.down)
        for _ in range(moves):
            self.times.append(self._timed(lambda: self._page.mouse.move(*self._place())))
        self._page.mouse.up()
        self._page.wait_for_timeout(REST)

    def _place(self) -> tuple[float, float]:
        """The next place along the slider, in the page's pixels."""
        box = self._slider.bounding_box()
        assert box is not None
        share = next(self._places)
        across, along = (0.5, share) if box["height"] > box["width"] else (share, 0.5)
        return box["x"] + across * box["width"], box["y"] + along * box["height"]

    def _timed(self, move: Callable[[], object]) -> list[float]:
        self._page.evaluate(self._prepare)
        move()
        times: list[float] = self._page.evaluate(MOVED)
        return times


def compare(browser: Browser, model: str, picture: Path, opens: bool, moves: int) -> tuple[np.ndarray, np.ndarray]:
    """The times of the studio [moves, 2] and of the Gradio app [moves, 1]."""
    with studio(model) as of_studio, gradio(model, picture) as of_gradio:
        sides = (
            Side(browser, of_studio, "#bank input[type=range]", OF_STUDIO, picture if opens else None),
            Side(browser, of_gradio, "input[type=range]", OF_GRADIO),
        )
        for side in sides:
            side.pull(AT_ONCE)
            side.times.clear()
        while len(sides[0].times) < moves:
            for side in sides:
                side.pull(AT_ONCE)
        return np.array(sides[0].times), np.array(sides[1].times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--moves", type=int, default=60, help="of each side")
    given = parser.parse_args()
    if importlib.util.find_spec("gradio") is None:
        sys.exit("This benchmark alone needs Gradio: pip install gradio")
    print(machine())
    print("| size | model | studio, median ms | 95% | server alone | Gradio, median ms | 95% | ratio of medians |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    with TemporaryDirectory() as temporary, chromium() as browser:
        paper = Path(temporary) / "paper"
        save_model(random_model("paper", 256), paper)
        for model, size in (("portraits", 64), (str(paper), 256)):
            picture = Path(temporary) / f"{size}.png"
            save_picture(to_picture(portrait(1, size)), picture)
            ours, theirs = compare(browser, model, picture, model != "portraits", given.moves)
            (median, server), other = np.median(ours, axis=0), np.median(theirs)
            print(
                f"| {size} | {Path(model).name} | {median:.1f} | {np.quantile(ours[:, 0], 0.95):.1f} | {server:.1f}"
                f" | {other:.1f} | {np.quantile(theirs, 0.95):.1f} | {median / other:.2f} |"
            )


if __name__ == "__main__":
    main()
