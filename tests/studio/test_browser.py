"""The page in a real browser: pulled by mouse, keyboard and touch, on the model that comes with fader."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, Route, ViewportSize, expect, sync_playwright

from fader.attributes import Attribute, Schema
from fader.model import save_model
from tests.models import tiny_model
from tests.studio.conftest import picture_bytes

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
expect.set_options(timeout=30_000)
HOSTILE = "<img src=x onerror=document.title=1>"
SIZE = 64
EYES, MOUTH = slice(20, 40), slice(44, 60)  # Rows of the bundled portraits.


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("there is no Chromium here; on Debian: apt-get install chromium")
    with sync_playwright() as playwright:
        # In a container, as root, its sandbox cannot be had; the pages are our own. The camera is Chromium's own test.
        camera = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", *camera])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def link(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A studio of the bundled portraits, and of a model whose names are markup."""
    folder = tmp_path_factory.mktemp("models") / "hostile <b>model"
    schema = Schema((Attribute(HOSTILE), Attribute("Hair", ("black", HOSTILE, "&amp;")), Attribute("Beard")))
    save_model(tiny_model(schema), folder)
    command = [sys.executable, "-m", "fader", "studio", "portraits", str(folder), "--port", "0", "--no-browser"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            found = re.search(r"http://\S+", process.stderr.readline())
            assert found is not None
            yield found.group()
        finally:
            process.kill()


Open = Callable[..., Page]


@pytest.fixture
def problems() -> list[str]:
    """What went wrong on the page, or was asked of another host."""
    return []


@pytest.fixture
def visit(browser: Browser, link: str, problems: list[str]) -> Iterator[Open]:
    """Opens the page; at the end there may be no problems."""
    pages: list[Page] = []

    def visit(fragment: str = "", width: int = 1280, height: int = 900, **options: bool | str) -> Page:
        viewport: ViewportSize = {"width": width, "height": height}
        context = browser.new_context(viewport=viewport, reduced_motion="reduce", **options)  # type: ignore[arg-type]
        page = context.new_page()
        page.set_default_timeout(30_000)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
        page.on("request", lambda request: problems.append(request.url) if elsewhere(request.url) else None)
        page.on("websocket", lambda socket: problems.append(socket.url) if elsewhere(socket.url) else None)
        page.goto(link + fragment)
        pages.append(page)
        return page

    def elsewhere(url: str) -> bool:
        return urlsplit(url).scheme not in ("blob", "data") and urlsplit(url).netloc != urlsplit(link).netloc

    yield visit
    for page in pages:
        page.context.close()
    assert problems == []


@pytest.fixture
def page(visit: Open) -> Page:
    return ready(visit())


def ready(page: Page) -> Page:
    expect(page.locator("body.ready")).to_be_visible()
    expect(page.locator("#strip canvas").last).to_have_attribute("width", re.compile("32|64"))
    return page


def shown(page: Page, canvas: str = "edit") -> np.ndarray:
    """The pixels of a canvas, [H, W, 3]."""
    pixels, width = page.evaluate(
        """(id) => { const canvas = document.getElementById(id);
        return [[...canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data], canvas.width] }""",
        canvas,
    )
    return np.array(pixels, np.uint8).reshape(-1, width, 4)[..., :3]


@contextmanager
def painted(page: Page) -> Iterator[None]:
    """Waits until what is done within has been painted and nothing more comes."""
    page.evaluate("""() => { const seen = window.seen = { last: null };
        document.getElementById("edit").addEventListener("painted", () => { seen.last = performance.now(); }) }""")
    yield
    until(page, "window.seen.last !== null && performance.now() - window.seen.last > 100")


def until(page: Page, expression: str) -> None:
    """Waits until JavaScript finds something true; Playwright's own waiting is what the page's policy forbids: eval."""
    deadline = time.monotonic() + 30
    while not page.evaluate(expression):
        assert time.monotonic() < deadline, expression
        page.wait_for_timeout(30)


def fader(page: Page, name: str) -> Locator:
    return page.get_by_role("slider", name=name, exact=True)


def value(page: Page, name: str) -> float:
    return float(page.get_by_role("spinbutton", name=f"{name}, value").input_value())


def changed(before: np.ndarray, after: np.ndarray, rows: slice) -> float:
    return float(np.abs(before[rows].astype(float) - after[rows].astype(float)).mean())


def turn_glasses(page: Page) -> float:
    """Where the glasses' fader is to go: to the value that the picture does not have."""
    return 1 - value(page, "Eyeglasses")


def pull(page: Page, name: str, to: float) -> None:
    """Take the cap of a fader with the mouse and put it at a value."""
    box = fader(page, name).bounding_box()
    assert box is not None
    cap = 28
    height = {at: box["y"] + cap / 2 + (box["height"] - cap) * (2 - at) / 3 for at in (value(page, name), to)}
    middle = box["x"] + box["width"] / 2
    page.mouse.move(middle, height[value(page, name)])
    page.mouse.down()
    page.mouse.move(middle, height[to], steps=8)
    page.mouse.up()


def test_a_fader_is_pulled_by_the_mouse_and_the_right_part_changes(page: Page) -> None:
    before, to = shown(page), turn_glasses(page)
    with painted(page):
        pull(page, "Eyeglasses", to)
    assert value(page, "Eyeglasses") == pytest.approx(to, abs=0.05)
    after = shown(page)
    assert changed(before, after, EYES) > 2 * changed(before, after, MOUTH)
    # Back by a double click.
    with painted(page):
        fader(page, "Eyeglasses").dblclick(position={"x": 5, "y": 5})
    assert value(page, "Eyeglasses") == 1 - to
    np.testing.assert_array_equal(shown(page), before)


def test_a_fader_is_moved_by_the_keyboard(page: Page) -> None:
    slider = fader(page, "Smiling")
    slider.focus()
    for key, expected in [
        ("Home", -1), ("ArrowUp", -0.95), ("ArrowRight", -0.9), ("ArrowDown", -0.95), ("Shift+ArrowDown", -0.96),
        ("PageUp", -0.71), ("End", 2), ("PageDown", 1.75), ("ArrowLeft", 1.7), ("ArrowUp", 1.75), ("End", 2),
    ]:  # fmt: skip
        slider.press(key)
        assert value(page, "Smiling") == pytest.approx(expected), key
    expect(slider).to_have_attribute("aria-valuetext", "2")
    expect(slider).to_have_attribute("aria-orientation", "vertical")
    number = page.get_by_role("spinbutton", name="Smiling, value")
    before = shown(page)
    with painted(page):
        number.fill("0")
        number.press("Enter")
    expect(slider).to_have_attribute("aria-valuetext", "0, absent")
    assert changed(before, shown(page), MOUTH) > 2 * changed(before, shown(page), slice(0, 10))
    number.fill("7")
    number.press("Enter")
    assert value(page, "Smiling") == 2


def test_a_fader_is_moved_by_touch_on_a_telephone(visit: Open) -> None:
    page = ready(visit(width=360, height=780, has_touch=True, is_mobile=True))
    before = shown(page)
    slider = fader(page, "Eyeglasses")
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    assert box is not None
    middle, own = box["x"] + box["width"] / 2, value(page, "Eyeglasses")
    start = box["y"] + 14 + (box["height"] - 28) * (2 - own) / 3
    end = box["y"] + 14 + (box["height"] - 28) * (2 - (1 - own)) / 3
    touch = page.context.new_cdp_session(page)
    with painted(page):
        for kind, y in [("touchStart", start), *(("touchMove", start + (end - start) * i / 8) for i in range(1, 9))]:
            touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": middle, "y": y}]})
        touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    assert value(page, "Eyeglasses") == pytest.approx(1 - own, abs=0.1)
    assert changed(before, shown(page), EYES) > 2 * changed(before, shown(page), MOUTH)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_undo_redo_and_reset(page: Page) -> None:
    undo, redo, reset = (page.get_by_role("button", name=name) for name in ("Undo", "Redo", "Reset all"))
    expect(undo).to_be_disabled()
    own = [value(page, name) for name in ("Smiling", "Hat")]
    fader(page, "Smiling").press("End")
    fader(page, "Hat").press("End")
    undo.click()
    assert [value(page, name) for name in ("Smiling", "Hat")] == [2, own[1]]
    page.keyboard.press("Control+z")
    assert [value(page, name) for name in ("Smiling", "Hat")] == own
    expect(undo).to_be_disabled()
    page.keyboard.press("Control+Shift+Z")
    redo.click()
    assert [value(page, name) for name in ("Smiling", "Hat")] == [2, 2]
    expect(redo).to_be_disabled()
    reset.click()
    assert [value(page, name) for name in ("Smiling", "Hat")] == own
    expect(reset).to_be_disabled()
    undo.click()
    assert [value(page, name) for name in ("Smiling", "Hat")] == [2, 2]


def test_undo_of_a_number_that_is_still_being_typed(page: Page) -> None:
    number = page.get_by_role("spinbutton", name="Smiling, value")
    own = value(page, "Smiling")
    number.fill("0.5")
    number.press("Enter")
    number.fill("1.5")
    for key, expected in [("z", 0.5), ("z", own), ("Shift+Z", 0.5), ("Shift+Z", 1.5), ("z", 0.5)]:
        page.keyboard.press(f"Control+{key}")
        assert value(page, "Smiling") == expected
    expect(page.get_by_role("button", name="Redo")).to_be_enabled()
    number.fill("2")
    page.keyboard.press("Control+Shift+Z")  # There is nothing to redo after a new move.
    assert value(page, "Smiling") == 2


def test_press_to_compare(page: Page) -> None:
    compare, original = page.get_by_role("button", name="Hold to compare"), page.locator("#compared")
    expect(original).to_be_hidden()
    compare.hover()
    page.mouse.down()
    expect(original).to_be_visible()
    np.testing.assert_array_equal(shown(page, "compared"), shown(page, "original"))
    page.mouse.up()
    expect(original).to_be_hidden()
    compare.focus()
    page.keyboard.down("Space")
    expect(original).to_be_visible()
    page.keyboard.up("Space")
    expect(original).to_be_hidden()


def test_a_link_carries_the_setting(visit: Open) -> None:
    page = ready(visit())
    expect(page.get_by_role("heading", name="Drawn portraits to start from")).to_be_visible()
    page.get_by_role("button", name="Portrait 3", exact=True).click()
    expect(page.get_by_role("button", name="Portrait 3", exact=True)).to_have_attribute("aria-pressed", "true")
    with painted(page):
        fader(page, "Beard").press("End")
    fragment, picture = page.evaluate("location.hash"), shown(page)
    assert "start=2" in fragment
    again = ready(visit(fragment))
    expect(fader(again, "Beard")).to_have_attribute("aria-valuetext", "2")
    np.testing.assert_array_equal(shown(again), picture)
    again.get_by_role("button", name="Undo").click()
    assert value(again, "Beard") in (0, 1)


def test_a_link_to_an_own_picture_says_so(visit: Open) -> None:
    page = visit("#model=portraits&photo=96x96&at=40,48,60,10&set.Smiling=1.5")
    expect(page.locator("#message")).to_contain_text("choose it again")
    page.locator("#file").set_input_files({"name": "me.png", "mimeType": "image/png", "buffer": picture_bytes()})
    ready(page)
    assert value(page, "Smiling") == 1.5
    assert "at=40%2C48%2C60%2C10" in page.evaluate("location.hash")
    expect(page.locator("#message")).to_have_text("")


def choose(page: Page, side: int = 96) -> None:
    """Open a picture of one's own."""
    page.locator("#file").set_input_files({"name": "me.png", "mimeType": "image/png", "buffer": picture_bytes(side)})


def follow(page: Page, fragment: str) -> None:
    page.evaluate("(fragment) => { location.hash = fragment }", fragment)


@pytest.mark.parametrize(
    ("fragment", "message"),
    [
        ("#model=nobody&start=2", "model nobody, which is not open"),
        ("#model=hostile+<b>model&start=2", "has none here"),
        ("#model=portraits&start=999999999999", "no portrait of this number"),
    ],
)
def test_a_link_that_cannot_be_followed_says_so(visit: Open, problems: list[str], fragment: str, message: str) -> None:
    page = ready(visit(fragment))
    expect(page.locator("#message.wrong")).to_contain_text(message)
    expect(page.get_by_role("button", name="Portrait 1", exact=True)).to_have_attribute("aria-pressed", "true")
    problems[:] = [text for text in problems if "status of 400" not in text]  # Which Chromium says by itself.


def test_a_link_that_was_left_for_another_leaves_nothing_behind(page: Page) -> None:
    follow(page, "#model=portraits&photo=96x96&at=0,0,1e9,0&set.Smiling=1.5")
    expect(page.locator("#message")).to_contain_text("choose it again")
    follow(page, "#model=portraits&start=3")
    expect(page.get_by_role("button", name="Portrait 4", exact=True)).to_have_attribute("aria-pressed", "true")
    choose(page)
    until(page, "location.hash.includes('at=48%2C48%2C96%2C0')")
    assert value(page, "Smiling") in (0, 1)
    # Of the same picture a link moves frame and faders, one step back from what was there.
    follow(page, "#model=portraits&photo=96x96&at=0,0,1e9,0&set.Smiling=1.5")
    until(page, "location.hash.includes('at=0%2C0%2C192%2C0')")
    assert value(page, "Smiling") == 1.5
    page.get_by_role("button", name="Undo").click()
    assert value(page, "Smiling") in (0, 1)


def test_the_picture_chosen_last_wins(page: Page) -> None:
    held: list[Route] = []
    page.route("**/api/photos", lambda route: route.continue_() if held else held.append(route))
    choose(page, 200)
    expect(page.locator("#message")).to_contain_text("Reading")
    choose(page, 96)
    until(page, "location.hash.includes('photo=96x96')")
    with page.expect_request("**/api/close") as request:
        held[0].continue_()
    assert '"photo"' in (request.value.post_data or "")
    assert "photo=96x96" in page.evaluate("location.hash")
    expect(page.locator("#message")).to_have_text("")


def asked_when_it_comes(page: Page, held: Route) -> list[list[str]]:
    """What the page asks the server to close when an answer that was held back comes: of each request, its keys."""
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.post_data or "") if "/api/" in request.url else None)
    with page.expect_request("**/api/close"):
        held.continue_()
    page.wait_for_timeout(200)
    return [re.findall('"(face|photo|model)"', data) for data in asked]


