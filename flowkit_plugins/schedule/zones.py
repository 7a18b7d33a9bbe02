"""Time zones: when their clocks change, and which instant a time of day is.

Instants are ``datetime`` in UTC; wall times are ``datetime`` without a zone.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from typing import NamedTuple

from flowkit.errors import nearest

#: The years that schedules know: not far behind, ``datetime`` ends, and with it all that is reckoned here.
FIRST_YEAR, LAST_YEAR = 1900, 9000
MOMENT = timedelta(microseconds=1)
#: How far apart a zone is looked at for changes; no zone ever changed and changed back within so short a time.
_STRIDE = timedelta(hours=6)
_SECOND = timedelta(seconds=1)


class Change(NamedTuple):
    """Clocks that are put on or back.

    Attributes:
        at: The first instant at which the new time is shown.
        before: The offset from UTC until then.
        after: The offset from then on.
    """

    at: datetime
    before: timedelta
    after: timedelta

    @property
    def shown_before(self) -> datetime:
        """The wall time that clocks would have shown at this instant."""
        return wall(self.at, self.before)

    @property
    def shown_after(self) -> datetime:
        """The wall time that they show."""
        return wall(self.at, self.after)


class Piece(NamedTuple):
    """A stretch of time with one offset, at most a year long.

    Attributes:
        start: Its first instant.
        change: The last change of the clocks up to its start; None if that is long ago.
        offset: The offset from UTC.
        end: The first instant that is no part of it.
    """

    start: datetime
    change: Change | None
    offset: timedelta
    end: datetime


def wall(instant: datetime, offset: timedelta) -> datetime:
    """Return what a clock shows."""
    return instant.replace(tzinfo=None) + offset


def instant(shown: datetime, offset: timedelta) -> datetime:
    """Return when a clock shows that."""
    return (shown - offset).replace(tzinfo=UTC)


def offset_at(moment: datetime, zone: tzinfo) -> timedelta:
    """Return a zone's offset from UTC at an instant."""
    found = moment.astimezone(zone).utcoffset()
    assert found is not None  # the zone is one
    return found


@lru_cache(maxsize=4096)
def changes_in(zone: tzinfo, year: int) -> tuple[Change, ...]:
    """Return the changes of a zone in a year (in UTC), in order."""
    if isinstance(zone, timezone):
        return ()
    found = []
    moment = datetime(year, 1, 1, tzinfo=UTC) - _SECOND
    end = datetime(year + 1, 1, 1, tzinfo=UTC) - _SECOND
    before = offset_at(moment, zone)
    while moment < end:
        following = min(moment + _STRIDE, end)
        after = offset_at(following, zone)
        if after != before:
            found.append(Change(_first(moment, following, zone, before), before, after))
        moment, before = following, after
    return tuple(found)


def _first(low: datetime, high: datetime, zone: tzinfo, before: timedelta) -> datetime:
    """Return the first second after ``low``, at most ``high``, whose offset is not ``before``."""
    while high - low > _SECOND:
        middle = low + timedelta(seconds=int((high - low).total_seconds()) // 2)
        if offset_at(middle, zone) == before:
            low = middle
        else:
            high = middle
    return high


def known(moment: datetime) -> datetime:
    """Return a time that schedules can be asked about.

    Raises:
        ValueError: It lies too far in the past or in the future.
    """
    if not FIRST_YEAR <= moment.year < LAST_YEAR:
        raise ValueError(f"{moment.isoformat()} is not between the years {FIRST_YEAR} and {LAST_YEAR}")
    return moment


def pieces(zone: tzinfo, since: datetime) -> Iterator[Piece]:
    """Return the stretches of one offset from ``since`` on, which is the start of the first."""
    last: Change | None = None
    start, offset = since, offset_at(since, zone)
    for year in range(since.year - 1, LAST_YEAR):
        for change in changes_in(zone, year):
            if change.at > since:
                yield Piece(start, last, offset, change.at)
                start, offset = change.at, change.after
            last = change
        end = datetime(year + 1, 1, 1, tzinfo=UTC)
        if end > start:
            yield Piece(start, last, offset, end)
            start = end


def instant_of(shown: datetime, zone: tzinfo) -> datetime:
    """Return when a clock of the zone shows a wall time: the first time, if twice.

    A wall time that is skipped is the instant at which it is skipped.
    """
    found = shown.replace(tzinfo=zone, fold=0).astimezone(UTC)
    if found.astimezone(zone).replace(tzinfo=None) == shown:
        return found
    return max(c.at for year in (found.year - 1, found.year) for c in changes_in(zone, year) if c.at <= found)


def change_on(local: datetime) -> Change | None:
    """Return the change of the clocks on the day of a local time (that has a zone), or None."""
    zone = local.tzinfo
    assert zone is not None  # it is a local time
    for year in (local.year - 1, local.year, local.year + 1):
        for change in changes_in(zone, year):
            if local.date() in (change.shown_before.date(), change.shown_after.date()):
                return change
    return None


def read_zone(written: object) -> tzinfo | None:
    """Return the zone that a user wrote; None for none.

    Raises:
        ValueError, TypeError: There is no such zone.
    """
    if written is None:
        return None
    if written == "UTC":
        return UTC
    import zoneinfo

    if isinstance(written, (timezone, zoneinfo.ZoneInfo)):
        return written
    if not isinstance(written, str):
        raise TypeError(f"the name of a time zone, not {written!r}")

    try:
        return zoneinfo.ZoneInfo(written)
    except (ValueError, OSError, zoneinfo.ZoneInfoNotFoundError):
        pass
    known = zoneinfo.available_timezones()
    if not known:
        raise ValueError("there are no time zones on this machine: pip install tzdata")
    near = nearest(written, known) or next((name for name in sorted(known) if name.lower().endswith(f"/{written.lower()}")), "")
    raise ValueError(f"there is no time zone {written!r}" + (f". Did you mean {near!r}?" if near else ": write 'Europe/Paris'"))
