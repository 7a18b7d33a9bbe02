"""What flowkit is measured against. Each runs as ``python -m tests.benchmarks.peers.NAME``.

The arguments are: workload, size of the graph, MB of an array, and options of its own. The working
directory is its scratch folder: empty for a cold run, kept for a warm one. It leaves two files
there, ``answer`` and ``stopwatch``, as flowkit does.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from tests.benchmarks.stopwatch import FILE


class Asked:
    """The command line of a peer.

    Attributes:
        workload, n, size: What to run.
        options: What else was said.
    """

    def __init__(self) -> None:
        self.workload = sys.argv[1]
        self.n = int(sys.argv[2])
        self.size = int(sys.argv[3])
        self.options = sys.argv[4:]


class Clock:
    """Measures a with-block.

    Attributes:
        seconds: How long it took.
    """

    seconds = 0.0

    def __enter__(self) -> Clock:
        self._began = time.perf_counter()
        return self

    def __exit__(self, *exception: object) -> None:
        self.seconds = time.perf_counter() - self._began


def leave(answer: object, ran: Clock, built: Clock | None = None) -> None:
    """Leave behind the answer and the times."""
    Path("answer").write_text(repr(answer))
    Path(FILE).write_text(repr({"ran": ran.seconds, "built": built.seconds if built else None}))
