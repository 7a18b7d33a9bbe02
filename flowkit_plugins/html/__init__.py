"""``--html FILE``: a run as one page that needs nothing else: graph, timeline, failures, every node and its output.

Notes when nodes ended while the run goes on; when it is over (well, badly, or by Ctrl-C) the facts
are collected (``data``) and put into the page (``page``). The page asks the network for nothing
and may run no code but its own; whatever came from users is in it as data, never as markup.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from flowkit import documents
from flowkit.hookspecs import Flag, hookimpl
from flowkit.reports import NodeReport, RunReport

if TYPE_CHECKING:
    from pathlib import Path

    from flowkit.session import Session


@hookimpl
def flowkit_run_options() -> Sequence[Flag]:
    """Declare ``--html``."""
    return (
        Flag(name="--html", metavar="FILE", help="Write the run as one page: graph, timeline, failures, output."),
    )


@hookimpl
def flowkit_configure(session: Session) -> None:
    """Get ready if a page is asked for."""
    path = documents.destination("--html", session.flags.get("html"))
    if path is not None:
        session.plugins.register(Writer(path, session), "html:page")


class Writer:
    """Writes the page when the run is over."""

    def __init__(self, path: Path, session: Session) -> None:
        self._path = path
        self._now = session.clock.now
        self._ends: list[float] = []

    @hookimpl
    def flowkit_run_started(self) -> None:
        """Begin."""
        self._ends.clear()

    @hookimpl
    def flowkit_node_ended(self, report: NodeReport) -> None:
        """Note when; a node that was not called does not know."""
        self._ends.append(self._now())

    @hookimpl
    def flowkit_run_ended(self, report: RunReport) -> None:
        """Write the page; what cannot be written is a note of the run."""
        from flowkit_plugins.html.data import collect
        from flowkit_plugins.html.page import page

        problem = documents.write(self._path, page(collect(report, self._ends)))
        if problem:
            report.notes.append(f"--html: {problem}")
