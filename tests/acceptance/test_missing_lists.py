"""What hangs off a mapped task that has no elements, as its source gave no list: the table holds there, too (C14, §6)."""

import pytest

from flowkit import Success

WRONG, FAILED, SKIPPED = "return 5", 'fail("down")', 'skip("none")'

#: Followers of a mapped task ``t``, each one node without brackets.
FOLLOWERS = """
    @task
    def src(): {source}
    @task(each={{"x": "src"}})
    def t(x): return x
    @task
    def plain(t): return 1
    @task
    def value(t: Success): return 1
    @task
    def failure(t: Failure): return type(t.error).__name__
    @task
    def other(t: Failure[ZeroDivisionError]): return 1
    @task
    def skipped(t: Skipped): return t.reason, len(t.failures)
    @task
    def outcome(t: Outcome): return type(t).__name__
    @task
    def either(t: int | Failure): return type(t).__name__
    @task(trigger="any_failed")
    def any_failed(t): return type(t).__name__
    @task(trigger="any_failed", needs=["t"])
    def any_need(): return 1
    @task(trigger="all_done")
    def all_done(t): return type(t).__name__
    @task(trigger="none_failed")
    def none_failed(t): return type(t).__name__
"""


def followers(flow, source):
    return flow(FOLLOWERS.format(source=source))


@pytest.mark.parametrize(
    ("source", "t", "ran", "upstream"),
    [
        (WRONG, "failed", "failure outcome either any_failed any_need all_done", "plain value other none_failed"),
        (FAILED, "upstream", "skipped outcome any_failed any_need all_done", "plain value either none_failed"),
        (SKIPPED, "skipped", "skipped outcome all_done none_failed", ""),
    ],
)
def test_followers_are_judged_by_the_table_as_below_any_other_node(flow, source, t, ran, upstream):
    words = followers(flow, source).words()
    assert words["t"] == t
    del words["src"], words["t"]
    assert {name for name, word in words.items() if word == "ran"} == set(ran.split())
    assert {name for name, word in words.items() if word == "upstream"} == set(upstream.split())
    assert set(words.values()) <= {"ran", "upstream", "skipped"}


def test_they_receive_what_became_of_the_one_node(flow):
    run = followers(flow, WRONG).run()
    assert run["failure"] == "NotAList"
    assert run["outcome"] == run["any_failed"] == "Failure"
    run = followers(flow, FAILED).run()
    assert run["skipped"] == ("`src` failed", 1)
    assert run["outcome"] == run["any_failed"] == "Skipped"
    assert followers(flow, SKIPPED).run()["skipped"] == ("`src` was skipped: none", 0)


def test_those_that_do_not_run_name_the_root(flow):
    assert followers(flow, WRONG).reasons()["plain"] == "`t` failed"
    assert followers(flow, FAILED).reasons()["plain"] == "`src` failed"
    assert "`src` was skipped: none" in followers(flow, SKIPPED).reasons()["plain"]


@pytest.mark.parametrize("executor", ["inline", "threads"])
def test_what_follows_one_that_ran_runs_too(flow, executor):
    f = flow("""
        @task
        def src(): return 5
        @task(each={"x": "src"})
        def t(x): return x
        @task
        def safe(t: int | Failure): return 7
        @task
        def after(safe): return safe + 1
        @task
        def sure(safe: Success): return safe.value, safe.attempts
    """)
    run = f.run(executor=executor)
    assert (run["after"], run["sure"]) == (8, (7, 1))
    assert run.outcomes["safe"] == Success(7, 1, run.outcomes["safe"].duration, False)


