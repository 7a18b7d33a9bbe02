"""What happened, as facts: attempts, nodes, runs, and the sections plugins add.

Plugins are shown these and do not change them. One is made per attempt and node, so they are
slotted and not frozen (freezing costs as much as the rest of a node's bookkeeping).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from datetime import datetime
from typing import TYPE_CHECKING

from flowkit.records import field, record
from flowkit.secrets import Mask

if TYPE_CHECKING:
    from flowkit.graph import BoundTask, Graph
    from flowkit.hookspecs import Kept
    from flowkit.parameters import Given
    from flowkit.scheduler.states import Node

#: Word → letter, as the terminal prints them.
LETTERS = {
    "ran": ".",
    "same": "=",
    "cached": "c",
    "skipped": "s",
    "upstream": "u",
    "failed": "F",
    "timeout": "T",
    "error": "E",
    "retry": "R",
}

#: In an attempt's stash: the paths of the files that it left, as texts. Who keeps the value answers for them, too.
FILES = "flowkit.files"
#: Where the stash of an attempt that was skipped by the set-up of a resource has that resource's name.
SET_UP = "flowkit.set_up"

#: Words that mean the node itself went wrong.
BAD = ("failed", "timeout", "error")


@record(frozen=True)
class Section:
    """A titled piece of text in a report.

    Attributes:
        title: Its heading.
        lines: Its lines, without line ends.
    """

    title: str
    lines: Sequence[str]


@record(eq=False)
class RunInfo:
    """One execution, as everybody may know it while it goes on.

    Attributes:
        id: Short and unique.
        graph: What is run.
        params: Parameter → value, as converted; secrets are ``SecretStr`` as the user typed them.
        given: Parameter → what was given for it from outside, before it was converted.
        executor: The executor's name.
        slots: How many nodes may run at once.
        started: When, in local time with its offset.
        started_at: When, on the run clock (seconds).
        scheduled_at: The time the run is for; ``started`` if nobody scheduled it.
        root: The project's root folder, as text.
        options: The flags of this run, by name.
        mask: Takes the secrets among the parameters out of a text.
        last_words: Called in a signal handler when the process is about to be killed: quick, and no locks.
        command: What the user typed, secrets masked, to say it again in "re-run this" lines.
    """

    id: str
    graph: Graph
    params: Mapping[str, object]
    executor: str
    slots: int
    started: datetime
    started_at: float
    scheduled_at: datetime
    root: str
    options: Mapping[str, object] = field(factory=dict)
    command: str = ""
    given: Mapping[str, Given] = field(factory=dict)
    mask: Mask = str
    last_words: list[Callable[[], object]] = field(factory=list)

    @property
    def flow(self) -> str:
        """The name of the flow, or of all of them joined with a comma."""
        return ", ".join(f.name for f in self.graph.flows)


class Attempt:
    """One call of a node: what it is called with, and then how it ended.

    Attributes:
        node: The node's id within its flow (``page[3]``); ``full_id`` has the flow's path before it.
        task: The task, with its options and where it is defined.
        number: 1 for the first.
        run: The run it belongs to.
        started_at: When it was started, in seconds on the run clock.
        ended_at: When it ended; None while it runs.
        kind: ``success``, ``skip``, ``error``, ``timeout``, ``setup``, ``lost``, ``pickle`` or ``cancelled``;
            ``""`` while it runs.
        value: What it returned; taken away once those who need it have it.
        error: What it failed with.
        traceback: As text, cut to the user's frames.
        reason: Of a skip.
        final: Whether no retry shall follow (``flowkit.fail``).
        sections: Captured output and whatever else plugins note.
        arguments: What it was called with, by name; taken away when it ended well.
        kept: What a plugin said on keeping the value.
        again: Why it is called once more, if it is.
        stash: Where plugins keep what belongs to the attempt, under keys of their own; None until then.
    """

    __slots__ = (
        "again", "arguments", "call", "ended_at", "error", "final", "kept", "kind", "note", "number",
        "reason", "run", "sections", "started_at", "stash", "task", "traceback", "unit", "value",
    )  # fmt: skip

    def __init__(self, unit: Node, number: int, run: RunInfo, started_at: float) -> None:
        self.unit = unit
        self.task: BoundTask = unit.task
        self.number = number
        self.run = run
        self.started_at = started_at
        self.ended_at: float | None = None
        self.kind = ""
        self.value: object = None
        self.error: BaseException | None = None
        self.traceback = ""
        self.reason = ""
        self.final = False
        self.sections: list[Section] | None = None
        self.arguments: dict[str, object] | None = None
        self.kept: Kept | None = None
        self.note = ""
        self.again = ""
        self.stash: dict[object, object] | None = None
        self.call: object = None

    def __repr__(self) -> str:
        return f"<attempt {self.number} of {self.node} {self.kind or 'running'}>"

    @property
    def node(self) -> str:
        """The node's id within its flow."""
        return self.unit.id

    @property
    def full_id(self) -> str:
        """The node's id with the flow's path before it."""
        return self.unit.full_id

    @property
    def options(self) -> Mapping[str, object]:
        """The task's options."""
        return self.task.options

    @property
    def duration(self) -> float:
        """Seconds from start to end; 0 while it runs."""
        return 0.0 if self.ended_at is None else self.ended_at - self.started_at


