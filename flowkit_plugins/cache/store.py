"""Where the values of tasks are kept: blobs in a diskcache, signed, written once.

A blob is named by its caller (by its content, as a rule), added and never overwritten; one that
was found damaged is replaced. Crowds of small ones are put together (:mod:`.packs`). Writing goes
through diskcache. Reading goes through a read-only connection of our own, since opening a
diskcache writes, waits for other writers (1.7 s measured) and costs 25 ms of import, and since one
connection with a lock serves all threads.

Nothing is unpickled before its signature is found right (:mod:`.signing`) and its buffers match
their checksums. Whatever is wrong with one blob is a :class:`Miss`; whatever is wrong with the
store as a whole is a :class:`StoreError`.
"""

from __future__ import annotations

import contextlib
import hmac
import re
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from flowkit.records import record
from flowkit_plugins.cache import packs, serializing
from flowkit_plugins.cache.databases import connect_to_read
from flowkit_plugins.cache.faults import (
    BLOB_MISSING,
    BLOB_UNREADABLE,
    SIGNATURE_MISMATCH,
    Damaged,
    Miss,
    StoreError,
    Tampered,
    store_error,
)
from flowkit_plugins.cache.mapped import file_bytes
from flowkit_plugins.cache.places import BINARY, DATABASE, MIN_FILE_SIZE, RAW, private_folder
from flowkit_plugins.cache.serializing import Dumped, Layout
from flowkit_plugins.cache.signing import SIGNATURE_BYTES, sign

if TYPE_CHECKING:
    from flowkit_plugins.cache.disk import Filed

_FILENAME = r"[0-9a-f]{2}[/\\][0-9a-f]{2}[/\\][0-9a-f]{28}\.val"
_HOUR = 3600.0
_WHOLE = "SELECT mode, filename, value FROM Cache WHERE key = ? AND raw = 1"
_PART = "SELECT mode, NULL, substr(value, ?, ?) FROM Cache WHERE key = ? AND raw = 1"


class Kept(NamedTuple):
    """A value that was stored: the name to get it by, and its size in bytes."""

    blob: str
    size: int


@record(frozen=True)
class Loaded:
    """A value that was read back, and the bytes it takes in the store."""

    value: Any
    size: int


@record(frozen=True)
class Swept:
    """What a sweep removed: files that no row names."""

    files: int
    bytes: int


def _nothing(_point: str) -> None:
    """Stand in for a hook that nobody wants."""


