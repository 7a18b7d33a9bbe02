"""What the scheduler wants done. The runner carries these out, in order."""

from __future__ import annotations

from dataclasses import dataclass

from flowkit.graph import Axis
from flowkit.scheduler.states import Node


@dataclass(slots=True)
class Start:
    """Call the node, or find out that its value is known (not if ``node.forced``)."""

    node: Node


@dataclass(slots=True)
class Expand:
    """Read the list in the node's value, and answer with ``Expanded``."""

    node: Node
    axis: Axis


@dataclass(slots=True)
class Cancel:
    """Stop the running node; it ends as a timeout if ``timeout``, else without an outcome."""

    node: Node
    timeout: bool
    reason: str = ""


@dataclass(slots=True)
class Release:
    """Nobody needs the node's value any more."""

    node: Node


@dataclass(slots=True)
class Announce:
    """The node ended without having been called; its state and reason are final."""

    node: Node


@dataclass(slots=True)
class WakeAt:
    """Send a ``Tick`` at this time (run clock, seconds), or earlier."""

    at: float


@dataclass(slots=True)
class Finish:
    """No node is left."""


Command = Start | Expand | Cancel | Release | Announce | WakeAt | Finish
