"""Failure is data: which outcome a task takes, when it runs, and what that makes of the run (language.md §6)."""

import itertools

import pytest

import flowkit
from flowkit import Failure, Skipped, Success

ENDS = {"succeeded": "return 1", "failed": "raise KeyError('k')", "skipped": "skip('s')"}

UPSTREAM = """
    @task
    def root(): raise RuntimeError("root")
    @task
    def load({needs}): {body}
    @task{options}
    def t(load{annotation}): return load
"""


def told(flow, how, annotation="", options="", body=None):
    """A run in which ``t`` asks for ``load``, which ended somehow."""
    needs = "root" if how == "upstream" else ""
    body = body or ENDS.get(how, "return 1")
    source = UPSTREAM if needs else UPSTREAM.replace('@task\n    def root(): raise RuntimeError("root")\n    ', "")
    return flow(
        source.format(needs=needs, body=body, annotation=annotation and f": {annotation}", options=options)
    ).run()


def word(run, node="t"):
    return run.report.named(node).word


# The table

SUCCEEDED, FAILED, SKIPPED, UP = "succeeded", "failed", "skipped", "upstream"
U, S = "upstream", "skipped"

#: UPSTREAM only if it would have run had nothing above it failed (rulings A1, A2); a failure that is
#: not handled is the exception (A13).
TABLE = {
    # annotation: {how load ended: the type that arrives, or the word of a task that does not run}
    "": {SUCCEEDED: int, FAILED: U, SKIPPED: S, UP: U},
    "int": {SUCCEEDED: int, FAILED: U, SKIPPED: S, UP: U},
    "int | None": {SUCCEEDED: int, FAILED: U, SKIPPED: S, UP: U},
    "Success[int]": {SUCCEEDED: Success, FAILED: U, SKIPPED: S, UP: U},
    "Success": {SUCCEEDED: Success, FAILED: U, SKIPPED: S, UP: U},
    "Failure": {SUCCEEDED: S, FAILED: Failure, SKIPPED: S, UP: S},
    "Failure[KeyError]": {SUCCEEDED: S, FAILED: Failure, SKIPPED: S, UP: S},
    "Failure[LookupError]": {SUCCEEDED: S, FAILED: Failure, SKIPPED: S, UP: S},
    "Failure[KeyError | OSError]": {SUCCEEDED: S, FAILED: Failure, SKIPPED: S, UP: S},
    "Failure[OSError]": {SUCCEEDED: S, FAILED: U, SKIPPED: S, UP: S},
    "Skipped": {SUCCEEDED: S, FAILED: S, SKIPPED: Skipped, UP: Skipped},
    "Outcome[int]": {SUCCEEDED: Success, FAILED: Failure, SKIPPED: Skipped, UP: Skipped},
    "Outcome": {SUCCEEDED: Success, FAILED: Failure, SKIPPED: Skipped, UP: Skipped},
    "int | Failure[KeyError]": {SUCCEEDED: int, FAILED: Failure, SKIPPED: S, UP: U},
    "int | Failure[OSError]": {SUCCEEDED: int, FAILED: U, SKIPPED: S, UP: U},
    "int | Skipped": {SUCCEEDED: int, FAILED: U, SKIPPED: Skipped, UP: Skipped},
    "int | Failure | Skipped": {SUCCEEDED: int, FAILED: Failure, SKIPPED: Skipped, UP: Skipped},
    "Failure | Skipped": {SUCCEEDED: S, FAILED: Failure, SKIPPED: Skipped, UP: Skipped},
    "Success[int] | Failure": {SUCCEEDED: Success, FAILED: Failure, SKIPPED: S, UP: U},
    "Optional[Failure]": {SUCCEEDED: int, FAILED: Failure, SKIPPED: S, UP: U},
}


@pytest.mark.parametrize(("annotation", "how"), list(itertools.product(TABLE, (SUCCEEDED, FAILED, SKIPPED, UP))))
def test_the_annotation_says_when_a_task_runs_and_what_it_receives(flow, annotation, how):
    expected = TABLE[annotation][how]
    run = told(flow, how, annotation)
    if isinstance(expected, str):
        assert word(run) == expected
    else:
        assert word(run) == "ran"
        assert type(run["t"]) is expected


