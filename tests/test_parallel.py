"""Work in processes comes back in order, is taken as it is needed, and leaves nothing behind."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import closing

import pytest

from fader.errors import UserError
from fader.parallel import in_order, map_in_order, rank_and_count, threads


def square(number: int) -> tuple[int, int]:
    return number**2, os.getpid()


def die(number: int) -> int:
    os._exit(1)


def refuse(number: int) -> int:
    raise UserError(f"{number} is refused.")


def test_order_is_kept_and_the_work_is_done_elsewhere() -> None:
    results = list(map_in_order(square, range(20), workers=2))
    assert [result for result, _ in results] == [number**2 for number in range(20)]
    assert os.getpid() not in {process for _, process in results}
    assert list(map_in_order(square, range(3), workers=1)) == [(n**2, os.getpid()) for n in range(3)]


def test_items_are_taken_as_they_are_needed() -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for number in range(1000):
            taken.append(number)
            yield number

    with closing(map_in_order(square, items(), workers=2)) as results:
        next(results)
        assert len(taken) <= 4


def test_a_dead_worker_and_a_refusal_are_sentences() -> None:
    with pytest.raises(UserError, match="ended unexpectedly"):
        list(map_in_order(die, range(2), workers=2))
    with pytest.raises(UserError, match="0 is refused"):
        list(map_in_order(refuse, range(2), workers=2))


def test_threads_take_items_as_they_are_needed() -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for number in range(100):
            taken.append(number)
            yield number

    with threads(2) as pool, closing(in_order(pool, square, items(), 6)) as results:
        for asked, result in enumerate(results, 1):
            assert result == ((asked - 1) ** 2, os.getpid())
            assert len(taken) <= asked + 5
    assert len(taken) == 100


def test_threads_work_at_the_same_time() -> None:
    together = threading.Barrier(3, timeout=20)
    with threads(3) as pool:
        assert sorted(in_order(pool, lambda number: together.wait(), range(3), 3)) == [0, 1, 2]


def test_leaving_threads_waits_for_what_has_begun_and_drops_the_rest() -> None:
    begun, gate, done = threading.Event(), threading.Event(), []

    def work(number: int) -> None:
        if number == 1:
            begun.set()
            assert gate.wait(20)
        done.append(number)

    with pytest.raises(RuntimeError), threads(1) as pool, closing(in_order(pool, work, range(50), 40)) as results:
        next(results)
        assert begun.wait(20)
        threading.Timer(0.1, gate.set).start()
        raise RuntimeError
    assert done == [0, 1]


@pytest.mark.parametrize(("rank", "world", "expected"), [(None, None, (0, 1)), ("0", "1", (0, 1)), ("2", "3", (2, 3))])
def test_the_share_is_what_torchrun_says(
    rank: str | None, world: str | None, expected: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("RANK", rank), ("WORLD_SIZE", world)):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    assert rank_and_count() == expected


@pytest.mark.parametrize(("rank", "world"), [("3", "3"), ("-1", "3"), ("1", ""), ("one", "two"), ("1", None)])
def test_a_share_that_makes_no_sense_is_a_sentence(
    rank: str, world: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", rank)
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    if world is not None:
        monkeypatch.setenv("WORLD_SIZE", world)
    with pytest.raises(UserError, match=f"RANK is {rank}"):
        rank_and_count()
