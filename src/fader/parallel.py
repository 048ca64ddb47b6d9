"""Work spread over processes: in order, in bounded memory, and with nothing left behind."""

from __future__ import annotations

import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
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
    under_way: deque[Future[Result]] = deque()
    try:
        for item in items:
            under_way.append(pool.submit(function, item))
            if len(under_way) >= 2 * workers:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()
    except BrokenProcessPool:
        raise UserError(
            "A worker process ended unexpectedly: memory ran out (try fewer workers), or the calling script lacks"
            " if __name__ == '__main__'."
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


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
