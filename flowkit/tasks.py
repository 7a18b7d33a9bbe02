"""``@task``: a function whose result others can ask for by name. The function is returned untouched."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import FunctionType
from typing import Any, TypeVar, overload

from flowkit.declarations import NOTHING, Declaration
from flowkit.errors import DeclarationError

F = TypeVar("F", bound=Callable[..., Any])

MARK = "__flowkit__"

#: Where the collector wants to hear of declarations while it loads a module (duplicates show only here).
recorders: list[list[Declaration]] = []


class Task(Declaration):
    """The record that ``@task`` makes of a function."""

    __slots__ = ()
    kind = "task"


def record(kind: type[Declaration], function: Callable[..., Any], options: dict[str, object]) -> None:
    """Leave a declaration on its function and tell whoever is loading a module.

    Raises:
        DeclarationError: It is no function that a declaration can be left on, or that has a name to ask by.
    """
    plain = callable(function) and hasattr(function, "__dict__") and not isinstance(function, (type, partial))
    if not plain or not (options.get("name") or hasattr(function, "__name__")):
        raise DeclarationError(
            f"@{kind.kind} over {function!r}, which is no function written in Python",
            remedy="Write a function that calls it: others ask by its name, and its arguments say what it needs.",
        )
    declaration = kind(function, options)
    setattr(function, MARK, declaration)
    if recorders:
        recorders[-1].append(declaration)


def declared(thing: object) -> Declaration | None:
    """Return what a decorator of flowkit's recorded on ``thing``, or None."""
    if type(thing) is FunctionType:
        own = thing.__dict__.get(MARK)
        if own is None or (type(own) is Task and own.function is thing):
            return own
    found = getattr(thing, "__dict__", None)
    mark = found.get(MARK) if isinstance(found, (dict, Mapping)) else None
    if mark is None or not isinstance(mark, Declaration) or isinstance(thing, type):
        return None
    if mark.function is not thing and callable(thing):
        # A decorator above ours copied the mark with functools.wraps: what it made is what is called.
        wrapped = type(mark)(thing, {**mark.options, "name": mark.name})
        wrapped.renamed = mark.renamed
        return wrapped
    return mark


@overload
def task(function: F, /) -> F: ...
@overload
def task(
    *,
    name: str = ...,
    each: Mapping[str, object] = ...,
    provides: Sequence[str] = ...,
    needs: Sequence[str] = ...,
    trigger: str = ...,
    fallback: str = ...,
    allow_failure: bool = ...,
    tags: Sequence[str] = ...,
    retries: object = ...,
    timeout: object = ...,
    cache: object = ...,
    version: object = ...,
    limit: object = ...,
    notify: object = ...,
    expect: object = ...,
    effect: bool = ...,
    strategy: object = ...,
    worker: Mapping[str, object] = ...,
    **options: object,
) -> Callable[[F], F]: ...


def task(function: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """Declare a function as a task.

    Its arguments name the tasks, resources and parameters it needs. The function is returned as
    it is: calling it stays an ordinary call. Nothing else happens at import time.

    Args:
        function: The function, when used without parentheses.
        options: Core options ``name``, ``each``, ``provides``, ``needs``, ``trigger``, ``fallback``,
            ``allow_failure``, ``tags``, and those that plugins bring; checked when the flow is
            collected. ``docs/reference/options.md`` lists them.
    """
    if function is None:
        def decorate(decorated: F) -> F:
            record(Task, decorated, options)
            return decorated

        return decorate
    if type(function) is FunctionType:  # as nearly all are: what record() does, without its checks
        declaration = function.__flowkit__ = Task(function, NOTHING)  # type: ignore[attr-defined]  # this is MARK
        if recorders:
            recorders[-1].append(declaration)
        return function
    if not callable(function):
        raise TypeError(f"@task decorates a function, not {function!r}; options are keyword arguments")
    record(Task, function, NOTHING)
    return function
