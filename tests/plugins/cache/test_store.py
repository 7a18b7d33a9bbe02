"""Blobs: kept whole or not at all, read only if ours, and never in the way of a run."""

from __future__ import annotations

import contextlib
import os
import pickle
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import diskcache
import numpy as np
import pandas as pd
import pytest

from flowkit_plugins.cache import disk, packs
from flowkit_plugins.cache.faults import Miss, StoreError, Tampered
from flowkit_plugins.cache.store import Store

KEY = b"k" * 32
LARGE = 300_000


@pytest.fixture
def open_store(tmp_path):
    """Stores in one folder; closed at the end."""
    stores = []

    def opened(**options):
        stores.append(Store(tmp_path / "results", **{"key": KEY, **options}))
        return stores[-1]

    yield opened
    for store in stores:
        store.close()


@pytest.fixture
def store(open_store):
    return open_store()


def keep(store, blob, value):
    return store.put(blob, store.dump(value))


def value_of(store, blob):
    found = store.get(blob)
    assert not isinstance(found, Miss), found
    return found.value


def the_file(store):
    (path,) = store.directory.glob("??/??/*.val")
    return path


def row(store, statement, *values):
    with contextlib.closing(sqlite3.connect(store.directory / "cache.db")) as connection:
        with connection:
            return connection.execute(statement, values).fetchall()


@pytest.mark.parametrize(
    "value", [None, 1, "text", [1, {"a": (2,)}], b"x" * 100_000, "y" * 100_000], ids=repr
)
def test_a_value_is_read_back_by_another_store(open_store, value):
    kept = keep(open_store(), "a", value)
    assert kept.blob == "a"
    again = open_store()
    assert value_of(again, "a") == value
    assert again.get("a").size == kept.size == again.sizes()["a"]


def test_a_large_array_is_mapped_aligned_and_read_only(store):
    array = np.arange(LARGE, dtype="f8")
    keep(store, "a", array)
    back = value_of(store, "a")
    assert (back == array).all()
    assert not back.flags.writeable
    assert back.ctypes.data % 64 == 0
    if sys.platform == "linux":
        assert str(the_file(store)) in Path("/proc/self/maps").read_text()


def test_a_frame_that_was_read_back_can_be_changed_like_a_fresh_one_and_the_file_stays(store):
    keep(store, "a", pd.DataFrame({"x": np.arange(LARGE, dtype="f8")}))
    before = the_file(store).read_bytes()
    frame = value_of(store, "a")
    frame.loc[0, "x"] = -1.0
    frame["x"].to_numpy()
    assert frame["x"][0] == -1.0
    assert the_file(store).read_bytes() == before
    assert value_of(store, "a")["x"][0] == 0.0


def test_nothing_is_opened_or_made_before_it_is_needed(open_store, tmp_path):
    store = open_store()
    assert store.get("a") == Miss("blob missing")
    assert not store.contains("a")
    assert store.sizes() == {}
    assert not (tmp_path / "results").exists()


def test_a_database_that_somebody_is_just_making_reads_as_empty_until_it_is_made(open_store, tmp_path):
    (tmp_path / "results").mkdir(mode=0o700)
    (tmp_path / "results" / "cache.db").touch(mode=0o600)
    early, other = open_store(), open_store()
    assert early.rows() == set()
    keep(other, "a", [1, 2])
    assert value_of(early, "a") == [1, 2]
    assert len(early.rows()) == 1


def test_reading_does_not_import_diskcache(open_store):
    store = open_store()
    keep(store, "a", [1, 2])
    script = (
        "import sys, pathlib; from flowkit_plugins.cache.store import Store;"
        f"found = Store(pathlib.Path({str(store.directory)!r}), key={KEY!r}).get('a');"
        "print(found.value, 'diskcache' in sys.modules)"
    )
    assert subprocess.check_output([sys.executable, "-c", script], text=True) == "[1, 2] False\n"


def test_a_blob_is_written_once(store):
    keep(store, "a", np.arange(LARGE))
    first = the_file(store)
    keep(store, "a", np.arange(LARGE))
    assert the_file(store) == first


def test_a_failing_blob_takes_its_group_with_it_and_leaves_no_file(store, monkeypatch):
    real = disk.write_file
    calls = []

    def write_file(cache, pieces):
        calls.append(1)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        return real(cache, pieces)

    keep(store, "before", 1)
    monkeypatch.setattr(disk, "write_file", write_file)
    blobs = [(name, store.dump(np.arange(LARGE))) for name in "ab"]
    with pytest.raises(StoreError, match="no space left"):
        store.put_many(blobs)
    assert list(store.directory.glob("??/??/*.val")) == []
    assert set(store.sizes()) == {"before"}
    monkeypatch.undo()
    store.put_many(blobs)
    assert set(store.sizes()) == {"before", "a", "b"}


# Packs


