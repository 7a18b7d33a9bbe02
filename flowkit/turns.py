"""Whose turn it is: one thread at a time has the scheduler, and does the work of those that would wait for it.

A thread that waits for a lock gives up Python's own, and is woken by whoever had it, who then waits in
turn. With eight threads and short tasks that was more than one switch for each node, and a third of the
time. So a thread whose attempt ended leaves it to the one whose turn it is, and goes for other work.

Whoever has a turn has other work, too, which starts late if there is much to take in (a slow hook): after
a millisecond the rest is left to the thread that drives the run, which looks at the clock in between.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowkit.reports import Attempt

#: Seconds for which a thread takes in what others left.
PATIENCE = 0.001


class Turns:
    """The lock of a run, and the attempts that ended while it was taken.

    Args:
        take_in: Takes in one attempt that ended, and returns those to run next; None if the attempt was
            given up before. Called by the thread whose turn it is; raises nothing.
        submit: Has an attempt run elsewhere. Likewise.
        wake: Has the thread that drives the run call :meth:`catch_up`.
        now: Tells the seconds of the run's clock.
        alone: Whether one thread runs all attempts: it waits for its turn, since it has no other work,
            and nobody may take that from it.
    """

    def __init__(
        self,
        take_in: Callable[[Attempt], Sequence[Attempt] | None],
        submit: Callable[[Attempt], None],
        wake: Callable[[], None],
        now: Callable[[], float],
        *,
        alone: bool,
    ) -> None:
        self._lock = threading.Lock()
        self._ended: deque[Attempt] = deque()
        self._take_in = take_in
        self._submit = submit
        self._wake = wake
        self._now = now
        self._alone = alone

    def __enter__(self) -> None:
        """Wait for a turn."""
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        """End it; what was left meanwhile is taken in."""
        self._lock.release()
        if not self._alone:
            self.catch_up()

    @contextmanager
    def brief(self) -> Iterator[None]:
        """Have a turn in a call whose time runs already: what was left meanwhile is left to others."""
        try:
            with self._lock:
                yield
        finally:
            if self._ended and not self._alone:
                self._wake()

    def catch_up(self) -> None:
        """Take in what was left; for at most a millisecond, since signals and deadlines want the lock, too."""
        self._work_off(None)

    def ended(self, attempt: Attempt) -> Attempt | None:
        """Have an attempt that ended taken in, by this thread or by the one whose turn it is.

        Returns:
            The attempt to run next in this thread, if it was its turn. A thread that was given up gets none:
            others have its place.
        """
        self._ended.append(attempt)
        return self._work_off(attempt)

    def _work_off(self, mine: Attempt | None) -> Attempt | None:
        """Take in what there is; return what follows from the first after ``mine`` was taken in."""
        following: Attempt | None = None
        here, until, late = False, 0.0, False
        # Looks again after each turn: what came late in it found it taken, too.
        while self._ended and not late and self._lock.acquire(blocking=self._alone):
            try:
                while self._ended and not late:
                    one = self._ended.popleft()
                    started = self._take_in(one)
                    here = here or (one is mine and started is not None)
                    for other in started or ():
                        if here and following is None:
                            following = other
                        else:
                            self._submit(other)
                    if self._ended:
                        now = self._now()
                        until = until or now + PATIENCE
                        late = now > until and not self._alone
            finally:
                self._lock.release()
        if late:  # not before: whoever is woken has to find the lock free
            self._wake()
        return following
