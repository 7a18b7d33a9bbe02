"""Schedules: what a user may write, when that is, what is due after an outage, and ``flowkit next``."""

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

import pytest

import flowkit
from flowkit.errors import OptionError
from flowkit_plugins.schedule import At, Cron, Every, Timetable, Watch, due
from flowkit_plugins.schedule.expressions import NICKNAMES, parse
from flowkit_plugins.schedule.zones import instant_of, read_zone

PARIS = ZoneInfo("Europe/Paris")


def local(schedule, after, count=3, zone=PARIS):
    """The next times as ``28. 02:30+01:00``."""
    start = datetime.fromisoformat(after).replace(tzinfo=zone)
    found = islice(schedule.instants(start, zone), count)
    return [f"{at.astimezone(zone):%d. %H:%M%z}" for at in found]


def utc(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def hours(firings):
    return [firing.at.hour for firing in firings]


# --- expressions ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "means"),
    [
        ("0-0 * * * *", "0 * * * *"),
        ("0 0 * * 0-0", "0 0 * * 0"),
        ("0 0 * * 7", "0 0 * * 0"),
        ("0 0 * * fri-7", "0 0 * * 0,5,6"),
        ("0 0 * * Mon-Sun", "0 0 * * *"),
        ("* * * * *,0", "* * * * *"),
        ("5/20 * ? JAN,jun-aug *", "5,25,45 * * 1,6,7,8 *"),
        ("0 0 */1 * 1", "0 0 * * 1"),
        ("0 0 1 * 1", "0 0 1 * 1"),
        ("  0   6 * *   1-5 ", "0 6 * * 1,2,3,4,5"),
        *((nickname, parse(means).written_out) for nickname, means in NICKNAMES.items()),
    ],
)
def test_an_expression_is_written_out_so_that_it_has_one_reading(written, means):
    assert parse(written).written_out == means


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        ("0 6 * *", "4 of the five fields"),
        ("* * * * * *", "6 fields: tools do not agree"),
        ("15m", "write Every('15m')"),
        ("@reboot", "none of @hourly"),
        ("60 * * * *", "minute 60 is not within 0-59"),
        ("0 24 * * *", "hour 24 is not within 0-23"),
        ("0 0 0 * *", "day of month 0 is not within 1-31"),
        ("0 0 * 13 *", "month 13 is not within 1-12"),
        ("0 0 * * 8", "weekday 8 is not within 0-7"),
        ("0 0 * * monday", "'monday' is none of 0-7, or sun, mon"),
        ("0 0 L * *", "'L' is none of 1-31"),
        ("H H * * *", "'H' is none of 0-59"),
        ("0 22-2 * * *", "runs backwards: write '22-23,0-2'"),
        ("*/0 * * * *", "a whole number above 0"),
        ("*/90 * * * *", "90 is never reached. Every('90m') counts on"),
        ("0 ? * * *", "hour '?'"),
        ("0,,5 * * * *", "'' is none of"),
        ("٣ * * * *", "is none of 0-59"),
        ("0 0 31 2 *", "it never fires: no such month has a day 31"),
        ("0 0 31 4,6 *", "it never fires"),
        ("0 0 */2 * 1", "Write it as '1-31/2' for either"),
        ("0 0 1 * */2", "Write it as '0-6/2' for either"),
        ("0 0 1-31 * 1", "it names every day"),
        ("0 0 1 * 0-6", "it names every day"),
    ],
)
def test_what_cannot_be_meant_or_is_read_differently_is_refused(written, problem):
    with pytest.raises(ValueError) as caught:
        parse(written)
    assert problem in str(caught.value)


def test_a_day_that_only_leap_years_have_is_found():
    assert local(Cron("0 0 29 2 *"), "2096-03-01", 1) == ["29. 00:00+0100"]
    assert next(Cron("0 0 29 2 *").instants(utc("2096-03-01"), UTC)) == utc("2104-02-29")


def test_a_day_of_month_beside_a_weekday_means_either():
    assert local(Cron("0 0 10 * mon"), "2026-06-07", 3) == ["08. 00:00+0200", "10. 00:00+0200", "15. 00:00+0200"]


# --- when the clocks change -------------------------------------------------------------------


def test_a_time_that_does_not_exist_is_due_right_after_the_gap():
    assert local(Cron("30 2 * * *"), "2026-03-28") == ["28. 02:30+0100", "29. 03:00+0200", "30. 02:30+0200"]


