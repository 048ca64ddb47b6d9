"""`fader study serve`: the page that raters answer on.

The page (page/) is told by `api/state` what to show, and shows it; all that is known is here and in the answers.
A rater is a random number in a cookie. The tasks that it has begun and the items that it has answered are in the
answers, so that it goes on where it was, be it the browser or the server that was closed.
"""

from __future__ import annotations

import json
import re
import secrets
from importlib import resources
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from fader.errors import UserError
from fader.progress import say
from fader.study.answers import Answer, Answers, open_answers
from fader.study.folder import NAME, Item, Study, Task, open_study
from fader.web.guard import Guard, Site
from fader.web.serving import nobody, small_body
from fader.web.serving import serve as serve_application

PAGE = {
    "": ("index.html", "text/html; charset=utf-8"),
    "icon.svg": ("icon.svg", "image/svg+xml"),
    "page.css": ("page.css", "text/css; charset=utf-8"),
    "page.js": ("page.js", "text/javascript; charset=utf-8"),
}
COOKIE = "rater"
RATER = re.compile(r"[0-9a-f]{32}")
REMEMBERED = 90 * 24 * 3600  # Seconds.


def serve(folder: Path, address: str = "127.0.0.1", port: int = 8765, public_url: str | None = None) -> None:
    """Serve a study to raters until Ctrl-C.

    Args:
        folder: A study folder.
        address: Where to listen: by default this machine alone.
        port: Where to listen; 0 is any free port.
        public_url: How raters reach it, if not by that address: https://study.example.org, from a proxy before it.

    Raises UserError if the folder holds no study, or it cannot listen there.
    """
    study = open_study(folder)
    with open_answers(study) as answers:
        serve_application(
            lambda site: application(study, answers, site), answers.secret(), "Raters' link", address, port, public_url
        )


def application(study: Study, answers: Answers, site: Site) -> ASGIApp:
    """The web application of a study."""
    pages = _Pages(study, answers, site)
    routes = [
        *(Route(f"/{path}", pages.page, methods=["GET"]) for path in PAGE),
        Route("/pictures/{name}.png", pages.picture, methods=["GET"]),
        Route("/api/state", pages.state, methods=["GET"]),
        Route("/api/consent", pages.consent, methods=["POST"]),
        Route("/api/begin", pages.begin, methods=["POST"]),
        Route("/api/answer", pages.answer, methods=["POST"]),
    ]
    return Guard(Starlette(routes=routes, exception_handlers={UserError: _not_stored, ClientDisconnect: nobody}), site)


async def _not_stored(request: Request, error: Exception) -> Response:
    """The page goes on trying, and whoever serves it learns why: the disk may be full."""
    say(str(error))
    return PlainTextResponse("The answer cannot be stored at the moment; it is tried again.", 503)


class _Pages:
    def __init__(self, study: Study, answers: Answers, site: Site) -> None:
        self._study = study
        self._answers = answers
        self._site = site
        self._tasks = {task.id: task for task in study.tasks}
        self._items = {item.id: (task, item) for task in study.tasks for item in task.items}
        self._pictures = {
            name
            for task in study.tasks
            for name in [
                *(one for item in task.items for one in (item.picture, *item.choices)),
                *(example.picture for example in task.examples),
            ]
        }
        page = resources.files("fader.study") / "page"
        self._page = {path: ((page / name).read_bytes(), kind) for path, (name, kind) in PAGE.items()}

    async def page(self, request: Request) -> Response:
        content, kind = self._page[request.url.path.rpartition("/")[2]]
        return Response(content, media_type=kind)

    async def picture(self, request: Request) -> Response:
        name = request.path_params["name"]
        if not NAME.fullmatch(name) or name not in self._pictures:
            raise HTTPException(404)
        try:
            content = await run_in_threadpool(self._study.picture(name).read_bytes)
        except OSError:
            raise HTTPException(404) from None
        # Without the file's date and the like.
        return Response(content, media_type="image/png", headers={"Cache-Control": "private, max-age=86400, immutable"})

    async def state(self, request: Request) -> Response:
        return await self._state(_rater(request))

    async def consent(self, request: Request) -> Response:
        known = _rater(request)
        rater = known or secrets.token_hex(16)
        response = await self._state(rater)
        if known is None:
            response.set_cookie(
                COOKIE,
                rater,
                max_age=REMEMBERED,
                path=f"/{self._site.token}/",
                secure=self._site.link.startswith("https:"),
                httponly=True,
                samesite="strict",
            )
        return response

    async def begin(self, request: Request) -> Response:
        rater, body = _known(request), await _body(request)
        task = body.get("task")
        if not isinstance(task, str) or task not in self._tasks:
            raise HTTPException(400, "There is no such task.")
        # If others have taken it meanwhile, the state says what else there is.
        await run_in_threadpool(self._answers.assign, rater, task)
        return await self._state(rater)

    async def answer(self, request: Request) -> Response:
        rater, body = _known(request), await _body(request)
        name, answer = body.get("item"), body.get("answer")
        if not isinstance(name, str) or name not in self._items:
            raise HTTPException(400, "There is no such item.")
        task, item = self._items[name]
        if type(answer) is not int or not 0 <= answer < task.answers(item):
            raise HTTPException(400, "There is no such answer.")
        if not await run_in_threadpool(self._answers.store, Answer(rater, task.id, item.id, answer)):
            raise HTTPException(409, "This task was not begun.")
        return await self._state(rater)

    async def _state(self, rater: str | None) -> Response:
        return JSONResponse(await run_in_threadpool(self._situation, rater))

    def _situation(self, rater: str | None) -> dict[str, Any]:
        """What a rater is to be shown: the consent, a task to begin, the next item, or that all is done."""
        study, done_tasks = self._study, 0
        about: dict[str, Any] = {"title": study.title, "side": study.size * study.zoom}
        if rater is None:
            return about | {"phase": "consent", "consent": study.consent}
        for name in self._answers.assigned(rater):
            if (task := self._tasks.get(name)) is not None:
                answered = self._answers.answered(rater, name)
                left = [item for item in task.items if item.id not in answered]
                if left:
                    done = len(task.items) - len(left)
                    coming = [_item(item) for item in left[:2]]
                    return about | {"phase": "item", "task": _about(task), "items": coming, "done": done}
                done_tasks += 1
        free = self._answers.free(rater)
        if not free:
            return about | {"phase": "end", "tasks_done": done_tasks}
        return about | {"phase": "task", "task": _about(self._tasks[free[0]]), "tasks_done": done_tasks}


def _about(task: Task) -> dict[str, Any]:
    return {
        "id": task.id,
        "title": task.title,
        "question": task.question,
        "options": task.options,
        "count": len(task.items),
        "examples": [{"picture": example.picture, "option": example.option} for example in task.examples],
    }


def _item(item: Item) -> dict[str, Any]:
    return {"id": item.id, "picture": item.picture, "choices": item.choices}


def _rater(request: Request) -> str | None:
    rater = request.cookies.get(COOKIE, "")
    return rater if RATER.fullmatch(rater) else None


def _known(request: Request) -> str:
    rater = _rater(request)
    if rater is None:
        raise HTTPException(403, "Consent comes first.")
    return rater


async def _body(request: Request) -> dict[str, Any]:
    try:
        body = json.loads(await small_body(request))
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        raise HTTPException(400, "The request is no JSON object.")
    return body
