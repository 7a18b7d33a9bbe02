"""How an argument finds what it asks for (language.md §3)."""

import sys

import textwrap

import pytest

import flowkit

# The order of look-up


def test_a_task_is_still_the_same_function():
    def double(x: int) -> int:
        return 2 * x

    assert flowkit.task(double) is double
    assert flowkit.task(retries=3)(double) is double
    assert double(4) == 8


def test_nothing_happens_at_import_time_but_registration(project):
    project.write("registers_only.py", "from flowkit import task\n@task\ndef a(): raise SystemExit('called')\n")
    sys.path.insert(0, str(project.root))
    try:
        import registers_only

        assert callable(registers_only.a)
    finally:
        sys.path.remove(str(project.root))
        sys.modules.pop("registers_only", None)


def test_an_argument_takes_the_task_of_its_name(flow):
    f = flow("""
        @task
        def raw(): return 20
        @task
        def clean(raw): return raw + 1
    """)
    assert f.value("clean") == 21


def test_definition_order_does_not_matter(flow):
    f = flow("""
        @task
        def clean(raw): return raw + 1
        @task
        def raw(): return 20
    """)
    assert f.value("clean") == 21


def test_from_names_another_provider(flow):
    f = flow("""
        @task
        def clean(): return "clean"
        @task
        def df(): return "df"
        @task
        def use(df: Annotated[str, From("clean")]): return df
    """)
    assert f.value("use") == "clean"


def test_from_may_name_a_parameter_or_a_resource(flow):
    f = flow("""
        @resource
        def pool(): yield "pool"
        @task
        def use(p: Annotated[str, From("pool")], n: Annotated[int, From("limit")] = 3): return p, n
    """)
    assert f.value("use", params={"limit": 4}) == ("pool", 4)
    assert f.value("use") == ("pool", 3)


def test_an_override_by_value_replaces_a_task_which_does_not_run(flow):
    f = flow("""
        @task
        def raw(): raise RuntimeError("ran")
        @task
        def clean(raw): return raw + 1
    """)
    assert f.value("clean", override={"raw": 1}) == 2


def test_an_override_by_function_is_a_task_whose_arguments_are_resolved(flow):
    f = flow("""
        @task
        def base(): return 10
        @task
        def raw(): return 0
        @task
        def clean(raw): return raw
    """)
    assert f.value("clean", override={"raw": lambda base, n=5: base + n}) == 15


def test_an_override_that_asks_for_its_own_name_gets_what_it_overrides(flow):
    f = flow("""
        @task
        def raw(): return 10
        @task
        def clean(raw): return raw
    """)

    def fake(raw):
        return raw * 2

    assert f.value("clean", override={"raw": fake}) == 20


def test_an_override_replaces_a_resource(flow):
    f = flow("""
        @resource
        def db(): raise RuntimeError("connected")
        @task
        def load(db): return db
    """)
    assert f.value("load", override={"db": "fake"}) == "fake"


def test_an_override_of_a_parameter_acts_as_the_nearest_value(flow):
    f = flow("""
        @task
        def f(limit: int): return limit
    """)
    assert f.value("f", override={"limit": 5}, params={"limit": 1}) == 5


def test_an_override_of_a_name_nothing_asks_for_is_an_error_with_the_nearest_name(flow):
    text = flow("""
        @task
        def raw(): return 1
    """).refusal(override={"rwa": 1})
    assert "'rwa'" in text
    assert "Did you mean 'raw'?" in text


def test_the_nearest_definition_wins_module_before_folder_before_parent(flow, project):
    f = flow(
        """
        @task
        def own(): return "module"
        @task
        def use(own, inner, outer): return own, inner, outer
        """,
        "sub/m.py",
    )
    conf = "from flowkit import task\n"
    names = ("own", "inner", "outer")
    project.write("flowconf.py", conf + "".join(f"@task\ndef {n}(): return 'root'\n" for n in names))
    project.write("sub/flowconf.py", conf + "".join(f"@task\ndef {n}(): return 'folder'\n" for n in names[:2]))
    assert f.value("use") == ("module", "folder", "root")


def test_a_definition_that_asks_for_its_own_name_gets_the_one_it_overrides(flow, project):
    project.write("flowconf.py", "from flowkit import task\n@task\ndef raw(): return [1]\n")
    f = flow("""
        @task
        def raw(raw): return raw + [2]
        @task
        def use(raw): return raw
    """)
    assert f.value("use") == [1, 2]


