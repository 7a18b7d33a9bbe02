"""Every executor passes the suite that ``flowkit.testing.conformance`` gives to authors of executors."""

import signal
import subprocess
import time

import pytest

from flowkit.testing.conformance import CASES, conforms


@pytest.mark.parametrize("slots", [1, 3])
@pytest.mark.parametrize("executor", ["inline", "threads", "simulated"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_it_conforms(case, executor, slots):
    conforms(case, executor, slots)


#: Real time: a call that is stuck in C is given up a second after it was told to stop.
LEFT = """
import time
from flowkit import resource, task

def mark(text):
    with open("marks", "a") as file:
        file.write(text + " ")

@resource
def shared():
    mark("+shared"); yield 1; mark("-shared")

@resource(scope="task")
def own(shared):
    mark("+own"); yield 1; print("said in teardown"); mark("-own")

@resource(scope="task")
async def awaited(own):
    mark("+awaited"); yield 1; mark("-awaited")

@resource(scope="task")
def bad(own):
    mark("+bad"); yield 1; mark("-bad"); raise ValueError("bad")

@resource(scope="task")
def slow(own):
    mark("+slow"); time.sleep(1.4); yield 1; mark("-slow")

@resource(scope="task")
def hanging(own):
    mark("+hanging"); yield 1; time.sleep(2.5)
"""


def left(project, task, executor="threads"):
    """What was set up and torn down in a run of a task that is stuck, and the run."""
    project.write("left.py", LEFT + task)
    run = project.run("left.py", executor=executor, no_cache=True)
    return project.read("marks").split(), run


@pytest.mark.parametrize("executor", ["inline", "threads"])
def test_what_a_stuck_call_had_set_up_is_torn_down_first(project, executor):
    source = "\n@task(timeout=0.1)\ndef stuck(awaited): time.sleep(1.4)\n"
    marks, run = left(project, source, executor)
    assert marks == ["+shared", "+own", "+awaited", "-awaited", "-own", "-shared"]
    assert run.report.counts == {"timeout": 1}
    (section,) = run.report.named("stuck").last.sections
    assert list(section.lines) == ["said in teardown"]


def test_it_is_torn_down_before_the_next_attempt_and_not_again_when_the_call_ends(project):
    marks, run = left(project, "\n@task(timeout=0.1, retries=1)\ndef stuck(bad): time.sleep(1.4)\n")
    time.sleep(0.6)  # the second call ends
    assert project.read("marks").split() == marks
    assert marks == ["+shared", *["+own", "+bad", "-bad", "-own"] * 2, "-shared"]
    assert [str(each.error) for each in run.report.teardowns] == ["bad", "bad"]


def test_of_a_call_that_is_stuck_in_a_set_up_the_others_are_torn_down(project):
    marks, run = left(project, "\n@task(timeout=0.1)\ndef stuck(slow): pass\n")
    assert marks == ["+shared", "+own", "+slow", "-own", "-shared"]
    assert run.report.counts == {"timeout": 1}


def test_a_teardown_that_does_not_end_is_left_behind_and_those_below_it_go_on(project):
    marks, run = left(project, "\n@task(timeout=0.1)\ndef stuck(hanging): time.sleep(1.4)\n")
    assert marks == ["+shared", "+own", "+hanging", "-own", "-shared"]
    assert run.report.counts == {"timeout": 1}
    assert run.report.notes[-1] == "`stuck` did not stop when told to: the teardown of its resources was left behind, still running"


def test_after_an_interrupt_the_resources_of_a_stuck_call_are_torn_down(project):
    project.write("left.py", LEFT + "\n@task\ndef stuck(own): mark('in'); time.sleep(5)\n")
    process = subprocess.Popen(project.command("run", "left.py", "--no-cache"), stdout=subprocess.DEVNULL)
    until = time.monotonic() + 30
    while not (project.root / "marks").exists() or "in" not in project.read("marks").split():
        assert time.monotonic() < until
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) == 2
    assert project.read("marks").split() == ["+shared", "+own", "in", "-own", "-shared"]
