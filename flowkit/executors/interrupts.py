"""Stopping a call that runs in a thread: an exception thrown in at the next byte code.

The signal is a ``BaseException``, so a broad ``except Exception`` does not swallow it. It can
arrive anywhere, so it is only ever sent while the user's code is under :meth:`Interrupt.guard`,
and whatever was sent has arrived or is taken back before the guard is left.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, Protocol

from flowkit.errors import Cancelled

#: Turns of an empty loop after which a signal has surely arrived: one would do.
_CHECKS = 16

#: Through what the call in this thread can be stopped; set while it is under its guard.
waiting: ContextVar[Interrupt | None] = ContextVar("flowkit_interrupt", default=None)


class Waited(Protocol):
    """What a call waits for where nothing can be thrown in: a coroutine, or a run of its own."""

    def cancel(self) -> None:
        """Tell it to stop; then the wait ends."""

    def signalled(self) -> None:
        """Stop what the thread does in which a signal handler runs, which is the one that waits."""

    def leave(self) -> bool:
        """Have who waits go on without it; return whether that can be."""


class Interrupt:
    """The one per worker thread through which its calls can be stopped."""

    __slots__ = ("_armed", "_ident", "_lock", "_sent", "_waited")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._armed = False
        self._sent = False
        self._ident = 0
        #: What the call waits for, if that can be told to stop.
        self._waited: Waited | None = None

    def guard(self, call: Callable[..., Any], *arguments: Any) -> Any:
        """Call, and let :meth:`send` stop it.

        Raises:
            Cancelled: It was stopped, or had been told to stop when it returned.
        """
        self._ident = threading.get_ident()
        waiting.set(self)
        with self._lock:
            self._sent = False  # what stopped the call before this one
            self._waited = None
            self._armed = True
        try:
            try:
                value = call(*arguments)
            finally:
                self._disarm()
        except BaseException as error:
            if self._sent and not isinstance(error, Cancelled):
                raise Cancelled from error  # what came of being stopped
            raise
        if self._sent:
            raise Cancelled
        return value

    @property
    def quiet(self) -> threading.Lock:
        """Nothing is sent while this is held.

        For who starts a thread within a call: up to Python 3.12 a thread bears its parent's number until it
        runs, and would be stopped in its stead, upon which the parent waits for good.
        """
        return self._lock

    @property
    def armed(self) -> bool:
        """Whether a call is under the guard."""
        return self._armed

    @property
    def guards_this(self) -> bool:
        """Whether this is within the call that is under the guard."""
        return self._armed and self._ident == threading.get_ident()

    def _disarm(self) -> None:
        """Leave the guard: a signal that was sent has arrived when this returns, and none is sent any more.

        It is not taken back with ``PyThreadState_SetAsyncExc(ident, NULL)``: on 3.11 that leaves the
        interpreter's "something is pending" mark set for good, which slows every call and hangs
        the first one that is made under a tracer or profiler.
        """
        try:
            with self._lock:
                self._armed = False
            for _ in range(_CHECKS):
                pass  # each turn looks for signals
        except Cancelled:
            with self._lock:
                self._armed = False  # it may have come before that

    def send(self) -> bool:
        """Stop the call that is under the guard; return whether there was one."""
        with self._lock:
            if not self._armed or self._sent:
                return False
            if self._waited is not None:
                self._waited.cancel()
                return True
            self._sent = True
            _set_async_exception(self._ident, Cancelled)
            return True

    def waits_for(self, waited: Waited | None) -> None:
        """Note what this thread waits for, or that it does no longer.

        Under the lock: what :meth:`send` throws in is there before the wait begins, or tells what is waited for.
        """
        with self._lock:
            self._waited = waited

    def signalled(self) -> None:
        """Stop the call under the guard from a signal handler in its own thread.

        Raises:
            Cancelled: To the call.
        """
        if self._waited is None:
            raise Cancelled
        self._waited.signalled()

    def leave(self) -> bool:
        """Have this thread go on without what it waits for; return whether that can be."""
        waited = self._waited
        return waited is not None and waited.leave()


def _set_async_exception(ident: int, kind: type[BaseException]) -> None:
    import ctypes  # 4 ms, and only a call that is stopped needs it

    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(ident), ctypes.py_object(kind))