def test_a_start_that_was_given_up_leaves_the_picture_alone(page: Page) -> None:
    choose(page)
    until(page, "location.hash.includes('photo=96x96')")
    held: list[Route] = []
    page.route("**/api/faces", lambda route: route.continue_() if held else held.append(route))
    page.get_by_role("button", name="Portrait 3", exact=True).click()
    page.locator("#model").select_option(label="hostile <b>model")
    until(page, "location.hash.includes('hostile')")
    assert asked_when_it_comes(page, held[0]) == [["face"]]
    assert "hostile" in page.evaluate("location.hash")
    with page.expect_request(lambda request: "close" in request.url and '"photo"' in (request.post_data or "")):
        page.locator("#model").select_option(label="portraits")
        until(page, "location.hash.includes('portraits')")
        page.get_by_role("button", name="Portrait 3", exact=True).click()


def test_a_picture_that_is_still_being_encoded_goes_to_the_model_that_is_chosen(page: Page) -> None:
    held: list[Route] = []
    page.route("**/api/faces", lambda route: route.continue_() if held else held.append(route))
    with page.expect_request("**/api/faces"):
        choose(page)
    page.locator("#model").select_option(label="hostile <b>model")
    until(page, "location.hash.includes('hostile') && location.hash.includes('photo=96x96')")
    # The face that comes too late is let go; the photo, which is on the desk, is not.
    assert asked_when_it_comes(page, held[0]) == [["face"]]
    assert "photo=96x96" in page.evaluate("location.hash")