def test_a_resource_that_asks_for_its_own_name_gets_the_one_it_overrides(flow, project):
    project.write("flowconf.py", "from flowkit import resource\n@resource\ndef db(): yield 'db'\n")
    f = flow("""
        @resource
        def db(db): yield db + "+log"
        @task
        def use(db): return db
    """)
    assert f.value("use") == "db+log"


def test_a_flowconf_above_sees_the_flows_own_override(flow, project):
    project.write(
        "flowconf.py",
        "from flowkit import task\n@task\ndef source(): return 'conf'\n@task\ndef table(source): return source\n",
    )
    f = flow("""
        @task
        def source(): return "flow"
        @task
        def use(table): return table
    """)
    assert f.value("use") == "flow"


def test_lookup_is_relative_to_the_flow_that_is_run_whatever_was_loaded_before(flow, project):
    project.write("flowconf.py", "from flowkit import task\n@task\ndef table(source): return source\n")
    text = """
        @task
        def source(): return {0!r}
        @task
        def use(table): return table
    """
    flow(text.format("a"), "a.py")
    flow(text.format("b"), "b.py")
    for order in (("a.py", "b.py"), ("b.py", "a.py")):
        run = project.run(*order, executor="inline")
        assert (run["a.py::use"], run["b.py::use"]) == ("a", "b")


def test_an_imported_task_is_visible(flow, project):
    project.write("shared.py", "from flowkit import task\n@task\ndef raw(): return 7\n")
    f = flow("""
        from shared import raw
        @task
        def use(raw): return raw
    """)
    assert f.value("use") == 7


def test_a_task_imported_under_another_name_is_known_by_that(flow, project):
    project.write("shared.py", "from flowkit import task\n@task\ndef raw(): return 7\n")
    f = flow("""
        from shared import raw as table
        @task
        def use(table): return table
    """)
    assert f.value("use") == 7


def test_imported_tasks_come_along_only_when_they_are_needed(flow, project):
    project.write("shared.py", "from flowkit import task\n@task\ndef raw(): return 7\n@task\ndef other(): return 8\n")
    f = flow("""
        from shared import raw, other
        @task
        def use(raw): return raw
    """)
    assert f.words() == {"raw": "ran", "use": "ran"}


def test_flowconf_tasks_come_along_only_when_they_are_needed(flow, project):
    project.write("flowconf.py", "from flowkit import task\n@task\ndef idle(): return 7\n")
    f = flow("""
        @task
        def use(): return 1
    """)
    assert f.words() == {"use": "ran"}


def test_a_plugin_contributes_tasks_and_resources(flow, project):
    project.write(
        "plug.py", "from flowkit import resource, task\n@resource\ndef gift(): yield 5\n@task\ndef given(): return 6\n"
    )
    f = flow("""
        @task
        def use(gift, given): return gift + given
    """)
    sys.path.insert(0, str(project.root))
    try:
        assert f.value("use", p=["plug"]) == 11
    finally:
        sys.path.remove(str(project.root))
        sys.modules.pop("plug", None)


def test_otherwise_an_argument_is_a_parameter_with_its_default(flow):
    f = flow("""
        @task
        def f(limit: int = 3): return limit
    """)
    assert f.value("f") == 3
    assert f.value("f", params={"limit": 4}) == 4


def test_an_argument_whose_default_is_shadowed_by_a_task_takes_the_task(flow):
    f = flow("""
        @task
        def limit(): return 9
        @task
        def f(limit: int = 3): return limit
    """)
    assert f.value("f") == 9


def test_a_task_known_by_another_name_is_asked_for_by_that(flow):
    f = flow("""
        @task(name="table")
        def make_the_table(): return 1
        @task
        def use(table): return table
    """)
    assert f.value("use") == 1


def test_keyword_only_arguments_are_resolved_like_others(flow):
    f = flow("""
        @task
        def raw(): return 1
        @task
        def use(*, raw, n: int = 2): return raw + n
    """)
    assert f.value("use") == 3


def test_an_argument_with_a_double_leading_underscore_or_unicode_name_is_resolved(flow):
    f = flow("""
        @task
        def größe(): return 1
        @task
        def use(größe): return größe
    """)
    assert f.value("use") == 1


# Everything wrong is found before anything runs


def test_everything_wrong_is_reported_together_and_nothing_runs(flow):
    text = flow("""
        @task
        def first(): Path("ran").touch()
        @task
        def a(*args): pass
        @task
        def b(**kwargs): pass
        @task(retires=3)
        def c(): pass
        @task
        def d(missing): pass
        @task
        def e(): yield 1
    """).refusal()
    for name in ("'a'", "'b'", "'retires'", "'missing'", "'e'"):
        assert name in text


