"""Executor ``threads``: a pool that can lose a stuck thread and go on."""

from __future__ import annotations

import threading
from queue import SimpleQueue

from flowkit.errors import FlowkitError
from flowkit.executors import Call, Done
from flowkit.executors.interrupts import Interrupt
from flowkit.executors.starting import start
from flowkit.executors.wakes import Wakes
from flowkit.reports import Attempt


class _Thread(threading.Thread):
    """A worker thread and what it works on."""

    def __init__(self, pool: ThreadExecutor, number: int) -> None:
        super().__init__(name=f"flowkit-{number}", daemon=True)
        self.pool = pool
        self.interrupt = Interrupt()
        self.attempt: Attempt | None = None
        self.abandoned = False

    def run(self) -> None:
        call, done, queue = self.pool.call, self.pool.done, self.pool.queue
        assert call is not None  # started before anything is submitted
        assert done is not None  # likewise
        while self._goes_on():
            attempt = queue.get()
            if attempt is None:
                return
            while attempt is not None:
                self.attempt = attempt
                call(attempt, self.interrupt)
                attempt = done(attempt)  # none for a thread that was given up

    def _goes_on(self) -> bool:
        """Whether this thread is still wanted: then it counts as idle, and cannot be given up any more."""
        with self.pool.counting:
            self.attempt = None
            self.pool.idle += not self.abandoned
            return not self.abandoned


class ThreadExecutor:
    """Runs attempts in daemon threads, started as they are needed.

    Args:
        slots: How many threads at the most.
    """

    name = "threads"
    busy = False

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self.call: Call | None = None
        self.done: Done | None = None
        self.queue: SimpleQueue[Attempt | None] = SimpleQueue()
        #: Threads that wait for an attempt, less the attempts that wait for a thread.
        self.idle = 0
        self.counting = threading.Lock()
        self._threads: list[_Thread] = []
        self._wakes = Wakes()
        self._count = 0

    def start(self, call: Call, done: Done) -> None:
        """See :class:`Executor`."""
        self.call, self.done = call, done

    def submit(self, attempt: Attempt) -> None:
        """Hand an attempt to a thread, a new one if none is free and the pool is not full."""
        with self.counting:
            self.idle -= 1
            short = self.idle < 0
        if short and len(self._threads) < self.slots:
            self._spawn()
        self.queue.put(attempt)

    def _spawn(self) -> None:
        """Start a thread. Where the system has no more, those there are will do."""
        thread = _Thread(self, self._count + 1)
        try:
            start(thread, "calls")
        except FlowkitError:
            if not self._threads:
                raise
            return
        self._count += 1
        self._threads.append(thread)

    def wait(self, timeout: float | None) -> None:
        """See :class:`Executor`."""
        self._wakes.wait(timeout)

    def wake(self) -> None:
        """See :class:`Executor`."""
        self._wakes.wake()

    def cancel(self, attempt: Attempt) -> None:
        """Interrupt the thread that runs the attempt."""
        for thread in self._threads:
            if thread.attempt is attempt:
                thread.interrupt.send()

    def abandon(self, attempt: Attempt) -> bool:
        """Go on without the thread that is stuck in the attempt: a fresh one takes its place. One that waits for a coroutine goes on."""
        with self.counting:
            for thread in self._threads:
                if thread.attempt is attempt:
                    if not thread.interrupt.leave():
                        thread.abandoned = True
                        self._threads.remove(thread)
                    return True
        return False

    def stop(self) -> None:
        """End the threads and wait for them; one that is stuck was abandoned before."""
        for _ in self._threads:
            self.queue.put(None)
        for thread in self._threads:
            thread.join()
        self._threads.clear()
