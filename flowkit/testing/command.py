"""``flowkit test FLOW``: the ready-made properties, with no test code."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

import click
from hypothesis import HealthCheck, settings

from flowkit.errors import FlowError, OptionError
from flowkit.parameters import Sources
from flowkit.testing.checks import Violation
from flowkit.testing.properties import PHASES, PROPERTIES, Property
from flowkit.testing.properties import replay as replayed
from flowkit.testing.subject import FlowUnderTest


def check(
    target: str, *, typed: Sequence[str], overrides: Sequence[str], only: Sequence[str], examples: int, replay: str | None
) -> int:
    """Check a flow and return the exit code: 0 if all holds, 1 if something does not."""
    os.environ.pop("PYTEST_CURRENT_TEST", None)  # what replays a failure here is a line for the shell
    given = Sources(typed=typed)
    if given.errors:
        raise FlowError(given.errors)
    flow = FlowUnderTest(target, {n: _read(g.value) for n, g in given.near.items()}, typed=tuple(overrides))
    if replay is not None:
        try:
            held = replayed(flow, replay)
        except Violation as violation:
            click.echo(str(violation))
            return 1
        click.echo(f"{held.name} holds for this case")
        return 0
    for name in only:
        if name not in PROPERTIES:
            raise OptionError.unknown("property", name, f"--only {name}", PROPERTIES)
    chosen = [p for p in PROPERTIES.values() if not only or p.name in only]
    count = len(flow.tasks)  # refuses tasks with effects before anything runs
    click.echo(f"{target}: {count} tasks, {len(chosen)} properties, {examples} cases of each\n")
    idle = {p.name: why for p in chosen if (why := p.nothing(flow))}
    failures = [told for found in chosen if (told := _one(found, flow, examples, idle.get(found.name, "")))]
    for told in failures:
        click.echo(f"\n{told}")
    counts = [f"{len(chosen) - len(failures) - len(idle)} hold"]
    counts += [f"{len(failures)} do not"] if failures else []
    counts += [f"{len(idle)} had nothing to check"] if idle else []
    click.echo(f"\n{', '.join(counts)}")
    return 1 if failures else 0


def _read(text: object) -> object:
    import json

    try:
        return json.loads(str(text))
    except ValueError:
        return text


def _one(found: Property, flow: FlowUnderTest, examples: int, idle: str) -> str:
    """Check one property, unless it is idle; return what a violation says, or nothing."""
    if idle:
        click.echo(f"  {found.name:<20} {'-':<7} {'':6}  nothing to check: {idle}")
        return ""
    begun = time.monotonic()
    told = ""
    try:
        profile = settings(
            max_examples=examples, database=None, deadline=None, suppress_health_check=list(HealthCheck), phases=PHASES
        )
        profile(found(flow))()
    except Violation as violation:
        told = str(violation)
    mark = "FAILED" if told else "ok"
    click.echo(f"  {found.name:<20} {mark:<7} {time.monotonic() - begun:5.1f}s  {found.statement}")
    return told
