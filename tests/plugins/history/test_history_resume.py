"""``--resume``: what is kept, what runs, with which parameters, and what cannot be resumed."""

import json

import pytest

import flowkit
from flowkit_plugins.history.databases import open_to_write

MAPPED = """
    import os
    from pathlib import Path
    from flowkit import task, Collected

    def note(name):
        with open("ran.txt", "a") as file:
            file.write(name + "\\n")

    @task(cache=False)
    def items() -> list[str]:
        note("items")
        return Path("items.txt").read_text().split()

    @task(each={"item": "items"}, cache=False)
    def up(item: str) -> str:
        note(f"up[{item}]")
        if item == "b" and not os.path.exists("fixed"):
            raise ValueError("bad b")
        return item.upper()

    @task
    def total(up: Collected[str], n: int = 1) -> str:
        note("total")
        return "".join(up) * n
"""


@pytest.fixture
def mapped(project):
    """A flow of a mapped task of which the second of three elements failed."""
    project.write("m.py", MAPPED)
    project.write("items.txt", "a b c")
    assert not project.run("m.py", params={"n": 2}, executor="inline").ok
    (project.root / "ran.txt").unlink()
    return project


def ran(project):
    file = project.root / "ran.txt"
    return file.read_text().split() if file.exists() else []


def test_only_what_did_not_end_well_runs_cache_false_included(mapped):
    mapped.write("fixed")
    run = mapped.run("m.py", resume=True, executor="inline")
    assert run.ok
    assert run["total"] == "ABCABC"  # with the parameter of the run that is continued
    assert ran(mapped) == ["up[b]", "total"]


def test_a_partial_set_is_never_taken_for_the_whole(mapped):
    run = mapped.run("m.py", resume=True, executor="inline")
    assert not run.ok
    assert ran(mapped) == ["up[b]"]
    assert {n.node: n.word for n in run.report.nodes}["total"] == "upstream"


def test_a_resumed_run_that_failed_is_resumed_in_turn(mapped):
    assert not mapped.run("m.py", resume=True, executor="inline").ok
    mapped.write("fixed")
    assert mapped.run("m.py", resume=True, executor="inline")["total"] == "ABCABC"
    assert ran(mapped) == ["up[b]", "up[b]", "total"]


def test_after_a_whole_run_cache_false_runs_as_ever(mapped):
    mapped.write("fixed")
    assert mapped.run("m.py", resume=True, executor="inline").ok
    (mapped.root / "ran.txt").unlink()
    assert mapped.run("m.py", params={"n": 2}, executor="inline").ok
    assert sorted(ran(mapped)) == ["items", "up[a]", "up[b]", "up[c]"]


def test_a_changed_source_list_runs_what_is_new_and_keeps_what_is_the_same(mapped):
    mapped.write("m.py", MAPPED.replace('Path("items.txt").read_text().split()', '["z", "c", "a"]'))
    run = mapped.run("m.py", resume=True, executor="inline")
    assert run["total"] == "ZCAZCA"
    assert ran(mapped) == ["items", "up[z]", "total"]
    reasons = {n.node: n.reason for n in run.report.nodes}
    assert reasons["items"].startswith("changed since run")
    assert reasons["up[a]"].startswith("kept from run")


def test_an_edited_task_runs_again_and_says_so(mapped):
    mapped.write("fixed")
    mapped.write("m.py", MAPPED.replace("item.upper()", "item.upper() + '!'"))
    run = mapped.run("m.py", resume=True, executor="inline")
    assert run["total"] == "A!B!C!A!B!C!"
    assert ran(mapped) == ["up[a]", "up[b]", "up[c]", "total"]
    assert {n.node: n.reason for n in run.report.nodes}["up[a]"].startswith("changed since run")


