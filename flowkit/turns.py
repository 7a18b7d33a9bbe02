"""Whose turn it is: one thread at a time has the scheduler, and does the work of those that would wait for it.

A thread that waits for a lock gives up Python's own, and is woken by whoever had it, who then waits in
turn. With eight threads and short tasks that was more than one switch for each node, and a third of the
time. So a thread whose attempt ended leaves it to the one whose turn it is, and goes for other work.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence

from flowkit.reports import Attempt


class Turns:
    """The lock of a run, and the attempts that ended while it was taken.

    Args:
        take_in: Takes attempts that ended out of the queue, and returns those to run next. Called by the
            thread whose turn it is; raises nothing.
        submit: Has an attempt run elsewhere. Likewise.
        alone: Whether one thread runs all attempts: it waits for its turn, since it has no other work,
            and nobody may take that from it.
    """

    def __init__(
        self,
        take_in: Callable[[deque[Attempt]], Sequence[Attempt]],
        submit: Callable[[Attempt], None],
        *,
        alone: bool,
    ) -> None:
        self._lock = threading.Lock()
        self._ended: deque[Attempt] = deque()
        self._take_in = take_in
        self._submit = submit
        self._alone = alone

    def __enter__(self) -> None:
        """Wait for a turn."""
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        """End it, unless there are attempts left by those who found it taken."""
        self._lock.release()
        if not self._alone:
            self._catch_up(here=False)

    def ended(self, attempt: Attempt) -> Attempt | None:
        """Have an attempt that ended taken in; return one to run next in this thread, if it was its turn."""
        self._ended.append(attempt)
        return self._catch_up(here=True)

    def _catch_up(self, *, here: bool) -> Attempt | None:
        """Take in what ended. Looks again after each turn: what came late in it found it taken, too."""
        following: Attempt | None = None
        while self._ended and self._lock.acquire(blocking=self._alone):
            try:
                for attempt in self._take_in(self._ended):
                    if here and following is None:
                        following = attempt
                    else:
                        self._submit(attempt)
            finally:
                self._lock.release()
        return following
