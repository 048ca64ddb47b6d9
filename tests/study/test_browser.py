"""The page in a real browser, used by simulated raters whose accuracy is known."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from fader.attributes import Schema
from fader.model import save_model
from fader.study.answers import open_answers
from fader.study.create import create
from fader.study.folder import Study, open_key, open_study
from fader.study.report import report
from tests.models import tiny_model
from tests.study.test_serve import served

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
HOSTILE = "<img src=x onerror=document.title=1>"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("there is no Chromium here; on Debian: apt-get install chromium")
    with sync_playwright() as playwright:
        # In a container, as root, its sandbox cannot be had; the pages are our own.
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def small(portraits: Path, tmp_path: Path) -> Study:
    """A study of one model and one attribute: a task of naturalness and three of accuracy, 4 pictures a row."""
    save_model(tiny_model(Schema.binary(["Smiling"])), tmp_path / "Ours")
    create([tmp_path / "Ours"], portraits, tmp_path / "s", split="train", a_row=4, raters=2, device="cpu")
    return open_study(tmp_path / "s")


def page_of(browser: Browser, link: str) -> tuple[Page, list[str]]:
    """The page in a browser of its own, and a list of what goes wrong on it."""
    page = browser.new_context(viewport={"width": 400, "height": 800}).new_page()
    page.set_default_timeout(10_000)
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    page.goto(link)
    return page, problems


def test_raters_in_a_browser_give_the_table(browser: Browser, small: Study) -> None:
    items, seen = open_key(small)["items"], {}
    # Of four pictures of each row so many are called what the row claims, by everybody.
    right = {"Real": 4, "Ours AE": 2, "Ours Swap": 1}
    plan = {}
    for task in small.tasks:
        counts = dict.fromkeys(right, 0)
        for item in task.items:
            row = items[item.id]["row"]
            counts[row] += 1
            plan[item.picture] = (
                items[item.id]["claimed"] if counts[row] <= right[row] else 1 - items[item.id]["claimed"]
            )

    with served(small.folder) as (_, link):
        for rater in range(2):
            page, problems = page_of(browser, link)
            assert page.evaluate("document.documentElement.scrollWidth") <= 400
            page.get_by_role("button", name="I agree").press("Enter")
            for number, _task in enumerate(small.tasks):
                page.get_by_role("button", name="Begin").wait_for()
                examples = page.locator("figure img")
                assert examples.count() in (0, 8)
                page.keyboard.press("Enter")
                total = None
                while True:
                    expect(page.locator("main button:enabled").first).to_be_visible()
                    if page.locator("main.item").count() == 0:
                        break
                    name = str(page.locator("main .shown img").get_attribute("src")).split("/")[1].removesuffix(".png")
                    done, _, total = str(page.locator("#count").text_content()).partition(" of ")
                    seen[rater, name] = True
                    if rater == 0 and len(seen) == 4:  # Away and back.
                        page.reload()
                        expect(page.locator("#count")).to_have_text(f"{done} of {total}")
                        expect(page.locator("main button:enabled").first).to_be_visible()
                    if number % 2:
                        page.locator("main.item button").nth(plan[name]).click()
                    else:
                        page.keyboard.press(str(plan[name] + 1))
                    if int(done) + 1 < int(total):
                        expect(page.locator("#count")).to_have_text(f"{int(done) + 1} of {total}")
                    else:
                        expect(page.locator("main.item")).to_have_count(0)
                        break
            expect(page.get_by_role("heading", name="Thank you")).to_be_visible()
            assert problems == []
            page.context.close()

    assert len(seen) == 2 * sum(len(task.items) for task in small.tasks)
    report(small.folder)
    content = json.loads((small.folder / "report" / "report.json").read_text())
    for column in content["columns"]:
        assert {row: share["value"] for row, share in column["shares"].items()} == {
            row: count / 4 for row, count in right.items()
        }
        assert {alpha for alpha in column["alphas"].values() if alpha is not None} == {1.0}
        assert {share["answers"] for share in column["shares"].values()} == {8}


def test_texts_are_shown_as_they_are(browser: Browser, small: Study) -> None:
    path = small.folder / "study.json"
    data = json.loads(path.read_text())
    data |= {"title": HOSTILE, "consent": [HOSTILE]}
    for task in data["tasks"]:
        task |= {"title": HOSTILE, "question": HOSTILE, "options": [HOSTILE, "&amp;"]}
    path.write_text(json.dumps(data))
    with served(small.folder) as (_, link):
        page, problems = page_of(browser, link)
        expect(page.locator("h1")).to_have_text(HOSTILE)
        expect(page.locator("main p").first).to_have_text(HOSTILE)
        page.get_by_role("button", name="I agree").click()
        expect(page.locator("main strong")).to_have_text(HOSTILE)
        page.get_by_role("button", name="Begin").click()
        expect(page.locator("main.item h2")).to_have_text(HOSTILE)
        expect(page.locator("main.item button").nth(1)).to_have_text("2&amp;")
        assert page.title() == HOSTILE
        assert problems == []
        page.context.close()


def test_an_answer_waits_for_a_server_that_is_away(browser: Browser, small: Study) -> None:
    with served(small.folder) as (_, link):
        page, _ = page_of(browser, link)
        page.get_by_role("button", name="I agree").click()
        page.get_by_role("button", name="Begin").click()
        expect(page.locator("main.item button:enabled").first).to_be_visible()
        page.context.set_offline(True)
        page.keyboard.press("1")
        expect(page.locator("#message")).to_contain_text("not saved yet")
        expect(page.locator("main.item button:enabled")).to_have_count(0)
        page.context.set_offline(False)
        expect(page.locator("#count")).to_contain_text("1 of")
        expect(page.locator("#message")).to_have_text("")
        with open_answers(small) as answers:
            assert len(answers.all()) == 1
        page.context.close()
