"""Fan-out: axes, the lists behind them, alignment, and the nodes of a mapped task.

An axis has one list (a :class:`Piece`) for each node of its source; a source that is mapped itself
gives a ragged axis. A node's coordinates are its positions on the axes of its task, in their
order. Projecting them on the axes of another task gives the node that is aligned with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import takewhile
from typing import TypeVar

from flowkit.graph import Axis, BoundTask, Edge
from flowkit.records import field, record
from flowkit.scheduler.states import Node, State

Coords = tuple[int, ...]
T = TypeVar("T")


@record(eq=False)
class Piece:
    """One list of an axis: known, known to be missing, or not read yet.

    Attributes:
        axis: The axis it is a list of.
        ids: The ids of its elements; None while it is not known, or if it is missing.
        indices: The positions that are wanted.
        blocked: The node that stands for the missing list's cause, or None.
        error: What is wrong with the value that should have been a list.
        waiters: Collectors to be told, with how far each had come.
    """

    axis: AxisState
    ids: Sequence[str] | None = None
    indices: Sequence[int] = ()
    blocked: Node | None = None
    error: BaseException | None = None
    waiters: list[tuple[Node, Edge, Coords]] = field(factory=list)

    @property
    def known(self) -> bool:
        """Whether it is settled what elements there are."""
        return self.ids is not None or self.blocked is not None


@record(eq=False)
class AxisState:
    """An axis, its lists so far, and the mapped tasks that carry it.

    Attributes:
        pieces: Coordinates of the source's node → its list.
        unread: How many nodes of the source have not had their list read.
        carriers: The tasks mapped over it, upstream first.
        leads: Whether one of them has another axis after it.
        ambiguous: Whether ids of one of its lists, joined with others, may be equal.
    """

    axis: Axis
    pieces: dict[Coords, Piece] = field(factory=dict)
    unread: int = 0
    complete: bool = False
    carriers: list[TaskState] = field(factory=list)
    leads: bool = False
    ambiguous: bool = False

    def piece(self, coords: Coords) -> Piece:
        """Return the list at the coordinates of the source's node."""
        found = self.pieces.get(coords)
        if found is None:
            found = self.pieces[coords] = Piece(self)
        return found


class Link:
    """An edge as the scheduler follows it.

    Attributes:
        pick: Positions, in the task's axes, of the upstream's axes that the task carries; None if
            they are the same axes in the same order, so that coordinates need no projection.
        holds: Whether the value is handed over (an entry of ``needs`` only waits).
        gathers: Whether it stands for several nodes of the upstream.
    """

    __slots__ = ("edge", "gathers", "holds", "pick", "up")

    def __init__(self, edge: Edge, up: TaskState, pick: tuple[int, ...] | None, holds: bool, gathers: bool) -> None:
        self.edge = edge
        self.up = up
        self.pick = pick
        self.holds = holds
        self.gathers = gathers


class TaskState:
    """A task and its nodes.

    Attributes:
        nodes: By coordinates.
        links: Its edges.
        sources: For each axis: the axis' state, positions of the axis' parents among the task's
            axes, and whether an argument takes its elements.
        expands: The axes whose source it is.
        users: Mapped tasks that take its value (for each edge), so that it is kept while they expand.
        callers: Tasks whose fallback it is.
        expanding: It may still get nodes, which may need the values of others.
        simple: With all upstreams succeeded it runs: nothing to judge.
        plain: Every argument that is an upstream's is the bare value of one node.
        bare: It has no list to read and no fallback: nothing but its waiters cares that a node ended.
        complete: All its nodes exist.
        whole: It has the one node that stands for all elements of a missing list.
    """

    __slots__ = (
        "bare", "callers", "complete", "expanding", "expands", "fallback", "fallback_pick", "links", "nodes",
        "plain", "simple", "sources", "task", "users", "whole",
    )  # fmt: skip

    def __init__(self, task: BoundTask) -> None:
        self.task = task
        self.nodes: dict[Coords, Node] = {}
        self.links: Sequence[Link] = ()
        self.sources: Sequence[tuple[AxisState, tuple[int, ...], bool]] = ()
        self.expands: Sequence[AxisState] = ()
        self.users: Sequence[TaskState] = ()
        self.callers: Sequence[TaskState] = ()
        self.fallback: TaskState | None = None
        self.fallback_pick: tuple[int, ...] = ()
        self.simple = True
        self.plain = True
        self.bare = True
        self.expanding = bool(task.axes)
        self.complete = False
        self.whole = False


