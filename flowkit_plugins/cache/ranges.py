"""Single flight for many keys: a byte of one file stands for each, and a lock on it for its owner.

Linux's open-file-description locks cost 1 µs each where a file of its own for each key
(:mod:`.flights`) costs 50, and are freed likewise the moment their owner dies. They do not tell
who that is; so each run that takes any keeps one file of :mod:`.flights` with its name and pid,
for messages alone. Where there are no such locks, keys are locked by files.
"""

from __future__ import annotations

import errno
import functools
import mmap
import os
import struct
import sys
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from flowkit_plugins.cache.faults import StoreError, store_error
from flowkit_plugins.cache.flights import Flight, Flights

try:
    import fcntl
except ImportError:  # Windows
    _SET_LOCK = None
else:
    linux = sys.platform == "linux" and struct.calcsize("P") == 8
    _SET_LOCK = getattr(fcntl, "F_OFD_SETLK", None) if linux else None

#: Bytes of the page that say which commit was the last.
_STAMP = 8
#: ``struct flock``: type, whence, start, length, pid.
_REQUEST = struct.Struct("hhqqi4x")
_UNSUPPORTED = frozenset({errno.EINVAL, errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP})


class Right(Protocol):
    """The right to compute one key."""

    def release(self) -> None:
        """Let others have the key. Doing so twice does nothing."""


class Range:
    """The right to compute one key, until :meth:`release` or the end of the process."""

    __slots__ = ("_locks", "_offset")

    def __init__(self, locks: Ranges, offset: int) -> None:
        self._locks = locks
        self._offset = offset

    def release(self) -> None:
        """Let others have the key. Doing so twice does nothing."""
        offset, self._offset = self._offset, -1
        if offset >= 0:
            self._locks.unlock(offset)


class Ranges:
    """Locks on keys in ``directory``, for one run.

    Args:
        directory: A folder for locks alone.
        run: The run's name, shown to those who wait for it.
    """

    def __init__(self, directory: Path, *, run: str = "") -> None:
        self._directory = directory
        self._flights = Flights(directory, run=run)
        self._name = f"run-{run}-{os.getpid()}-{id(self):x}"
        self._presence: Flight | None = None
        self._descriptor = -1
        self._by_file = _SET_LOCK is None
        self._held: set[int] = set()
        self._page: mmap.mmap | None = None
        self._opening = threading.Lock()
        _all.add(self)

    def try_acquire(self, key: str) -> Right | None:
        """Return the right to compute ``key``, or None while somebody has it. Never waits.

        Raises:
            StoreError: Locks cannot be made there; compute without.
        """
        if self._presence is None:
            self.open()
        if self._by_file:
            return self._flights.try_acquire(key)
        offset = _offset(key)
        if offset in self._held:
            return None
        try:
            _lock(self._descriptor, offset, fcntl.F_WRLCK)
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.EACCES):
                return None
            if error.errno in _UNSUPPORTED:
                self._by_file = True
                return self._flights.try_acquire(key)
            raise store_error(error, self._directory) from error
        self._held.add(offset)
        return Range(self, offset)

    def unlock(self, offset: int) -> None:
        """Let go of one byte."""
        self._held.discard(offset)
        if self._descriptor >= 0:
            try:
                _lock(self._descriptor, offset, fcntl.F_UNLCK)
            except OSError:  # the lock then goes with the descriptor
                pass

    def committed(self) -> None:
        """Tell all runs that results are on disk now; before their keys are released."""
        if self._page is not None:
            try:
                os.pwrite(self._descriptor, os.urandom(_STAMP), 0)
            except OSError:  # others may then compute what is there
                pass

    def stamp(self) -> bytes | None:
        """Return what changes with each :meth:`committed` of any run; None where nobody can tell.

        A page of the file of locks, which all runs have in their memory: to ask the database takes
        3 µs, and fifty more where another thread waits for Python's lock.
        """
        page = self._page
        return page[:_STAMP] if page is not None else None

    def owner(self, key: str) -> str:
        """Return who might be computing a key, in words."""
        if self._by_file:
            known = self._flights.owner(key)
            return f"run {known.run}, pid {known.pid}" if known else "another run"
        others = [name for name in self._flights.keys("run-") if name != self._name]
        owners = [o for name in others if (o := self._flights.owner(name)) and _lives(o.pid)]
        said = " or ".join(sorted(f"run {o.run}, pid {o.pid}" for o in owners)[:3])
        return said or "another run"

    def close(self) -> None:
        """Let go of everything."""
        self._held.clear()
        presence, self._presence = self._presence, None
        if presence is not None:
            presence.release()
        self._forget()

    def open(self) -> None:
        """Make the file of locks, if need be, and tell others that this run is there.

        Raises:
            StoreError: It cannot be made.
        """
        with self._opening:
            if self._presence is not None:
                return
            # First: it makes the folder, and checks that it is ours.
            presence = self._flights.try_acquire(self._name)
            if not self._by_file:
                path = self._directory / "keys"
                flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
                try:
                    self._descriptor = os.open(path, flags, 0o600)
                    self._page = _mapped(path)
                except OSError as error:
                    raise store_error(error, self._directory) from error
            self._presence = presence

    def _forget(self) -> None:
        """Close the descriptor. In the child of a fork it would outlive the parent."""
        self._page = None
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


