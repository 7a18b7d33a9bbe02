"""A store in memory, with the cache's own storage, writer, serializer and signatures above it.

Only what lies on disk is replaced: :class:`Disk` is what survives a simulated crash. Values are
kept in bytes, so that cold and warm differ as they do on disk; and what is written is written at
once, in the thread that hands it over, in the order in which the writer does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowkit.reports import current_attempt
from flowkit_plugins.cache import serializing
from flowkit_plugins.cache.faults import (
    BLOB_MISSING,
    NO_RECORD,
    SIGNATURE_MISMATCH,
    Damaged,
    Miss,
    StoreError,
    Unstorable,
)
from flowkit_plugins.cache.serializing import Dumped
from flowkit_plugins.cache.signing import SIGNATURE_BYTES, sign
from flowkit_plugins.cache.storage import Storage
from flowkit_plugins.cache.store import Kept, Loaded
from flowkit_plugins.cache.traces import Last, Trace
from flowkit_plugins.cache.writer import Writer

if TYPE_CHECKING:
    from flowkit.reports import RunInfo
    from flowkit.testing.world import World

_KEY = b"k" * 32


@dataclass(slots=True)
class Disk:
    """What outlives a process.

    Attributes:
        blobs: Id → signature, header, stream and buffers.
        traces, lasts, memos: As in the traces' tables.
        leases: Key → who computes it.
        log: The keys in the order in which they were recorded.
    """

    blobs: dict[str, bytes] = field(default_factory=dict)
    traces: dict[str, Trace] = field(default_factory=dict)
    lasts: dict[tuple[str, str], Last] = field(default_factory=dict)
    memos: dict[str, dict[str, str]] = field(default_factory=dict)
    leases: dict[str, object] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)

    def lose_blobs(self) -> None:
        """Delete every value; the traces stay."""
        self.blobs.clear()


class MemoryStore:
    """Blobs in memory: the part of ``Store`` that a run uses."""

    def __init__(self, disk: Disk, world: World) -> None:
        self.disk = disk
        self._world = world
        self.damages = False

    def dump(self, value: object) -> Dumped:
        """Return a value in bytes."""
        return serializing.dump(value)

    def put(self, blob_id: str, dumped: Dumped) -> Kept:
        """Keep one blob."""
        return self.put_many([(blob_id, dumped)])[0]

    def put_many(
        self, blobs: Sequence[tuple[str, Dumped]], *, at: Callable[[str], None] = lambda point: None
    ) -> list[Kept]:
        """Keep blobs."""
        self._world.store_operation("put")
        at("after_file")
        kept = []
        for blob_id, dumped in blobs:
            signature = sign(_KEY, blob_id, dumped.header, dumped.stream)
            data = b"".join((signature, *dumped.pieces(SIGNATURE_BYTES)))
            if self.damages:
                data = bytes([data[0] ^ 1]) + data[1:]
            old = self.disk.blobs.get(blob_id)
            if old is None or self.damages or not self._sound(blob_id, old):
                self.disk.blobs[blob_id] = data
            kept.append(Kept(blob_id, len(data)))
        return kept

    def _layout(self, blob_id: str, data: bytes) -> serializing.Layout:
        layout = serializing.parse(memoryview(bytearray(data)), offset=SIGNATURE_BYTES)
        if sign(_KEY, blob_id, layout.header, layout.stream) != data[:SIGNATURE_BYTES]:
            raise Damaged(SIGNATURE_MISMATCH)
        return layout

    def _sound(self, blob_id: str, data: bytes) -> bool:
        try:
            self._layout(blob_id, data)
        except Damaged:
            return False
        return True

    def get(self, blob_id: str) -> Loaded | Miss:
        """Read a value back."""
        self._world.store_operation("read")
        data = self.disk.blobs.get(blob_id)
        if data is None:
            return Miss(BLOB_MISSING)
        try:
            layout = self._layout(blob_id, data)
            serializing.check_buffers(layout)
            return Loaded(serializing.restore(layout), len(data))
        except Damaged as damage:
            return Miss(damage.reason, damage.detail)

    def contains(self, blob: str, *, whole: bool = False) -> bool:
        """Whether there is such a blob."""
        return blob in self.disk.blobs

    def sizes(self) -> dict[str, int]:
        """Return the size of every blob."""
        return {name: len(data) for name, data in self.disk.blobs.items()}

    def rows(self) -> list[str]:
        """Return the id of every blob."""
        return list(self.disk.blobs)

    def release(self) -> None:
        """Nothing to let go."""

    close = release


class MemoryTraces:
    """Traces in memory: the part of ``Traces`` that a run uses."""

    def __init__(self, disk: Disk, world: World) -> None:
        self.disk = disk
        self._world = world

    foreign = False

    def stamp(self) -> tuple[int, int]:
        """Return what changes with each commit."""
        return len(self.disk.log), 0

    def count(self) -> int:
        """Return how many keys there are."""
        return len(self.disk.traces)

    def keys_after(self, row: int) -> tuple[int, list[str]]:
        """Return the keys recorded after a row, and the last row."""
        return len(self.disk.log), self.disk.log[row:]

    def memo(self, kind: str, name: str) -> str | None:
        """Return one text that was remembered."""
        return self.disk.memos.get(kind, {}).get(name)

    def lookup(self, key: str) -> Trace | Miss:
        """Return the trace of a key."""
        return self.disk.traces.get(key, Miss(NO_RECORD))

    def lookup_many(self, keys: Iterable[str]) -> dict[str, Trace]:
        """Return the traces of several keys."""
        return {key: self.disk.traces[key] for key in keys if key in self.disk.traces}

    def load_all(self, flow: str) -> dict[str, Trace]:
        """Return what the nodes of a flow last gave, by key."""
        keys = [last.key for (path, _), last in self.disk.lasts.items() if path == flow]
        return self.lookup_many(keys)

    def last(self, flow: str) -> dict[str, Last]:
        """Return the last success of each node of a flow."""
        return {node: last for (path, node), last in self.disk.lasts.items() if path == flow}

    def memos(self, kind: str) -> dict[str, str]:
        """Return what was remembered of one kind."""
        return dict(self.disk.memos.get(kind, {}))

    def commit(self, traces: Sequence[Trace], lasts: Sequence[Last] = ()) -> None:
        """Keep traces."""
        self._world.store_operation("record")
        self.disk.traces.update((trace.key, trace) for trace in traces)
        self.disk.log.extend(trace.key for trace in traces)
        self.disk.lasts.update(((last.flow, last.node), last) for last in lasts)

    def touch(self, traces: Iterable[Trace], day: int) -> int:
        """Note that traces were used."""
        stale = [trace for trace in traces if trace.used < day and trace.key in self.disk.traces]
        self.disk.traces.update((trace.key, trace._replace(used=day)) for trace in stale)
        return len(stale)

    def remember(self, kind: str, memos: Mapping[str, str]) -> None:
        """Keep texts by kind and name."""
        self.disk.memos.setdefault(kind, {}).update(memos)

    def forget(self, keys: Iterable[str]) -> None:
        """Remove traces."""
        for key in keys:
            self.disk.traces.pop(key, None)

    def close(self) -> None:
        """Nothing to close."""


class PromptWriter(Writer):
    """Writes what it is given at once, one by one, where it is handed over."""

    def __init__(self, store: MemoryStore, traces: MemoryTraces, world: World, on_failure: Callable[[str], None]) -> None:
        store_, traces_ = store, traces
        super().__init__(store_, traces_, on_failure=on_failure, at=self._passed)  # type: ignore[arg-type]  # their shape
        self._memory = store
        self._world = world
        self._node = ""

    def _passed(self, point: str) -> None:
        self._world.point(point, self._node)

    def put(
        self,
        trace: Trace | None,
        last: Last | None = None,
        *,
        blob: tuple[str, Dumped] | None = None,
        urgent: bool = False,
        then: Callable[[], None] | None = None,
    ) -> None:
        """Write one result now."""
        from flowkit_plugins.cache.writer import _Record

        self._node = trace.node.rpartition("::")[2] if trace is not None else last.node if last is not None else "*"
        self._memory.damages = self._world.corrupts(self._node)
        try:
            if not self.failure:
                self._write([_Record(trace, last, blob, then, 0)])
        finally:
            self._memory.damages = False
        if then is not None:
            then()

    def flush(self, *, hurry: bool = True) -> bool:
        """All is written already."""
        return not self.failure

    def close(self) -> bool:
        """No thread to end."""
        return not self.failure


class _Lease:
    """The right to compute a key."""

    def __init__(self, disk: Disk, key: str) -> None:
        self._disk = disk
        self._key = key

    def release(self) -> None:
        """Let others have the key."""
        if self._disk.leases.get(self._key) is self:
            del self._disk.leases[self._key]


class MemoryStorage(Storage):
    """The cache's storage on a :class:`Disk`, in one simulated process."""

    def __init__(self, disk: Disk, world: World) -> None:
        super().__init__(Path("memory"))
        self.disk = disk
        self._world = world
        self._held: list[_Lease] = []
        self._secret = _KEY
        self._store = MemoryStore(disk, world)  # type: ignore[assignment]  # the part of it that a run uses
        self.traces = MemoryTraces(disk, world)  # type: ignore[assignment]  # likewise
        world.storage = self

    def begin(self, run: RunInfo) -> None:
        """Read what the last runs left."""
        self._run = run.id
        for flow in run.graph.flows:
            self._known.update(self.traces.load_all(flow.path))

    @property
    def wrote(self) -> bool:
        """Nothing that would have to be swept."""
        return False

    def dump(self, value: object) -> Dumped:
        """Return a value in bytes, unless the plan says that it has none."""
        attempt = current_attempt()
        if attempt is not None and self._world.befalls("unpicklable", attempt):
            raise Unstorable("a fault plan says so", path="value")
        return super().dump(value)

    def put(self, trace: Trace | None, last: Last | None, *rest: Any, **keywords: Any) -> None:
        """Hand over one result."""
        if self._writer is None:
            store: Any = self._store
            traces: Any = self.traces
            self._writer = PromptWriter(store, traces, self._world, self._fail)
        super().put(trace, last, *rest, **keywords)

    def claim(self, key: str) -> tuple[Any, str | None]:
        """Return the right to compute a key, or who has it."""
        try:
            self._world.store_operation("lease")
        except StoreError as error:
            self._fail(error)
        if not self.works:
            return None, None
        if key in self.disk.leases:
            return None, "another run"
        lease = _Lease(self.disk, key)
        self.disk.leases[key] = lease
        self._held.append(lease)
        self._world.point("holding_lease", "*")
        return lease, None

    def cut(self) -> None:
        """The process is gone: its locks are free, and nothing it does reaches the disk any more."""
        for lease in self._held:
            lease.release()
        nowhere = Disk()
        self.disk = nowhere
        self._store.disk = self.traces.disk = nowhere  # type: ignore[union-attr,attr-defined]  # ours

    def close(self) -> None:
        """Nothing to close."""
