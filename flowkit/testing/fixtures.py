"""Tasks as pytest fixtures: one of the same name for each task, parameter and resource of a flow.

pytest's own resolution does the rest: a class that redefines ``raw``, or ``parametrize("raw", …)``,
changes what hangs off it. A task that is mapped over one list gives all its elements.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from flowkit.annotations import MISSING
from flowkit.outcomes import Success
from flowkit.values import Collected

if TYPE_CHECKING:
    from flowkit.graph import BoundResource, BoundTask
    from flowkit.testing.subject import FlowUnderTest

Fixture = Callable[..., Any]


def fixtures_of(flow: FlowUnderTest) -> dict[str, Fixture]:
    """Return name → what makes the fixture, for each task of a flow, and for its parameters and resources.

    Raises:
        pytest.UsageError: The flow is wrong.
    """
    from flowkit.errors import FlowError, NothingToRun

    try:
        session = flow.sandbox.look(flow.override, flow.typed)
    except (FlowError, NothingToRun) as error:
        raise pytest.UsageError(f"{flow!r}: its tasks cannot be fixtures\n{error}") from None
    assert session.graph is not None  # it was collected
    tasks = [task for task in session.graph.tasks if task.given is None]
    made: dict[str, tuple[list[str], Callable[[dict[str, Any]], Any], str]] = {}
    for task in tasks:
        made[task.name] = (_needs(task), _caller(task), _doc(task.declaration))
        for resource in task.resources.values():
            _add_resource(resource, made)
    given = {t.name: t.given for t in session.graph.tasks if t.given is not None}
    fixed = {**flow.override, **flow.fixed}
    for found in session.parameters.values():
        for name, parameter in found.items():
            default = fixed.get(name, parameter.default)
            made.setdefault(name, ([], _value_of(name, default), f"Parameter {name} of {flow.name}."))
    for name, value in given.items():
        made.setdefault(name, ([], partial(_given_of, value), f"A list of {flow.name}."))
    return {
        f"{flow.prefix}{name}": _fixture(needs, call, doc, flow) for name, (needs, call, doc) in made.items()
    }


def expose(flow: FlowUnderTest, node: pytest.Session | pytest.Module) -> None:
    """Make fixtures of a flow's tasks, for all tests below a node.

    Raises:
        pytest.UsageError: The flow is wrong, or there is a fixture of such a name.
    """
    session = node if isinstance(node, pytest.Session) else node.session
    manager = session._fixturemanager
    for name, function in fixtures_of(flow).items():
        there = manager.getfixturedefs(name, node)
        if there or name == "request":
            whose = getattr(there[-1].func, "__module__", "") if there else "pytest"
            raise pytest.UsageError(
                f"{flow!r}: there is a fixture {name!r} already, from {whose}\n"
                f'  Give those of the flow a prefix: flow({flow.name!r}, prefix="flow_"), or flowkit_prefix = flow_ in the configuration.'
            )
        if hasattr(pytest, "register_fixture"):
            pytest.register_fixture(name=name, func=function, node=node)
        else:  # before pytest 9.1
            manager._register_fixture(name=name, func=function, nodeid=node.nodeid)


def _doc(declaration: Any) -> str:
    return str(getattr(declaration, "doc", "") or "A task.")


def _given_of(given: Callable[[object], object], _request: object) -> object:
    return given(())


def _value_of(name: str, default: object) -> Callable[[dict[str, Any]], Any]:
    def value(_: dict[str, Any]) -> Any:
        if default is MISSING:
            pytest.fail(f"parameter {name!r} has no default: define a fixture of that name, or parametrize it", pytrace=False)
        return default

    return value


def _add_resource(resource: BoundResource, made: dict[str, Any]) -> None:
    if resource.name in made or resource.plugin is not None:
        return
    for below in resource.resources.values():
        _add_resource(below, made)
    needs = {a: r.name for a, r in resource.resources.items()} | dict(resource.parameters)

    def set_up(given: dict[str, Any]) -> Any:
        return resource.declaration.function(**{a: given[n] for a, n in needs.items()})

    made[resource.name] = (list(needs.values()), set_up, _doc(resource.declaration))


def _fixture(needs: list[str], call: Callable[[dict[str, Any]], Any], doc: str, flow: FlowUnderTest) -> Fixture:
    """Return a function that asks for others by name, as pytest reads it off a signature."""
    names = {n: f"{flow.prefix}{n}" if n != "tmp_path" else n for n in needs}
    pairs = ", ".join(f"{n!r}: {shown}" for n, shown in names.items())
    text = f"def made({', '.join(names.values())}):\n    yield from _torn_down(call({{{pairs}}}))\n"
    space: dict[str, Any] = {"call": call, "_torn_down": _torn_down, "__name__": flow.name}
    exec(compile(text, str(flow.target), "exec"), space)  # noqa: S102 - names were checked by the collector
    made: Fixture = space["made"]
    made.__doc__ = doc
    return made


def _torn_down(value: Any) -> Any:
    """Yield a value; what a generator or coroutine gives, for those."""
    import asyncio
    import inspect

    if inspect.isgenerator(value):
        yield from value
    elif inspect.iscoroutine(value):
        yield asyncio.run(value)
    else:
        yield value


def _needs(task: BoundTask) -> list[str]:
    """Return the fixtures that a task's fixture asks for."""
    found = [edge.source.name for edge in task.edges if edge.argument is not None]
    found += [element.axis.source.name for element in task.elements]
    found += list(task.parameters.values())
    for resource in task.resources.values():
        found.append("tmp_path" if resource.plugin is not None and resource.name in ("tmp_path", "out") else resource.name)
    stand_ins = [r.name for r in task.resources.values() if r.plugin is not None and r.name not in ("tmp_path", "out")]
    return [name for name in found if name not in stand_ins]


