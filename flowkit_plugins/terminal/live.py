"""The part of the screen that is written over while a run goes on, and the one thread that does it.

What is final (lines of letters, lines of ``-v``) is printed once and scrolls away as in a log; below
it stands a block with what runs, bars of mapped tasks and counts, which vanishes at the end.

Where tasks write to the terminal themselves (``-s``) there is no block: it would write over them.
Whoever needs the screen for a while (a debugger's prompt) has it released. ``rich`` is imported by the thread, when a run has taken a moment already.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import IO, TYPE_CHECKING, Protocol, cast

from flowkit.durations import words
from flowkit.hookspecs import hookimpl
from flowkit.printable import clean
from flowkit.reports import Attempt
from flowkit_plugins.terminal.beside import Beside, Streams
from flowkit_plugins.terminal.estimate import Past
from flowkit_plugins.terminal.progress import Progress
from flowkit_plugins.terminal.style import MINUTE, Screen, cells, fit, took

if TYPE_CHECKING:
    from rich.text import Text

    from flowkit.clock import Clock
    from flowkit.graph import BoundTask
    from flowkit.scheduler import Node

#: Seconds before the block appears, between two of its pictures, and between two looks at the queue.
PATIENCE = 0.3
PERIOD = 0.22
PLAIN_PERIOD = 0.1
#: Rows of the block at the most, and how many of them are bars.
MOST_ROWS = 14
MOST_BARS = 5
LEAST_BAR = 4
#: Column at which the elapsed times of running nodes end.
TIMES = 60
#: Columns of the bar of the whole run, and of the screen that has room for it.
WHOLE_BAR = 20
ROOM_FOR_BAR = 70


class Running:
    """Knows which attempts are running; registered only where somebody looks."""

    def __init__(self) -> None:
        self.attempts: dict[Node, Attempt] = {}

    @hookimpl
    def flowkit_attempt_started(self, attempt: Attempt) -> None:
        """Note that it runs."""
        self.attempts[attempt.unit] = attempt

    @hookimpl
    def flowkit_attempt_ended(self, attempt: Attempt) -> None:
        """Note that it runs no more."""
        self.attempts.pop(attempt.unit, None)

    def now(self) -> list[Attempt]:
        """Return the running attempts, the longest running first."""
        # Ended ones stay here if their attempt came to nothing (an input was lost), until the next.
        return [attempt for attempt in list(self.attempts.values()) if attempt.ended_at is None]


class Block:
    """Says what stands in the block, as lines of text.

    Args:
        screen: Where it is shown.
        progress: What is done and known.
        running: What runs.
        clock: The run clock.
        started_at: When the run began, on that clock.
        past: What earlier runs say of this one, or None.
    """

    def __init__(
        self,
        screen: Screen,
        progress: Progress,
        running: Running,
        clock: Clock,
        started_at: float,
        past: Past | None = None,
    ) -> None:
        self._past = past
        self._screen = screen
        self._progress = progress
        self._running = running
        self._clock = clock
        self._started_at = started_at
        self._mapped = [task for task in progress.tasks if task.axes]
        self._full, self._half = "━╸" if screen.can_show("━╸") else "#-"

    def rows(self, width: int, height: int) -> list[str]:
        """Return at most ``height`` lines of at most ``width`` columns: running nodes, bars, counts."""
        now = self._clock.now()
        running = self._running.now()
        bars = self._bars(width, min(MOST_BARS, max(0, height - 2)))
        room = max(0, height - 1 - len(bars))
        shown = running[: room if len(running) <= room else max(0, room - 1)]
        rows = [self._running_row(attempt, now, width) for attempt in shown]
        if room and len(running) > len(shown):
            rows.append(self._dim(f"  … and {len(running) - len(shown):,} more running", width))
        return [*rows, *bars, self._sums(running, now, width, bar=not bars)]

    def _running_row(self, attempt: Attempt, now: float, width: int) -> str:
        elapsed = _ago(now - attempt.started_at)
        name = fit(self._screen.masked(clean(attempt.node)), width - len(elapsed) - 4)
        gap = " " * max(1, min(width, TIMES) - cells(name) - len(elapsed) - 2)
        before = self._past.took(attempt.full_id) if self._past is not None else None
        last = "" if before is None else f" (last {_ago(before)})"
        if 2 + cells(name) + len(gap) + len(elapsed) + len(last) > width:
            last = ""
        return f"  {name}{gap}{self._screen.paint(elapsed + last, 'dim')}"

    def _bars(self, width: int, most: int) -> list[str]:
        of = self._progress.of
        open_bars = []
        for task in self._mapped:
            total = self._progress.nodes_of(task)
            if of.get(task, 0) != total and (total or task in of):
                open_bars.append((task, total))
            if len(open_bars) > most:
                break
        return [self._bar(task, total, width) for task, total in open_bars[:most]]

    def _bar(self, task: BoundTask, total: int | None, width: int) -> str:
        done = self._progress.of.get(task, 0)
        counts = f"{done:,}/{total:,}" if total else f"{done:,}"
        room = max(8, min(24, width // 3))
        name = fit(clean(task.name), room)
        head = f"{name}{' ' * (room - cells(name))} "
        length = min(40, width - room - len(counts) - 3)
        if not total or length < LEAST_BAR:
            return fit(head + counts, width)
        return f"{head}{self._drawn(done, total, length)} {counts}"

    def _drawn(self, done: int, total: int, length: int) -> str:
        halves = min(2 * length, done * 2 * length // total)
        filled = self._full * (halves // 2) + self._half * (halves % 2)
        return self._screen.paint(filled, "green") + " " * (length - len(filled))

    def _sums(self, running: Sequence[Attempt], now: float, width: int, *, bar: bool) -> str:
        """Return the last row: how much is done, how long it took, and how long it may still take."""
        progress = self._progress
        parts = [f"{progress.done:,} of {progress.known:,} done", f"{len(running):,} running"]
        if progress.bad:
            parts.append(f"{progress.bad:,} failed")
        parts.append(_ago(now - self._started_at))
        left = self._past.left(running, now) if self._past is not None else None
        if left is not None and left >= 1:
            parts.append(f"about {f'{left:.0f}s' if left < MINUTE else words(round(left))} left")
        drawn = ""
        if bar and width >= ROOM_FOR_BAR:
            drawn = self._drawn(progress.done, max(1, progress.known), WHOLE_BAR) + " "
        return drawn + self._dim(", ".join(parts), width - (WHOLE_BAR + 1 if drawn else 0))

    def _dim(self, text: str, width: int) -> str:
        return self._screen.paint(fit(text, width), "dim")


def _ago(seconds: float) -> str:
    return f"{max(0.0, seconds):.1f}s" if seconds < MINUTE else took(seconds)


class Painter(Protocol):
    """Brings text to the screen, several times a second."""

    def paint(self) -> None:
        """Show what there is to show."""

    def pause(self) -> None:
        """Leave the screen to somebody else, at the beginning of a line; ``paint`` goes on after it."""

    def close(self) -> None:
        """Leave the screen as if only whole lines had been printed."""


class PlainPainter:
    """Prints as a log does: a dumb terminal, or one without ``rich``."""

    def __init__(self, screen: Screen, take: Callable[[], str]) -> None:
        self._screen = screen
        self._take = take

    def paint(self) -> None:
        """Print what is new."""
        self._screen.write(self._take())
        self._screen.flush()

    def pause(self) -> None:
        """Print what is new, and end the line."""
        self._screen.write(self._take() + "\n")
        self._screen.flush()

    def close(self) -> None:
        """Leave the rest to whoever ends the report."""


class BlockPainter:
    """Prints whole lines, and below them the line that goes on and the block.

    Args:
        screen: Where to.
        take: Returns what is new.
        block: Says what stands in the block.
        streams: What others print meanwhile comes from there.
    """

    def __init__(
        self, screen: Screen, take: Callable[[], str], block: Block, streams: Streams
    ) -> None:
        from rich.console import Console
        from rich.live import Live

        self._screen = screen
        self._take = take
        self._block = block
        self._streams = streams
        self._rest = ""
        self._console = Console(
            file=cast("IO[str]", screen),
            force_terminal=True,
            color_system="standard" if screen.color else None,
            highlight=False,
            markup=False,
            emoji=False,
        )
        self._live = Live(
            console=self._console,
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._begin()

    def _begin(self) -> None:
        self._streams.hold(held=True)
        self._live.start()
        # A run that is killed outright could not bring the cursor back.
        self._console.show_cursor(show=True)

    def paint(self) -> None:
        """Print whole new lines and draw the block anew."""
        if not self._live.is_started:
            self._begin()
        beside = self._streams.lines()
        if beside:
            self._console.print(self._text([beside.removesuffix("\n")]), soft_wrap=True)
        whole, newline, self._rest = (self._rest + self._take()).rpartition("\n")
        if newline:
            self._console.print(self._text([whole]), soft_wrap=True)
        width, height = self._console.size
        rows = self._block.rows(width - 1, min(MOST_ROWS, height - 3))
        self._live.update(self._text([self._rest, *rows] if self._rest else rows), refresh=True)

    def pause(self) -> None:
        """Wipe the block out, and end the line that was open."""
        self.close()
        self._screen.write("\n" if self._rest else "")
        self._screen.flush()
        self._rest = ""

    def close(self) -> None:
        """Wipe the block out; what was in the open line is printed as such."""
        if not self._live.is_started:
            return
        self._live.update("")
        self._live.stop()
        self._streams.hold(held=False)
        self._screen.write(self._streams.last() + self._rest)

    @staticmethod
    def _text(rows: Sequence[str]) -> Text:
        from rich.text import Text

        return Text.from_ansi("\n".join(rows), no_wrap=True, overflow="crop")


class Ticker:
    """The thread: lets a painter paint every now and then until it is stopped.

    Args:
        make: Returns the painter; called in the thread.
        first: Seconds before that; a run that is over by then has no painter.
        period: Seconds between two pictures.
    """

    def __init__(self, make: Callable[[], Painter], *, first: float, period: float) -> None:
        self._make = make
        self._first = first
        self._period = period
        self._over = threading.Event()
        self._screen_is_ours = threading.Lock()
        self._painter: Painter | None = None
        self._thread = threading.Thread(target=self._run, name="flowkit-terminal", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End, with the screen left as the painter leaves it; may be called again."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()

    @contextlib.contextmanager
    def released(self) -> Iterator[None]:
        """Paint nothing while the block runs. Not to be entered again within it."""
        with self._screen_is_ours:
            if self._painter is not None:
                self._painter.pause()
            yield

    def _run(self) -> None:
        if self._over.wait(self._first):
            return
        with self._screen_is_ours:
            painter = self._painter = self._make()
        try:
            while not self._over.is_set():
                with self._screen_is_ours:
                    painter.paint()
                self._over.wait(self._period)
        finally:
            painter.close()


def ticker(
    screen: Screen, take: Callable[[], str], block: Block | None, streams: Streams
) -> Ticker:
    """Return the ticker for a terminal; with ``block`` it shows that, if it can."""
    if block is None:
        return Ticker(lambda: PlainPainter(screen, take), first=PLAIN_PERIOD, period=PLAIN_PERIOD)
    shown = block

    def make() -> Painter:
        if sys.stdout is sys.__stdout__ or isinstance(sys.stdout, Beside):
            return PlainPainter(screen, take)  # nobody keeps what tasks print
        try:
            return BlockPainter(screen, take, shown, streams)
        except ImportError:
            return PlainPainter(screen, take)

    return Ticker(make, first=PATIENCE, period=PERIOD)
