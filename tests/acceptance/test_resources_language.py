"""Resources: set up where they are used, torn down afterwards, never cached (language.md §7)."""

import json
import re
import threading

import pytest

import flowkit
from flowkit import Failure, Skipped

#: A resource and tasks that note what they do in a list that the test reads.
SEEN = """
    seen = []
    def note(*words): seen.append(" ".join(map(str, words)))
"""


def seen(run):
    """What the flow's module noted, also after the run ended."""
    task = run.report.nodes[0].task
    return list(task.declaration.function.__globals__["seen"])


# Yield, return, scopes


def test_a_resource_is_set_up_before_and_torn_down_after(flow):
    f = flow(SEEN + """
    @resource
    def db():
        note("up"); yield 5; note("down")
    @task
    def t(db): note("task", db)
    """)
    assert seen(f.run()) == ["up", "task 5", "down"]


def test_a_resource_may_return_instead_of_yield(flow):
    f = flow("""
        @resource
        def db(): return 5
        @task
        def t(db): return db
    """)
    assert f.value("t") == 5


def test_a_resource_is_set_up_only_if_somebody_uses_it(flow):
    f = flow(SEEN + """
    @resource
    def db(): note("up"); yield 5
    @task
    def t(): pass
    @task
    def u(db): pass
    """)
    assert seen(f.run("::t")) == []


@pytest.mark.parametrize("scope", ["run", "worker", "task"])
@pytest.mark.parametrize("head", ["def", "async def"])
def test_a_resource_of_any_scope_may_ask_for_the_run(flow, scope, head):
    run = flow(f"""
        @resource(scope={scope!r})
        {head} r(run): yield run
        @resource(scope={scope!r})
        def above(r): return r
        @task
        def t(above, n: int = 3): return above.id, above.flow, dict(above.params), above.attempt
    """).run()
    assert run["t"] == (run.id, "m", {"n": 3}, 1 if scope == "task" else None)


@pytest.mark.parametrize("name", ["log", "tmp_path", "out", "rng"])
def test_a_shared_resource_may_not_ask_for_what_belongs_to_an_attempt(flow, name):
    text = flow(f"""
        @resource
        def r({name}): return 1
        @task
        def t(r): return r
    """).refusal()
    assert f"asks for {name!r}, which lives shorter (scope 'task')" in text
    assert text.endswith("Narrow 'r' to scope='task'.")


@pytest.mark.parametrize("scope", ["run", "task"])
def test_a_resource_that_returns_a_generator_gives_that(flow, scope):
    f = flow(f"""
        @resource(scope={scope!r})
        def numbers(): return (x for x in [1, 2])
        async def letters():
            yield "a"
        @resource(scope={scope!r})
        def texts(): return letters()
        @task
        async def t(numbers, texts): return list(numbers), [text async for text in texts]
    """)
    assert f.value("t") == ([1, 2], ["a"])


def test_a_wrapped_generator_function_is_set_up_and_torn_down(flow):
    f = flow("""
        import functools
        def logged(function):
            @functools.wraps(function)
            def call(*args, **kwargs): return function(*args, **kwargs)
            return call
        @resource
        @logged
        def db():
            yield 1
            Path("down").touch()
        @task
        def t(db): return db
    """)
    assert f.value("t") == 1
    assert f.project.read("down") == ""


@pytest.mark.parametrize("decorated", ["@resource", "@resource()", '@resource(scope="run")'])
def test_run_is_the_default_scope_and_means_once_for_the_run(flow, decorated):
    f = flow(SEEN + f"""
    {decorated}
    def db(): note("up"); yield 5; note("down")
    @task
    def a(db): note("a")
    @task
    def b(db, a): note("b")
    """)
    assert seen(f.run()) == ["up", "a", "b", "down"]


def test_task_scope_is_once_per_attempt(flow):
    f = flow(SEEN + """
    @resource(scope="task")
    def db(): note("up"); yield 5; note("down")
    @task(retries=1)
    def a(db): note("a"); 1 / (len(seen) - 2)
    @task
    def b(db, a): note("b")
    """)
    assert seen(f.run()) == ["up", "a", "down", "up", "a", "down", "up", "b", "down"]


