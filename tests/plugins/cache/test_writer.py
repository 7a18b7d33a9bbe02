"""The writer: groups, order, and what is left when it is killed or the disk is full."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from flowkit_plugins.cache import packs, writer
from flowkit_plugins.cache.faults import Miss, StoreError
from flowkit_plugins.cache.store import Store
from flowkit_plugins.cache.traces import Last, Trace, Traces
from flowkit_plugins.cache.writer import Writer

KEY = b"k" * 32
POINTS = ("before_blob", "after_file", "after_blob", "before_record", "after_record")


class Kit:
    """A store, traces and a writer in one folder, and what the writer reported."""

    def __init__(self, folder: Path) -> None:
        self.store = Store(folder / "results", key=KEY)
        self.traces = Traces(folder / "traces.db")
        self.failures: list[str] = []
        self.points: list[str] = []
        self.writer = Writer(
            self.store, self.traces, on_failure=self.failures.append, at=self.points.append
        )

    def put(self, key, value, **options):
        self.writer.put(
            Trace(key, "t", key, key, "success", 0.1, 1.0),
            Last("m.py", key, key, key, 0.1, 1.0),
            blob=(key, self.store.dump(value)),
            **options,
        )

    def close(self):
        self.writer.close()
        self.store.close()
        self.traces.close()


@pytest.fixture
def kit(tmp_path):
    made = Kit(tmp_path)
    yield made
    made.close()


def read_back(kit):
    """Every recorded value by key; a trace whose value cannot be had fails the test."""
    values = {}
    for trace in kit.traces.everything():
        found = kit.store.get(trace.blob)
        assert not isinstance(found, Miss), (trace, found)
        assert found.size == trace.size
        values[trace.key] = found.value
    return values


def test_what_is_flushed_is_stored_with_the_names_it_got(kit):
    for n in range(100):
        kit.put(f"k{n}", n)
    kit.put("large", np.arange(100_000))
    assert kit.writer.flush()
    values = read_back(kit)
    assert (values.pop("large") == np.arange(100_000)).all()
    assert values == {f"k{n}": n for n in range(100)}
    assert set(kit.traces.load_all("m.py")) == set(kit.traces.last("m.py")) == {*values, "large"}


def test_blobs_come_before_traces(kit):
    kit.put("a", 1)
    kit.writer.flush()
    assert kit.points == list(POINTS)


def test_a_result_without_a_value_is_recorded_as_it_is(kit):
    trace = Trace("a", "t", "d", "elsewhere", "skipped", 0.1, 1.0, reason="odd")
    kit.writer.put(trace)
    kit.writer.flush()
    assert kit.traces.lookup("a") == trace
    assert not kit.store.directory.exists()


def test_small_results_wait_for_company_and_an_urgent_one_takes_them_along(kit, monkeypatch):
    monkeypatch.setattr(writer, "GROUP_SECONDS", 60.0)
    stored = threading.Event()
    for n in range(50):
        kit.put(f"k{n}", n)
    assert kit.points == []
    kit.put("urgent", 1, urgent=True, then=stored.set)
    assert stored.wait(10)
    assert len(read_back(kit)) == 51
    assert kit.points.count("after_record") == 1


def test_256_results_are_a_group(kit, monkeypatch):
    monkeypatch.setattr(writer, "GROUP_SECONDS", 60.0)
    stored = threading.Event()
    kit.put("first", 0, then=stored.set)
    for n in range(255):
        assert not stored.is_set()
        kit.put(f"k{n}", n)
    assert stored.wait(10)


def test_a_lonely_result_is_stored_soon(kit):
    stored = threading.Event()
    kit.put("a", 1, then=stored.set)
    assert stored.wait(10)
    assert read_back(kit) == {"a": 1}


def test_a_writer_that_was_closed_starts_again(kit):
    kit.put("a", 1)
    assert kit.writer.close()
    assert kit.writer.close()
    kit.put("b", 2)
    assert kit.writer.close()
    assert read_back(kit) == {"a": 1, "b": 2}
    assert not [t for t in threading.enumerate() if t.name == "flowkit-cache"]


def test_several_threads_hand_over_at_once(kit):
    def work(me):
        for n in range(300):
            kit.put(f"{me}-{n}", n, urgent=n % 50 == 0)

    threads = [threading.Thread(target=work, args=(me,)) for me in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert kit.writer.flush()
    assert len(read_back(kit)) == 1200


def test_values_waiting_to_be_written_are_bounded(kit, monkeypatch):
    monkeypatch.setattr(writer, "MOST_BYTES", 1_000_000)
    monkeypatch.setattr(writer, "GROUP_SECONDS", 60.0)
    most = []
    for n in range(20):
        kit.put(f"k{n}", np.full(50_000, n))
        most.append(kit.writer._bytes)
    assert max(most) <= 1_000_000
    kit.put("huge", np.zeros(1_000_000))  # larger than the bound, alone: let through
    assert kit.writer.flush()
    assert len(read_back(kit)) == 21


@pytest.mark.parametrize("victim", ["store", "traces"])
def test_the_first_failure_is_told_once_and_the_run_goes_on(kit, monkeypatch, victim):
    kit.put("before", 1)
    kit.writer.flush()

    def full(*_a, **_k):
        raise StoreError("no space left for results", known="disk full", remedy="Free some.")

    monkeypatch.setattr(getattr(kit, victim), "put_many" if victim == "store" else "commit", full)
    given_up = []
    for n in range(600):
        kit.put(f"k{n}", n, then=lambda: given_up.append(1))
    assert not kit.writer.flush()
    kit.put("later", 1)
    assert not kit.writer.close()
    assert kit.failures == ["no space left for results\n  disk full\n  Free some."]
    assert len(given_up) == 600
    monkeypatch.undo()
    assert read_back(kit) == {"before": 1}


def test_an_unforeseen_error_does_not_hang_the_run(kit, monkeypatch):
    monkeypatch.setattr(kit.store, "put_many", lambda *_a, **_k: 1 / 0)
    kit.put("a", 1)
    assert not kit.writer.flush()
    assert kit.failures == ["ZeroDivisionError('division by zero')"]


def test_a_callback_that_raises_does_not_hang_the_run(kit):
    kit.put("a", 1, then=lambda: 1 / 0)
    assert not kit.writer.flush()
    kit.put("b", 1)
    assert not kit.writer.close()
    assert kit.failures == ["ZeroDivisionError('division by zero')"]


CRASH = """
import os, signal, sys
from pathlib import Path
import numpy as np
sys.path.insert(0, sys.argv[4])
import test_writer
folder, point, group = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
groups = 0
def at(name):
    global groups
    groups += name == "before_blob"
    if name == point and groups == group:
        os.kill(os.getpid(), signal.SIGKILL)
