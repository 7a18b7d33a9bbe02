"""What is known before anything starts is what a look-up of each node in its turn would say."""

import contextlib
import sqlite3
import textwrap

import pytest
from reuse_flows import Clock

from flowkit_plugins.cache.reuse import Reuse
from flowkit_plugins.cache.store import Store

ASKS_TOO = """
    import flowkit

    @flowkit.hookimpl(tryfirst=True)
    def flowkit_node_lookup(node): return None
"""

FLOWS = {
    "plain": """
        @task
        def a(): return 1
        @task
        def b(a): return a + 1
        @task
        def c(b, a): return [a, b]
        @task
        def d(needs_nothing=3): return needs_nothing
    """,
    "names that sort unlike their texts": """
        @task
        def a(): return 1
        @task
        def a1(): return 2
        @task
        def aé(): return 3
        @task
        def all_of(a1, aé, a): return [a, a1, aé]
    """,
    "helpers and constants": """
        LIMIT = 3
        def helper(x): return x + LIMIT
        @task
        def a(): return helper(1)
        @task
        def b(a): return [helper(x) for x in range(a)]
    """,
    "options": """
        flow = Flow(defaults={"retries": 1})
        @task(version=2)
        def a(): return 1
        @task(cache=Cache(salt="s"))
        def b(a): return a
        @task(cache="1d")
        def c(b): return b
        @task(cache=False)
        def d(c): return c
        @task
        def e(d): return d
        @task(cache=Cache(key=lambda a: a % 2))
        def f(a): return a
        @task(cache=Cache(valid=lambda value: True))
        def g(a): return a
        @task
        def h(g, f): return g, f
    """,
    "arguments of every kind": """
        @resource
        def db(url: str = "here"): yield url
        @task(provides=("left", "right"))
        def pair(): return 1, 2
        @task
        def takes_part(left): return left
        @task
        def takes_both(pair, right): return pair, right
        @task
        def takes_outcome(pair: Outcome[Any]): return 1
        @task
        def takes_success(pair: Success[Any]): return pair.value
        @task
        def renamed(x: Annotated[Any, From("takes_part")]): return x
        @task
        def asks(db, rate: float = 0.5): return db, rate
        @task(needs=["asks"])
        def after(): return 1
        @task
        def settings(path: Path = Path("m.py")): return path.name
        @task
        def below(settings): return settings
        @task
        def skips() -> int: skip("not today")
        @task
        def below_skipped(skips: Skipped | int): return 1
        @task
        def unstorable(): return lambda: 1
        @task
        def below_unstorable(unstorable): return 2
        @task(each={"x": "numbers"})
        def each_of(x): return x
        @task
        def numbers(): return [1, 2, 3]
        @task
        def total(each_of: Collected[int]): return sum(each_of)
        @task
        def after_total(total): return total
        @task(trigger="all_done")
        def last(after_total): return 1
        @task(fallback="other")
        def tried(): return 1
        @task
        def other(): return 2
        @task
        def below_tried(tried): return tried
        @task
        def out_of(out): return out("x.txt").write_text("x") and out("x.txt")
    """,
}


def said(run):
    """Node → all that is reported of it."""
    return {n.node: (n.word, n.reason, n.key, bool(n.attempts)) for n in run.report.nodes}


@pytest.fixture
def turns(monkeypatch):
    """The nodes that were asked about in their turn."""
    asked = []
    look_up = Reuse.flowkit_node_lookup

    def noted(self, node, inputs):
        asked.append(node.id)
        return look_up(self, node, inputs)

    noted.flowkit_impl = look_up.flowkit_impl
    monkeypatch.setattr(Reuse, "flowkit_node_lookup", noted)
    return asked


@pytest.mark.parametrize("name", FLOWS)
def test_it_says_what_look_ups_in_turn_say(flow, name, turns):
    flow.write(FLOWS[name])
    clock = Clock()
    flow.run(clock=clock)
    flow.run(clock=clock.at(10))
    turns.clear()
    ahead = said(flow.run(clock=clock.at(20)))
    left = list(turns)
    turns.clear()
    flow.write(textwrap.dedent(ASKS_TOO), "flowconf.py")
    in_turn = said(flow.run(clock=clock.at(20)))
    assert ahead == in_turn
    assert set(turns) <= set(in_turn)
    assert len(left) < len(turns)


@pytest.mark.parametrize("name", FLOWS)
@pytest.mark.parametrize("edited", [False, True], ids=["warm", "edited"])
def test_a_plan_says_what_one_with_look_ups_in_turn_says(flow, name, edited, turns):
    flow.write(FLOWS[name])
    flow.run()
    flow.run()
    if edited:
        flow.edit("def a(): return", "def a(): return 0 +") if "def a()" in FLOWS[name] else flow.edit("1, 2\n", "2, 2\n")
    turns.clear()
    ahead = planned(flow)
    left = list(turns)
    turns.clear()
    flow.write(textwrap.dedent(ASKS_TOO), "flowconf.py")
    assert ahead == planned(flow)
    assert len(left) < len(turns) or edited  # what the edit is in may be above all


