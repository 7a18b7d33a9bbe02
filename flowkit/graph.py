"""Tasks with their arguments resolved, the edges between them, and their order.

The resolver builds these, plugins may set ``demands`` and ``deadline`` when a task is collected,
and after that nobody changes them. Elements of mapped tasks are not here: they exist only once
their source has run, and belong to the scheduler.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from flowkit.annotations import PLAIN, Accepts
from flowkit.declarations import NOTHING, Argument, Declaration
from flowkit.errors import CycleError
from flowkit.records import field, record


@record(eq=False)
class Axis:
    """One dimension over which tasks are mapped, named by its source.

    Attributes:
        source: The task whose result is the list.
        part: The provided name within its result, or None for the whole.
        parents: The axes of the source, if it is mapped itself: this axis has one list for each
            of their coordinates.
    """

    source: BoundTask
    part: str | None
    parents: tuple[Axis, ...]

    @property
    def name(self) -> str:
        """The source's name as the user wrote it."""
        return self.part or self.source.name


class Edge:
    """One thing a task waits for.

    Attributes:
        source: The upstream task.
        argument: The argument it is for; None for an entry of ``needs``.
        accepts: What the argument takes of how the upstream ended (of each element, if ``collected``).
        collected: Whether all elements over ``gathered`` arrive together.
        part: The provided name within the upstream's result, or None for the whole.
        gathered: The axes that are gathered; also those of a ``need`` that the task does not carry.
    """

    __slots__ = ("accepts", "argument", "collected", "gathered", "part", "source")

    def __init__(
        self,
        source: BoundTask,
        argument: str | None = None,
        accepts: Accepts = PLAIN,
        collected: bool = False,
        part: str | None = None,
    ) -> None:
        self.source = source
        self.argument = argument
        self.accepts = accepts
        self.collected = collected
        self.part = part
        self.gathered: tuple[Axis, ...] = ()


@record(eq=False)
class Element:
    """An argument (or several, unpacked) that takes one element of an axis."""

    arguments: tuple[str, ...]
    axis: Axis
    unpack: bool = False


@record(eq=False)
class BoundResource:
    """A resource with its arguments resolved.

    Attributes:
        name: The name it was asked for by.
        declaration: What the user or plugin wrote.
        constants: Values of its parameters.
        resources: The resources it asks for, by argument.
        upstream: The same, in an order in which they can be set up.
        plugin: The plugin that brings it, or None if a user's module does.
    """

    name: str
    declaration: Declaration
    scope: str = "run"
    constants: dict[str, object] = field(factory=dict)
    parameters: dict[str, str] = field(factory=dict)
    resources: dict[str, BoundResource] = field(factory=dict)
    plugin: str | None = None

    @property
    def where(self) -> str:
        """``file:line`` of its definition."""
        return self.declaration.where


@record(eq=False)
class BoundFlow:
    """A module of tasks as it is run.

    Attributes:
        name: ``Flow(name=…)``, else the module's name.
        path: What stands before ``::`` in its nodes' ids.
        file: The module's file, or None for a module that has none.
        options: The flow options of plugins, normalised.
        module: The module's name, under which its code is imported.
        deadline: Seconds after which the run of this flow is stopped; set by a plugin.
        where: ``file:line`` of its ``Flow``, or its path if it has none.
    """

    name: str
    path: str
    file: str | None = None
    module: str = ""
    options: dict[str, object] = field(factory=dict)
    deadline: float | None = None
    where: str = ""


class BoundTask:
    """A task with its arguments resolved: what the scheduler and the runner know of it.

    Most tasks have little of what one may have. So all share what is empty; the resolver assigns
    what there is. ``demands`` can be written into while plugins are told of the task.

    Attributes:
        key: Unique in the graph.
        name: As the user wrote it; node ids start with it.
        flow: The flow it runs in.
        declaration: What the user wrote; None for a given value.
        order: Position in definition order; -1 for a given value.
        edges: What it waits for, arguments first, then ``needs``.
        elements: Arguments that take elements of an axis.
        axes: The axes it is mapped over, outermost first; () if it is not mapped.
        constants: Values of its parameters, by argument.
        parameters: Argument → name of the parameter it takes.
        resources: Argument → resource.
        options: Task options, core's and plugins', normalised, defaults applied.
        demands: Named capacities it takes while it runs, by amount; set by plugins.
        deadline: Seconds an attempt may take; set by a plugin.
        hard: Whether the deadline demands a kill.
        owes: Task → the names it provides, for those that this one stands in for as a fallback.
        texts: Ids of its elements, one for each axis → what stands in the brackets, where joined they may be another's.
        wants: Says which of its elements are wanted, asked with their ids, one for each axis (None: any); None if all.
        given: For a value that stands in for a task (override, literal list, parameter as a
            source): called with the element's index path, returns the value.
    """

    __slots__ = (
        "allow_failure", "axes", "constants", "deadline", "declaration", "demands", "edges", "elements", "fallback",
        "flow", "given", "hard", "is_fallback", "key", "name", "options", "order", "owes", "parameters",
        "provides", "resources", "tags", "texts", "trigger", "wants",
    )  # fmt: skip

    def __init__(
        self,
        key: str,
        name: str,
        flow: BoundFlow,
        declaration: Declaration | None,
        order: int = 0,
        **facts: Any,
    ) -> None:
        self.key = key
        self.name = name
        self.flow = flow
        self.declaration = declaration
        self.order = order
        self.given: Callable[[object], object] | None = None
        self.edges: Sequence[Edge] = ()
        self.elements: Sequence[Element] = ()
        self.axes: tuple[Axis, ...] = ()
        self.constants: Mapping[str, object] = NOTHING
        self.parameters: Mapping[str, str] = NOTHING
        self.resources: Mapping[str, BoundResource] = NOTHING
        self.options: dict[str, object] = NOTHING
        self.demands: dict[str, int] = NOTHING
        self.owes: Mapping[str, tuple[str, ...]] = NOTHING
        self.texts: Mapping[tuple[str, ...], str] = NOTHING
        self.trigger: str | None = None
        self.fallback: BoundTask | None = None
        self.wants: Callable[[Sequence[str | None]], bool] | None = None
        self.provides: tuple[str, ...] = ()
        self.tags: tuple[str, ...] = ()
        self.deadline: float | None = None
        self.allow_failure = self.hard = self.is_fallback = False
        for fact, value in facts.items():
            setattr(self, fact, value)

    def __repr__(self) -> str:
        return f"<{self.key}>"

    @property
    def where(self) -> str:
        """``file:line`` of its definition."""
        return self.declaration.where if self.declaration else "given"

    @property
    def arguments(self) -> tuple[Argument, ...]:
        """Its arguments as written."""
        return self.declaration.arguments() if self.declaration else ()

    def upstream(self) -> Sequence[BoundTask]:
        """Return every task that this one comes after: edges, sources of its elements, its fallback."""
        if not (self.edges or self.elements or self.fallback):
            return ()
        found = [edge.source for edge in self.edges]
        found += [element.axis.source for element in self.elements]
        if self.fallback is not None:
            found.append(self.fallback)
        return found


