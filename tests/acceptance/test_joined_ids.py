"""Ids of several axes that are equal when they are joined: each node has a text of its own (language.md §5, ruling C12)."""

import pytest

import flowkit
from flowkit import FlowError

#: Each line: the axes' ids, and the texts that nodes have, in source order.
LISTS = [
    (["a-b", "a"], ["c", "b-c"], ["a-b-c", "a-b-b-c", "a-c", "a-b-c_1"]),
    (["a", "a-b"], ["c", "b-c"], ["a-c", "a-b-c", "a-b-c_1", "a-b-b-c"]),
    (["a", "a-b"], [1, 2], ["a-1", "a-2", "a-b-1", "a-b-2"]),
    (["a-b", "a"], ["c", "b-c", "b-c_1"], ["a-b-c", "a-b-b-c", "a-b-b-c_1", "a-c", "a-b-c_2", "a-b-c_1"]),
    ([1, -1], [-1, 1], ["1--1", "1-1", "-1--1", "-1-1"]),
    ([1, "1-", "x"], ["-1", 1], ["1--1", "1-1", "1---1", "1--1_1", "x--1", "x-1"]),
]
MULTIPLIED = """
    @task(each={{"x": {x}, "y": {y}}})
    def j(x, y): return f"{{x}}/{{y}}"
    @task
    def k(j): return j
    @task
    def all_of(k: Collected): return dict(k.items())
"""
TWO = MULTIPLIED.format(x=["a-b", "a"], y=["c", "b-c"])
NESTED = """
    @task
    def g(): return ["a-b", "a"]
    @task(each={"o": "g"})
    def inner(o): return ["c"] if o == "a-b" else ["b-c"]
    @task(each={"i": "inner"})
    def leaf(i): return i
    @task
    def after(leaf): return leaf
    @task
    def all_of(after: Collected): return dict(after.items())
"""


def names(run, task):
    return [n.node for n in run.report.nodes if n.node.startswith(f"{task}[")]


@pytest.mark.parametrize(("x", "y", "texts"), LISTS)
def test_what_is_equal_when_joined_gets_a_suffix_in_source_order(flow, x, y, texts):
    run = flow(MULTIPLIED.format(x=x, y=y)).run()
    values = dict(zip(texts, [f"{a}/{b}" for a in x for b in y], strict=True))
    for task in ("j", "k"):
        assert sorted(names(run, task)) == sorted(f"{task}[{text}]" for text in texts)
        assert {text: outcome.value for text, outcome in run.outcomes[task].items()} == values
        assert dict(run[task].items()) == values
        assert {text: run[f"{task}[{text}]"] for text in texts} == values
    assert run["all_of"] == values


def test_nested_elements_have_texts_of_their_own(flow):
    run = flow(NESTED).run()
    values = {"a-b-c": "c", "a-b-c_1": "b-c"}
    for task in ("leaf", "after"):
        assert {text: outcome.value for text, outcome in run.outcomes[task].items()} == values
        assert {text: run[f"{task}[{text}]"] for text in values} == values
    assert run["all_of"] == values


def test_what_stands_for_a_missing_list_has_an_id_of_its_own(flow):
    run = flow("""
        @task
        def g(): return ["a-b", "a"]
        @task(each={"o": "g"})
        def inner(o): return 1 / 0 if o == "a-b" else ["b"]
        @task(each={"i": "inner"})
        def leaf(i): return i
    """).run()
    leaves = {n.node: n.word for n in run.report.nodes if n.node.startswith("leaf")}
    assert leaves == {"leaf[a-b]": "upstream", "leaf[a-b_1]": "ran"} or leaves == {"leaf[a-b]": "ran", "leaf[a-b_1]": "upstream"}
    assert len(run.outcomes["leaf"]) == 2


def test_within_a_group_ids_are_those_of_the_group(flow):
    run = flow("""
        @task
        def xs(): return ["a-b", "a"]
        @task
        def ys(): return ["c", "b-c"]
        @task
        def zs(): return ["p", "p-q"]
        @task(each={"z": "zs", "x": "xs", "y": "ys"})
        def j(z, x, y): return z + x + y
        @task(each={"z": "zs"})
        def total(z, j: Collected): return j.ids
        @task(each={"z": "zs", "x": "xs"})
        def part(z, x, j: Collected): return j.ids
    """).run()
    assert [tuple(ids) for ids in run["total"]] == [("a-b-c", "a-b-b-c", "a-c", "a-b-c_1")] * 2
    assert [tuple(ids) for ids in run["part"]] == [("c", "b-c")] * 4
    assert len(run.outcomes["j"]) == 8


