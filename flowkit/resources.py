"""``@resource``: something set up where it is used and torn down afterwards, never a value of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeVar, overload

from flowkit.declarations import NOTHING, Declaration
from flowkit.tasks import record

F = TypeVar("F", bound=Callable[..., Any])

Scope = Literal["task", "worker", "run"]

#: From narrow to wide. A resource may ask for resources of its own scope or a wider one.
SCOPES: tuple[Scope, ...] = ("task", "worker", "run")

#: Scopes of pytest that people write by habit, and the one they mean.
PYTEST_SCOPES = {"function": "task", "class": "worker", "module": "run", "package": "run", "session": "run"}


class Resource(Declaration):
    """The record that ``@resource`` makes of a function."""

    __slots__ = ()
    kind = "resource"

    @property
    def scope(self) -> str:
        """``task``, ``worker`` or ``run``, as written (the resolver refuses others)."""
        return str(self.options.get("scope", "run"))


@overload
def resource(function: F, /) -> F: ...
@overload
def resource(*, scope: Scope = ..., name: str = ...) -> Callable[[F], F]: ...


def resource(function: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """Declare a function as a resource: it returns, or yields once; what follows the yield tears down.

    Args:
        function: The function, when used without parentheses.
        options: ``scope``: ``"task"`` (one per attempt), ``"worker"`` (one per worker process),
            ``"run"`` (one per run; the default). ``name``: the name others ask for.
    """
    if function is None:
        def decorate(decorated: F) -> F:
            record(Resource, decorated, options)
            return decorated

        return decorate
    if not callable(function):
        raise TypeError(f"@resource decorates a function, not {function!r}; options are keyword arguments")
    record(Resource, function, NOTHING)
    return function
