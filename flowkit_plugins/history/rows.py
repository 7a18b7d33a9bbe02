"""Reports and attempts as rows of the history. Made on the writer's thread."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from flowkit.hookspecs import Section
from flowkit.reports import Attempt, NodeReport, RunReport

#: Characters of captured output that are kept of an attempt that ended well, and of one that did not.
TAIL, WHOLE = 20_000, 200_000
LONGEST_ERROR = 20_000

Mask = Callable[[str], str]
NodeRow = tuple[str, str, str | None, str | None, float | None, float | None, int, float | None]
AttemptRow = tuple[
    str, int, str, float, float | None, str | None, str | None, str | None, str | None, str | None
]


def node_row(report: NodeReport, zero: float, mask: Mask) -> NodeRow:
    """Return the row of a node that ended; times are seconds since the run's start."""
    tries = report.attempts
    reason: str | None = report.reason or None
    if reason is not None and mask is not str:
        reason = mask(reason)
    unit = report.unit
    name = f"{unit.task.flow.path}::{unit.id}"
    if not tries:
        return (name, _word(report), reason, report.key or None, None, None, 0, report.saved or None)
    last = tries[-1]
    ended = last.ended_at
    took = None if ended is None else round(ended - last.started_at, 6)
    started = round(last.started_at - zero, 6)
    return (name, _word(report), reason, report.key or None, started, took, len(tries), None)


def _word(report: NodeReport) -> str:
    """Return a node's word; one that was stopped while it ran is ``interrupted``."""
    word = report.word
    if word == "not run" and report.attempts:
        return "interrupted"
    if word == "failed" and report.unit.stand_in is not None:
        return "replaced"
    return word


def attempt_row(attempt: Attempt, zero: float, mask: Mask) -> AttemptRow:
    """Return the row of an attempt that did not simply succeed, or printed something."""
    took = None if attempt.ended_at is None else round(attempt.ended_at - attempt.started_at, 6)
    error = None if attempt.error is None else _clipped(mask(_headline(attempt.error)), LONGEST_ERROR)
    arguments = None
    if attempt.arguments and attempt.kind != "success":
        names = [name for name in attempt.arguments if name not in attempt.task.resources]
        arguments = json.dumps({name: repr(attempt.arguments[name])[:2000] for name in names})
    return (
        attempt.full_id, attempt.number, attempt.kind, round(attempt.started_at - zero, 6), took, error,
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
    return text if len(text) <= most else f"… {len(text) - most:,} characters left out …\n{text[-most:]}"


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
        "saved": sum(n.saved for n in report.nodes),
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
