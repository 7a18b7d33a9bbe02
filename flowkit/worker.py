"""One attempt where it runs: resources, call, teardown, and what is noted of how it ended.

What a user's function raises is caught here and nowhere else.
"""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Mapping, Sequence
from types import AsyncGeneratorType, CoroutineType, FunctionType, GeneratorType
from typing import Any

from flowkit.clock import Clock
from flowkit.errors import (
    Cancelled,
    FailRequested,
    PluginError,
    SkipRequested,
    TaskFailed,
    TaskTimeout,
    a_kind,
)
from flowkit.executors.interrupts import Interrupt
from flowkit.graph import BoundResource, BoundTask
from flowkit.lifetimes import Await, Lifetimes, Live, SetupFailed, taken
from flowkit.reports import SET_UP, Attempt, current
from flowkit.secrets import Mask
from flowkit.tracebacks import as_text
from flowkit.values import Handle, ValueMissing

#: Results that can be read only once, or not at all: never what a task meant to return.
_LAZY = frozenset({GeneratorType, AsyncGeneratorType, map, filter, zip, enumerate, reversed})


#: From so many arguments on they go by position: Python finds the place of each keyword by looking
#: at one name after another, which takes 35 ms for 10,000 of them.
MANY = 16


def _positions(function: Callable[..., Any], arguments: Mapping[str, object]) -> Sequence[str] | None:
    """Return the names of all arguments by position; None where they do not go so."""
    if type(function) is not FunctionType:
        return None
    code = function.__code__
    names = code.co_varnames[: code.co_argcount]
    return names if len(names) == len(arguments) and all(name in arguments for name in names) else None


