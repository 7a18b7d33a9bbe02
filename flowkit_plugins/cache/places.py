"""Where results may be kept: a private folder on a local disk.

SQLite in WAL mode corrupts on file systems shared between hosts, and a folder that others may
write to is a folder in which others may plant results.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from flowkit_plugins.cache.faults import StoreError

NETWORK_TYPES = frozenset(
    {
        "nfs",
        "nfs3",
        "nfs4",
        "cifs",
        "smbfs",
        "smb2",
        "smb3",
        "afs",
        "ncpfs",
        "ceph",
        "lustre",
        "glusterfs",
        "gpfs",
        "beegfs",
        "beegfs_nodev",
        "ocfs2",
        "gfs2",
        "pvfs2",
        "orangefs",
        "panfs",
        "davfs",
        "fuse.sshfs",
        "fuse.glusterfs",
        "fuse.ceph",
        "fuse.davfs",
        "fuse.s3fs",
        "fuse.gcsfuse",
        "fuse.rclone",
        "fuse.blobfuse",
        "fuse.juicefs",
        "fuse.goofys",
    }
)

# What diskcache calls its database and how its rows are marked; here, since neither reading nor
# planning shall import diskcache.
DATABASE = "cache.db"
RAW, BINARY = 1, 2
MIN_FILE_SIZE = 2**15

_MOUNTS = Path("/proc/self/mounts")
_OCTAL = r"\\([0-7]{3})"


def private_folder(directory: Path) -> None:
    """Create ``directory`` for this user alone, or check that it is so.

    Raises:
        StoreError: It belongs to another user, others may write to it, it is on a network
            file system, or it cannot be made.
    """
    local_disk(directory)
    try:
        # Made one by one: parents=True gives the mode to the last one alone.
        directory.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        directory.mkdir(mode=0o700, exist_ok=True)
        found = directory.stat()
    except OSError as error:
        raise StoreError(
            f"cannot make the folder {directory}",
            known=str(error),
            remedy="Set `[tool.flowkit.cache] dir` to a folder you may write to.",
        ) from error
    _belongs_to_us(directory, found)
    if stat.S_IMODE(found.st_mode) != 0o700 and hasattr(os, "getuid"):
        directory.chmod(0o700)


def _belongs_to_us(directory: Path, found: os.stat_result) -> None:
    if not hasattr(os, "getuid"):  # Windows has neither owners of this kind nor modes
        return
    if found.st_uid != os.geteuid():
        raise StoreError(
            f"{directory} belongs to another user (uid {found.st_uid}, you are {os.geteuid()})",
            known="Results found in it cannot be trusted.",
            remedy="Set `[tool.flowkit.cache] dir` to a folder of your own.",
        )
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise StoreError(
            f"others may write to {directory} (mode {stat.S_IMODE(found.st_mode):o})",
            known="Results found in it cannot be trusted.",
            remedy=f"If they are yours: chmod 700 {directory}",
        )


def local_disk(path: Path) -> None:
    """Refuse a ``path`` on a network file system.

    Raises:
        StoreError: It names the file system and the remedy.
    """
    try:
        mounts = _MOUNTS.read_text(errors="surrogateescape")
    except OSError:  # no /proc: not Linux; nothing is known
        return
    kind = filesystem(path, mounts)
    if kind in NETWORK_TYPES:
        raise StoreError(
            f"{path} is on a network file system ({kind})",
            known="SQLite databases shared between hosts are corrupted there.",
            remedy="Set `[tool.flowkit.cache] dir` to a folder on a local disk.",
        )


def filesystem(path: Path, mounts: str) -> str:
    """Return the type of the file system that holds ``path``, by the text of ``/proc/mounts``.

    Of several mounts on one point the last one counts: it hides the others.
    """
    real = os.path.realpath(path)
    best, kind = -1, ""
    for line in mounts.splitlines():
        fields = line.split(" ")
        if len(fields) < 3:
            continue
        point = re.sub(_OCTAL, lambda found: chr(int(found[1], 8)), fields[1])
        inside = real == point or real.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= best:
            best, kind = len(point), fields[2]
    return kind
