"""The command line: exit codes, what is printed, signals and terminals (language.md §10)."""

import gzip
import os
import pty
import re
import signal
import subprocess
import sys
import time

import pytest

import flowkit

FLOW = """
    @task
    def raw(n: int = 1): return [n]
    @task
    def clean(raw): return raw + [2]
"""
FAILS = """
    @task
    def good(): return 1
    @task
    def bad(good, n: int = 3):
        print("printed before")
        helper(n)
    def helper(n): raise ValueError(f"broken {n}")
    @task
    def after(bad): return 1
"""
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


def clean(text):
    """A text without anything but printable characters and line ends."""
    return not CONTROL.search(text)


# Exit codes


def test_all_good_is_0(flow, project):
    flow(FLOW)
    assert project.flowkit("run", "m.py").exit_code == 0


def test_failed_tasks_are_1(flow, project):
    flow(FAILS)
    assert project.flowkit("run", "m.py").exit_code == 1


def test_a_wrong_flow_is_4(flow, project):
    flow("""
        @task
        def t(x): pass
    """)
    ended = project.flowkit("run", "m.py")
    assert ended.exit_code == 4
    assert "Traceback" not in ended.err


@pytest.mark.parametrize(
    "words",
    [["run"], ["rum", "m.py"], ["run", "m.py", "--maxfial=1"], ["run", "m.py", "-n", "many"], ["run", "m.py", "-n", "0"],
     ["run", "m.py", "--executor", "thraeds"], ["run", "m.py", "-p", "nope"], ["run", "m.py", "-k", "("]],
    ids=" ".join,
)  # fmt: skip
def test_wrong_usage_is_4_with_one_clear_message(flow, project, words):
    flow(FLOW)
    ended = project.flowkit(*words)
    assert ended.exit_code == 4
    assert ended.err.strip().startswith("error:")
    assert "Traceback" not in ended.err


@pytest.mark.parametrize(
    ("mine", "before", "within"), [("700", 1_000_000, 20_000), ("50_000", 50_000, 50_000)], ids=["as Python has it", "as I set it"]
)
def test_garbage_is_hardly_looked_for_until_the_run_starts(flow, project, mine, before, within):
    project.write("sitecustomize.py", f"import gc; gc.set_threshold({mine}, 10, 10)\n")
    flow("""
        import gc
        at_import = gc.get_threshold()[0]
        @task
        def t(): Path("seen").write_text(f"{at_import} {gc.get_threshold()[0]}")
    """)
    path = os.pathsep.join([str(project.root), project.environment().get("PYTHONPATH", "")])
    assert project.flowkit("run", "m.py", env={"PYTHONPATH": path}).exit_code == 0
    assert (project.root / "seen").read_text() == f"{before} {within}"


def test_what_a_task_leaves_behind_in_a_cycle_is_finalized_at_exit(flow, project):
    flow("""
        class Holder:
            def __del__(self): self.path.touch()
        @task
        def t():
            holder = Holder()
            holder.itself, holder.path = holder, Path("left")
    """)
    assert project.flowkit("run", "m.py", "--no-cache").exit_code == 0
    assert (project.root / "left").exists()


def test_what_a_module_keeps_open_in_a_cycle_is_written_at_exit(flow, project):
    flow("""
        class Log:
            def __init__(self): self.itself, self.file = self, open("log", "w")
        log = Log()
        @task
        def t(): log.file.write("written")
        @task
        def value(t): return log
    """)
    assert project.flowkit("run", "m.py", "--no-cache").exit_code == 0
    assert (project.root / "log").read_text() == "written"


def test_what_a_plugin_keeps_of_a_run_is_whole_when_it_looks_at_exit(flow, project):
    flow("""
        @task
        def t(): return 1
        @task
        def u(t): return t
    """)
    project.write("flowconf.py", """
        import atexit
        from pathlib import Path
        from flowkit import hookimpl

        @hookimpl
        def flowkit_run_ended(report):
            atexit.register(lambda: Path("seen").write_text(" ".join(n.unit.report.full_id for n in report.nodes)))
    """)
    assert project.flowkit("run", "m.py").exit_code == 0
    assert (project.root / "seen").read_text() == "m.py::t m.py::u"


def test_nothing_to_run_is_5(flow, project):
    flow(FLOW)
    ended = project.flowkit("run", "m.py", "-k", "nothing")
    assert ended.exit_code == 5
    assert "nothing to run" in ended.err


