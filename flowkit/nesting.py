"""A run inside a call of another (``flowkit.run()`` in a task): who stops the call stops the run.

The thread that makes the call drives the inner run, and sleeps where nothing can be thrown in. So it is
the inner run that is told: its calls are cancelled, then its resources are torn down, and then the outer
call ends as stopped.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from flowkit.errors import Cancelled
from flowkit.executors.interrupts import waiting

if TYPE_CHECKING:
    from flowkit.runner import Runner


class _Inner:
    """A run for which a call of another waits. See :class:`flowkit.executors.interrupts.Waited`."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self.told = False

    def cancel(self) -> None:
        if not self.told:
            self.told = True
            self._runner.interrupt()

    def signalled(self) -> None:
        signalled = getattr(self._runner.executor, "signalled", None)
        if signalled is not None:
            signalled()

    def leave(self) -> bool:
        return False


@contextmanager
def stoppable(runner: Runner) -> Iterator[None]:
    """Have whoever stops the call that this is in, if it is in one, stop the run.

    Raises:
        Cancelled: That happened.
    """
    outer = waiting.get()
    if outer is None or not outer.guards_this:
        yield
        return
    inner = _Inner(runner)
    outer.waits_for(inner)
    try:
        yield
    finally:
        waiting.set(outer)  # the inner run's calls may have been made in this thread, too
        outer.waits_for(None)
        if inner.told:
            raise Cancelled
