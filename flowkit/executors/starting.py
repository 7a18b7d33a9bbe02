"""Threads that the system refuses to start: a clear error instead of a run that waits for ever."""

from __future__ import annotations

import threading

from flowkit.errors import FlowkitError


def start(thread: threading.Thread, what: str) -> None:
    """Start a thread.

    Raises:
        FlowkitError: The system has no more; says what it was for.
    """
    try:
        thread.start()
    except RuntimeError as error:
        raise FlowkitError(f"no thread can be started for {what} ({error}): raise the limit of the system") from error
