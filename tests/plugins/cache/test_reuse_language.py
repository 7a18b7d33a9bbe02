"""Reuse as the language says it (section 8) and rulings D, E and P decide it: sentence by sentence."""

import json
import os
import time
from datetime import UTC, datetime, timedelta

import pytest
from reuse_flows import Clock, counted_loads

import flowkit


CHAIN = """
    import helpers

    @task
    def raw(since: str = "2024-01-01"): return [" a ", "b"]

    @task
    def clean(raw): return [helpers.tidy(text) for text in raw]

    @task
    def count(clean): return len(clean)
"""
HELPERS = '''"""Helpers."""

LIMIT = 10
UNUSED = 1


class Shape:
    width = 3

    def area(self): return self.width * 2


def clean_name(name):
    return name.strip()[:LIMIT]


def tidy(name):
    return clean_name(name) + str(Shape().area())


def unused(): return 1
'''


@pytest.fixture
def chain(flow):
    """raw → clean → count, where ``clean`` reaches into a module beside it; run once."""
    flow.write(CHAIN).write(HELPERS, "helpers.py")
    assert flow.words() == {"raw": "ran", "clean": "ran", "count": "ran"}
    return flow


# --- on by default, and while nothing it depends on changed ---------------------------------------


def test_the_second_run_reuses_everything(chain):
    assert chain.words() == {"raw": "cached", "clean": "cached", "count": "cached"}


def test_a_first_run_says_that_there_is_no_record(flow):
    flow.write("@task\ndef a(): return 1")
    assert flow.reason("a") == "no record"


def test_a_reused_value_is_the_value(chain):
    before = chain.run()["clean"]
    assert chain.run()["clean"] == before == ["a6", "b6"]


# --- code -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param("def clean_name(name):", "def clean_name(name):  # of people", id="a comment"),
        pytest.param("def clean_name(name):", 'def clean_name(name):\n    """Clean."""', id="a docstring"),
        pytest.param("name.strip()[:LIMIT]", "name . strip( ) [ : LIMIT ]", id="formatting"),
        pytest.param("UNUSED = 1", "UNUSED = 2", id="a constant that nobody uses"),
        pytest.param("def unused(): return 1", "def unused(): return 2", id="a function that nobody uses"),
        pytest.param('"""Helpers."""', '"""Helping."""\n\n\n', id="the module's docstring, and lines moved"),
    ],
)
def test_what_does_not_count_in_helpers(chain, old, new):
    chain.edit(old, new, "helpers.py")
    assert chain.ran() == []


@pytest.mark.parametrize(
    ("defined", "old", "new"),
    [
        ("def helper(x): return x + 1\nI = Annotated[int, AfterValidator(helper)]", "x + 1", "x + 2"),
        ("I = Annotated[int, AfterValidator(lambda x: x + 1)]", "x + 1", "x + 2"),
        ("LEAST = 1\ndef helper(x): return x + LEAST\nI = Annotated[int, AfterValidator(helper)]", "LEAST = 1", "LEAST = 2"),
        ("I = Annotated[int, Field(multiple_of=1)]", "multiple_of=1", "multiple_of=2"),
    ],
)
@pytest.mark.parametrize("used", ["class D(BaseModel):\n    a: I\n@task\ndef t(): return D(a=2).a", "@task\ndef t(): return TypeAdapter(I).validate_python(2)",
                                  "TA = TypeAdapter(list[I])\n@task\ndef t(): return TA.validate_python([2])"])  # fmt: skip
def test_a_validator_in_an_alias_counts(flow, defined, old, new, used):
    flow.write(f"from pydantic import AfterValidator, BaseModel, Field, TypeAdapter\n{defined}\n{used}\n")
    flow.run()
    assert flow.ran() == []
    flow.edit(old, new)
    assert flow.ran() == ["t"]


@pytest.mark.parametrize(
    "constant",
    [
        "{Path('a'), Path('b'), Path('c'), Path('d')}",
        "frozenset({PurePath('a'), PurePath('b/c'), PurePath('d')})",
        "TypeAdapter(list[E])",
        "TypeAdapter(E)",
    ],
)
def test_a_constant_is_the_same_in_every_process(flow, project, constant):
    flow.write(f"from pathlib import PurePath\nfrom pydantic import BaseModel, TypeAdapter\nclass E(BaseModel):\n    x: int = 5\nX = {constant}\n"
               "def helper(): return str(type(X))\n@task\ndef t(): return helper()\n")  # fmt: skip
    for seed in ("1", "2", "3"):
        done = project.flowkit("run", "m.py", "-v", env={"PYTHONHASHSEED": seed})
        assert ("no record" if seed == "1" else "CACHED") in done.out


def test_a_file_that_another_of_its_size_and_time_took_the_place_of_is_read_again(flow):
    flow.write("@task\ndef t(source: Path = Path('data.txt')): return source.read_text()")
    data = flow.root / "data.txt"
    for text in ("one", "two"):
        data.write_text(text)
        os.utime(data, (1_000_000_000, 1_000_000_000))
        assert flow.value("t") == text
        assert flow.ran() == []


REGISTRIES = {
    "a registry that a decorator fills": ("class A:\n    H = {}\n    @classmethod\n    def reg(cls, f): cls.H[f.__name__] = f; return f\n@A.reg\ndef one(): return 1", "A.H['one']()"),
    "a registry of subclasses": ("class P:\n    subs = []\n    def __init_subclass__(cls): P.subs.append(cls)\nclass B(P):\n    k = 1", "P.subs[0].k"),
    "a class out of a function": ("def make(n):\n    class A:\n        x = n\n    return A\nA = make(1)", "A.x"),
}  # fmt: skip


@pytest.mark.parametrize(("defined", "used"), REGISTRIES.values(), ids=REGISTRIES)
def test_what_was_written_into_a_class_counts(flow, defined, used):
    flow.write(f"{defined}\n@task\ndef t(): return {used}\n")
    assert flow.value("t") == 1
    assert flow.ran() == []
    text = flow.project.read("m.py")
    flow.project.write("m.py", "2".join(text.rsplit("1", 1)))
    assert flow.value("t") == 2
    assert flow.ran() == []


def test_a_hint_of_a_local_name_does_not_count(flow):
    flow.write("@task\ndef t():\n    r = 1\n    return r\n")
    flow.run()
    flow.edit("r = 1", "r: int = 1")
    assert flow.ran() == []


def test_code_that_leads_back_through_constants_counts(flow):
    """Neither constant can be looked into: what they hold is met while they are digested."""
    flow.write("""
        from collections import deque
        class A:
            def near(self): return 1
            def back(self): return len(RA)
        class B:
            def near(self): return RB[0].near()
        RA = deque([B()]); RB = deque([A()])
        @task
        def make_b() -> B: return B()
        @task
        def use(make_b) -> int: return make_b.near()
        @task
        def beside(): return RA[0].near()
    """)
    assert flow.value("use") == 1
    assert flow.ran() == []
    flow.edit("def near(self): return 1", "def near(self): return 2")
    assert flow.value("use") == flow.last["beside"] == 2
    assert flow.ran() == []
    assert flow.ran("m.py::beside") == []


def test_what_a_class_counts_while_tasks_run_does_not_count(flow, project):
    flow.write("""
        class Client:
            calls = 0
            seen = {}
            def get(self, k):
                Client.calls += 1
                Client.seen[k] = self
                return k * 2
        @task
        def a() -> int: return Client().get(2)
        @task
        def c(): return Client()
        @task
        def uc(c) -> int: return c.get(3)
    """)
    flow.run()
    import m

    for _ in range(2):
        assert {n.word for n in project.run(m, executor="inline").report.nodes} == {"cached"}


def test_many_functions_that_reach_the_same_cost_little_more(flow):
    """Each closure is another function: what they reach is gone through once."""
    helpers = "".join(f"def h{i}(x): return h{i - 1}(x)\n" for i in range(1, 300))
    flow.write(f"def h0(x): return x\n{helpers}@task(each={{'x': list(range(500))}})\ndef t(x):\n    def f(): return h299(x)\n    return [f]\n")
    begun = time.process_time()
    flow.run()
    assert time.process_time() - begun < 20  # it took 4 s, and 90 when each was followed