def test_several_times_in_a_gap_and_one_at_its_end_are_one():
    assert local(Cron("0,30 2,3 * * *"), "2026-03-29") == ["29. 03:00+0200", "29. 03:30+0200", "30. 02:00+0200"]


def test_a_time_that_occurs_twice_is_due_the_first_time():
    assert local(Cron("30 2 * * *"), "2026-10-25", 2) == ["25. 02:30+0200", "26. 02:30+0100"]


def test_with_fold_both_it_is_due_both_times():
    found = local(Cron("0,30 2 * * *", fold="both"), "2026-10-25", 4)
    assert found == ["25. 02:00+0200", "25. 02:30+0200", "25. 02:00+0100", "25. 02:30+0100"]


@pytest.mark.parametrize("expression", ["*/30 2 * * *", "0,30 */2 * * *"])
def test_what_begins_with_a_star_follows_real_time(expression):
    """In the minute field or in the hour field."""
    assert [t for t in local(Cron(expression), "2026-03-29", 9) if "29. 0" in t and "29. 00" not in t and "29. 03" in t] == []
    assert [t for t in local(Cron(expression), "2026-10-25", 9) if "25. 02" in t] == [
        "25. 02:00+0200", "25. 02:30+0200", "25. 02:00+0100", "25. 02:30+0100",
    ]  # fmt: skip


def test_an_interval_is_elapsed_time():
    assert local(Every("1h"), "2026-03-29T01:00", 2) == ["29. 03:00+0200", "29. 04:00+0200"]
    assert local(Every("6h", start="2026-03-28T21:00"), "2026-03-28", 2) == ["28. 21:00+0100", "29. 04:00+0200"]


def test_moments_of_the_zone_that_are_skipped_or_occur_twice_are_as_in_expressions():
    moments = At(["2026-03-29T02:30", "2026-10-25T02:30", "2026-10-25T02:30+01:00", datetime(2026, 3, 29, 1, tzinfo=UTC)])
    assert local(moments, "2026-03-01", 9) == ["29. 03:00+0200", "25. 02:30+0200", "25. 02:30+0100"]


def test_a_skipped_day_is_the_moment_at_which_it_is_skipped():
    apia = ZoneInfo("Pacific/Apia")
    assert instant_of(datetime(2011, 12, 30, 12), apia) == utc("2011-12-30T10:00")
    assert local(Cron("0 12 * * *"), "2011-12-29", 3, apia) == ["29. 12:00-1000", "31. 00:00+1400", "31. 12:00+1400"]


def test_the_time_asked_from_may_have_any_offset():
    start = datetime.fromisoformat("2026-03-29T02:30+02:00")
    assert next(Cron("45 0 * * *").instants(start, UTC)) == utc("2026-03-29T00:45")
    assert next(Every("1h").instants(start, UTC)) == utc("2026-03-29T01:00")


# --- values -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda: Cron(5), "a cron expression is text"),
        (lambda: Cron("0 0 * * *", fold="second"), "fold is 'first' or 'both'"),
        (lambda: Cron("0 0 * * *", params=[1]), "params: a mapping"),
        (lambda: Cron("0 0 * * *", params={1: 2}), "params: 1 is no name"),
        (lambda: Every("0s"), "at least a second"),
        (lambda: Every("soon"), "'soon' is no duration"),
        (lambda: Every("1h", start="soon"), "'soon' is no moment"),
        (lambda: Every("40000d"), "at most a hundred years"),
        (lambda: Every("99999999999d"), "Every"),
        (lambda: Every("1h", start="1066-10-14"), "between the years 1900 and 9000"),
        (lambda: At("9999-12-31"), "between the years 1900 and 9000"),
        (lambda: At([]), "the list is empty"),
        (lambda: At("soon"), "'soon' is no moment"),
        (lambda: At([5]), "a datetime, or text"),
        (lambda: At(5), "a list of moments"),
    ],
)
def test_a_schedule_that_is_written_wrongly_says_what_where_and_what_to_write(make, problem):
    with pytest.raises(ValueError) as caught:
        make()
    assert isinstance(caught.value, OptionError)
    assert problem in caught.value.what
    assert "test_schedule.py:" in caught.value.known
    assert caught.value.remedy.startswith("Write ")


def test_a_schedule_shows_itself_as_it_is_written():
    assert repr(Cron("0 6 * * *", params={"n": 1})) == "Cron('0 6 * * *', params={'n': 1})"
    assert repr(Every(5400, start="2026-01-01")) == "Every('1h30m', start='2026-01-01T00:00:00')"
    assert [Every(n).text for n in ("45s", "15m", "1h", "36h", "2d", "1.5s")] == [
        "every 45s", "every 15m", "every 1h", "every 36h", "every 2d", "every 1.5s",
    ]  # fmt: skip
    assert At(["2026-01-01"] * 4).text == "at 2026-01-01T00:00, 2026-01-01T00:00, 2026-01-01T00:00, …"