def test_an_element_that_k_does_not_find_is_5_and_that_a_name_does_not_find_is_4(flow, project):
    flow("""
        @task
        def src(): return ["BUD"]
        @task(each={"x": "src"})
        def m(x): return x
    """)
    assert project.flowkit("run", "m.py", "-k", "LHR").exit_code == 5
    ended = project.flowkit("run", "m.py::m[BAD]")
    assert ended.exit_code == 4
    assert "BUD" in ended.err


def test_skips_alone_are_0(flow, project):
    flow("""
        @task
        def a(): skip("no")
        @task
        def b(a): pass
    """)
    assert project.flowkit("run", "m.py").exit_code == 0


def test_one_broken_flow_among_several_means_nothing_runs(flow, project):
    flow("""
        @task
        def a(): Path("ran").touch()
    """, "good.py")
    project.write("broken.py", "import nowhere_at_all\n")
    ended = project.flowkit("run", "good.py", "broken.py")
    assert ended.exit_code == 4
    assert "nowhere_at_all" in ended.err
    assert not (project.root / "ran").exists()


def test_a_plugin_that_raises_is_3_and_is_named(flow, project):
    flow(FLOW)
    project.write(
        "flowconf.py",
        "import flowkit\n@flowkit.hookimpl\ndef flowkit_run_started(run): raise RuntimeError('mine')\n",
    )
    ended = project.flowkit("run", "m.py")
    assert ended.exit_code == 3
    assert "flowconf" in ended.err
    assert "mine" in ended.err


def test_python_m_flowkit_is_the_same_command(project):
    assert project.flowkit("--version").out.startswith("flowkit ")


@pytest.mark.parametrize("words", [["--help"], ["run", "--help"], ["tasks", "-h"]])
def test_help_is_printed_and_0(project, words):
    ended = project.flowkit(*words)
    assert ended.exit_code == 0
    assert "Usage:" in ended.out


@pytest.mark.parametrize("words", [["run", "m.py"], ["plugins"], ["runs"]])
@pytest.mark.parametrize(
    ("plugin", "said"),
    [
        ("", "-p '' names no plugin"), (" ", "-p ' ' names no plugin"), ("no:", "unknown plugin ''"), (".x", "-p .x: cannot be imported"),
        ("broken", "-p broken: cannot be imported: ZeroDivisionError"), ("nope", "-p nope: there is no plugin"),
    ],
)  # fmt: skip
def test_a_plugin_that_cannot_be_loaded_is_a_mistake_of_the_command(flow, project, words, plugin, said):
    flow("""
        @task
        def t(): pass
    """)
    project.write("broken.py", "1/0\n")
    at_last = [] if words == ["runs"] else [[*words, "-p", plugin], [*words, f"-p{plugin or '='}"]]
    for arguments in (["-p", plugin, *words], *at_last):
        ended = project.flowkit(*arguments, env={"PYTHONPATH": os.pathsep.join([str(project.root), *sys.path])})
        assert ended.exit_code == 4, ended
        assert said in ended.err
        assert "Traceback" not in ended.err


def test_an_empty_list_of_plugins_loads_none(flow, project):
    flow("""
        @task
        def t(): pass
    """)
    assert project.flowkit("run", "m.py", env={"FLOWKIT_PLUGINS": ","}).exit_code == 0
    with pytest.raises(flowkit.FlowError, match="names no plugin"):
        project.run("m.py", p=[""])


def test_an_unknown_command_names_the_nearest(project):
    ended = project.flowkit("taks")
    assert ended.exit_code == 4
    assert "tasks" in ended.err


def test_an_unknown_option_names_the_nearest(project, flow):
    flow(FLOW)
    ended = project.flowkit("run", "m.py", "--maxfial", "1")
    assert "--maxfail" in ended.err


# What is printed


def test_the_report_has_header_count_letters_and_last_line(flow, project):
    flow(FLOW)
    ended = project.flowkit("run", "m.py")
    lines = ended.out.splitlines()
    assert "flowkit" in ended.out
    assert "rootdir" in ended.out
    assert "configfile" in ended.out
    assert "executor: threads" in ended.out
    assert "cache" in ended.out
    assert "collected 2 tasks" in ended.out
    assert any(line.startswith("m.py ..") and line.rstrip().endswith("100%]") for line in lines), ended.out
    assert re.search(r"2 ran in \d", lines[-1]), lines[-1]
    assert ended.err == ""