class NotFetched(Exception):
    """A stored input cannot be had; the original is ``error``."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        super().__init__(str(error))


class Worker:
    """Runs attempts. One per process of a run; any number of its threads call it at once.

    Args:
        clock: The run's clock.
        lifetimes: The shared resources.
        wait: Runs a coroutine on the run's event loop and returns its result.
        wrappers: Generator functions that wrap each call, outermost first, with their plugins' names.
        begins: Told that a call is about to be made; what it raises is taken for the task's, or None.
        keep: Asked to keep the value of each success, or None.
        running: Told when a call with a deadline begins.
    """

    def __init__(
        self,
        clock: Clock,
        lifetimes: Lifetimes,
        wait: Await,
        wrappers: Sequence[tuple[Callable[[Attempt], Any], str]],
        begins: Callable[[Attempt], Any] | None,
        keep: Callable[[Attempt], Any] | None,
        running: Callable[[Attempt], None],
    ) -> None:
        self._now = clock.now
        self._lifetimes = lifetimes
        self._wait = wait
        self._wrappers = wrappers
        self._begins = begins
        self._keep = keep
        self._running = running
        #: The own resources of attempts, where they may have any: until they end, or have torn down for one that was left.
        self._own: dict[Attempt, list[Live]] = {}

    def __call__(self, attempt: Attempt, interrupt: Interrupt) -> None:
        """Run an attempt and fill in how it ended. Raises nothing but what a plugin raised."""
        token = current.set(attempt)
        try:
            if attempt.kind:  # it ended: it stands for one that was left behind
                self._lifetimes.close(self._own[attempt])
                self._own.pop(attempt, None)
            elif self._wrappers:
                self._wrapped(attempt, interrupt)
            else:
                self._attempt(attempt, interrupt)
        except PluginError as error:
            attempt.kind = "plugin"
            attempt.error = error
        finally:
            current.reset(token)
            if attempt.ended_at is None:
                attempt.ended_at = self._now()

    def keep(self, attempt: Attempt) -> None:
        """Have plugins keep what a call gave. Raises nothing."""
        if self._keep is None or attempt.kind != "success":
            return
        token = current.set(attempt)
        try:
            attempt.kept = self._keep(attempt)
        except PluginError as error:
            attempt.kind = "plugin"
            attempt.error = error
        finally:
            current.reset(token)

    def stuck(self, attempt: Attempt) -> bool:
        """Whether an attempt is in its call, or in tearing down for one that was left behind; its own teardown may take its time."""
        return attempt.ended_at is None or attempt in self._own

    def left(self, attempt: Attempt, ended: Attempt) -> bool:
        """Take from an attempt that was left behind what it has set up; return whether there is anything.

        Args:
            attempt: The attempt.
            ended: How it ended. To call that is to tear down.
        """
        own = self._own.pop(attempt, None)
        found = [*taken(own)] if own else []
        if found:
            self._own[ended] = found[::-1]
        return bool(found)

    def _wrapped(self, attempt: Attempt, interrupt: Interrupt) -> None:
        entered = []
        for wrapper, plugin in self._wrappers:
            try:
                generator = wrapper(attempt)
                next(generator)
            except Exception as error:
                raise PluginError(plugin, "flowkit_attempt_call", error) from error
            entered.append((generator, plugin))
        self._attempt(attempt, interrupt)
        for generator, plugin in reversed(entered):
            try:
                next(generator)
            except StopIteration:
                continue
            except Exception as error:
                raise PluginError(plugin, "flowkit_attempt_call", error) from error

    def _attempt(self, attempt: Attempt, interrupt: Interrupt) -> None:
        task = attempt.task
        stack: list[Live] = []
        if task.resources:
            self._own[attempt] = stack
        try:
            arguments = attempt.arguments
            assert arguments is not None
            self._fetch(arguments)
            if task.resources and (shared := self._lifetimes.missing(task.resources.values())):
                interrupt.guard(self._share, attempt, shared)
            if task.deadline is not None:
                attempt.started_at = self._now()
                self._running(attempt)
            attempt.value = interrupt.guard(self._call, attempt, stack)
            if attempt.note == "cancel":
                raise Cancelled  # it was told to stop, and finished all the same
            attempt.kind = "success"
            if task.deadline is not None and self._now() - attempt.started_at > task.deadline:
                raise Cancelled
            if type(attempt.value) in _LAZY:
                raise _not_a_result(attempt.value)
            if task.provides or task.owes:
                _check_provided(attempt.value, task)
        except BaseException as error:
            attempt.value = None
            self._failed(attempt, error)
        finally:
            attempt.ended_at = self._now()
            if task.resources:
                self._own.pop(attempt, None)
            if stack:
                self._lifetimes.close(stack)

    @staticmethod
    def _fetch(arguments: dict[str, object]) -> None:
        """Put the values of handles in their place.

        Raises:
            ValueMissing: One is gone: it can be computed again.
            NotFetched: One cannot be had for another reason.
        """
        for name, value in arguments.items():
            if type(value) is Handle:
                try:
                    arguments[name] = value.get()
                except (ValueMissing, Cancelled):
                    raise
                except Exception as error:
                    raise NotFetched(error) from error

    def _share(self, attempt: Attempt, resources: Sequence[BoundResource]) -> None:
        """Set up what other attempts use, too, or wait for it: the task's own time does not run yet."""
        if attempt.note:  # told to stop before it was under the guard
            raise Cancelled
        for resource in resources:
            self._lifetimes.value(resource, attempt, [])

    def _call(self, attempt: Attempt, stack: list[Live]) -> object:
        task = attempt.task
        arguments = attempt.arguments
        assert arguments is not None
        if attempt.note:  # likewise
            raise Cancelled
        if task.resources:
            for name, resource in task.resources.items():
                arguments[name] = self._lifetimes.value(resource, attempt, stack)
        if self._begins is not None:
            self._begins(attempt)
        assert task.declaration is not None  # a given value is not called
        function = task.declaration.function
        if len(arguments) > MANY and (names := _positions(function, arguments)) is not None:
            value = function(*[arguments[name] for name in names])
        else:
            value = function(**arguments)
        return self._wait(value) if type(value) is CoroutineType else value

    @staticmethod
    def _failed(attempt: Attempt, error: BaseException) -> None:
        mask = attempt.run.mask
        if isinstance(error, SkipRequested):
            attempt.kind = "skip"
            attempt.reason = mask(str(error))  # it is kept, and has to be the same when it is reused
            if error.resource:
                attempt.stash = {**(attempt.stash or {}), SET_UP: error.resource}
            return
        if isinstance(error, ValueMissing):
            attempt.kind = "missing"
            attempt.error = error
            return
        attempt.kind = "error"
        attempt.error = error
        if isinstance(error, FailRequested):
            attempt.final = True
            attempt.error = TaskFailed(str(error))
        elif isinstance(error, Cancelled):
            if attempt.note == "cancel":
                attempt.kind = "cancelled"
                attempt.error = None
            else:
                attempt.kind = "timeout"
                attempt.error = timed_out(attempt)
        elif isinstance(error, NotFetched):
            attempt.kind = "pickle"
            attempt.error = error.error
            attempt.reason = "an input cannot be fetched"
        elif isinstance(error, SetupFailed):
            attempt.kind = "setup"
            attempt.error = error.error
            attempt.reason = f"set-up of {error.resource.name!r} ({error.resource.where})"
            attempt.traceback = mask(as_text(error.error))
        else:
            attempt.traceback = mask(as_text(error))
        if attempt.arguments:
            attempt.arguments = {n: Shown(v, mask) for n, v in attempt.arguments.items()}


