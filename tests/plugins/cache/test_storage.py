"""The door to what is on disk: a commit is seen by whoever looks after it, from any thread."""

import os
import threading
from pathlib import Path

import pytest

from flowkit_plugins.cache.storage import Storage
from flowkit_plugins.cache.traces import Trace, Traces


def trace(key):
    return Trace(key, "clean", f"d-{key}", None, "success", took=0.5, created=1000.0)


class Gate:
    """Holds up another thread than the main one, until it is let go."""

    def __init__(self):
        self.there, self.go_on = threading.Event(), threading.Event()

    def __call__(self):
        if threading.current_thread() is not threading.main_thread():
            self.there.set()
            assert self.go_on.wait(10)


class SlowTraces(Traces):
    def __init__(self, file, gate):
        super().__init__(file)
        self.gate = gate

    def keys_after(self, row):
        found = super().keys_after(row)
        self.gate()
        return found


class SlowSet(set):
    def __init__(self, gate):
        super().__init__()
        self.gate = gate

    def update(self, other):
        self.gate()
        super().update(other)


@pytest.mark.parametrize("where", ["when they are read", "when they are taken in"])
def test_a_result_is_found_while_another_thread_reads_the_keys(tmp_path, where):
    gate = Gate()
    storage = Storage(tmp_path)
    if where == "when they are read":
        storage.traces = SlowTraces(tmp_path / "traces.db", gate)
    else:
        storage._keys = SlowSet(gate)
    Traces(tmp_path / "traces.db").commit([trace("aa")])
    other = threading.Thread(target=storage.find, args=["aa"])
    other.start()
    assert gate.there.wait(10)
    try:
        assert storage.find("aa") == trace("aa")
    finally:
        gate.go_on.set()
        other.join()
        storage.close()


def test_what_is_on_disk_is_fetched_though_nothing_more_can_be_stored(flow, monkeypatch):
    """The disk fills up after some results were committed: their values are let go of already."""
    flow.write("""
        @task
        def first(): return ["a"] * 20_000
        @task
        def second(first): return len(first)
    """)
    settled = Storage.settled

    def full_from_now_on(self, key):
        there = settled(self, key)
        self._fail("No space left on device")
        return there

    monkeypatch.setattr(Storage, "settled", full_from_now_on)
    run = flow.run()
    assert run["second"] == 20_000
    assert run["first"][:1] == ["a"]


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="which files are open, only Linux's /proc tells")
def test_a_value_that_is_fetched_after_the_run_leaves_nothing_open(flow):
    flow.write("@task\ndef a(): return [1, 2]")
    flow.run()
    run = flow.run()
    assert run["a"] == [1, 2]
    files = [os.readlink(f) for f in Path("/proc/self/fd").iterdir() if f.is_symlink()]
    assert [f for f in files if f.startswith(str(flow.root))] == []
