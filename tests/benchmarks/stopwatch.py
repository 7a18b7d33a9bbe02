"""A plugin that times a run from inside: ``flowkit run flow.py -p tests.benchmarks.stopwatch``.

It hears of the run twice and costs nothing in between. What it saw is in the file ``stopwatch`` of
the working directory afterwards. The clock is the run's own, so that the end is that of the last
outcome, whatever other plugins do at the end of a run.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from flowkit.hookspecs import hookimpl

if TYPE_CHECKING:
    from flowkit.reports import RunInfo, RunReport

FILE = "stopwatch"

_loaded: list[float] = []
_started: list[float] = []


def module_loaded() -> None:
    """Note that the user's module is there; the generated ones call this in their last line."""
    _loaded.append(time.monotonic())


@hookimpl
def flowkit_run_started(run: RunInfo) -> None:
    """Note that the graph is there and its first event follows."""
    _started.append(time.monotonic())


@hookimpl
def flowkit_run_ended(report: RunReport) -> None:
    """Write down what was seen."""
    ended = report.run.started_at + report.duration
    facts = {
        "ran": ended - _started[-1],
        "built": _started[-1] - _loaded[-1] if _loaded else None,
        "counts": report.counts,
    }
    with open(FILE, "w") as file:
        file.write(repr(facts))
