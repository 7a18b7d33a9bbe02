"""What can happen to a run. The scheduler hears of the world through these and nothing else.

Every event carries ``at``, the run clock in seconds: the scheduler never asks what time it is.
They are plain slotted values, not frozen: one is made per node, and freezing costs as much as
handling. Nobody changes one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flowkit.graph import Axis, BoundFlow
from flowkit.scheduler.states import Node


@dataclass(slots=True)
class RunStarted:
    """The run begins."""

    at: float


@dataclass(slots=True)
class AttemptStarted:
    """A worker began to call the node; its deadline counts from here."""

    at: float
    node: Node


@dataclass(slots=True)
class NodeSucceeded:
    """The node has a value.

    Attributes:
        hollow: The node is known to be good, but its value is not at hand (it could not be
            stored): somebody who needs the value has it computed again.
    """

    at: float
    node: Node
    hollow: bool = False


@dataclass(slots=True)
class NodeFailed:
    """The node failed for good, with ``error``."""

    at: float
    node: Node
    error: BaseException


@dataclass(slots=True)
class NodeSkipped:
    """The node skipped itself."""

    at: float
    node: Node
    reason: str


@dataclass(slots=True)
class NodePutBack:
    """The node shall be called again, no earlier than ``not_before`` (run clock, seconds)."""

    at: float
    node: Node
    not_before: float


@dataclass(slots=True)
class NodeCancelled:
    """The node was stopped because the run stops; it has no outcome."""

    at: float
    node: Node


@dataclass(slots=True)
class InputsMissing:
    """The node was to be called, but the values of ``missing`` are not at hand."""

    at: float
    node: Node
    missing: Sequence[Node]


@dataclass(slots=True)
class ValueLost:
    """The value of the node, which succeeded, cannot be fetched: it shall be called again."""

    at: float
    node: Node


@dataclass(slots=True)
class Expanded:
    """The list that ``node`` returned for ``axis`` was read.

    Attributes:
        ids: One id per element, unique.
        only: Positions of the elements that are wanted; None means all.
        error: Why it is no list; then the tasks mapped over it fail.
    """

    at: float
    node: Node
    axis: Axis
    ids: Sequence[str] = ()
    only: Sequence[int] | None = None
    error: BaseException | None = None


@dataclass(slots=True)
class StopRequested:
    """Nothing new shall start.

    Attributes:
        reason: In words; the reason of every node that is not run.
        cancel: Whether running nodes are stopped, too.
        final: Whether ``always`` tasks are held back as well (Ctrl-C).
        flow: Only this flow; None for all.
    """

    at: float
    reason: str
    cancel: bool = False
    final: bool = False
    flow: BoundFlow | None = None


@dataclass(slots=True)
class Tick:
    """Time passed."""

    at: float


Event = (
    RunStarted
    | AttemptStarted
    | NodeSucceeded
    | NodeFailed
    | NodeSkipped
    | NodePutBack
    | NodeCancelled
    | InputsMissing
    | ValueLost
    | Expanded
    | StopRequested
    | Tick
)
