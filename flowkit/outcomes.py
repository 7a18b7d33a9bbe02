"""How a node ended: ``Success``, ``Failure`` or ``Skipped``. Failure is data.

A task says in an argument's annotation which of these it wants to see; see
``flowkit.annotations`` for how that is read and ``flowkit.scheduler.triggers`` for what follows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, NoReturn

from flowkit.errors import FailRequested, SkipRequested
from flowkit.records import record

if TYPE_CHECKING:
    # With a default, so that a bare ``Failure`` or ``Skipped`` needs no brackets under mypy --strict.
    from typing_extensions import TypeVar

    T_co = TypeVar("T_co", covariant=True, default=Any)
else:
    from typing import TypeVar

    T_co = TypeVar("T_co", covariant=True)


class Outcome(Generic[T_co]):
    """What became of a node: one of :class:`Success`, :class:`Failure`, :class:`Skipped`."""

    __slots__ = ()


@record(frozen=True)
class Success(Outcome[T_co]):
    """The node returned.

    Attributes:
        value: What it returned.
        attempts: How many calls it took; 0 if it was reused.
        duration: Seconds that the last call took.
        cached: Whether the value was reused instead of computed.
    """

    value: T_co
    attempts: int = 1
    duration: float = 0.0
    cached: bool = False


@record(frozen=True)
class Failure(Outcome[T_co]):
    """The node raised, timed out, or could not be run.

    ``Failure[E]`` in an annotation means: failed with an ``E``, matched as ``except E`` matches.

    Attributes:
        error: The exception; a ``TimeoutError`` for a timeout.
        traceback: Its traceback as text, cut to the user's frames.
        attempts: How many calls were made.
        kind: ``error``, ``timeout``, ``lost``, ``setup`` or ``pickle``.
    """

    error: BaseException
    traceback: str = ""
    attempts: int = 1
    kind: str = "error"

    def __class_getitem__(cls, item: Any) -> Any:
        """Return the class for an annotation; several exceptions are joined, as in a union."""
        if isinstance(item, tuple):
            names = [getattr(each, "__name__", repr(each)) for each in item]
            raise TypeError(f"Failure[{', '.join(names)}]: join them with |: Failure[{' | '.join(names)}]")
        # A record is a class made anew, of which super() alone does not know.
        return super(Failure, cls).__class_getitem__(item)  # type: ignore[misc]  # noqa: UP008 - Generic has it


@record(frozen=True)
class Skipped(Outcome[T_co]):
    """The node did not run.

    Attributes:
        reason: Why, in words.
        failures: The root failures, where a failure above is the cause; else empty.
    """

    reason: str = ""
    failures: tuple[Failure[object], ...] = ()


def skip(reason: str = "") -> NoReturn:
    """End this task (or what a resource is set up for) as skipped, without a traceback."""
    raise SkipRequested(reason)


def fail(reason: str = "") -> NoReturn:
    """End this task as failed, for good: it is not retried, and shows no traceback."""
    raise FailRequested(reason)