class Store:
    """Blobs in ``directory``. Cheap to make: nothing is opened before it is used.

    Args:
        directory: A folder for this alone; made with mode 0700.
        key: 32 bytes that sign what is written.
        on_mismatch: What a wrong signature is: a miss and one warning, or an error.
        compression: ``"zlib"``, ``"zstd"``, ``"lz4"`` or nothing.
        warn: Called once, with a text, at the first wrong signature.
        timeout: Seconds to wait for another process that writes.

    Any thread may use it; one writes at a time.
    """

    def __init__(
        self,
        directory: Path,
        *,
        key: bytes,
        on_mismatch: Literal["warn", "error"] = "warn",
        compression: str | None = None,
        warn: Callable[[str], None] = _nothing,
        timeout: float = 60.0,
    ) -> None:
        serializing.check_compression(compression)
        self.directory = directory
        self._key = key
        self._strict = on_mismatch == "error"
        self._compression = compression
        self._warn = warn
        self._timeout = timeout
        self._warned = False
        self._damaged: set[str] = set()
        self._cache: Any = None
        self._closed = False
        self._reader: sqlite3.Connection | None = None
        self._writing = threading.RLock()
        self._reading = threading.Lock()

    def dump(self, value: object) -> Dumped:
        """Return ``value`` in bytes, compressed as this store is set.

        Raises:
            Unstorable: It does not pickle.
        """
        return serializing.dump(value, compression=self._compression)

    def put(self, blob_id: str, dumped: Dumped) -> Kept:
        """Keep one blob, under its id."""
        return self.put_many([(blob_id, dumped)])[0]

    def put_many(
        self, blobs: Sequence[tuple[str, Dumped]], *, at: Callable[[str], None] = _nothing
    ) -> list[Kept]:
        """Keep blobs in one transaction: all or, on an error, none of them.

        A blob that is there and sound stays as it is. Large ones are written to their files
        before the transaction, which therefore never holds the lock for long.

        Args:
            blobs: Ids and values. Ids are without ``@``.
            at: Called with ``"after_file"`` once files are written and no row names them yet.

        Returns:
            For each its name and size. The name is the id, except for members of packs.

        Raises:
            StoreError: The disk is full, the database locked, the folder refused.
        """
        kept = [Kept(blob_id, dumped.size(SIGNATURE_BYTES)) for blob_id, dumped in blobs]
        small = [i for i, one in enumerate(kept) if one.size <= packs.MOST_MEMBER_BYTES]
        if len(small) < packs.FEWEST_MEMBERS:
            small = []
        alone = set(range(len(kept))).difference(small)
        filed: list[Filed] = []
        with self._diskcache() as cache:
            try:
                ready = self._prepare(cache, [(*blobs[i], kept[i].size) for i in alone], filed)
                names: list[str] = []
                for pack, content, members in packs.packed((blobs[i][1] for i in small), self._key):
                    ready.append((pack, content))
                    names += members
                at("after_file")
                there = self._add(cache, ready)
            except BaseException:
                for file in filed:
                    cache.disk.remove(file.filename)
                raise
            self._replace_unsound(cache, there)
        for position, name in zip(small, names, strict=True):
            kept[position] = Kept(name, kept[position].size)
        return kept

    def get(self, blob_id: str) -> Loaded | Miss:
        """Read a value back. Large ones are mapped, not copied.

        Raises:
            Tampered: The signature is wrong and this store is strict.
        """
        try:
            try:
                data = self._data(blob_id)
            except Damaged:  # perhaps it was being replaced at this very moment
                data = self._data(blob_id)
            layout = self._verified(blob_id, data)
            serializing.check_buffers(layout)
            return Loaded(serializing.restore(layout), len(data))
        except Damaged as damage:
            self._damaged.add(blob_id)
            return self._mismatch(blob_id, damage)

    def contains(self, blob: str, *, whole: bool = False) -> bool:
        """Say whether there is a row for the blob; if it is to be whole, the file of one that has its own, too."""
        rows = self._select("SELECT filename FROM Cache WHERE key = ? AND raw = 1", (packs.row_of(blob),))
        return bool(rows) and (not whole or rows[0][0] is None or (self.directory / rows[0][0]).exists())

    def rows(self) -> set[str]:
        """Return the ids of all rows, by the index alone."""
        return {key for (key,) in self._select("SELECT key FROM Cache WHERE raw = 1")}

    def sizes(self) -> dict[str, int]:
        """Return the size in bytes of every row, by its id (:func:`.packs.row_of` a blob)."""
        rows = self._select(
            "SELECT key, CASE WHEN filename IS NULL THEN LENGTH(value) ELSE size END"
            " FROM Cache WHERE raw = 1"
        )
        return dict(rows)

    def delete(self, rows: Iterable[str]) -> int:
        """Remove rows, whole packs included, and return how many there were.

        Traces that name them go first.
        """
        with self._diskcache() as cache:
            return sum(bool(cache.delete(row)) for row in rows)

    def sweep(self, *, now: float | None = None, older_than: float = _HOUR) -> Swept:
        """Remove files that no row names and that nobody can be writing any more.

        A process killed between file and row leaves such files; diskcache neither counts nor
        removes them, and its ``check(fix=True)`` also removes those just being written.
        """
        latest = (time.time() if now is None else now) - older_than
        # Files first: what is committed after this listing is then found among the rows.
        files = [(path, path.stat()) for path in self.directory.glob("??/??/*.val")]
        named = {name for (name,) in self._select("SELECT filename FROM Cache WHERE raw = 1")}
        count = size = 0
        for path, found in files:
            if found.st_mtime <= latest and str(path.relative_to(self.directory)) not in named:
                path.unlink(missing_ok=True)
                count += 1
                size += found.st_size
        return Swept(count, size)

    def close(self) -> None:
        """Close what this thread has opened, and the connection for reading; a later read opens its own."""
        with self._reading:
            self._closed = True
            if self._reader is not None:
                self._reader.close()
                self._reader = None
        self.release()

    def release(self) -> None:
        """Close this thread's connection for writing: diskcache has one per thread."""
        with self._writing:
            if self._cache is not None:
                self._cache.close()

    # Writing

    @contextlib.contextmanager
    def _diskcache(self) -> Iterator[Any]:
        """Give the diskcache, opened if need be; turn its errors into a StoreError."""
        from flowkit_plugins.cache import disk  # not before something is written

        with self._writing:
            try:
                if self._cache is None:
                    private_folder(self.directory)
                    self._cache = disk.open_cache(self.directory, self._timeout)
                yield self._cache
            except (OSError, sqlite3.Error, disk.Timeout) as error:
                # A commit that failed leaves its transaction open, and with it the lock.
                self.release()
                raise store_error(error, self.directory) from error

    def _prepare(
        self,
        cache: Any,
        blobs: Iterable[tuple[str, Dumped, int]],
        filed: list[Filed],
    ) -> list[tuple[str, bytes | Filed]]:
        """Sign the blobs and write the files of the large ones, noting them in ``filed``."""
        from flowkit_plugins.cache.disk import write_file

        ready: list[tuple[str, bytes | Filed]] = []
        for blob_id, dumped, size in blobs:
            large = size >= MIN_FILE_SIZE
            if large and self._sound(blob_id):
                continue
            signature = sign(self._key, blob_id, dumped.header, dumped.stream)
            pieces = (signature, *dumped.pieces(SIGNATURE_BYTES))
            if large:
                filed.append(write_file(cache, pieces))
                ready.append((blob_id, filed[-1]))
            else:
                ready.append((blob_id, b"".join(pieces)))
        return ready

    def _add(
        self, cache: Any, ready: Sequence[tuple[str, bytes | Filed]]
    ) -> list[tuple[str, bytes | Filed]]:
        """Add blobs in one transaction; return those that were there already."""
        there: list[tuple[str, bytes | Filed]] = []
        if not ready:
            return there
        add, damaged = cache.add, self._damaged
        with cache.transact():
            for blob in ready:
                if blob[0] in damaged:
                    cache.delete(blob[0])
                if not add(*blob):
                    there.append(blob)
        damaged.difference_update(blob_id for blob_id, _ in ready)
        return there

    def _replace_unsound(self, cache: Any, there: Sequence[tuple[str, bytes | Filed]]) -> None:
        """Replace small blobs that were there, but damaged or signed with another key."""
        for blob_id, value in there:
            if type(value) is bytes and not self._sound(blob_id):
                with cache.transact():
                    cache.delete(blob_id)
                    cache.add(blob_id, value)
                self._damaged.discard(blob_id)

    def _sound(self, blob_id: str) -> bool:
        """Say whether the blob is there, whole and signed with our key. Buffers are not read."""
        if blob_id in self._damaged:
            return False
        try:
            self._verified(blob_id, self._data(blob_id))
        except Damaged as damage:
            if damage.reason != BLOB_MISSING or self.contains(blob_id):
                self._damaged.add(blob_id)
            return False
        return True

    # Reading

    def _select(self, statement: str, values: tuple[Any, ...] = ()) -> list[Any]:
        """Return the rows of a query; none where there is no database, or somebody is just making it.

        Raises:
            StoreError: The database is damaged or locked.
        """
        with self._reading:
            try:
                if self._reader is None:
                    if not (self.directory / DATABASE).exists():
                        return []
                    private_folder(self.directory)
                    reader = connect_to_read(self.directory / DATABASE, self._timeout)
                    if not reader.execute("SELECT 1 FROM sqlite_master WHERE name = 'Cache'").fetchall():
                        reader.close()
                        return []
                    self._reader = reader
                rows = self._reader.execute(statement, values).fetchall()
                if self._closed:
                    self._reader.close()
                    self._reader = None
                return rows
            except (OSError, sqlite3.Error) as error:
                raise store_error(error, self.directory) from error

    def _data(self, blob_id: str) -> memoryview:
        """Return the bytes of a blob, signature first.

        Raises:
            Damaged: There is none, its file is gone, or the row was not written by flowkit.
        """
        member = packs.find(blob_id)
        try:
            if member is None:
                rows = self._select(_WHOLE, (blob_id,))
            else:
                rows = self._select(_PART, (member.start + 1, member.length, member.pack))
        except StoreError as error:
            raise Damaged(BLOB_UNREADABLE, error.what) from error
        if not rows:
            raise Damaged(BLOB_MISSING)
        mode, filename, value = rows[0]
        if mode == RAW and type(value) is bytes:
            return memoryview(bytearray(value))
        if mode == BINARY and type(filename) is str and re.fullmatch(_FILENAME, filename):
            return file_bytes(self.directory / filename)
        raise Damaged(BLOB_UNREADABLE, "the row was not written by flowkit; refused unread")

    def _verified(self, blob_id: str, data: memoryview) -> Layout:
        layout = serializing.parse(data, offset=SIGNATURE_BYTES)
        expected = sign(self._key, blob_id, layout.header, layout.stream)
        if not hmac.compare_digest(expected, data[:SIGNATURE_BYTES]):
            raise Damaged(SIGNATURE_MISMATCH)
        return layout

    def _mismatch(self, blob_id: str, damage: Damaged) -> Miss:
        if damage.reason != SIGNATURE_MISMATCH:
            return Miss(damage.reason, damage.detail)
        text = f"a stored result in {self.directory} is not signed by you"
        if self._strict:
            raise Tampered(
                text,
                known=f"Blob {blob_id}: altered, planted, or written under another key.",
                remedy="`flowkit cache clear`, or share FLOWKIT_CACHE_KEY with who wrote it.",
            )
        if not self._warned:
            self._warned = True
            self._warn(f"{text}; it is computed anew")
        return Miss(SIGNATURE_MISMATCH)
