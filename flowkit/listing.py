"""``flowkit tasks``: what there is in flows, as lines of text."""

from __future__ import annotations

import typing
from collections.abc import Iterator
from typing import TYPE_CHECKING

from flowkit.annotations import text as shown
from flowkit.graph import BoundTask, Graph
from flowkit.options import as_written
from flowkit.parameters import Parameter

if TYPE_CHECKING:
    from flowkit.session import Session


def lines(session: Session, graph: Graph) -> Iterator[str]:
    """Yield the tasks of each flow with what they take, and then its parameters."""
    for flow in graph.flows:
        yield f"{flow.path}"
        tasks = sorted((t for t in graph.tasks if t.flow is flow and t.given is None), key=lambda t: t.order)
        for task in tasks:
            yield from _task(task)
        parameters = session.parameters[flow].values()
        if parameters:
            yield "  parameters"
            for parameter in parameters:
                yield f"    {_parameter(parameter)}"
        yield ""


def _task(task: BoundTask) -> Iterator[str]:
    takes = [edge.part or edge.source.name for edge in task.edges if edge.argument]
    takes += [*task.parameters.values(), *(r.name for r in task.resources.values())]
    mapped = f"  [{' × '.join(axis.name for axis in task.axes)}]" if task.axes else ""
    yield f"  {task.name}{mapped}  ({', '.join(takes)})  {task.where}"
    doc = task.declaration.doc if task.declaration else ""
    if doc:
        yield f"      {doc}"


def _parameter(parameter: Parameter) -> str:
    hint = "" if parameter.annotation is typing.Any else f": {shown(parameter.annotation)}"
    written = as_written(parameter.annotation, parameter.default)
    default = written.rpartition(" = ")[2] if " = " in written else "required"
    return f"{parameter.name}{hint} = {default}" if default != "required" else f"{parameter.name}{hint}  (required)"
