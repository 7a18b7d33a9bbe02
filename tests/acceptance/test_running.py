"""Running from Python: ``flowkit.run`` and what it returns (language.md §10)."""

import time
import asyncio
import shutil
import signal
import subprocess
import sys
import threading

import pytest

import flowkit
from flowkit.reports import RunReport

#: For functions of this file: the root of their project is the checkout.
NOTHING_KEPT = ["no:cache", "no:history"]

FLOW = """
    @task
    def raw(n: int = 1): return [n]
    @task
    def clean(raw): return raw + [2]
    @task
    def other(): return 0
"""


# Targets


def test_a_target_is_a_path(flow, project):
    flow(FLOW)
    assert project.run("m.py")["clean"] == [1, 2]
    assert project.run(project.root / "m.py")["clean"] == [1, 2]


def test_a_target_is_a_path_and_a_task(flow):
    run = flow(FLOW).run("::clean")
    assert {n.node for n in run.report.nodes} == {"raw", "clean"}


def test_a_target_is_a_dotted_module(flow, project, monkeypatch):
    project.write("dotted_pack/__init__.py")
    flow(FLOW, "dotted_pack/flows.py")
    assert project.run("dotted_pack.flows")["clean"] == [1, 2]


def test_a_target_is_a_module_object(flow, project, monkeypatch):
    flow(FLOW, "module_object.py")
    monkeypatch.syspath_prepend(str(project.root))
    import module_object

    assert flowkit.run(module_object)["clean"] == [1, 2]
    sys.modules.pop("module_object")


def test_a_target_is_a_task_function(flow, project, monkeypatch):
    flow(FLOW, "task_object.py")
    monkeypatch.syspath_prepend(str(project.root))
    import task_object

    run = flowkit.run(task_object.clean)
    assert run["clean"] == [1, 2]
    assert {n.node for n in run.report.nodes} == {"raw", "clean"}
    sys.modules.pop("task_object")


VERSIONS = "from flowkit import task\n@task\ndef a():\n    return {}\n"


def test_a_module_object_is_used_as_it_is_though_its_path_was_run_meanwhile(project, monkeypatch):
    file = project.write("module_kept.py", VERSIONS.format(1))
    monkeypatch.syspath_prepend(str(project.root))
    import module_kept

    assert flowkit.run(module_kept)["a"] == 1
    project.write("module_kept.py", VERSIONS.format(22222))
    for _ in range(2):
        assert flowkit.run(str(file))["a"] == 22222
        assert (module_kept.a(), flowkit.run(module_kept)["a"], flowkit.run(module_kept.a)["a"]) == (1, 1, 1)
    assert sys.modules.pop("module_kept") is module_kept


def test_a_helper_that_the_program_imported_is_back_after_a_run_of_another_folders(flow, project, monkeypatch):
    project.write("helper_kept.py", "x = 1\n")
    project.write("sub/helper_kept.py", "x = 2\n")
    f = flow("""
        import helper_kept
        @task
        def a(): return helper_kept.x
    """, "sub/m.py")
    monkeypatch.syspath_prepend(str(project.root))
    import helper_kept

    assert f.value("a") == 2
    assert sys.modules.pop("helper_kept") is helper_kept


MAKES_AN_ODD = """
from flowkit import task
class Odd:
    where = {!r}
@task
def a(): return Odd()
"""


def test_results_are_of_their_own_flows_classes_whatever_bears_the_modules_name_by_then(project, monkeypatch):
    project.write("odd_flow.py", "x = 1\n")
    files = [project.write(f"{folder}/odd_flow.py", MAKES_AN_ODD.format(folder)) for folder in ("one", "two")]
    monkeypatch.syspath_prepend(str(project.root))
    import odd_flow

    for _ in range(2):  # the second time they are reused
        runs = [flowkit.run(str(file)) for file in files]
        assert [run["a"].where for run in runs] == ["one", "two"]
        assert [run.outcomes["a"].value.where for run in runs] == ["one", "two"]
        assert sys.modules["odd_flow"] is odd_flow
    sys.modules.pop("odd_flow")


