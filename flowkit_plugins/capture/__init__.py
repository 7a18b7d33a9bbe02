"""Capture: what each attempt prints and logs becomes a section of that attempt.

While a run goes on, ``sys.stdout`` and ``sys.stderr`` are proxies and the root logger has one more
handler. Whoever writes is told apart by ``current_attempt()``: text written inside an attempt is
kept with it, all other text goes where it always went. So nodes that run at once in several
threads or coroutines never mix, and a node that prints nothing costs nothing. Threads that a task
starts by itself belong to no attempt (Python hands them no context): their text goes through.

Several runs may go on in one process at once: the first to begin puts the proxies in place, the
last to end takes them away. ``-s`` (``--no-capture``) leaves one run's output alone.
"""

from __future__ import annotations

import io
import logging
import sys
import threading
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Self, TextIO

from flowkit.hookspecs import Flag, Section, hookimpl
from flowkit.reports import current_attempt
from flowkit.secrets import Mask
from flowkit.services import Printed
from flowkit_plugins.capture.outputs import Output

if TYPE_CHECKING:
    from flowkit.reports import Attempt, RunInfo, RunReport
    from flowkit.session import Session

_KEY = "flowkit.capture"  # in an attempt's stash
_STREAMS = ("stdout", "stderr")
_FORMAT = "%(levelname)-8s %(name)s:%(filename)s:%(lineno)d %(message)s"


# --- who is captured --------------------------------------------------------------------------


class _Redirection:
    """What is put in the place of the streams, for all runs of the process together.

    Attributes:
        captured: Run id → how its secrets are masked, for each run that goes on and is captured.
        shown: Ids of the runs that go on with ``-s``.
    """

    def __init__(self) -> None:
        self.captured: dict[str, Mask] = {}
        self.shown: set[str] = set()
        self._lock = threading.RLock()
        self._originals: dict[str, tuple[TextIO, Proxy]] = {}
        self._handler: _Handler | None = None

    def enter(self, run: str, mask: Mask | None) -> None:
        """Begin with a run; ``mask`` is None if its output is left alone."""
        with self._lock:
            if self._handler is None:
                self._handler = _Handler(logging.NOTSET)
                self._handler.setFormatter(logging.Formatter(_FORMAT))
                logging.root.addHandler(self._handler)
            if mask is None:
                self.shown.add(run)
                return
            if not self.captured:
                self._replace_streams()
            self.captured[run] = mask

    def leave(self, run: str) -> None:
        """Be done with a run; nothing happens if that is so already."""
        with self._lock:
            self.shown.discard(run)
            if self.captured.pop(run, None) is not None and not self.captured:
                self._restore_streams()
            if self._handler is not None and not self.captured and not self.shown:
                logging.root.removeHandler(self._handler)
                self._handler.close()
                self._handler = None

    def output(self) -> Output | None:
        """Return where text goes that is written here and now; None for where it always went."""
        attempt = current_attempt()
        mask = None if attempt is None else self.captured.get(attempt.run.id)
        if attempt is None or mask is None:
            return None
        stash = attempt.stash
        found = None if stash is None else stash.get(_KEY)
        if found is None:
            with self._lock:
                if attempt.stash is None:
                    attempt.stash = {}
                found = attempt.stash.setdefault(_KEY, Output(mask))
        return found  # type: ignore[return-value]  # nobody else writes under our key

    def catches(self) -> bool:
        """Whether text that is written here and now is kept."""
        attempt = current_attempt()
        return attempt is not None and attempt.run.id in self.captured

    def _replace_streams(self) -> None:
        for which in _STREAMS:
            original = getattr(sys, which)
            if original is not None:  # as under pythonw
                proxy = Proxy(original, which)
                self._originals[which] = (original, proxy)
                setattr(sys, which, proxy)
                _redirect_handlers(original, proxy)

    def _restore_streams(self) -> None:
        for which, (original, proxy) in self._originals.items():
            if getattr(sys, which) is proxy:  # else somebody put theirs there meanwhile
                setattr(sys, which, original)
            _redirect_handlers(proxy, original)
        self._originals.clear()


def _redirect_handlers(old: object, new: object) -> None:
    """Let handlers of the root logger that write to ``old`` write to ``new``."""
    for handler in logging.root.handlers:
        if isinstance(handler, logging.StreamHandler) and handler.stream is old:
            handler.setStream(new)


