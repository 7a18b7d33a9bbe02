"""The decisions of one run: what is known, what is stale and why, and what is kept."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

from flowkit.digests import FileMemory
from flowkit.durations import words
from flowkit.errors import OptionError, UsageError, did_you_mean, listing
from flowkit.graph import BoundTask, Graph
from flowkit.hookspecs import Known as KnownNode
from flowkit.hookspecs import Later, Stale, hookimpl
from flowkit.inputs import Inputs
from flowkit.reports import RunInfo, RunReport
from flowkit.scheduler import Node
from flowkit.services import FailedBefore
from flowkit.values import Handle, ValueMissing
from flowkit_plugins.cache import files as files_
from flowkit_plugins.cache.asking import VALUE, Uncertain, Unloaded, arguments, asks_for_value
from flowkit_plugins.cache.besides import Besides
from flowkit_plugins.cache.faults import BLOB_MISSING, NO_RECORD, Miss
from flowkit_plugins.cache.fingerprint import Fingerprinter
from flowkit_plugins.cache.keeping import Keeping
from flowkit_plugins.cache.keys import Keys, text_of
from flowkit_plugins.cache.known import Known
from flowkit_plugins.cache.losses import LOST
from flowkit_plugins.cache.nested import note_flow_in_task
from flowkit_plugins.cache.places import MIN_FILE_SIZE
from flowkit_plugins.cache.plans import TaskPlan, stored_parts
from flowkit_plugins.cache.reasons import explain
from flowkit_plugins.cache.traces import Last, Trace


class Reuse(Keeping):
    """Answers ``flowkit_node_lookup`` and keeps what was computed."""

    # Around the run

    @hookimpl
    def flowkit_collected(self, graph: Graph) -> Sequence[UsageError]:
        """Say which names of ``--refresh`` lead nowhere."""
        if not self._refresh:
            return ()
        known = {name for t in graph.tasks if t.given is None for name in (t.name, *t.provides)}
        return [
            OptionError(
                f"--refresh {name}: there is no such task",
                known=f"tasks: {listing(known)}",
                remedy=did_you_mean(name, known, "Name a task of the flow, without its file and element."),
            )
            for name in sorted(self._refresh - known)
        ]

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
        self._failed = self._services.get(FailedBefore)
        self._storage.begin(run)
        self._continued.begin(run.id)
        self._memory = FileMemory(facts=self._storage.file_facts())
        memo = self._storage.source_memo()
        fingerprinter = Fingerprinter(user_roots=[self._root], memo=memo, digest=self._in_code)
        self._code, self._note = fingerprinter.code, fingerprinter.note
        load = self.loads or not self._planning
        besides = Besides(fingerprinter, self._root, run.mask)
        self.keys = Keys(fingerprinter, self._digest, self._environment, run.mask, besides=besides, load=load)
        self._records.begin(run, self._memory)

    @hookimpl(tryfirst=True)  # what it has to say belongs into everybody's report
    def flowkit_run_ended(self, report: RunReport) -> None:
        """Write what is still to be written, and say what could not be."""
        today = int(self._clock.timestamp() // 86400)
        self._storage.end(self._used, self._memory, day=today)
        self._rights.close()  # not before: what is not on disk is not there for others
        report.notes.extend([*self._notes, *self._storage.warnings])
        self._over = True

    def _again(self, node: Node) -> str:
        """Return why a node is called whatever is stored: ``--lf`` or ``--refresh`` means it. Else nothing."""
        if self._failed is not None and self._failed.covers(node.full_id):
            return "failed the last time"
        return "refreshed" if self._refreshes(node.task) else ""

    def _refreshes(self, task: BoundTask) -> bool:
        """Whether ``--refresh`` means it: it is named; or nothing is, and it is a target or comes from elsewhere."""
        if self._refresh is None or self._refresh:
            return self._refresh is not None and not self._refresh.isdisjoint((task.name, *task.provides))
        assert self._run is not None  # the run began before
        if task in self._run.graph.targets or task.is_fallback or task.declaration is None:
            return True
        return task.declaration.namespace.get("__file__") != task.flow.file  # only what is at home can be a target

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
            again = self._again(node)
            if not again or key in self._made:  # an equal element may have been refreshed before
                return self._decide(node, inputs, plan, key, counted)
        except Unloaded as error:
            return Later(not_before=0.0, reason=str(error))  # a plan never asks again
        except Uncertain as error:
            return Stale(reason=str(error))
        waits = None if self._planning else self._rights.claim(node, key)
        if waits is not None:
            return waits
        return self._called(node, key, counted, again)

    @hookimpl
    def flowkit_node_must_run(self, node: Node) -> str | None:
        """Say why a node is called whatever its inputs are."""
        again = self._again(node)
        if again:
            return again
        return None if self._continued.active else self.keys.plan(node.task).never or None

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
            waits = self._rights.claim(node, key)
            if waits is not None:
                return waits
        # With the key in our hands nobody else can come to store it: so look only now.
        found = self._storage.find(key)
        if isinstance(found, Trace):
            if found is not trace and found != trace:
                reason = self._stale(node, node.task, plan, found, inputs) or ""
            if not reason:
                self._rights.settle(key)
                if not self._planning and trace is None:
                    self._gone_back(node, plan, counted, found)
                return self._reused(node, found)
        elif trace is None:
            reason = self._why(node, plan, counted, found)
        return self._called(node, key, counted, reason)

    def _called(self, node: Node, key: str, counted: dict[str, str], reason: str) -> Stale | Later:
        """Say that a node is called; in a plan, of several equal ones that all but the first wait to see."""
        self._keys[node] = (key, counted)
        if self._planning:
            first = self._planned.setdefault(key, node)
            if first is not node:
                return Later(not_before=0.0, reason=f"equal to `{first.id}`, which comes first")
        return Stale(reason=reason)

    def _gone_back(self, node: Node, plan: TaskPlan, counted: dict[str, str], trace: Trace) -> None:
        """A result of an earlier version is reused: from now on it is what the node gave last."""
        parts = stored_parts(plan, counted)
        last = Last(node.task.flow.path, node.id, trace.key, trace.digest, trace.took, trace.created, parts)
        self._storage.put(None, last, None, plan.made, urgent=False, then=None)

    def _stale(self, node: Node, task: BoundTask, plan: TaskPlan, trace: Trace, inputs: Inputs) -> str | None:
        """Return why a result that was kept cannot be reused, or None."""
        policy = plan.policy
        assert policy is not None  # else it is never looked up
        kept = self._continued.active and self._continued.keeps(node, trace.key)
        if policy.ttl is not None and policy.seconds is not None and not kept:
            left = trace.created + policy.seconds - self._clock.timestamp()
            if left <= 0:
                return f"expired {words(-left)} ago"
        if trace.kind == LOST or (trace.kind == "unkept" and not kept):
            return trace.reason
        if trace.kind == "hollow":
            # Whoever called the run may ask for it: a fallback that is called may stand in for a target.
            if not kept and (task in self._run.graph.targets or task.is_fallback):
                return f"result was not storable: {trace.reason}"
        elif not self._there(task, trace):
            return BLOB_MISSING
        if trace.files is not None:
            problem = self._files_problem(trace.files)
            if problem:
                return problem
        return None if policy.valid is None or kept else self._invalid(policy.valid, trace, inputs)

    def _there(self, task: BoundTask, trace: Trace) -> bool:
        """Whether a value can be had, as far as can be told without reading it.

        The file of a large one is looked for if it may be asked for after the run. Else who needs it will
        find out, and has it computed again.
        """
        blob = trace.blob
        return blob is None or self._storage.holds(blob, whole=trace.size >= MIN_FILE_SIZE and task in self._run.graph.targets)

    def _files_problem(self, files: str) -> str | None:
        repair = not self._planning
        return files_.check(json.loads(files), self._root, self._memory, self._storage, repair=repair)

    def _only_continued(self, node: Node, inputs: Inputs, plan: TaskPlan) -> KnownNode | Stale:
        """Look a node up that is never reused, except by a run that continues the one it ended well in."""
        continued = self._continued
        if plan.unsure or not continued.stores:
            return Stale(reason=plan.never)
        try:
            private = continued.note(node, *self.keys.key(node, inputs, plan))
        except Uncertain:
            return Stale(reason=plan.never)
        again = self._again(node)
        if again:
            return Stale(reason=again)
        trace = continued.lookup(node, private)
        if trace is None:
            return Stale(reason=continued.why(node, plan.never))
        if not self._there(node.task, trace):
            return Stale(reason=BLOB_MISSING)
        if trace.files is not None:
            problem = self._files_problem(trace.files)
            if problem:
                return Stale(reason=problem)
        return self._reused(node, trace, continued.reason)

    def _invalid(self, valid: Callable[..., object], trace: Trace, inputs: Inputs) -> str | None:
        """Return why a result is no longer what the user's own check calls valid, or None."""
        load = self.keys.load
        wanted = arguments("valid", valid, inputs, load=load)
        if asks_for_value(valid):
            if not load:
                raise Unloaded("its `valid` looks at the value, and a plan loads none")
            try:
                wanted[VALUE] = self.value(trace)
            except ValueMissing as error:
                return error.reason
        try:
            return None if valid(**wanted) else "no longer valid"
        except Exception as error:  # a check that raises is a check that fails
            return f"`valid` raised {type(error).__name__}: {text_of(error)}"

    def _reused(self, node: Node, trace: Trace, reason: str = "") -> KnownNode:
        self._used.append(trace)
        self._rights.got(node)
        if not reason and self._continued.active and self._continued.keeps(node, trace.key):
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
        # With attributes set and no keywords: there is one for every node of a warm run.
        answer = KnownNode()
        answer.value = Handle(self._fetches, ids, trace)
        answer.reason, answer.saved, answer.key = reason, trace.took, trace.key
        return answer

    def _age(self, trace: Trace) -> str:
        """Return how long ago a result was computed, seen from the beginning of the run."""
        age = int(self._begun - trace.created)
        said = self._ages.get(age)
        if said is None:
            said = f"{age}s ago" if age < 60 else f"{words(age)} ago"
            said = self._ages[age] = said if age >= 1 else "just now"
        return said

    def _why(self, node: Node, plan: TaskPlan, counted: dict[str, str], miss: Miss) -> str:
        """Return why there is no record under this key: what changed since the node's last success."""
        last = self._storage.last(node)
        if last is None or miss.reason != NO_RECORD:
            return miss.reason
        before = json.loads(last.parts)
        changed = before.get("code") != plan.hexed
        parts = self._storage.code_parts(before.get("code", "")) if changed else None
        return explain(before, parts, node.task, counted, self.keys) or NO_RECORD
