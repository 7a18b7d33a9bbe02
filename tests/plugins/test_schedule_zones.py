"""Schedules against a scan of every minute around every change of the clocks; all zones with ``FLOWKIT_SOAK=1``."""

import os
import zoneinfo
from datetime import UTC, datetime, timedelta
from itertools import takewhile

import pytest

pytest.importorskip("croniter")

from flowkit.testing.schedulechecks import _minutes, scan  # noqa: E402
from flowkit_plugins.schedule.kinds import Cron, Every  # noqa: E402
from flowkit_plugins.schedule.zones import MOMENT, changes_in, offset_at, pieces  # noqa: E402

SOAK = bool(os.environ.get("FLOWKIT_SOAK"))
#: Zone → years in which it does something special.
SOME = {
    "Europe/Paris": (2026,),
    "America/New_York": (2026,),
    "Australia/Lord_Howe": (2026,),  # half an hour
    "Antarctica/Troll": (2026,),  # two hours
    "Europe/Dublin": (2026,),  # winter is the exception
    "Africa/Casablanca": (2026,),  # Ramadan
    "America/Santiago": (2026,),  # there is no midnight
    "Pacific/Apia": (2011,),  # there is no 30 December
    "Pacific/Kwajalein": (1993,),
    "America/St_Johns": (2010,),  # a minute past midnight
    "Africa/Cairo": (2010,),  # four times a year
    "Asia/Pyongyang": (2018,),
    "Asia/Tokyo": (2026,),  # never
}
ZONES = sorted(zoneinfo.available_timezones()) if SOAK else sorted(SOME)
SCHEDULES = [
    *map(
        Cron,
        (
            "30 2 * * *", "0 0 * * *", "0 1 * * *", "59 23 * * *", "15,45 0-4 * * *", "0 3 1,15 * 0", "1 0 * * mon",
            "0 * * * *", "*/15 * * * *", "*/15 0-3 * * *", "30 */2 * * *", "7 1-3 * * *", "* 2 * * *",
        ),
    ),
    Cron("0,30 0-3 * * *", fold="both"),
    Every("45m"),
]  # fmt: skip


seen = set()


def years(zone, soak):
    """Those named, and in a soak these, too."""
    return sorted({*SOME.get(zone, ()), *(soak if SOAK else ())})


@pytest.mark.parametrize("name", ZONES)
def test_no_change_of_the_clocks_is_missed(name):
    """Hour by hour, the offset is the one that the changes say."""
    zone = zoneinfo.ZoneInfo(name)
    for year in years(name, range(1975, 2038)):
        begins, ends = datetime(year, 1, 1, tzinfo=UTC), datetime(year + 1, 1, 1, tzinfo=UTC)
        offset, coming = offset_at(begins - MOMENT, zone), list(changes_in(zone, year))
        moment = begins
        while moment < ends:
            while coming and coming[0].at <= moment:
                assert coming[0].before == offset
                offset = coming.pop(0).after
            assert offset_at(moment, zone) == offset, moment
            moment += timedelta(hours=1)
        assert not coming
        parts = list(takewhile(lambda piece: piece.start < ends, pieces(zone, begins)))
        assert [a.end for a in parts] == [b.start for b in parts[1:]] + [parts[-1].end]


@pytest.mark.parametrize("name", ZONES)
def test_around_each_change_of_the_clocks_a_schedule_is_what_a_scan_of_every_minute_gives(name):
    zone = zoneinfo.ZoneInfo(name)
    for year in years(name, range(2021, 2031)):
        for change in changes_in(zone, year) or [None]:
            middle = change.at if change is not None else datetime(year, 7, 1, tzinfo=UTC)
            start, end = middle - timedelta(hours=28), middle + timedelta(hours=28)
            near = [c for y in (year - 1, year, year + 1) for c in changes_in(zone, y) if start < c.at < end]
            alike = (start, offset_at(start, zone), *near)
            if alike in seen:
                continue  # another zone, or another name of this one, has the same clocks then
            seen.add(alike)
            minutes = list(_minutes(start, end, zone))
            for schedule in SCHEDULES:
                found = list(takewhile(lambda at: at < end, schedule.instants(start - MOMENT, zone)))
                assert all(a < b for a, b in zip(found, found[1:], strict=False)), (schedule, change)
                wanted = [at for at in sorted(scan(schedule, zone, minutes)) if start <= at < end]
                assert found == wanted, (schedule, change)
