"""Everything wrong is found before anything runs, and reported together; nothing is told that is not certain."""

import re

import pytest

SOUND = """
    @task
    def a(n: int, miss: str): Path("ran").touch()
    @task
    def b(a): return 1
"""
UNKNOWN, UNFIT, LACKING = "no parameter 'unk'", "'zz' does not fit", "asks for 'miss'"


def told(project, *words, **keywords):
    """The first lines of what the command says is wrong."""
    ended = project.flowkit("run", *words, **keywords)
    assert ended.exit_code == 4, ended
    assert "Traceback" not in ended.err
    assert not (project.root / "ran").exists()
    return re.findall(r"^error: (.*)", ended.err, re.M)


def assert_told(lines, *said):
    """Each line is one of those that are expected, in any order, and none is missing."""
    assert len(lines) == len(said), lines
    for part in said:
        assert any(part in line for line in lines), (part, lines)


# Values of parameters, beside anything else


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], [LACKING]),
        (["-O", "foo=1"], ["nothing asks for 'foo'", LACKING]),
        (["--refresh=qq"], ["--refresh qq", LACKING]),
        (["-n", "0"], ["n=0", LACKING]),
        (["--executor", "qq"], ["unknown executor 'qq'", LACKING]),
        (["-P", "bad"], ["-P bad: no '='", LACKING]),
        (["-P", "miss"], ["-P miss: no '='"]),
        (["--html", ".", "--junitxml", "."], ["--html .", "--junitxml .", LACKING]),
        (["-k", "("], ["-k '('"]),
        (["-k", "(", "-m", "("], ["-k '('", "-m '('"]),
        (["--executor", "qq", "-k", "("], ["unknown executor 'qq'", "-k '('"]),
        (["-k", "nothing"], []),
        (["--params", "nope.json"], ["--params nope.json"]),
    ],
    ids=" ".join,
)
def test_wrong_values_are_told_beside_anything_else(flow, project, words, said):
    """Which values are lacking is certain only where it is known what is to run, and what was given."""
    flow(SOUND)
    assert_told(told(project, "m.py", "-P", "n=zz", "-P", "unk=1", *words), UNKNOWN, UNFIT, *said)


def test_wrong_values_are_told_beside_a_task_that_is_not_there(flow, project):
    flow(SOUND)
    assert_told(told(project, "m.py::zz", "-P", "n=zz", "-P", "unk=1"), "m.py::zz", UNKNOWN, UNFIT)


def test_wrong_values_are_told_beside_a_wrong_declaration(flow, project):
    flow(SOUND + """
    @task
    def c(*a): return 1
    """)
    assert_told(told(project, "m.py", "-P", "n=zz", "-P", "unk=1"), "task 'c'", UNKNOWN, UNFIT, LACKING)


def test_a_value_may_be_of_a_flow_that_cannot_be_read(flow, project):
    flow(SOUND)
    project.write("broken.py", "import nowhere_at_all\n")
    for other in ("nope.py", "broken.py"):
        assert_told(told(project, "m.py", other, "-P", "n=zz", "-P", "unk=1"), other.partition(".")[0], UNFIT, LACKING)


@pytest.mark.parametrize(
    "source",
    [
        "def c(unk: 'int | gone'): pass",
        "def c(x: Annotated['gone', From('unk')]): pass",
        "def c(x: 'Annotated[gone, From(\"unk\")]'): pass",
    ],
)
def test_a_value_may_be_of_a_parameter_that_cannot_be_declared(flow, project, source):
    flow(f"""
        @task
        {source}
    """)
    assert UNKNOWN not in " ".join(told(project, "m.py", "-P", "unk=1"))


def test_a_value_may_be_the_list_of_a_wrong_each(flow, project):
    flow("""
        @task(each={"y": "unk"})
        def c(x): pass
    """)
    assert_told(told(project, "m.py", "-P", "unk=[1]"), "each names 'y'")


def test_a_value_may_be_of_what_is_defined_twice(flow, project):
    flow("""
        @task
        def c(unk: int): pass
        @task
        def c(): pass
    """)
    assert_told(told(project, "m.py", "-P", "unk=1"), "two definitions of 'c'")


# Targets


def test_all_wrong_targets_are_told(flow, project):
    flow(SOUND)
    assert_told(told(project, "m.py::page[hotel", "nope.py"), "m.py::page[hotel", "nope.py")
    words = ["m.py", "nope.py", "m.py::b[x]", "m.py::oen"]
    assert_told(told(project, *words), "nope.py", "'b' is not mapped", "m.py::oen")


# Settings


def test_a_wrong_setting_hides_no_other_and_nothing_of_the_flow(flow, project):
    flow(SOUND + """
    @task
    def c(*a): return 1
    """)
    project.write("flowkit.toml", 'n = "x"\nexecutor = "nope"\n')
    assert_told(told(project, "m.py", "-P", "n=1"), "setting 'n'", "unknown executor 'nope'", "task 'c'", LACKING)


# One task, one flow