def test_the_header_names_plugins_that_are_not_built_in(flow, project):
    flow(FLOW)
    project.write("mine.py", "import flowkit\n@flowkit.hookimpl\ndef flowkit_run_started(run): pass\n")
    assert re.search(r"plugins: .*mine", project.flowkit("run", "m.py", "-p", "mine").out)


def test_a_selection_is_counted(flow, project):
    flow(FLOW)
    assert "collected 2 tasks, 1 selected" in project.flowkit("run", "m.py::raw").out


def test_what_comes_along_with_a_target_is_not_counted_as_selected(flow, project):
    project.write("flowconf.py", "from flowkit import task\n@task\ndef above(): return 1\n")
    flow("""
        @task
        def a(above): return 1
        @task(fallback="spare")
        def b(a): return 1
        @task
        def spare(): return 1
    """)
    assert "collected 3 tasks, 1 selected" in project.flowkit("run", "m.py::a").out
    assert "collected 3 tasks\n" in project.flowkit("run", "m.py").out


def test_every_way_to_end_has_its_letter(flow, project):
    flow("""
        import time
        @task
        def a(): return 1
        @task
        def b(): skip("s")
        @task
        def c(): raise RuntimeError
        @task
        def d(c): pass
        @task(timeout=0.02)
        def e():
            for _ in range(5000): time.sleep(0.001)
        @resource
        def r(): raise RuntimeError
        @task
        def f(r): pass
    """)
    ended = project.flowkit("run", "m.py", "--executor", "inline")
    letters = next(line for line in ended.out.splitlines() if line.startswith("m.py ")).split()[1]
    assert sorted(letters) == sorted(".sFuTE")
    last = ended.out.splitlines()[-1]
    for count in ("1 ran", "1 failed", "1 timeout", "1 error", "1 skipped", "1 upstream"):
        assert count in last, last


def test_a_retry_has_its_letter(flow, project):
    flow("""
        calls = []
        @task(retries=1)
        def t():
            calls.append(1)
            if len(calls) == 1: raise RuntimeError
    """)
    ended = project.flowkit("run", "m.py")
    assert "m.py R." in ended.out, ended.out


def test_a_failure_is_shown_with_node_parameters_user_frames_output_and_the_command_to_run_it_again(flow, project):
    flow(FAILS)
    out = project.flowkit("run", "m.py", "-P", "n=4").out
    assert "FAILURES" in out
    assert "bad" in out
    assert "n=4" in out.replace("n = 4", "n=4")
    assert "ValueError: broken 4" in out
    assert re.search(r'm\.py", line 7, in bad', out)
    assert re.search(r'm\.py", line 8, in helper', out)
    assert "worker.py" not in out
    assert "printed before" in out
    assert re.search(r"flowkit run .*m\.py::bad.*n=4", out)
    assert "1 upstream" in out.splitlines()[-1]


def test_the_short_summary_lists_failures(flow, project):
    flow(FAILS)
    out = project.flowkit("run", "m.py").out
    assert re.search(r"FAILED m\.py::bad.*ValueError: broken 3", out), out


def test_r_characters_choose_what_the_summary_lists(flow, project):
    flow("""
        @task
        def t(): skip("holiday")
    """)
    assert "holiday" in project.flowkit("run", "m.py", "-rs").out


def test_v_prints_a_line_per_node_with_a_word_and_the_reason(flow, project):
    flow("""
        @task
        def a(): skip("holiday")
        @task
        def b(): return 1
    """)
    out = project.flowkit("run", "m.py", "-v").out
    assert re.search(r"a .*SKIPPED.*holiday", out), out
    assert re.search(r"b .*RAN", out), out


def test_q_prints_less(flow, project):
    flow(FLOW)
    loud, quiet = (project.flowkit("run", "m.py", *words).out for words in ([], ["-q"]))
    assert len(quiet.splitlines()) < len(loud.splitlines())
    assert "rootdir" not in quiet


def test_durations_lists_the_slowest(flow, project):
    flow("""
        import time
        @task
        def slow(): time.sleep(0.05)
        @task
        def fast(): pass
    """)
    out = project.flowkit("run", "m.py", "--durations", "1").out
    assert "slowest" in out
    assert re.search(r"0\.0\d+s.*slow|50ms.*slow|slow.*50ms|5\dms.*slow", out) or "slow" in out.partition("slowest")[2]


