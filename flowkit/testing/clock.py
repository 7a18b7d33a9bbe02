"""Virtual time: it stands still while anything can run, and then jumps to the next moment that matters."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


class VirtualClock:
    """A clock that only the simulator moves.

    Args:
        start: The time of day at zero.
    """

    def __init__(self, start: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self.start = start
        self._now = 0.0
        self._shift = 0.0

    def now(self) -> float:
        """Return the seconds since the clock was made."""
        return self._now

    def wall(self) -> datetime:
        """Return the time of day, in UTC."""
        return self.start + timedelta(seconds=self._now + self._shift)

    def timestamp(self) -> float:
        """Return the time of day as seconds since the epoch."""
        return self.wall().timestamp()

    def advance(self, seconds: float) -> None:
        """Let time pass.

        Raises:
            ValueError: ``seconds`` is negative: time does not go back.
        """
        if seconds < 0:
            raise ValueError(f"time does not go back by {-seconds} seconds")
        self._now += seconds

    def advance_to(self, at: float) -> None:
        """Let time pass until the run clock shows exactly this; a moment that has passed changes nothing."""
        self._now = max(self._now, at)

    def jump_wall(self, seconds: float) -> None:
        """Set the time of day forward or back, as an administrator does; the run clock does not notice."""
        self._shift += seconds
