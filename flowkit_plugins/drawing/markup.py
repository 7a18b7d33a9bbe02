"""A drawing in the languages of other programs: Graphviz' dot, and mermaid."""

from __future__ import annotations

import re

from flowkit_plugins.drawing.model import TIMES, Box, Drawing, Kind, Line

_NO_LETTER = re.compile(r"[^\w .,:/|-]")


def _names(drawing: Drawing) -> dict[Box, str]:
    boxes = [box for cluster in drawing.clusters for box in cluster.boxes]
    return {box: f"n{i}" for i, box in enumerate(boxes)}


def dot(drawing: Drawing) -> str:
    """Return the drawing in dot, left to right; flows are clusters."""
    names = _names(drawing)
    out = [
        "digraph flowkit {",
        "  rankdir=LR;",
        '  node [shape=box, style="rounded", fontname="monospace", fontsize=11];',
        '  edge [fontname="sans-serif", fontsize=9];',
    ]
    for i, cluster in enumerate(drawing.clusters):
        out += [
            f"  subgraph cluster_{i} {{",
            f"    label={_quoted(cluster.title)};",
            "    color=gray;",
        ]
        out += [f"    {names[box]} [{_dot_box(box)}];" for box in cluster.boxes]
        out.append("  }")
        for line in cluster.lines:
            looks = _dot_line(line)
            out.append(
                f"  {names[line.source]} -> {names[line.target]}{f' [{looks}]' if looks else ''};"
            )
    return "\n".join([*out, "}", ""])


def _dot_box(box: Box) -> str:
    looks = [f"label={_quoted(_lines_of(box))}"]
    if box.is_resource:
        looks.append("shape=ellipse")
    elif box.axes:
        looks.append("peripheries=2")
    if box.doc or box.where:
        looks.append(f"tooltip={_quoted(' — '.join(t for t in (box.where, box.doc) if t))}")
    return ", ".join(looks)


def _dot_line(line: Line) -> str:
    looks = [f"label={_quoted(line.label)}"] if line.label else []
    if line.kind is Kind.RESOURCE:
        looks += ["style=dotted", "arrowhead=none"]
    elif line.kind.dashed:
        looks.append("style=dashed")
    return ", ".join(looks)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _lines_of(box: Box) -> str:
    axes = f"{TIMES} {f' {TIMES} '.join(box.axes)}" if box.axes else ""
    return "\n".join(text for text in (box.name, axes, *box.notes) if text)


def mermaid(drawing: Drawing) -> str:
    """Return the drawing as a mermaid flowchart; flows are subgraphs."""
    names = _names(drawing)
    out = ["flowchart LR"]
    for i, cluster in enumerate(drawing.clusters):
        out.append(f"  subgraph f{i}[{_entities(cluster.title)}]")
        out += [f"    {names[box]}{_mermaid_box(box)}" for box in cluster.boxes]
        out.append("  end")
        for line in cluster.lines:
            arrow = "---" if line.kind is Kind.RESOURCE else "-->"
            if line.kind.dashed:
                arrow = "-.-" if line.kind is Kind.RESOURCE else "-.->"
            label = f"|{_entities(line.label)}|" if line.label else ""
            out.append(f"  {names[line.source]} {arrow}{label} {names[line.target]}")
    return "\n".join([*out, ""])


def _mermaid_box(box: Box) -> str:
    label = "<br/>".join(_escaped(part) for part in _lines_of(box).split("\n"))
    if box.is_resource:
        return f'(["{label}"])'
    return f'[["{label}"]]' if box.axes else f'("{label}")'


def _entities(text: str) -> str:
    return f'"{_escaped(text)}"'


def _escaped(text: str) -> str:
    """Return a text in which only letters, digits and harmless signs stand for themselves."""
    return _NO_LETTER.sub(lambda found: f"#{ord(found[0])};", text)