def test_nothing_is_asked_of_a_face_that_was_taken_away(page: Page) -> None:
    choose(page)
    until(page, "location.hash.includes('photo=96x96')")
    page.locator("#across summary").click()
    until(page, f"document.getElementById('grid').width === {7 * SIZE}")
    asked: list[str] = []
    page.on("request", lambda request: asked.extend(re.findall("api/.*", request.url)))
    page.evaluate(
        """() => { const slider = document.querySelector("input.fader");
        for (const kind of ["keydown", "keyup"]) slider.dispatchEvent(new KeyboardEvent(kind, { key: "Home" }));
        location.hash = "#model=hostile <b>model&photo=7x7" }"""
    )
    expect(page.locator("#message")).to_contain_text("choose it again")
    page.wait_for_timeout(500)
    assert asked == ["api/close", "api/close"]


def test_why_the_server_closes_the_socket_is_said(visit: Open) -> None:
    page = visit()
    page.route_web_socket(
        "**/api/frames", lambda socket: socket.on_message(lambda _: socket.close(code=1013, reason="Too many."))
    )
    page.reload()
    expect(page.locator("#message.wrong")).to_have_text("Too many.")


def test_what_can_be_saved(page: Page) -> None:
    fader(page, "Hat").press("End")

    def saved(name: str) -> bytes:
        page.get_by_role("button", name="Save …").click()
        with page.expect_download() as download:
            page.get_by_role("dialog").get_by_role("button", name=name).click()
        return Path(download.value.path()).read_bytes()

    with Image.open(io.BytesIO(saved("The picture"))) as picture:
        np.testing.assert_array_equal(np.asarray(picture.convert("RGB")), shown(page))
    with Image.open(io.BytesIO(saved("The strip"))) as strip:
        assert strip.size == (7 * SIZE, SIZE + 18)
        assert len({strip.crop((i * SIZE, 0, (i + 1) * SIZE, SIZE)).tobytes() for i in range(7)}) == 7
    page.locator("#across summary").click()
    until(page, f"document.getElementById('grid').width === {7 * SIZE}")
    with Image.open(io.BytesIO(saved("The grid"))) as grid:
        assert grid.size == (8 * SIZE, 7 * SIZE + 36)
    setting = saved("The setting")
    assert json.loads(setting)["values"]["Hat"] == 2
    page.get_by_role("button", name="Reset all").click()
    page.locator("#file").set_input_files({"name": "s.json", "mimeType": "application/json", "buffer": setting})
    expect(fader(page, "Hat")).to_have_attribute("aria-valuetext", "2")


