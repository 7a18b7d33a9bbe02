"""Upstream outcomes → run, or why not. The whole table of outcomes and triggers is here, as data.

Without ``trigger=`` each argument's annotation decides (``FITS`` and ``UNMET``); a written trigger
decides for all upstreams at once (``TRIGGERS``). A task that does not run is UPSTREAM if it would
have run but for a failure above it, else SKIPPED.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum

from flowkit.annotations import Accepts
from flowkit.graph import Edge
from flowkit.records import record
from flowkit.scheduler.states import FAILED, READY, SKIPPED, UPSTREAM, Node, State


class Ending(Enum):
    """How an upstream ended, as whoever hangs off it sees it."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    SKIPPED = "skipped"
    UPSTREAM = "upstream"


@record(frozen=True)
class Verdict:
    """What becomes of a node whose upstreams all ended.

    Attributes:
        state: READY, UPSTREAM or SKIPPED.
        reason: Why it does not run.
        roots: The failed nodes that are the cause of an UPSTREAM.
        content: The reason with tasks in the place of their elements: ids never count for reuse.
    """

    state: State
    reason: str = ""
    roots: tuple[Node, ...] = ()
    content: str = ""


RUN = Verdict(READY)

#: How the upstream ended → whether an argument takes that.
FITS: dict[Ending, Callable[[Accepts, Node], bool]] = {
    Ending.SUCCEEDED: lambda accepts, node: accepts.value or accepts.success,
    Ending.FAILED: lambda accepts, node: accepts.failure is not None and matches(accepts, node.error),
    Ending.SKIPPED: lambda accepts, node: accepts.skipped,
    Ending.UPSTREAM: lambda accepts, node: accepts.skipped,
}

#: (how it ended, would a success do?, is a failure of some class handled?) → what the task is.
#: The task is UPSTREAM if it would have run had the upstream succeeded; and, exceptionally
#: (ruling A13), if the upstream failed with another error than the one that is handled.
UNMET: dict[tuple[Ending, bool, bool], State] = {
    (Ending.SUCCEEDED, False, False): SKIPPED,
    (Ending.SUCCEEDED, False, True): SKIPPED,
    (Ending.FAILED, True, False): UPSTREAM,
    (Ending.FAILED, True, True): UPSTREAM,
    (Ending.FAILED, False, False): SKIPPED,
    (Ending.FAILED, False, True): UPSTREAM,
    (Ending.SKIPPED, True, False): SKIPPED,
    (Ending.SKIPPED, True, True): SKIPPED,
    (Ending.SKIPPED, False, False): SKIPPED,
    (Ending.SKIPPED, False, True): SKIPPED,
    (Ending.UPSTREAM, True, False): UPSTREAM,
    (Ending.UPSTREAM, True, True): UPSTREAM,
    (Ending.UPSTREAM, False, False): SKIPPED,
    (Ending.UPSTREAM, False, True): SKIPPED,
}

#: Trigger → whether it is met by so many (succeeded, failed or upstream, skipped) upstreams.
TRIGGERS: dict[str, Callable[[int, int, int], bool]] = {
    "all_succeeded": lambda s, f, k: f == 0 and k == 0,
    "all_failed": lambda s, f, k: s == 0 and k == 0,
    "all_done": lambda s, f, k: True,
    "any_succeeded": lambda s, f, k: s > 0,
    "any_failed": lambda s, f, k: f > 0,
    "none_failed": lambda s, f, k: f == 0,
    "always": lambda s, f, k: True,
}

ALWAYS = "always"


def matches(accepts: Accepts, error: BaseException | None) -> bool:
    """Return whether a failure with ``error`` is one that the argument handles, as ``except`` would."""
    return not accepts.failure or isinstance(error, accepts.failure)


def ending(node: Node) -> Ending:
    """Return how a settled node ended, for whoever hangs off it."""
    if node.succeeded:
        return Ending.SUCCEEDED
    if node.state is FAILED:
        return Ending.FAILED
    return Ending.UPSTREAM if node.state is UPSTREAM else Ending.SKIPPED


def judge(trigger: str | None, upstreams: Sequence[tuple[Edge, Sequence[Node]]]) -> Verdict:
    """Return what becomes of a node.

    Args:
        trigger: The task's written trigger, or None for the table.
        upstreams: For each edge the nodes it stands for: one, or all gathered elements.
    """
    if trigger is not None:
        return _by_trigger(trigger, [node for _, nodes in upstreams for node in nodes])
    unmet = [v for edge, nodes in upstreams for v in _unmet(edge, nodes)]
    if not unmet:
        return RUN
    for verdict in unmet:
        if verdict.state is SKIPPED:
            return verdict
    found = tuple(dict.fromkeys(root for v in unmet for root in v.roots))
    return Verdict(UPSTREAM, unmet[0].reason, found, unmet[0].content)


