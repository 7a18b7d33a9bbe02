"""A plugin that times a run from inside: ``flowkit run flow.py -p tests.benchmarks.stopwatch``.

It hears of the run's start and end, and costs nothing in between. What it saw is in the file
``stopwatch`` of the working directory afterwards. The graph is built when the first plugin hears of
the run, the run begins when the last one did (what a report does at its beginning and end is in the
time of the whole process), and the clock is the run's own: it ends with the last outcome.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from flowkit.hookspecs import hookimpl

if TYPE_CHECKING:
    from flowkit.reports import RunReport
    from flowkit.session import Session

FILE = "stopwatch"

_loaded: list[float] = []
_started: list[float] = []


def module_loaded() -> None:
    """Note that the user's module is there; the generated ones call this in their last line."""
    _loaded.append(time.monotonic())


class _First:
    """Hears of the run before (or after) all other plugins."""

    @hookimpl(tryfirst=True)
    def flowkit_run_started(self) -> None:
        """Note the time."""
        _started.append(time.monotonic())


class _Last:
    """Hears of the run after (or before) all other plugins."""

    @hookimpl(trylast=True)
    def flowkit_run_started(self) -> None:
        """Note the time."""
        _started.append(time.monotonic())


@hookimpl(trylast=True)
def flowkit_configure(session: Session) -> None:
    """Listen on both sides of everybody else."""
    session.plugins.register(_First(), "stopwatch, first")
    session.plugins.register(_Last(), "stopwatch, last")


@hookimpl
def flowkit_run_ended(report: RunReport) -> None:
    """Write down what was seen."""
    ended = report.run.started_at + report.duration
    facts = {
        "ran": ended - _started[-1],
        "built": _started[0] - _loaded[-1] if _loaded else None,
        "counts": report.counts,
    }
    with open(FILE, "w") as file:
        file.write(repr(facts))