#: The attempt that runs in this thread or coroutine.
current: ContextVar[Attempt | None] = ContextVar("flowkit_attempt", default=None)


def current_attempt() -> Attempt | None:
    """Return the attempt whose task (or resource set-up) is running here, or None outside of one."""
    return current.get()


class NodeReport:
    """How a node ended.

    Attributes:
        unit: The scheduler's node.
        word: ``ran``, ``same``, ``cached``, ``skipped``, ``upstream``, ``failed``, ``timeout``, ``error`` or
            ``not run``.
        reason: Why it ran, was reused, or did not run; may be empty.
        attempts: Its attempts, in order; empty if it was not called.
        saved: Seconds that reuse saved.
        key: Names all that its value depends on; empty where nobody knows.
    """

    __slots__ = ("attempts", "key", "reason", "saved", "unit", "word")

    def __init__(
        self, unit: Node, word: str, reason: str = "", attempts: Sequence[Attempt] = (), saved: float = 0.0
    ) -> None:
        self.unit = unit
        self.word = word
        self.reason = reason
        self.attempts = attempts
        self.saved = saved
        self.key = ""

    def __repr__(self) -> str:
        return f"<{self.node} {self.word}{': ' if self.reason else ''}{self.reason}>"

    @property
    def node(self) -> str:
        """The node's id within its flow."""
        return self.unit.id

    @property
    def full_id(self) -> str:
        """The node's id with the flow's path before it."""
        return self.unit.full_id

    @property
    def task(self) -> BoundTask:
        """The task."""
        return self.unit.task

    @property
    def letter(self) -> str:
        """The letter the terminal prints; empty for a node that was not run."""
        return LETTERS.get(self.word, "")

    @property
    def last(self) -> Attempt | None:
        """The last attempt, if there was one."""
        return self.attempts[-1] if self.attempts else None

    @property
    def duration(self) -> float:
        """Seconds that the last attempt took."""
        return self.attempts[-1].duration if self.attempts else 0.0

    @property
    def error(self) -> BaseException | None:
        """What it failed with."""
        return self.unit.error

    @property
    def bad(self) -> bool:
        """Whether it makes the run fail."""
        return self.word in BAD and not self.unit.task.allow_failure and self.unit.stand_in is None


@record(eq=False)
class TeardownReport:
    """A resource whose teardown raised; the run fails, the nodes that used it keep their outcome."""

    resource: str
    where: str
    node: str
    error: BaseException
    traceback: str


@record(eq=False)
class RunReport:
    """What became of a run.

    Attributes:
        run: The run.
        nodes: Every node, in the order they ended.
        teardowns: Resources whose teardown raised.
        duration: Seconds from start to end.
        interrupted: Whether Ctrl-C or SIGTERM ended it.
        stopped: Why nothing more was started, or ``""``.
        notes: What was said once for the whole run (not persisted, abandoned threads …).
    """

    run: RunInfo
    nodes: list[NodeReport] = field(factory=list)
    teardowns: list[TeardownReport] = field(factory=list)
    duration: float = 0.0
    interrupted: bool = False
    stopped: str = ""
    notes: list[str] = field(factory=list)

    @property
    def ok(self) -> bool:
        """Whether nothing failed that was not allowed to, and nothing cut the run short."""
        return not self.interrupted and not self.failed

    @property
    def failed(self) -> bool:
        """Whether the run fails."""
        bad = any(n.bad for n in self.nodes if n.word in BAD)  # of most the word says it
        return bool(self.teardowns) or bad or self.stopped.startswith("the run took")

    @property
    def counts(self) -> dict[str, int]:
        """Word → number of nodes; a teardown that raised is an error of its own."""
        found: dict[str, int] = {}
        for node in self.nodes:
            found[node.word] = found.get(node.word, 0) + 1
        if self.teardowns:
            found["error"] = found.get("error", 0) + len(self.teardowns)
        return found

    @property
    def exit_code(self) -> int:
        """0 all good, 1 failed, 2 interrupted."""
        return 2 if self.interrupted else int(self.failed)

    def named(self, node: str) -> NodeReport | None:
        """Return the report of a node by its id."""
        for report in self.nodes:
            if report.node == node or report.full_id == node:
                return report
        return None
