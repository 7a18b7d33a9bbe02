"""Resources while they live: set up once, shared, torn down last-in first-out, always."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Coroutine, Generator, Iterable, Iterator
from types import AsyncGeneratorType, CoroutineType, GeneratorType
from typing import Any

from flowkit.errors import Cancelled, FailRequested, ResourceError, SkipRequested
from flowkit.graph import BoundResource, BoundTask
from flowkit.records import record
from flowkit.reports import Attempt
from flowkit.values import ValueMissing

Await = Callable[[Coroutine[Any, Any, Any]], Any]
Report = Callable[[BoundResource, str, BaseException], None]

#: Types of values that a teardown cannot harm.
_PLAIN = frozenset({type(None), bool, int, float, complex, str, bytes})


class SetupFailed(Exception):
    """A resource could not be set up; the original is ``error``."""

    def __init__(self, resource: BoundResource, error: BaseException) -> None:
        self.resource = resource
        self.error = error
        super().__init__(str(error))


@record()
class Live:
    """A resource that is set up."""

    resource: BoundResource
    value: object
    rest: GeneratorType[Any, Any, Any] | AsyncGeneratorType[Any, Any] | None
    node: str


@record()
class _Shared:
    """A resource that several attempts share.

    Attributes:
        lock: Held while it is set up.
        live: Set when it is.
        error: What its set-up failed with, and in which attempts (by number) that is remembered.
    """

    lock: threading.Lock
    live: Live | None = None
    error: BaseException | None = None
    number: int = 0


class Lifetimes:
    """The shared resources (``run`` and ``worker``) of one process of one run.

    Args:
        wait: Runs a coroutine on the run's event loop and returns its result.
        report: Told of each teardown that raised: resource, node that had it set up, error.
    """

    def __init__(self, wait: Await, report: Report) -> None:
        self._wait = wait
        self._report = report
        self._shared: dict[BoundResource, _Shared] = {}
        self._order: list[Live] = []
        self._lock = threading.Lock()

    def missing(self, resources: Iterable[BoundResource]) -> list[BoundResource]:
        """Return those that attempts share and that are not set up yet, of these and of what an attempt's own ask for."""
        found: list[BoundResource] = []
        for resource in resources:
            if resource.scope == "task":
                found += self.missing(resource.resources.values())
            elif (shared := self._shared.get(resource)) is None or shared.live is None:
                found.append(resource)
        return found

    def value(self, resource: BoundResource, attempt: Attempt, stack: list[Live]) -> object:
        """Return the value of a resource, setting it up (and those it asks for) if need be.

        Args:
            resource: The resource.
            attempt: For whom. A set-up that failed is tried anew only by a retry, once for each wave of
                attempts; one that was cut off, as its attempt was told to stop, by whoever comes next.
            stack: The attempt's own resources, in the order they were set up; ``task`` scope goes here.

        Raises:
            SetupFailed: It could not be set up.
            SkipRequested, FailRequested: Its set-up said so.
        """
        if resource.scope == "task":
            for live in stack:
                if live.resource is resource:
                    return live.value
            live = self._set_up(resource, attempt, stack)
            stack.append(live)
            return live.value
        with self._lock:
            shared = self._shared.get(resource)
            if shared is None:
                shared = self._shared[resource] = _Shared(threading.Lock())
        if shared.live is not None:
            return shared.live.value
        with shared.lock:
            if shared.live is not None:
                return shared.live.value
            if shared.error is not None and attempt.number <= shared.number:
                raise shared.error
            try:
                shared.live = self._set_up(resource, attempt, stack)
            except BaseException as error:
                if not attempt.note:
                    shared.error, shared.number = error, attempt.number
                raise
            with self._lock:
                self._order.append(shared.live)
            return shared.live.value

    def _set_up(self, resource: BoundResource, attempt: Attempt, stack: list[Live]) -> Live:
        arguments = dict(resource.constants)
        for name, below in resource.resources.items():
            arguments[name] = self.value(below, attempt, stack)
        try:
            made: Any = resource.declaration.function(**arguments)
            rest: GeneratorType[Any, Any, Any] | AsyncGeneratorType[Any, Any] | None = None
            kind = type(made)
            if kind is CoroutineType:
                made = self._wait(made)
            elif (kind is GeneratorType or kind is AsyncGeneratorType) and resource.declaration.is_generator:
                rest = made
                made = self._advance(made, resource)
        except SkipRequested as error:
            error.resource = resource.name
            raise
        except (FailRequested, Cancelled, ValueMissing):
            raise
        except BaseException as error:
            raise SetupFailed(resource, error) from error
        return Live(resource, made, rest, attempt.node)

    def _advance(self, generator: Any, resource: BoundResource) -> object:
        try:
            if type(generator) is GeneratorType:
                return next(generator)
            return self._wait(_next(generator))
        except (StopIteration, StopAsyncIteration):
            raise ResourceError(
                f"resource {resource.name!r} ({resource.where}) ended without a yield: it gives no value"
            ) from None
        except RuntimeError as error:
            if isinstance(error.__cause__, StopAsyncIteration):
                raise ResourceError(
                    f"resource {resource.name!r} ({resource.where}) ended without a yield: it gives no value"
                ) from None
            raise

    def close(self, stack: list[Live]) -> None:
        """Tear down the resources of an attempt, the last one first."""
        for live in taken(stack):
            self._tear_down(live)

    def close_shared(self) -> None:
        """Tear down all shared resources, the last one first. Called once, at the end of the run."""
        while self._order:
            self._tear_down(self._order.pop())

    def _tear_down(self, live: Live) -> None:
        rest = live.rest
        if rest is None:
            return
        try:
            if isinstance(rest, Generator):
                try:
                    next(rest)
                except StopIteration:
                    return
                rest.close()
            else:
                if self._wait(_ended(rest)):
                    return
                self._wait(rest.aclose())
            raise ResourceError(
                f"resource {live.resource.name!r} ({live.resource.where}) yielded twice: it yields once, "
                f"and what follows tears down"
            )
        except BaseException as error:
            self._report(live.resource, live.node, error)


def taken(stack: list[Live]) -> Iterator[Live]:
    """Take the resources of an attempt out of its stack, the last one first; each but once, whoever else takes some, too."""
    with contextlib.suppress(IndexError):
        while True:
            yield stack.pop()


def leak(task: BoundTask, attempt: Attempt) -> str:
    """Return a warning if what a task returned is one of its resources, which will be torn down under its users; or ""."""
    if attempt.arguments is None or type(attempt.value) in _PLAIN:
        return ""
    for name in task.resources:
        if attempt.arguments.get(name) is attempt.value:
            return f"`{task.name}` returns the resource `{name}` itself, which is torn down: return what was made with it"
    return ""


async def _next(generator: AsyncGeneratorType[Any, Any]) -> object:
    return await generator.__anext__()


async def _ended(generator: AsyncGeneratorType[Any, Any]) -> bool:
    try:
        await generator.__anext__()
    except StopAsyncIteration:
        return True
    return False
