"""What of a session goes into the history: listens to the hooks of its runs, and hands on."""

from __future__ import annotations

import contextlib
import os
import sys
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING

from flowkit.errors import FlowError, NothingToRun
from flowkit.hookspecs import hookimpl
from flowkit.reports import Attempt, NodeReport, RunInfo, RunReport, current_attempt
from flowkit.services import Printed, Results

if TYPE_CHECKING:
    from flowkit.scheduler import Node
    from flowkit.session import Session
    from flowkit_plugins.history.before import Durations
    from flowkit_plugins.history.journal import Journal
    from flowkit_plugins.history.resume import Resumed


#: Seconds that a node takes at least for its end to be written down at once.
LONG = 0.05


class Recorder:
    """Records the runs of one session.

    Args:
        session: Whose runs.
        file: The history.
        keep: Seconds for which runs are kept; None for good.
        resumed: The run that is continued, or None.
        durations: Told which run it is that goes on.
    """

    def __init__(
        self,
        session: Session,
        file: Path,
        *,
        keep: float | None,
        resumed: Resumed | None,
        durations: Durations,
    ) -> None:
        self._session = session
        self._file = file
        self._keep = keep
        self._resumed = resumed
        self._durations = durations
        self._journal: Journal | None = None
        self._queue: deque[NodeReport | Attempt] = deque(maxlen=0)
        self._running: dict[Node, Attempt] = {}

    @hookimpl
    def flowkit_run_started(self, run: RunInfo) -> None:
        """Begin the record of a run."""
        from flowkit.scheduler import Scheduler
        from flowkit_plugins.history.databases import killed_marker
        from flowkit_plugins.history.facts import facts_of
        from flowkit_plugins.history.journal import Journal

        session = self._session
        results = session.services.get(Results)
        details = facts_of(run, resumable=results is not None)
        parent = current_attempt()
        if parent is not None:
            details["parent_node"] = parent.full_id
        make = session.services.get(Journal, Journal)
        journal = self._journal = make(
            self._file,
            run,
            details,
            continues=self._resumed.run if self._resumed is not None else None,
            parent=parent.run.id if parent is not None else None,
            keep=self._keep,
            flush=results.flush if results is not None else _nothing,
            clock=session.clock,
            printed=session.services.get(Printed),
            machine=session.services.get(Scheduler),
        )
        self._durations.begin([flow.path for flow in run.graph.flows], run.id)
        self._running = journal.running
        self._queue = journal.queue
        marker = killed_marker(self._file.parent, run.id)
        run.last_words.append(lambda: os.close(os.open(marker, os.O_CREAT | os.O_WRONLY, 0o600)))
        journal.start()

    @hookimpl
    def flowkit_attempt_started(self, attempt: Attempt) -> None:
        """Note what is running."""
        self._running[attempt.unit] = attempt

    @hookimpl(trylast=True)
    def flowkit_attempt_ended(self, attempt: Attempt) -> None:
        """Write down attempts that did not end well."""
        if attempt.kind != "success" and self._journal is not None:
            self._running.pop(attempt.unit, None)
            self._queue.append(attempt)
            self._journal.wake(hurry=True)

    @hookimpl
    def flowkit_node_ended(self, report: NodeReport) -> None:
        """Write down how a node ended: at once, if losing that would hurt."""
        self._queue.append(report)
        tries = report.attempts
        journal = self._journal
        if tries:
            self._running.pop(report.unit, None)
            last = tries[-1]
            if (
                last.ended_at is not None
                and last.ended_at - last.started_at > LONG
                and journal is not None
            ):
                journal.wake(hurry=True)
        if journal is not None and journal.idle:
            journal.wake(hurry=False)

    @hookimpl
    def flowkit_run_ended(self, report: RunReport) -> None:
        """Write down how the run ended, and say what could not be."""
        from flowkit_plugins.history.rows import status_of

        journal = self._journal
        if journal is not None:
            journal.end(status_of(report), report)
            if journal.failure:
                report.notes.append(f"the history is not recorded: {journal.failure}")
        self._journal = None

    @hookimpl
    def flowkit_unconfigure(self, session: Session) -> None:
        """End the record of a run that something cut short."""
        if self._journal is not None:
            error = sys.exc_info()[1]
            status = "crashed"
            if isinstance(error, KeyboardInterrupt):
                status = "interrupted"
            elif isinstance(error, (FlowError, NothingToRun)):
                status = "refused"
            with contextlib.suppress(Exception):
                self._journal.end(status, None)
            self._journal = None


def _nothing(*, hurry: bool) -> None:
    """Nothing is stored, so nothing has to be waited for."""