def test_s_shows_output_as_it_comes(flow, project):
    flow("""
        @task
        def t(): print("hello from t")
    """)
    assert "hello from t" not in project.flowkit("run", "m.py").out
    assert "hello from t" in project.flowkit("run", "m.py", "-s", "-p", "no:cache").out


def test_nodes_cut_off_by_x_are_counted_as_not_run(flow, project):
    flow("""
        @task
        def a(): raise RuntimeError
        @task(needs=["a"], trigger="all_done")
        def b(): pass
        @task(needs=["b"])
        def c(): pass
    """)
    ended = project.flowkit("run", "m.py", "-x")
    assert ended.exit_code == 1
    assert "2 not run" in ended.out.splitlines()[-1]


def test_tasks_lists_docs_parameters_and_places(flow, project):
    flow("""
        @task
        def raw(n: int = 1):
            "Read the raw data."
            return n
    """)
    out = project.flowkit("tasks", "m.py").out
    for part in ("raw", "Read the raw data.", "n", "m.py:2"):
        assert part in out.replace("m.py:3", "m.py:2")


def test_plugins_lists_the_built_in_ones(project):
    out = project.flowkit("plugins").out
    for name in ("retry", "timeout", "limit"):
        assert name in out


@pytest.mark.parametrize("plugin", ["retry", "timeout", "limit", "capture", "terminal", "cache"])
def test_every_built_in_plugin_can_be_left_out(flow, project, plugin):
    flow(FLOW)
    assert project.flowkit("run", "m.py", "-p", f"no:{plugin}").exit_code == 0


# Settings


def test_a_misspelt_setting_is_an_error_with_the_nearest(flow, project):
    flow(FLOW)
    project.write("flowkit.toml", 'exector = "inline"\n')
    ended = project.flowkit("run", "m.py")
    assert ended.exit_code == 4
    assert "'exector'" in ended.err
    assert "'executor'" in ended.err


@pytest.mark.parametrize(
    "line",
    ['n = "many"', 'n = "6"', "n = 2.0", "n = true", "executor = 3", 'plugins = "no:history"', "plugins = 3", "plugins = []\nn = 0",
     "cache.dir = 3", 'cache.environment = "yes"', 'cache.keep_last = "3"', "cache.max_age = true", "history.url = 3",
     "defaults = 3"],
)  # fmt: skip
def test_a_setting_of_the_wrong_type_is_an_error(flow, project, line):
    flow(FLOW)
    project.write("flowkit.toml", f"{line}\n")
    ended = project.flowkit("run", "m.py")
    assert ended.exit_code == 4
    assert repr(line.rpartition("\n")[2].partition(" ")[0]) in ended.err
    assert "flowkit.toml" in ended.err


def test_settings_from_the_environment_are_text_and_read_as_what_is_meant(flow, project):
    flow(FLOW)
    environment = {
        "FLOWKIT_N": "6", "FLOWKIT_PLUGINS": "no:drawing, no:html", "FLOWKIT_CACHE_DIR": "3", "FLOWKIT_CACHE_ENVIRONMENT": "yes",
        "FLOWKIT_CACHE_KEEP_LAST": "2",
    }  # fmt: skip
    ended = project.flowkit("run", "m.py", env=environment)
    assert ended.exit_code == 0, ended
    assert (project.root / "3").is_dir()
    for name, value in (("FLOWKIT_N", "many"), ("FLOWKIT_CACHE_ENVIRONMENT", "maybe"), ("FLOWKIT_CACHE_KEEP_LAST", "-1")):
        ended = project.flowkit("run", "m.py", env={name: value})
        assert ended.exit_code == 4
        assert f"{name}: setting" in ended.err


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("flowkit.toml", "[tool.flowkit]\nn = 2\n", "settings stand at its top"),
        ("pyproject.toml", "[tool]\nflowkit = 3\n", "tool.flowkit is an int"),
        ("pyproject.toml", "[tool]\nflowkit.n = 'x'\n", "setting 'n' wants"),
    ],
)
def test_settings_in_a_place_where_they_do_not_belong_are_an_error(flow, project, file, text, said):
    flow(FLOW)
    project.write(file, text)
    ended = project.flowkit("run", "m.py")
    assert ended.exit_code == 4
    assert f"{file}: {said}" in ended.err


