"""``flowkit cache verify`` and ``clear``: find what is damaged, and start afresh."""

from __future__ import annotations

import secrets
import shutil

from flowkit.errors import FlowkitError
from flowkit.records import field, record
from flowkit_plugins.cache.faults import SIGNATURE_MISMATCH
from flowkit_plugins.cache.gc import remove, rows_of
from flowkit_plugins.cache.packs import find, row_of
from flowkit_plugins.cache.shelf import Shelf
from flowkit_plugins.cache.traces import Trace


@record(frozen=True)
class Bad:
    """A damaged blob.

    Attributes:
        name: Its id.
        problem: What is wrong with it.
        reason: The same, as one of the store's reasons.
        nodes: Those whose results it holds.
        keys: Their records.
    """

    name: str
    problem: str
    reason: str
    nodes: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()


@record()
class Found:
    """What reading everything brought to light."""

    read: int = 0
    bytes: int = 0
    bad: list[Bad] = field(factory=list)


def look(shelf: Shelf) -> Found:
    """Read every value that a record names, and every row; check signatures and checksums.

    Nothing is unpickled. Records come first, so the value of each is there unless it is lost.
    """
    users: dict[str, list[Trace]] = {}
    for trace in shelf.traces.known().values():
        for row in rows_of(trace):
            if trace.blob is None or row != row_of(trace.blob):
                users.setdefault(row, [])  # a copy of a file: nothing hangs on it
        if trace.blob is not None:
            users.setdefault(trace.blob, []).append(trace)
    sizes = shelf.rows.sizes()
    found = Found(bytes=sum(sizes.values()))
    packs = {row_of(name) for name in users if find(name) is not None}
    for name in dict.fromkeys([*users, *(row for row in sizes if row not in packs)]):
        traces = users.get(name, [])
        if name not in sizes and find(name) is None and not traces:
            continue  # a file that was too large to be copied
        if name not in users and name.startswith("pack-"):
            continue  # a pack that no record names any more: nobody can tell its members apart
        found.read += 1
        problem = shelf.blobs.check(name)
        if problem is not None:
            nodes = tuple(trace.node for trace in traces)
            keys = tuple(trace.key for trace in traces)
            found.bad.append(Bad(name, str(problem), problem.reason, nodes, keys))
    return found


def delete(shelf: Shelf, found: Found) -> None:
    """Remove damaged values and the records that name them.

    Raises:
        FlowkitError: Everything is signed with another key: then the key is wrong, not the values.
    """
    if len(found.bad) == found.read and all(b.reason == SIGNATURE_MISMATCH for b in found.bad):
        raise FlowkitError(
            "nothing was removed: every value here is signed with another key than yours\n"
            "  Set FLOWKIT_CACHE_KEY as it was when they were written, or flowkit cache clear."
        )
    keys = [key for bad in found.bad for key in bad.keys]
    rows = {row_of(bad.name) for bad in found.bad}
    remove(shelf, keys, rows)
    # A copy of a file is named by records that stay: it goes all the same.
    shelf.rows.delete(bad.name for bad in found.bad if bad.name.startswith("f-"))


def clear_all(shelf: Shelf) -> None:
    """Remove all results, whatever state the store is in. Other files in its folder stay.

    The parts are moved aside first: who has them open goes on with what is then nobody's, and who
    opens the store from now on finds a new one.

    Raises:
        FlowkitError: They cannot be removed.
    """
    aside = shelf.folder / f".gone-{secrets.token_hex(4)}"
    try:
        aside.mkdir(mode=0o700)
        for name in ("results", "traces.db-wal", "traces.db-shm", "traces.db", "locks"):
            part = shelf.folder / name
            if part.exists() or part.is_symlink():
                part.rename(aside / name)
        shutil.rmtree(aside)
    except OSError as error:
        raise FlowkitError(
            f"{shelf.place} cannot be cleared: {error.strerror or error}\n  Check its permissions, or remove it yourself."
        ) from error
