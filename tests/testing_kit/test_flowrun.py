"""``flowrun``: results, reasons, attempts, virtual time, loads, edits; and the budgets that are promised."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowkit import FlowError
from flowkit.errors import OptionError
from flowkit.testing.faultplans import Plan
from tests.timing import seconds

SHOP = {
    "shop.py": """
        from __future__ import annotations
        from flowkit import Collected, task
        from text import tidy

        @task
        def raw(day: str = "2026-01-05") -> list[str]:
            return [" a ", "b", day]

        @task
        def cleaned(raw: list[str]) -> list[str]:
            return [tidy(one) for one in raw]

        @task(retries={"times": 3, "delay": "60s", "backoff": 2})
        def load(cleaned: list[str]) -> int:
            return len(cleaned)

        @task
        def report(cleaned: list[str]) -> dict[str, int]:
            print("reporting")
            return {"rows": len(cleaned)}
    """,
    "text.py": """
        def tidy(text):
            return text.strip()
    """,
}

TEN = "from flowkit import task\n\n@task\ndef t0(n: int = 1):\n    return n\n" + "".join(
    f"\n@task\ndef t{i}(t{i - 1}):\n    return t{i - 1} + 1\n" for i in range(1, 10)
)


def test_a_run_gives_values_states_and_output(flowrun):
    r = flowrun(SHOP, "report", params={"day": "x"})
    assert r.exit_code == 0
    assert r["report"] == {"rows": 3}
    assert r.states == {"raw": "ran", "cleaned": "ran", "report": "ran"}
    assert r.output.strip() == "reporting"


def test_an_override_is_not_among_the_states(flowrun):
    assert flowrun(SHOP, "report", override={"raw": ["x"]}).states == {"cleaned": "ran", "report": "ran"}


def test_a_warm_run_calls_and_loads_nothing(flowrun):
    again = flowrun(SHOP).rerun()
    assert again.ran == set()
    assert again.loads == 0
    assert again.cached == {"raw", "cleaned", "load", "report"}


def test_an_edit_of_a_helper_is_planned_and_run_with_its_reason(flowrun):
    again = flowrun(SHOP).edit("text.py", "strip()", "strip().upper()")
    assert again.plan["cleaned"].reason.code == "code"
    after = again.rerun()
    assert after["cleaned"] == ["A", "B", "2026-01-05"]
    assert after.states["raw"] == "cached"


def test_back_offs_take_no_real_time(flowrun, faults):
    r = flowrun(SHOP, "load", faults=faults.fail("load", times=3, exc=ConnectionError))
    assert r.attempts["load"] == 4
    assert r.timeline.gaps("load") == [60, 120, 240]


def test_calls_that_fail_by_chance_fail_the_same_in_a_replay(flowrun, faults):
    flow = """
        from flowkit import task

        @task(each={"n": list(range(200))}, retries=1)
        def poll(n):
            return 1
    """
    plan = faults.fail("poll", p=0.1, exc=ConnectionError)
    assert str(plan) == "poll@10%=fail(ConnectionError)"
    assert Plan.parse(str(plan)) == plan
    runs = [flowrun(flow, faults=plan, schedule=[n]) for n in (1, 2, 1)]
    tried = [{name for name, count in r.attempts.items() if count == 2} for r in runs]
    assert 5 < len(tried[0]) < 40
    assert tried[0] != tried[1]
    assert tried[0] == tried[2]
    again = flowrun(flow, replay=runs[0].replay_token)
    assert again.attempts == runs[0].attempts
    assert again.states == runs[0].states
    assert flowrun(flow, faults=faults.fail("poll", p=0)).failed == set()
    assert len(flowrun(flow, faults=faults.fail("poll", p=1)).failed) == 200


@pytest.mark.parametrize("wrong", ["poll@110%=fail", "poll@10%=hang"])
def test_a_probability_is_of_a_failure(wrong):
    with pytest.raises(OptionError):
        Plan.parse(wrong)


def test_a_year_of_hourly_retries_takes_no_real_time(flowrun, faults):
    flow = '''
        from flowkit import task

        @task(retries={"times": 8760, "delay": "1h"})
        def poll():
            return 1
    '''
    begun = time.perf_counter()
    r = flowrun(flow, faults=faults.fail("poll", times=8760), no_capture=True)
    assert r.timeline[-1].start == 8760 * 3600
    assert time.perf_counter() - begun < 20


def test_a_timeout_needs_no_blocking_function(flowrun, faults):
    flow = '''
        from flowkit import task

        @task(timeout="30s", retries=1)
        def slow():
            return 1
    '''
    r = flowrun(flow, faults=faults.slow("slow", 90, at=1))
    assert r.states == {"slow": "ran"}
    assert [call.kind for call in r.timeline] == ["timeout", "success"]
    assert flowrun(flow, faults=faults.hang("slow")).timeline[0].end == 30


def test_a_late_call_waits_for_all_else_that_can_happen(flowrun, faults):
    source = {
        "m.py": """
            from flowkit import task

            @task
            def first(): return 1

            @task
            def second(): return 2

            @task
            def third(second): return second
        """
    }
    assert flowrun(source).calls == ["first", "second", "third"]
    assert flowrun(source, faults=faults.late("first")).calls == ["second", "third", "first"]
    assert flowrun(source, faults=faults.late("*")).calls == ["first", "second", "third"], "if all are, none is"


def test_a_sleep_may_take_virtual_time(flowrun):
    flow = "import time\nfrom flowkit import task\n\n@task\ndef nap():\n    time.sleep(3600)\n    return 1\n"
    assert flowrun(flow, patch_sleep=True).timeline[0].end == 3600


@pytest.mark.parametrize(
    "point", ["holding_lease", "before_call", "after_call", "after_blob", "before_record", "after_record", "before_ack"]
)
def test_after_a_crash_the_next_run_ends_the_work(flowrun, faults, point):
    r = flowrun(TEN, faults=faults.crash(point, at=4))
    assert r.crashed.startswith(point)
    assert r.exit_code is None
    again = r.rerun()
    assert again["t9"] == 10
    assert {"t0", "t1", "t2"} <= again.cached


def test_a_crash_tears_nothing_down(flowrun, faults):
    flow = '''
        from flowkit import resource, task

        @resource
        def held():
            yield 1

        @task
        def a(held): return held

        @task
        def b(a, held): return a + held
    '''
    assert [e[0] for e in flowrun(flow, faults=faults.crash("before_call", "b")).resources] == ["up"]
    assert [e[0] for e in flowrun(flow).resources] == ["up", "down"]


def test_a_store_that_is_full_fails_no_task(flowrun, faults):
    r = flowrun(TEN, faults=faults.store_error("put"))
    assert r.exit_code == 0
    assert len(r.rerun().ran) == 10


def test_a_damaged_value_is_computed_again(flowrun, faults):
    r = flowrun(SHOP, faults=faults.corrupt_blob("cleaned"))
    again = r.edit("shop.py", "len(cleaned)}", "len(cleaned) + 1}").rerun()
    assert again["report"] == {"rows": 4}


def test_a_damaged_list_is_computed_again_once_for_all_elements_that_need_it(flowrun, faults):
    """They start together and each finds the damage; the first has the list computed, and the others wait for that."""
    source = {
        "m.py": """
            from flowkit import Collected, task

            @task
            def items(): return [1, 2, 3, 4]

            @task(each={"item": "items"})
            def twice(item: int): return item * 2

            @task
            def total(twice: Collected[int]): return sum(twice)
        """
    }
    for schedule in ((), (1,) * 24, (7, 3, 1) * 8):
        r = flowrun(source, faults=faults.unpicklable("twice").corrupt_blob("items"))
        again = r.rerun(schedule=schedule)
        assert again.exit_code == 0, again.states
        assert again["total"] == 20
        assert again.calls.count("items") == 1 and len(again.calls) == 5


def test_ctrl_c_stops_the_run(flowrun, faults):
    r = flowrun(TEN, faults=faults.interrupt(at=3), workers=1)
    assert r.exit_code == 2
    assert len(r.ran) < 5


@given(st.integers(0, 5))
def test_it_may_be_used_under_given(flowrun, n):
    assert flowrun(TEN, params={"n": n})["t9"] == n + 9


def test_results_may_be_kept_on_disk(flowrun):
    assert flowrun(SHOP, on_disk=True).rerun().ran == set()


def test_a_run_is_replayed_by_its_token(flowrun, faults):
    r = flowrun(SHOP, params={"day": "x"}, faults=faults.slow("cleaned", 90).fail("load"), schedule=[1, 2], workers=2)
    again = flowrun(SHOP, replay=r.replay_token)
    assert again.timeline == r.timeline
    assert again["raw"] == [" a ", "b", "x"]
    assert again.replay_token == r.replay_token


def test_a_fault_of_a_task_that_there_is_not_is_an_error(flowrun, faults):
    with pytest.raises(FlowError, match=r"(?s)there is no task 'laod'.*Did you mean 'load'"):
        flowrun(SHOP, faults=faults.fail("laod"))
    flowrun(SHOP, faults=faults.fail("l*d").crash("in_teardown", "database"))


def test_a_plan_is_read_back_as_it_is_written():
    text = "get[BTC]@1-3=fail(ConnectionError), load=slow(90), *@2=crash(before_record), a@2-=hang"
    assert str(Plan.parse(text)) == text


#: A call takes up to so many times its CPU seconds where a core is shared with another test; alone it takes 1.
SHARED = 2


def test_two_hundred_runs_of_ten_tasks_with_faults_take_two_seconds(flowrun, faults):
    def runs():
        for number in range(200):
            flowrun(TEN, faults=faults.fail(f"t{number % 10}").slow("t3", 5), schedule=[number % 7, 1])

    flowrun(TEN)
    took = seconds(runs, within=2 * SHARED, clock=time.process_time)
    assert took <= 2 * SHARED, f"{took:.2f}s"


@pytest.mark.parametrize(("on_disk", "limit"), [(False, 0.010), (True, 0.040)])
def test_one_use_takes_ten_milliseconds_in_memory_and_forty_on_disk(flowrun, on_disk, limit):
    flowrun(SHOP)
    took = seconds(lambda: flowrun(SHOP, on_disk=on_disk), within=limit * SHARED, clock=time.process_time)
    assert took <= limit * SHARED, f"{took * 1000:.1f} ms"


UNCACHED = """
from flowkit import Collected, task

@task(cache=False)
def items(n: int = 1): return [n, 2, 3]

@task(each={"item": "items"}, cache=False)
def twice(item): return item * 2

@task
def total(twice: Collected[int]): return sum(twice)
"""


def test_a_run_that_crashed_is_resumed_with_its_parameters(flowrun, faults):
    crashed = flowrun(UNCACHED, params={"n": 7}, faults=faults.crash("before_call", "twice[3]"), workers=1, no_history=False)
    assert crashed.ended == ["items", "twice[7]", "twice[2]"]
    again = crashed.rerun(resume=True, params={})
    assert again.calls == ["twice[3]", "total"]
    assert again["total"] == 24
    assert again.reasons["items"].startswith("kept from run")


def test_what_failed_the_last_time_is_run_alone(flowrun, faults):
    failed = flowrun(UNCACHED, "twice", faults=faults.fail("twice[2]"), no_history=False)
    assert failed.rerun(lf=True).calls == ["items", "twice[2]"]


def test_a_run_without_a_history_leaves_none(flowrun):
    assert flowrun(UNCACHED).rerun(resume=True, no_history=False).calls[0] == "items"
