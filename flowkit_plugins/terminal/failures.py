"""What went wrong, at length: a block per bad node with all that one needs to see why, and run it again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from flowkit.facts import rerun, withheld
from flowkit.graph import BoundTask
from flowkit.printable import clean
from flowkit.reports import BAD, Attempt, NodeReport, RunReport, TeardownReport
from flowkit_plugins.terminal import traceback
from flowkit_plugins.terminal.style import Screen, counted, took

#: Failures of one task that are shown in full; a map of 10,000 fails for one reason most of the time.
MOST = 10
#: Earlier attempts of a node that are listed.
MOST_ATTEMPTS = 5
#: How an attempt ended, where that is not plain from its error.
_KINDS = {"setup": "set-up", "lost": "worker lost", "pickle": "serialisation", "timeout": "timeout"}


def write(screen: Screen, report: RunReport, *, tb: str) -> None:
    """Print ``FAILURES``: every bad node, of a mapped task the first ten and a count."""
    by_task = bad_by_task(report.nodes)
    if not by_task:
        return
    screen.rule("FAILURES", style="bold")
    several = len(report.run.graph.flows) > 1
    for task, nodes in by_task.items():
        for node in nodes[:MOST]:
            _Failure(screen, node, report.run.command).write(tb, full_id=several)
        if len(nodes) > MOST:
            screen.line(f"… and {more(len(nodes) - MOST, task)}", "red")


def bad_by_task(
    nodes: Iterable[NodeReport], words: Sequence[str] = BAD
) -> dict[BoundTask, list[NodeReport]]:
    """Return the nodes with one of ``words``, by task, in the order they ended."""
    found: dict[BoundTask, list[NodeReport]] = {}
    for node in nodes:
        if node.word in words:
            found.setdefault(node.task, []).append(node)
    return found


def more(number: int, task: BoundTask) -> str:
    """Return how many elements of a task are not shown."""
    return f"{counted(number, 'more failed element')} of `{task.name}`"


def excuse(node: NodeReport) -> str:
    """Return why a bad node does not fail the run, in brackets; empty if it does."""
    if node.unit.stand_in is not None:
        return f" (`{node.unit.stand_in.id}` stands in)"
    return " (allowed)" if node.task.allow_failure else ""


def write_teardowns(screen: Screen, teardowns: Sequence[TeardownReport], *, tb: str) -> None:
    """Print ``ERRORS``: resources whose teardown raised."""
    if not teardowns:
        return
    screen.rule("ERRORS", style="bold")
    for teardown in teardowns:
        screen.rule(f"teardown of `{teardown.resource}`", "_", "bold red")
        after = f" after {teardown.node}" if teardown.node else ""
        screen.line(f"where: {teardown.where}{after}")
        screen.line()
        write_traceback(screen, traceback.lines(teardown.traceback, teardown.error, tb))


def write_traceback(screen: Screen, lines: Iterable[str]) -> None:
    """Print the lines of a traceback, the error's own in red."""
    for line in lines:
        screen.line(clean(line), "red" if traceback.is_error_line(line) else "")


class _Failure:
    """One bad node, with its last attempt if it was called at all."""

    def __init__(self, screen: Screen, node: NodeReport, command: str) -> None:
        self._screen = screen
        self._node = node
        self._last = node.last
        self._command = command

    def write(self, tb: str, *, full_id: bool) -> None:
        """Print all there is to say of it."""
        screen, node, last = self._screen, self._node, self._last
        title = clean(node.full_id if full_id else node.node)
        screen.rule(title + excuse(node), "_", "bold red")
        screen.line(f"where: {self._where()}")
        screen.lines(self._earlier())
        if last is not None and last.arguments:
            screen.lines(self._arguments(last.arguments))
        screen.line()
        error = (last.error if last is not None else None) or node.error
        lines = traceback.lines(last.traceback if last is not None else "", error, tb)
        write_traceback(screen, lines or ([node.reason] if node.reason and tb != "no" else []))
        if last is not None:
            self._write_sections(last)
        screen.line()
        screen.line(f"re-run: {rerun(node, self._command)}")
        if names := withheld(self._command):
            screen.line(f"  (with {', '.join(names)}: what is secret is not shown)")

    def _where(self) -> str:
        """Return ``weather.py:14  attempt 2 of 2, 30.00s, timeout``."""
        node, last = self._node, self._last
        if last is None:
            return f"{node.task.where}  not called"
        made = len(node.attempts)
        facts = [f"attempt {made} of {made}", took(last.duration)]
        if last.kind in _KINDS:
            facts.append(clean(last.reason) or _KINDS[last.kind])
        return f"{node.task.where}  {', '.join(facts)}"

    def _earlier(self) -> Iterator[str]:
        before = self._node.attempts[:-1]
        for attempt in before[:MOST_ATTEMPTS]:
            yield f"  attempt {attempt.number}: {traceback.headline(attempt.error)}, {took(attempt.duration)}"
        if len(before) > MOST_ATTEMPTS:
            yield f"  … and {counted(len(before) - MOST_ATTEMPTS, 'more attempt')}"

    def _arguments(self, arguments: Mapping[str, object]) -> Iterator[str]:
        for name, value in arguments.items():
            lines = traceback.shown(name, value)
            if name in self._node.task.parameters:
                lines[0] += "  (parameter)"
            yield from lines

    def _write_sections(self, attempt: Attempt) -> None:
        for section in attempt.sections or ():
            if section.lines:
                self._screen.rule(section.title, "-")
                self._screen.lines(section.lines)
