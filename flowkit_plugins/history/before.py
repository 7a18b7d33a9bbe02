"""How long nodes took before. See ``services.Before`` and ``services.Typical``."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence

from flowkit.services import Before
from flowkit_plugins.history.reading import History, HistoryError
from flowkit_plugins.history.tree import task_of

#: Runs that are looked at for a node that did not run in the last one.
RUNS = 3


class Durations:
    """What the last runs of some flows tell. Nothing is read before somebody asks.

    Args:
        history: Where runs are.
        otherwise: Returns who is asked for what no run knows, or None. Called late: other plugins get ready after this one.
    """

    def __init__(self, history: History, otherwise: Callable[[], Before | None]) -> None:
        self._history = history
        self._otherwise = otherwise
        self._took: dict[str, float] | None = None
        self._elements: dict[str, int] = {}
        self._means: dict[str, float] = {}
        self._flows: tuple[str, ...] = ()
        self._own = ""
        self._lock = threading.Lock()

    def begin(self, flows: Sequence[str], run: str) -> None:
        """Say which flows are run, and as which run."""
        self._flows = tuple(flows)
        self._own = run

    def took(self, node: str) -> float | None:
        """Return the seconds a node (full id) took the last time it ran; None if nobody knows."""
        found = self._all().get(node)
        if found is None and (otherwise := self._otherwise()) is not None:
            return otherwise.took(node)
        return found

    def count(self, task: str) -> int:
        """Return how many elements a mapped task (its key) had the last time; 0 if nobody knows."""
        self._all()
        found = self._elements.get(task, 0)
        if not found and (otherwise := self._otherwise()) is not None:
            return otherwise.count(task)
        return found

    def typical(self, task: str) -> float | None:
        """Return the seconds a node of a task (its key) took the last time, on average; None if nobody knows."""
        self._all()
        return self._means.get(task)

    def _all(self) -> dict[str, float]:
        with self._lock:
            if self._took is None:
                self._took = {}
                try:
                    for flow in self._flows:
                        self._read(flow)
                except HistoryError:
                    pass  # whoever writes the history says so
                self._history.close()
                self._means = _means(self._took)
            return self._took

    def _read(self, flow: str) -> None:
        assert self._took is not None  # the caller made it
        before: int | None = None
        for _ in range(RUNS):
            run = self._history.latest(flow, before)
            if run is not None and run.id == self._own:
                run = self._history.latest(flow, run.number)
            if run is None:
                return
            before = run.number
            missing = 0
            elements: dict[str, int] = {}
            for end in self._history.nodes(run):
                if end.node.endswith("]"):
                    task = end.node.partition("[")[0]
                    elements[task] = elements.get(task, 0) + 1
                took = end.took
                if took is None:
                    missing += 1
                else:
                    self._took.setdefault(end.node, took)
            self._elements = elements | self._elements
            if not missing and run.status == "ok":
                return


def _means(took: Mapping[str, float]) -> dict[str, float]:
    """Return task → mean of what its nodes took."""
    sums: dict[str, list[float]] = {}
    for node, seconds in took.items():
        sums.setdefault(task_of(node), []).append(seconds)
    return {task: sum(each) / len(each) for task, each in sums.items()}