def test_a_strip_is_saved_when_it_is_whole(page: Page) -> None:
    with page.expect_download() as download:
        page.evaluate(
            """() => { const slider = document.querySelectorAll("input.fader")[1];
            slider.focus();
            for (const kind of ["keydown", "keyup"]) slider.dispatchEvent(new KeyboardEvent(kind, { key: "End" }));
            document.getElementById("save").click();
            const buttons = [...document.querySelectorAll("dialog button")];
            buttons.find((one) => one.textContent.includes("strip")).click() }"""
        )
    with Image.open(download.value.path()) as strip:
        assert strip.size == (7 * SIZE, SIZE + 18)
        drawn = np.asarray(strip.convert("RGB"))[:SIZE]
    frames = page.locator("#strip canvas").evaluate_all(
        """(all) => all.map((one) => [...one.getContext("2d").getImageData(0, 0, one.width, one.height).data])"""
    )
    np.testing.assert_array_equal(drawn, np.hstack([np.reshape(one, (SIZE, SIZE, 4))[..., :3] for one in frames]))


def test_what_is_no_picture_is_refused_and_the_page_goes_on(visit: Open, problems: list[str]) -> None:
    page = ready(visit())
    files = page.locator("#file")
    files.set_input_files({"name": f"{HOSTILE}.jpg", "mimeType": "image/jpeg", "buffer": b"This is a text."})
    expect(page.locator("#message.wrong")).to_contain_text("cannot be read as a picture")
    files.set_input_files({"name": f"{HOSTILE}.json", "mimeType": "application/json", "buffer": b"[]"})
    expect(page.locator("#message")).to_contain_text(f"{HOSTILE}.json is no setting")
    assert [text for text in problems if "status of 400" not in text] == []  # Which Chromium says by itself.
    problems.clear()
    with painted(page):
        fader(page, "Hat").press("End")
    expect(page.locator("#message")).to_have_text("")