kit = test_writer.Kit(folder)
kit.writer._at = at
for g in range(3):
    for n in range(20):
        kit.put(f"{g}-{n}", [g, n])
    kit.put(f"{g}-large", np.full(50_000, g))
    kit.writer.flush()
"""


@pytest.mark.parametrize("group", [1, 2])
@pytest.mark.parametrize("point", POINTS)
def test_killed_at_any_point_nothing_torn_is_read_and_all_earlier_groups_are_there(
    tmp_path, point, group
):
    here = str(Path(__file__).parent)
    command = [sys.executable, "-c", CRASH, str(tmp_path), point, str(group), here]
    assert subprocess.run(command).returncode == -signal.SIGKILL
    kit = Kit(tmp_path)
    try:
        values = read_back(kit)
        done = group if point == "after_record" else group - 1
        assert set(values) == {f"{g}-{n}" for g in range(done) for n in (*range(20), "large")}
        for key, value in values.items():
            g, n = key.split("-")
            assert (value == int(g)).all() if n == "large" else value == [int(g), int(n)]
        named = {packs.row_of(trace.blob) for trace in kit.traces.everything()}
        assert named <= set(kit.store.sizes())
        # The next run does the rest, and the leftovers can be swept.
        for n in range(20):
            kit.put(f"{done}-{n}", [done, n])
        kit.put(f"{done}-large", np.full(50_000, done))
        assert kit.writer.flush()
        assert len(read_back(kit)) == (done + 1) * 21
        swept = kit.store.sweep(now=time.time() + 4000)
        assert swept.files == (1 if point == "after_file" else 0)
    finally:
        kit.close()


def test_killed_at_a_random_moment_nothing_torn_is_read(tmp_path):
    script = """
import sys, itertools, numpy as np
from pathlib import Path
sys.path.insert(0, sys.argv[2])
import test_writer
kit = test_writer.Kit(Path(sys.argv[1]))
print("ready", flush=True)
for n in itertools.count():
    kit.put(f"{n}", np.full(20_000, n) if n % 10 == 0 else n, urgent=n % 7 == 0)
"""
    here = str(Path(__file__).parent)
    for round_ in range(4):
        folder = tmp_path / str(round_)
        command = [sys.executable, "-c", script, str(folder), here]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(0.1 + 0.07 * round_)
            process.kill()
        kit = Kit(folder)
        values = read_back(kit)
        assert all(np.all(value == int(key)) for key, value in values.items())
        assert set(values) == {str(n) for n in range(len(values))}  # a prefix: no gap
        kit.close()