def test_a_success_has_value_attempts_duration_and_cached(flow):
    got = told(flow, SUCCEEDED, "Success[int]")["t"]
    assert (got.value, got.attempts, got.cached) == (1, 1, False)
    assert got.duration >= 0


def test_a_failure_has_error_traceback_attempts_and_kind(flow):
    got = told(flow, FAILED, "Failure")["t"]
    assert isinstance(got.error, KeyError)
    assert got.attempts == 1
    assert got.kind == "error"
    assert "KeyError: 'k'" in got.traceback
    assert "m.py" in got.traceback
    assert "worker.py" not in got.traceback


def test_a_skip_has_its_reason(flow):
    got = told(flow, SKIPPED, "Skipped")["t"]
    assert got.reason == "s"
    assert got.failures == ()


def test_a_skip_that_follows_a_failure_holds_the_root_failures(flow):
    got = told(flow, UP, "Skipped")["t"]
    (failure,) = got.failures
    assert str(failure.error) == "root"
    assert "`root`" in got.reason


def test_a_failure_handler_does_not_run_when_something_above_its_upstream_failed(flow):
    assert word(told(flow, UP, "Failure")) == "skipped"  # had nothing failed, it would not have run either


def test_upstream_goes_as_far_as_it_goes_and_names_the_root(flow):
    f = flow("""
        @task
        def a(): raise RuntimeError
        @task
        def b(a): pass
        @task
        def c(b): pass
        @task
        def d(c): pass
    """)
    run = f.run()
    for name in "bcd":
        assert word(run, name) == "upstream"
        assert "`a`" in run.report.named(name).reason


def test_a_handler_of_a_success_is_skipped_and_says_so(flow):
    run = told(flow, SUCCEEDED, "Failure")
    assert run.report.named("t").reason == "`load` succeeded"
    assert run.ok


def test_none_is_an_ordinary_value(flow):
    run = told(flow, SUCCEEDED, "int | None", body="return None")
    assert word(run) == "ran"
    assert run["t"] is None


@pytest.mark.parametrize("annotation", ["int | Success[int]", "int | Outcome[int]", "str | Success"])
def test_a_union_of_a_value_and_success_or_outcome_is_an_error(flow, annotation):
    text = flow(f"""
        @task
        def load(): return 1
        @task
        def t(load: {annotation}): pass
    """).refusal()
    assert "'t'" in text or "load" in text
    assert "m.py" in text


def test_what_a_handler_returns_is_what_its_followers_see(flow):
    f = flow("""
        @task
        def load(): raise RuntimeError
        @task
        def recovered(load: int | Failure): return 0 if isinstance(load, Failure) else load
        @task
        def after(recovered): return recovered + 1
    """)
    run = f.run()
    assert run["after"] == 1
    assert not run.ok


# Triggers

TRIGGERS = {
    # trigger: (upstreams) -> runs?; an UPSTREAM upstream counts as failed
    "all_succeeded": lambda ends: all(e == SUCCEEDED for e in ends),
    "all_failed": lambda ends: all(e in (FAILED, UP) for e in ends),
    "all_done": lambda ends: True,
    "any_succeeded": lambda ends: any(e == SUCCEEDED for e in ends),
    "any_failed": lambda ends: any(e in (FAILED, UP) for e in ends),
    "none_failed": lambda ends: not any(e in (FAILED, UP) for e in ends),
    "always": lambda ends: True,
}

TWO = """
    @task
    def root(): raise RuntimeError("root")
    @task
    def a({0}): {1}
    @task
    def b({2}): {3}
    @task(trigger={4!r})
    def t(a, b): return type(a).__name__, type(b).__name__
"""

ARRIVES = {SUCCEEDED: "int", FAILED: "Failure", SKIPPED: "Skipped", UP: "Skipped"}


