"""Where calls run. Executors are interchangeable: one suite of tests holds for all of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from flowkit.executors.interrupts import Interrupt
from flowkit.reports import Attempt

#: Makes the call of an attempt and fills in how it ended.
Call = Callable[[Attempt, Interrupt], None]
#: Keeps what an attempt gave, tells the runner, and returns the attempt to go on with, or None.
Done = Callable[[Attempt], Attempt | None]


class Executor(Protocol):
    """A place where attempts run.

    The runner never submits more attempts than there are slots. Whoever runs an attempt makes the
    ``call``, then says ``done``, and goes on with what that returns: so a chain of nodes needs no
    hand-over between threads.

    Attributes:
        name: As ``--executor`` names it.
        slots: How many attempts may run at once.
        busy: Whether attempts run in :meth:`wait`, so that it may return long after its timeout.
    """

    name: str
    slots: int
    busy: bool

    def start(self, call: Call, done: Done) -> None:
        """Get ready to run attempts."""

    def submit(self, attempt: Attempt) -> None:
        """Have an attempt run. Called under the run's lock; returns at once."""

    def wait(self, timeout: float | None) -> None:
        """Return when something was reported, when :meth:`wake` was called, or after ``timeout`` seconds at the latest.

        Called by the thread that drives the run, again and again until the run is over. An
        executor that has no thread of its own runs attempts here.
        """

    def wake(self) -> None:
        """Have :meth:`wait` return. Called from any thread, and from signal handlers."""

    def cancel(self, attempt: Attempt) -> None:
        """Ask a running attempt to stop. It may take a while, or never."""

    def abandon(self, attempt: Attempt) -> bool:
        """Go on without an attempt that does not stop; return whether it was left behind, still running."""

    def stop(self) -> None:
        """End. Nothing is running any more but what was abandoned; leave no thread behind."""
