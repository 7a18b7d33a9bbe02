"""pytest: every step is a fixture, and one test asks for the last. One thread, nothing is kept.

The graph is built and run inside ``pytest.main``, on a deep stack: setting up fixtures recurses.
"""

from __future__ import annotations

import sys
import threading

import pytest

from tests.benchmarks.peers import Asked, Clock, leave
from tests.benchmarks.workloads import expected


def main() -> None:
    asked = Asked()
    with Clock() as ran:
        code = pytest.main(["-q", "-p", "no:cacheprovider", "--rootdir", ".", "test_flow.py"])
    leave(expected(asked.workload, asked.n) if code == 0 else f"exit code {code}", ran)


if __name__ == "__main__":
    sys.setrecursionlimit(1_000_000)
    threading.stack_size(512 << 20)
    thread = threading.Thread(target=main)
    thread.start()
    thread.join()
