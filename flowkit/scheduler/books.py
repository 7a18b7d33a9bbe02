"""What the scheduler keeps of a run: tasks, nodes, who waits for whom, and who needs whose value."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from flowkit.annotations import PLAIN
from flowkit.graph import Axis, BoundFlow, BoundTask, Edge, Graph
from flowkit.scheduler.capacity import Capacity
from flowkit.scheduler.commands import (
    Command,
)
from flowkit.scheduler.expansion import (
    AxisState,
    Coords,
    Link,
    Piece,
    TaskState,
    descend,
    grown,
    ids_along,
    positions,
    project,
)
from flowkit.scheduler.states import (
    Node,
)
from flowkit.scheduler.texts import Texts
from flowkit.scheduler.triggers import element_id

NEVER = float("inf")


def ignore(piece: Piece, coords: Coords) -> None:
    """What is not known yet comes with its own event."""


def unexpected(piece: Piece, coords: Coords) -> None:
    """Raise AssertionError: by now every list is known."""
    raise AssertionError("a collector was unlocked before all of its lists were known")


class Books:
    """The state of one run, and what may be looked at from outside.

    Args:
        graph: What to run.
        slots: How many nodes may run at once.
        limits: Named capacities: amount, or (amount, seconds) for a rate.
        maxfail: After so many failures nothing new starts; None for no such bound.
    """

    def __init__(
        self,
        graph: Graph,
        *,
        slots: int = 1,
        limits: Mapping[str, int | tuple[int, float]] | None = None,
        maxfail: int | None = None,
    ) -> None:
        self.graph = graph
        self.capacity = Capacity(slots, limits or {})
        self.maxfail = maxfail
        self.failures = 0
        self.open = 0  #: nodes that have not ended, and lists that are not read
        self.finished = False
        self.stopped: dict[BoundFlow, str] = {}
        self._stopping = False  #: it will be stopped once all is told that follows from the failures
        self.final = False  #: not even ``always`` tasks start any more
        #: What has to be said before anything starts: what is known beforehand, lists, and given values. The
        #: runner says it at once; what is unlocked meanwhile is judged together with what follows from it.
        self._held = 0
        self._now = 0.0
        self._out: list[Command] = []
        self._parked: list[tuple[float, int, Node]] = []
        self._deadlines: list[tuple[float, int, Node | BoundFlow, int]] = []
        self._wake = NEVER
        self._count = 0
        self._running: dict[Node, None] = {}
        self._unlocked: list[Node] = []
        self._ended: deque[Node] = deque()
        self._again = 0  #: nodes that had ended and are being computed again
        self._relapsed = False  #: one of them did not succeed the second time
        self._completing: deque[TaskState] = deque()
        self.states: dict[BoundTask, TaskState] = {}
        self._axes: dict[Any, AxisState] = {}
        self._texts: dict[tuple[Axis, ...], Texts] = {}  #: of tasks with several axes, where ids of them are ambiguous
        self._ambiguous = False  #: some are
        for task in graph.tasks:
            self._enter(task)

    def node(self, task: BoundTask, coords: Coords = ()) -> Node | None:
        """Return the node of a task at its coordinates, if it exists."""
        return self.states[task].nodes.get(coords)

    def nodes(self, task: BoundTask) -> Iterable[Node]:
        """Return the nodes of a task that exist so far, in source order."""
        found = self.states[task].nodes
        if len(task.axes) > 1:
            return [found[coords] for coords in sorted(found)]
        return found.values()

    def upstreams(self, node: Node) -> list[tuple[Edge, Sequence[Node]]]:
        """Return, for each edge, the upstream nodes: one, or all gathered elements in source order."""
        state = self.states[node.task]
        return [(link.edge, self._ups(link, node)) for link in state.links]

    def fallback(self, node: Node) -> Node | None:
        """Return the node that runs if this one fails, if there is one."""
        state = self.states[node.task]
        if state.fallback is None or len(node.coords) < len(state.sources):
            return None
        return state.fallback.nodes[project(node.coords, state.fallback_pick)]

    def missing_lists(self, node: Node) -> list[Node]:
        """Return the causes of the missing lists for whose elements the node stands."""
        state = self.states[node.task]
        pieces = [
            axis.pieces.get(project(node.coords, pick))
            for axis, pick, _ in state.sources[len(node.coords) :]
            if max(pick, default=-1) < len(node.coords)
        ]
        return [piece.blocked for piece in pieces if piece is not None and piece.blocked is not None]

    def take_apart(self) -> None:
        """Let the tasks go of each other: nobody asks any more. Else they are there until Python looks for garbage."""
        for state in self.states.values():
            if state.links:
                state.links = ()

    def element_sources(self, node: Node) -> list[tuple[Node, int]]:
        """Return, for each axis, the node whose list the element comes from, and its position there.

        Not for an axis that has no list: the node then stands for whatever elements there might have been.
        """
        state = self.states[node.task]
        return [
            (self.states[axis.axis.source].nodes[project(node.coords, pick)], node.coords[i])
            for i, (axis, pick, _) in enumerate(state.sources[: len(node.coords)])
        ]

    def gathered_ids(self, node: Node, edge: Edge, nodes: Sequence[Node]) -> list[str]:
        """Return the ids of gathered elements, of the gathered axes alone."""
        if len(edge.gathered) == len(edge.source.axes) > 1:
            return [element_id(n) for n in nodes]
        up = self.states[edge.source]
        if len(edge.gathered) == 1 == len(up.sources):
            piece = up.sources[0][0].pieces.get(())
            if piece is not None and piece.ids is not None and len(piece.indices) == len(piece.ids) == len(nodes):
                return list(piece.ids)
        skip = frozenset(edge.source.axes) - frozenset(edge.gathered)
        along = [(*ids_along(up, n.coords, skip),) for n in nodes]
        if len(edge.gathered) == 1 or not self._ambiguous:
            return ["-".join(ids) for ids in along]
        texts = Texts()
        texts.enter(along)
        return [texts.found[ids] for ids in along]

    @property
    def running(self) -> Iterable[Node]:
        """The nodes that hold slots."""
        return self._running.keys()

    def _enter(self, task: BoundTask) -> None:
        """Make the state of a task; its upstreams have theirs already."""
        state = self.states[task] = TaskState(task)
        axes = task.axes
        if axes:
            self._enter_axes(state)
        for edge in task.edges:
            up = self.states[edge.source]
            above, gathers = edge.source.axes, bool(edge.gathered)
            pick: tuple[int, ...] | None = () if not above else positions(above, axes)
            if above == axes and not gathers:
                pick = None
            holds = edge.argument is not None
            if holds and axes:
                up.users = grown(up.users, state)
            state.links = grown(state.links, Link(edge, up, pick, holds, gathers))
            accepts = edge.accepts
            if accepts is PLAIN:
                state.plain = state.plain and not gathers and edge.part is None and not edge.collected
                continue
            if holds and (gathers or edge.collected or edge.part is not None or not accepts.plain):
                state.plain = False
            if not (accepts.value or accepts.success):
                state.simple = False
        if task.trigger is not None:
            state.simple = state.plain = False
        if task.fallback is not None:
            state.bare = False
            state.fallback = self.states[task.fallback]
            state.fallback_pick = positions(task.fallback.axes, axes)
            state.fallback.callers = grown(state.fallback.callers, state)

    def _enter_axes(self, state: TaskState) -> None:
        """Hang a mapped task on the lists that its elements come from."""
        axes = state.task.axes
        wanted = {element.axis for element in state.task.elements}
        for axis in axes:
            axis_state = self._axes.get(axis)
            if axis_state is None:
                axis_state = self._axes[axis] = AxisState(axis)
                source = self.states[axis.source]
                source.expands = grown(source.expands, axis_state)
                self.states[axis.source].bare = False
            axis_state.carriers.append(state)
            takes = axis in wanted
            if takes:
                source = self.states[axis.source]
                source.users = grown(source.users, state)
            state.sources = grown(state.sources, (axis_state, positions(axis.source.axes, axes), takes))
        if len(axes) > 1:
            texts = self._texts.get(axes)
            if texts is None:
                texts = self._texts[axes] = Texts()
            state.task.texts = texts.found
            for axis_state, _, _ in state.sources[:-1]:
                axis_state.leads = True

    def has_inputs(self, node: Node) -> bool:
        """Whether a node has upstreams of its own.

        One that stands for a list that is missing has, unless it was to take an element of that or of another
        list, or follows a task that has elements: it then only says what became of the list.
        """
        return self._fed(self.states[node.task], node.coords)

    def _fed(self, state: TaskState, coords: Coords) -> bool:
        if len(coords) == len(state.sources):
            return True
        ups = [(link.up, link.pick) for link in state.links if not link.gathers]
        if state.fallback is not None:
            ups.append((state.fallback, state.fallback_pick))
        lacks = any(takes for _, _, takes in state.sources[len(coords) :])
        return not lacks and all(project(coords, pick) in up.nodes for up, pick in ups)

    def _fixed(self, link: Link, node: Node) -> dict[int, int]:
        """Return, for a gathering link, the coordinates that the collector carries."""
        if not node.coords:
            return {}
        place = {axis: i for i, axis in enumerate(node.task.axes)}
        return {
            i: node.coords[place[axis]]
            for i, axis in enumerate(link.up.task.axes)
            if axis in place and axis not in link.edge.gathered and place[axis] < len(node.coords)
        }

    def _ups(
        self, link: Link, node: Node, unknown: Callable[[Piece, Coords], None] = unexpected
    ) -> Sequence[Node]:
        if not link.gathers:
            return (link.up.nodes[project(node.coords, link.pick)],)
        found = link.up.nodes
        fixed = self._fixed(link, node)
        if not fixed and len(link.up.sources) == 1:
            return list(found.values())
        return [found[c] for c, _ in descend(link.up, fixed, (), unknown) if c in found]


def wait_for(up: Node, node: Node) -> None:
    """Have ``node`` told when ``up`` ended."""
    waiters = up.waiters
    if waiters is None:
        up.waiters = node
    elif type(waiters) is Node:
        up.waiters = [waiters, node]
    else:
        waiters.append(node)  # type: ignore[union-attr]  # the two cases above leave the list


def definition(node: Node) -> tuple[int, Coords]:
    """Return a node's place in definition order."""
    return (node.task.order, node.coords)
