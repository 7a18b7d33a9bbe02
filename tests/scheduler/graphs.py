"""Graphs written in a line, and the scheduler as somebody to talk to.

``graph(a=takes(), b=takes("a"))`` is two tasks, the second asking for the first. A
:class:`Conversation` says what happened and hears, as short texts, what the scheduler wants; it
checks that the books balance after every word.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from flowkit.annotations import read
from flowkit.axes import assign_axes
from flowkit.errors import UsageError
from flowkit.graph import Axis, BoundFlow, BoundTask, Edge, Element, Graph
from flowkit.scheduler import Node, Scheduler, State
from flowkit.scheduler.commands import Announce, Cancel, Expand, Finish, Release, Start, Take, WakeAt
from flowkit.scheduler.events import (
    AttemptStarted,
    Expanded,
    InputsMissing,
    NodeCancelled,
    NodeFailed,
    NodePutBack,
    NodeSkipped,
    NodeSucceeded,
    Recalled,
    RunStarted,
    StopRequested,
    Tick,
    ValueLost,
)
from flowkit.scheduler.states import ENDED

@dataclass
class Sketch:
    """A task as a test writes it; see :func:`takes`."""

    arguments: dict[str, object]
    needs: Sequence[str] = ()
    each: Sequence[str] = ()
    options: dict[str, object] = field(default_factory=dict)
    flow: str = "flow"


def takes(
    *plain: str,
    needs: Sequence[str] = (),
    each: Sequence[str] = (),
    flow: str = "flow",
    options: Mapping[str, object] | None = None,
    **annotated: object,
) -> Sketch:
    """Return a task that asks for ``plain`` upstreams, and for others by annotation.

    Args:
        plain: Upstreams whose value it takes. ``pair.left`` is a provided part.
        needs: Upstreams it only comes after.
        each: Sources of axes it is mapped over.
        flow: The flow it belongs to.
        options: Fields of ``BoundTask``: trigger, fallback (by name), demands, deadline …
        annotated: Upstream → annotation: ``load=Failure[ValueError]``, ``mean=Collected[int]``.
    """
    arguments: dict[str, object] = dict.fromkeys(plain, object)
    arguments.update(annotated)
    return Sketch(arguments, needs, each, dict(options or {}), flow)


def graph(deadlines: Mapping[str, float] | None = None, **sketches: Sketch) -> Graph:
    """Return the graph of some tasks, in definition order; fails if something is wrong with them."""
    found, errors = tried(deadlines, **sketches)
    assert not errors, [str(e) for e in errors]
    return found


def tried(deadlines: Mapping[str, float] | None = None, **sketches: Sketch) -> tuple[Graph, list[UsageError]]:
    """Return the graph of some tasks, and what is wrong with their axes and fallbacks."""
    flows: dict[str, BoundFlow] = {}
    tasks: dict[str, BoundTask] = {}
    for order, (name, sketch) in enumerate(sketches.items()):
        flow = flows.setdefault(sketch.flow, BoundFlow(sketch.flow, f"{sketch.flow}.py"))
        tasks[name] = BoundTask(f"{flow.path}::{name}", name, flow, None, order=order)
    for name, deadline in (deadlines or {}).items():
        flows[name].deadline = deadline
    for name, sketch in sketches.items():
        _bind(tasks[name], sketch, tasks)
    found = Graph(list(tasks.values()), list(flows.values()))
    return found, assign_axes(found.tasks)


def _bind(task: BoundTask, sketch: Sketch, tasks: Mapping[str, BoundTask]) -> None:
    edges: list[Edge] = []
    elements: list[Element] = []
    for asked, annotation in sketch.arguments.items():
        name, _, part = asked.partition(".")
        wants = read(annotation, {})
        edges.append(Edge(tasks[name], asked, wants.accepts, wants.collected, part or None))
    for name in sketch.needs:
        edges.append(Edge(tasks[name]))
    for number, asked in enumerate(sketch.each):
        name, _, part = asked.partition(".")
        elements.append(Element((f"x{number}",), Axis(tasks[name], part or None, ())))
    task.edges, task.elements = edges, elements
    for option, value in sketch.options.items():
        setattr(task, option, value)
    if task.given is not None:
        task.order = -1
    if isinstance(task.fallback, str):
        task.fallback = tasks[task.fallback]
        task.fallback.is_fallback = True


def shown(command: object) -> str:
    """Return a command as a short text."""
    if isinstance(command, Start):
        return f"start {command.node.id}"
    if isinstance(command, Take):
        return f"take {' '.join(node.id for node in command.nodes)}"
    if isinstance(command, Expand):
        part = f".{command.axis.part}" if command.axis.part else ""
        return f"expand {command.node.id}{part}"
    if isinstance(command, Cancel):
        return f"{'time out' if command.timeout else 'cancel'} {command.node.id}"
    if isinstance(command, Release):
        return f"release {command.node.id}"
    if isinstance(command, Announce):
        return f"{command.node.state.value} {command.node.id}"
    if isinstance(command, WakeAt):
        return f"wake at {command.at:g}"
    assert isinstance(command, Finish)
    return "finish"


class Conversation:
    """Says what happened, hears what is wanted.

    Nodes are named by their ids. Time goes on only by :meth:`at`.
    """

    def __init__(self, graph: Graph, *, slots: int = 1, **options: object) -> None:
        self.machine = Scheduler(graph, slots=slots, **options)
        self.now = 0.0
        self.heard: list[str] = []
        self.released: list[str] = []
        self._known: dict[str, Node] = {}

    # Saying

    def say(self, event: object) -> list[str]:
        """Hand over an event; return the commands, as texts."""
        commands = self.machine.handle(event)
        check_books(self.machine)
        for command in commands:
            if not isinstance(command, (Take, WakeAt, Finish)):
                self._known[command.node.id] = command.node
        texts = [shown(command) for command in commands]
        self.heard += texts
        return texts

    def at(self, now: float) -> Conversation:
        """Let time pass without telling (the next event carries it)."""
        self.now = now
        return self

    def begins(self, *, held: bool = False) -> list[str]:
        return self.say(RunStarted(self.now, held))

    def recalls(self, *names: str) -> list[str]:
        """These are known, as was found before anything started."""
        return self.say(Recalled(self.now, [self[name] for name in names]))

    def ticks(self, now: float) -> list[str]:
        self.now = now
        return self.say(Tick(now))

    def called(self, name: str) -> list[str]:
        return self.say(AttemptStarted(self.now, self[name]))

    def succeeds(self, name: str, *, hollow: bool = False) -> list[str]:
        return self.say(NodeSucceeded(self.now, self[name], hollow))

    def fails(self, name: str, error: BaseException | None = None) -> list[str]:
        return self.say(NodeFailed(self.now, self[name], error or ValueError(name)))

    def skips(self, name: str, reason: str = "") -> list[str]:
        return self.say(NodeSkipped(self.now, self[name], reason))

    def puts_back(self, name: str, until: float) -> list[str]:
        return self.say(NodePutBack(self.now, self[name], until))

    def cancelled(self, name: str) -> list[str]:
        return self.say(NodeCancelled(self.now, self[name]))

    def misses(self, name: str, *missing: str) -> list[str]:
        return self.say(InputsMissing(self.now, self[name], [self[m] for m in missing]))

    def loses(self, name: str) -> list[str]:
        return self.say(ValueLost(self.now, self[name]))

    def lists(self, name: str, *ids: str, only: Sequence[int] | None = None, part: str | None = None) -> list[str]:
        """The list in the node's value was read: these are its elements' ids."""
        return self.say(Expanded(self.now, self[name], self._axis(name, part), ids, only))

    def lists_nothing(self, name: str, error: BaseException, part: str | None = None) -> list[str]:
        """The node's value was no list."""
        return self.say(Expanded(self.now, self[name], self._axis(name, part), error=error))

    def stops(self, reason: str = "stop", **how: object) -> list[str]:
        return self.say(StopRequested(self.now, reason, **how))

    # Looking

    def _axis(self, name: str, part: str | None) -> Axis:
        for axis_state in self.machine.states[self[name].task].expands:
            if axis_state.axis.part == part:
                return axis_state.axis
        raise AssertionError(f"nothing is mapped over {name}")

    def __getitem__(self, name: str) -> Node:
        if name not in self._known:
            for node in all_nodes(self.machine):
                self._known[node.id] = node
        return self._known[name]

    def states(self) -> dict[str, str]:
        """Return node id → state, in words."""
        return {node.id: node.state.value for node in all_nodes(self.machine)}

    def reason(self, name: str) -> str:
        return self[name].reason

    def roots(self, name: str) -> list[str]:
        return [root.id for root in self[name].roots]

    def arguments(self, name: str) -> list[list[str]]:
        """Return, for each edge of a node, the ids of the nodes behind it."""
        return [[up.id for up in ups] for _, ups in self.machine.upstreams(self[name])]


