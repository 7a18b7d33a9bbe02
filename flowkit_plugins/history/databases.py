"""The history file: its tables, and connections to it.

Rows of one run lie together and in the order they were written: their rowid is the run's number
times 2^32 plus a counter. So everything about one run is one range, however long the history is,
and no second index has to be kept.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

SCHEMA = 2
FOLDER = ".flowkit"
"""Where it is below the root, unless it is said."""
SPAN = 1 << 32
"""Rowids that each run has."""

TABLES = (
    (
        "CREATE TABLE runs (number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, flow TEXT NOT NULL,"
        " status TEXT NOT NULL, started REAL NOT NULL, ended REAL, parent TEXT, continues TEXT,"
        " pid INTEGER NOT NULL, process TEXT NOT NULL, graph TEXT, counts TEXT, scheduled TEXT)"
    ),
    "CREATE INDEX runs_by_status ON runs (status, number)",
    "CREATE INDEX runs_by_graph ON runs (graph)",
    "CREATE INDEX runs_by_parent ON runs (parent) WHERE parent IS NOT NULL",
    "CREATE INDEX runs_of_nobody ON runs (number) WHERE parent IS NULL",
    (
        "CREATE TABLE details (number INTEGER NOT NULL, kind TEXT NOT NULL, body TEXT NOT NULL,"
        " PRIMARY KEY (number, kind)) WITHOUT ROWID"
    ),
    "CREATE TABLE flows (flow TEXT PRIMARY KEY, file TEXT, module TEXT) WITHOUT ROWID",
    (
        "CREATE TABLE runs_of (flow TEXT NOT NULL, child INTEGER NOT NULL, number INTEGER NOT NULL,"
        " status TEXT NOT NULL, PRIMARY KEY (flow, child, number)) WITHOUT ROWID"
    ),
    "CREATE INDEX runs_of_by_status ON runs_of (flow, child, status, number)",
    "CREATE TABLE graphs (hash TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID",
    (
        "CREATE TABLE nodes (at INTEGER PRIMARY KEY, node TEXT NOT NULL, word TEXT NOT NULL, reason TEXT,"
        " key TEXT, started REAL, took REAL, tries INTEGER NOT NULL)"
    ),
    (
        "CREATE TABLE attempts (at INTEGER PRIMARY KEY, node TEXT NOT NULL, number INTEGER NOT NULL,"
        " kind TEXT NOT NULL, started REAL, took REAL, error TEXT, traceback TEXT, arguments TEXT,"
        " sections TEXT, again TEXT)"
    ),
    (
        "CREATE TABLE running (at INTEGER PRIMARY KEY, node TEXT NOT NULL, number INTEGER NOT NULL,"
        " started REAL, sections TEXT)"
    ),
    (
        "CREATE TABLE failed (flow TEXT NOT NULL, node TEXT NOT NULL, number INTEGER NOT NULL,"
        " PRIMARY KEY (flow, node)) WITHOUT ROWID"
    ),
    (
        "CREATE TABLE repairs (at INTEGER PRIMARY KEY, node TEXT NOT NULL, what TEXT NOT NULL, value TEXT,"
        " made REAL NOT NULL, who TEXT NOT NULL)"
    ),
)

OF_A_RUN = ("nodes", "attempts", "running", "repairs")
"""Tables whose rows belong to one run."""

IN_ALL_FLOWS = "flow IN (SELECT flow FROM flows) AND child IN (0, 1)"
"""Part of a condition on ``runs_of`` that lets the number of a run be looked up: it comes last in the index."""


def killed_marker(folder: Path, run: str) -> str:
    """Return the file that says that a run was killed by a second Ctrl-C."""
    return str(folder / f"killed-{run}")


class HistoryError(Exception):
    """The history cannot be used: what is wrong, and what to do about it."""


def trouble(error: BaseException, file: Path) -> HistoryError:
    """Return what an error means that was met while using ``file``."""
    if isinstance(error, HistoryError):
        return error
    text = str(error) or type(error).__name__
    if isinstance(error, FileNotFoundError):
        return HistoryError(f"{file.parent} is not there, and cannot be made ({text})")
    lowered = text.lower()
    if "locked" in lowered or "busy" in lowered:
        return HistoryError(f"{file} is locked by another process ({text})")
    if "not a database" in lowered or "malformed" in lowered or "no such" in lowered:
        return HistoryError(f"{file} is damaged ({text}); move it away to start a new one")
    return HistoryError(f"{file} cannot be used ({text})")


def connect(file: Path, mode: str, timeout: float) -> sqlite3.Connection:
    """Open ``file`` by a URI that takes any path."""
    connection = sqlite3.connect(
        f"{file.absolute().as_uri()}?{mode}",
        uri=True,
        timeout=timeout,
        isolation_level=None,
        check_same_thread=False,
    )
    connection.text_factory = lambda data: data.decode("utf-8", "replace")
    return connection


def open_to_write(file: Path, timeout: float) -> sqlite3.Connection:
    """Open the history, making it and its private folder if need be.

    Raises:
        HistoryError, OSError, sqlite3.Error: It cannot be written.
    """
    ours = file.parent.name == FOLDER or not file.parent.exists()
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    ignore = file.parent / ".gitignore"
    if ours and not ignore.exists():
        ignore.write_text("*\n")
    with contextlib.suppress(FileExistsError):  # else not even opened: closing it would cancel SQLite's locks
        os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    connection = connect(file, "mode=rw", timeout)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        with transaction(connection):
            ((version,),) = connection.execute("PRAGMA user_version").fetchall()
            _check(version, file)
            if version == 0:
                for statement in TABLES:
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {SCHEMA}")
    except BaseException:
        connection.close()
        raise
    return connection


def open_to_read(file: Path, timeout: float = 5.0) -> sqlite3.Connection | None:
    """Open the history without writing to it; None if there is none yet.

    What a process that was killed left half written, however, is rolled back first.

    Raises:
        HistoryError: It is damaged, locked, or of another version.
    """
    try:
        if not file.exists() or not file.stat().st_size:
            return None
        connection = connect(file, "mode=ro", timeout)
        try:
            ((version,),) = connection.execute("PRAGMA user_version").fetchall()
            connection.execute("SELECT 1 FROM sqlite_master").fetchall()
        except sqlite3.OperationalError:
            connection.close()
            # In WAL mode reading makes a file beside the database; on a read-only disk it cannot.
            # Where it can, a process that was killed left a change half made, which has to be undone.
            mode = "mode=rw" if os.access(file.parent, os.W_OK) else "mode=ro&immutable=1"
            connection = connect(file, mode, timeout)
            connection.execute("PRAGMA query_only = ON")
            ((version,),) = connection.execute("PRAGMA user_version").fetchall()
        if version == 0:  # somebody is making the tables right now, or it is empty
            connection.close()
            return None
        _check(version, file)
    except (OSError, sqlite3.Error) as error:
        raise trouble(error, file) from error
    return connection


def _check(version: int, file: Path) -> None:
    if version not in (0, SCHEMA):
        raise HistoryError(
            f"{file} was written by another version of flowkit (schema {version}, this one has {SCHEMA}); "
            f"move it away to start a new one"
        )


def set_status(connection: sqlite3.Connection, number: int, status: str) -> None:
    """Note the status of a run, in both places where it is looked up."""
    connection.execute("UPDATE runs SET status = ? WHERE number = ?", (status, number))
    connection.execute(
        f"UPDATE runs_of SET status = ? WHERE {IN_ALL_FLOWS} AND number = ?", (status, number)
    )


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Run the block in a transaction that has the write lock from its start."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")
