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
    """The record that ``@resource`` makes of a function.

    Attributes:
        shared: What stands in for it, of scope ``task``, where a resource asks that attempts share; None for nothing.
    """

    __slots__ = ("shared",)
    kind = "resource"

    def __init__(self, function: Callable[..., Any], options: dict[str, object]) -> None:
        shared: Any = options.pop("shared", None) if options else None
        super().__init__(function, options)
        self.shared = None if shared is None else Resource(shared, {"name": self.name})

    def asked_by(self, scope: str) -> Resource:
        """Return what a resource of a scope gets that asks for this one."""
        return self if scope == "task" or self.shared is None else self.shared

    @property
    def scope(self) -> str:
        """``task``, ``worker`` or ``run``, as written (the resolver refuses others)."""
        return str(self.options.get("scope", "run"))


@overload
def resource(function: F, /) -> F: ...
@overload
def resource(*, scope: Scope = ..., name: str = ..., shared: Callable[..., Any] = ...) -> Callable[[F], F]: ...


def resource(function: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """Declare a function as a resource: it returns, or yields once; what follows the yield tears down.

    Args:
        function: The function, when used without parentheses.
        options: ``scope``: ``"task"`` (one per attempt), ``"worker"`` (one per worker process),
            ``"run"`` (one per run; the default). ``name``: the name others ask for. ``shared``: of one of
            scope ``"task"``, the function that stands in for it where a shared resource asks.
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
