"""``flowsched`` and ``schedule_sane``: a schedule walked through in no time, and what is wrong with it told."""

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from flowkit.errors import FlowError, OptionError
from flowkit.testing import flow, properties
from flowkit.testing.schedulechecks import wrong
from flowkit.testing.timetables import served
from flowkit_plugins.schedule import Cron, Timetable

SHOP = """
from flowkit import Flow, task
from flowkit_plugins.schedule import At, Cron, Every
flow = Flow(schedule=[Cron("30 2 * * *"), Cron("0 12 * * 0", params={"n": 7})], timezone="Europe/Paris")

@task
def report(n: int = 1):
    return n
"""


def hours(ticks):
    return [tick.local.hour for tick in ticks]


def test_ticks_have_the_time_they_are_for_and_their_parameters(flowsched):
    ticks = flowsched(SHOP).between("2026-03-28", "2026-03-31")
    assert hours(ticks) == [2, 3, 12, 2]
    assert [dict(tick.params) for tick in ticks] == [{}, {}, {"n": 7}, {}]
    assert [tick.at for tick in ticks] == [tick.started for tick in ticks]
    assert ticks[1].at == datetime(2026, 3, 29, 1, tzinfo=UTC)
    assert ticks[2].schedule == "0 12 * * 0"


def test_another_zone_than_the_flows_can_be_tried(flowsched):
    assert hours(flowsched(SHOP).between("2026-03-07", "2026-03-10", tz="America/New_York")) == [2, 3, 12, 2]


def test_the_start_counts_and_the_end_does_not(flowsched):
    assert hours(flowsched(SHOP).between("2026-01-05T02:30", "2026-01-06T02:30")) == [2]


@pytest.mark.parametrize(
    ("catchup", "expected"),
    [("latest", ["04 02h", "04 12h"]), ("none", []), ("all", ["02 02h", "03 02h", "04 02h", "04 12h"])],
)
def test_after_an_outage_the_policy_decides_what_is_made_up_for(flowsched, catchup, expected):
    ticks = flowsched(SHOP).between("2026-01-01", "2026-01-06", down=[("2026-01-02", "2026-01-05T02:00")], catchup=catchup)
    made_up = [tick for tick in ticks if tick.started != tick.at]
    assert [f"{tick.local:%d %Hh}" for tick in made_up] == expected
    assert {tick.started for tick in made_up} <= {datetime(2026, 1, 5, 1, tzinfo=UTC)}
    assert [f"{tick.local:%d %Hh}" for tick in ticks if tick not in made_up] == ["01 02h", "05 02h"]


def test_what_would_be_started_now_can_be_asked(flowsched):
    assert hours(flowsched(SHOP).due("2026-01-01", "2026-01-03T09:00", catchup="all")) == [2, 2, 2]


@given(minutes=st.lists(st.integers(0, 4 * 1440), max_size=4))
@settings(max_examples=30, deadline=None)
def test_restarts_at_any_moments_change_nothing(flowsched, minutes):
    start = datetime(2026, 3, 28, tzinfo=UTC)
    moments = [start + timedelta(minutes=minute) for minute in minutes]
    shop = flowsched(SHOP)
    plain = shop.between(start, start + timedelta(days=4))
    assert shop.between(start, start + timedelta(days=4), down=[(m, m) for m in moments]) == plain


def test_a_year_of_hours_takes_no_time(flowsched):
    hourly = flowsched(SHOP.replace('Cron("30 2 * * *")', 'Cron("0 * * * *")'))
    begun = time.process_time()
    ticks = hourly.between("2026-01-01", "2027-01-01", down=[("2026-02-01", "2026-03-01"), ("2026-10-25T02:00", "2026-10-25T02:59")])
    assert time.process_time() - begun < 5
    assert len({(tick.at, tick.lane) for tick in ticks}) == len(ticks)
    hours_of_the_year, sundays = 365 * 24, 52
    made_up = 1  # of the Sundays in February; the hours have one at the very end of the outage
    assert len(ticks) == hours_of_the_year - 28 * 24 + sundays - 4 + made_up


