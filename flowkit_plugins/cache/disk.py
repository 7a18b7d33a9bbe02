"""diskcache as flowkit uses it: opened with every setting given, holding nothing but bytes.

diskcache unpickles what it finds (CVE-2025-69872, no fixed release). :class:`FlowDisk` refuses
pickles going in and coming out, so that a planted row is refused unread. Import this module only
when something is to be written: it brings diskcache along.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import diskcache

from flowkit.records import record
from flowkit_plugins.cache.faults import StoreError
from flowkit_plugins.cache.places import BINARY, DATABASE, MIN_FILE_SIZE, RAW

# Given on every open and read back: they persist in the store, whoever opens it with others
# changes them for all, and diskcache's own default deletes results beyond 1 GB without a word.
SETTINGS: dict[str, str | int] = {
    "eviction_policy": "none",
    "cull_limit": 0,
    "size_limit": 2**62,
    "statistics": 0,
    "tag_index": 0,
    "sqlite_journal_mode": "wal",
    "sqlite_synchronous": 1,
    "disk_min_file_size": MIN_FILE_SIZE,
}

Timeout: type[Exception] = diskcache.Timeout


class Refused(Exception):
    """A row, or a value for one, that holds something else than bytes."""


@record(frozen=True)
class Filed:
    """A value that :func:`write_file` has already put into the store's folder."""

    filename: str
    size: int


class FlowDisk(diskcache.Disk):  # type: ignore[misc]  # untyped base
    """Takes text as keys and bytes (or :class:`Filed`) as values, and gives back no pickle."""

    def put(self, key: object) -> tuple[str, bool]:
        """Return ``key`` as the database holds it."""
        if type(key) is not str:
            raise Refused(f"keys are text, not {type(key).__name__}")
        return key, True

    def get(self, key: Any, raw: object) -> Any:
        """Return the key of a row."""
        if not raw:
            raise Refused("the key of a stored row is a pickle")
        return key

    def store(
        self, value: object, read: bool, key: object = None
    ) -> tuple[int, int, str | None, bytes | None]:
        """Return the columns size, mode, filename and value for ``value``."""
        if type(value) is bytes:
            return 0, RAW, None, value
        if type(value) is Filed:
            return value.size, BINARY, value.filename, None
        raise Refused(f"values are bytes, not {type(value).__name__}")

    def fetch(self, mode: int, filename: str | None, value: Any, read: bool) -> Any:
        """Return the bytes of a row."""
        if mode not in (RAW, BINARY) or (mode == RAW and type(value) is not bytes):
            raise Refused("a stored row holds something else than bytes")
        return super().fetch(mode, filename, value, read)


def open_cache(directory: Path, timeout: float) -> Any:
    """Return the diskcache in ``directory``, made if there is none.

    Opening writes, and waits for whoever is writing: do it once per process.

    Raises:
        StoreError: The settings did not take, or the folder's name cannot be used.
    """
    name = str(directory)
    if os.path.expandvars(os.path.expanduser(name)) != name:
        raise StoreError(
            f"the folder {name} cannot hold results",
            known="Its name reads like a variable, which diskcache would replace.",
            remedy="Set `[tool.flowkit.cache] dir` to another folder.",
        )
    _wait_for_writers(directory / DATABASE, timeout)
    cache = diskcache.Cache(name, timeout=timeout, disk=FlowDisk, **SETTINGS)
    differing = [key for key, value in SETTINGS.items() if cache.reset(key) != value]
    if differing:
        cache.close()
        raise StoreError(
            f"the settings of {name} did not take: {', '.join(differing)}",
            known="Results might be deleted unasked.",
            remedy="Let no other program use this folder.",
        )
    return cache


def _wait_for_writers(database: Path, timeout: float) -> None:
    """Take the write lock once: diskcache's own opening would wait for it a minute, busily."""
    if not database.exists():
        return
    with contextlib.closing(sqlite3.connect(database, timeout=timeout)) as connection:
        connection.isolation_level = None
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")


def write_file(cache: Any, pieces: Iterable[bytes | memoryview]) -> Filed:
    """Write ``pieces`` to a new file of ``cache``, without joining them; no row names it yet."""
    filename, path = cache.disk.filename()
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    try:
        # What is larger than the buffer goes to the file straight from where it is.
        with open(path, "xb", buffering=1 << 17, opener=_private) as file:
            size = sum(map(file.write, pieces))
    except BaseException:
        cache.disk.remove(filename)
        raise
    return Filed(filename, size)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