@pytest.mark.parametrize("trigger", TRIGGERS)
def test_a_trigger_says_when_for_all_upstreams_at_once(flow, trigger):
    for one, two in itertools.product((SUCCEEDED, FAILED, SKIPPED, UP), repeat=2):
        needs = ["root" if how == UP else "" for how in (one, two)]
        bodies = [ENDS.get(how, "pass") for how in (one, two)]
        run = flow(TWO.format(needs[0], bodies[0], needs[1], bodies[1], trigger), f"{one}_{two}.py").run(p=["no:cache"])
        runs = TRIGGERS[trigger]((one, two))
        assert (word(run) == "ran") == runs, (trigger, one, two, run.report.named("t"))
        if runs:
            assert run["t"] == (ARRIVES[one], ARRIVES[two])
        elif TRIGGERS[trigger]([SUCCEEDED if e in (FAILED, UP) else e for e in (one, two)]):
            assert word(run) == "upstream", (one, two)
        else:
            assert word(run) == "skipped", (one, two)


def test_a_trigger_counts_needs_too(flow):
    f = flow("""
        @task
        def a(): raise RuntimeError
        @task(needs=["a"], trigger="any_failed")
        def t(): return 1
    """)
    assert f.run()["t"] == 1


def test_without_a_trigger_needs_must_succeed(flow):
    f = flow("""
        @task
        def load(): raise RuntimeError
        @task
        def other(): raise RuntimeError
        @task(needs=["other"])
        def t(load: Failure): return 1
    """)
    assert word(f.run()) == "upstream"


def test_needs_of_a_skipped_task_skips(flow):
    f = flow("""
        @task
        def other(): skip("no")
        @task(needs=["other"])
        def t(): return 1
    """)
    assert word(f.run()) == "skipped"


def test_a_written_all_succeeded_overrides_the_table(flow):
    assert word(told(flow, FAILED, "Failure", "(trigger='all_succeeded')")) == "upstream"
    run = told(flow, SUCCEEDED, "Failure", "(trigger='all_succeeded')")
    assert isinstance(run["t"], Success)


def test_an_upstream_that_does_not_fit_the_annotation_arrives_as_its_outcome(flow):
    assert isinstance(told(flow, SUCCEEDED, "Failure", "(trigger='all_done')")["t"], Success)
    assert isinstance(told(flow, FAILED, "int", "(trigger='all_done')")["t"], Failure)
    assert isinstance(told(flow, SKIPPED, "int", "(trigger='all_done')")["t"], Skipped)


def test_a_trigger_waits_until_every_upstream_ended(flow):
    f = flow("""
        import threading
        gate = threading.Event()
        @task
        def a(): raise RuntimeError
        @task
        def b(): gate.wait(0.05); return 1
        @task(trigger="any_failed")
        def t(a, b): return b
    """)
    assert f.run(executor="threads", n=2)["t"] == 1


def test_a_trigger_that_is_not_met_for_another_reason_than_failure_is_skipped_and_says_why(flow):
    f = flow("""
        @task
        def a(): return 1
        @task
        def b(): raise RuntimeError
        @task(trigger="all_failed")
        def t(a, b): pass
    """)
    run = f.run()
    assert word(run) == "skipped"
    assert run.report.named("t").reason == "`a` succeeded"


def test_a_trigger_on_a_task_with_nothing_above_it_is_an_error(flow):
    text = flow("""
        @task(trigger="always")
        def t(n: int = 1): pass
    """).refusal()
    assert "'t'" in text
    assert "trigger" in text


def test_a_default_trigger_does_not_hurt_tasks_with_nothing_above_them(flow):
    f = flow("""
        flow = Flow(defaults={"trigger": "all_done"})
        @task
        def a(): raise RuntimeError
        @task
        def t(a): return type(a).__name__
    """)
    assert f.run()["t"] == "Failure"


def test_a_collected_argument_under_a_trigger_counts_each_element_and_holds_outcomes(flow):
    f = flow("""
        @task(each={"x": [0, 1]})
        def m(x): return 1 // x
        @task(trigger="any_failed")
        def t(m: Collected[int]): return type(m).__name__, [type(e).__name__ for e in m]
        @task(trigger="all_failed")
        def u(m: Collected[int]): return 1
    """)
    run = f.run()
    assert run["t"] == ("Collected", ["Failure", "int"])
    assert word(run, "u") == "skipped"


# skip and fail