def test_a_year_of_hourly_retries_takes_no_time(flowrun, faults):
    text = "from flowkit import task\n@task(retries={'times': 8760, 'delay': '1h'})\ndef load():\n    return 1\n"
    begun = time.process_time()
    r = flowrun(text, faults=faults.fail("load", times=8760, exc=ConnectionError))
    assert time.process_time() - begun < 20
    assert r.attempts["load"] == 8761
    assert sum(r.timeline.gaps("load")) == 365 * 86400


@pytest.mark.parametrize(
    ("use", "what"),
    [
        (lambda shop: shop.between("soon", "2026-01-01"), "'soon' is no time"),
        (lambda shop: shop.between("2026-01-01", "2026-01-02", tz="Mars"), "no time zone 'Mars'"),
        (lambda shop: shop.between("2026-01-01", "2026-01-02", catchup="some"), "unknown catchup 'some'"),
        (lambda shop: shop.between("2026-01-01", "2026-01-02", down=[("2026-01-03", "2026-01-02")]), "ends before it begins"),
    ],
)
def test_wrong_questions_are_refused(flowsched, use, what):
    with pytest.raises(OptionError, match=what):
        use(flowsched(SHOP))


def test_a_flow_without_a_schedule_says_how_to_give_it_one(flowsched):
    with pytest.raises(FlowError, match="the flow has no schedule") as caught:
        flowsched("from flowkit import task\n@task\ndef a(): return 1\n")
    assert "flow = Flow(schedule=" in str(caught.value)


# --- schedule_sane ----------------------------------------------------------------------------

NIGHTLY = Timetable(schedules=[Cron("30 2 * * *")])
START, END = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 5, tzinfo=UTC)


def lost(ticks):
    return ticks[:1] + ticks[2:]


def doubled(ticks):
    return [ticks[0], *ticks]


def early(ticks):
    return [replace(ticks[0], at=ticks[0].at - timedelta(hours=1)), *ticks[1:]]


def late(ticks):
    return [*ticks[:-1], replace(ticks[-1], started=ticks[-1].at + timedelta(hours=1))]


@pytest.mark.parametrize(
    ("spoil", "what"),
    [
        (lost, "2026-01-02T02:30:00+00:00 is lost"),
        (doubled, "2026-01-01T02:30:00+00:00 comes after 2026-01-01T02:30:00+00:00"),
        (early, "2026-01-01T02:30:00+00:00 is lost"),
        (late, "2026-01-04T02:30:00+00:00 is lost"),
        (list, ""),
    ],
)
def test_what_is_wrong_with_what_a_service_started_is_told(spoil, what):
    assert wrong(NIGHTLY, spoil(served(NIGHTLY, START, END)), START, END, []) == what


def test_the_property_is_a_hypothesis_test_of_a_flow_and_holds():
    quiet = settings(max_examples=20, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    quiet(properties.schedule_sane(flow(SHOP)))()


def test_flowkit_test_says_that_there_is_nothing_to_check(project):
    project.write("m.py", "from flowkit import task\n@task\ndef a(): return 1\n")
    done = project.flowkit("test", "m.py", "--only", "schedule_sane")
    assert done.exit_code == 0
    assert "nothing to check: the flow has no schedule" in done.out
    assert "0 hold, 1 had nothing to check" in done.out


def test_a_failure_is_replayed_with_its_window(project, monkeypatch):
    project.write("m.py", SHOP)
    done = project.flowkit("test", "m.py", "--only", "schedule_sane", "--examples", "10")
    assert "1 hold" in done.out
    from flowkit.testing.sandbox import Case
    from flowkit.testing.tokens import read_token, token

    word = token("schedule_sane", Case(extra=[1774656000, 172800, [[3600, 7200]]]))
    assert read_token(word)[1].extra == [1774656000, 172800, [[3600, 7200]]]
    again = project.flowkit("test", "m.py", "--replay", word)
    assert "schedule_sane holds for this case" in again.out
