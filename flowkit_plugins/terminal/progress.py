"""What is printed while nodes end: a letter for each, or with ``-v`` a line.

A hook per node may cost next to nothing, so ended nodes only queue up. Several times a second the
queue is turned into text here, some dozens or thousands of nodes at a time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Protocol

from flowkit.graph import BoundTask
from flowkit.printable import clean
from flowkit.reports import LETTERS, Attempt, NodeReport, TeardownReport
from flowkit_plugins.terminal.style import Screen, cells, took
from flowkit_plugins.terminal.traceback import headline

if TYPE_CHECKING:
    from flowkit.graph import BoundFlow
    from flowkit.scheduler import Scheduler

Ended = NodeReport | Attempt
"""What queues up: a node that ended, or an attempt that will be made again."""

STYLES = {
    "ran": "green",
    "same": "green",
    "cached": "cyan",
    "skipped": "yellow",
    "upstream": "yellow",
    "failed": "red",
    "timeout": "red",
    "error": "red",
    "retry": "magenta",
    "not run": "yellow",
}
_LETTER_STYLES = {letter: STYLES[word] for word, letter in LETTERS.items()}
_RETRY = LETTERS["retry"]
_PERCENTAGE = len(" [100%]")
#: With less room than this beside a flow's path, the letters start on the next line.
_LEAST_LETTERS = 10


class Progress:
    """How much of the run is over, and how much is known to be left.

    Nodes of mapped tasks become known as their lists are read, so what is known grows. The
    scheduler counts them; where it is not at hand, a task of which nothing has ended counts as one.

    Args:
        tasks: The tasks of the run.
        scheduler: Its scheduler, which is only looked at.

    Attributes:
        done: Nodes that ended.
        unrun: Those of them that were not run, since the run stopped before.
        bad: Those of them that went wrong.
        of: Task → how many of its nodes ended.
    """

    def __init__(self, tasks: Iterable[BoundTask], scheduler: Scheduler | None = None) -> None:
        self.tasks = [task for task in tasks if task.given is None]
        self.done = 0
        self.unrun = 0
        self.bad = 0
        self.of: dict[BoundTask, int] = {}
        self._scheduler = scheduler

    @property
    def known(self) -> int:
        """How many nodes there are, as far as is known; never less than ``done``."""
        if self._scheduler is not None:
            return self.done + max(0, self._scheduler.open)
        return self.done + len(self.tasks) - len(self.of)

    def nodes_of(self, task: BoundTask) -> int | None:
        """Return how many nodes a task has, as far as is known; None if nobody can tell."""
        state = self._scheduler.states.get(task) if self._scheduler is not None else None
        return len(state.nodes) if state is not None else None

    def is_complete(self, task: BoundTask) -> bool:
        """Whether all nodes of a task are known."""
        state = self._scheduler.states.get(task) if self._scheduler is not None else None
        return state is not None and state.complete


class Lines(Protocol):
    """Turns what ended into text for the screen."""

    def feed(self, ended: Iterable[Ended]) -> str:
        """Return the text for some more of what ended; the last line may go on in the next."""

    def broken(self) -> str:
        """Return what ends the line that is open, because something else comes in between."""

    def finish(self, teardowns: Sequence[TeardownReport] = ()) -> str:
        """Return what ends the last line, with a word of each teardown that raised."""


class LetterLines:
    """One letter per node: the flow's path, letters up to the width, a percentage at the right.

    Flows that run at once take turns: of what is fed together, each flow gets one stretch.
    """

    def __init__(self, screen: Screen, progress: Progress) -> None:
        self._screen = screen
        self._progress = progress
        self._room = screen.width - 1 - _PERCENTAGE
        self._flow: BoundFlow | None = None
        self._column = 0
        self._passed = 0

    def feed(self, ended: Iterable[Ended]) -> str:
        """Return the letters of some more nodes."""
        by_flow: dict[BoundFlow, list[str]] = {}
        if self._flow is not None:
            by_flow[self._flow] = []  # the line that is open goes on first
        progress, of = self._progress, self._progress.of
        for report in ended:
            assert isinstance(report, NodeReport)  # attempts are queued only with -v
            task = report.unit.task
            of[task] = of.get(task, 0) + 1
            progress.done += 1
            letter = LETTERS.get(report.word)
            if letter is None:
                progress.unrun += 1
                continue
            if letter in "FTE":
                progress.bad += 1
            if len(report.attempts) > 1:
                letter = _RETRY * sum(1 for attempt in report.attempts if attempt.again) + letter
            letters = by_flow.get(task.flow)
            if letters is None:
                letters = by_flow[task.flow] = []
            letters.append(letter)
        known = progress.known
        return "".join(
            self._stretch(flow, "".join(each), known) for flow, each in by_flow.items() if each
        )

    def broken(self) -> str:
        """Return the end of the line that is open; the flow's path stands before the next letters again."""
        self._flow = None
        return self._close(self._progress.known)

    def finish(self, teardowns: Sequence[TeardownReport] = ()) -> str:
        """Return the percentage of the last line, which is all unless the run was cut short."""
        known = self._progress.known
        if self._flow is None:
            return self._close(known)
        self._passed -= len(teardowns)  # they are no nodes
        return self._stretch(self._flow, LETTERS["error"] * len(teardowns), known) + self._close(known)

    def _stretch(self, flow: BoundFlow, letters: str, known: int) -> str:
        """Return letters of one flow, in as many lines as they take."""
        out = [] if flow is self._flow else self._head(flow, known)
        at = 0
        while at < len(letters):
            taken = letters[at : at + self._room - self._column]
            at += len(taken)
            self._column += len(taken)
            self._passed += len(taken) - taken.count(_RETRY)
            out.append(self._painted(taken))
            if self._column >= self._room:
                out.append(self._close(known))
        return "".join(out)

    def _head(self, flow: BoundFlow, known: int) -> list[str]:
        self._flow, before = flow, self._close(known)
        path = clean(flow.path)
        self._column = cells(path) + 1
        if self._room - self._column >= _LEAST_LETTERS:
            return [before, path, " "]
        self._column = 0
        return [before, path, "\n"]

    def _close(self, known: int) -> str:
        """End the line that is open, if one is."""
        if not self._column:
            return ""
        percentage = f"[{min(100, self._passed * 100 // max(1, known)):3d}%]"
        free = max(1, self._screen.width - 1 - self._column - len(percentage))
        self._column = 0
        return f"{' ' * free}{self._screen.paint(percentage, 'cyan')}\n"

    def _painted(self, letters: str) -> str:
        if not self._screen.color:
            return letters
        runs = groupby(letters, _LETTER_STYLES.__getitem__)
        return "".join(self._screen.paint("".join(each), style) for style, each in runs)


