"""When a flow is due: its schedules together, in its time zone; and what is due after an outage.

Nothing here asks what time it is. Whoever starts runs keeps one instant, ``last``, up to which
everything is dealt with; all that is due follows from it.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import takewhile
from typing import TYPE_CHECKING

from flowkit.options import same
from flowkit_plugins.schedule.kinds import Schedule
from flowkit_plugins.schedule.zones import MOMENT

if TYPE_CHECKING:
    from flowkit.graph import BoundFlow

CATCHUPS = ("latest", "none", "all")
#: With ``catchup="none"``: what is later than this was missed, and is not run.
ON_TIME = timedelta(minutes=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Firing:
    """A time at which a flow is due.

    Attributes:
        at: When, in UTC: the ``scheduled_at`` of its run.
        local: The same in the flow's time zone.
        params: Parameter → value, as its schedule says.
        schedule: The schedule that it comes from; the first, if several with equal parameters name
            this time.
        lane: Which of the timetable's sets of parameters it is for: the position of the first
            schedule that gives them. Within a lane, times strictly increase. It says nothing
            outside of this timetable: what is stored of a firing is ``at`` and ``params``.
    """

    at: datetime
    local: datetime
    params: Mapping[str, object]
    schedule: Schedule
    lane: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Timetable:
    """The schedules of a flow.

    Attributes:
        schedules: As the flow lists them.
        zone: In which times of day are read; UTC unless the flow says otherwise.
        catchup: What becomes of times that were missed: ``"latest"`` (one run for all that have the
            same parameters), ``"none"``, ``"all"``.
    """

    schedules: Sequence[Schedule]
    zone: tzinfo = UTC
    catchup: str = "latest"

    def after(self, moment: datetime) -> Iterator[Firing]:
        """Return the firings after an instant, itself left out, in order.

        Two schedules with equal parameters that name one time make one firing; with other
        parameters two, in the order of the list.

        Raises:
            OptionError: croniter is needed and not installed.
        """
        moment = moment.astimezone(UTC)
        lanes = self.lanes
        streams = [self._stream(moment, number, lanes[number]) for number in range(len(lanes))]
        last: dict[int, datetime] = {}
        for at, lane, number in heapq.merge(*streams):
            if last.get(lane) != at:
                last[lane] = at
                schedule = self.schedules[number]
                yield Firing(
                    at=at, local=at.astimezone(self.zone), params=schedule.params, schedule=schedule, lane=lane
                )

    def _stream(self, moment: datetime, number: int, lane: int) -> Iterator[tuple[datetime, int, int]]:
        for at in self.schedules[number].instants(moment, self.zone):
            yield at, lane, number

    @property
    def lanes(self) -> list[int]:
        """For each schedule, the position of the first one with the same parameters."""
        every = [schedule.params for schedule in self.schedules]
        return [next(i for i, other in enumerate(every) if _equal(other, mine)) for mine in every]

    def lane(self, number: int) -> Timetable:
        """Return it with the schedules of one lane only."""
        lanes = self.lanes
        mine = [schedule for schedule, lane in zip(self.schedules, lanes, strict=True) if lane == number]
        return replace(self, schedules=mine)


def _equal(one: Mapping[str, object], two: Mapping[str, object]) -> bool:
    return one is two or (one.keys() == two.keys() and all(same(one[name], two[name]) for name in one))


def timetable(flow: BoundFlow) -> Timetable | None:
    """Return a collected flow's timetable, or None if it has no schedule."""
    schedules = flow.options.get("schedule")
    if not isinstance(schedules, tuple):
        return None
    zone, catchup = flow.options.get("timezone"), flow.options.get("catchup")
    return Timetable(
        schedules=schedules, zone=zone if isinstance(zone, tzinfo) else UTC, catchup=str(catchup or CATCHUPS[0])
    )


def due(table: Timetable, last: datetime | None, now: datetime, catchup: str | None = None) -> list[Firing]:
    """Return what is due now, when all up to ``last`` was dealt with and then nobody looked until now.

    Args:
        table: The flow's timetable.
        last: The instant up to which everything is dealt with, itself included; None for a flow
            that is seen for the first time, which has missed nothing.
        now: The present; what is due at this very instant is on time.
        catchup: In the place of the timetable's own: ``"all"``: every firing. ``"latest"``: the
            last one of each lane. ``"none"``: the last one of each lane, if it is on time
            (:data:`ON_TIME`).

    Returns:
        The firings in order. Whoever starts them has dealt with everything up to ``now``.
    """
    policy = catchup or table.catchup
    last = now - MOMENT if last is None else last
    if policy == "all":
        return list(takewhile(lambda firing: firing.at <= now, table.after(last)))
    if policy == "none":
        last = max(last, now - ON_TIME - MOMENT)
    found = [
        replace(firing, lane=lane)
        for lane in sorted(set(table.lanes))
        if (firing := _last(table.lane(lane), last, now)) is not None
    ]
    return sorted(found, key=lambda firing: (firing.at, firing.lane))


def _last(table: Timetable, last: datetime, now: datetime) -> Firing | None:
    """Return the last firing after ``last`` and not after ``now``; looks back in growing steps."""
    back = timedelta(hours=1)
    while True:
        since = max(last, now - back) if now - last > back else last
        found = None
        for found in takewhile(lambda firing: firing.at <= now, table.after(since)):  # noqa: B007 - the last one
            pass
        if found is not None or since == last:
            return found
        back *= 8


class Watch:
    """Follows a timetable through time: says when to look next, and what is due then.

    Args:
        table: The flow's timetable.
        last: The instant up to which everything was dealt with; None for the first time. It is all
            that has to be stored: a watch that starts from it continues the one that ended there.
    """

    def __init__(self, table: Timetable, last: datetime | None) -> None:
        self.table = table
        self.last = last
        self._coming: Iterator[Firing] = iter(())
        self._ahead: Firing | None = None

    def next(self) -> datetime | None:
        """Return the first instant after ``last`` at which something is due; None if never again.

        Before the first :meth:`look` nothing is known: None.
        """
        return self._ahead.at if self._ahead is not None else None

    def look(self, now: datetime) -> list[Firing]:
        """Return what is due now, in order, and take all up to now as dealt with.

        Called in time, it gives all that is due at this instant. Called late (a restart, a machine
        that slept), it applies the timetable's ``catchup``. A clock that was put back gives
        nothing until it has passed ``last`` again.
        """
        if self.last is not None and now <= self.last:
            self._start(self.last)
            return []
        found = []
        if self._ahead is not None and now <= self._ahead.at:
            while self._ahead is not None and self._ahead.at <= now:
                found.append(self._ahead)
                self._ahead = next(self._coming, None)
        else:
            found = due(self.table, self.last, now)
            self._start(now)
        self.last = now
        return found

    def _start(self, moment: datetime) -> None:
        self._coming = self.table.after(moment)
        self._ahead = next(self._coming, None)
