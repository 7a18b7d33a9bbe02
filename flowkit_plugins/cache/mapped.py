"""A file's bytes: mapped where that is worth it, read where not."""

from __future__ import annotations

import contextlib
import mmap
import os
import sys
from pathlib import Path

from flowkit_plugins.cache.faults import BLOB_MISSING, BLOB_UNREADABLE, Damaged

WORTH_MAPPING = 1 << 20


def file_bytes(path: Path) -> memoryview:
    """Return the bytes of the file at ``path``. Writing to them changes memory alone.

    Raises:
        Damaged: It is gone or cannot be read.
    """
    try:
        with path.open("rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            if size >= WORTH_MAPPING:
                # A private mapping counts as memory promised, and may be refused where a
                # read-only one is not. Each holds a descriptor before 3.13; if they run out,
                # the file is read.
                for access in (mmap.ACCESS_COPY, mmap.ACCESS_READ):
                    with contextlib.suppress(OSError):
                        return memoryview(_mapping(file.fileno(), access))
            data = bytearray(size)
            got = file.readinto(data)
            return memoryview(data)[:got]
    except FileNotFoundError as error:
        raise Damaged(BLOB_MISSING, "its file is gone") from error
    except OSError as error:
        raise Damaged(BLOB_UNREADABLE, str(error)) from error


if sys.version_info >= (3, 13):

    def _mapping(descriptor: int, access: int) -> mmap.mmap:
        return mmap.mmap(descriptor, 0, access=access, trackfd=False)

else:

    def _mapping(descriptor: int, access: int) -> mmap.mmap:
        return mmap.mmap(descriptor, 0, access=access)
