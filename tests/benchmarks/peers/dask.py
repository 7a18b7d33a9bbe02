"""dask on one machine: ``delayed`` as users write it, or ``raw``, the cheapest way: a dict of tasks.

Option ``sync``: no threads; else eight.
"""

from __future__ import annotations

from typing import Any

from tests.benchmarks.peers import Asked, Clock, leave
from tests.benchmarks.workloads import DOUBLES_IN_MB, Step, function_of, steps


def array(size: int) -> Any:
    """Return an array of so many MB."""
    import numpy

    return numpy.arange(size * DOUBLES_IN_MB, dtype="float64")


def graph_of(asked: Asked) -> list[Step]:
    """Return the workload as steps: dask maps by having one task per element."""
    return steps("wide" if asked.workload == "mapped" else asked.workload, asked.n)


def run_delayed(asked: Asked, scheduler: str) -> None:
    """Run the graph as ``dask.delayed`` objects."""
    from dask import delayed

    with Clock() as built:
        made: dict[str, Any] = {}
        if asked.workload == "big":
            made["answer"] = delayed(lambda a: float(a.mean()))(delayed(array)(asked.size))
        else:
            for step in graph_of(asked):
                function = delayed(function_of(step), pure=False)
                made[step.name] = function(*[made[need] for need in step.needs])
    with Clock() as ran:
        answer = made["answer"].compute(scheduler=scheduler, num_workers=8)
    leave(answer, ran, built)


def run_raw(asked: Asked, scheduler: str) -> None:
    """Run the graph as a dict of ``Task`` objects."""
    import dask.local
    import dask.threaded
    from dask._task_spec import Task, TaskRef

    with Clock() as built:
        graph = {
            step.name: Task(step.name, function_of(step), *[TaskRef(need) for need in step.needs])
            for step in graph_of(asked)
        }
    with Clock() as ran:
        if scheduler == "sync":
            answer = dask.local.get_sync(graph, "answer")
        else:
            answer = dask.threaded.get(graph, "answer", num_workers=8)
    leave(answer, ran, built)


def main() -> None:
    asked = Asked()
    scheduler = "sync" if "sync" in asked.options else "threads"
    (run_raw if "raw" in asked.options else run_delayed)(asked, scheduler)


if __name__ == "__main__":
    main()
