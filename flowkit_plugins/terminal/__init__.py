"""What a run looks like on a terminal, and in a log: header, progress, failures, summary.

Adds the flags ``-v``, ``-q``, ``-r``, ``--durations``, ``--tb`` and ``--color`` to ``flowkit run``. It
listens to the hooks of a run, and prints what other plugins answer to ``flowkit_header`` and
``flowkit_report_sections``. ``flowkit.run()`` has no output to write to, and prints nothing.

If the session has a ``Scheduler`` among its services, percentages and bars know how many nodes
there are; without one they know of tasks only.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from flowkit.errors import OptionError
from flowkit.hookspecs import Flag, hookimpl
from flowkit.records import record
from flowkit.reports import Attempt, NodeReport, RunInfo, RunReport, TeardownReport
from flowkit.services import Before, Display, Typical
from flowkit_plugins.terminal import failures, header, live, summary, traceback
from flowkit_plugins.terminal.beside import Streams
from flowkit_plugins.terminal.estimate import Past
from flowkit_plugins.terminal.progress import (
    Ended,
    LetterLines,
    Lines,
    NodeLines,
    Progress,
    drained,
)
from flowkit_plugins.terminal.style import Screen

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flowkit.session import Session

#: Where nobody sits in front: seconds between two times that what queued up is printed.
FLUSH_EVERY = 0.1

_COLORS = ("auto", "yes", "no")


@hookimpl
def flowkit_run_options() -> Sequence[Flag]:
    """Declare the flags."""
    return (
        Flag(
            name="--verbose",
            short="-v",
            type=bool,
            default=False,
            help="A line per node, with the reason.",
        ),
        Flag(
            name="--quiet",
            short="-q",
            type=bool,
            default=False,
            help="Letters, failures and the last line only.",
        ),
        Flag(
            name="--show",
            short="-r",
            metavar="CHARS",
            help="Nodes in the short summary: (f)ailed, (E)rror, (T)imeout, (s)kipped, (u)pstream, (c)ached, "
            "(R)etried, (p)assed; (a)ll but passed, (A)ll, (N)one. Default: fE.",
        ),
        Flag(
            name="--durations", type=int, metavar="N", help="Show the N slowest nodes; 0 shows all."
        ),
        Flag(
            name="--tb",
            default="long",
            metavar="STYLE",
            help="Tracebacks: long (your frames), short (where it was raised), native (all frames) or no.",
        ),
        Flag(name="--color", default="auto", metavar="WHEN", help="Colours: auto, yes or no."),
    )


@hookimpl
def flowkit_configure(session: Session) -> None:
    """Report on the runs of a session that has an output."""
    wanted = Wanted.of(session.flags)
    if session.out is None:
        return
    screen = Screen(session.out, color=wanted.color)
    reporter = Reporter(session, screen, wanted)
    session.plugins.register(reporter, "terminal:report")
    session.services[Display] = reporter
    if reporter.running is not None:
        reporter.streams.install()  # before anybody captures them
        session.plugins.register(reporter.running, "terminal:live view")
    elif not screen.is_terminal:
        reporter.streams.install_between(session.out, reporter.make_room)
    if wanted.verbose:
        session.plugins.register(Retries(reporter.queue), "terminal:retries")


@record(frozen=True, kw_only=True)
class Wanted:
    """What the flags ask for."""

    verbose: bool = False
    quiet: bool = False
    show: str | None = None
    durations: int | None = None
    tb: str = "long"
    color: str = "auto"

    @classmethod
    def of(cls, flags: Mapping[str, object]) -> Wanted:
        """Read the flags.

        Raises:
            OptionError: One has a value that it cannot have.
        """
        verbose, quiet = bool(flags.get("verbose")), bool(flags.get("quiet"))
        show, durations = flags.get("show"), flags.get("durations")
        return cls(
            verbose=verbose and not quiet,
            quiet=quiet and not verbose,
            show=None if show is None else str(show),
            durations=None if durations is None else _count(durations),
            tb=_one_of("--tb", flags.get("tb") or "long", traceback.STYLES),
            color=_one_of("--color", flags.get("color") or "auto", _COLORS),
        )


def _one_of(flag: str, value: object, known: Sequence[str]) -> str:
    if value not in known:
        raise OptionError(
            f"{flag}={value}: one of {', '.join(known)}", remedy=f"Write {flag} {known[0]}."
        )
    return str(value)


def _count(value: object) -> int:
    if not isinstance(value, int) or value < 0:
        raise OptionError(
            f"--durations wants a number of nodes, not {value!r}", remedy="0 shows all of them."
        )
    return value


class Retries:
    """Tells of attempts that will be made again, as they end; registered with ``-v`` only."""

    def __init__(self, queue: deque[Ended]) -> None:
        self._queue = queue

    @hookimpl
    def flowkit_attempt_ended(self, attempt: Attempt) -> None:
        """Queue it up if it is made again."""
        if attempt.again:
            self._queue.append(attempt)


class Reporter:
    """Reports on a run. On a terminal a thread brings what ended to the screen; in a log, the clock does.

    Attributes:
        queue: What ended and is not printed yet.
        running: What the live view knows of attempts; None where there is none.
        streams: What others print meanwhile.
    """

    def __init__(self, session: Session, screen: Screen, wanted: Wanted) -> None:
        self.queue: deque[Ended] = deque()
        self.running = live.Running() if screen.can_move and not wanted.quiet else None
        self.streams = Streams()
        self._session = session
        self._screen = screen
        self._wanted = wanted
        self._now = session.clock.now
        self._due = float("-inf")
        self._lines: Lines | None = None
        self._writing = threading.Lock()
        self._ticker: live.Ticker | None = None

    @hookimpl
    def flowkit_run_started(self, run: RunInfo) -> None:
        """Print the header and get ready for nodes."""
        screen, wanted = self._screen, self._wanted
        screen.masked = run.mask
        if not wanted.quiet:
            header.write(screen, self._session, verbose=wanted.verbose)
            screen.flush()
        from flowkit.scheduler import Scheduler  # a run has it; help need not wait for it

        scheduler = self._session.services.get(Scheduler)
        progress = Progress(
            run.graph.tasks, scheduler if isinstance(scheduler, Scheduler) else None
        )
        self._lines = (
            NodeLines(screen, progress) if wanted.verbose else LetterLines(screen, progress)
        )
        if screen.is_terminal:
            block = None
            if self.running is not None:
                services = self._session.services
                past = Past(
                    progress,
                    run.slots,
                    before=services.get(Before),
                    typical=services.get(Typical),
                )
                block = live.Block(
                    screen, progress, self.running, self._session.clock, run.started_at, past
                )
            self._due = float("inf")
            self._ticker = live.ticker(screen, self._take, block, self.streams)
            self._ticker.start()

    @hookimpl
    def flowkit_node_ended(self, report: NodeReport) -> None:
        """Queue it up; now and then print what queued up."""
        self.queue.append(report)
        if (now := self._now()) >= self._due:
            self._due = now + FLUSH_EVERY
            self._flush()

    @hookimpl(trylast=True)
    def flowkit_run_ended(self, report: RunReport) -> None:
        """Print the rest, what went wrong, and the sums. Last of all plugins: others add notes."""
        self._stop()
        screen, wanted = self._screen, self._wanted
        screen.masked = report.run.mask
        self._end_lines(report.teardowns)
        failures.write(screen, report, tb=wanted.tb)
        failures.write_teardowns(screen, report.teardowns, tb=wanted.tb)
        try:
            if not wanted.quiet:
                for _, sections in self._session.plugins.all(
                    "flowkit_report_sections", report=report
                ):
                    summary.write_sections(screen, sections)
        finally:  # also where a plugin raised
            self._write_sums(report)
            screen.flush()

    def _write_sums(self, report: RunReport) -> None:
        screen, wanted = self._screen, self._wanted
        if wanted.durations is not None:
            summary.write_durations(screen, report.nodes, wanted.durations)
        if not wanted.quiet:
            summary.write_notes(screen, report.notes)
        if not wanted.quiet or wanted.show is not None:
            show = summary.DEFAULT_SHOW if wanted.show is None else wanted.show
            summary.write_short(screen, report, show, verbose=wanted.verbose)
        summary.write_cut(screen, report)
        summary.write_last(screen, report, quiet=wanted.quiet)

    @contextlib.contextmanager
    def released(self) -> Iterator[None]:
        """Leave the screen to somebody else. See ``services.Display``."""
        with contextlib.nullcontext() if self._ticker is None else self._ticker.released():
            yield

    @hookimpl
    def flowkit_unconfigure(self) -> None:
        """Let the screen go, also where a run came to no end."""
        self._stop()
        self.streams.remove()
        self._end_lines()
        self._screen.flush()

    def _take(self) -> str:
        """Return what queued up, as text."""
        return self._lines.feed(drained(self.queue)) if self._lines is not None else ""

    def make_room(self) -> None:
        """Print what queued up and end the line that is open: somebody else is about to print."""
        with self._writing:
            if self._lines is not None:
                self._screen.write(self._take() + self._lines.broken())
                self._screen.flush()

    def _flush(self) -> None:
        with self._writing:
            self._screen.write(self._take())
            self._screen.flush()

    def _end_lines(self, teardowns: Sequence[TeardownReport] = ()) -> None:
        """Print what is left of the progress, once."""
        with self._writing:
            if self._lines is not None:
                self._screen.write(self._take() + self._lines.finish(teardowns))
                self._lines = None

    def _stop(self) -> None:
        if self._ticker is not None:
            self._ticker.stop()
            self._ticker = None
