"""What is kept for ``--resume`` alone: results of tasks that are never reused otherwise.

A task with ``cache=False``, or one that asks for ``run``, runs each time. But a run that was cut short
and is continued is still the same run: what ended well in it is not called again. So those
results are stored too, where runs are recorded, under a key of the node's own (two equal elements
both run), in a trace of kind ``private`` that names its run. Nobody but a run that continues that
one looks at it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from typing import Any

from flowkit.scheduler import Node
from flowkit.services import Continuation, Needs
from flowkit.values import Handle, ValueMissing
from flowkit_plugins.cache.faults import Miss, StoreError
from flowkit_plugins.cache.known import Known
from flowkit_plugins.cache.plans import TaskPlan, hashed, stored_parts
from flowkit_plugins.cache.storage import Storage
from flowkit_plugins.cache.traces import Trace

PRIVATE = "private"


class Continued:
    """The run that this one continues, if any, as look-ups see it.

    Args:
        storage: Where traces are.
        services: What other plugins offer: ``Continuation`` and ``Needs``.
    """

    def __init__(self, storage: Storage, services: Mapping[type, Any]) -> None:
        self._storage = storage
        self._services = services
        self._run = ""
        self._before: Continuation | None = None
        self._keys: dict[Node, tuple[str, dict[str, str]]] = {}
        self.stores = False
        self.active = False  #: whether there is a run that is continued

    def begin(self, run: str) -> None:
        """Get ready, as run ``run``: by now all plugins have said what they offer."""
        self._run = run
        self._before = self._services.get(Continuation)
        self.active = self._before is not None
        self.stores = Needs in self._services

    def keeps(self, node: Node, key: str) -> bool:
        """Whether a node ended well under exactly this key in the run that is continued."""
        return self._before is not None and self._before.key_of(node.full_id) == key

    @property
    def reason(self) -> str:
        """Why a node is kept."""
        return f"kept from run {self._before.run}" if self._before is not None else ""

    def note(self, node: Node, key: str, counted: dict[str, str]) -> str:
        """Note a node's key, and return the one under which its result is kept for itself alone."""
        private = hashed(PRIVATE, key, node.full_id)
        self._keys[node] = (private, counted)
        return private

    def noted(self, node: Node) -> tuple[str, dict[str, str]] | None:
        """Return what was noted of a node."""
        return self._keys.get(node)

    def lookup(self, node: Node, private: str) -> Trace | None:
        """Return what a node gave in the run that is continued, as an ordinary trace; None if nothing counts."""
        before = self._before
        if before is None:
            return None
        trace = self._storage.trace(private)
        if isinstance(trace, Miss) or trace.kind != PRIVATE:
            return None
        body = trace.details
        if not before.covers(body["run"]) and before.key_of(node.full_id) != private:
            return None
        return trace._replace(kind=body["was"])

    def why(self, node: Node, otherwise: str) -> str:
        """Return why a node runs that is not kept."""
        if self._before is not None and self._before.key_of(node.full_id):
            return f"changed since run {self._before.run}: its code or inputs"
        return otherwise

    def wrapped(
        self, trace: Trace, known: Known | None, plan: TaskPlan, counted: dict[str, str] | None
    ) -> Trace:
        """Return a trace as one that only a run which continues this one will look at."""
        body: dict[str, Any] = {
            "run": self._run,
            "was": trace.kind,
            "why": json.loads(stored_parts(plan, counted)),
        }
        if known is not None:
            body["parts"] = dict(known.parts)
            body["elements"] = {
                part or "": [list(ids), list(found)]
                for part, (ids, found) in known.elements.items()
            }
        return trace._replace(kind=PRIVATE, body=json.dumps(body, separators=(",", ":")))


class Stored:
    """What is stored, for other plugins; see ``services.Results``."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def flush(self, *, hurry: bool) -> None:
        """Wait until all that was kept so far is on disk (or was given up)."""
        self._storage.flush(hurry=hurry)

    def value(self, key: str) -> Handle | None:
        """Return a handle on the value under a key, or None if there is none."""
        try:
            trace = self._storage.traces.lookup(key)
        except StoreError:
            return None
        if isinstance(trace, Miss) or trace.blob is None:
            return None
        elements = trace.details.get("elements") if trace.body else None
        ids = {part or None: pair[0] for part, pair in elements.items()} if elements else None
        return Handle(partial(self._fetch, trace), elements=ids)

    def _fetch(self, trace: Trace) -> object:
        found = self._storage.value(trace)
        if isinstance(found, Miss):
            raise ValueMissing(str(found))
        return found.value
