"""What a stranger's file may do at most, watched: time, memory, files written, code run, connections made."""

from __future__ import annotations

import faulthandler
import os
import resource
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

SECONDS = 10
MEMORY = 2 * 2**30  # Beyond what the process takes before: the largest picture that is read takes most of it.
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
CHANGES = {
    "os.mkdir",
    "os.rename",
    "os.remove",
    "os.rmdir",
    "os.link",
    "os.symlink",
    "os.truncate",
    "os.chmod",
    "os.chown",
}
"""Of files, by their first path (for links and renaming: by the second too)."""
NEVER = {
    "pickle.find_class", "code.__new__", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.forkpty", "os.kill",
    "subprocess.Popen", "pty.spawn", "socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "urllib.Request",
    "ftplib.connect", "webbrowser.open",
}  # fmt: skip
"""What no file may bring about."""


def ran_out(error: BaseException) -> BaseException | None:
    """What lies behind an error, if it is the end of memory."""
    behind: BaseException | None = error
    while behind is not None and not isinstance(behind, MemoryError):
        behind = behind.__cause__ or behind.__context__
    return behind


class TooSlowError(BaseException):
    """Not an Exception, so that nothing that is tried handles it."""


class Watch:
    """Notes what happens in the block `while_reading`. One a process: what audits cannot be taken out again."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self._allowed: tuple[str, ...] | None = None
        sys.dont_write_bytecode = True
        sys.addaudithook(self._audit)

    @contextmanager
    def while_reading(self, *allowed: Path) -> Iterator[None]:
        """Only below the folders `allowed` may be written."""
        self.seen.clear()
        self._allowed = tuple(str(path.resolve()) for path in allowed)
        try:
            yield
        finally:
            self._allowed = None

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self._allowed is None:
            return
        if event == "open":
            path, _, flags = arguments
            if isinstance(flags, int) and flags & WRITING and not isinstance(path, int):
                self._check(event, path)
        elif event in CHANGES:
            self._check(event, arguments[0], *(arguments[1:] if event in ("os.remove", "os.rmdir") else ()))
            if event in ("os.rename", "os.link", "os.symlink"):
                self._check(event, arguments[1])
        elif event in NEVER:
            self.seen.append(f"{event} {str(arguments)[:200]}")
            raise PermissionError(f"{event} while a file is read")

    def _check(self, event: str, path: Any, folder: int = -1) -> None:
        beside = Path(f"/proc/self/fd/{folder}").readlink() if folder >= 0 else ""
        name = os.path.abspath(os.path.join(beside, os.fsdecode(path)))  # noqa: PTH100, PTH118 - of bytes as well.
        assert self._allowed is not None
        if name != os.devnull and not any(name == place or name.startswith(f"{place}/") for place in self._allowed):
            self.seen.append(f"{event} {name[:200]}")
            raise PermissionError(f"{event} of {name} while a file is read")


def limit_memory() -> None:
    """From here on this process gets MEMORY more, and no more."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


@contextmanager
def limited_time() -> Iterator[None]:
    """Raises TooSlowError after SECONDS; ends the process where not even that helps."""

    def ring(number: int, frame: FrameType | None) -> None:
        raise TooSlowError(f"over {SECONDS} seconds")

    assert threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGALRM, ring)
    faulthandler.dump_traceback_later(3 * SECONDS, exit=True)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        faulthandler.cancel_dump_traceback_later()
        signal.signal(signal.SIGALRM, before)
