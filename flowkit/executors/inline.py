"""Executor ``inline``: in the thread that drives the run, one at a time."""

from __future__ import annotations

from collections import deque

from flowkit.executors import Call, Done
from flowkit.executors.interrupts import Interrupt
from flowkit.executors.wakes import Wakes
from flowkit.reports import Attempt


class InlineExecutor:
    """Runs attempts where the run is driven.

    What is stuck in C code cannot be interrupted here: it ends when it ends.
    """

    name = "inline"
    slots = 1
    busy = True

    def __init__(self) -> None:
        self._queue: deque[Attempt] = deque()
        self._wakes = Wakes()
        self._interrupt = Interrupt()
        self._call: Call | None = None
        self._done: Done | None = None
        self.running: Attempt | None = None

    def start(self, call: Call, done: Done) -> None:
        """See :class:`Executor`."""
        self._call, self._done = call, done

    def submit(self, attempt: Attempt) -> None:
        """See :class:`Executor`."""
        self._queue.append(attempt)

    def wait(self, timeout: float | None) -> None:
        """Run attempts until none is left; with none at all, sleep."""
        call, done = self._call, self._done
        assert call is not None  # started before anything is submitted
        assert done is not None  # likewise
        if not self._queue:
            self._wakes.wait(timeout)
            return
        attempt: Attempt | None = self._queue.popleft()
        while attempt is not None:
            self.running = attempt
            call(attempt, self._interrupt)
            attempt = done(attempt)
            self.running = None
            if attempt is None and self._queue:
                attempt = self._queue.popleft()

    def wake(self) -> None:
        """See :class:`Executor`."""
        self._wakes.wake()

    def cancel(self, attempt: Attempt) -> None:
        """Interrupt the attempt if it is the one that runs."""
        if self.running is attempt:
            self._interrupt.send()

    def signalled(self) -> None:
        """Called by a signal handler in the thread that drives the run: stop the call it interrupted.

        An exception from a handler ends even a sleep; one sent from another thread waits for it.

        Raises:
            Cancelled: A call is running here.
        """
        attempt = self.running
        if attempt is not None and self._interrupt.armed:
            attempt.note = attempt.note or "cancel"
            self._interrupt.signalled()

    def abandon(self, attempt: Attempt) -> bool:
        """What runs in the thread that drives the run cannot be left behind; a coroutine does not run there."""
        return self.running is attempt and self._interrupt.leave()

    def stop(self) -> None:
        """Nothing to end."""