def test_a_skip_by_a_resource_is_not_kept(flow):
    flow.write("""
        @resource
        def db():
            if not Path("there").exists(): skip("no db")
        @task
        def t(db): return 1
        @task(cache=False)
        def u(db): return 1
    """)
    for _ in range(2):
        assert flow.words() == {"t": "skipped", "u": "skipped"}
        assert flow.last.outcomes["t"].reason == "no db"
    (flow.root / "there").touch()
    assert flow.words() == {"t": "ran", "u": "ran"}


CARRIED = {
    "a dataclass's method": ("from dataclasses import dataclass\n@dataclass\nclass A:\n    x: int = 2\n    def f(self): return self.x * 1", "A()", "x.f()"),
    "a plain class's method": ("class A:\n    def f(self): return 1", "A()", "x.f()"),
    "a class attribute": ("class A:\n    k = 1", "A()", "x.k"),
    "a property that calls a helper": ("def helper(): return 1\nclass A:\n    @property\n    def p(self): return helper()", "A()", "x.p"),
    "what is inherited": ("class B:\n    def f(self): return 1\nclass A(B): ...", "A()", "x.f()"),
    "a model": ("from pydantic import BaseModel\nclass A(BaseModel):\n    def f(self): return 1", "A()", "x.f()"),
    "a list": ("class A(list):\n    def f(self): return 1", "A([3])", "x.f()"),
    "a text": ("class A(str):\n    def f(self): return 1", "A('s')", "x.f()"),
    "a set": ("class A(set):\n    def f(self): return 1", "A({3})", "x.f()"),
    "a named tuple": ("class A(NamedTuple):\n    x: int = 2\n    def f(self): return 1", "A()", "x.f()"),
    "an enum": ("import enum\nclass A(enum.Enum):\n    RED = 'red'\n    def f(self): return 1", "A.RED", "x.f()"),
    "a number that is an enum": ("import enum\nclass A(enum.IntEnum):\n    RED = 2\n    def f(self): return 1", "A.RED", "x.f()"),
    "an exception": ("class A(Exception):\n    def f(self): return 1", "A('e')", "x.f()"),
    "a class": ("class A:\n    def f(): return 1", "A", "x.f()"),
    "a function": ("def helper(): return 1\ndef f(): return helper()", "f", "x()"),
    "in a list": ("class A:\n    def f(self): return 1", "[A()]", "x[0].f()"),
    "in a dict": ("class A:\n    def f(self): return 1", "{'a': (A(),)}", "x['a'][0].f()"),
    "in a cycle": ("class A:\n    def f(self): return 1\ndef make():\n    a = A()\n    a.me = a\n    return a", "make()", "x.me.f()"),
    "behind lru_cache": ("import functools\n@functools.lru_cache\ndef f(): return 1", "[f]", "x[0]()"),
    "behind contextmanager": ("import contextlib\n@contextlib.contextmanager\ndef f(): yield 1", "[f]", "x[0]().__enter__()"),
    "behind singledispatch": ("import functools\n@functools.singledispatch\ndef f(n): return 1", "[f]", "x[0](3)"),
    "a table": ("import pandas\nclass A(pandas.DataFrame):\n    def f(self): return 1", "A({'a': [3]})", "x.f()"),
    "a column": ("import pandas\nclass A(pandas.Series):\n    def f(self): return 1", "A([3])", "x.f()"),
    "a table of polars": ("import polars\nclass A(polars.DataFrame):\n    def f(self): return 1", "A({'a': [3]})", "x.f()"),
    "with a digest of its own": ("class A:\n    def __flowkit_digest__(self): return 3\n    def f(self): return 1", "A()", "x.f()"),
}  # fmt: skip


@pytest.mark.parametrize(("defined", "made", "used"), CARRIED.values(), ids=CARRIED)
@pytest.mark.parametrize("how", ["a value", "passed on", "a default", "a literal source"])
def test_the_code_of_what_a_task_receives_counts(flow, defined, made, used, how):
    flows = {
        "a value": f"@task\ndef give(): return {made}\n@task\ndef use(give):\n    x = give\n    return {used}",
        "passed on": f"@task\ndef make_it(): return {made}\n@task\ndef give(make_it): return make_it\n@task\ndef use(give):\n    x = give\n    return {used}",
        "a default": f"@task\ndef use(give: Any = {made}):\n    x = give\n    return {used}",
        "a literal source": f"@task(each={{'x': [{made}]}})\ndef use(x):\n    return {used}",
    }
    flow.write(f"{defined}\n{flows[how]}\n")
    name = "use" if how != "a literal source" else flow.run().report.nodes[-1].node
    before = flow.value(name)
    assert flow.ran() == []
    changed = defined.replace(" 1", " 5") if "* 1" not in defined else defined.replace("* 1", "* 5")
    flow.edit(defined, changed)
    after = flow.value(name)
    assert after != before
    assert after == flow.value(name, no_cache=True)
    assert flow.ran() == []
    flow.edit(changed, changed.replace("class A", "# a comment\nclass A"))
    assert flow.ran() == []


@pytest.mark.parametrize(
    ("kind", "imported", "decorator"),
    [
        ("task", "from pydantic import validate_call", "validate_call"),
        ("task", "from typing_extensions import deprecated", "deprecated('old')"),
        ("task", "import click", "click.option('-n')"),
        ("task", "import contextlib\n\n@contextlib.contextmanager\ndef timer(): yield", "timer()"),
        ("task", "import contextlib\nclass Timer(contextlib.ContextDecorator):\n    def __enter__(self): ...\n    def __exit__(self, *a): ...", "Timer()"),
        ("task", "import functools", "functools.lru_cache"),
        ("resource", "import contextlib", "contextlib.contextmanager"),
        ("resource", "import contextlib", "contextlib.asynccontextmanager"),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:old:DeprecationWarning")
def test_a_decorator_of_somebody_elses_below_ours_is_looked_through(flow, kind, imported, decorator):
    begin = "async def" if "async" in decorator else "def"
    end = "yield" if kind == "resource" else "return"
    flow.write(f"{imported}\n@{kind}\n@{decorator}\n{begin} under(x: int = 4): {end} x\n@task\ndef above(under): return str(type(under))\n")
    flow.run()
    assert flow.ran() == []
    flow.edit(f"{end} x", f"{end} x + 1")
    assert "above" in flow.ran() or "under" in flow.ran()
    assert flow.ran() == []


def test_a_comment_or_a_docstring_in_the_task_does_not_count(chain):
    chain.edit("def count(clean): return len(clean)", 'def count(clean):\n    """How many."""\n    # all\n    return len(clean)')
    assert chain.ran() == []


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("name.strip()[:LIMIT]", "name.rstrip()[:LIMIT]", "code of `clean_name` (helpers.py:13) changed"),
        ("LIMIT = 10", "LIMIT = 11", "constant `LIMIT` changed"),
        ("width = 3", "width = 4", "code of `Shape` (helpers.py:7) changed"),
        ("self.width * 2", "self.width + 2", "code of `Shape` (helpers.py:7) changed"),
    ],
    ids=["a helper two calls away", "a constant of the helper", "a class attribute", "a method"],
)
def test_a_change_in_reached_code_runs_its_user_and_says_so(chain, old, new, reason):
    chain.edit(old, new, "helpers.py")
    plan = chain.plan()
    assert plan["raw"][0] == "c"
    assert plan["clean"] == (">", reason)
    report = chain.run().report
    assert {n.node: n.word for n in report.nodes}["raw"] == "cached"
    assert report.named("clean").reason == reason


def test_a_change_of_the_tasks_own_code_says_so(chain):
    chain.edit("return len(clean)", "return len(clean) + 0")
    assert chain.reason("count") == "code of `count` changed"


def test_going_back_to_an_earlier_version_of_the_code_is_warm(chain):
    chain.edit("LIMIT = 10", "LIMIT = 1", "helpers.py")
    assert chain.ran() == ["clean"]
    chain.edit("LIMIT = 1\n", "LIMIT = 10\n", "helpers.py")
    assert chain.ran() == []
    assert chain.last["clean"] == ["a6", "b6"]


def test_moving_the_file_is_warm(chain):
    (chain.root / "deep").mkdir()
    for name in ("m.py", "helpers.py"):
        (chain.root / name).rename(chain.root / "deep" / name)
    assert chain.ran("deep/m.py") == []


