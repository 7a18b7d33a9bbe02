"""A drawing for the terminal: every task once, below what it hangs off.

::

    day_files
    ↓ raw_day [day_files]             each
    ├─ weather [day_files]
    ↓ clean_day [day_files]           also after weather
    ⇣ report                          collected

A task stands below the deepest of those it needs; the others are named beside it. The largest
part of what hangs off a task goes straight down and the rest is set in, so a drawing of *n* tasks
is never set in deeper than log₂ n times.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from flowkit_plugins.drawing.model import TIMES, Box, Cluster, Drawing, Line, forward

_PLAIN = str.maketrans(
    {"↓": "|", "⇣": ":", "├": "+", "─": "-", "┄": ".", "│": "|", TIMES: "x", "…": "."}
)
_WIDEST = 60


@dataclass(slots=True)
class _Row:
    drawn: str
    beside: str


def text(drawing: Drawing, *, plain: bool = False) -> str:
    """Return the drawing as lines of text; ``plain`` for screens that know ASCII only."""
    parts = []
    for cluster in drawing.clusters:
        rows = list(_rows(cluster))
        width = min(_WIDEST, max((len(row.drawn) for row in rows if row.beside), default=0))
        lines = [cluster.title]
        lines += [f"  {row.drawn:<{width}}  {row.beside}".rstrip() for row in rows]
        parts.append("\n".join(lines) + "\n")
    drawn = "\n".join(parts)
    return drawn.translate(_PLAIN).encode("ascii", "replace").decode() if plain else drawn


def _rows(cluster: Cluster) -> Iterator[_Row]:
    place = {box: i for i, box in enumerate(cluster.boxes)}
    above: dict[Box, list[Line]] = {box: [] for box in cluster.boxes}
    for line in cluster.lines:
        above[line.target].append(line)
    main = _main_lines(cluster)
    below: dict[Box, list[Line]] = {box: [] for box in cluster.boxes}
    for line in main.values():
        below[line.source].append(line)
    weights = _weights(cluster.boxes, main)
    for lines in below.values():
        lines.sort(key=lambda line: (weights[line.target], place[line.target]))
    stack: list[tuple[Box, str, str]] = [
        (box, "", "") for box in reversed(cluster.boxes) if box not in main
    ]
    while stack:
        box, lead, rails = stack.pop()
        yield _Row(f"{lead}{box.label}", _beside(box, main.get(box), above[box]))
        lines = below[box]
        if not lines:
            continue
        trunk = lines[-1]
        stack.append((trunk.target, f"{rails}{'⇣' if trunk.kind.dashed else '↓'} ", rails))
        for line in reversed(lines[:-1]):
            arm = "├┄" if line.kind.dashed else "├─"
            stack.append((line.target, f"{rails}{arm} ", f"{rails}│  "))


def _main_lines(cluster: Cluster) -> dict[Box, Line]:
    """Return for each box the line it hangs on: that of the deepest box above, the first of equals."""
    main: dict[Box, Line] = {}
    for line in forward(cluster):
        known = main.get(line.target)
        if known is None or line.source.layer > known.source.layer:
            main[line.target] = line
    return main


def _weights(boxes: Sequence[Box], main: dict[Box, Line]) -> dict[Box, int]:
    """Return how many boxes stand below each, itself included."""
    weights = dict.fromkeys(boxes, 1)
    for box in sorted(boxes, key=lambda b: -b.layer):
        if box in main:
            weights[main[box].source] += weights[box]
    return weights


def _beside(box: Box, main: Line | None, above: Sequence[Line]) -> str:
    said = [main.label] if main is not None and main.label else []
    others = [
        f"{line.source.name} ({line.label})" if line.label else line.source.name
        for line in above
        if line is not main
    ]
    if others:
        said.append(f"also after {', '.join(others)}")
    return "; ".join([*said, *box.notes])
