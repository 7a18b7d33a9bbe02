"""One real run, here or in another process, which may be told to die at a point.

The other process is a fork of one that has imported flowkit and waits (``python -m
flowkit.testing.processes``): it costs 20 ms where a new interpreter costs 300. Where there is no fork,
the waiting process makes the run itself, and is replaced when it died.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from flowkit.clock import SystemClock
from flowkit.errors import NothingToRun
from flowkit.hookspecs import hookimpl
from flowkit.parameters import Sources
from flowkit.session import Session

if TYPE_CHECKING:
    from flowkit.reports import Attempt, NodeReport

#: Points of the writer, and of calls, where a process can be told to die.
WRITER_POINTS = ("before_blob", "after_file", "after_blob", "before_record", "after_record")
CALL_POINTS = ("before_call", "after_call", "before_ack", "after_ack")
#: The exit code of a run that had nothing to run.
NOTHING = 5
_DIED = 70
_PRELOADED = ("flowkit.planning", "flowkit_plugins.cache.reuse", "flowkit_plugins.history.journal")


class ShiftedClock(SystemClock):
    """Real time, on another day.

    Attributes:
        shift: Seconds by which the time of day is later than it is.
    """

    def __init__(self, shift: float = 0.0) -> None:
        self.shift = shift

    def wall(self) -> datetime:
        """Return the time of day, in UTC."""
        return super().wall() + timedelta(seconds=self.shift)

    def timestamp(self) -> float:
        """Return the time of day as seconds since the epoch."""
        return self.wall().timestamp()


@dataclass(frozen=True, slots=True)
class Request:
    """What to run, and how.

    Attributes:
        root: The project's folder.
        target: Below it: ``m.py`` or ``m.py::task``.
        flags: As for ``flowkit.run``.
        params: Values of parameters.
        shift: By how many seconds the time of day is later.
        plugins: As for ``-p``.
        dies: A point and the how manieth time it is come to; the process ends there.
    """

    root: Path
    target: str
    flags: Mapping[str, Any] = field(default_factory=dict)
    params: Mapping[str, Any] = field(default_factory=dict)
    shift: float = 0.0
    plugins: Sequence[str] = ()
    dies: tuple[str, int] | None = None


@dataclass(frozen=True, slots=True)
class SeenNode:
    """How a node ended; see :class:`flowkit.reports.NodeReport`."""

    node: str
    word: str
    calls: int
    key: str
    reason: str


@dataclass(frozen=True, slots=True)
class Seen:
    """What became of a run.

    Attributes:
        exit_code: Its exit code.
        nodes: How the nodes ended, in that order.
        values: Node → value, of those that have one and were wanted.
        notes: What plugins had to say: that results could not be kept, for one.
    """

    exit_code: int
    nodes: Sequence[SeenNode]
    values: Mapping[str, Any]
    notes: Sequence[str] = ()


def perform(request: Request) -> Seen:
    """Run a flow on the real store, with the real history, in this process."""
    try:
        return _performed(request)
    except NothingToRun:
        return Seen(NOTHING, (), {})


def _performed(request: Request) -> Seen:
    from flowkit_plugins.cache.storage import Storage

    last_moment = _LastMoment(*request.dies) if request.dies is not None else None
    session = Session(
        [str(request.root / request.target)],
        plugin_requests=["no:terminal", *request.plugins],
        clock=ShiftedClock(request.shift),
    )
    if last_moment is not None:
        session.services[Storage] = Storage(request.root / ".flowkit", at=last_moment.come_to)
    try:
        session.configure(dict(request.flags))
        if last_moment is not None:
            session.plugins.register(last_moment, "testing:last moment")
        sources = session.prepare(Sources(given=request.params))
        run = session.execute(params=sources)
    finally:
        session.close()
    nodes = [SeenNode(n.node, n.word, len(n.attempts), n.key, n.reason) for n in run.report.nodes]
    wanted = [n.node for n in run.report.nodes if n.unit.succeeded and n.task in run._targets]
    return Seen(run.exit_code, nodes, {name: run[name] for name in wanted}, run.report.notes)


class _LastMoment:
    """Ends the process when it comes to a point for the n-th time, without a word."""

    def __init__(self, point: str, count: int) -> None:
        self._point = point
        self._left = count

    def come_to(self, point: str) -> None:
        """Be at a point."""
        if point != self._point:
            return
        self._left -= 1
        if not self._left:
            os._exit(_DIED)

    @hookimpl(tryfirst=True)
    def flowkit_attempt_begins(self, attempt: Attempt) -> None:
        """Be where a task is about to be called."""
        self.come_to("before_call")

    @hookimpl(tryfirst=True)
    def flowkit_attempt_keep(self, attempt: Attempt) -> None:
        """Be where it has returned."""
        self.come_to("after_call")

    @hookimpl(tryfirst=True)
    def flowkit_attempt_ended(self, attempt: Attempt) -> None:
        """Be where its value is kept, and nobody has heard of it."""
        self.come_to("before_ack")

    @hookimpl(trylast=True)
    def flowkit_node_ended(self, report: NodeReport) -> None:
        """Be where everybody has heard of it."""
        self.come_to("after_ack")


class OtherProcess:
    """Makes runs in processes of their own, one after another."""

    def __init__(self) -> None:
        self._waiting: subprocess.Popen[bytes] | None = None

    def perform(self, request: Request) -> Seen | None:
        """Make a run; None if its process died.

        Raises:
            AssertionError: The run raised; the text has its traceback.
        """
        if self._waiting is None:
            self._waiting = self._started()
        process = self._waiting
        assert process.stdin is not None  # they are pipes
        assert process.stdout is not None
        pickle.dump(request, process.stdin)
        process.stdin.flush()
        try:
            answer = pickle.load(process.stdout)  # noqa: S301 - our own process wrote it
        except EOFError:  # it had no child to die for it
            self.close()
            return None
        if isinstance(answer, str):
            message = f"in another process:\n{answer}"
            raise AssertionError(message)  # noqa: TRY004 - what does not hold is told so in a test
        seen: Seen | None = answer
        return seen

    @staticmethod
    def _started() -> subprocess.Popen[bytes]:
        paths = os.pathsep.join([p for p in sys.path if p])
        return subprocess.Popen(
            [sys.executable, "-m", "flowkit.testing.processes"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": paths},
        )

    def close(self) -> None:
        """Let the waiting process go."""
        process, self._waiting = self._waiting, None
        if process is not None:
            process.stdin.close()  # type: ignore[union-attr]  # a pipe
            process.stdout.close()  # type: ignore[union-attr]  # likewise
            process.wait()


def _answer(request: Request) -> bytes:
    try:
        return pickle.dumps(perform(request))
    except Exception:
        return pickle.dumps(traceback.format_exc())


def _in_a_fork(request: Request) -> bytes:
    readable, writable = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(readable)
        with os.fdopen(writable, "wb") as pipe:
            pipe.write(_answer(request))
        os._exit(0)
    os.close(writable)
    with os.fdopen(readable, "rb") as pipe:
        answer = pipe.read()
    os.waitpid(child, 0)
    return answer or pickle.dumps(None)


def _wait(requests: IO[bytes], answers: IO[bytes]) -> None:
    """Answer requests until there are no more."""
    import importlib

    for name in _PRELOADED:
        importlib.import_module(name)
    make: Callable[[Request], bytes] = _in_a_fork if hasattr(os, "fork") else _answer
    while True:
        try:
            request = pickle.load(requests)  # noqa: S301 - whoever started this process wrote it
        except EOFError:
            return
        answers.write(make(request))
        answers.flush()


def _main() -> None:
    """Wait for requests on stdin; what flows print goes to stderr, and not among the answers."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    _wait(sys.stdin.buffer, answers)


if __name__ == "__main__":
    # Under its own name, so that requests unpickle as what perform() takes.
    from flowkit.testing.processes import _main as main

    main()