def _mapped(path: Path) -> mmap.mmap | None:
    """Return the first page of a file as memory that all processes share, to read; None if it cannot be had.

    Opened anew: a map keeps its descriptor open, and one that holds locks must close with its run.
    What is read must have been written before, and is written by calls alone: where the disk is
    full, to touch a page that has no place on it ends the process.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        missing = os.fstat(descriptor).st_size < mmap.PAGESIZE
        if missing and os.pwrite(descriptor, bytes(mmap.PAGESIZE), 0) < mmap.PAGESIZE:
            return None
        return mmap.mmap(descriptor, mmap.PAGESIZE, prot=mmap.PROT_READ)
    except (OSError, ValueError):
        return None
    finally:
        os.close(descriptor)


def _offset(key: str) -> int:
    """Return the byte that stands for a key: 60 bits of it."""
    try:
        return int(key[:15], 16)
    except ValueError:
        raise StoreError(f"not a key: {key!r}") from None


def _lock(descriptor: int, offset: int, kind: int) -> None:
    """Lock or unlock one byte without waiting.

    Raises:
        OSError: It is locked, or cannot be.
    """
    assert _SET_LOCK is not None  # else there is no descriptor
    request = _REQUEST.pack(kind, os.SEEK_SET, offset, 1, 0)
    call = _fcntl()
    if call is None:
        fcntl.fcntl(descriptor, _SET_LOCK, request)
    elif call(descriptor, _SET_LOCK, request) == -1:
        error = _errno()
        raise OSError(error, os.strerror(error))


@functools.cache
def _fcntl() -> Callable[[int, int, bytes], int] | None:
    """Return C's ``fcntl``, called without letting go of Python's lock; None where there is no such thing.

    The call takes a microsecond and never waits. :func:`fcntl.fcntl` offers Python's lock to the
    threads that write meanwhile, and to get it back takes fifty.
    """
    try:
        import ctypes

        found: Callable[[int, int, bytes], int] = ctypes.PyDLL(None, use_errno=True).fcntl
        # Without argtypes: unasked, ints are passed as C's and bytes as a pointer to them, for half the price.
    except (ImportError, OSError, AttributeError):
        return None
    return found


def _errno() -> int:
    """Return the error of the last call."""
    import ctypes

    return ctypes.get_errno()


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it is somebody else's
        return True
    return True


_all: weakref.WeakSet[Ranges] = weakref.WeakSet()


def _child_of_fork() -> None:
    for ranges in list(_all):
        ranges._forget()  # noqa: SLF001 - this module's own


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_child_of_fork)
