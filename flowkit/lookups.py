"""What need not be called: asks the plugin that keeps results, of each node in its turn or of all beforehand.

Most runs have little to do. Asking for each node when it could start costs a step of the scheduler, a
command and an event; for ten thousand that are known, that is most of the run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

from flowkit.hookspecs import Known, Later, Stale
from flowkit.inputs import Gatherer, Inputs
from flowkit.plugins import Plugins
from flowkit.reports import NodeReport
from flowkit.scheduler import Node, Scheduler
from flowkit.scheduler.events import Event, NodeFailed, NodePutBack, NodeSkipped, NodeSucceeded

AskAll = Callable[[Sequence[Node], Callable[[Node], Inputs]], Mapping[Node, Known] | None]


class Recall:
    """Asks of all nodes before anything starts.

    Args:
        plugins: Who is asked.
        machine: The nodes.
        gatherer: Where values are found.

    Attributes:
        possible: Whether somebody can be asked. Only if one plugin alone answers look-ups: with two,
            each node has to be asked about in its turn.
    """

    def __init__(self, plugins: Plugins, machine: Scheduler, gatherer: Gatherer) -> None:
        alone = plugins.alone("flowkit_node_lookup", beside="flowkit_nodes_known")
        self._ask_all: AskAll | None = plugins.caller("flowkit_nodes_known", first=True) if alone else None
        self.possible = self._ask_all is not None
        self._machine = machine
        self._gatherer = gatherer
        self._found: Mapping[Node, Known] = {}

    def known(self) -> Sequence[Node]:
        """Return the nodes that are known, for the scheduler."""
        assert self._ask_all is not None  # the caller looked
        self._found = self._ask_all(self._machine.recallable, partial(Inputs, machine=self._machine, gatherer=self._gatherer)) or {}
        return tuple(self._found)

    def take(self, nodes: Sequence[Node]) -> Iterator[tuple[Node, Known]]:
        """Yield what was said of the nodes that the scheduler took for known; their values can be had from then on."""
        found, handles = self._found, self._gatherer.handles
        self._found = {}
        for node in nodes:
            answer = found[node]
            if answer.value is not None:
                handles[node] = answer.value
            yield node, answer


class Lookups:
    """The look-ups of one run. Used under its lock alone.

    Args:
        plugins: Who is asked.
        machine: The run's nodes.
        gatherer: Where values are found.
        say: Takes events for the scheduler.
        tell: Takes the reports of nodes that are known.
        reasons: Why nodes have to be called; filled in here.

    Attributes:
        recall: What is asked beforehand.
        untold: The reports of nodes that are good, but whose values could not be stored. Each is called after
            all if somebody needs its value, so it is told of when that is settled: a node is told of once.
    """

    def __init__(
        self,
        plugins: Plugins,
        machine: Scheduler,
        gatherer: Gatherer,
        say: Callable[[Event], None],
        tell: Callable[[NodeReport], None],
        reasons: dict[Node, str],
    ) -> None:
        self._ask = plugins.caller("flowkit_node_lookup", first=True)
        self.recall = Recall(plugins, machine, gatherer)
        self._machine = machine
        self._gatherer = gatherer
        self._say = say
        self._tell = tell
        self._reasons = reasons
        self.untold: dict[Node, NodeReport] = {}

    def taken(self, nodes: Sequence[Node]) -> list[NodeReport]:
        """Return the reports of nodes that the scheduler took for known."""
        return [_cached(node, answer) for node, answer in self.recall.take(nodes)]

    def look_up(self, node: Node, now: float) -> bool:
        """Ask whether a node need not be called now; take in the answer if so."""
        if self._ask is None:
            return False
        answer = self._ask(node, Inputs(node, self._machine, self._gatherer))
        if isinstance(answer, Known):
            self._end_known(node, answer, now)
            return True
        if answer is None:
            return False
        if isinstance(answer, Stale):
            self._reasons[node] = answer.reason
            return False
        assert isinstance(answer, Later)
        self._say(NodePutBack(now, node, answer.not_before))
        return True

    def _end_known(self, node: Node, answer: Known, now: float) -> None:
        if answer.skipped is not None:
            self._tell(NodeReport(node, "skipped", answer.skipped, saved=answer.saved))
            self._say(NodeSkipped(now, node, answer.skipped))
            return
        if answer.value is not None:
            self._gatherer.values[node] = answer.value
            self._gatherer.handles[node] = answer.value
            self._tell(_cached(node, answer))
        else:
            self.untold[node] = _cached(node, answer)
        self._say(NodeSucceeded(now, node, answer.value is None))

    def needed(self, missing: Sequence[Node], user: Node) -> None:
        """Note why nodes are called after all whose values are not at hand."""
        for each in missing:
            up = each.stand_in or each
            if up in self.untold:
                self._reasons.setdefault(up, not_storable(user))

    def not_needed(self, node: Node) -> None:
        """Nobody needs a value any more: tell of the node, unless it was called meanwhile."""
        report = self.untold.pop(node, None)
        if report is not None and node.report is None:
            self._tell(report)

    def give(self, node: Node, now: float) -> None:
        """Take in the value that was given for a node."""
        try:
            self._gatherer.give(node)
        except Exception as error:
            node.error = error
            self._say(NodeFailed(now, node, error))
            self._tell(NodeReport(node, "failed", str(error)))
        else:
            self._say(NodeSucceeded(now, node))


def not_storable(user: Node) -> str:
    """Return why a node is called whose value was good, but not stored."""
    return f"its result was not storable, and `{user.id}` needs it"


def _cached(node: Node, answer: Known) -> NodeReport:
    report = NodeReport(node, "cached", answer.reason, (), answer.saved)  # keywords would cost a dict
    report.key = answer.key
    return report
