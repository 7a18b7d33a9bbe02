"""A project's stored results as ``flowkit cache`` sees them: found by node, and read as they are.

In a run the store's faults become warnings (:mod:`.storage`). Here they are what the user asked
about: every method raises :class:`StoreError`, and :func:`opened` says it as an error.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from flowkit.errors import FlowkitError, SelectionError, did_you_mean, listing, nearest
from flowkit.services import Needs
from flowkit_plugins.cache.faults import Damaged, Miss, StoreError
from flowkit_plugins.cache.flights import Flights
from flowkit_plugins.cache.places import DATABASE
from flowkit_plugins.cache.serializing import check_buffers
from flowkit_plugins.cache.signing import signing_key
from flowkit_plugins.cache.store import Store
from flowkit_plugins.cache.traces import FORMAT, Last, Trace, Traces

if TYPE_CHECKING:
    from flowkit.session import Session

#: Seconds that a command waits for another process that writes.
PATIENCE = 5.0

_MOST_COMPARED = 2000
_DIGITS = re.compile(r"(\d+)")


class Records(Traces):
    """Traces, with the questions that only tidying up has."""

    def lasts(self) -> list[Last]:
        """Return the last success of every node of every flow, elements in natural order."""
        rows = self._select(f"SELECT {', '.join(Last._fields)} FROM last")
        self._readable()
        return sorted((Last(*row) for row in rows), key=lambda one: natural(full_id(one)))

    def known(self) -> dict[str, Trace]:
        """Return all traces by key."""
        found = {trace.key: trace for trace in self.everything()}
        self._readable()
        return found

    def strangers(self) -> list[tuple[str | None, str | None]]:
        """Return blob and files of the traces that another version of flowkit wrote."""
        return self._select("SELECT blob, files FROM traces WHERE format != ?", (FORMAT,))

    def _readable(self) -> None:
        if self.foreign:
            raise StoreError(
                f"{self.file} was written by another version of flowkit",
                known="Nothing in it can be read, and nothing was touched.",
                remedy="Use that version, or start afresh with `flowkit cache clear`.",
            )


class Blobs(Store):
    """The store, with the questions that only tidying up has."""

    def check(self, blob: str) -> Miss | None:
        """Read a blob whole; return what is wrong with it, or None. Nothing is unpickled.

        Raises:
            StoreError: The database is damaged or locked, which says nothing about the blob.
        """
        try:
            check_buffers(self._verified(blob, self._data(blob)))
        except Damaged as damage:
            if isinstance(damage.__cause__, StoreError):
                raise damage.__cause__ from None
            return Miss(damage.reason, damage.detail)
        return None

    def written(self) -> dict[str, float]:
        """Return when each row was written (seconds since the epoch), by its id."""
        return dict(self._select("SELECT key, store_time FROM Cache WHERE raw = 1"))


class Entry(NamedTuple):
    """A node's last success, and the record of it; None where that was swept or cleared."""

    last: Last
    trace: Trace | None

    @property
    def node(self) -> str:
        """The node's full id."""
        return full_id(self.last)

    @property
    def task(self) -> str:
        """The task's full id."""
        return task_of(self.node)


