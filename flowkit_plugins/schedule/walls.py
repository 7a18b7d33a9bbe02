"""The wall times of a cron expression, one after the other; croniter is asked for them here and nowhere else.

croniter never hears of a time zone or of the user's text: it is given lists of numbers, and a
calendar without changes of the clocks. What it reads in its own way (``0-0`` as every day, ``*/2``
beside a weekday, six fields, the second pass of a repeated hour) cannot come up.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from flowkit.errors import OptionError
from flowkit_plugins.schedule.zones import LAST_YEAR, MOMENT

if TYPE_CHECKING:
    from flowkit_plugins.schedule.expressions import Expression



class Walls:
    """Walks through the wall times of an expression.

    Raises:
        OptionError: croniter is not installed.
    """

    def __init__(self, expression: Expression) -> None:
        try:
            from croniter import croniter
        except ImportError as error:
            raise OptionError(
                f"the schedule {expression.text!r} needs croniter, which is not installed",
                known="cron expressions are worked out by it",
                remedy="pip install 'flowkit-run[schedule]'",
            ) from error
        self._expression = expression
        self._croniter = croniter(expression.written_out, datetime(2000, 1, 1))  # noqa: DTZ001 - wall time
        self._asked: datetime | None = None
        self._found: datetime | None = None

    def next(self, lowest: datetime) -> datetime | None:
        """Return the first wall time that is not before ``lowest``; None at the end of all time."""
        if self._asked is not None and self._found is not None and self._asked <= lowest <= self._found:
            return self._found
        if lowest.year >= LAST_YEAR:
            return None
        before = (lowest - MOMENT).replace(second=0, microsecond=0)  # croniter leaves out where it starts
        self._croniter.set_current(before)
        found: datetime = self._croniter.get_next(datetime)
        if not lowest <= found:  # never trusted blindly: a time that goes back would fire for ever
            raise RuntimeError(f"{self._expression.text}: croniter gives {found} after {before}")
        self._asked, self._found = lowest, found
        return found

    def any(self, low: datetime, high: datetime) -> bool:
        """Whether there is one in a stretch of wall time; the end is no part of it."""
        found = self.next(low) if low < high else None
        return found is not None and found < high
