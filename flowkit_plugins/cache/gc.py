"""Mark and sweep: which results are kept, and how the others go.

Never touched: what is pinned, and what a kept run needs to be resumed, or still runs with. Of the
rest go, in this order, records whose value is gone; all but the last ``keep_last`` results of each
node; what was not used for ``max_age``; and then what was not used for the longest time, until the
store is below ``max_size``. What is younger than an hour does not go for its size, nor does a value
of that age that no record names: its run may be about to write one.

Records go before values. A run that stores a result at the very moment at which the same old
value is swept is left with a record without a value: a miss, which the next run mends.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from flowkit.records import field, record
from flowkit_plugins.cache.packs import row_of
from flowkit_plugins.cache.shelf import Shelf, task_of
from flowkit_plugins.cache.traces import Trace

if TYPE_CHECKING:
    from flowkit.session import Session

HOUR = 3600.0
DAY = 86400.0

#: After a run the store may be larger than ``max_size`` by this factor before anything is swept.
TOLERANCE = 1.1


@record(frozen=True)
class Policy:
    """What the settings say.

    Attributes:
        max_size: Bytes, or None for no limit.
        max_age: Seconds without use, or None for no limit. A use is known by its day.
        keep_last: How many results of each node are kept.
    """

    max_size: int | None = None
    max_age: float | None = None
    keep_last: int = 3


@record()
class Kept:
    """What is in the store.

    Attributes:
        traces: All records.
        sizes: Row → bytes.
        written: Row → when, in seconds since the epoch.
        foreign: Rows that another version of flowkit has records of.
    """

    traces: Sequence[Trace]
    sizes: Mapping[str, int]
    written: Mapping[str, float] = field(factory=dict)
    foreign: frozenset[str] = frozenset()


@record(frozen=True)
class Marked:
    """What shall go.

    Attributes:
        traces: Records.
        rows: Rows of values.
        stays: Records that stay.
        before, after: Bytes of all values.
    """

    traces: tuple[Trace, ...]
    rows: frozenset[str]
    stays: tuple[Trace, ...]
    before: int
    after: int


@record(frozen=True)
class Swept:
    """What went besides what was marked.

    Attributes:
        files: Files that no row named.
        bytes: Their size.
        locks: Locks that killed runs left.
    """

    files: int
    bytes: int
    locks: int


def rows_of(trace: Trace) -> set[str]:
    """Return the rows that a record needs: that of its value, and the copies of its files."""
    return _rows(trace.blob, trace.files)


def _rows(blob: str | None, files: str | None) -> set[str]:
    rows = {row_of(blob)} if blob else set()
    if files:
        rows.update(f"f-{file['digest']}" for file in json.loads(files))
    return rows


def mark(kept: Kept, policy: Policy, needed: Iterable[str], now: float) -> Marked:
    """Return what shall go.

    Args:
        kept: What is in the store.
        policy: What the settings say.
        needed: Keys that must not go.
        now: Seconds since the epoch.
    """
    safe = set(needed)
    young = {trace.key for trace in kept.traces if trace.created > now - HOUR}
    going: set[str] = set()
    newest_first = sorted(kept.traces, key=lambda t: (t.used, t.created), reverse=True)
    count: Counter[str] = Counter()
    for trace in newest_first:
        lost = _lost(trace, kept.sizes)
        if trace.key in safe or (lost and trace.key in young):
            count[trace.node] += not lost  # without its value it is no result
        elif lost or _unused(trace, policy, now):
            going.add(trace.key)
        else:
            count[trace.node] += 1
            if count[trace.node] > policy.keep_last:
                going.add(trace.key)
    left = [trace for trace in newest_first if trace.key not in going]
    held = _held(kept, now)
    if policy.max_size is not None:
        going |= _too_much(left, safe | young, kept, held, policy.max_size)
    stays = tuple(trace for trace in kept.traces if trace.key not in going)
    live = _live(stays, kept, held)
    rows = frozenset(kept.sizes.keys() - live)
    before = sum(kept.sizes.values())
    return Marked(
        traces=tuple(trace for trace in kept.traces if trace.key in going),
        rows=rows,
        stays=stays,
        before=before,
        after=before - sum(kept.sizes[row] for row in rows),
    )


def _lost(trace: Trace, sizes: Mapping[str, int]) -> bool:
    return trace.blob is not None and row_of(trace.blob) not in sizes


def _unused(trace: Trace, policy: Policy, now: float) -> bool:
    if policy.max_age is None:
        return False
    # The day of the last use is known, not the hour: it may have been the last of that day.
    last = trace.created if trace.used <= trace.created // DAY else (trace.used + 1) * DAY
    return now - last > policy.max_age


def _too_much(
    newest_first: Sequence[Trace], safe: set[str], kept: Kept, held: set[str], most: int
) -> set[str]:
    """Return the keys that have to go for the rest to fit: those unused for longest."""
    users: Counter[str] = Counter()
    for trace in newest_first:
        users.update(rows_of(trace) & kept.sizes.keys())
    size = sum(kept.sizes[row] for row in _live(newest_first, kept, held))
    going: set[str] = set()
    for trace in reversed(newest_first):
        if size <= most:
            break
        rows = rows_of(trace) & kept.sizes.keys()
        if trace.key in safe or not rows:
            continue
        going.add(trace.key)
        users.subtract(rows)
        size -= sum(kept.sizes[row] for row in rows - held if not users[row])
    return going


def _held(kept: Kept, now: float) -> set[str]:
    """Return the rows that stay in any case: others' ones, and young ones that may get their record any moment."""
    young = {row for row, written in kept.written.items() if written > now - HOUR}
    if young:
        for trace in kept.traces:
            young -= rows_of(trace)
    return young | kept.foreign


