"""The elements of a list that a task is mapped over, and their ids."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from enum import Enum
from pathlib import PurePath
from typing import Any

from flowkit.digests import Undigestible, digest
from flowkit.errors import a_kind
from flowkit.values import Collected

LONGEST = 80  #: characters; a longer text is known by its position


class NotAList(TypeError):
    """What a task was to be mapped over has no elements."""


def elements_of(value: object, what: str) -> tuple[Sequence[object], list[str]]:
    """Return the elements of a list in order, and one id for each.

    Args:
        value: A sequence (text and bytes excluded), mapping, set or ``Collected``. A mapping's
            keys are the ids; a set is sorted, or ordered by content where it cannot be.
        what: How an error calls it.

    Raises:
        NotAList: It is none of these.
    """
    if isinstance(value, Mapping):
        return list(value.values()), unique([element_id(key, i) for i, key in enumerate(value)])
    if isinstance(value, Collected):
        return value, unique(list(value.ids))
    items: Any = _ordered(value) if isinstance(value, (set, frozenset)) else checked(value, what)
    return items, unique([element_id(item, i) for i, item in enumerate(items)])


def checked(value: object, what: str) -> Collection[object]:
    """Return what a task is mapped over, if it has elements.

    Raises:
        NotAList: It has none.
    """
    if isinstance(value, _LISTS) and not isinstance(value, (str, bytes, bytearray)):
        return value
    raise NotAList(f"cannot map over {what}: it is {a_kind(value)}, not a sequence, mapping, set or Collected")


_LISTS = (Sequence, Mapping, set, frozenset, Collected)


def parts_of(element: Any, count: int) -> tuple[object, ...] | None:
    """Return the parts of an element for ``count`` arguments; None if it has not so many."""
    if isinstance(element, (str, bytes)):
        return None
    try:
        parts: tuple[object, ...] = tuple(element)
    except Exception:  # also what the user's own ``__iter__`` raises
        return None
    return parts if len(parts) == count else None


def unpacked(element: object, names: Sequence[str], task: str) -> tuple[object, ...]:
    """Return the parts of an element for a task's arguments of these names.

    Raises:
        ValueError: It has not so many.
    """
    parts = parts_of(element, len(names))
    if parts is not None:
        return parts
    raise ValueError(f"{task!r} unpacks an element into {', '.join(names)}, but it is {looks(element)}")


def looks(value: object) -> str:
    """Return how a value looks in an error, at most 200 characters; its kind where its own ``repr`` raises."""
    try:
        return f"{value!r:.200}"
    except Exception:
        return a_kind(value)


def _ordered(values: set[object] | frozenset[object]) -> list[object]:
    """Return a set's elements in an order that is the same in every process."""
    try:
        return sorted(values)  # type: ignore[type-var]  # tried, and caught
    except TypeError:
        pass
    try:
        return sorted(values, key=digest)
    except Undigestible:
        return sorted(values, key=repr)


def element_id(value: object, index: int) -> str:
    """Return the id of an element: its value where that is readable, else its position."""
    kind = type(value)
    if kind is str:
        text: str = value  # type: ignore[assignment]  # by its type
    elif kind is int or kind is float or kind is bool or value is None:
        return str(value)
    elif isinstance(value, (Enum, PurePath)):
        text = value.name
    elif isinstance(value, (str, int, float)):
        text = str(value)
    else:
        return str(index)
    if not text or len(text) > LONGEST:
        return str(index)
    return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")


def unique(ids: list[str]) -> list[str]:
    """Return ids with a suffix where one occurs again: ``q``, ``q_1``, ``q_2``."""
    if len(set(ids)) == len(ids):
        return ids
    taken = set(ids)
    seen: dict[str, int] = {}
    found = []
    for name in ids:
        if name in seen:
            number = seen[name]
            while f"{name}_{number}" in taken:
                number += 1
            seen[name] = number + 1
            name = f"{name}_{number}"  # noqa: PLW2901 - the id with its suffix
            taken.add(name)
        else:
            seen[name] = 1
        found.append(name)
    return found
