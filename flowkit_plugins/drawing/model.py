"""A graph as boxes and lines, before anything is known of how it will look.

Parameters and literal lists are no boxes: a mapped task bears the names of its axes instead.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flowkit.annotations import Accepts
    from flowkit.graph import BoundFlow, BoundResource, BoundTask, Graph

#: Stands between the axes of a product.
TIMES = "\N{MULTIPLICATION SIGN}"

_UNSHOWABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


class Kind(Enum):
    """What a line stands for."""

    VALUE = "value"
    ELEMENT = "element"
    COLLECTED = "collected"
    NEED = "need"
    FALLBACK = "fallback"
    RESOURCE = "resource"

    @property
    def dashed(self) -> bool:
        """Whether it is drawn dashed: it hands over no single value of the one to the other."""
        return self not in (Kind.VALUE, Kind.ELEMENT)


@dataclass(slots=True, eq=False)
class Box:
    """A task or a resource.

    Attributes:
        name: As the user wrote it.
        axes: What it is mapped over.
        notes: What else is to be said of it: trigger, scope.
        where: ``file:line`` of its definition.
        doc: The first line of its docstring.
        is_resource: Whether it is a resource.
        layer: 0 for what needs nothing; else more than of all that it needs.
    """

    name: str
    axes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    where: str = ""
    doc: str = ""
    is_resource: bool = False
    layer: int = 0

    @property
    def label(self) -> str:
        """Its name, with its axes if it is mapped: ``mean [stations]``."""
        return f"{self.name} [{f' {TIMES} '.join(self.axes)}]" if self.axes else self.name


@dataclass(slots=True, eq=False)
class Line:
    """One box comes after another.

    Attributes:
        source, target: Which after which.
        kind: What it stands for.
        label: What is to be said of it, or ``""``.
        failure: Whether it is taken only when the source failed.
    """

    source: Box
    target: Box
    kind: Kind
    label: str = ""
    failure: bool = False


@dataclass(slots=True)
class Cluster:
    """One flow: its boxes in definition order, and the lines between them."""

    title: str
    boxes: list[Box] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Drawing:
    """All flows that were asked for."""

    clusters: Sequence[Cluster]


def draw(graph: Graph, *, resources: bool = False) -> Drawing:
    """Return the boxes and lines of a graph.

    Args:
        graph: Its tasks come upstream first.
        resources: Whether resources are drawn.
    """
    flows: dict[BoundFlow, list[BoundTask]] = {}
    for task in graph.tasks:
        if task.given is None:
            flows.setdefault(task.flow, []).append(task)
    return Drawing([_cluster(flow, tasks, resources=resources) for flow, tasks in flows.items()])


def _cluster(flow: BoundFlow, tasks: Sequence[BoundTask], *, resources: bool) -> Cluster:
    cluster = Cluster(clean(flow.path))
    boxes = {task: _box(task) for task in tasks}
    for task in sorted(tasks, key=lambda t: t.order):
        cluster.boxes.append(boxes[task])
    for task in tasks:
        cluster.lines += _lines(task, boxes)
    for task in tasks:
        if task.fallback in boxes:
            cluster.lines.append(Line(boxes[task], boxes[task.fallback], Kind.FALLBACK, "fallback"))
    if resources:
        _add_resources(cluster, tasks, boxes)
    _assign_layers(cluster)
    return cluster


def _box(task: BoundTask) -> Box:
    notes = [f"trigger: {task.trigger}"] if task.trigger else []
    if task.allow_failure:
        notes.append("may fail")
    return Box(
        clean(task.name),
        tuple(clean(axis.name) for axis in task.axes),
        tuple(notes),
        clean(task.where),
        clean(task.declaration.doc) if task.declaration else "",
    )


def _lines(task: BoundTask, boxes: dict[BoundTask, Box]) -> Iterable[Line]:
    """Return one line for each box above a task, whatever it is asked for several times."""
    found: dict[BoundTask, tuple[Kind, dict[str, None]]] = {}
    failures: set[BoundTask] = set()

    def add(source: BoundTask, kind: Kind, *labels: str) -> None:
        if source in boxes:
            before = found.get(source)
            if before is None or (before[0].dashed and not kind.dashed):
                found[source] = (kind, before[1] if before else {})
            found[source][1].update(dict.fromkeys(clean(label) for label in labels if label))

    for edge in task.edges:
        accepts = edge.accepts
        if accepts.failure is not None and not (accepts.value or accepts.success):
            failures.add(edge.source)
        if edge.argument is None:
            add(edge.source, Kind.NEED, "needs")
        elif edge.collected:
            add(edge.source, Kind.COLLECTED, edge.part or "", "collected", condition(edge.accepts))
        else:
            add(edge.source, Kind.VALUE, edge.part or "", condition(edge.accepts))
    for element in task.elements:
        add(element.axis.source, Kind.ELEMENT, element.axis.part or "", "each")
    for source, (kind, labels) in found.items():
        failure = source in failures
        yield Line(boxes[source], boxes[task], kind, ", ".join(labels), failure=failure)


def condition(accepts: Accepts) -> str:
    """Return how an upstream has to end for this argument, where that is not plain success."""
    succeeds = accepts.value or accepts.success
    fails, skipped = accepts.failure is not None, accepts.skipped
    if fails and accepts.failure:
        error = " | ".join(kind.__name__ for kind in accepts.failure)
    else:
        error = "failed"
    if succeeds and fails and skipped:
        return "however it ends"
    ways = [error] if fails else []
    ways += ["skipped"] if skipped else []
    if not ways:
        return ""
    return f"{'also ' if succeeds else ''}if {' or '.join(ways)}"


def _add_resources(
    cluster: Cluster, tasks: Sequence[BoundTask], boxes: dict[BoundTask, Box]
) -> None:
    """Draw the user's resources; those that plugins bring are in every flow and say nothing."""
    drawn: dict[BoundResource, Box] = {}
    stack = [r for task in tasks for r in task.resources.values() if r.plugin is None]
    ordered: list[BoundResource] = []
    while stack:
        resource = stack.pop()
        if resource in drawn:
            continue
        drawn[resource] = Box(
            clean(resource.name),
            notes=(f"{resource.scope} resource",),
            where=clean(resource.where),
            doc=clean(resource.declaration.doc),
            is_resource=True,
        )
        ordered.append(resource)
        stack += [r for r in resource.resources.values() if r.plugin is None]
    for resource in ordered:
        cluster.boxes.append(drawn[resource])
        for below in dict.fromkeys(resource.resources.values()):
            if below in drawn:
                cluster.lines.append(Line(drawn[below], drawn[resource], Kind.RESOURCE))
    for task in tasks:
        for resource in dict.fromkeys(task.resources.values()):
            if resource in drawn:
                cluster.lines.append(Line(drawn[resource], boxes[task], Kind.RESOURCE))


def _assign_layers(cluster: Cluster) -> None:
    """Give each box the first layer that is right of all that it needs.

    A fallback comes before the task it stands in for in the graph, but is called after it: it is
    drawn to the right of it, unless something else hangs off the fallback.
    """
    after: dict[Box, list[Box]] = {box: [] for box in cluster.boxes}
    waits = dict.fromkeys(cluster.boxes, 0)
    for line in forward(cluster):
        after[line.source].append(line.target)
        waits[line.target] += 1
    ready = [box for box in cluster.boxes if not waits[box]]
    for box in ready:
        for target in after[box]:
            target.layer = max(target.layer, box.layer + 1)
            waits[target] -= 1
            if not waits[target]:
                ready.append(target)


def forward(cluster: Cluster) -> list[Line]:
    """Return the lines that go to the right: all but those to a fallback that others use, too."""
    used = {line.source for line in cluster.lines}
    return [
        line for line in cluster.lines if line.kind is not Kind.FALLBACK or line.target not in used
    ]


def clean(text: str) -> str:
    """Return a text without what would disturb a terminal, or has no place in XML."""
    return _UNSHOWABLE.sub("\ufffd", text)
