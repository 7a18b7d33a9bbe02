"""A process that is killed at any moment leaves nothing wrong behind, and little to do again."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest

SOAK = bool(os.environ.get("FLOWKIT_SOAK"))
POINTS = ("before_blob", "after_file", "after_blob", "before_record", "after_record")

#: Six results in a chain, each worth a commit of its own; the third is large enough for a file.
CHAIN = '''
    import os, signal, time

    def note(name):
        with open("called", "a") as f: f.write(name + "\\n")

    @resource
    def held():
        yield 1
        if os.environ.get("KILL_AT") == "teardown": os.kill(os.getpid(), signal.SIGKILL)

    def work(name):
        note(name)
        if os.environ.get("KILL_IN") == name: os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.055)

    @task
    def t0(held):
        work("t0")
        return [0]
'''
for i in range(1, 6):
    CHAIN += f'''
    @task
    def t{i}(t{i - 1}):
        work("t{i}")
        return t{i - 1} + [{i}] + ["x" * 40_000] * {int(i == 2)}
'''
EXPECTED = [0, 1, 2, "x" * 40_000, 3, 4, 5]

#: Runs the flow; the writer kills the process the n-th time that it comes to a point.
PROGRAM = """
import os, signal, sys
import flowkit
from flowkit_plugins.cache import storage

left = [int(os.environ.get("KILL_COUNT", "1"))]

def at(point):
    if point == os.environ.get("KILL_AT"):
        left[0] -= 1
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)

class Killed(storage.Storage):
    def __init__(self, *args, **keywords):
        super().__init__(*args, at=at, **keywords)

    def put(self, *args, **keywords):
        super().put(*args, **keywords)
        if "KILL_COUNT" in os.environ:  # one group for each result, however slow the disk is
            self.flush()

