"""Progress is silent in a pipe, and shows names as they are."""

import subprocess
import sys

CODE = """
from fader.progress import progress, say
with progress("train [red]", 3) as bar:
    for _ in range(3):
        bar.advance(1, "loss [bold]")
say("epoch [1]: done")
"""


def test_in_a_pipe_only_what_is_said_is_written_and_to_standard_error() -> None:
    result = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    assert result.stdout == ""
    assert result.stderr == "epoch [1]: done\n"


def test_in_a_terminal_a_bar_is_drawn_with_names_as_they_are() -> None:
    written = in_a_terminal(CODE)
    assert b"train [red]" in written
    assert b"loss [bold]" in written
    assert b"3/3" in written


def test_a_bar_of_another_process_is_not_shown() -> None:
    written = in_a_terminal(CODE.replace("3)", "3, shown=False)", 1))
    assert b"train" not in written
    assert b"epoch [1]: done" in written


def in_a_terminal(code: str) -> bytes:
    import os
    import pty

    parent, child = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120"}
    process = subprocess.Popen([sys.executable, "-c", code], stderr=child, env=environment)
    os.close(child)
    written = b""
    while True:
        try:
            part = os.read(parent, 65536)
        except OSError:  # How a pseudo-terminal says that the other end is closed.
            break
        if not part:
            break
        written += part
    os.close(parent)
    assert process.wait() == 0
    return written
