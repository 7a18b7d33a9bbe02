"""Options of @task, @resource and Flow, defaults, policies and durations (language.md §4)."""

from datetime import timedelta

import pytest

import flowkit
from flowkit.durations import seconds

# Unknown and ill-typed options


@pytest.mark.parametrize(
    ("written", "nearest"),
    [("retires=3", "retries"), ("timeot='1s'", "timeout"), ("tag=['a']", "tags"), ("need=['a']", "needs"),
     ("triger='always'", "trigger"), ("limt=1", "limit"), ("fallbak='b'", "fallback")],
)  # fmt: skip
def test_an_unknown_option_is_an_error_with_task_place_and_nearest_name(flow, written, nearest):
    text = flow(f"""
        @task({written})
        def f(): Path("ran").touch()
    """).refusal()
    assert repr(written.partition("=")[0]) in text
    assert "'f'" in text
    assert "m.py:2" in text or "m.py:3" in text
    assert f"Did you mean {nearest!r}?" in text


@pytest.mark.parametrize(
    "written",
    [
        "retries='many'", "retries=-1", "retries=1.5", "retries=True", "retries={'tmes': 3}", "retries={'times': 'x'}",
        "timeout='soon'", "timeout=-1", "timeout=[]", "timeout={'second': 3}",
        "limit=0", "limit='no such pool'", "limit=-2",
        "tags=3", "tags=[3]", "needs=3", "needs=[3]", "needs='a b'", "trigger='all_success'", "trigger=3", "allow_failure='yes'",
        "fallback=3", "provides=3", "provides=[1]", "name=3", "name=''", "each=3", "each={'x': 3}", "each={3: [1]}",
        "each={'y': [1]}", "each=['x']",
    ],
)  # fmt: skip
def test_an_ill_typed_option_is_an_error_that_names_task_and_option(flow, written):
    text = flow(f"""
        @task({written})
        def f(x=1): Path("ran").touch()
    """).refusal()
    option = written.partition("=")[0]
    assert option in text
    assert "m.py" in text


@pytest.mark.parametrize("written", ["scop='run'", "scope='runs'", "retries=3", "cache=False"])
def test_an_unknown_option_or_scope_of_a_resource_is_an_error(flow, written):
    text = flow(f"""
        @resource({written})
        def r(): yield 1
        @task
        def f(r): pass
    """).refusal()
    assert "'r'" in text
    assert "m.py:2" in text or "m.py:3" in text


def test_an_unknown_option_of_flow_is_an_error_with_the_nearest_name(flow):
    text = flow("""
        flow = Flow(timeot="1h")
        @task
        def f(): pass
    """).refusal()
    assert "'timeot'" in text
    assert "'timeout'" in text


@pytest.mark.parametrize("written", ["timeout='soon'", "name=3", "defaults=3"])
def test_an_ill_typed_option_of_flow_is_an_error(flow, written):
    text = flow(f"""
        flow = Flow({written})
        @task
        def f(): pass
    """).refusal()
    assert written.partition("=")[0] in text


# notify, expect, effect, strategy and worker come with their plugins, and are tested there.
@pytest.mark.parametrize("written", ["retries=1", "timeout=9", "limit=1", "cache=False", "version=2", "tags=['a']"])
def test_options_of_built_in_plugins_are_known(flow, written):
    f = flow(f"""
        @task({written})
        def f(): return 1
    """)
    assert f.value("f") == 1


# Forms of a policy


@pytest.mark.parametrize("written", ["retries=2", "retries={'times': 2}", "retries=Retry(times=2)", "retries=Retry(2)"])
def test_a_policy_is_written_short_as_a_mapping_or_as_the_typed_value(flow, written):
    run = flow(f"""
        from flowkit_plugins.retry import Retry
        @task({written})
        def f(): raise RuntimeError
    """).run()
    assert run.outcomes["f"].attempts == 3


def test_the_core_exports_no_plugins_names():
    assert set(flowkit.__all__) == {
        "Collected", "Failure", "Flow", "FlowError", "From", "Outcome", "Run", "Skipped", "Success",
        "fail", "hookimpl", "resource", "run", "skip", "task",
    }  # fmt: skip
    for name in ("Retry", "Cache", "Timeout", "Limit"):
        assert not hasattr(flowkit, name)