def test_a_zone_that_is_not_there_is_refused_with_the_nearest():
    with pytest.raises(ValueError, match="Did you mean 'Europe/Budapest'"):
        read_zone("Europe/Budapset")
    with pytest.raises(ValueError, match="Did you mean 'America/New_York'"):
        read_zone("New_York")
    with pytest.raises(ValueError, match="no time zone '../etc/passwd'"):
        read_zone("../etc/passwd")
    for written in (5, datetime(2026, 1, 1).tzinfo or object()):
        with pytest.raises(TypeError, match="the name of a time zone"):
            read_zone(written)


def test_a_zone_may_be_a_zone():
    assert read_zone(PARIS) is PARIS
    assert read_zone(UTC) is read_zone("UTC") is UTC
    assert read_zone(None) is None


# --- timetables and catching up ---------------------------------------------------------------

HOURLY = Timetable(schedules=[Every("1h")])
TWO = Timetable(schedules=[Every("1h"), Every("2h", params={"n": 2}), Every("2h")])


def test_schedules_with_equal_parameters_make_one_firing_of_one_time():
    found = list(islice(TWO.after(utc("2026-01-01")), 4))
    assert [(f.at.hour, f.lane, dict(f.params)) for f in found] == [(1, 0, {}), (2, 0, {}), (2, 1, {"n": 2}), (3, 0, {})]


@pytest.mark.parametrize(("catchup", "expected"), [("all", [1, 2, 3, 4, 5]), ("latest", [5]), ("none", [])])
def test_after_an_outage_each_policy_runs_its_share_of_what_was_missed(catchup, expected):
    assert hours(due(HOURLY, utc("2026-01-01T00:00"), utc("2026-01-01T05:30"), catchup)) == expected


def test_each_set_of_parameters_has_its_own_latest():
    found = due(TWO, utc("2026-01-01T00:00"), utc("2026-01-01T05:30"))
    assert [(f.at.hour, dict(f.params)) for f in found] == [(4, {"n": 2}), (5, {})]
    assert [f.lane for f in found] == [1, 0]


@pytest.mark.parametrize("catchup", ["all", "latest", "none"])
def test_what_is_due_at_this_very_moment_is_on_time(catchup):
    assert hours(due(HOURLY, utc("2026-01-01T04:30"), utc("2026-01-01T05:00"), catchup)) == [5]
    assert hours(due(HOURLY, None, utc("2026-01-01T05:00"), catchup)) == [5]


def test_a_minute_late_is_on_time_and_more_is_not():
    assert hours(due(HOURLY, utc("2026-01-01T00:00"), utc("2026-01-01T05:01"), "none")) == [5]
    assert due(HOURLY, utc("2026-01-01T00:00"), utc("2026-01-01T05:01:01"), "none") == []


@pytest.mark.parametrize("catchup", ["all", "latest", "none"])
def test_what_was_dealt_with_is_never_due_again(catchup):
    assert due(HOURLY, utc("2026-01-01T05:00"), utc("2026-01-01T05:00"), catchup) == []
    assert due(HOURLY, utc("2026-01-01T05:00"), utc("2026-01-01T03:00"), catchup) == []


def test_a_flow_seen_for_the_first_time_has_missed_nothing():
    assert due(HOURLY, None, utc("2026-01-01T05:30"), "all") == []


def test_the_latest_of_a_long_outage_is_found_without_walking_through_it():
    seconds = Timetable(schedules=[Every("1s")])
    (found,) = due(seconds, utc("1990-01-01"), utc("2026-01-01T00:00:00"))
    assert found.at == utc("2026-01-01")
    (rare,) = due(Timetable(schedules=[Cron("0 0 29 2 *")]), utc("1990-01-01"), utc("2026-01-01"))
    assert rare.at == utc("2024-02-29")


def test_a_watch_that_continues_another_loses_and_doubles_nothing():
    first = Watch(HOURLY, utc("2026-01-01T00:00"))
    assert first.look(utc("2026-01-01T00:30")) == []
    assert first.next() == utc("2026-01-01T01:00")
    assert hours(first.look(utc("2026-01-01T01:00"))) == [1]
    second = Watch(HOURLY, first.last)
    assert second.look(utc("2026-01-01T01:00")) == []
    assert second.next() == utc("2026-01-01T02:00")
    assert hours(second.look(utc("2026-01-01T02:00"))) == [2]


