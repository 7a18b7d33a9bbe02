"""What ``schedule_sane`` checks: a schedule against a scan of every minute, outages and restarts included.

The scan is slow and plain on purpose: it looks at what a clock of the zone shows, minute by minute,
and shares nothing with what works out schedules but the numbers of the expression.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from typing import TYPE_CHECKING, Any, NamedTuple

from hypothesis import strategies as st

from flowkit.testing.checks import Violation
from flowkit.testing.sandbox import Case
from flowkit.testing.timetables import Tick, served, timetables
from flowkit_plugins.schedule.kinds import EPOCH, At, Cron, Every, Schedule
from flowkit_plugins.schedule.timetable import ON_TIME, Timetable
from flowkit_plugins.schedule.zones import changes_in

if TYPE_CHECKING:
    from flowkit.testing.subject import FlowUnderTest

_MINUTE = timedelta(minutes=1)
_FAR = timedelta(hours=26)
_DAY = 86400
_HALF = 1800
#: How many firings a window has at most, so that a case takes no time.
_MANY = 300
#: The years that are looked into.
_YEARS = (2000, 2037)


class Planned(NamedTuple):
    """A time at which a flow is due, and for which of its sets of parameters."""

    at: datetime
    lane: int


# The scan


def scanned(table: Timetable, start: datetime, end: datetime) -> list[Planned]:
    """Return all times from ``start`` on, before ``end``, at which a timetable is due, in order."""
    minutes = list(_minutes(start, end, table.zone))
    found = {
        Planned(at, lane)
        for schedule, lane in zip(table.schedules, table.lanes, strict=True)
        for at in scan(schedule, table.zone, minutes)
        if start <= at < end
    }
    return sorted(found)


def _minutes(start: datetime, end: datetime, zone: tzinfo) -> Iterator[tuple[datetime, datetime]]:
    """Return each whole minute with what a clock shows then; begins with one before ``start``."""
    moment = start.astimezone(UTC).replace(second=0, microsecond=0) - _MINUTE
    while moment < end:
        yield moment, moment.astimezone(zone)
        moment += _MINUTE


def scan(schedule: Schedule, zone: tzinfo, minutes: Sequence[tuple[datetime, datetime]]) -> Iterator[datetime]:
    """Return the times of one schedule in these minutes; the first only says what was before."""
    low, high = minutes[0][0], minutes[-1][0] + _MINUTE
    if isinstance(schedule, Cron):
        yield from _scan_cron(schedule, minutes)
    elif isinstance(schedule, Every):
        origin = EPOCH if schedule.start is None else _shown_at(schedule.start, zone)
        count = -((origin - low) // schedule.interval)  # rounded up
        while (at := origin + count * schedule.interval) < high:
            if schedule.start is None or at >= origin:
                yield at
            count += 1
    elif isinstance(schedule, At):
        yield from (_shown_at(moment, zone) for moment in schedule.moments)


def _scan_cron(schedule: Cron, minutes: Sequence[tuple[datetime, datetime]]) -> Iterator[datetime]:
    real = schedule.expression.real_time
    before = minutes[0][1].replace(tzinfo=None, fold=0)
    for moment, local in minutes[1:]:
        shown = local.replace(tzinfo=None, fold=0)
        fires = _matches(schedule, shown) and (real or schedule.fold == "both" or not local.fold)
        missing = before + _MINUTE
        while not real and not fires and missing < shown:
            fires = _matches(schedule, missing)
            missing += _MINUTE
        if fires:
            yield moment
        before = shown


def _matches(schedule: Cron, shown: datetime) -> bool:
    wanted = schedule.expression
    if shown.minute not in wanted.minutes or shown.hour not in wanted.hours or shown.month not in wanted.months:
        return False
    day, weekday = shown.day in wanted.days, shown.isoweekday() % 7 in wanted.weekdays
    if len(wanted.days) < 31 and len(wanted.weekdays) < 7:
        return day or weekday
    return day and weekday


def _shown_at(moment: datetime, zone: tzinfo) -> datetime:
    """Return the first instant at which a clock shows this time, or one behind it."""
    if moment.tzinfo is not None:
        return moment.astimezone(UTC)
    seconds = timedelta(seconds=moment.second, microseconds=moment.microsecond)
    at = (moment - seconds).replace(tzinfo=UTC) - _FAR
    while (shown := at.astimezone(zone).replace(tzinfo=None, fold=0)) < moment - seconds:
        at += _MINUTE
    return at if shown > moment - seconds else at + seconds


# What shall be started, and when


def expected(
    planned: Sequence[Planned], end: datetime, down: Sequence[tuple[datetime, datetime]], catchup: str
) -> list[tuple[datetime, datetime, int]]:
    """Return (started, at, lane) of each run that a service shall start, in order."""
    outages = _together(down)
    found = set()
    for at, lane in planned:
        outage = next(((low, high) for low, high in outages if low <= at <= high), None)
        if outage is None:
            found.add((at, at, lane))
            continue
        high = outage[1]
        last = max(p.at for p in planned if p.lane == lane and outage[0] <= p.at <= high)
        wanted = catchup == "all" or (at == last and (catchup == "latest" or high - at <= ON_TIME))
        if wanted and high < end:
            found.add((high, at, lane))
    return sorted(found)


def _together(down: Sequence[tuple[datetime, datetime]]) -> list[tuple[datetime, datetime]]:
    """Return outages with those that touch made one, and restarts left out."""
    found: list[tuple[datetime, datetime]] = []
    for low, high in sorted(down):
        if found and low <= found[-1][1]:
            found[-1] = found[-1][0], max(high, found[-1][1])
        elif low < high:
            found.append((low, high))
    return found


# The property


def unscheduled(flow: FlowUnderTest) -> str:
    """Return why there is nothing to check, or nothing."""
    return "" if timetables(flow.graph) else "the flow has no schedule"


def schedule_sane(flow: FlowUnderTest, case: Case) -> None:
    """Due times strictly increase; none is lost or doubled when clocks change, or by an outage or restart."""
    if case.extra is None:
        return
    start, end, down = read_window(case.extra)
    for path, table in timetables(flow.graph).items():
        problem = wrong(table, served(table, start, end, down), start, end, down)
        if problem:
            raise Violation(f"the schedule of {path}, {table.zone}, catchup {table.catchup!r}: {problem}\n{_told(start, end, down)}")


def wrong(
    table: Timetable, ticks: Sequence[Tick], start: datetime, end: datetime, down: Sequence[tuple[datetime, datetime]]
) -> str:
    """Return what is wrong with the runs that a service started, or nothing."""
    last: dict[int, datetime] = {}
    for tick in ticks:
        if tick.at <= last.get(tick.lane, tick.at - _MINUTE):
            return f"{_shown(tick.at, table)} comes after {_shown(last[tick.lane], table)}"
        last[tick.lane] = tick.at
    got = sorted((tick.started, tick.at, tick.lane) for tick in ticks)
    wanted = expected(scanned(table, start, end), end, down, table.catchup)
    for what, some, others in (("is lost", wanted, got), ("shall not run", got, wanted)):
        for started, at, lane in some:
            if (started, at, lane) not in others:
                late = f", to be started at {_shown(started, table)}," if started != at else ""
                return f"{_shown(at, table)}{late} {what}"
    return ""


def _shown(at: datetime, table: Timetable) -> str:
    return at.astimezone(table.zone).isoformat()


def _told(start: datetime, end: datetime, down: Sequence[tuple[datetime, datetime]]) -> str:
    outages = "; ".join(f"{low.isoformat()} to {high.isoformat()}" for low, high in down)
    return f"from {start.isoformat()} to {end.isoformat()}, down: {outages or 'never'}"


def read_window(extra: Any) -> tuple[datetime, datetime, list[tuple[datetime, datetime]]]:
    """Return start, end and outages as a case has them: seconds since 1970, and from the start."""
    begins, length, outages = extra
    start = EPOCH + timedelta(seconds=begins)

    def at(seconds: int) -> datetime:
        return start + timedelta(seconds=seconds)

    return start, at(length), [(at(low), at(low + long)) for low, long in outages]


def windows(flow: FlowUnderTest) -> st.SearchStrategy[Case]:
    """Return cases: a stretch of time, often one in which clocks change, and outages and restarts in it."""
    tables = list(timetables(flow.graph).values())
    if not tables:
        return st.just(Case())
    longest = min(2 * _DAY, *(int(_MANY * _apart(s)) for table in tables for s in table.schedules))
    return _windows(tables, longest)


@st.composite
def _windows(draw: st.DrawFn, tables: Sequence[Timetable], longest: int) -> Case:
    """Draw a window and outages in it, in seconds: most of them multiples of half an hour, as schedules are."""
    halves = max(1, longest // _HALF)
    length = draw(st.sampled_from((halves, halves, 1 + halves // 2, 1 + halves // 8))) * _HALF
    moments = _moments(draw(st.sampled_from(tables)), draw(st.integers(*_YEARS)))
    if moments and draw(st.integers(0, 9)) < 8:  # hypothesis likes small numbers
        before = draw(st.sampled_from((2, 3, 1, 4, 0))) * length // 4
        start = draw(st.sampled_from(moments)) - before // _HALF * _HALF
    else:
        start = draw(st.integers(0, 40 * 365 * 48)) * _HALF + 20 * 365 * _DAY
    within = st.integers(0, length // _HALF).map(lambda n: n * _HALF) | st.integers(0, length // 30).map(lambda n: n * 30)
    long = st.sampled_from((16, 4, 1, 0, 60)).map(lambda n: n * _HALF) | st.integers(0, 600).map(lambda n: n * 30)
    outages = draw(st.lists(st.tuples(within, long), max_size=3))
    return Case(extra=[start, length, [list(one) for one in outages]])


def _moments(table: Timetable, year: int) -> list[int]:
    """Return what is worth a look, in seconds since 1970: changes of the clocks, and moments that schedules name."""
    moments: list[datetime] = []
    for schedule in table.schedules:
        if isinstance(schedule, At):
            moments += [_shown_at(moment, table.zone) for moment in schedule.moments]
        elif isinstance(schedule, Every) and schedule.start is not None:
            moments.append(_shown_at(schedule.start, table.zone))
    moments += [change.at for change in changes_in(table.zone, year)]
    return [int((moment - EPOCH).total_seconds()) for moment in moments]


def _apart(schedule: Schedule) -> float:
    """Return about how many seconds lie between two times of a schedule, at its densest."""
    if isinstance(schedule, Cron):
        return _DAY / (len(schedule.expression.minutes) * len(schedule.expression.hours))
    return schedule.interval.total_seconds() if isinstance(schedule, Every) else _DAY


# Random flows that have a schedule

_ZONES = ("Europe/Paris", "America/New_York", "Australia/Lord_Howe", "America/Santiago", "Africa/Casablanca", "UTC")
_CRONS = ("30 2 * * *", "0,30 1-4 * * *", "0 0,1,2,23 * * *", "45 1 * * *", "*/20 * * * *", "15 * * * *", "*/15 0-3 * * *", "0 */2 * * *")
_OTHERS = ('Every("90m")', 'Every("2h", start="2026-03-29T02:30")', 'At(["2026-03-29T02:30", "2026-10-25T02:30", "2026-07-01T12:00"])')


def scheduled_flows() -> st.SearchStrategy[str]:
    """Return sources of flows with a schedule, in zones whose clocks change in different ways."""
    params = st.sampled_from(("", ", params={'n': 2}", ", params={'n': 3}", ", params={'n': 4}"))
    crons = st.builds(
        lambda text, more, fold: f"Cron({text!r}{more}{fold})", st.sampled_from(_CRONS), params, st.sampled_from(("", ", fold='both'"))
    )
    others = st.builds(lambda text, more: f"{text[:-1]}{more})", st.sampled_from(_OTHERS), params)
    return st.builds(
        lambda listed, zone, catchup: (
            "from flowkit import Flow, task\nfrom flowkit_plugins.schedule import At, Cron, Every\n"
            f"flow = Flow(schedule=[{', '.join(listed)}], timezone={zone!r}, catchup={catchup!r})\n"
            "@task\ndef report(n: int = 1):\n    return n\n"
        ),
        st.lists(crons | others, min_size=2, max_size=4),
        st.sampled_from(_ZONES),
        st.sampled_from(("latest", "none", "all")),
    )
