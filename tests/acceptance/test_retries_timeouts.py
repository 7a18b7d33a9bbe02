"""Retries and timeouts (language.md §9)."""

import threading
import time

import pytest

import flowkit
from flowkit import Failure

TIRES = """
    from flowkit_plugins.retry import Retry, RetryAfter
    calls = []
    class AuthError(Exception): pass
    @task(retries={policy})
    def t():
        calls.append(1)
        if len(calls) <= {failures}: raise {error}
        return len(calls)
"""


def tires(flow, policy, failures=99, error="ConnectionError('x')"):
    return flow(TIRES.format(policy=policy, failures=failures, error=error)).run()


def calls(run):
    return len(run.report.named("t").attempts)


# How often


@pytest.mark.parametrize("failures", [0, 1, 3])
def test_three_retries_are_three_further_attempts(flow, failures):
    run = tires(flow, 3, failures)
    assert run["t"] == failures + 1
    assert run.ok


def test_the_fourth_failure_of_three_retries_stands(flow):
    run = tires(flow, 3, 4)
    assert calls(run) == 4
    assert run.outcomes["t"].attempts == 4
    assert not run.ok


def test_no_retries_is_one_attempt(flow):
    assert calls(tires(flow, 0)) == 1


def test_every_attempt_is_in_the_report(flow):
    report = tires(flow, 2, 1).report.named("t")
    assert [a.kind for a in report.attempts] == ["error", "success"]
    assert [a.number for a in report.attempts] == [1, 2]
    assert isinstance(report.attempts[0].error, ConnectionError)


def test_retries_of_a_number_are_at_once(flow):
    began = time.monotonic()
    tires(flow, 20)
    assert time.monotonic() - began < 2


@pytest.mark.parametrize(
    ("policy", "error", "attempts"),
    [
        ("Retry(times=2, on=(ConnectionError,))", "ConnectionError", 3),
        ("Retry(times=2, on=(ConnectionError,))", "ConnectionResetError", 3),
        ("Retry(times=2, on=(ConnectionError,))", "KeyError", 1),
        ("Retry(times=2, on=ConnectionError)", "ConnectionError", 3),
        ("Retry(times=2, unless=(AuthError,))", "AuthError", 1),
        ("Retry(times=2, unless=(AuthError,))", "KeyError", 3),
        ("Retry(times=2)", "SystemExit", 1),
        ("Retry()", "KeyError", 4),
        ("{'times': 1}", "KeyError", 2),
        ("{'delay': [0, 0]}", "KeyError", 3),
        ("Retry(times=3, within=0)", "KeyError", 1),
    ],
)
def test_a_policy_says_for_which_errors(flow, policy, error, attempts):
    assert calls(tires(flow, policy, error=error)) == attempts


def test_a_delay_is_waited_and_grows_by_the_backoff(flow):
    run = tires(flow, "Retry(times=2, delay=0.02, backoff=2)")
    one, two, three = run.report.named("t").attempts
    assert two.started_at - one.ended_at >= 0.019
    assert three.started_at - two.ended_at >= 0.039


def test_a_list_of_delays_says_each_and_how_many(flow):
    run = tires(flow, "{'delay': [0.01, '30ms']}")
    one, two, three = run.report.named("t").attempts
    assert two.started_at - one.ended_at >= 0.009
    assert three.started_at - two.ended_at >= 0.029


def test_retry_after_asks_for_a_retry_at_that_time(flow):
    run = tires(flow, 1, 1, "RetryAfter('20ms')")
    one, two = run.report.named("t").attempts
    assert run["t"] == 2
    assert two.started_at - one.ended_at >= 0.019


def test_retry_after_spends_retries_and_without_any_is_a_plain_failure(flow):
    assert calls(tires(flow, 0, 1, "RetryAfter(0)")) == 1
    assert calls(tires(flow, 2, 9, "RetryAfter(0)")) == 3


def test_retry_after_ignores_on_and_unless_and_honours_within(flow):
    assert calls(tires(flow, "Retry(times=2, on=(KeyError,))", 1, "RetryAfter(0)")) == 2
    assert calls(tires(flow, "Retry(times=2, within='1s')", 9, "RetryAfter('1h')")) == 1