@pytest.mark.parametrize("executor", ["inline", "threads"])
def test_worker_scope_is_once_per_process_under_inline_and_threads(flow, executor):
    f = flow(SEEN + """
    import time
    @resource(scope="worker")
    def model(): time.sleep(0.01); note("up"); yield object(); note("down")
    @task(each={"x": list(range(8))})
    def t(x, model): time.sleep(0.002); return id(model)
    """)
    run = f.run(executor=executor, n=4, p=["no:cache"])
    assert len(set(run["t"])) == 1
    assert seen(run) == ["up", "down"]


def test_a_run_resource_is_set_up_once_though_many_ask_at_once(flow):
    f = flow(SEEN + """
    import time
    @resource
    def db(): time.sleep(0.02); note("up"); yield 5; note("down")
    @task(each={"x": list(range(8))})
    def t(x, db): return db
    """)
    assert seen(f.run(executor="threads", n=8)) == ["up", "down"]


def test_a_run_resource_is_torn_down_at_the_end_of_the_run_not_after_its_last_user(flow):
    f = flow(SEEN + """
    @resource
    def db(): yield 5; note("down")
    @task
    def a(db): note("a")
    @task
    def b(a): note("b")
    """)
    assert seen(f.run()) == ["a", "b", "down"]


@pytest.mark.parametrize(("scope", "meant"), [("session", "run"), ("module", "run"), ("function", "task")])
def test_pytests_scopes_are_errors_that_name_the_scope_meant(flow, scope, meant):
    text = flow(f"""
        @resource(scope={scope!r})
        def db(): yield 1
        @task
        def t(db): pass
    """).refusal()
    assert f"{scope!r}" in text
    assert f"{meant!r}" in text


def test_a_resource_may_ask_for_parameters_and_resources(flow):
    f = flow("""
        @resource
        def pool(size: int = 2): yield ["pool", size]
        @resource(scope="task")
        def cursor(pool): yield [*pool, "cursor"]
        @task
        def t(cursor): return cursor
    """)
    assert f.value("t", params={"size": 3}) == ["pool", 3, "cursor"]


@pytest.mark.parametrize(
    ("wide", "narrow", "fits"),
    [("run", "task", False), ("run", "worker", False), ("worker", "task", False),
     ("task", "worker", True), ("task", "run", True), ("worker", "run", True), ("run", "run", True), ("task", "task", True)],
)  # fmt: skip
def test_a_wider_resource_may_not_ask_for_a_narrower_one(flow, wide, narrow, fits):
    f = flow(f"""
        @resource(scope={narrow!r})
        def inner(): yield 1
        @resource(scope={wide!r})
        def outer(inner): yield 1
        @task
        def t(outer): return outer
    """)
    if fits:
        assert f.value("t") == 1
        return
    text = f.refusal()
    assert "'outer'" in text
    assert "'inner'" in text
    assert text.count("m.py:") >= 2


def test_a_resource_may_not_ask_for_a_task(flow):
    text = flow("""
        @task
        def a(): return 1
        @resource
        def db(a): yield 1
        @task
        def t(db): pass
    """).refusal()
    assert "'db'" in text
    assert "'a'" in text


@pytest.mark.parametrize("signature", ["*args", "**kw", "x, /"])
def test_a_resource_must_name_its_arguments_too(flow, signature):
    text = flow(f"""
        @resource
        def db({signature}): yield 1
        @task
        def t(db): pass
    """).refusal()
    assert "'db'" in text


def test_a_resource_is_shared_by_resources_that_ask_for_it(flow):
    f = flow(SEEN + """
    @resource
    def base(): note("base"); yield object()
    @resource
    def a(base): return base
    @resource
    def b(base): return base
    @task
    def t(a, b): return a is b
    """)
    run = f.run()
    assert run["t"] is True
    assert seen(run) == ["base"]


# Set-up failures