def test_skip_ends_a_task_without_a_traceback(flow):
    f = flow("""
        @task
        def t(): skip("nothing new")
    """)
    run = f.run()
    assert run.ok
    assert run.exit_code == 0
    assert (word(run), run.report.named("t").reason) == ("skipped", "nothing new")


def test_fail_ends_a_task_without_a_traceback(flow):
    f = flow("""
        @task
        def t(): fail("bad data")
    """)
    run = f.run()
    failure = run.outcomes["t"]
    assert isinstance(failure, Failure)
    assert str(failure.error) == "bad data"
    assert failure.traceback == ""
    assert not run.ok


def test_skip_and_fail_get_through_a_broad_except(flow):
    f = flow("""
        @task
        def a():
            try: skip("s")
            except Exception: return 1
        @task
        def b():
            try: fail("f")
            except Exception: return 1
    """)
    assert f.words() == {"a": "skipped", "b": "failed"}


def test_fail_is_final_and_not_retried(flow):
    f = flow("""
        @task(retries=3)
        def t(): fail("bad data")
    """)
    assert f.run().outcomes["t"].attempts == 1


@pytest.mark.parametrize("how", ["SystemExit(3)", "KeyboardInterrupt()", "asyncio.CancelledError()", "BaseException('b')"])
@pytest.mark.parametrize("executor", ["inline", "threads"])
@pytest.mark.parametrize("where", ["raise {}", "await asyncio.create_task(below())", "await asyncio.gather(below(), asyncio.sleep(0))"])
def test_a_base_exception_of_an_async_task_fails_that_task_only(flow, how, executor, where):
    run = flow(f"""
        import asyncio
        async def below(): raise {how}
        @task
        async def exits():
            await asyncio.sleep(0)
            {where.format(how)}
        @task
        async def other():
            await asyncio.sleep(0.01)
            return 1
        @task
        def handler(exits: Failure): return type(exits.error).__name__, exits.kind
    """).run(executor=executor)
    name = how.partition("(")[0].removeprefix("asyncio.")
    assert run["handler"] == (name, "error")
    assert run["other"] == 1


@pytest.mark.parametrize("how", ["SystemExit(3)", "KeyboardInterrupt()", "GeneratorExit()", "BaseException('b')"])
@pytest.mark.parametrize("executor", ["inline", "threads"])
def test_a_base_exception_of_a_task_fails_that_task_only(flow, how, executor):
    f = flow(f"""
        @task
        def t(): raise {how}
        @task
        def other(): return 1
    """)
    assert f.words(executor=executor) == {"t": "failed", "other": "ran"}


# fallback

FALLBACK = """
    {extra}
    @task(fallback="plan_b"{options})
    def x(n: int = 0): return 1 // n
    @task
    def plan_b(): return "b"
    @task
    def use(x): return x
    @task
    def handler(x: Failure): return 1
"""


def test_a_fallbacks_value_stands_in_for_a_failed_task(flow):
    f = flow(FALLBACK.format(extra="", options=""))
    run = f.run()
    assert run["use"] == "b"
    assert run["x"] == "b"
    assert isinstance(run.outcomes["x"], Success)
    assert word(run, "x") == "failed"
    assert word(run, "handler") == "skipped"
    assert run.ok


def test_a_fallback_runs_only_when_it_is_needed(flow):
    f = flow(FALLBACK.format(extra="", options=""))
    run = f.run(params={"n": 1})
    assert run["use"] == 1
    report = run.report.named("plan_b")
    assert report is None or (report.word, report.reason) == ("skipped", "not needed")


def test_a_fallback_is_never_a_target_by_itself(flow):
    f = flow(FALLBACK.format(extra="", options=""))
    assert "plan_b" not in {n.node for n in f.run(params={"n": 1}).report.nodes if n.word != "skipped"}


STANDS_IN = """
    @task(fallback="b")
    def a(): {body}
    @task
    def b(): return 1
    @task
    def ub(b): return b
"""


def test_a_fallback_that_is_named_is_a_target_and_runs_like_any_task(flow):
    f = flow(STANDS_IN.format(body="raise ValueError"))
    assert f.words("::b") == {"b": "ran"}
    assert f.run("::b")["b"] == 1
    assert f.words("::b+", p=["no:cache"]) == {"a": "failed", "b": "ran", "ub": "ran"}