class Proxy:
    """Stands for a standard stream: keeps what an attempt writes, passes on the rest."""

    def __init__(self, original: TextIO, which: str) -> None:
        self._original = original
        self._which = which

    def write(self, text: str) -> int:
        """Write text, as a text file does."""
        output = redirection.output()
        if output is None:
            return self._original.write(text)
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        output.add(self._which, text)
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write each of ``lines``."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Flush; what is captured has no need of it."""
        if not redirection.catches():
            self._original.flush()

    def isatty(self) -> bool:
        """Whether a person sees what is written here and now."""
        return not redirection.catches() and self._original.isatty()

    def close(self) -> None:
        """Close the stream; an attempt has none of its own to close."""
        if not redirection.catches():
            self._original.close()

    @property
    def encoding(self) -> str:
        """The encoding of the stream."""
        return getattr(self._original, "encoding", None) or "utf-8"

    @property
    def buffer(self) -> Any:
        """The binary file below; inside an attempt one that decodes."""
        return _Bytes(self) if redirection.catches() else self._original.buffer

    def write_bytes(self, data: bytes) -> int:
        """Write bytes, as the file below the text file does."""
        output = redirection.output()
        if output is None:
            written: int = self._original.buffer.write(data)
            return written
        output.add_bytes(self._which, data, self.encoding)
        return len(data)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "_original":  # not there yet, while it is copied
            raise AttributeError(name)
        return getattr(self._original, name)

    def __repr__(self) -> str:
        return f"<capturing {self._which} of {self._original!r}>"

    def __iter__(self) -> Iterator[str]:
        return iter(self._original)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.flush()

    def __reduce__(self) -> tuple[object, ...]:
        return _stream, (self._which,)  # a function that holds it arrives with the stream there


def _stream(which: str) -> object:
    return getattr(sys, which)


class _Bytes(io.RawIOBase):
    """What ``sys.stdout.buffer`` is inside an attempt."""

    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        return self._proxy.write_bytes(bytes(data))


class _Handler(logging.Handler):
    """Keeps the log records of attempts."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            output = redirection.output()
            if output is not None:
                output.add("log", f"{self.format(record)}\n")
            elif not self._others(record.name):
                self._stand_in(record)
        except Exception:
            self.handleError(record)

    def _stand_in(self, record: logging.LogRecord) -> None:
        """Show a record that nobody else handles.

        Without us it would have met ``logging.lastResort``, which steps in only where there is no
        handler at all. With ``-s`` a task's own log is shown, as its prints are.
        """
        attempt = current_attempt()
        if attempt is not None and attempt.run.id in redirection.shown:
            print(self.format(record), file=sys.stderr)
        elif logging.lastResort is not None and record.levelno >= logging.lastResort.level:
            logging.lastResort.handle(record)

    def _others(self, name: str) -> bool:
        """Whether any other handler sees the records of a logger."""
        found = logging.root.manager.loggerDict.get(name)
        logger: logging.Logger | None = found if isinstance(found, logging.Logger) else logging.root
        while logger is not None:
            if any(handler is not self for handler in logger.handlers):
                return True
            logger = logger.parent if logger.propagate else None
        return False


redirection = _Redirection()


# --- hooks ------------------------------------------------------------------------------------


class Capturing:
    """The runs of one session that are being captured. See ``services.Printed``."""

    def __init__(self) -> None:
        self._runs: set[str] = set()

    @hookimpl
    def flowkit_run_started(self, run: RunInfo) -> None:
        """Begin."""
        self._runs.add(run.id)
        redirection.enter(run.id, None if run.options.get("no_capture") else run.mask)

    @hookimpl
    def flowkit_run_ended(self, report: RunReport) -> None:
        """End."""
        self._leave(report.run.id)

    @hookimpl
    def flowkit_unconfigure(self) -> None:
        """End what was cut short."""
        for run in list(self._runs):
            self._leave(run)

    def size(self, attempt: Attempt) -> int:
        """Return how many characters an attempt that runs has printed."""
        output = _output_of(attempt)
        return output.size() if output is not None else 0

    def so_far(self, attempt: Attempt) -> list[Section]:
        """Return the whole lines that an attempt that runs has printed."""
        output = _output_of(attempt)
        return output.sections(whole=True) if output is not None else []

    def _leave(self, run: str) -> None:
        self._runs.discard(run)
        redirection.leave(run)


def _output_of(attempt: Attempt) -> Output | None:
    stash = attempt.stash
    found = None if stash is None else stash.get(_KEY)
    return found if isinstance(found, Output) else None


@hookimpl
def flowkit_run_options() -> list[Flag]:
    """Declare ``-s``."""
    return [
        Flag(
            name="--no-capture",
            short="-s",
            type=bool,
            default=False,
            help="Do not capture what tasks print and log: show it as it comes.",
        )
    ]


@hookimpl
def flowkit_configure(session: Session) -> None:
    """Register what remembers this session's runs."""
    capturing = session.services[Printed] = Capturing()
    session.plugins.register(capturing, "capture:state")


@hookimpl(tryfirst=True)
def flowkit_attempt_ended(attempt: Attempt) -> None:
    """Turn what the attempt wrote into sections; first, so that all others see them."""
    stash = attempt.stash
    if stash is not None:
        output = stash.pop(_KEY, None)
        if isinstance(output, Output):
            found = output.sections()
            attempt.sections = found if attempt.sections is None else [*attempt.sections, *found]
