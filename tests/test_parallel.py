"""Work in processes comes back in order, is taken as it is needed, and leaves nothing behind."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing

import pytest

from fader.errors import UserError
from fader.parallel import map_in_order


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