def test_a_fallback_that_is_named_waits_for_no_call(flow):
    flow(STANDS_IN.format(body="return 2"))
    run = flowkit.run("m.py", "m.py::b", executor="inline")
    assert {n.node: n.word for n in run.report.nodes} == {"a": "ran", "b": "ran", "ub": "ran"}


def planned(project, *words):
    """Node → its mark in a plan."""
    lines = [line.split() for line in project.flowkit("plan", *words).out.splitlines()[:-1]]
    return {words[1]: words[0] for words in lines}


def test_a_plan_says_that_a_fallback_may_run_as_long_as_its_task_may(flow, project):
    flow(STANDS_IN.format(body="raise ValueError"))
    assert planned(project, "m.py") == {"a": ">", "b": "?", "ub": "?"}
    flowkit.run("m.py", executor="inline")
    assert planned(project, "m.py") == {"a": ">", "b": "?", "ub": "?"}
    assert planned(project, "m.py::b") == {"b": "c"}


def test_a_plan_says_that_a_fallback_is_not_needed_if_its_task_is_known(flow, project):
    flow("""
        @task(cache=False)
        def above(): return 1
        @task(fallback="b")
        def a(): return 2
        @task
        def b(above): return 1
        @task
        def ub(b): return b
    """)
    flowkit.run("m.py", executor="inline")
    assert planned(project, "m.py") == {"above": ">", "a": "c", "b": "s", "ub": "s"}


def test_a_plan_says_that_what_is_ordered_after_a_task_that_runs_may_run(flow, project):
    flow("""
        @task
        def x(mode: Path = Path("mode")): return fail("down") if mode.read_text() == "fail" else 1
        @task(needs=["x"])
        def after(n: int = 1): return n
        @task
        def below(after): return after
        @task(needs=["x"], trigger="all_succeeded")
        def after2(n: int = 1): return n
    """)
    project.write("mode", "ok")
    assert flowkit.run("m.py", executor="inline").ok
    project.write("mode", "fail")
    assert planned(project, "m.py") == {"x": ">", "after": "?", "below": "?", "after2": "?"}
    run = flowkit.run("m.py", executor="inline")
    assert {n.node: n.word for n in run.report.nodes} == {"x": "failed", "after": "upstream", "below": "upstream", "after2": "upstream"}


def test_a_plan_says_of_equal_elements_that_the_first_runs(flow, project):
    flow("""
        @task(each={"v": "vs"})
        def t(v: int): return v
    """)
    assert planned(project, "m.py", "-P", "vs=[7,7,8]") == {"t[7]": ">", "t[7_1]": "?", "t[8]": ">"}
    assert planned(project, "m.py", "-P", "vs=[7,7,8]", "--refresh=t") == {"t[7]": ">", "t[7_1]": "?", "t[8]": ">"}


@pytest.mark.parametrize("given", ["[5]", "[]", "[5,6,7]", '{"1":5}', '{"1":5,"2":6,"3":7}'])
def test_a_plan_says_that_an_override_which_does_not_fit_fails(flow, project, given):
    flow("""
        @task(each={"i": [1, 2]})
        def t(i: int): return i
        @task
        def c(t: Collected[int]): return list(t)
    """)
    found = planned(project, "m.py", "-O", f"t={given}")
    ended = project.flowkit("run", "m.py", "-O", f"t={given}", "-v")
    assert (ended.exit_code, found.pop("c")) == (1, "s")
    assert found == {line.split()[0].removeprefix("m.py::"): ">" for line in ended.out.splitlines() if " FAILED" in line and line.startswith("m.py")}


def test_a_plan_says_that_whoever_hangs_off_what_may_be_skipped_may_run(flow, project):
    flow("""
        @task
        def r(): raise ValueError
        @task
        def h(r: Failure): return [1]
        @task
        def uh(h): return h
        @task(each={"x": "h"})
        def m(x): return x
        @task
        def c(m: Collected): return 1
    """)
    assert planned(project, "m.py") == {"r": ">", "h": "?", "uh": "?", "m": "?", "c": "?"}