def test_a_project_file_that_only_mentions_flowkit_is_none_of_its_own(flow, project):
    flow(FLOW)
    project.write("pyproject.toml", "tool = 'flowkit'\n")
    assert project.flowkit("run", "m.py").exit_code == 0


def test_a_settings_file_that_is_not_toml_is_an_error(flow, project):
    flow(FLOW)
    project.write("flowkit.toml", "n = = 3\n")
    ended = project.flowkit("run", "m.py")
    assert ended.exit_code == 4
    assert "flowkit.toml" in ended.err
    assert "Traceback" not in ended.err


# Terminals


def on_a_terminal(project, *words, **env):
    """Run flowkit on a terminal of its own; return (exit code, what was written to it)."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        project.command(*words), cwd=project.root, stdin=slave, stdout=slave, stderr=slave,
        env={**project.environment(), "TERM": "xterm-256color", **env},
    )  # fmt: skip
    os.close(slave)
    out = b""
    while True:
        try:
            read = os.read(master, 65536)
        except OSError:
            break
        if not read:
            break
        out += read
    os.close(master)
    return process.wait(30), out.decode()


def test_output_that_is_no_terminal_has_no_control_codes(flow, project):
    flow(FAILS)
    ended = project.flowkit("run", "m.py", "-v")
    assert clean(ended.out)
    assert clean(ended.err)


def test_a_terminal_gets_colour(flow, project):
    flow(FAILS)
    code, out = on_a_terminal(project, "run", "m.py")
    assert code == 1
    assert "\x1b[" in out


def test_no_color_is_kept_on_a_terminal(flow, project):
    flow(FAILS)
    code, out = on_a_terminal(project, "run", "m.py", NO_COLOR="1")
    assert code == 1
    assert not re.search(r"\x1b\[(3[0-9]|9[0-9]|1;3|38)", out)


def test_a_dumb_terminal_gets_no_control_codes(flow, project):
    flow(FAILS)
    code, out = on_a_terminal(project, "run", "m.py", TERM="dumb")
    assert code == 1
    assert clean(out.replace("\r\n", "\n"))


@pytest.mark.parametrize("columns", ["40", "1", "500"])
def test_any_width_of_terminal_will_do(flow, project, columns):
    flow(FAILS)
    ended = project.flowkit("run", "m.py", env={"COLUMNS": columns})
    assert ended.exit_code == 1
    assert "ValueError" in ended.out


def test_forty_columns_are_not_exceeded_by_rules_and_letters(flow, project):
    flow("""
        @task(each={"x": list(range(100))})
        def m(x): return x
    """)
    _, out = on_a_terminal(project, "run", "m.py", COLUMNS="40", NO_COLOR="1", TERM="dumb")
    assert sum(line.count(".") for line in out.splitlines() if line.endswith("%]")) >= 100
    assert all(len(line) <= 40 for line in out.splitlines() if line.endswith("%]") or set(line.strip()) == {"="})


def test_an_output_that_is_ascii_only_does_not_break_the_report(flow, project):
    flow("""
        @task
        def größe(): raise ValueError("naïve →")
    """)
    ended = project.flowkit("run", "m.py", env={"PYTHONIOENCODING": "ascii", "LC_ALL": "C", "PYTHONUTF8": "0"})
    assert ended.exit_code == 1
    assert "UnicodeEncodeError" not in ended.err + ended.out


def test_a_reader_that_closes_early_gets_no_traceback(flow, project):
    flow("""
        @task(each={"x": list(range(300))})
        def m(x): return x
    """)
    command = " ".join(project.command("run", "m.py", "-v"))
    done = subprocess.run(
        f"{command} | head -1", shell=True, capture_output=True, text=True, timeout=60, check=False,
        env=project.environment(),
    )  # fmt: skip
    assert done.returncode == 0
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr


FEW_CHARACTERS = [
    {"PYTHONIOENCODING": "cp1252"},
    {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"},
    {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
]


@pytest.mark.parametrize("env", FEW_CHARACTERS, ids=["cp1252", "ascii", "C"])
def test_what_an_output_lacks_characters_for_is_spelled_out_by_every_command(flow, project, env):
    flow("""
        @task
        def a(n: int = 1):
            "→ 日本"
            print("→ 日本")
            return n
    """)
    assert project.flowkit("run", "m.py", "-q").exit_code == 0
    for words in ("plan m.py -P n=2", "show", "logs", "tasks m.py", "graph m.py", "cache ls", "why a", "run nope→.py"):
        ended = project.flowkit(*words.split(), env=env)
        assert ended.exit_code == (4 if "nope" in words else 0), ended
        assert "Traceback" not in ended.err
        if env == FEW_CHARACTERS[0] and words.startswith("plan"):
            assert "1 -> 2" in ended.out


@pytest.mark.parametrize(
    "words",
    [
        "plan m.py", "plan m.py --json", "plan many.py", "show", "logs", "runs", "tasks m.py", "graph m.py", "why a", "cache ls",
        "cache stat", "cache why m.py::a", "plugins", "completion bash", "--help", "run --help", "--version",
    ],
)  # fmt: skip
def test_a_full_output_is_said_and_1(flow, project, words):
    flow("""
        @task
        def a(): print("said")
    """)
    project.write("many.py", "from flowkit import task\n" + "".join(f"@task\ndef t{n}(): pass\n" for n in range(500)))
    with open("/dev/full", "w") as full:
        for command, code in ((["run", "m.py"], 0), (words.split(), 1)):
            done = subprocess.run(
                project.command(*command), stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False,
                env=project.environment(),
            )  # fmt: skip
            assert done.returncode == code, done.stderr
    assert done.stderr == "error: the output cannot be written: No space left on device\n"


@pytest.mark.parametrize("where", ["nobody reads", "full", "closed"])
@pytest.mark.parametrize(
    ("words", "code"),
    [("run nope.py", 4), ("run --bogus", 4), ("nope", 4), ("run -k zzz m.py", 5), ("plan m.py -v", 0), ("run m.py", 1)],
)
def test_the_exit_code_does_not_hang_on_who_reads_the_errors(flow, project, words, code, where):
    flow("""
        @task
        def t(): raise ValueError
    """)
    to = {"nobody reads": "2>&1 >/dev/null | true", "full": "2>/dev/full", "closed": "2>&-"}[where]
    command = " ".join(project.command(*words.split()))
    done = subprocess.run(
        ["bash", "-c", f"{command} {to}; exit ${{PIPESTATUS[0]}}"],
        capture_output=True, timeout=60, check=False, env={**project.environment(), "FLOWKIT_PARAM_ODD": "1"},
    )  # fmt: skip
    assert done.returncode == code


def test_a_closed_stdout_does_not_stop_the_run(flow, project):
    flow("""
        @task
        def t(): Path("ran").touch()
    """)
    command = " ".join(project.command("run", "m.py"))
    done = subprocess.run(
        f"{command} >&-", shell=True, capture_output=True, text=True, timeout=60, check=False, env=project.environment()
    )
    assert "Traceback" not in done.stderr
    assert (project.root / "ran").exists()


# Signals

WAITS = """
    import sys, time
    @resource
    def db():
        yield 1
        Path("down").touch()
    @task
    def t(db):
        Path("began").touch()
        {body}
    @task
    def after(t): Path("after").touch()
    @task(needs=["t"], trigger="always")
    def always(): Path("always").touch()
