"""What a node is called with: values of its upstreams, elements of lists, outcomes, collections."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from flowkit.annotations import Accepts
from flowkit.elements import elements_of, unpacked
from flowkit.graph import Axis, BoundTask, Edge, Element
from flowkit.outcomes import Failure, Skipped, Success
from flowkit.records import record
from flowkit.scheduler import Node, Scheduler
from flowkit.scheduler.expansion import project
from flowkit.scheduler.states import FAILED
from flowkit.values import Collected, Handle, ValueMissing

_NONE = object()


@record()
class Inputs:
    """What a node will be called with, as facts: no value is loaded to look at this.

    Attributes:
        node: The node.
    """

    node: Node
    _machine: Scheduler
    _gatherer: Gatherer

    def __init__(self, node: Node, machine: Scheduler, gatherer: Gatherer) -> None:
        self.node = node
        self._machine = machine
        self._gatherer = gatherer

    @property
    def edges(self) -> list[tuple[Edge, Sequence[Node]]]:
        """For each edge the nodes behind it: one, or all gathered elements in source order."""
        return self._machine.upstreams(self.node)

    @property
    def elements(self) -> list[tuple[Element, Node, int]]:
        """For each argument that takes an element: the node whose list it is in, and its position."""
        task = self.node.task
        sources = self._machine.element_sources(self.node)
        place = {axis: i for i, axis in enumerate(task.axes)}
        return [(e, *sources[place[e.axis]]) for e in task.elements if place[e.axis] < len(sources)]

    def gathered(self, edge: Edge, nodes: Sequence[Node]) -> list[tuple[str, Node]]:
        """Return (id, node) of what a ``Collected`` will hold, in order."""
        return chosen(self._machine, self.node, edge, nodes)

    def value(self, node: Node) -> object:
        """Return the value of an upstream node, fetching it if need be."""
        found = self._gatherer.value(node)
        return found.get() if type(found) is Handle else found

    def element(self, axis: Axis, source: Node, index: int) -> object:
        """Return one element of a list, fetching the list if need be."""
        return self._gatherer.element(axis, source, index)

    def arguments(self) -> dict[str, object] | None:
        """Return what the node will be called with, fetched; None if something is not at hand."""
        found, missing = self._gatherer.arguments(self.node)
        if missing:
            return None
        return {name: v.get() if type(v) is Handle else v for name, v in found.items()}


class Gatherer:
    """The values of a run while they are needed, and how arguments are made of them.

    Attributes:
        values: Node → its value, or the handle that fetches it. A node that is not in here has
            no value at hand.
        handles: Node → the handle of its stored value; it stays when the value is let go.
    """

    def __init__(self, machine: Scheduler) -> None:
        self._machine = machine
        self.values: dict[Node, object] = {}
        self.handles: dict[Node, Handle] = {}
        self._lists: dict[tuple[Node, str | None], Sequence[object]] = {}
        self._losses: Counter[Node] = Counter()
        self._begun: dict[Node, int] = {}

    def arguments(self, node: Node) -> tuple[dict[str, object], list[Node]]:
        """Return what to call a node with, and the nodes whose values are not at hand."""
        task = node.task
        arguments = dict(task.constants)
        missing: list[Node] = []
        state = self._machine.states[task]
        if state.plain:
            values, coords = self.values, node.coords
            for link in state.links:
                name = link.edge.argument
                if name is None:
                    continue
                pick = link.pick
                up = link.up.nodes[coords if pick is None else project(coords, pick)]
                value = values.get(up, _NONE)
                if value is _NONE:
                    value = self.value(up)
                    if value is _NONE:
                        missing.append(up)
                arguments[name] = value
            if task.elements:
                self._take_elements(node, arguments, missing)
            return arguments, missing
        for edge, nodes in self._machine.upstreams(node):
            if edge.argument is None:
                continue
            if edge.collected:
                arguments[edge.argument] = self._collected(node, edge, nodes, missing)
            else:
                arguments[edge.argument] = self._single(edge, nodes[0], missing)
        if task.elements:
            self._take_elements(node, arguments, missing)
        return arguments, missing

    def value(self, node: Node) -> object:
        """Return a node's value, or its handle; a private mark if neither is at hand."""
        found = self.values.get(node, _NONE)
        if found is _NONE and node.stand_in is not None:
            found = self.values.get(node.stand_in, self.handles.get(node.stand_in, _NONE))
        if found is _NONE:
            found = self.handles.get(node, _NONE)
        return found

    def at_hand(self, node: Node) -> bool:
        """Whether a node's value can be had without calling it."""
        return self.value(node) is not _NONE

    def _single(self, edge: Edge, up: Node, missing: list[Node]) -> object:
        if not up.succeeded:
            return outcome_of(up)
        value = self.value(up)
        if value is _NONE:
            missing.append(up)
            return None
        if edge.part is not None:
            try:
                value = part_of(value, edge.part, up.task)
            except TypeError as error:
                return Handle(_raiser(error))
        return self._received(edge.accepts, up, value)

    def _received(self, accepts: Accepts, up: Node, value: object) -> object:
        """Return a success as the argument receives it: the value, or the Success."""
        if accepts.value:
            return value
        attempts, duration, cached = facts_of(up)
        if type(value) is Handle:
            handle = value
            return Handle(lambda: Success(handle.get(), attempts, duration, cached))
        return Success(value, attempts, duration, cached)

    def _collected(self, node: Node, edge: Edge, nodes: Sequence[Node], missing: list[Node]) -> Collected[object]:
        items: list[object] = []
        kept: list[str] = []
        for name, up in chosen(self._machine, node, edge, nodes):
            items.append(self._single(edge, up, missing))
            kept.append(name)
        return Collected(items, kept)

    # Elements

    def expand(self, node: Node, axis: Axis) -> Sequence[str]:
        """Return the ids of the elements of the list that a node gives for an axis.

        Raises:
            NotAList, ValueMissing: It is no list; it cannot be fetched.
        """
        value = self.value(node)
        if value is _NONE:
            raise ValueMissing("its result was not storable, and its elements are needed")
        if type(value) is Handle and value.elements is not None and axis.part in value.elements:
            return value.elements[axis.part]
        if type(value) is Handle:
            value = value.get()
        if axis.part is not None:
            value = part_of(value, axis.part, node.task)
        items, ids = elements_of(value, repr(axis.name))
        self._lists[node, axis.part] = items
        return ids

    def _take_elements(self, node: Node, arguments: dict[str, object], missing: list[Node]) -> None:
        task, coords = node.task, node.coords
        states = self._machine.states
        sources = states[task].sources
        for element in task.elements:
            position = task.axes.index(element.axis)
            source = states[element.axis.source].nodes[project(coords, sources[position][1])]
            index = coords[position]
            items = self._lists.get((source, element.axis.part))
            if items is None:
                if not self.at_hand(source):
                    missing.append(source)
                    continue
                item: object = Handle(self._fetch_element(source, element.axis, index))
            else:
                item = items[index]
            if not element.unpack:
                arguments[element.arguments[0]] = item
            else:
                arguments.update(zip(element.arguments, _unpacked(item, element, task), strict=True))

    def _fetch_element(self, source: Node, axis: Axis, index: int) -> Callable[[], object]:
        return lambda: self.element(axis, source, index)

    def element(self, axis: Axis, source: Node, index: int) -> object:
        """Return one element of the list that a node gives for an axis, fetching it if need be."""
        items = self._lists.get((source, axis.part))
        if items is None:
            value: Any = self.value(source)
            if value is _NONE:  # it was at hand when the node started, and another found it damaged since
                raise ValueMissing("it is being computed again")
            value = value.get() if type(value) is Handle else value
            if axis.part is not None:
                value = part_of(value, axis.part, source.task)
            items, _ = elements_of(value, repr(axis.name))
            self._lists[source, axis.part] = items
        item = items[index]
        return item.get() if type(item) is Handle else item

    def give(self, node: Node) -> None:
        """Take in the value that was given for a node: its element, where a list or dict stands in for a mapped task.

        Raises:
            LookupError: There is none for it, or more than the task has.
        """
        assert node.task.given is not None  # the caller looked
        value = node.task.given(())
        self.values[node] = self._stand_in(node, value) if node.task.constants.get("__mapped__") else value

    def _stand_in(self, node: Node, values: object) -> object:
        assert isinstance(values, (Mapping, list, tuple, Collected)), "binding refuses anything else"
        name = node.task.name
        lengths = [len(axis.pieces[()].ids or ()) for axis, _, _ in self._machine.states[node.task].sources if not axis.axis.parents]
        flat, position = len(lengths) == len(node.coords), 0  # a list is given for flat ones only, says binding
        for index, length in zip(node.coords, lengths, strict=False):
            position = position * length + index
        wanted, found = math.prod(lengths), len(values)
        if flat and (found > wanted or (position >= found and not isinstance(values, Mapping))):
            raise LookupError(f"the override of {name!r} has {found:,} element{'' if found == 1 else 's'}, and the task has {wanted:,}")
        if not isinstance(values, Mapping):
            return values[position]
        key = node.id[len(name) + 1 : -1]
        if key in values:
            return values[key]
        for other in values:
            if str(other) == key:
                return values[other]
        raise LookupError(f"the override of {name!r} has no element {key!r}")

    # Letting go

    def release(self, node: Node) -> None:
        """Let go of a value; a stored one can still be fetched."""
        self.values.pop(node, None)
        if self._lists:
            self._drop_lists(node)

    def lighten(self, node: Node) -> None:
        """Keep a value that may be asked for after the run: by its handle, if it is stored."""
        handle = self.handles.get(node)
        if handle is not None:
            self.values.pop(node, None)
        if self._lists:
            self._drop_lists(node)

    def _drop_lists(self, node: Node) -> None:
        for part in (None, *node.task.provides):
            self._lists.pop((node, part), None)

    def lost(self, node: Node) -> dict[Node, str]:
        """Return the upstreams of a node whose stored values cannot be fetched, with why; forget those."""
        lost: dict[Node, str] = {}
        for up in self._ups(node):
            handle = self.value(up)
            if type(handle) is Handle:
                try:
                    handle.get()
                except ValueMissing as error:
                    lost[up] = error.reason
                    self.values.pop(up, None)
                    self.handles.pop(up, None)
        self._losses.update(lost.keys())
        return lost

    def mended(self, node: Node) -> bool:
        """Whether another node found first that a value is lost which this one was to be called with.

        Then it is there again, or will be. True once for each loss: what fails again is something else.
        """
        losses = sum(self._losses[up] for up in self._ups(node))
        if losses == self._begun.get(node, 0):
            return False
        self._begun[node] = losses
        return True

    def _ups(self, node: Node) -> list[Node]:
        """Return the nodes whose values a node is called with, the lists of its elements included."""
        ups = [n for _, nodes in self._machine.upstreams(node) for n in nodes]
        ups += [source for source, _ in self._machine.element_sources(node)]
        return list(dict.fromkeys(ups))


