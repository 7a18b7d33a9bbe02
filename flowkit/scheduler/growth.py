"""Nodes come into being: those of unmapped tasks at the start, elements when their lists are read."""

from __future__ import annotations

from flowkit.graph import Edge
from flowkit.scheduler.books import ignore, wait_for
from flowkit.scheduler.commands import (
    Announce,
    Expand,
)
from flowkit.scheduler.endings import Endings
from flowkit.scheduler.events import Expanded, Unread
from flowkit.scheduler.expansion import (
    AxisState,
    Coords,
    Link,
    Piece,
    TaskState,
    all_elements,
    descend,
    ids_along,
    positions,
    project,
)
from flowkit.scheduler.states import (
    FAILED,
    NOT_RUN,
    SKIPPED,
    SUCCEEDED,
    UPSTREAM,
    WAITING,
    Node,
)
from flowkit.scheduler.texts import ambiguous, node_id
from flowkit.scheduler.triggers import (
    Ending,
    Verdict,
    below_end,
    below_failure,
    below_roots,
    ending,
    roots,
)


class Growth(Endings):
    """Makes nodes, hangs them on what they wait for, and on lists that are not read yet."""

    def _create(self, state: TaskState, coords: Coords, name: str) -> Node | None:
        """Make a node, count what it waits for, and unlock it if that is nothing."""
        task = state.task
        if task.wants is not None and len(coords) == len(state.sources) and not task.wants(ids_along(state, coords)):
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
                    wait_for(up, node)
            elif up.state is not SUCCEEDED:
                node.trouble = True
        for axis_state, pick, takes in state.sources:
            if takes:
                self.states[axis_state.axis.source].nodes[project(coords, pick)].holders += 1
        if state.users:
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
        if state.task in self.graph.targets:
            node.called = True  # it was named, and runs like any task
        elif state.callers:
            return 1
        else:
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

        for coords, missing in descend(link.up, fixed, (), unknown):
            waiting += self._hang(node, link, coords)
            node.trouble = node.trouble or missing is not None
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
        wait_for(up, node)
        return 1

    def _expand(self, state: TaskState, node: Node) -> None:
        """The source of some axes ended: have its list read, or note that there is none."""
        for axis_state in state.expands:
            if axis_state.piece(node.coords).known:
                continue
            if node.succeeded:
                self._held += 1
                self._out.append(Expand(node, axis_state.axis))
            else:
                piece = axis_state.piece(node.coords)
                piece.blocked = node
                self._known(axis_state, node.coords, piece)

    def _on_expanded(self, event: Expanded) -> None:
        axis_state = self._axes[event.axis]
        coords = event.node.coords
        piece = axis_state.piece(coords)
        self._held -= self._held > 0
        if piece.known:
            return
        if event.error is not None:
            piece.blocked = event.node
            piece.error = event.error
        else:
            piece.ids = event.ids
            if axis_state.leads and ambiguous(event.ids):
                axis_state.ambiguous = self._ambiguous = True
            piece.indices = range(len(event.ids)) if event.only is None else event.only
        self._known(axis_state, coords, piece)

    def _on_unread(self, event: Unread) -> None:
        self._held -= self._held > 0

    def _known(self, axis_state: AxisState, coords: Coords, piece: Piece) -> None:
        """Make the nodes that this list was the last thing lacking for."""
        axis_state.unread -= 1
        self.open -= 1
        if self._ambiguous:
            self._tell_apart(axis_state, coords)
        for state in axis_state.carriers:
            self._grow(state, axis_state, coords)
        waiters, piece.waiters = piece.waiters, []
        for node, edge, before in waiters:
            self._resume_gathering(node, edge, before)
        self._check_axis(axis_state)

    def _tell_apart(self, axis_state: AxisState, coords: Coords) -> None:
        """Give the elements that a list brings texts of their own, before anybody is asked which are wanted."""
        for axes, state in {state.task.axes: state for state in axis_state.carriers}.items():
            if any(a.ambiguous for a, _, _ in state.sources[:-1]):
                fixed = dict(zip(positions(axis_state.axis.source.axes, axes), coords, strict=False))
                self._texts[axes].enter([(*ids_along(state, at),) for at in all_elements(state, fixed)])

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
        for at, missing in list(descend(state, fixed, (), ignore)):
            if at in found:
                continue
            ids = ids_along(state, at)
            if missing is not None and ids and self._ambiguous:
                self._texts[state.task.axes].enter([(*ids,)])  # it is no element, but has an id like one
            if missing is None or self._fed(state, at):
                self._create(state, at, node_id(state.task, ids))
            else:
                self._stand_for(state, at, missing, node_id(state.task, ids))
            state.whole = not at

    def _stand_for(self, state: TaskState, coords: Coords, missing: Piece, name: str) -> None:
        """Make the one node that stands for all elements of a list that is not there, and of which nothing is judged."""
        cause = missing.blocked
        assert cause is not None  # that is what makes it missing
        node = Node(state.task, coords, name)
        state.nodes[coords] = node
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
            found = self._roots_above(state, coords, missing)
            said = str(missing.error)
            self._end_judged(node, below_roots(found) if found else Verdict(UPSTREAM, said, (), said))
        elif cause.state is NOT_RUN or cause.succeeded:
            self._end_unrun(node, NOT_RUN, cause.reason or self.stopped[cause.task.flow])
        elif ending(cause) is Ending.SKIPPED:
            self._end_judged(node, below_end(cause))
        else:
            causes = [a.piece(()).blocked for a, pick, _ in state.sources if not pick] if not coords else [cause]
            found = tuple(dict.fromkeys(root for c in causes if c is not None for root in roots(c)))
            self._end_judged(node, below_roots(found) if found else below_failure(cause))

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

        for coords, missing in descend(link.up, self._fixed(link, node), before, unknown):
            node.waiting += self._hang(node, link, coords)
            node.trouble = node.trouble or missing is not None
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
                if self.has_inputs(node):
                    self._not_called(node)