"""


def started(project, *words):
    """A run that has come to its first task."""
    process = subprocess.Popen(
        project.command("run", "m.py", *words), cwd=project.root, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, env=project.environment(),
    )  # fmt: skip
    for _ in range(1000):
        if (project.root / "began").exists() or process.poll() is not None:
            break
        time.sleep(0.01)
    time.sleep(0.05)
    return process


@pytest.mark.parametrize("executor", ["threads", "inline"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "sigterm"])
def test_a_first_signal_cancels_tears_down_records_and_is_2(flow, project, executor, number):
    flow(WAITS.format(body="[time.sleep(0.005) for _ in range(4000)]"))
    process = started(project, "--executor", executor)
    began = time.monotonic()
    process.send_signal(number)
    out, err = process.communicate(timeout=15)
    assert process.returncode == 2, (out, err)
    assert time.monotonic() - began < 8
    assert (project.root / "down").exists()
    assert not (project.root / "after").exists()
    assert not (project.root / "always").exists()
    assert "Traceback" not in err
    assert "not run" in out.splitlines()[-1], out


@pytest.mark.parametrize(
    ("executor", "head", "body"),
    [
        ("threads", "def a():", "[time.sleep(0.005) for _ in range(2000)]"),
        ("threads", "async def a():", "await asyncio.sleep(10)"),
        ("inline", "async def a():", "await asyncio.sleep(10)"),
    ],
)
def test_a_signal_that_does_not_end_the_main_threads_sleep_is_heeded_all_the_same(flow, project, executor, head, body):
    flow(f"""
        import asyncio, signal, threading, time
        @task
        {head}
            signal.pthread_kill(threading.get_ident(), signal.SIGINT)  # Python notes it; whoever sleeps sleeps on
            {body}
        @task
        def b(a): Path("after").touch()
    """)
    began = time.monotonic()
    ended = project.flowkit("run", "m.py", "-n", "1", "--executor", executor)
    assert time.monotonic() - began < 8
    assert (ended.exit_code, (project.root / "after").exists()) == (2, False)
    assert "2 not run" in ended.out.splitlines()[-1]


@pytest.mark.parametrize("executor", ["threads", "inline"])
@pytest.mark.parametrize("deaf", [False, True])
def test_ctrl_c_cancels_a_coroutine_and_waits_for_it_for_a_second_at_most(flow, project, executor, deaf):
    flow("""
        import asyncio
        @resource
        def db():
            yield 1
            Path("down").write_text("clean" if Path("clean").exists() else "")
        @task
        async def t(db):
            Path("began").touch()
            while True:
                try: await asyncio.sleep(30)
                except BaseException:
                    if not DEAF:
                        await asyncio.sleep(0.1)
                        Path("clean").touch()
                        raise
    """.replace("DEAF", str(deaf)))
    process = started(project, "--executor", executor)
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=15)
    assert process.returncode == 2, (out, err)
    assert time.monotonic() - began < 5
    assert project.read("down") == ("" if deaf else "clean")
    assert ("left behind" in out) == deaf, out
    assert err == ""


INNER = """
    import time
    @resource
    def db():
        yield 1
        Path("down").write_text(Path("order").read_text() if Path("order").exists() else "")
    @task
    def long(db):
        Path("began").touch()
        try: [time.sleep(0.005) for _ in range(2000)]
        finally: Path("order").write_text("the task first")
    @task
    def after(long): Path("after").touch()
