"""What the machine does to the store and the history of a project, and reads off them."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from flowkit.session import Session
from flowkit.testing.processes import ShiftedClock
from flowkit_plugins.cache import gc
from flowkit_plugins.cache.packs import row_of
from flowkit_plugins.cache.places import DATABASE
from flowkit_plugins.cache.shelf import Shelf
from flowkit_plugins.cache.traces import Trace
from flowkit_plugins.history.reading import ENDED_WELL, History, NodeEnd, RunRow


@dataclass(frozen=True, slots=True)
class Stock:
    """What is in the store.

    Attributes:
        traces: Key → record.
        rows: Rows that hold values.
    """

    traces: Mapping[str, Trace]
    rows: frozenset[str]

    def holds(self, key: str) -> bool:
        """Whether there is a record under a key, and its value."""
        trace = self.traces.get(key)
        return trace is not None and (trace.blob is None or row_of(trace.blob) in self.rows)


class Storekeeper:
    """Looks after one project's store and history.

    Args:
        root: The project's folder.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self.history = History(root / ".flowkit" / "history.db")

    def _shelf(self, shift: float = 0.0) -> tuple[Session, Shelf]:
        session = Session([self._root], clock=ShiftedClock(shift), plugin_requests=["no:terminal"])
        session.configure({})
        return session, Shelf(session)

    def stock(self) -> Stock:
        """Return what is in the store."""
        session, shelf = self._shelf()
        try:
            return Stock(shelf.traces.known(), frozenset(shelf.rows.sizes()))
        finally:
            shelf.close()
            session.close()

    def delete_row(self, row: str) -> None:
        """Lose a value behind flowkit's back."""
        with sqlite3.connect(self._root / ".flowkit" / "results" / DATABASE) as db:
            db.execute("DELETE FROM Cache WHERE key = ?", (row,))
        db.close()

    def pin(self, key: str, node: str) -> None:
        """Pin a result, as ``flowkit cache pin`` does."""
        session, shelf = self._shelf()
        try:
            shelf.traces.pin(key, node)
        finally:
            shelf.close()
            session.close()

    def collect(self, policy: gc.Policy, shift: float) -> None:
        """Sweep, as ``flowkit cache gc`` does."""
        session, shelf = self._shelf(shift)
        try:
            gc.sweep(shelf, gc.mark(gc.look(shelf), policy, shelf.needed(), shelf.now))
        finally:
            shelf.close()
            session.close()

    # The history

    def last_run(self) -> RunRow | None:
        """Return the run that ``--resume`` would continue."""
        found = self.history.latest("m.py")
        self.history.close()
        return found

    def ended_well(self, run: RunRow) -> dict[str, NodeEnd]:
        """Return node (its id in the flow) → how it ended, of those that the history says ended well."""
        found = {n.node.partition("::")[2]: n for n in self.history.nodes(run) if n.word in ENDED_WELL}
        self.history.close()
        return found

    def failed(self) -> set[str]:
        """Return the nodes that failed the last time, as ``--lf`` sees them."""
        found = set(self.history.failed("m.py"))
        self.history.close()
        return found
