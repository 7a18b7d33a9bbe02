"""Traces: for each key, what the computation gave, without the value. A warm run reads these alone.

One SQLite file of our own (WAL). Rows are columns and JSON text, never pickles. Reading has its
own connection and is not held up by writing; a file that does not exist reads as empty and is made
by the first write.

A row written by another version of the format is a miss that says so.
"""

from __future__ import annotations

import contextlib
import gc
import json
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from flowkit.secrets import Mask
from flowkit_plugins.cache.databases import connect, connect_to_read, make_private
from flowkit_plugins.cache.faults import FORMAT_CHANGED, NO_RECORD, Miss, StoreError, store_error
from flowkit_plugins.cache.places import local_disk

FORMAT = 1
SCHEMA = 1


class Trace(NamedTuple):
    """What one computation gave. Times are seconds since the epoch, durations seconds."""

    key: str
    node: str
    digest: str
    """The value's content, or for what has none (unstorable, a resource) the key itself."""
    blob: str | None
    """Where the value is; None if it was not stored."""
    kind: str
    """``success`` or ``skipped``."""
    took: float
    created: float
    expires: float | None = None
    size: int = 0
    used: int = 0
    """The day (since the epoch) it was last reused, or made."""
    reason: str = ""
    """Why it was skipped, or could not be stored."""
    files: str | None = None
    """JSON of the files the value stands for; None if there are none."""
    body: str | None = None
    """JSON of whatever else is worth showing; see :attr:`details`."""

    @property
    def details(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body) if self.body else {}

    def stored_as(self, blob: str, size: int) -> Trace:
        """Return the trace with the place of its value."""
        # A fifth of the time that _replace() takes.
        stored: Trace = trace_of((*self[:3], blob, *self[4:8], size, *self[9:]))
        return stored


    def masked(self, mask: Mask) -> Trace:
        """Return the trace without secrets. A list whose ids hold one is read anew when its ids are asked for."""
        details = self.details
        if listed := details.get("elements"):
            details["elements"] = {part: [ids, found] for part, (ids, found) in listed.items() if ids == list(map(mask, ids))}
        body = self.body and json.dumps(details, separators=(",", ":"))
        return self._replace(node=mask(self.node), reason=mask(self.reason), body=body)


class Last(NamedTuple):
    """The last success of a node in a flow, whatever its key: for explanations and estimates."""

    flow: str
    node: str
    key: str
    digest: str
    took: float
    created: float
    parts: str = "{}"
    """JSON of the key's named parts; parameters look there as they may be shown."""

    def masked(self, mask: Mask) -> Last:
        """Return it without secrets."""
        return self._replace(node=mask(self.node))


_COLUMNS = ", ".join(f"traces.{name}" for name in Trace._fields)
_LAST_COLUMNS = ", ".join(Last._fields)
_PUT_TRACES = f"INSERT OR REPLACE INTO traces (format, {', '.join(Trace._fields)})"
_PUT_LASTS = f"INSERT OR REPLACE INTO last ({_LAST_COLUMNS})"
_TRACE_ROW = f"({FORMAT}{', ?' * len(Trace._fields)})"
_LAST_ROW = f"({'?, ' * (len(Last._fields) - 1)}?)"
#: So many rows go in one statement. ``executemany`` lets go of Python's lock at every row and waits
#: for it again, against the run that wants it all the time: three times the cost of the rows.
_AT_ONCE = 64
#: Traces from which on it is worth counting them before they are read.
MANY = 1000
_TABLES = (
    "CREATE TABLE IF NOT EXISTS traces (key TEXT PRIMARY KEY, format INTEGER NOT NULL,"
    " node TEXT NOT NULL, digest TEXT NOT NULL, blob TEXT, kind TEXT NOT NULL, took REAL NOT NULL,"
    " created REAL NOT NULL, expires REAL, size INTEGER NOT NULL, used INTEGER NOT NULL,"
    " reason TEXT NOT NULL, files TEXT, body TEXT)",
    "CREATE TABLE IF NOT EXISTS last (flow TEXT NOT NULL, node TEXT NOT NULL, key TEXT NOT NULL,"
    " digest TEXT NOT NULL, took REAL NOT NULL, created REAL NOT NULL, parts TEXT NOT NULL,"
    " PRIMARY KEY (flow, node)) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS pins (key TEXT PRIMARY KEY, note TEXT NOT NULL) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS memo (kind TEXT NOT NULL, name TEXT NOT NULL, body TEXT NOT NULL,"
    " PRIMARY KEY (kind, name)) WITHOUT ROWID",
)
_CACHE_32_MB = "PRAGMA cache_size = -32000"

#: A Trace, and a Last, of a tuple of all values: in 0.1 µs, where ``Trace(*row)`` takes 0.5.
trace_of: Any = partial(tuple.__new__, Trace)
last_of: Any = partial(tuple.__new__, Last)