# Defaults

RAISES = """
    {flow}
    @task{options}
    def f(): raise RuntimeError
"""


def attempts(run):
    return run.outcomes["f"].attempts


def test_defaults_for_a_module_stand_in_its_flow(flow):
    f = flow(RAISES.format(flow='flow = Flow(defaults={"retries": 2})', options=""))
    assert attempts(f.run()) == 3


def test_an_option_said_at_the_task_wins_over_every_default(flow, project):
    project.write("flowkit.toml", "[defaults]\nretries = 4\n")
    f = flow(RAISES.format(flow='flow = Flow(defaults={"retries": 2})', options="(retries=1)"))
    assert attempts(f.run()) == 2


def test_defaults_for_a_folder_stand_in_its_flowconf(flow, project):
    project.write("flowconf.py", 'from flowkit import Flow\nflow = Flow(defaults={"retries": 2})\n')
    assert attempts(flow(RAISES.format(flow="", options=""), "sub/m.py").run()) == 3


def test_defaults_for_a_project_stand_in_its_settings(flow, project):
    (project.root / "flowkit.toml").unlink()
    project.write("pyproject.toml", "[tool.flowkit.defaults]\nretries = 2\n")
    assert attempts(flow(RAISES.format(flow="", options="")).run()) == 3


def test_of_defaults_the_nearest_wins(flow, project):
    project.write("flowkit.toml", "[defaults]\nretries = 4\n")
    f = flow(RAISES.format(flow="", options=""), "sub/m.py")
    assert attempts(f.run()) == 5
    project.write("flowconf.py", 'from flowkit import Flow\nflow = Flow(defaults={"retries": 3})\n')
    assert attempts(f.run()) == 4
    project.write("sub/flowconf.py", 'from flowkit import Flow\nflow = Flow(defaults={"retries": 2})\n')
    assert attempts(f.run()) == 3
    f = flow(RAISES.format(flow='flow = Flow(defaults={"retries": 1})', options=""), "sub/m.py")
    assert attempts(f.run()) == 2


@pytest.mark.parametrize("where", ["flow", "flowconf", "project"])
def test_an_unknown_or_ill_typed_default_is_an_error_that_names_its_place(flow, project, where):
    for name, value in (("retires", "2"), ("retries", '"x"')):
        written = f"{{'{name}': {value}}}"
        f = flow(RAISES.format(flow=f"flow = Flow(defaults={written})" if where == "flow" else "", options=""))
        if where == "flowconf":
            project.write("flowconf.py", f"from flowkit import Flow\nflow = Flow(defaults={written})\n")
        if where == "project":
            project.write("flowkit.toml", f"[defaults]\n{name} = {value}\n")
        text = f.refusal()
        assert name in text
        assert {"flow": "m.py", "flowconf": "flowconf.py", "project": "defaults"}[where] in text


def test_tags_allow_failure_and_trigger_may_be_defaults(flow):
    f = flow("""
        flow = Flow(defaults={"allow_failure": True, "tags": ["slow"]})
        @task
        def f(): raise RuntimeError
    """)
    assert f.run().ok
    assert f.words(m="slow") == {"f": "failed"}


def test_a_flow_carries_its_name(flow):
    f = flow("""
        flow = Flow(name="nightly")
        @task
        def f(): return 1
    """)
    assert f.run().report.run.flow == "nightly"


def test_a_flow_without_name_is_called_as_its_module(flow):
    f = flow("""
        @task
        def f(): return 1
    """)
    assert f.run().report.run.flow == "m"


def test_two_flow_objects_in_a_module_are_an_error(flow):
    text = flow("""
        one = Flow(name="one")
        two = Flow(name="two")
        @task
        def f(): pass
    """).refusal()
    assert "m.py" in text


# provides


def test_provides_names_the_parts_of_a_tuple(flow):
    f = flow("""
        @task(provides=["train", "test"])
        def split(): return [1, 2], [3]
        @task
        def use(train, test, split): return train, test, split
    """)
    assert f.value("use") == ([1, 2], [3], ([1, 2], [3]))