def test_errors_have_all_that_is_wrong(flow):
    f = flow("""
        @task
        def a(*args): pass
        @task
        def b(x, /): pass
    """)
    with pytest.raises(flowkit.FlowError) as caught:
        f.run()
    assert len(caught.value.errors) == 2


@pytest.mark.parametrize(
    ("signature", "named"), [("*args", "args"), ("**kwargs", "kwargs"), ("x, /", "positional")], ids=["args", "kwargs", "pos"]
)
def test_an_argument_that_cannot_be_asked_for_by_name_is_an_error_with_place_and_remedy(flow, signature, named):
    text = flow(f"""
        @task
        def a({signature}): pass
    """).refusal()
    assert "'a'" in text
    assert "m.py:" in text
    assert named in text


@pytest.mark.parametrize("head", ["def", "async def"])
def test_a_generator_under_task_is_an_error_that_names_resource_and_list(flow, head):
    text = flow(f"""
        @task
        {head} a(): yield 1
    """).refusal()
    assert "@resource" in text
    assert "list" in text


def test_a_misspelt_dependency_says_who_asked_where_what_is_visible_and_the_nearest_name(flow):
    text = flow("""
        @task
        def weather(): return 1
        @resource
        def pool(): yield 1
        @task
        def clean(wether, n: int = 1): return 1
    """).refusal()
    assert "'clean'" in text
    assert "m.py:7" in text or "m.py:6" in text
    for visible in ("weather", "pool", "n"):
        assert visible in text
    assert "Did you mean 'weather'?" in text


def test_two_tasks_of_one_name_in_a_module_are_an_error_naming_both_places(flow):
    text = flow("""
        @task
        def a(): return 1
        @task
        def a(): return 2
    """).refusal()
    assert "'a'" in text
    assert "m.py:2" in text or "m.py:3" in text
    assert "m.py:4" in text or "m.py:5" in text


def test_two_tasks_named_alike_by_option_are_an_error(flow):
    text = flow("""
        @task
        def a(): return 1
        @task(name="a")
        def b(): return 2
    """).refusal()
    assert "'a'" in text


def test_a_task_and_a_resource_of_one_name_are_an_error(flow):
    text = flow("""
        @task
        def a(): return 1
        @resource(name="a")
        def b(): return 2
    """).refusal()
    assert "'a'" in text


def test_equal_names_in_two_modules_of_a_folder_are_no_duplicate(flow, project):
    flow("""
        @task
        def a(): return 1
    """, "both/x.py")
    flow("""
        @task
        def a(): return 2
    """, "both/y.py")
    run = project.run("both", executor="inline")
    assert (run["both/x.py::a"], run["both/y.py::a"]) == (1, 2)


@pytest.mark.parametrize("size", [1, 2, 5])
def test_a_cycle_prints_its_path_with_the_place_of_each_step(flow, size):
    tasks = "\n".join(f"@task\ndef t{i}(t{(i + 1) % size}): pass" for i in range(size))
    text = flow("\n" + tasks).refusal()
    assert "cycle" in text
    for i in range(size):
        assert f"t{i}" in text
    assert text.count("m.py:") >= size
    assert "→" in text


@pytest.mark.parametrize(
    "source",
    [
        "@task(needs=['b'])\ndef a(): pass\n@task(needs=['a'])\ndef b(): pass",
        "@task\ndef src(c): return [1]\n@task(each={'x': 'src'})\ndef m(x): pass\n@task\ndef c(m: Collected[int]): pass",
        "@task(fallback='f')\ndef a(): pass\n@task\ndef f(a): pass",
    ],
    ids=["needs", "collector", "fallback"],
)
def test_a_cycle_through_needs_a_collector_or_a_fallback_is_a_cycle(flow, source):
    assert "cycle" in flow("\n" + source).refusal()


def test_a_cycle_of_resources_is_an_error(flow):
    text = flow("""
        @resource
        def a(b): yield 1
        @resource
        def b(a): yield 1
        @task
        def t(a): pass
    """).refusal()
    assert "cycle" in text
    assert text.count("m.py:") >= 2


