"""Single flight: of several runs that need one key, one computes it.

A lock is ``flock`` on a file of its own. The system frees it the moment its owner dies, by
whatever signal (2.5 ms measured); a lock in a database would stay. Nobody waits here: who does
not get a lock asks again later, and whoever gets it looks once more whether the value is there.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import time
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from flowkit.records import record
from flowkit_plugins.cache.faults import StoreError, store_error
from flowkit_plugins.cache.places import private_folder

_KEY = r"[0-9A-Za-z_-]{3,200}"
_HOUR = 3600.0


@record(frozen=True)
class Owner:
    """Who is computing a key. For messages: the lock itself is what counts."""

    pid: int
    run: str
    since: float


class Flight:
    """The right to compute one key, until :meth:`release` or the end of the process."""

    def __init__(self, key: str, path: Path, descriptor: int) -> None:
        self.key = key
        self._path = path
        self._descriptor = descriptor

    def release(self) -> None:
        """Let others have the key. Doing so twice does nothing."""
        if self._descriptor < 0:
            return
        # Removed while held: who opened the file before now locks a file without a name,
        # notices, and tries again.
        with contextlib.suppress(OSError):
            self._path.unlink()
        self.abandon()

    def abandon(self) -> None:
        """Close the lock's descriptor and leave its file. For the child of a fork."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.release()


class Flights:
    """Locks under ``directory``, one file for each key being computed.

    Args:
        directory: A folder for this alone.
        run: The run's name, shown to those who wait for it.
    """

    def __init__(self, directory: Path, *, run: str = "") -> None:
        self.directory = directory
        self._run = run
        self._ready = False
        self._held: weakref.WeakSet[Flight] = weakref.WeakSet()
        _all.add(self)

    def try_acquire(self, key: str) -> Flight | None:
        """Return the right to compute ``key``, or None while somebody has it. Never waits.

        Raises:
            StoreError: Locks cannot be made there; compute without.
        """
        path = self._path(key)
        try:
            if not self._ready:
                private_folder(self.directory)
                self._ready = True
            descriptor = _lock(path)
        except OSError as error:
            raise store_error(error, self.directory) from error
        if descriptor is None:
            return None
        flight = Flight(key, path, descriptor)
        self._held.add(flight)
        note = {"pid": os.getpid(), "run": self._run, "since": time.time()}
        with contextlib.suppress(OSError):  # a full disk spoils the message, not the lock
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, json.dumps(note).encode(), 0)
        return flight

    def owner(self, key: str) -> Owner | None:
        """Return who took ``key`` last and has not released it; None if nobody is known."""
        try:
            note = json.loads(self._path(key).read_bytes())
            return Owner(int(note["pid"]), str(note["run"]), float(note["since"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def keys(self, prefix: str) -> list[str]:
        """Return the keys that begin with ``prefix`` (of two characters or more) and may be taken."""
        return [path.stem for path in (self.directory / prefix[:2]).glob(f"{prefix}*.lock")]

    def sweep(self, *, now: float | None = None, older_than: float = _HOUR) -> int:
        """Remove the files that killed owners left; return how many."""
        latest = (time.time() if now is None else now) - older_than
        count = 0
        for path in list(self.directory.glob("??/*.lock")):
            with contextlib.suppress(OSError):
                if path.stat().st_mtime > latest:
                    continue
                descriptor = _lock(path)
                if descriptor is not None:
                    Flight(path.stem, path, descriptor).release()
                    count += 1
        return count

    def _path(self, key: str) -> Path:
        if not re.fullmatch(_KEY, key):
            raise ValueError(f"not a key: {key!r}")
        return self.directory / key[:2] / f"{key}.lock"

    def _forked(self) -> None:
        """Give up, in the child, what the parent holds: else it would outlive the parent."""
        for flight in list(self._held):
            flight.abandon()


_all: weakref.WeakSet[Flights] = weakref.WeakSet()


def _child_of_fork() -> None:
    for flights in list(_all):
        flights._forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_child_of_fork)


def _lock(path: Path) -> int | None:
    """Return a descriptor of ``path`` that holds its lock, or None if another one does."""
    for descriptor in _attempts(path):
        try:
            if not _flock(descriptor):
                os.close(descriptor)
                return None
            if _is(path, descriptor):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # the file was released, and its name removed, in between
    return None


def _attempts(path: Path) -> Iterator[int]:
    """Open the lock file again and again, making it and its folder if need be."""
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0)
    for _attempt in range(100):
        try:
            yield os.open(path, flags, 0o600)
        except FileNotFoundError:
            path.parent.mkdir(mode=0o700, exist_ok=True)


def _is(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False


try:
    import fcntl
except ImportError:  # Windows

    def _flock(descriptor: int) -> bool:
        raise StoreError(
            "two runs at once are not kept apart on this system",
            known="It has no flock.",
            remedy="Run one flow at a time, or expect a task to be computed twice.",
        )

else:

    def _flock(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                return False
            raise
        return True
