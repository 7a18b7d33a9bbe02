"""What became of a simulated run, in terms that a test compares: states, reasons, attempts, times, loads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from flowkit.planning import Decision
    from flowkit.reports import NodeReport
    from flowkit.runs import Run
    from flowkit.secrets import Mask
    from flowkit.testing.memory import Disk
    from flowkit.testing.sandbox import Sandbox, Setting
    from flowkit.testing.world import World

_CODES = (
    ("no record", "no record"),
    ("upstream", "upstream"),
    ("parameter", "parameter"),
    ("element", "element"),
    ("expired", "expired"),
    ("file ", "file"),
    ("option", "option"),
    ("refreshed", "refreshed"),
    ("cache=False", "cache=False"),
    ("depends on", "upstream"),
    ("blob", "blob"),
    ("signature", "blob"),
)


class Reason(str):
    """Why a node ran, in words; ``code`` sorts it.

    Attributes:
        code: ``code``, ``upstream``, ``parameter``, ``element``, ``expired``, ``file``, ``no record``,
            ``blob``, ``refreshed``, ``cache=False``; ``""`` where there is none, else ``other``.
    """

    __slots__ = ()

    @property
    def code(self) -> str:
        """The kind of reason."""
        if not self:
            return ""
        if "code of" in self or "constant" in self or "helper" in self:
            return "code"
        return next((code for start, code in _CODES if self.startswith(start)), "other")


@dataclass(frozen=True, slots=True)
class Planned:
    """What a run would do to a node.

    Attributes:
        mark: ``c`` known, ``>`` runs, ``?`` may run, ``s`` skipped.
        reason: Why.
    """

    mark: str
    reason: Reason


class Call(NamedTuple):
    """One attempt on the virtual clock, in seconds since the sandbox was made."""

    node: str
    number: int
    start: float
    end: float
    kind: str


class Timeline(tuple[Call, ...]):
    """The attempts of a run, in the order in which they began."""

    __slots__ = ()

    def of(self, node: str) -> list[Call]:
        """Return the attempts of a node."""
        return [call for call in self if call.node == node]

    def gaps(self, node: str) -> list[float]:
        """Return the seconds between the end of each attempt of a node and the start of the next."""
        calls = self.of(node)
        return [after.start - before.end for before, after in pairwise(calls)]


class RunResult:
    """What became of a run in a sandbox.

    ``result["task"]`` is a value, or raises the task's own error.

    Attributes:
        states: Node → its word: ``ran``, ``same``, ``cached``, ``skipped``, ``upstream``, ``failed``,
            ``timeout``, ``error`` or ``not run``.
        reasons: Node → why it ran or was reused.
        attempts: Node → how often it was called.
        timeline: The attempts on the virtual clock.
        loads: How many values were unpickled.
        output: What the tasks printed and logged.
        crashed: Where the simulated process crashed, or ``""``.
        exit_code: As of ``flowkit run``; None after a crash.
        store: What lies on the (virtual) disk.
        replay_token: Parameters, faults and schedule in one word.
        steps: What happened, one line each.
        calls: Nodes in the order in which they were called.
        ended: Nodes whose success the run heard of.
        resources: Set-ups and teardowns: ``("up" or "down", name, number, scope)``.
        mutations: Arguments that a call changed: (node, argument).
        mask: Takes the secrets among the parameters out of a text.
    """

    def __init__(self, sandbox: Sandbox, setting: Setting, world: World, run: Run | None, nodes: Sequence[NodeReport]) -> None:
        self._sandbox = sandbox
        self._setting = setting
        self._run = run
        self.reports = {report.node: report for report in nodes}
        self.states = {name: report.word for name, report in self.reports.items()}
        self.reasons = {name: Reason(report.reason) for name, report in self.reports.items()}
        self.attempts = {name: len(report.attempts) for name, report in self.reports.items()}
        calls = [
            Call(a.node, a.number, a.started_at, a.ended_at if a.ended_at is not None else a.started_at, a.kind)
            for report in nodes
            for a in report.attempts
        ]
        self.timeline = Timeline(sorted(calls, key=lambda call: (call.start, call.number)))
        self.loads = world.storage.loads if world.storage is not None else 0
        self.crashed = world.crashed
        self.exit_code = run.exit_code if run is not None else None
        self.steps = world.steps
        self.calls = world.calls
        self.ended = world.ended
        self.resources = world.events
        self.mutations = world.mutations
        self.mask: Mask = world.runner.run.mask if world.runner is not None else str

    def __repr__(self) -> str:
        if self.crashed:
            return f"<RunResult crashed at {self.crashed}>"
        return f"<RunResult exit {self.exit_code}: {self.states}>"

    def __getitem__(self, name: str) -> Any:
        """Return the value of a task or node, or raise its error."""
        if self._run is None:
            raise LookupError(f"{name!r} has no value: the run crashed at {self.crashed}")
        return self._run[name]

    def _with(self, *words: str) -> set[str]:
        return {name for name, word in self.states.items() if word in words}

    @property
    def ran(self) -> set[str]:
        """Nodes that were called and ended well."""
        return self._with("ran", "same")

    @property
    def cached(self) -> set[str]:
        """Nodes that were reused."""
        return self._with("cached")

    @property
    def failed(self) -> set[str]:
        """Nodes that went wrong, whatever the way."""
        return self._with("failed", "timeout", "error")

    @property
    def upstream(self) -> set[str]:
        """Nodes that did not run because of a failure above."""
        return self._with("upstream")

    @property
    def skipped(self) -> set[str]:
        """Nodes that were skipped."""
        return self._with("skipped")

    @property
    def errors(self) -> dict[str, BaseException]:
        """Node → what it failed with."""
        return {name: r.error for name, r in self.reports.items() if r.error is not None}

    @property
    def teardowns(self) -> list[str]:
        """Resources whose teardown raised."""
        return [t.resource for t in self._run.report.teardowns] if self._run is not None else []

    @property
    def output(self) -> str:
        """What the tasks printed and logged."""
        return "\n".join(
            line
            for report in self.reports.values()
            for attempt in report.attempts
            for section in attempt.sections or ()
            for line in section.lines
        )

    @property
    def store(self) -> Disk:
        """What lies on the disk."""
        return self._sandbox.disk

    @property
    def digests(self) -> dict[str, str]:
        """Node → the content of its value, or how it ended instead; to compare runs by."""
        from flowkit.testing.comparing import digests

        return digests(self._run) if self._run is not None else {}

    @property
    def replay_token(self) -> str:
        """Parameters, faults and schedule in one word."""
        from flowkit.testing.tokens import token

        return token("", self._setting.case)

    @property
    def plan(self) -> Mapping[str, Planned]:
        """What a run would do now to each node."""
        return self._sandbox.plan(self._setting)

    def rerun(self, **changes: Any) -> RunResult:
        """Run again on the same store, without the faults; keywords change what ``flowrun`` was given."""
        return self._sandbox.run(self._setting.changed(changes))

    def edit(self, file: str, old: str, new: str) -> RunResult:
        """Replace text in a file of the flow (in the sandbox's copy of it); then ``.plan`` and ``.rerun()``."""
        self._sandbox.edit(file, old, new)
        return self


def planned(decisions: Sequence[Decision]) -> dict[str, Planned]:
    """Return decisions by node."""
    return {d.node.rpartition("::")[2]: Planned(d.mark, Reason(d.reason)) for d in decisions}