def _unmet(edge: Edge, nodes: Sequence[Node]) -> list[Verdict]:
    if edge.gathered:
        lacking = _lacking(edge, nodes)
        return [lacking] if lacking else []
    node = nodes[0]
    how = ending(node)
    accepts = edge.accepts
    if FITS[how](accepts, node):
        return []
    state = UNMET[how, accepts.value or accepts.success, accepts.failure is not None]
    return [below_failure(node) if state is UPSTREAM else below_end(node)]


def _lacking(edge: Edge, nodes: Sequence[Node]) -> Verdict | None:
    """Return why a gathered argument cannot be given, or None.

    It needs every element only if it wants plain values; an element that was skipped is absent.
    A node that stands for a list that is not there counts as an element if it stands for a branch among others.
    """
    if nodes and not nodes[0].succeeded and stands_for_all(edge, nodes):
        node = nodes[0]
        if node.state is SKIPPED:
            return Verdict(SKIPPED, node.reason, (), node.content)
        return below_failure(node)
    if not edge.accepts.value:
        return None
    failed = [
        n for n in nodes
        if not n.succeeded
        and n.state in (FAILED, UPSTREAM)
        and not FITS[ending(n)](edge.accepts, n)
    ]  # fmt: skip
    if not failed:
        return None
    shown = ", ".join(element_id(n) for n in failed[:5]) + (", …" if len(failed) > 5 else "")
    content = f"{len(failed)} of {len(nodes)} `{edge.source.name}` failed"
    return Verdict(UPSTREAM, f"{content}: {shown}", tuple(dict.fromkeys(r for n in failed for r in roots(n))), content)


def stands_for_all(edge: Edge, nodes: Sequence[Node]) -> bool:
    """Whether a collector gathers but one node, which stands for a list that is not there."""
    if not edge.gathered or len(nodes) != 1:
        return False
    axes, many = nodes[0].task.axes, len(nodes[0].coords)
    return many < len(axes) and not any(axis in edge.gathered for axis in axes[:many])


def element_id(node: Node) -> str:
    """Return what stands in the brackets of a node's id."""
    return node.id[len(node.task.name) + 1 : -1]


def roots(node: Node) -> tuple[Node, ...]:
    """Return the failed nodes that are the cause of this node's end."""
    return (node,) if node.state is FAILED else node.roots


def below_failure(node: Node) -> Verdict:
    """Return the UPSTREAM of whoever hangs off a node that failed, or is UPSTREAM itself."""
    found = roots(node)
    if not found:
        return Verdict(UPSTREAM, f"`{node.id}` did not run", (), f"`{node.task.name}` did not run")
    return below_roots(found)


def below_roots(found: tuple[Node, ...]) -> Verdict:
    """Return the UPSTREAM below some failed nodes; its reason names them."""
    end = ", … failed" if len(found) > 5 else " failed"
    ids = ", ".join([f"`{root.id}`" for root in found[:5]])
    tasks = ", ".join([f"`{root.task.name}`" for root in found[:5]])
    return Verdict(UPSTREAM, ids + end, found, tasks + end)


def below_end(node: Node) -> Verdict:
    """Return the SKIPPED of whoever hangs off ``node``, with how that ended as the reason."""
    how = ending(node)
    if how in (Ending.SUCCEEDED, Ending.FAILED):
        return Verdict(SKIPPED, f"`{node.id}` {how.value}", (), f"`{node.task.name}` {how.value}")
    said = "was skipped" if how is Ending.SKIPPED else "did not run"
    tail = ": " if node.reason else ""
    reason = f"`{node.id}` {said}{tail}{node.reason}"
    return Verdict(SKIPPED, reason, (), f"`{node.task.name}` {said}{tail}{node.content}")


def _by_trigger(trigger: str, nodes: Sequence[Node]) -> Verdict:
    endings = [ending(n) for n in nodes]
    succeeded = endings.count(Ending.SUCCEEDED)
    skipped = endings.count(Ending.SKIPPED)
    failed = len(endings) - succeeded - skipped
    met = TRIGGERS[trigger]
    if met(succeeded, failed, skipped):
        return RUN
    if failed and met(succeeded + failed, 0, skipped):
        causes = [n for n, e in zip(nodes, endings, strict=True) if e in (Ending.FAILED, Ending.UPSTREAM)]
        found = tuple(dict.fromkeys(r for n in causes for r in roots(n)))
        first = below_failure(causes[0])
        return Verdict(UPSTREAM, first.reason, found, first.content)
    # No failure is in the way, else it were UPSTREAM: it is a skip, or a success where failure is wanted.
    for node, how in zip(nodes, endings, strict=True):
        if how is Ending.SKIPPED or (how is Ending.SUCCEEDED and trigger in ("all_failed", "any_failed")):
            return below_end(node)
    return Verdict(SKIPPED, "nothing above it")
