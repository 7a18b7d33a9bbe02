"""Traces: read in one sweep, written in groups, never in the way."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from flowkit_plugins.cache import places
from flowkit_plugins.cache.faults import Miss, StoreError
from flowkit_plugins.cache.traces import MANY, Last, Trace, Traces
from tests.timing import seconds


@pytest.fixture
def open_traces(tmp_path):
    opened = []

    def traces(**options):
        opened.append(Traces(tmp_path / "state" / "traces.db", **options))
        return opened[-1]

    yield traces
    for one in opened:
        one.close()


@pytest.fixture
def traces(open_traces):
    return open_traces()


def trace(key, **values):
    defaults = {"node": "clean", "digest": f"d-{key}", "blob": f"b-{key}", "kind": "success"}
    return Trace(key, **{**defaults, "took": 0.5, "created": 1000.0, **values})


def last(key, *, flow="m.py", node=None):
    return Last(flow, node or f"n-{key}", key, f"d-{key}", 0.5, 1000.0, json.dumps({"code": "c"}))


def raw(traces):
    return contextlib.closing(sqlite3.connect(traces.file))


def test_what_is_committed_is_found_by_another_process_to_be(open_traces):
    full = trace(
        "a", expires=2000.0, size=7, used=3, reason="odd", files='["x"]', body='{"python": "3.12"}'
    )
    open_traces().commit([full, trace("b", blob=None)], [last("a")])
    again = open_traces()
    assert again.lookup("a") == full
    assert again.lookup("a").details == {"python": "3.12"}
    assert again.lookup("b") == trace("b", blob=None)
    assert again.lookup("b").details == {}
    assert again.lookup_many(["a", "b", "c"]) == {"a": full, "b": trace("b", blob=None)}
    assert again.last("m.py") == {"n-a": last("a")}


def test_an_unknown_key_is_a_miss_and_reading_makes_no_file(traces):
    assert traces.lookup("a") == Miss("no record")
    assert traces.lookup_many(["a"]) == traces.load_all("m.py") == traces.last("m.py") == {}
    assert traces.everything() == []
    assert not traces.file.parent.exists()


def test_a_flow_loads_what_its_nodes_last_gave_and_nothing_else(traces):
    traces.commit(
        [trace(key) for key in "abcd"],
        [last("a"), last("b"), last("c", flow="other.py"), last("gone")],
    )
    assert traces.load_all("m.py") == {"a": trace("a"), "b": trace("b")}
    traces.commit([trace("a2")], [last("a2", node="n-a")])
    assert set(traces.load_all("m.py")) == {"a2", "b"}
    assert traces.lookup("a") == trace("a")  # kept: going back to a branch is warm


def test_a_large_flow_loads_all_there_is_if_there_is_nothing_else(traces):
    keys = [f"k{i}" for i in range(MANY)]
    traces.commit([trace(key) for key in keys], [last(key) for key in keys])
    assert set(traces.load_all("m.py")) == set(keys)
    assert traces.load_all("other.py") == {}
    traces.commit([trace("older")])
    assert set(traces.load_all("m.py")) == set(keys)


def test_a_trace_is_renewed_by_a_later_one(traces):
    traces.commit([trace("a", expires=10.0)])
    traces.commit([trace("a", expires=20.0, digest="other")])
    assert traces.everything() == [trace("a", expires=20.0, digest="other")]


def test_a_commit_is_noticed_though_the_log_file_looks_as_it_did(open_traces):
    writer, reader = open_traces(), open_traces()
    log = writer.file.with_name("traces.db-wal")
    seen = []
    for n in range(3):
        writer.commit([trace(f"k{n}")])
        with contextlib.closing(sqlite3.connect(writer.file)) as db:
            db.execute("PRAGMA wal_checkpoint(RESTART)").fetchall()  # the next commit writes over this one
        os.utime(log, ns=(1, 1))
        seen.append((reader.stamp(), log.stat().st_size, log.stat().st_mtime_ns))
    assert len({stamp for stamp, _, _ in seen}) == 3
    assert seen[1][1:] == seen[2][1:]


def test_a_stamp_of_another_connection_is_another_stamp(open_traces):
    writer, reader = open_traces(), open_traces()
    writer.commit([trace("k1")])
    before = reader.stamp()
    reader.close()
    writer.commit([trace("k2")])
    assert reader.stamp() != before


def test_a_trace_of_a_future_format_is_a_miss_that_says_so(traces):
    traces.commit([trace("a"), trace("b")], [last("a")])
    with raw(traces) as connection, connection:
        connection.execute("UPDATE traces SET format = 2 WHERE key = 'a'")
    assert traces.lookup("a").reason == "key format changed"
    assert traces.lookup_many("ab") == {"b": trace("b")}
    assert traces.load_all("m.py") == {}


def test_a_database_of_a_future_schema_is_not_touched(open_traces):
    traces = open_traces()
    traces.commit([trace("a")])
    traces.close()
    with raw(traces) as connection:
        connection.execute("PRAGMA user_version = 9")
    later = open_traces()
    assert later.lookup("a").reason == "key format changed"
    assert later.load_all("m.py") == {}
    with pytest.raises(StoreError, match=r"(?s)another version of flowkit.*schema 9.*cache clear"):
        later.commit([trace("b")])
    with raw(traces) as connection:
        assert connection.execute("SELECT key FROM traces").fetchall() == [("a",)]


def test_use_is_noted_once_a_day(traces):
    traces.commit([trace(key, used=5) for key in "abc"])
    found = traces.lookup_many("ab").values()
    assert traces.touch(found, 6) == 2
    assert {one.key: one.used for one in traces.everything()} == {"a": 6, "b": 6, "c": 5}
    assert traces.touch(traces.lookup_many("ab").values(), 6) == 0


def test_a_second_warm_run_on_a_day_writes_nothing(open_traces):
    open_traces().commit([trace("a", used=6)], [last("a")])
    reader = open_traces()
    with raw(reader) as other:
        other.execute("BEGIN IMMEDIATE")  # nobody else can write now
        assert reader.touch(reader.load_all("m.py").values(), 6) == 0


def test_forgetting_pins_and_memos(traces):
    traces.commit([trace("a"), trace("b")], [last("a")])
    traces.forget(["a"])
    assert [one.key for one in traces.everything()] == ["b"]
    assert set(traces.last("m.py")) == {"n-a"}
    traces.pin("b", "for the paper")
    assert traces.pins() == {"b": "for the paper"}
    traces.unpin("b")
    assert traces.pins() == {}
    traces.remember("source", {"m.py": "[1]", "n.py": "[2]"})
    traces.remember("source", {"m.py": "[3]"})
    assert traces.memos("source") == {"m.py": "[3]", "n.py": "[2]"}
    assert traces.memos("files") == {}


def test_a_failed_group_leaves_nothing_and_the_next_one_works(traces):
    traces.commit([trace("a")])
    with pytest.raises(StoreError):
        traces.commit([trace("b"), trace("c", node=None)])
    assert [one.key for one in traces.everything()] == ["a"]
    traces.commit([trace("d")])
    assert len(traces.everything()) == 2


def test_a_locked_database_is_waited_for_then_a_store_error_and_reading_goes_on(open_traces):
    traces = open_traces(timeout=0.2)
    traces.commit([trace("a")])
    with raw(traces) as other:
        other.execute("BEGIN IMMEDIATE")
        started = time.monotonic()
        for one in (traces, open_traces(timeout=0.2)):
            with pytest.raises(StoreError, match="locked by another process"):
                one.commit([trace("b")])
            assert one.lookup("a") == trace("a")
        assert 0.3 < time.monotonic() - started < 5
    traces.commit([trace("b")])


def test_a_short_lock_of_another_process_is_not_noticed(traces):
    traces.commit([trace("a")])
    with raw(traces) as other:
        other.execute("BEGIN IMMEDIATE")
        with contextlib.closing(Traces(traces.file)) as waiting:
            thread = threading.Thread(target=waiting.commit, args=([trace("b")],))
            thread.start()
            thread.join(0.1)
            assert thread.is_alive()
            other.execute("ROLLBACK")
            thread.join(5)
    assert traces.lookup("b") == trace("b")


@pytest.mark.parametrize("content", [b"no database" * 1000, b"SQLite format 3\0" + b"\1" * 9000])
def test_a_damaged_file_is_a_store_error(traces, content):
    traces.file.parent.mkdir()
    traces.file.write_bytes(content)
    for use in (lambda: traces.lookup("a"), lambda: traces.commit([trace("a")])):
        with pytest.raises(StoreError, match=r"(?s)is damaged.*flowkit cache clear"):
            use()


def test_a_folder_that_cannot_be_made_is_a_store_error(traces):
    traces.file.parent.write_text("")
    with pytest.raises(StoreError, match=r"(?s)cannot use.*dir"):
        traces.commit([trace("a")])


def test_a_network_file_system_is_refused(open_traces, tmp_path, monkeypatch):
    open_traces().commit([trace("a")])
    (tmp_path / "mounts").write_text(f"server:/x {tmp_path} cifs rw 0 0\n")
    monkeypatch.setattr(places, "_MOUNTS", tmp_path / "mounts")
    for use in (lambda t: t.lookup("a"), lambda t: t.commit([trace("b")])):
        with pytest.raises(StoreError, match="network file system"):
            use(open_traces())


def test_a_folder_with_an_awkward_name_works(tmp_path):
    with contextlib.closing(Traces(tmp_path / "100% #1?mode=ro & ü" / "traces.db")) as traces:
        traces.commit([trace("a")])
        assert traces.lookup("a") == trace("a")


def test_several_processes_write_at_once(traces):
    script = f"""
