"""Retries: call a failed task again, a few times, a little later, for the errors that may pass.

Adds one task option, ``retries``: a number of further attempts, a mapping, or a :class:`Retry`.
Adds one exception, :class:`RetryAfter`, by which a task says itself when to come back.
It speaks to flowkit through ``flowkit_attempt_failed``, and remembers one thing: when the first
attempt of a node with ``within`` began.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from flowkit.durations import seconds, words
from flowkit.errors import did_you_mean
from flowkit.hookspecs import Again, Option, hookimpl
from flowkit.records import fields, record

if TYPE_CHECKING:
    from flowkit.reports import Attempt, RunReport
    from flowkit.scheduler import Node
    from flowkit.session import Session

Duration = float | str | timedelta
Errors = type[BaseException] | Sequence[type[BaseException]]

#: Ten years, in seconds. Waits are cut here, so that a power of a back-off is a time at all.
LONGEST = 10 * 365 * 86400.0

#: Ways to end that no further call can mend.
_FINAL_KINDS = frozenset({"cancelled", "plugin", "missing"})


class RetryAfter(Exception):
    """Raised by a task: call me again after this delay.

    It spends the task's ``retries`` like any failure (without any it is a plain failure), it does
    so whatever ``on`` and ``unless`` say, and it ends with ``within``. The delay is taken as it
    is: neither multiplied, nor jittered, nor cut to ``max_delay``.

    Args:
        delay: Seconds, a ``timedelta``, or text like ``"30s"``.

    Attributes:
        delay: The same in seconds.

    Raises:
        ValueError, TypeError: The delay is no duration.
    """

    def __init__(self, delay: Duration) -> None:
        self.delay = seconds(delay)
        super().__init__(delay)

    def __str__(self) -> str:
        return f"asked to be called again in {_short(self.delay)}"


@record(frozen=True)
class Retry:
    """How often, how soon and for which errors a task is called again.

    The constructor is written out because it takes durations in any form; the fields hold seconds.

    Attributes:
        times: How many further attempts, 0 or more; 3, or as many as ``delay`` lists.
        delay: Seconds before the first retry; or a tuple, one for each retry, the last repeats.
        backoff: What the delay is multiplied by for each further retry; 1 keeps it.
        max_delay: The longest wait in seconds, jitter included; None for no bound.
        jitter: Whether each wait is multiplied by a random number from 0.5 to 1.5.
        on: The errors that are retried, as ``except`` matches them.
        unless: Those among them that are not.
        within: Seconds from the start of the first attempt after which no attempt may begin.
    """

    times: int
    delay: float | tuple[float, ...]
    backoff: float
    max_delay: float | None
    jitter: bool
    on: tuple[type[BaseException], ...]
    unless: tuple[type[BaseException], ...]
    within: float | None

    def __init__(
        self,
        times: int | None = None,
        delay: Duration | Sequence[Duration] = 0,
        *,
        backoff: float = 1,
        max_delay: Duration | None = None,
        jitter: bool = False,
        on: Errors = Exception,
        unless: Errors = (),
        within: Duration | None = None,
    ) -> None:
        """Check and convert.

        Raises:
            ValueError, TypeError: A field does not fit; the text begins with its name.
        """
        delays = _delays(delay)
        if isinstance(delays, tuple) and backoff != 1:
            raise ValueError(
                "delay: a list says each wait itself, so backoff has nothing to multiply"
            )
        if not isinstance(jitter, bool):
            raise TypeError(f"jitter: True or False, not {jitter!r}")
        listed = len(delays) if isinstance(delays, tuple) else 3
        put = object.__setattr__  # the class is frozen
        put(self, "times", listed if times is None else _times(times))
        put(self, "delay", delays)
        put(self, "backoff", _factor(backoff))
        put(self, "max_delay", None if max_delay is None else _seconds("max_delay", max_delay))
        put(self, "jitter", jitter)
        put(self, "on", _errors("on", on))
        put(self, "unless", _errors("unless", unless))
        put(self, "within", None if within is None else _seconds("within", within))

    def covers(self, error: BaseException) -> bool:
        """Return whether a task that failed with ``error`` is called again."""
        if isinstance(error, RetryAfter):
            return True
        return isinstance(error, self.on) and not isinstance(error, self.unless)

    def wait(self, retry: int, draw: Callable[[], float]) -> float:
        """Return the seconds to wait before retry number ``retry``.

        Args:
            retry: 1 for the first.
            draw: Returns a random number from 0 to 1; called only with ``jitter``.
        """
        if isinstance(self.delay, tuple):
            wait = self.delay[min(retry, len(self.delay)) - 1]
        else:
            wait = self.delay and self.delay * _power(self.backoff, retry - 1)
        if self.jitter:
            wait *= 0.5 + draw()
        return min(wait, LONGEST if self.max_delay is None else min(self.max_delay, LONGEST))


class Retries:
    """Grants failed attempts of one session another go, within what their task allows.

    Args:
        draw: Returns random numbers from 0 to 1, for jitter.
    """

    def __init__(self, draw: Callable[[], float]) -> None:
        self._draw = draw
        self._began: dict[str, dict[Node, float]] = {}  # run → node → start of its first attempt

    @hookimpl
    def flowkit_attempt_failed(self, attempt: Attempt) -> Again | None:
        """Put the node back, if its error may pass and it has retries and time left."""
        policy = attempt.options.get("retries")
        error = attempt.error
        if not isinstance(policy, Retry) or error is None:
            return None
        if attempt.final or attempt.kind in _FINAL_KINDS or attempt.number > policy.times:
            return None
        if not policy.covers(error):
            return None
        ended = attempt.started_at if attempt.ended_at is None else attempt.ended_at
        if isinstance(error, RetryAfter):
            wait = min(error.delay, LONGEST)
        else:
            wait = policy.wait(attempt.number, self._draw)
        if policy.within is not None and ended + wait - self._start(attempt) > policy.within:
            return None
        when = f" in {_short(wait)}" if wait else ""
        return Again(
            not_before=ended + wait, reason=f"retry {attempt.number} of {policy.times}{when}"
        )

    def _start(self, attempt: Attempt) -> float:
        """Return when the node's first attempt began, and remember it until the run ends."""
        began = self._began.setdefault(attempt.run.id, {})
        return began.setdefault(attempt.unit, attempt.started_at)

    @hookimpl
    def flowkit_run_ended(self, report: RunReport) -> None:
        """Forget the run."""
        self._began.pop(report.run.id, None)