def test_a_task_tells_all_that_is_wrong_with_it(flow, project):
    flow("""
        @task(retry=3, timeout="soon", needs=["zz"], fallback="yy", trigger="all_don", each={"q": [1]}, tags=3)
        def a(x, /, *args, **kw):
            yield 1
    """)
    assert_told(
        told(project, "m.py", "-P", "x=1"),
        "yields", "positional-only", "*args", "unknown option 'retry'", "timeout='soon'", "no trigger 'all_don'", "tags=3",
        "each names 'q'", "needs names 'zz'", "fallback names 'yy'",
    )  # fmt: skip


def test_what_follows_from_an_error_is_not_told(flow, project):
    """No trigger over nothing where a need is misspelt, and no parameter in the place of an element."""
    flow("""
        @task(trigger="always", needs=["zz"])
        def a(): pass
        @task(each=["x"])
        def b(x): pass
        @task(each={"x,q": "pairs"})
        def c(x): pass
    """)
    assert_told(told(project, "m.py"), "needs names 'zz'", "each=['x']", "each names 'q'")


@pytest.mark.parametrize("name", ["''", "3", "[3]", "'a[b]'"])
def test_a_wrong_name_hides_nothing(flow, project, name):
    flow(f"""
        @task(name={name})
        def a(nope, *args): pass
        @task(retrie=3)
        def b(a): pass
    """)
    assert_told(told(project, "m.py"), "its name is", "*args", "unknown option 'retrie'", "asks for 'nope'")


def test_two_flows_and_an_unknown_hook_hide_nothing(flow, project):
    project.write("flowconf.py", "from flowkit import hookimpl\n@hookimpl\ndef flowkit_run_startd(run): pass\n")
    flow("""
        one = Flow("one")
        two = Flow("two", retris=3)
        @task(retrie=3)
        def a(): pass
    """)
    assert_told(
        told(project, "m.py"),
        "has two flows", "unknown hook 'flowkit_run_startd'", "unknown option 'retris'", "unknown option 'retrie'",
    )  # fmt: skip


def test_a_resource_tells_of_unnamed_arguments_and_of_its_options(flow, project):
    flow("""
        @resource(scope="runs")
        def r(x, /, *args): pass
        @task
        def a(r): pass
    """)
    assert_told(told(project, "m.py"), "positional-only", "*args", "no scope 'runs'")


# Where it was said


@pytest.mark.parametrize(
    ("setting", "environment", "words", "said"),
    [
        ('executor = "nope"', {}, [], "flowkit.toml: unknown executor 'nope'"),
        ("", {"FLOWKIT_EXECUTOR": "nope"}, [], "FLOWKIT_EXECUTOR: unknown executor 'nope'"),
        ('executor = "gone"', {}, ["--executor", "nope"], "--executor: unknown executor 'nope'"),
        ('plugins = ["nope"]', {}, [], "flowkit.toml: nope: there is no plugin"),
        ("", {"FLOWKIT_PLUGINS": "nope"}, [], "FLOWKIT_PLUGINS: nope: there is no plugin"),
        ('plugins = ["no:nope"]', {}, [], "flowkit.toml: no:nope: unknown plugin 'nope'"),
        ("", {}, ["-p", "nope"], "-p nope: there is no plugin"),
        ("", {}, ["-p", "no:nope"], "-p no:nope: unknown plugin 'nope'"),
    ],
)
def test_an_unknown_executor_or_plugin_is_said_with_where_it_was_named(flow, project, setting, environment, words, said):
    flow("""
        @task
        def a(): pass
    """)
    project.write("flowkit.toml", setting)
    (line,) = told(project, "m.py", *words, env=environment)
    assert line.startswith(said)


def test_from_python_no_flag_is_blamed(flow):
    f = flow("""
        @task
        def a(): pass
    """)
    assert "flowkit.run(executor='zz'): unknown executor" in f.refusal(executor="zz")
    for odd in (3, [3]):
        assert f"flowkit.run(executor={odd}): unknown executor" in f.refusal(executor=odd)
    assert "flowkit.run(p=…): zz: there is no plugin" in f.refusal(p=["zz"])


def test_a_wrong_option_of_a_flow_is_said_with_its_line(flow, project):
    f = flow("""
        flow = Flow(timeout="soon", retris=3, tags=["x"], defaults={"nope": 1})
        @task
        def a(): pass
    """)
    text = f.refusal()
    assert "Flow (m.py:2): timeout='soon' does not fit" in text
    assert "Flow (m.py:2): unknown option 'retris'" in text
    assert "Flow(defaults=…) (m.py:2): unknown option 'nope'" in text
    assert "defaults={'retries': …}" in text
    assert "defaults={'tags': …}" in text


# Overrides


def test_a_task_that_is_replaced_cannot_be_the_target_and_that_is_said(flow, project):
    flow("""
        @task(provides=["left", "right"])
        def parts(): return 1, 2
        @task
        def use(parts): return 1
    """)
    for name in ("parts", "left"):
        (line,) = told(project, f"m.py::{name}", "-O", "parts=[3, 4]")
        assert line == f"m.py::{name}: 'parts' is not run, as a value stands in for it (-O, override)"


def test_what_nothing_asks_for_is_not_listed_as_known(flow):
    text = flow("""
        @task
        def a(): return 1
    """).refusal(override={"tmp_path": 3})
    assert "nothing asks for 'tmp_path'" in text
    assert "known: a, log, out, rng, run\n" in text
