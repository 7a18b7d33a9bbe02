"""Containers, dataclasses and models with some of their parts replaced; the originals stay as they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def rebuilt(value: Any, replace: Callable[[Any], Any]) -> Any:
    """Return a container, dataclass or model with its parts replaced, or itself if none changed."""
    if isinstance(value, dict):
        pairs = [(replace(key), replace(part)) for key, part in value.items()]
        if all(
            key is k and part is p for (key, part), (k, p) in zip(pairs, value.items(), strict=True)
        ):
            return value
        copied = _copy(value)
        copied.clear()
        copied.update(pairs)
        return copied
    if isinstance(value, (list, tuple, set, frozenset)):
        parts = [replace(part) for part in value]
        if all(new is old for new, old in zip(parts, value, strict=True)):
            return value
        if isinstance(value, list):
            copied = _copy(value)
            copied[:] = parts
            return copied
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    if isinstance(value, type):
        return value
    names: Any = getattr(
        type(value), "model_fields", getattr(type(value), "__dataclass_fields__", ())
    )
    changed = {}
    for name in names:
        old = getattr(value, name, None)
        new = replace(old)
        if new is not old:
            changed[name] = new
    if not changed:
        return value
    copied = _copy(value)
    for name, new in changed.items():
        object.__setattr__(copied, name, new)  # also where the class is frozen
    return copied


def _copy(value: Any) -> Any:
    import copy

    return copy.copy(value)