def chosen(machine: Scheduler, node: Node, edge: Edge, nodes: Sequence[Node]) -> list[tuple[str, Node]]:
    """Return (id, node) of the elements that a ``Collected`` holds, in order.

    With a written trigger everything that ended is there, as its outcome if it does not fit.
    """
    accepts = edge.accepts
    ids = machine.gathered_ids(node, edge, nodes)
    if node.task.trigger is not None:
        return list(zip(ids, nodes, strict=True))
    succeeded = accepts.value or accepts.success
    return [
        (name, up)
        for name, up in zip(ids, nodes, strict=True)
        if (succeeded if up.succeeded else _wanted(accepts, up))
    ]


def _wanted(accepts: Accepts, node: Node) -> bool:
    """Whether a collection holds an element that did not succeed."""
    if node.state is FAILED:
        return accepts.failure is not None and (not accepts.failure or isinstance(node.error, accepts.failure))
    return accepts.skipped


def _unpacked(item: object, element: Element, task: BoundTask) -> Sequence[object]:
    """Return the parts of an element for several arguments; whoever makes the call fetches what has to be."""

    def part(place: int) -> object:
        value = item.get() if type(item) is Handle else item
        return unpacked(value, element.arguments, task.name)[place]

    if type(item) is Handle:
        return [Handle(partial(part, place)) for place in range(len(element.arguments))]
    try:
        return unpacked(item, element.arguments, task.name)
    except ValueError as error:
        return [Handle(_raiser(error)) for _ in element.arguments]