class NodeLines:
    """One line per node, and per attempt that is made again: id, word, duration, reason."""

    def __init__(self, screen: Screen, progress: Progress) -> None:
        self._screen = screen
        self._progress = progress

    def feed(self, ended: Iterable[Ended]) -> str:
        """Return the lines of some more nodes and attempts."""
        return "".join(
            f"{self._retry(e) if isinstance(e, Attempt) else self._node(e)}\n" for e in ended
        )

    def broken(self) -> str:
        """Return nothing: each line is whole."""
        return ""

    def finish(self, teardowns: Sequence[TeardownReport] = ()) -> str:
        """Return a line for each teardown that raised."""
        word = self._screen.paint("ERROR", STYLES["error"])
        lines = [f"teardown of `{t.resource}` ({t.where}) {word} {headline(t.error)}\n" for t in teardowns]
        return self._screen.masked("".join(lines))

    def _node(self, report: NodeReport) -> str:
        progress, task, word = self._progress, report.unit.task, report.word
        progress.of[task] = progress.of.get(task, 0) + 1
        progress.done += 1
        progress.unrun += word not in LETTERS
        progress.bad += LETTERS.get(word, "?") in "FTE"
        parts = [report.full_id, self._screen.paint(word.upper(), STYLES.get(word, ""))]
        if report.attempts:
            parts.append(took(report.duration))
        if report.reason:
            parts.append(clean(report.reason).replace("\n", " "))
        return self._screen.masked(" ".join(parts))

    def _retry(self, attempt: Attempt) -> str:
        why = clean(attempt.again).replace("\n", " ")
        word = self._screen.paint("RETRY", STYLES["retry"])
        text = f"{attempt.full_id} {word} {why.removeprefix('retry ')}: {headline(attempt.error)}"
        return self._screen.masked(text)


def drained(queue: deque[Ended]) -> Iterator[Ended]:
    """Yield what is in the queue, and what is added meanwhile; the other end is another thread's."""
    take = queue.popleft
    while True:
        try:
            yield take()
        except IndexError:
            return