def test_a_result_is_read_though_only_its_task_imported_its_class_in_another_process(flow, project):
    project.write("sub/odd_helper.py", "class Odd:\n    x = 7\n")
    f = flow("""
        @task
        def a():
            import odd_helper
            return odd_helper.Odd()
    """, "sub/m.py")
    path = list(sys.path)
    for _ in range(2):
        assert f.value("a").x == 7
        sys.modules.pop("odd_helper")  # as in a process where no task imports it
    assert sys.path == path


def test_a_task_whose_module_was_run_anew_says_so(project, monkeypatch):
    file = project.write("module_gone.py", VERSIONS.format(1))
    monkeypatch.syspath_prepend(str(project.root))
    flowkit.run(str(file))
    from module_gone import a

    project.write("module_gone.py", VERSIONS.format(22222))
    flowkit.run(str(file))
    with pytest.raises(flowkit.FlowError, match="not imported any more"):
        flowkit.run(a)
    sys.modules.pop("module_gone")


@pytest.mark.parametrize("edited", ["near.py", "far.py", "behind/deep.py"])
def test_a_path_is_loaded_afresh_with_all_that_it_imports_however_deep(flow, project, edited):
    project.write("near.py", "import far\nx = 1\ndef of_far(): return far.x\n")
    project.write("far.py", "x = 1\n")
    project.write("behind/__init__.py", "from .deep import x\n")
    project.write("behind/deep.py", "x = 1\n")
    f = flow("""
        import behind
        import near
        @task
        def a(): return near.x, near.of_far(), behind.x
    """)
    assert f.value("a") == (1, 1, 1)
    project.write(edited, project.read(edited).replace("x = 1", "x = 2222"))
    assert sorted(f.value("a")) == [1, 1, 2222]


def test_a_target_is_a_folder(flow, project):
    flow(FLOW, "sub/a.py")
    flow(FLOW.replace("[2]", "[3]"), "sub/deep/b.py")
    run = project.run("sub")
    assert run["sub/a.py::clean"] == [1, 2]
    assert run["sub/deep/b.py::clean"] == [1, 3]


def test_a_folder_has_the_modules_that_get_their_decorators_by_way_of_another(flow, project):
    project.write("common.py", "from base import task\n")
    project.write("base.py", "from flowkit import *\nfrom flowkit import task\nstep = task(retries=1)\n")
    project.write("pack/__init__.py", "from .decorators import step\n")
    project.write("pack/decorators.py", "from base import step\n")
    text = "\n@{}\ndef a(): return 1\n"
    for at, (source, decorator) in enumerate({
        "from common import task": "task", "import common as c": "c.task", "from base import *": "task",
        "from pack import step as s": "s", "from pack.decorators import step": "step",
        "import pack.decorators": "pack.decorators.step", "import base": "base.task(retries=2)",
    }.items()):  # fmt: skip
        project.write(f"m{at}.py", source + text.format(decorator))
    project.write("pack/inside.py", "from .decorators import step" + text.format("step"))
    project.write("pack/up.py", "from . import decorators as d" + text.format("d.step"))
    ran = {flow.path for flow in project.run(".").report.run.graph.flows}
    assert ran == {f"m{at}.py" for at in range(7)} | {"pack/inside.py", "pack/up.py"}


def test_a_folders_scripts_are_not_imported(flow, project):
    flow(FLOW, "m.py")
    project.write("script.py", "import functools, m\nraise SystemExit\n@functools.cache\ndef f(): return m.clean([])\n")
    project.write("broken.py", "@nothing\nbroken(\n")
    assert project.run(".")["m.py::clean"] == [1, 2]


def test_a_package_as_a_target_is_its_folder(flow, project, monkeypatch):
    flow(FLOW, "package_target/flows/a.py")
    flow(FLOW.replace("[2]", "[3]"), "package_target/flows/deep/b.py")
    project.write("package_target/__init__.py")
    project.write("package_target/flows/__init__.py", "from .a import clean\n")
    ended = project.flowkit("run", "package_target.flows")
    assert ended.exit_code == 0, ended
    assert "4 ran" in ended.out
    monkeypatch.syspath_prepend(str(project.root))
    import package_target

    run = flowkit.run(package_target)
    assert run["package_target/flows/a.py::clean"] == [1, 2]
    assert run["package_target/flows/deep/b.py::clean"] == [1, 3]
    for name in [name for name in sys.modules if name.partition(".")[0] == "package_target"]:
        del sys.modules[name]