def test_many_small_values_share_rows_and_are_read_back_one_by_one(open_store):
    store = open_store()
    kept = store.put_many([(f"id{n}", store.dump(f"value {n}")) for n in range(1000)])
    assert len(store.sizes()) < 10
    again = open_store()
    assert [value_of(again, one.blob) for one in kept] == [f"value {n}" for n in range(1000)]
    assert all(again.contains(one.blob) for one in kept)
    assert {packs.row_of(one.blob) for one in kept} == set(again.sizes())
    assert list(store.directory.glob("??/??/*.val")) == []


def test_small_and_large_values_of_a_group_get_their_own_names(store):
    values = [n if n % 3 else np.full(LARGE, n) for n in range(30)]
    kept = store.put_many([(f"id{n}", store.dump(value)) for n, value in enumerate(values)])
    for n, (value, one) in enumerate(zip(values, kept, strict=True)):
        assert np.array_equal(value_of(store, one.blob), value)
        assert (one.blob == f"id{n}") == (n % 3 == 0)


def test_a_member_cannot_be_had_under_another_ones_name(store):
    kept = store.put_many([(f"id{n}", store.dump(n)) for n in range(20)])
    pack, start, length = packs.find(kept[3].blob)
    assert store.get(f"{pack}@{start}+{length}").value == 3
    assert store.get(f"{pack}@{start + 1}+{length}").reason == "blob unreadable"
    whole = row(store, "SELECT value FROM Cache WHERE key = ?", pack)[0][0]
    shifted = whole[start : start + length] + whole[length:]
    row(store, "UPDATE Cache SET value = ? WHERE key = ?", shifted, pack)
    assert store.get(kept[0].blob).reason == "signature mismatch"


def test_deleting_a_row_makes_its_members_missing(store):
    kept = store.put_many([(f"id{n}", store.dump(n)) for n in range(20)])
    assert store.delete({packs.row_of(one.blob) for one in kept}) == 1
    assert store.get(kept[0].blob) == Miss("blob missing")


# Damage


def flip(path, position):
    data = bytearray(path.read_bytes())
    data[position] ^= 4
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("position", "reasons"),
    [
        (0, {"signature mismatch"}),
        (33, {"blob unreadable"}),
        (38, {"signature mismatch", "blob unreadable"}),
        (48, {"blob unreadable"}),
        (62, {"signature mismatch", "blob unreadable"}),
        (100, {"signature mismatch"}),
        (LARGE // 2, {"blob unreadable"}),
        (-1, {"blob unreadable"}),
    ],
    ids=["signature", "magic", "serializer", "length", "table", "pickle", "buffer", "end"],
)
def test_a_flipped_bit_is_a_miss_and_the_next_result_replaces_it(
    store, monkeypatch, position, reasons
):
    array = np.arange(LARGE, dtype="f8")
    keep(store, "a", array)
    flip(the_file(store), position)
    monkeypatch.setattr(pickle, "loads", lambda *_a, **_k: pytest.fail("unpickled"))
    assert store.get("a").reason in reasons
    monkeypatch.undo()
    keep(store, "a", array)
    assert (value_of(store, "a") == array).all()
    assert the_file(store)


def test_every_single_bit_of_a_small_blob_matters(store):
    keep(store, "a", {"x": np.arange(3)})
    whole = row(store, "SELECT value FROM Cache")[0][0]
    for position in range(len(whole)):
        data = bytearray(whole)
        data[position] ^= 1 << position % 8
        row(store, "UPDATE Cache SET value = ?", bytes(data))
        found = store.get("a")
        # The only bytes that nothing depends on are the zeros before a buffer.
        assert isinstance(found, Miss) or whole[position] == 0
        if not isinstance(found, Miss):
            assert (found.value["x"] == np.arange(3)).all()


def test_a_truncated_blob_is_a_miss(store):
    keep(store, "a", np.arange(LARGE))
    with the_file(store).open("r+b") as file:
        file.truncate(LARGE)
    assert store.get("a").reason == "blob unreadable"
    with the_file(store).open("r+b") as file:
        file.truncate(0)
    assert store.get("a") == Miss("blob unreadable", "only 0 bytes")


def test_a_blob_whose_file_is_gone_is_missing_and_comes_back_when_put_again(open_store):
    keep(open_store(), "a", np.arange(LARGE))
    store = open_store()
    the_file(store).unlink()
    assert store.contains("a")
    # Without having been asked for first: putting looks for itself.
    keep(store, "a", np.arange(LARGE))
    assert (value_of(store, "a") == np.arange(LARGE)).all()
    the_file(store).unlink()
    assert store.get("a") == Miss("blob missing", "its file is gone")


def test_a_miss_is_looked_at_twice(store, monkeypatch):
    keep(store, "a", 1)
    real, calls = store._select, []

    def select(statement, values=()):
        calls.append(1)
        return [] if len(calls) == 1 else real(statement, values)

    monkeypatch.setattr(store, "_select", select)
    assert value_of(store, "a") == 1


class Bomb:
    def __reduce__(self):
        return pytest.fail, ("a planted pickle was run",)


