"""What a task's ``cache=`` and ``version=`` say."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from flowkit.durations import seconds
from flowkit.records import fields, record


@record(frozen=True)
class Cache:
    """How the result of a task is reused.

    Attributes:
        ttl: Seconds (or ``"1h"``, or a ``timedelta``) after which a result expires, counted from
            the end of its computation; None for never.
        key: Called with those of the task's arguments that it names; what it returns stands for
            the content of them all.
        salt: Anything; a change of it starts afresh.
        valid: Called before a result is reused, with those of the task's arguments that it names,
            and the stored ``value`` if it asks for that; false means: run again. Neither may be async.
    """

    ttl: float | str | timedelta | None = None
    key: Callable[..., object] | None = None
    salt: object = None
    valid: Callable[..., object] | None = None

    def __post_init__(self) -> None:
        if self.ttl is not None:
            object.__setattr__(self, "ttl", seconds(self.ttl))
        for name in ("key", "valid"):
            if getattr(self, name) is not None and not callable(getattr(self, name)):
                raise TypeError(f"{name} is called, and {getattr(self, name)!r} cannot be")

    @property
    def seconds(self) -> float | None:
        """The time to live in seconds, or None."""
        return self.ttl  # type: ignore[return-value]  # __post_init__ converted it


ON = Cache()


def read(value: Any) -> Cache | None:
    """Return what ``cache=`` says; None means off.

    Raises:
        TypeError, ValueError: It is none of its forms.
    """
    if value is True:
        return ON
    if value is False:
        return None
    if isinstance(value, Cache):
        return value
    if isinstance(value, Mapping):
        known = list(fields(Cache))
        unknown = [key for key in value if key not in known]
        if unknown:
            raise ValueError(f"{unknown[0]!r} is not one of {', '.join(known)}")
        return Cache(**value)
    if value is None:
        raise TypeError("True, False, a duration, a mapping or a Cache, not None")
    return Cache(ttl=value)
