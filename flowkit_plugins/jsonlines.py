"""``--json``: the events of a run as JSON lines on standard output; the report for people goes to standard error.

One object a line, the last one is ``summary``; ``docs/reference/events.md`` says what is in them.
While it goes on, whatever else writes to standard output (``-s``, a task's subprocess, a module
that prints when it is imported) writes to standard error, so that every line is an event.

Hooks only queue up what happened; a thread writes it down, ten times a second.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TextIO

from flowkit import facts
from flowkit.errors import FlowError, NothingToRun
from flowkit.hookspecs import Flag, hookimpl
from flowkit.reports import BAD, Attempt, NodeReport, RunInfo, RunReport, TeardownReport
from flowkit.tracebacks import message

if TYPE_CHECKING:
    from flowkit.session import Session

#: Seconds that an event waits for others at the most.
EVERY = 0.1

Object = dict[str, Any]


@hookimpl
def flowkit_run_options() -> Sequence[Flag]:
    """Declare ``--json``."""
    return (
        Flag(
            name="--json",
            type=bool,
            default=False,
            help="Events as JSON lines on standard output; the report goes to standard error.",
        ),
    )


@hookimpl(tryfirst=True)
def flowkit_configure(session: Session) -> None:
    """Take standard output before anybody else looks for it."""
    if session.flags.get("json"):
        alone = session.out is not None  # on the command line the whole process is the run's
        stream = Stream.taken() if alone else Stream(sys.stdout)
        if alone:
            session.out = sys.stderr
        session.plugins.register(Events(stream, session), "jsonlines:events")


class Stream:
    """Where lines go. A reader who left, or a full disk, does not fail the run."""

    def __init__(self, out: TextIO, restore: Callable[[], None] = lambda: None) -> None:
        self._out: TextIO | None = out
        self._restore = restore

    @classmethod
    def taken(cls) -> Stream:
        """Return standard output, and leave standard error in its place, for child processes too."""
        out = sys.stdout
        try:
            descriptor = out.fileno()
            out.flush()
            kept = os.dup(descriptor)
            os.dup2(2, descriptor)
        except (AttributeError, OSError, ValueError):
            return cls(out)  # it is no file: nothing but Python writes to it

        def restore() -> None:
            with contextlib.suppress(OSError, ValueError):
                out.flush()
            os.dup2(kept, descriptor)
            os.close(kept)

        return cls(os.fdopen(os.dup(kept), "w", encoding="utf-8"), restore)

    def write(self, text: str) -> None:
        """Write, and have it seen."""
        if self._out is None:
            return
        try:
            self._out.write(text)
            self._out.flush()
        except (OSError, ValueError):
            self._drop()

    def close(self) -> None:
        """Put everything back."""
        if self._out is not None and self._out is not sys.stdout:
            self._drop()
        self._out = None
        restore, self._restore = self._restore, lambda: None
        restore()

    def _drop(self) -> None:
        out, self._out = self._out, None
        if out is not None and out is not sys.stdout:
            with contextlib.suppress(OSError, ValueError):
                out.close()


class Events:
    """Tells of the runs of one session."""

    def __init__(self, stream: Stream, session: Session) -> None:
        self._stream = stream
        self._now = session.clock.now
        self._queue: deque[tuple[Callable[..., Object], tuple[Any, ...]]] = deque()
        self._wake = threading.Event()
        self._done = threading.Event()
        self._thread: threading.Thread | None = None
        self._run: RunInfo | None = None

    @hookimpl
    def flowkit_run_started(self, run: RunInfo) -> None:
        """Begin."""
        self._run = run
        self._add(run_started, run)
        self._done.clear()
        self._thread = threading.Thread(target=self._work, name="flowkit-json", daemon=True)
        self._thread.start()

    @hookimpl
    def flowkit_attempt_started(self, attempt: Attempt) -> None:
        """Queue it up."""
        self._add(attempt_started, attempt)

    @hookimpl
    def flowkit_attempt_ended(self, attempt: Attempt) -> None:
        """Queue it up if it is made again; else the node's end tells it."""
        if attempt.again:
            self._add(attempt_ended, attempt)

    @hookimpl
    def flowkit_node_ended(self, report: NodeReport) -> None:
        """Queue it up."""
        assert self._run is not None  # it started
        self._add(node_ended, report, self._run, self._now())

    @hookimpl(trylast=True)
    def flowkit_run_ended(self, report: RunReport) -> None:
        """Tell the rest, and the sum of it. Last, as others add notes."""
        for teardown in report.teardowns:
            self._add(teardown_error, teardown, report)
        self._add(summary, report)
        self._run = None
        self._stop()

    @hookimpl(trylast=True)
    def flowkit_unconfigure(self) -> None:
        """Give standard output back; a run that came to no end has a summary that says so."""
        if self._run is not None:
            self._add(cut_short, self._run, self._now(), sys.exc_info()[1])
            self._run = None
        self._stop()
        self._stream.close()

    def _add(self, tell: Callable[..., Object], *what: object) -> None:
        self._queue.append((tell, what))
        if not self._wake.is_set():
            self._wake.set()

    def _work(self) -> None:
        while not self._done.is_set():
            self._wake.wait()
            self._done.wait(EVERY)
            self._wake.clear()
            self._write()

    def _write(self) -> None:
        lines = []
        while self._queue:
            tell, what = self._queue.popleft()
            lines.append(json.dumps(tell(*what)) + "\n")
        if lines:
            self._stream.write("".join(lines))

    def _stop(self) -> None:
        if self._thread is not None:
            self._done.set()
            self._wake.set()
            self._thread.join()
            self._thread = None
        self._write()