def test_third_party_versions_count_only_where_it_is_said(chain, monkeypatch):
    from flowkit_plugins.cache import keeping

    versions = ["numpy 1"]
    monkeypatch.setattr(keeping, "environment", lambda: versions[0])
    assert chain.ran() == []
    monkeypatch.setenv("FLOWKIT_CACHE_ENVIRONMENT", "true")
    assert chain.ran() == ["clean", "count", "raw"]
    assert chain.ran() == []
    versions[0] = "numpy 2"
    assert chain.ran() == ["clean", "count", "raw"]


def test_an_override_functions_code_counts(flow):
    flow.write("@task\ndef a(): return 1\n\n@task\ndef b(a): return a + 1")
    flow.project.write("fakes.py", "def a(): return 10\n")
    from flowkit.session import Session
    from flowkit.parameters import Sources

    def run():
        session = Session(["m.py"])
        try:
            session.configure({"executor": "inline"})
            done = session.execute(params=session.prepare(Sources(), None, ["a=fakes.py::a"]))
            return done["b"], {n.node: n.word for n in done.report.nodes}
        finally:
            session.close()

    assert run() == (11, {"a": "ran", "b": "ran"})
    assert run() == (11, {"a": "cached", "b": "cached"})
    flow.edit("10", "20", "fakes.py")
    assert run() == (21, {"a": "ran", "b": "ran"})
    assert flow.value("b") == 2


def test_an_override_by_a_value_counts_by_the_value(flow):
    flow.write("@task\ndef a(): return 1\n\n@task\ndef b(a): return a + 1")
    assert flow.value("b", override={"a": 5}) == 6
    assert flow.words(override={"a": 5}) == {"b": "cached"}
    assert flow.words(override={"a": 6}) == {"b": "ran"}
    assert flow.words(override={"a": 5}) == {"b": "cached"}


# --- parameters -----------------------------------------------------------------------------------


def test_a_changed_parameter_runs_who_takes_it_and_says_so(chain):
    assert chain.reason("raw", params={"since": "2024-02-01"}) == "parameter `since` changed: 2024-01-01 → 2024-02-01"


def test_early_cut_off_leaves_everything_below_reused(chain):
    assert chain.words(params={"since": "2024-02-01"}) == {"raw": "same", "clean": "cached", "count": "cached"}


def test_a_changed_upstream_is_named(chain):
    chain.edit('return [" a ", "b"]', 'return [" a ", "b", "c"]')
    report = chain.run().report
    assert report.named("clean").reason == "upstream `raw` changed"


def test_a_default_is_an_input_and_parameters_that_are_not_named_never_count(flow):
    flow.write("@task\ndef a(n: int = 1): return n\n\n@task\ndef b(k: int = 1): return k")
    flow.run()
    assert flow.words(params={"k": 2}) == {"a": "cached", "b": "ran"}
    flow.edit("n: int = 1", "n: int = 7")
    assert flow.words(params={"n": 1}) == {"a": "cached", "b": "cached"}


def test_hints_count_only_through_what_arrives(flow):
    flow.write("@task\ndef a() -> int: return 1\n\n@task\ndef b(a: int, n: int = 1) -> float: return a")
    flow.run()
    flow.edit("-> float: return a", ": return a").edit("def b(a: int,", "def b(a,")
    assert flow.ran() == []
    flow.edit("n: int = 1", "n: float = 1")
    flow.run(params={"n": 1})
    assert flow.ran(params={"n": 1}) == []
    flow.edit("n: float = 1", "n: str = '1'")
    assert flow.words(params={"n": "1"}) == {"a": "cached", "b": "same"}


def test_a_model_as_a_parameter_counts_by_content(flow):
    flow.write("""
        from dataclasses import dataclass
        @dataclass
        class Box:
            side: int = 1
        @task
        def area(box: Box): return box.side ** 2
    """)
    assert flow.value("area", params={"box": {"side": 2}}) == 4
    assert flow.words(params={"box": {"side": 2}}) == {"area": "cached"}
    assert flow.words(params={"box": {"side": 3}}) == {"area": "ran"}


def test_which_fields_of_a_model_were_given_counts(flow):
    """A task that changes only what was given, given the default: the result of the empty change was reused."""
    flow.write("""
        from pydantic import BaseModel
        class Patch(BaseModel):
            a: int = 1
            b: int = 2
        @task
        def patch(p: Patch = Patch()): return p.model_dump(exclude_unset=True)
        @task
        def made(): return [Patch()]
        @task
        def used(made): return made[0].model_dump(exclude_unset=True)
        NONE = Patch()
        @task
        def kept(): return NONE.model_dump(exclude_unset=True)
    """)
    assert (flow.value("patch"), flow.value("used"), flow.value("kept")) == ({}, {}, {})
    assert flow.value("patch", params={"p": {"a": 1}}) == {"a": 1}
    flow.edit("return [Patch()]", "return [Patch(a=1)]")
    assert flow.value("used") == {"a": 1}
    flow.edit("NONE = Patch()", "NONE = Patch(b=2)")
    assert flow.value("kept") == {"b": 2}
    assert set(flow.words().values()) == {"cached"}


# --- options --------------------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["retries=2", "timeout='30s'", "tags=['x']", "limit=1", "version=None"])
def test_options_that_say_nothing_about_the_result_do_not_count(flow, option):
    if option == "version=None":
        option = "allow_failure=True"
    flow.write("@task\ndef a(): return 1")
    flow.run()
    flow.edit("@task\n", f"@task({option})\n")
    assert flow.ran() == []


def test_version_invalidates_by_hand(flow):
    flow.write("@task(version=1)\ndef a(): return 1")
    assert flow.ran() == ["a"]
    assert flow.ran() == []
    flow.edit("version=1", "version=2")
    assert flow.reason("a") == "`version` changed: 1 → 2"
    flow.edit("version=2", "version=1")
    assert flow.ran() == []


def test_a_changed_salt_starts_afresh(flow):
    flow.write("@task(cache={'salt': 'x'})\ndef a(): return 1")
    assert [flow.ran(), flow.ran()] == [["a"], []]
    flow.edit("'salt': 'x'", "'salt': 'y'")
    assert flow.reason("a") == "`salt` changed"
    assert flow.ran() == []


def test_cache_false_always_runs(flow):
    flow.write("@task(cache=False)\ndef a(): return 1\n\n@task\ndef b(a): return a")
    flow.run()
    assert flow.words() == {"a": "same", "b": "cached"}
    assert flow.reason("a") == "cache=False"


def test_a_cache_false_upstream_runs_though_its_user_is_reused_and_alone_selected(flow):
    flow.write("@task(cache=False)\ndef a(): return 1\n\n@task\ndef b(a): return a")
    flow.run("m.py::b")
    assert flow.words("m.py::b") == {"a": "same", "b": "cached"}


def test_the_name_counts(flow):
    flow.write("@task\ndef a(): return 1")
    flow.run()
    flow.edit("def a", "def z")
    assert flow.words() == {"z": "ran"}


def test_two_flows_with_one_name_and_body_share(flow):
    flow.write("@task\ndef a(): return 1")
    flow.run()
    flow.project.write("other.py", "import flowkit\n\n\n@flowkit.task\ndef a():\n    return 1\n")
    assert flow.words("other.py") == {"a": "cached"}


# --- expiry ---------------------------------------------------------------------------------------


def test_a_result_expires_counted_from_the_end_of_its_computation(flow):
    """A task kept for 90 seconds, run at 0, 60, 120 and 180, gives A, A, B, B."""
    flow.write("""
        @task(cache="90s")
        def a(version=Path("now")): return version.read_text()
    """.replace("version=Path(\"now\")", ""). replace("version.read_text()", "Path('now').read_text()"))
    clock = Clock()
    found = []
    for at, text in ((0, "A"), (60, "x"), (120, "B"), (180, "y")):
        (flow.root / "now").write_text(text)
        found.append(flow.value("a", clock=clock.at(at)))
    assert found == ["A", "A", "B", "B"]


def test_a_time_to_live_beyond_all_numbers_is_an_option_error(flow):
    flow.write("@task(cache=10**400)\ndef a(): return 1")
    with pytest.raises(flowkit.FlowError, match="a duration is finite and not negative"):
        flow.run()


