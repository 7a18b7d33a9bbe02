"""``flowkit test FLOW``: the ready-made properties, with no test code."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import NamedTuple

import click
from hypothesis import HealthCheck, settings

from flowkit.errors import FlowError, OptionError, UsageError
from flowkit.parameters import Sources, settle
from flowkit.testing.checks import Violation
from flowkit.testing.elsewhere import Elsewhere
from flowkit.testing.properties import PHASES, PROPERTIES, Property
from flowkit.testing.properties import replay as replayed
from flowkit.testing.subject import FlowUnderTest

HOLDS, VIOLATED, WRONG = "ok", "FAILED", "error"


class Checked(NamedTuple):
    """What became of one property: how it ended, and what there is to say of that."""

    mark: str
    told: str = ""


def check(
    target: str, *, typed: Sequence[str], overrides: Sequence[str], only: Sequence[str], examples: int, replay: str | None
) -> int:
    """Check a flow and return the exit code: 0 if all holds, 1 if something does not, 4 if something could not be checked."""
    os.environ.pop("PYTEST_CURRENT_TEST", None)  # what replays a failure here is a line for the shell
    flow = FlowUnderTest(target, typed=tuple(overrides))
    _fix(flow, Sources(typed=typed))
    flow.elsewhere = Elsewhere(target, overrides)
    try:
        return _checked(target, flow, only, examples, replay)
    finally:
        flow.elsewhere.close()


def _checked(target: str, flow: FlowUnderTest, only: Sequence[str], examples: int, replay: str | None) -> int:
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
            raise OptionError.unknown("property", name, f"--only {name}", PROPERTIES, "Name one of these.")
    chosen = [p for p in PROPERTIES.values() if not only or p.name in only]
    flow.params()  # refuses what cannot be drawn
    click.echo(f"{target}: {len(flow.tasks)} tasks, {len(chosen)} properties, {examples} cases of each\n")
    idle = {p.name: why for p in chosen if (why := p.nothing(flow))}
    found = [_one(each, flow, examples) if each.name not in idle else _idle(each, idle[each.name]) for each in chosen]
    for told in dict.fromkeys(each.told for each in found if each.told):
        click.echo(f"\n{told}")
    marks = [each.mark for each in found]
    words = {HOLDS: "hold", VIOLATED: "do not", WRONG: "could not be checked", "-": "had nothing to check"}
    counts = [f"{marks.count(mark)} {word}" for mark, word in words.items() if mark in marks or mark == HOLDS]
    click.echo(f"\n{', '.join(counts)}")
    if HOLDS in marks and not flow.ended:
        click.echo("no task ever ended well: what holds says nothing of one that does")
    if flow.elsewhere is not None and flow.elsewhere.lost:
        click.echo(f"cases that could not be run in other processes: {flow.elsewhere.lost}; there the order of a set may have gone unseen")
    return 1 if VIOLATED in marks else 4 if WRONG in marks else 0


def _fix(flow: FlowUnderTest, given: Sources) -> None:
    """Give a flow the parameters that somebody typed.

    Raises:
        FlowError: It has no such parameter, or the text does not fit.
    """
    flow.load()
    parameters = flow.parameters
    typed = [parameters[name] for name in given.near if name in parameters]
    wrong = [*given.errors, *(error for _, error in given.unknown([*parameters, *flow.standing_in])), *(settle(p, given) for p in typed)]
    errors = [error for error in wrong if error is not None]
    if errors:
        raise FlowError(errors)
    flow.fixed = {p.name: p.value for p in typed}


def _first(group: BaseExceptionGroup[BaseException]) -> Violation:
    """Return the first violation of a group.

    Raises:
        BaseExceptionGroup: It has something else in it, too.
    """
    violations, others = group.split(Violation)
    if others is not None or violations is None:
        raise group
    found: BaseException = violations
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    assert isinstance(found, Violation)  # the group was split by it
    return found


def _idle(found: Property, why: str) -> Checked:
    click.echo(f"  {found.name:<20} {'-':<7} {'':6}  nothing to check: {why}")
    return Checked("-")


def _one(found: Property, flow: FlowUnderTest, examples: int) -> Checked:
    """Check one property."""
    begun = time.monotonic()
    ended = Checked(HOLDS)
    profile = settings(
        max_examples=examples, database=None, deadline=None, suppress_health_check=list(HealthCheck), phases=PHASES,
        report_multiple_bugs=False,
    )  # fmt: skip
    try:
        profile(found(flow))()
    except Violation as violation:
        ended = Checked(VIOLATED, str(violation))
    except BaseExceptionGroup as group:  # it fails now in one way, now in another, or not at all
        ended = Checked(VIOLATED, str(_first(group)))
    except (FlowError, UsageError) as error:
        ended = Checked(WRONG, f"error: {error}")
    click.echo(f"  {found.name:<20} {ended.mark:<7} {time.monotonic() - begun:5.1f}s  {found.statement}")
    return ended