def test_classes_that_cannot_fit_are_an_error_showing_both(flow):
    text = flow("""
        @task
        def raw() -> dict: return {}
        @task
        def clean(raw: str): return raw
    """).refusal()
    assert "dict" in text
    assert "str" in text
    assert "'clean'" in text


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("int", "float"), ("bool", "int"), ("bool", "float"), ("int", "complex"), ("int", "object"), ("int", "Any"),
        ("list", "Sequence"), ("list[int]", "list[str]"), ("int", "int | str"), ("Base", "Sub"), ("Sub", "Base"),
        ("dict", "Proto"), ("int", "Shape"), ("T", "str"), ("None", "None"), ("int | None", "int"),
    ],
)  # fmt: skip
def test_classes_that_may_fit_are_no_error(flow, given, wanted):
    flow(f"""
        import abc
        T = TypeVar("T")
        class Base: pass
        class Sub(Base): pass
        class Proto(Protocol):
            def keys(self): ...
        class Shape(abc.ABC): pass
        @task
        def raw() -> {given}: return None
        @task
        def clean(raw: {wanted}): return raw
    """).run()


def test_an_annotation_for_type_checkers_only_is_a_plain_value_on_a_task_argument(flow):
    f = flow("""
        if TYPE_CHECKING:
            from nowhere import Frame
        @task
        def raw(): return 1
        @task
        def clean(raw: "Frame"): return raw
    """)
    assert f.value("clean") == 1


def test_an_annotation_for_type_checkers_only_still_names_an_outcome(flow):
    f = flow("""
        @task
        def raw(): return 1
        @task
        def clean(raw: "Outcome[Frame]"): return type(raw).__name__
    """)
    assert f.value("clean") == "Success"


def test_an_annotation_that_cannot_be_evaluated_is_an_error_on_a_parameter(flow):
    text = flow("""
        @task
        def f(n: "Frame"): return n
    """).refusal(params={"n": 1})
    assert "Frame" in text
    assert "'n'" in text


def test_annotations_that_are_text_work(project):
    project.write(
        "m.py",
        """
        from __future__ import annotations
        from flowkit import Outcome, task
        @task
        def raw(n: int = 1) -> int: return n
        @task
        def use(raw: Outcome[int]) -> str: return type(raw).__name__ + repr(raw.value)
        """,
    )
    assert project.run("m.py", params={"n": "2"}, executor="inline")["use"] == "Success2"


# needs


def test_needs_adds_an_ordering_edge_without_a_value(flow):
    f = flow("""
        seen = []
        @task(needs=["other"])
        def first(): seen.append("first"); return list(seen)
        @task
        def other(): seen.append("other")
    """)
    assert f.value("first") == ["other", "first"]


def test_a_need_that_leads_nowhere_is_an_error_with_the_nearest_name(flow):
    text = flow("""
        @task
        def other(): pass
        @task(needs=["othr"])
        def first(): pass
    """).refusal()
    assert "'othr'" in text
    assert "'other'" in text


def test_a_misspelt_fallback_is_an_error_with_the_nearest_name(flow):
    text = flow("""
        @task
        def plan_b(): pass
        @task(fallback="plan_c")
        def first(): pass
    """).refusal()
    assert "'plan_c'" in text
    assert "'plan_b'" in text


# Flows


@pytest.mark.parametrize("name", ["flowconf.py", "_private.py", "test_it.py"])
def test_a_folder_is_searched_but_not_for_flowconf_private_and_test_files(flow, project, name):
    flow("""
        @task
        def good(): return 1
    """, "sub/good.py")
    project.write(f"sub/{name}", "from flowkit import task\n@task\ndef bad(): raise RuntimeError\n")
    assert project.run("sub", executor="inline").report.counts == {"ran": 1}


def test_a_flow_file_may_import_what_lies_beside_it(flow, project):
    project.write("sub/helpers_beside.py", "x = 5\n")
    f = flow("""
        from helpers_beside import x
        @task
        def a(): return x
    """, "sub/m.py")
    assert f.value("a") == 5


def test_a_task_may_import_what_lies_beside_its_flow_when_it_runs(flow, project):
    project.write("sub/helpers_later.py", "x = 5\n")
    f = flow("""
        @task
        def a():
            import helpers_later
            return helpers_later.x
    """, "sub/m.py")
    assert f.value("a") == 5


def test_two_flows_with_a_different_utils_each_are_not_confused(flow, project):
    text = """
        import utils
        @task
        def a(): return utils.x
    """
    for folder in ("one", "two"):
        project.write(f"{folder}/utils.py", f"x = {folder!r}\n")
        flow(text, f"{folder}/m.py")
    run = project.run("one/m.py", "two/m.py", executor="inline")
    assert (run["one/m.py::a"], run["two/m.py::a"]) == ("one", "two")


