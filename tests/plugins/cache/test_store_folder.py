"""The store's folder, database and disk: whatever is wrong with them is said, and in time."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
import time
from pathlib import Path

import diskcache
import numpy as np
import pytest

from flowkit_plugins.cache.places import private_folder
from flowkit_plugins.cache import places
from flowkit_plugins.cache.faults import Miss, StoreError
from flowkit_plugins.cache.store import Store
from flowkit_plugins.cache.traces import Trace, Traces

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


def test_the_folder_and_files_are_this_users_alone(store):
    keep(store, "a", np.arange(LARGE))
    assert store.directory.stat().st_mode & 0o777 == 0o700
    assert the_file(store).stat().st_mode & 0o777 == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_folder_of_somebody_else_is_refused(open_store):
    first = open_store()
    keep(first, "a", 1)
    os.chown(first.directory, 12345, -1)
    with pytest.raises(StoreError, match=r"(?s)belongs to another user \(uid 12345.*dir"):
        keep(open_store(), "b", 1)
    assert "belongs to another user" in open_store().get("a").detail


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777])
def test_a_folder_that_others_may_write_to_is_refused(store, mode):
    store.directory.mkdir()
    store.directory.chmod(mode)
    with pytest.raises(StoreError, match=rf"(?s)others may write.*{mode:o}.*chmod 700"):
        keep(store, "a", 1)


def test_a_folder_that_others_may_only_read_is_made_private(store):
    store.directory.mkdir()
    store.directory.chmod(0o755)
    keep(store, "a", 1)
    assert store.directory.stat().st_mode & 0o777 == 0o700


def test_a_network_file_system_is_refused_with_the_remedy(store, tmp_path, monkeypatch):
    mounts = tmp_path / "mounts"
    mounts.write_text(f"/dev/vda / ext4 rw 0 0\nserver:/x {tmp_path} nfs4 rw 0 0\n")
    monkeypatch.setattr(places, "_MOUNTS", mounts)
    with pytest.raises(StoreError, match=r"(?s)network file system \(nfs4\).*local disk"):
        keep(store, "a", 1)


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/srv/data/x", "ext4"),
        ("/mnt/share/x", "cifs"),
        ("/mnt/sharex", "ext4"),
        ("/mnt/my disk/x", "nfs"),
        ("/mnt/share/local/y", "xfs"),
    ],
)
def test_the_file_system_is_that_of_the_innermost_and_last_mount(path, kind):
    mounts = (
        "rootfs / tmpfs rw 0 0\n/dev/vda / ext4 rw 0 0\n//nas/s /mnt/share cifs rw 0 0\n"
        "nas:/d /mnt/my\\040disk nfs rw 0 0\n/dev/vdb /mnt/share/local xfs rw 0 0\nodd\n"
    )
    assert places.filesystem(Path(path), mounts) == kind


def test_a_file_where_the_folder_should_be_is_a_store_error(store):
    store.directory.write_text("")
    with pytest.raises(StoreError, match="cannot make the folder"):
        keep(store, "a", 1)
    assert store.get("a") == Miss("blob missing")


def test_a_folder_named_like_a_variable_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("SOME", "other")
    odd = Store(tmp_path / "x$SOME", key=KEY)
    with pytest.raises(StoreError, match="reads like a variable"):
        keep(odd, "a", 1)


def test_a_database_that_is_none_is_a_store_error_and_a_miss(store, open_store):
    store.directory.mkdir(mode=0o700)
    (store.directory / "cache.db").write_bytes(b"not a database at all" * 500)
    with pytest.raises(StoreError, match=r"(?s)is damaged.*flowkit cache clear"):
        keep(store, "a", 1)
    assert open_store().get("a").reason == "blob unreadable"


@pytest.mark.parametrize("opened", [False, True], ids=["opening", "writing"])
def test_a_locked_database_is_a_store_error_in_time_and_does_not_stop_reading(open_store, opened):
    keep(open_store(), "a", 1)
    store = open_store(timeout=0.2)
    if opened:
        keep(store, "b", 2)
    with contextlib.closing(sqlite3.connect(store.directory / "cache.db")) as other:
        other.execute("BEGIN IMMEDIATE")
        started = time.monotonic()
        with pytest.raises(StoreError, match="locked by another process"):
            keep(store, "c", 3)
        assert time.monotonic() - started < 5
        assert value_of(store, "a") == 1
        assert value_of(open_store(), "a") == 1
    keep(store, "c", 3)
    assert value_of(store, "c") == 3


def test_another_opener_cannot_make_the_store_forget(open_store):
    first = open_store()
    keep(first, "a", 0)
    first.close()
    diskcache.Cache(str(first.directory), size_limit=1 << 20, cull_limit=10).close()
    store = open_store()
    for n in range(20):
        keep(store, f"id{n}", np.full(LARGE, n, "f8"))
    assert len(store.sizes()) == 21
    limit = row(store, "SELECT key, value FROM Settings WHERE key IN ('size_limit', 'cull_limit')")
    assert dict(limit) == {"size_limit": 2**62, "cull_limit": 0}
    assert row(store, "PRAGMA journal_mode") == [("wal",)]


def test_settings_that_do_not_take_are_an_error(store, monkeypatch):
    real = diskcache.Cache.reset

    def reset(self, key, *args, **options):
        value = real(self, key, *args, **options)
        return "least-recently-stored" if key == "eviction_policy" and not args else value

    monkeypatch.setattr(diskcache.Cache, "reset", reset)
    with pytest.raises(StoreError, match="did not take: eviction_policy"):
        keep(store, "a", 1)


def tmpfs(path, size):
    path.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(path)], capture_output=True
    )
    if done.returncode:
        pytest.skip("cannot mount a small disk here")


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting takes root")
@pytest.mark.parametrize("value", [np.arange(LARGE), b"x" * 20_000], ids=["files", "rows"])
def test_a_full_disk_is_a_store_error_and_what_was_kept_stays(tmp_path, value):
    small = tmp_path / "small"
    tmpfs(small, "4m")
    ballast = small / "ballast"
    ballast.write_bytes(bytes(1 << 20))
    store = Store(small / "results", key=KEY)
    try:
        keep(store, "first", "kept")
        with pytest.raises(StoreError, match=r"(?s)no space left.*flowkit cache gc"):
            for n in range(1000):
                keep(store, f"id{n}", value)
        assert value_of(store, "first") == "kept"
        ballast.unlink()
        keep(store, "again", 1)
        assert value_of(store, "again") == 1
    finally:
        store.close()
        subprocess.run(["umount", "-l", str(small)], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting takes root")
def test_a_read_only_disk_can_be_read_and_writing_is_a_store_error_at_once(tmp_path):
    frozen = tmp_path / "frozen"
    tmpfs(frozen, "4m")
    traces = Traces(frozen / "traces.db")
    store, later = (Store(frozen / "results", key=KEY) for _ in range(2))
    try:
        keep(store, "a", 1)
        store.close()
        traces.commit([Trace("a", "t", "d", "a", "success", 0.1, 1.0)])
        traces.close()
        subprocess.run(["mount", "-o", "remount,ro", str(frozen)], check=True)
        for one in (store, later):
            started = time.monotonic()
            with pytest.raises(StoreError, match="cannot use"):
                keep(one, "b", 2)
            assert time.monotonic() - started < 5
        assert value_of(store, "a") == value_of(later, "a") == 1
        assert traces.load_all("m.py") == {}
        assert traces.lookup("a").digest == "d"
    finally:
        store.close()
        later.close()
        traces.close()
        subprocess.run(["umount", "-l", str(frozen)], check=True)


def test_the_folder_above_is_made_as_private(tmp_path):
    """Whoever comes first makes ``.flowkit``: the locks' folder must not leave it open."""
    private_folder(tmp_path / ".flowkit" / "locks")
    assert (tmp_path / ".flowkit").stat().st_mode & 0o777 == 0o700