import sys, pathlib
from flowkit_plugins.cache.traces import Trace, Last, Traces
traces = Traces(pathlib.Path({str(traces.file)!r}))
for n in range(40):
    keys = [f"{{sys.argv[1]}}-{{n}}-{{k}}" for k in range(25)] + [f"both-{{n}}"]
    rows = [Trace(key, "t", key, None, "success", 0.1, 1.0) for key in keys]
    traces.commit(rows, [Last("m.py", key, key, key, 0.1, 1.0) for key in keys])
"""
    names = ("one", "two", "three")
    running = [subprocess.Popen([sys.executable, "-c", script, name]) for name in names]
    assert [process.wait(60) for process in running] == [0, 0, 0]
    found = traces.load_all("m.py")
    assert len(found) == 3 * 40 * 25 + 40
    assert all(one.digest == key for key, one in found.items())


def test_ten_thousand_traces_are_read_in_a_blink(traces):
    keys = [f"{n:040x}" for n in range(10_000)]
    traces.commit([trace(key) for key in keys], [last(key) for key in keys])

    def are_read():
        assert len(traces.load_all("m.py")) == 10_000

    assert seconds(are_read, within=0.15) <= 0.15  # 35 ms alone on two cores; room for a busy machine


def test_the_stamp_changes_with_a_commit_and_not_before_it(open_traces):
    traces, other = open_traces(), open_traces()
    assert traces.stamp() is None
    other.commit([trace("a")])
    before = traces.stamp()
    assert before is not None and traces.stamp() == before
    with raw(traces) as connection:
        connection.isolation_level = None
        connection.execute("PRAGMA cache_size = 5")  # so that the log grows while the transaction is open
        log = traces.file.with_name("traces.db-wal")
        size = log.stat().st_size
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany("INSERT INTO pins VALUES (?, ?)", [(f"k{i}", "x" * 900) for i in range(300)])
        assert log.stat().st_size > size
        assert traces.stamp() == before, "who reads now sees nothing new, and would miss it for good"
        connection.execute("COMMIT")
    assert traces.stamp() != before


def test_no_two_connections_have_one_stamp(open_traces):
    traces, other = open_traces(), open_traces()
    other.commit([trace("a")])
    before = traces.stamp()
    traces.close()
    other.commit([trace("b")])
    assert traces.stamp() != before


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc/locks")
def test_opening_to_write_does_not_cancel_the_lock_of_whoever_reads(open_traces):
    """Closing any descriptor of a file lets go of all of a process's locks on it, SQLite's too.

    Another process then takes itself for the last one, and removes the log that is still in use.
    """
    open_traces().commit([trace("a")])
    reading = open_traces()
    reading.lookup("a")
    held = locks_on(reading.file)
    assert held
    open_traces().commit([trace("b")])
    assert locks_on(reading.file) >= held


def locks_on(file):
    """The locks that this process has on a file: (kind, mode, from, to)."""
    found = set()
    for line in Path("/proc/locks").read_text().splitlines():
        _, kind, _, mode, pid, place, start, end = line.split()[:8]
        if pid == str(os.getpid()) and place.rpartition(":")[2] == str(file.stat().st_ino):
            found.add((kind, mode, start, end))
    return found
