"""``key`` and ``valid`` of ``cache=``: what these functions of the user's may ask for, and what they are called with."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from flowkit.errors import OptionError, did_you_mean, listing
from flowkit.graph import BoundTask
from flowkit.inputs import Inputs
from flowkit_plugins.cache.policy import Cache

#: ``valid`` may ask for this besides: the stored value.
VALUE = "value"


class Uncertain(Exception):
    """The key cannot be made: the reason says why the node has to run."""


class Unloaded(Uncertain):
    """A value would have to be loaded, and a plan loads none."""


def misfits(task: BoundTask) -> Iterator[OptionError]:
    """Yield what is wrong with the functions of a task's ``cache=``."""
    policy = task.options["cache"]
    assert isinstance(policy, Cache)  # the caller looked
    known = [name for name in _arguments(task) if name not in task.resources]
    for option, function, more in (("key", policy.key, ()), ("valid", policy.valid, (VALUE,))):
        if function is None:
            continue
        what = f"task {task.name!r} ({task.where}): {option} of cache="
        if _is_async(function):
            yield OptionError(f"{what} is async", remedy=f"{option} is called while nothing waits: write it with def.")
            continue
        try:
            asked = inspect.signature(function).parameters.values()
        except (TypeError, ValueError):
            yield OptionError(f"{what} does not say what it takes", remedy="Wrap it: lambda name: …")
            continue
        for each in asked:
            optional = each.default is not each.empty or each.kind in (each.VAR_POSITIONAL, each.VAR_KEYWORD)
            if optional or each.name in known or each.name in more:
                continue
            yield OptionError(
                f"{what} asks for {each.name!r}, which is no argument that it can be called with",
                known=f"there are: {listing([*known, *more])}",
                remedy=did_you_mean(each.name, [*known, *more], "Name arguments of the task."),
            )


def _is_async(function: Any) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(function.__call__)


def arguments(option: str, function: Callable[..., object], inputs: Inputs, *, load: bool) -> dict[str, object]:
    """Return those of a node's arguments that a function asks for.

    Args:
        option: Whether it is ``key`` or ``valid``.
        function: It names them.
        inputs: Of the node.
        load: Whether values may be loaded.

    Raises:
        Unloaded: Some would have to be, and may not.
        Uncertain: Some are not at hand.
    """
    task = inputs.node.task
    names = _named(function, _arguments(task))
    constants = task.constants
    if all(name in constants for name in names):
        return {name: constants[name] for name in names}
    if not load:
        raise Unloaded(f"its `{option}` looks at values, and a plan loads none")
    found = inputs.arguments()
    if found is None:
        raise Uncertain(f"its {option} needs a value that is not at hand")
    return {name: found[name] for name in names if name in found}


def asks_for_value(valid: Callable[..., object]) -> bool:
    """Whether ``valid`` asks for the stored value."""
    return VALUE in inspect.signature(valid).parameters


def _named(function: Callable[..., object], names: Sequence[str]) -> list[str]:
    """Return those of some names that a function asks for: all, if it takes any."""
    asked = inspect.signature(function).parameters
    if any(each.kind is each.VAR_KEYWORD for each in asked.values()):
        return list(names)
    return [name for name in names if name in asked]


def _arguments(task: BoundTask) -> list[str]:
    """Return the names of a task's arguments, resources excepted."""
    names = [*task.constants, *task.parameters]
    names += [edge.argument for edge in task.edges if edge.argument is not None]
    names += [name for element in task.elements for name in element.arguments]
    return list(dict.fromkeys(names))
