"""How threads of a run sleep until something happens, and hear signals in their sleep.

Python runs handlers of signals in the main thread. One that arrives between its last look for them
and its sleep, or that the system hands to another thread, does not end the sleep: Ctrl-C would do
nothing until something else happens. So a sleeper looks up now and then.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TypeVar

T = TypeVar("T")

#: Seconds after which a sleeper looks up.
LOOKS_UP = 0.25


class Wakes:
    """Wakes from any thread, and from signal handlers, for one thread that waits."""

    def __init__(self) -> None:
        self._wakes: SimpleQueue[None] = SimpleQueue()

    def wait(self, timeout: float | None) -> None:
        """Return when :meth:`wake` was called since the last wait, after ``timeout`` seconds, or having looked up."""
        with suppress(Empty):
            self._wakes.get(timeout=LOOKS_UP if timeout is None else min(timeout, LOOKS_UP))

    def wake(self) -> None:
        """Have :meth:`wait` return."""
        self._wakes.put(None)


def taken(queue: SimpleQueue[T]) -> T:
    """Wait for what comes through a queue, and return it."""
    while threading.current_thread() is threading.main_thread():
        with suppress(Empty):
            return queue.get(timeout=LOOKS_UP)
    return queue.get()
