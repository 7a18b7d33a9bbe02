"""The graphs that everybody runs, and their right answers.

A graph is a list of steps in an order in which each comes after what it needs. The last one is
called ``answer``. Whoever runs it takes the steps as they are (functions, names, needs), or has
``sources`` write them as a module.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

MODULUS = 1_000_003
LAYER = 20  #: steps in each layer of ``layered``
NAP = 0.01  #: seconds
DOUBLES_IN_MB = 125_000


@dataclass(frozen=True, slots=True)
class Step:
    """One function of a graph.

    Attributes:
        name: What others ask for.
        kind: What it does with what it needs; a key of ``FUNCTIONS``.
        needs: Names of other steps.
        number: What a ``number`` returns.
    """

    name: str
    kind: str
    needs: tuple[str, ...] = ()
    number: int = 0


def nap(*_: object) -> int:
    """Sleep as long as a step of ``sleep`` takes."""
    time.sleep(NAP)
    return 1


#: Kind → what it does with the values of what it needs.
FUNCTIONS: dict[str, Callable[..., int]] = {
    "next": lambda before: before + 1,
    "mix": lambda *layer: sum(layer) % MODULUS,
    "total": lambda *values: sum(values),
    "nap": nap,
}


def function_of(step: Step) -> Callable[..., int]:
    """Return a step as a function of the values that it needs, in order."""
    if step.kind == "number":
        number = step.number
        return lambda: number
    return FUNCTIONS[step.kind]


def steps(workload: str, n: int) -> list[Step]:
    """Return the graph of a workload of size ``n``; mapped and array workloads have none."""
    found: list[Step]
    if workload == "one":
        found = [Step("t0", "number", number=1)]
        last = ["t0"]
    elif workload == "chain":
        found = [Step("t0", "number")]
        found += [Step(f"t{i}", "next", (f"t{i - 1}",)) for i in range(1, n)]
        last = [f"t{n - 1}"]
    elif workload == "wide":
        found = [Step(f"t{i}", "number", number=i) for i in range(n)]
        last = [s.name for s in found]
    elif workload == "sleep":
        found = [Step(f"t{i}", "nap") for i in range(n)]
        last = [s.name for s in found]
    elif workload == "layered":
        found = [Step(f"t0_{j}", "number", number=1) for j in range(LAYER)]
        for i in range(1, n):
            above = tuple(f"t{i - 1}_{j}" for j in range(LAYER))
            found += [Step(f"t{i}_{j}", "mix", above) for j in range(LAYER)]
        last = [f"t{n - 1}_{j}" for j in range(LAYER)]
    else:
        raise ValueError(workload)
    return [*found, Step("answer", "total", tuple(last))]


def tasks_in(workload: str, n: int) -> int:
    """Return how many nodes a workload has, so that cost per node can be told."""
    if workload == "layered":
        return n * LAYER + 1
    return {"one": 2, "mapped": n + 2, "big": 2, "arrays": n + 1}.get(workload, n + 1)


def expected(workload: str, n: int, size: int = 0) -> float:
    """Return the right answer.

    Args:
        workload: Its name.
        n: How many steps, layers or elements it has.
        size: Of an array, in MB.
    """
    if workload == "chain":
        return n - 1
    if workload in ("wide", "mapped"):
        return n * (n - 1) // 2
    if workload == "sleep":
        return n
    if workload == "one":
        return 1
    if workload == "layered":
        value = 1
        for _ in range(1, n):
            value = LAYER * value % MODULUS
        return LAYER * value
    mean = (size * DOUBLES_IN_MB - 1) / 2
    return mean if workload == "big" else mean + n - 1


def in_order(graph: Sequence[Step]) -> dict[str, Step]:
    """Return the steps by name."""
    return {step.name: step for step in graph}
