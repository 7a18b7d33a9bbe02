"""``--lf``: what failed the last time and what hangs off it. ``--ff``: that first, then the rest."""

from __future__ import annotations

from flowkit.graph import BoundTask, Graph
from flowkit.secrets import STARS
from flowkit.selection import Selection
from flowkit.wants import Spelled, Wanted, both
from flowkit_plugins.history.reading import History

#: How far tasks are moved in definition order to come first.
FIRST = -(1 << 40)


def failures(graph: Graph, history: History) -> dict[BoundTask, set[str]]:
    """Return the tasks with nodes whose last end was a failure, and the ids of those."""
    found: dict[BoundTask, set[str]] = {}
    for flow in graph.flows:
        ids = history.failed(flow.path)
        if not ids:
            continue
        tasks = {
            task.name: task for task in graph.tasks if task.flow is flow and task.given is None
        }
        for node in ids:
            task = tasks.get(node.partition("[")[0])
            if task is not None:
                found.setdefault(task, set()).add(node)
    return found


class Failed:
    """What is to be run again. See ``services.FailedBefore``."""

    def __init__(self, failed: dict[BoundTask, set[str]]) -> None:
        self._nodes = {f"{task.flow.path}::{node}" for task, nodes in failed.items() for node in nodes}

    def covers(self, node: str) -> bool:
        """Whether a node (full id) failed the last time. One whose id holds a secret is not known by it."""
        return node in self._nodes


def only_failed(
    graph: Graph, selection: Selection, failed: dict[BoundTask, set[str]]
) -> Selection | None:
    """Narrow a selection to what failed and what hangs off it; None if nothing of it did.

    Of a mapped task only the elements that failed are wanted, and of one that follows it over the
    same axes, only those that follow them. Whatever else they need comes along and is reused.
    """
    chosen = set(selection.targets)
    ids: dict[BoundTask, set[str] | None] = {}  # None: all of it
    for task, nodes in failed.items():
        if task in chosen or task.is_fallback:
            ids[task] = _elements(task, nodes) if task.axes else None
    if not ids:
        return None
    for task in graph.tasks:  # upstream first
        for up in task.upstream():
            if up in ids:
                _follow(task, up, ids)
    targets = [task for task in selection.targets if task in ids]
    if not targets:
        return None
    elements: dict[BoundTask, Wanted] = {}
    for task in targets:
        before, names = selection.elements.get(task), ids[task]
        if names is not None:
            elements[task] = both(Spelled(task, names), before)
        elif before is not None:
            elements[task] = before
    return Selection(
        targets, elements, {t: names for t, names in selection.exact.items() if t in targets}
    )


def _elements(task: BoundTask, nodes: set[str]) -> set[str] | None:
    """Return the ids in the brackets; None for all, where the list was missing or a secret is masked in one."""
    if task.name in nodes or any(STARS in node for node in nodes):
        return None
    return {node[len(task.name) + 1 : -1] for node in nodes}


def _follow(task: BoundTask, up: BoundTask, ids: dict[BoundTask, set[str] | None]) -> None:
    """Note which elements of a task hang off those of its upstream."""
    if task.given is not None:
        return
    above = ids[up]
    aligned = (
        task.axes
        and task.axes == up.axes
        and not any(e.source is up and e.gathered for e in task.edges)
    )
    if above is None or not aligned:
        ids[task] = None
    elif task not in ids:
        ids[task] = set(above)
    elif (own := ids[task]) is not None:
        own |= above


def failed_first(graph: Graph, failed: dict[BoundTask, set[str]]) -> None:
    """Have the tasks that failed, and all that they need, start before others that could."""
    for task in graph.restricted(failed).tasks:
        task.order += FIRST
