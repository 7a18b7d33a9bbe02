"""Bad input: each ends in one clear message, with the right exit code and nothing half done."""

import os
import stat
import subprocess
import time

import pytest

import flowkit
from flowkit.errors import NothingToRun

RAN = 'Path("ran").touch()'
HEAD = "from pathlib import Path\nfrom flowkit import resource, task\n"


def refused(project, *words, code=4, **keywords):
    """What the command says when it refuses; it says it once, shortly, and nothing ran."""
    ended = project.flowkit(*words, **keywords)
    assert ended.exit_code == code, ended
    assert "Traceback" not in ended.err + ended.out
    assert ended.err.count("error:") == 1, ended.err
    assert not (project.root / "ran").exists()
    return ended.err


def failed(flow, source, **keywords):
    """A run of a flow in which task ``t`` fails, and ``other`` does not."""
    run = flow(source + "\n    @task\n    def other(): return 1\n").run(**keywords)
    assert not run.ok
    assert run.report.named("other").word == "ran"
    assert run.report.named("t").word in ("failed", "error")
    return run


# Targets


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("gone.py", "gone.py"), ("gone", "gone"), ("gone.module", "gone"), ("gone/", "gone"), ("gone.py::t", "gone.py"),
        ("m.py::gone", "gone"), ("without.py::t", "no tasks in without.py"), ("m.py::", "m.py"), ("m.py::t[", "m.py"), ("m.py::t[1]", "not mapped"), ("::t", "t"),
        ("data.csv", "data.csv"), ("empty::t", "empty"), ("-", "-"), ("m.py::t::u", "t::u"), ("", ""), ("m.txt", "m.txt"),
    ],
)  # fmt: skip
def test_a_target_that_cannot_be_found_is_named(project, target, said):
    project.write("m.py", HEAD + "@task\ndef t(): pass\n")
    project.write("data.csv", "a,b\n")
    project.write("m.txt", "not python at all\n")
    project.write("without.py", "x = 1\n")
    (project.root / "empty").mkdir()
    assert said in refused(project, "run", target)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import nowhere_at_all\n", "nowhere_at_all"),
        ("def f(:\n", "m.py:1"),
        ("raise ValueError('at import')\n", "at import"),
        ("import sys\nsys.exit(3)\n", "sys.exit(3)"),
        ("raise KeyboardInterrupt\n", None),
        ("from flowkit import skip, task\nskip('not here')\n@task\ndef q(): return 1\n", "m.py:2: skip('not here')"),
        ("from flowkit import fail\nfail('x')\n", "m.py calls fail() when it is imported"),
        ("import pytest\npytest.importorskip('nosuch')\n", "could not import 'nosuch'"),
        ("class E(BaseException): pass\nraise E('odd')\n", "m.py cannot be imported: E: odd"),
        ("from flowkit import nope\n", "nope"),
        ("class E(Exception):\n    def __str__(self): 1/0\nraise E\n", "E"),
        ("\tx = 1\n  y = 2\n", "m.py"),
        ("import m\nm.gone\n", "gone"),
        ("from flowkit import task\n@task(retries=)\ndef f(): pass\n", "m.py:2"),
        ("from flowkit import task\ntask(3)\n", "m.py"),
        ("from flowkit import task\n@task\nclass C: pass\n", "C"),
        ("from flowkit import task\nt = task(print)\n", "print"),
        ("from flowkit import resource, task\n@task\n@resource\ndef f(): pass\n", "f"),
    ],
)
def test_a_module_that_cannot_be_used_says_why_and_where(project, source, said):
    project.write("m.py", source)
    if said is None:
        assert project.flowkit("run", "m.py").exit_code in (2, 4)
        return
    assert said in refused(project, "run", "m.py")


@pytest.mark.parametrize("target", ["raises_skip.py", "raises_skip", "package_skips.m", "good.py", "folder"])
def test_whatever_a_module_raises_when_it_is_imported_is_a_fault_of_the_flow(project, target):
    text = "import flowkit\nflowkit.skip('not here')\n"  # under names that no other test leaves behind
    project.write("raises_skip.py", text)
    project.write("package_skips/__init__.py", text)
    project.write("package_skips/m.py", "x = 1\n")
    project.write("good.py", HEAD + "from raises_skip import t\n")
    project.write("folder/flowconf.py", text)
    project.write("folder/good.py", HEAD + "@task\ndef t(): pass\n")
    with pytest.raises(flowkit.FlowError, match="skip"):
        project.run(target)
    assert ":2: flowkit.skip('not here')" in refused(project, "tasks", target)


