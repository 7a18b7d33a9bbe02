"""The thread that stores results: blobs first, then the traces that name them, in groups.

Handing a result over costs a microsecond. A group is closed after 50 ms or 256 results, at once
for an urgent one and at :meth:`Writer.flush`; what has piled up meanwhile comes along. A process
killed at any point loses at most the last group, and leaves no trace without its blob.

The first failure (disk full, database locked) is reported once, and nothing is written from then
on: a run never fails, or waits again, because its results cannot be kept.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

from flowkit.secrets import Mask
from flowkit_plugins.cache.faults import StoreError
from flowkit_plugins.cache.serializing import Dumped
from flowkit_plugins.cache.store import Store
from flowkit_plugins.cache.traces import Last, Trace, Traces

GROUP_SECONDS = 0.05
GROUP_RECORDS = 256
MOST_RECORDS = 1024
MOST_BYTES = 1 << 29


class _Record(NamedTuple):
    trace: Trace | None
    last: Last | None
    blob: tuple[str, Dumped] | None
    then: Callable[[], None] | None
    size: int


#: In a third of the time that the class itself takes.
_record_of: Any = partial(tuple.__new__, _Record)


def _nothing(_point: str) -> None:
    """Stand in for a hook that nobody wants."""


class Writer:
    """Stores results on a thread of its own, which starts with the first one.

    Args:
        store: Where blobs go.
        traces: Where traces go.
        on_failure: Called once, on the writer's thread, with the sentences of the failure.
        committed: Called on the writer's thread after each group, before whoever handed it over.
        at: Called at ``before_blob``, ``after_file``, ``after_blob``, ``before_record`` and
            ``after_record`` of each group: where a test ends the process.
        mask: Takes secrets out of what is recorded.
    """

    def __init__(
        self,
        store: Store,
        traces: Traces,
        *,
        on_failure: Callable[[str], None],
        committed: Callable[[], None] = lambda: None,
        at: Callable[[str], None] = _nothing,
        mask: Mask = str,
    ) -> None:
        self._store = store
        self._traces = traces
        self._on_failure = on_failure
        self._committed = committed
        self._at = at
        self._mask = mask
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._work = threading.Condition(self._lock)
        self._progress = threading.Condition(self._lock)
        self._pending: deque[_Record] = deque()
        self._bytes = 0
        self._taken = 0
        self._done = 0
        self._hurry = 0  # records up to this number are committed without waiting for more
        self._closing = False
        self.failure = ""

    def put(
        self,
        trace: Trace | None,
        last: Last | None = None,
        *,
        blob: tuple[str, Dumped] | None = None,
        urgent: bool = False,
        then: Callable[[], None] | None = None,
    ) -> None:
        """Hand over one result.

        Waits only where more than 512 MB of values are yet to be written.

        Args:
            trace: What to record; None for a node that is never looked up.
            last: What to remember of its node.
            blob: The value with its id; None if it is stored already, or never will be.
            urgent: Do not wait for company: the task took long, so that losing it would hurt.
            then: Called on the writer's thread once the result is stored, or was given up.
                Must not call the writer.
        """
        if self._mask is not str:
            trace = trace and trace.masked(self._mask)
            last = last and last.masked(self._mask)
        size = blob[1].size() if blob else 0
        record: _Record = _record_of((trace, last, blob, then, size))
        with self._lock:
            if self._thread is None and not self._start():
                if then is not None:
                    then()
                return
            while self._bytes + size > MOST_BYTES and self._bytes and not self.failure:
                self._hurry = self._taken
                self._work.notify()
                self._progress.wait()
            self._pending.append(record)
            self._bytes += size
            self._taken += 1
            if urgent:
                self._hurry = self._taken
            waiting = len(self._pending)
            if urgent or waiting == 1 or waiting == GROUP_RECORDS:
                self._work.notify()

    def flush(self, *, hurry: bool = True) -> bool:
        """Wait until everything handed over is on disk; False if writing has failed.

        Args:
            hurry: Close the group that is open now; else wait for its time to come.
        """
        with self._lock:
            target = self._taken
            if hurry:
                self._hurry = target
                self._work.notify()
            while self._done < target:
                self._progress.wait()
            return not self.failure

    def close(self) -> bool:
        """Flush and end the thread. Results handed over later start a new one."""
        written = self.flush()
        with self._lock:
            thread, self._thread = self._thread, None
            self._closing = True
            self._work.notify()
        if thread is not None:
            thread.join()
        return written

    def _start(self) -> bool:
        """Start the thread; False where the system has no more."""
        self._closing = False
        # A daemon: a process that forgets to close must still be able to end.
        thread = threading.Thread(target=self._work_off, name="flowkit-cache", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            if not self.failure:
                self.failure = str(error)
                self._on_failure(self.failure)
            return False
        self._thread = thread
        return True

    def _work_off(self) -> None:
        try:
            while group := self._next_group():
                if not self.failure:
                    self._write(group)
                for record in group:
                    if record.then is not None:
                        record.then()
                self._account(group)
        except BaseException as error:  # a callback's mistake must not leave flush() waiting
            with self._lock:
                told, self.failure = bool(self.failure), self.failure or repr(error)
                self._pending.clear()
                self._bytes, self._done, self._thread = 0, self._taken, None
                self._progress.notify_all()
            if not told:
                self._on_failure(self.failure)
        finally:
            self._store.release()

    def _next_group(self) -> list[_Record]:
        """Wait for a group to be complete; an empty one means the end."""
        with self._lock:
            while not self._pending:
                if self._closing:
                    return []
                self._work.wait()
            until = time.monotonic() + GROUP_SECONDS
            while self._done >= self._hurry and len(self._pending) < GROUP_RECORDS:
                left = until - time.monotonic()
                if left <= 0 or self._closing:
                    break
                self._work.wait(left)
            count = min(len(self._pending), MOST_RECORDS)
            return [self._pending.popleft() for _ in range(count)]

    def _write(self, group: Sequence[_Record]) -> None:
        try:
            self._at("before_blob")
            blobs = [record.blob for record in group if record.blob is not None]
            kept = iter(self._store.put_many(blobs, at=self._at) if blobs else ())
            self._at("after_blob")
            traces = [
                record.trace if record.blob is None else record.trace.stored_as(*next(kept))
                for record in group
                if record.trace is not None
            ]
            self._at("before_record")
            self._traces.commit(traces, [record.last for record in group if record.last])
            self._committed()
            self._at("after_record")
        except Exception as error:
            # Whatever it is, the thread must live on: flush() waits for it.
            self.failure = str(error) if isinstance(error, StoreError) else repr(error)
            self._on_failure(self.failure)

    def _account(self, group: Sequence[_Record]) -> None:
        with self._lock:
            self._done += len(group)
            self._bytes -= sum(record.size for record in group)
            self._progress.notify_all()