def test_a_set_up_failure_is_an_error_of_the_tasks_that_asked(flow):
    f = flow("""
        @resource
        def db(): raise ConnectionError("refused")
        @task
        def a(db): pass
        @task
        def b(): return 1
        @task
        def c(a): pass
    """)
    run = f.run()
    assert {n.node: n.word for n in run.report.nodes} == {"a": "error", "b": "ran", "c": "upstream"}
    failure = run.outcomes["a"]
    assert isinstance(failure, Failure)
    assert failure.kind == "setup"
    assert isinstance(failure.error, ConnectionError)
    assert "'db'" in run.report.named("a").reason
    assert not run.ok


def test_a_set_up_failure_is_remembered_for_tasks_without_retries(flow):
    f = flow(SEEN + """
    @resource
    def db(): note("up"); raise ConnectionError
    @task
    def a(db): pass
    @task
    def b(db): pass
    """)
    run = f.run()
    assert seen(run) == ["up"]
    assert {n.word for n in run.report.nodes} == {"error"}


def test_a_retry_sets_a_failed_resource_up_anew(flow):
    f = flow(SEEN + """
    @resource
    def db():
        note("up")
        if len(seen) < 2: raise ConnectionError
        yield 5
    @task(retries=2)
    def a(db): return db
    """)
    run = f.run()
    assert run["a"] == 5
    assert seen(run) == ["up", "up"]
    assert len(run.report.named("a").attempts) == 2


def test_there_is_one_set_up_per_wave_of_failed_attempts_never_one_per_task(flow):
    f = flow(SEEN + """
    @resource
    def db():
        note("up"); raise ConnectionError
    @task(retries=1, each={"x": list(range(5))})
    def a(x, db): return db
    """)
    assert seen(f.run(p=["no:cache"])) == ["up", "up"]


def test_what_was_set_up_before_a_failing_set_up_is_torn_down(flow):
    f = flow(SEEN + """
    @resource(scope="task")
    def one(): yield 1; note("down")
    @resource(scope="task")
    def two(one): raise RuntimeError
    @task
    def t(two): pass
    """)
    assert seen(f.run()) == ["down"]


def test_skip_in_a_set_up_skips_the_tasks_that_asked(flow):
    f = flow("""
        @resource
        def db(): skip("no database here")
        @task
        def a(db): pass
        @task
        def b(a): pass
    """)
    run = f.run()
    assert run.ok
    assert isinstance(run.outcomes["a"], Skipped)
    assert run.outcomes["a"].reason == "no database here"
    assert run.report.named("b").word == "skipped"


def test_fail_in_a_set_up_fails_the_tasks_that_asked(flow):
    f = flow("""
        @resource
        def db(): fail("no database here")
        @task
        def a(db): pass
    """)
    run = f.run()
    assert run.report.named("a").word == "failed"
    assert "no database here" in str(run.outcomes["a"].error)


def test_a_resource_that_never_yields_is_an_error_that_says_so(flow):
    f = flow("""
        @resource
        def db():
            if False: yield
        @task
        def t(db): pass
    """)
    run = f.run()
    assert run.report.named("t").word == "error"
    assert "db" in str(run.outcomes["t"].error)
    assert "yield" in str(run.outcomes["t"].error)


def test_a_resource_that_yields_twice_is_a_teardown_error_and_the_node_keeps_its_value(flow):
    f = flow("""
        @resource
        def db(): yield 1; yield 2
        @task
        def t(db): return db
    """)
    run = f.run()
    assert run["t"] == 1
    assert not run.ok
    (teardown,) = run.report.teardowns
    assert teardown.resource == "db"
    assert "yield" in str(teardown.error)


@pytest.mark.parametrize("how", ["SystemExit(1)", "KeyboardInterrupt()", "BaseException('b')"])
def test_a_base_exception_in_a_set_up_is_an_error_of_the_tasks(flow, how):
    f = flow(f"""
        @resource
        def db(): raise {how}
        @task
        def t(db): pass
        @task
        def u(): return 1
    """)
    assert f.words() == {"t": "error", "u": "ran"}


# Teardown


def test_teardown_runs_last_in_first_out(flow):
    f = flow(SEEN + """
    @resource
    def a(): yield 1; note("a")
    @resource
    def b(a): yield 1; note("b")
    @resource(scope="worker")
    def c(): yield 1; note("c")
    @resource(scope="task")
    def d(): yield 1; note("d")
    @resource(scope="task")
    def e(d): yield 1; note("e")
    @task
    def t(b, c, e): note("t")
    """)
    assert seen(f.run()) == ["t", "e", "d", "c", "b", "a"]


