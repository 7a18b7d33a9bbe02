"""What can happen to a run. The scheduler hears of the world through these and nothing else.

Every event carries ``at``, the run clock in seconds: the scheduler never asks what time it is.
They are plain slotted values, not frozen: one is made per node, and freezing costs as much as
handling. Nobody changes one.
"""

from __future__ import annotations

from collections.abc import Sequence

from flowkit.graph import Axis, BoundFlow
from flowkit.scheduler.states import Node


class RunStarted:
    """The run begins.

    Attributes:
        held: Nothing starts before ``Recalled``.
    """

    __slots__ = ("at", "held")

    def __init__(self, at: float, held: bool = False) -> None:
        self.at = at
        self.held = held


class Recalled:
    """Before anything started, some nodes are known: they need not be called, and their values are at hand.

    Attributes:
        nodes: Some of those that the scheduler named as ``recallable``, in that order. A node that
            waits for one which is not among them is asked about as usual.
    """

    __slots__ = ("at", "nodes")

    def __init__(self, at: float, nodes: Sequence[Node]) -> None:
        self.at = at
        self.nodes = nodes


class AttemptStarted:
    """A worker began to call the node; its deadline counts from here."""

    __slots__ = ("at", "node")

    def __init__(self, at: float, node: Node) -> None:
        self.at = at
        self.node = node


class NodeSucceeded:
    """The node has a value.

    Attributes:
        hollow: The node is known to be good, but its value is not at hand (it could not be
            stored): somebody who needs the value has it computed again.
    """

    __slots__ = ("at", "hollow", "node")

    def __init__(self, at: float, node: Node, hollow: bool = False) -> None:
        self.at = at
        self.node = node
        self.hollow = hollow


class NodeFailed:
    """The node failed for good, with ``error``."""

    __slots__ = ("at", "error", "node")

    def __init__(self, at: float, node: Node, error: BaseException) -> None:
        self.at = at
        self.node = node
        self.error = error


class NodeSkipped:
    """The node skipped itself."""

    __slots__ = ("at", "node", "reason")

    def __init__(self, at: float, node: Node, reason: str) -> None:
        self.at = at
        self.node = node
        self.reason = reason


class NodePutBack:
    """The node shall be called again, no earlier than ``not_before`` (run clock, seconds)."""

    __slots__ = ("at", "node", "not_before")

    def __init__(self, at: float, node: Node, not_before: float) -> None:
        self.at = at
        self.node = node
        self.not_before = not_before


class NodeCancelled:
    """The node was stopped because the run stops; it has no outcome."""

    __slots__ = ("at", "node")

    def __init__(self, at: float, node: Node) -> None:
        self.at = at
        self.node = node


class InputsMissing:
    """The node was to be called, but the values of ``missing`` are not at hand."""

    __slots__ = ("at", "missing", "node")

    def __init__(self, at: float, node: Node, missing: Sequence[Node]) -> None:
        self.at = at
        self.node = node
        self.missing = missing


class ValueLost:
    """The value of the node, which succeeded, cannot be fetched: it shall be called again."""

    __slots__ = ("at", "node")

    def __init__(self, at: float, node: Node) -> None:
        self.at = at
        self.node = node


class Unread:
    """The list in the node's value is not read, and nothing follows: a plan cannot know it before the node was called."""

    __slots__ = ("at", "node")

    def __init__(self, at: float, node: Node) -> None:
        self.at = at
        self.node = node


class Expanded:
    """The list that ``node`` returned for ``axis`` was read.

    Attributes:
        ids: One id per element, unique.
        only: Positions of the elements that are wanted; None means all.
        error: Why it is no list; then the tasks mapped over it fail.
    """

    __slots__ = ("at", "axis", "error", "ids", "node", "only")

    def __init__(self, at: float, node: Node, axis: Axis, ids: Sequence[str] = (), only: Sequence[int] | None = None, error: BaseException | None = None) -> None:
        self.at = at
        self.node = node
        self.axis = axis
        self.ids = ids
        self.only = only
        self.error = error


class StopRequested:
    """Nothing new shall start.

    Attributes:
        reason: In words; the reason of every node that is not run.
        cancel: Whether running nodes are stopped, too.
        final: Whether ``always`` tasks are held back as well (Ctrl-C).
        flow: Only this flow; None for all.
    """

    __slots__ = ("at", "cancel", "final", "flow", "reason")

    def __init__(self, at: float, reason: str, cancel: bool = False, final: bool = False, flow: BoundFlow | None = None) -> None:
        self.at = at
        self.reason = reason
        self.cancel = cancel
        self.final = final
        self.flow = flow


class Tick:
    """Time passed."""

    __slots__ = ("at",)

    def __init__(self, at: float) -> None:
        self.at = at


Event = (
    RunStarted
    | Recalled
    | AttemptStarted
    | NodeSucceeded
    | NodeFailed
    | NodeSkipped
    | NodePutBack
    | NodeCancelled
    | InputsMissing
    | ValueLost
    | Unread
    | Expanded
    | StopRequested
    | Tick
)
