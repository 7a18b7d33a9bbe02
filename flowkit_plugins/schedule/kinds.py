"""What a flow can be scheduled by: :class:`Cron`, :class:`Every`, :class:`At`. Each says its instants, in order.

The rule for days on which the clocks change, for a cron expression that names times of day: a time
that does not exist happens at the first instant after the gap; one that occurs twice happens the
first time. An expression whose minute or hour field begins with ``*`` follows real time: it happens
whenever a clock shows it. :class:`Every` is elapsed time.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

from flowkit.declarations import short_path
from flowkit.durations import seconds, words
from flowkit.errors import OptionError
from flowkit_plugins.schedule.expressions import Expression, parse
from flowkit_plugins.schedule.walls import Walls
from flowkit_plugins.schedule.zones import (
    LAST_YEAR,
    MOMENT,
    Piece,
    instant,
    instant_of,
    known,
    pieces,
    wall,
)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FOLDS = ("first", "both")
_LONGEST = timedelta(days=36525)


class Unfit(OptionError, ValueError):
    """A schedule that is written wrongly.

    Attributes:
        problem: What is wrong, without where.
    """

    problem = ""


@contextmanager
def _told(form: str, written: object, remedy: str) -> Iterator[None]:
    """Have what is wrong with a value told as an error of the line of user code that wrote it."""
    try:
        yield
    except (TypeError, ValueError, OverflowError) as error:
        frame = sys._getframe(3)  # noqa: SLF001 - there is no other way; past contextlib and the constructor
        place = f"{short_path(frame.f_code.co_filename)}:{frame.f_lineno}"
        found = Unfit(f"{form}({written!r}): {error}", known=f"written at {place}", remedy=remedy)
        found.problem = str(error)
        raise found from error


@dataclass(frozen=True, slots=True, init=False, repr=False)
class Schedule:
    """When a flow is due, and with which parameters.

    Attributes:
        params: Parameter → value, for the runs of this schedule.
    """

    params: Mapping[str, object]

    def instants(self, after: datetime, zone: tzinfo) -> Iterator[datetime]:
        """Return the instants after one, in UTC, each later than the one before.

        Args:
            after: Itself left out.
            zone: The flow's.
        """
        raise NotImplementedError

    @property
    def text(self) -> str:
        """It, as people write it."""
        raise NotImplementedError

    def __repr__(self) -> str:
        params = f", params={dict(self.params)!r}" if self.params else ""
        return f"{type(self).__name__}({self.text!r}{params})"


@dataclass(frozen=True, slots=True, init=False, repr=False)
class Cron(Schedule):
    """Due when a clock of the flow's time zone shows one of these times.

    Args:
        expression: Five fields (minute, hour, day of month, month, weekday) or a nickname.
        params: Parameter → value, for the runs of this schedule.
        fold: What happens with a time of day that occurs twice, because clocks are put back:
            ``"first"``, or ``"both"``.

    Raises:
        Unfit: It is no expression, or is read differently by different crons.
    """

    expression: Expression
    fold: str

    def __init__(self, expression: str, *, params: Mapping[str, object] | None = None, fold: str = "first") -> None:
        with _told("Cron", expression, "Write minute, hour, day of month, month, weekday: Cron('0 6 * * 1-5')."):
            if not isinstance(expression, str):
                raise TypeError("a cron expression is text")
            if fold not in FOLDS:
                raise ValueError(f"fold is 'first' or 'both', not {fold!r}")
            _set(self, params=_read_params(params), expression=parse(expression), fold=fold)

    @property
    def text(self) -> str:
        """The expression as it was written."""
        return self.expression.text

    def instants(self, after: datetime, zone: tzinfo) -> Iterator[datetime]:
        """Return the instants after one: see :class:`Schedule`."""
        walls = Walls(self.expression)
        for piece in pieces(zone, after.astimezone(UTC) + MOMENT):
            yield from self._within(piece, walls)

    def _within(self, piece: Piece, walls: Walls) -> Iterator[datetime]:
        """Return the instants of one stretch."""
        start, change, offset, end = piece
        lowest = wall(start, offset)
        if change is not None and not self.expression.real_time:
            if change.at == start and walls.any(change.shown_before, change.shown_after):
                yield start
                lowest += MOMENT
            if self.fold == "first":
                lowest = max(lowest, change.shown_before)  # what is shown before that is shown again
        while (shown := walls.next(lowest)) is not None:
            found = instant(shown, offset)
            if found >= end:
                return
            yield found
            lowest = shown + MOMENT


@dataclass(frozen=True, slots=True, init=False, repr=False)
class Every(Schedule):
    """Due whenever so much time has passed, whatever the clocks show.

    Args:
        interval: Seconds, a ``timedelta``, or text like ``"15m"``; at least a second.
        start: Where counting begins, itself included; 1970-01-01 in UTC if not given. Text as ISO
            8601 or a ``datetime``; without an offset it is a time of the flow's zone.
        params: Parameter → value, for the runs of this schedule.

    Raises:
        Unfit: They are no such.
    """

    interval: timedelta
    start: datetime | None

    def __init__(
        self,
        interval: float | str | timedelta,
        *,
        start: datetime | str | None = None,
        params: Mapping[str, object] | None = None,
    ) -> None:
        with _told("Every", interval, "Write Every('15m'), or Every('1d', start='2026-03-01T06:00')."):
            length = timedelta(seconds=seconds(interval))
            if not timedelta(seconds=1) <= length <= _LONGEST:
                raise ValueError("an interval is at least a second, and at most a hundred years")
            begins = None if start is None else _read_time(start)
            _set(self, params=_read_params(params), interval=length, start=begins)

    @property
    def text(self) -> str:
        """``every 15m``."""
        return f"every {_short(self.interval)}"

    def __repr__(self) -> str:
        begins = f", start={self.start.isoformat()!r}" if self.start is not None else ""
        params = f", params={dict(self.params)!r}" if self.params else ""
        return f"Every({_short(self.interval)!r}{begins}{params})"

    def instants(self, after: datetime, zone: tzinfo) -> Iterator[datetime]:
        """Return the instants after one: see :class:`Schedule`."""
        origin = EPOCH if self.start is None else _instant(self.start, zone)
        count = (after.astimezone(UTC) - origin) // self.interval + 1
        if self.start is not None:
            count = max(count, 0)
        found = origin + count * self.interval
        while found.year < LAST_YEAR:
            yield found
            found += self.interval


@dataclass(frozen=True, slots=True, init=False, repr=False)
class At(Schedule):
    """Due at these moments, and never again.

    Args:
        moments: Each text as ISO 8601, or a ``datetime``; without an offset it is a time of the
            flow's zone. One alone will do.
        params: Parameter → value, for the runs of this schedule.

    Raises:
        Unfit: They are no moments, or there is none.
    """

    moments: tuple[datetime, ...]

    def __init__(
        self, moments: datetime | str | Sequence[datetime | str], *, params: Mapping[str, object] | None = None
    ) -> None:
        with _told("At", moments, "Write At(['2026-03-01T06:00', '2026-09-01T06:00'])."):
            listed = [moments] if isinstance(moments, (str, datetime)) else moments
            if not isinstance(listed, (list, tuple)):
                raise TypeError("a list of moments is wanted")
            if not listed:
                raise ValueError("the list is empty")
            _set(self, params=_read_params(params), moments=tuple(_read_time(one) for one in listed))

    @property
    def text(self) -> str:
        """``at 2026-03-01T06:00``, the first three of them."""
        shown = [moment.isoformat(timespec="minutes") for moment in self.moments[:3]]
        return f"at {', '.join(shown)}{', …' if len(self.moments) > 3 else ''}"

    def __repr__(self) -> str:
        params = f", params={dict(self.params)!r}" if self.params else ""
        return f"At({[moment.isoformat() for moment in self.moments]!r}{params})"

    def instants(self, after: datetime, zone: tzinfo) -> Iterator[datetime]:
        """Return the instants after one: see :class:`Schedule`."""
        return iter(sorted({found for m in self.moments if (found := _instant(m, zone)) > after}))


def read(written: object) -> tuple[Schedule, ...] | None:
    """Return the schedules that a user wrote; None for none.

    Raises:
        ValueError, TypeError: It is none of the forms.
    """
    if written is None:
        return None
    listed = written if isinstance(written, (list, tuple)) else [written]
    if not listed:
        raise ValueError("the list is empty; leave it out (or None) for no schedule")
    found: list[Schedule] = []
    for one in listed:
        if isinstance(one, str):
            try:
                found.append(Cron(one))
            except Unfit as error:
                raise ValueError(error.problem) from error
        elif isinstance(one, Schedule):
            found.append(one)
        else:
            raise TypeError(f"a cron expression, or Cron, Every, At from flowkit_plugins.schedule, not {one!r}")
    return tuple(found)


def _short(length: timedelta) -> str:
    """Return a duration as people write it: ``15m``, ``1h30m``, ``1d``."""
    whole = length.total_seconds()
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m"), (1, "s")):
        if whole % size == 0:
            return words(whole) if unit in "hm" and whole >= 3600 and whole % 3600 else f"{whole // size:.0f}{unit}"
    return f"{whole:g}s"


def _set(schedule: Schedule, **fields: Any) -> None:
    """Fill in a frozen value."""
    for name, value in fields.items():
        object.__setattr__(schedule, name, value)


def _read_params(params: Mapping[str, object] | None) -> Mapping[str, object]:
    if params is not None and not isinstance(params, Mapping):
        raise TypeError(f"params: a mapping from parameter to value, not {params!r}")
    for name in params or {}:
        if not isinstance(name, str):
            raise TypeError(f"params: {name!r} is no name of a parameter")
    return dict(params or {})


def _read_time(written: object) -> datetime:
    if isinstance(written, str):
        try:
            written = datetime.fromisoformat(written)
        except ValueError:
            raise ValueError(f"{written!r} is no moment; write it like '2026-03-01T06:00'") from None
    if not isinstance(written, datetime):
        raise TypeError(f"a datetime, or text like '2026-03-01T06:00', not {written!r}")
    return known(written)


def _instant(moment: datetime, zone: tzinfo) -> datetime:
    return instant_of(moment, zone) if moment.tzinfo is None else moment.astimezone(UTC)