def test_an_expired_result_says_for_how_long(flow):
    flow.write("@task(cache='1h')\ndef a(): return 1\n\n@task\ndef b(a): return a")
    clock = Clock()
    flow.run(clock=clock)
    assert flow.reason("a", clock=clock.at(4 * 3600)) == "expired 3h ago"
    assert {n.node: n.word for n in flow.last.report.nodes} == {"a": "same", "b": "cached"}
    assert flow.words(clock=clock.at(4 * 3600 + 3500)) == {"a": "cached", "b": "cached"}


def test_a_time_to_live_is_no_part_of_the_key(flow):
    flow.write("@task(cache='1h')\ndef a(): return 1")
    clock = Clock()
    flow.run(clock=clock)
    flow.edit("'1h'", "'2h'")
    assert flow.words(clock=clock.at(5400)) == {"a": "cached"}
    flow.edit("'2h'", "'1m'")
    assert flow.reason("a", clock=clock.at(5400)) == "expired 1h29m ago"


@pytest.mark.parametrize("ttl", ["60", "'1m'", "__import__('datetime').timedelta(minutes=1)", "Cache(ttl='60s')", "{'ttl': 60}"])
def test_every_way_to_write_a_time_to_live(flow, ttl):
    flow.write(f"@task(cache={ttl})\ndef a(): return 1")
    clock = Clock()
    assert [flow.ran(clock=clock.at(t)) for t in (0, 59, 60)] == [["a"], [], ["a"]]


# --- key and valid --------------------------------------------------------------------------------


def test_a_key_of_ones_own_replaces_the_content_of_inputs_and_not_the_code(flow):
    flow.write("""
        @task
        def rows(n: int = 3): return {"etag": "x", "rows": n}

        @task(cache=Cache(key=lambda rows: rows["etag"]))
        def total(rows, unit: str = "m"): return rows["rows"]
    """)
    assert flow.value("total") == 3
    assert flow.words(params={"n": 4, "unit": "km"}) == {"rows": "ran", "total": "cached"}
    flow.edit("return rows[\"rows\"]", "return rows[\"rows\"] + 0")
    assert flow.words(params={"n": 4}) == {"rows": "cached", "total": "ran"}


def test_a_key_that_cannot_be_made_runs_the_task(flow):
    flow.write("@task(cache={'key': lambda n: 1 // 0})\ndef a(n: int = 1): return n")
    assert flow.ran() == ["a"]
    assert flow.reason("a") == "its key could not be made: ZeroDivisionError: integer division or modulo by zero"


def test_valid_is_asked_before_reuse_with_the_arguments_it_names_and_the_value(flow):
    flow.write("""
        def there(table, value): return Path(table).exists() and value == 7

        @task
        def table(): return "t"

        @task(cache={"valid": there})
        def load(table, n: int = 7):
            Path(table).touch()
            return n
    """)
    assert flow.ran() == ["load", "table"]
    assert flow.ran() == []
    (flow.root / "t").unlink()
    assert flow.reason("load") == "no longer valid"
    assert flow.ran() == []


def test_a_valid_that_raises_is_a_miss(flow):
    flow.write("@task(cache={'valid': lambda: 1 // 0})\ndef a(): return 1")
    flow.run()
    assert flow.reason("a") == "`valid` raised ZeroDivisionError: integer division or modulo by zero"


@pytest.mark.parametrize("option", ["key", "valid"])
@pytest.mark.parametrize(
    ("function", "told"),
    [
        ("lambda zz: True", "'zz', which is no argument"),
        ("lambda lis: True", "Did you mean 'list'?"),
        ("lambda tmp_path: True", "'tmp_path', which is no argument"),
        ("check", "is async"),
        ("max", "does not say what it takes"),
    ],
)
def test_a_key_or_valid_that_cannot_be_called_is_an_error_before_anything_runs(flow, option, function, told):
    flow.write(f"""
        async def check(list): return True
        @task(cache={{"{option}": {function}}})
        def t(tmp_path, list: int = 1): return 1
    """)
    for flags in ({}, {"no_cache": True}):
        with pytest.raises(flowkit.FlowError) as error:
            flow.run(**flags)
        assert f"task 't' (m.py:4): {option} of cache=" in str(error.value)
        assert told in str(error.value)


@pytest.mark.parametrize("option", ["key", "valid"])
def test_a_key_or_valid_may_have_defaults_and_take_anything(flow, option):
    flow.write(f"""
        def one(n, zz=1): return n + zz
        def all(**arguments): return len(arguments) == 1 and arguments["n"]
        @task(cache={{"{option}": one}})
        def a(n: int = 1): return 1
        @task(cache={{"{option}": all}})
        def b(n: int = 1): return 1
    """)
    assert flow.ran() == ["a", "b"]
    assert flow.ran() == []


@pytest.mark.parametrize(
    ("option", "function", "reason"),
    [
        ("key", "lambda u: note(u)", "its `key` looks at values, and a plan loads none"),
        ("valid", "lambda u: note(u)", "its `valid` looks at values, and a plan loads none"),
        ("valid", "lambda value: note(value)", "its `valid` looks at the value, and a plan loads none"),
        ("key", "lambda n: note(n)", None),
        ("valid", "lambda n: note(n)", None),
    ],
)
def test_a_plan_calls_key_and_valid_only_where_no_value_is_loaded(flow, monkeypatch, option, function, reason):
    flow.write(f"""
        def note(what):
            with Path("called").open("a") as f: f.write("x ")
            return True
        @task
        def u(): return [1]
        @task(cache={{"{option}": {function}}})
        def t(u, n: int = 1): return 1
        @task
        def below(t): return t
    """)
    flow.run()
    flow.called()
    with counted_loads(monkeypatch) as loads:
        plan = flow.plan()
    assert loads == []
    assert plan["u"][0] == "c"
    if reason is None:
        assert plan["t"][0] == plan["below"][0] == "c" and flow.called()
    else:
        assert plan["t"] == ("?", reason) and plan["below"][0] == "?" and flow.called() == []
    assert flow.ran() == []


def test_a_plan_takes_no_lock_of_what_it_would_refresh(flow):
    from flowkit_plugins.cache.rights import Rights

    flow.write("@task\ndef a(): return 1")
    flow.run()
    claimed = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Rights, "claim", lambda self, node, key: claimed.append(node))
        assert flow.plan(refresh=[""]) == {"a": (">", "refreshed")}
    assert claimed == []


# --- outcomes -------------------------------------------------------------------------------------


def test_failures_are_never_reused(flow):
    flow.write("@task\ndef a(): raise ValueError('x')")
    assert [flow.words(), flow.words()] == [{"a": "failed"}] * 2


def test_a_skip_is_reused_with_its_reason(flow):
    flow.write("""
        @task
        def a():
            with Path("called").open("a") as f: f.write("a ")
            skip("nothing new")
        @task
        def b(a): return 1
        @task
        def c(a: Skipped): return a.reason
    """)
    flow.run()
    run = flow.run()
    assert {n.node: (n.word, n.reason) for n in run.report.nodes}["a"] == ("skipped", "nothing new")
    assert flow.called() == ["a"]
    assert run["c"] == "nothing new"
    assert run.report.named("c").word == "cached"


def test_success_and_outcome_arguments_count_by_kind_and_value(flow):
    flow.write("""
        @task(cache=False)
        def a():
            import time
            time.sleep(0.002)
            return 1
        @task
        def s(a: Success[int]): return a.value
        @task
        def o(a: Outcome[int]): return a.value
        @task
        def v(a): return a
    """)
    flow.run()
    assert flow.words() == {"a": "same", "s": "cached", "o": "cached", "v": "cached"}


def test_a_task_that_received_a_whole_failure_is_never_reused(flow):
    flow.write("""
        @task
        def a(): raise ValueError("x")
        @task
        def f(a: Failure): return str(a.error)
        @task
        def below(f): return f
    """)
    flow.run()
    run = flow.run()
    assert {n.node: n.word for n in run.report.nodes} == {"a": "failed", "f": "same", "below": "cached"}
    assert run.report.named("f").reason == "it received a failure"