def test_several_targets_run_together(flow, project):
    flow(FLOW, "a.py")
    flow(FLOW, "b.py")
    assert project.run("a.py::other", "b.py::raw").report.counts in ({"ran": 2}, {"ran": 1, "cached": 1})


def test_the_same_target_twice_is_one(flow, project):
    flow(FLOW)
    assert len(project.run("m.py", "m.py::clean", "./m.py").report.nodes) == 3


def test_a_path_is_loaded_afresh_when_the_file_changed(flow, project):
    f = flow(FLOW)
    assert f.run()["clean"] == [1, 2]
    project.write("m.py", (project.read("m.py")).replace("[2]", "[3]"))
    assert f.run()["clean"] == [1, 3]


def test_tasks_defined_in_a_test_or_notebook_can_be_run(project):
    @flowkit.task
    def raw(n: int = 2):
        return n

    assert flowkit.run(raw, executor="inline", p=NOTHING_KEPT, params={"n": 3})["raw"] == 3


@pytest.mark.parametrize("target", [None, 5, "", len, object()])
def test_a_target_that_is_none_of_these_is_an_error(project, target):
    with pytest.raises(flowkit.FlowError):
        flowkit.run(target)


def test_no_target_is_an_error(project):
    with pytest.raises(flowkit.FlowError):
        flowkit.run()


# What comes back


def test_a_run_has_ok_values_outcomes_id_and_report(flow):
    run = flow(FLOW).run()
    assert run.ok is True
    assert run["clean"] == [1, 2]
    assert isinstance(run.outcomes["clean"], flowkit.Success)
    assert isinstance(run.id, str)
    assert run.id
    assert isinstance(run.report, RunReport)
    assert isinstance(run, flowkit.Run)


def test_every_run_has_an_id_of_its_own(flow):
    f = flow(FLOW)
    assert len({f.run().id for _ in range(5)}) == 5


def test_asking_for_a_failed_task_raises_its_own_error(flow):
    run = flow("""
        class Mine(Exception): pass
        @task
        def t(): raise Mine("x")
    """).run()
    with pytest.raises(Exception, match="x") as caught:
        run["t"]
    assert type(caught.value).__name__ == "Mine"


def test_a_failed_run_does_not_raise(flow):
    run = flow("""
        @task
        def t(): raise SystemExit(3)
    """).run()
    assert run.ok is False


def test_an_unknown_name_is_a_key_error_with_the_nearest(flow):
    with pytest.raises(KeyError, match="clean"):
        flow(FLOW).run()["claen"]


def test_what_did_not_run_is_a_lookup_error_with_the_reason(flow):
    run = flow("""
        @task
        def a(): raise RuntimeError
        @task
        def b(a): pass
    """).run()
    with pytest.raises(LookupError, match="a") as caught:
        run["b"]
    assert not isinstance(caught.value, KeyError)


def test_outcomes_is_a_mapping_of_all_tasks(flow):
    run = flow(FLOW).run()
    assert set(run.outcomes) == {"raw", "clean", "other"}
    assert len(run.outcomes) == 3


def test_a_value_of_a_task_that_was_only_needed_says_how_to_keep_it_or_is_there(flow):
    run = flow(FLOW).run("::clean")
    try:
        assert run["raw"] == [1]
    except LookupError as error:
        assert "m.py" in str(error) or "raw" in str(error)


def test_the_outcome_of_a_task_whose_value_was_not_kept_says_so_when_it_is_asked_for(flow):
    run = flow(FLOW).run("::clean", no_cache=True)
    outcome = run.outcomes["raw"]
    assert isinstance(outcome, flowkit.Success)
    assert outcome.attempts == 1
    assert "not kept" in repr(outcome)
    with pytest.raises(LookupError, match="was not kept: name it as a target"):
        _ = outcome.value