def planned(flow):
    """Node → mark and reason, without the time that went by."""
    return {
        node: (mark, reason.partition(" ")[0] if mark == "c" else reason)
        for node, (mark, reason) in flow.plan().items()
    }


def test_a_plan_of_a_run_with_nothing_to_do_asks_about_no_node_in_turn(flow, turns):
    flow.write(FLOWS["plain"])
    flow.run()
    turns.clear()
    assert {mark for mark, _ in flow.plan().values()} == {"c"}
    assert turns == []


def test_a_plan_goes_on_after_a_known_list_that_cannot_be_read(flow):
    flow.write("""
        @task
        def items() -> list: return 5
        @task(each={"i": "items"})
        def el(i): return i
        @task(cache=False)
        def loose(): return 2
        @task
        def on_loose(loose): return loose
    """)
    flow.run()
    assert {node: mark for node, (mark, _) in flow.plan().items()} == {"items": "c", "el[…]": "?", "loose": ">", "on_loose": "?"}


def test_a_plan_knows_of_elements_that_there_are_none_of(flow):
    flow.write("""
        @task(cache=False)
        def loose(): return 2
        @task
        def items(): return [0, 1, 2]
        @task(each={"i": "items"})
        def el(i):
            if i == 1: skip("one")
            return [i, i + 1]
        @task(each={"j": "el"})
        def nested(j): return j
        @task
        def total(nested: Collected[int]): return sum(nested)
    """)
    flow.run()
    plan = flow.plan()
    assert plan["loose"][0] == ">"
    assert plan["el[1]"] == ("s", "one")
    assert plan["nested[1]"] == ("s", "`el[1]` was skipped: one")
    assert plan["nested[2-3]"][0] == plan["total"][0] == "c"


@pytest.mark.parametrize(
    "rest",
    [
        """
        @task(each={"x": "xs"})
        def ys(x):
            if x == 2: skip("two")
            return [10, 20]
        @task(each={"x": "xs"})
        def zs(x): return [7, 8]
        @task(each={"z": "zs"})
        def h(z): return z
        @task(each={"y": "ys", "z": "zs"})
        def f(y, z, h): return y * z
        """,
        """
        @task
        def ys(loose): return [loose, 20]
        @task
        def off(): skip("off")
        @task(each={"y": "ys", "x": "xs"})
        def g(y, x): return y
        @task(each={"x": "off"})
        def f(x, g: Collected[int]): return x
        """,
    ],
)
def test_a_plan_knows_of_what_stands_for_a_list_that_was_skipped(flow, rest):
    flow.write(
        """
        @task(cache=False)
        def loose(): return 1
        @task
        def xs(): return [1, 2]
        """
        + rest
    )
    words = flow.words()
    plan = flow.plan()
    assert plan["loose"][0] == ">"
    skipped = {node for node, word in words.items() if word == "skipped"}
    assert skipped and skipped == {node for node, (mark, _) in plan.items() if mark == "s"}


def test_a_run_with_nothing_to_do_asks_about_no_node_in_turn(flow, turns):
    flow.write(FLOWS["plain"])
    flow.run()
    turns.clear()
    assert set(flow.words().values()) == {"cached"}
    assert turns == []


def test_what_hangs_off_a_change_is_asked_about_in_turn(flow, turns):
    flow.write(FLOWS["plain"])
    flow.run()
    flow.edit("return a + 1", "return a + 1 + 0")
    turns.clear()
    assert flow.words() == {"a": "cached", "d": "cached", "b": "same", "c": "cached"}
    assert turns == ["b", "c"]


def test_a_value_that_is_gone_is_no_longer_known(flow):
    flow.write(FLOWS["plain"])
    flow.run()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Store, "rows", lambda self: set())
        assert {n.reason for n in flow.run().report.nodes} == {"blob missing"}


def test_a_file_is_looked_at_when_it_is_the_tasks_turn(flow):
    """A task that another one precedes may take a file that this one writes, and not say so."""
    flow.write("""
        @task(cache=False)
        def writes(): Path("data.txt").write_text("new")
        @task
        def reads(path: Path = Path("data.txt")): return path.read_text()
    """)
    flow.project.write("data.txt", "old")
    flow.run()
    flow.run()
    flow.project.write("data.txt", "older")
    run = flow.run()
    assert run["reads"] == "new"


def test_refresh_and_resume_are_asked_in_turn(flow, turns):
    flow.write(FLOWS["plain"])
    flow.run()
    turns.clear()
    assert set(flow.words(refresh=["b"]).values()) == {"cached", "same"}
    assert set(turns) == {"a", "b", "c", "d"}


def test_a_stored_value_that_proves_damaged_is_computed_again(flow):
    flow.write("""
        @task
        def a(): return 1
        @task
        def b(a): return a + 1
    """)
    flow.run()
    flow.edit("return a + 1", "return a + 2")
    for row in (flow.root / ".flowkit" / "results").rglob("cache.db"):
        with contextlib.closing(sqlite3.connect(row)) as connection, connection:
            connection.execute("UPDATE Cache SET value = zeroblob(length(value))")
    run = flow.run()
    assert run["b"] == 3
    assert {n.node: n.word for n in run.report.nodes} == {"a": "same", "b": "ran"}
