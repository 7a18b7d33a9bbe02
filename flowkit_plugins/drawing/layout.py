"""Where boxes go: layers from left to right, few crossings, lines as straight as may be.

The method is Sugiyama's: lines that span several layers pass through points in each; the order
within layers is found by sweeping barycentres to and fro, and the one with the fewest crossings
stays; heights follow from least squares under that order (pool adjacent violators). Nothing is
random, so the same flow is always drawn the same.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from flowkit_plugins.drawing.model import Box, Cluster, Line, forward

_SWEEPS = 8
_ALIGNMENTS = 10
#: Points that long lines may pass through, in all; beyond that they are drawn straight.
_MOST_POINTS = 20_000


@dataclass(slots=True, eq=False)
class Spot:
    """A place in a layer: that of a box, or a point that a long line passes through.

    Attributes:
        box: The box, or None for a point.
        height: What it takes of its layer.
        y: Its middle.
        left, right: The spots of the layers beside it that it is joined to.
    """

    box: Box | None
    height: float
    y: float = 0.0
    left: list[Spot] = field(default_factory=list)
    right: list[Spot] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Layout:
    """Places of all boxes and the ways of all lines of one cluster.

    Attributes:
        layers: The spots of each layer, from top to bottom.
        spots: Box → its spot.
        ways: Line → the spots it passes, ends included. A line that goes back has only its ends.
    """

    layers: Sequence[Sequence[Spot]]
    spots: Mapping[Box, Spot]
    ways: Mapping[Line, Sequence[Spot]]


def arrange(cluster: Cluster, height: Callable[[Box], float], gap: float) -> Layout:
    """Return where the boxes of a cluster go.

    Args:
        cluster: Its boxes know their layers.
        height: Of a box.
        gap: Between two boxes of a layer; half of it is kept from a passing line.
    """
    count = max((box.layer for box in cluster.boxes), default=-1) + 1
    layers: list[list[Spot]] = [[] for _ in range(count)]
    spots: dict[Box, Spot] = {}
    for box in cluster.boxes:
        spots[box] = Spot(box, height(box) + gap)
        layers[box.layer].append(spots[box])
    ways = _ways(cluster, layers, spots, gap)
    _order(layers)
    _align(layers)
    return Layout(layers, spots, ways)


def _ways(
    cluster: Cluster, layers: list[list[Spot]], spots: Mapping[Box, Spot], gap: float
) -> dict[Line, list[Spot]]:
    onward = set(forward(cluster))
    points = sum(line.target.layer - line.source.layer - 1 for line in onward)
    ways: dict[Line, list[Spot]] = {}
    for line in cluster.lines:
        way = [spots[line.source]]
        if line in onward and points <= _MOST_POINTS:
            for layer in range(line.source.layer + 1, line.target.layer):
                point = Spot(None, gap)
                layers[layer].append(point)
                way.append(point)
        way.append(spots[line.target])
        ways[line] = way
        if line in onward:
            for one, other in pairwise(way):
                one.right.append(other)
                other.left.append(one)
    return ways


def _order(layers: list[list[Spot]]) -> None:
    """Sort each layer so that few lines cross."""
    best = [list(layer) for layer in layers]
    fewest = _crossings(layers)
    for sweep in range(_SWEEPS):
        if not fewest:
            break
        rightwards = sweep % 2 == 0
        for layer in layers if rightwards else reversed(layers):
            _sort(layer, layers, rightwards=rightwards)
        crossings = _crossings(layers)
        if crossings < fewest:
            fewest, best = crossings, [list(layer) for layer in layers]
    for layer, ordered in zip(layers, best, strict=True):
        layer[:] = ordered


def _sort(layer: list[Spot], layers: list[list[Spot]], *, rightwards: bool) -> None:
    for other in layers:
        for place, spot in enumerate(other):
            spot.y = place
    centre = {}
    for spot in layer:
        beside = spot.left if rightwards else spot.right
        centre[spot] = sum(s.y for s in beside) / len(beside) if beside else spot.y
    layer.sort(key=centre.__getitem__)


def _crossings(layers: Sequence[Sequence[Spot]]) -> int:
    count = 0
    for layer, after in pairwise(layers):
        place = {spot: i for i, spot in enumerate(after)}
        passed: list[int] = []
        for spot in layer:
            ends = sorted(place[s] for s in spot.right if s in place)
            count += sum(len(passed) - bisect_right(passed, end) for end in ends)
            for end in ends:
                insort(passed, end)
    return count


def _align(layers: Sequence[Sequence[Spot]]) -> None:
    """Give each spot its height: near those it is joined to, and clear of its neighbours."""
    for layer in layers:
        top = 0.0
        for spot in layer:
            spot.y = top + spot.height / 2
            top += spot.height
    for turn in range(_ALIGNMENTS):
        rightwards = turn % 2 == 0
        for layer in layers if rightwards else reversed(layers):
            wished = [_wish(spot, rightwards=rightwards) for spot in layer]
            for spot, y in zip(layer, _apart(layer, wished), strict=True):
                spot.y = y
    tops = [spot.y - spot.height / 2 for layer in layers for spot in layer]
    highest = min(tops, default=0.0)
    for layer in layers:
        for spot in layer:
            spot.y -= highest


def _wish(spot: Spot, *, rightwards: bool) -> float:
    beside = spot.left if rightwards else spot.right
    beside = beside or (spot.right if rightwards else spot.left)
    if not beside:
        return spot.y
    ordered = sorted(s.y for s in beside)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def _apart(layer: Sequence[Spot], wished: Sequence[float]) -> list[float]:
    """Return the heights nearest to those wished for (least squares) at which nothing overlaps."""
    offsets: list[float] = []
    offset = previous = 0.0
    for i, spot in enumerate(layer):
        offset += (previous + spot.height) / 2 if i else 0.0
        previous = spot.height
        offsets.append(offset)
    blocks: list[tuple[float, int]] = []  # (mean of wishes less offsets, how many)
    for wish, own in zip(wished, offsets, strict=True):
        mean, count = wish - own, 1
        while blocks and blocks[-1][0] > mean:
            before, many = blocks.pop()
            mean = (before * many + mean * count) / (many + count)
            count += many
        blocks.append((mean, count))
    means = [mean for mean, count in blocks for _ in range(count)]
    return [mean + own for mean, own in zip(means, offsets, strict=True)]