def grown(found: Sequence[T], one: T) -> Sequence[T]:
    """Return a sequence with one more. Most tasks have none of most things: they share an empty tuple."""
    if isinstance(found, list):
        found.append(one)
        return found
    return [one]


def project(coords: Coords, pick: tuple[int, ...] | None) -> Coords:
    """Return the coordinates of the aligned node; of one that stands for a missing list, as far as they go."""
    if pick:
        try:
            return tuple([coords[i] for i in pick])
        except IndexError:  # seldom, and to look before would cost every node
            return tuple([coords[i] for i in takewhile(len(coords).__gt__, pick)])
    return coords if pick is None else ()


def positions(axes: Sequence[Axis], among: Sequence[Axis]) -> tuple[int, ...]:
    """Return where each of ``axes`` stands in ``among``; axes that do not are left out."""
    places = {axis: i for i, axis in enumerate(among)}
    return tuple(places[axis] for axis in axes if axis in places)


def descend(
    state: TaskState,
    fixed: dict[int, int],
    start: Coords,
    unknown: Callable[[Piece, Coords], None],
) -> Iterator[tuple[Coords, Piece | None]]:
    """Yield the coordinates of a task's nodes, in the order of nested loops over its axes.

    Args:
        state: The task.
        fixed: Axis position → the only coordinate to follow there.
        start: Coordinates on the first axes, already chosen.
        unknown: Told of each list that is not known yet, with the coordinates before it.

    Yields:
        (coordinates, None) for an element; (coordinates so far, list) where a list is missing.
    """
    depth = len(start)
    if depth == len(state.sources):
        yield start, None
        return
    if not depth:
        # A missing list that does not depend on any other axis stops the whole task. All such
        # lists are waited for, so that it does not matter which source ends first.
        blocked = None
        for axis_state, pick, _ in state.sources:
            if not pick:
                piece = axis_state.piece(())
                if not piece.known:
                    unknown(piece, ())
                    return
                if piece.blocked is not None and (blocked is None or weight(piece) > weight(blocked)):
                    blocked = piece
        if blocked is not None:
            yield (), blocked
            return
    axis_state, pick, _ = state.sources[depth]
    piece = axis_state.piece(project(start, pick))
    if piece.blocked is not None:
        yield start, piece
    elif piece.ids is None:
        unknown(piece, start)
    else:
        only = fixed.get(depth)
        for index in piece.indices if only is None else (only,):
            yield from descend(state, fixed, (*start, index), unknown)


def all_elements(state: TaskState, fixed: dict[int, int], start: Coords = ()) -> Iterator[Coords]:
    """Yield the coordinates of a task's elements in source order, wanted or not, as far as their lists are known."""
    depth = len(start)
    if depth == len(state.sources):
        yield start
        return
    axis_state, pick, _ = state.sources[depth]
    piece = axis_state.pieces.get(project(start, pick))
    if piece is not None and piece.ids is not None:
        only = fixed.get(depth)
        for index in range(len(piece.ids)) if only is None else (only,):
            yield from all_elements(state, fixed, (*start, index))


def ids_after(state: TaskState, at: Coords) -> Sequence[str] | None:
    """Return the ids on the axis that follows on coordinates; None if that list is not known."""
    axis_state, pick, _ = state.sources[len(at)]
    piece = axis_state.pieces.get(project(at, pick))
    return None if piece is None else piece.ids


def weight(piece: Piece) -> int:
    """Return which of several missing lists decides what becomes of a task: the heaviest, else the first.

    A task that would not have run in any case is not UPSTREAM: what was skipped, or cut off,
    outweighs what failed.
    """
    cause = piece.blocked
    if cause is None:
        return 0
    if piece.error is not None:
        return 3
    return 1 if cause.state in (State.FAILED, State.UPSTREAM) else 2


def ids_along(state: TaskState, coords: Coords, skip: frozenset[Axis] = frozenset()) -> list[str]:
    """Return the elements' ids at ``coords``, of every axis not in ``skip``."""
    found = []
    for position, index in enumerate(coords):
        axis_state, pick, _ = state.sources[position]
        if axis_state.axis not in skip:
            ids = axis_state.pieces[project(coords, pick)].ids
            assert ids is not None  # a node exists only where its lists are known
            found.append(ids[index])
    return found
