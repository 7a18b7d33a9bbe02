"""``flowkit logs -f``: what a node prints is seen while it runs, once, and is not lost when it is killed."""

import json
import subprocess
import time

from flowkit_plugins.history.following import Follower
from flowkit_plugins.history.reading import AttemptEnd, RunningNode

FLOW = """
    import os, sys, time
    from flowkit import task
    from pydantic import SecretStr

    def wait_for(name):
        while not os.path.exists(name):
            time.sleep(0.02)

    @task
    def quick() -> int:
        print("quick says", 1)
        return 1

    @task
    def slow(quick: int, token: SecretStr = SecretStr("hunter-two")) -> int:
        print("first line")
        print("the token is", token.get_secret_value())
        print("half a", end=" ")
        open("started", "w").close()
        wait_for("go")
        print("line")
        print("to the error", file=sys.stderr)
        return 2
"""


def started(project):
    """Start a run of the flow; return its process when ``slow`` has printed its first lines."""
    project.write("m.py", FLOW)
    process = subprocess.Popen(
        project.command("run", "m.py"), cwd=project.root, env=project.environment(), stdout=subprocess.DEVNULL
    )
    while not (project.root / "started").exists():
        time.sleep(0.02)
    return process


def lines_until(stream, last):
    found = []
    for line in stream:
        found.append(line.rstrip("\n"))
        if found[-1] == last:
            return found
    raise AssertionError(f"{last!r} did not come: {found}")


def test_what_is_printed_is_followed_while_the_node_runs_and_told_once(project):
    run = started(project)
    follow = subprocess.Popen(
        project.command("logs", "-f"), cwd=project.root, env=project.environment(), stdout=subprocess.PIPE, text=True
    )
    try:
        found = lines_until(follow.stdout, "the token is **********")
        assert run.poll() is None, "it was followed while it ran"
        project.write("go")
        assert run.wait(30) == 0
        found += follow.communicate(timeout=30)[0].splitlines()
    finally:
        run.kill()
        follow.kill()
    heads = [line for line in found if line.startswith("===")]
    assert heads[0].startswith("=== m.py::quick attempt 1: success")
    assert heads[1] == "=== m.py::slow attempt 1: running ==="
    assert heads[2].startswith("=== m.py::slow attempt 1: success")
    assert [line for line in found if not line.startswith(("===", "---"))] == [
        "quick says 1", "first line", "the token is **********", "half a line", "to the error",
    ]  # fmt: skip


def test_what_a_killed_node_had_printed_is_kept(project):
    run = started(project)
    shown = ""
    while "the token is" not in shown:
        time.sleep(0.1)
        shown = project.flowkit("logs", "last", "slow").out
    run.kill()
    run.wait()
    shown = project.flowkit("logs", "last", "slow").out.splitlines()
    assert shown == [
        "=== m.py::slow attempt 1: was running ===", "--- Captured stdout ---", "first line", "the token is **********",
    ]  # fmt: skip


def sections(**texts):
    return json.dumps([[title, "\n".join(lines)] for title, lines in texts.items()])


def running(node, **texts):
    return RunningNode(node, 1, 0.0, sections(**texts))


def ended(node, kind="success", **texts):
    return AttemptEnd(node, 1, kind, 0.0, 2.0, "ValueError: no", "Traceback\nValueError: no", None, sections(**texts), None)


def test_two_nodes_that_print_in_turn_are_told_apart():
    follower = Follower()
    first = [running("a", out=["a1"]), running("b", out=["b1"])]
    assert list(follower.running(first, None, "running")) == [
        "=== a attempt 1: running ===", "--- out ---", "a1", "=== b attempt 1: running ===", "--- out ---", "b1",
    ]  # fmt: skip
    then = [running("a", out=["a1"]), running("b", out=["b1", "b2"], err=["oh"])]
    assert list(follower.running(then, None, "running")) == ["b2", "--- err ---", "oh"]
    assert list(follower.running(then, {"a"}, "running")) == []


def test_lines_whose_beginning_was_left_out_meanwhile_are_not_told_again():
    follower = Follower()
    list(follower.running([running("a", out=["1", "2", "3", "4"])], None, "running"))
    again = [running("a", out=["… 2 characters left out …", "2", "3", "4", "5"])]
    assert list(follower.running(again, None, "running")) == ["5"]
    over = ended("a", "error", out=["1", "2", "3", "4", "5", "6"])
    assert list(follower.ended([over], None)) == [
        "=== a attempt 1: error 2.00s ===", "--- out ---", "6", "Traceback", "ValueError: no",
    ]  # fmt: skip