STOOD_IN = """
    class Odd(Exception): pass
    @task
    def source(): return [1, 2, 3]
    @task(fallback="other")
    def whole(): raise Odd
    @task(fallback="last")
    def other(): raise Odd
    @task
    def last(): return [lambda: 7]
    @task(each={"i": "source"}, fallback="instead")
    def element(i: int):
        if i == 2: raise Odd
        return i
    @task(each={"i": "source"}, cache=False)
    def instead(i: int): return -i
"""


@pytest.mark.parametrize("executor", ["inline", "threads"])
@pytest.mark.parametrize("reuse", [{}, {"no_cache": True}], ids=["cache", "no_cache"])
def test_the_value_of_a_target_that_failed_is_that_of_its_fallback_wherever_it_is_kept(flow, executor, reuse):
    f = flow(STOOD_IN)
    for _ in range(2):
        run = f.run(executor=executor, **reuse)
        assert run.ok
        assert run["whole"][0]() == 7
        assert run.outcomes["whole"].value[0]() == 7
        assert list(run["element"]) == [1, -2, 3]
        assert run["element[2]"] == -2


@pytest.mark.parametrize("reuse", [{}, {"no_cache": True}], ids=["cache", "no_cache"])
def test_the_value_of_what_an_override_stands_in_for_is_the_override(flow, reuse):
    f = flow("""
        @task(provides=["p", "q"])
        def both(): return 1, 2
        @task
        def user(p): return p
    """)
    assert f.run(override={"p": 9}, **reuse)["p"] == 9
    assert f.run("::user", override={"both": (8, 9)}, **reuse)["both"] == (8, 9)


def test_a_run_is_asked_by_names(flow):
    run = flow("""
        @task(provides=["p", "q"])
        def both(): return 1, 2
        @task(each={"i": "both"})
        def el(i: int): return i
    """).run()
    assert list(run) == ["both", "el"]
    assert all(name in run for name in ("both", "p", "el", "el[1]", "m.py::el"))
    assert not any(name in run for name in ("nope", "el[9]", 0, None))
    with pytest.raises(KeyError, match="0 is no name of a task"):
        run[0]


def test_the_time_a_run_is_for_may_be_text(flow):
    f = flow("""
        from datetime import datetime
        @task
        def at(scheduled_at: datetime): return scheduled_at.isoformat()
    """)
    assert f.value("at", scheduled_at="2026-01-31T06:00+01:00") == "2026-01-31T06:00:00+01:00"
    for given in ("soon", 3):
        assert f.refusal(scheduled_at=given).startswith(f"flowkit.run(scheduled_at={given!r}): not a time")


def test_several_targets_in_a_list_are_told_to_be_given_one_after_another():
    with pytest.raises(flowkit.FlowError, match="one after another"):
        flowkit.run(["a.py", "b.py"])


SCRIPT = "import flowkit; r = flowkit.run('.'); print(r.report.counts, [n.node for n in r.report.nodes])\n"


def test_a_script_that_runs_its_own_folder_does_not_run_itself(flow, project):
    flow("""
        @task
        def a(): return 1
    """)
    project.write("go.py", SCRIPT)
    done = subprocess.run([sys.executable, "go.py"], capture_output=True, text=True, check=True)
    assert done.stdout == "{'ran': 1} ['a']\n"
    done = subprocess.run([sys.executable, "-c", "import go"], capture_output=True, text=True, check=True)
    assert done.stdout == "{'cached': 1} ['a']\n"
    done = project.flowkit("run", ".")
    assert done.exit_code == 0, done.out + done.err
    assert done.out.count("{'cached': 1} ['a']") == 1


def test_a_script_with_tasks_that_runs_its_own_folder_runs_them(project):
    project.write("go.py", f"""
        from flowkit import task
        @task
        def b(): return 1
        if __name__ == "__main__":
            {SCRIPT}
    """)
    done = subprocess.run([sys.executable, "go.py"], capture_output=True, text=True, check=True)
    assert done.stdout == "{'ran': 1} ['b']\n"