def _raiser(error: Exception) -> Callable[[], object]:
    def fail() -> object:
        raise error

    return fail


def part_of(value: Any, name: str, task: BoundTask) -> object:
    """Return the value that a task provides under a name, lazily where the whole is not at hand.

    Raises:
        TypeError: It holds none. What a task gives was checked by the worker, or by binding; but a fallback's value may
            have been stored before it stood in for a task that provides something.
    """
    if type(value) is Handle:
        handle = value
        return Handle(lambda: part_of(handle.get(), name, task))
    try:
        if isinstance(value, (tuple, list)):  # a list stands in for a tuple: it was written as JSON
            return value[task.provides.index(name)]
        return value[name]
    except (LookupError, TypeError) as error:
        raise TypeError(f"what stands in for `{task.name}` holds no {name!r}") from error


def facts_of(node: Node) -> tuple[int, float, bool]:
    """Return attempts, duration and whether it was reused, of a node that succeeded."""
    report = node.report
    if report is None:  # a given value
        return 0, 0.0, False
    return len(report.attempts), report.duration, report.word == "cached"


def outcome_of(node: Node) -> Failure[object] | Skipped[object]:
    """Return the outcome of a node that ended without a value, as others see it."""
    if node.state is FAILED:
        return failure_of(node)
    return Skipped(node.reason, tuple(failure_of(root) for root in node.roots))


def failure_of(node: Node) -> Failure[object]:
    """Return the Failure of a failed node."""
    error = node.error
    assert error is not None  # that is what FAILED means
    last = node.report.last if node.report is not None else None
    if last is None:
        return Failure(error, "", 0)
    return Failure(error, last.traceback, len(node.report.attempts), last.kind)
