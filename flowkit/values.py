"""What tasks hand to each other: a value in hand, or a handle that fetches it when asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar, overload

T_co = TypeVar("T_co", covariant=True)

_UNFETCHED: Any = object()


class ValueMissing(Exception):
    """A handle whose value is gone or damaged: the node has to be called again.

    Args:
        reason: What is wrong with it, in words.
    """

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


class Handle:
    """A value that is known to exist and is fetched when somebody touches it.

    Args:
        fetch: Returns the value, or raises :class:`ValueMissing`. Called once at the most.
        of: What ``fetch`` is called with, if it takes something. There is a handle for every node
            of a warm run, so that one function serves for all.
        elements: Where they are known without fetching: for the whole (None) or a provided name,
            the ids of the elements of the list.
    """

    __slots__ = ("_fetch", "_of", "_value", "elements")

    def __init__(
        self,
        fetch: Callable[..., object],
        elements: Mapping[str | None, Sequence[str]] | None = None,
        of: object = _UNFETCHED,
    ) -> None:
        self._fetch = fetch
        self._of = of
        self._value: object = _UNFETCHED
        self.elements = elements

    def get(self) -> object:
        """Return the value, fetching it the first time."""
        if self._value is _UNFETCHED:
            self._value = self._fetch() if self._of is _UNFETCHED else self._fetch(self._of)
        return self._value


class Collected(Sequence[T_co]):
    """The results of a mapped task, gathered: a read-only sequence in source order.

    Elements that are still in the store are loaded when touched. In a unit test an
    ordinary list stands in for it.

    Attributes:
        ids: The ids of the elements (of the gathered axes), in order.
    """

    __slots__ = ("_items", "_keys", "ids")

    def __init__(self, items: Sequence[object], ids: Sequence[str]) -> None:
        self._items = items
        self._keys: dict[str, int] | None = None
        self.ids: tuple[str, ...] = tuple(ids)

    def __len__(self) -> int:
        return len(self._items)

    @overload
    def __getitem__(self, index: int | str) -> T_co: ...
    @overload
    def __getitem__(self, index: slice) -> Collected[T_co]: ...

    def __getitem__(self, index: int | str | slice) -> T_co | Collected[T_co]:
        """Return one element by position or id, or a part of the collection by slice."""
        if isinstance(index, slice):
            return Collected(self._items[index], self.ids[index])
        if isinstance(index, str):
            if self._keys is None:
                self._keys = {key: position for position, key in enumerate(self.ids)}
            index = self._keys[index]
        item = self._items[index]
        return item.get() if type(item) is Handle else item  # type: ignore[return-value]  # a Handle is never T

    def __iter__(self) -> Iterator[T_co]:
        for item in self._items:
            yield item.get() if type(item) is Handle else item  # type: ignore[misc]  # as above

    def items(self) -> Iterator[tuple[str, T_co]]:
        """Yield (id, element) pairs in order."""
        return zip(self.ids, self, strict=True)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Collected):
            return self.ids == other.ids and list(self) == list(other)
        return list(self) == other if isinstance(other, list) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # as a list: equal by content, so not hashable

    def __repr__(self) -> str:
        shown = ", ".join(f"{key}: {value!r}" for key, value in zip(self.ids[:5], self, strict=False))
        return f"Collected({{{shown}{', …' if len(self) > 5 else ''}}})"

    def __reduce__(self) -> tuple[object, ...]:
        return (Collected, (list(self), self.ids))
