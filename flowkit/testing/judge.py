"""Whether a run on the real store did what it had to, and no more: the memory behind :class:`.FlowMachine`.

It knows by the reference what every value follows from, and by what was seen of earlier runs what must still
be in the store. It never asks flowkit whether something is still true.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from flowkit.testing.processes import Seen, SeenNode, ShiftedClock
from flowkit.testing.reference import FAILED, GOOD, LIFE, SKIPPED, UPSTREAM, Ending, Model
from flowkit.testing.storekeeper import Stock, Storekeeper
from flowkit_plugins.cache.packs import row_of

HOUR = 3600
_BAD = ("failed", "timeout", "error")

Why = tuple[object, ...]


class Aim(NamedTuple):
    """What a run is for: a target, with which parameter, and the tasks that it comes to."""

    target: str
    parameter: int
    tasks: frozenset[str]
    resume: bool = False
    failed: frozenset[str] = frozenset()
    """The nodes that ``--lf`` is about; none for an ordinary run."""


class Judge:
    """Compares what is seen with the reference, and remembers it.

    Args:
        model: The flow as it is; edited from outside.
        keeper: Reads the store and the history.

    Attributes:
        shift: Seconds by which the time of day is later than it is.
        last: The last run that was written down; None before the first.
        failed: The nodes that failed the last time.
        pinned: Keys that gc must not take.
        lost: Rows that were taken away behind flowkit's back.
    """

    def __init__(self, model: Model, keeper: Storekeeper) -> None:
        self.model = model
        self.keeper = keeper
        self.shift = 0
        self.last: Aim | None = None
        self.failed: set[str] = set()
        self.pinned: set[str] = set()
        self.lost: set[str] = set()
        self._zero = ShiftedClock().timestamp()
        self._kept: dict[Why, int] = {}  # what surely is in the store → the shift when it was computed
        self._keys: dict[Why, str] = {}
        self._computed: set[Why] = set()
        self._done: dict[str, Why] = {}  # what ended well in the last run, and in those it continued
        self._needed: set[str] = set()  # keys of runs that did not end well

    # The store

    def forget(self, stock: Stock) -> None:
        """Hold for kept only what is there."""
        there = {why for why, key in self._keys.items() if stock.holds(key)}
        self._kept = {why: at for why, at in self._kept.items() if why in there}
        self._done = {node: why for node, why in self._done.items() if why in there}

    def after_gc(self, before: Stock, after: Stock, last: int) -> None:
        """Check that a sweep took only what it may take; ``last`` results of each node stay, if it is not 0."""
        young = ShiftedClock(self.shift).timestamp() - HOUR + 60
        safe = self.pinned | self._needed | {t.key for t in before.traces.values() if t.created > young}
        if last:
            safe |= _newest(before, last)
        for key in safe:
            assert after.holds(key) or not before.holds(key), f"gc took {before.traces[key]}, which had to stay"
        rows = {row_of(t.blob) for t in after.traces.values() if t.blob}
        assert not (before.rows & rows) - after.rows, "gc took the value of a record that stays"
        if self.shift > 2 * HOUR:
            assert after.rows <= rows, "gc left values that no record names"
        self.forget(after)

    # What is seen

    def look(self, aim: Aim, seen: Seen, calls: Collection[str]) -> None:
        """Compare a run with the reference, and remember what it leaves."""
        assert not seen.notes, seen.notes
        endings = self.model.endings(aim.parameter)
        met = {n.node for n in seen.nodes}
        self._has_all(aim, met, endings)
        stock = self.keeper.stock()
        done = dict(self._done) if aim.resume else {}
        self._computed.update(w for n in seen.nodes if n.calls and (w := endings[n.node].why) is not None)
        # Those that were called first: an equal element may have been told to be reused before the other's end was.
        for node in sorted(seen.nodes, key=lambda node: not node.calls):
            ending = endings[node.node]
            self._ended_right(node, ending, aim)
            if ending.why is not None:
                self._remember(node, ending, stock)
                if ending.word != FAILED:
                    done[node.node] = ending.why
        assert len(set(self._keys.values())) == len(self._keys), "two contents have one key"
        assert seen.exit_code == int(any(endings[name].word == FAILED for name in met))
        assert sum(n.calls for n in seen.nodes) == len(calls), "calls that no report has"
        for name, value in seen.values.items():
            assert value == endings[name].value, f"{name} is {value}, and has to be {endings[name].value}"
        if not aim.failed and aim.target == "m.py":
            assert seen.values.keys() == {n for n, e in endings.items() if e.word == GOOD}
        self._done, self.last = done, aim
        if seen.exit_code:
            self._needed |= {n.key for n in seen.nodes if n.key}
        self._note_failures(seen, whole=not aim.failed)

    def _has_all(self, aim: Aim, met: set[str], endings: dict[str, Ending]) -> None:
        """Check that a run had the nodes that it had to have, and no others."""
        expected = {name for name in endings if task_of(name) in aim.tasks}
        assert met <= expected, f"nodes that have no business here: {met - expected}"
        failed = {name for name in aim.failed if name in endings}
        if self.is_narrow(aim):
            ids = {"", *(name.partition("[")[2] for name in aim.failed)}
            only = {n for n in expected if task_of(n) in ("one", "two") and n.partition("[")[2] not in ids}
            assert not met & only, f"--lf took in elements that had not failed: {met & only}"
            expected -= only
        if not aim.failed:
            assert met == expected, f"nodes are missing: {expected - met}"
        assert failed <= met, f"--lf left out {failed - met}"

    def is_narrow(self, aim: Aim) -> bool:
        """Whether a run is for some elements alone: those that failed, and their followers."""
        tasks = {task_of(name) for name in aim.failed}
        return bool(tasks) and tasks <= {"one", "two"} and not self.model.map.collects

    def _ended_right(self, node: SeenNode, ending: Ending, aim: Aim) -> None:
        """Check how a node ended, and whether it had to be called."""
        words = {GOOD: ("ran", "same") if node.calls else ("cached",), SKIPPED: ("skipped",), FAILED: ("failed",)}
        assert node.word in words.get(ending.word, ("upstream",)), f"{node} has to be {ending.word}"
        if ending.why is None:
            assert not node.calls, f"{node} was called without what it needs"
            return
        if node.calls:
            assert not self._is_true(node.node, ending, resume=aim.resume), f"{node} was called, and was still true"
            return
        assert ending.word != FAILED, f"{node} was not called"
        assert ending.reused or aim.resume, f"{node} says cache=False, and was not called"
        assert ending.why in self._computed, f"{node} was reused, and never computed"

    def _is_true(self, node: str, ending: Ending, *, resume: bool) -> bool:
        """Whether a node must not be called."""
        why = ending.why
        if ending.word == FAILED or why is None:
            return False
        if resume and self._done.get(node) == why:
            return True
        return ending.reused and why in self._kept and not self._expired(node, self._kept[why])

    def _expired(self, node: str, since: int) -> bool:
        number = node[1:]
        step = self.model.steps[int(number)] if number.isdigit() else None
        return step is not None and step.expires and self.shift >= since + LIFE

    def _remember(self, node: SeenNode, ending: Ending, stock: Stock) -> None:
        """Note what a node that was seen to end leaves behind."""
        why = ending.why
        assert why is not None  # such are left aside
        if ending.word == FAILED:
            return
        self._same_key(node.node, why, node.key)
        if node.calls and ending.reused:
            self._kept[why] = self.shift
        elif ending.reused and why not in self._kept and stock.holds(node.key):
            self._kept[why] = self._computed_at(stock, node.key)

    def _same_key(self, node: str, why: Why, key: str) -> None:
        if key:
            known = self._keys.setdefault(why, key)
            assert known == key, f"{node} has two keys for one content"

    def _computed_at(self, stock: Stock, key: str) -> int:
        """Return the shift at which a result was computed: time is let pass by whole hours."""
        return int((stock.traces[key].created - self._zero) // HOUR) * HOUR

    def _note_failures(self, seen: Seen, *, whole: bool) -> None:
        """Check that the history knows what failed the last time."""
        expected = set(self.failed)
        for node in seen.nodes:
            if node.word in _BAD:
                expected.add(node.node)
            elif node.word != "upstream":
                expected.discard(node.node)
        met = {n.node for n in seen.nodes}
        tasks = {task_of(name) for name in met}
        unsure = {n for n in self.failed - met if "[" in n and (not whole or task_of(n) in tasks or not tasks & {"one"})}
        self.failed = self.keeper.failed()
        wrong = self.failed ^ expected
        assert wrong <= unsure, f"the history is wrong about the last failures: {wrong - unsure}"

    def look_after_crash(self, aim: Aim, calls: Collection[str], *, new: bool) -> None:
        """Compare what a killed process left behind with the reference."""
        endings = self.model.endings(aim.parameter)
        stock = self.keeper.stock()
        for line in calls:
            alike = {n: e for n, e in endings.items() if _note(n, endings) == line}
            assert alike, f"{line} was called, and there is no such task"
            called = [n for n, e in alike.items() if not self._is_true(n, e, resume=aim.resume)]
            assert called, f"{line} was called, and was still true"
            for ending in alike.values():
                if ending.why is not None:
                    self._computed.add(ending.why)
                    self._kept.pop(ending.why, None)
        for trace in stock.traces.values():
            assert stock.holds(trace.key) or row_of(trace.blob or "") in self.lost, f"a record without its value: {trace}"
        if new:
            self._take_over(aim, endings, stock)
        failed = self.keeper.failed()
        assert all(n in self.failed or endings[n].word == FAILED for n in failed)
        self.failed = failed

    def _take_over(self, aim: Aim, endings: dict[str, Ending], stock: Stock) -> None:
        """Hold the history to what it says ended well in a run that was killed."""
        run = self.keeper.last_run()
        assert run is not None  # it is new
        assert run.status in ("lost", "refused"), run
        done = dict(self._done) if aim.resume else {}
        for name, end in self.keeper.ended_well(run).items():
            ending = endings[name]
            assert ending.word in (GOOD, SKIPPED), f"the history says that {name} {end.word}: it has to be {ending.word}"
            if ending.why is None:
                continue
            if end.key:
                self._same_key(name, ending.why, end.key)
                assert stock.holds(end.key) or self.lost, f"{name} ended well, and its value is not stored"
                self._needed |= {end.key} if run.status == "lost" else set()
            done[name] = ending.why
            if ending.reused and end.key and stock.holds(end.key):
                self._kept.setdefault(ending.why, self._computed_at(stock, end.key))
        self._done, self.last = done, aim


def task_of(node: str) -> str:
    """Return the name of a node's task."""
    return node.partition("[")[0]


def _note(node: str, endings: dict[str, Ending]) -> str:
    """Return what a node writes down when it is called."""
    task, _, rest = node.partition("[")
    ending = endings[node]
    if ending.word == UPSTREAM or ending.why is None:
        return ""
    return f"{task} {ending.why[1]}" if rest else task


def _newest(stock: Stock, last: int) -> set[str]:
    """Return the keys of the last so many results of each node, by use."""
    found: set[str] = set()
    count: dict[str, int] = {}
    for trace in sorted(stock.traces.values(), key=lambda t: (t.used, t.created), reverse=True):
        if stock.holds(trace.key):
            count[trace.node] = count.get(trace.node, 0) + 1
            if count[trace.node] <= last:
                found.add(trace.key)
    return found
