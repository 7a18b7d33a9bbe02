"""Retries: how many, how soon, for which errors, and until when."""

from __future__ import annotations

import json
import pickle
import re
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plugin_attempts import a_run, a_session, a_task, an_attempt, the_report

from flowkit.errors import TaskTimeout, WorkerLost
from flowkit.hookspecs import Again
from flowkit_plugins import retry
from flowkit_plugins.retry import LONGEST, Retry, RetryAfter, read

HERE = Path(__file__).parent
VECTORS = json.loads((HERE.parent / "data" / "vectors" / "backoff.json").read_text())
DIFFERENCES = (HERE.parents[1] / "docs" / "reference" / "differences.md").read_text()


def failed(number=1, *, error=None, kind="error", ended=10.0, run=None, node=None, **fields):
    """An attempt of ``fetch`` that failed, ten seconds into the run unless said otherwise."""
    attempt = an_attempt(a_task(retries=Retry(**fields)), number=number, run=run, started=ended - 1)
    if node is not None:
        attempt.unit = node
    attempt.kind = kind
    attempt.error = error or ConnectionError("refused")
    attempt.ended_at = ended
    return attempt


@pytest.fixture
def session():
    return a_session(retry)


@pytest.fixture
def decide(session):
    return session.plugins.caller("flowkit_attempt_failed", first=True)


# --- how many ---------------------------------------------------------------------------------


def test_the_third_failure_of_three_retries_is_tried_once_more(decide):
    assert decide(failed(3, times=3)) == Again(not_before=10.0, reason="retry 3 of 3")


def test_the_fourth_failure_stands(decide):
    assert decide(failed(4, times=3)) is None


def test_a_task_without_retries_fails_at_once(decide):
    attempt = failed()
    attempt.task.options.clear()
    assert decide(attempt) is None
    attempt.task.options["retries"] = None
    assert decide(attempt) is None


def test_no_times_means_no_retry(decide):
    assert decide(failed(1, times=0)) is None


# --- how soon ---------------------------------------------------------------------------------


def test_the_reason_says_which_retry_and_how_soon(decide):
    assert decide(failed(1, delay="2s")) == Again(not_before=12.0, reason="retry 1 of 3 in 2s")
    assert decide(failed(1, delay=0.25)).reason == "retry 1 of 3 in 250ms"
    assert decide(failed(2, delay="1h30m")).reason == "retry 2 of 3 in 1h30m"


def test_the_delay_counts_from_the_end_of_the_attempt(decide):
    assert decide(failed(2, ended=70.0, delay=5, backoff=3)).not_before == 85.0


def test_listed_delays_are_taken_in_order_and_the_last_repeats():
    policy = Retry(5, ["2s", "5s", timedelta(seconds=15)])
    assert [policy.wait(n, float) for n in range(1, 6)] == [2, 5, 15, 15, 15]


def test_as_many_retries_as_delays_are_listed():
    assert read({"delay": ["2s", "5s"]}).times == 2
    assert Retry(delay=[1] * 7).times == 7
    assert Retry(times=1, delay=[1, 2]).times == 1


def test_jitter_multiplies_by_half_to_one_and_a_half():
    policy = Retry(delay=10, backoff=2, jitter=True)
    assert [policy.wait(2, lambda d=d: d) for d in (0.0, 0.5, 1.0)] == [10.0, 20.0, 30.0]


def test_jitter_comes_from_the_sessions_source_of_chance():
    waits = [
        a_session(retry).plugins.caller("flowkit_attempt_failed", first=True)(
            failed(delay=10, jitter=True)
        )
        for _ in range(2)
    ]
    assert waits[0] == waits[1]
    assert 15.0 <= waits[0].not_before <= 25.0


def test_jitter_never_goes_above_max_delay():
    assert Retry(delay=10, max_delay=12, jitter=True).wait(1, lambda: 1.0) == 12.0


def test_a_power_beyond_all_numbers_is_a_long_wait_and_no_error():
    assert Retry(9999, 1, backoff=2).wait(5001, float) == LONGEST
    assert Retry(9999, 1, backoff=2, max_delay="5m").wait(5001, float) == 300.0
    assert Retry(9999, 0, backoff=2).wait(5001, float) == 0.0


@given(
    delay=st.floats(0, 1e6),
    backoff=st.floats(0, 10),
    number=st.integers(1, 10_000),
    draw=st.floats(0, 1),
)
def test_a_wait_is_never_negative_and_never_above_max_delay(delay, backoff, number, draw):
    policy = Retry(50, delay, backoff=backoff, max_delay=60.0, jitter=True)
    assert 0.0 <= policy.wait(number, lambda: draw) <= 60.0


