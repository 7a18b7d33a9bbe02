"""Values that turn out to be gone or damaged when they are asked for after the run: the next run computes them again."""

from __future__ import annotations

import contextlib

from flowkit_plugins.cache.faults import Miss, StoreError
from flowkit_plugins.cache.packs import find
from flowkit_plugins.cache.storage import Storage
from flowkit_plugins.cache.traces import Trace

#: The kind of a trace whose value could not be had; its reason says why.
LOST = "lost"


def forget(storage: Storage, trace: Trace, why: Miss) -> None:
    """Note that the value of a trace cannot be had. Where nothing can be written, it stays as it is.

    Args:
        storage: Of a run that is over.
        trace: The trace.
        why: What is wrong with its value.
    """
    assert trace.blob is not None  # it was read
    if not storage.folder.exists():
        return  # all is gone
    with contextlib.suppress(StoreError):
        storage.traces.commit([trace._replace(kind=LOST, reason=why.reason, blob=None)])
        if find(trace.blob) is None:  # what shares a row with others is stored in another one next time
            storage.store.delete([trace.blob])  # else what is damaged in its buffers alone would be taken for whole
    storage.traces.close()
    storage.store.release()