def test_what_runs_since_something_above_it_failed_is_never_reused(flow):
    flow.write("""
        @task
        def load(): fail("down")
        @task(needs=["load"], trigger="any_failed")
        def page(): return 1
        @task(trigger="all_done", cache={"key": lambda: 1})
        def own(load: Outcome): return 1
        @task
        def clean(load): return load
        @task(trigger="any_failed")
        def alarm(clean: Outcome): return 1
        @task
        def told(clean: Skipped): return 1
        @task(needs=["clean"], trigger="all_done")
        def sweep(): return 1
        @task
        def below(page, alarm): return 1
    """)
    flow.run()
    run = flow.run()
    words = {n.node: n.word for n in run.report.nodes}
    assert [words[name] for name in ("page", "own", "alarm", "told", "sweep")] == ["same"] * 5
    assert words["below"] == "cached"
    assert run.report.named("page").reason == run.report.named("sweep").reason == "it comes after a failure"
    assert run.report.named("alarm").reason == run.report.named("told").reason == "it received a failure"


def test_what_was_never_kept_has_no_record_and_no_new_input(flow):
    flow.write("""
        @task
        def x():
            if not Path("ok").exists(): fail("down")
            return 1
        @task
        def a(): return 1
        @task(needs=["x"], trigger="always")
        def y(a): return a
        @task(trigger="all_done")
        def z(x): return type(x).__name__
        @task(cache=False)
        def w(a): return a
    """)
    flow.run()
    (flow.root / "ok").write_text("")
    flow.edit("@task(cache=False)\ndef w", "@task\ndef w")
    run = flow.run()
    assert [run.report.named(name).word for name in "ayzw"] == ["cached", "same", "ran", "same"]
    assert [run.report.named(name).reason for name in "yzw"] == ["no record"] * 3


def test_what_was_computed_again_for_somebody_else_still_knows_its_inputs(flow):
    flow.write("""
        @task
        def a(n: int = 1): return n
        @task
        def lock(a):
            import threading
            return threading.Lock()
        @task
        def b(lock, m: int = 1): return m
    """)
    flow.run("m.py::b")
    assert flow.words("m.py::b", params={"m": 2}) == {"a": "cached", "lock": "ran", "b": "ran"}
    assert flow.reason("lock", "m.py::b", params={"n": 2, "m": 3}) == "upstream `a` changed"


SKIPPING = """
    @task(each={"n": "ns"})
    def even(n: list[int]):
        if n[0] % 2: skip(said(n))
        return n[0]
    @task
    def half(even): return even // 2
    @task
    def quarter(half): return half // 2
    @task
    def merge(quarter: int | Skipped): return -1 if isinstance(quarter, Skipped) else quarter
    @task
    def handle(half: Failure): return 1
    @task
    def told(handle: Skipped): return 1
    def said(n): return "odd"
"""


def test_the_id_of_an_element_never_counts_where_a_skip_is_passed_on(flow):
    flow.write(SKIPPING)
    flow.run(params={"ns": [[1], [2], [3]]})
    ran = flow.ran(params={"ns": [[8], [1], [2], [3]]})
    assert ran == ["even[0]", "half[0]", "merge[0]", "quarter[0]"]
    assert flow.last.report.named("even[0]").reason == "element `n` changed"
    assert flow.last.outcomes["quarter"]["1"].reason == "`half[1]` was skipped: `even[1]` was skipped: odd"


def test_what_a_task_said_when_it_skipped_counts_in_full_however_far_below(flow):
    flow.write(SKIPPING)
    flow.run(params={"ns": [[1], [2]]})
    flow.edit('return "odd"', 'return f"{n} is odd"')
    assert flow.ran(params={"ns": [[1], [2]]}) == ["even[0]", "even[1]", "merge[0]", "told[0]"]


def test_equal_elements_below_a_skip_are_computed_once(flow):
    flow.write(SKIPPING)
    words = flow.words(params={"ns": [[1], [1]]})
    assert (words["merge[0]"], words["merge[1]"]) == ("ran", "cached")


def test_the_id_of_an_element_that_failed_never_counts_in_a_collection_of_others(flow):
    flow.write("""
        @task(each={"x": "xs"})
        def a(x: list[int]): return x[0]
        @task(each={"y": [1, 2]}, allow_failure=True)
        def b(a, y):
            if y == 2: fail("no")
            return y
        @task
        def c(b): return b
        @task
        def seen(a, c: Collected[Outcome]): return [x.reason for x in c if isinstance(x, Skipped)]
    """)
    flow.run(params={"xs": [[1], [2]]})
    ran = flow.ran(params={"xs": [[8], [1], [2]]})
    assert [node for node in ran if node.startswith("seen")] == ["seen[0]"]


def test_how_many_elements_failed_counts_for_who_collects_collectors(flow):
    flow.write("""
        @task(each={"x": "xs"})
        def a(x: int):
            if x == 1: fail("no")
            return x
        @task(each={"y": [1]})
        def total(a: Collected[int], y): return sum(a)
        @task
        def report(total: Collected[Outcome]): return total[0].reason
    """)
    assert flow.run(params={"xs": [1, 2]})["report"] == "1 of 2 `a` failed: 1"
    assert flow.run(params={"xs": [1, 2, 3]})["report"] == "1 of 3 `a` failed: 1"


def test_what_runs_after_a_success_or_a_stand_in_is_reused_whatever_its_trigger(flow):
    flow.write("""
        @task(fallback="spare")
        def load(): fail("down")
        @task
        def spare(): return 1
        @task(needs=["load"], trigger="all_done")
        def sweep(): return 1
        @task
        def skipped(): skip("no")
        @task(trigger="all_done")
        def told(skipped: Outcome): return 1
        @task(each={"i": [1, 2]}, allow_failure=True)
        def a(i):
            if i == 2: fail("no")
        @task
        def gathered(a: Collected[Outcome]): return 1
    """)
    flow.run()
    words = flow.words()
    assert [words[name] for name in ("sweep", "told", "gathered")] == ["cached"] * 3


def test_collected_failures_are_reused_by_class_and_message(flow):
    flow.write("""
        @task(each={"i": [1, 2]})
        def a(i: int):
            if i == 2: raise ValueError(Path("message").read_text())
            return i
        @task
        def report(a: Collected[Outcome[int]]): return [str(getattr(x, "error", None) or x.value) for x in a]
    """)
    (flow.root / "message").write_text("x")
    flow.run()
    assert flow.words() == {"a[1]": "cached", "a[2]": "failed", "report": "cached"}
    (flow.root / "message").write_text("y")
    assert flow.words() == {"a[1]": "cached", "a[2]": "failed", "report": "ran"}
    assert flow.last["report"] == ["1", "y"]


def test_repaired_elements_make_the_collector_run_again(flow):
    flow.write("""
        @task(each={"i": [1, 2]})
        def a(i: int):
            if i == 2 and Path("broken").exists(): fail("broken")
            return i
        @task
        def total(a: Collected[Success[int]]): return sum(x.value for x in a)
    """)
    (flow.root / "broken").touch()
    assert flow.run()["total"] == 1
    (flow.root / "broken").unlink()
    assert flow.run()["total"] == 3


# --- provides -------------------------------------------------------------------------------------


def test_provided_parts_count_each_by_its_own_content(flow):
    flow.write("""
        @task(provides=["train", "test"])
        def split(n: int = 1): return {"train": [1, 2], "test": [n]}
        @task
        def fit(train): return sum(train)
        @task
        def score(test): return sum(test)
        @task
        def whole(split): return split
    """)
    flow.run()
    assert flow.words(params={"n": 2}) == {"split": "ran", "fit": "cached", "score": "ran", "whole": "ran"}
    assert flow.last.report.named("score").reason == "upstream `test` changed"


# --- fan-out --------------------------------------------------------------------------------------

MAPPED = """
    @task
    def items(): return ["a", "b", "c"]

    @task(each={"item": "items"})
    def one(item: str):
        with Path("called").open("a") as f: f.write(item + " ")
        return item * 2

    @task
    def follow(one): return one + "!"

    @task
    def all_of(one: Collected[str]): return list(one)
"""


def test_an_element_is_known_by_its_content_so_inserting_one_in_front_runs_one(flow):
    flow.write(MAPPED)
    flow.run()
    flow.edit('["a", "b", "c"]', '["z", "a", "b", "c"]')
    flow.called()
    assert flow.ran() == ["all_of", "follow[z]", "items", "one[z]"]
    assert flow.called() == ["z"]