@pytest.mark.parametrize(
    ("source", "word", "reason"),
    [(WRONG, "upstream", "`t` failed"), (FAILED, "upstream", "`src` failed"), (SKIPPED, "skipped", "`src` was skipped: none")],
)
@pytest.mark.parametrize("collects", ["Collected[int]", "Collected[Success[int]]", "Collected[Outcome[int]]"])
def test_a_collector_takes_no_follower_that_ran_for_an_element(flow, collects, source, word, reason):
    """Whatever it makes of the missing list, nobody knows what elements there would have been."""
    f = flow(f"""
        @task
        def src(): {source}
        @task(each={{"x": "src"}})
        def t(x): return x
        @task
        def safe(t: Outcome): return 0
        @task
        def after(safe): return safe
        @task
        def total(after: {collects}): return sum(after)
        @task(needs=["after"])
        def last(): return 1
    """)
    run = f.run()
    nodes = {n.node: (n.word, n.reason) for n in run.report.nodes}
    assert nodes["total"] == (word, reason)
    assert nodes["after"][0] == "ran"
    assert nodes["last"][0] == "ran"  # all that it has to come after has succeeded


def test_a_follower_with_elements_of_its_own_is_not_judged(flow):
    """It has no node for each of them: how many there are is not what is known."""
    words = flow("""
        @task
        def src(): return 5
        @task(each={"x": "src"})
        def t(x): return x
        @task(each={"y": [1, 2]})
        def u(y): return y
        @task
        def both(t: Failure, u): return 1
        @task(each={"y": [1, 2]})
        def own(t: Failure, y): return 1
    """).words()
    assert (words["both"], words["own"]) == ("upstream", "upstream")


def test_a_branch_without_a_list_is_judged_like_the_whole(flow):
    run = flow("""
        @task
        def xs(): return ["a", "b"]
        @task(each={"x": "xs"})
        def ys(x): return [1, 2] if x == "a" else fail("down")
        @task(each={"y": "ys"})
        def t(y): return y
        @task
        def safe(t: int | Skipped): return 0 if isinstance(t, Skipped) else t
        @task
        def after(safe): return safe
    """).run()
    assert {n.node: n.word for n in run.report.nodes if n.node.startswith(("t", "safe", "after"))} == {
        "t[a-1]": "ran", "t[a-2]": "ran", "t[b]": "upstream",
        "safe[a-1]": "ran", "safe[a-2]": "ran", "safe[b]": "ran",
        "after[a-1]": "ran", "after[a-2]": "ran", "after[b]": "ran",
    }  # fmt: skip


def test_a_follower_that_ran_is_reused_until_what_it_received_changes(flow, project):
    text = """
        @task
        def src(): {source}
        @task(each={{"x": "src"}})
        def t(x): return x
        @task
        def safe(t: int | Skipped): return 0 if isinstance(t, Skipped) else t
        @task
        def after(safe): return safe
    """
    f = flow(text.format(source=SKIPPED))
    assert f.words()["after"] == "ran"
    assert {name: word for name, word in f.words().items() if name in ("safe", "after")} == {"safe": "cached", "after": "cached"}
    assert "safe" in project.flowkit("plan", "m.py").out
    f = flow(text.format(source="return [3]"))
    run = f.run()
    assert list(run["after"]) == [3]


def test_a_fallback_stands_in_for_a_follower_but_not_for_the_missing_list(flow):
    run = flow("""
        @task
        def src(): return 5
        @task
        def instead(): return 2
        @task(each={"x": "src"}, fallback="instead")
        def t(x): return x
        @task
        def spare(t: Failure): return 3
        @task(fallback="spare")
        def h(t: Failure): fail("no")
        @task
        def after(h): return h
    """).run()
    words = {n.node: n.word for n in run.report.nodes}
    assert (words["instead"], words["t"], words["h"], words["spare"]) == ("skipped", "failed", "failed", "ran")
    assert run["after"] == 3


def test_what_always_runs_does_so_when_the_run_was_stopped(flow):
    words = flow("""
        @task
        def src(): fail("down")
        @task(each={"x": "src"})
        def t(x): return x
        @task(trigger="always")
        def tidy(t): return type(t).__name__
        @task(trigger="all_done")
        def done(t): return 1
    """).words(maxfail=1)
    assert (words["tidy"], words["done"]) == ("ran", "not run")