def test_own_pictures_chosen_dropped_and_pasted(page: Page) -> None:
    files = page.locator("#file")
    # A drawn portrait is of the model's kind; grey noise is not, and that is said.
    files.set_input_files({"name": "me.png", "mimeType": "image/png", "buffer": picture_bytes()})
    expect(page.get_by_role("button", name="Place the frame …")).to_be_visible()
    expect(page.locator("#notice")).to_be_hidden()
    expect(page.locator(".own small").first).to_contain_text("%")
    content = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (90, 80, 3), dtype=np.uint8)
    Image.fromarray(noise).save(content, "PNG")
    drop(page, "drop", "dataTransfer", content.getvalue())
    expect(page.locator("#notice")).to_contain_text("unlike those that this model was trained on")
    expect(page.locator("#notice")).to_contain_text("fader train")
    expect(page.get_by_role("button", name="Put back")).to_be_hidden()
    drop(page, "paste", "clipboardData", picture_bytes(120))
    expect(page.locator("#notice")).to_be_hidden()
    expect(page.get_by_role("button", name="Put back")).to_be_visible()


def drop(page: Page, kind: str, field: str, content: bytes) -> None:
    """A picture that is dropped or pasted."""
    page.evaluate(
        """([kind, field, bytes]) => { const transfer = new DataTransfer();
        transfer.items.add(new File([new Uint8Array(bytes)], "one.png", { type: "image/png" }));
        const event = new Event(kind, { bubbles: true, cancelable: true });
        Object.defineProperty(event, field, { value: transfer });
        document.body.dispatchEvent(event) }""",
        [kind, field, list(content)],
    )