def test_two_equal_elements_that_did_not_both_end_do_not_stand_in_for_each_other(project):
    project.write(
        "m.py",
        """
        from pathlib import Path
        from flowkit import task, Collected

        @task
        def items() -> list[str]:
            return ["q", "q"]

        @task(each={"item": "items"}, cache=False)
        def up(item: str) -> str:
            file = Path("n.txt")
            n = len(file.read_text()) if file.exists() else 0
            file.write_text("x" * (n + 1))
            if n == 1:
                raise ValueError("second")
            return item

        @task
        def total(up: Collected[str]) -> int:
            return len(up)
        """,
    )
    first = project.run("m.py", executor="inline")
    assert {n.word for n in first.report.nodes if n.node.startswith("up")} == {"ran", "failed"}
    assert project.run("m.py", executor="inline", resume=True)["total"] == 2
    assert (project.root / "n.txt").read_text() == "xxx"


def test_other_parameters_than_the_runs_are_refused(mapped):
    with pytest.raises(flowkit.FlowError, match=r"n was 2, and now params\['n'\] says otherwise"):
        mapped.run("m.py", resume=True, params={"n": 3})
    assert mapped.run("m.py", resume=True, params={"n": 2}, executor="inline") is not None
    ended = mapped.flowkit("run", "m.py", "--resume", "-P", "n=3")
    assert ended.exit_code == 4
    assert "-P n=3" in ended.err


def test_a_secret_is_not_stored_and_has_to_be_given_again(project):
    project.write(
        "m.py",
        """
        from pydantic import SecretStr
        from flowkit import task
        import os

        @task
        def login(token: SecretStr) -> int:
            if not os.path.exists("fixed"):
                raise ValueError(token.get_secret_value())
            return 1
        """,
    )
    assert project.flowkit("run", "m.py", "-P", "token=hunter-two", "-P", "x=1").exit_code == 4
    assert project.flowkit("run", "m.py", "-P", "token=hunter-two").exit_code == 1
    for file in (project.root / ".flowkit").rglob("history.db*"):
        assert b"hunter-two" not in file.read_bytes()
    ended = project.flowkit("run", "m.py", "--resume")
    assert ended.exit_code == 4
    assert "token is a secret" in ended.err
    project.write("fixed")
    assert project.flowkit("run", "m.py", "--resume", "-P", "token=hunter-two").exit_code == 0
    assert project.flowkit("show").out.count("hunter") == 0


def test_a_secret_in_the_id_of_an_element_is_masked_and_the_element_found_again(project):
    project.write(
        "m.py",
        """
        from pathlib import Path
        from pydantic import SecretStr
        from flowkit import task, Collected

        @task
        def urls(token: SecretStr) -> list[str]:
            return [f"{site}/{token.get_secret_value()}" for site in "ab"]

        @task(each={"url": "urls"}, cache=False)
        def got(url: str) -> int:
            with open("ran.txt", "a") as file:
                file.write(url[0] + "\\n")
            if url[0] == "b" and not Path("fixed").exists():
                raise ValueError(url)
            return 1

        @task
        def count(got: Collected[int]) -> int:
            return len(got)
        """,
    )
    assert project.flowkit("run", "m.py", "-P", "token=hunter-two").exit_code == 1
    for words in (["show"], ["why", "count"], ["logs"], ["runs", "--json"], ["show", "--json"]):
        shown = project.flowkit(*words)
        assert shown.exit_code == 0
        assert "hunter" not in shown.out
    assert "F got[b/**********]  FAILED" in project.flowkit("show").out
    for file in (project.root / ".flowkit").glob("history.db*"):
        assert b"hunter-two" not in file.read_bytes()
    assert project.flowkit("run", "m.py", "--lf", "-P", "token=hunter-two").exit_code == 1
    (project.root / "ran.txt").unlink()
    project.write("fixed")
    assert project.flowkit("run", "m.py", "--resume", "-P", "token=hunter-two").exit_code == 0
    assert ran(project) == ["b"]


