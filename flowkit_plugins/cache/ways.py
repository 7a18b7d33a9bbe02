"""The way to a value that a handle takes while the value is on its way to the store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flowkit_plugins.cache.keeping import Keeping

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