def test_the_frame_is_placed_by_hand_and_the_face_put_back(page: Page) -> None:
    page.locator("#file").set_input_files({"name": "me.png", "mimeType": "image/png", "buffer": picture_bytes(200)})
    page.get_by_role("button", name="Place the frame …").click()
    dialog = page.get_by_role("dialog")
    slider = dialog.get_by_role("slider", name="Turn")
    slider.focus()
    slider.press("ArrowUp")
    box = dialog.locator("canvas").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.wheel(0, -100)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.55, box["y"] + box["height"] * 0.45, steps=3)
    page.mouse.up()
    dialog.get_by_role("button", name="Use this").click()
    expect(dialog).to_be_hidden()
    until(page, "!location.hash.includes('at=100%2C100%2C')")
    x, y, side, angle = map(float, re.findall(r"at=([^&]+)", page.evaluate("location.hash"))[0].split("%2C"))
    assert [x, y] == pytest.approx([110, 90], abs=2)
    assert side < 180
    assert angle != 0
    if page.get_by_role("button", name="Put back").is_visible():
        fader(page, "Eyeglasses").press("End")
        page.get_by_role("button", name="Put back").click()
        expect(page.get_by_role("dialog").locator("canvas")).to_have_attribute("width", "200")
        with page.expect_download() as download:
            page.get_by_role("button", name="Save (PNG)").click()
        with Image.open(download.value.path()) as pasted:
            assert pasted.size == (200, 200)


def test_the_frame_stays_between_models_and_the_steps_when_it_is_moved(visit: Open) -> None:
    def with_the_same_points(route: Route) -> None:
        desk = route.fetch().json()
        desk["models"][1]["points"] = desk["models"][0]["points"]
        route.fulfill(json=desk)

    page = visit()
    page.route("**/api/desk", with_the_same_points)
    page.reload()
    choose(ready(page))
    until(page, "location.hash.includes('photo=96x96')")
    fader(page, "Hat").press("End")
    page.get_by_role("button", name="Place the frame …").click()
    dialog = page.get_by_role("dialog")
    drop(page, "drop", "dataTransfer", picture_bytes(120))  # Not now.
    dialog.get_by_role("slider", name="Size").press("Home")
    dialog.get_by_role("button", name="Use this").click()
    until(page, "location.hash.includes('at=48%2C48%2C8%2C0')")
    assert value(page, "Hat") == 2
    page.get_by_role("button", name="Undo").click()
    assert value(page, "Hat") in (0, 1)
    page.get_by_role("button", name="Redo").click()
    assert value(page, "Hat") == 2
    expect(page.locator("#message")).to_have_text("")
    page.locator("#model").select_option(label="hostile <b>model")
    until(page, "location.hash.includes('hostile')")
    assert "photo=96x96&at=48%2C48%2C8%2C0" in page.evaluate("location.hash")


