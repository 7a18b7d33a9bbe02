"""Questions to the history. Each reads what it is about, and nothing that grows with the rest."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from flowkit.errors import SelectionError, did_you_mean
from flowkit_plugins.history import processes
from flowkit_plugins.history.databases import (
    SPAN,
    HistoryError,
    killed_marker,
    open_to_read,
    trouble,
)

#: Statuses of runs that did not come to a good end.
BAD_ENDS = ("failed", "interrupted", "killed", "lost", "crashed")

#: All statuses that a run may have.
STATUSES = ("ok", *BAD_ENDS, "refused", "running")

#: How the reason of a node begins that was given its end by ``flowkit set``.
BY_HAND = "set by hand"

#: Words of nodes that ended well, or by themselves: these are never called again by ``--resume``.
ENDED_WELL = frozenset({"ran", "same", "cached", "skipped"})


class RunRow(NamedTuple):
    """A run. Times are seconds since the epoch."""

    number: int
    id: str
    flow: str
    status: str
    started: float
    ended: float | None
    parent: str | None
    continues: str | None
    pid: int
    process: str
    graph: str | None
    counts: str | None
    scheduled: str | None


class NodeEnd(NamedTuple):
    """How a node ended. ``started`` is in seconds since its run's start; ``took`` of one that was reused is what that saved."""

    node: str
    word: str
    reason: str | None
    key: str | None
    started: float | None
    took: float | None
    tries: int

    @property
    def called(self) -> float | None:
        """Seconds that its last attempt took; None if it was not called."""
        return self.took if self.tries else None

    @property
    def saved(self) -> float | None:
        """Seconds that reuse saved."""
        return None if self.tries else self.took


class AttemptEnd(NamedTuple):
    """An attempt that failed, was skipped, or printed something."""

    node: str
    number: int
    kind: str
    started: float
    took: float | None
    error: str | None
    traceback: str | None
    arguments: str | None
    sections: str | None
    again: str | None


class RunningNode(NamedTuple):
    """A node that was seen running for a while; it may have ended since. ``sections`` is what it had printed."""

    node: str
    number: int
    started: float
    sections: str | None


class Repair(NamedTuple):
    """What somebody said by hand about a node: ``value`` (JSON), ``skip`` or ``fail`` (a reason)."""

    node: str
    what: str
    value: str | None
    made: float
    who: str


_RUN = f"SELECT {', '.join(RunRow._fields)} FROM runs"
_NODE = ", ".join(NodeEnd._fields)
_ATTEMPT = ", ".join(AttemptEnd._fields)