def all_nodes(machine: Scheduler) -> Iterable[Node]:
    """Return every node there is, in definition order of tasks and source order of elements."""
    for task in sorted(machine.states, key=lambda t: t.order):
        yield from machine.nodes(task)


def check_books(machine: Scheduler) -> None:
    """Fail if what the scheduler counts is not what there is. Looks at everything: for tests only."""
    nodes = [node for state in machine.states.values() for node in state.nodes.values()]
    unsettled = sum(not node.settled for node in nodes)
    unread = sum(axis.unread for axis in machine._axes.values())
    assert machine.open == unsettled + unread, (machine.open, unsettled, unread)
    assert machine.finished == (machine.open == 0 and not machine._held)
    running = set(machine.running)
    called = {node for node in nodes if node.state is State.RUNNING}
    assert running <= called
    assert all(node.task.given is not None for node in called - running)
    assert machine.capacity.free >= 0
    for node in nodes:
        assert node.holders >= 0, node
        assert node.waiting >= 0, node
        if node.settled:
            assert node.state in ENDED, node
        if node.state is State.READY:
            assert node.waiting == 0, node
    for name, limit in machine.capacity.limits.items():
        assert limit.free >= 0, name
        if limit.period is None:
            taken = sum(node.task.demands.get(name, 0) for node in running)
            whole = machine.__dict__.setdefault("whole", {}).setdefault(name, limit.free + taken)
            assert limit.free + taken == whole, name