# --- for which errors -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("timeout", TaskTimeout("took too long")),
        ("lost", WorkerLost("gone")),
        ("setup", OSError("no database")),
        ("pickle", TypeError("cannot pickle")),
    ],
)
def test_every_kind_of_failure_is_judged_by_its_error(decide, kind, error):
    assert decide(failed(kind=kind, error=error)) is not None
    assert decide(failed(kind=kind, error=error, on=type(error))) is not None
    assert decide(failed(kind=kind, error=error, unless=type(error))) is None
    assert decide(failed(kind=kind, error=error, on=(ZeroDivisionError,))) is None


def test_a_timeout_is_a_timeout_error(decide):
    assert decide(failed(kind="timeout", error=TaskTimeout("late"), on=TimeoutError)) is not None


def test_on_and_unless_match_subclasses(decide):
    assert decide(failed(error=ConnectionResetError(), on=OSError)) is not None
    assert (
        decide(failed(error=ConnectionResetError(), on=OSError, unless=(ConnectionError,))) is None
    )


def test_an_exit_is_no_exception_and_is_not_retried_unless_named(decide):
    assert decide(failed(error=SystemExit(3))) is None
    assert decide(failed(error=KeyboardInterrupt())) is None
    assert decide(failed(error=SystemExit(3), on=SystemExit)) is not None


def test_fail_is_final(decide):
    attempt = failed()
    attempt.final = True
    assert decide(attempt) is None


def test_what_was_cancelled_is_not_tried_again(decide):
    assert decide(failed(kind="cancelled")) is None


# --- until when -------------------------------------------------------------------------------


def test_no_attempt_begins_after_within_counted_from_the_first_start(decide):
    first = failed(1, ended=10.0, delay=20, within=60, times=9)
    assert decide(first).not_before == 30.0
    node = first.unit
    assert decide(failed(2, ended=49.0, delay=20, within=60, times=9, node=node)).not_before == 69.0
    assert decide(failed(3, ended=49.5, delay=20, within=60, times=9, node=node)) is None


def test_within_is_kept_per_node(decide):
    assert decide(failed(1, ended=10.0, within=60)) is not None
    assert decide(failed(1, ended=500.0, within=60)) is not None


def test_a_run_that_ended_is_forgotten(session, decide):
    first = failed(1, ended=10.0, within=60)
    assert decide(first) is not None
    session.plugins.caller("flowkit_run_ended")(the_report(first.run))
    assert decide(failed(2, ended=900.0, within=60, node=first.unit)) is not None


def test_nothing_is_remembered_of_tasks_without_within(session, decide):
    decide(failed())
    assert session.plugins.manager.get_plugin("retry:state")._began == {}


# --- RetryAfter -------------------------------------------------------------------------------


def test_retry_after_is_retried_at_that_time_whatever_on_and_unless_say(decide):
    attempt = failed(
        2, error=RetryAfter("30s"), on=OSError, unless=RetryAfter, delay=1, max_delay=2
    )
    assert decide(attempt) == Again(not_before=40.0, reason="retry 2 of 3 in 30s")


def test_retry_after_spends_retries(decide):
    assert decide(failed(4, error=RetryAfter(1))) is None


def test_retry_after_without_retries_is_a_plain_failure(decide):
    attempt = failed(error=RetryAfter(1))
    attempt.task.options.clear()
    assert decide(attempt) is None


def test_retry_after_honours_within(decide):
    assert decide(failed(error=RetryAfter("2m"), within="1m")) is None


def test_retry_after_takes_every_form_of_duration_and_survives_pickling():
    for delay in (30, 30.0, "30s", timedelta(seconds=30)):
        copy = pickle.loads(pickle.dumps(RetryAfter(delay)))
        assert copy.delay == 30.0
        assert str(copy) == "asked to be called again in 30s"
    with pytest.raises(ValueError, match="no duration"):
        RetryAfter("soon")


# --- the option -------------------------------------------------------------------------------


def convert(written):
    (option,) = a_session(retry).plugins.all("flowkit_task_options")[0][1]
    assert option.name == "retries"
    assert option.default is None
    return option.convert(written)


def test_a_number_is_that_many_retries_at_once():
    assert convert(3) == Retry(times=3) == Retry()
    assert (Retry().delay, Retry().backoff, Retry().max_delay, Retry().within) == (0, 1, None, None)
    assert (Retry().jitter, Retry().on, Retry().unless) == (False, (Exception,), ())
    assert convert(0).times == 0


def test_a_mapping_is_the_same_as_the_typed_value():
    written = {"times": 5, "delay": "1s", "backoff": 2, "max_delay": "5m", "jitter": True}
    written |= {"on": [OSError], "unless": PermissionError, "within": "1h"}
    assert convert(written) == Retry(
        5,
        1,
        backoff=2,
        max_delay=300,
        jitter=True,
        on=(OSError,),
        unless=PermissionError,
        within=3600,
    )
    assert convert(Retry(2)) == Retry(2)
    assert convert(None) is None