NAMED = "from dataclasses import dataclass\n@dataclass\nclass Named:\n    name: str = {!r}\n"
LATE = """
    @task
    def a():
        import utils
        return utils.Named().name
"""


def two_folders(flow, project, text):
    for folder in ("one", "two"):
        project.write(f"{folder}/utils.py", NAMED.format(folder))
        flow(text, f"{folder}/m.py")


@pytest.mark.parametrize("top", ["", "import utils"])
def test_an_import_inside_a_task_that_could_mean_two_modules_is_an_error_that_names_both(flow, project, top):
    two_folders(flow, project, f"\n    {top}{LATE}")
    run = project.run("one/m.py", "two/m.py")
    for node in run.report.nodes:
        assert node.word == "failed"
        assert "one/utils.py" in str(node.error)
        assert "two/utils.py" in str(node.error)
    assert [project.run(f"{folder}/m.py")["a"] for folder in ("one", "two")] == ["one", "two"]


def test_values_of_a_class_that_two_folders_have_are_not_mistaken_for_each_other(flow, project):
    two_folders(flow, project, """
        import utils
        @task
        def a(): return utils.Named()
        @task(cache=False)
        def b(a): return a.name
    """)
    for folder in ("one", "two"):
        project.run(f"{folder}/m.py")
    for _ in range(2):
        run = project.run("one/m.py", "two/m.py")
        assert (run["one/m.py::b"], run["two/m.py::b"]) == ("one", "two")


def test_a_run_within_a_task_has_its_own_modules(flow, project):
    project.write("two/utils.py", NAMED.format("two"))
    flow("""
        import utils
        @task
        def a(): return utils.Named().name
    """, "two/n.py")
    project.write("one/utils.py", NAMED.format("one"))
    f = flow("""
        import flowkit
        @task(cache=False)
        def a():
            inner = flowkit.run("two/n.py", executor="inline")["a"]
            import utils
            return inner, utils.Named().name
    """, "one/m.py")
    assert f.value("a") == ("two", "one")


FACTORY = """
    def make(n):
        @task(name=n)
        def load(): return n
        return load
"""


@pytest.mark.parametrize(
    "made",
    [
        'loaders = [make("a"), make("b")]', 'for n in "ab": load = make(n)', 'make("a"); make("b")',
        'loaders = {n: make(n) for n in "ab"}', 'a = make("a"); rest = [make("b")]',
    ],
)  # fmt: skip
def test_a_task_that_no_name_leads_to_is_a_task(flow, project, made):
    f = flow(f"{FACTORY}\n    {made}\n    @task\n    def both(a, b): return a + b\n")
    assert f.value("both") == "ab"
    assert "collected 3 tasks" in project.flowkit("run", "m.py").out
    project.write("n.py", "from m import both\nimport flowkit\n")
    assert project.run(".")["both"] == "ab"


def test_tasks_that_another_modules_factory_made_belong_to_neither_by_chance(flow, project):
    project.write("factory.py", "from flowkit import task\n" + textwrap.dedent(FACTORY))
    flow("""
        from factory import make
        make("c")
        @task
        def a(): return 1
    """, "a.py")
    assert {n.node for n in project.run(".").report.nodes} == {"a"}


@pytest.mark.parametrize("made", ["loaders = [make(1), make(2)]", "load = make(1); others = [make(2)]"])
def test_two_unnamed_tasks_of_one_name_are_an_error(flow, made):
    said = flow(f"""
        def make(n):
            @task
            def load(): return n
            return load
        {made}
    """).refusal()
    assert "two definitions of 'load'" in said
    assert "@task(name=...)" in said


def test_tasks_of_one_function_name_under_names_of_their_own_are_fine(flow):
    f = flow("""
        def make(n):
            @task
            def load(): return n
            return load
        one, two = make(1), make(2)
        @task
        def both(one, two): return one + two
    """)
    assert f.value("both") == 3


def test_a_decorator_that_passes_the_mark_on_replaces_the_task(flow):
    f = flow("""
        import functools
        def twice(f):
            @functools.wraps(f)
            def call(): return 2 * f()
            return call
        @twice
        @task
        def a(): return 4
    """)
    assert f.value("a") == 8


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("class Flows:\n    @task\n    def lost(self): return 1\n", "in class `Flows`"),
        ("def over(f): return lambda: f()\n@over\n@task\ndef lost(): return 1\n", "functools.wraps"),
    ],
)
def test_a_task_that_is_left_out_is_told_of(flow, project, source, said):
    flow(f"\n{source}@task\ndef a(): return 1\n")
    out = project.flowkit("run", "m.py").out
    assert "1 ran" in out
    assert "task `lost` (m.py:" in out
    assert said in out


