"""Which process a run belongs to, so exactly that nobody is taken for another.

A pid alone is used again sooner or later. With the time at which the process started and the id
of the boot it cannot be; in another container the same pid means another process, and nobody can
tell from here whether that one is alive.
"""

from __future__ import annotations

import os


def identity(pid: int | None = None) -> str:
    """Return ``boot/namespace/start`` of a process (this one, if none is named); ``""`` if it is gone."""
    start = _started(os.getpid() if pid is None else pid)
    return f"{_boot()}/{_namespace()}/{start}" if start else ""


def is_gone(pid: int, known: str) -> bool:
    """Whether the process that had ``pid`` and the identity ``known`` has ended for certain."""
    boot, namespace, start = (*known.split("/"), "", "")[:3]
    if boot and boot != _boot():
        return True
    if namespace != _namespace():
        return False
    return _started(pid) != start


def _started(pid: int) -> str:
    """Return when a process started, in its system's own words; ``""`` if there is none."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        # A zombie has ended: only its parent has not looked yet.
        return "" if fields[0] == b"Z" else fields[19].decode()
    except FileNotFoundError:
        if os.path.exists("/proc/self/stat"):
            return ""
    except (OSError, IndexError):
        pass
    return _started_by_ps(pid)


def _started_by_ps(pid: int) -> str:  # pragma: no cover - where there is no /proc
    import subprocess

    try:
        found = subprocess.run(  # noqa: S603 - a fixed command and a number
            ["ps", "-o", "lstart=", "-p", str(pid)],  # noqa: S607 - where ps is differs between systems
            capture_output=True,
            text=True,
            check=False,
            timeout=5,
        )
    except (OSError, subprocess.SubprocessError):
        return "?"
    return found.stdout.strip().replace("/", "-")


def _boot() -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="utf-8") as file:
            return file.read().strip()
    except OSError:
        return ""


def _namespace() -> str:
    try:
        return os.readlink("/proc/self/ns/pid").strip("pid:[]")
    except OSError:
        return ""
