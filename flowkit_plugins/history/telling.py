"""``flowkit why``: what happened to a node, in sentences."""

from __future__ import annotations

from collections.abc import Sequence

from flowkit.durations import words
from flowkit_plugins.history.printing import how_long
from flowkit_plugins.history.reading import AttemptEnd, NodeEnd, Repair, RunRow
from flowkit_plugins.history.tree import task_of

_CALLED = {"ran": "ran", "same": "ran and gave what it gave before", "failed": "failed", "timeout": "took too long",
           "error": "could not be run", "interrupted": "was interrupted while it ran", "replaced": "failed, and its fallback stood in for it"}  # fmt: skip


def told(
    end: NodeEnd,
    run: RunRow,
    ago: str,
    *,
    nodes: Sequence[NodeEnd],
    attempts: Sequence[AttemptEnd],
    repair: Repair | None,
) -> list[str]:
    """Return the lines that say what became of a node."""
    what, _, reason = _what(end, run).partition(": ")
    lines = [f"`{end.node}` {what} in run {run.id}, {ago}{f': {reason}' if reason else ''}."]
    if end.called is not None:
        tries = f", attempt {end.tries}" if end.tries > 1 else ""
        lines.append(f"  It took {words(end.called)}{tries}.")
    if end.reason and end.word in _CALLED and end.reason != end.word:
        lines.append(f"  It was called because: {end.reason}.")
    mine = [a for a in attempts if a.node == end.node]
    for attempt in mine:
        if attempt.error and attempt.kind != "success":
            more = f"; {attempt.again}" if attempt.again else ""
            lines.append(f"  Attempt {attempt.number}: {attempt.error.splitlines()[0]}{more}")
    last = mine[-1] if mine else None
    if (
        last is not None
        and last.traceback
        and end.word in _CALLED
        and end.word not in ("ran", "same")
    ):
        lines += ["", *(f"    {line}" for line in last.traceback.rstrip().splitlines())]
    if end.word == "upstream":
        lines += _roots(nodes)
    if repair is not None:
        lines.append(
            f"  Since then it was set by hand by {repair.who}: {repair.what} {repair.value or ''}".rstrip()
        )
    return lines


def _what(end: NodeEnd, run: RunRow) -> str:
    if end.word in _CALLED:
        return _CALLED[end.word]
    reason = f": {end.reason}" if end.reason else ""
    if end.word == "cached":
        saved = f", which saved {words(end.saved)}" if end.saved else ""
        return f"was reused{f' ({end.reason})' if end.reason else ''}{saved}"
    if end.word == "skipped":
        return f"was skipped{reason}"
    if end.word == "upstream":
        return f"did not run, because something above it failed{reason}"
    if end.word == "running":
        return f"is running {how_long(run, end)}" if run.status == "running" else "was running when last heard of"
    return f"was not run{reason}"


def _roots(nodes: Sequence[NodeEnd], most: int = 5) -> list[str]:
    wrong = [n for n in nodes if n.word in ("failed", "timeout", "error")]
    if not wrong:
        return []
    shown = ", ".join(f"`{n.node}`" for n in wrong[:most])
    more = f" and {len(wrong) - most} more" if len(wrong) > most else ""
    return [f"  What failed in that run: {shown}{more}."]


def matching(text: str, nodes: Sequence[str]) -> list[str]:
    """Return the nodes that a person means: a full id, an id within the flow, a task, or a part of one."""
    for fits in (
        lambda name: name == text,
        lambda name: name.partition("::")[2] == text,
        lambda name: task_of(name) == text or task_of(name).partition("::")[2] == text,
        lambda name: text in name,
    ):
        found = [name for name in nodes if fits(name)]
        if found:
            return found
    return []