class Traces:
    """The traces in ``file``. Any thread may read or write; nothing is opened before it is used.

    Every method raises :class:`StoreError` where the file cannot be used; waiting for another
    process ends after ``timeout`` seconds.
    """

    def __init__(self, file: Path, *, timeout: float = 30.0) -> None:
        self.file = file
        self._timeout = timeout
        self._future = False
        self._openings = 0
        self._closed = False
        self._reader: sqlite3.Connection | None = None
        self._writer: sqlite3.Connection | None = None
        self._reading = threading.Lock()
        self._writing = threading.Lock()

    # Reading

    def lookup(self, key: str) -> Trace | Miss:
        """Return the trace of ``key``, or why there is none. Expiry is the caller's business."""
        rows = self._select(f"SELECT format, {_COLUMNS} FROM traces WHERE key = ?", (key,))
        if rows and rows[0][0] == FORMAT:
            return Trace(*rows[0][1:])
        if rows or self._future:
            return Miss(FORMAT_CHANGED, "written by another version of flowkit")
        return Miss(NO_RECORD)

    def lookup_many(self, keys: Iterable[str]) -> dict[str, Trace]:
        """Return the traces there are for ``keys``: 1.5 µs each."""
        return self._traces(
            "JOIN json_each(?) AS wanted ON traces.key = wanted.value", (json.dumps(list(keys)),)
        )

    def load_all(self, flow: str) -> dict[str, Trace]:
        """Return by key what the nodes of ``flow`` last gave: what its next run will ask for.

        Of a large flow all traces, if there are no others: looking each one up takes half as long again.
        """
        if (there := self.count()) >= MANY:
            ((mine,),) = self._select("SELECT count(*) FROM last WHERE flow = ?", (flow,))
            if there == mine:
                return self._traces()
        return self._traces("JOIN last ON last.key = traces.key AND last.flow = ?", (flow,))

    def everything(self) -> list[Trace]:
        """Return all traces, for the gc and the listing."""
        return list(self._traces().values())

    def last(self, flow: str) -> dict[str, Last]:
        """Return the last success of each node of ``flow``, by node."""
        rows = self._select(f"SELECT {_LAST_COLUMNS} FROM last WHERE flow = ?", (flow,))
        return {row[1]: last_of(row) for row in rows}

    def pins(self) -> dict[str, str]:
        """Return the pinned keys with their notes."""
        return dict(self._select("SELECT key, note FROM pins"))

    def memos(self, kind: str) -> dict[str, str]:
        """Return what was remembered of one kind, as JSON text by name."""
        return dict(self._select("SELECT name, body FROM memo WHERE kind = ?", (kind,)))

    def memo(self, kind: str, name: str) -> str | None:
        """Return what was remembered under one name."""
        found = self._select("SELECT body FROM memo WHERE kind = ? AND name = ?", (kind, name))
        return found[0][0] if found else None

    def count(self) -> int:
        """Return a number that there are no more traces than."""
        return int(next(iter(self._select("SELECT max(rowid) FROM traces")), (0,))[0] or 0)

    def keys_after(self, row: int) -> tuple[int, list[str]]:
        """Return the keys written after a row, and the last of their rows."""
        # In one row: sqlite3 lets go of Python's lock at each, and this run's own writer wants it.
        last = "SELECT max(rowid), json_group_array(key) FROM traces WHERE rowid > ?"
        ((number, keys),) = self._select(last, (row,)) or ((None, "[]"),)
        return number or row, json.loads(keys)

    def stamp(self) -> tuple[int, int] | None:
        """Return what changes with each commit, of whichever process; None where there is nothing.

        The state of the log file would not do: it is written a moment before the commit can be seen.
        """
        rows = self._select("PRAGMA data_version")
        # SQLite's number means something on one connection only.
        return (self._openings, rows[0][0]) if rows else None

    @property
    def foreign(self) -> bool:
        """Whether the file was found to be another version's."""
        return self._future

    # Writing

    def commit(self, traces: Sequence[Trace], lasts: Sequence[Last] = ()) -> None:
        """Write traces and last successes in one transaction. Their blobs are stored before."""
        with self._transaction() as connection:
            _insert(connection, _PUT_TRACES, _TRACE_ROW, traces)
            _insert(connection, _PUT_LASTS, _LAST_ROW, lasts)

    def touch(self, traces: Iterable[Trace], day: int) -> int:
        """Note that ``traces`` were used on ``day``; write only what is new, and return how many.

        A second warm run on a day writes nothing.
        """
        stale = [(day, trace.key, day) for trace in traces if trace.used < day]
        if stale:
            with self._transaction() as connection:
                connection.executemany(
                    "UPDATE traces SET used = ? WHERE key = ? AND used < ?", stale
                )
        return len(stale)

    def forget(self, keys: Iterable[str]) -> None:
        """Remove traces. Their last successes stay, so that a reason can still be given."""
        with self._transaction() as connection:
            connection.executemany("DELETE FROM traces WHERE key = ?", [(key,) for key in keys])

    def pin(self, key: str, note: str = "") -> None:
        """Keep a key from the gc."""
        with self._transaction() as connection:
            connection.execute("INSERT OR REPLACE INTO pins VALUES (?, ?)", (key, note))

    def unpin(self, key: str) -> None:
        """Leave a key to the gc again."""
        with self._transaction() as connection:
            connection.execute("DELETE FROM pins WHERE key = ?", (key,))

    def remember(self, kind: str, memos: Mapping[str, str]) -> None:
        """Keep JSON texts by kind and name, replacing those there are."""
        with self._transaction() as connection:
            connection.executemany(
                "INSERT OR REPLACE INTO memo VALUES (?, ?, ?)",
                [(kind, name, body) for name, body in memos.items()],
            )

    def close(self) -> None:
        """Close both connections. Whoever reads after that opens one, and closes it again."""
        with self._reading, self._writing:
            self._closed = True
            for connection in (self._reader, self._writer):
                if connection is not None:
                    connection.close()
            self._reader = self._writer = None

    # Connections

    def _traces(self, clause: str = "", values: tuple[Any, ...] = ()) -> dict[str, Trace]:
        statement = f"SELECT {_COLUMNS} FROM traces {clause} WHERE traces.format = {FORMAT}"
        # Ten thousand new tuples set off the garbage collector thirty times, a third of the time.
        collecting = gc.isenabled()
        gc.disable()
        try:
            return {row[0]: trace_of(row) for row in self._select(statement, values)}
        finally:
            if collecting:
                gc.enable()

    def _select(self, statement: str, values: tuple[Any, ...] = ()) -> list[Any]:
        with self._reading:
            try:
                if self._reader is None and not self._open_reader():
                    return []
                assert self._reader is not None
                rows = self._reader.execute(statement, values).fetchall()
                if self._closed:
                    self._reader.close()
                    self._reader = None
                return rows
            except (OSError, sqlite3.Error) as error:
                raise store_error(error, self.file) from error

    def _open_reader(self) -> bool:
        """Connect for reading; False where there is nothing (for us) to read."""
        if self._future or not self.file.exists() or not self.file.stat().st_size:
            return False
        local_disk(self.file)
        connection = connect_to_read(self.file, self._timeout)
        connection.execute(_CACHE_32_MB)
        ((version,),) = connection.execute("PRAGMA user_version").fetchall()
        if version == SCHEMA:
            self._reader = connection
            self._openings += 1
            return True
        # 0: somebody is making the tables right now.
        self._future = version != 0
        connection.close()
        return False

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """Give a connection inside a transaction that takes the write lock at its start.

        A transaction that begins by reading would fail at once when it then wants to write and
        somebody else does: the busy timeout does not apply there.
        """
        with self._writing:
            try:
                if self._writer is None:
                    self._writer = self._open_writer()
                self._writer.execute("BEGIN IMMEDIATE")
                yield self._writer
                self._writer.execute("COMMIT")
            except BaseException as error:
                if self._writer is not None:
                    self._writer.close()  # rolls back, also where ROLLBACK itself would fail
                    self._writer = None
                if isinstance(error, (OSError, sqlite3.Error)):
                    raise store_error(error, self.file) from error
                raise

    def _open_writer(self) -> sqlite3.Connection:
        local_disk(self.file)
        self.file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        make_private(self.file)
        connection = connect(self.file, "mode=rw", self._timeout)
        try:
            connection.execute(_CACHE_32_MB)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            # Keys come in random order, so each group touches the whole index: with the default
            # of 1,000 pages that is a checkpoint every few groups, and 5 µs more for each record.
            connection.execute("PRAGMA wal_autocheckpoint = 4000")
            connection.execute("BEGIN IMMEDIATE")
            ((version,),) = connection.execute("PRAGMA user_version").fetchall()
            if version not in (0, SCHEMA):
                raise StoreError(
                    f"{self.file} was written by another version of flowkit",
                    known=f"It has schema {version}; this flowkit has {SCHEMA}.",
                    remedy="Use that version, or start afresh with `flowkit cache clear`.",
                )
            for statement in _TABLES if version == 0 else ():
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {SCHEMA}")
            connection.execute("COMMIT")
        except BaseException:
            connection.close()
            raise
        return connection


def _insert(
    connection: sqlite3.Connection, statement: str, row: str, rows: Sequence[tuple[Any, ...]]
) -> None:
    for start in range(0, len(rows), _AT_ONCE):
        some = rows[start : start + _AT_ONCE]
        places = ", ".join([row] * len(some))
        connection.execute(f"{statement} VALUES {places}", [*chain.from_iterable(some)])