def test_a_flowconf_that_is_run_itself_is_not_above_itself(flow, project):
    flow("""
        @task
        def base(): return 1
    """, "flowconf.py")
    f = flow("""
        @task
        def base(base): return base + 1
        from flowkit import hookimpl
        @hookimpl
        def flowkit_run_ended(report):
            with open("told", "a") as file:
                file.write("once")
    """, "sub/flowconf.py")
    assert f.value("base") == 2
    assert project.read("told") == "once"


def test_a_flow_that_its_package_imports_is_executed_once(flow, project):
    f = flow("""
        @task
        def a(): return 1
    """, "pack/flow_of_it.py")
    for text in ("from .flow_of_it import a\n", "from . import flow_of_it\n"):
        project.write("pack/__init__.py", text)
        for target in ("pack/flow_of_it.py", "pack", ".", "pack.flow_of_it"):
            assert project.flowkit("run", target).exit_code == 0, target
        assert project.run("pack/flow_of_it.py", "pack")["a"] == 1
    assert f.value("a") == 1


def test_two_definitions_in_a_module_that_another_imports_are_an_error(flow, project):
    flow("""
        @task
        def a(): return 1
        @task
        def a(): return 2
    """, "b.py")
    f = flow("""
        import b
        @task
        def c(): return 1
    """, "a.py")
    assert f.value("c") == 1
    assert "two definitions of 'a'" in project.flowkit("run", ".").err


def test_a_module_of_a_package_is_imported_as_part_of_it(flow, project):
    project.write("pack/__init__.py")
    project.write("pack/base.py", "x = 3\n")
    f = flow("""
        from .base import x
        @task
        def a(): return x
    """, "pack/m.py")
    assert f.value("a") == 3


def test_flows_import_path_leaves_sys_path_and_sys_modules_as_they_were(flow, project):
    project.write("helpers_gone.py", "x = 5\n")
    f = flow("""
        from helpers_gone import x
        @task
        def a(): return x
    """)
    before = list(sys.path)
    f.run()
    assert sys.path == before


def test_many_tasks_in_one_module_are_bound_quickly_and_without_recursion(project):
    chain = "".join(f"@task\ndef t{i}(t{i - 1}): return t{i - 1} + 1\n" for i in range(1, 3000))
    project.write("m.py", "from flowkit import task\n@task\ndef t0(): return 0\n" + chain)
    assert project.run("m.py", executor="inline")["t2999"] == 2999


@pytest.mark.parametrize(
    "override", ["limit=many", "limit=nowhere.py::x", "limit=m.py::nothing", "days=[1, [2]]"], ids=lambda text: text
)
def test_an_override_that_cannot_be_had_is_told_as_it_was_typed(flow, project, override):
    flow("""
        @task
        def limit() -> int: return 1
        @task
        def days() -> list[str]: return []
        @task
        def t(limit, days): pass
    """)
    ended = project.flowkit("run", "m.py", "-O", override)
    assert ended.exit_code == 4
    assert f"-O {override}" in ended.err


# Built-ins


@pytest.mark.parametrize(
    "argument",
    ["log: Any", "run: Any", "log: Optional[logging.Logger]", "scheduled_at: datetime | None", "tmp_path: str | Path",
     "rng: Optional[random.Random]"],
)  # fmt: skip
def test_an_annotation_that_a_built_in_may_fit_takes_it(flow, argument):
    f = flow(f"""
        import logging, random
        from datetime import datetime
        @task
        def a({argument}): return 1
    """)
    assert f.value("a") == 1


@pytest.mark.parametrize("argument", ["log: int | str", "log: Failure", "scheduled_at: Optional[int]", "log: Outcome[int]"])
def test_an_annotation_of_which_no_member_fits_a_built_in_is_refused(flow, argument):
    said = flow(f"@task\ndef a({argument}): pass".replace("@task", "\n@task")).refusal()
    assert f"argument '{argument.partition(':')[0]}' is annotated" in said
    assert "its name is taken" in said


