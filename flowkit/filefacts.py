"""What a file holds, told by its digest, and when a stat is proof enough that it still does.

Nothing here raises because of the file system: a path that is not there has the content
``"missing"``. Whether that is an error is for the task that wants to read it.
"""

from __future__ import annotations

import hashlib
import os
import stat
import time
from typing import TYPE_CHECKING, Final, Protocol

from flowkit.records import field, record

if TYPE_CHECKING:
    from collections.abc import Callable

HEX_CHARACTERS: Final = 40
"""Length of every digest: 160 bits, enough that no two values ever share one by chance."""

MISSING: Final = "missing"
UNREADABLE: Final = "unreadable"
SPECIAL: Final = "special"
LOOP: Final = "loop"

RACY_NS: Final = 2_000_000_000
"""A file changed this shortly before it was recorded may change again within the same mtime."""


@record(frozen=True)
class FileFact:
    """What was found at ``path``.

    ``digest`` is that of the content (of a directory: of the names and contents below it), or
    one of the words ``missing``, ``unreadable`` and ``special`` (a socket, a pipe, a device: never
    opened). ``size``, ``mtime_ns``, ``inode`` and ``ctime_ns`` are those of the stat *before* reading;
    they are 0 where there was nothing to stat. The last tells a file that another one of the same
    size and time took the place of (``cp -p``, ``rsync -t``, an archive's). Of a directory they are the total size, the newest time
    below it, and its own inode: to be told, not to be relied upon.
    """

    path: str
    digest: str
    size: int = 0
    mtime_ns: int = 0
    inode: int = 0
    is_directory: bool = False
    ctime_ns: int = 0

    def surely_holds(self, *, recorded_ns: int) -> bool:
        """Return whether one stat proves that the file still holds what it did.

        Args:
            recorded_ns: When this fact was written down, in nanoseconds since the epoch.

        ``False`` means "digest it again", not "it changed": so it is for directories, and for
        files so young when recorded that a second write could have kept their time.
        """
        if self.is_directory or is_racy(self.mtime_ns, recorded_ns):
            return False
        try:
            found = os.stat(self.path)
        except (OSError, ValueError):
            return self.digest == MISSING
        return self.is_of(found)

    def is_of(self, found: os.stat_result) -> bool:
        """Return whether a stat shows the state of the file that this was established in."""
        state = (self.size, self.mtime_ns, self.inode, self.ctime_ns)
        return state == (found.st_size, found.st_mtime_ns, found.st_ino, found.st_ctime_ns)


def is_racy(mtime_ns: int, recorded_ns: int) -> bool:
    """Return whether a file of that age could have changed unseen after it was recorded."""
    return recorded_ns - mtime_ns < RACY_NS


class FileMemo(Protocol):
    """Remembers digests of files, so that an unchanged one is not read again."""

    def recall(self, path: str, found: os.stat_result) -> str | None:
        """Return the digest recorded for exactly this state of the file, if it can be trusted."""

    def record(self, fact: FileFact) -> None:
        """Remember ``fact``, which was established just now."""


@record()
class FileMemory:
    """A :class:`FileMemo` in memory. One that persists keeps ``facts`` and loads it again.

    Racy facts are not kept in the first place, so whatever is in ``facts`` may be trusted by
    anybody, at any later time.
    """

    facts: dict[str, FileFact] = field(factory=dict)
    now_ns: Callable[[], int] = time.time_ns

    def recall(self, path: str, found: os.stat_result) -> str | None:
        """Return the recorded digest if size, times and inode are what they were."""
        fact = self.facts.get(path)
        return fact.digest if fact is not None and fact.is_of(found) else None

    def record(self, fact: FileFact) -> None:
        """Remember ``fact`` unless the file is too young to be told apart by its time."""
        if not is_racy(fact.mtime_ns, self.now_ns()):
            self.facts[fact.path] = fact


def digest_file(path: str | os.PathLike[str], memo: FileMemo | None = None) -> FileFact:
    """Return what ``path`` holds, following symbolic links. A directory is its tree."""
    return _look(os.path.abspath(os.fspath(path)), memo, ())


def _look(path: str, memo: FileMemo | None, inside: tuple[tuple[int, int], ...]) -> FileFact:
    """Digest ``path``; ``inside`` are the directories we came through, as (device, inode)."""
    try:
        found = os.stat(path)
    except PermissionError:
        return FileFact(path, UNREADABLE)
    except (OSError, ValueError):  # ValueError: a NUL in the name, which therefore names no file
        return FileFact(path, MISSING)
    if stat.S_ISREG(found.st_mode):
        return _look_at_file(path, found, memo)
    if stat.S_ISDIR(found.st_mode):
        if (found.st_dev, found.st_ino) in inside:
            return FileFact(path, LOOP, is_directory=True)
        return _look_at_tree(path, found, memo, (*inside, (found.st_dev, found.st_ino)))
    return _of(path, SPECIAL, found)


def _of(path: str, digest: str, found: os.stat_result) -> FileFact:
    state = (found.st_size, found.st_mtime_ns, found.st_ino)
    return FileFact(path, digest, *state, ctime_ns=found.st_ctime_ns)


def _look_at_file(path: str, found: os.stat_result, memo: FileMemo | None) -> FileFact:
    if memo is not None:
        known = memo.recall(path, found)
        if known is not None:
            return _of(path, known, found)
    try:
        with open(path, "rb") as file:
            # Of the open file, before the first byte: a later write then shows as a later time.
            found = os.fstat(file.fileno())
            content = hashlib.file_digest(file, "sha256").hexdigest()[:HEX_CHARACTERS]
    except FileNotFoundError:
        return FileFact(path, MISSING)
    except OSError:
        return _of(path, UNREADABLE, found)
    fact = _of(path, content, found)
    if memo is not None:
        memo.record(fact)
    return fact


def _look_at_tree(
    path: str,
    found: os.stat_result,
    memo: FileMemo | None,
    inside: tuple[tuple[int, int], ...],
) -> FileFact:
    try:
        names = sorted(os.listdir(path))
    except OSError:
        return FileFact(path, UNREADABLE, inode=found.st_ino, is_directory=True)
    tree = hashlib.sha256()
    size, newest = 0, found.st_mtime_ns
    for name in names:
        entry = _look(os.path.join(path, name), memo, inside)
        kind = "directory" if entry.is_directory else "file"
        # A name holds no NUL, so it can be what ends it.
        tree.update(os.fsencode(name) + f"\0{kind} {entry.digest}\0".encode())
        size += entry.size
        newest = max(newest, entry.mtime_ns)
    content = tree.hexdigest()[:HEX_CHARACTERS]
    return FileFact(path, content, size, newest, found.st_ino, is_directory=True)
