"""Files that a result stands for: whether they are still what they were, and bringing them back."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from flowkit.filefacts import MISSING, FileFact, FileMemo, digest_file

#: Files written through ``out()`` are kept up to this size, and brought back on a hit.
LARGEST_KEPT = 16 * 1024 * 1024


class Copies(Protocol):
    """Where copies of files are."""

    def keep_copy(self, digest: str, content: bytes) -> None:
        """Keep the content of a file."""

    def copy(self, digest: str) -> bytes | None:
        """Return the content of a file, or None."""


def describe(facts: Sequence[FileFact], root: Path) -> list[dict[str, Any]]:
    """Return what is to be recorded of files; paths below the root are relative to it."""
    return [
        {
            "path": relative(fact.path, root),
            "digest": fact.digest,
            "size": fact.size,
            "mtime_ns": fact.mtime_ns,
            "inode": fact.inode,
            "dir": fact.is_directory,
        }
        for fact in facts
    ]


def keep_copies(files: Sequence[Mapping[str, Any]], root: Path, copies: Copies) -> None:
    """Keep the files among ``files`` that lie in the root's ``out`` folder and are not too large."""
    for file in files:
        path = str(file["path"])
        if _ours(file) and file["size"] <= LARGEST_KEPT:
            try:
                copies.keep_copy(str(file["digest"]), (root / path).read_bytes())
            except OSError:
                continue  # then it cannot be brought back, which is what a miss says


def check(
    files: Sequence[Mapping[str, Any]], root: Path, memo: FileMemo, copies: Copies, *, repair: bool = True
) -> str | None:
    """Return what is wrong with the files of a result, after bringing back what can be; None if nothing.

    Args:
        files: What was recorded of them.
        root: The project's root.
        memo: Digests of files.
        copies: Where copies of small ones are.
        repair: Whether to bring them back, or only to see whether one could.
    """
    for file in files:
        path = root / str(file["path"])  # an absolute path stays what it is
        found = digest_file(path, memo)
        if found.digest == file["digest"]:
            continue
        if _brought_back(file, path, copies, repair=repair):
            continue
        gone = found.digest == MISSING
        large = " and was too large to keep" if _ours(file) and file["size"] > LARGEST_KEPT else ""
        return f"output file `{file['path']}` {'is gone' if gone else 'was modified'}{large}"
    return None


def _brought_back(
    file: Mapping[str, Any], path: Path, copies: Copies, *, repair: bool
) -> bool:
    if not _ours(file):
        return False
    content = copies.copy(str(file["digest"]))
    if content is None:
        return False
    if not repair:
        return True
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(content)
        temporary.replace(path)
    except OSError:
        return False
    return True


def _ours(file: Mapping[str, Any]) -> bool:
    """Whether it is a file that was written through ``out()``."""
    return str(file["path"]).startswith("out/") and not file["dir"]


def relative(path: str, root: Path) -> str:
    """Return a path as it is recorded and shown."""
    try:
        return Path(path).relative_to(root).as_posix()
    except ValueError:
        return path