def test_a_plan_says_that_the_fallback_of_a_map_may_run(flow, project):
    flow("""
        @task
        def xs(): return [1]
        @task(each={"x": "xs"}, fallback="b")
        def m(x): raise ValueError
        @task(each={"x": "xs"})
        def b(x): return x
        @task(fallback="b2")
        def f(xs): raise ValueError
        @task(fallback="b3")
        def b2(): raise ValueError
        @task
        def b3(): return 3
    """)
    flowkit.run("m.py::xs", executor="inline")
    assert planned(project, "m.py") == {"xs": "c", "m[1]": ">", "b[1]": "?", "f": ">", "b2": "?", "b3": "?"}


def test_a_plan_says_that_the_fallback_of_a_map_may_run_though_its_elements_are_not_known(flow, project):
    flow("""
        @task
        def xs(): return [1]
        @task(each={"x": "xs"}, fallback="b")
        def m(x): raise ValueError
        @task
        def b(): return 1
        @task
        def ub(b): return b
    """)
    assert planned(project, "m.py") == {"xs": ">", "m[…]": "?", "b": "?", "ub": "?"}


def test_a_fallback_comes_after_the_retries(flow):
    f = flow(FALLBACK.format(extra="", options=", retries=2"))
    run = f.run()
    assert len(run.report.named("x").attempts) == 3
    assert run["x"] == "b"


def test_a_fallback_applies_to_fail(flow):
    f = flow("""
        @task(fallback="b")
        def a(): fail("no")
        @task
        def b(): return 2
    """)
    assert f.run()["a"] == 2


def test_a_fallback_that_fails_too_fails_the_run(flow):
    f = flow("""
        @task(fallback="b")
        def a(): raise RuntimeError("a")
        @task
        def b(): raise RuntimeError("b")
        @task
        def use(a): pass
    """)
    run = f.run()
    assert not run.ok
    assert word(run, "use") == "upstream"


def test_a_fallback_is_not_used_when_the_task_did_not_run(flow):
    f = flow("""
        @task
        def root(): raise RuntimeError
        @task(fallback="b")
        def a(root): return 1
        @task
        def b(): return 2
        @task(fallback="d")
        def c(): skip("no")
        @task
        def d(): return 2
    """)
    run = f.run()
    assert word(run, "a") == "upstream"
    assert word(run, "c") == "skipped"
    for name in ("b", "d"):
        report = run.report.named(name)
        assert report is None or report.word == "skipped"


def test_a_fallback_of_a_mapped_task_stands_in_element_by_element(flow):
    f = flow("""
        @task
        def xs(): return [0, 1]
        @task(each={"x": "xs"}, fallback="b")
        def a(x): return 1 // x
        @task(each={"x": "xs"})
        def b(x): return f"b{x}"
        @task
        def c(a: Collected[int]): return list(a)
    """)
    run = f.run()
    assert run["c"] == ["b0", 1]
    assert run.ok
    ran = {n.node for n in run.report.nodes if n.word == "ran"}
    assert "b[0]" in ran
    assert "b[1]" not in ran


# What fails a run


def test_a_run_fails_if_any_node_failed(flow):
    run = told(flow, FAILED)
    assert not run.ok
    assert run.exit_code == 1


def test_allow_failure_reports_the_failure_and_does_not_fail_the_run(flow):
    f = flow("""
        @task(allow_failure=True)
        def a(): raise RuntimeError
        @task
        def b(a): pass
    """)
    run = f.run()
    assert run.ok
    assert word(run, "a") == "failed"
    assert word(run, "b") == "upstream"


def test_a_clean_up_that_looks_at_an_outcome_never_hides_a_failure(flow):
    assert not told(flow, FAILED, "Outcome[int]").ok


def test_a_failure_does_not_stop_independent_branches(flow):
    f = flow("""
        @task
        def a(): raise RuntimeError
        @task
        def b(): return 1
        @task
        def c(b): return 2
    """)
    assert f.words() == {"a": "failed", "b": "ran", "c": "ran"}