def _caller(task: BoundTask) -> Callable[[dict[str, Any]], Any]:
    """Return what calls a task with the values of fixtures."""

    def call(given: dict[str, Any]) -> Any:
        if not task.axes:
            return task.declaration.function(**_arguments(task, given, None))  # type: ignore[union-attr]  # not a given value
        if len(task.axes) > 1:
            pytest.fail(f"task {task.name!r} is mapped over several lists: use flowrun", pytrace=False)
        mapped = [given[edge.source.name] for edge in task.edges if edge.argument is not None and not edge.collected and edge.source.axes]
        lists = [given[element.axis.source.name] for element in task.elements]
        whole = [list(v.values()) if isinstance(v, dict) else list(v) for v in (*lists, *mapped)]
        values = [task.declaration.function(**_arguments(task, given, i)) for i in range(len(whole[0]))]  # type: ignore[union-attr]  # likewise
        return Collected(values, [str(i) for i in range(len(values))])

    return call


def _arguments(task: BoundTask, given: dict[str, Any], at: int | None) -> dict[str, Any]:
    found: dict[str, Any] = {argument: given[name] for argument, name in task.parameters.items()}
    for edge in task.edges:
        if edge.argument is None:
            continue
        if not edge.accepts.value and not edge.accepts.success:
            pytest.fail(f"task {task.name!r} runs only when {edge.source.name!r} does not succeed: use flowrun", pytrace=False)
        value = given[edge.source.name]
        if edge.part is not None:
            value = value[edge.source.provides.index(edge.part)] if isinstance(value, tuple) else value[edge.part]
        if at is not None and edge.source.axes and not edge.collected:
            value = list(value)[at]
        found[edge.argument] = value if edge.accepts.value else Success(value, 1, 0.0, False)
    for element in task.elements:
        values = given[element.axis.source.name]
        item = (list(values.values()) if isinstance(values, dict) else list(values))[at or 0]
        found.update(zip(element.arguments, item if element.unpack else (item,), strict=True))
    for argument, resource in task.resources.items():
        found[argument] = _brought(resource, given) if resource.plugin is not None else given[resource.name]
    return found


def _brought(resource: BoundResource, given: dict[str, Any]) -> Any:
    """Return what stands in for a resource that a plugin brings."""
    if resource.name == "tmp_path":
        return given["tmp_path"]
    if resource.name == "out":
        return lambda name: given["tmp_path"] / name
    if resource.name == "log":
        import logging

        return logging.getLogger("flowkit.test")
    if resource.name == "rng":
        import random

        return random.Random(0)
    pytest.fail(f"the resource {resource.name!r} needs a run: use flowrun", pytrace=False)
