"""What became of a run: values, outcomes, and the report, as the caller of ``flowkit.run`` sees them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from itertools import islice
from typing import Any

from flowkit.errors import (
    FlowError,
    NothingToRun,
    SelectionError,
    UsageError,
    did_you_mean,
    listing,
)
from flowkit.graph import BoundTask
from flowkit.inputs import facts_of, outcome_of, part_of
from flowkit.outcomes import Outcome, Skipped, Success
from flowkit.reports import RunReport
from flowkit.runner import Runner
from flowkit.scheduler import Node, Scheduler, State
from flowkit.scheduler.expansion import Coords, TaskState, ids_after
from flowkit.scheduler.texts import may_exist, node_id
from flowkit.selection import Selection
from flowkit.values import Collected, Handle, ValueMissing

#: So many tasks the text of a run's outcomes names.
TOLD = 20


class Run:
    """What became of a run.

    Attributes:
        report: Everything that happened, as facts.
    """

    def __init__(
        self,
        runner: Runner,
        report: RunReport,
        targets: frozenset[BoundTask],
        modules_at_hand: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self._runner = runner
        self._modules_at_hand = modules_at_hand
        self._targets = targets
        self.report = report

    def __repr__(self) -> str:
        counts = ", ".join(f"{n} {word}" for word, n in self.report.counts.items())
        return f"<Run {self.id} {'ok' if self.ok else 'failed'}: {counts or 'nothing ran'}>"

    @property
    def id(self) -> str:
        """The run's id."""
        return self.report.run.id

    @property
    def ok(self) -> bool:
        """Whether nothing failed that was not allowed to."""
        return self.report.ok

    @property
    def exit_code(self) -> int:
        """The exit code of the same run on the command line."""
        return self.report.exit_code

    @property
    def outcomes(self) -> Mapping[str, Any]:
        """Task → its outcome; for a mapped task a mapping from element id to outcome."""
        return _Outcomes(self)

    def _find(self, name: object) -> tuple[BoundTask, Node | None, str | None]:
        """Return the task that a name means, the node if it is one, and the part if it is provided."""
        graph, elements = self._runner.machine.graph, []
        if not isinstance(name, str):
            raise KeyError(f"{name!r} is no name of a task; names are text, as in run['page'] and run['page[3]']")
        short = [t for t in graph.tasks if name in (t.name, t.key)]
        if len(short) == 1:
            return short[0], None, None
        for task in graph.tasks:
            plain = name.removeprefix(f"{task.flow.path}::")
            for part in (None, *task.provides):
                called = part or task.name
                if plain == part:
                    return task, None, part
                if plain.startswith(f"{called}["):
                    for node in self._runner.machine.nodes(task):
                        if node.id == task.name + plain[len(called) :]:
                            return task, node, part
                        elements.append(f"{called}{node.id[len(task.name) :]}")
        known = [t.name for t in graph.tasks if t.given is None]
        if len(short) > 1:
            raise KeyError(f"{name!r} is a task of several flows: {', '.join(t.key for t in short)}")
        if elements:
            raise KeyError(f"no element {name!r} in this run; {did_you_mean(name, elements, 'elements: ' + listing(elements))}")
        raise KeyError(f"no task {name!r} in this run; {did_you_mean(name, known, 'tasks: ' + listing(known))}")

    def __iter__(self) -> Iterator[str]:
        """Yield the names of the tasks."""
        return iter(self.outcomes)

    def __contains__(self, name: object) -> bool:
        """Whether a name leads somewhere: that of a task, of a part of its value, or of an element."""
        try:
            self._find(name)
        except KeyError:
            return False
        return True

    def __getitem__(self, name: str) -> Any:
        """Return the value of a task, or of one element: ``run["page[3]"]``.

        For a mapped task, a ``Collected`` of all elements.

        Raises:
            KeyError: There is no such task in the run.
            LookupError: It did not run (it says why), or its value was not kept.
            Exception: The task's own error, if it failed.
        """
        task, node, part = self._find(name)
        if node is not None or not task.axes:
            node = node or self._runner.machine.node(task)
            if node is None:
                raise LookupError(f"{name!r} did not run")
            return self._value(node, part)
        nodes = list(self._runner.machine.nodes(task))
        if len(nodes) == 1 and _is_whole(nodes[0]):
            return self._value(nodes[0], part)
        nodes = [n for n in nodes if n.state is not State.SKIPPED]
        for each in sorted(nodes, key=lambda n: n.state is not State.FAILED):  # a failure tells more than what it held up
            if not each.succeeded:
                self._value(each, part)
        ids = [n.id[len(task.name) + 1 : -1] for n in nodes]
        return Collected([self._value(n, part) for n in nodes], ids)

    def _value(self, node: Node, part: str | None) -> Any:
        if not node.succeeded:
            if node.state is State.FAILED and node.error is not None:
                raise node.error
            raise LookupError(f"`{node.id}` did not run: {node.reason or node.state.value}")
        gatherer = self._runner.gatherer
        if not gatherer.at_hand(node):
            raise LookupError(
                f"the value of `{node.id}` was not kept: name it as a target, as in flowkit.run('flow.py::{node.id}')"
            )
        value = gatherer.value(node)
        if type(value) is Handle:
            try:
                with self._modules_at_hand():
                    value = value.get()
            except ValueMissing as error:
                raise LookupError(
                    f"the value of `{node.id}` cannot be had any more: {error.reason}; run again: it will be computed anew"
                ) from error
        return value if part is None else part_of(value, part, node.task)