def test_a_planted_pickle_row_is_refused_unread(store):
    keep(store, "a", 1)
    for mode in (4, 1):
        row(store, "UPDATE Cache SET mode = ?, value = ?", mode, pickle.dumps(Bomb()))
        assert store.get("a").reason == "blob unreadable"
    path = store.directory / "aa" / "bb" / ("c" * 28 + ".val")
    path.parent.mkdir(parents=True)
    path.write_bytes(pickle.dumps(Bomb()))
    row(store, "UPDATE Cache SET mode = 4, value = NULL, filename = ?", f"aa/bb/{path.name}")
    assert store.get("a").reason == "blob unreadable"
    # Through diskcache itself, too, whoever opens it with our disk.
    with diskcache.Cache(str(store.directory), disk=disk.FlowDisk) as cache:
        with pytest.raises(disk.Refused):
            cache.get("a")
        row(store, "UPDATE Cache SET raw = 0, key = ?", pickle.dumps(Bomb()))
        with pytest.raises(disk.Refused):
            list(cache)
        for value in (1, "text", [1], bytearray(b"x")):
            with pytest.raises(disk.Refused):
                cache.set("b", value)
        with pytest.raises(disk.Refused):
            cache.set(("b",), b"x")


@pytest.mark.parametrize("name", ["../../secret", "/etc/passwd", "aa/bb/../../cache.db"])
def test_a_row_that_points_outside_is_refused(store, name):
    keep(store, "a", np.arange(LARGE))
    row(store, "UPDATE Cache SET filename = ?", name)
    assert store.get("a").detail == "the row was not written by flowkit; refused unread"


def test_a_blob_signed_with_another_key_is_a_miss_with_one_warning(open_store):
    theirs = open_store(key=b"t" * 32)
    for name, value in (("small", Bomb), ("large", np.arange(LARGE)), ("small2", 3)):
        keep(theirs, name, value)
    warnings = []
    ours = open_store(warn=warnings.append)
    assert {ours.get(name).reason for name in ("small", "large", "small2")} == {
        "signature mismatch"
    }
    assert len(warnings) == 1
    assert "not signed by you" in warnings[0]


def test_a_blob_signed_with_another_key_is_replaced_by_ours(open_store):
    theirs, ours = open_store(key=b"t" * 32), open_store()
    for name, value in (("small", 3), ("large", np.arange(LARGE))):
        keep(theirs, name, value)
        keep(ours, name, value)
        assert np.array_equal(value_of(open_store(), name), value)


def test_a_strict_store_raises_on_a_wrong_signature(open_store):
    keep(open_store(key=b"t" * 32), "a", 1)
    with pytest.raises(Tampered, match=r"(?s)not signed by you.*FLOWKIT_CACHE_KEY"):
        open_store(on_mismatch="error").get("a")


def test_a_signed_blob_under_another_id_is_a_mismatch(store):
    keep(store, "a", 1)
    keep(store, "b", 2)
    row(store, "DELETE FROM Cache WHERE key = 'b'")
    row(store, "UPDATE Cache SET key = 'b' WHERE key = 'a'")
    assert store.get("b").reason == "signature mismatch"


# Sweeping, and several processes


def test_only_old_files_that_no_row_names_are_swept(store):
    keep(store, "a", np.arange(LARGE))
    with store._diskcache() as cache:
        orphan = store.directory / disk.write_file(cache, [b"x" * 1000]).filename
        being_written = store.directory / disk.write_file(cache, [b"y"]).filename
    old = time.time() - 3700
    for path in store.directory.glob("??/??/*.val"):
        if path != being_written:
            os.utime(path, (old, old))
    swept = store.sweep()
    assert (swept.files, swept.bytes) == (1, 1000)
    assert not orphan.exists()
    assert being_written.exists()
    assert (value_of(store, "a") == np.arange(LARGE)).all()


def test_two_processes_write_the_same_and_other_blobs_at_once(store):
    script = f"""
import sys, pathlib, numpy as np
from flowkit_plugins.cache.store import Store
from flowkit_plugins.cache.traces import Trace, Traces
store = Store(pathlib.Path({str(store.directory)!r}), key={KEY!r})
me = sys.argv[1]
for n in range(0, 150, 5):
    store.put_many([(f"both{{k}}", store.dump(np.full(10_000, k))) for k in range(n, n + 5)])
    store.put_many([(f"{{me}}-{{k}}", store.dump([me, k])) for k in range(n, n + 5)])
"""
    running = [subprocess.Popen([sys.executable, "-c", script, name]) for name in ("one", "two")]
    assert [process.wait(60) for process in running] == [0, 0]
    for n in range(150):
        assert (value_of(store, f"both{n}") == n).all()
        assert value_of(store, f"one-{n}") == ["one", n]
        assert value_of(store, f"two-{n}") == ["two", n]
    assert len(list(store.directory.glob("??/??/*.val"))) == 150
