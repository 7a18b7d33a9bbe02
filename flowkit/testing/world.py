"""One simulated process: its clock, its choices, what goes wrong in it, and what is seen of it.

A crash abandons it: from that moment nothing reaches the store, no resource is torn down, and
the next call of the executor ends the run with :class:`SimulatedCrash`.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from flowkit.digests import digest
from flowkit.errors import TaskTimeout, UsageError, WorkerLost
from flowkit.hookspecs import hookimpl
from flowkit.testing.clock import VirtualClock
from flowkit.testing.faultplans import Fault, Plan
from flowkit.testing.simulator import Simulator
from flowkit_plugins.strict import Given, changed, given

if TYPE_CHECKING:
    from flowkit.graph import Graph
    from flowkit.lifetimes import Lifetimes, Live
    from flowkit.reports import Attempt
    from flowkit.runner import Runner
    from flowkit.testing.journal import PromptJournal
    from flowkit.testing.memory import MemoryStorage

#: What a crashed process left half done. Kept, since Python would run ``finally`` blocks of it.
_graveyard: list[object] = []


def _bury(stack: list[Live]) -> None:
    """Leave resources as a killed process leaves them."""
    _graveyard.append(list(stack))
    stack.clear()


class SimulatedCrash(BaseException):
    """The simulated process is gone."""


class Withheld(Exception):
    """A call that a fault plan lets hang is not made: what it would do, it does not do."""


class Script:
    """Choices from a list; the first where it is too short."""

    def __init__(self, choices: Sequence[int] = ()) -> None:
        self._rest = iter(choices)

    def choose(self, count: int) -> int:
        """Return the next choice."""
        return next(self._rest, 0) % count


class World:
    """One simulated process.

    Args:
        plan: What goes wrong.
        clock: Its clock.
        schedule: Choices among what may happen next; the first where the list ends.
        workers: How many virtual workers it has.
        patch_sleep: Whether ``time.sleep`` in a task takes virtual time.
        observe: Whether the content of arguments is compared before and after each call.

    Attributes:
        crashed: Where it crashed, or ``""``.
        calls: Nodes in the order in which they were called.
        ended: Nodes whose success the run has heard of.
        events: Set-ups and teardowns of resources: ``("up" or "down", name, number, scope)``.
        mutations: Arguments that a call changed: (node, argument).
        steps: What happened, one line each.
    """

    def __init__(
        self,
        plan: Plan,
        clock: VirtualClock,
        *,
        schedule: Sequence[int] = (),
        workers: int = 4,
        patch_sleep: bool = False,
        observe: bool = False,
    ) -> None:
        self.plan = plan
        self.clock = clock
        self.crashed = ""
        self.calls: list[str] = []
        self.ended: list[str] = []
        self.events: list[tuple[str, str, int, str]] = []
        self.mutations: list[tuple[str, str]] = []
        self.steps: list[str] = []
        self.storage: MemoryStorage | None = None
        self.journal: PromptJournal | None = None
        self.runner: Runner | None = None
        self._seed = tuple(schedule)
        self._counts: dict[Fault, int] = {}
        self._slept = 0.0
        self._patch_sleep = patch_sleep
        self._observe = observe
        self._before: dict[str, list[Given]] = {}
        self.executor = _Workers(self, clock, workers, Script(schedule))

    # What goes wrong

    def befalls(self, kind: str, attempt: Attempt) -> Fault | None:
        """Return the fault of this kind that befalls a call, or None."""
        for fault in self.plan:
            if fault.kind == kind and fault.befalls(attempt.task.name, attempt.node, attempt.number, self._seed):
                return fault
        return None

    def corrupts(self, node: str) -> bool:
        """Whether what is stored of a node is damaged."""
        task = node.partition("[")[0]
        return any(f.kind == "corrupt" and f.matches(task, node) for f in self.plan)

    def passes(self, kind: str, detail: str, node: str) -> Fault | None:
        """Count that a place is passed; return the fault that happens there now, or None."""
        for fault in self.plan:
            if fault.kind != kind or (detail and fault.detail != detail):
                continue
            if node != "*" and not fault.matches(node.partition("[")[0], node):
                continue
            count = self._counts[fault] = self._counts.get(fault, 0) + 1
            if fault.at(count):
                return fault
        return None

    def point(self, point: str, node: str) -> None:
        """Pass a place where a crash may happen."""
        if self.crashed:
            raise SimulatedCrash(self.crashed)
        if self.passes("crash", point, node) is not None:
            self.crash(f"{point} of {node}" if node != "*" else point)

    def store_operation(self, operation: str) -> None:
        """Let the store do something, or refuse."""
        if self.crashed or self.passes("store", operation, "*") is None:
            return
        from flowkit_plugins.cache.faults import StoreError

        self.note(f"the store refuses: {operation}")
        raise StoreError("no space left", known=f"a fault plan says so: {operation}")

    def crash(self, where: str) -> None:
        """End the process, here and now."""
        self.crashed = where
        self.note(f"crash at {where}")
        if self.storage is not None:
            self.storage.cut()
        if self.journal is not None:
            self.journal.cut()
        if self.runner is not None:
            lifetimes: Any = self.runner.lifetimes
            _graveyard.append(list(lifetimes._order))
            lifetimes._order.clear()
            lifetimes.close = _bury
        raise SimulatedCrash(where)

    def note(self, text: str) -> None:
        """Add a line to the story."""
        self.steps.append(f"{self.clock.now():>8g}s  {text}")

    # Getting hold of a run

    def enter(self, runner: Runner) -> None:
        """Take part in a run that is about to start."""
        self.runner = runner
        _watch(runner.lifetimes, self)

    @contextlib.contextmanager
    def sleeping(self) -> Iterator[None]:
        """Have ``time.sleep`` take virtual time, if that is wanted."""
        if not self._patch_sleep:
            yield
            return
        real = time.sleep

        def sleep(seconds: float) -> None:
            self._slept += seconds

        time.sleep = sleep  # type: ignore[assignment]  # put back below
        try:
            yield
        finally:
            time.sleep = real

    def lasts(self, attempt: Attempt) -> float:
        """Return how long a call that was just made takes."""
        slept, self._slept = self._slept, 0.0
        for kind in ("hang", "timeout"):
            if self.befalls(kind, attempt) is not None and isinstance(attempt.error, Withheld):
                return float("inf")
        fault = self.befalls("slow", attempt)
        return slept + (fault.seconds if fault is not None else 0.0)

    # Hooks

    @hookimpl
    def flowkit_collected(self, graph: Graph) -> Sequence[UsageError]:
        """Refuse faults of tasks that there are not."""
        return self.plan.misspelt(task.name for task in graph.tasks)

    @hookimpl
    def flowkit_attempt_begins(self, attempt: Attempt) -> None:
        """Have the call fail, or not be made, as the plan says."""
        self.calls.append(attempt.node)
        self.note(f"{attempt.node} is called" + (f", attempt {attempt.number}" if attempt.number > 1 else ""))
        self.point("before_call", attempt.node)
        fault = self.befalls("fail", attempt)
        if fault is not None:
            raise fault.error()
        if self.befalls("lost", attempt) is not None:
            raise WorkerLost("a fault plan says so")
        if self.befalls("hang", attempt) is not None:
            raise Withheld("hangs, as a fault plan says")
        if self.befalls("timeout", attempt) is not None:
            if attempt.task.deadline is None:
                raise TaskTimeout("a fault plan says so")
            raise Withheld("takes too long, as a fault plan says")
        if self._observe and attempt.arguments:
            self._before[attempt.node] = given(attempt, digest)

    @hookimpl(tryfirst=True)
    def flowkit_attempt_ended(self, attempt: Attempt) -> None:
        """Pass the place before the run hears of an end."""
        self.point("before_ack", attempt.node)
        if attempt.kind == "success":
            self.ended.append(attempt.node)
        again = f", {attempt.again}" if attempt.again else ""
        error = f": {attempt.error!r}" if attempt.error is not None else ""
        self.note(f"{attempt.node} ends: {attempt.kind}{error}{again}")

    # Around a call

    def before_dispatch(self) -> None:
        """Pass the places before a call."""
        jump = self.passes("clock", "", "*")
        if jump is not None:
            self.note(f"the clock jumps by {jump.seconds:g}s")
            self.clock.jump_wall(jump.seconds)
        if self.passes("interrupt", "", "*") is not None and self.runner is not None:
            self.note("Ctrl-C")
            self.runner.interrupt()

    def after_dispatch(self, attempt: Attempt) -> None:
        """Pass the places after a call, and judge how it ended."""
        if self.crashed:
            raise SimulatedCrash(self.crashed)
        if isinstance(attempt.error, WorkerLost):
            attempt.kind = "lost"
        elif isinstance(attempt.error, TaskTimeout):
            attempt.kind = "timeout"
        self._compare(attempt)
        self.point("after_call", attempt.node)

    def _compare(self, attempt: Attempt) -> None:
        for name in changed(self._before.pop(attempt.node, ()), digest):
            self.mutations.append((attempt.node, name))
            self.note(f"{attempt.node} changed its argument {name!r}")


class _Workers(Simulator):
    """The simulator, with the places of this world around each call."""

    def __init__(self, world: World, clock: VirtualClock, slots: int, choices: Script) -> None:
        super().__init__(clock, slots, choices=choices, lasts=world.lasts)
        self._world = world

    def wait(self, timeout: float | None) -> None:
        """Let the next thing happen, unless nothing happens any more."""
        if self._world.crashed:
            raise SimulatedCrash(self._world.crashed)
        super().wait(timeout)

    def _is_late(self, attempt: Attempt) -> bool:
        return self._world.befalls("late", attempt) is not None

    def _dispatch(self, attempt: Attempt) -> None:
        self._world.before_dispatch()
        super()._dispatch(attempt)
        self._world.after_dispatch(attempt)


def _watch(lifetimes: Lifetimes, world: World) -> None:
    """Have set-ups and teardowns noted: those of resources that have something to tear down."""
    set_up = lifetimes._set_up
    count = 0

    def watched(*arguments: Any) -> Live:
        nonlocal count
        live = set_up(*arguments)
        rest = live.rest
        if rest is not None:
            count += 1
            place = (live.resource.name, count, live.resource.scope)
            world.events.append(("up", *place))
            live.rest = _sync(rest, place, world) if hasattr(rest, "send") else _async(rest, place, world)  # type: ignore[assignment]  # generators, too
            if hasattr(live.rest, "send"):
                next(live.rest)  # type: ignore[arg-type]  # as just said
            else:
                lifetimes._wait(live.rest.__anext__())  # type: ignore[union-attr]  # likewise
        return live

    lifetimes._set_up = watched  # type: ignore[method-assign,assignment]  # seen from outside, so that the engine has no hook for it


def _down(rest: object, place: tuple[str, int, str], world: World) -> None:
    world.events.append(("down", *place))
    world.note(f"resource {place[0]} is torn down")
    try:
        world.point("in_teardown", place[0])
    except SimulatedCrash:
        _graveyard.append(rest)
        raise


def _sync(rest: Any, place: tuple[str, int, str], world: World) -> Iterator[None]:
    yield
    _down(rest, place, world)
    try:
        next(rest)
    except StopIteration:
        fault = world.passes("teardown", "", place[0])
        if fault is not None:
            raise fault.error() from None
        return
    yield


async def _async(rest: Any, place: tuple[str, int, str], world: World) -> Any:
    yield
    _down(rest, place, world)
    try:
        await rest.__anext__()
    except StopAsyncIteration:
        fault = world.passes("teardown", "", place[0])
        if fault is not None:
            raise fault.error() from None
        return
    yield
