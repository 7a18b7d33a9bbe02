"""What plugins may offer each other, by type, in ``session.services``: no plugin imports another."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from flowkit.reports import Attempt, Section
    from flowkit.values import Handle


class Continuation(Protocol):
    """The run that this one continues (``--resume``).

    Attributes:
        run: Its id.
    """

    run: str

    def key_of(self, node: str) -> str | None:
        """Return the key under which a node (full id) ended well in that run; None if it did not."""

    def covers(self, run: str) -> bool:
        """Whether that run is continued: this one, or one that it continued itself."""


class FailedBefore(Protocol):
    """What failed the last time, where that is to be run again (``--lf``)."""

    def covers(self, node: str) -> bool:
        """Whether a node (full id) is called whatever is stored."""


class Results(Protocol):
    """What is stored of results, by the key that their nodes are reported with."""

    def flush(self, *, hurry: bool) -> None:
        """Wait until all that was kept so far is on disk (or was given up); hasten that, if in a hurry."""

    def value(self, key: str) -> Handle | None:
        """Return a handle on the value under a key, or None if there is none."""


class Before(Protocol):
    """What the last runs were like."""

    def took(self, node: str) -> float | None:
        """Return the seconds a node (full id) took the last time it ran; None if nobody knows."""

    def count(self, task: str) -> int:
        """Return how many elements a mapped task (its key) had the last time; 0 if nobody knows."""


class Remembered(Before, Protocol):
    """The same, as kept results tell it: of every node that ever ended well, not of the last runs alone."""


Durations = Before


class Typical(Protocol):
    """How long the nodes of a task take."""

    def typical(self, task: str) -> float | None:
        """Return the seconds a node of a task (its key) took the last time, on average; None if nobody knows."""


class Printed(Protocol):
    """What attempts that still run have printed."""

    def size(self, attempt: Attempt) -> int:
        """Return how much that is so far: any measure that only grows."""

    def so_far(self, attempt: Attempt) -> list[Section]:
        """Return the whole lines of it, secrets masked."""


class Display(Protocol):
    """The screen, where something moves on it while a run goes on."""

    def released(self) -> AbstractContextManager[None]:
        """Leave the screen to whoever enters this, for a prompt say, until it is left."""


class Needs(Protocol):
    """What must not be swept away."""

    def keys(self) -> set[str]:
        """Return the keys of results that kept runs need to be resumed."""
