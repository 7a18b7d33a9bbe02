"""What is written down of a result: its trace, and the digests of its parts and elements."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from flowkit.clock import Clock
from flowkit.digests import Digest, FileMemory
from flowkit.elements import elements_of
from flowkit.filefacts import FileFact, digest_file
from flowkit.graph import BoundTask
from flowkit.inputs import part_of
from flowkit.reports import FILES, Attempt, RunInfo
from flowkit_plugins.cache import files as files_
from flowkit_plugins.cache.faults import Unstorable
from flowkit_plugins.cache.known import Known
from flowkit_plugins.cache.nested import ran_a_flow
from flowkit_plugins.cache.serializing import Dumped
from flowkit_plugins.cache.storage import Storage
from flowkit_plugins.cache.traces import Trace, trace_of


class Records:
    """Makes the traces of one run.

    Args:
        storage: Where values are brought into bytes, and copies of files are kept.
        root: The project's root.
        clock: The run's clock.
        constant: Returns the digest of a value.
    """

    def __init__(
        self, storage: Storage, root: Path, clock: Clock, constant: Callable[[object], str]
    ) -> None:
        self._storage = storage
        self._root = root
        self._clock = clock
        self._constant = constant
        self._sources: dict[BoundTask, set[str | None]] = {}
        self._memory = FileMemory()

    def begin(self, run: RunInfo, memory: FileMemory) -> None:
        """Note whose results are lists that others map over, and where digests of files are remembered."""
        self._memory = memory
        for task in run.graph.tasks:
            for element in task.elements:
                self._sources.setdefault(element.axis.source, set()).add(element.axis.part)

    def describe(self, task: BoundTask, value: object, hexed: str) -> Known:
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

    def traced(
        self, attempt: Attempt, key: str, known: Known, facts: Digest | None, note: str
    ) -> tuple[Trace, tuple[str, Dumped] | None]:
        """Return the trace of a result, and the blob of its value if it can be stored."""
        took = (attempt.ended_at or 0.0) - attempt.started_at
        blob: tuple[str, Dumped] | None = None
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
        files = files_.describe(self._files(attempt, facts), self._root)
        if files and (facts is None or not facts.holds_secret):
            files_.keep_copies(files, self._root, self._storage)
        now = self._clock.timestamp()
        trace: Trace = trace_of((
            key, attempt.unit.full_id, known.digest, None, kind, took, now, None, 0, int(now // 86400), note,
            json.dumps(files) if files else None, _body(known) if known.parts or known.elements else None,
        ))  # fmt: skip
        return trace, blob

    def _files(self, attempt: Attempt, facts: Digest | None) -> list[FileFact]:
        """Return what is known of the files of a result: those that it names, and those that were left besides."""
        found = {fact.path: fact for fact in facts.files} if facts is not None else {}
        if attempt.stash is not None:
            left: Any = attempt.stash.get(FILES, ())
            for path in left:
                if path not in found:
                    found[path] = digest_file(path, self._memory)
        return list(found.values())


def _body(known: Known) -> str:
    elements = {part or "": [list(ids), list(digests)] for part, (ids, digests) in known.elements.items()}
    return json.dumps({"parts": dict(known.parts), "elements": elements}, separators=(",", ":"))