def test_a_run_without_a_cache_cannot_be_resumed_and_says_so(mapped):
    assert not mapped.run("m.py", no_cache=True, executor="inline").ok
    ended = mapped.flowkit("run", "m.py", "--resume")
    assert ended.exit_code == 4
    assert "made without a cache" in ended.err


def test_without_an_earlier_run_everything_runs_and_an_unknown_one_is_an_error(project):
    project.write("m.py", "from flowkit import task\n@task\ndef t(): return 1\n")
    ended = project.flowkit("run", "m.py", "--resume")
    assert ended.exit_code == 0
    assert "no earlier run" in ended.out
    ended = project.flowkit("run", "m.py", "--resume=fffffff")
    assert ended.exit_code == 4
    assert "there is no run 'fffffff'" in ended.err


def test_an_expired_result_of_the_run_is_still_its_result(project):
    project.write(
        "m.py",
        """
        from flowkit import task
        import os, time

        @task(cache="1ms")
        def quick() -> float:
            return time.time()

        @task
        def last(quick: float) -> float:
            if not os.path.exists("fixed"):
                raise ValueError
            return quick
        """,
    )
    first = project.run("m.py", executor="inline")
    project.write("fixed")
    assert project.run("m.py", executor="inline", resume=first.id)["last"] == first["quick"]


def test_the_scheduled_time_is_that_of_the_run(project):
    project.write(
        "m.py",
        """
        from datetime import datetime
        from flowkit import task
        import os

        @task
        def when(scheduled_at: datetime) -> str:
            return scheduled_at.isoformat()

        @task
        def last(when: str) -> str:
            if not os.path.exists("fixed"):
                raise ValueError
            return when
        """,
    )
    first = project.run("m.py", executor="inline")
    project.write("fixed")
    again = project.run("m.py", executor="inline", resume=first.id)
    assert again["last"] == first["when"]
    assert [n.word for n in again.report.nodes] == ["cached", "ran"]


@pytest.mark.parametrize(
    ("words", "total", "runs"),
    [
        (["--value", '"X"'], "AXCAXC", ["total"]),
        (["--skip", "not today"], "ACAC", ["total"]),
        (["--fail", "gave up"], None, []),
    ],
)
def test_a_node_can_be_repaired_by_hand(mapped, words, total, runs):
    assert mapped.flowkit("set", "last-failed", "up[b]", *words).exit_code == 0
    assert "set by hand" in mapped.flowkit("show", "last-failed").out
    run = mapped.run("m.py", resume=True, executor="inline")
    assert ran(mapped) == runs
    if total is None:
        assert "gave up" in str({n.node: n.error for n in run.report.nodes}["up[b]"])
    else:
        assert run["total"] == total


def test_a_value_set_by_hand_that_does_not_fit_fails_its_node(mapped):
    assert mapped.flowkit("set", "last", "up[b]", "--value", "[1, 2]").exit_code == 0
    run = mapped.run("m.py", resume=True, executor="inline")
    assert "the value that was set by hand" in str({n.node: n.error for n in run.report.nodes}["up[b]"])
    assert ran(mapped) == []


@pytest.mark.parametrize(
    ("node", "known"), [("up[z]", False), ("nosuch[a]", False), ("nosuch", False), ("up", False), ("items", True)]
)
def test_only_nodes_that_there_are_can_be_set(mapped, node, known):
    ended = mapped.flowkit("set", "last", node, "--value", "1")
    assert ended.exit_code == (0 if known else 4)
    assert known or f"has no node {node!r}" in ended.err


HELD_UP = """
    from flowkit import Collected, task
    @task
    def items(): return [1, 2, 3]
    @task(each={"x": "items"})
    def up(x):
        if x > 1: raise ValueError(x)
        return x
    @task
    def beside(): raise ValueError
    @task
    def follows(up): return up * 10
    @task
    def total(follows: Collected[int]): return sum(follows)
    @task
    def last(total, beside): return total
"""


