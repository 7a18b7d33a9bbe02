"""Connections to SQLite files, by a URI that takes any path."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path


def connect(file: Path, mode: str, timeout: float) -> sqlite3.Connection:
    """Open ``file``; a lock of the caller's own serialises the threads that use it."""
    return sqlite3.connect(
        f"{file.absolute().as_uri()}?{mode}",
        uri=True,
        timeout=timeout,
        isolation_level=None,
        check_same_thread=False,
    )


def make_private(file: Path) -> None:
    """Make an empty file that is nobody else's business; one that is there is not even opened.

    Closing any descriptor of a file lets go of all of this process's locks on it, those of SQLite
    among them.
    """
    with contextlib.suppress(FileExistsError):
        os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))


def connect_to_read(file: Path, timeout: float) -> sqlite3.Connection:
    """Open ``file`` without ever writing to it, on a read-only disk too.

    What a process that was killed left half written, however, is rolled back first.
    """
    connection = connect(file, "mode=ro", timeout)
    try:
        connection.execute("SELECT 1 FROM sqlite_master").fetchall()
    except sqlite3.OperationalError:
        connection.close()
        if os.access(file, os.W_OK) and os.access(file.parent, os.W_OK):
            # A process was killed in the middle of writing: only who may write can undo that.
            connection = connect(file, "mode=rw", timeout)
            connection.execute("PRAGMA query_only = ON")
            return connection
        # In WAL mode reading makes a file beside the database. Where none can be made nobody
        # writes either; with a log left over, however, the database alone is not the whole truth.
        log = file.with_name(file.name + "-wal")
        if os.access(file.parent, os.W_OK) or (log.exists() and log.stat().st_size):
            raise
        return connect(file, "mode=ro&immutable=1", timeout)
    except BaseException:
        connection.close()
        raise
    return connection