def test_a_clock_that_was_put_back_starts_nothing_twice():
    watch = Watch(HOURLY, utc("2026-01-01T05:30"))
    watch.look(utc("2026-01-01T06:00"))
    assert watch.look(utc("2026-01-01T03:00")) == []
    assert watch.last == utc("2026-01-01T06:00")
    assert watch.next() == utc("2026-01-01T07:00")


def test_a_watch_whose_machine_slept_catches_up():
    watch = Watch(HOURLY, utc("2026-01-01T00:00"))
    watch.look(utc("2026-01-01T00:30"))
    assert hours(watch.look(utc("2026-01-01T09:30"))) == [9]
    assert watch.next() == utc("2026-01-01T10:00")


def test_a_timetable_ends_with_its_last_moment():
    watch = Watch(Timetable(schedules=[At("2026-01-01T01:00")]), utc("2026-01-01T00:00"))
    watch.look(utc("2026-01-01T00:00:01"))
    assert hours(watch.look(utc("2026-01-01T01:00"))) == [1]
    assert watch.next() is None
    assert watch.look(utc("2027-01-01")) == []


# --- flows ------------------------------------------------------------------------------------

SHOP = """
    from flowkit import Flow, task
    from flowkit_plugins.schedule import At, Cron, Every
    from pydantic import SecretStr
    flow = Flow({options})

    @task
    def report(n: int = 1, key: SecretStr = SecretStr("none")):
        return n
"""


def refusal(project, options):
    project.write("shop.py", SHOP.format(options=options))
    with pytest.raises(flowkit.FlowError) as caught:
        flowkit.run("shop.py")
    return [(e.what, e.known, e.remedy) for e in caught.value.errors]


@pytest.mark.parametrize(
    ("options", "what", "remedy"),
    [
        ("schedule='0 25 * * *'", "Flow (shop.py:5): schedule='0 25 * * *' does not fit: hour 25", "Write it"),
        ("schedule=[Cron('0 25 * * *')]", "Cron('0 25 * * *'): hour 25 is not within 0-23", "Write minute, hour"),
        ("schedule=5", "a cron expression, or Cron, Every, At", "Write it"),
        ("schedule=[]", "the list is empty", "Write it"),
        ("schedule='@daily', timezone='Mars'", "there is no time zone 'Mars'", "Write it"),
        ("schedule='@daily', catchup='some'", "one of latest, none, all, not 'some'", "Write it"),
        ("schedule='@daily', overlap='skip'", "unknown option 'overlap'", "Remove it"),
        ("schedule=Cron('@daily', params={'m': 1})", "gives 'm', which is no parameter", "Remove it"),
        ("schedule=Cron('@daily', params={'n': 'x'})", "gives parameter 'n' of task 'report' (shop.py:7)", "Mend params="),
    ],
)
def test_a_flow_with_a_wrong_schedule_is_refused_before_anything_runs(project, options, what, remedy):
    ((said, known, hint),) = refusal(project, options)
    assert what in said
    assert known
    assert remedy in hint


def following(project, options, *words):
    project.write("shop.py", SHOP.format(options=options))
    done = project.flowkit("next", "shop.py", *words)
    return done.out.splitlines(), done


def test_next_prints_a_firing_a_line_local_with_its_offset(project):
    lines, _ = following(project, "schedule='30 2 * * *', timezone='Europe/Paris'", "-n", "3", "--at", "2026-03-28")
    assert lines == [
        "2026-03-28T02:30:00+01:00",
        "2026-03-29T03:00:00+02:00  (clocks change: 02:00 -> 03:00)",
        "2026-03-30T02:30:00+02:00",
    ]


def test_next_names_the_schedule_and_its_parameters_if_there_are_several(project):
    options = "schedule=[Cron('0 6 * * *', params={'n': 2, 'key': 'hunter2'}), Every('12h')]"
    lines, _ = following(project, options, "-n", "2", "--at", "2026-01-01")
    assert lines == [
        '2026-01-01T06:00:00+00:00  0 6 * * *  {"n": 2, "key": "**********"}',
        "2026-01-01T12:00:00+00:00  every 12h",
    ]