@pytest.mark.parametrize(
    ("node", "named"),
    [("follows[2]", "up[2]"), ("total", "up[2], m.py::up[3]"), ("last", "beside, m.py::up[2], m.py::up[3]")],
)
def test_a_node_that_did_not_run_for_others_is_not_set_and_these_are_named(project, node, named):
    project.write("m.py", HELD_UP)
    assert project.flowkit("run", "m.py", "--executor", "inline").exit_code == 1
    ended = project.flowkit("set", "last", node, "--value", "7")
    assert ended.exit_code == 4
    names = ended.err.partition("what failed above it: ")[2].splitlines()[0]
    assert sorted(names.split(", ")) == [f"m.py::{name.removeprefix('m.py::')}" for name in named.split(", ")]


def test_a_node_below_those_that_were_set_can_be_set(project):
    project.write("m.py", HELD_UP)
    assert project.flowkit("run", "m.py").exit_code == 1
    for node in ("up[2]", "up[3]", "follows[2]"):
        assert project.flowkit("set", "last", node, "--value", "7").exit_code == 0
    run = project.run("m.py", resume=True, executor="inline")
    assert run["total"] == 10 + 7 + 70


def test_an_element_that_a_lost_run_did_not_come_to_can_be_set(mapped):
    connection = open_to_write(mapped.root / ".flowkit" / "history.db", 1.0)
    connection.execute("UPDATE runs SET status = 'lost'")
    connection.execute("DELETE FROM nodes WHERE node = 'm.py::up[b]'")
    connection.close()
    assert mapped.flowkit("set", "last", "up[b]", "--value", "X").exit_code == 0
    assert mapped.flowkit("set", "last", "nosuch[b]", "--value", "X").exit_code == 4
    assert mapped.run("m.py", resume=True, executor="inline")["total"] == "AXCAXC"


def test_unstorable_values_run_again_where_they_are_needed(project):
    project.write(
        "m.py",
        """
        from flowkit import task
        import os, threading

        def note(name):
            with open("ran.txt", "a") as file:
                file.write(name + "\\n")

        @task(cache=False)
        def lock():
            note("lock")
            return threading.Lock()

        @task(cache=False)
        def used(lock) -> int:
            note("used")
            return 1

        @task
        def last(used: int) -> int:
            if not os.path.exists("fixed"):
                raise ValueError
            return used
        """,
    )
    assert not project.run("m.py", executor="inline").ok
    project.write("fixed")
    assert project.run("m.py", executor="inline", resume=True)["last"] == 1
    assert ran(project) == ["lock", "used"]


@pytest.mark.parametrize("value", ["lambda: 3", "__import__('threading').Lock()"])
def test_what_was_not_stored_is_called_for_that_reason_in_every_resumed_run(project, value):
    """Called after all, its record lost that it is the run's: each second resumed run said that it had changed."""
    project.write("m.py", f"""
        from flowkit import task

        @task(cache=False)
        def made():
            return {value}

        @task
        def good(made):
            with open("ran.txt", "a") as file:
                file.write("good ")

        @task(needs=["good"])
        def bad(made):
            raise ValueError("no")
    """)
    project.run("m.py", executor="inline")
    for _ in range(3):
        run = project.run("m.py", resume=True, executor="inline")
        assert run.report.named("made").reason == "its result was not storable, and `bad` needs it"
        assert run.report.named("good").word == "cached"
    assert ran(project) == ["good"]


def test_child_runs_are_recorded_with_the_task_that_started_them(project):
    project.write("child.py", "from flowkit import task\n@task\ndef c(): return 1\n")
    project.write(
        "m.py",
        """
        import flowkit

        @flowkit.task
        def parent() -> int:
            return flowkit.run("child.py")["c"]
        """,
    )
    run = project.run("m.py")
    shown = json.loads(project.flowkit("show", run.id, "--json").out)
    (child,) = shown["children"]
    assert json.loads(project.flowkit("show", child, "--json").out)["parent_node"] == "m.py::parent"
    assert child not in project.flowkit("runs").out
    assert child in project.flowkit("runs", "--all").out