class _Outcomes(Mapping[str, Any]):
    """The outcomes of a run, made when they are looked at."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._tasks = [t for t in run._runner.machine.graph.tasks if t.given is None]

    def __getitem__(self, name: str) -> Any:
        task, node, part = self._run._find(name)
        machine = self._run._runner.machine
        if node is not None:
            return self._outcome(node, part)
        nodes = list(machine.nodes(task))
        if task.axes and not (len(nodes) == 1 and _is_whole(nodes[0])):
            return {n.id[len(task.name) + 1 : -1]: self._outcome(n, part) for n in nodes}
        return self._outcome(nodes[0], part) if nodes else Skipped("not run")

    def _outcome(self, node: Node, part: str | None) -> Outcome[Any]:
        if not node.succeeded:
            return outcome_of(node)
        facts = facts_of(node)
        try:
            return Success(self._run._value(node, part), *facts)
        except LookupError as error:  # it was let go, or is gone from where it was stored
            return _Forgotten(error, *facts)

    def __repr__(self) -> str:
        told = [f"{name}: {self._told(name)}" for name in islice(self, TOLD)]
        more = len(self) - len(told)
        return f"<outcomes {', '.join(told)}{f', … {more} more' if more else ''}>"

    def _told(self, name: str) -> str:
        """Return how the nodes of a task ended, without their values: ``ran``, ``2 ran and 1 failed``."""
        task, _, _ = self._run._find(name)
        nodes = self._run._runner.machine.nodes(task)
        words = Counter(n.report.word if n.report is not None else n.state.value for n in nodes)
        if not task.axes:
            return next(iter(words), "not run")
        return " and ".join(f"{count} {word}" for word, count in words.items()) or "no elements"

    def __iter__(self) -> Iterator[str]:
        names = [t.name for t in self._tasks]
        return iter(t.key if names.count(t.name) > 1 else t.name for t in self._tasks)

    def __len__(self) -> int:
        return len(self._tasks)


class _Forgotten(Success[Any]):
    """A success whose value cannot be had any more: whoever asks for it is told why."""

    __slots__ = ("_why",)

    def __init__(self, why: LookupError, attempts: int, duration: float, cached: bool) -> None:
        super().__init__(..., attempts, duration, cached)
        object.__setattr__(self, "_why", why)

    def __getattribute__(self, name: str) -> Any:
        if name == "value":
            raise object.__getattribute__(self, "_why")
        return object.__getattribute__(self, name)

    def __repr__(self) -> str:
        return f"Success(value=<not kept>, attempts={self.attempts}, duration={self.duration}, cached={self.cached})"


def _is_whole(node: Node) -> bool:
    """Whether a node of a mapped task stands for all of it, as its source gave no list (ruling C14)."""
    return not node.coords


#: Where there are several axes, an error looks only at so many ids of each list, and at so many elements.
FEW, MOST = 20, 1000


def check_exact(selection: Selection, machine: Scheduler, *, well: bool) -> None:
    """Refuse ids that turned out not to exist, once it is known which there are (ruling C17).

    Args:
        selection: What was asked for.
        machine: The nodes there are.
        well: Whether nothing failed.

    Raises:
        FlowError: Elements were named that there are not.
        NothingToRun: Nothing else was selected, and nothing is.
    """
    errors: list[UsageError] = []
    states = machine.states
    for task, named in selection.exact.items():
        state = states.get(task)  # None: it was left out for another reason
        if state is not None:
            errors += [_no_such_element(state, text) for text in named if not may_exist(state, text)]
    if errors:
        raise FlowError(errors)
    wanted = [states[task] for task in selection.targets]
    if selection.elements and well and not any(state.nodes or not state.complete for state in wanted):
        raise NothingToRun("nothing to run: no element matches the selection")


def _no_such_element(state: TaskState, text: str) -> SelectionError:
    task = state.task
    lists = [p.ids or () for axis, _, _ in state.sources for p in axis.pieces.values()]
    one = len(task.axes) == 1
    names = [node_id(task, ids) for ids in islice(_near(state, text), None if one else MOST)]
    all_of_them = one or (len(names) < MOST and all(len(ids) <= FEW for ids in lists))
    name = node_id(task, [text])
    return SelectionError(
        f"{task.flow.path}::{name}: {task.name!r} has no such element",
        known=f"elements: {listing(names)}" if all_of_them else f"elements, for instance: {listing(names[:FEW])}",
        remedy=did_you_mean(name, names, "Name one of its elements."),
    )


def _near(state: TaskState, text: str, at: Coords = ()) -> Iterator[list[str]]:
    """Yield the ids of elements, one for each axis; of several long lists, those of their ids that may be meant."""
    ids = ids_after(state, at)
    if ids is None:
        yield ["…"]
        return
    if len(state.sources) == 1:
        yield from ([name] for name in ids)
        return
    places = range(len(ids)) if len(ids) <= FEW else _likely(ids, text)
    for place in places:
        if len(at) == len(state.sources) - 1:
            yield [ids[place]]
        else:
            yield from ([ids[place], *rest] for rest in _near(state, text, (*at, place)))


def _likely(ids: Sequence[str], text: str) -> list[int]:
    """Return the places of ids that are in a text, then of those that are like a part of it, then of the first."""
    import difflib  # 3 ms, and only an error needs it

    parts = text.split("-")
    exact = [name for name in ids if name in text]
    alike = [name for part in parts for name in difflib.get_close_matches(part, ids, n=FEW)]
    place = {name: i for i, name in enumerate(ids)}
    return [place[name] for name in [*dict.fromkeys([*exact, *alike, *ids[:FEW]])][:FEW]]