def test_a_waiting_retry_occupies_no_worker(flow):
    f = flow("""
        calls = []
        @task(retries={"times": 1, "delay": 0.1})
        def waits():
            calls.append("waits")
            if len(calls) == 1: raise RuntimeError
        @task
        def other(): calls.append("other")
        @task
        def then(waits, other): return calls
    """)
    assert f.run(executor="threads", n=1)["then"] == ["waits", "other", "waits"]
    assert f.run(p=["no:cache"])["then"] == ["waits", "other", "waits"]


def test_elements_are_retried_one_by_one(flow):
    f = flow("""
        calls = []
        @task(each={"x": [1, 2]}, retries=1)
        def m(x):
            calls.append(x)
            if calls == [1]: raise RuntimeError
            return x
    """)
    run = f.run()
    assert [len(run.report.named(f"m[{x}]").attempts) for x in (1, 2)] == [2, 1]


# Timeouts

SLOW = """
    import time
    @task(timeout={timeout}{options})
    def t():
        {body}
        return 1
"""
LOOP = "[time.sleep(0.002) for _ in range(5000)]"


def slow(flow, body=LOOP, timeout=0.05, options="", **keywords):
    return flow(SLOW.format(body=body, timeout=timeout, options=options)).run(**keywords)


EXECUTORS = pytest.mark.parametrize("executor", ["inline", "threads"])


@EXECUTORS
def test_a_timeout_is_a_failure_of_kind_timeout_with_a_timeout_error(flow, executor):
    began = time.monotonic()
    run = slow(flow, executor=executor)
    failure = run.outcomes["t"]
    assert isinstance(failure, Failure)
    assert failure.kind == "timeout"
    assert isinstance(failure.error, TimeoutError)
    assert run.report.named("t").word == "timeout"
    assert run.report.named("t").letter == "T"
    assert not run.ok
    assert time.monotonic() - began < 5


@EXECUTORS
def test_a_task_that_is_fast_enough_is_left_alone(flow, executor):
    assert slow(flow, "pass", "'1h30m'", executor=executor)["t"] == 1


@EXECUTORS
def test_a_timeout_is_per_attempt_and_retried_like_any_failure(flow, executor):
    run = slow(flow, options=", retries=1", executor=executor)
    assert [a.kind for a in run.report.named("t").attempts] == ["timeout", "timeout"]


@EXECUTORS
def test_a_broad_except_cannot_swallow_a_timeout(flow, executor):
    body = """
        for _ in range(5000):
            try: time.sleep(0.002)
            except Exception: pass"""
    assert slow(flow, body, executor=executor).report.named("t").word == "timeout"


@EXECUTORS
def test_a_bare_except_that_swallows_the_signal_does_not_make_it_a_success(flow, executor):
    body = """
        try:
            for _ in range(5000): time.sleep(0.002)
        except BaseException: pass"""
    assert slow(flow, body, executor=executor).report.named("t").word == "timeout"


@EXECUTORS
def test_a_result_that_arrives_after_the_deadline_is_never_a_success(flow, executor):
    assert slow(flow, "time.sleep(0.1)", 0.03, executor=executor).report.named("t").word == "timeout"


@EXECUTORS
def test_finally_runs_when_a_task_times_out(flow, project, executor):
    body = """
        try:
            for _ in range(5000): time.sleep(0.002)
        finally: Path("cleaned").touch()"""
    run = slow(flow, body, executor=executor)
    assert run.report.named("t").word == "timeout"
    assert (project.root / "cleaned").exists()


@EXECUTORS
def test_an_async_task_is_cancelled(flow, executor):
    f = flow("""
        import asyncio
        @task(timeout=0.05)
        async def t():
            try: await asyncio.sleep(30)
            finally: Path("cleaned").touch()
    """)
    began = time.monotonic()
    run = f.run(executor=executor)
    assert run.report.named("t").word == "timeout"
    assert f.project.read("cleaned") == ""
    assert time.monotonic() - began < 5


def loops():
    return [thread for thread in threading.enumerate() if thread.name == "flowkit-loop"]


def ends(condition, seconds=10):
    until = time.monotonic() + seconds
    while not condition() and time.monotonic() < until:
        time.sleep(0.01)
    return condition()


