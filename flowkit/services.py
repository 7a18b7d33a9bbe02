"""What plugins may offer each other, by type, in ``session.services``: no plugin imports another."""

from __future__ import annotations

from typing import Protocol


class Continuation(Protocol):
    """The run that this one continues (``--resume``).

    Attributes:
        run: Its id.
    """

    run: str

    def key_of(self, node: str) -> str | None:
        """Return the key under which a node (full id) ended well in that run; None if it did not."""


class Before(Protocol):
    """What the last runs were like."""

    def took(self, node: str) -> float | None:
        """Return the seconds a node (full id) took the last time it ran; None if nobody knows."""

    def count(self, task: str) -> int:
        """Return how many elements a mapped task (its key) had the last time; 0 if nobody knows."""


Durations = Before


class Needs(Protocol):
    """What must not be swept away."""

    def keys(self) -> set[str]:
        """Return the keys of results that kept runs need to be resumed."""
