"""The journal: one thread writes what happens to a run, in groups, while it happens.

Handing over a node costs an append. A group is written after 50 ms at the most, at once when a
node took longer than that or went wrong; SQLite gets a hundred rows in one statement, so
that the writer seldom asks for the interpreter's lock, which a busy run gives away only every 5 ms. Before a node is written down as
ended well, its value is on disk: what the journal says can be built upon.

The first failure (locked, full, read-only, damaged) is told, and nothing is written from then on:
a run never fails, and waits no longer than ``TIMEOUT``, because its history cannot be kept.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from flowkit.clock import Clock
from flowkit.records import record
from flowkit.reports import BAD, Attempt, NodeReport, RunInfo, RunReport
from flowkit.scheduler import Node, Scheduler
from flowkit.services import Printed
from flowkit_plugins.history import facts, processes, rows
from flowkit_plugins.history.databases import (
    IN_ALL_FLOWS,
    OF_A_RUN,
    SPAN,
    HistoryError,
    killed_marker,
    open_to_write,
    set_status,
    transaction,
    trouble,
)
from flowkit_plugins.history.selecting import gone

Flush = Callable[..., None]

GROUP_SECONDS = 0.05
TICK = 1.0
"""Seconds between two looks at what is running; a node that runs longer than this is written down."""
TIMEOUT = 5.0
SWEPT_AT_ONCE, ROWS_AT_ONCE = 20, 20_000
"""Runs whose time is over that are dropped at the end of a run, and rows after which no more are: it shall not take long."""

_ATTEMPTS = f"INSERT INTO attempts VALUES (?{', ?' * 10})"


@record()
class _Noted:
    """A long running attempt: its rowid, and how much of what it printed is written down."""

    at: int = 0
    size: int = 0


class Journal:
    """The record of one run.

    Args:
        file: The history.
        run: The run.
        details: What is noted of it at its start.
        continues: The run that it continues, or None.
        parent: The run (and node) of the task in which it was started, or None.
        keep: Seconds for which runs are kept; None for good.
        flush: Called before nodes are written: has what they gave been stored.
        clock: The run's clock.
        printed: Knows what attempts that still run have printed, or None.
        machine: Knows which elements there are, or None.

    Attributes:
        queue: Where nodes that ended are put, and attempts that did not end well.
        running: What has been started and has not ended.
        idle: Whether the writer sleeps, and has to be woken.
        failure: Why nothing is written any more, or ``""``.
    """

    def __init__(
        self,
        file: Path,
        run: RunInfo,
        details: dict[str, Any],
        *,
        continues: str | None = None,
        parent: str | None = None,
        keep: float | None = None,
        flush: Flush,
        clock: Clock,
        printed: Printed | None = None,
        machine: Scheduler | None = None,
    ) -> None:
        self._machine = machine
        self._printed = printed
        self._file = file
        self._run = run
        self._details = details
        self._continues = continues
        self._parent = parent
        self._keep = keep
        self._flush = flush
        self._clock = clock
        self._zero = run.started_at
        self._mask = run.mask
        self.queue: deque[NodeReport | Attempt] = deque()
        self.running: dict[Node, Attempt] = {}
        self._noted: dict[Attempt, _Noted] = {}
        self._looked = 0.0
        self._was_failed: set[tuple[str, str]] = set()
        self._counts: dict[str, int] = {}
        self._first = 0
        self._next = dict.fromkeys(("nodes", "attempts", "running"), 0)
        self.idle = True
        self._work = threading.Event()
        self._hurry = threading.Event()
        self._report: RunReport | None = None
        self._status = ""
        self._thread: threading.Thread | None = None
        self.failure = ""

    # On the run's threads

    def start(self) -> None:
        """Begin to write."""
        # A daemon: a process that is told to end at once must be able to.
        thread = threading.Thread(target=self._write_all, name="flowkit-history", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            self._fail(HistoryError(f"no thread can be started to write it ({error})"))
            return
        self._thread = thread

    def wake(self, *, hurry: bool) -> None:
        """Have what is in the queue written: now, or with more that may come within the next moment."""
        self.idle = False
        if hurry:
            self._hurry.set()
        self._work.set()

    def end(self, status: str, report: RunReport | None) -> None:
        """Write what is left, and how the run ended; wait until that is done."""
        if self._thread is None:
            return
        self._report, self._status = report, status
        self._hurry.set()
        self._work.set()
        self._thread.join(4 * TIMEOUT)
        if self._thread.is_alive():
            self._fail(HistoryError(f"{self._file} did not answer in time"))
        self._thread = None

    # On the writer's thread

    def _write_all(self) -> None:
        try:
            connection = open_to_write(self._file, TIMEOUT)
        except (OSError, sqlite3.Error, HistoryError) as error:
            self._fail(error)
            self.queue.clear()
            return
        try:
            with transaction(connection):
                self._begin(connection)
            while not self._status:
                self._wait()
                self._write_group(connection)
            self._write_group(connection)
            with transaction(connection):
                self._finish(connection)
            with transaction(connection):
                self._sweep(connection)
        except Exception as error:  # whatever it is, the run goes on without a history
            self._fail(error)
            self.queue.clear()
        finally:
            connection.close()

    def _fail(self, error: Exception) -> None:
        if not self.failure:
            self.failure = str(trouble(error, self._file))

    def _wait(self) -> None:
        """Wait for something to write, and then a little for more."""
        if not self.queue:
            self.idle = True
            if not self.queue:  # else somebody came between these two
                self._work.wait(TICK)
            self.idle = False
        self._work.clear()
        if self.queue:
            self._hurry.wait(GROUP_SECONDS)
        self._hurry.clear()

    def _begin(self, connection: sqlite3.Connection) -> None:
        run = self._run
        mark_lost(connection, self._file.parent)
        connection.execute(
            "INSERT INTO runs (id, flow, status, started, parent, continues, pid, process, scheduled)"
            " VALUES (?, ?, 'running', ?, ?, ?, ?, ?, ?)",
            (run.id, run.flow, run.started.timestamp(), self._parent, self._continues, os.getpid(),
             processes.identity(), run.scheduled_at.isoformat()),
        )  # fmt: skip
        ((number,),) = connection.execute("SELECT last_insert_rowid()").fetchall()
        self._first = number * SPAN
        connection.execute(
            "INSERT INTO details VALUES (?, 'begin', ?)", (number, json.dumps(self._details))
        )
        for flow in run.graph.flows:
            child = self._parent is not None
            connection.execute(
                "INSERT INTO runs_of VALUES (?, ?, ?, 'running')", (flow.path, child, number)
            )
            connection.execute(
                "INSERT OR REPLACE INTO flows VALUES (?, ?, ?)", (flow.path, flow.file, flow.module)
            )
            found = connection.execute("SELECT flow, node FROM failed WHERE flow = ?", (flow.path,))
            self._was_failed.update(found.fetchall())
        name, shape = facts.shape(run.graph)
        connection.execute("INSERT OR IGNORE INTO graphs VALUES (?, ?)", (name, shape))
        connection.execute("UPDATE runs SET graph = ? WHERE number = ?", (name, number))

    def _write_group(self, connection: sqlite3.Connection) -> None:
        take, reports, attempts = self.queue.popleft, [], []
        for _ in range(len(self.queue)):
            item = take()
            if type(item) is NodeReport:
                reports.append(item)
                tries = item.attempts
                if tries and tries[-1].sections and tries[-1].kind == "success":
                    attempts.append(tries[-1])
            else:
                attempts.append(item)  # type: ignore[arg-type]  # the only other type there is
        long = self._long_running()
        told = self._newly_printed()
        if not (reports or attempts or long or told):
            return
        if reports:
            self._flush(hurry=bool(self._status))
        zero, mask = self._zero, self._mask
        first = self._take("nodes", len(reports))
        inserts = rows.node_inserts(reports, first, zero, mask, self._counts)
        with transaction(connection):
            for statement, values in inserts:
                connection.execute(statement, values)
            if reports:
                self._note_failures(connection, reports)
            for attempt in attempts:
                row = rows.attempt_row(attempt, zero, mask)
                connection.execute(_ATTEMPTS, (self._take("attempts", 1), *row))
            for attempt in long:
                at = self._noted[attempt].at = self._take("running", 1)
                started = round(attempt.started_at - zero, 6)
                connection.execute(
                    "INSERT INTO running VALUES (?, ?, ?, ?, NULL)",
                    (at, mask(attempt.full_id), attempt.number, started),
                )
            connection.executemany("UPDATE running SET sections = ? WHERE at = ?", told)

    def _take(self, table: str, count: int) -> int:
        """Return the first of ``count`` rowids."""
        first = self._first + self._next[table]
        self._next[table] += count
        return first

    def _long_running(self) -> list[Attempt]:
        """Return what has been running for more than a moment, once each: a kill leaves that much behind."""
        if not self.running:
            self._noted.clear()
            return []
        running = [attempt for _, attempt in list(self.running.items())]
        self._noted = {attempt: self._noted[attempt] for attempt in running if attempt in self._noted}
        until = self._clock.now() - TICK
        long = [a for a in running if a.started_at < until and a not in self._noted]
        self._noted.update((attempt, _Noted()) for attempt in long)
        return long

    def _newly_printed(self) -> list[tuple[str | None, int]]:
        """Return what long running attempts have printed, with their rowids, where that has grown."""
        now = self._clock.now()
        if self._printed is None or not self._noted or now - self._looked < TICK:
            return []
        self._looked = now
        found = []
        for attempt, noted in self._noted.items():
            size = self._printed.size(attempt)
            if noted.at and size > noted.size:
                noted.size = size
                found.append((rows.printed(self._printed.so_far(attempt), self._mask), noted.at))
        return found

    def _note_failures(self, connection: sqlite3.Connection, reports: Iterable[NodeReport]) -> None:
        """Keep the list of nodes whose last end was a failure: what ``--lf`` reads."""
        if not self._was_failed and not any(word in self._counts for word in (*BAD, "replaced")):
            return
        number = self._first // SPAN
        for report in reports:
            if report.word in BAD:
                place = self._place(report)
                self._was_failed.discard(place)
                connection.execute(
                    "INSERT OR REPLACE INTO failed VALUES (?, ?, ?)", (*place, number)
                )
            elif self._was_failed and report.word not in ("not run", "upstream"):
                place = self._place(report)
                if place in self._was_failed:
                    self._was_failed.discard(place)
                    connection.execute("DELETE FROM failed WHERE flow = ? AND node = ?", place)

    def _place(self, report: NodeReport) -> tuple[str, str]:
        """Return a node's flow and its id as they are noted."""
        return report.unit.task.flow.path, self._mask(report.unit.id)

    def _finish(self, connection: sqlite3.Connection) -> None:
        number = self._first // SPAN
        report, counts = self._report, self._counts
        if report is not None:
            if report.teardowns:
                counts = {**counts, "error": counts.get("error", 0) + len(report.teardowns)}
            connection.execute(
                "INSERT OR REPLACE INTO details VALUES (?, 'end', ?)",
                (number, json.dumps(rows.end_of(report))),
            )
        self._forget_gone(connection)
        connection.execute(
            "UPDATE runs SET ended = ?, counts = ? WHERE number = ?",
            (self._clock.wall().timestamp(), json.dumps(counts), number),
        )
        set_status(connection, number, self._status)

    def _forget_gone(self, connection: sqlite3.Connection) -> None:
        """Forget failures of elements that are not there any more."""
        if self._was_failed:
            report = self._report
            ended = report is not None and not report.interrupted and not report.stopped
            met = {self._place(node) for node in report.nodes} if report is not None and ended else None
            places = gone(self._was_failed, self._run.graph, self._machine, met)
            connection.executemany("DELETE FROM failed WHERE flow = ? AND node = ?", places)

    def _sweep(self, connection: sqlite3.Connection) -> None:
        if self._keep is not None:
            sweep(connection, self._clock.wall().timestamp() - self._keep, SWEPT_AT_ONCE)


