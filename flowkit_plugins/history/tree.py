"""A run told afterwards: its tasks in order, what came of their nodes, and what held it up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from flowkit.records import field, record
from flowkit_plugins.history.reading import NodeEnd, RunningNode

#: Words in the order in which a mapped task's are counted.
ORDER = (
    "failed", "timeout", "error", "interrupted", "running", "upstream", "replaced",
    "ran", "same", "cached", "skipped", "not run",
)  # fmt: skip
#: Seconds by which a node may seem to start before what it waited for has ended: times are rounded.
AT_ONCE = 0.001
FAILED = frozenset({"failed", "timeout", "error"})
WRONG = FAILED | {"interrupted", "running"}


@record()
class TaskEnd:
    """A task of a run, and how its nodes ended.

    Attributes:
        key: ``path/to/flow.py::task``.
        ups: The tasks it came after.
        mapped: Whether it has elements.
        depth: How many tasks come one after another before it.
        torn: Resources that it uses and that are torn down.
    """

    key: str
    mapped: bool = False
    ups: list[TaskEnd] = field(factory=list)
    depth: int = 0
    torn: list[str] = field(factory=list)
    nodes: list[NodeEnd] = field(factory=list)

    @property
    def counts(self) -> dict[str, int]:
        """Word → number of nodes, what went wrong first."""
        found: dict[str, int] = {}
        for node in self.nodes:
            found[node.word] = found.get(node.word, 0) + 1
        return {
            word: found[word]
            for word in sorted(found, key=lambda w: ORDER.index(w) if w in ORDER else 99)
        }

    @property
    def took(self) -> float:
        """Seconds that its nodes took, together."""
        return sum(node.called or 0.0 for node in self.nodes)


def task_of(node: str) -> str:
    """Return the key of a node's task: ``flow.py::page[3]`` → ``flow.py::page``."""
    path, colons, name = node.partition("::")
    return f"{path}{colons}{name.partition('[')[0]}"


def tasks_of(
    shape: Mapping[str, Any],
    nodes: Sequence[NodeEnd],
    running: Sequence[RunningNode] = (),
) -> list[TaskEnd]:
    """Return the tasks of a run in the order of its graph, with their nodes; what ran to the end comes last."""
    tasks: list[TaskEnd] = []
    above, torn, mapped = shape.get("ups", {}), shape.get("torn", {}), set(shape.get("mapped", ()))
    for place, key in enumerate(shape.get("keys", ())):
        ups = [tasks[up] for up in above.get(str(place), ())]
        depth = 1 + max((up.depth for up in ups if up.key), default=-1)
        tasks.append(TaskEnd(key, place in mapped, ups, depth, torn.get(str(place), [])))
    by_key = {task.key: task for task in tasks if task.key}
    ended = {node.node for node in nodes}
    open_ = [
        NodeEnd(each.node, "running", None, None, each.started, None, each.number)
        for each in running
        if each.node not in ended
    ]
    for node in [*nodes, *{n.node: n for n in open_}.values()]:
        key = task_of(node.node)
        task = by_key.get(key)
        if task is None:
            task = by_key[key] = TaskEnd(key, "[" in node.node)
            tasks.append(task)
        task.nodes.append(node)
    return [task for task in tasks if task.key]


def roots(node: str, tasks: Sequence[TaskEnd]) -> list[str]:
    """Return the nodes above one that failed, however far: one that is UPSTREAM did not run for these.

    Where an upstream has an element of the same id, only that stands above.
    """
    owners = {each.node: task for task in tasks for each in task.nodes}
    by_id = {task.key: {each.node[len(task.key) :]: each for each in task.nodes} for task in tasks}
    found: dict[str, None] = {}
    seen, rest = {node}, [node]
    while rest:
        name = rest.pop()
        task = owners.get(name)
        for up in _real(task.ups) if task is not None else ():
            ids = by_id[up.key]
            same = ids.get(name[len(task_of(name)) :])
            for each in [same] if same is not None else ids.values():
                if each.node in seen:
                    continue
                seen.add(each.node)
                if each.word in FAILED:
                    found[each.node] = None
                else:
                    rest.append(each.node)
    return list(found)


def critical_path(tasks: Sequence[TaskEnd]) -> list[NodeEnd]:
    """Return the nodes that the run's length is made of: each is what the next one waited for last.

    From the node that ended last it goes back, each time to that upstream node which ended last;
    where an upstream has an element of the same id, to that.
    """
    ended = [(node, task) for task in tasks for node in task.nodes if node.called is not None]
    if not ended:
        return []
    node, task = max(ended, key=lambda each: _end(each[0]))
    path = [node]
    while True:
        before = [
            (up_node, up)
            for up in _real(task.ups)
            if (up_node := _waited_for(node, up)) is not None
        ]
        if not before:
            return path[::-1]
        node, task = max(before, key=lambda each: _end(each[0]))
        path.append(node)


def _real(ups: Sequence[TaskEnd]) -> list[TaskEnd]:
    """Return tasks, with those in place of given values (no key) left out."""
    return [up for up in ups if up.key]


def _waited_for(node: NodeEnd, up: TaskEnd) -> NodeEnd | None:
    # A fallback stands above the task that it stands in for, and runs after it.
    until = (node.started or 0.0) + AT_ONCE
    called = [each for each in up.nodes if each.called is not None and _end(each) <= until]
    same = [
        each
        for each in called
        if each.node.partition("[")[1:] == node.node.partition("[")[1:] and "[" in node.node
    ]
    return max(same or called, key=_end, default=None)


def _end(node: NodeEnd) -> float:
    return (node.started or 0.0) + (node.took or 0.0)


def not_torn_down(tasks: Sequence[TaskEnd]) -> list[str]:
    """Return the resources that a run which was lost had probably set up: tasks that use them were called."""
    found = {
        name
        for task in tasks
        for name in task.torn
        if any(n.started is not None for n in task.nodes)
    }
    return sorted(found)
