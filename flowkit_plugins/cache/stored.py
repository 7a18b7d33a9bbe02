"""``stored("m.py::task")``: a result of the last run, in Python, without running anything.

::

    python -c 'from flowkit_plugins.cache.stored import stored; print(stored("m.py::total"))'
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from flowkit import imports
from flowkit.errors import FlowkitError
from flowkit_plugins.cache.faults import Miss
from flowkit_plugins.cache.shelf import Entry, Shelf, opened


def stored(node: str) -> Any:
    """Return what a node gave when it last ran well.

    Args:
        node: ``m.py::task``, or ``m.py::task[id]`` for an element of a mapped task. The path is
            taken from the current folder, else from the project's root.

    Raises:
        SelectionError: No result is kept of it.
        FlowkitError: It was not stored, or cannot be read.
    """
    with opened(node) as shelf:
        return fetch(shelf, shelf.one(node))


def fetch(shelf: Shelf, entry: Entry) -> Any:
    """Return the value of an entry; its flow's folder can be imported from meanwhile.

    Raises:
        FlowkitError: It was not stored, or cannot be read.
    """
    trace = entry.trace
    assert trace is not None  # Shelf.one saw to it
    if trace.kind == "skipped":
        raise FlowkitError(
            f"{entry.node} has no value: it was skipped ({trace.reason or 'no reason given'})"
        )
    if trace.blob is None:
        raise FlowkitError(
            f"the value of {entry.node} was not stored: {trace.reason or 'it is gone'}"
        )
    folder, _ = imports.top_of_package((shelf.root / entry.last.flow).resolve())
    with _importable(folder):
        found = shelf.blobs.get(trace.blob)
    if isinstance(found, Miss):
        raise FlowkitError(
            f"the value of {entry.node} cannot be read: {found}\n"
            f"  Compute it again: flowkit run {entry.task} --refresh={entry.last.node.partition('[')[0]}"
        )
    return found.value


def _importable(folder: Path) -> contextlib.AbstractContextManager[None]:
    return imports.importable(str(folder)) if folder.is_dir() else contextlib.nullcontext()
