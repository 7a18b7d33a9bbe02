"""``flowkit logs``: what nodes printed, each line once, also while they still run."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence

from flowkit_plugins.history import printing
from flowkit_plugins.history.reading import AttemptEnd, RunningNode

#: Lines by which the place is found again in a text whose beginning was left out meanwhile.
OVERLAP = 3

_Attempt = tuple[str, int]
_Sections = list[tuple[str, list[str]]]


class Follower:
    """Remembers what was shown of each attempt, and tells what came since.

    Attributes:
        shown: Whether anything was.
    """

    def __init__(self) -> None:
        self.shown = False
        self._told: dict[_Attempt, dict[str, list[str]]] = {}
        self._ended: set[_Attempt] = set()
        self._last: tuple[str, int, str] = ("", 0, "")

    def ended(self, attempts: Sequence[AttemptEnd], wanted: Collection[str] | None) -> Iterator[str]:
        """Yield the lines of attempts that ended: those that are new, and how it failed.

        Args:
            attempts: The attempts.
            wanted: Only those of these nodes; None for all.
        """
        for attempt in attempts:
            which = (attempt.node, attempt.number)
            self._ended.add(which)
            if wanted is not None and attempt.node not in wanted:
                continue
            known = self._told.pop(which, {})
            body = list(_lines(_new(_sections(attempt.sections), known))) + printing.how_it_failed(attempt)
            if body or known:
                self.shown, self._last = True, ("", 0, "")
                yield printing.head_line(attempt)
                yield from body

    def running(
        self, nodes: Sequence[RunningNode], wanted: Collection[str] | None, word: str
    ) -> Iterator[str]:
        """Yield new lines of nodes that have not ended.

        Args:
            nodes: The nodes.
            wanted: Only these nodes; None for all.
            word: What is said of them: that they run, or were running.
        """
        for node in nodes:
            which = (node.node, node.number)
            if which in self._ended or (wanted is not None and node.node not in wanted):
                continue
            known = self._told.setdefault(which, {})
            new = _new(_sections(node.sections), known)
            if not new:
                continue
            self.shown = True
            for title, lines in new:
                if self._last[:2] != which:
                    yield f"=== {node.node} attempt {node.number}: {word} ==="
                if self._last != (*which, title):
                    yield f"--- {title} ---"
                yield from lines
                self._last = (*which, title)
                known[title] = known.get(title, []) + lines


def _sections(text: str | None) -> _Sections:
    return [(title, body.split("\n")) for title, body in json.loads(text or "[]")]


def _new(sections: _Sections, known: dict[str, list[str]]) -> _Sections:
    """Return what of sections is not known yet."""
    found = [(title, _after(lines, known.get(title, []))) for title, lines in sections]
    return [(title, lines) for title, lines in found if lines]


def _after(lines: list[str], known: list[str]) -> list[str]:
    """Return the lines that follow those that are known; their beginning may have been left out."""
    if lines[: len(known)] == known:
        return lines[len(known) :]
    end = known[-OVERLAP:]
    for start in range(len(lines) - len(end), -1, -1):
        if lines[start : start + len(end)] == end:
            return lines[start + len(end) :]
    return lines


def _lines(sections: _Sections) -> Iterator[str]:
    for title, lines in sections:
        yield f"--- {title} ---"
        yield from lines
