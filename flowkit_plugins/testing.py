"""Testing: options that say how a task is tested, ``--faults`` to rehearse failures, and ``flowkit test``.

Adds the task options ``effect``, ``strategy`` and ``expect``. What is simulated, drawn and checked lives in
``flowkit.testing``; this is its door to the command line.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from flowkit.errors import OptionError, UsageError, WorkerLost, listing
from flowkit.hookspecs import Flag, Option, hookimpl

if TYPE_CHECKING:
    import click

    from flowkit.graph import Graph
    from flowkit.reports import Attempt
    from flowkit.session import Session
    from flowkit.testing.faultplans import Fault, Plan

#: What can be rehearsed on a real executor, and where a crash may be.
REHEARSED = ("fail", "slow", "hang", "timeout", "lost", "interrupt", "crash")
CRASHES = ("before_call", "after_call", "before_ack")
#: The exit code of a rehearsed crash.
CRASHED = 70
_STEP = 0.02  # seconds: how soon a call that sleeps hears that it was cancelled


def _effect(value: Any) -> object:
    if not isinstance(value, bool):
        raise TypeError(f"True or False, not {value!r}")
    return value


def _expect(value: Any) -> object:
    from flowkit.durations import seconds

    return None if value is None else seconds(value)


def _strategy(value: Any) -> object:
    if value is not None and not hasattr(value, "example"):
        raise TypeError(f"a hypothesis strategy, not {value!r}")
    return value


@hookimpl
def flowkit_task_options() -> Sequence[Option]:
    """Declare ``effect``, ``strategy`` and ``expect``."""
    return [
        Option(
            name="effect",
            type="True or False",
            help="Whether the task changes the outside: properties are checked only with a stand-in for it.",
            default=False,
            convert=_effect,
        ),
        Option(
            name="strategy",
            type="a hypothesis strategy",
            help="What stands in for the task's result in tests.",
            convert=_strategy,
        ),
        Option(name="expect", type="a duration", help="How long the task should take.", convert=_expect),
    ]


@hookimpl
def flowkit_run_options() -> Sequence[Flag]:
    """Declare ``--faults``."""
    return [
        Flag(
            name="--faults",
            metavar="PLAN",
            help='Rehearse: have calls fail, as in "get[BTC]@1=hang, load@1-3=fail(ConnectionError)".',
        )
    ]


@hookimpl
def flowkit_configure(session: Session) -> None:
    """Read the plan, if there is one."""
    written = session.flags.get("faults")
    if not written:
        return
    from flowkit.testing.faultplans import Plan

    plan = Plan.parse(str(written))
    for fault in plan:
        _check(fault)
    session.plugins.register(Rehearsal(plan), "testing:rehearsal")


def _check(fault: Fault) -> None:
    """Refuse what only the simulator can do."""
    if fault.kind not in REHEARSED or (fault.kind == "crash" and fault.detail not in CRASHES):
        raise OptionError(
            f"--faults {fault}: cannot be rehearsed on a real executor",
            known=f"can be: {listing(REHEARSED)}; crash at {listing(CRASHES)}",
            remedy="Simulate it in a test: flowrun(…, faults=…).",
        )


class Rehearsal:
    """Has the calls of one session go wrong, in real time."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._counts: dict[Fault, int] = {}

    @hookimpl
    def flowkit_collected(self, graph: Graph) -> Sequence[UsageError]:
        """Refuse faults of tasks that there are not."""
        return self._plan.misspelt(task.name for task in graph.tasks)

    def _befalls(self, attempt: Attempt, *kinds: str) -> Fault | None:
        for fault in self._plan:
            if fault.kind in kinds and fault.befalls(attempt.task.name, attempt.node, attempt.number, attempt.run.id):
                return fault
        return None

    def _crash(self, attempt: Attempt, point: str) -> None:
        for fault in self._plan:
            if fault.kind != "crash" or fault.detail != point or not fault.matches(attempt.task.name, attempt.node):
                continue
            count = self._counts[fault] = self._counts.get(fault, 0) + 1
            if fault.at(count):
                os.write(2, f"\nrehearsed crash: {fault}\n".encode())
                os._exit(CRASHED)

    @hookimpl
    def flowkit_attempt_begins(self, attempt: Attempt) -> None:
        """Fail, sleep, hang or end the process, as the plan says."""
        self._crash(attempt, "before_call")
        for fault in self._plan:
            if fault.kind == "interrupt":
                count = self._counts[fault] = self._counts.get(fault, 0) + 1
                if fault.at(count):
                    os.kill(os.getpid(), signal.SIGINT)
        late = self._befalls(attempt, "slow", "hang", "timeout")
        if late is not None:
            _sleep(late.seconds if late.kind == "slow" else float("inf"))
        failure = self._befalls(attempt, "fail")
        if failure is not None:
            raise failure.error()
        if self._befalls(attempt, "lost") is not None:
            raise WorkerLost("a fault plan says so")

    @hookimpl(tryfirst=True)
    def flowkit_attempt_keep(self, attempt: Attempt) -> None:
        """End the process after a call."""
        self._crash(attempt, "after_call")

    @hookimpl(tryfirst=True)
    def flowkit_attempt_ended(self, attempt: Attempt) -> None:
        """End the process when a result is kept, and the run has not heard of it."""
        self._crash(attempt, "before_ack")


def _sleep(seconds: float) -> None:
    """Sleep in steps, so that a timeout is heard of."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        time.sleep(_STEP)


@hookimpl
def flowkit_commands() -> Sequence[click.Command]:
    """Add ``flowkit test``."""
    import click

    return [
        click.Command(
            "test",
            callback=_test,
            params=[
                click.Argument(["target"], metavar="FLOW"),
                click.Option(["-P", "typed"], multiple=True, metavar="NAME=VALUE", help="Fix a parameter; all others are drawn."),
                click.Option(["-O", "overrides"], multiple=True, metavar="NAME=OVERRIDE", help="Let a value, or file.py::name, stand in."),
                click.Option(["--only"], multiple=True, metavar="PROPERTY", help="Check only this; may be given several times."),
                click.Option(["--examples"], type=click.IntRange(min=1), default=50, show_default=True, metavar="N", help="How many cases of each."),
                click.Option(["--replay"], metavar="TOKEN", help="Check one case again: the word that a failure printed."),
            ],
            help="Check ready-made properties of a flow on the simulator: reuse, restart, retries, order, teardown, …",
            short_help="Check properties of a flow: reuse, restart, retries, order, …",
        )
    ]


def _test(target: str, **given: Any) -> None:
    import sys

    try:
        from flowkit.testing.command import check
    except ImportError as error:
        if error.name != "hypothesis":
            raise
        raise OptionError("flowkit test needs hypothesis", remedy="pip install 'flowkit-run[testing]'") from error
    sys.exit(check(target, **given))