def odd_files(folder):
    """Lay files into a folder that bear the name of a module and are none."""
    (folder / ".#m.py").symlink_to("user@host.1234:567")
    (folder / "broken.py").symlink_to("nowhere.py")
    (folder / "round.py").symlink_to("round.py")
    (folder / "x.py").mkdir()
    os.mkfifo(folder / "ff.py")


@pytest.mark.parametrize("target", [".", "package"])
def test_what_is_no_file_is_passed_over_in_a_folder(project, target):
    project.write("m.py", HEAD + "@task\ndef t(): return 1\n")
    project.write("package/__init__.py", "")
    project.write("package/n.py", HEAD + "@task\ndef t(): return 1\n")
    (project.root / "package" / "linked.py").symlink_to("n.py")
    odd_files(project.root)
    odd_files(project.root / "package")
    assert project.flowkit("run", target).exit_code == 0
    assert project.run(target).ok


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("broken.py", "broken.py is a link that leads nowhere: there is no nowhere.py"),
        ("round.py::t", "round.py is a link that leads nowhere: there is no round.py"),
        ("ff.py", "ff.py is neither a file nor a folder"),
    ],
)
def test_what_is_no_file_is_named_for_what_it_is(project, target, said):
    project.write("m.py", HEAD + "@task\ndef t(): return 1\n")
    odd_files(project.root)
    err = refused(project, "run", target)
    assert said in err
    assert "Python files in .: m.py\n" in err


def test_a_file_that_cannot_be_read_is_named(project):
    project.write("m.py", HEAD + "@task\ndef t(): return 1\n")
    (project.root / "unread.py").symlink_to("/proc/self/mem")  # whose first page cannot be
    assert "cannot be imported: OSError" in refused(project, "run", ".")


@pytest.mark.parametrize("command", ["run", "plan", "tasks"])
@pytest.mark.parametrize(
    "source",
    ["x = 1\n", "", "# flowkit\n", "from flowkit import resource\n@resource\ndef r(): return 1\n"],
)
def test_where_there_are_no_tasks_there_is_nothing_to_run(project, command, source):
    project.write("m.py", source)
    (project.root / "empty").mkdir()
    for targets in (["m.py"], ["empty"], ["m.py", "empty"]):
        ended = project.flowkit(command, *targets)
        assert ended.exit_code == 5, ended
        assert f"nothing to run: no tasks in {', '.join(targets)}\n" in ended.err
        with pytest.raises(NothingToRun):
            project.run(*targets)


def test_a_target_without_tasks_beside_others_is_told_of(project):
    project.write("m.py", HEAD + "@task\ndef t(): return 1\n")
    (project.root / "empty").mkdir()
    ended = project.flowkit("run", "empty", "m.py")
    assert ended.exit_code == 0
    assert "no tasks in empty\n" in ended.out
    assert "note: no tasks in empty\n" in project.flowkit("plan", "empty", "m.py").err
    assert "gone.py" in refused(project, "run", "gone.py", "empty")


def test_a_file_that_is_no_text_is_named(project):
    (project.root / "m.py").write_bytes(b"\x00\xff\xfe")
    assert "m.py" in refused(project, "run", "m.py")


def test_a_broken_flowconf_is_named(project):
    project.write("flowconf.py", "def f(:\n")
    project.write("m.py", HEAD + f"@task\ndef t(): {RAN}\n")
    assert "flowconf.py" in refused(project, "run", "m.py")


def test_an_import_error_shows_the_users_line(project):
    project.write("helper_broken.py", "\n\nraise ValueError('deep')\n")
    project.write("m.py", "import helper_broken\n")
    err = refused(project, "run", "m.py")
    assert "deep" in err
    assert "helper_broken.py:3" in err


# Names


@pytest.mark.parametrize(
    ("words", "near"),
    [
        (["-P", "limt=3"], "limit"), (["-O", "rwa=3"], "raw"), (["--exectuor", "inline"], "--executor"),
        (["--executor", "inlin"], "inline"), (["-p", "rety"], "retry"), (["-p", "no:rety"], "retry"),
    ],
)  # fmt: skip
def test_a_misspelt_name_gets_the_nearest(project, words, near):
    project.write("m.py", HEAD + f"@task\ndef raw(limit: int = 1): {RAN}\n@task\ndef use(raw): {RAN}\n")
    assert near in refused(project, "run", "m.py", *words)


