"""A finished run as the page's script reads it: tasks, nodes with their times, and what they said.

Everything is plain JSON with secrets masked. A node is a short list (``NODE`` says what is in it),
since there may be 10,000 of them; reasons are kept once and named by number.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from flowkit import facts
from flowkit.graph import Axis, BoundFlow, BoundTask
from flowkit.reports import BAD, Attempt, NodeReport, RunReport
from flowkit.scheduler import Node

#: What the list of a node holds. ``tries`` is start, end, kind of each attempt, one after another.
NODE = ("task", "element", "word", "reason", "ready", "end", "saved", "excuse", "tries")

#: Characters that are kept of an output: of an attempt that ended well, of one that did not, and of all.
TAIL, WHOLE, ALL = 20_000, 200_000, 4_000_000
#: A run that began later than this after its time says what time it is for.
A_MINUTE = 60.0
LEFT_OUT = "(output left out, as this page is large enough: `flowkit logs` shows it)"

Object = dict[str, Any]
#: Where a task is awaited: its nodes' last end, for each of their coordinates on the axes shared.
_Ends = dict[tuple[int, ...], float]


def collect(report: RunReport, ends: Sequence[float]) -> Object:
    """Return what the page shows of a run.

    Args:
        report: The run.
        ends: When each of its nodes ended, on the run clock, in their order.
    """
    return _Collector(report, ends).collect()


class _Collector:
    def __init__(self, report: RunReport, ends: Sequence[float]) -> None:
        self._report = report
        self._run = run = report.run
        self._zero = run.started_at
        self._mask = run.mask
        self._command = run.command
        self._tasks = [task for task in run.graph.tasks if task.given is None]
        self._place = {task: i for i, task in enumerate(self._tasks)}
        self._flows: dict[BoundFlow, int] = {}
        for task in self._tasks:
            self._flows.setdefault(task.flow, len(self._flows))
        self._reasons: dict[str, int] = {"": 0}
        self._room = ALL
        self._end: dict[Node, float] = {
            node.unit: (_ended(node.attempts) or end)
            for node, end in zip(report.nodes, ends, strict=False)
        }
        self._ready = _Ready(self._end, self._tasks, self._zero)

    def collect(self) -> Object:
        nodes = sorted(
            (n for n in self._report.nodes if n.task in self._place),
            key=lambda n: (self._place[n.task], n.unit.coords),
        )
        details: dict[int, Object] = {}
        wrong_first = sorted(range(len(nodes)), key=lambda i: nodes[i].word not in BAD)
        for i in wrong_first:  # so that there is room for what they said
            if found := self._details(nodes[i]):
                details[i] = found
        rows = [self._node(node) for node in nodes]
        return {
            "run": self._about(),
            "flows": [self._mask(flow.path) for flow in self._flows],
            "tasks": [self._task(task) for task in self._tasks],
            "nodes": rows,
            "reasons": list(self._reasons),
            "details": details,
            "teardowns": [
                {
                    "resource": each.resource, "where": each.where, "node": self._text(each.node),
                    "error": self._text(facts.headline(each.error)), "traceback": self._text(each.traceback),
                }
                for each in self._report.teardowns
            ],
        }  # fmt: skip

    def _about(self) -> Object:
        report, run = self._report, self._run
        status = "interrupted" if report.interrupted else "failed" if report.failed else "ok"
        saved = sum(node.saved for node in report.nodes)
        late = abs((run.started - run.scheduled_at).total_seconds())
        return {
            "id": run.id,
            "flow": self._mask(run.flow),
            "status": status,
            "exit_code": report.exit_code,
            "started": run.started.isoformat(timespec="seconds"),
            "scheduled_at": run.scheduled_at.isoformat(" ", "minutes") if late >= A_MINUTE else "",
            "duration": round(report.duration, 4),
            "saved": round(saved, 4),
            "executor": run.executor,
            "slots": run.slots,
            "command": self._command,
            "root": run.root,
            "params": list(facts.parameters(run).items()),
            "versions": facts.versions(),
            "stopped": self._mask(report.stopped),
            "notes": [self._text(note) for note in report.notes],
        }

    def _task(self, task: BoundTask) -> Object:
        kinds = {edge.source: "collected" if edge.collected else "" for edge in task.edges}
        kinds |= {element.axis.source: "each" for element in task.elements}
        ups = [[self._place[up], kind] for up, kind in kinds.items() if up in self._place]
        fallback = task.fallback
        return {
            "name": task.name,
            "flow": self._flows[task.flow],
            "where": task.where,
            "doc": self._text(task.declaration.doc) if task.declaration else "",
            "axes": [axis.name for axis in task.axes],
            "ups": ups,
            "fallback": self._place.get(fallback, -1) if fallback is not None else -1,
            "allowed": task.allow_failure,
        }

    def _node(self, node: NodeReport) -> list[Any]:
        name, unit = node.task.name, node.unit
        reason = self._mask(node.reason)
        tries: list[Any] = []
        for attempt in node.attempts:
            end = attempt.started_at if attempt.ended_at is None else attempt.ended_at
            tries += (self._at(attempt.started_at), self._at(end), attempt.kind)
        end = self._at(self._end.get(unit, self._zero + self._report.duration))
        return [
            self._place[node.task],
            self._mask(unit.id[len(name) + 1 : -1]) if unit.id != name else "",
            node.word,
            self._reasons.setdefault(reason, len(self._reasons)),
            min(end, tries[0] if tries else end, self._at(self._ready.of(unit))),
            end,
            round(node.saved, 4),
            facts.excuse(node) if node.word in BAD else "",
            tries,
        ]

    def _at(self, clock: float) -> float:
        return round(clock - self._zero, 4)

    def _text(self, text: str) -> str:
        return self._mask(facts.plain(text))

    # What it said

    def _details(self, node: NodeReport) -> Object | None:
        bad = node.word in BAD
        tries = [self._attempt(attempt, node) for attempt in node.attempts]
        if not bad and not any(tries):
            return None
        found: Object = {"attempts": tries}
        if bad:
            last = node.last
            error = facts.error_of(node)
            found["error"] = self._text(facts.headline(error) or node.reason)
            found["rerun"] = self._mask(facts.rerun(node, self._command))
            if last is not None and last.arguments:
                found["arguments"] = [
                    [name, self._text(_shown(value))]
                    for name, value in last.arguments.items()
                    if name not in node.task.resources
                ]
        if node.key:
            found["key"] = node.key
        return found

    def _attempt(self, attempt: Attempt, node: NodeReport) -> Object:
        """Return what is to be said of an attempt; nothing of one that simply succeeded."""
        found: Object = {}
        if attempt.error is not None:
            found["error"] = self._text(facts.headline(attempt.error))
            found["traceback"] = self._fit(self._text(attempt.traceback), WHOLE)
        if attempt.again:
            found["again"] = self._text(attempt.again)
        if attempt.sections:
            most = TAIL if attempt.kind == "success" else WHOLE
            found["output"] = [
                [section.title, self._fit(self._text("\n".join(section.lines)), most)]
                for section in attempt.sections
                if section.lines
            ]
        return found

    def _fit(self, text: str, most: int) -> str:
        if len(text) > most:
            text = f"… {len(text) - most:,} characters left out …\n{text[-most:]}"
        if len(text) > self._room:
            return LEFT_OUT
        self._room -= len(text)
        return text


def _shown(value: object) -> str:
    try:
        return repr(value)[:2000]
    except Exception:  # the user's own
        return f"<{type(value).__name__}>"


def _ended(attempts: Sequence[Attempt]) -> float | None:
    return attempts[-1].ended_at if attempts else None


class _Ready:
    """Knows when nodes had all that they waited for: nobody notes that while a run goes on.

    A node waits for those nodes of its upstreams that share its elements, and for all of them
    where none are shared.
    """

    def __init__(self, ends: Mapping[Node, float], tasks: Sequence[BoundTask], zero: float) -> None:
        self._zero = zero
        self._nodes: dict[BoundTask, list[tuple[Node, float]]] = {}
        for node, end in ends.items():
            self._nodes.setdefault(node.task, []).append((node, end))
        self._known: dict[tuple[BoundTask, tuple[Axis, ...]], _Ends] = {}
        self._failing: dict[BoundTask, list[BoundTask]] = {}
        for task in tasks:
            if task.fallback is not None:
                self._failing.setdefault(task.fallback, []).append(task)
        self._above: dict[BoundTask, list[Callable[[Node], float]]] = {}

    def of(self, node: Node) -> float:
        """Return when, on the run clock."""
        above = self._above.get(node.task)
        if above is None:
            above = self._above[node.task] = self._awaited(node.task)
        return max((end(node) for end in above), default=self._zero)

    def _awaited(self, task: BoundTask) -> list[Callable[[Node], float]]:
        gathered: dict[BoundTask, set[Axis]] = {}
        for edge in task.edges:
            gathered.setdefault(edge.source, set()).update(edge.gathered)
        for element in task.elements:
            gathered.setdefault(element.axis.source, set())
        for failing in self._failing.get(task, ()):
            gathered.setdefault(failing, set())
        return [self._end_of(task, source, without) for source, without in gathered.items()]

    def _end_of(self, task: BoundTask, source: BoundTask, without: set[Axis]) -> Callable[[Node], float]:
        shared = tuple(a for a in source.axes if a in task.axes and a not in without)
        places = [task.axes.index(axis) for axis in shared]
        known = self._known.get((source, shared))
        if known is None:
            known = self._known[source, shared] = self._ends_by(source, shared)

        def end(node: Node) -> float:
            at = tuple(node.coords[p] for p in places if p < len(node.coords))
            return known.get(at, self._zero)

        return end

    def _ends_by(self, source: BoundTask, shared: tuple[Axis, ...]) -> _Ends:
        places = [source.axes.index(axis) for axis in shared]
        found: _Ends = {}
        for node, end in self._nodes.get(source, ()):
            at = tuple(node.coords[p] for p in places if p < len(node.coords))
            found[at] = max(found.get(at, self._zero), end)
        return found