class Shelf:
    """The store of one project.

    Args:
        session: Configured: its settings say where the store is, its services what to keep.

    Attributes:
        root: The project's root folder.
        folder: Where the store is.
        now: The time, in seconds since the epoch.
    """

    def __init__(self, session: Session) -> None:
        from flowkit_plugins.cache import folder_of

        self._session = session
        self.root = session.root
        self.folder = folder_of(session)
        self.now = session.clock.timestamp()
        self.traces = Records(self.folder / "traces.db", timeout=PATIENCE)
        self.flights = Flights(self.folder / "locks")

    @property
    def exists(self) -> bool:
        """Whether anything was ever kept here."""
        files = (self.traces.file, self.folder / "results" / DATABASE)
        return any(file.exists() for file in files)

    @property
    def place(self) -> str:
        """How messages call the folder."""
        return (
            os.path.relpath(self.folder)
            if self.folder.is_relative_to(Path.cwd())
            else str(self.folder)
        )

    @cached_property
    def blobs(self) -> Blobs:
        """The values, to be read: this needs the key that signed them."""
        warned = self._session.settings["cache.on_mismatch"]
        return Blobs(
            self.folder / "results", key=signing_key(), on_mismatch=warned, timeout=PATIENCE
        )

    @cached_property
    def rows(self) -> Blobs:
        """The values, to be counted and removed."""
        return Blobs(self.folder / "results", key=b"", timeout=PATIENCE)

    def setting(self, name: str) -> Any:
        """Return a setting of the section ``cache``."""
        return self._session.settings[f"cache.{name}"]

    def needed(self) -> set[str]:
        """Return the keys that must not go: pinned ones, and those that kept runs need."""
        needs = self._session.services.get(Needs)
        return {*self.traces.pins(), *(needs.keys() if needs is not None else ())}

    def entries(self) -> list[Entry]:
        """Return what there is of every node."""
        known = self.traces.known()
        return [Entry(last, known.get(last.key)) for last in self.traces.lasts()]

    def under(self, target: str | None) -> list[Entry]:
        """Return the entries below a target: a folder, a flow, a task, or a node.

        Raises:
            SelectionError: Nothing is known of it.
        """
        entries = self.entries()
        if target is None:
            return entries
        path, colons, _ = target.partition("::")
        if colons:
            return self.find(target, entries)
        paths = self._paths(path)
        found = [e for e in entries if any(_inside(e.last.flow, one) for one in paths)]
        if not found:
            raise self._nothing_of(target, {e.last.flow for e in entries})
        return found

    def find(self, node: str, entries: Sequence[Entry] | None = None) -> list[Entry]:
        """Return the entry of a node, or those of all elements of a mapped task.

        Raises:
            SelectionError: No result was ever kept under that name.
        """
        if entries is None:
            entries = self.entries()
        path, colons, name = node.partition("::")
        if not colons or not name:
            raise SelectionError(
                f"{node!r} names no task", remedy="Write m.py::task or m.py::task[id]."
            )
        wanted = {f"{one}::{name}" for one in self._paths(path)}
        found = [e for e in entries if e.node in wanted] or [e for e in entries if e.task in wanted]
        if not found:
            raise self._nothing_of(node, _likely(wanted, entries))
        return found

    def one(self, node: str) -> Entry:
        """Return the entry of one node that has a record.

        Raises:
            SelectionError: Nothing is known of it, it is a mapped task, or its record is gone.
        """
        found = self.find(node)
        element = "[" in node.partition("::")[2]
        if found[0].node != found[0].task and not element:
            raise SelectionError(
                f"{node} is mapped: its elements have results, it has none of its own",
                known=f"elements: {listing(e.node.partition('::')[2] for e in found)}",
                remedy=f"Name one: {found[0].node}",
            )
        if found[0].trace is None:
            raise SelectionError(
                f"the result of {found[0].node} is not kept any more: it was swept or cleared",
                remedy=f"Compute it again: flowkit run {found[0].task}",
            )
        return found[0]

    def close(self) -> None:
        """Let go of files."""
        self.traces.close()
        for name in ("blobs", "rows"):
            if name in self.__dict__:
                self.__dict__[name].close()

    def _paths(self, written: str) -> list[str]:
        """Return what a flow's path may be called in the records."""
        try:
            below = Path(written).resolve().relative_to(self.root).as_posix()
        except ValueError:
            below = str(Path(written).resolve())
        paths = [below, Path(written).as_posix()]
        if not written.endswith(".py") and "/" not in written:
            dotted = written.replace(".", "/")
            paths += [f"{dotted}.py", f"{dotted}/__init__.py"]
        return list(dict.fromkeys(paths))

    def _nothing_of(self, wanted: str, known: Iterable[str]) -> SelectionError:
        known = sorted(known)
        if not known:
            return SelectionError(
                f"no results are kept in {self.place}",
                remedy=f"Run the flow first: flowkit run {wanted.partition('::')[0]}",
            )
        return SelectionError(
            f"no result is kept of {wanted}",
            known=f"kept in {self.place}: {listing(known)}",
            remedy=_meant(wanted, known[:_MOST_COMPARED]),
        )


@contextlib.contextmanager
def opened(target: str | None = None) -> Iterator[Shelf]:
    """Open the store of the project that ``target`` is in, or of the current folder.

    Raises:
        FlowkitError: Whatever is wrong with the store, as one error.
        FlowError: The settings are wrong.
    """
    from flowkit.session import Session

    session = Session([folder_of_target(target)])
    shelf: Shelf | None = None
    try:
        session.configure({})
        shelf = Shelf(session)
        yield shelf
    except StoreError as error:
        raise FlowkitError(str(error)) from error
    finally:
        if shelf is not None:
            shelf.close()
        session.close()


def folder_of_target(target: str | None) -> Path:
    """Return the nearest folder there is to a target: it decides which project is meant."""
    path = Path((target or "").partition("::")[0] or ".").resolve()
    while not path.is_dir():
        path = path.parent
    return path


def full_id(last: Last) -> str:
    """Return the node's id with its flow's path."""
    return f"{last.flow}::{last.node}"


def task_of(node: str) -> str:
    """Return the full id of the task that a full id's node belongs to."""
    path, colons, name = node.partition("::")
    return f"{path}{colons}{name.partition('[')[0]}"


def natural(text: str) -> list[tuple[int, int | str]]:
    """Return a key that sorts ``page[9]`` before ``page[10]``."""
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in _DIGITS.split(text)]


def _inside(flow: str, path: str) -> bool:
    return path in (flow, ".") or flow.startswith(path.rstrip("/") + "/")


def _meant(wanted: str, known: Sequence[str]) -> str:
    """Return the remedy: the name that is most like the one that was written, paths left aside."""
    otherwise = "flowkit cache ls lists what is kept; results of tasks with cache=False are not."
    name = wanted.partition("::")[2]
    if not name:
        return did_you_mean(wanted, known, otherwise)
    names = {one.partition("::")[2]: one for one in reversed(known)}
    near = nearest(name, names)
    return f"Did you mean {names[near]!r}?" if near else otherwise


def _likely(wanted: Iterable[str], entries: Sequence[Entry]) -> set[str]:
    """Return the names that one may have meant: elements of a task that is known, else tasks."""
    tasks = {task_of(one) for one in wanted}
    elements = {e.node for e in entries if e.task in tasks}
    return elements or {e.task for e in entries}
