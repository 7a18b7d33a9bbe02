"""Values for the parameters of a run, and who takes them."""

from __future__ import annotations

from collections.abc import Sequence

from flowkit.annotations import MISSING
from flowkit.errors import ParameterError, UsageError, listing, nearest
from flowkit.graph import BoundResource, BoundTask
from flowkit.parameters import Parameter, Sources, settle
from flowkit.resolver import Resolver


def settle_flow(
    tasks: Sequence[BoundTask] | None, resolver: Resolver, sources: Sources
) -> tuple[dict[str, object], list[UsageError]]:
    """Give every parameter that a flow's tasks take its value, and hand it to them and their resources.

    Args:
        tasks: The tasks of the flow that are in the run and take parameters or resources; None if it is not known
            what is in the run: then only what was given is looked at.
        resolver: Of the flow; knows its parameters and what names are visible.
        sources: Where values come from.

    Returns:
        The values by name, and what is wrong with them.
    """
    found = resolver.parameters
    if tasks is None:
        wrong = [settle(p, sources) for p in found.values() if sources.find(p.name) is not None]
        return {}, [problem for problem in wrong if problem is not None]
    resources = reachable([r for t in tasks for r in t.resources.values()])
    needed = {p for t in tasks for p in t.parameters.values()}
    needed |= {p for r in resources for p in r.parameters.values()}
    values: dict[str, object] = {}
    errors: list[UsageError] = []
    for parameter in found.values():
        if parameter.name in needed:
            problem = settle(parameter, sources)
            if problem is None and parameter.value is MISSING and sources.lacks(parameter.name):
                problem = lacking(parameter, resolver)
            errors += [problem] if problem else []
            values[parameter.name] = parameter.value
    for resource in resources:
        resource.constants.update({a: found[p].value for a, p in resource.parameters.items()})
    for task in tasks:
        if task.given is None:
            values_of = {a: found[p].value for a, p in task.parameters.items() if p in found}
            task.constants = {**task.constants, **values_of}
    return values, errors


def lacking(parameter: Parameter, resolver: Resolver) -> ParameterError:
    """Return the error for a parameter that has no value: it may be a misspelt dependency."""
    visible = [n for n in resolver.visible() if n != parameter.name]
    plugins = [n for n in resolver.layers[-1].names if n in visible]
    names = [n for n in visible if n not in plugins]
    if parameter.iterated:
        remedy = (
            f"Give it with -P {parameter.name}='[…]', or write a task {parameter.name!r} that returns the list."
        )
    else:
        remedy = f"Give it with -P {parameter.name}=…, or define a task or resource {parameter.name!r}."
    near = nearest(parameter.name, visible)
    return ParameterError(
        f"{parameter.asked_by} ({parameter.where}) asks for {parameter.name!r}, which is no task, no "
        f"resource, and a parameter without a value",
        known=f"visible names: {listing(names)}\nfrom plugins: {listing(plugins)}",
        remedy=f"Did you mean {near!r}? {remedy}" if near else remedy,
    )


def reachable(resources: Sequence[BoundResource]) -> list[BoundResource]:
    """Return resources and all that they ask for, each once."""
    found: dict[BoundResource, None] = {}
    stack = list(resources)
    while stack:
        resource = stack.pop()
        if resource not in found:
            found[resource] = None
            stack.extend(resource.resources.values())
    return list(found)