class Graph:
    """The tasks of one run, in an order in which each comes after what it needs.

    Args:
        tasks: All tasks, in definition order.
        flows: Their flows.
        ordered: Whether the tasks stand in such an order already.

    Raises:
        CycleError: Some wait for each other.
    """

    def __init__(self, tasks: Sequence[BoundTask], flows: Sequence[BoundFlow], *, ordered: bool = False) -> None:
        self.flows = tuple(flows)
        sequence, cycles = (tasks, ()) if ordered else sorted_upstream_first(tasks)
        if cycles:
            raise cycles[0]
        self.tasks: tuple[BoundTask, ...] = tuple(sequence)
        self.by_key: Mapping[str, BoundTask] = {t.key: t for t in self.tasks}
        self.targets: frozenset[BoundTask] = frozenset([t for t in tasks if t.given is None and not t.is_fallback])

    def __len__(self) -> int:
        return sum(1 for t in self.tasks if t.given is None)

    def named(self, name: str) -> BoundTask | None:
        """Return the task with that key or, if there is only one such, that name."""
        if name in self.by_key:
            return self.by_key[name]
        found = [t for t in self.tasks if t.name == name and t.given is None]
        return found[0] if len(found) == 1 else None

    def asked_for(self) -> frozenset[BoundTask]:
        """Return the tasks whose values may be asked for after the run: the targets, what may stand in for those, given values."""
        found = dict.fromkeys(self.targets)
        stack = [task.fallback for task in found if task.fallback is not None]
        while stack:
            task = stack.pop()
            found[task] = None
            if task.fallback is not None:
                stack.append(task.fallback)
        return frozenset([*found, *[task for task in self.tasks if task.given is not None]])

    def users(self) -> dict[BoundTask, list[BoundTask]]:
        """Return, for each task, the tasks that come after it."""
        after: dict[BoundTask, list[BoundTask]] = {t: [] for t in self.tasks}
        for t in self.tasks:
            for upstream in dict.fromkeys(t.upstream()):
                after[upstream].append(t)
        return after

    def restricted(self, targets: Iterable[BoundTask]) -> Graph:
        """Return the graph of ``targets`` and all that they need."""
        stack = list(targets)
        graph = Graph.__new__(Graph)
        graph.flows = self.flows
        graph.targets = frozenset(stack)
        graph.tasks, graph.by_key = self.tasks, self.by_key
        if len(graph.targets) == len(self.tasks):
            return graph  # it is all of them
        wanted: set[BoundTask] = set()
        while stack:
            current = stack.pop()
            if current not in wanted:
                wanted.add(current)
                stack.extend(current.upstream())
        graph.tasks = tuple(t for t in self.tasks if t in wanted)
        graph.by_key = {t.key: t for t in graph.tasks}
        return graph


def sorted_upstream_first(tasks: Sequence[BoundTask]) -> tuple[list[BoundTask], list[CycleError]]:
    """Return tasks so that each comes after what it needs, else in the order given; and the cycles that prevent it.

    A cycle names its path, with file:line of each step. Of those that share a task, which one wrong
    argument may make by the hundred, the first is told.

    Iterative, so that a chain of 100,000 is no deeper than one of ten.
    """
    done: set[BoundTask] = set()
    on_path: dict[BoundTask, None] = {}
    ordered: list[BoundTask] = []
    cycles: list[CycleError] = []
    told: set[BoundTask] = set()
    for first in tasks:
        if first in done:
            continue
        above = first.upstream() if first.edges or first.elements or first.fallback else ()
        if not above or done.issuperset(above):
            done.add(first)
            ordered.append(first)
            continue
        stack = [(first, iter(above))]
        on_path[first] = None
        while stack:
            current, rest = stack[-1]
            for upstream in rest:
                if upstream in on_path:
                    if upstream in told or current in told:
                        continue
                    path = list(on_path)
                    loop = path[path.index(upstream) :]
                    if told.isdisjoint(loop):
                        told.update(loop)
                        cycles.append(CycleError.along([(t.name, t.where) for t in [*loop, upstream]]))
                elif upstream not in done:
                    on_path[upstream] = None
                    stack.append((upstream, iter(upstream.upstream())))
                    break
            else:
                stack.pop()
                del on_path[current]
                done.add(current)
                ordered.append(current)
    return ordered, cycles