class History:
    """A history file, for reading.

    Every method raises :class:`HistoryError` where the file cannot be read; one that does not
    exist reads as empty.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self._connection: sqlite3.Connection | None = None

    def close(self) -> None:
        """Close the file."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _select(self, statement: str, values: Sequence[object] = ()) -> list[Any]:
        try:
            if self._connection is None:
                self._connection = open_to_read(self.file)
                if self._connection is None:
                    return []
            return self._connection.execute(statement, values).fetchall()
        except (OSError, sqlite3.Error) as error:
            raise trouble(error, self.file) from error

    def _runs(self, clause: str, values: Sequence[object] = ()) -> list[RunRow]:
        return [self._judged(RunRow(*row)) for row in self._select(f"{_RUN} {clause}", values)]

    def _judged(self, run: RunRow) -> RunRow:
        """Return a run with the status it really has: its process may be gone."""
        if run.status == "running" and processes.is_gone(run.pid, run.process):
            killed = os.path.exists(killed_marker(self.file.parent, run.id))
            return run._replace(status="killed" if killed else "lost")
        return run

    # Runs

    def run(self, id: str) -> RunRow | None:  # noqa: A002 - the word users know
        """Return the run with exactly that id."""
        return next(iter(self._runs("WHERE id = ?", (id,))), None)

    def latest(self, flow: str, before: int | None = None) -> RunRow | None:
        """Return the last run of a flow (its path), or the one before run number ``before``."""
        found = self._runs(
            "WHERE number = (SELECT max(number) FROM runs_of WHERE flow = ? AND child = 0 AND number < ?)",
            (flow, (1 << 62) if before is None else before),
        )
        return found[0] if found else None

    def latest_of(self, flows: Sequence[str]) -> RunRow | None:
        """Return the last run of any of these flows."""
        found = [run for flow in flows if (run := self.latest(flow)) is not None]
        return max(found, default=None)

    def find(self, text: str) -> RunRow:
        """Return the run that a person means: ``last``, ``last-failed``, an id or the beginning of one.

        Raises:
            SelectionError: There is none, or there are several.
        """
        if text == "last":
            found = self._runs("WHERE parent IS NULL ORDER BY number DESC LIMIT 1")
        elif text == "last-failed":
            found = self.listed(status=BAD_ENDS, most=1)
        else:
            found = self._runs("WHERE id >= ? AND id < ? LIMIT 9", (text, text + "\U0010ffff"))
        if len(found) == 1:
            return found[0]
        if found:
            raise SelectionError(
                f"{text!r} is the beginning of several runs",
                known=", ".join(r.id for r in found),
                remedy="Write one more letter.",
            )
        known = [run.id for run in self.listed(most=50)]
        if not known:
            raise SelectionError(
                "there is no run yet",
                known=f"{self.file} holds none",
                remedy="flowkit run FLOW makes one.",
            )
        what = "no run failed" if text == "last-failed" else f"there is no run {text!r}"
        raise SelectionError(
            what,
            known=f"the last ones: {', '.join(known[:5])}",
            remedy=did_you_mean(text, known, "flowkit runs lists them."),
        )

    def listed(
        self,
        *,
        flow: str = "",
        status: Sequence[str] = (),
        since: float | None = None,
        most: int = 20,
        children: bool = False,
    ) -> list[RunRow]:
        """Return the last runs, the newest first, that fit all that is asked."""
        found: list[RunRow] = []
        last, page = 1 << 62, most + 10
        while len(found) < most:
            runs = self._page(flow, status, last, page, children=children)
            for run in runs:
                wanted = (not status or run.status in status) and (children or run.parent is None)
                if wanted and (since is None or run.started >= since):
                    found.append(run)
            if len(runs) < page or (since is not None and runs[-1].started < since):
                break
            last, page = runs[-1].number, min(page * 2, 5000)
        return found[:most]

    def _page(
        self, flow: str, status: Sequence[str], below: int, most: int, *, children: bool
    ) -> list[RunRow]:
        """Return the last runs below a number that may fit; each of these queries walks an index."""
        found: list[RunRow] = []
        # One that seems to be running may be lost.
        for word in {*status, "running"} if status else (None,):
            with_word = "" if word is None else "status = ? AND "
            values = (below, most) if word is None else (word, below, most)
            end = f"{with_word}number < ? ORDER BY number DESC LIMIT ?"
            if not flow:
                top = "" if children or word is not None else "parent IS NULL AND "
                found += self._runs(f"WHERE {top}{end}", values)
                continue
            for child in (0, 1) if children else (0,):
                chosen = f"SELECT number FROM runs_of WHERE flow = ? AND child = ? AND {end}"
                found += self._runs(f"WHERE number IN ({chosen})", (flow, child, *values))
        return sorted(found, reverse=True)[:most]

    def children(self, run: RunRow) -> list[RunRow]:
        """Return the runs that were started inside a task of this one."""
        return self._runs("WHERE parent = ? ORDER BY number", (run.id,))

    def flows(self) -> list[tuple[str, str | None, str | None]]:
        """Return (path, file, module) of every flow that was ever run."""
        return self._select("SELECT flow, file, module FROM flows")

    def called(self, name: str) -> list[str]:
        """Return the paths of the flows that had this name of their own in some run, the last first."""
        found = self._select(
            "SELECT runs_of.flow FROM runs JOIN runs_of USING (number) WHERE runs.flow = ?"
            " GROUP BY runs_of.flow ORDER BY max(number) DESC",
            (name,),
        )
        return [path for (path,) in found]

    # One run

    def details(self, run: RunRow, kind: str = "begin") -> dict[str, Any]:
        """Return what was noted of a run at its start (``begin``) or end (``end``)."""
        rows = self._select(
            "SELECT body FROM details WHERE number = ? AND kind = ?", (run.number, kind)
        )
        found: dict[str, Any] = json.loads(rows[0][0]) if rows else {}
        return found

    def nodes(self, run: RunRow) -> list[NodeEnd]:
        """Return how the nodes of a run ended, in that order."""
        return [
            NodeEnd(*row)
            for row in self._select(
                f"SELECT {_NODE} FROM nodes WHERE at BETWEEN ? AND ? ORDER BY at",
                _range(run),
            )
        ]

    def counts(self, run: RunRow) -> dict[str, int]:
        """Return word → number of nodes; counted where the run has not ended by itself."""
        if run.counts:
            counted: dict[str, int] = json.loads(run.counts)
            return counted
        return dict(
            self._select(
                "SELECT word, count(*) FROM nodes WHERE at BETWEEN ? AND ? GROUP BY word",
                _range(run),
            )
        )

    def attempts(self, run: RunRow, after: int = 0) -> list[tuple[int, AttemptEnd]]:
        """Return attempts of a run that are of interest, with their rowids, from a rowid on."""
        first, last = _range(run)
        rows = self._select(
            f"SELECT at, {_ATTEMPT} FROM attempts WHERE at BETWEEN ? AND ? ORDER BY at",
            (max(first, after), last),
        )
        return [(row[0], AttemptEnd(*row[1:])) for row in rows]

    def running(self, run: RunRow) -> list[RunningNode]:
        """Return what was seen running for a while."""
        rows = self._select(
            "SELECT node, number, started, sections FROM running WHERE at BETWEEN ? AND ? ORDER BY at",
            _range(run),
        )
        return [RunningNode(*row) for row in rows]

    def repairs(self, run: RunRow) -> list[Repair]:
        """Return what was said by hand about nodes of a run; the last word on a node counts."""
        rows = self._select(
            "SELECT node, what, value, made, who FROM repairs WHERE at BETWEEN ? AND ? ORDER BY at",
            _range(run),
        )
        return list({row[0]: Repair(*row) for row in rows}.values())

    def graph(self, run: RunRow) -> dict[str, Any]:
        """Return the shape of a run's graph; see :func:`.facts.shape`."""
        rows = self._select("SELECT body FROM graphs WHERE hash = ?", (run.graph,))
        found: dict[str, Any] = json.loads(rows[0][0]) if rows else {}
        return found

    # Across runs

    def failed(self, flow: str) -> list[str]:
        """Return the nodes (ids within the flow) whose last end was a failure."""
        return [row[0] for row in self._select("SELECT node FROM failed WHERE flow = ?", (flow,))]

    def needed_keys(self) -> set[str]:
        """Return the keys that runs which did not end well need to be resumed."""
        runs = self._runs(
            f"WHERE status IN ({', '.join('?' * (len(BAD_ENDS) + 1))})", (*BAD_ENDS, "running")
        )
        keys: set[str] = set()
        for run in runs:
            keys.update(
                row[0]
                for row in self._select(
                    "SELECT key FROM nodes WHERE at BETWEEN ? AND ? AND key IS NOT NULL",
                    _range(run),
                )
            )
        return keys


def _range(run: RunRow) -> tuple[int, int]:
    return run.number * SPAN, (run.number + 1) * SPAN - 1


__all__ = ["AttemptEnd", "History", "HistoryError", "NodeEnd", "Repair", "RunRow", "RunningNode"]
