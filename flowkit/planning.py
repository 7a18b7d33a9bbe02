"""What a run would do to every node, and why. Nothing is called: only look-ups are asked.

A node is known (``c``), has to run (``>``), or may have to (``?``): what it depends on runs, and it
is kept if that gives the same as before.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from flowkit import garbage
from flowkit.durations import words
from flowkit.elements import NotAList
from flowkit.graph import Graph
from flowkit.hookspecs import Known, Later, Stale
from flowkit.inputs import Gatherer, Inputs
from flowkit.lookups import Recall, not_storable
from flowkit.plugins import Plugins
from flowkit.records import record
from flowkit.reports import RunInfo
from flowkit.scheduler import Node, Scheduler, State
from flowkit.scheduler.commands import Announce, Command, Expand, Start, Take
from flowkit.scheduler.events import (
    Event,
    Expanded,
    NodeFailed,
    NodeSkipped,
    NodeSucceeded,
    Recalled,
    RunStarted,
    Unread,
)
from flowkit.services import Before
from flowkit.values import ValueMissing

KNOWN, RUNS, MAY_RUN, SKIPPED = "c", ">", "?", "s"


@record(frozen=True)
class Decision:
    """What would happen to one node.

    Attributes:
        node: Its full id; ``f[…]`` stands for the elements of a list that is not known yet.
        mark: ``c`` known, ``>`` runs, ``?`` may run, ``s`` is skipped.
        reason: Why, in words.
        took: Seconds it took the last time, or None.
    """

    node: str
    mark: str
    reason: str
    took: float | None = None


class Planner:
    """Walks a graph as a run would, without calling anything.

    Args:
        run: What would be run.
        plugins: Whose look-up is asked.
        before: Knows how long nodes took, or None.

    Attributes:
        machine: The nodes, as far as they are known.
    """

    def __init__(self, run: RunInfo, plugins: Plugins, before: Before | None) -> None:
        self._run = run
        self.machine = Scheduler(run.graph, slots=1 << 30)
        self._gatherer = Gatherer(self.machine)
        self._lookup = plugins.caller("flowkit_node_lookup", first=True)
        self._must_run = plugins.caller("flowkit_node_must_run", first=True)
        self._recall = Recall(plugins, self.machine, self._gatherer)
        self._before = before
        self._uncertain: dict[Node, None] = {}
        self._callers: dict[Node, Node] = {}  #: fallback → who may call it
        self._hollow: set[Node] = set()
        self._decisions: dict[Node, Decision] = {}
        self._events: deque[Event] = deque()

    def decide(self) -> list[Decision]:
        """Return what would happen to each node, in definition order."""
        with garbage.no_garbage():
            self._events.append(RunStarted(0.0, held=self._recall.possible))
            self._drain()
            if self._recall.possible:
                self._events.append(Recalled(0.0, self._recall.known()))
                self._drain()
        self._needed_after_all()
        ordered = sorted(self._decisions, key=lambda n: (n.task.order, n.coords))
        found = [self._decisions[node] for node in ordered]
        found += self._unknown_elements()
        self.machine.take_apart()
        return found

    def _drain(self) -> None:
        while self._events:
            for command in self.machine.handle(self._events.popleft()):
                self._carry_out(command)

    def _carry_out(self, command: Command) -> None:
        if isinstance(command, Start):
            self._start(command.node)
        elif isinstance(command, Take):
            for node, answer in self._recall.take(command.nodes):
                self._kept(node, answer)
        elif isinstance(command, Expand):
            self._expand(command)
        elif isinstance(command, Announce):
            self._announced(command.node)

    def _start(self, node: Node) -> None:
        if node.task.given is not None:
            self._give(node)
            return
        above = self._uncertain_above(node)
        if above is not None:
            self._may_run(node, f"depends on `{above.id}`; kept if its result is unchanged")
            return
        need = self._uncertain_above(node, needs=True)
        if need is not None:
            self._may_run(node, f"depends on how `{need.id}` ends")
            return
        answer = self._lookup(node, Inputs(node, self.machine, self._gatherer)) if self._lookup else None
        if isinstance(answer, Known):
            self._known(node, answer)
        elif isinstance(answer, Later):
            self._decide(node, MAY_RUN, answer.reason)
        elif isinstance(answer, Stale):
            self._decide(node, RUNS, answer.reason)
        else:
            self._decide(node, RUNS, "")

    def _give(self, node: Node) -> None:
        """Take in the value that was given for a node; one that does not fit fails it, as it does in a run."""
        try:
            self._gatherer.give(node)
        except LookupError as error:
            node.error = error
            self._decisions[node] = self._decision(node, RUNS, f"fails: {error}")
            self._events.append(NodeFailed(0.0, node, error))
        else:
            self._events.append(NodeSucceeded(0.0, node))

    def _may_run(self, node: Node, reason: str) -> None:
        """Note what happens to a node below one that runs: it may run, unless it does whatever comes of that."""
        must: str | None = self._must_run(node) if self._must_run is not None else None
        if must is None and self._lookup is None:
            must = ""  # nobody would keep it
        self._decide(node, MAY_RUN if must is None else RUNS, reason if must is None else must)

    def _decide(self, node: Node, mark: str, reason: str) -> None:
        """Note what happens to a node that is taken to succeed, and may have another value afterwards."""
        self._unsure(node, mark, reason)
        self._events.append(NodeSucceeded(0.0, node))

    def _unsure(self, node: Node, mark: str, reason: str) -> None:
        """Note what happens to a node of which it is not known how it ends; if it fails, it calls its fallback."""
        self._decisions[node] = self._decision(node, mark, reason)
        self._uncertain[node] = None
        fallback = self.machine.fallback(node)
        if fallback is not None:
            self._callers.setdefault(fallback, node)

    def _decision(self, node: Node, mark: str, reason: str, took: float | None = None) -> Decision:
        if not took and self._before is not None:
            took = self._before.took(node.full_id)
        return Decision(self._run.mask(node.full_id), mark, self._run.mask(reason), took)

    def _known(self, node: Node, answer: Known) -> None:
        if answer.skipped is not None:
            self._decisions[node] = self._decision(node, SKIPPED, answer.skipped)
            self._events.append(NodeSkipped(0.0, node, answer.skipped))
            return
        if answer.value is not None:
            self._gatherer.values[node] = answer.value
        self._kept(node, answer)
        self._events.append(NodeSucceeded(0.0, node))

    def _kept(self, node: Node, answer: Known) -> None:
        reason = f"cached {answer.reason}".rstrip()
        self._decisions[node] = self._decision(node, KNOWN, reason, answer.saved)  # what it saves is what it took
        if answer.value is None:
            self._hollow.add(node)

    def _uncertain_above(self, node: Node, *, needs: bool = False) -> Node | None:
        """Return an upstream that runs or may run: for an argument, or an entry of ``needs``."""
        if not self._uncertain:
            return None
        inputs = Inputs(node, self.machine, self._gatherer)
        for edge, nodes in inputs.edges:
            if (edge.argument is None) is not needs:
                continue
            for up in nodes:
                if up in self._uncertain:
                    return up
        if needs:
            return None
        return next((source for _, source, _ in inputs.elements if source in self._uncertain), None)

    def _expand(self, command: Expand) -> None:
        node = command.node
        if node in self._uncertain:
            self._events.append(Unread(0.0, node))  # its elements are known after it ran
            return
        try:
            ids = self._gatherer.expand(node, command.axis)
        except (ValueMissing, NotAList) as error:
            if isinstance(error, ValueMissing):
                self._decisions[node] = self._decision(node, RUNS, error.reason)
                self._hollow.discard(node)
            self._uncertain[node] = None
            self._events.append(Unread(0.0, node))
            return
        self._events.append(Expanded(0.0, node, command.axis, ids))

    def _announced(self, node: Node) -> None:
        """A node would not run if all above it succeeded; whether they do is not known."""
        if node.task.given is not None:
            return
        if node.task.is_fallback and not node.called:
            caller = self._callers.get(node)
            if caller is not None:
                self._unsure(node, MAY_RUN, f"runs if `{caller.id}` fails")
            else:
                self._decisions[node] = self._decision(node, SKIPPED, node.reason)
            return
        if self.machine.has_inputs(node):
            above = self._uncertain_above(node) or self._uncertain_above(node, needs=True)
        else:  # it stands for the elements that a skipped list might have had
            above = next((source for source in self.machine.missing_lists(node) if source in self._uncertain), None)
        if above is not None:
            self._unsure(node, MAY_RUN, f"depends on how `{above.id}` ends")
        else:
            self._decisions[node] = self._decision(node, SKIPPED, node.reason)

    def _needed_after_all(self) -> None:
        """A value that is good but was not stored is computed again where somebody needs it."""
        for user in [node for node in self._uncertain if len(node.coords) == len(node.task.axes)]:
            stack = [user]
            while stack:
                for _, ups in self.machine.upstreams(stack.pop()):
                    for up in ups:
                        if up in self._hollow:
                            self._hollow.discard(up)
                            self._decisions[up] = self._decision(up, RUNS, not_storable(user))
                            stack.append(up)

    def _unknown_elements(self) -> Iterator[Decision]:
        """Yield a line for the tasks whose elements, or upstreams' elements, are not known yet."""
        for task in sorted(self._run.graph.tasks, key=lambda t: t.order):
            if task.given is not None:
                continue
            state = self.machine.states[task]
            if not state.complete:
                sources = [a.axis.source.name for a, _, _ in state.sources if not a.complete]
                count = self._before.count(task.key) if self._before is not None else 0
                last = f"; {count} the last time" if count else ""
                reason = f"known after `{sources[0] if sources else '?'}`{last}"
                yield Decision(f"{task.key}[…]", MAY_RUN, reason)
                continue
            for node in state.nodes.values():
                if node.state is State.WAITING and node not in self._decisions:
                    waits = next((e.source.name for e in task.edges), "?")
                    reason = f"runs if `{state.callers[0].task.name}` fails" if state.callers else f"depends on `{waits}`"
                    yield self._decision(node, MAY_RUN, reason)


def timeout_of(graph: Graph, node: str) -> str:
    """Return how long an attempt of a node (full id) may take, and how it is then stopped; "" if it has no timeout."""
    task = graph.by_key.get(node.partition("[")[0])
    if task is None or task.deadline is None:
        return ""
    if task.hard:
        return f"  [timeout {words(task.deadline)}, hard: killed]"
    how = "cancelled" if task.declaration is not None and task.declaration.is_async else "interrupted"
    return f"  [timeout {words(task.deadline)}, soft: {how}]"
