"""SIGINT and SIGTERM ask work to stop; it does so when it has saved."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from fader.parallel import rank_and_count


class Interruption:
    """The signal that asked to stop, 0 until one does."""

    signal: int = 0


@contextmanager
def interruptions() -> Iterator[Interruption]:
    """Within the block a first SIGINT or SIGTERM is only noted; a second one acts as it would have without.

    Not so with several processes: a scheduler signals them all and torchrun passes on what it gets, so that each of
    them may get twice what was asked once.
    """
    interruption = Interruption()
    if threading.current_thread() is not threading.main_thread():  # Signals are the main thread's alone.
        yield interruption
        return
    previous = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def note(number: int, frame: FrameType | None) -> None:
        interruption.signal = number
        if rank_and_count()[1] == 1:
            signal.signal(number, previous[signal.Signals(number)])

    for number in previous:
        signal.signal(number, note)
    try:
        yield interruption
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