def words(text: str) -> list[str]:
    """Return the names between backquotes in a reason."""
    return re.findall(r"`([^`]*)`", text)


class Skip(str):
    """An ending: the node skips itself, for this reason."""

    __slots__ = ()


def play(
    machine: Scheduler,
    endings: Mapping[str, object],
    lists: Mapping[str, object],
    choose: Callable[[int], int] = lambda n: 0,
    check: Callable[[Scheduler], None] = lambda machine: None,
) -> list[object]:
    """Run a graph to its end without time; return all commands.

    Args:
        endings: Node id → exception or :class:`Skip`; all others succeed.
        lists: Node id → the ids of the list in its value (an exception: it is none).
        choose: Which of n things that may happen happens next.
        check: Called after every event.
    """
    said: list[object] = []
    pending: list[object] = [RunStarted(0.0)]
    while pending:
        commands = machine.handle(pending.pop(choose(len(pending))))
        check(machine)
        said += commands
        for command in commands:
            if isinstance(command, Start):
                pending.append(_end(command.node, endings.get(command.node.id)))
            elif isinstance(command, Expand):
                found = lists[command.node.id]
                error = found if isinstance(found, Exception) else None
                pending.append(Expanded(0.0, command.node, command.axis, () if error else found, error=error))
    return said


def _end(node: Node, how: object) -> object:
    if isinstance(how, Skip):
        return NodeSkipped(0.0, node, str(how))
    return NodeSucceeded(0.0, node) if how is None else NodeFailed(0.0, node, how)
