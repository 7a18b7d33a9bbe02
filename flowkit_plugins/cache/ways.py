"""The ways to a value that handles take: from the store, or from memory until it is there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flowkit_plugins.cache.keeping import Keeping
    from flowkit_plugins.cache.traces import Trace


class Stored:
    """The way to a stored value. A third of the size of a partial, and there is one for each node."""

    __slots__ = ("_reuse", "_trace")

    def __init__(self, reuse: Keeping, trace: Trace) -> None:
        self._reuse = reuse
        self._trace = trace

    def __call__(self) -> object:
        """Fetch it."""
        return self._reuse.value(self._trace)


_ON_DISK: Any = object()


class Held:
    """A value until it is on disk, and from then on the way to it."""

    __slots__ = ("_key", "_reuse", "_value")

    def __init__(self, reuse: Keeping, key: str, value: object) -> None:
        self._reuse = reuse
        self._key = key
        self._value = value

    def __call__(self) -> object:
        """Return it, fetched if it is no longer here."""
        value = self._value
        return self._reuse.fetch(self._key) if value is _ON_DISK else value

    def settled(self) -> None:
        """It is on disk, or cannot get there."""
        if self._reuse.stored(self._key):
            self._value = _ON_DISK
