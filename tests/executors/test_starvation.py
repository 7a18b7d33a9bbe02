"""The system starts no more threads: a run says so and ends, it never waits for one."""

import os
import subprocess
import sys

import pytest

FLOW = """
import asyncio, time
from flowkit import task

@task
def a(): return 1

@task
def b(a):
    time.sleep(0.01)
    return a

@task
async def c(a):
    await asyncio.sleep(0)
    return a

@task(each={"x": [1, 2, 3]})
def m(x): return x

@task(timeout="5s")
def d(a, b): return a + b
"""

#: A plugin: from the K-th thread on there is none, or only that one is refused.
STARVE = """
import os, threading

k, for_good, begun, start = int(os.environ["K"]), os.environ["FOR_GOOD"] == "True", 0, threading.Thread.start

def refuse(self):
    global begun
    begun += 1
    if begun == k or (for_good and begun > k):
        raise RuntimeError("can't start new thread")
    start(self)

threading.Thread.start = refuse
"""


@pytest.fixture
def starved(project):
    project.write("m.py", FLOW)
    project.write("starve.py", STARVE)

    def run(executor, k, *, for_good):
        return subprocess.run(
            [sys.executable, "-m", "flowkit", "run", "m.py", "-p", "starve", "--executor", executor],
            cwd=project.root,
            env={**os.environ, "K": str(k), "FOR_GOOD": str(for_good)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


@pytest.mark.parametrize("k", range(1, 6))
@pytest.mark.parametrize("for_good", [False, True])
@pytest.mark.parametrize("executor", ["threads", "inline"])
def test_a_run_ends_whichever_thread_cannot_be_started(starved, executor, for_good, k):
    ended = starved(executor, k, for_good=for_good)
    said = ended.stdout + ended.stderr
    assert ended.returncode in (0, 1), said
    assert "internal error" not in said
    assert "never awaited" not in said
    if ended.returncode:
        assert "no thread can be started for" in said


def test_without_threads_nothing_is_kept_and_the_run_goes_on(starved):
    ended = starved("inline", 1, for_good=True)
    assert "results are not persisted: can't start new thread" in ended.stdout
    assert "the history is not recorded: no thread can be started to write it" in ended.stdout
    assert "5 ran, 2 failed" in ended.stdout  # the coroutine, and what has a deadline


def test_threads_that_there_are_do_the_work_of_those_that_cannot_be_started(starved):
    assert "7 ran" in starved("threads", 3, for_good=False).stdout
