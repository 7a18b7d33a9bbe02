"""The one door to time. Every retry, timeout, expiry, lease and duration goes through a Clock."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """What the engine asks of time."""

    def now(self) -> float:
        """Return the run clock, in seconds; it never goes back. Its zero means nothing."""

    def wall(self) -> datetime:
        """Return the time of day, in UTC."""

    def timestamp(self) -> float:
        """Return the same as seconds since the epoch, for a tenth of the time."""


class SystemClock:
    """Real time."""

    now = staticmethod(time.monotonic)
    timestamp = staticmethod(time.time)

    def wall(self) -> datetime:
        """Return the time of day, in UTC."""
        return datetime.now(UTC)
