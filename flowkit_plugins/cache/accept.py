"""``flowkit cache why`` and ``accept``: a node's key as it is now, beside the one of its last success.

Both plan a run and listen to its look-ups: nothing is called. ``accept`` writes the record of the
last success under the new key just before the plan asks for it, so what hangs off an accepted node
is planned as if it had never been stale.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from flowkit.durations import words
from flowkit.hookspecs import hookimpl
from flowkit.records import field, record
from flowkit_plugins.cache.asking import Uncertain
from flowkit_plugins.cache.faults import Miss
from flowkit_plugins.cache.fingerprint import BODY, Fingerprint, Part, explain
from flowkit_plugins.cache.packs import row_of
from flowkit_plugins.cache.plans import TaskPlan, stored_parts
from flowkit_plugins.cache.reasons import changed_inputs, changed_parameters
from flowkit_plugins.cache.shelf import Records, Shelf, task_of
from flowkit_plugins.cache.sizes import shown
from flowkit_plugins.cache.tables import ago
from flowkit_plugins.cache.traces import Last

if TYPE_CHECKING:
    from flowkit.graph import BoundTask
    from flowkit.inputs import Inputs
    from flowkit.planning import Decision
    from flowkit.scheduler import Node
    from flowkit.session import Session
    from flowkit_plugins.cache.besides import Besides

_MOST = 20
_SAYS = {"c": "would be reused", ">": "would run", "?": "may run", "s": "would be skipped"}


@record(frozen=True)
class Key:
    """A node's key as it is now, and what it is made of."""

    key: str
    counted: Mapping[str, str]
    plan: TaskPlan
    code: Mapping[str, Part]
    task: BoundTask
    besides: Besides


@record()
class Given:
    """What the user gave for parameters: ``-P``, ``--params``, ``-O``."""

    typed: Sequence[str] = ()
    file: str | None = None
    overrides: Sequence[str] = ()


class Watch:
    """Notes the key of every node that a plan looks up."""

    def __init__(self, reuse: Any) -> None:
        self._reuse = reuse
        self.keys: dict[str, Key] = {}

    @hookimpl
    def flowkit_node_lookup(self, node: Node, inputs: Inputs) -> None:
        """Note the key; the answer is left to the cache."""
        keys = self._reuse.keys
        plan = keys.plan(node.task)
        if plan.never:
            return
        try:
            key, counted = keys.key(node, inputs, plan)
        except Uncertain:
            return
        found = Key(key, counted, plan, keys.code_parts(node.task), node.task, keys.besides)
        name = keys.mask(node.full_id)  # as plans and records have it
        self.keys[name] = found
        self.noted(name, found)

    def noted(self, node: str, found: Key) -> None:
        """Do something with a node's key before the cache looks for it."""


@record()
class Accepted:
    """What became of the nodes that were to be accepted.

    Attributes:
        stamped: Nodes whose record stands under the new key now.
        fine: Nodes that are reused anyway.
        refused: Node → why not.
    """

    stamped: list[str] = field(factory=list)
    fine: list[str] = field(factory=list)
    refused: dict[str, str] = field(factory=dict)


class Stamp(Watch):
    """Writes the last records of ``wanted`` nodes under their keys of now."""

    def __init__(self, reuse: Any, shelf: Shelf, wanted: Mapping[str, Last]) -> None:
        super().__init__(reuse)
        self._traces: Records = shelf.traces
        self._rows = shelf.rows.sizes().keys()
        self._code = shelf.traces.memos("code")
        self._wanted = wanted
        self.result = Accepted()

    def noted(self, node: str, found: Key) -> None:
        """Stamp the node, if it is wanted and only its code has changed."""
        last = self._wanted.get(node)
        if last is None:
            return
        if not isinstance(self._traces.lookup(found.key), Miss):
            self.result.fine.append(node)
            return
        problem = self._problem(last, found)
        if problem is not None:
            self.result.refused[node] = problem
            return
        trace = self._traces.lookup(last.key)
        assert not isinstance(trace, Miss)  # else it was a problem
        parts = stored_parts(found.plan, dict(found.counted))
        self._traces.commit(
            [trace._replace(key=found.key, node=node)], [last._replace(key=found.key, parts=parts)]
        )
        code = Fingerprint(found.plan.hexed, found.code)
        if code.hex not in self._code:
            self._code[code.hex] = json.dumps(code.to_json())
            self._traces.remember("code", {code.hex: self._code[code.hex]})
        self.result.stamped.append(node)

    def _problem(self, last: Last, found: Key) -> str | None:
        before = json.loads(last.parts)
        if "up" not in before and found.counted:
            return "what it was called with was not kept"
        other = next(_changed(before, found), None)
        if other is not None:
            return f"{other}; only a change of the task's code can be accepted"
        trace = self._traces.lookup(last.key)
        if isinstance(trace, Miss) or (
            trace.blob is not None and row_of(trace.blob) not in self._rows
        ):
            return "its result is not kept any more"
        return None