def test_an_override_of_scheduled_at_is_a_datetime_for_everybody(flow, project):
    flow("""
        from datetime import datetime
        @resource
        def clock(scheduled_at): return scheduled_at
        @task
        def a(scheduled_at: datetime, clock): print("a", repr(scheduled_at), scheduled_at == clock)
        @task
        def b(scheduled_at): print("b", repr(scheduled_at))
    """)
    ended = project.flowkit("run", "m.py", "-s", "-n", "1", "-O", "scheduled_at=2024-01-01")
    assert ended.exit_code == 0
    assert "a datetime.datetime(2024, 1, 1, 0, 0) True" in ended.out
    assert "b datetime.datetime(2024, 1, 1, 0, 0)" in ended.out
    ended = project.flowkit("run", "m.py", "-O", "scheduled_at=soon")
    assert ended.exit_code == 4
    assert "-O scheduled_at=soon: does not fit" in ended.err


# A task's own name, and those it provides


def test_a_task_that_asks_for_a_name_it_provides_gets_the_outer_one_and_others_get_its(flow, project):
    project.write("flowconf.py", "from flowkit import task\n@task\ndef p(): return 'conf'\n")
    f = flow("""
        @task(provides=["p", "q"])
        def a(p): return p + "!", 2
        @task
        def u(p, q): return f"{p} {q}"
    """)
    assert f.value("u") == "conf! 2"


def test_a_function_that_stands_in_gets_the_names_of_the_task_that_it_stands_for(flow):
    f = flow("""
        @task(provides=["p", "q"])
        def a(): return 1, 2
        @task
        def u(p, q): return p, q
    """)
    assert f.value("u", override={"a": lambda p: (p + 10, 3)}) == (11, 3)


def test_what_stands_in_for_a_task_of_a_flowconf_provides_what_that_does(flow, project):
    project.write("flowconf.py", "from flowkit import task\n@task(provides=['p', 'q'])\ndef a(): return 1, 2\n")
    f = flow("""
        @task
        def u(p): return p
    """)
    assert f.value("u", override={"a": lambda p: (p + 10, 3)}) == 11
    assert f.value("u", override={"a": (5, 6)}) == 5


def test_the_id_of_an_overridden_task_says_where_it_is_from_below_the_root(flow, project):
    project.write("flowconf.py", "from flowkit import task\n@task\ndef base(): return 1\n")
    project.write("sub/flowconf.py", "from flowkit import task\n@task\ndef base(base): return base + 1\n")
    f = flow("""
        @task
        def base(base): return base + 1
    """, "sub/m.py")
    assert set(f.words()) == {"base@flowconf.py", "base@sub/flowconf.py", "base"}
    assert set(f.words("::base@sub/flowconf.py")) == {"base@flowconf.py", "base@sub/flowconf.py"}


# Overrides


@pytest.mark.parametrize("name", ["run", "log", "unused", "idle"])
def test_an_override_of_a_name_that_nothing_asks_for_is_an_error(flow, project, name):
    project.write("flowconf.py", "from flowkit import task\n@task\ndef unused(): return 1\n")
    f = flow("""
        @resource
        def idle(): return 1
        @task
        def a(n: int = 1): return n
    """)
    said = f.refusal(override={name: 3})
    assert f"override['{name}']: nothing asks for {name!r}" in said
    assert "Take it out." in said


def test_an_override_is_not_called_unused_because_of_what_is_wrong_with_who_asks(flow):
    said = flow("""
        @resource
        def pool(): return 1
        @task(each={"z": [1]})
        def a(pool): pass
    """).refusal(override={"pool": 3})
    assert "each names 'z'" in said
    assert "-O pool" not in said


CALLABLES = """
import functools
K = 2
def add(n, m: "int" = 4): return n + m + K
part = functools.partial(add, 3)
class Adder:
    def __init__(self, n): self.n = n
    def __call__(self, m: "int" = 4): return self.n + m + K
adder = Adder(3)
"""


@pytest.mark.parametrize("name", ["part", "adder"])
def test_a_partial_or_an_object_that_can_be_called_stands_in_as_a_function_does(flow, project, name):
    """Its arguments are resolved, and its code is part of keys."""
    project.write("fakes.py", CALLABLES)
    flow("""
        @task
        def raw(): return 0
        @task
        def use(raw): return raw
    """)

    def ran(*more):
        ended = project.flowkit("run", "m.py", "-v", "-O", f"raw=fakes.py::{name}", *more)
        assert ended.exit_code == 0, ended.err
        return "m.py::raw RAN" in ended.out

    assert ran()
    assert not ran()
    assert ran("-P", "m=5")
    project.write("fakes.py", CALLABLES.replace("K = 2", "K = 20"))
    assert ran()


