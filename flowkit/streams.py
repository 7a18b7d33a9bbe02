"""The command line's standard output and error, which may be closed, full, or of few characters."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from typing import TextIO

from flowkit.printable import SPELLED

#: What a write to a device that takes no more ends with.
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF)
#: What a stream raises that users' code has closed, or put None in the place of.
_GONE = (ValueError, AttributeError)


def prepare() -> None:
    """Have both there, and have what they cannot show spelled out, whoever prints it."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed before Python began
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - as long as the process
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=SPELLED)


def flush() -> None:
    """Have standard output written out.

    Raises:
        OSError: It takes no more.
    """
    with contextlib.suppress(*_GONE):
        sys.stdout.flush()


def tell(text: str) -> None:
    """Print a text on standard error. Raises nothing: whoever does not read it sees the exit code."""
    settle()  # what was printed before stands before it
    try:
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()
    except (OSError, *_GONE):
        settle()


def settle() -> None:
    """Have both written out, for good: what cannot be goes nowhere, or Python complains of it when it exits."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, *_GONE):
            lead_nowhere(stream)


def lead_nowhere(stream: TextIO) -> None:
    """Have what was and will be written to a standard stream go nowhere; another is left as it is."""
    try:
        descriptor = stream.fileno()
    except (OSError, *_GONE):
        return
    if descriptor in (1, 2):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, descriptor)
        os.close(nowhere)


def is_full(error: OSError) -> bool:
    """Whether an error is that something open takes no more; one that a file could not be opened names the file."""
    return error.errno in _FULL and error.filename is None