def accept(session: Session, shelf: Shelf, wanted: Mapping[str, Last], given: Given) -> Accepted:
    """Take the last results of nodes for those of the code as it is now."""
    stamp: Stamp | None = None

    def watch(reuse: Any) -> Stamp:
        nonlocal stamp
        reuse.loads = True  # a `key` may look at values: it is the user's word that counts here
        stamp = Stamp(reuse, shelf, wanted)
        return stamp

    decisions = _plan(session, given, watch)
    assert stamp is not None  # _plan made it
    result = stamp.result
    for node in wanted:
        if node not in stamp.keys:
            result.refused.setdefault(node, _not_looked_up(node, decisions))
    return result


def _not_looked_up(node: str, decisions: Sequence[Decision]) -> str:
    elements = f"{task_of(node)}[…]"
    for decision in decisions:
        if decision.node == node and decision.mark == "?":
            return f"{decision.reason}; run or accept that first"
        if decision.node == node:
            return decision.reason or "it has no key"
        if decision.node == elements:
            return f"{decision.reason or 'its elements are not known yet'}; run that first"
    return "there is no such element now"


def why(session: Session, shelf: Shelf, node: str, given: Given) -> Iterator[str]:
    """Yield what a run would do to a node, or to each element of a mapped task, and why."""
    watch = Watch(None)

    def watching(reuse: Any) -> Watch:
        nonlocal watch
        watch = Watch(reuse)
        return watch

    decisions = _plan(session, given, watching)
    name = node.partition("::")[2]
    asked = [d for d in decisions if d.node.partition("::")[2] == name]
    asked = asked or [d for d in decisions if d.node.partition("::")[2].startswith(f"{name}[")]
    lasts = {f"{last.flow}::{last.node}": last for last in shelf.traces.lasts()}
    code = {hexed: json.loads(body) for hexed, body in shelf.traces.memos("code").items()}
    for decision in asked[:_MOST]:
        yield f"{decision.node} {_SAYS[decision.mark]}: {decision.reason or 'no record'}"
        last = lasts.get(decision.node)
        key = watch.keys.get(decision.node)
        if last is not None and key is not None and last.key != key.key:
            for difference in differences(
                last, key, code.get(json.loads(last.parts).get("code", ""))
            ):
                if difference != decision.reason:
                    yield f"  also: {difference}"
        yield f"  {_last_result(shelf, last)}"
    if len(asked) > _MOST:
        yield f"{len(asked) - _MOST} more elements"
    if not asked:
        yield f"{node}: nothing is known before what it hangs off has run"
    if any(d.mark != "c" for d in asked):
        yield from _above(decisions, asked)


def _above(decisions: Sequence[Decision], asked: Sequence[Decision]) -> Iterator[str]:
    above = [d for d in decisions if d.mark != "c" and d not in asked]
    for decision in above[:_MOST]:
        yield f"  above it: {decision.node} {_SAYS[decision.mark]}: {decision.reason or 'no record'}"
    if len(above) > _MOST:
        yield f"  above it: {len(above) - _MOST} more"


def _last_result(shelf: Shelf, last: Last | None) -> str:
    if last is None:
        return "last result: none"
    trace = shelf.traces.lookup(last.key)
    what = f"{ago(last.created, shelf.now)}, took {words(last.took)}"
    if isinstance(trace, Miss):
        return f"last result: {what}, not kept any more"
    size = f", {shown(trace.size)}" if trace.blob else ""
    return f"last result: {what}{size}"


def differences(last: Last, now: Key, code_before: Mapping[str, Any] | None) -> list[str]:
    """Return all that changed since a node's last success, in words."""
    before = json.loads(last.parts)
    found = []
    if code_before is not None:
        old = Fingerprint.from_json(code_before).parts
        for name in {**now.code, **old}:
            one = explain(
                *({name: parts[name]} if name in parts else {} for parts in (old, now.code))
            )
            found += [one] if one else []
    elif before.get("code") != now.plan.hexed:
        body = now.code.get(BODY)
        found.append(f"code of `{body.name}` changed" if body is not None else "code changed")
    said: Mapping[str, str] = before.get("said", {})
    found += [
        f"`{name}` changed"
        for name in {**said, **now.plan.said}
        if said.get(name) != now.plan.said.get(name)
    ]
    return [*found, *_changed(before, now)]


def _changed(before: Mapping[str, Any], now: Key) -> Iterator[str]:
    """Yield what changed besides code."""
    yield from changed_parameters(before, now.plan, now.besides)
    yield from changed_inputs(before, now.counted, now.task, now.besides)


def _plan(session: Session, given: Given, watch: Any) -> list[Decision]:
    """Plan a run of the session's targets with ``watch(reuse)`` listening."""
    from flowkit.parameters import Sources
    from flowkit_plugins.cache.reuse import Reuse

    session.configure({})
    session.plugins.register(watch(session.services[Reuse]), "cache:watch")
    sources = session.prepare(Sources(typed=given.typed, file=given.file), overrides=given.overrides)
    return session.plan(sources)
