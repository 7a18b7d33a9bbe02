"""Which axes each task is mapped over, and what follows for its edges.

Axes are inherited by whoever uses a mapped task: first those of the arguments, in argument
order, then the task's own ``each``, as written; the last varies fastest and a nested axis stands
after its outer one. ``Collected`` gathers the axes that no other argument carries.
"""

from __future__ import annotations

import typing
from collections.abc import Collection, Sequence

from flowkit.annotations import MISSING, cannot_fit, evaluated
from flowkit.annotations import text as shown
from flowkit.errors import CycleError, ResolutionError, UsageError
from flowkit.graph import Axis, BoundTask, Edge


def assign_axes(tasks: Sequence[BoundTask], unsure: Collection[BoundTask] = ()) -> list[UsageError]:
    """Set the axes of every task and what its edges gather; return what is wrong.

    Args:
        tasks: Upstream first.
        unsure: Those of which something is wrong already: whether they, and what follows them, are mapped
            is not known, so nothing is said of that.
    """
    unsure = set(unsure)
    errors: list[UsageError] = []
    known: dict[tuple[BoundTask, str | None], Axis] = {}
    fallbacks = False
    for task in tasks:
        if not (task.edges or task.elements or task.fallback):
            continue
        if unsure and not unsure.isdisjoint(_followed(task)):
            unsure.add(task)
        if task.elements or any(edge.source.axes for edge in task.edges):
            errors += [_not_mapped(task, edge) for edge in _assign(task, known) if edge.source not in unsure]
        else:
            errors += [_not_mapped(task, edge) for edge in task.edges if edge.collected and edge.source not in unsure]
        if task.fallback is not None:
            fallbacks = True
            if task not in unsure and not set(task.fallback.axes) <= set(task.axes):
                errors.append(_fallback_axes(task, task.fallback))
        errors += misfits(task)
    return errors + _waits(tasks) if fallbacks else errors


def _waits(tasks: Sequence[BoundTask]) -> list[UsageError]:
    """Return an error for each loop in which tasks would wait for themselves by way of a fallback (ruling B15).

    A fallback ends only when all whose fallback it is have ended: it may still be called. So
    whoever needs it comes after those, too.
    """
    after = {task: [e.source for e in task.edges] + [e.axis.source for e in task.elements] for task in tasks}
    for task in tasks:
        if task.fallback is not None:
            after[task.fallback].append(task)
    before: dict[BoundTask, list[BoundTask]] = {task: [] for task in tasks}
    for task, ups in after.items():
        for up in ups:
            before[up].append(task)
    count = {task: len(ups) for task, ups in after.items()}
    free = [task for task, ups in after.items() if not ups]
    while free:
        for task in before[free.pop()]:
            count[task] -= 1
            if not count[task]:
                free.append(task)
    errors: list[UsageError] = []
    seen: set[BoundTask] = set()
    for task in tasks:
        path: dict[BoundTask, None] = {}
        stuck = task
        while count[stuck] and stuck not in path and stuck not in seen:
            path[stuck] = None
            stuck = next(up for up in after[stuck] if count[up])
        seen.update(path)
        if stuck in path:
            steps = list(path)
            loop = [*steps[steps.index(stuck) :], stuck]
            errors.append(CycleError.along([(task.name, task.where) for task in loop]))
    return errors


def _followed(task: BoundTask) -> list[BoundTask]:
    """Return the tasks whose axes a task has, too."""
    found = [edge.source for edge in task.edges if edge.argument is not None and not edge.collected]
    return found + [element.axis.source for element in task.elements]


def _assign(task: BoundTask, known: dict[tuple[BoundTask, str | None], Axis]) -> list[Edge]:
    """Set the axes of a task and what its edges gather; return those that should gather, and find nothing to."""
    axes: dict[Axis, None] = {}
    for edge in task.edges:
        if edge.argument is not None and not edge.collected:
            axes.update(dict.fromkeys(edge.source.axes))
    for element in task.elements:
        source, part = element.axis.source, element.axis.part
        axes.update(dict.fromkeys(source.axes))
        axis = known.get((source, part))
        if axis is None:
            axis = known[source, part] = Axis(source, part, source.axes)
        element.axis = axis
        axes[axis] = None
    task.axes = tuple(axes)
    for edge in task.edges:
        if edge.collected or edge.argument is None:
            edge.gathered = tuple(axis for axis in edge.source.axes if axis not in axes)
    return [edge for edge in task.edges if edge.collected and not edge.gathered]


def _not_mapped(task: BoundTask, edge: Edge) -> ResolutionError:
    name = edge.part or edge.source.name
    if edge.source.axes:
        carried = ", ".join(axis.name for axis in edge.source.axes)
        return ResolutionError(
            f"task {task.name!r} ({task.where}) collects {name!r}, but is itself mapped over all of its axes",
            known=f"axes of {name!r}: {carried}",
            remedy="Take the element: annotate it T. Or leave out the argument that brings the axis.",
        )
    return ResolutionError(
        f"task {task.name!r} ({task.where}) collects {name!r}, which is not mapped",
        known=f"{name!r} ({edge.source.where}) gives one value",
        remedy="Annotate it as what it is: list[T] for a task that returns a list.",
    )


def _fallback_axes(task: BoundTask, fallback: BoundTask) -> ResolutionError:
    extra = ", ".join(axis.name for axis in fallback.axes if axis not in task.axes)
    return ResolutionError(
        f"task {task.name!r} ({task.where}): its fallback {fallback.name!r} is mapped over {extra}, and it is not",
        known=f"fallback at {fallback.where}",
        remedy="A fallback stands in element by element: map both over the same, or neither.",
    )


def misfits(task: BoundTask) -> list[UsageError]:
    """Return an error for each argument whose type its upstream's result can surely not have."""
    errors: list[UsageError] = []
    for edge in task.edges:
        wanted = edge.accepts.type
        if wanted is typing.Any:
            continue
        declaration = edge.source.declaration
        if declaration is None or edge.part is not None or edge.argument is None:
            continue
        hint = getattr(declaration.function, "__annotations__", {}).get("return", MISSING)
        if hint is MISSING:
            continue
        given = evaluated(hint, declaration.namespace)
        if cannot_fit(given, wanted):
            what = "elements of " if edge.collected else ""
            errors.append(
                ResolutionError(
                    f"task {task.name!r} ({task.where}) wants {edge.argument!r} as {shown(wanted)}, "
                    f"but {what}{edge.source.name!r} gives {shown(given)}",
                    known=f"{edge.source.name!r} is defined at {edge.source.where}",
                    remedy="Mend one of the two annotations, or put a task between that converts.",
                )
            )
    return errors
