"""``flowkit.run()``: from targets to a report, from Python."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from flowkit.errors import FlowError, OptionError, SelectionError
from flowkit.options import listed
from flowkit.parameters import Sources
from flowkit.runs import Run
from flowkit.session import Session


def run(
    *targets: object,
    params: Mapping[str, object] | str | Path | None = None,
    override: Mapping[str, object] | None = None,
    **flags: Any,
) -> Run:
    """Run flows from Python, to the end, and return what became of it.

    Args:
        targets: A module, a path (``"m.py"``, ``"m.py::task"``), or functions under ``@task``.
        params: Values of parameters by name, or the path of a file of them.
        override: Values or functions that stand in for tasks, resources and parameters.
        flags: As on the command line, by their long names with ``_``: ``executor="inline"``,
            ``n=4``, ``maxfail=1``, ``k="…"``, ``p=["no:retry"]`` and those of plugins.

    Raises:
        FlowError: The flow is wrong (``.errors`` has all of it); nothing ran.
        PluginError: A plugin raised.

    A task that fails does not raise: ``run.ok`` is False. Nothing is printed, no signal handler
    is installed, and no thread is left behind.
    """
    if not targets:
        raise FlowError([SelectionError("flowkit.run(): no target", remedy="Pass a module, a path or a task.")])
    keep = bool(flags.pop("keep", True))
    session = Session(
        targets,
        plugin_requests=listed(flags.pop("p", ())),
        clock=flags.pop("clock", None),
        seed=flags.pop("seed", None),
        scheduled_at=_time(flags.pop("scheduled_at", None)),
    )
    try:
        session.configure(flags, later=True)
        sources = Sources(file=params) if isinstance(params, (str, Path)) else Sources(given=params)
        session.prepare(sources, override)
        return session.execute(params=sources, keep=keep)
    finally:
        session.close()


def _time(given: object) -> datetime | None:
    """Return the time that a run is for, which may be given as text."""
    if given is None or isinstance(given, datetime):
        return given
    if isinstance(given, str):
        with suppress(ValueError):
            return datetime.fromisoformat(given)
    problem = f"flowkit.run(scheduled_at={given!r}): not a time"
    raise FlowError([OptionError(problem, remedy="Pass a datetime, or text like '2026-01-31T06:00+01:00'.")])
