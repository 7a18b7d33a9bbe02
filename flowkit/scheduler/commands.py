"""What the scheduler wants done. The runner carries these out, in order."""

from __future__ import annotations

from collections.abc import Sequence

from flowkit.graph import Axis
from flowkit.scheduler.states import Node


class Start:
    """Call the node, or find out that its value is known (not if ``node.forced``)."""

    __slots__ = ("node",)

    def __init__(self, node: Node) -> None:
        self.node = node


class Take:
    """These nodes succeeded without having been started: they were known (see ``Recalled``)."""

    __slots__ = ("nodes",)

    def __init__(self, nodes: Sequence[Node]) -> None:
        self.nodes = nodes


class Expand:
    """Read the list in the node's value, and answer with ``Expanded``."""

    __slots__ = ("axis", "node")

    def __init__(self, node: Node, axis: Axis) -> None:
        self.node = node
        self.axis = axis


class Cancel:
    """Stop the running node; it ends as a timeout if ``timeout``, else without an outcome."""

    __slots__ = ("node", "reason", "timeout")

    def __init__(self, node: Node, timeout: bool, reason: str = "") -> None:
        self.node = node
        self.timeout = timeout
        self.reason = reason


class Release:
    """Nobody needs the node's value any more."""

    __slots__ = ("node",)

    def __init__(self, node: Node) -> None:
        self.node = node


class Announce:
    """The node ended without having been called; its state and reason are final."""

    __slots__ = ("node",)

    def __init__(self, node: Node) -> None:
        self.node = node


class WakeAt:
    """Send a ``Tick`` at this time (run clock, seconds), or earlier."""

    __slots__ = ("at",)

    def __init__(self, at: float) -> None:
        self.at = at


class Finish:
    """No node is left."""

    __slots__ = ()


Command = Start | Take | Expand | Cancel | Release | Announce | WakeAt | Finish