def test_a_flow_that_runs_itself_when_it_is_imported_is_told_so_in_one_line(flow):
    f = flow("""
        import flowkit
        @task
        def a(): return 1
        flowkit.run("m.py")
    """)
    said = f.refusal()
    assert said.splitlines()[0] == "m.py runs itself when it is imported"
    assert "cannot be imported" not in said


def test_the_text_of_outcomes_names_twenty_tasks(flow):
    run = flow("".join(f"\n@task\ndef t{i}(): return {i}\n" for i in range(25))).run()
    assert repr(run.outcomes).endswith(", t19: ran, … 5 more>")


def test_a_stored_value_that_is_gone_by_now_is_a_lookup_error(flow, project):
    f = flow("""
        @task
        def large(): return list(range(10_000))
    """)
    f.run()
    run = f.run()
    assert run.report.counts == {"cached": 1}
    shutil.rmtree(project.root / ".flowkit")
    with pytest.raises(LookupError, match="the value of `large` cannot be had any more"):
        run["large"]
    assert "not kept" in repr(run.outcomes["large"])


def test_a_run_is_shown_with_id_and_counts(flow):
    run = flow(FLOW).run()
    assert run.id in repr(run)
    assert "ok" in repr(run)


# Errors


def test_a_wrong_flow_raises_flow_error_with_errors(flow):
    with pytest.raises(flowkit.FlowError) as caught:
        flow("""
            @task
            def t(x): pass
        """).run()
    assert len(caught.value.errors) == 1
    assert isinstance(caught.value, Exception)


def test_an_unknown_keyword_is_an_error_with_the_nearest(flow):
    with pytest.raises(flowkit.FlowError, match="maxfail"):
        flow(FLOW).run(maxfial=1)


@pytest.mark.parametrize("n", [0, -1, "4", 1.5, True])
def test_n_is_a_number_of_at_least_one(flow, n):
    with pytest.raises(flowkit.FlowError, match="n="):
        flow(FLOW).run(n=n, executor="threads")


def test_an_unknown_executor_is_an_error_with_the_nearest(flow):
    with pytest.raises(flowkit.FlowError, match="threads"):
        flow(FLOW).run(executor="thraeds")


def test_an_unknown_plugin_is_an_error(flow):
    with pytest.raises(flowkit.FlowError, match="no_such_plugin"):
        flow(FLOW).run(p=["no_such_plugin"])


@pytest.mark.parametrize("keywords", [{"k": "("}, {"k": "a and"}, {"m": "not"}])
def test_an_expression_that_cannot_be_read_is_an_error(flow, keywords):
    with pytest.raises(flowkit.FlowError):
        flow(FLOW).run(**keywords)


THREE = """
    @task
    def a(): return 1
    @task
    def b(a): return a
    @task
    def c(b): return b
"""


def test_refresh_as_a_flag_alone_runs_every_task_again(flow):
    f = flow(THREE)
    f.run()
    assert f.words(refresh=True) == {"a": "same", "b": "same", "c": "same"}
    assert f.words(refresh=False) == {"a": "cached", "b": "cached", "c": "cached"}


def test_one_name_will_do_where_a_flag_takes_several(flow):
    f = flow(THREE)
    f.run()
    assert f.words(refresh="b") == {"a": "cached", "b": "same", "c": "cached"}


def test_refresh_alone_means_the_targets_which_a_plus_widens(flow):
    f = flow(THREE)
    f.run()
    assert f.words("::c", refresh=True) == {"a": "cached", "b": "cached", "c": "same"}
    assert set(f.words("::+c", refresh=True).values()) == {"same"}


def test_refresh_alone_includes_what_is_defined_elsewhere(flow, project):
    project.write("flowconf.py", "from flowkit import task\n@task\ndef above(): return 1\n")
    f = flow("""
        @task
        def a(above): return above
    """)
    f.run()
    assert set(f.words(refresh=True).values()) == {"same"}


def test_an_unknown_name_to_refresh_is_an_error_with_the_nearest(flow):
    with pytest.raises(flowkit.FlowError, match="Did you mean 'clean'"):
        flow("""
            @task
            def clean(): return 1
        """).run(refresh=["claen"])


