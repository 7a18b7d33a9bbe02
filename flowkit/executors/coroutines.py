"""The one event loop of a run, for all of its ``async`` tasks and resources.

It runs in a thread of its own, started by the first coroutine: so it works the same from a
script, a thread, and a notebook that has a loop running already. The worker thread that called
the task waits, and so a coroutine takes a slot like any call.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Coroutine
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from flowkit.errors import Cancelled, FlowkitError
from flowkit.executors.starting import start
from flowkit.executors.wakes import taken
from flowkit.grace import GRACE

if TYPE_CHECKING:
    from flowkit.executors.interrupts import Interrupt


class Awaited:
    """A coroutine on the loop, for which a thread waits.

    Attributes:
        told: Whether it was told to stop.
        ended: Whether it has.
    """

    def __init__(self, coroutine: Coroutine[Any, Any, Any], loop: Any) -> None:
        self._coroutine = coroutine
        self._loop = loop
        self._task: Any = None
        #: What became of it; the first counts. None if it was stopped before it began, or left.
        self._answers: SimpleQueue[tuple[Any, BaseException | None] | None] = SimpleQueue()
        self.told = False
        self.ended = False

    def begin(self) -> None:
        """Have it run, unless it was told to stop before."""
        self._loop.call_soon_threadsafe(self._begin)

    def answer(self) -> tuple[Any, BaseException | None] | None:
        """Wait for its end, and return its result or what it raised."""
        return taken(self._answers)

    def cancel(self) -> None:
        """Tell it to stop."""
        if not self.told:
            self.told = True
            self._loop.call_soon_threadsafe(self._stop)

    def signalled(self) -> None:
        """End the wait from a signal handler."""
        raise Cancelled

    def leave(self) -> bool:
        """Have who waits for it go on without it."""
        self.told = True
        self._answers.put(None)
        return True

    def _begin(self) -> None:
        if not self.told:
            self._task = self._loop.create_task(_boxed(self._coroutine))
            self._task.add_done_callback(self._end)

    def _stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
        else:
            self._end(None)

    def _end(self, task: Any) -> None:
        self._coroutine.close()  # it may never have begun: Python complains of one that nobody awaited
        self.ended = True
        self._answers.put(None if task is None or task.cancelled() else task.result())


class EventLoop:
    """Runs coroutines on one loop."""

    def __init__(self) -> None:
        self._loop: Any = None
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._left: list[Awaited] = []

    def wait(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine on the loop and return its result.

        Raises:
            Cancelled: It was stopped.
        """
        import asyncio  # 60 ms: only a flow with coroutines pays

        from flowkit.executors.interrupts import waiting  # where the one who may stop it looks

        interrupt = waiting.get()
        try:
            loop = self._start(asyncio, interrupt)
        except FlowkitError:
            coroutine.close()  # else Python complains that nobody awaited it
            raise
        waited = Awaited(coroutine, loop)
        try:
            try:
                waited.begin()
                if interrupt is not None:
                    interrupt.waits_for(waited)
                answer = waited.answer()
            except Cancelled:  # from a signal handler, or sent just before there was what to wait for
                waited.cancel()
                answer = waited.answer()
        finally:
            if interrupt is not None:
                interrupt.waits_for(None)
        if not waited.ended:
            self._left.append(waited)
        if waited.told or answer is None:
            raise Cancelled
        value, error = answer
        if error is not None:
            raise error
        return value

    def _start(self, asyncio: Any, interrupt: Interrupt | None) -> Any:
        with self._lock:
            if self._loop is None:
                loop = asyncio.new_event_loop()
                thread = threading.Thread(target=_run, args=(loop,), name="flowkit-loop", daemon=True)
                try:
                    with interrupt.quiet if interrupt is not None else contextlib.nullcontext():
                        start(thread, "coroutines")
                except FlowkitError:
                    loop.close()
                    raise
                self._loop, self._thread = loop, thread  # not before: whoever is stopped in between leaves none that does not run
            return self._loop

    def stop(self) -> None:
        """Cancel what still runs, and end the loop and its thread; not before what was left has ended, but nobody waits for that."""
        with self._lock:
            loop, thread = self._loop, self._thread
            self._loop = self._thread = None
        if loop is None or thread is None:
            return
        import asyncio

        async def finish() -> None:
            others = [t for t in asyncio.all_tasks() if t is not asyncio.current_task()]
            for other in others:
                other.cancel()
            await asyncio.gather(*others, return_exceptions=True)
            await loop.shutdown_asyncgens()
            loop.stop()

        asyncio.run_coroutine_threadsafe(finish(), loop)
        thread.join(timeout=GRACE if all(waited.ended for waited in self._left) else 0)


async def _boxed(coroutine: Coroutine[Any, Any, Any]) -> tuple[Any, BaseException | None]:
    """Return a coroutine's result, or what it raised: past the loop, which makes other errors of some, and ends itself for others."""
    try:
        return await coroutine, None
    except BaseException as error:
        return None, error


def _run(loop: Any) -> None:
    """Run a loop until it is told to stop: a task that exits (``sys.exit()``) ends itself, not all others, too."""
    while True:
        try:
            loop.run_forever()
            break
        except (SystemExit, KeyboardInterrupt):
            pass  # whoever waits for that task gets it
    loop.close()
