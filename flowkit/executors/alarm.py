"""Lets time pass for a run whose own thread is busy with a call, as it is under ``inline``.

The thread that drives a run wakes for deadlines. If it makes the calls as well, it cannot: then
this does, from a thread of its own, for as long as the run has deadlines to keep.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from flowkit.executors.starting import start


class Alarm:
    """Calls ``tick`` when it is time.

    Args:
        patience: Says in how many seconds that is; None for not yet.
        tick: Called from the alarm's thread.
        needed: Whether the run's own thread may be busy; else there is nothing to do here.
    """

    def __init__(self, patience: Callable[[], float | None], tick: Callable[[], None], *, needed: bool) -> None:
        self._patience = patience
        self._tick = tick
        self._needed = needed
        self._changed = threading.Event()
        self._thread: threading.Thread | None = None
        self._stopped = False

    def start(self) -> None:
        """Begin, if that has not happened, and ask ``patience`` again."""
        self.changed()
        if self._needed and self._thread is None:
            thread = threading.Thread(target=self._run, name="flowkit-alarm", daemon=True)
            start(thread, "deadlines")
            self._thread = thread

    def changed(self) -> None:
        """Ask ``patience`` again."""
        self._changed.set()

    def stop(self) -> None:
        """End, and wait for the thread."""
        self._stopped = True
        self._changed.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._stopped:
            early = self._changed.wait(self._patience())
            self._changed.clear()
            if not early and not self._stopped:
                self._tick()
