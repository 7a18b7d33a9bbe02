"""Where a value is written to in order to be digested, and how one is noticed that has no end.

Without a memo, a value whose parts are shared is written out as often as they are reached: sixty
lists, each holding the one before twice, would take until the sun goes out.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final, Protocol

from flowkit.digesters import TELL, learn
from flowkit.filefacts import HEX_CHARACTERS

if TYPE_CHECKING:
    from collections.abc import Callable

FIRST_LOOK: Final = 4 * 2**20
LONGEST_LOOK: Final = 64 * 2**20
ENDLESS: Final = 8 * 2**30
"""Bytes after which, and for which, a stream is watched for sharing; and when patience ends."""

HEAVILY_SHARED: Final = 8
"""How often objects must have been met on average to call a value heavily shared."""


class Watched(Protocol):
    """A pickler that looks up in ``table`` how objects are told."""

    table: dict[type, Any]


class HeavilyShared(Exception):
    """The value seems to hold the same things over and over."""


class Sink:
    """Where the pickler writes to: hashes and counts."""

    __slots__ = ("_update", "seen", "size")

    def __init__(self) -> None:
        self.seen = hashlib.sha256()
        self.size = 0
        self._update = self.seen.update

    def write(self, data: Any) -> None:
        """Take a piece of the stream, as a file would."""
        self.size += len(data)
        self._update(data)

    def hex(self) -> str:
        """Return the digest of what was written."""
        return self.seen.hexdigest()[:HEX_CHARACTERS]


class WatchfulSink(Sink):
    """Notices a value that would take for ever, as each of its parts is there a million times.

    Now and then it has a stretch of the stream watched (see :class:`_Watch`), the first time after
    4 MiB and then whenever twice as much was written. So a value without shared parts costs hardly
    more, and it depends on nothing but the value how it is told.
    """

    __slots__ = ("_next", "_pickler", "_watch")

    def __init__(self) -> None:
        super().__init__()
        self._next = FIRST_LOOK
        self._watch: _Watch | None = None
        self._pickler: Watched

    def attach(self, pickler: Watched) -> None:
        """Tell whose stream it is, which does not exist before its sink."""
        self._pickler = pickler

    def write(self, data: Any) -> None:
        """Take a piece of the stream; raise :class:`HeavilyShared` when it will never end."""
        # Pickle writes frames of 64 KiB; anything longer is one large string or buffer.
        self.size += min(len(data), 65536)
        self._update(data)
        if self.size < self._next:
            return
        if self._watch is None:
            self._watch = self._pickler.table = _Watch()
            self._next += min(self.size // 4, LONGEST_LOOK)
        elif self._watch.is_shared() or self.size > ENDLESS:
            raise HeavilyShared
        else:
            self._watch, self._pickler.table = None, TELL
            self._next = self.size * 2


class _Watch(dict[type, Any]):
    """Stands in for the table of types for a while, and counts how often it meets each object."""

    def __init__(self) -> None:
        super().__init__(dict.fromkeys((type(None), bool, int, float, str, bytes)))
        # Containers and instances apart: an instance is always written with fresh containers.
        self._met: tuple[dict[int, object], dict[int, object]] = ({}, {})
        self._visits = [0, 0]

    def __missing__(self, cls: type) -> Callable[[Any, Any], Any] | None:
        tell = TELL[cls] if cls in TELL else learn(cls)
        if issubclass(cls, type):
            return tell
        kind = int(cls not in (dict, list, tuple))

        def count(run: Any, value: Any) -> Any:
            if kind or value:  # there is but one empty tuple
                self._visits[kind] += 1
                self._met[kind][id(value)] = value  # kept, lest the id is given to another
            return None if tell is None else tell(run, value)

        self[cls] = count
        return count

    def is_shared(self) -> bool:
        """Return whether most of what was met had been met before, many times."""
        few = sum(self._visits) // 10
        return any(
            visits > few and visits > HEAVILY_SHARED * len(met)
            for visits, met in zip(self._visits, self._met, strict=True)
        )
