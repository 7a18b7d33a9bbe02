"""Schedules: ``Flow(schedule="0 6 * * 1-5", timezone="Europe/Budapest")``, and when that is: ``flowkit next``.

Adds the flow options ``schedule``, ``timezone`` and ``catchup``; and, to be imported from here,
:class:`Cron`, :class:`Every` and :class:`At`. What they mean is in the modules below, none of which
is loaded before a flow has a schedule.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from flowkit.hookspecs import Option, hookimpl

if TYPE_CHECKING:
    import click

    from flowkit.errors import UsageError
    from flowkit.graph import Graph
    from flowkit.session import Session
    from flowkit_plugins.schedule.kinds import At, Cron, Every
    from flowkit_plugins.schedule.timetable import Firing, Timetable, Watch, due

__all__ = ["At", "Cron", "Every", "Firing", "Timetable", "Watch", "due"]

_HOMES = {"At": "kinds", "Cron": "kinds", "Every": "kinds", "Firing": "timetable", "Timetable": "timetable"}
_HOMES |= {"Watch": "timetable", "due": "timetable"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def _schedule(written: Any) -> object:
    from flowkit_plugins.schedule.kinds import read

    return read(written)


def _timezone(written: Any) -> object:
    from flowkit_plugins.schedule.zones import read_zone

    return read_zone(written)


def _catchup(written: Any) -> object:
    from flowkit_plugins.schedule.timetable import CATCHUPS

    if written not in CATCHUPS:
        raise ValueError(f"one of {', '.join(CATCHUPS)}, not {written!r}")
    return written


@hookimpl
def flowkit_flow_options() -> Sequence[Option]:
    """Declare ``schedule``, ``timezone`` and ``catchup``."""
    return [
        Option(
            name="schedule",
            type="a cron expression, a Cron, Every or At, or a list of these",
            help="When the flow shall run.",
            convert=_schedule,
        ),
        Option(
            name="timezone",
            type="the name of a time zone, or a ZoneInfo",
            help="In which the schedule's times of day are read; UTC if nothing is said.",
            convert=_timezone,
        ),
        Option(
            name="catchup",
            type='"latest", "none" or "all"',
            help="What becomes of times that were missed: one run for all, none, or each.",
            default="latest",
            convert=_catchup,
        ),
    ]


@hookimpl
def flowkit_configure(session: Session) -> None:
    """Register the check of what schedules give to parameters."""
    session.plugins.register(_Check(session), "schedule:check")


class _Check:
    """Looks at the parameters that the schedules of one session's flows give."""

    def __init__(self, session: Session) -> None:
        self._session = session

    @hookimpl
    def flowkit_collected(self, graph: Graph) -> list[UsageError]:
        """Return what is wrong with them."""
        scheduled = [flow for flow in graph.flows if flow.options.get("schedule")]
        if not scheduled:
            return []
        from flowkit_plugins.schedule.checking import wrong_params

        return [error for flow in scheduled for error in wrong_params(flow, self._session.parameters.get(flow, {}))]


@hookimpl
def flowkit_commands() -> Sequence[click.Command]:
    """Add ``flowkit next``."""
    from flowkit_plugins.schedule.commands import following

    return [following()]
