"""What is known of a result without its value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

Elements = Mapping[str | None, tuple[Sequence[str], Sequence[str]]]
_NO_PARTS: Mapping[str, str] = {}
_NO_ELEMENTS: Elements = {}


class Known:
    """What is known of a node's result, without it. There is one for each element of a run.

    Attributes:
        digest: Its content, or for what has none its key.
        key: The node's key; empty if it has none.
        parts: Provided name → digest.
        elements: Part → (ids, digests), where it is the source of an axis.
    """

    __slots__ = ("digest", "elements", "key", "parts")

    def __init__(
        self,
        digest: str,
        key: str = "",
        parts: Mapping[str, str] = _NO_PARTS,
        elements: Elements = _NO_ELEMENTS,
    ) -> None:
        self.digest = digest
        self.key = key
        self.parts = parts
        self.elements = elements