def test_a_keyword_with_not_leaves_out_elements(flow):
    f = flow("""
        @task(each={"x": ["mon", "tue"]})
        def m(x): return x
    """)
    assert f.words(k="m and not mon") == {"m[tue]": "ran"}
    assert f.words(k="not tue") == {"m[mon]": "ran"}


def test_params_must_be_a_mapping_or_a_file(flow):
    with pytest.raises(flowkit.FlowError):
        flow(FLOW).run(params="gone.json")


def test_nothing_selected_raises_nothing_to_run(flow):
    with pytest.raises(flowkit.errors.NothingToRun):
        flow(FLOW).run(k="nothing")


# Manners


def test_nothing_is_printed(flow, capfd):
    flow("""
        @task
        def t(): raise RuntimeError
    """).run()
    out, err = capfd.readouterr()
    assert (out, err) == ("", "")


def test_it_never_calls_sys_exit_and_installs_no_signal_handler(flow):
    before = [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)]
    inside = flow("""
        import signal
        @task
        def t(): return [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)]
    """).run(p=["no:cache"])["t"]
    assert inside == before
    assert [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)] == before


@pytest.mark.parametrize("executor", ["inline", "threads"])
def test_it_leaves_no_thread_behind(flow, executor):
    before = set(threading.enumerate())
    flow(FLOW).run(executor=executor)
    assert set(threading.enumerate()) <= before


def test_it_works_inside_a_running_event_loop(flow):
    f = flow("""
        @task
        async def a(): return 1
        @task
        def b(a): return a + 1
    """)

    async def notebook():
        return f.run(executor="threads")["b"], f.run(executor="inline")["b"]

    assert asyncio.run(notebook()) == (2, 2)


def test_it_works_in_a_thread(flow):
    f = flow(FLOW)
    found = []
    thread = threading.Thread(target=lambda: found.append(f.run(executor="threads")["clean"]))
    thread.start()
    thread.join(20)
    assert found == [[1, 2]]


