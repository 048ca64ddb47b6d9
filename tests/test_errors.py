"""What messages quote is untrusted."""

import pickle

from fader.errors import UserError, printable


def test_messages_cannot_steer_a_terminal_and_survive_processes() -> None:
    error = UserError("a\x1b[2J\nb\udc80.jpg: no such file, já")
    assert str(error) == "a\\x1b[2J\\nb\\udc80.jpg: no such file, já"
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    assert printable("plain text") == "plain text"
