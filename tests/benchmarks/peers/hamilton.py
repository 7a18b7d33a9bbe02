"""Hamilton: a module of functions whose arguments are names of functions. Telemetry is off.

Options: ``cache`` keeps results on disk; ``threads`` runs what is ready in eight threads.
"""

from __future__ import annotations

import importlib
import os
import sys
import threading

from tests.benchmarks.peers import Asked, Clock, leave


def main() -> None:
    os.environ["HAMILTON_TELEMETRY_ENABLED"] = "false"
    asked = Asked()
    from hamilton import driver

    sys.path.insert(0, "")
    module = importlib.import_module("hamilton_flow")
    with Clock() as built:
        builder = driver.Builder().with_modules(module)
        if "cache" in asked.options:
            builder = builder.with_cache(path="hamilton-cache")
        if "threads" in asked.options:
            from hamilton.plugins.h_threadpool import FutureAdapter

            builder = builder.with_adapters(FutureAdapter(max_workers=8))
        made = builder.build()
    with Clock() as ran:
        answer = made.execute(["answer"])["answer"]
    leave(answer, ran, built)


if __name__ == "__main__":
    sys.setrecursionlimit(1_000_000)  # it recurses over the graph
    threading.stack_size(512 << 20)
    thread = threading.Thread(target=main)
    thread.start()
    thread.join()
