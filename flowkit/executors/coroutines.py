"""The one event loop of a run, for all of its ``async`` tasks and resources.

It runs in a thread of its own, started by the first coroutine: so it works the same from a
script, a thread, and a notebook that has a loop running already. The worker thread that called
the task waits, and so a coroutine takes a slot like any call.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from flowkit.errors import Cancelled, FlowkitError
from flowkit.executors.starting import start

if TYPE_CHECKING:
    from flowkit.executors.interrupts import Interrupt


class EventLoop:
    """Runs coroutines on one loop."""

    def __init__(self) -> None:
        self._loop: Any = None
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def wait(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine on the loop and return its result.

        Raises:
            Cancelled: It was stopped.
        """
        import asyncio  # 60 ms: only a flow with coroutines pays
        import concurrent.futures

        from flowkit.executors.interrupts import waiting  # where the one who may stop it looks

        interrupt = waiting.get()
        try:
            loop = self._start(asyncio, interrupt)
        except FlowkitError:
            coroutine.close()  # else Python complains that nobody awaited it
            raise
        future = asyncio.run_coroutine_threadsafe(_told_apart(coroutine, asyncio), loop)
        if interrupt is not None:
            interrupt.future = future
        try:
            value, cancelled = future.result()
        except concurrent.futures.CancelledError:
            raise Cancelled from None
        except Cancelled:
            future.cancel()
            raise
        finally:
            if interrupt is not None:
                interrupt.future = None
        if cancelled is not None:
            raise cancelled
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
        """Cancel what still runs, and end the loop and its thread."""
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
        thread.join(timeout=5)
        if not thread.is_alive():
            loop.close()


async def _told_apart(coroutine: Coroutine[Any, Any, Any], asyncio: Any) -> tuple[Any, BaseException | None]:
    """Return a coroutine's result, or the cancellation that it raised by itself: of ours nobody sees the result."""
    try:
        return await coroutine, None
    except asyncio.CancelledError as error:
        return None, error


def _run(loop: Any) -> None:
    """Run a loop until it is told to stop: a task that exits (``sys.exit()``) ends itself, not all others, too."""
    while True:
        try:
            loop.run_forever()
            return
        except (SystemExit, KeyboardInterrupt):
            pass  # whoever waits for that task gets it
