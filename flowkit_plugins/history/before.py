"""How long nodes took before, and how long a run will still take. See ``services.Before``."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence

from flowkit.reports import NodeReport
from flowkit.services import Before
from flowkit_plugins.history.reading import History, HistoryError

#: Runs that are looked at for a node that did not run in the last one.
RUNS = 3


class Durations:
    """What the last runs of some flows tell. Nothing is read before somebody asks.

    Args:
        history: Where runs are.
        otherwise: Asked for what no run knows, or None.
    """

    def __init__(self, history: History, otherwise: Before | None) -> None:
        self._history = history
        self._otherwise = otherwise
        self._took: dict[str, float] | None = None
        self._elements: dict[str, int] = {}
        self._left: dict[str, float] = {}
        self._slots = 1
        self._flows: tuple[str, ...] = ()
        self._own = ""
        self._lock = threading.Lock()

    def begin(self, flows: Sequence[str], slots: int, run: str) -> None:
        """Say which flows are run, on how many slots, and as which run."""
        self._flows = tuple(flows)
        self._slots = slots
        self._own = run

    def took(self, node: str) -> float | None:
        """Return the seconds a node (full id) took the last time it ran; None if nobody knows."""
        found = self._all().get(node)
        if found is None and self._otherwise is not None:
            return self._otherwise.took(node)
        return found

    last = took

    def count(self, task: str) -> int:
        """Return how many elements a mapped task (its key) had the last time; 0 if nobody knows."""
        self._all()
        found = self._elements.get(task, 0)
        return self._otherwise.count(task) if not found and self._otherwise is not None else found

    def left(self) -> float | None:
        """Return about how many seconds the run that goes on will still take; None if nobody knows.

        What the nodes that have not ended took the last time, shared among the slots, and no less
        than the longest of them.
        """
        self._all()
        with self._lock:
            if not self._left:
                return None
            return max(sum(self._left.values()) / self._slots, *self._left.values())

    def ended(self, reports: Iterable[NodeReport]) -> None:
        """Take in that nodes of the run ended."""
        if self._took is not None:
            with self._lock:
                for report in reports:
                    self._left.pop(report.full_id, None)

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
                self._left = dict(self._took)
            return self._took

    def _read(self, flow: str) -> None:
        assert self._took is not None  # the caller made it
        before: int | None = None
        for number in range(RUNS):
            run = self._history.latest(flow, before)
            if run is not None and run.id == self._own:
                run = self._history.latest(flow, run.number)
            if run is None:
                return
            before = run.number
            missing = 0
            for end in self._history.nodes(run):
                if number == 0 and end.node.endswith("]"):
                    task = end.node.partition("[")[0]
                    self._elements[task] = self._elements.get(task, 0) + 1
                took = end.took
                if took is None:
                    missing += 1
                else:
                    self._took.setdefault(end.node, took)
            if not missing and run.status == "ok":
                return
