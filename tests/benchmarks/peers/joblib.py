"""joblib: eight threads, and no graph: ``layered`` is one parallel loop after another.

Option ``memory``: each function behind a ``Memory`` in the scratch folder, one thread.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from joblib import Memory, Parallel, delayed

from tests.benchmarks.peers import Asked, Clock, leave
from tests.benchmarks.workloads import DOUBLES_IN_MB, FUNCTIONS, LAYER, MODULUS


def same(value: int) -> int:
    """Return the value."""
    return value


def following(value: int) -> int:
    """Return the next number."""
    return value + 1


def mix(position: int, values: Sequence[int]) -> int:
    """Return what a step of ``layered`` returns."""
    return sum(values) % MODULUS


def total(values: Sequence[int]) -> int:
    """Return the sum."""
    return sum(values)


def array(size: int) -> Any:
    """Return an array of so many MB."""
    import numpy

    return numpy.arange(size * DOUBLES_IN_MB, dtype="float64")


def mean(values: Any) -> float:
    """Return the mean."""
    return float(values.mean())


def answer_of(asked: Asked) -> object:
    """Run the workload."""
    kept = "memory" in asked.options
    cache = Memory("joblib", verbose=0).cache if kept else same
    parallel = Parallel(n_jobs=1 if kept else 8, backend="threading")
    if asked.workload == "chain":
        value, step = 0, cache(following)
        for _ in range(1, asked.n):
            value = step(value)
        return value
    if asked.workload in ("wide", "mapped"):
        step = cache(same)
        return cache(total)(parallel(delayed(step)(i) for i in range(asked.n)))
    if asked.workload == "sleep":
        return total(parallel(delayed(FUNCTIONS["nap"])(i) for i in range(asked.n)))
    if asked.workload == "layered":
        layer, step = [1] * LAYER, cache(mix)
        for _ in range(1, asked.n):
            layer = parallel(delayed(step)(j, layer) for j in range(LAYER))
        return total(layer)
    return cache(mean)(cache(array)(asked.size))


def main() -> None:
    asked = Asked()
    with Clock() as ran:
        answer = answer_of(asked)
    leave(answer, ran)


if __name__ == "__main__":
    main()
