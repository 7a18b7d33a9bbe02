"""``Scheduler.handle(event) → commands``: the only place that changes a node."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from flowkit.annotations import PLAIN
from flowkit.graph import BoundFlow, BoundTask, Edge, Graph
from flowkit.scheduler.capacity import Capacity
from flowkit.scheduler.commands import (
    Announce,
    Cancel,
    Command,
    Expand,
    Finish,
    Release,
    Start,
    WakeAt,
)
from flowkit.scheduler.events import (
    AttemptStarted,
    Event,
    Expanded,
    InputsMissing,
    NodeCancelled,
    NodeFailed,
    NodePutBack,
    NodeSkipped,
    NodeSucceeded,
    RunStarted,
    StopRequested,
    Tick,
    ValueLost,
)
from flowkit.scheduler.expansion import (
    AxisState,
    Coords,
    Link,
    Piece,
    TaskState,
    descend,
    ids_along,
    node_id,
    positions,
    project,
)
from flowkit.scheduler.states import (
    FAILED,
    NOT_RUN,
    PARKED,
    READY,
    RUNNING,
    SKIPPED,
    SUCCEEDED,
    UPSTREAM,
    WAITING,
    Node,
    State,
)
from flowkit.scheduler.triggers import ALWAYS, Ending, Verdict, ending, judge, root_reason, roots

NEVER = float("inf")


def _ignore(piece: Piece, coords: Coords) -> None:
    """What is not known yet comes with its own event."""


def _unexpected(piece: Piece, coords: Coords) -> None:
    raise AssertionError("a collector was unlocked before all of its lists were known")


class Scheduler:
    """The state of one run.

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
        self.final = False  #: not even ``always`` tasks start any more
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
        self._handlers: dict[type, Callable[[Any], None]] = {
            RunStarted: self._on_run_started,
            AttemptStarted: self._on_attempt_started,
            NodeSucceeded: self._on_succeeded,
            NodeFailed: self._on_failed,
            NodeSkipped: self._on_skipped,
            NodePutBack: self._on_put_back,
            NodeCancelled: self._on_cancelled,
            InputsMissing: self._on_inputs_missing,
            ValueLost: self._on_value_lost,
            Expanded: self._on_expanded,
            StopRequested: self._on_stop,
            Tick: self._on_tick,
        }
        for task in graph.tasks:
            self._enter(task)

    # What others may look at

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

    def element_sources(self, node: Node) -> list[tuple[Node, int]]:
        """Return, for each axis, the node whose list the element comes from, and its position there."""
        state = self.states[node.task]
        return [
            (self.states[axis.axis.source].nodes[project(node.coords, pick)], node.coords[i])
            for i, (axis, pick, _) in enumerate(state.sources)
        ]

    def gathered_ids(self, node: Node, edge: Edge, nodes: Sequence[Node]) -> list[str]:
        """Return the ids of gathered elements, of the gathered axes alone."""
        up = self.states[edge.source]
        if len(edge.gathered) == 1 == len(up.sources):
            piece = up.sources[0][0].pieces.get(())
            if piece is not None and piece.ids is not None and len(piece.indices) == len(piece.ids) == len(nodes):
                return list(piece.ids)
        skip = frozenset(edge.source.axes) - frozenset(edge.gathered)
        return ["-".join(ids_along(up, n.coords, skip)) for n in nodes]

    def handle(self, event: Event) -> list[Command]:
        """Take in one event and return what follows from it, in order."""
        self._now = event.at
        out = self._out = []
        if type(event) is NodeSucceeded:
            self._on_succeeded(event)
        else:
            self._handlers[type(event)](event)
        if self._ended or self._completing or self._unlocked:
            self._propagate()
        if self.capacity.free > 0:
            self._start_ready()
            while self._ended:  # instead of starting, having lost what they were to be called with
                self._propagate()
                self._start_ready()
        if self._parked or self._deadlines or self.capacity.next_return is not None:
            self._set_alarm()
        if not self.open and not self.finished:
            self.finished = True
            out.append(Finish())
        return out

    # Building

    def _enter(self, task: BoundTask) -> None:
        """Make the state of a task; its upstreams have theirs already."""
        state = TaskState(task, expanding=bool(task.axes))
        self.states[task] = state
        axes = task.axes
        wanted = {element.axis for element in task.elements}
        for axis in axes:
            axis_state = self._axes.get(axis)
            if axis_state is None:
                axis_state = self._axes[axis] = AxisState(axis)
                self.states[axis.source].expands.append(axis_state)
                self.states[axis.source].bare = False
            axis_state.carriers.append(state)
            takes = axis in wanted
            if takes:
                self.states[axis.source].users.append(state)
            state.sources.append((axis_state, positions(axis.source.axes, axes), takes))
        for edge in task.edges:
            up = self.states[edge.source]
            above, gathers = edge.source.axes, bool(edge.gathered)
            pick: tuple[int, ...] | None = () if not above else positions(above, axes)
            if above == axes and not gathers:
                pick = None
            holds = edge.argument is not None
            if holds:
                up.users.append(state)
            state.links.append(Link(edge, up, pick, holds, gathers))
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
            state.fallback.callers.append(state)

    def _on_run_started(self, event: RunStarted) -> None:
        for flow in self.graph.flows:
            if flow.deadline is not None:
                self._alarm(event.at + flow.deadline, flow, 0)
        for state in self.states.values():
            if not state.sources:
                self._create(state, (), state.task.name)
                self._complete(state)

    def _create(self, state: TaskState, coords: Coords, name: str) -> Node | None:
        """Make a node, count what it waits for, and unlock it if that is nothing."""
        task = state.task
        if task.wants is not None and not task.wants(name):
            return None
        node = Node(task, coords, name)
        state.nodes[coords] = node
        self.open += 1
        waiting = 0
        for link in state.links:
            if link.gathers:
                waiting += self._gather(node, link)
                continue
            pick = link.pick
            up = link.up.nodes[coords if pick is None else project(coords, pick)]
            if link.holds:
                up.holders += 1
            if not up.settled:
                waiting += 1
                if up.waiters is None:
                    up.waiters = node
                else:
                    _wait_for(up, node)
            elif up.state is not SUCCEEDED:
                node.trouble = True
        for axis_state, pick, takes in state.sources:
            if takes:
                self.states[axis_state.axis.source].nodes[project(coords, pick)].holders += 1
        node.holders = sum([user.expanding for user in state.users])
        if state.fallback is not None or task.is_fallback:
            waiting += self._stand_by(state, node)
        for axis_state in state.expands:
            axis_state.unread += 1
            self.open += 1
        node.waiting = waiting
        if not waiting and node.state is WAITING:
            self._unlocked.append(node)
        return node

    def _stand_by(self, state: TaskState, node: Node) -> int:
        """Enter a node with its fallback, or a fallback with who may call it; return for how many calls it waits."""
        if state.fallback is not None:
            other = state.fallback.nodes[project(node.coords, state.fallback_pick)]
            other.callers += 1
            other.holders += 1
        if not state.task.is_fallback:
            return 0
        if state.callers:
            open_callers = sum(1 for caller in state.callers if caller.expanding)
            node.callers += open_callers
            node.holders += open_callers
            return 1
        if state.task not in self.graph.targets:
            self._end_unrun(node, SKIPPED, "not needed")  # nobody is in the run who could call it
        return 0

    def _gather(self, node: Node, link: Link) -> int:
        """Hang a collector on the elements that exist, and on the lists that are not read."""
        waiting = 0
        fixed = self._fixed(link, node)

        def unknown(piece: Piece, coords: Coords) -> None:
            nonlocal waiting
            piece.waiters.append((node, link.edge, coords))
            waiting += 1

        for coords, _ in descend(link.up, fixed, (), unknown):
            waiting += self._hang(node, link, coords)
        return waiting

    def _hang(self, node: Node, link: Link, coords: Coords) -> int:
        up = link.up.nodes.get(coords)
        if up is None:
            return 0  # not wanted in this run
        if link.holds:
            up.holders += 1
        if up.settled:
            if up.state is not SUCCEEDED:
                node.trouble = True
            return 0
        _wait_for(up, node)
        return 1

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
        self, link: Link, node: Node, unknown: Callable[[Piece, Coords], None] = _unexpected
    ) -> Sequence[Node]:
        if not link.gathers:
            return (link.up.nodes[project(node.coords, link.pick)],)
        found = link.up.nodes
        fixed = self._fixed(link, node)
        if not fixed and len(link.up.sources) == 1:
            return list(found.values())
        return [found[c] for c, _ in descend(link.up, fixed, (), unknown) if c in found]

    # Ends, and what follows

    def _on_succeeded(self, event: NodeSucceeded) -> None:
        node = event.node
        node.become(SUCCEEDED)
        node.hollow = event.hollow
        node.forced = False
        self._leave(node)
        self._settle(node)

    def _on_skipped(self, event: NodeSkipped) -> None:
        node = event.node
        node.become(SKIPPED)
        node.reason = event.reason
        self._leave(node)
        self._settle(node)

    def _on_failed(self, event: NodeFailed) -> None:
        node = event.node
        node.become(FAILED)
        node.error = event.error
        self._leave(node)
        state = self.states[node.task]
        if state.fallback is None:
            self._fail(node)
            return
        other = state.fallback.nodes[project(node.coords, state.fallback_pick)]
        if node.told:
            other.holders += 1  # it had succeeded at first, and let go of it
        if other.settled:
            self._fallen_back(node, other)
            return
        _wait_for(other, node)
        if not other.called:
            other.called = True
            other.waiting -= 1
            if not other.waiting:
                self._unlocked.append(other)

    def _fallen_back(self, node: Node, other: Node) -> None:
        """The fallback of a failed node ended: its value stands in, or the failure stands."""
        if other.succeeded:
            node.stand_in = other.stand_in or other
            if node.stand_in is not other:  # the fallback has fallen back itself
                node.stand_in.holders += 1
                other.holders -= 1
                if not other.holders and other.told:
                    self._release([other])
            self._settle(node)
        else:
            node.stand_in = None  # it may have had one, whose value was lost
            self._fail(node)

    def _fail(self, node: Node) -> None:
        if not node.task.allow_failure:
            self.failures += 1
            if self.maxfail is not None and self.failures == self.maxfail:
                some = "a failure" if self.maxfail == 1 else f"{self.maxfail} failures"
                self._stop(None, f"the run stopped after {some}", final=False)
        self._settle(node)

    def _on_cancelled(self, event: NodeCancelled) -> None:
        node = event.node
        node.become(NOT_RUN)
        node.reason = node.reason or self.stopped.get(node.task.flow, "interrupted")
        self._leave(node)
        self._settle(node)

    def _leave(self, node: Node) -> None:
        """A running node is not running any more."""
        self._running.pop(node, None)
        self.capacity.give_back(node)

    def _settle(self, node: Node) -> None:
        node.settled = True
        self.open -= 1
        if node.told:
            self._again -= 1
            self._relapsed = self._relapsed or node.state is not SUCCEEDED
        self._ended.append(node)

    def _propagate(self) -> None:
        """Tell everybody who waits, until nothing follows any more; no recursion, however deep."""
        ended, completing = self._ended, self._completing
        while True:
            while self._unlocked:
                self._judge_unlocked()
            if ended:
                self._tell(ended.popleft())
            elif completing:
                self._completed(completing.popleft())
            else:
                return

    def _tell(self, node: Node) -> None:
        waiters = node.waiters
        if waiters is not None:
            node.waiters = None
            trouble = node.state is not SUCCEEDED
            for waiter in [waiters] if isinstance(waiters, Node) else waiters:
                if waiter.state is FAILED:
                    if not waiter.settled:
                        self._fallen_back(waiter, node)
                    continue
                if trouble:
                    waiter.trouble = True
                waiter.waiting -= 1
                if not waiter.waiting and waiter.state is WAITING:
                    self._unlocked.append(waiter)
        state = self.states[node.task]
        if not state.bare:
            if state.expands:
                self._expand(state, node)
            at_element = len(node.coords) == len(state.sources)
            if state.fallback is not None and not node.told and node.state is not FAILED and at_element:
                self._not_called(state.fallback.nodes[project(node.coords, state.fallback_pick)])
        node.told = True
        free = [] if node.hollow else self._let_go(state, node)
        if not node.holders:
            free.insert(0, node)
        if free:
            self._release(free)

    def _not_called(self, node: Node) -> None:
        """One caller less; with none left the fallback is not needed."""
        node.callers -= 1
        node.holders -= 1
        if not node.holders and node.settled:
            self._release([node])
        if not node.callers and not node.called and node.state is WAITING:
            self._end_unrun(node, SKIPPED, "not needed")

    def _let_go(self, state: TaskState, node: Node) -> list[Node]:
        """The node needs its inputs no longer; return those that nobody else needs."""
        free: list[Node] = []
        coords = node.coords
        if len(coords) < len(state.sources):
            return free  # it stands for a list that is missing, and never had inputs
        for link in state.links:
            if not link.holds:
                continue
            if link.gathers:
                for up in self._ups(link, node, _ignore):  # it may have been stopped before all were known
                    up.holders -= 1
                    if not up.holders:
                        free.append(up)
                continue
            pick = link.pick
            up = link.up.nodes[coords if pick is None else project(coords, pick)]
            up.holders -= 1
            if not up.holders:
                free.append(up)
        for axis_state, pick, takes in state.sources:
            if takes:
                up = self.states[axis_state.axis.source].nodes[project(node.coords, pick)]
                up.holders -= 1
                if not up.holders:
                    free.append(up)
        return free

    def _release(self, free: list[Node]) -> None:
        """Release values that nobody needs, and what was kept for their sake alone."""
        while free:
            node = free.pop()
            other = node.stand_in
            if other is not None:
                other.holders -= 1
                if not other.holders:
                    free.append(other)
            if node.state is SUCCEEDED:
                self._out.append(Release(node))
                if node.hollow:
                    node.hollow = False
                    free += self._let_go(self.states[node.task], node)

    def _judge_unlocked(self) -> None:
        """Decide what becomes of the nodes that wait for nothing any more."""
        unlocked, self._unlocked = self._unlocked, []
        if len(unlocked) > 1:
            unlocked.sort(key=_definition)
        ready: list[Node] = []
        for node in unlocked:
            if node.state is not WAITING:
                continue
            if self.stopped and self._held_back(node.task):
                self._end_unrun(node, NOT_RUN, self.stopped[node.task.flow])
                continue
            if self._again and self._awaits(node):
                continue
            state = self.states[node.task]
            if node.trouble or not state.simple:
                verdict = self._verdict(node)
                if verdict.state is not READY:
                    self._end_judged(node, verdict)
                    continue
            node.become(READY)
            ready.append(node)
        push = self.capacity.push
        for node in reversed(ready):
            push(node)

    def _verdict(self, node: Node) -> Verdict:
        verdict = judge(node.task.trigger, self.upstreams(node))
        if verdict.state is READY and node.trouble and node.coords:
            # A list it takes an element of may have been computed again, and failed.
            taken = {element.axis for element in node.task.elements}
            lists = zip(node.task.axes, self.element_sources(node), strict=True)
            return judge(None, [(Edge(up.task), (up,)) for axis, (up, _) in lists if axis in taken])
        return verdict

    def _end_judged(self, node: Node, verdict: Verdict) -> None:
        node.roots = verdict.roots
        self._end_unrun(node, verdict.state, verdict.reason)

    def _still_may(self, node: Node) -> bool:
        """Whether a ready node may start, though something above it was computed again since it was judged."""
        if self._awaits(node):
            node.become(WAITING)
            return False
        node.trouble = node.trouble or self._relapsed
        verdict = self._verdict(node)
        if verdict.state is not READY:
            node.become(WAITING)
            self._end_judged(node, verdict)
        return verdict.state is READY

    def _awaits(self, node: Node) -> bool:
        """Whether something above it is being computed again; the node waits for that as at first."""
        ups = [up for _, nodes in self.upstreams(node) for up in nodes]
        ups += [source for source, _ in self.element_sources(node)]
        for each in ups:
            up = each.stand_in or each
            if not up.settled:
                node.waiting += 1
                _wait_for(up, node)
        return node.waiting > 0

    def _held_back(self, task: BoundTask) -> bool:
        return task.flow in self.stopped and (self.final or task.trigger != ALWAYS) and task.given is None

    def _end_unrun(self, node: Node, state: State, reason: str) -> None:
        node.become(state)
        node.reason = reason
        self._out.append(Announce(node))
        self._settle(node)

    def _start_ready(self) -> None:
        capacity, out, running = self.capacity, self._out, self._running
        ready, now = capacity.ready, self._now
        while capacity.free > 0:
            if ready and not ready[-1].task.demands and not capacity.aside:
                node = ready.pop()  # the ordinary case, without asking
                if node.state is not READY:
                    continue  # it was stopped while it waited here
                capacity.free -= 1
            else:
                taken = capacity.take(now)
                if taken is None:
                    return
                node = taken
            if (self._again or self._relapsed) and not self._still_may(node):
                capacity.give_back(node)
                if self._ended:
                    return  # what follows from its end comes first
                continue
            node.become(RUNNING)
            node.serial += 1
            running[node] = None
            out.append(Start(node))

    # Fan-out

    def _expand(self, state: TaskState, node: Node) -> None:
        """The source of some axes ended: have its list read, or note that there is none."""
        for axis_state in state.expands:
            if axis_state.piece(node.coords).known:
                continue
            if node.succeeded:
                self._out.append(Expand(node, axis_state.axis))
            else:
                piece = axis_state.piece(node.coords)
                piece.blocked = node
                self._known(axis_state, node.coords, piece)

    def _on_expanded(self, event: Expanded) -> None:
        axis_state = self._axes[event.axis]
        coords = event.node.coords
        piece = axis_state.piece(coords)
        if piece.known:
            return
        if event.error is not None:
            piece.blocked = event.node
            piece.error = event.error
        else:
            piece.ids = event.ids
            piece.indices = range(len(event.ids)) if event.only is None else event.only
        self._known(axis_state, coords, piece)

    def _known(self, axis_state: AxisState, coords: Coords, piece: Piece) -> None:
        """Make the nodes that this list was the last thing lacking for."""
        axis_state.unread -= 1
        self.open -= 1
        for state in axis_state.carriers:
            self._grow(state, axis_state, coords)
        waiters, piece.waiters = piece.waiters, []
        for node, edge, before in waiters:
            self._resume_gathering(node, edge, before)
        self._check_axis(axis_state)

    def _grow(self, state: TaskState, axis_state: AxisState, coords: Coords) -> None:
        if state.whole:
            return
        parents = positions(axis_state.axis.source.axes, state.task.axes)
        fixed = dict(zip(parents, coords, strict=False))
        found = state.nodes
        name = state.task.name
        if len(state.sources) == 1 and axis_state.piece(()).ids is not None:
            piece = axis_state.piece(())
            ids = piece.ids
            assert ids is not None
            for index in piece.indices:
                self._create(state, (index,), f"{name}[{ids[index]}]")
            return
        for at, missing in list(descend(state, fixed, (), _ignore)):
            if at in found:
                continue
            if missing is None:
                self._create(state, at, node_id(name, ids_along(state, at)))
            else:
                self._stand_for(state, at, missing)

    def _stand_for(self, state: TaskState, coords: Coords, missing: Piece) -> None:
        """Make the one node that stands for all elements of a list that is not there."""
        cause = missing.blocked
        assert cause is not None  # that is what makes it missing
        node = Node(state.task, coords, node_id(state.task.name, ids_along(state, coords)))
        state.nodes[coords] = node
        if not coords:
            state.whole = True
        self.open += 1
        for axis_state in state.expands:
            axis_state.unread += 1
            self.open += 1
        for user in state.users:
            if user.expanding:
                node.holders += 1
        if missing.error is not None and any(takes and a is missing.axis for a, _, takes in state.sources):
            node.error = missing.error
            node.become(FAILED)
            self._out.append(Announce(node))
            self._fail(node)
            return
        if missing.error is not None:
            node.roots = self._roots_above(state, coords, missing)
            self._end_unrun(node, UPSTREAM, root_reason(node) if node.roots else str(missing.error))
        elif cause.state is NOT_RUN or cause.succeeded:
            self._end_unrun(node, NOT_RUN, cause.reason or self.stopped[cause.task.flow])
        elif ending(cause) is Ending.SKIPPED:
            self._end_unrun(node, SKIPPED, _was_skipped(cause))
        else:
            causes = [a.piece(()).blocked for a, pick, _ in state.sources if not pick] if not coords else [cause]
            node.roots = tuple(dict.fromkeys(root for c in causes if c is not None for root in roots(c)))
            self._end_unrun(node, UPSTREAM, root_reason(node))

    def _roots_above(self, state: TaskState, coords: Coords, missing: Piece) -> tuple[Node, ...]:
        """Return the nodes above that failed because a value is no list."""
        ups = [(link.up, link.pick) for link in state.links]
        ups += [(self.states[a.axis.source], pick) for a, pick, takes in state.sources if takes]
        found: dict[Node, None] = {}
        for up, pick in ups:
            if any(a is missing.axis for a, _, _ in up.sources):
                picked = coords if pick is None else tuple([coords[i] for i in pick if i < len(coords)])
                node = up.nodes.get(picked)
                found.update(dict.fromkeys(roots(node) if node is not None else ()))
        return tuple(found)

    def _resume_gathering(self, node: Node, edge: Edge, before: Coords) -> None:
        """A list that a collector waited for is known: hang it on the elements, and on further lists."""
        if node.told:
            return  # it was stopped before, and has let go of what it had
        link = next(link for link in self.states[node.task].links if link.edge is edge)

        def unknown(piece: Piece, coords: Coords) -> None:
            piece.waiters.append((node, edge, coords))
            node.waiting += 1

        for coords, _ in descend(link.up, self._fixed(link, node), before, unknown):
            node.waiting += self._hang(node, link, coords)
        node.waiting -= 1
        if not node.waiting and node.state is WAITING:
            self._unlocked.append(node)

    def _check_axis(self, axis_state: AxisState) -> None:
        source = self.states[axis_state.axis.source]
        if not axis_state.complete and source.complete and not axis_state.unread:
            axis_state.complete = True
            for state in axis_state.carriers:
                if not state.complete and all(a.complete for a, _, _ in state.sources):
                    self._complete(state)

    def _complete(self, state: TaskState) -> None:
        """All nodes of the task exist."""
        state.complete = True
        if state.sources or state.expands:
            self._completing.append(state)

    def _completed(self, state: TaskState) -> None:
        for axis_state in state.expands:
            self._check_axis(axis_state)
        if not state.sources:
            return
        state.expanding = False
        ups = [link.up for link in state.links if link.holds]
        ups += [self.states[axis_state.axis.source] for axis_state, _, takes in state.sources if takes]
        for up in ups:
            for node in up.nodes.values():
                node.holders -= 1
                if not node.holders and node.settled:
                    self._release([node])
        if state.fallback is not None:
            for node in state.fallback.nodes.values():
                if len(node.coords) == len(state.fallback.sources):
                    self._not_called(node)

    # Again, and later

    def _on_put_back(self, event: NodePutBack) -> None:
        node = event.node
        self._leave(node)
        if self._held_back(node.task):
            node.become(NOT_RUN)
            node.reason = self.stopped[node.task.flow]
            self._settle(node)
            self._out.append(Announce(node))
            return
        node.become(PARKED)
        if event.not_before <= event.at:
            self._ready_again(node)
        else:
            self._count += 1
            heapq.heappush(self._parked, (event.not_before, self._count, node))

    def _ready_again(self, node: Node) -> None:
        node.become(READY)
        self.capacity.push(node)

    def _on_inputs_missing(self, event: InputsMissing) -> None:
        """Have the values computed again that a node needs; it waits for them as at first."""
        node = event.node
        self._leave(node)
        node.become(WAITING)
        if any(self._held_back(each.task) for each in (node, *event.missing)):
            self._end_unrun(node, NOT_RUN, self.stopped[node.task.flow])
            return
        node.forced = True  # it was found out already that it must be called
        for up in event.missing:
            if up.stand_in is not None:
                up = up.stand_in  # noqa: PLW2901 - the value that is missing is the fallback's
            if up.state is SUCCEEDED:
                self._compute_again(up)
            if not up.settled:
                node.waiting += 1
                _wait_for(up, node)
        if not node.waiting:
            self._unlocked.append(node)

    def _on_value_lost(self, event: ValueLost) -> None:
        """A list cannot be read: have it computed again, upon which it is asked for again."""
        node, other = event.node, event.node.stand_in
        if not node.settled or all(a.piece(node.coords).known for a in self.states[node.task].expands):
            return  # it is, or was, computed again for somebody else
        if self._held_back(node.task) or (other is not None and other.settled and not node.succeeded):
            self._block(node)
        elif other is None:
            self._compute_again(node)
        else:
            self._hold_again(node)
            self.open += 1
            self._again += 1
            node.settled = False
            _wait_for(other, node)
            if other.settled:
                self._compute_again(other)

    def _block(self, node: Node) -> None:
        """The lists of a node that succeeded will not be read any more."""
        for axis_state in self.states[node.task].expands:
            piece = axis_state.piece(node.coords)
            if not piece.known:
                piece.blocked = node
                self._known(axis_state, node.coords, piece)

    def _compute_again(self, node: Node) -> None:
        if not node.hollow:
            self._hold_again(node)
        self.open += 1
        self._again += 1
        node.settled = False
        node.hollow = False
        node.forced = True
        self._ready_again(node)

    def _hold_again(self, node: Node) -> None:
        state = self.states[node.task]
        ups = [up for link in state.links if link.holds for up in self._ups(link, node)]
        ups += [
            self.states[axis_state.axis.source].nodes[project(node.coords, pick)]
            for axis_state, pick, takes in state.sources
            if takes
        ]
        for up in ups:
            if not up.holders and up.stand_in is not None:
                up.stand_in.holders += 1
            up.holders += 1

    def _on_attempt_started(self, event: AttemptStarted) -> None:
        deadline = event.node.task.deadline
        if deadline is not None and event.node.state is RUNNING:
            self._alarm(event.at + deadline, event.node, event.node.serial)

    def _alarm(self, at: float, whom: Node | BoundFlow, serial: int) -> None:
        self._count += 1
        heapq.heappush(self._deadlines, (at, self._count, whom, serial))

    def _on_tick(self, event: Tick) -> None:
        now = event.at
        self._wake = NEVER
        self.capacity.tick(now)
        while self._parked and self._parked[0][0] <= now:
            node = heapq.heappop(self._parked)[2]
            if node.state is PARKED:
                self._ready_again(node)
        while self._deadlines and self._deadlines[0][0] <= now:
            _, _, whom, serial = heapq.heappop(self._deadlines)
            if isinstance(whom, BoundFlow):
                self._stop_flow_late(whom)
            elif whom.state is RUNNING and whom.serial == serial:
                self._out.append(Cancel(whom, timeout=True))

    def _stop_flow_late(self, flow: BoundFlow) -> None:
        reason = "the run took longer than its timeout"
        for node in self._running:
            if node.task.flow is flow:
                self._out.append(Cancel(node, timeout=True, reason=reason))
        self._stop(flow, reason, final=False)

    def _set_alarm(self) -> None:
        while self._deadlines and not self._due(self._deadlines[0]):
            heapq.heappop(self._deadlines)
        at = min(
            self._parked[0][0] if self._parked else NEVER,
            self._deadlines[0][0] if self._deadlines else NEVER,
            NEVER if (back := self.capacity.next_return) is None else back,
        )
        if at < self._wake:
            self._wake = at
            self._out.append(WakeAt(at))

    @staticmethod
    def _due(entry: tuple[float, int, Node | BoundFlow, int]) -> bool:
        whom = entry[2]
        return isinstance(whom, BoundFlow) or (whom.state is RUNNING and whom.serial == entry[3])

    # Stopping

    def _on_stop(self, event: StopRequested) -> None:
        if event.cancel:
            for node in self._running:
                if event.flow is None or node.task.flow is event.flow:
                    self._out.append(Cancel(node, timeout=False, reason=event.reason))
        self._stop(event.flow, event.reason, final=event.final)

    def _stop(self, flow: BoundFlow | None, reason: str, *, final: bool) -> None:
        """End everything that has not started, but for ``always`` tasks unless it is final."""
        self.final = self.final or final
        for each in self.graph.flows if flow is None else (flow,):
            if each in self.stopped and not final:
                continue
            self.stopped[each] = reason
        for state in self.states.values():
            if not self._held_back(state.task):
                continue
            for node in state.nodes.values():
                if node.state in (WAITING, READY, PARKED) and not node.settled:
                    self._end_unrun(node, NOT_RUN, reason)

    @property
    def running(self) -> Iterable[Node]:
        """The nodes that hold slots."""
        return self._running.keys()


def _wait_for(up: Node, node: Node) -> None:
    waiters = up.waiters
    if waiters is None:
        up.waiters = node
    elif type(waiters) is Node:
        up.waiters = [waiters, node]
    else:
        waiters.append(node)  # type: ignore[union-attr]  # the two cases above leave the list


def _definition(node: Node) -> tuple[int, Coords]:
    return (node.task.order, node.coords)


def _was_skipped(node: Node) -> str:
    return f"`{node.id}` was skipped{': ' if node.reason else ''}{node.reason}"