def test_next_leaves_out_the_time_it_is_asked_from(project):
    lines, _ = following(project, "schedule='0 6 * * *'", "-n", "1", "--at", "2026-01-01T06:00")
    assert lines == ["2026-01-02T06:00:00+00:00"]
    lines, _ = following(project, "schedule='0 6 * * *'", "-n", "1", "--at", "2026-01-01T07:59+02:00")
    assert lines == ["2026-01-01T06:00:00+00:00"]


def test_next_says_it_in_json(project):
    lines, _ = following(project, "schedule='30 2 * * *', timezone='Europe/Paris'", "-n", "1", "--at", "2026-03-29", "--json")
    assert [json.loads(line) for line in lines] == [
        {
            "at": "2026-03-29T01:00:00+00:00", "local": "2026-03-29T03:00:00+02:00", "flow": "shop.py",
            "schedule": "30 2 * * *", "params": {}, "clocks": ["2026-03-29T02:00:00", "2026-03-29T03:00:00"],
        }
    ]  # fmt: skip


def test_next_of_a_folder_tells_its_flows_apart(project):
    project.write("other.py", SHOP.format(options="schedule='0 7 * * *'"))
    project.write("never.py", "from flowkit import task\n@task\ndef a(): pass\n")
    project.write("shop.py", SHOP.format(options="schedule='0 6 * * *'"))
    done = project.flowkit("next", ".", "-n", "2", "--at", "2026-01-01")
    assert done.out.splitlines() == ["2026-01-01T06:00:00+00:00  shop.py", "2026-01-01T07:00:00+00:00  other.py"]


def test_next_after_now_gives_ten(project):
    lines, _ = following(project, "schedule='@hourly'")
    assert len(lines) == 10
    assert datetime.fromisoformat(lines[0]) > datetime.now(UTC) - timedelta(hours=1)


def test_time_ends_before_python_does(project):
    for options in ("schedule='0 0 * * *', timezone='Europe/Paris'", "schedule=Every('1d')", "schedule='0 0 29 2 *'"):
        lines, done = following(project, options, "--at", "8999-12-30T12:00")
        assert done.exit_code == 0
        assert len(lines) <= 2


def test_next_of_a_schedule_that_is_over_says_so(project):
    lines, done = following(project, "schedule=At('2020-01-01')", "--at", "2026-01-01")
    assert lines == []
    assert "shop.py is never due again" in done.err
    assert done.exit_code == 0


@pytest.mark.parametrize(
    ("options", "words", "what", "remedy"),
    [
        ("", (), "shop.py: has no schedule", "flow = Flow(schedule="),
        ("schedule='@daily'", ("--at", "soon"), "--at soon: no time", "Write it like 2026-03-28"),
        ("schedule='@daily'", ("--at", "0001-01-01"), "between the years 1900 and 9000", "Write it like 2026-03-28"),
        ("schedule='@daily'", ("--at", "9999-12-31T23:59"), "between the years 1900 and 9000", "Write it like 2026-03-28"),
        ("schedule='@daily'", ("-n", "0"), "'-n'", "--help"),
    ],
)
def test_next_says_what_to_do_about_wrong_input(project, options, words, what, remedy):
    _, done = following(project, options, *words)
    assert done.exit_code == 4
    assert what in done.err
    assert remedy in done.err


# --- without croniter -------------------------------------------------------------------------


def test_without_croniter_a_flow_runs_and_only_its_times_need_it(project, monkeypatch):
    project.write("hidden/croniter.py", "raise ImportError('hidden')\n")
    project.write("shop.py", SHOP.format(options="schedule='0 6 * * *'"))
    environment = project.environment()
    environment["PYTHONPATH"] = f"{project.root / 'hidden'}:{environment.get('PYTHONPATH', '')}"

    def flowkit_command(*words):
        return subprocess.run(
            [sys.executable, "-m", "flowkit", *words], cwd=project.root, env=environment, capture_output=True, text=True, check=False
        )

    assert flowkit_command("run", "shop.py").returncode == 0
    done = flowkit_command("next", "shop.py")
    assert done.returncode == 4
    assert "needs croniter, which is not installed" in done.stderr
    assert "pip install 'flowkit-run[schedule]'" in done.stderr


def test_a_flow_without_a_schedule_loads_nothing_of_it(project):
    project.write("m.py", "from flowkit import Flow, task\nflow = Flow('m')\n@task\ndef a(): return 1\n")
    code = (
        "import sys, flowkit; assert flowkit.run('m.py').ok\n"
        "print([m for m in sys.modules if m.startswith(('flowkit_plugins.schedule.', 'croniter', 'zoneinfo'))])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=project.root, env=project.environment(), capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"