# Selecting


@pytest.mark.parametrize("source", [TWO, NESTED])
@pytest.mark.parametrize("task", ["first", "second"])
@pytest.mark.parametrize("text", ["a-b-c", "a-b-c_1"])
def test_a_text_with_a_suffix_selects_its_node(flow, source, task, text):
    task = {"first": "j", "second": "k"}[task] if source is TWO else {"first": "leaf", "second": "after"}[task]
    f = flow(source)
    value = f.run()[f"{task}[{text}]"]
    for chosen in (f.run(f"::{task}[{text}]", no_cache=True), f.run(k=f"{task}[{text}]", no_cache=True)):
        assert chosen[f"{task}[{text}]"] == value
        if source is TWO:
            assert set(names(chosen, task)) <= {f"{task}[a-b-c]", f"{task}[a-b-c_1]"}


def test_what_a_text_selects_comes_with_what_it_needs_in_another_order_of_axes(flow):
    f = flow("""
        @task(each={"x": ["a-b", "a"]})
        def first(x): return x
        @task(each={"y": ["c", "b-c"]})
        def second(y): return y
        @task
        def up(second, first): return f"{first}/{second}"
        @task
        def down(first, second, up): return up
    """)
    for flags in ({"k": "down[a-b-c_1]"}, {"target": "::down[a-b-c_1]"}, {"target": "::down", "deselect": ["down[a-b-c]"]}):
        run = f.run(flags.pop("target", ""), **flags)
        assert run.outcomes["down"]["a-b-c_1"].value == "a/b-c"
        assert "down[a-b-c]" not in names(run, "down")
        assert run.outcomes["up"]["b-c-a"].value == "a/b-c"
    assert f.run("::down[a-b-c]")["down[a-b-c]"] == "a-b/c"


def test_a_suffix_that_no_element_has_is_refused(flow):
    with pytest.raises(FlowError, match=r"j\[a-b-c_2\].*no such element"):
        flow(TWO).run("::j[a-b-c_2]")


def test_a_suffix_in_a_list_of_its_own_is_not_taken_for_one_of_joined_ids(flow):
    f = flow("""
        @task(each={"x": ["a", "b"]})
        def one(x): return x
        @task(each={"y": ["q", "q"]})
        def two(y): return y
        @task
        def both(one, two): return one + two
    """)
    assert set(f.words("::both[a-q_1]")) == {"one[a]", "two[q_1]", "both[a-q_1]"}


def test_an_override_by_ids_goes_by_those_with_suffixes(flow):
    run = flow(TWO).run(override={"j": {"a-b-c": 1, "a-b-b-c": 2, "a-c": 3, "a-b-c_1": 4}})
    assert run["all_of"] == {"a-b-c": 1, "a-b-b-c": 2, "a-c": 3, "a-b-c_1": 4}


# Elsewhere


def test_files_plan_and_history_use_the_same_text(flow, project):
    flow("""
        @task(each={"x": ["a-b", "a"], "y": ["c", "b-c"]})
        def j(x, y, out):
            path = out("t.txt")
            path.write_text(f"{x}/{y}")
            if (x, y) == ("a", "b-c") and not Path("mended").exists():
                raise ValueError
            return path
    """)
    assert "j[a-b-c_1]" in project.flowkit("run", "m.py", "-v").out
    project.write("mended", "")
    planned = project.flowkit("plan", "m.py").out
    assert [line for line in planned.splitlines() if "j[a-b-c_1]" in line]
    again = project.flowkit("run", "m.py", "--lf", "-v").out
    assert "j[a-b-c_1]" in again
    assert project.read("out/j[a-b-c_1]/t.txt") == "a/b-c"
    assert project.read("out/j[a-b-c]/t.txt") == "a-b/c"
    assert flowkit.run("m.py").ok
