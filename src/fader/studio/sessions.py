"""What visitors have open, in memory alone and bounded: the least recently used gives way."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from typing import Generic, TypeVar

T = TypeVar("T")


class Sessions(Generic[T]):
    """Things under names that cannot be guessed. A visitor whose thing has given way is to bring it again."""

    def __init__(self, most: int, most_bytes: int) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self._bytes = 0
        self._things: OrderedDict[str, tuple[T, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._things)

    def put(self, thing: T, size: int) -> str:
        """Keep a thing of so many bytes, and return its name. It is kept even if it is too large by itself."""
        name = secrets.token_urlsafe(16)
        self._things[name] = thing, size
        self._bytes += size
        while len(self._things) > 1 and (len(self._things) > self._most or self._bytes > self._most_bytes):
            self.drop(next(iter(self._things)))
        return name

    def get(self, name: object) -> T | None:
        """The thing of this name, or None if there is none any more."""
        if not isinstance(name, str) or name not in self._things:
            return None
        self._things.move_to_end(name)
        return self._things[name][0]

    def drop(self, name: object) -> None:
        """Forget a thing, if it is there."""
        if isinstance(name, str) and name in self._things:
            self._bytes -= self._things.pop(name)[1]