def test_skips_alone_leave_the_run_good(flow):
    f = flow("""
        @task
        def a(): skip()
        @task
        def b(a): pass
    """)
    run = f.run()
    assert run.ok
    assert run.exit_code == 0


# Mapped


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        ("int", ["upstream", "ran", "skipped"]),
        ("Failure", ["ran", "skipped", "skipped"]),
        ("Outcome[int]", ["ran", "ran", "ran"]),
        ("Skipped", ["skipped", "skipped", "ran"]),
        ("int | Failure", ["ran", "ran", "skipped"]),
    ],
)
def test_the_table_holds_element_by_element(flow, annotation, words):
    f = flow(f"""
        @task(each={{"x": [0, 1, 2]}})
        def m(x): return 1 // x if x < 2 else skip("two")
        @task
        def t(m: {annotation}): return 1
    """)
    run = f.run()
    assert [word(run, f"t[{x}]") for x in range(3)] == words


def test_a_trigger_holds_element_by_element(flow):
    f = flow("""
        @task(each={"x": [0, 1]})
        def m(x): return 1 // x
        @task(trigger="any_failed")
        def t(m): return 1
    """)
    run = f.run()
    assert [word(run, f"t[{x}]") for x in range(2)] == ["ran", "skipped"]


def test_asking_a_run_for_what_was_skipped_is_a_lookup_error_with_the_reason(flow):
    run = told(flow, SKIPPED)
    with pytest.raises(LookupError, match="s"):
        run["load"]
    assert isinstance(run.outcomes["t"], Skipped)


def test_outcomes_are_the_same_outside_as_inside(flow):
    run = told(flow, FAILED, "Failure")
    assert run["t"] is run.outcomes["load"] or run["t"].error is run.outcomes["load"].error


def test_outcomes_can_be_compared_and_shown():
    assert Success(1) == Success(1)
    assert "no" in repr(Skipped("no"))
    assert isinstance(Success(1), flowkit.Outcome)


@pytest.mark.parametrize("annotation", ['"Failure"', "'Failure[ValueError]'", '"Annotated[Failure, 3]"'])
def test_an_annotation_in_quotes_says_the_same_where_all_are_text(flow, project, annotation):
    flow(f"""
        @task
        def load(n: int = 0): return 1 // n if n else fail("down")
        @task
        def page(load: {annotation}): return "paged"
        @task
        def total(count: "Annotated[int, From('load')]" = 3): return count
    """)
    text = project.read("m.py")
    for future in ("", "from __future__ import annotations\n"):
        project.write("m.py", f"{future}from typing import Annotated\n{text}")
        run = project.run("m.py", params={"n": 1})
        assert isinstance(run.outcomes["page"], Skipped)
        assert run["total"] == 1


@pytest.mark.parametrize("annotation", ["Failure['Refused']", "int | Failure['Refused']", "'Failure[\"Refused\"]'", "Failure['Unknown']"])
def test_an_exception_may_be_named_in_quotes(flow, annotation):
    """One that cannot be looked up is any."""
    f = flow(f"""
        @task
        def load(): raise Refused("no")
        @task
        def t(load: {annotation}): return type(load.error).__name__
        class Refused(Exception): pass
    """)
    assert f.run()["t"] == "Refused"


def test_an_exception_named_in_quotes_is_that_of_its_module(flow, project):
    text = """
        class Refused({base}): pass
        @task
        def load(): raise KeyError
        @task
        def t(load: Failure["Refused"]): pass
    """
    flow(text.format(base="Exception"), "one.py")
    flow("Refused = KeyError".join(text.split("class Refused({base}): pass")), "two.py")
    words = {n.full_id: n.word for n in project.run("one.py", "two.py", executor="inline").report.nodes}
    assert (words["one.py::t"], words["two.py::t"]) == ("upstream", "ran")


@pytest.mark.parametrize("quote", ["", "'"])
def test_several_exceptions_side_by_side_are_told_to_be_joined(flow, quote):
    said = flow(f"""
        @task
        def load(): pass
        @task
        def t(load: {quote}Failure[KeyError, ValueError]{quote}): pass
    """).refusal()
    assert "Failure[KeyError | ValueError]" in said
    assert "m.py:" in said
