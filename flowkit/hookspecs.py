"""The hooks, in the order in which a run meets them, and the values they speak in.

A plugin is a module or an object with functions marked by ``flowkit.hookimpl``, named as here; it
may take fewer arguments than a hook has. An exception raised in a hook is a ``PluginError``: it
ends the run and names the plugin and the hook.

A specification is never called. Those that have an answer raise, since an empty body would be one
to the type checker.

Nesting of what can happen to a node is fixed: look-up > retry > timeout > capture > call.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import pluggy

from flowkit.records import record
from flowkit.reports import Section

if TYPE_CHECKING:
    from types import ModuleType

    import click

    from flowkit.errors import UsageError
    from flowkit.executors import Executor
    from flowkit.graph import BoundFlow, BoundTask, Graph
    from flowkit.inputs import Inputs
    from flowkit.parameters import Sources
    from flowkit.reports import Attempt, NodeReport, RunInfo, RunReport
    from flowkit.scheduler import Node
    from flowkit.selection import Selection
    from flowkit.session import Session
    from flowkit.values import Handle

__all__ = ["Again", "Flag", "Kept", "Known", "Later", "Option", "Section", "Stale", "hookimpl", "hookspec"]

F = TypeVar("F", bound=Callable[..., Any])
hookspec = pluggy.HookspecMarker("flowkit")
hookimpl = pluggy.HookimplMarker("flowkit")


@record(frozen=True, kw_only=True)
class Option:
    """An option of ``@task`` or ``Flow``, or a setting, that a plugin brings.

    Attributes:
        name: As the user writes it.
        type: What it is, in words: ``a number of retries, or a Retry``.
        help: One line.
        default: Its value if nobody says otherwise; not converted.
        convert: Turns what the user wrote into what the plugin reads; raises ``ValueError`` or ``TypeError``.
        read: Turns the text of a setting's environment variable into what would stand in the file, if it can.
    """

    name: str
    type: str
    help: str
    default: object = None
    convert: Callable[[Any], object] = lambda value: value
    read: Callable[[str], object] = lambda text: text


@record(frozen=True, kw_only=True)
class Flag:
    """A flag of ``flowkit run`` (and ``plan``), and a keyword of ``flowkit.run``.

    Attributes:
        name: ``--durations``; the keyword is ``durations``.
        help: One line.
        short: A one-letter form, or another long name, or ``""``.
        type: ``str``, ``int``, ``float`` or ``bool`` (a flag without a value).
        default: What it is if not given.
        multiple: Whether it may be given several times; then it is a tuple.
        optional: For ``--resume [RUN]``: the value that stands for the flag alone.
        metavar: How help calls its value.
    """

    name: str
    help: str
    short: str = ""
    type: type = str
    default: object = None
    multiple: bool = False
    optional: str | None = None
    metavar: str | None = None

    @property
    def keyword(self) -> str:
        """The name as a Python keyword."""
        return self.name.lstrip("-").replace("-", "_")


@record(kw_only=True)
class Again:
    """Call the node once more, no earlier than ``not_before`` (seconds on the run clock)."""

    not_before: float
    reason: str = ""


@record(kw_only=True)
class Known:
    """The node need not be called: this became of it.

    Attributes:
        value: A handle on its value; None if it is known to be good but not at hand.
        skipped: It is known to skip itself, with this reason; None if it has a value.
        reason: Why it is known, in words.
        saved: Seconds that this saves.
        key: Names all that the value depends on.
    """

    value: Handle | None
    skipped: str | None
    reason: str
    saved: float
    key: str

    def __init__(
        self, *, value: Handle | None = None, skipped: str | None = None, reason: str = "", saved: float = 0.0, key: str = ""
    ) -> None:
        self.value = value
        self.skipped = skipped
        self.reason = reason
        self.saved = saved
        self.key = key


@record(kw_only=True)
class Stale:
    """The node has to be called, for this reason."""

    reason: str

    def __init__(self, *, reason: str) -> None:
        self.reason = reason


@record(kw_only=True)
class Later:
    """Ask again at ``not_before`` (seconds on the run clock): somebody else is at it."""

    not_before: float
    reason: str


@record(kw_only=True)
class Kept:
    """What a plugin did with the value of a successful attempt.

    Attributes:
        same: Its content is what it was the last time.
        handle: Fetches the value again, if it was stored: the one in hand may be let go.
        note: Why it was not stored; said once per task.
        key: Names all that the value depends on.
    """

    same: bool
    handle: Handle | None
    note: str
    key: str

    def __init__(
        self, *, same: bool = False, handle: Handle | None = None, note: str = "", key: str = ""
    ) -> None:
        self.same = same
        self.handle = handle
        self.note = note
        self.key = key


@hookspec
def flowkit_task_options() -> Sequence[Option]:
    """Declare options of ``@task``. Called once per session, when flows were read and are to be checked."""
    raise NotImplementedError


@hookspec
def flowkit_flow_options() -> Sequence[Option]:
    """Declare options of ``Flow``. Called once per session, when flows were read and are to be checked."""
    raise NotImplementedError


@hookspec
def flowkit_run_options() -> Sequence[Flag]:
    """Declare flags of ``flowkit run`` and ``flowkit plan``, and keywords of ``flowkit.run``."""
    raise NotImplementedError


@hookspec
def flowkit_settings() -> Sequence[Option]:
    """Declare the settings of the plugin's section, ``[tool.flowkit.<plugin>]``."""
    raise NotImplementedError


