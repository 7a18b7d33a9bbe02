"""The command ``flowkit next``: when a flow is due, from its schedule alone. Nothing is called or read of the past."""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING

import click

from flowkit.errors import FlowError, OptionError, UsageError
from flowkit.records import record

if TYPE_CHECKING:
    from flowkit.graph import BoundFlow
    from flowkit.session import Session
    from flowkit_plugins.schedule.timetable import Firing, Timetable
    from flowkit_plugins.schedule.zones import Change


def following() -> click.Command:
    """Return ``flowkit next``."""
    return click.Command(
        "next",
        callback=_next,
        params=[
            click.Argument(["target"], metavar="FLOW"),
            click.Option(["-n", "count"], type=click.IntRange(min=1), default=10, metavar="N", help="How many; 10."),
            click.Option(
                ["--at", "moment"],
                metavar="T",
                help="After this time, itself left out: 2026-03-28T12:00, in the flow's time zone unless it says another.",
            ),
            click.Option(["--json", "as_json"], is_flag=True, help="One JSON object a line."),
            click.Option(["-p", "plugins"], multiple=True, metavar="PLUGIN", help="Load a plugin, or no:PLUGIN."),
        ],
        help="Say when a flow will be due, by its schedule, and on which of these days the clocks change.",
        short_help="Say when a flow will be due.",
    )


@record(frozen=True)
class _Scheduled:
    """A flow that has a schedule.

    Attributes:
        flow: It.
        table: Its timetable.
        hidden: For each of its schedules, its parameters in JSON with secrets masked.
    """

    flow: BoundFlow
    table: Timetable
    hidden: Mapping[int, str]


def _next(target: str, count: int, moment: str | None, as_json: bool, plugins: Sequence[str]) -> None:
    from flowkit.cli import open_session

    session = open_session([target], plugins)
    try:
        session.configure({}, later=True)
        session.collect()
        found = _scheduled(session, target)
        coming = heapq.merge(*[_after(one, moment, session) for one in found], key=lambda pair: pair[1].at)
        firings = list(islice(coming, count))
    finally:
        session.close()
    for one, firing in firings:
        click.echo(_json(one, firing) if as_json else _line(one, firing, several=len(found) > 1))
    if not firings:
        click.echo(f"{target} is never due again", err=True)


def _scheduled(session: Session, target: str) -> list[_Scheduled]:
    """Return the flows that have a schedule.

    Raises:
        FlowError: There is none.
    """
    from flowkit_plugins.schedule.timetable import timetable

    assert session.graph is not None  # it was collected
    found = [
        _Scheduled(flow, table, {id(s): _hidden(session, flow, s.params) for s in table.schedules})
        for flow in session.graph.flows
        if (table := timetable(flow)) is not None
    ]
    if not found:
        raise FlowError(
            [
                UsageError(
                    f"{target}: has no schedule",
                    known=f"looked at: {', '.join(flow.path for flow in session.graph.flows)}",
                    remedy='Give it one, on the module\'s top level: flow = Flow(schedule="0 6 * * 1-5", timezone="Europe/Paris")',
                )
            ]
        )
    return found


def _hidden(session: Session, flow: BoundFlow, params: Mapping[str, object]) -> str:
    from flowkit.secrets import masking
    from flowkit_plugins.schedule.checking import converted

    mask = masking(converted(params, session.parameters.get(flow, {})))
    return mask(json.dumps(params, default=str, ensure_ascii=False))


def _after(one: _Scheduled, moment: str | None, session: Session) -> Iterator[tuple[_Scheduled, Firing]]:
    since = session.clock.wall() if moment is None else _read(moment, one.table)
    for firing in one.table.after(since):
        yield one, firing


def _read(text: str, table: Timetable) -> datetime:
    """Return ``--at`` as an instant.

    Raises:
        OptionError: It is no time.
    """
    from flowkit_plugins.schedule.zones import instant_of, known

    try:
        found = known(datetime.fromisoformat(text))
        return instant_of(found, table.zone) if found.tzinfo is None else found.astimezone(UTC)
    except ValueError as error:
        raise OptionError(
            f"--at {text}: no time: {error}",
            known="a time is written as ISO 8601 has it, with an offset or without",
            remedy="Write it like 2026-03-28, 2026-03-28T12:00 or 2026-03-28T12:00+01:00.",
        ) from error


def _line(one: _Scheduled, firing: Firing, *, several: bool) -> str:
    parts = [firing.local.isoformat(timespec=_precision(firing.local))]
    if several:
        parts.append(one.flow.path)
    if len(one.table.schedules) > 1:
        parts.append(firing.schedule.text)
        if firing.params:
            parts.append(one.hidden[id(firing.schedule)])
    change = _change(firing)
    if change is not None:
        parts.append(f"(clocks change: {_clock(change.shown_before)} -> {_clock(change.shown_after)})")
    return "  ".join(parts)


def _json(one: _Scheduled, firing: Firing) -> str:
    change = _change(firing)
    return json.dumps(
        {
            "at": firing.at.isoformat(),
            "local": firing.local.isoformat(),
            "flow": one.flow.path,
            "schedule": firing.schedule.text,
            "params": json.loads(one.hidden[id(firing.schedule)]),
            "clocks": None if change is None else [c.isoformat() for c in (change.shown_before, change.shown_after)],
        },
        ensure_ascii=False,
    )


def _change(firing: Firing) -> Change | None:
    from flowkit_plugins.schedule.zones import change_on

    return change_on(firing.local)


def _clock(shown: datetime) -> str:
    return shown.isoformat(" ", "minutes").rpartition(" ")[2]


def _precision(moment: datetime) -> str:
    return "microseconds" if moment.microsecond else "seconds"