def test_provides_names_the_parts_of_a_mapping(flow):
    f = flow("""
        @task(provides=["train", "test"])
        def split(): return {"test": 2, "train": 1, "more": 3}
        @task
        def use(train, test): return train, test
    """)
    assert f.value("use") == (1, 2)


def test_from_may_name_a_provided_part(flow):
    f = flow("""
        @task(provides=["train", "test"])
        def split(): return 1, 2
        @task
        def use(x: Annotated[int, From("test")]): return x
    """)
    assert f.value("use") == 2


def test_a_task_may_be_mapped_over_a_provided_part(flow):
    f = flow("""
        @task(provides=["train", "test"])
        def split(): return [1, 2], [3]
        @task(each={"x": "train"})
        def m(x): return x * 10
        @task
        def use(m: Collected[int]): return list(m)
    """)
    assert f.value("use") == [10, 20]


@pytest.mark.parametrize("value", ["(1,)", "(1, 2, 3)", "{'train': 1}", "5", "None", "'ab'", "[1, 2]"])
def test_a_result_that_lacks_what_it_provides_fails_the_task(flow, value):
    run = flow(f"""
        @task(provides=["train", "test"])
        def split(): return {value}
        @task
        def use(train): return train
    """).run()
    assert isinstance(run.outcomes["split"], flowkit.Failure)
    assert "provides" in str(run.outcomes["split"].error)
    assert isinstance(run.outcomes["use"], flowkit.Skipped)


def test_provided_names_are_not_nodes_but_can_be_selected_and_asked_for(flow):
    f = flow("""
        @task(provides=["train", "test"])
        def split(): return 1, 2
        @task
        def other(): return 3
    """)
    run = f.run("::train")
    assert run.report.counts == {"ran": 1}
    assert run["train"] == 1
    assert run["split"] == (1, 2)


@pytest.mark.parametrize("body", ["return 5, 6", "return {'train': 5, 'test': 6}"])
def test_a_function_that_stands_in_for_a_task_provides_what_that_does(flow, project, body):
    f = flow("""
        @task(provides=["train", "test"])
        def split(): return 1, 2
        @task
        def use(train): return train
    """)
    project.write("fakes.py", f"def split():\n    {body}\n")
    done = project.flowkit("run", "m.py", "-O", "split=fakes.py::split")
    assert done.exit_code == 0
    assert f.run(override={"split": lambda: (5, 6)})["use"] == 5


def test_a_function_that_stands_in_for_a_task_and_lacks_what_that_provides_fails(flow):
    run = flow("""
        @task(provides=["train", "test"])
        def split(): return 1, 2
        @task
        def use(train): return train
    """).run(override={"split": lambda: 5})
    assert "provides train, test: return a tuple or a mapping, not an int" in str(run.outcomes["split"].error)
    assert isinstance(run.outcomes["use"], flowkit.Skipped)


@pytest.mark.parametrize("value", ["7", "(7,)", "{'train': 1}", "'xy'"])
def test_a_fallback_that_lacks_what_the_task_provides_fails(flow, value):
    f = flow(f"""
        @task(provides=["train", "test"], fallback="spare")
        def split(): raise ValueError("no")
        @task
        def spare(): return {value}
        @task
        def use(train): return train
    """)
    for _ in range(2):
        run = f.run()
        assert not run.ok
        assert "stands in for `split`, which provides t" in str(run.outcomes["spare"].error)
        assert isinstance(run.outcomes["use"], flowkit.Skipped)
    assert "lacks" in f.refusal(override={"spare": {"train": 1}}) 


def test_a_fallback_that_was_stored_before_it_had_to_provide_anything_fails_who_asks(flow):
    source = """
        @task({}fallback="spare")
        def split(): raise ValueError("no")
        @task
        def spare(): return 7
        @task
        def use({}): return 1
    """
    flow(source.format("", "split")).run()
    run = flow(source.format("provides=['train', 'test'], ", "train")).run()
    assert "what stands in for `split` holds no 'train'" in str(run.outcomes["use"].error)


