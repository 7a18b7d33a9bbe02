"""Reports and attempts as rows of the history. Made on the writer's thread."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from flowkit.hookspecs import Section
from flowkit.reports import Attempt, NodeReport, RunReport

#: Characters of captured output that are kept of an attempt that ended well, and of one that did not.
TAIL, WHOLE = 20_000, 200_000
LONGEST_ERROR = 20_000

AT_ONCE = 100
"""Rows in one statement: SQLite takes 999 values everywhere, and the interpreter's lock is asked for once."""

Mask = Callable[[str], str]
AttemptRow = tuple[
    str, int, str, float, float | None, str | None, str | None, str | None, str | None, str | None
]


Insert = tuple[str, list[object]]


def node_inserts(
    reports: Sequence[NodeReport], at: int, zero: float, mask: Mask, counts: dict[str, int]
) -> list[Insert]:
    """Return statements that write down nodes that ended, with the values of each.

    There is a row for every node of every run, so this is written for speed: a column at a time,
    and what all rows of a statement have in common stands in its text. It costs the ``sqlite3``
    module most to be given None. No tuple is made that stays, as enough of them would set off the
    garbage collector.

    Args:
        reports: Of the nodes.
        at: The first rowid.
        zero: When the run began, on the run clock; times are seconds since then.
        mask: Takes secrets out of reasons.
        counts: Word → number of nodes; counted up.
    """
    found = []
    for start in range(0, len(reports), AT_ONCE):
        some = reports[start : start + AT_ONCE]
        names, words, reasons, keys, started, took, tries = _columns(some, zero, mask)
        word_of_all = _shared(words)
        for word in words[:1] if word_of_all else dict.fromkeys(words):
            counts[word] = counts.get(word, 0) + words.count(word)
        first = at + start
        columns: list[Sequence[object]] = [range(first, first + len(some)), names]
        places = ["?", "?"]
        for column, place in (
            (words, word_of_all), (reasons, _missing(reasons)), (keys, _missing(keys)),
            (started, _missing(started)), (took, _missing(took)), (tries, _shared(tries)),
        ):  # fmt: skip
            places.append(place or "?")
            if place is None:
                columns.append(column)
        width = len(columns)
        values: list[object] = [None] * (width * len(some))
        for i, told in enumerate(columns):
            values[i::width] = told
        found.append((_insert(", ".join(places), len(some)), values))
    return found


@lru_cache(maxsize=64)
def _insert(row: str, count: int) -> str:
    """Return the statement for so many rows; the same text each time, so that it is hashed once."""
    return f"INSERT INTO nodes VALUES {', '.join([f'({row})'] * count)}"


def _missing(column: list[Any]) -> str | None:
    """Return NULL if no row has anything in a column; a text all share is not worth a statement of its own."""
    return "NULL" if column.count(None) == len(column) else None


def _shared(column: list[Any]) -> str | None:
    """Return as SQL the word or number that all rows have in a column; None if they differ."""
    value = column[0]
    if column.count(value) != len(column):
        return None
    return str(value) if type(value) is int else f"'{value}'"


def _columns(reports: Sequence[NodeReport], zero: float, mask: Mask) -> tuple[list[Any], ...]:
    """Return the names, words, reasons, keys, starts, times taken and numbers of attempts of nodes."""
    names = [f"{report.unit.task.flow.path}::{report.unit.id}" for report in reports]
    words = [report.word for report in reports]
    reasons = [report.reason or None for report in reports]
    if mask is not str:
        names = [mask(name) for name in names]  # an element's id may be made of anything
        reasons = [None if reason is None else mask(reason) for reason in reasons]
    keys = [report.key or None for report in reports]
    started: list[float | None] = [None] * len(reports)
    took: list[float | None] = [report.saved or None for report in reports]
    tries = [len(report.attempts) for report in reports]
    if any(tries):
        for i, report in enumerate(reports):
            if not tries[i]:
                continue
            last = report.attempts[-1]
            started[i] = last.started_at - zero
            took[i] = None if last.ended_at is None else last.ended_at - last.started_at
            if report.word == "not run":
                words[i] = "interrupted"
            elif report.word == "failed" and report.unit.stand_in is not None:
                words[i] = "replaced"
    return names, words, reasons, keys, started, took, tries


def attempt_row(attempt: Attempt, zero: float, mask: Mask) -> AttemptRow:
    """Return the row of an attempt that did not simply succeed, or printed something."""
    took = None if attempt.ended_at is None else round(attempt.ended_at - attempt.started_at, 6)
    error = (
        None if attempt.error is None else _clipped(mask(_headline(attempt.error)), LONGEST_ERROR)
    )
    arguments = None
    if attempt.arguments and attempt.kind != "success":
        names = [name for name in attempt.arguments if name not in attempt.task.resources]
        arguments = json.dumps({name: mask(repr(attempt.arguments[name]))[:2000] for name in names})
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