def test_an_object_that_can_be_called_is_called_for_its_value(flow):
    import functools

    f = flow("""
        @task
        def raw(): return 0
        @task
        def use(raw): return raw
    """)
    assert f.value("use", override={"raw": functools.partial(lambda n, m=4: n + m, 3)}) == 7


@pytest.mark.parametrize("name", ["max", "functools.partial(max, key=len)"])
def test_a_function_that_says_nothing_of_its_arguments_cannot_stand_in(flow, project, name):
    project.write("fakes.py", f"import functools\nfake = {name}\n")
    flow("\n@task\ndef raw(): return 0\n@task\ndef use(raw): return raw")
    ended = project.flowkit("run", "m.py", "-O", "raw=fakes.py::fake")
    assert ended.exit_code == 4
    assert "task 'raw'" in ended.err
    assert "Write a function that calls it." in ended.err


@pytest.mark.parametrize("thing", ["functools.partial(int, 3)", "Thing()", "Thing"])
@pytest.mark.parametrize("kind", ["task", "resource"])
def test_what_has_no_name_to_ask_by_cannot_be_declared(flow, thing, kind):
    said = flow(f"""
        import functools
        class Thing:
            def __call__(self): return 1
        a = {kind}({thing})
    """).refusal()
    assert f"@{kind} over " in said
    assert "m.py:5" in said
    assert "Write a function that calls it" in said


# From


@pytest.mark.parametrize(("name", "remedy"), [("3", "name"), ("raw", "raw"), ("''", "name")])
def test_from_that_gives_no_name_is_an_error(flow, name, remedy):
    said = flow(f"""
        @task
        def raw(): return 0
        @task
        def use(x: Annotated[int, From({name})]): return x
        @resource
        def pool(y: Annotated[int, From({name})]): return y
    """).refusal()
    assert "task 'use' (m.py:4), argument 'x': From(" in said
    assert "resource 'pool' (m.py:6), argument 'y': From(" in said
    assert f'Write it as text: From("{remedy}")' in said


# Cycles


def test_all_cycles_are_told_each_once(flow):
    said = flow("""
        @task
        def a(b): pass
        @task
        def b(a): pass
        @task
        def c(d): pass
        @task
        def d(c): pass
        @resource
        def r1(r2): pass
        @resource
        def r2(r1): pass
        @task
        def e(r2, r1): pass
    """).refusal()
    assert said.count("a cycle: ") == 3
    for path in ("a → b → a", "c → d → c", "r1 → r2 → r1"):
        assert f"a cycle: {path}\n" in said


def test_one_wrong_argument_is_one_cycle(flow):
    steps = "".join(f"\n@task\ndef t{i}(start): pass" for i in range(20))
    names = ", ".join(f"t{i}" for i in range(20))
    said = flow(f"\n@task\ndef start(end): pass{steps}\n@task\ndef end({names}): pass").refusal()
    assert said.count("a cycle: ") == 1


def test_all_cycles_by_way_of_a_fallback_are_told(flow):
    said = flow("""
        @task(fallback="f1")
        def a1(): pass
        @task
        def f1(a1): pass
        @task(fallback="f2")
        def a2(): pass
        @task
        def f2(a2): pass
    """).refusal()
    assert said.count("a cycle: ") == 2


# What fits


@pytest.mark.parametrize(
    "wanted",
    ["Table", "dict", "Odd", "Shape", "Number", "type[int]", "list[int]", "Literal[1]", "Callable[[int], int]", "Any",
     "Optional[Table]", "'Later'", "Stand"],
)  # fmt: skip
def test_special_forms_are_not_taken_for_plain_classes(flow, wanted):
    f = flow(f"""
        class Table(TypedDict):
            a: int
        class Shape(Protocol):
            def m(self): ...
        class Meta(type):
            def __subclasscheck__(cls, other): raise ValueError("not to be asked")
        class Odd(metaclass=Meta): pass
        class Stand(Any): pass
        Number = NewType("Number", int)
        @task
        def up() -> dict: return {{}}
        @task
        def table() -> Table: return {{}}
        @task
        def down(up: {wanted}, table: {wanted}): return 1
        Later = dict
    """)
    assert f.value("down") == 1


@pytest.mark.parametrize("wanted", ["str", "Mode"])
def test_a_typed_dict_is_a_dict(flow, wanted):
    said = flow(f"""
        import enum
        class Mode(enum.Flag):
            A = 1
        class Table(TypedDict):
            a: int
        @task
        def up() -> Table: return {{}}
        @task
        def down(up: {wanted}): return 1
    """).refusal()
    assert f"wants 'up' as {wanted}, but 'up' gives Table" in said
