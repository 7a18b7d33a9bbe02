"""What is printed: for each row one line per contender, with ratios to the first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

HEAD = ("", "wall ms", "min–max", "×", "µs/node", "×", "building", "MB")
WIDTHS = (26, 9, 15, 7, 9, 7, 9, 7)


@dataclass(slots=True)
class Line:
    """The runs of one contender.

    Attributes:
        who: Its name.
        walls, memories: Seconds and MB, of each run.
        ran, built: Seconds measured inside the process, where they were.
        problem: Why there is nothing to tell.
    """

    who: str
    walls: list[float] = field(default_factory=list)
    memories: list[float] = field(default_factory=list)
    ran: list[float] = field(default_factory=list)
    built: list[float] = field(default_factory=list)
    problem: str = ""

    def facts(self, nodes: int) -> dict[str, float | str | None]:
        """Return the figures, for those who keep them."""
        return {
            "who": self.who,
            "problem": self.problem,
            "runs": len(self.walls),
            "wall_s": _median(self.walls),
            "memory_mb": _median(self.memories),
            "us_per_node": _per(self.ran, nodes),
            "building_us_per_node": _per(self.built, nodes),
        }


def rendered(title: str, goal: str, lines: Sequence[Line], nodes: int) -> str:
    """Return the block of a row."""
    text = [f"{title}: {goal}", _joined(HEAD)]
    first = lines[0]
    for line in lines:
        if line.problem:
            text.append(f"  {line.who:<{WIDTHS[0]}} {line.problem}")
            continue
        text.append(_joined((
            line.who,
            f"{1e3 * median(line.walls):.0f}",
            f"{1e3 * min(line.walls):.0f}–{1e3 * max(line.walls):.0f}",
            _ratio(_median(line.walls), _median(first.walls)),
            _number(_per(line.ran, nodes)),
            _ratio(_median(line.ran), _median(first.ran)),
            _number(_per(line.built, nodes)),
            f"{median(line.memories):.0f}",
        )))  # fmt: skip
    return "\n".join(text) + "\n"


def _joined(cells: Sequence[str]) -> str:
    name, *rest = cells
    return f"  {name:<{WIDTHS[0]}}" + "".join(f"{c:>{w}}" for c, w in zip(rest, WIDTHS[1:], strict=True))


def _median(values: Sequence[float]) -> float | None:
    return median(values) if values else None


def _per(seconds: Sequence[float], nodes: int) -> float | None:
    return 1e6 * median(seconds) / nodes if seconds else None


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


def _ratio(value: float | None, first: float | None) -> str:
    return "" if value is None or not first else f"{value / first:.2f}"