@pytest.mark.parametrize("scope", ["task", "worker", "run"])
@pytest.mark.parametrize("body", ["raise RuntimeError", "skip('s')", "fail('f')", "raise SystemExit", "return 1"])
def test_teardown_runs_however_the_task_ended(flow, scope, body):
    f = flow(SEEN + f"""
    @resource(scope={scope!r})
    def db(): yield 1; note("down")
    @task
    def t(db): {body}
    """)
    assert seen(f.run()) == ["down"]


@pytest.mark.parametrize("executor", ["inline", "threads"])
def test_teardown_runs_after_a_timeout(flow, executor):
    f = flow(SEEN + """
    import time
    @resource(scope="task")
    def db(): yield 1; note("down")
    @resource
    def pool(): yield 1; note("drained")
    @task(timeout=0.05)
    def t(db, pool):
        for _ in range(2000): time.sleep(0.005)
    """)
    run = f.run(executor=executor)
    assert run.report.named("t").word == "timeout"
    assert seen(run) == ["down", "drained"]


def test_the_failure_of_a_task_does_not_reach_the_resource(flow):
    f = flow(SEEN + """
    @resource(scope="task")
    def db():
        try: yield 1
        except BaseException as error: note(type(error).__name__)
        else: note("quiet")
    @task
    def t(db): raise RuntimeError
    """)
    assert seen(f.run()) == ["quiet"]


@pytest.mark.parametrize("scope", ["task", "worker", "run"])
def test_a_teardown_error_fails_the_run_but_the_node_keeps_its_outcome_and_value(flow, scope):
    f = flow(f"""
        @resource(scope={scope!r})
        def db(): yield 1; raise OSError("stuck")
        @task
        def t(db): return 7
        @task
        def u(t): return t
    """)
    run = f.run()
    assert not run.ok
    assert run.exit_code == 1
    assert run["t"] == 7
    assert run["u"] == 7
    assert run.report.named("t").word == "ran"
    (teardown,) = run.report.teardowns
    assert (teardown.resource, str(teardown.error)) == ("db", "stuck")


def test_one_failing_teardown_does_not_keep_others_from_running(flow):
    f = flow(SEEN + """
    @resource
    def a(): yield 1; note("a")
    @resource
    def b(): yield 1; raise SystemExit
    @resource
    def c(): yield 1; note("c")
    @task
    def t(a, b, c): pass
    """)
    run = f.run()
    assert seen(run) == ["c", "a"]
    assert len(run.report.teardowns) == 1


# async

ASYNC = """
    import asyncio
    @resource(scope={scope!r})
    async def pool():
        await asyncio.sleep(0)
        note("up")
        yield asyncio.get_running_loop()
        await asyncio.sleep(0)
        note("down")
    @resource
    async def plain(): return 3
    @task
    async def a(pool, plain):
        await asyncio.sleep(0)
        return pool is asyncio.get_running_loop(), plain
    @task
    def b(pool, a): return a, pool is not None
"""


@pytest.mark.parametrize("scope", ["task", "worker", "run"])
@pytest.mark.parametrize("executor", ["inline", "threads"])
def test_async_tasks_and_resources_work_in_one_loop_and_with_sync_ones(flow, scope, executor):
    f = flow(SEEN + ASYNC.format(scope=scope))
    run = f.run(executor=executor)
    assert run["b"] == ((True, 3), True)
    assert seen(run) == (["up", "down"] if scope != "task" else ["up", "down", "up", "down"])


def test_a_sync_resource_serves_an_async_task(flow):
    f = flow(SEEN + """
    @resource
    def db(): yield 5; note("down")
    @task
    async def t(db): return db
    """)
    run = f.run()
    assert run["t"] == 5
    assert seen(run) == ["down"]