# --- what is told; every event of a kind has the same keys ------------------------------------


def run_started(run: RunInfo) -> Object:
    """The run begins."""
    return {
        "event": "run_started",
        "run": run.id,
        "at": 0.0,
        "flows": [{"name": flow.name, "path": flow.path} for flow in run.graph.flows],
        "tasks": len(run.graph),
        "params": facts.parameters(run),
        "executor": run.executor,
        "slots": run.slots,
        "started": run.started.isoformat(),
        "scheduled_at": run.scheduled_at.isoformat(),
        "root": run.root,
        "command": run.command,
        "versions": facts.versions(),
    }


def attempt_started(attempt: Attempt) -> Object:
    """A node is called."""
    return {
        "event": "attempt_started",
        "run": attempt.run.id,
        "at": _since(attempt.run, attempt.started_at),
        "node": attempt.run.mask(attempt.full_id),
        "attempt": attempt.number,
    }


def attempt_ended(attempt: Attempt) -> Object:
    """A node was called, failed, and will be called again."""
    run = attempt.run
    return {
        "event": "attempt_ended",
        "run": run.id,
        "at": _since(run, attempt.ended_at or attempt.started_at),
        "node": run.mask(attempt.full_id),
        "attempt": attempt.number,
        "kind": attempt.kind,
        "duration": round(attempt.duration, 6),
        "error": _error(attempt.error, attempt.traceback, run),
        "again": run.mask(attempt.again),
        "output": _output(attempt, run),
    }


def node_ended(report: NodeReport, run: RunInfo, at: float) -> Object:
    """A node's outcome is final."""
    last = report.last
    bad = report.word in BAD
    return {
        "event": "node_ended",
        "run": run.id,
        "at": _since(run, at if last is None or last.ended_at is None else last.ended_at),
        "node": run.mask(report.full_id),
        "word": report.word,
        "reason": run.mask(report.reason),
        "attempts": len(report.attempts),
        "duration": round(report.duration, 6),
        "saved": round(report.saved, 6),
        "key": report.key or None,
        "allowed": bad and report.task.allow_failure,
        "error": _error(facts.error_of(report), last.traceback if last else "", run) if bad else None,
        "output": _output(last, run) if bad and last is not None else [],
    }


def teardown_error(teardown: TeardownReport, report: RunReport) -> Object:
    """A resource could not be torn down."""
    run = report.run
    return {
        "event": "teardown_error",
        "run": run.id,
        "at": round(report.duration, 6),
        "resource": teardown.resource,
        "where": teardown.where,
        "node": run.mask(teardown.node),
        "error": _error(teardown.error, teardown.traceback, run),
    }


def summary(report: RunReport) -> Object:
    """The run is over."""
    word = "interrupted" if report.interrupted else "failed" if report.failed else "ok"
    return {
        "event": "summary",
        "run": report.run.id,
        "at": round(report.duration, 6),
        "status": word,
        "exit_code": report.exit_code,
        "counts": report.counts,
        "duration": round(report.duration, 6),
        "saved": round(sum(node.saved for node in report.nodes), 6),
        "stopped": report.run.mask(report.stopped),
        "notes": [report.run.mask(note) for note in report.notes],
    }


def cut_short(run: RunInfo, at: float, error: BaseException | None) -> Object:
    """The run came to no end: a plugin raised, or what was asked for turned out not to exist."""
    status, code = "crashed", 3
    if isinstance(error, KeyboardInterrupt):
        status, code = "interrupted", 2
    elif isinstance(error, NothingToRun):
        status, code = "refused", 5
    elif isinstance(error, FlowError):
        status, code = "refused", 4
    told = summary(RunReport(run, duration=at - run.started_at))
    said = [run.mask(facts.headline(error))] if error is not None else []
    return told | {"status": status, "exit_code": code, "notes": said}


def _since(run: RunInfo, at: float) -> float:
    return round(at - run.started_at, 6)


def _error(error: BaseException | None, traceback: str, run: RunInfo) -> Object | None:
    if error is None:
        return None
    text = run.mask(message(error))
    return {"type": type(error).__name__, "message": text, "traceback": run.mask(traceback)}


def _output(attempt: Attempt, run: RunInfo) -> list[Object]:
    return [
        {"title": section.title, "text": run.mask("\n".join(section.lines))}
        for section in attempt.sections or ()
    ]