def test_a_frame_is_carried_by_the_points_of_both_models(page: Page) -> None:
    # The second model's frame shows the same face half as large and upside down.
    points = [[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.8], [0.65, 0.8]]
    turned = [[0.5 - (x - 0.5) / 2, 0.5 - (y - 0.5) / 2] for x, y in points]
    carried = page.evaluate(
        """async ([points, turned]) => { const { carried } = await import("./placing.js");
        const [from, to] = [{ points, crop: null }, { points: turned, crop: null }];
        return carried({ x: 40, y: 60, side: 30, angle: 20 }, from, to, { width: 100, height: 100, faces: null }) }""",
        [points, turned],
    )
    assert carried == pytest.approx({"x": 40, "y": 60, "side": 60, "angle": -160})


def test_a_snapshot_from_the_camera(page: Page) -> None:
    page.get_by_role("button", name="Camera …").click()
    until(page, "document.querySelector('video')?.videoWidth > 0")
    page.get_by_role("button", name="Take the picture").click()
    expect(page.get_by_role("button", name="Place the frame …")).to_be_visible()
    assert page.locator("video").count() == 0
    page.evaluate(
        """() => { window.asked = 0;
        const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
        navigator.mediaDevices.getUserMedia = (what) => { window.asked++; return ask(what) };
        for (let i = 0; i < 2; i++) document.getElementById("camera").click() }"""
    )
    until(page, "document.querySelector('video')?.videoWidth > 0")
    assert page.evaluate("window.asked") == 1
    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("button", name="Camera …").click()
    until(page, "document.querySelector('video')?.videoWidth > 0")


def test_names_are_shown_as_text_and_switches_switch(page: Page) -> None:
    page.locator("#model").select_option(label="hostile <b>model")
    expect(page.locator("#message")).to_contain_text("Open a picture")
    page.locator("#file").set_input_files({"name": "me.png", "mimeType": "image/png", "buffer": picture_bytes()})
    ready(page)
    expect(page.locator(".channel h3").first).to_have_text(HOSTILE)
    expect(page.locator("#along-title")).to_have_text(f"Along {HOSTILE}")
    hair = page.get_by_role("radiogroup", name="Hair")
    before = shown(page)
    other = hair.get_by_role("radio", checked=False).first
    with painted(page):
        other.check()
    assert (shown(page) != before).any()
    expect(page.locator("#along-title")).to_have_text("Along Hair")
    expect(page.locator("#strip button")).to_have_count(3)
    page.locator("#across summary").click()
    page.locator("#across-x").select_option(label="Hair")
    until(page, "document.getElementById('grid').width === 3 * 32")
    assert page.title() == "fader studio"
    assert page.locator("main img").count() == 0


@pytest.mark.parametrize(("width", "scheme"), [(360, "dark"), (768, "light"), (1920, "dark")])
def test_the_page_is_accessible_and_fits(visit: Open, width: int, scheme: str) -> None:
    page = ready(visit(width=width, color_scheme=scheme))
    page.locator("#across summary").click()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    fader(page, "Hat").press("End")
    page.locator("#file").set_input_files({"name": "me.png", "mimeType": "image/png", "buffer": picture_bytes()})
    page.get_by_role("button", name="Place the frame …").wait_for()
    for dialog in (None, "Place the frame …", "Save …") if width == 360 else (None,):
        if dialog is not None:
            page.get_by_role("button", name=dialog).click()
        found = Axe().run(page).response["violations"]
        assert [one["id"] for one in found if one["impact"] in ("serious", "critical")] == []
        page.keyboard.press("Escape")
