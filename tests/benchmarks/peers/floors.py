"""Not peers: what one would write by hand. No report, no capture, no reuse but where it says so.

``loop``: the functions one after another. ``pool``: ``graphlib`` and a pool of eight threads.
``sqlite`` and ``diskcache``: the loop over a store of results, keyed by a hash of name and inputs.
"""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable
from graphlib import TopologicalSorter
from typing import Any

from tests.benchmarks.peers import Asked, Clock, leave
from tests.benchmarks.workloads import DOUBLES_IN_MB, Step, function_of, in_order, nap, steps

Graph = dict[str, Step]
Functions = dict[str, Callable[..., Any]]


def loop(graph: Graph, functions: Functions) -> object:
    """Call one after another."""
    values: dict[str, Any] = {}
    for name in TopologicalSorter({s.name: s.needs for s in graph.values()}).static_order():
        values[name] = functions[name](*[values[need] for need in graph[name].needs])
    return values["answer"]


def pool(graph: Graph, functions: Functions) -> object:
    """Call in threads whatever is ready."""
    from concurrent.futures import ThreadPoolExecutor
    from queue import SimpleQueue

    values: dict[str, Any] = {}
    done: SimpleQueue[tuple[str, Any]] = SimpleQueue()
    sorter = TopologicalSorter({s.name: s.needs for s in graph.values()})
    sorter.prepare()

    def call(name: str, arguments: list[Any]) -> None:
        done.put((name, functions[name](*arguments)))

    with ThreadPoolExecutor(8) as threads:
        while sorter.is_active():
            for name in sorter.get_ready():
                threads.submit(call, name, [values[need] for need in graph[name].needs])
            name, values[name] = done.get()
            sorter.done(name)
            while not done.empty():
                name, values[name] = done.get()
                sorter.done(name)
    return values["answer"]


def stored(graph: Graph, functions: Functions, kind: str) -> object:
    """Call what the store does not know."""
    get, put, close = _sqlite() if kind == "sqlite" else _diskcache()
    values: dict[str, Any] = {}
    for name in TopologicalSorter({s.name: s.needs for s in graph.values()}).static_order():
        arguments = [values[need] for need in graph[name].needs]
        key = hashlib.blake2b(pickle.dumps((name, arguments), 5), digest_size=16).hexdigest()
        values[name] = get(key)
        if values[name] is None:
            values[name] = functions[name](*arguments)
            put(key, values[name])
    close()
    return values["answer"]


def _sqlite() -> tuple[Callable[[str], Any], Callable[[str, Any], None], Callable[[], None]]:
    import sqlite3

    base = sqlite3.connect("store.db", isolation_level=None)
    base.execute("PRAGMA journal_mode = wal")
    base.execute("PRAGMA synchronous = normal")
    base.execute("CREATE TABLE IF NOT EXISTS results (k TEXT PRIMARY KEY, v BLOB) WITHOUT ROWID")
    base.execute("BEGIN")

    def get(key: str) -> Any:
        row = base.execute("SELECT v FROM results WHERE k = ?", (key,)).fetchone()
        return None if row is None else pickle.loads(row[0])

    def put(key: str, value: Any) -> None:
        base.execute("INSERT INTO results VALUES (?, ?)", (key, pickle.dumps(value, 5)))

    def close() -> None:
        base.execute("COMMIT")
        base.close()

    return get, put, close


def _diskcache() -> tuple[Callable[[str], Any], Callable[[str, Any], None], Callable[[], None]]:
    import diskcache

    cache = diskcache.Cache("store", eviction_policy="none")
    return cache.get, cache.set, cache.close


def without_graph(asked: Asked) -> object:
    """Return the answer of a workload that is a list or an array."""
    if asked.workload == "mapped":
        return sum([element for element in list(range(asked.n))])  # noqa: C416 - a list of results, as others have
    import numpy

    value = numpy.arange(asked.size * DOUBLES_IN_MB, dtype="float64")
    for _ in range(1, asked.n if asked.workload == "arrays" else 1):
        value = value + 1
    return float(value.mean())


def main() -> None:
    asked = Asked()
    (mode,) = asked.options
    if asked.workload in ("mapped", "big", "arrays"):
        with Clock() as ran:
            answer = without_graph(asked)
        leave(answer, ran)
        return
    with Clock() as built:
        graph = in_order(steps(asked.workload, asked.n))
        functions = {step.name: nap if step.kind == "nap" else function_of(step) for step in graph.values()}
    with Clock() as ran:
        if mode == "loop":
            answer = loop(graph, functions)
        elif mode == "pool":
            answer = pool(graph, functions)
        else:
            answer = stored(graph, functions, mode)
    leave(answer, ran, built)


if __name__ == "__main__":
    main()
