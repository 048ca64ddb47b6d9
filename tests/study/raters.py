"""Simulated raters of known accuracy, who answer over HTTP as the page does, or decide for whoever drives a browser."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from httpx2 import Client

from fader.study.folder import Study, open_key

Chooses = Callable[[str, str, int], int]
"""The answer to an item of a task, of which so many answers are possible."""


def of_accuracy(study: Study, chances: dict[str, float], seed: int) -> Chooses:
    """Answers as the row of a picture claims with the row's chance, else the next answer."""
    items, generator = open_key(study)["items"], np.random.default_rng(seed)

    def choose(task: str, item: str, count: int) -> int:
        about = items[item]
        right = generator.uniform() < chances[about["row"]]
        return int((about["claimed"] + (0 if right else 1)) % count)

    return choose


def rate(client: Client, choose: Chooses, most: int = 10**9, tasks: int = 10**9) -> list[tuple[str, int]]:
    """Answer what is asked until all is done, or so many items or tasks. Returns the acknowledged answers."""
    given: list[tuple[str, int]] = []
    state = post(client, "consent")
    while state["phase"] != "end" and len(given) < most:
        if state["phase"] == "task":
            if state["tasks_done"] >= tasks:
                break
            state = post(client, "begin", task=state["task"]["id"])
        else:
            item = state["items"][0]
            answer = choose(state["task"]["id"], item["id"], len(item["choices"]) or len(state["task"]["options"]))
            state = post(client, "answer", item=item["id"], answer=answer)
            given.append((item["id"], answer))
    return given


def post(client: Client, action: str, **body: Any) -> dict[str, Any]:
    """Send a request as the page does; returns the state after it."""
    base = f"{client.base_url.scheme}://{client.base_url.netloc.decode()}"
    response = client.post(f"api/{action}", json=body, headers={"Origin": base})
    response.raise_for_status()
    state: dict[str, Any] = response.json()
    return state