def test_renaming_the_ids_runs_no_element(flow):
    flow.write(MAPPED.replace('["a", "b", "c"]', '{"x": "a", "y": "b"}'))
    flow.run()
    flow.edit('{"x": "a", "y": "b"}', '{"p": "a", "q": "b"}')
    ran = flow.ran()
    assert [n for n in ran if n.startswith(("one", "follow"))] == []
    assert ran == ["all_of", "items"]  # a Collected has ids, which its task may read


def test_equal_elements_are_computed_once_and_the_second_is_cached(flow):
    flow.write(MAPPED.replace('["a", "b", "c"]', '["q", "q", "q"]'))
    for executor in ("inline", "threads"):
        assert sorted(flow.words(executor=executor, refresh=[""] if executor == "threads" else None).items())
        assert flow.called() == ["q"], executor
        words = [n.word for n in flow.last.report.nodes if n.task.name == "one"]
        assert sorted(words) == ["cached", "cached", "ran" if executor == "inline" else "same"]
    assert flow.last["all_of"] == ["qq"] * 3


def test_equal_elements_each_run_with_cache_false(flow):
    flow.write(MAPPED.replace('["a", "b", "c"]', '["q", "q"]').replace('@task(each', '@task(cache=False, each'))
    flow.run()
    assert flow.called() == ["q", "q"]


def test_equal_elements_that_fail_each_run(flow):
    flow.write("""
        @task(each={"i": [1, 1]})
        def a(i: int):
            with Path("called").open("a") as f: f.write("a ")
            fail("no")
    """)
    assert flow.words(executor="threads") == {"a[1]": "failed", "a[1_1]": "failed"}


def test_a_collected_counts_by_content_in_order(flow):
    flow.write(MAPPED)
    flow.run()
    flow.edit('return item * 2', 'return item + item')
    assert flow.ran() == ["one[a]", "one[b]", "one[c]"]
    flow.edit('["a", "b", "c"]', '["c", "b", "a"]')
    assert flow.ran() == ["all_of", "items"]


def test_a_warm_run_loads_no_value_maps_and_provided_lists_included(flow, monkeypatch):
    flow.write(MAPPED + """
    @task(provides=["xs", "ys"])
    def pair(): return [[1, 2], [3], []][:2], {"k": object.__name__}

    @task(each={"x": "xs"})
    def over(x): return x

    @task(each={"v": "over"})
    def inner(v): return v

    @task
    def ends(inner: Collected[int], follow: Collected[str]): return len(inner) + len(follow)
    """)
    flow.run(executor="threads")
    with counted_loads(monkeypatch) as loads:
        words = flow.words(executor="threads")
        assert set(words.values()) == {"cached"} and len(words) > 12
        flow.project.run("m.py::ends", executor="inline")
        plan = flow.plan()
    assert loads == []
    assert {mark for mark, _ in plan.values()} == {"c"}
    with counted_loads(monkeypatch) as loads:
        assert flow.run()["ends"] == 6
    assert {name for name in loads if name.startswith("m.py")} == {"m.py::ends"}


def test_a_warm_run_from_the_command_line_never_imports_pickle_readers(flow):
    flow.write(MAPPED)
    assert flow.project.flowkit("run", "m.py").exit_code == 0
    done = flow.project.flowkit("run", "m.py")
    assert done.exit_code == 0 and "cached" in done.out


# --- files ----------------------------------------------------------------------------------------


def test_a_path_parameter_stands_for_its_content(flow):
    flow.project.write("data/x.csv", "1")
    flow.write("@task\ndef a(src: Path = Path('data/x.csv')): return src.read_text()")
    flow.run()
    assert flow.ran() == []
    flow.project.write("data/x.csv", "2")
    assert flow.reason("a") == "file data/x.csv changed"
    assert flow.last["a"] == "2"
    flow.project.write("data/x.csv", "1")
    assert flow.ran() == []
    assert flow.last["a"] == "1"


def test_a_path_counts_at_any_depth_and_a_folder_is_its_tree(flow):
    flow.project.write("data/deep/x.csv", "1")
    flow.write("@task\ndef a(srcs: list[dict[str, Path]]): return 1")
    params = {"srcs": [{"k": "data"}]}
    flow.run(params=params)
    assert flow.ran(params=params) == []
    flow.project.write("data/deep/y.csv", "1")
    assert flow.ran(params=params) == ["a"]


def test_a_missing_file_is_content_and_the_task_fails_by_itself(flow):
    flow.write("@task\ndef a(src: Path = Path('none.csv')): return src.exists() or src.read_text()")
    run = flow.run()
    assert isinstance(run.outcomes["a"].error, FileNotFoundError)
    flow.project.write("none.csv", "1")
    assert flow.value("a") is True


def test_a_result_whose_file_is_gone_or_changed_is_not_reused(flow):
    flow.write("""
        @task
        def a():
            Path("a.txt").write_text("A")
            return Path("a.txt")
        @task
        def b(a): return a.read_text()
    """)
    flow.run()
    assert flow.ran() == []
    (flow.root / "a.txt").unlink()
    assert flow.reason("a") == "output file `a.txt` is gone"
    assert {n.node: n.word for n in flow.last.report.nodes} == {"a": "same", "b": "cached"}
    flow.project.write("a.txt", "X")
    assert flow.reason("a") == "output file `a.txt` was modified"
    assert flow.ran() == []


OUT = """
    @task
    def a(out, n: int = 1, size: int = 0):
        path = out("t.csv")
        path.write_text(f"{n}" + "x" * size)
        return {"table": path, "n": n}
    @task
    def b(a): return a["table"].read_text()[:1]
"""


def test_a_file_of_out_is_brought_back_on_a_hit(flow):
    flow.write(OUT)
    flow.run()
    flow.run(params={"n": 2})
    file = flow.root / "out" / "a" / "t.csv"
    assert file.read_text() == "2"
    assert flow.ran() == []
    assert file.read_text() == "1"
    file.unlink()
    assert flow.ran(params={"n": 2}) == []
    assert file.read_text() == "2"


LEFT = """
    @task
    def a(out, n: int = 1):
        out("x.csv").write_text(str(n))
        folder = out("parts")
        folder.mkdir()
        (folder / "y").write_text(str(n))
        return n
"""


def test_a_file_of_out_that_is_not_returned_belongs_to_the_result_all_the_same(flow):
    flow.write(LEFT)
    flow.run()
    flow.run(params={"n": 2})
    files = [flow.root / "out" / "a" / "x.csv", flow.root / "out" / "a" / "parts" / "y"]
    assert [f.read_text() for f in files] == ["2", "2"]
    assert flow.ran() == []
    assert [f.read_text() for f in files] == ["1", "1"]
    for file in files:
        file.unlink()
    assert flow.plan()["a"][0] == "c"
    assert flow.ran() == []
    assert [f.read_text() for f in files] == ["1", "1"]


def test_a_file_of_out_that_is_not_returned_and_too_large_to_keep_is_a_miss(flow, monkeypatch):
    from flowkit_plugins.cache import files

    monkeypatch.setattr(files, "LARGEST_KEPT", 0)
    flow.write(LEFT)
    flow.run()
    assert flow.ran() == []
    (flow.root / "out" / "a" / "x.csv").write_text("?")
    assert flow.reason("a") == "output file `out/a/x.csv` was modified and was too large to keep"


def test_a_file_of_out_that_is_not_returned_counts_where_the_value_is_not_stored(flow):
    flow.write("""
        import threading
        @task
        def a(out):
            out("x").write_text("x")
            return threading.Lock()
        @task
        def b(a): return 1
    """)
    flow.run()
    assert flow.ran("m.py::b") == []
    (flow.root / "out" / "a" / "x").unlink()
    assert flow.ran("m.py::b") == []
    assert (flow.root / "out" / "a" / "x").read_text() == "x"


def test_a_file_of_out_that_is_too_large_to_keep_is_a_miss_that_says_so(flow, monkeypatch):
    from flowkit_plugins.cache import files

    monkeypatch.setattr(files, "LARGEST_KEPT", 1000)
    flow.write(OUT)
    flow.run(params={"size": 2000})
    assert flow.ran(params={"size": 2000}) == []
    (flow.root / "out" / "a" / "t.csv").unlink()
    assert flow.reason("a", params={"size": 2000}) == "output file `out/a/t.csv` is gone and was too large to keep"