storage.Storage = Killed
run = flowkit.run("m.py", executor=sys.argv[1] if len(sys.argv) > 1 else "inline", p=["no:history", "no:terminal"])
sys.exit(run.exit_code)
"""


def program(flow, *arguments, **environment):
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *arguments],
        cwd=flow.root,
        env={**flow.project.environment(), **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def killed(flow, **environment):
    """Run it to its violent end; return what was called."""
    assert program(flow, **environment).wait(60) == -signal.SIGKILL
    return flow.called()


def finished(flow):
    """Run it here to its good end; return what was called."""
    run = flow.run()
    assert run.ok and not run.report.notes, run.report
    assert run["t5"] == EXPECTED
    return flow.called()


@pytest.mark.parametrize("count", [1, 3, 4] if not SOAK else range(1, 7))
@pytest.mark.parametrize("point", POINTS)
def test_killed_at_a_point_of_writing_only_what_was_not_committed_is_computed_again(flow, point, count):
    flow.write(CHAIN)
    before = killed(flow, KILL_AT=point, KILL_COUNT=str(count))
    again = finished(flow)
    repeated = [name for name in before if name in again]
    assert repeated == before[len(before) - len(repeated) :], "only what was not committed yet"
    assert count == 1 or point == "after_file" or "t0" not in again
    assert set(before) | set(again) == {f"t{i}" for i in range(6)}
    assert flow.ran() == []


def test_killed_in_teardown_everything_is_there(flow):
    flow.write(CHAIN)
    assert len(killed(flow, KILL_AT="teardown")) == 6
    assert finished(flow) in ([], ["t5"], ["t4", "t5"])  # the last group was not on disk yet


@pytest.mark.parametrize("task", ["t0", "t3"])
def test_killed_while_it_held_the_right_to_compute_the_next_run_does_not_wait(flow, task):
    flow.write(CHAIN)
    before = killed(flow, KILL_IN=task)
    assert before[-1] == task
    began = time.monotonic()
    again = finished(flow)
    assert time.monotonic() - began < 5
    repeated = [name for name in before if name in again]
    assert task in repeated and repeated == before[len(before) - len(repeated) :]


@pytest.mark.parametrize("executor", ["inline", "threads"])
def test_killed_at_random_moments_nothing_torn_is_ever_read(flow, executor):
    flow.write(CHAIN)
    chance = random.Random(None if SOAK else 7)
    for _ in range(100 if SOAK else 3):
        process = program(flow, executor)
        time.sleep(chance.uniform(0.15, 1.0))
        process.kill()
        process.wait()
        if SOAK:
            import shutil

            finished(flow)
            if chance.random() < 0.5:
                shutil.rmtree(flow.root / ".flowkit")
    finished(flow)
    assert flow.ran() == []


# --- several at once ------------------------------------------------------------------------------

TOGETHER = '''
    import os, time
    while not Path("go").exists(): time.sleep(0.001)

    def work(name, seconds=0.08):
        with open("called", "a") as f: f.write(name + "\\n")
        time.sleep(seconds)

    @task
    def a():
        work("a")
        return 1

    @task
    def b():
        work("b")
        return 2

    @task
    def c(a, b):
        work("c")
        return a + b

    @task(each={"i": [1, 2, 3]})
    def d(c, i: int):
        work(f"d{i}")
        return c * i

    @task
    def total(d: Collected[int]):
        work("total")
        return sum(d)
'''


@pytest.mark.parametrize("count", [2, 4])
def test_processes_that_run_a_flow_at_once_compute_each_key_once(flow, count):
    flow.write(TOGETHER)
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM + "\n", "threads"],
            cwd=flow.root,
            env=flow.project.environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        for _ in range(count)
    ]
    time.sleep(0.5)
    (flow.root / "go").touch()
    for process in processes:
        errors = process.communicate(timeout=60)[1].decode()
        assert process.returncode == 0, errors
        assert "locked" not in errors
    assert sorted(flow.called()) == ["a", "b", "c", "d1", "d2", "d3", "total"]
    assert flow.run()["total"] == 18


def test_the_right_to_compute_is_kept_until_the_result_is_on_disk_also_at_the_end_of_the_run(flow, monkeypatch):
    import shutil

    from flowkit_plugins.cache import storage
    from flowkit_plugins.cache.ranges import Ranges

    flow.write("import time\n@task\ndef slow(): time.sleep(0.06); return 1")
    (key,) = [node.key for node in flow.run().report.nodes]
    shutil.rmtree(flow.root / ".flowkit")
    taken = []

    class Slow(storage.Storage):
        def __init__(self, *args, **keywords):
            super().__init__(*args, at=self._at, **keywords)

        def _at(self, point):
            if point == "before_record":
                time.sleep(0.2)  # long enough for the run to come to its end meanwhile
                other = Ranges(flow.root / ".flowkit" / "locks", run="other")
                taken.append(other.try_acquire(key) is None)
                other.close()

    monkeypatch.setattr(storage, "Storage", Slow)
    assert flow.run().ok
    assert taken == [True]


def test_who_waits_takes_over_when_the_owner_is_killed(flow):
    flow.write('''
        import os, time
        @task
        def slow():
            with open("called", "a") as f: f.write(str(os.getpid()) + "\\n")
            if Path("hang").exists(): time.sleep(60)
            return 7
    ''')
    (flow.root / "hang").touch()
    owner = program(flow)
    until = time.monotonic() + 30
    while not (flow.root / "called").exists():
        assert time.monotonic() < until
        time.sleep(0.01)
    waiter = program(flow, "threads")
    time.sleep(1.0)
    assert flow.called() == [str(owner.pid)], "the second one waits"
    (flow.root / "hang").unlink()
    owner.kill()
    owner.wait()
    assert waiter.wait(30) == 0
    assert flow.called() == [str(waiter.pid)]
    assert flow.run()["slow"] == 7
    assert flow.called() == []


def test_who_waits_says_for_whom(flow):
    from flowkit_plugins.cache.ranges import Ranges

    other = Ranges(flow.root / ".flowkit" / "locks", run="7f3")
    mine = Ranges(flow.root / ".flowkit" / "locks", run="8f4")
    right = other.try_acquire("ab" * 20)
    assert mine.try_acquire("ab" * 20) is None
    assert mine.owner("ab" * 20) == f"run 7f3, pid {os.getpid()}"
    assert other.try_acquire("ab" * 20) is None, "nor twice by one run"
    assert mine.try_acquire("cd" * 20) is not None
    right.release()
    right.release()
    assert mine.try_acquire("ab" * 20) is not None
    mine.close()
    assert other.try_acquire("ab" * 20) is not None
    other.close()


def test_the_child_of_a_fork_does_not_keep_its_parents_rights(flow):
    from flowkit_plugins.cache.ranges import Ranges

    mine = Ranges(flow.root / ".flowkit" / "locks", run="a")
    other = Ranges(flow.root / ".flowkit" / "locks", run="b")
    assert mine.try_acquire("ab" * 20)
    read, write = os.pipe()
    ready, told = os.pipe()
    child = os.fork()
    if not child:
        os.write(told, b"x")
        os.read(read, 1)
        os._exit(0)
    try:
        os.read(ready, 1)
        os.close(mine._descriptor)  # as the parent's end would, by whatever signal
        mine._descriptor = -1
        assert other.try_acquire("ab" * 20) is not None
    finally:
        os.write(write, b"x")
        os.waitpid(child, 0)
        mine.close()
        other.close()


@pytest.mark.parametrize("ranges", [True, False], ids=["byte ranges", "files"])
def test_both_kinds_of_locks_exclude(flow, ranges, monkeypatch):
    from flowkit_plugins.cache import ranges as module

    if not ranges:
        monkeypatch.setattr(module, "_SET_LOCK", None)
    one, two = (module.Ranges(flow.root / ".flowkit" / "locks", run=name) for name in ("a1", "b1"))
    right = one.try_acquire("ab" * 20)
    assert right is not None and two.try_acquire("ab" * 20) is None
    assert "run a1" in two.owner("ab" * 20)
    right.release()
    assert two.try_acquire("ab" * 20) is not None
    one.close()
    two.close()
