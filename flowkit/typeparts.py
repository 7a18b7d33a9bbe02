"""What a type is made of: whether something is anywhere in it."""

from __future__ import annotations

import typing


def parts_of(annotation: object) -> list[object]:
    """Return everything that a type is made of, the types of fields included; text where that cannot be evaluated."""
    found: list[object] = []
    stack, seen = [annotation], set()
    while stack:
        part = stack.pop()
        if isinstance(part, typing.ForwardRef):
            part = part.__forward_arg__
        if id(part) in seen:
            continue
        seen.add(id(part))
        found.append(part)  # which keeps it alive, and its id its own
        stack += _inside(part)
    return found


def _inside(part: object) -> list[object]:
    """Return what a type is made of: what stands in its brackets, what it is another name of, its fields."""
    if isinstance(part, list):  # the arguments of a Callable
        return part
    arguments = typing.get_args(part)
    origin = typing.get_origin(part)
    if origin is typing.Annotated:
        return [arguments[0]]
    if origin is not None:
        return [] if origin is typing.Literal else [origin, *arguments]
    other = getattr(part, "__supertype__", None) or getattr(part, "__value__", None)
    if not isinstance(part, type):
        return [] if other is None else [other]
    fields = getattr(part, "model_fields", None)
    if isinstance(fields, dict):  # pydantic's
        return [field.annotation for field in fields.values()]
    if any(hasattr(part, mark) for mark in ("__dataclass_fields__", "_fields", "__total__")):
        try:
            return list(typing.get_type_hints(part).values())
        except Exception:  # defined in a function, or under TYPE_CHECKING
            return list(getattr(part, "__annotations__", {}).values())
    return []