def test_a_planned_run_brings_no_file_back(flow):
    flow.write(OUT)
    flow.run()
    file = flow.root / "out" / "a" / "t.csv"
    file.unlink()
    assert flow.plan()["a"][0] == "c"
    assert not file.exists()
    assert flow.ran() == [] and file.exists()


def test_a_folder_of_out_that_is_gone_is_made_again(flow):
    flow.write("""
        @task
        def a(out):
            folder = out("parts")
            folder.mkdir()
            (folder / "x").write_text("x")
            return folder
        @task
        def b(a): return sorted(p.name for p in a.iterdir())
    """)
    flow.run()
    assert flow.ran() == []
    import shutil

    shutil.rmtree(flow.root / "out")
    assert flow.ran() == ["a"]
    assert flow.last["b"] == ["x"]


def test_files_outside_the_root_count_by_name_and_content(flow, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside")
    (outside / "x").write_text("1")
    (outside / "y").write_text("1")
    flow.write("@task\ndef a(src: Path): return src.name")
    assert flow.value("a", params={"src": outside / "x"}) == "x"
    assert flow.value("a", params={"src": outside / "y"}) == "y"
    assert flow.ran(params={"src": outside / "x"}) == []


def test_a_task_that_changes_its_own_input_file_is_warned_of_once(flow):
    flow.write("""
        @task
        def a(dst: Path = Path("o.csv")):
            dst.write_text((dst.read_text() if dst.exists() else "") + "x")
            return 1
    """)
    run = flow.run()
    told = [note for note in run.report.notes if "o.csv" in note]
    assert len(told) == 1 and "`a`" in told[0] and "out()" in told[0] and "str" in told[0]
    assert flow.reason("a") == "file o.csv changed"


# --- resources and built-ins ----------------------------------------------------------------------


def test_a_resource_counts_by_code_and_parameters_and_never_by_value(flow):
    flow.write("""
        import random
        @resource
        def seed(base: int = 1): return base
        @resource
        def pool(seed, dsn: str = "x"): return random.random()
        @task
        def a(pool): return 1
        @task
        def b(): return 1
    """)
    flow.run()
    assert flow.ran() == []
    assert flow.ran(params={"dsn": "y"}) == ["a"]
    assert flow.ran(params={"base": 2}) == ["a"]
    flow.edit("return base", "return base + 0")
    assert flow.reason("a") == "code of `seed` (m.py:4) changed"
    assert flow.ran() == []


def test_a_changed_parameter_of_a_resource_is_named(flow):
    flow.write("@resource\ndef pool(dsn: str = 'x'): return 1\n\n@task\ndef a(pool): return 1")
    flow.run()
    assert flow.reason("a", params={"dsn": "y"}) == "parameter `dsn` changed: x → y"


def test_log_tmp_path_out_and_rng_never_count(flow):
    flow.write("@task\ndef a(log, tmp_path, out, rng): return rng.random()")
    first = flow.value("a")
    assert flow.ran() == [] and flow.last["a"] == first


def test_scheduled_at_counts_by_value(flow):
    flow.write("from datetime import datetime\n@task\ndef a(scheduled_at: datetime): return str(scheduled_at)")
    monday = datetime(2026, 1, 5, tzinfo=UTC)
    assert flow.ran(scheduled_at=monday) == ["a"]
    assert flow.ran(scheduled_at=monday) == []
    assert flow.ran(scheduled_at=monday + timedelta(days=1)) == ["a"]


def test_a_task_that_asks_for_run_is_not_reused_unless_it_says_so(flow):
    flow.write("@task\ndef a(run): return run.id\n\n@task(cache='1h')\ndef b(run): return run.id\n\n@task(cache=True)\ndef c(run): return 1")
    flow.run()
    assert flow.words() == {"a": "ran", "b": "cached", "c": "cached"}
    assert flow.reason("a") == "it asks for `run`"


def test_a_task_that_asks_for_run_through_a_resource_is_not_reused(flow):
    flow.write("@resource(scope='task')\ndef stamp(run): return run.id\n\n@task\ndef a(stamp): return stamp")
    assert flow.value("a") != flow.value("a")


def test_a_task_that_runs_a_flow_is_not_reused(flow):
    flow.project.write("child.py", "import flowkit\n\n\n@flowkit.task\ndef x():\n    return 1\n")
    flow.write("""
        import flowkit
        @task
        def a(): return flowkit.run("child.py", executor="inline")["x"]
        @task
        def b(a): return a
    """)
    flow.run()
    assert flow.words() == {"a": "same", "b": "cached"}
    assert "runs a flow" in flow.reason("a")


# --- unstorable and secret values -----------------------------------------------------------------

UNSTORABLE = """
    import threading
    @task
    def lock(n: int = 1):
        with Path("called").open("a") as f: f.write("lock ")
        return threading.Lock()
    @task
    def user(lock, k: int = 1): return k
    @task
    def below(user): return user
"""


def test_an_unstorable_value_flows_and_is_told_once(flow):
    flow.write(UNSTORABLE)
    run = flow.run()
    assert run.ok and run["user"] == 1
    assert len([n for n in run.report.notes if "`lock` is not persisted" in n]) == 1


def test_users_of_an_unstorable_value_stay_reused(flow):
    flow.write(UNSTORABLE)
    flow.run()
    assert flow.words("m.py::below") == {"lock": "cached", "user": "cached", "below": "cached"}
    assert flow.called() == ["lock"]


def test_an_unstorable_value_is_computed_where_it_is_a_target_or_needed(flow):
    flow.write(UNSTORABLE)
    flow.run()
    flow.called()
    words = flow.words("m.py::lock")
    assert words["lock"] in ("ran", "same") and flow.called() == ["lock"]
    assert flow.last.report.named("lock").reason.startswith("result was not storable: value: cannot pickle")
    flow.words("m.py::user", params={"k": 2})
    assert flow.called() == ["lock"]
    assert flow.words("m.py::user", params={"k": 2}) == {"lock": "cached", "user": "cached"}


def told(flow, *words):
    """What was told of each node of the flow, in order: (node, word, reason)."""
    done = flow.project.flowkit("run", *words, "--json", "-p", "no:history")
    events = [json.loads(line) for line in done.out.splitlines()]
    return [(e["node"].partition("::")[2], e["word"], e["reason"]) for e in events if e["event"] == "node_ended"]


def test_of_an_unstorable_value_is_told_once_when_it_is_settled_whether_it_is_needed(flow):
    flow.write(UNSTORABLE)
    flow.run()
    assert told(flow, "m.py::user", "-P", "k=2") == [
        ("lock", "ran", "its result was not storable, and `user` needs it"),
        ("user", "ran", "parameter `k` changed: 1 → 2"),
    ]
    assert sorted((node, word) for node, word, _ in told(flow, "m.py::below", "-P", "k=2")) == [
        ("below", "ran"), ("lock", "cached"), ("user", "cached"),
    ]  # fmt: skip
    assert sorted((node, word) for node, word, _ in told(flow, "m.py::below", "-P", "k=2")) == [
        ("below", "cached"), ("lock", "cached"), ("user", "cached"),
    ]  # fmt: skip


def test_of_an_unstorable_list_is_told_once(flow):
    flow.write("""
        import threading
        @task
        def locks(): return [threading.Lock(), threading.Lock()]
        @task(each={"one": "locks"})
        def use(one): return 1
        @task
        def total(use: Collected[int]): return sum(use)
    """)
    flow.run()
    reason = "its result was not storable, and its elements are needed"
    assert flow.plan("m.py::total")["locks"] == (">", reason)
    ends = told(flow, "m.py::total")
    assert ends[0] == ("locks", "ran", reason)
    assert len(ends) == len({node for node, _, _ in ends}) == 4


def test_an_unstorable_value_whose_user_is_held_back_is_told_of_all_the_same(flow):
    flow.write("""
        import threading
        @task
        def lock(): return threading.Lock()
        @task(cache=False)
        def bad(n: int = 1):
            if n == 2: fail("two")
        @task(needs=["bad"])
        def user(lock, k: int = 1): return k
    """)
    flow.run()
    words = flow.words("m.py::user", params={"n": 2, "k": 2})
    assert words == {"lock": "cached", "bad": "failed", "user": "upstream"}


def test_an_unstorable_value_of_a_task_that_is_not_cached_runs_its_users(flow):
    flow.write(UNSTORABLE.replace("@task\n    def lock", "@task(cache=False)\n    def lock"))
    flow.run()
    assert flow.words() == {"lock": "ran", "user": "same", "below": "cached"}


def test_a_value_that_holds_a_secret_is_not_persisted_and_the_secret_is_nowhere(flow):
    flow.write("""
        from pydantic import SecretStr
        @task
        def a(token: SecretStr): return {"token": token}
        @task
        def b(token: SecretStr): return len(token.get_secret_value())
        @task
        def c(a): return 1
    """)
    params = {"token": "hunter2hunter2"}
    run = flow.run(params=params)
    assert any("`a` is not persisted: it holds a secret" in note for note in run.report.notes)
    assert b"hunter2" not in flow.everything_kept()
    words = flow.words(params=params)
    assert words["b"] == words["c"] == "cached"
    report = flow.run(params={"token": "correcthorse99"}).report
    assert report.named("b").word == "ran" or report.named("b").word == "same"
    assert "hunter" not in report.named("b").reason and "correct" not in report.named("b").reason
    assert b"correcthorse" not in flow.everything_kept()


# --- flags ----------------------------------------------------------------------------------------


def test_refresh_computes_equal_elements_that_are_skipped_once(flow):
    flow.write("""
        @task(each={"x": ["a", "a"]})
        def sk(x):
            with open("called", "a") as file: file.write("sk\\n")
            skip("s")
    """)
    flow.run(n=1)
    assert flow.called() == ["sk"]
    assert flow.words(n=1, refresh=True) == {"sk[a]": "skipped", "sk[a_1]": "skipped"}
    assert flow.called() == ["sk"]


def test_a_changed_parameter_is_named_as_the_user_gives_it(flow):
    flow.write("""
        @resource
        def door(y: Annotated[int, From("level")] = 1): return y
        @task
        def a(x: Annotated[int, From("limit")] = 4): return x
        @task
        def b(door): return door
        @task
        def c(z: Annotated[Path, From("src")] = Path("in.txt")): return 1
    """)
    flow.project.write("in.txt", "1")
    flow.run()
    flow.project.write("in.txt", "2")
    run = flow.run(params={"limit": 9, "level": 2})
    assert run.report.named("a").reason == "parameter `limit` changed: 4 → 9"
    assert run.report.named("b").reason == "parameter `level` changed: 1 → 2"
    assert run.report.named("c").reason == "file in.txt changed"


def test_refresh_runs_exactly_those_and_writes(flow):
    flow.write("@task\ndef a(): return 1\n\n@task\ndef b(a): return a\n\n@task\ndef c(b): return b")
    flow.run()
    assert flow.words(refresh=["a"]) == {"a": "same", "b": "cached", "c": "cached"}
    assert flow.last.report.named("a").reason == "refreshed"
    assert flow.words(refresh=["a", "c"]) == {"a": "same", "b": "cached", "c": "same"}
    assert flow.words(refresh=[""]) == {"a": "same", "b": "same", "c": "same"}


def test_refresh_of_a_provided_name_means_its_task(flow):
    flow.write("@task(provides=['p', 'q'])\ndef a(): return 1, 2\n@task\ndef b(p): return p")
    flow.run()
    assert flow.words(refresh=["q"]) == {"a": "same", "b": "cached"}


def test_an_overridden_task_is_known_wherever_the_project_lies(flow, project):
    """Where it is from is in its id, and not in its key; nor does its random sequence hang on it."""
    conf = "from flowkit import task\n@task\ndef base(rng): return rng.random()\n"
    for folder in ("one", "two"):
        flow.project.write(f"{folder}/flowconf.py", conf)
        flow.write("@task\ndef base(base): return base + 1", f"{folder}/m.py")
    assert flow.words("one/m.py") == {"base@one/flowconf.py": "ran", "base": "ran"}
    value = flow.last["base"]
    assert flow.words("two/m.py") == {"base@two/flowconf.py": "cached", "base": "cached"}
    assert flow.words("two/m.py", no_cache=True) == {"base@two/flowconf.py": "ran", "base": "ran"}
    assert flow.last["base"] == value


TWO = """
    @task
    def order(): return 1

    @task
    def bill(order): return order + 1
"""


@pytest.mark.parametrize(
    ("flags", "reason"), [({"no_cache": True}, "--no-cache"), ({"refresh": [""]}, "refreshed"), ({"p": ["no:cache"]}, "")]
)
def test_a_plan_and_the_run_agree_on_what_runs_whatever_is_above_it(flow, flags, reason):
    flow.write(TWO).run()
    assert flow.plan(**flags) == {"order": (">", reason), "bill": (">", reason)}
    plugins = ["no:history", "no:terminal", *flags.get("p", ())]
    report = flow.run(**{**flags, "p": plugins}).report
    assert {n.node: n.reason for n in report.nodes} == {"order": reason, "bill": reason}


def test_a_task_without_cache_below_one_that_runs_is_planned_to_run(flow):
    flow.write("""
        @task(cache=False)
        def x(): return 1

        @task(cache=False)
        def load(x): return x

        @task(cache=False, needs=["x"])
        def after(): return 1

        @task
        def kept(load): return load
    """).run()
    plan = flow.plan()
    assert plan["x"] == plan["load"] == plan["after"] == (">", "cache=False")
    assert plan["kept"][0] == "?"


def test_refresh_of_one_task_leaves_what_hangs_off_it_open(flow):
    flow.write(TWO).run()
    assert {node: mark for node, (mark, _) in flow.plan(refresh=["order"]).items()} == {"order": ">", "bill": "?"}


def test_refreshed_results_replace_what_was_kept(flow):
    flow.write("@task\ndef a(): return Path('now').read_text()")
    (flow.root / "now").write_text("1")
    flow.run()
    (flow.root / "now").write_text("2")
    assert flow.value("a") == "1"
    assert flow.value("a", refresh=["a"]) == "2"
    assert flow.value("a") == "2"


def test_no_cache_ignores_and_does_not_write(flow):
    flow.write("@task\ndef a(): return 1")
    assert flow.ran(no_cache=True) == ["a"]
    assert not (flow.root / ".flowkit" / "traces.db").exists()
    flow.run()
    kept = flow.everything_kept()
    assert flow.ran(no_cache=True) == ["a"]
    assert flow.everything_kept() == kept
    assert flow.ran() == []


def test_arrays_are_handed_out_read_only_cold_and_warm_and_without_a_cache(flow):
    pytest.importorskip("numpy")
    flow.write("""
        import numpy
        @task
        def a(): return numpy.arange(3)
        @task(cache=False)
        def b(a): return a.flags.writeable
    """)
    assert [flow.value("b"), flow.value("b"), flow.value("b", no_cache=True)] == [False] * 3


def test_a_value_of_an_own_digest_counts_by_it(flow):
    flow.write("""
        class Thing:
            def __init__(self, n): self.n, self.noise = n, object.__hash__(self)
            def __flowkit_digest__(self): return self.n
        @task(cache=False)
        def a(): return Thing(1)
        @task
        def b(a): return a.n
    """)
    flow.run()
    assert flow.words()["b"] == "cached"


def test_a_mark_of_the_last_results_age_is_given(flow):
    clock = Clock()
    flow.write("@task\ndef a(): return 1")
    flow.run(clock=clock)
    assert flow.reason("a", clock=clock.at(7200)) == "2h ago"




def test_what_a_node_gave_last_is_what_the_last_run_used(flow):
    """Back at an earlier version, its result is what is shown, and what the next one is compared with."""
    flow.write("@task\ndef a(): return 1\n@task\ndef b(a): return a + 1")
    flow.run()
    flow.edit("return a + 1", "return a + 10")
    flow.run()
    flow.edit("return a + 10", "return a + 1")
    assert flow.words() == {"a": "cached", "b": "cached"}
    assert flow.project.flowkit("cache", "get", "m.py::b").out.strip() == "2"
    flow.edit("return a + 1", "return 1 + a")
    assert flow.words() == {"a": "cached", "b": "same"}