def test_async_tasks_fail_skip_and_retry_like_others(flow):
    f = flow("""
        calls = []
        @task
        async def a(): raise KeyError
        @task
        async def b(): skip("s")
        @task(retries=1)
        async def c():
            calls.append(1)
            if len(calls) < 2: raise KeyError
            return len(calls)
    """)
    run = f.run()
    assert {n.node: n.word for n in run.report.nodes} == {"a": "failed", "b": "skipped", "c": "ran"}
    assert run["c"] == 2


@pytest.mark.parametrize("scope", ["task", "run"])
def test_a_teardown_error_is_counted_and_shown_beside_the_nodes(flow, project, scope):
    f = flow(f"""
        @resource(scope={scope!r})
        def db():
            yield 1
            raise ValueError("boom")
        @task
        def a(db): return 1
        @task
        def b(a): return 1
    """)
    assert f.run(no_cache=True).report.counts == {"ran": 2, "error": 1}
    ended = project.flowkit("run", "m.py", "--no-cache")
    assert re.search(r"^m.py \.\.E +\[100%\]$", ended.out, re.M), ended.out
    assert "2 ran, 1 error in" in ended.out
    verbose = project.flowkit("run", "m.py", "--no-cache", "-v").out
    assert "teardown of `db` (m.py:2) ERROR ValueError: boom\n" in verbose
    said = project.flowkit("run", "m.py", "--no-cache", "--json").out
    assert json.loads(said.splitlines()[-1])["counts"] == {"ran": 2, "error": 1}
    assert project.flowkit("runs").out.count("2 ran, 1 error") == 4
    assert json.loads(project.flowkit("show", "--json").out)["counts"] == {"ran": 2, "error": 1}


def test_async_teardown_errors_are_reported(flow):
    f = flow("""
        @resource
        async def db():
            yield 1
            raise OSError("stuck")
        @task
        def t(db): return 1
    """)
    run = f.run()
    assert [str(t.error) for t in run.report.teardowns] == ["stuck"]


def test_async_tasks_run_at_the_same_time_bounded_by_n(flow):
    f = flow("""
        import asyncio
        now = most = 0
        @task(each={"x": list(range(6))}, cache=False)
        async def t(x):
            global now, most
            now += 1; most = max(most, now)
            await asyncio.sleep(0.02)
            now -= 1
            return most
    """)
    assert max(f.run(executor="threads", n=3)["t"]) == 3


# Never cached, and what it leaves


def test_a_resource_is_set_up_again_in_the_next_run(flow):
    f = flow("""
        @resource
        def db():
            with open("ups", "a") as file: file.write("x")
            yield 1
        @task(cache=False)
        def t(db): return db
    """)
    f.run()
    f.run()
    assert f.project.read("ups") == "xx"


def test_no_thread_is_left_behind(flow):
    before = set(threading.enumerate())
    f = flow(SEEN + ASYNC.format(scope="worker"))
    f.run(executor="threads", n=4)
    assert set(threading.enumerate()) <= before


def test_a_resource_called_directly_is_the_same_function():
    @flowkit.resource(scope="task")
    def db(dsn="x"):
        yield dsn

    assert next(db("y")) == "y"


def test_a_task_that_returns_its_resource_is_warned_of(flow):
    f = flow("""
        class Connection: pass
        @resource
        def db(): return Connection()
        @task
        def leaks(db): return db
        @task
        def wraps(db): return str(db)
    """)
    (note,) = [n for n in f.run().report.notes if "torn down" in n]
    assert "`leaks` returns the resource `db`" in note


def test_a_teardown_may_take_longer_than_a_call_has_to_stop(flow):
    """Of a task that was stopped in time: attempts follow each other, and what is shared goes last."""
    f = flow(SEEN + """
    import time
    @resource
    def pool(): yield 1; note("pool down")
    @resource(scope="task")
    def conn(pool):
        note("up")
        yield 1
        for _ in range(130): time.sleep(0.01)
        note("down")
    @task(timeout=0.05, retries=1)
    def t(conn):
        while True: time.sleep(0.005)
    """)
    run = f.run(executor="threads")
    assert seen(run) == ["up", "down", "up", "down", "pool down"]
    assert run.outcomes["t"].kind == "timeout"
    assert run.report.notes == []
