"""Work spread over processes and threads: in order, in bounded memory, and with nothing left behind."""

from __future__ import annotations

import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait
from typing import TypeVar

from fader.errors import UserError

Item = TypeVar("Item")
Result = TypeVar("Result")


def processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def map_in_order(
    function: Callable[[Item], Result], items: Iterable[Item], workers: int
) -> Generator[Result, None, None]:
    """`function` of each item, in order, computed by so many processes; with 1 no process is started.

    The function and the items are pickled, and the processes import what the function needs, no more. Items are taken
    as they are needed, and a few a worker are under way at any time. Close the generator when leaving it early, so
    that no worker outlives it. Raises what the function raises, and UserError if a worker dies.
    """
    if workers == 1:
        yield from map(function, items)
        return
    # Spawned, because the parent may hold threads, and because that is what every system can do.
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_start_worker)
    try:
        yield from in_order(pool, function, items, 2 * workers)
    except BrokenProcessPool:
        raise UserError(
            "A worker process ended unexpectedly: memory ran out (try fewer workers), or the calling script lacks"
            " if __name__ == '__main__'."
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def in_order(
    pool: Executor, function: Callable[[Item], Result], items: Iterable[Item], most: int
) -> Generator[Result, None, None]:
    """`function` of each item, in order, computed by `pool`.

    Items are taken as they are needed: at most `most` are under way, or done and not yet asked for, at any time.
    """
    under_way: deque[Future[Result]] = deque()
    for item in items:
        under_way.append(pool.submit(function, item))
        if len(under_way) >= most:
            yield under_way.popleft().result()
    while under_way:
        yield under_way.popleft().result()


@contextmanager
def threads(count: int) -> Iterator[Executor]:
    """Threads for `in_order`. At the end of the block what has begun is waited for, and the rest dropped."""
    pool = ThreadPoolExecutor(count)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def rank_and_count() -> tuple[int, int]:
    """Which of how many processes this one is, from 0, as torchrun says (RANK, WORLD_SIZE); (0, 1) without it.

    Raises UserError if the two make no sense.
    """
    number, count = os.environ.get("RANK", "0"), os.environ.get("WORLD_SIZE", "1")
    if not (number.isdecimal() and count.isdecimal() and int(number) < int(count)):
        raise UserError(f"RANK is {number} and WORLD_SIZE {count}; start the processes with torchrun, or unset both.")
    return int(number), int(count)


def _start_worker() -> None:
    # Ctrl-C reaches every process of the terminal; the parent alone decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    # A worker holds both ends of its queue's pipe and would wait for ever if the parent were killed.
    parent = parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)
