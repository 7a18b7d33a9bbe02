"""Builds what plugins are shown: attempts, runs and graphs, from the real classes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from random import Random
from types import ModuleType, SimpleNamespace
from typing import Any

from flowkit.secrets import masking
from flowkit.declarations import Declaration
from flowkit.graph import BoundFlow, BoundTask, Graph
from flowkit.plugins import Plugins
from flowkit.reports import Attempt, RunInfo, RunReport, current
from flowkit.scheduler import Node

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)


def a_task(name: str = "fetch", *, flow: BoundFlow | None = None, **options: object) -> BoundTask:
    """A task of flow ``weather`` whose options are normalised already."""

    def function() -> None: ...

    flow = flow or BoundFlow("weather", "weather.py")
    declaration = Declaration(function, {"name": name})
    return BoundTask(f"{flow.path}::{name}", name, flow, declaration, options=dict(options))


def a_graph(*tasks: BoundTask) -> Graph:
    return Graph(tasks, list(dict.fromkeys(t.flow for t in tasks)))


def a_run(
    run_id: str = "r1",
    *,
    params: Mapping[str, object] | None = None,
    root: object = ".",
    **options: object,
) -> RunInfo:
    return RunInfo(
        run_id, a_graph(), params or {}, "threads", 4, NOON, 0.0, NOON, str(root), options,
        mask=masking(params or {}),
    )


def an_attempt(
    task: BoundTask | None = None,
    *,
    run: RunInfo | None = None,
    element: str = "",
    number: int = 1,
    started: float = 0.0,
) -> Attempt:
    """An attempt that runs; of element ``element`` if the task is mapped."""
    task = task or a_task()
    node = Node(task, (), f"{task.name}[{element}]" if element else task.name)
    return Attempt(node, number, run or a_run(), started)


def a_session(*plugins: ModuleType, **attributes: Any) -> Any:
    """A session with these plugins and nothing else, configured."""
    session = SimpleNamespace(plugins=Plugins(), services={}, random=Random(7), scheduled_at=NOON, **attributes)
    for plugin in plugins:
        session.plugins.register(plugin, plugin.__name__.rpartition(".")[2])
    session.plugins.all("flowkit_configure", session=session)
    assert not session.plugins.check()
    return session


def the_report(run: RunInfo) -> RunReport:
    return RunReport(run)


@contextmanager
def inside(attempt: Attempt) -> Iterator[Attempt]:
    """Run the block as the body of an attempt's task."""
    token = current.set(attempt)
    try:
        yield attempt
    finally:
        current.reset(token)
