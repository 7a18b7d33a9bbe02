"""In which order nodes start that could: what was unlocked most recently first, then definition order (P4)."""

import pytest

SAVES = """
    @task
    def src(): return [1, 2]
    @task
    def other(): return 0
    @task(each={"x": "src"})
    def load(x): return x
    @task
    def save(load): return load
    @task
    def other2(other): return 0
"""


@pytest.fixture(params=["inline", "threads"])
def order(request):
    """Return the nodes of a flow in the order in which they ended, one at a time."""

    def run(written, **keywords):
        keywords = {"no_cache": True, "executor": request.param, "n": 1} | keywords
        return [n.node for n in written.run(**keywords).report.nodes]

    return run


def test_elements_go_before_what_was_ready_before_they_came_into_being(flow, order):
    f = flow(SAVES)
    assert order(f) == ["src", "load[1]", "save[1]", "load[2]", "save[2]", "other", "other2"]


def test_below_a_source_that_is_known_beforehand_they_are_ready_at_the_start(flow, order):
    f = flow(SAVES)
    f.run("::src")
    wanted = ["src", "other", "other2", "load[1]", "save[1]", "load[2]", "save[2]"]
    assert order(f, no_cache=False) == wanted


def test_elements_of_elements_go_before_the_next_element(flow, order):
    f = flow("""
        @task
        def xs(): return ["a", "b"]
        @task(each={"x": "xs"})
        def ys(x): return [1, 2]
        @task(each={"y": "ys"})
        def m(y): return y
        @task
        def f(m): return m
    """)
    a, b = (["ys[{0}]", "m[{0}-1]", "f[{0}-1]", "m[{0}-2]", "f[{0}-2]"] for _ in range(2))
    assert order(f) == ["xs", *[n.format("a") for n in a], *[n.format("b") for n in b]]


def test_elements_go_by_definition_among_what_their_source_unlocks(flow, order):
    f = flow("""
        @task
        def src(): return [1, 2]
        @task
        def early(src): return 0
        @task(each={"x": "src"})
        def load(x): return x
        @task
        def late(src): return 0
        @task(each={"x": "src"})
        def more(x): return x
    """)
    assert order(f) == ["src", "early", "load[1]", "load[2]", "late", "more[1]", "more[2]"]


MAPPED = """
    @task
    def first(): return 0
    @task(each={{"x": {}}})
    def a(x{}): return x
    @task
    def between(): return 0
    @task(each={{"x": {}}})
    def b(x): return x
"""


@pytest.mark.parametrize(
    ("source", "keywords"), [("[1, 2]", {}), ('"numbers"', {"params": {"numbers": [1, 2]}}), ('"numbers"', {"override": {"numbers": [1, 2]}})]
)
def test_elements_of_a_list_that_is_given_are_ready_at_the_start(flow, order, source, keywords):
    f = flow(MAPPED.format(source, ": int", source))
    assert order(f, **keywords) == ["first", "a[1]", "a[2]", "between", "b[1]", "b[2]"]


def test_who_takes_a_given_value_is_ready_at_the_start(flow, order):
    f = flow("""
        @task
        def raw(): return 1
        @task
        def first(): return 0
        @task
        def second(raw): return raw
        @task
        def third(): return 0
    """)
    assert order(f, override={"raw": 5}) == ["first", "second", "third"]


def test_elements_that_are_given_make_way_for_their_followers(flow, order):
    f = flow(SAVES)
    assert order(f, override={"load": [5, 6]}) == ["src", "save[1]", "save[2]", "other", "other2"]