@pytest.mark.parametrize(("target", "near"), [("m.py::rwa", "raw"), ("n.py", "m.py")])
def test_a_misspelt_target_gets_the_nearest(project, target, near):
    project.write("m.py", HEAD + f"@task\ndef raw(limit: int = 1): {RAN}\n")
    assert near in refused(project, "run", target)


def test_a_wrong_type_shows_value_origin_and_type(project):
    project.write("m.py", HEAD + f"@task\ndef t(limit: int = 1): {RAN}\n")
    err = refused(project, "run", "m.py", "-P", "limit=many")
    for part in ("'limit'", "many", "-P limit=many", "int"):
        assert part in err


@pytest.mark.parametrize("size", [1, 2, 5])
def test_a_cycle_is_one_message(project, size):
    tasks = "\n".join(f"@task\ndef t{i}(t{(i + 1) % size}): {RAN}" for i in range(size))
    project.write("m.py", HEAD + tasks + "\n")
    assert "cycle" in refused(project, "run", "m.py")


# Results


@pytest.mark.parametrize("value", ["(x for x in [1])", "map(str, [1])", "iter(())"])
def test_a_result_that_can_be_read_once_fails_or_flows_unpersisted(flow, value):
    run = flow(f"""
        @task
        def t(): return {value}
        @task
        def other(): return 1
    """).run()
    assert run.report.named("other").word == "ran"
    if "for x" in value or "map" in value:
        assert run.report.named("t").word == "failed"
        assert "list" in str(run.outcomes["t"].error)
    else:
        assert run.report.named("t").word == "ran"


def test_a_value_that_cannot_be_pickled_still_flows_and_the_summary_says_so_once(flow, project):
    flow("""
        import threading
        @task(each={"x": [1, 2, 3]})
        def t(x): return threading.Lock()
        @task
        def use(t: Collected[Any]): return [type(x).__name__ for x in t]
    """)
    ended = project.flowkit("run", "m.py")
    assert ended.exit_code == 0, ended
    assert ended.out.count("not persisted") == 1, ended.out


def test_two_hundred_megabytes_are_a_result(flow):
    f = flow("""
        @task(cache=False)
        def t(): return b"x" * 200_000_000
        @task
        def size(t): return len(t)
    """)
    assert f.value("size") == 200_000_000


def test_a_value_whose_pickling_raises_does_not_fail_the_task(flow):
    f = flow("""
        class Odd:
            def __reduce__(self): raise RuntimeError("no pickle")
        @task
        def t(): return Odd()
        @task
        def use(t): return type(t).__name__
    """)
    assert f.value("use") == "Odd"


def test_a_value_whose_equality_hash_and_repr_raise_flows(flow):
    f = flow("""
        class Odd:
            def __eq__(self, other): raise RuntimeError
            def __hash__(self): raise RuntimeError
            def __repr__(self): raise RuntimeError
            def __bool__(self): raise RuntimeError
            def __len__(self): raise RuntimeError
        @task
        def t(): return Odd()
        @task
        def use(t): return type(t).__name__
        @task
        def bad(t): raise ValueError("seen")
    """)
    run = f.run()
    assert run["use"] == "Odd"
    assert run.report.named("bad").word == "failed"


# Errors of tasks


@pytest.mark.parametrize("broken", ["__repr__", "__str__"])
def test_an_exception_that_cannot_be_shown_is_a_failure_like_others(flow, project, broken):
    flow(f"""
        class Odd(Exception):
            def {broken}(self): raise RuntimeError("no {broken}")
        @task
        def t(): raise Odd("x")
        @task
        def other(): return 1
    """)
    for words in ([], ["-v", "-rA"]):
        ended = project.flowkit("run", "m.py", *words)
        assert ended.exit_code == 1, ended
        assert "Odd" in ended.out
        assert "internal error" not in ended.err


def test_an_argument_that_cannot_be_shown_does_not_break_the_report(flow, project):
    flow("""
        class Odd:
            def __repr__(self): raise RuntimeError
        @task
        def a(): return Odd()
        @task
        def t(a): raise ValueError("x")
    """)
    ended = project.flowkit("run", "m.py")
    assert ended.exit_code == 1
    assert "ValueError: x" in ended.out


@pytest.mark.parametrize(
    "how", ["SystemExit(0)", "SystemExit('text')", "KeyboardInterrupt()", "GeneratorExit()", "BaseException()", "StopIteration()",
            "RecursionError()", "MemoryError()", "ExceptionGroup('g', [ValueError(1)])", "asyncio.CancelledError()"]
)  # fmt: skip
@pytest.mark.parametrize("executor", ["inline", "threads"])
def test_whatever_a_task_raises_fails_that_task_alone(flow, how, executor):
    failed(flow, f"""
    import asyncio
    @task
    def t(): raise {how}
    """, executor=executor)


