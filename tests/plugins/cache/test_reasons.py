"""Why a node runs again, in words: what changed is named as the user wrote it, with its place."""

from functools import partial

import pytest

FLOW = """
import enum
from dataclasses import dataclass

@task
def raw(): return 1
@task
def user(v: Annotated[int, From("raw")]): return v
@task
def prs(): return [(1, 2)]
@task(each={"a,b": "prs"})
def pr(a, b): return a - b
@task(each={"f": [Path("a.txt")]})
def lit(f: Path): return f.read_text()
@task
def given(f: Path = Path("a.txt"), g: Path = Path("b.txt")): return f.read_text() + g.read_text()
def by_size(raw):
    return raw
@task(cache={"key": by_size})
def keyed(raw): return raw
class Color(enum.Enum):
    RED = 1
    def hex(self): return "#f00"
@dataclass
class Box:
    side: int = 1
    def area(self): return self.side
@task
def par(c: Color = Color.RED): return c.hex()
@task
def boxed(b: Box = Box()): return b.area()
def conv(x): return x
@task
def lam(how=lambda x: conv(x)): return how(1)
@resource
def tool(c: Color = Color.RED): return c.hex()
@task
def tooled(tool): return tool
def one(): return 1
@task(each={"f": [one]})
def called(f): return f()
@task(each={"b": {"x": Box()}})
def element(b): return b.area()
"""


@pytest.fixture
def told(flow):
    """The flow above, run once."""
    flow.project.write("a.txt", "1")
    flow.project.write("b.txt", "1")
    flow.project.write("m.py", f"from typing import *; from pathlib import Path; from flowkit import From, resource, task\n{FLOW}")
    assert flow.run().ok
    return flow


def line(flow, text):
    return flow.project.read("m.py").splitlines().index(text) + 1


@pytest.mark.parametrize(("node", "old", "new", "reason"), [
    ("user", "def raw(): return 1", "def raw(): return 2", "upstream `raw` changed"),
    ("pr[0]", "(1, 2)", "(3, 2)", "element `a,b` changed"),
    ("keyed", "def raw(): return 1", "def raw(): return 2", "what `key` returns changed"),
    ("keyed", "    return raw\n@task(cache", "    return raw * 2\n@task(cache", "code of `by_size` (m.py:{def by_size(raw):}) changed"),
    ("par", '"#f00"', '"red"', "code of `Color` (m.py:{class Color(enum.Enum):}) changed"),
    ("tooled", '"#f00"', '"red"', "code of `Color` (m.py:{class Color(enum.Enum):}) changed"),
    ("boxed", "return self.side", "return self.side ** 2", "code of `Box` (m.py:{@dataclass}) changed"),
    ("boxed", "b: Box = Box()", "b: Box = Box(2)", "parameter `b` changed: Box(side=1) → Box(side=2)"),
    ("lam", "def conv(x): return x", "def conv(x): return -x", "code of `<lambda>` (m.py:{def lam(how=lambda x: conv(x)): return how(1)}) changed"),
    ("lam", "lambda x: conv(x)", "lambda x: -conv(x)", "code of `<lambda>` (m.py:{def lam(how=lambda x: -conv(x)): return how(1)}) changed"),
    ("called[0]", "def one(): return 1", "def one(): return 2", "code of `one` (m.py:{def one(): return 2}) changed"),
    ("element[x]", "return self.side", "return self.side ** 2", "code of `Box` (m.py:{@dataclass}) changed"),
    ("element[x]", '"x": Box()', '"x": Box(3)', "element `b` changed"),
])  # fmt: skip
def test_what_changed_is_named_as_it_was_written(told, node, old, new, reason):
    told.edit(old, new)
    head, brace, rest = reason.partition("{")
    text, _, tail = rest.rpartition("}")
    assert told.reason(node) == (f"{head}{line(told, text)}{tail}" if brace else reason)


def test_a_file_that_changed_is_named_as_an_argument_or_an_element(told):
    told.project.write("a.txt", "2")
    assert told.reason("lit[a.txt]") == "file a.txt changed"
    told.project.write("b.txt", "2")
    assert told.reason("given") == "file b.txt changed"
    told.edit('Path("b.txt")', 'Path("a.txt")')
    assert told.reason("given") == "parameter `g` changed: b.txt → a.txt"


def test_values_that_look_alike_are_shown_exactly(flow):
    flow.write("@task\ndef a(x: int | float | str | Path = 1): return x")
    flow.run()
    assert flow.reason("a", params={"x": "1"}) == "parameter `x` changed: 1 → '1'"
    assert flow.reason("a", params={"x": "2"}) == "parameter `x` changed: 1 → 2"
    assert flow.reason("a", params={"x": 2}) == "parameter `x` changed: '2' → 2"


def test_no_address_is_shown(flow):
    flow.write("""
        class Odd:
            def __init__(self, n): self.n = n
        @task
        def a(f=[Odd(1)]): return f[0].n
    """)
    flow.run()
    flow.edit("Odd(1)", "Odd(2)")
    assert flow.reason("a") == "parameter `f` changed"


def test_a_constant_is_named_as_it_was_written(flow):
    """A bound method is its object's, and the object has no name of its own."""
    flow.write("""
        class Tool:
            def __init__(self, n): self.n = n
            def go(self): return self.n
        BOUND = Tool(2).go
        @task
        def a(): return BOUND()
    """)
    flow.run()
    flow.edit("Tool(2)", "Tool(3)")
    assert flow.reason("a") == "constant `BOUND` changed"


def test_what_stands_in_for_a_task_goes_by_its_name(flow):
    class Called:
        def __init__(self, n):
            self.n = n

        def __call__(self):
            return self.n

        def go(self):
            return self.n

    def given(n):
        return n

    flow.write("@task\ndef base(): return 1\n@task\ndef a(base): return base")
    for made in (Called, lambda n: partial(given, n), lambda n: Called(n).go):
        flow.run(override={"base": made(9)})
        assert flow.reason("base", override={"base": made(10)}) == "constant `base` changed"
        assert flow.value("a", override={"base": made(11)}) == 11