@pytest.mark.parametrize("executor", ["inline", "threads"])
@pytest.mark.parametrize("scope", ["task", "run"])
def test_a_coroutine_that_does_not_stop_is_left_behind_and_the_run_says_so(flow, executor, scope):
    f = flow("""
        import asyncio
        @resource(scope="SCOPE")
        async def pool():
            yield 1
            Path("closed").touch()
        @task(timeout=0.1)
        async def deaf(pool):
            while not Path("end").exists():
                try: await asyncio.sleep(0.01)
                except BaseException: pass
        @task
        def after(deaf: Failure): return deaf.kind
    """.replace("SCOPE", scope))
    began = time.monotonic()
    run = f.run(executor=executor, n=1)
    took = time.monotonic() - began
    f.project.write("end", "")
    assert run["after"] == "timeout"
    assert run.report.notes == ["`deaf` did not stop when told to: it was left behind, still running"]
    assert 1 < took < 3
    assert f.project.read("closed") == ""
    assert ends(lambda: not loops())


@pytest.mark.parametrize("executor", ["inline", "threads"])
def test_a_coroutine_that_is_cancelled_cleans_up_before_its_resources_do(flow, executor):
    f = flow("""
        import asyncio
        order = []
        @resource(scope="task")
        async def pool():
            yield 1
            order.append("pool")
        @task(timeout=0.05)
        async def t(pool):
            try: await asyncio.sleep(30)
            finally:
                await asyncio.sleep(0.1)
                order.append("task")
        @task
        def seen(t: Failure): return order
    """)
    run = f.run(executor=executor)
    assert run["seen"] == ["task", "pool"]
    assert run.report.notes == []


@pytest.mark.parametrize("body", [
    "await asyncio.wait_for(asyncio.sleep(1), .01)", "raise TimeoutError('mine')", "raise asyncio.InvalidStateError('mine')",
    "await below()", "next(iter(()))",
])
def test_the_traceback_of_an_async_task_is_its_own(flow, body):
    f = flow(f"""
        import asyncio
        async def below(): raise TimeoutError('mine')
        @task
        async def t(): {body}
    """)
    failure = f.run().outcomes["t"]
    assert failure.kind == "error"
    assert 'm.py", line 5, in t' in failure.traceback
    assert "futures" not in failure.traceback


def test_threads_go_on_without_a_call_stuck_in_c_and_say_so(flow):
    f = flow("""
        import time
        @task(timeout=0.05)
        def stuck(): time.sleep(20)
        @task
        def other(): return 1
        @task
        def after(stuck: Failure): return type(stuck.error).__name__
    """)
    began = time.monotonic()
    run = f.run(executor="threads", n=1)
    assert time.monotonic() - began < 15
    assert run.report.named("stuck").word == "timeout"
    assert run["other"] == 1
    assert run["after"] == "TaskTimeout"
    assert any("stuck" in note and "left behind" in note for note in run.report.notes)


def test_a_timeout_can_be_told_from_other_failures_by_annotation(flow):
    f = flow(SLOW.format(body=LOOP, timeout=0.05, options="") + """
    @task
    def late(t: Failure[TimeoutError]): return 1
    @task
    def broken(t: Failure[OSError | TimeoutError]): return 2
    """)
    run = f.run()
    assert (run["late"], run["broken"]) == (1, 2)


def test_the_timeout_counts_the_set_up_of_the_tasks_own_resources(flow):
    f = flow("""
        import time
        @resource(scope="task")
        def slow():
            for _ in range(5000): time.sleep(0.002)
            yield 1
        @task(timeout=0.05)
        def t(slow): return 1
    """)
    assert f.words()["t"] == "timeout"


SHARED = """
    import time
    @resource(scope="{scope}")
    {asynchronous}def slow():
        for _ in range(30): {sleep}
        with Path("set up").open("a") as file: file.write("x")
        yield 1
    @resource(scope="task")
    def own(slow): return slow
    @task(timeout=0.1)
    def a({argument}): return 1
    @task
    def free(slow): return 1
    @task
    def later(free): return 1
"""


@pytest.mark.parametrize("executor", ["inline", "threads"])
@pytest.mark.parametrize("scope", ["run", "worker"])
@pytest.mark.parametrize("argument", ["slow", "own"])
@pytest.mark.parametrize("asynchronous", [False, True])
def test_the_timeout_does_not_count_the_set_up_of_what_is_shared(flow, executor, scope, argument, asynchronous):
    f = flow(SHARED.format(
        scope=scope, argument=argument, asynchronous="async " * asynchronous,
        sleep="await __import__('asyncio').sleep(0.01)" if asynchronous else "time.sleep(0.01)",
    ))
    for n in (1, 4):
        assert f.words(executor=executor, n=n, no_cache=True) == {"a": "ran", "free": "ran", "later": "ran"}
    assert f.project.read("set up") == "xx"