@hookspec
def flowkit_commands() -> Sequence[click.Command]:
    """Return click commands that are added to ``flowkit``. Called by the command line only."""
    raise NotImplementedError


@hookspec
def flowkit_configure(session: Session) -> None:
    """Get ready. Called once, when all plugins are known and settings and flags are read.

    Args:
        session: Settings, flags, services and the plugin manager. A plugin that keeps state
            registers an object of its own here.
    """


@hookspec
def flowkit_imported(modules: Sequence[ModuleType]) -> None:
    """A flow's module, and what it imported of its own folder, were executed just now."""


@hookspec
def flowkit_inputs(session: Session) -> Mapping[str, object]:
    """Return values that arguments may ask for by name. They count for reuse, as parameters do."""
    raise NotImplementedError


@hookspec
def flowkit_flow_collected(flow: BoundFlow) -> None:
    """A flow was read. Its options are normalised; a plugin may set its ``deadline``."""


@hookspec
def flowkit_task_collected(task: BoundTask) -> None:
    """A task was read and its arguments resolved. Its options are normalised.

    Called once per task of the graph, in definition order. A plugin may set ``deadline``,
    ``hard`` and ``demands``; nothing else.
    """


@hookspec
def flowkit_collected(graph: Graph) -> Sequence[UsageError] | None:
    """The graph is complete. Return what is wrong with it, if anything; nothing has run yet."""


@hookspec
def flowkit_capacity(graph: Graph) -> Mapping[str, int | tuple[int, float]]:
    """Return the named limits that tasks ``demand``: an amount, or (amount, seconds) for a rate."""
    raise NotImplementedError


@hookspec
def flowkit_select(graph: Graph, selection: Selection) -> Selection | None:
    """Narrow what the run is for, beyond targets, ``-k`` and ``-m``. ``None`` keeps it.

    Args:
        graph: All tasks.
        selection: ``targets`` (tasks) and ``elements`` (task → predicate on an element's ids, one for each axis,
            None for any; a task that is not in there is wanted whole). A plugin returns a new one.
    """


@hookspec
def flowkit_parameters(session: Session, sources: Sources) -> Mapping[str, object]:
    """Return values of parameters that hold unless somebody gives others: name → ``Given`` or value.

    ``sources`` holds what others give, which comes first. An ``OptionError`` says that this contradicts.
    """
    raise NotImplementedError


@hookspec(firstresult=True)
def flowkit_executor(name: str, slots: int) -> Executor | None:
    """Return the executor of that name, or None if it is not this plugin's."""