def mark_lost(connection: sqlite3.Connection, folder: Path) -> None:
    """Note of every run whose process is gone that it is lost, or was killed."""
    found = connection.execute(
        "SELECT number, id, pid, process FROM runs WHERE status = 'running'"
    ).fetchall()
    for number, name, pid, process in found:
        if processes.is_gone(pid, process):
            marker = killed_marker(folder, name)
            status = "killed" if os.path.exists(marker) else "lost"
            set_status(connection, number, status)
            if status == "killed":
                os.unlink(marker)


def sweep(connection: sqlite3.Connection, before: float, most: int) -> int:
    """Drop the oldest runs that began before a time, at most so many; return how many there were."""
    found = connection.execute(
        "SELECT number, started, graph FROM runs ORDER BY number LIMIT ?", (most,)
    ).fetchall()
    old = [(number, graph) for number, started, graph in found if started < before]
    swept = rows_swept = 0
    for number, graph in old:
        if rows_swept > ROWS_AT_ONCE:
            break
        swept += 1
        for table in OF_A_RUN:
            rows_swept += connection.execute(
                f"DELETE FROM {table} WHERE at BETWEEN ? AND ?",
                (number * SPAN, (number + 1) * SPAN - 1),
            ).rowcount
        connection.execute("DELETE FROM details WHERE number = ?", (number,))
        connection.execute("DELETE FROM runs WHERE number = ?", (number,))
        connection.execute(f"DELETE FROM runs_of WHERE {IN_ALL_FLOWS} AND number = ?", (number,))
        if not connection.execute(
            "SELECT 1 FROM runs WHERE graph = ? LIMIT 1", (graph,)
        ).fetchall():
            connection.execute("DELETE FROM graphs WHERE hash = ?", (graph,))
    return swept
