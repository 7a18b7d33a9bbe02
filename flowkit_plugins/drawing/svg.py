"""A drawing as one svg file that needs nothing else: light or dark as the reader likes it."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

from flowkit_plugins.drawing.layout import Layout, Spot, arrange
from flowkit_plugins.drawing.model import TIMES, Box, Cluster, Drawing, Kind, Line

_LETTER = 7.3  # of the name, in pixels
_SMALL = 6.1  # of what stands below it
_LONGEST = 40  # letters
_PADDING = 12.0
_LINE_HEIGHT = 14.0
_GAP = 18.0
_BETWEEN = 64.0  # layers
_MARGIN = 24.0
_HEAD = 34.0  # of a flow: its title

_STYLE = """
  svg { background: #ffffff; font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; }
  .flow { fill: #f6f7f9; stroke: #d8dce2; }
  .title { fill: #4a5361; font-size: 12px; font-weight: 600; }
  .box { fill: #ffffff; stroke: #7a8699; stroke-width: 1.2; }
  .mapped { fill: #eaf2fd; stroke: #3f76c4; stroke-width: 1.2; }
  .resource { fill: #fdf5e6; stroke: #b3883b; stroke-width: 1.2; }
  .name { fill: #1c2430; font-size: 12px; }
  .note { fill: #5c6675; font-size: 10px; }
  .line { fill: none; stroke: #8a94a3; stroke-width: 1.3; }
  .dashed { stroke-dasharray: 5 4; }
  .dotted { stroke: #b3883b; stroke-dasharray: 1.5 3.5; }
  .fails { stroke: #c2483d; }
  .head { fill: #8a94a3; }
  .said { fill: #5c6675; font-size: 10px; stroke: #f6f7f9; stroke-width: 4px; stroke-linejoin: round; paint-order: stroke; }
  @media (prefers-color-scheme: dark) {
    svg { background: #14171c; }
    .flow { fill: #1b1f26; stroke: #333a45; }
    .title { fill: #aab4c3; }
    .box { fill: #232933; stroke: #7a8699; }
    .mapped { fill: #1d2f4a; stroke: #6aa0ea; }
    .resource { fill: #35291a; stroke: #cda45c; }
    .name { fill: #e8ecf2; }
    .note { fill: #9aa5b5; }
    .line { stroke: #76808f; }
    .dotted { stroke: #cda45c; }
    .fails { stroke: #e8776d; }
    .head { fill: #76808f; }
    .said { fill: #aab4c3; stroke: #1b1f26; }
  }
"""


_ARROW = """<defs>
  <marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">
    <path class="head" d="M0 0.5 L8 4 L0 7.5 z"/>
  </marker>
</defs>"""


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a box is: its left and right edge, its middle, and the right edge of its layer."""

    left: float
    right: float
    y: float
    height: float
    edge: float


def svg(drawing: Drawing) -> str:
    """Return the drawing as an svg document; flows stand one below the other."""
    body: list[str] = []
    top, widest = _MARGIN, 0.0
    for cluster in drawing.clusters:
        width, height, drawn = _cluster(cluster, top)
        body += drawn
        top += height + _MARGIN
        widest = max(widest, width)
    width = widest + 2 * _MARGIN
    measures = f'width="{width:.0f}" height="{top:.0f}" viewBox="0 0 {width:.0f} {top:.0f}"'
    title = ", ".join(cluster.title for cluster in drawing.clusters)
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" {measures} role="img">',
            f"<title>{escape(title)}</title>",
            f"<style>{_STYLE}</style>",
            _ARROW,
            *body,
            "</svg>",
            "",
        ]
    )


def _cluster(cluster: Cluster, top: float) -> tuple[float, float, list[str]]:
    layout = arrange(cluster, _height, _GAP)
    places = _places(layout, _MARGIN + _PADDING, top + _HEAD)
    right = max((place.right for place in places.values()), default=_MARGIN)
    right = max(right, _MARGIN + _PADDING + _width(cluster.title, _LETTER))
    low = max((place.y + place.height / 2 for place in places.values()), default=top + _HEAD)
    low = max([low, *(spot.y + top + _HEAD for layer in layout.layers for spot in layer)])
    width, height = right + _PADDING - _MARGIN, low + _GAP - top
    drawn = [
        f'<rect class="flow" x="{_MARGIN:.0f}" y="{top:.0f}" width="{width:.0f}" height="{height:.0f}" rx="8"/>',
        f'<text class="title" x="{_MARGIN + _PADDING:.0f}" y="{top + 20:.0f}">{escape(cluster.title)}</text>',
    ]
    for line, way in layout.ways.items():
        drawn += _line(line, _points(way, places))
    for box in cluster.boxes:
        drawn += _box(box, places[layout.spots[box]])
    return width, height, drawn


def _places(layout: Layout, left: float, top: float) -> dict[Spot, _Place]:
    """Return the places of all spots; points take the whole width of their layer."""
    said: dict[int, float] = {}  # layer → width of what is said of the lines that end there
    for line in layout.ways:
        layer, width = line.target.layer, _width(_cut(line.label), _SMALL)
        said[layer] = max(said.get(layer, 0.0), width)
    places: dict[Spot, _Place] = {}
    for number, spots in enumerate(layout.layers):
        widest = max((_box_width(spot.box) for spot in spots if spot.box), default=0.0)
        for spot in spots:
            width = _box_width(spot.box) if spot.box else widest
            height = _height(spot.box) if spot.box else 0.0
            places[spot] = _Place(left, left + width, top + spot.y, height, left + widest)
        left += widest + max(_BETWEEN, said.get(number + 1, 0.0) + 44.0)
    return places


def _points(way: Sequence[Spot], places: Mapping[Spot, _Place]) -> list[tuple[float, float]]:
    """Return the points a line goes through, from a right edge to a left edge."""
    first, last = places[way[0]], places[way[-1]]
    points = [(first.right, first.y)]
    if first.edge > first.right and last.left > first.edge:
        points.append((first.edge, first.y))
    for spot in way[1:-1]:
        place = places[spot]
        points += [(place.left, place.y), (place.right, place.y)]
    return [*points, (last.left, last.y)]


def _line(line: Line, points: Sequence[tuple[float, float]]) -> Iterator[str]:
    way = f"M{points[0][0]:.1f} {points[0][1]:.1f}"
    for (x, y), (to_x, to_y) in pairwise(points):
        if y == to_y and to_x > x:
            way += f" L{to_x:.1f} {to_y:.1f}"
            continue
        pull = max(24.0, abs(to_x - x) / 2)
        way += f" C{x + pull:.1f} {y:.1f} {to_x - pull:.1f} {to_y:.1f} {to_x:.1f} {to_y:.1f}"
    looks = "line"
    if line.kind is Kind.RESOURCE:
        looks += " dotted"
    elif line.kind.dashed:
        looks += " dashed"
    if line.kind is Kind.FALLBACK or line.failure:
        looks += " fails"
    said = f"{line.source.name} → {line.target.name}{f': {line.label}' if line.label else ''}"
    head = "" if line.kind is Kind.RESOURCE else ' marker-end="url(#head)"'
    yield f'<path class="{looks}" d="{way}"{head}><title>{escape(said)}</title></path>'
    if line.label:
        (x, y), (to_x, to_y) = points[-2], points[-1]
        yield (
            f'<text class="said" x="{(x + to_x) / 2:.1f}" y="{(y + to_y) / 2 - 4:.1f}" '
            f'text-anchor="middle">{escape(_cut(line.label))}</text>'
        )


def _box(box: Box, place: _Place) -> Iterator[str]:
    looks = "resource" if box.is_resource else "mapped" if box.axes else "box"
    top, width = place.y - place.height / 2, place.right - place.left
    radius = place.height / 2 if box.is_resource else 5
    about = "\n".join(text for text in (box.label, *box.notes, box.doc, box.where) if text)
    yield f"<g><title>{escape(about)}</title>"
    for shift in (6, 3, 0) if box.axes else (0,):
        yield (
            f'<rect class="{looks}" x="{place.left + shift:.1f}" y="{top - shift:.1f}" '
            f'width="{width - (6 if box.axes else 0):.1f}" height="{place.height:.1f}" rx="{radius:.0f}"/>'
        )
    middle = place.left + (width - (6 if box.axes else 0)) / 2
    texts = _texts(box)
    y = top + 20
    for i, text in enumerate(texts):
        looks = "note" if i else "name"
        yield f'<text class="{looks}" x="{middle:.1f}" y="{y:.1f}" text-anchor="middle">{escape(text)}</text>'
        y += _LINE_HEIGHT
    yield "</g>"


def _texts(box: Box) -> list[str]:
    axes = [f"{TIMES} {f' {TIMES} '.join(box.axes)}"] if box.axes else []
    return [_cut(text) for text in (box.name, *axes, *box.notes)]


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _height(box: Box) -> float:
    return 32.0 + _LINE_HEIGHT * (len(_texts(box)) - 1) + (6 if box.axes else 0)


def _box_width(box: Box) -> float:
    name, *notes = _texts(box)
    widest = max([_width(name, _LETTER), *(_width(note, _SMALL) for note in notes)])
    return max(60.0, widest + 2 * _PADDING) + (6 if box.axes else 0)


def _width(text: str, letter: float) -> float:
    return letter * sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)