@hookspec
def flowkit_header(session: Session) -> Sequence[str]:
    """Return lines for the header of a report."""
    raise NotImplementedError


@hookspec
def flowkit_plan_started(run: RunInfo) -> None:
    """A run is being planned: look-ups follow, but nothing will be called."""


@hookspec
def flowkit_run_started(run: RunInfo) -> None:
    """The run begins; nothing has been called yet."""


@hookspec(firstresult=True)
def flowkit_nodes_known(nodes: Sequence[Node], inputs: Callable[[Node], Inputs]) -> Mapping[Node, Known] | None:
    """Say at once which nodes need not be called; asked of a plugin that alone answers look-ups.

    Returns those whose values are at hand, each with all above it, in order; the others are looked up.

    Args:
        nodes: Those of tasks that are not mapped, upstream first.
        inputs: Gives a node's inputs. Of its upstreams, those in the answer count as ended.
    """


@hookspec(firstresult=True)
def flowkit_node_lookup(node: Node, inputs: Inputs) -> Known | Stale | Later | None:
    """Say whether the node must be called.

    Called once when the node could start, and again after each ``Later``. Not called for a node
    whose value is known already and is needed anew.

    Args:
        node: The node.
        inputs: What it will be called with, as facts: no value is loaded to look at them.

    Returns:
        ``Known``, ``Stale`` with the reason, ``Later``, or ``None`` to pass the question on. If
        every plugin passes, the node is called without a reason.
    """


@hookspec(firstresult=True)
def flowkit_node_must_run(node: Node) -> str | None:
    """Say why a node is called whatever it is called with. Asked in a plan, of what hangs off a node that runs."""


@hookspec
def flowkit_attempt_started(attempt: Attempt) -> None:
    """A node is about to be called. Called in the coordinating process, under the run's lock."""


@hookspec
def flowkit_attempt_call(attempt: Attempt) -> Generator[None, None, None]:
    """Wrap the call where it runs: yield once; the attempt is filled in after that.

    A generator, marked ``hookimpl(wrapper=True)``. Task-scoped resources are set up inside it.
    """
    raise NotImplementedError


@hookspec
def flowkit_attempt_begins(attempt: Attempt) -> None:
    """The task's function is about to be called, where it runs; its arguments are in the attempt.

    What this raises is taken for what the task raised, so that failures can be rehearsed; an
    exception raised here is *not* a ``PluginError``.
    """


@hookspec(firstresult=True)
def flowkit_attempt_keep(attempt: Attempt) -> Kept | None:
    """Keep the value of a successful attempt. Called where it ran, before anything downstream hears of it."""


@hookspec(firstresult=True)
def flowkit_attempt_failed(attempt: Attempt) -> Again | None:
    """Decide what follows a failed attempt.

    Called in the coordinating process, once per failed attempt, before anything downstream hears
    of it. The first plugin to return a verdict decides; ``None`` passes the question on, and if
    every plugin passes, the failure stands.

    Args:
        attempt: The attempt that just ended.

    Returns:
        ``Again(not_before=...)`` to call the node once more, or ``None``. The node holds no
        worker while it waits.
    """


@hookspec
def flowkit_attempt_ended(attempt: Attempt) -> None:
    """An attempt ended, well or not. Called in the coordinating process, under the run's lock."""


@hookspec
def flowkit_node_ended(report: NodeReport) -> None:
    """A node's outcome is final. Called in the coordinating process, under the run's lock."""


@hookspec
def flowkit_run_ended(report: RunReport) -> None:
    """The run is over: nothing is running, all resources are torn down."""


@hookspec
def flowkit_report_sections(report: RunReport) -> Sequence[Section]:
    """Return sections for the end of the report."""
    raise NotImplementedError


@hookspec
def flowkit_unconfigure(session: Session) -> None:
    """Let go of everything. Called once, whatever happened."""


@hookspec(firstresult=True)
def flowkit_digest(value: object) -> str | None:
    """Return a text that names the content of a value of a type that flowkit does not know."""
