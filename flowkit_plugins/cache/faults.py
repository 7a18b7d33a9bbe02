"""What can go wrong with stored results, and how it is said.

A :class:`StoreError` concerns the whole store (full, locked, somebody else's): the run goes on
without it. A :class:`Miss` concerns one entry: its task runs again. :class:`Unstorable` concerns
one value: it stays in memory. None of them ever fails a task.
"""

from __future__ import annotations

import errno
import sqlite3
from pathlib import Path

from flowkit.records import record

NO_RECORD = "no record"
BLOB_MISSING = "blob missing"
BLOB_UNREADABLE = "blob unreadable"
SIGNATURE_MISMATCH = "signature mismatch"
FORMAT_CHANGED = "key format changed"


class StoreError(Exception):
    """Results cannot be kept, or not here: what is wrong, what is known, what to do."""

    def __init__(self, what: str, *, known: str = "", remedy: str = "") -> None:
        self.what = what
        self.known = known
        self.remedy = remedy
        super().__init__("\n  ".join(line for line in (what, known, remedy) if line))


class Tampered(StoreError):
    """A stored result is not signed with this store's key, and the settings make that an error."""


class Damaged(Exception):
    """One stored entry cannot be used; becomes a :class:`Miss` before it leaves the store."""

    def __init__(self, reason: str, detail: str = "") -> None:
        self.reason = reason
        self.detail = detail
        super().__init__(f"{reason}: {detail}" if detail else reason)


class Unstorable(Exception):
    """A value cannot be turned into bytes; the message names the attribute that refused."""

    def __init__(self, cause: str, *, path: str) -> None:
        self.cause = cause
        self.path = path
        super().__init__(f"{cause} at {path}")


@record(frozen=True)
class Miss:
    """Why a stored entry cannot be used: one of this module's reasons, and what is known of it."""

    reason: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}" if self.detail else self.reason


def store_error(error: BaseException, where: Path) -> StoreError:
    """Return what ``error``, met while using ``where``, means to the user."""
    if isinstance(error, StoreError):
        return error
    # diskcache hides SQLite's reason behind a bare Timeout; it survives as the context.
    if not isinstance(error, (sqlite3.Error, OSError)) and error.__context__ is not None:
        error = error.__context__
    text = str(error) or type(error).__name__
    lowered = text.lower()
    if "disk is full" in lowered or getattr(error, "errno", 0) in (errno.ENOSPC, errno.EDQUOT):
        return StoreError(
            f"no space left for {where}",
            known=text,
            remedy="Free some there, then run `flowkit cache gc`.",
        )
    if "locked" in lowered or "busy" in lowered:
        return StoreError(
            f"{where} is locked by another process",
            known=text,
            remedy="Look for a stopped or hanging flowkit that uses the same folder.",
        )
    if "not a database" in lowered or "malformed" in lowered:
        return StoreError(
            f"{where} is damaged", known=text, remedy="Start afresh with `flowkit cache clear`."
        )
    return StoreError(
        f"cannot use {where}",
        known=text,
        remedy="Check its permissions, or set `[tool.flowkit.cache] dir` to a writable folder.",
    )