def test_two_runs_at_once_in_one_process_do_not_meet(flow):
    f = flow("""
        import time
        @task
        def t(n: int): time.sleep(0.05); return n
    """)
    found = {}

    def go(n):
        found[n] = f.run(params={"n": n}, executor="threads")["t"]

    threads = [threading.Thread(target=go, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert found == {n: n for n in range(4)}


def test_it_works_as_the_last_line_of_a_script(project):
    project.write(
        "script.py",
        """
        import flowkit
        from flowkit import task
        @task
        def a(n: int = 1): return n
        @task
        def b(a): return a + 1
        if __name__ == "__main__":
            run = flowkit.run(b, params={"n": 4})
            print(run.ok, run["b"])
        """,
    )
    done = subprocess.run([sys.executable, "script.py"], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "True 5\n", done.stderr
    assert done.returncode == 0


def test_a_run_inside_a_task_is_allowed(flow):
    flow(FLOW, "child.py")
    f = flow("""
        import flowkit
        @task
        def t(): return flowkit.run("child.py", executor="threads")["clean"]
    """)
    assert f.run(executor="threads")["t"] == [1, 2]


# Selection


def test_selection_picks_targets_and_what_they_need_comes_along(flow):
    assert set(flow(FLOW).words(k="clean")) == {"raw", "clean"}


@pytest.mark.parametrize(
    ("expression", "picked"),
    [("raw", {"raw"}), ("RAW", {"raw"}), ("ra or other", {"raw", "other"}), ("not clean", {"raw", "other"}),
     ("(raw or other) and not raw", {"other"}), ("not (raw or clean)", {"other"})],
)  # fmt: skip
def test_k_matches_names_whatever_the_case_with_and_or_not(flow, expression, picked):
    assert set(flow(FLOW).words(k=expression)) == picked


def test_k_matches_tags_but_no_file_names(flow):
    f = flow("""
        @task(tags=["slow"])
        def a(): pass
        @task
        def b(): pass
    """, "special.py")
    assert set(f.words(k="slow")) == {"a"}
    with pytest.raises(flowkit.errors.NothingToRun):
        f.run(k="special")


def test_m_picks_by_tag(flow):
    f = flow("""
        @task(tags=["slow", "db"])
        def a(): pass
        @task(tags=["db"])
        def b(): pass
        @task
        def c(): pass
    """)
    assert set(f.words(m="db and not slow")) == {"b"}
    assert set(f.words(m="slo or db")) == {"a", "b"}


def test_deselect_leaves_out_a_task_or_an_element(flow):
    f = flow("""
        @task(each={"x": [1, 2]})
        def m(x): pass
        @task
        def other(): pass
    """)
    assert set(f.words(deselect=["other"])) == {"m[1]", "m[2]"}
    assert set(f.words(deselect=["m.py::m[1]"])) == {"m[2]", "other"}


def test_a_plus_before_a_name_adds_all_it_needs_as_targets(flow):
    assert flow(FLOW).run("::+clean")["raw"] == [1]


def test_a_plus_after_a_name_adds_all_that_hangs_off_it(flow):
    assert set(flow(FLOW).words("::raw+")) == {"raw", "clean"}


def test_a_name_that_is_no_task_is_an_error_with_the_nearest(flow):
    assert "Did you mean 'clean'?" in flow(FLOW).refusal("::claen")


def test_an_element_of_a_task_that_is_not_mapped_is_an_error(flow):
    assert "not mapped" in flow(FLOW).refusal("::clean[1]")


# -x and maxfail

FAILS = """
    @task
    def a(): raise RuntimeError
    @task(needs=["ok"])
    def b(): raise RuntimeError
    @task
    def ok(): return 1
    @task
    def c(ok): return 1
    @task(trigger="always")
    def last(a, b): return 1
    @task(trigger="all_done")
    def done(a, b): return 1
"""


def test_a_failure_stops_nothing_else(flow):
    words = flow(FAILS).words()
    assert words == {"a": "failed", "ok": "ran", "b": "failed", "c": "ran", "last": "ran", "done": "ran"}


def test_x_starts_nothing_more_but_always(flow):
    run = flow(FAILS).run(x=True)
    words = {n.node: n.word for n in run.report.nodes}
    assert words["a"] == "failed"
    assert words["last"] == "ran"
    assert "ran" not in {words.get("ok"), words.get("c"), words.get("done")}
    assert not run.ok
    assert run.exit_code == 1


def test_a_clean_up_after_x_is_called_each_time_and_knows_the_failure(flow):
    after = flow("""
        @task
        def x(): fail("bad")
        @task
        def w(): return 1
        @task
        def y(x, w): return x
        @task(trigger="always")
        def clean(y): return [str(failure.error) for failure in y.failures]
        @task(needs=["w"], trigger="always")
        def sweep(): return 1
    """)
    for word in ("ran", "same", "same"):
        run = after.run(x=True, n=1)
        words = {n.node: n.word for n in run.report.nodes}
        assert words == {"x": "failed", "w": "not run", "y": "upstream", "clean": word, "sweep": word}
        assert run.report.named("y").reason == "`x` failed"
        assert run["clean"] == ["bad"]


def test_maxfail_counts(flow):
    words = flow(FAILS).words(maxfail=2)
    assert words["ok"] == "ran"
    assert words["b"] == "failed"


def test_of_two_that_fail_while_a_hook_is_slow_both_are_recorded(flow, project):
    """What ended while another thread has the run's lock is taken in by that one, each for itself."""
    project.write("flowconf.py", """
        import time
        from flowkit import hookimpl
        @hookimpl
        def flowkit_node_ended(report):
            if report.node == "first": time.sleep(0.3)
    """)
    f = flow("""
        import time
        @task
        def first(): return 1
        @task
        def a(): time.sleep(0.05); raise ValueError("a")
        @task(retries=1)
        def b(): time.sleep(0.15); raise ValueError("b")
    """)
    assert f.words(executor="threads", n=4, x=True) == {"first": "ran", "a": "failed", "b": "failed"}


def test_a_slow_hook_keeps_no_deadline_from_being_met(flow, project):
    """Whoever takes in what ended while it was slow looks at the clock in between."""
    project.write("flowconf.py", """
        import time
        from flowkit import hookimpl
        @hookimpl
        def flowkit_attempt_ended(attempt): time.sleep(0.01)
    """)
    f = flow("""
        import time
        @task(timeout=0.3)
        def slow():
            while True: time.sleep(0.005)
        @task
        def numbers(): return list(range(200))
        @task(each={"n": "numbers"})
        def quick(n): return n
    """)
    report = f.run(executor="threads", n=8).report
    (attempt,) = report.named("slow").attempts
    assert attempt.kind == "timeout"
    assert attempt.ended_at - attempt.started_at < 1.2  # all of it takes two seconds and more


def test_a_thread_that_was_left_behind_takes_no_others_work(flow, monkeypatch):
    """It comes back late, has the run's lock, and finds what others left there meanwhile."""
    from flowkit.runner import Runner

    take_in = Runner._take_in

    def slowly(self, attempt):
        if getattr(threading.current_thread(), "abandoned", False):
            time.sleep(0.05)
        return take_in(self, attempt)

    monkeypatch.setattr(Runner, "_take_in", slowly)
    f = flow("""
        import time
        @task
        def numbers(): return list(range(6))
        @task(each={"n": "numbers"}, timeout=0.05)
        def stuck(n): time.sleep(1.15 + 0.03 * n)
        @task
        def chains(): return list(range(40))
        @task(each={"n": "chains"})
        def link(n): time.sleep(0.02); return n
        @task
        def next_link(link): time.sleep(0.02); return link
        @task
        def last_link(next_link): time.sleep(0.02); return next_link
    """)
    run = f.run(executor="threads", n=8)
    assert sum(n.word == "timeout" for n in run.report.nodes) == 6
    assert sum(n.word == "ran" for n in run.report.nodes) == 2 + 3 * 40


def test_nodes_that_run_when_x_strikes_finish_and_are_recorded(flow):
    f = flow("""
        import threading
        began = threading.Event()
        @task
        def slow():
            began.set()
            import time; time.sleep(0.1); return 1
        @task
        def bad(): began.wait(5); raise RuntimeError
        @task
        def after(slow): return 2
    """)
    run = f.run(executor="threads", n=2, x=True)
    assert run["slow"] == 1
    assert run.report.named("slow").word == "ran"
    assert run.report.named("after") is None or run.report.named("after").word == "not run"


def test_tasks_defined_in_a_function_see_each_other_if_all_are_named(project):
    @flowkit.task
    def raw(n: int = 2):
        return n

    @flowkit.task
    def clean(raw):
        return raw + 1

    assert flowkit.run(raw, clean, executor="inline", p=NOTHING_KEPT)["clean"] == 3


MIXED = """
    @task
    def xs(): return [1, 2, 3]
    @task(each={"x": "xs"})
    def m(x):
        if x == 2: raise ValueError("two")
        return x
    @task
    def late(m: Collected): return 1
"""


def test_outcomes_say_what_they_are(flow):
    run = flow(MIXED).run()
    assert repr(run.outcomes) == "<outcomes xs: ran, m: 2 ran and 1 failed, late: upstream>"


def test_an_unknown_element_is_told_with_those_there_are(flow):
    run = flow(MIXED).run()
    with pytest.raises(KeyError, match=r"no element 'm\[99999\]' in this run; .*elements: m\[1\], m\[2\], m\[3\]|Did you mean 'm\["):
        run["m[99999]"]
    with pytest.raises(KeyError, match="no task 'n"):
        run["n[1]"]


@pytest.mark.parametrize(("executor", "slots"), [("inline", 1), ("threads", 3)])
def test_the_header_says_how_many_run_at_once(flow, project, executor, slots):
    f = flow("""
        @task
        def t(): return 1
    """)
    assert f"executor: {executor}, {slots} at once" in project.flowkit("run", "m.py", "--executor", executor, "-n", "3").out
    assert f.run(executor=executor, n=3).report.run.slots == slots


def test_a_failure_is_told_with_its_attempt(flow, project):
    flow("""
        @task
        def t(): raise ValueError
    """)
    assert "where: m.py:2  attempt 1 of 1, 0.0" in project.flowkit("run", "m.py").out
