"""What the cache keeps on disk, behind one door that never fails a run.

The first error (a full disk, somebody else's folder, a locked database) becomes one warning, and
from then on nothing is known and nothing is kept.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from functools import partial
from pathlib import Path
from typing import Any

from flowkit.digests import FileFact, FileMemory
from flowkit.reports import RunInfo
from flowkit.scheduler import Node
from flowkit.secrets import Mask
from flowkit_plugins.cache.code.source import SourceMemo
from flowkit_plugins.cache.faults import (
    BLOB_MISSING,
    BLOB_UNREADABLE,
    FORMAT_CHANGED,
    NO_RECORD,
    Miss,
    StoreError,
    Tampered,
)
from flowkit_plugins.cache.fingerprint import Fingerprint, Part
from flowkit_plugins.cache.packs import row_of
from flowkit_plugins.cache.ranges import Ranges, Right
from flowkit_plugins.cache.serializing import Dumped
from flowkit_plugins.cache.signing import signing_key
from flowkit_plugins.cache.store import Loaded, Store
from flowkit_plugins.cache.traces import Last, Trace, Traces
from flowkit_plugins.cache.writer import Writer

#: With no more traces than this it is worth knowing all their keys, so as not to ask for each.
MOST_KEYS = 200_000

_NEVER: Any = object()
_NO_TRACE = Miss(NO_RECORD)


class Storage:
    """Traces, values, memos and locks in one folder.

    Args:
        folder: ``.flowkit``, or what ``cache.dir`` says.
        on_mismatch: ``"warn"`` or ``"error"``.
        compression: ``"zlib"``, ``"zstd"``, ``"lz4"`` or None.
        at: Called at named points of writing; tests end the process there.

    Attributes:
        warnings: What could not be done, once each.
        works: Whether results are kept.
        loads: How many values were fetched.
    """

    def __init__(
        self,
        folder: Path,
        *,
        on_mismatch: Any = "warn",
        compression: str | None = None,
        at: Callable[[str], None] = lambda point: None,
    ) -> None:
        self.folder = folder
        self.warnings: list[str] = []
        self.works = True
        self.loads = 0
        self._options = (on_mismatch, compression, at)
        self._store: Store | None = None
        self._secret: bytes | None = None
        self._opening = threading.RLock()
        self.traces = Traces(folder / "traces.db")
        self._writer: Writer | None = None
        self._locks: Ranges | None = None
        self._keys: set[int] | None = set()
        self._row, self._stamp = 0, _NEVER
        self._mask: Mask = str
        self._known: dict[str, Trace] = {}
        self._fresh: dict[str, Trace] = {}
        self._lasts: dict[str, dict[str, Last]] = {}
        self._rows: set[str] | None = None
        self._code_read: dict[str, Mapping[str, Part] | None] = {}
        self._code_made: dict[str, Fingerprint] = {}
        self._memo: SourceMemo | None = None
        self._file_memo: dict[str, FileFact] = {}

    # Opening

    @property
    def secret(self) -> bytes:
        """The key under which secrets count, and values are signed."""
        if self._secret is None:
            with self._opening:
                if self._secret is None:
                    try:
                        self._secret = signing_key()
                    except StoreError as error:
                        self._fail(error)
                        self._secret = os.urandom(32)
        return self._secret

    @property
    def store(self) -> Store:
        """The blobs; opened when the first one is read or written."""
        if self._store is None:
            with self._opening:
                if self._store is None:
                    on_mismatch, compression, _ = self._options
                    self._store = Store(
                        self.folder / "results",
                        key=self.secret,
                        on_mismatch=on_mismatch,
                        compression=compression,
                        warn=self._warn,
                    )
        return self._store

    def begin(self, run: RunInfo) -> None:
        """Read what the flows' last runs left."""
        self._locks = Ranges(self.folder / "locks", run=run.id)
        self._mask = run.mask
        for flow in run.graph.flows:
            self._known.update(self._try(partial(self.traces.load_all, flow.path), {}))

    def _try(self, call: Callable[[], Any], otherwise: Any) -> Any:
        if not self.works:
            return otherwise
        try:
            return call()
        except StoreError as error:
            self._fail(error)
            return otherwise

    def _fail(self, error: StoreError | str) -> None:
        self.works = False
        self._warn(f"results are not persisted: {error}")

    def _warn(self, text: str) -> None:
        if text not in self.warnings:
            self.warnings.append(text)

    # Reading

    def at_hand(self, key: str) -> Trace | None:
        """Return the trace of a key if it was read or made already."""
        return self._fresh.get(key) or self._known.get(key)

    @property
    def recorded(self) -> Mapping[str, Trace]:
        """The traces that were read when the run began, by key."""
        return self._known

    @property
    def rows(self) -> AbstractSet[str]:
        """The names of all rows with values; they are read at once."""
        if self._rows is None:
            self._rows = set(self._try(self._row_names, ()))
        return self._rows

    def trace(self, key: str) -> Trace | Miss:
        """Return the trace of a key, or why there is none."""
        return self.at_hand(key) or self.find(key)

    def kept(self, key: str) -> Trace | Miss:
        """Return the trace of what this run stored, also if nothing more can be stored by now."""
        try:
            return self.at_hand(key) or self.traces.lookup(key)
        except StoreError as error:
            return Miss(NO_RECORD, error.what)

    def find(self, key: str) -> Trace | Miss:
        """Return the trace of a key as it is on disk now, or why there is none."""
        if not self.works:
            return Miss(NO_RECORD)
        # One stamp is asked for all keys at once: 20 µs each would be a third of a
        # node's time, and twice that while the writer is at work.
        stamp = self._locks.stamp() if self._locks is not None else None
        if stamp is None:
            stamp = self._try(self.traces.stamp, None)
        if stamp != self._stamp:
            self._try(self._take_in_keys, None)
            self._stamp = stamp  # not before: another thread would take the keys for read
        if self._keys is not None and hash(key) not in self._keys:
            return Miss(FORMAT_CHANGED, "written by another version of flowkit") if self.traces.foreign else _NO_TRACE
        answer: Trace | Miss = self._try(partial(self.traces.lookup, key), _NO_TRACE)
        if isinstance(answer, Trace):
            self._known[key] = answer
            if answer.blob is not None and self._rows is not None and row_of(answer.blob) not in self._rows:
                self._rows = None  # it was written after they were read
        return answer

    def _take_in_keys(self) -> None:
        """Note the keys written since the last time."""
        if self._keys is None:
            return
        if self._row == 0 and self.traces.count() > MOST_KEYS:
            self._keys = None
            return
        row, keys = self.traces.keys_after(self._row)
        self._keys.update(map(hash, keys))
        self._row = row  # not before: as above

    def last(self, node: Node) -> Last | None:
        """Return the last success of a node, whatever its key."""
        path = node.task.flow.path
        found = self._lasts[path] if path in self._lasts else self._last_of(path)
        return found.get(self._mask(node.id)) if found else None  # on a first run there are none

    def _last_of(self, path: str) -> dict[str, Last]:
        found = self._lasts.get(path)
        if found is None:
            found = self._lasts[path] = self._try(lambda: self.traces.last(path), {})
        return found

    def took(self, node: str) -> float | None:
        """Return the seconds a node (full id) took the last time; see ``services.Before``."""
        path, _, name = node.rpartition("::")
        found = self._last_of(path).get(self._mask(name))
        return found.took if found is not None else None

    def count(self, task: str) -> int:
        """Return how many elements a mapped task had the last time; see ``services.Before``."""
        path, _, name = task.rpartition("::")
        return sum(1 for node in self._last_of(path) if node.startswith(f"{name}["))

    def holds(self, blob: str, *, whole: bool = False) -> bool:
        """Whether there is a row for a blob; if it is to be whole, the file of one that has its own, too."""
        return row_of(blob) in self.rows and (not whole or self._try(lambda: self.store.contains(blob, whole=True), True))

    def _row_names(self) -> Iterable[str]:
        return self.store.rows()

    def value(self, trace: Trace) -> Loaded | Miss:
        """Fetch a value."""
        blob = trace.blob
        if blob is None:
            return Miss(BLOB_MISSING)
        self.loads += 1
        try:  # though nothing more may be written: what is there is there
            return self.store.get(blob)
        except Tampered:
            raise
        except StoreError as error:
            return Miss(BLOB_UNREADABLE, error.what)

    def code_parts(self, fingerprint: str) -> Mapping[str, Part] | None:
        """Return the pieces of code behind a fingerprint of an earlier run."""
        if fingerprint not in self._code_read:
            text = self._try(lambda: self.traces.memo("code", fingerprint), None)
            self._code_read[fingerprint] = Fingerprint.from_json(json.loads(text)).parts if text else None
        return self._code_read[fingerprint]

    def source_memo(self) -> SourceMemo:
        """Return the hashes of definitions seen by earlier runs."""
        if self._memo is None:
            texts = self._try(lambda: self.traces.memos("source"), {})
            self._memo = SourceMemo.from_json(texts["all"]) if "all" in texts else SourceMemo()
        return self._memo

    def file_facts(self) -> dict[str, FileFact]:
        """Return what earlier runs know of files."""
        texts = self._try(lambda: self.traces.memos("files"), {})
        try:
            facts = {f["path"]: FileFact(**f) for f in json.loads(texts.get("all", "[]"))}
        except (ValueError, TypeError, KeyError):
            facts = {}
        self._file_memo = dict(facts)
        return facts

    # Writing

    def dump(self, value: object) -> Dumped:
        """Return a value in bytes.

        Raises:
            Unstorable: It does not pickle.
        """
        return self.store.dump(value)

    def put(
        self,
        trace: Trace | None,
        last: Last | None,
        blob: tuple[str, Dumped] | None,
        code: Fingerprint | None,
        *,
        urgent: bool,
        then: Callable[[], None] | None,
    ) -> None:
        """Hand over one result to be written."""
        if not self.works:
            if then is not None:
                then()
            return
        if trace is not None:
            self._fresh[trace.key] = trace
            self._known.pop(trace.key, None)
        if code is not None and len(code.parts) > 1:  # what reaches nothing is explained by its hash alone
            self._code_made[code.hex] = code
        if self._writer is None:
            with self._opening:  # several workers keep their first result at once
                if self._writer is None:
                    self._prepare()
                    self._writer = Writer(
                        self.store, self.traces, on_failure=self._fail, committed=self._committed(),
                        at=self._options[2], mask=self._mask,
                    )  # fmt: skip
        self._writer.put(trace, last, blob=blob, urgent=urgent, then=then)

    def settled(self, key: str) -> bool:
        """Let go of a trace that is on disk, and will be found there; False if it never got there."""
        if self.works:
            self._fresh.pop(key, None)
        return self.works

    def _committed(self) -> Callable[[], None]:
        """Return what tells other runs of a commit."""
        if self._locks is None:
            return lambda: None
        self._try(self._locks.open, None)
        return self._locks.committed

    def _prepare(self) -> None:
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            ignore = self.folder / ".gitignore"
            if not ignore.exists():
                ignore.write_text("*\n")
        except OSError as error:
            self._fail(f"{self.folder} cannot be made: {error.strerror}")

    def keep_copy(self, digest: str, content: bytes) -> None:
        """Keep the content of a file."""
        self._try(lambda: self.store.put(f"f-{digest}", self.store.dump(content)), None)

    def copy(self, digest: str) -> bytes | None:
        """Return the content of a file, or None."""
        found = self._try(lambda: self.store.get(f"f-{digest}"), Miss(BLOB_MISSING))
        value = found.value if isinstance(found, Loaded) else None
        return value if isinstance(value, bytes) else None

    @property
    def wrote(self) -> bool:
        """Whether anything new was kept."""
        return self._writer is not None and self.works

    def end(self, used: list[Trace], files: FileMemory, *, day: int) -> None:
        """Write what is left, and what the next run can make use of; ``day`` is today's number."""
        if self._writer is not None:
            self._writer.close()
            self._try(self._remember_code, None)
        memo = self._memo
        if memo is not None and memo.changed and self.works and (self._writer or self._known):
            self._try(lambda: self.traces.remember("source", {"all": memo.to_json()}), None)
        if files.facts != self._file_memo and self.works and (self._writer or self._known):
            from dataclasses import asdict  # seldom: most runs take no files, or none that changed

            text = json.dumps([asdict(fact) for fact in files.facts.values()])
            self._try(lambda: self.traces.remember("files", {"all": text}), None)
        if used:
            self._try(lambda: self.traces.touch(used, day), None)

    def _remember_code(self) -> None:
        self.traces.remember("code", {name: json.dumps(code.to_json()) for name, code in self._code_made.items()})
        self._code_made.clear()

    def flush(self, *, hurry: bool = True) -> None:
        """Wait until all that was handed over is on disk, or was given up."""
        if self._writer is not None:
            self._writer.flush(hurry=hurry)

    def close(self) -> None:
        """Let go of files."""
        if self._writer is not None:
            self._writer.close()
        if self._locks is not None:
            self._locks.close()
        if self._store is not None:
            self._store.close()
        self.traces.close()

    # Once at a time

    def claim(self, key: str) -> tuple[Right | None, str | None]:
        """Return the right to compute a key, or who has it; (None, None) where nobody can tell."""
        if not self.works or self._locks is None:
            return None, None
        try:
            right = self._locks.try_acquire(key)
            return right, None if right is not None else self._locks.owner(key)
        except StoreError as error:
            self._fail(error)
            return None, None
