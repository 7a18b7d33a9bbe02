"""doit: actions that are functions; values go through its own database by ``getargs``.

Every task is up to date once it ran, so that a second process skips it. Option ``threads``: eight.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from doit.cmd_base import ModuleTaskLoader
from doit.doit_cmd import DoitMain
from doit.tools import run_once

from tests.benchmarks.peers import Asked, Clock, leave
from tests.benchmarks.workloads import Step, function_of, steps

ANSWER = Path("value")


def _action(step: Step) -> Any:
    function = function_of(step)

    def act(**values: int) -> dict[str, int]:
        return {"v": function(*values.values())}

    def write(**values: int) -> dict[str, int]:
        ANSWER.write_text(str(function(*values.values())))
        return {"v": 0}

    return write if step.name == "answer" else act


def main() -> None:
    asked = Asked()
    graph = steps(asked.workload, asked.n)

    def task_g() -> Iterator[dict[str, Any]]:
        for step in graph:
            found: dict[str, Any] = {"name": step.name, "actions": [_action(step)], "uptodate": [run_once]}
            if step.needs:
                found["getargs"] = {need: (f"g:{need}", "v") for need in step.needs}
            yield found

    sys.setrecursionlimit(1_000_000)  # its chains are recursive
    command = ["run", "--db-file", "doit.db", "-v", "0", "-o", "log"]
    if "threads" in asked.options:
        command += ["-n", "8", "-P", "thread"]
    with Clock() as ran:
        code = DoitMain(ModuleTaskLoader({"task_g": task_g})).run(command)
    leave(int(ANSWER.read_text()) if not code else f"exit code {code}", ran)


if __name__ == "__main__":
    main()
