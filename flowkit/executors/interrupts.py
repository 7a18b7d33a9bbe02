"""Stopping a call that runs in a thread: an exception thrown in at the next byte code.

The signal is a ``BaseException``, so a broad ``except Exception`` does not swallow it. It can
arrive anywhere, so it is only ever sent while the user's code is under :meth:`Interrupt.guard`,
and whatever was sent has arrived or is taken back before the guard is left.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from flowkit.errors import Cancelled

#: Through what the call in this thread can be stopped; set while it is under its guard.
waiting: ContextVar[Interrupt | None] = ContextVar("flowkit_interrupt", default=None)


class Interrupt:
    """The one per worker thread through which its calls can be stopped."""

    __slots__ = ("_armed", "_ident", "_lock", "_sent", "future")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._armed = False
        self._sent = False
        self._ident = 0
        #: What the call waits for on the event loop, if it is a coroutine.
        self.future: Any = None

    def guard(self, call: Callable[..., Any], *arguments: Any) -> Any:
        """Call, and let :meth:`send` stop it.

        Raises:
            Cancelled: It was stopped, or had been told to stop when it returned.
        """
        self._ident = threading.get_ident()
        waiting.set(self)
        with self._lock:
            self._sent = False  # what stopped the call before this one
            self._armed = True
        try:
            value = call(*arguments)
            self._disarm()
        except BaseException:
            # The signal may arrive here, too, but only once: what it interrupts is done again.
            try:
                self._disarm()
            except Cancelled:
                self._disarm()
                raise
            raise
        if self._sent:
            raise Cancelled
        return value

    @property
    def armed(self) -> bool:
        """Whether a call is under the guard."""
        return self._armed

    def _disarm(self) -> None:
        with self._lock:
            self._armed = False
            if self._sent:
                _set_async_exception(self._ident, None)

    def send(self) -> bool:
        """Stop the call that is under the guard; return whether there was one."""
        future = self.future
        if future is not None:
            future.cancel()
            return True
        with self._lock:
            if not self._armed or self._sent:
                return False
            self._sent = True
            _set_async_exception(self._ident, Cancelled)
            return True


def _set_async_exception(ident: int, kind: type[BaseException] | None) -> None:
    import ctypes  # 4 ms, and only a call that is stopped needs it

    ctypes.pythonapi.PyThreadState_SetAsyncExc(
        ctypes.c_ulong(ident), ctypes.py_object(kind) if kind is not None else None
    )
