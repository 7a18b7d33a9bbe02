"""The history of a sandbox: the real journal, written in the thread of the run, and cut off by a crash."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any

from flowkit_plugins.history import processes
from flowkit_plugins.history.databases import HistoryError, open_to_write, transaction
from flowkit_plugins.history.journal import TIMEOUT, Journal

if TYPE_CHECKING:
    from flowkit.reports import RunReport
    from flowkit.testing.world import World


class PromptJournal(Journal):
    """Writes what it is given at once.

    Args:
        world: Whose crash ends it.
    """

    def __init__(self, world: World, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._connection: sqlite3.Connection | None = None
        world.journal = self

    def start(self) -> None:
        """Begin to write."""
        try:
            self._connection = open_to_write(self._file, TIMEOUT)
            with transaction(self._connection):
                self._begin(self._connection)
        except (OSError, sqlite3.Error, HistoryError) as error:
            self._fail(error)

    def wake(self, *, hurry: bool) -> None:
        """Write what is in the queue."""
        if self._connection is not None:
            self._write_group(self._connection)
        else:
            self.queue.clear()

    def end(self, status: str, report: RunReport | None) -> None:
        """Write how the run ended."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        self._report, self._status = report, status
        self._write_group(connection)
        with transaction(connection):
            self._finish(connection)
        connection.close()

    def cut(self) -> None:
        """The process is gone: nothing is written any more, and whoever looks sees that."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        # In truth this process lives: what is left behind has to name another.
        boot, namespace, start = processes.identity().split("/")
        gone = f"{boot}/{namespace}/{start}0"
        connection.execute("UPDATE runs SET process = ? WHERE id = ?", (gone, self._run.id))
        connection.close()
