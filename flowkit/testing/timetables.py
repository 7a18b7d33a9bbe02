"""When a flow would run: its schedule walked through in no time, outages and restarts included.

``flowsched`` of the pytest plugin is :func:`schedule_of`. What is walked is what starts runs for
real: :class:`flowkit_plugins.schedule.Watch`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from flowkit.errors import FlowError, OptionError, UsageError
from flowkit.testing.sandbox import Sandbox
from flowkit_plugins.schedule.timetable import Firing, Timetable, Watch, due, timetable
from flowkit_plugins.schedule.zones import MOMENT, instant_of, known, read_zone

if TYPE_CHECKING:
    from flowkit.graph import Graph

Moment = datetime | str
Outage = tuple[Moment, Moment]


@dataclass(frozen=True, slots=True)
class Tick:
    """One run that a schedule starts.

    Attributes:
        at: The time it is for, in UTC: its ``scheduled_at``.
        local: The same in the flow's time zone.
        params: The parameters that its schedule gives.
        schedule: That schedule as people write it.
        started: When it is started: ``at``, or the end of the outage in which that was missed.
        lane: Which of the flow's sets of parameters it is for, counted from 0.
    """

    at: datetime
    local: datetime
    params: Mapping[str, object]
    schedule: str
    started: datetime
    lane: int


class ScheduledFlow:
    """A flow with a schedule, to be asked when it would run.

    Attributes:
        timetable: Its schedules, time zone and ``catchup``.
    """

    def __init__(self, table: Timetable) -> None:
        self.timetable = table

    def between(
        self,
        start: Moment,
        end: Moment,
        *,
        tz: str | None = None,
        down: Sequence[Outage] = (),
        catchup: str | None = None,
    ) -> list[Tick]:
        """Return the runs that would be started from ``start`` on, before ``end``, in order.

        Args:
            start, end: ``datetime``, or text as ISO 8601; without an offset, times of the zone.
            tz: Another time zone than the flow's.
            down: Outages: nobody is there to start a run from the first time of each until before
                the second. A restart is an outage whose two times are equal.
            catchup: Another policy than the flow's.

        Raises:
            OptionError: There is no such zone or policy, or a time is none.
        """
        table = self._changed(tz, catchup)
        begins, ends = _instant(start, table), _instant(end, table)
        outages = [(_instant(low, table), _instant(high, table)) for low, high in down]
        return served(table, begins, ends, outages)

    def due(
        self, last: Moment, now: Moment, *, tz: str | None = None, catchup: str | None = None
    ) -> list[Tick]:
        """Return the runs that are started now, if all up to ``last`` was dealt with and nobody looked since."""
        table = self._changed(tz, catchup)
        found = due(table, _instant(last, table), (at := _instant(now, table)))
        return [_tick(firing, at) for firing in found]

    def _changed(self, tz: str | None, catchup: str | None) -> Timetable:
        from flowkit_plugins.schedule.timetable import CATCHUPS

        if catchup is not None and catchup not in CATCHUPS:
            raise OptionError.unknown("catchup", catchup, "flowsched", CATCHUPS, "Name one of these.")
        try:
            zone = read_zone(tz) or self.timetable.zone
        except (TypeError, ValueError) as error:
            raise OptionError(f"flowsched: tz={tz!r}: {error}", remedy="Write it like tz='Europe/Paris'.") from error
        return replace(self.timetable, zone=zone, catchup=catchup or self.timetable.catchup)


def schedule_of(target: object) -> ScheduledFlow:
    """Return the schedule of a flow; see ``flowsched``.

    Raises:
        FlowError: The flow is wrong, or it has no schedule, or several flows have one.
    """
    graph = Sandbox(target).look().graph
    assert graph is not None  # it was collected
    found = timetables(graph)
    if len(found) != 1:
        what = "has no schedule" if not found else f"is {len(found)} flows with a schedule: {', '.join(found)}"
        remedy = "Name one of them." if found else 'Give it one: flow = Flow(schedule="0 6 * * 1-5").'
        shown = "the flow" if "\n" in str(target) or isinstance(target, Mapping) else str(target)
        raise FlowError([UsageError(f"{shown} {what}", remedy=remedy)])
    return ScheduledFlow(next(iter(found.values())))


def timetables(graph: Graph) -> dict[str, Timetable]:
    """Return path of a flow → its timetable, for those that have a schedule."""
    return {flow.path: table for flow in graph.flows if (table := timetable(flow)) is not None}


def served(
    table: Timetable, start: datetime, end: datetime, down: Sequence[tuple[datetime, datetime]] = ()
) -> list[Tick]:
    """Return what a service would start from ``start`` until before ``end``, while it is not down.

    After each outage a new watch goes on from nothing but the last instant that the one before it
    dealt with.
    """
    ticks: list[Tick] = []
    last: datetime | None = start - MOMENT
    for begins, ends in _up(start, end, down):
        watch = Watch(table, last)
        ticks += [_tick(firing, begins) for firing in watch.look(begins)]
        while (moment := watch.next()) is not None and moment < ends:
            ticks += [_tick(firing, moment) for firing in watch.look(moment)]
        last = watch.last
    return ticks


def _up(
    start: datetime, end: datetime, down: Sequence[tuple[datetime, datetime]]
) -> Iterator[tuple[datetime, datetime]]:
    """Return the stretches of time outside of outages."""
    for low, high in sorted(down):
        if high < low:
            raise OptionError(f"an outage ends before it begins: {low} to {high}", remedy="Write (from, to).")
        if start < min(low, end):
            yield start, min(low, end)
        start = max(start, high)
    if start < end:
        yield start, end


def _tick(firing: Firing, started: datetime) -> Tick:
    return Tick(firing.at, firing.local, firing.params, firing.schedule.text, started, firing.lane)


def _instant(moment: Moment, table: Timetable) -> datetime:
    try:
        found = known(datetime.fromisoformat(moment) if isinstance(moment, str) else moment)
    except ValueError as error:
        raise OptionError(
            f"flowsched: {moment!r} is no time: {error}", remedy="Write it like '2026-03-28' or '2026-03-28T12:00'."
        ) from None
    return instant_of(found, table.zone) if found.tzinfo is None else found.astimezone(UTC)