def test_a_policy_survives_pickling():
    policy = Retry(2, "1s", on=(OSError,))
    assert pickle.loads(pickle.dumps(policy)) == policy


@pytest.mark.parametrize(
    ("written", "complaint"),
    [
        (True, "a number, a mapping or a Retry"),
        ("3", "a number, a mapping or a Retry"),
        (2.0, "a number, a mapping or a Retry"),
        (-1, "times: 0 or more"),
        ({"times": True}, "times: a whole number"),
        ({"times": 1.5}, "times: a whole number"),
        ({"dely": 1}, "Did you mean 'delay'"),
        ({"delay": "soon"}, "delay: 'soon' is no duration"),
        ({"delay": []}, "delay: the list is empty"),
        ({"delay": -1}, "delay: a duration is finite"),
        ({"delay": [1, 2], "backoff": 2}, "delay: a list says each wait"),
        ({"backoff": -1}, "backoff: finite and not negative"),
        ({"backoff": float("nan")}, "backoff: finite and not negative"),
        ({"backoff": "2"}, "backoff: a number"),
        ({"jitter": 0.5}, "jitter: True or False"),
        ({"on": "OSError"}, "on: exception classes"),
        ({"on": [OSError, 3]}, "on: exception classes"),
        ({"unless": ValueError("x")}, "unless: exception classes"),
        ({"within": "1 fortnight"}, "within: "),
    ],
)
def test_what_does_not_fit_is_refused_and_says_what_is_wanted(written, complaint):
    with pytest.raises((TypeError, ValueError), match=re.escape(complaint)):
        convert(written)


# --- other tools' rows ------------------------------------------------------------------------

FIBONACCI = [1, 1, 2, 3, 5, 8, 13]

EQUIVALENT = {
    "tenacity: none": Retry(99),
    "tenacity: fixed 1": Retry(99, 1),
    "tenacity: incrementing start=500 increment=100": Retry(delay=[500, 600, 700]),
    "tenacity: exponential": Retry(99, 1, backoff=2),
    "tenacity: exponential max=40": Retry(99, 1, backoff=2, max_delay=40),
    "tenacity: exponential multiplier=1 max=50": Retry(99, 1, backoff=2, max_delay=50),
    "tenacity: chain fixed 1,1,4,4,8 (last one repeats)": Retry(99, [1, 1, 4, 4, 8]),
    "tenacity: exponential_jitter multiplier=10 max=60 jitter=0": Retry(
        99, 10, backoff=2, max_delay=60
    ),
    "backoff: expo": Retry(99, 1, backoff=2),
    "backoff: expo base=3": Retry(99, 1, backoff=3),
    "backoff: expo factor=3": Retry(99, 3, backoff=2),
    "backoff: expo base=3 factor=5": Retry(99, 5, backoff=3),
    "backoff: expo max_value=16": Retry(99, 1, backoff=2, max_delay=16),
    "backoff: fibo": Retry(delay=FIBONACCI),
    "backoff: fibo max_value=8": Retry(99, FIBONACCI, max_delay=8),
    "backoff: constant 3": Retry(99, 3),
    "prefect3: exponential_backoff factor=10": Retry(3, 10, backoff=2),
    "prefect3: list of delays [2,5,15], retries=3 (examples/run_api_sourced_etl.py)": Retry(
        delay=[2, 5, 15]
    ),
}

ROWS = {
    f"{tool}: {row['strategy']}": row
    for tool in ("tenacity", "backoff", "prefect3", "bounds")
    for row in VECTORS[tool]
}


def listed_as_different():
    section = DIFFERENCES.split("## Back-off", 1)[1].split("\n## ", 1)[0]
    rows = [line for line in section.splitlines() if line.startswith("| ")][2:]
    return {row.split("|")[1].strip() for row in rows}


@pytest.mark.parametrize("name", sorted(EQUIVALENT))
def test_a_row_of_another_tool_is_met_by_its_equivalent(name):
    row = ROWS[name]
    retries = row.get("attempts", range(1, len(row["wait_s"]) + 1))
    policy = EQUIVALENT[name]
    assert [policy.wait(n, float) for n in retries] == row["wait_s"]
    assert policy.times >= row.get("retries", 0)


def test_every_row_is_met_or_listed_as_different():
    assert set(EQUIVALENT) | listed_as_different() == set(ROWS)
    assert not set(EQUIVALENT) & listed_as_different()


def test_two_runs_at_once_do_not_share_what_is_remembered(decide):
    one = failed(1, ended=10.0, within=60, run=a_run("r1"))
    assert decide(one) is not None
    other = failed(2, ended=500.0, within=60, run=a_run("r2"), node=one.unit)
    assert decide(other) is not None
