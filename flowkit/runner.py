"""The only loop: carries out the scheduler's commands, tells the hooks, feeds back what happened.

Whoever holds the run's lock drives (``turns``). A worker that finished an attempt takes the lock, turns
the runner once (event in, hooks, commands out) and leaves with its next attempt; the main thread turns
it for time, signals and the outside. So events have one order, and hooks are serialised in it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from flowkit import garbage
from flowkit.clock import Clock
from flowkit.elements import NotAList
from flowkit.executors import Executor
from flowkit.executors.alarm import Alarm
from flowkit.executors.coroutines import EventLoop
from flowkit.grace import Grace
from flowkit.graph import Axis, BoundResource, BoundTask, Graph
from flowkit.hookspecs import Again, Kept
from flowkit.inputs import Gatherer
from flowkit.lifetimes import Lifetimes, leak
from flowkit.lookups import Lookups
from flowkit.plugins import Plugins
from flowkit.reports import Attempt, NodeReport, RunInfo, RunReport, TeardownReport
from flowkit.scheduler import Node, Scheduler
from flowkit.scheduler.commands import (
    Announce,
    Cancel,
    Expand,
    Finish,
    Release,
    Start,
    Take,
    WakeAt,
)
from flowkit.scheduler.events import (
    AttemptStarted,
    Event,
    Expanded,
    InputsMissing,
    NodeCancelled,
    NodeFailed,
    NodePutBack,
    NodeSkipped,
    NodeSucceeded,
    Recalled,
    RunStarted,
    StopRequested,
    Tick,
    ValueLost,
)
from flowkit.tracebacks import as_text
from flowkit.turns import Turns
from flowkit.values import ValueMissing
from flowkit.worker import Worker, abandoned

_WORDS = {"error": "failed", "timeout": "timeout", "setup": "error", "lost": "error", "pickle": "error"}

Elements = Callable[[Axis, Sequence[str]], Sequence[int] | None]


class Runner:
    """One execution of a graph.

    Args:
        run: The run.
        graph: What to run.
        plugins: Whose hooks are told and asked.
        executor: Where calls run.
        clock: The run's clock.
        limits: Named capacities.
        maxfail: After so many failures nothing new starts.
        keep: Whether the value of a node may be asked for after the run.
        only: Says which elements of an axis are wanted; None means all.
    """

    def __init__(
        self,
        run: RunInfo,
        graph: Graph,
        plugins: Plugins,
        executor: Executor,
        clock: Clock,
        *,
        limits: Mapping[str, int | tuple[int, float]],
        maxfail: int | None = None,
        keep: Callable[[BoundTask], bool] = lambda task: False,
        only: Elements = lambda axis, ids: None,
    ) -> None:
        self.run = run
        self.report = RunReport(run)
        self.machine = Scheduler(graph, slots=executor.slots, limits=limits, maxfail=maxfail)
        self.executor = executor
        self._clock = clock
        self._keep = keep
        self._only = only
        self._plugins = plugins
        self._turns = Turns(self._take_in, executor.submit, executor.wake, clock.now, alone=executor.busy)
        self._events: deque[Event] = deque()
        self._tries: dict[Node, list[Attempt]] = {}
        self._reasons: dict[Node, str] = {}
        self._running: dict[Node, Attempt] = {}
        self._grace = Grace()
        self._wake_at = float("inf")
        self._finished = False
        self._crash: BaseException | None = None
        self._unpersisted: set[BoundTask] = set()
        self._alarm = Alarm(self._patience, self.tick, needed=executor.busy)
        self._loop = EventLoop()
        self.lifetimes = Lifetimes(self._loop.wait, self._teardown_failed)
        self.gatherer = Gatherer(self.machine)
        self.values = self.gatherer.values
        asked = (plugins, self.machine, self.gatherer)
        self._lookups = Lookups(*asked, self._events.append, self._tell_node, self._reasons)
        self._attempt_started = plugins.caller("flowkit_attempt_started")
        self._attempt_failed = plugins.caller("flowkit_attempt_failed", first=True)
        self._attempt_ended = plugins.caller("flowkit_attempt_ended")
        self._node_ended = plugins.caller("flowkit_node_ended")
        self.worker = Worker(
            clock,
            self.lifetimes,
            self._loop.wait,
            plugins.wrappers("flowkit_attempt_call"),
            plugins.bare("flowkit_attempt_begins"),
            plugins.caller("flowkit_attempt_keep", first=True),
            self._call_begins,
        )
        self._handlers: dict[type, Callable[[Any], None]] = {
            Take: self._take,
            Expand: self._expand,
            Cancel: self._cancel,
            Release: self._release,
            Announce: self._announce,
            WakeAt: self._set_wake,
            Finish: self._finish,
        }

    # The loop

    def execute(self) -> RunReport:
        """Run to the end and return what happened.

        Raises:
            PluginError: A plugin raised; running calls were stopped and resources torn down.
            KeyboardInterrupt: It hit this thread; likewise.
        """
        self.executor.start(self.worker, self.done)
        pressed: KeyboardInterrupt | None = None
        try:
            self._turn(RunStarted(self._clock.now(), held=self._lookups.recall.possible))
            if self._wake_at != float("inf"):
                self._alarm.start()  # the flow's own deadline
            while not self._over():
                try:
                    self.executor.wait(self._patience())
                    self._turns.catch_up()
                    if self._clock.now() >= min(self._wake_at, self._grace.until):
                        self.tick()
                except KeyboardInterrupt as error:
                    pressed = error
                    self.interrupt()
        finally:
            self._close()
        if self._crash is not None:
            raise self._crash
        if pressed is not None:
            raise pressed
        return self.report

    def done(self, attempt: Attempt) -> Attempt | None:
        """Take in what became of a call, and return what to run next in the same place."""
        self.worker.keep(attempt)
        return self._turns.ended(attempt)

    def _take_in(self, attempt: Attempt) -> Sequence[Attempt] | None:
        """Take in what became of a call; return the attempts to run, or None if it was given up: whoever waited has gone on."""
        if self._running.get(attempt.unit) is not attempt:
            return None
        try:
            del self._running[attempt.unit]
            self._took_end(attempt)
            if self._crash is not None:
                self._events.clear()
            return self._drain()
        except BaseException as error:
            self._crashed(error)
            return ()

    def tick(self) -> None:
        """Take in that time passed. Called by whoever waits for it."""
        now = self._clock.now()
        self._give_up(now)
        with self._turns:
            due = now >= self._wake_at
            if due:
                self._wake_at = float("inf")
        if due:
            self._turn(Tick(now))
            self.executor.wake()  # the alarm's thread may have submitted what the one that drives did not find

    def interrupt(self, reason: str = "interrupted") -> None:
        """Start nothing more, stop what runs, and end (Ctrl-C, SIGTERM)."""
        self.report.interrupted = True
        self._turn(StopRequested(self._clock.now(), reason, cancel=True, final=True))
        self.executor.wake()

    def stop(self, reason: str) -> None:
        """Start nothing more; let what runs end."""
        self._turn(StopRequested(self._clock.now(), reason))

    def _turn(self, event: Event) -> None:
        with self._turns:
            try:
                self._events.append(event)
                self._submit(self._begin(event) if type(event) is RunStarted else self._drain())
            except BaseException as error:
                self._crashed(error)

    def _submit(self, starting: Sequence[Attempt]) -> None:
        """Have attempts run."""
        for place, attempt in enumerate(starting):
            try:
                self.executor.submit(attempt)
            except BaseException:
                self._never_called(starting[place:])
                raise

    def _never_called(self, attempts: Sequence[Attempt]) -> None:
        """Nobody will call these, so nobody may wait for their end."""
        for attempt in attempts:
            self._running.pop(attempt.unit, None)

    def _begin(self, event: RunStarted) -> list[Attempt]:
        """Make the nodes, and take in what is known of them; return the attempts to run."""
        with garbage.no_garbage():
            starting = self._drain()
            if event.held:
                self._events.append(Recalled(event.at, self._lookups.recall.known()))
                starting = self._drain()
            if not self._finished:
                garbage.calls_begin()
        return starting

    def _over(self) -> bool:
        return (self._finished or self._crash is not None) and not self._running

    def _patience(self) -> float | None:
        """Return how long there is nothing to do but wait, in seconds; None means for good."""
        until = min(self._wake_at, self._grace.until)
        return None if until == float("inf") else max(0.0, until - self._clock.now())

    def _crashed(self, error: BaseException) -> None:
        """A plugin or the engine raised: nothing more is started, and running calls are stopped."""
        if self._crash is None:
            self._crash = error
        self._events.clear()
        now = self._clock.now()
        for attempt in list(self._running.values()):
            attempt.note = "cancel"
            self.executor.cancel(attempt)
            self._grace.allow(attempt, now)
        self.executor.wake()

    def _close(self) -> None:
        self._alarm.stop()
        self.executor.stop()  # first: a thread that left a coroutine behind may still tear down
        self.lifetimes.close_shared()
        self._loop.stop()
        self.report.duration = self._clock.now() - self.run.started_at
        self.report.stopped = next(iter(self.machine.stopped.values()), "")

    def _drain(self) -> list[Attempt]:
        """Feed all events to the machine and carry out what it wants; return the attempts to run."""
        events, handle, handlers = self._events, self.machine.handle, self._handlers
        starting: list[Attempt] = []
        try:
            while events:
                for command in handle(events.popleft()):
                    if type(command) is Start:
                        attempt = self._start(command.node)
                        if attempt is not None:
                            starting.append(attempt)
                    else:
                        handlers[type(command)](command)
        except BaseException:
            self._never_called(starting)
            raise
        return starting

    # Commands

    def _start(self, node: Node) -> Attempt | None:
        """Find out what becomes of a node that may start; return the attempt if it has to be called."""
        task = node.task
        now = self._clock.now()
        if task.given is not None:
            self._lookups.give(node, now)
            return None
        if not node.forced and self._lookups.look_up(node, now):
            return None
        arguments, missing = self.gatherer.arguments(node)
        if missing:
            self._lookups.needed(missing, node)
            self._events.append(InputsMissing(now, node, missing))
            return None
        attempt = Attempt(node, len(self._tries.get(node) or ()) + 1, self.run, now)
        attempt.arguments = arguments
        if self._attempt_started is not None:
            self._attempt_started(attempt)
        self._running[node] = attempt
        return attempt

    def _take(self, command: Take) -> None:
        self._tell_nodes(self._lookups.taken(command.nodes))

    def _expand(self, command: Expand) -> None:
        node, axis, now = command.node, command.axis, self._clock.now()
        try:
            ids = self.gatherer.expand(node, axis)
        except ValueMissing as error:
            self.values.pop(node, None)
            self.gatherer.handles.pop(node, None)
            self._reasons[node] = error.reason
            self._events.append(ValueLost(now, node))
            return
        except NotAList as error:
            self._events.append(Expanded(now, node, axis, error=error))
            return
        except Exception as error:  # the user's value may do anything when it is iterated
            problem = NotAList(f"cannot map over {axis.name!r}: {type(error).__name__}: {error}")
            self._events.append(Expanded(now, node, axis, error=problem))
            return
        self._events.append(Expanded(now, node, axis, ids, only=self._only(axis, ids)))

    def _cancel(self, command: Cancel) -> None:
        attempt = self._running.get(command.node)
        if attempt is None:
            return
        attempt.note = ("run" if command.reason else "timeout") if command.timeout else "cancel"
        self.executor.cancel(attempt)
        self._grace.allow(attempt, self._clock.now())
        self._alarm.start()
        self.executor.wake()

    def _release(self, command: Release) -> None:
        node = command.node
        if self._lookups.untold:
            self._lookups.not_needed(node)
        if not self._keep(node.task):
            self.gatherer.release(node)
        else:
            self.gatherer.lighten(node)

    def _announce(self, command: Announce) -> None:
        node = command.node
        if node.task.given is not None:
            return
        word = node.state.value
        self._tell_node(NodeReport(node, word, node.reason, self._tries.pop(node, ())))

    def _set_wake(self, command: WakeAt) -> None:
        if command.at < self._wake_at:
            self._wake_at = command.at
            self.executor.wake()
            self._alarm.changed()

    def _finish(self, command: Finish) -> None:
        self._finished = True
        for node in list(self._lookups.untold):
            self._lookups.not_needed(node)
        self.executor.wake()

    # How attempts end

    def _call_begins(self, attempt: Attempt) -> None:
        """A call with a deadline begins; told by the worker that makes it."""
        with self._turns.brief():
            for command in self.machine.handle(AttemptStarted(attempt.started_at, attempt.unit)):
                self._handlers[type(command)](command)
            self._alarm.start()

    def _took_end(self, attempt: Attempt) -> None:
        """Note how an attempt ended and queue the event that follows from it."""
        node, kind = attempt.unit, attempt.kind
        now = attempt.ended_at
        assert now is not None  # the worker stamps it
        if kind == "success":
            self._succeeded(attempt, node, now)
            return
        if kind == "plugin":
            assert attempt.error is not None
            raise attempt.error
        if kind == "missing":
            self._input_lost(attempt, node, now)
            return
        again = None
        if kind != "skip" and kind != "cancelled" and not attempt.final and self._attempt_failed is not None:
            again = self._ask_again(attempt, node)
        if self._attempt_ended is not None:
            self._attempt_ended(attempt)
        if again is not None:
            self._tries.setdefault(node, []).append(attempt)
            self._events.append(NodePutBack(now, node, again.not_before))
            return
        tries = (*self._tries.pop(node, ()), attempt)
        reason = self._reasons.pop(node, "")
        if kind == "cancelled":
            self._tell_node(NodeReport(node, "not run", "interrupted", tries))
            self._events.append(NodeCancelled(now, node))
        elif kind == "skip":
            self._tell_node(NodeReport(node, "skipped", attempt.reason, tries))
            self._events.append(NodeSkipped(now, node, attempt.reason))
        else:
            assert attempt.error is not None  # every other kind has one
            node.error = attempt.error
            self._events.append(NodeFailed(now, node, attempt.error))
            self._tell_node(NodeReport(node, _WORDS[kind], attempt.reason or reason, tries))

    def _succeeded(self, attempt: Attempt, node: Node, now: float) -> None:
        self.values[node] = attempt.value
        if node.task.resources and (note := leak(node.task, attempt)) and note not in self.report.notes:
            self.report.notes.append(note)
        attempt.value = attempt.arguments = None
        word, kept = "ran", attempt.kept
        if kept is not None:
            if kept.same:
                word = "same"
            if kept.handle is not None:
                self.gatherer.handles[node] = kept.handle
            if kept.note:
                self._note_once(node.task, kept)
        if self._attempt_ended is not None:
            self._attempt_ended(attempt)
        reason = self._reasons.pop(node, "") if self._reasons else ""
        tries = (*self._tries.pop(node, ()), attempt) if self._tries else (attempt,)
        report = NodeReport(node, word, reason, tries)
        if kept is not None:
            report.key = kept.key
        self._tell_node(report)
        self._events.append(NodeSucceeded(now, node))

    def _note_once(self, task: BoundTask, kept: Kept) -> None:
        if task not in self._unpersisted:
            self._unpersisted.add(task)
            self.report.notes.append(f"`{task.name}` is not persisted: {kept.note}")

    def _ask_again(self, attempt: Attempt, node: Node) -> Again | None:
        if node.task.flow in self.machine.stopped:
            return None
        assert self._attempt_failed is not None
        answer = self._attempt_failed(attempt)
        if not isinstance(answer, Again):
            return None
        attempt.again = answer.reason or "called again"
        return answer

    def _input_lost(self, attempt: Attempt, node: Node, now: float) -> None:
        """A stored value that the attempt needed is damaged: have those nodes computed again."""
        lost = self.gatherer.lost(node)
        if lost or self.gatherer.mended(node):
            self._reasons.update(lost)
            self._events.append(InputsMissing(now, node, tuple(lost)))
            return
        assert attempt.error is not None
        node.error = attempt.error
        self._events.append(NodeFailed(now, node, attempt.error))
        self._tell_node(NodeReport(node, "error", str(attempt.error), (attempt,)))

    def _tell_node(self, report: NodeReport) -> None:
        if report.unit.report is not None:  # its value was known, proved bad, and was computed again
            self.report.nodes.remove(report.unit.report)
        report.unit.report = report
        self.report.nodes.append(report)
        if self._node_ended is not None:
            self._node_ended(report)

    def _tell_nodes(self, reports: Sequence[NodeReport]) -> None:
        """Tell of nodes that nothing was told of before."""
        for report in reports:
            report.unit.report = report
        self.report.nodes += reports
        if self._node_ended is not None:
            for report in reports:
                self._node_ended(report)

    def _teardown_failed(self, resource: BoundResource, node: str, error: BaseException) -> None:
        self.report.teardowns.append(
            TeardownReport(resource.name, resource.where, node, error, as_text(error))
        )

    # Calls that do not stop

    def _give_up(self, now: float) -> None:
        """Go on without the calls that did not stop in time."""
        with self._turns:
            for attempt in self._grace.over(now):
                here = self._running.get(attempt.unit) is attempt
                if not here or not self.worker.stuck(attempt) or not self.executor.abandon(attempt):
                    continue
                del self._running[attempt.unit]
                what = "it" if attempt.ended_at is None else "the teardown of its resources"
                self.report.notes.append(f"`{attempt.node}` did not stop when told to: {what} was left behind, still running")
                try:
                    self._leave(attempt, abandoned(attempt, now), now)
                    self._submit(self._drain())
                except BaseException as error:
                    self._crashed(error)

    def _leave(self, attempt: Attempt, ended: Attempt, now: float) -> None:
        """Go on without a call: what it had set up is torn down first, for which there is as much time."""
        if self.worker.left(attempt, ended):
            self._running[attempt.unit] = ended
            self._grace.allow(ended, now)
            self._submit([ended])
        elif self._crash is None:
            self._took_end(ended)