def _live(traces: Iterable[Trace], kept: Kept, held: set[str]) -> set[str]:
    """Return the rows that stay if ``traces`` do."""
    live = set(held)
    for trace in traces:
        live |= rows_of(trace)
    return live & kept.sizes.keys()


def look(shelf: Shelf) -> Kept:
    """Return what is in a store. Records first: each one's value is then found among the rows."""
    traces = list(shelf.traces.known().values())
    foreign = frozenset(row for blob, files in shelf.traces.strangers() for row in _rows(blob, files))
    return Kept(traces, shelf.rows.sizes(), shelf.rows.written(), foreign)


def policy_of(shelf: Shelf) -> Policy:
    """Return what the settings say."""
    return Policy(shelf.setting("max_size"), shelf.setting("max_age"), shelf.setting("keep_last"))


def sweep(shelf: Shelf, marked: Marked) -> Swept:
    """Remove what is marked, files that no row names, and locks that killed runs left."""
    remove(shelf, [trace.key for trace in marked.traces], marked.rows)
    files = shelf.rows.sweep(now=shelf.now, older_than=HOUR)
    locks = shelf.flights.sweep(now=shelf.now, older_than=HOUR)
    return Swept(files.files, files.bytes, locks)


def remove(shelf: Shelf, keys: Sequence[str], rows: Iterable[str]) -> None:
    """Forget records; then remove those of ``rows`` that no record has come to need meanwhile."""
    if keys:
        shelf.traces.forget(keys)
    doomed = set(rows)
    if doomed:
        for trace in shelf.traces.everything():
            doomed -= rows_of(trace)
        shelf.rows.delete(doomed)


def after_run(session: Session) -> None:
    """Sweep if a run has left the store larger than ``max_size`` by a tenth. Never fails a run."""
    policy = session.settings["cache.max_size"]
    if policy is None:
        return
    shelf = Shelf(session)
    try:
        if sum(shelf.rows.sizes().values()) > TOLERANCE * policy:
            sweep(shelf, mark(look(shelf), policy_of(shelf), shelf.needed(), shelf.now))
    except (
        Exception
    ):  # the run is over and told: a store that cannot be swept is the next one's trouble
        return
    finally:
        shelf.close()


def by_task(traces: Iterable[Trace]) -> dict[str, tuple[int, int]]:
    """Return task → (results, bytes); a value that several records share counts once."""
    found: dict[str, tuple[int, int]] = {}
    seen: set[str] = set()
    for trace in traces:
        count, size = found.get(task_of(trace.node), (0, 0))
        if trace.blob is not None and trace.blob not in seen:
            seen.add(trace.blob)
            size += trace.size
        found[task_of(trace.node)] = (count + 1, size)
    return found