def abandoned(attempt: Attempt, now: float) -> Attempt:
    """Return how a call ended that goes on running; its own worker will find that it was given up."""
    ended = Attempt(attempt.unit, attempt.number, attempt.run, attempt.started_at)
    ended.ended_at = now if attempt.ended_at is None else attempt.ended_at
    ended.note = attempt.note
    ended.stash = attempt.stash
    if attempt.note == "cancel":
        ended.kind = "cancelled"
    else:
        ended.kind = "timeout"
        ended.error = timed_out(attempt)
    return ended


def timed_out(attempt: Attempt) -> TaskTimeout:
    """Return the error of an attempt that took too long."""
    deadline = attempt.task.deadline
    if attempt.note == "run":
        return TaskTimeout("the run took longer than its timeout")
    return TaskTimeout(f"took longer than {deadline:g}s" if deadline is not None else "took too long")


def _not_a_result(value: object) -> TypeError:
    name = type(value).__name__
    return TypeError(
        f"returned a {name}, which can be read only once: return a list; "
        f"what sets up and tears down is a @resource"
    )


def _check_provided(value: Any, task: BoundTask) -> None:
    """Refuse a result that lacks a name that the task provides, or one that it stands in for."""
    if task.provides:
        _check_names(value, task.provides, "provides ")
    for name, provides in task.owes.items():
        _check_names(value, provides, f"stands in for `{name}`, which provides ")


def _check_names(value: Any, names: Sequence[str], owing: str) -> None:
    if isinstance(value, tuple):
        if len(value) != len(names):
            raise TypeError(f"{owing}{', '.join(names)}, but returned a tuple of {len(value)}")
        return
    try:
        lacking = [name for name in names if name not in value]
        known = True
    except TypeError:
        lacking, known = [], False
    if not known or not hasattr(value, "keys"):
        raise TypeError(f"{owing}{', '.join(names)}: return a tuple or a mapping, not {a_kind(value)}")
    if lacking:
        raise TypeError(f"{owing}{', '.join(lacking)}, but the mapping it returned lacks that")


_short = reprlib.Repr()
_short.maxother = _short.maxstring = 200
_short.maxlist = _short.maxdict = _short.maxtuple = _short.maxset = 10


class Shown:
    """What an argument of a failed attempt looked like; the value itself is let go."""

    __slots__ = ("text",)

    def __init__(self, value: object, mask: Mask = str) -> None:
        try:
            self.text = mask(_short.repr(value))
        except Exception as error:
            self.text = f"<{type(value).__name__} whose repr raises {type(error).__name__}>"

    def __repr__(self) -> str:
        return self.text