@pytest.mark.parametrize("how", ["SystemExit(3)", "KeyboardInterrupt"])
def test_a_task_that_exits_makes_exit_code_1_and_not_its_own(flow, project, how):
    flow(f"""
        @task
        def t(): raise {how}
    """)
    assert project.flowkit("run", "m.py").exit_code == 1


def test_endless_recursion_is_a_failure(flow):
    run = failed(flow, """
    @task
    def t(): return again()
    def again(): return again()
    """)
    assert isinstance(run.outcomes["t"].error, RecursionError)
    assert len(run.outcomes["t"].traceback) < 100_000


def test_an_exception_that_cannot_be_pickled_is_a_failure_like_others(flow):
    failed(flow, """
    class Odd(Exception):
        def __init__(self, a, b): super().__init__()
        def __reduce__(self): raise RuntimeError
    @task
    def t(): raise Odd(1, 2)
    """)


def test_a_message_of_a_megabyte_is_cut_or_printed_but_not_lost(flow, project):
    flow("""
        @task
        def t(): raise ValueError("x" * 1_000_000)
    """)
    ended = project.flowkit("run", "m.py")
    assert ended.exit_code == 1
    assert "ValueError" in ended.out


def test_a_non_async_task_that_returns_a_coroutine_is_awaited_or_refused_but_never_a_value(flow):
    run = flow("""
        async def inner(): return 5
        @task
        def t(): return inner()
    """).run()
    assert run.report.named("t").word == "failed" or run["t"] == 5


# Resources


@pytest.mark.parametrize(
    ("body", "said"),
    [("yield 1; yield 2", "yield"), ("yield 1; raise OSError('stuck')", "stuck"), ("yield from ()", "yield"),
     ("raise OSError('down')", "down")],
)
@pytest.mark.parametrize("scope", ["task", "worker", "run"])  # fmt: skip
def test_a_broken_resource_is_said_with_its_name_and_exit_code_1(flow, project, body, said, scope):
    f = flow(f"""
        @resource(scope={scope!r})
        def db(): {body}
        @task
        def t(db): return 1
    """)
    run = f.run()
    assert run.exit_code == 1
    told = [str(n.error) + n.reason for n in run.report.nodes] + [f"{t.resource} {t.error}" for t in run.report.teardowns]
    assert said in " ".join(told)
    assert "db" in " ".join(told)


def test_a_teardown_error_is_printed(flow, project):
    flow("""
        @resource
        def db(): yield 1; raise OSError("stuck")
        @task
        def t(db): return 1
    """)
    ended = project.flowkit("run", "m.py")
    assert ended.exit_code == 1
    assert "OSError: stuck" in ended.out
    assert "'db'" in ended.out or "db" in ended.out


# Output


def test_output_that_is_not_utf_8_does_not_break_anything(flow, project):
    flow("""
        import os, sys
        @task
        def t():
            sys.stdout.buffer.write(b"\\\\xff\\\\xfe raw bytes\\\\n") if hasattr(sys.stdout, "buffer") else None
            print("surrogate \\\\udcff", "\\\\x1b[31mred", "\\\\x00")
            raise ValueError("\\\\udcff")
    """.replace("\\\\", "\\"))
    for words in ([], ["-s"]):
        ended = project.flowkit("run", "m.py", *words)
        assert ended.exit_code == 1, ended
        assert "internal error" not in ended.err
        assert "ValueError" in ended.out


def test_a_megabyte_of_output_is_captured(flow, project):
    flow("""
        @task
        def t():
            for i in range(20_000): print("line", i, "x" * 40)
            raise ValueError("at the end")
    """)
    ended = project.flowkit("run", "m.py")
    assert ended.exit_code == 1
    assert "at the end" in ended.out


def test_a_task_that_closes_or_replaces_stdout_does_not_silence_the_report(flow, project):
    flow("""
        import sys
        @task
        def t(): sys.stdout.close()
        @task
        def u(): sys.stdout = None
        @task
        def v(t: Outcome[Any], u: Outcome[Any]): print("still"); return 1
    """)
    ended = project.flowkit("run", "m.py", "--executor", "inline")
    assert "internal error" not in ended.err
    assert " in " in ended.out.splitlines()[-1], ended


# The place


