"""Timeouts: how long one attempt of a task may take, and how long a flow may.

Adds the option ``timeout`` to tasks (a duration, a mapping, or a :class:`Timeout`) and to ``Flow``
(a duration). It only writes the deadline down when a task or flow is collected; keeping it is the
core's work. The clock runs from the call where it happens: set-up of the task's own resources and
its body count; waiting in line, loading inputs and teardown do not.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING

from flowkit.durations import seconds, words
from flowkit.errors import OptionError, UsageError, did_you_mean
from flowkit.hookspecs import Option, hookimpl
from flowkit.records import record

if TYPE_CHECKING:
    from flowkit.graph import BoundFlow, BoundTask, Graph

Duration = float | str | timedelta


@record(frozen=True)
class Timeout:
    """How long one attempt may take.

    Attributes:
        seconds: More than 0.
        hard: Whether the attempt must be killed if it does not stop by itself.
    """

    seconds: float
    hard: bool

    def __init__(self, seconds: Duration, hard: bool = False) -> None:
        """Check and convert.

        Raises:
            ValueError, TypeError: ``seconds`` is no duration above 0, or ``hard`` is no bool.
        """
        if not isinstance(hard, bool):
            raise TypeError(f"hard: True or False, not {hard!r}")
        object.__setattr__(self, "seconds", duration(seconds))
        object.__setattr__(self, "hard", hard)


@hookimpl
def flowkit_task_options() -> list[Option]:
    """Declare ``timeout`` of a task."""
    return [
        Option(
            name="timeout",
            type="a duration, a mapping with seconds and hard, or a Timeout",
            help="How long one attempt may take; then it fails with a TimeoutError.",
            convert=read,
        )
    ]


@hookimpl
def flowkit_flow_options() -> list[Option]:
    """Declare ``timeout`` of a flow."""
    return [
        Option(
            name="timeout",
            type="a duration",
            help="How long a run of the flow may take; then it is stopped, and fails.",
            convert=lambda written: None if written is None else duration(written),
        )
    ]


@hookimpl
def flowkit_task_collected(task: BoundTask) -> None:
    """Write a task's deadline down."""
    policy = task.options.get("timeout")
    if isinstance(policy, Timeout):
        task.deadline = policy.seconds
        task.hard = policy.hard


@hookimpl
def flowkit_flow_collected(flow: BoundFlow) -> None:
    """Write a flow's deadline down."""
    bound = flow.options.get("timeout")
    if isinstance(bound, float):
        flow.deadline = bound


@hookimpl
def flowkit_collected(graph: Graph) -> list[UsageError]:
    """Refuse hard timeouts: they need a worker process, and no executor has one yet."""
    return [_no_kill(task) for task in graph.tasks if task.hard]


def _no_kill(task: BoundTask) -> UsageError:
    bound = words(task.deadline or 0.0)
    return OptionError(
        f"task {task.name!r} ({task.where}) demands a hard timeout of {bound}",
        known="a kill needs a worker process; no executor of this version has one",
        remedy="Drop hard=True: the soft timeout interrupts Python code, and leaves a stuck call.",
    )


def duration(written: object) -> float:
    """Return a duration above 0 in seconds.

    Raises:
        ValueError, TypeError: It is not.
    """
    found = seconds(written)  # type: ignore[arg-type]  # it refuses what is no duration
    if found == 0:
        raise ValueError("a timeout is longer than 0; leave it out (or None) for no bound")
    return found


def read(written: object) -> Timeout | None:
    """Return the policy that a user wrote for ``timeout``; None for none.

    Raises:
        ValueError, TypeError: It is none of the forms.
    """
    if written is None or isinstance(written, Timeout):
        return written
    if not isinstance(written, Mapping):
        return Timeout(written)  # type: ignore[arg-type]  # it refuses what is no duration
    for name in written:
        if name not in ("seconds", "hard"):
            near = did_you_mean(str(name), ("seconds", "hard"), "It has seconds and hard.")
            raise ValueError(f"Timeout has no {name!r}. {near}")
    if "seconds" not in written:
        raise ValueError("it needs seconds: {'seconds': 30, 'hard': True}")
    return Timeout(**written)
