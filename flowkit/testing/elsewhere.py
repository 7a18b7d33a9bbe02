"""Two more processes that run the cases of a flow, each with hashes of its own: there, sets of texts are in other orders.

Within one process, such an order is the same each time. ``PYTHONHASHSEED`` is fixed for both, so that a replay sees the same.
They are started for a flow that nothing in this process stands in for, as ``flowkit test`` has it, not under pytest: what a test has
patched would be as ever there.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import IO, NamedTuple

from flowkit.testing.sandbox import Case
from flowkit.testing.tokens import read_token, token

SEEDS = ("0", "1")


class Told(NamedTuple):
    """What a run elsewhere came to.

    Attributes:
        digests: As :func:`.comparing.digests`.
        shown: Node → its value as text.
    """

    digests: dict[str, str]
    shown: dict[str, str]


class Elsewhere:
    """The two processes; they are started when they are first asked.

    Args:
        target: What ``flowkit test`` was given.
        typed: Overrides as ``-O`` takes them.

    Attributes:
        lost: How many cases could not be run there.
    """

    def __init__(self, target: str, typed: Sequence[str]) -> None:
        self._command = [sys.executable, "-m", __name__, target, *typed]
        self._processes: list[subprocess.Popen[str]] = []
        self.lost = 0

    def run(self, case: Case) -> list[Told]:
        """Run a case in each; return what came of it, nothing where it could not be run there."""
        word = token("", case)
        for _ in range(2):  # once more with fresh ones: the system may have ended one
            self._processes = self._processes or [self._start(seed) for seed in SEEDS]
            try:
                for process in self._processes:
                    print(word, file=process.stdin, flush=True)
                return [Told(*json.loads(_stream(process.stdout).readline())) for process in self._processes]
            except (OSError, ValueError):
                self.close()
        self.lost += 1
        return []

    def _start(self, seed: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self._command,
            env={**os.environ, "PYTHONHASHSEED": seed},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def close(self) -> None:
        """End the processes."""
        for process in self._processes:
            process.kill()
            with contextlib.suppress(OSError):  # what was still to be written to it
                process.communicate()
        self._processes = []


def _stream(found: IO[str] | None) -> IO[str]:
    assert found is not None  # it is a pipe
    return found


def _serve(target: str, typed: Sequence[str]) -> None:
    """Run each case that is read, and write what came of it; what tasks read and print is kept apart."""
    from flowkit.testing.checks import _shown
    from flowkit.testing.subject import FlowUnderTest

    with os.fdopen(os.dup(0)) as words, os.fdopen(os.dup(1), "w") as answers, open(os.devnull, "r+") as nowhere:
        os.dup2(nowhere.fileno(), 0)
        os.dup2(nowhere.fileno(), 1)
        flow = FlowUnderTest(target, typed=typed)
        flow.load()  # what a value in a token may be an instance of
        for word in words:
            result = flow.run(read_token(word.strip())[1])
            found = result.digests
            print(json.dumps(Told(found, {name: _shown(result, name) for name in found})), file=answers, flush=True)


if __name__ == "__main__":
    _serve(sys.argv[1], sys.argv[2:])