@pytest.fixture
def read_only(project):
    """The project's folder, which cannot be written; root may write anyhow, so a file stands where a folder should."""
    if os.geteuid() == 0:
        project.write(".flowkit", "a file where the folder should be\n")
        yield project
        return
    project.root.chmod(stat.S_IRUSR | stat.S_IXUSR)
    yield project
    project.root.chmod(stat.S_IRWXU)


def test_a_folder_that_cannot_be_written_fails_no_task(flow, project, request):
    flow("""
        @task
        def t(): return 1
    """)
    request.getfixturevalue("read_only")
    ended = project.flowkit("run", "m.py")
    assert ended.exit_code == 0, ended
    assert "1 ran" in ended.out.splitlines()[-1]


def test_a_current_folder_that_is_gone_is_one_message(project):
    gone = project.root / "gone"
    gone.mkdir()
    done = subprocess.run(
        ["bash", "-c", f"cd {gone} && rmdir {gone} && {' '.join(project.command('run', 'm.py'))}"],
        capture_output=True, text=True, check=False, env=project.environment(), timeout=60,
    )  # fmt: skip
    assert done.returncode in (3, 4)
    assert "Traceback" not in done.stderr
    assert done.stderr.strip()


def test_a_task_that_changes_the_current_folder_does_not_confuse_the_rest(flow, project):
    f = flow("""
        import os
        @task
        def t(): os.chdir("/"); return 1
        @task
        def use(t): return t + 1
    """)
    here = os.getcwd()
    try:
        assert f.run()["use"] == 2
    finally:
        os.chdir(here)


def test_a_flow_with_spaces_and_unicode_in_its_path_runs(flow, project):
    f = flow("""
        @task
        def t(): return 1
    """, "my flöws/a b.py")
    assert f.value("t") == 1
    assert project.flowkit("run", "my flöws/a b.py::t").exit_code == 0


def test_a_flow_with_dots_in_its_name_runs(flow, project):
    """Its path and ids keep them; in a package, too."""
    source = """
        from dataclasses import dataclass
        from {package}beside import V
        @dataclass
        class R: n: int
        @task
        def t(): return R(V)
        @task
        def use(t): return t.n
    """
    for folder, package in (("a.b", ""), ("pkg", ".")):
        project.write(f"{folder}/beside.py", "V = 3\n")
        f = flow(source.format(package=package), f"{folder}/x.y.py")
        if package:
            project.write(f"{folder}/__init__.py")
        assert f.value("use") == 3
        again = f.run()
        assert [n.full_id for n in again.report.nodes] == [f"{folder}/x.y.py::t", f"{folder}/x.y.py::use"]
        assert again["t"].n == 3
        assert project.flowkit("run", folder).exit_code == 0


def test_a_flow_reached_by_a_symlink_runs(flow, project):
    flow("""
        @task
        def t(): return 1
    """, "real/m.py")
    (project.root / "link.py").symlink_to(project.root / "real/m.py")
    assert project.run("link.py", executor="inline")["t"] == 1


def test_a_bad_input_costs_no_more_than_a_look(project):
    project.write("m.py", HEAD + f"@task\ndef t(missing): {RAN}\n")
    began = time.monotonic()
    refused(project, "run", "m.py")
    assert time.monotonic() - began < 5


def test_every_error_of_the_declaration_words_is_a_flow_error(flow):
    for source in ("@task(name=3)", "@task(each=3)", "@task(needs=3)", "@task(provides=3)", "@task(trigger=3)", "@task(tags=3)"):
        with pytest.raises(flowkit.FlowError):
            flow(f"\n{source}\ndef t(): pass\n").run()


def test_a_resource_of_the_name_of_the_only_task_is_told_once(flow, project):
    flow("""
        @task
        def a(): Path("ran").touch()
        @resource
        def a(): return 1
    """)
    assert "two definitions of 'a'" in refused(project, "run", "m.py")


def test_a_function_that_says_it_wraps_itself_is_an_error(flow):
    text = flow("""
        def f(x: int = 1): return x
        f.__wrapped__ = f
        task(f)
    """).refusal()
    assert "task 'f' (m.py:" in text
    assert "wrapper loop" in text


def test_what_plugins_find_wrong_is_told_with_the_rest(flow):
    text = flow("""
        @task(limit={"db": 1})
        def a(): pass
        @task(limit={"db": 2})
        def b(): pass
        @task(retrys=3)
        def c(nope): pass
        @task
        def d(): yield 1
    """).refusal()
    for said in ("limit 'db' has two sizes", "unknown option 'retrys'", "task 'd' (m.py:", "asks for 'nope'"):
        assert said in text
