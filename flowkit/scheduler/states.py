"""Nodes, their states, and the transition table.

Two rules for this file: every transition there is stands in ``TRANSITIONS``, and nothing here
knows why one is taken.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any

from flowkit.graph import BoundTask

if TYPE_CHECKING:
    from flowkit.scheduler.triggers import Verdict


class State(Enum):
    """Where a node is."""

    WAITING = "waiting"  #: for what it needs
    READY = "ready"  #: to be started as soon as there is room
    RUNNING = "running"  #: started, and holds its slots
    PARKED = "parked"  #: to be started again at a time; holds nothing
    SUCCEEDED = "succeeded"  #: has a value
    FAILED = "failed"  #: raised, timed out or was lost, for good
    SKIPPED = "skipped"  #: by itself, or its condition cannot be met
    UPSTREAM = "upstream"  #: would have run, but for a failure above it
    NOT_RUN = "not run"  #: the run stopped before, or while, it ran

    # Members are singletons; Enum's own hash is a Python call on the path of every node.
    __hash__ = object.__hash__


#: The members as plain names: on 3.11 ``State.READY`` is a call in Python (0.1 µs), a dozen times per node.
WAITING, READY, RUNNING, PARKED, SUCCEEDED, FAILED, SKIPPED, UPSTREAM, NOT_RUN = State


ENDED = frozenset({State.SUCCEEDED, State.FAILED, State.SKIPPED, State.UPSTREAM, State.NOT_RUN})

#: state → the states that may follow. SUCCEEDED → READY happens when a value that was known turns
#: out not to be at hand and somebody needs it; whoever was to be called with it is WAITING again.
TRANSITIONS: dict[State, frozenset[State]] = {
    State.WAITING: frozenset({State.READY, State.SKIPPED, State.UPSTREAM, State.FAILED, State.NOT_RUN}),
    State.READY: frozenset({State.RUNNING, State.WAITING, State.NOT_RUN}),
    State.RUNNING: frozenset(
        {State.SUCCEEDED, State.FAILED, State.SKIPPED, State.PARKED, State.WAITING, State.NOT_RUN}
    ),
    State.PARKED: frozenset({State.READY, State.NOT_RUN}),
    State.SUCCEEDED: frozenset({State.READY}),
    State.FAILED: frozenset(),
    State.SKIPPED: frozenset(),
    State.UPSTREAM: frozenset(),
    State.NOT_RUN: frozenset(),
}

#: The same as pairs: one look-up on the path of every node.
LEGAL: frozenset[tuple[State, State]] = frozenset((a, b) for a, after in TRANSITIONS.items() for b in after)


class IllegalTransition(Exception):
    """A bug in the scheduler or in whoever feeds it: the event does not fit the node's state."""

    def __init__(self, node: Node, new: State) -> None:
        super().__init__(f"{node.id} is {node.state.value} and cannot become {new.value}")


class Node:
    """One unit of execution: a task, or one element of a mapped task.

    Attributes:
        task: The task.
        coords: Its position on each of the task's axes. Shorter than the axes for the one node
            that stands for all elements of a list that is not there.
        id: The task's name, with the ids of the elements in brackets: ``page[3]``.
        state: Where it is.
        waiting: How many of the things it waits for have not ended.
        trouble: Whether any upstream ended other than by success.
        waiters: Nodes to be told when it ended: None, one, or a list.
        holders: How many nodes (and tasks not yet expanded) may still need its value.
        reason: Why it did not run, in words.
        error: What it failed with.
        verdict: What was judged of it, if it does not run.
        forced: It must be called, even if its value is known.
        hollow: It succeeded, but its value is not at hand.
        settled: It ended and so did its fallback, if that was called.
        stand_in: The fallback's node whose value stands in for it.
        rank: Its place among the ready: the highest starts first.
        serial: Counts its starts.
        callers: For a fallback: how many may still call it.
        called: For a fallback: one did, or it is a target and runs without.
        report: What the runner notes of it; the scheduler never looks.
        told: Those that waited for it have been told once.
    """

    __slots__ = (
        "called",
        "callers",
        "coords",
        "error",
        "forced",
        "holders",
        "hollow",
        "id",
        "rank",
        "reason",
        "report",
        "serial",
        "settled",
        "stand_in",
        "state",
        "task",
        "told",
        "trouble",
        "verdict",
        "waiters",
        "waiting",
    )  # fmt: skip

    def __init__(self, task: BoundTask, coords: tuple[int, ...], id: str) -> None:  # noqa: A002 - the word users know
        self.task = task
        self.coords = coords
        self.id = id
        self.state = WAITING
        self.waiting = 0
        self.trouble = False
        self.waiters: Node | list[Node] | None = None
        self.holders = 0
        self.reason = ""
        self.error: BaseException | None = None
        self.verdict: Verdict | None = None
        self.forced = False
        self.hollow = False
        self.settled = False
        self.stand_in: Node | None = None
        self.rank = 0
        self.serial = 0
        self.callers = 0
        self.called = False
        self.told = False
        self.report: Any = None

    def __repr__(self) -> str:
        return f"<{self.id} {self.state.value}>"

    def become(self, new: State) -> None:
        """Move to another state, if the table allows it."""
        if (self.state, new) not in LEGAL:
            raise IllegalTransition(self, new)
        self.state = new

    @property
    def full_id(self) -> str:
        """The id with the flow's path before it: ``path/to/flow.py::page[3]``."""
        return f"{self.task.flow.path}::{self.id}"

    @property
    def roots(self) -> tuple[Node, ...]:
        """The failed nodes that are the cause of an UPSTREAM."""
        return self.verdict.roots if self.verdict is not None else ()

    @property
    def content(self) -> str:
        """What counts of its reason for reuse: all that a task said itself, no ids in what flowkit made up."""
        return self.verdict.content if self.verdict is not None else self.reason

    @property
    def succeeded(self) -> bool:
        """Whether whoever hangs off it sees a success: its own, or its fallback's."""
        other = self.stand_in
        return self.state is SUCCEEDED or (other is not None and other.state is State.SUCCEEDED)
