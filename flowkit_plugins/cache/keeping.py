"""What a run keeps: results that were computed, skips, and what is known of both."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from flowkit.clock import Clock
from flowkit.digests import Digest, FileMemory, Undigestible, digest_with_facts, small
from flowkit.filefacts import digest_file
from flowkit.graph import BoundTask
from flowkit.hookspecs import Kept, hookimpl
from flowkit.reports import SET_UP, Attempt, RunInfo
from flowkit.scheduler import Node
from flowkit.services import FailedBefore
from flowkit.values import Handle, ValueMissing
from flowkit_plugins.cache import files as files_
from flowkit_plugins.cache.continued import Continued
from flowkit_plugins.cache.faults import Miss
from flowkit_plugins.cache.keys import Keys
from flowkit_plugins.cache.known import Known
from flowkit_plugins.cache.losses import forget
from flowkit_plugins.cache.plans import TaskPlan, environment, stored_parts
from flowkit_plugins.cache.records import Records
from flowkit_plugins.cache.rights import QUICK, Rights
from flowkit_plugins.cache.serializing import readonly
from flowkit_plugins.cache.storage import Storage
from flowkit_plugins.cache.traces import Last, Trace, last_of
from flowkit_plugins.cache.ways import Held

#: So begins what stands for content that cannot be told.
_ONCE = "once:"


class Keeping:
    """Keeps what was computed, under the keys that were noted when it was looked up.

    Args:
        storage: Where traces and values are.
        root: The project's root: paths inside count by their name relative to it.
        clock: The run's clock.
        refresh: Names of tasks that run again; an empty set means all targets; None means none.
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
        self._services = services
        self._failed: FailedBefore | None = None
        self._root = root
        self._clock = clock
        self._refresh = refresh
        self._planning = False
        self._planned: dict[str, Node] = {}
        self._over = False
        self.loads = False  #: whether a plan may load values
        self._hook = digest_hook
        self._environment = environment() if with_environment else ""
        self._memory = FileMemory()
        self._code: Callable[[object], str] | None = None
        self._note: Callable[[object], str] | None = None
        self._keys: dict[Node, tuple[str, dict[str, str]]] = {}
        self._rights = Rights(storage, clock)
        self._made: set[str] = set()
        self._held: dict[str, Held] = {}
        self._told: set[BoundTask] = set()
        self._ages: dict[int, str] = {}
        self._notes: list[str] = []
        self._records = Records(storage, root, clock, self._constant)
        self._used: list[Trace] = []
        self._fetches = self.value  #: one for the handles of all nodes
        self.keys: Keys
        self._run: RunInfo

    def _constant(self, value: object) -> str:
        found = small(value)
        return found if found is not None else self._digest(value).hex

    def _in_code(self, value: object) -> str:
        """Return the digest of a constant in code; the code that it holds is noted, and counts apart."""
        return small(value) or self._digest(value, self._note).hex

    def _digest(self, value: object, code: Callable[[object], str] | None = None) -> Digest:
        return digest_with_facts(
            value,
            hook=self._hook,
            root=self._root,
            secret_key=self._storage.secret,
            memo=self._memory,
            code=code or self._code,
        )

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
            known = self._records.describe(attempt.task, value, hexed)
        except Undigestible as error:
            note = str(error)
            known = Known(found[0] if found else self._once(node))
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

    def _found(self, node: Node) -> tuple[str, dict[str, str] | None] | None:
        """Return a node's key and what it counted, None for that if it was told in another run; None if it has none.

        One that is kept for itself alone has none, also where it was kept and is called after all.
        """
        if self._continued.noted(node) is not None:
            return None
        found = self._keys.pop(node, None)
        if found is None:
            known = self.keys.reused(node)
            if known is not None and known.key:  # it was reused, and its value turned out to be lost
                return known.key, None
        return found

    def _once(self, node: Node) -> str:
        """Return what stands for the content of a result that has none: of one that was kept, what stood for it."""
        known = self.keys.reused(node)
        return known.digest if known is not None and known.digest.startswith(_ONCE) else f"{_ONCE}{self._run.id}:{node.full_id}"

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
        node, now = attempt.unit, self._clock.timestamp()
        took = (attempt.ended_at or 0.0) - attempt.started_at
        last = Last(attempt.task.flow.path, node.id, key, known.digest, took, now, stored_parts(plan, None))
        self._storage.put(None, last, None, plan.made, urgent=False, then=None)

    def _store(
        self,
        attempt: Attempt,
        plan: TaskPlan,
        found: tuple[str, dict[str, str] | None],
        known: Known,
        facts: Digest | None,
        note: str,
        *,
        same: bool,
    ) -> Kept:
        node, task = attempt.unit, attempt.task
        key, counted = found
        trace, blob = self._records.traced(attempt, key, known, facts, note)
        took = trace.took
        parts = self._parts(node, plan, key, counted)
        last: Last = last_of((task.flow.path, node.id, key, known.digest, took, trace.created, parts))
        held = Held(self, key, attempt.value)
        handle = None
        if blob is not None and self._storage.works:
            self._held[key] = held
            ids = {name: pair[0] for name, pair in known.elements.items()} if known.elements else None
            handle = Handle(held, elements=ids)
        if self._refresh is not None:
            self._made.add(key)
        self._storage.put(trace, last, blob, plan.made, urgent=took >= QUICK, then=held.settled)
        if took < QUICK:
            # Known to be quick now: others may compute it again rather than wait for the disk.
            self._rights.release(key)
        return Kept(same=same, handle=handle, note=trace.reason if trace.kind == "hollow" else "", key=key)

    def _parts(self, node: Node, plan: TaskPlan, key: str, counted: dict[str, str] | None) -> str:
        """Return the parts of a node's key; where they were told in another run, as they stand there."""
        before = self._storage.last(node) if counted is None else None
        return before.parts if before is not None and before.key == key else stored_parts(plan, counted)

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
        trace, blob = self._records.traced(attempt, private[0], known, facts, note)
        trace = self._continued.wrapped(trace, known, plan, private[1])
        self._storage.put(trace, None, blob, plan.made, urgent=trace.took >= QUICK, then=None)
        self._note_digest(attempt, plan, private[0], known)

    def stored(self, key: str) -> bool:
        """A result is on disk, or was given up: say whether it can be fetched."""
        there = self._storage.settled(key)
        if there:
            self._held.pop(key, None)
        self._rights.settle(key)
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
        if attempt.kind == "skip":
            self._keep_skip(attempt, *found)
        if self._rights.has(attempt.unit, found[0]):
            self._rights.settle(found[0])

    def _keep_skip(
        self, attempt: Attempt, key: str, counted: dict[str, str] | None, *, private: bool = False
    ) -> None:
        """A skip is a result like any other (ruling D1), but for one by a resource, which is never kept."""
        if attempt.stash and SET_UP in attempt.stash:
            return
        node = attempt.unit
        now = self._clock.timestamp()
        took = (attempt.ended_at or 0.0) - attempt.started_at
        plan = self.keys.plan(attempt.task)
        trace = Trace(
            key, node.full_id, "skipped", None, "skipped", took, now,
            used=int(now // 86400), reason=attempt.reason,
        )  # fmt: skip
        if private:
            trace = self._continued.wrapped(trace, None, plan, counted)
            self._storage.put(trace, None, None, plan.made, urgent=False, then=None)
            return
        if self._refresh is not None:
            self._made.add(key)
        last = Last(attempt.task.flow.path, node.id, key, "skipped", took, now, self._parts(node, plan, key, counted))
        self._storage.put(trace, last, None, plan.made, urgent=False, then=None)

    # The way back to values

    def fetch(self, key: str) -> object:
        """Return the value that this run stored under a key.

        Raises:
            ValueMissing: It is gone.
        """
        trace = self._storage.kept(key)
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
        if isinstance(found, Miss) and self._over:  # else it is computed again in this run
            forget(self._storage, trace, found)
        if isinstance(found, Miss):
            raise ValueMissing(f"{found.reason}{': ' if found.detail else ''}{found.detail}")
        return found.value