@hookimpl
def flowkit_task_options() -> list[Option]:
    """Declare ``retries``."""
    return [
        Option(
            name="retries",
            type="a number of further attempts, a mapping of Retry's fields, or a Retry",
            help="How often, how soon and for which errors a failed task is called again.",
            convert=read,
        )
    ]


@hookimpl
def flowkit_configure(session: Session) -> None:
    """Register what is remembered during this session; chance comes from the session's source."""
    session.plugins.register(Retries(session.random.random), "retry:state")


def read(written: object) -> Retry | None:
    """Return the policy that a user wrote for ``retries``; None for none.

    Raises:
        ValueError, TypeError: It is none of the forms, or a field of it does not fit.
    """
    if written is None or isinstance(written, Retry):
        return written
    if isinstance(written, Mapping):
        known = list(fields(Retry))
        for name in written:
            if name not in known:
                near = did_you_mean(str(name), known, f"It has {', '.join(known)}.")
                raise ValueError(f"Retry has no {name!r}. {near}")
        return Retry(**written)
    if isinstance(written, int) and not isinstance(written, bool):
        return Retry(times=written)
    raise TypeError(f"a number, a mapping or a Retry, not {written!r}")


def _power(base: float, exponent: int) -> float:
    try:
        return base**exponent
    except OverflowError:
        return math.inf


def _short(wait: float) -> str:
    """Return a wait as people say it: ``2s`` and not ``2.00s``."""
    return f"{wait:.3g}s" if 1 <= wait < 59.5 else words(wait)


def _times(times: object) -> int:
    if not isinstance(times, int) or isinstance(times, bool):
        raise TypeError(f"times: a whole number, not {times!r}")
    if times < 0:
        raise ValueError(f"times: 0 or more, not {times}")
    return times


def _factor(backoff: object) -> float:
    if not isinstance(backoff, (int, float)) or isinstance(backoff, bool):
        raise TypeError(f"backoff: a number, not {backoff!r}")
    if not 0 <= backoff < math.inf:
        raise ValueError(f"backoff: finite and not negative, not {backoff!r}")
    return float(backoff)


def _seconds(name: str, duration: Duration) -> float:
    try:
        return seconds(duration)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{name}: {error}") from None


def _delays(delay: Duration | Sequence[Duration]) -> float | tuple[float, ...]:
    if isinstance(delay, (list, tuple)):
        if not delay:
            raise ValueError("delay: the list is empty")
        return tuple(_seconds("delay", one) for one in delay)
    return _seconds("delay", delay)  # type: ignore[arg-type]  # other sequences are refused there


def _errors(name: str, errors: Errors) -> tuple[type[BaseException], ...]:
    found = tuple(errors) if isinstance(errors, (list, tuple, set, frozenset)) else (errors,)
    for one in found:
        if not (isinstance(one, type) and issubclass(one, BaseException)):
            raise TypeError(f"{name}: exception classes, not {one!r}")
    return found
