"""``--lf``: what failed the last time and what hangs off it. ``--ff``: that first, then the rest."""

from __future__ import annotations

from collections.abc import Callable, Collection

from flowkit.graph import BoundTask, Graph
from flowkit.scheduler import Scheduler
from flowkit.scheduler.expansion import ids_after
from flowkit.scheduler.texts import may_exist
from flowkit.secrets import STARS
from flowkit.selection import Selection
from flowkit.wants import Ids, Spelled, Wanted, any_of, both
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


def gone(
    failed: Collection[tuple[str, str]],
    graph: Graph,
    machine: Scheduler | None,
    met: Collection[tuple[str, str]] | None,
) -> list[tuple[str, str]]:
    """Return which nodes (flow, id) that had failed are not there any more.

    Args:
        failed: The nodes.
        graph: What was run.
        machine: Knows which elements there are; None if nobody does.
        met: The nodes there were, if the run came to its end.
    """
    found = []
    tasks = {(t.flow.path, t.name): t for t in graph.tasks if t.given is None}
    for flow, node in failed:
        name, _, rest = node.partition("[")
        task = tasks.get((flow, name))
        if task is None:
            continue
        if task.wants is None:
            away = met is not None and (flow, node) not in met
        else:
            state = machine.states[task] if machine is not None and rest else None
            away = state is not None and STARS not in rest and not may_exist(state, rest[:-1])
        if away:
            found.append((flow, node))
    return found


class Failed:
    """What is to be run again. See ``services.FailedBefore``."""

    def __init__(self, failed: dict[BoundTask, set[str]]) -> None:
        self._nodes = {f"{task.flow.path}::{node}" for task, nodes in failed.items() for node in nodes}

    def covers(self, node: str) -> bool:
        """Whether a node (full id) failed the last time. One whose id holds a secret is not known by it."""
        return node in self._nodes


class Remaining:
    """Says which elements of a task with one axis failed; all are meant, if there is none of those any more.

    Until the list is read nobody knows whether there is, and every element may be meant.
    """

    def __init__(
        self, task: BoundTask, names: set[str], machine: Callable[[], Scheduler | None]
    ) -> None:
        self._task = task
        self._names = names
        self._machine = machine
        self._gone: bool | None = None

    def __call__(self, ids: Ids) -> bool:
        """Return whether the element with this id may be meant."""
        (name,) = ids
        if name is None or name in self._names:
            return True
        if self._gone is None:
            machine = self._machine()
            state = machine.states.get(self._task) if machine is not None else None
            there = ids_after(state, ()) if state is not None else None
            if there is None:
                return True
            self._gone = self._names.isdisjoint(there)
        return self._gone


def only_failed(
    graph: Graph,
    selection: Selection,
    failed: dict[BoundTask, set[str]],
    machine: Callable[[], Scheduler | None],
) -> Selection | None:
    """Narrow a selection to what failed and what hangs off it; None if nothing of it did.

    Of a mapped task only the elements that failed are wanted, and of one that follows it over the
    same axes, only those that follow them. Whatever else they need comes along and is reused.
    """
    chosen = set(selection.targets)
    tests: dict[BoundTask, list[Wanted] | None] = {}  # None: all of it
    for task, nodes in failed.items():
        if task in chosen or task.is_fallback:
            names = _elements(task, nodes) if task.axes else None
            if names is None:
                tests[task] = None
            else:
                one = len(task.axes) == 1
                tests[task] = [Remaining(task, names, machine) if one else Spelled(task, names)]
    if not tests:
        return None
    for task in graph.tasks:  # upstream first
        for up in task.upstream():
            if up in tests:
                _follow(task, up, tests)
    targets = [task for task in selection.targets if task in tests]
    if not targets:
        return None
    elements: dict[BoundTask, Wanted] = {}
    for task in targets:
        before, own = selection.elements.get(task), tests[task]
        if own is not None:
            elements[task] = both(any_of(own), before)
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


def _follow(task: BoundTask, up: BoundTask, tests: dict[BoundTask, list[Wanted] | None]) -> None:
    """Note which elements of a task hang off those of its upstream."""
    if task.given is not None:
        return
    above = tests[up]
    aligned = (
        task.axes
        and task.axes == up.axes
        and not any(e.source is up and e.gathered for e in task.edges)
    )
    if above is None or not aligned:
        tests[task] = None
    elif task not in tests:
        tests[task] = [*above]
    elif (own := tests[task]) is not None:
        own += [test for test in above if test not in own]


def failed_first(graph: Graph, failed: dict[BoundTask, set[str]]) -> None:
    """Have the tasks that failed, and all that they need, start before others that could."""
    for task in graph.restricted(failed).tasks:
        task.order += FIRST
