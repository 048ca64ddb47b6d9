"""Errors of the user's, as tests look at them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fader.errors import UserError


def refusal(call: Callable[[], Any]) -> str:
    """The message of the UserError that a call raises: one sentence on one line."""
    with pytest.raises(UserError) as caught:
        call()
    message = str(caught.value)
    assert message.endswith(".")
    assert "\n" not in message
    return message