"""


@pytest.mark.parametrize("inner", ["threads", "inline"])
@pytest.mark.parametrize("executor", ["threads", "inline"])
@pytest.mark.parametrize("how", ["ctrl-c", "timeout"])
def test_a_run_within_a_task_is_stopped_with_it_and_torn_down(flow, project, executor, inner, how):
    flow(INNER, "inner.py")
    flow(f"""
        import flowkit
        @task(timeout={0.5 if how == "timeout" else None})
        def outer(): return flowkit.run("inner.py", executor={inner!r}).ok
        @task(trigger="all_done")
        def more(outer): return 1
    """)
    began = time.monotonic()
    process = started(project, "--executor", executor)
    if how == "ctrl-c":
        process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=15)
    assert process.returncode == (2 if how == "ctrl-c" else 1), (out, err)
    assert time.monotonic() - began < 6
    assert project.read("down") == "the task first"
    assert not (project.root / "after").exists()
    assert "left behind" not in out
    assert err == ""
    assert re.search(r"interrupted .* inner\b", project.flowkit("runs", "--all").out)


def test_a_second_ctrl_c_kills_at_once_with_130(flow, project):
    body = """
        while True:
            try: time.sleep(0.01)
            except BaseException: pass"""
    flow(WAITS.format(body=body))
    process = started(project)
    process.send_signal(signal.SIGINT)
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=15)
    assert process.returncode == 130, err
    assert not (project.root / "down").exists()


def test_a_ctrl_c_while_a_module_is_imported_is_2(project):
    project.write("m.py", "import time, pathlib\npathlib.Path('began').touch()\ntime.sleep(20)\n")
    process = started(project)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=15)
    assert process.returncode == 2, err
    assert "Traceback" not in err


def test_a_task_stuck_in_c_does_not_keep_ctrl_c_from_ending_the_command(flow, project):
    flow(WAITS.format(body="time.sleep(30)"))
    process = started(project)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=15)
    assert process.returncode == 2, (out, err)


def test_the_command_does_not_wait_for_a_thread_it_left_behind(flow, project):
    flow("""
        import time
        @task(timeout=0.05)
        def stuck(): time.sleep(30)
    """)
    began = time.monotonic()
    ended = project.flowkit("run", "m.py")
    assert ended.exit_code == 1
    assert time.monotonic() - began < 10
    assert "left behind" in ended.out


def test_the_console_script_is_there():
    script = os.path.join(os.path.dirname(sys.executable), "flowkit")
    done = subprocess.run([script, "--version"], capture_output=True, text=True, check=False)
    assert done.stdout.startswith("flowkit ")


def test_what_is_selected_is_counted_among_what_was_collected(flow, project):
    flow("""
        @task(fallback="b")
        def a(n: int = 1): return n
        @task
        def b(): return 2
        @task(each={"i": [1, 2]})
        def t(i: int): return i
        @task
        def c(a, t: Collected[int]): return a
    """)
    for words, told in [("m.py::a", "4 tasks, 1 selected"), ("m.py", "4 tasks"), ("m.py::b m.py::c", "4 tasks, 2 selected"), ("m.py -O t=[5,6]", "3 tasks")]:
        assert f"collected {told}" in project.flowkit("run", *words.split()).out.splitlines()


def test_a_plan_knows_the_last_time_of_what_was_not_in_the_last_run(flow, project):
    flow("""
        @task
        def src(n: int = 2): return list(range(n))
        @task(each={"x": "src"})
        def m(x): return x
        @task
        def other(): return 1
    """)
    for words in (["m.py"], ["m.py::other"], ["m.py::other"], ["m.py::other"], ["m.py::other"]):
        project.flowkit("run", *words)
    planned = project.flowkit("plan", "m.py", "-P", "n=3").out
    assert "known after `src`; 2 the last time" in planned
    assert re.search(r"src .*the last time\)", planned)


def test_a_plan_ends_as_the_run_would_if_it_knows_that_there_is_no_such_element(flow, project):
    flow("""
        @task
        def src(): return [1, 2]
        @task(each={"x": "src"})
        def f(x): return x
        @task(each={"y": "f"})
        def g(y): return y
    """)
    assert project.flowkit("plan", "m.py::f[9]").exit_code == 0  # it may be there
    assert project.flowkit("plan", "m.py", "-k", "nope").exit_code == 0
    project.flowkit("run", "m.py::f")
    for command in (["plan"], ["run"], ["cache", "why"]):
        ended = project.flowkit(*command, "m.py::f[9]")
        assert ended.exit_code == 4
        assert "m.py::f[9]: 'f' has no such element\n  elements: f[1], f[2]" in ended.err
    assert "Did you mean 'f[1]'?" in project.flowkit("plan", "m.py::f[11]").err
    assert project.flowkit("plan", "m.py::f[1]").exit_code == 0
    for command in ("plan", "run"):
        ended = project.flowkit(command, "m.py::f", "-k", "nope")
        assert (ended.exit_code, ended.err.strip()) == (5, "nothing to run: no element matches the selection")


def test_plan_v_says_which_kind_of_timeout_each_node_has(flow, project):
    flow("""
        @task(timeout="1s")
        def plain(): return 1
        @task(timeout="2m")
        async def waits(): return 1
        @task
        def free(): return 1
    """)
    plain, waits, free, _ = project.flowkit("plan", "m.py", "-v").out.splitlines()
    assert "timeout 1s, soft: interrupted" in plain.replace("1.00s", "1s")
    assert "soft: cancelled" in waits
    assert "timeout" not in free
    assert "timeout" not in project.flowkit("plan", "m.py").out


@pytest.mark.parametrize("command", [("run", "m.py"), ("plan", "m.py"), ("tasks", "m.py"), ("graph", "m.py"), ("run", "m.py", "-P", "nope=3")])
def test_what_a_module_writes_is_whole_at_exit_though_nothing_is_called(flow, project, command):
    flow("""
        import gzip
        audit = gzip.open("audit.gz", "at")
        audit.write("imported\\n")
        @task
        def a(): return 1
        @task
        def b(a: "List[int]"): return 2
    """)
    project.flowkit("run", "m.py")
    project.flowkit(*command)
    with gzip.open(project.root / "audit.gz", "rt") as audit:
        assert audit.read() == "imported\nimported\n"


@pytest.mark.parametrize("executor", ["inline", "threads"])
def test_the_collector_is_on_when_the_first_task_is_called(flow, project, executor):
    flow("""
        import gc
        @task
        def t(): Path("seen").write_text(str(gc.isenabled()))
    """)
    assert project.flowkit("run", "m.py", "--executor", executor).exit_code == 0
    assert (project.root / "seen").read_text() == "True"