def test_the_outcome_of_a_provided_name_holds_its_part(flow):
    f = flow("""
        @task(provides=["train", "test"])
        def split(): return 1, 2
        @task(each={"n": [1, 2]}, provides=["half", "double"])
        def sizes(n: int): return {"half": n / 2, "double": n * 2}
        @task(provides=["never"])
        def broken(): raise ValueError("no")
    """)
    for _ in ("computed", "reused"):
        run = f.run()
        assert run.outcomes["train"].value == 1
        assert run.outcomes["split"].value == (1, 2)
        assert {name: outcome.value for name, outcome in run.outcomes["double"].items()} == {"1": 2, "2": 4}
        assert isinstance(run.outcomes["never"], flowkit.Failure)


def test_a_provided_name_that_is_also_a_tasks_is_a_duplicate(flow):
    text = flow("""
        @task(provides=["train", "test"])
        def split(): return 1, 2
        @task
        def train(): return 3
    """).refusal()
    assert "'train'" in text


def test_two_tasks_that_provide_one_name_are_a_duplicate(flow):
    text = flow("""
        @task(provides=["train", "test"])
        def split(): return 1, 2
        @task(provides=["train", "rest"])
        def other(): return 1, 2
    """).refusal()
    assert "'train'" in text


# Durations


@pytest.mark.parametrize(
    ("written", "value"),
    [(3, 3.0), (0.5, 0.5), (timedelta(minutes=1), 60.0), ("1.5s", 1.5), ("2m", 120.0), ("1h30m", 5400.0),
     ("7d", 604800.0), ("250ms", 0.25), ("1d2h3m4s", 93784.0), ("0s", 0.0), (" 2m ", 120.0)],
)  # fmt: skip
def test_a_duration_is_seconds_a_timedelta_or_text(written, value):
    assert seconds(written) == value


@pytest.mark.parametrize(
    "written", ["", "s", "3 parsecs", "1h-3m", "-1s", -1, True, None, [], float("nan"), float("inf"), timedelta(-1)]
)
def test_what_is_no_duration_is_refused(written):
    with pytest.raises((TypeError, ValueError)):
        seconds(written)


def test_durations_are_read_alike_in_every_option(flow):
    f = flow("""
        import datetime
        @task(timeout="1h30m", retries={"delay": datetime.timedelta(seconds=0), "within": "2m"})
        def f(): return 1
    """)
    assert f.value("f") == 1


# limit


def test_limit_is_how_many_nodes_of_the_task_run_at_once(flow):
    f = flow("""
        import threading, time
        lock, now, most = threading.Lock(), 0, 0
        @task(each={"x": list(range(8))}, limit=2, cache=False)
        def f(x):
            global now, most
            with lock:
                now += 1; most = max(most, now)
            time.sleep(0.005)
            with lock: now -= 1
            return most
    """)
    assert max(f.run(executor="threads", n=8)["f"]) == 2


def test_a_limit_may_name_a_pool_of_the_settings(flow, project):
    project.write("flowkit.toml", "[limits]\ndb = 1\n")
    f = flow("""
        import threading, time
        lock, now, most = threading.Lock(), 0, 0
        def work():
            global now, most
            with lock:
                now += 1; most = max(most, now)
            time.sleep(0.005)
            with lock: now -= 1
            return most
        @task(limit="db")
        def a(): return work()
        @task(limit="db")
        def b(): return work()
        @task(limit="db")
        def c(): return work()
    """)
    run = f.run(executor="threads", n=4)
    assert max(run["a"], run["b"], run["c"]) == 1


def test_two_sizes_for_one_pool_are_an_error(flow):
    text = flow("""
        @task(limit={"db": 2})
        def a(): pass
        @task(limit={"db": 3})
        def b(): pass
    """).refusal()
    assert "db" in text


def test_a_version_that_is_no_whole_number_is_told_so(flow):
    text = flow("""
        @task(version=1.5)
        def a(): Path("ran").touch()
    """).refusal()
    assert "version=1.5 does not fit: a whole number or text, not 1.5" in text
