"""A file that is written when a run is over: refused at once if it could not be, then put there whole."""

from __future__ import annotations

import os
from pathlib import Path

from flowkit.errors import OptionError


def destination(flag: str, value: object) -> Path | None:
    """Return where a report shall go, as an absolute path; None if nobody asked for it.

    Raises:
        OptionError: No file can be written there. Better said now than after hours of work.
    """
    if not value:
        return None
    path = Path(os.path.abspath(os.path.expanduser(str(value))))
    if path.is_dir():
        raise OptionError(f"{flag} {value}: is a folder", remedy=f"Name a file: {flag} {path.name}/report")
    above = path.parent
    while not above.exists():
        above = above.parent
    if not above.is_dir() or not os.access(above, os.W_OK):
        raise OptionError(f"{flag} {value}: cannot be written", known=f"{above} is no folder one may write to", remedy="Name another file.")
    return path


def write(path: Path, text: str) -> str:
    """Write a file, whole or not at all; return what went wrong, in words, or ``""``."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            beside.write_text(text, encoding="utf-8", errors="backslashreplace")
            os.replace(beside, path)
        except BaseException:
            beside.unlink(missing_ok=True)
            raise
    except OSError as error:
        return f"{path} was not written: {error.strerror or error}"
    return ""
