"""One process from its start to its end: wall time, and the peak of its memory."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

#: Bytes in a unit of ``ru_maxrss``: kilobytes on Linux, bytes on macOS.
_RSS_UNIT = 1024 if os.uname().sysname == "Linux" else 1


class WentWrong(Exception):
    """A process failed, took too long, or gave a wrong answer."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A process that ended well.

    Attributes:
        wall: Seconds.
        memory: Peak resident memory in MB; it cannot read below the harness's own.
        output: What it wrote to standard output.
    """

    wall: float
    memory: float
    output: str


def run(command: Sequence[str], folder: Path, environment: Mapping[str, str], limit: float) -> Ended:
    """Run a command to its end; its output goes to a pipe that is read all the time.

    Raises:
        WentWrong: It took longer than ``limit`` seconds, or its exit code is not 0.
    """
    errors = folder / "stderr"
    pieces: list[bytes] = []
    with errors.open("wb") as stderr:
        began = time.perf_counter()
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            start_new_session=True,
        )
        assert process.stdout is not None  # it is a pipe
        reader = threading.Thread(target=_read, args=(process.stdout.fileno(), pieces))
        reader.start()
        late = threading.Timer(limit, os.killpg, (process.pid, signal.SIGKILL))  # the child's own group
        late.start()
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - began
        late.cancel()
        reader.join()
        process.stdout.close()
        process.returncode = os.waitstatus_to_exitcode(status)
    output = b"".join(pieces).decode(errors="replace")
    if process.returncode == -signal.SIGKILL and wall >= limit:
        raise WentWrong(f"took longer than {limit:g} s")
    if process.returncode:
        tail = (output + errors.read_text(errors="replace")).strip().splitlines()[-6:]
        raise WentWrong(f"exit code {process.returncode}: " + " | ".join(tail))
    return Ended(wall, usage.ru_maxrss * _RSS_UNIT / 1e6, output)


def _read(descriptor: int, pieces: list[bytes]) -> None:
    while piece := os.read(descriptor, 1 << 16):
        pieces.append(piece)
