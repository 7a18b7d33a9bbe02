"""The decisions of one run: what is known, what is stale and why, and what is kept."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from flowkit.clock import Clock
from flowkit.digests import Digest, FileMemory, Undigestible, digest_with_facts, small
from flowkit.durations import words
from flowkit.elements import elements_of
from flowkit.filefacts import digest_file
from flowkit.graph import BoundTask
from flowkit.hookspecs import Kept, Later, Stale, hookimpl
from flowkit.hookspecs import Known as KnownNode
from flowkit.inputs import Inputs, part_of
from flowkit.reports import Attempt, RunInfo, RunReport
from flowkit.scheduler import Node
from flowkit.values import Handle, ValueMissing
from flowkit_plugins.cache import files as files_
from flowkit_plugins.cache.continued import Continued
from flowkit_plugins.cache.faults import NO_RECORD, Miss, Unstorable
from flowkit_plugins.cache.fingerprint import Fingerprinter
from flowkit_plugins.cache.keys import Keys, Known, TaskPlan, Uncertain, environment, stored_parts
from flowkit_plugins.cache.nested import note_flow_in_task, ran_a_flow
from flowkit_plugins.cache.ranges import Right
from flowkit_plugins.cache.reasons import explain
from flowkit_plugins.cache.serializing import Dumped, readonly
from flowkit_plugins.cache.storage import Storage
from flowkit_plugins.cache.traces import Last, Trace
from flowkit_plugins.cache.ways import Held, Stored

#: Tasks known to take less than this are not worth a lock between runs, in seconds.
QUICK = 0.05


class Reuse:
    """Answers ``flowkit_node_lookup`` and keeps what was computed.

    Args:
        storage: Where traces and values are.
        root: The project's root: paths inside count by their name relative to it.
        clock: The run's clock.
        refresh: Names of tasks that run again; an empty set means all; None means none.
        with_environment: Whether installed versions count.
        digest_hook: Asked for the content of values of unknown types.
        services: What other plugins offer.
    """

    def __init__(
        self,
        storage: Storage,
        root: Path,
        clock: Clock,
        *,
        refresh: frozenset[str] | None = None,
        with_environment: bool = False,
        digest_hook: Callable[[object], object] | None = None,
        services: Mapping[type, Any] = MappingProxyType({}),
    ) -> None:
        self._storage = storage
        self._continued = Continued(storage, services)
        self._root = root
        self._clock = clock
        self._refresh = refresh
        self._planning = False
        self._hook = digest_hook
        self._environment = environment() if with_environment else ""
        self._memory = FileMemory()
        self._keys: dict[Node, tuple[str, dict[str, str]]] = {}
        self._pending: dict[str, tuple[Node, Right | None]] = {}
        self._made: set[str] = set()
        self._held: dict[str, Held] = {}
        self._told: set[BoundTask] = set()
        self._ages: dict[int, str] = {}
        self._notes: list[str] = []
        self._waits: dict[Node, tuple[float, float]] = {}
        self._sources: dict[BoundTask, set[str | None]] = {}
        self._used: list[Trace] = []
        self.keys: Keys
        self._run: RunInfo

    # Around the run

    @hookimpl
    def flowkit_plan_started(self, run: RunInfo) -> None:
        """Get ready to answer without taking locks."""
        self._planning = True
        self.flowkit_run_started(run)

    @hookimpl
    def flowkit_run_started(self, run: RunInfo) -> None:
        """Get ready: what was kept the last time is read when the first node asks."""
        self._run = run
        note_flow_in_task()
        self._begun = run.started.timestamp()
        self._storage.begin(run)
        self._continued.begin(run.id)
        self._memory = FileMemory(facts=self._storage.file_facts())
        self.keys = Keys(
            Fingerprinter(user_roots=[self._root], memo=self._storage.source_memo(), digest=self._constant),
            self._digest,
            self._environment,
        )
        for task in run.graph.tasks:
            for element in task.elements:
                self._sources.setdefault(element.axis.source, set()).add(element.axis.part)

    @hookimpl(tryfirst=True)  # what it has to say belongs into everybody's report
    def flowkit_run_ended(self, report: RunReport) -> None:
        """Write what is still to be written, and say what could not be."""
        for _, flight in list(self._pending.values()):
            if flight is not None:
                flight.release()
        self._pending.clear()
        today = int(self._clock.wall().timestamp() // 86400)
        self._storage.end(self._used, self._memory, day=today)
        report.notes.extend([*self._notes, *self._storage.warnings])

    def _constant(self, value: object) -> str:
        found = small(value)
        return found if found is not None else self._digest(value).hex

    def _digest(self, value: object) -> Digest:
        return digest_with_facts(
            value, hook=self._hook, root=self._root, secret_key=self._storage.secret, memo=self._memory
        )

    # Look-up

    @hookimpl
    def flowkit_node_lookup(self, node: Node, inputs: Inputs) -> KnownNode | Stale | Later | None:
        """Say whether the node's result is known, under the key of all that it depends on."""
        task = node.task
        plan = self.keys.plan(task)
        if plan.never:
            return self._only_continued(node, inputs, plan)
        try:
            key, counted = self.keys.key(node, inputs, plan)
        except Uncertain as error:
            return Stale(reason=str(error))
        refresh = self._refresh is not None and (not self._refresh or task.name in self._refresh)
        if refresh and key not in self._made:  # an equal element may have been refreshed before
            waits = self._claim(node, key)
            if waits is not None:
                return waits
            self._keys[node] = (key, counted)
            return Stale(reason="refreshed")
        return self._decide(node, inputs, plan, key, counted)

    def _decide(
        self, node: Node, inputs: Inputs, plan: TaskPlan, key: str, counted: dict[str, str]
    ) -> KnownNode | Stale | Later:
        """Say what becomes of a node that has a key: first by what is at hand, then by what is on disk."""
        trace = self._storage.at_hand(key)
        reason = ""
        if trace is not None:
            reason = self._stale(node, node.task, plan, trace, inputs) or ""
            if not reason:
                return self._reused(node, trace)
        if not self._planning:
            waits = self._claim(node, key)
            if waits is not None:
                return waits
        # With the key in our hands nobody else can come to store it: so look only now.
        found = self._storage.find(key)
        if isinstance(found, Trace):
            if found is not trace and found != trace:
                reason = self._stale(node, node.task, plan, found, inputs) or ""
            if not reason:
                self._settled(key)
                return self._reused(node, found)
        elif trace is None:
            reason = self._why(node, plan, counted, found)
        self._keys[node] = (key, counted)
        return Stale(reason=reason)

    def _stale(self, node: Node, task: BoundTask, plan: TaskPlan, trace: Trace, inputs: Inputs) -> str | None:
        """Return why a result that was kept cannot be reused, or None."""
        policy = plan.policy
        assert policy is not None  # else it is never looked up
        kept = self._continued.keeps(node, trace.key)
        if policy.ttl is not None and policy.seconds is not None and not kept:
            left = trace.created + policy.seconds - self._clock.wall().timestamp()
            if left <= 0:
                return f"expired {words(-left)} ago"
        if trace.kind == "unkept" and not kept:
            return trace.reason
        if trace.kind == "hollow":
            if not kept and task in self._run.graph.targets:
                return f"result was not storable: {trace.reason}"
        elif trace.blob is not None and not self._storage.holds(trace.blob):
            return "blob missing"
        if trace.files is not None:
            problem = self._files_problem(trace.files)
            if problem:
                return problem
        if policy.valid is not None and not kept and not self._valid(policy, trace, inputs):
            return "no longer valid"
        return None

    def _files_problem(self, files: str) -> str | None:
        repair = not self._planning
        return files_.check(json.loads(files), self._root, self._memory, self._storage, repair=repair)

    def _only_continued(self, node: Node, inputs: Inputs, plan: TaskPlan) -> KnownNode | Stale:
        """Look a node up that is never reused, except by a run that continues the one it ended well in."""
        continued, task = self._continued, node.task
        if plan.unsure or not continued.stores:
            return Stale(reason=plan.never)
        try:
            private = continued.note(node, *self.keys.key(node, inputs, plan))
        except Uncertain:
            return Stale(reason=plan.never)
        if self._refresh is not None and (not self._refresh or task.name in self._refresh):
            return Stale(reason="refreshed")
        trace = continued.lookup(node, private)
        if trace is None:
            return Stale(reason=continued.why(node, plan.never))
        if trace.blob is not None and not self._storage.holds(trace.blob):
            return Stale(reason="blob missing")
        if trace.files is not None:
            problem = self._files_problem(trace.files)
            if problem:
                return Stale(reason=problem)
        return self._reused(node, trace, continued.reason)

    def _valid(self, policy: Any, trace: Trace, inputs: Inputs) -> bool:
        names = policy.names_of_valid()
        wanted: dict[str, object] = {}
        if any(name != "value" for name in names):
            arguments = inputs.arguments()
            if arguments is None:
                return False
            wanted = {name: arguments[name] for name in names if name in arguments}
        if "value" in names:
            wanted["value"] = self.value(trace)
        try:
            return bool(policy.valid(**wanted))
        except Exception:  # a check that raises is a check that fails
            return False

    def _reused(self, node: Node, trace: Trace, reason: str = "") -> KnownNode:
        self._used.append(trace)
        if self._waits:
            self._waits.pop(node, None)
        if not reason and self._continued.keeps(node, trace.key):
            reason = self._continued.reason
        reason = reason or self._age(trace)
        if trace.kind == "skipped":
            return KnownNode(skipped=trace.reason, reason=reason, saved=trace.took, key=trace.key)
        known = self.keys.known[node] = Known(trace.digest, trace.key)
        ids: dict[str | None, Sequence[str]] | None = None
        if trace.body is not None:
            body = json.loads(trace.body)
            known.parts = body.get("parts", {})
            known.elements = {name or None: tuple(pair) for name, pair in body.get("elements", {}).items()}
            ids = {name: pair[0] for name, pair in known.elements.items()}
        if trace.kind == "hollow":
            return KnownNode(value=None, reason=reason, saved=trace.took, key=trace.key)
        handle = Handle(Stored(self, trace), elements=ids)
        return KnownNode(value=handle, reason=reason, saved=trace.took, key=trace.key)

    def _age(self, trace: Trace) -> str:
        """Return how long ago a result was computed, seen from the beginning of the run."""
        age = int(self._begun - trace.created)
        said = self._ages.get(age)
        if said is None:
            said = f"{age}s ago" if age < 60 else f"{words(age)} ago"
            said = self._ages[age] = said if age >= 1 else "just now"
        return said

    def fetch(self, key: str) -> object:
        """Return the value that this run stored under a key.

        Raises:
            ValueMissing: It is gone.
        """
        trace = self._storage.trace(key)
        if isinstance(trace, Miss) or trace.blob is None:
            raise ValueMissing("blob missing" if isinstance(trace, Trace) else str(trace))
        return self.value(trace)

    def value(self, trace: Trace) -> object:
        """Return the value of a trace.

        Raises:
            ValueMissing: It is gone or damaged.
        """
        if trace.blob is None:  # made by this run: perhaps it is not on disk yet
            held = self._held.get(trace.key)
            return held() if held is not None else self.fetch(trace.key)
        found = self._storage.value(trace)
        if isinstance(found, Miss):
            raise ValueMissing(f"{found.reason}{': ' if found.detail else ''}{found.detail}")
        return found.value

    def _why(self, node: Node, plan: TaskPlan, counted: dict[str, str], miss: Miss) -> str:
        """Return why there is no record under this key: what changed since the node's last success."""
        last = self._storage.last(node)
        if last is None or miss.reason != NO_RECORD:
            return miss.reason
        before = json.loads(last.parts)
        changed = before.get("code") != plan.code.hex
        parts = self._storage.code_parts(before.get("code", "")) if changed else None
        return explain(before, parts, plan, counted, plan.code.parts, self._root) or NO_RECORD

    # Once at a time

    def _claim(self, node: Node, key: str) -> Later | None:
        """Take the right to compute a key, or say to wait for whoever has it."""
        holder = self._pending.get(key)
        if holder is not None:
            return self._wait(node, f"waits for `{holder[0].id}`") if holder[0] is not node else None
        right: Right | None = None
        if self._worth_a_lock(node):
            right, owner = self._storage.claim(key)
            if right is None and owner is not None:
                return self._wait(node, f"waits for {owner}")
        self._pending[key] = (node, right)
        if self._waits:
            self._waits.pop(node, None)
        return None

    def _worth_a_lock(self, node: Node) -> bool:
        last = self._storage.last(node)
        return last is None or last.took >= QUICK

    def _wait(self, node: Node, reason: str) -> Later:
        """Ask again soon, and then less often: 1 ms, doubling up to a second."""
        now = self._clock.now()
        pause = self._waits.get(node, (0.0, 0.0005))[1] * 2
        self._waits[node] = (now, min(pause, 1.0))
        return Later(not_before=now + min(pause, 1.0), reason=reason)

    # Keeping

    @hookimpl
    def flowkit_attempt_keep(self, attempt: Attempt) -> Kept:
        """Digest a result, store it if it can be stored, and say whether it is what it was."""
        node, value = attempt.unit, attempt.value
        readonly(value)
        found = self._found(node)
        note = ""
        facts: Digest | None = None
        known: Known
        try:
            hexed = small(value)
            if hexed is None:
                facts = self._digest(value)
                hexed = facts.hex
            known = self._describe(attempt.task, value, hexed)
        except Undigestible as error:
            note = str(error)
            known = Known(found[0] if found else f"once:{self._run.id}:{node.full_id}")
        plan = self.keys.plan(attempt.task)
        if plan.files:
            self._own_input(attempt.task, plan)
        last = self._storage.last(node)
        same = last is not None and not note and last.digest == known.digest
        if found is not None:
            known.key = found[0]
            self.keys.known[node] = known
            return self._store(attempt, plan, found, known, facts, note, same=same)
        self.keys.known[node] = known
        private = self._continued.noted(node)
        if private is None:
            self._note_digest(attempt, plan, "", known)
            return Kept(same=same)
        self._store_private(attempt, plan, private, known, facts, note)
        return Kept(same=same, key=private[0])

    def _found(self, node: Node) -> tuple[str, dict[str, str]] | None:
        """Return a node's key and what it counted; None if it has none."""
        found = self._keys.pop(node, None)
        if found is None:
            known = self.keys.known.get(node)
            if known is not None and known.key:  # it was reused, and its value turned out to be lost
                return known.key, {}
        return found

    def _own_input(self, task: BoundTask, plan: TaskPlan) -> None:
        """Warn, once, of a task that changed a file it was given: it will never settle."""
        for name, facts in plan.files.items():
            for fact in facts:
                if task not in self._told and digest_file(fact.path, self._memory).digest != fact.digest:
                    self._told.add(task)
                    self._notes.append(
                        f"`{task.name}` changed its own input file {files_.relative(fact.path, self._root)}, so it is "
                        f"never reused: write it through `out()`, or take `{name}` as a `str`"
                    )

    def _note_digest(self, attempt: Attempt, plan: TaskPlan, key: str, known: Known) -> None:
        """Remember the content of a result that is not reused, to see whether the next one is the same."""
        node, now = attempt.unit, self._clock.wall().timestamp()
        took = (attempt.ended_at or 0.0) - attempt.started_at
        last = Last(attempt.task.flow.path, node.id, key, known.digest, took, now, stored_parts(plan, {}))
        self._storage.put(None, last, None, plan.code, urgent=False, then=None)

    def _describe(self, task: BoundTask, value: object, hexed: str) -> Known:
        """Return a result's digest, with those of its parts and elements where others need them."""
        known = Known(hexed)
        if task.provides:
            known.parts = {name: self._constant(part_of(value, name, task)) for name in task.provides}
        sources = self._sources.get(task)
        if not sources:
            return known
        elements: dict[str | None, tuple[Sequence[str], Sequence[str]]] = {}
        for part in sources:
            listed = value if part is None else part_of(value, part, task)
            try:
                items, ids = elements_of(listed, "")
            except TypeError:
                continue  # it is no list: whoever maps over it will say so
            elements[part] = (ids, [self._constant(item) for item in items])
        known.elements = elements
        return known

    def _store(
        self,
        attempt: Attempt,
        plan: TaskPlan,
        found: tuple[str, dict[str, str]],
        known: Known,
        facts: Digest | None,
        note: str,
        *,
        same: bool,
    ) -> Kept:
        node, task = attempt.unit, attempt.task
        key, counted = found
        trace, blob = self._traced(attempt, key, known, facts, note)
        took = trace.took
        last = Last(
            task.flow.path, node.id, key, known.digest, took, trace.created, stored_parts(plan, counted)
        )
        held = Held(self, key, attempt.value)
        handle = None
        if blob is not None and self._storage.works:
            self._held[key] = held
            ids = {name: pair[0] for name, pair in known.elements.items()} if known.elements else None
            handle = Handle(held, elements=ids)
        if self._refresh is not None:
            self._made.add(key)
        self._storage.put(trace, last, blob, plan.code, urgent=took >= QUICK, then=held.settled)
        if took < QUICK:
            # Known to be quick now: others may compute it again rather than wait for the disk.
            holder = self._pending.get(key)
            if holder is not None and holder[1] is not None:
                holder[1].release()
        return Kept(same=same, handle=handle, note=trace.reason if trace.kind == "hollow" else "", key=key)

    def _store_private(
        self,
        attempt: Attempt,
        plan: TaskPlan,
        private: tuple[str, dict[str, str]],
        known: Known,
        facts: Digest | None,
        note: str,
    ) -> None:
        """Keep a result that only a run which continues this one may have."""
        trace, blob = self._traced(attempt, private[0], known, facts, note)
        trace = self._continued.wrapped(trace, known, plan, private[1])
        self._storage.put(trace, None, blob, plan.code, urgent=trace.took >= QUICK, then=None)
        self._note_digest(attempt, plan, private[0], known)

    def _traced(
        self, attempt: Attempt, key: str, known: Known, facts: Digest | None, note: str
    ) -> tuple[Trace, tuple[str, Dumped] | None]:
        """Return the trace of a result, and the blob of its value if it can be stored."""
        took = (attempt.ended_at or 0.0) - attempt.started_at
        blob: tuple[str, Dumped] | None = None
        files: list[dict[str, Any]] | None = None
        kind = "success"
        if facts is not None and facts.holds_secret:
            note = "it holds a secret"
        if not note:
            try:
                blob = (f"v-{known.digest}", self._storage.dump(attempt.value))
            except Unstorable as error:
                note = str(error)
        if note:
            kind = "hollow"
        elif ran_a_flow(attempt):
            kind, note = "unkept", "it runs a flow"
        if kind != "hollow" and facts is not None and facts.files:
            files = files_.describe(facts.files, self._root)
            files_.keep_copies(files, self._root, self._storage)
        now = self._clock.wall().timestamp()
        trace = Trace(
            key, attempt.unit.full_id, known.digest, None, kind, took, now,
            used=int(now // 86400), reason=note, files=json.dumps(files) if files else None, body=self._body(known),
        )  # fmt: skip
        return trace, blob

    @staticmethod
    def _body(known: Known) -> str | None:
        if not known.parts and not known.elements:
            return None
        elements = {part or "": [list(ids), list(digests)] for part, (ids, digests) in known.elements.items()}
        return json.dumps({"parts": dict(known.parts), "elements": elements}, separators=(",", ":"))

    def _settled(self, key: str) -> None:
        """A result is on disk (or was given up): others may have it."""
        holder = self._pending.pop(key, None)
        if holder is not None and holder[1] is not None:
            holder[1].release()

    def stored(self, key: str) -> bool:
        """A result is on disk, or was given up: say whether it can be fetched."""
        there = self._storage.settled(key)
        if there:
            self._held.pop(key, None)
        self._settled(key)
        return there

    @hookimpl
    def flowkit_attempt_ended(self, attempt: Attempt) -> None:
        """Let go of the right to compute after a failure or a skip; a skip is a result."""
        if attempt.kind == "success" or attempt.again:
            return
        found = self._found(attempt.unit)
        if found is None:
            private = self._continued.noted(attempt.unit)
            if private is not None and attempt.kind == "skip":
                self._keep_skip(attempt, *private, private=True)
            return
        holder = self._pending.get(found[0])
        if attempt.kind == "skip":
            self._keep_skip(attempt, *found)
        if holder is not None and holder[0] is attempt.unit:
            self._settled(found[0])

    def _keep_skip(
        self, attempt: Attempt, key: str, counted: dict[str, str], *, private: bool = False
    ) -> None:
        """A skip is a result like any other (ruling D1)."""
        node = attempt.unit
        now = self._clock.wall().timestamp()
        took = (attempt.ended_at or 0.0) - attempt.started_at
        plan = self.keys.plan(attempt.task)
        trace = Trace(
            key, node.full_id, "skipped", None, "skipped", took, now,
            used=int(now // 86400), reason=attempt.reason,
        )  # fmt: skip
        if private:
            trace = self._continued.wrapped(trace, None, plan, counted)
            self._storage.put(trace, None, None, plan.code, urgent=False, then=None)
            return
        last = Last(attempt.task.flow.path, node.id, key, "skipped", took, now, stored_parts(plan, counted))
        self._storage.put(trace, last, None, plan.code, urgent=False, then=None)
