"""The exported page: what it is made of, what is refused, and how it works in a browser that has no network."""

from __future__ import annotations

import json
import re
import shutil
import tarfile
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect, sync_playwright

from fader.export import web
from fader.export.runtime import WASM, copy_runtime
from fader.images import save_picture, to_picture
from fader.model import Model, save_model
from tests.models import tiny_model
from tests.refusals import refusal
from tests.studio.test_browser import CHROMIUM, fader, painted, ready, shown, value


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture(scope="module")
def site(
    model_folder: Path, exported: Path, runtime: Path, pictures: np.ndarray, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A page of the small model, twice, with portraits to start from."""
    folder = tmp_path_factory.mktemp("web")
    (folder / "own").mkdir()
    for i, picture in enumerate(pictures):
        save_picture(to_picture(picture), folder / "own" / f"{i}.png")
    (folder / "own" / "notes.txt").write_text("no picture")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(web, "write_graphs", lambda model, place: shutil.copytree(exported, place, dirs_exist_ok=True))
        web.export_web([model_folder, model_folder], folder / "site", runtime, folder / "own", count=4)
    return folder / "site"


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def page(address: str) -> Iterator[Page]:
    """The page in a browser that finds no other host; nothing may go wrong, nor be asked of another."""
    if CHROMIUM is None:
        pytest.skip("there is no Chromium here; on Debian: apt-get install chromium")
    problems: list[str] = []
    with sync_playwright() as playwright:
        no_network = "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1"
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", no_network])
        context = browser.new_context(viewport={"width": 1280, "height": 900})
        context.on("request", lambda request: None if request.url.startswith(address) else problems.append(request.url))
        page = context.new_page()
        page.set_default_timeout(30_000)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
        page.goto(address)
        yield opened(page)
        browser.close()
    assert [problem for problem in problems if not problem.startswith("blob:")] == []


def opened(page: Page) -> Page:
    expect(page.locator("body.ready")).to_be_visible(timeout=60_000)  # The runtime is 14 MB to compile.
    return ready(page)


def test_the_page_shows_what_the_model_makes(page: Page, model: Model, pictures: np.ndarray) -> None:
    face = model.encode(pictures[0])
    np.testing.assert_array_equal(shown(page, "original"), pictures[0])
    expect(page.get_by_role("heading", name="Pictures to start from")).to_be_visible()
    expect(page.get_by_role("button", name="Picture 1", exact=True)).to_be_visible()
    assert np.abs(shown(page).astype(int) - np.asarray(face.reconstruction(), int)).max() <= 1
    assert value(page, "Smiling") == face.values["Smiling"]
    with painted(page):
        fader(page, "Smiling").press("End")
    assert np.abs(shown(page).astype(int) - np.asarray(face.edit(Smiling=2), int)).max() <= 1
    with painted(page):
        page.get_by_role("radio", name="red").check(force=True)
    assert np.abs(shown(page).astype(int) - np.asarray(face.edit(Smiling=2, Hair="red"), int)).max() <= 1
    page.reload()  # The address carries the setting.
    opened(page)
    assert np.abs(shown(page).astype(int) - np.asarray(face.edit(Smiling=2, Hair="red"), int)).max() <= 1


def test_the_worker_too_can_send_nothing_elsewhere(page: Page, address: str) -> None:
    asked: list[str] = []

    class Elsewhere(Quiet):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(204)
            self.send_header("Access-Control-Allow-Origin", "*")
            self.end_headers()

    assert page.context.browser is not None
    context = page.context.browser.new_context()  # As its console will tell of the refusal.
    other = context.new_page()
    with other.expect_worker() as starting:
        other.goto(address)
    with ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        elsewhere = f"http://127.0.0.1:{server.server_port}/"
        outcome = "(address) => fetch(address).then(() => 'sent', () => 'refused')"
        assert starting.value.evaluate(outcome, elsewhere) == "refused"
        assert context.new_page().evaluate(outcome, elsewhere) == "sent"  # It is there.
        server.shutdown()
    context.close()
    assert asked == ["/"]


def test_an_own_picture_is_cut_as_the_model_cuts_it(page: Page, model: Model, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (20, 25, 3), dtype=np.uint8)
    large = Image.fromarray(noise).resize((200, 160), Image.Resampling.BICUBIC)
    large.save(tmp_path / "large.png")
    with painted(page):
        page.locator("#file").set_input_files(tmp_path / "large.png")
    expected = model.frame(large)
    assert np.abs(shown(page, "original").astype(int) - expected).max() <= 2
    face = model.encode(Image.fromarray(shown(page, "original")))
    assert face.familiar is False
    expect(page.locator("#notice.unfamiliar")).to_be_visible()
    assert value(page, "Smiling") == face.values["Smiling"]

    sideways = Image.fromarray(np.asarray(large.rotate(90, expand=True)))
    exif = Image.Exif()
    exif[0x0112] = 6
    sideways.save(tmp_path / "sideways.png", exif=exif)
    with painted(page):
        page.locator("#file").set_input_files(tmp_path / "sideways.png")
    assert np.abs(shown(page, "original").astype(int) - expected).max() <= 2

    page.locator("#file").set_input_files({"name": "text.jpg", "mimeType": "image/jpeg", "buffer": b"text"})
    expect(page.locator("#message.wrong")).to_have_text("text.jpg: it cannot be read as a picture.")


def test_the_folder(site: Path, model: Model) -> None:
    desk = json.loads((site / "desk.json").read_text())
    assert [about["name"] for about in desk["models"]] == ["<b>tiny", "<b>tiny_2"]
    assert len(desk["models"][0]["begin"]) == 4
    assert not (site / "server-engine.js").exists()
    files = [file.relative_to(site).as_posix() for file in site.rglob("*.onnx")]
    assert sorted(files) == [
        f"models/{model.fingerprint}/{name}.onnx" for name in ("classifier", "decoder", "encoder", "familiarity")
    ]
    assert "connect-src 'self';" in (site / "index.html").read_text()
    text = "".join(file.read_text() for file in site.glob("*.*") if file.suffix in {".js", ".html", ".css"})
    assert set(re.findall(r"https?://[^\s\"')]+", text)) <= {"http://www.w3.org/2000/svg"}


def test_the_runtime_has_to_be_the_one_that_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dist = tmp_path / "package" / "dist"
    dist.mkdir(parents=True)
    for file in WASM.files:
        (dist / file.name).write_bytes(b"something else")

    def export(**options: object) -> Callable[[], str]:
        return lambda: web.export_web([], tmp_path / "out", **options)  # type: ignore[arg-type]

    assert "or was changed; where npm is, 'npm pack onnxruntime-web@" in refusal(export(runtime=dist.parent))
    (dist / WASM.script.name).unlink()
    assert f"there is no {WASM.script.name}" in refusal(export(runtime=dist.parent))
    (tmp_path / "package.tgz").write_text("no archive")
    assert "cannot be read as a package" in refusal(export(runtime=tmp_path / "package.tgz"))
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert "there is no npm here" in refusal(export())
    assert "--runtime or --cdn" in refusal(export(runtime=dist, cdn=True))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["package", "package.tgz"]


def test_the_runtime_of_an_unpacked_package(runtime: Path, tmp_path: Path) -> None:
    with tarfile.open(runtime) as archive:
        for file in WASM.files:
            archive.extract(f"package/dist/{file.name}", tmp_path, filter="data")
    copy_runtime(WASM, tmp_path / "package", tmp_path / "copied")
    assert sorted(file.name for file in (tmp_path / "copied").iterdir()) == [
        "LICENSE.txt",
        "ort-wasm-simd-threaded.js",
        "ort-wasm-simd-threaded.wasm",
        "ort.wasm.min.js",
    ]


def test_what_cannot_be_a_page_is_refused(
    site: Path, model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web, "write_graphs", lambda model, place: None)
    assert "exists already" in refusal(lambda: web.export_web([model_folder], site, cdn=True))
    save_model(tiny_model(with_classifier=False), tmp_path / "blind")
    message = refusal(lambda: web.export_web([tmp_path / "blind"], tmp_path / "out", cdn=True))
    assert message.startswith("blind has no classifier")
    message = refusal(lambda: web.export_web([model_folder], tmp_path / "out", pictures=tmp_path / "blind", cdn=True))
    assert "no picture in it" in message
    monkeypatch.setattr(web, "MOST_HEIGHT", 3 * 64)
    own = site.with_name("own")
    message = refusal(lambda: web.export_web([model_folder], tmp_path / "out", pictures=own, count=4, cdn=True))
    assert message.startswith("Of pictures of 64 pixels there can be 3 to start from")
    assert [path.name for path in tmp_path.iterdir()] == ["blind"]


def test_a_page_that_loads_the_runtime_from_elsewhere_says_so_in_its_policy(
    model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web, "write_graphs", lambda model, place: None)
    web.export_web([model_folder], tmp_path / "out", cdn=True, webgpu=True)
    assert "script-src 'self' https://cdn.jsdelivr.net 'wasm" in (tmp_path / "out" / "index.html").read_text()
    runtime = json.loads((tmp_path / "out" / "desk.json").read_text())["runtime"]
    assert runtime.pop("provider") == "webgpu"
    assert all(
        path.startswith("https://cdn.jsdelivr.net/npm/onnxruntime-web@1.30.0/dist/ort") for path in runtime.values()
    )
