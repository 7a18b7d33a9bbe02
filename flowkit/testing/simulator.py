"""The simulated executor: N virtual workers in one thread, under the ordinary runner.

A task's function is called when the attempt is dispatched; its end comes when virtual time has
reached it. Time moves only when nothing can be dispatched or end, and then to the next end or
deadline. What comes first of all that may happen now is a choice, drawn from outside.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

from flowkit.executors import Call, Done
from flowkit.executors.interrupts import Interrupt
from flowkit.reports import Attempt
from flowkit.testing.clock import VirtualClock
from flowkit.worker import timed_out


class Choices(Protocol):
    """Where choices come from: a seeded random source, or hypothesis."""

    def choose(self, count: int) -> int:
        """Return a number from 0 to ``count`` - 1; 0 is the simplest choice."""


class First:
    """Always the first: definition order."""

    def choose(self, count: int) -> int:
        """Return 0."""
        return 0


class Simulator:
    """An executor in virtual time.

    Args:
        clock: The clock it moves.
        slots: How many virtual workers there are.
        choices: What decides among equals.
        lasts: How long a call took, in virtual seconds; ``inf`` for one that hangs. Asked after it was made.
    """

    name = "simulated"
    busy = False  # in virtual time a call takes none: a deadline is met between calls

    def __init__(
        self,
        clock: VirtualClock,
        slots: int = 4,
        *,
        choices: Choices | None = None,
        lasts: Callable[[Attempt], float] = lambda attempt: 0.0,
    ) -> None:
        self.slots = slots
        self.running: list[tuple[float, Attempt]] = []
        self._clock = clock
        self._choices = choices or First()
        self._lasts = lasts
        self._submitted: deque[Attempt] = deque()
        self._interrupt = Interrupt()
        self._call: Call | None = None
        self._done: Done | None = None

    def start(self, call: Call, done: Done) -> None:
        """See :class:`flowkit.executors.Executor`."""
        self._call, self._done = call, done

    def submit(self, attempt: Attempt) -> None:
        """See :class:`flowkit.executors.Executor`."""
        self._submitted.append(attempt)

    def wait(self, timeout: float | None) -> None:
        """Dispatch what was submitted, or let a call end; with neither, let time pass."""
        now = self._clock.now()
        due = [entry for entry in self.running if entry[0] <= now]
        ready = [attempt for attempt in self._submitted if not self._is_late(attempt)]
        if not ready and not due:
            ready = list(self._submitted)
        count = len(ready) + len(due)
        if count:
            pick = self._choices.choose(count) if count > 1 else 0
            if pick >= len(ready):
                self._end(due[pick - len(ready)])
                return
            self._submitted.remove(ready[pick])
            self._dispatch(ready[pick])
            return
        limit = float("inf") if timeout is None else now + timeout
        until = min(limit, min((end for end, _ in self.running), default=float("inf")))
        if until == float("inf"):
            raise Stuck(f"nothing will ever happen: {', '.join(a.node for _, a in self.running) or 'nothing runs'}")
        self._clock.advance_to(until)

    def _is_late(self, attempt: Attempt) -> bool:
        """Whether a call waits for as long as anything else can happen now."""
        return False

    def _dispatch(self, attempt: Attempt) -> None:
        assert self._call is not None  # started before anything is submitted
        started = self._clock.now()
        self._call(attempt, self._interrupt)
        self.running.append((started + self._lasts(attempt), attempt))

    def _end(self, entry: tuple[float, Attempt]) -> None:
        self.running.remove(entry)
        attempt = entry[1]
        attempt.ended_at = self._clock.now()
        assert self._done is not None  # as above
        following = self._done(attempt)
        if following is not None:
            self._submitted.appendleft(following)

    def wake(self) -> None:
        """Nobody sleeps here."""

    def cancel(self, attempt: Attempt) -> None:
        """The call ends now, as what it was told to end as."""
        for position, (_, running) in enumerate(self.running):
            if running is attempt:
                attempt.value = None
                attempt.kind = "cancelled" if attempt.note == "cancel" else "timeout"
                attempt.error = None if attempt.note == "cancel" else timed_out(attempt)
                self.running[position] = (self._clock.now(), attempt)

    def abandon(self, attempt: Attempt) -> bool:
        """A simulated call always stops when it is told to."""
        return False

    def stop(self) -> None:
        """Nothing to end."""


class Stuck(Exception):
    """The simulation cannot go on: a call hangs and nothing will ever stop it."""