@pytest.mark.parametrize("blunt", ["pass", "raise ValueError('cut off') from None"])
def test_a_set_up_that_was_cut_off_is_not_what_became_of_it_for_others(flow, project, blunt):
    """The flow that is told to stop had begun to set up what another one waits for."""
    project.write("shared.py", f"""
import time
from pathlib import Path
from flowkit import resource
@resource
def slow():
    with Path("begun").open("a") as file: file.write("x")
    try:
        for _ in range(60): time.sleep(0.01)
    except BaseException:
        {blunt}
        raise
    return 1
""")
    project.write("one.py", """
from flowkit import Flow, task
from shared import slow
flow = Flow(timeout=0.3)
@task
def a(slow): return 1
""")
    project.write("two.py", """
import time
from pathlib import Path
from flowkit import task
from shared import slow
@task
def begun():
    while not Path("begun").exists(): time.sleep(0.01)
@task(needs=["begun"])
def b(slow): return 1
""")
    run = flowkit.run("one.py", "two.py", executor="threads", n=2)
    assert {n.node: n.word for n in run.report.nodes} == {"a": "timeout", "begun": "ran", "b": "ran"}
    assert project.read("begun") == "xx"


def test_the_timeout_does_not_count_queueing(flow):
    f = flow("""
        import time
        @task(each={"x": [1, 2, 3]}, timeout=0.5)
        def t(x): time.sleep(0.2)
    """)
    assert f.run(executor="threads", n=1).ok


def test_a_fallback_stands_in_for_a_task_that_timed_out(flow):
    f = flow(SLOW.format(body=LOOP, timeout=0.05, options=", fallback='b'") + """
    @task
    def b(): return "b"
    """)
    assert f.run()["t"] == "b"


def test_a_hard_timeout_is_refused_where_nothing_can_kill(flow):
    text = flow("""
        @task(timeout={"seconds": 30, "hard": True})
        def t(): Path("ran").touch()
    """).refusal()
    assert "'t'" in text
    assert "hard" in text


@EXECUTORS
def test_flow_timeout_bounds_the_run(flow, executor):
    f = flow("""
        import time
        flow = Flow(timeout=0.1)
        down = []
        @resource
        def db(): yield 1; Path("down").touch()
        @task
        def t(db):
            for _ in range(5000): time.sleep(0.002)
        @task
        def after(t): pass
    """)
    began = time.monotonic()
    run = f.run(executor=executor)
    assert time.monotonic() - began < 5
    assert run.report.named("t").word == "timeout"
    assert run.report.named("after").word in ("not run", "upstream")
    assert run.exit_code == 1
    assert not run.ok
    assert (f.project.root / "down").exists()


@EXECUTORS
def test_a_flow_timeout_ends_the_wait_for_a_retry(flow, executor):
    f = flow("""
        flow = Flow(timeout=0.1)
        @task(retries={"delay": "1h"})
        def t(): raise RuntimeError
    """)
    began = time.monotonic()
    run = f.run(executor=executor)
    assert time.monotonic() - began < 5
    assert run.exit_code == 1


def test_no_thread_is_left_behind_by_timeouts_that_python_code_heeds(flow):
    before = set(threading.enumerate())
    for executor in ("inline", "threads"):
        slow(flow, executor=executor)
    assert set(threading.enumerate()) <= before


@EXECUTORS
def test_a_timeout_that_is_over_before_the_call_began_is_a_timeout(flow, executor):
    began = time.monotonic()
    assert slow(flow, timeout=0.000001, executor=executor).report.named("t").word == "timeout"
    assert time.monotonic() - began < 5


@EXECUTORS
def test_what_runs_after_a_task_that_timed_out_is_left_alone(flow, executor):
    f = flow("""
        import time
        @task(each={"x": [1, 2, 3]}, timeout=0.03)
        def t(x): [time.sleep(0.002) for _ in range(5000)]
        @task(each={"x": [1, 2, 3]}, needs=["t"], trigger="all_done")
        def after(x): return x
    """)
    began = time.monotonic()
    words = f.words(executor=executor, n=1)
    assert [words[f"t[{x}]"] for x in (1, 2, 3)] == ["timeout"] * 3
    assert [words[f"after[{x}]"] for x in (1, 2, 3)] == ["ran"] * 3
    assert time.monotonic() - began < 5
