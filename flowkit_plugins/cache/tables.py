"""``flowkit cache ls`` and ``stat``, as lines of text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet

from flowkit.durations import words
from flowkit_plugins.cache.continued import PRIVATE
from flowkit_plugins.cache.gc import Kept, Marked, by_task, rows_of
from flowkit_plugins.cache.losses import LOST
from flowkit_plugins.cache.shelf import Entry, natural
from flowkit_plugins.cache.sizes import shown
from flowkit_plugins.cache.traces import Trace


def table(
    head: Sequence[str], rows: Iterable[Sequence[str]], right: AbstractSet[int] = frozenset()
) -> Iterator[str]:
    """Yield lines with aligned columns; those numbered in ``right`` are numbers."""
    lines = [head, *rows]
    widths = [max(len(row[column]) for row in lines) for column in range(len(head))]
    for row in lines:
        cells = [
            f"{cell:>{width}}" if column in right else f"{cell:<{width}}"
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  ".join(cells).rstrip()


def ago(then: float, now: float) -> str:
    """Return how long ago something was, in words."""
    gone = now - then
    return f"{words(gone)} ago" if gone >= 1 else "just now"


def listed(entries: Iterable[Entry], pins: AbstractSet[str], now: float) -> Iterator[str]:
    """Yield a line for each node that has a result."""
    rows = []
    for entry in entries:
        trace = entry.trace
        if trace is not None:
            size = shown(trace.size) if trace.blob else "-"
            rows.append(
                (entry.node, size, ago(trace.created, now), words(trace.took), _note(trace, pins))
            )
    if not rows:
        return
    yield from table(("node", "size", "computed", "took", ""), rows, right={1, 3})
    yield f"{len(rows)} {'result' if len(rows) == 1 else 'results'}"


def _note(trace: Trace, pins: AbstractSet[str]) -> str:
    notes = []
    if trace.key in pins:
        notes.append("pinned")
    if trace.kind == "skipped":
        notes.append(f"skipped: {trace.reason}" if trace.reason else "skipped")
    elif trace.kind == PRIVATE:
        notes.append("for --resume alone")
    elif trace.kind == "hollow":
        notes.append(f"not stored: {trace.reason}")
    elif trace.kind == LOST:
        notes.append(f"lost: {trace.reason}")
    return ", ".join(notes)


def sized(kept: Kept, names: AbstractSet[str] | None) -> Iterator[str]:
    """Yield what each task takes, the largest first, and the sum.

    Args:
        kept: What is in the store.
        names: The tasks that were asked for; None for all.
    """
    took: dict[str, float] = {}
    for trace in kept.traces:
        task = trace.node.partition("[")[0]
        took[task] = took.get(task, 0.0) + trace.took
    tasks = by_task(kept.traces)
    chosen = sorted(
        (t for t in tasks if names is None or t in names), key=lambda t: (-tasks[t][1], natural(t))
    )
    total = sum(size for _, size in tasks.values()) or 1
    rows = [
        (
            task,
            str(tasks[task][0]),
            shown(tasks[task][1]),
            f"{100 * tasks[task][1] / total:.0f}%",
            words(took.get(task, 0)),
        )
        for task in chosen
    ]
    yield from table(("task", "results", "size", "share", "took"), rows, right={1, 2, 3, 4})
    if names is not None:
        return
    live: set[str] = set().union(*map(rows_of, kept.traces)) if kept.traces else set()
    unused = sum(size for row, size in kept.sizes.items() if row not in live | kept.foreign)
    copies = sum(size for row, size in kept.sizes.items() if row.startswith("f-") and row in live)
    yield f"{len(kept.traces)} results in {shown(sum(kept.sizes.values()))}{_parts(copies, unused)}"


def _parts(copies: int, unused: int) -> str:
    parts = []
    if copies:
        parts.append(f"{shown(copies)} are copies of files in out/")
    if unused:
        parts.append(f"{shown(unused)} belong to no result any more (flowkit cache gc)")
    return f"; {', '.join(parts)}" if parts else ""


def swept(marked: Marked, *, dry: bool) -> Iterator[str]:
    """Yield what a sweep takes from each task, and the sum."""
    goes, stays = by_task(marked.traces), by_task(marked.stays)
    if goes:
        rows = [
            (task, str(goes[task][0]), shown(goes[task][1]), *_left(stays, task))
            for task in sorted(goes, key=lambda t: (-goes[t][1], natural(t)))
        ]
        yield from table(("task", "results", "size", "stay", "size"), rows, right={1, 2, 3, 4})
    freed = marked.before - marked.after
    verb = "would free" if dry else "freed"
    count = len(marked.traces)
    yield f"{verb} {shown(freed)} of {shown(marked.before)}: {count} {'result' if count == 1 else 'results'}"


def _left(stays: Mapping[str, tuple[int, int]], task: str) -> tuple[str, str]:
    count, size = stays.get(task, (0, 0))
    return str(count), shown(size)
