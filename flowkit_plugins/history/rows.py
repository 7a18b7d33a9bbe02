"""Reports and attempts as rows of the history. Made on the writer's thread."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from flowkit.hookspecs import Section
from flowkit.reports import Attempt, NodeReport, RunReport

#: Characters of captured output that are kept of an attempt that ended well, and of one that did not.
TAIL, WHOLE = 20_000, 200_000
LONGEST_ERROR = 20_000

WIDTH = 8
"""Values of a node's row, its rowid included."""

Mask = Callable[[str], str]
AttemptRow = tuple[
    str, int, str, float, float | None, str | None, str | None, str | None, str | None, str | None
]


def node_values(
    reports: Iterable[NodeReport], at: int, zero: float, mask: Mask, counts: dict[str, int]
) -> list[object]:
    """Return the rows of nodes that ended, one after another in one flat list: ``WIDTH`` values each.

    There is a row for every node of every run, so this is written for speed: no tuple is made
    that stays, as enough of them would set off the garbage collector.

    Args:
        reports: Of the nodes.
        at: The first rowid.
        zero: When the run began, on the run clock; times are seconds since then.
        mask: Takes secrets out of reasons.
        counts: Word → number of nodes; counted up.
    """
    values: list[object] = []
    for report in reports:
        unit, tries, word = report.unit, report.attempts, report.word
        reason = report.reason or None
        if reason is not None and mask is not str:
            reason = mask(reason)
        started = took = None
        if tries:
            last = tries[-1]
            started = last.started_at - zero
            if last.ended_at is not None:
                took = last.ended_at - last.started_at
            if word == "not run":
                word = "interrupted"
            elif word == "failed" and unit.stand_in is not None:
                word = "replaced"
        elif report.saved:
            took = report.saved
        name = f"{unit.task.flow.path}::{unit.id}"
        values += (
            at,
            name if mask is str else mask(name),  # an element's id may be made of anything
            word,
            reason,
            report.key or None,
            started,
            took,
            len(tries),
        )
        counts[word] = counts.get(word, 0) + 1
        at += 1
    return values


def attempt_row(attempt: Attempt, zero: float, mask: Mask) -> AttemptRow:
    """Return the row of an attempt that did not simply succeed, or printed something."""
    took = None if attempt.ended_at is None else round(attempt.ended_at - attempt.started_at, 6)
    error = (
        None if attempt.error is None else _clipped(mask(_headline(attempt.error)), LONGEST_ERROR)
    )
    arguments = None
    if attempt.arguments and attempt.kind != "success":
        names = [name for name in attempt.arguments if name not in attempt.task.resources]
        arguments = json.dumps({name: repr(attempt.arguments[name])[:2000] for name in names})
    return (
        mask(attempt.full_id), attempt.number, attempt.kind, round(attempt.started_at - zero, 6), took, error,
        _clipped(mask(attempt.traceback), WHOLE) or None, arguments,
        _sections(attempt.sections, TAIL if attempt.kind == "success" else WHOLE, mask), attempt.again or None,
    )  # fmt: skip


def _headline(error: BaseException) -> str:
    try:
        text = str(error)
    except Exception:  # the user's own exception, whose text raises
        text = ""
    name = type(error).__name__
    return f"{name}: {text}" if text else name


def _clipped(text: str, most: int) -> str:
    return (
        text
        if len(text) <= most
        else f"… {len(text) - most:,} characters left out …\n{text[-most:]}"
    )


def printed(sections: Sequence[Section], mask: Mask) -> str | None:
    """Return what an attempt that still runs has printed."""
    return _sections(sections, TAIL, mask)


def _sections(sections: Sequence[Section] | None, most: int, mask: Mask) -> str | None:
    if not sections:
        return None
    return json.dumps([[s.title, _clipped(mask("\n".join(s.lines)), most)] for s in sections])


def end_of(report: RunReport) -> dict[str, Any]:
    """Return what is noted of a run that is over."""
    mask = report.run.mask
    return {
        "duration": report.duration,
        "exit_code": report.exit_code,
        "stopped": report.stopped,
        "notes": [mask(note) for note in report.notes],
        "teardowns": [
            {"resource": t.resource, "where": t.where, "node": t.node, "error": mask(_headline(t.error)),
             "traceback": _clipped(mask(t.traceback), LONGEST_ERROR)}
            for t in report.teardowns
        ],
    }  # fmt: skip


def status_of(report: RunReport) -> str:
    """Return the word for how a run ended."""
    if report.interrupted:
        return "interrupted"
    return "failed" if report.failed else "ok"
