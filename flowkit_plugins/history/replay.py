"""What a file written by ``flowkit repro`` calls: one task, with the inputs that it once had."""

from __future__ import annotations

import contextlib
import os
import pickle
import time
from collections.abc import Mapping
from pathlib import Path
from types import CoroutineType
from typing import Any

from flowkit import imports
from flowkit.errors import FailRequested, SkipRequested, TaskFailed, TaskTimeout
from flowkit.executors.coroutines import EventLoop
from flowkit.graph import BoundTask, Graph
from flowkit.lifetimes import Lifetimes, Live, SetupFailed
from flowkit.parameters import Sources
from flowkit.reports import Attempt, RunInfo, current
from flowkit.scheduler import Node
from flowkit.secrets import masking
from flowkit.session import Session
from flowkit.settings import PREFIX


def stored(file: str, name: str) -> Any:
    """Return an input that was too large or too special to be written out, from beside the test ``file``."""
    with open(Path(file).with_suffix(".inputs"), "rb") as opened:
        return pickle.load(opened)[name]  # noqa: S301 - `flowkit repro` wrote it beside the test that reads it


def secret(name: str) -> Any:
    """Return a secret parameter: it is never written to a file, and comes from the environment."""
    import pydantic

    variable = f"{PREFIX}PARAM_{name.upper()}"
    if variable not in os.environ:
        raise LookupError(f"parameter {name!r} is a secret: set ${variable}")
    return pydantic.SecretStr(os.environ[variable])


def call(
    flow: str | Path,
    node: str,
    inputs: Mapping[str, Any],
    *,
    params: Mapping[str, Any] | None = None,
    folder: str | Path | None = None,
) -> Any:
    """Call a task of a flow and return what it returns, or raise what it raises.

    Its resources are set up for this call and torn down after it. Nothing is reused or recorded.

    Args:
        flow: The flow's file.
        node: The node's id, as in ``page[3]``.
        inputs: Its arguments, resources excepted.
        params: Values of the parameters that its resources take.
        folder: The current folder while it is called.
    """
    session = Session([f"{flow}::{node.partition('[')[0]}"])
    try:
        known = {flag.keyword for flag in session.known_flags()}
        session.configure({name: True for name in ("no_history", "no_cache") if name in known})
        graph = session.collect()
        task = next(
            t
            for t in graph.tasks
            if t.name == node.partition("[")[0] and t in session.select().targets
        )
        alone = Graph([], graph.flows)
        alone.tasks = (task,)
        values = session.settle(alone, Sources(given=params), unknown=False)
        now = session.clock.wall().astimezone()
        run = RunInfo(
            "repro", alone, values, "inline", 1, now, session.clock.now(), session.scheduled_at, str(session.root),
            options=session.flags, mask=masking(values),
        )  # fmt: skip
        attempt = Attempt(Node(task, (), node), 1, run, session.clock.now())
        with contextlib.ExitStack() as stack:
            if folder is not None:
                stack.enter_context(contextlib.chdir(folder))
            stack.enter_context(
                imports.importable(str(imports.top_of_package(Path(flow).resolve())[0]))
            )
            return _called(task, attempt, dict(inputs))
    finally:
        session.close()


def _called(task: BoundTask, attempt: Attempt, arguments: dict[str, Any]) -> Any:
    loop = EventLoop()
    lifetimes = Lifetimes(loop.wait, lambda resource, node, error: None)
    stack: list[Live] = []
    token = current.set(attempt)
    attempt.arguments = arguments
    began = time.monotonic()
    try:
        for name, resource in task.resources.items():
            arguments[name] = lifetimes.value(resource, attempt, stack)
        assert task.declaration is not None  # it was found by its name in a module
        value = task.declaration.function(**arguments)
        if type(value) is CoroutineType:
            value = loop.wait(value)
    except SetupFailed as failed:
        raise failed.error from None
    except FailRequested as failed:
        raise TaskFailed(str(failed)) from None
    except SkipRequested as skipped:
        import pytest

        pytest.skip(str(skipped))
    finally:
        lifetimes.close(stack)
        lifetimes.close_shared()
        loop.stop()
        current.reset(token)
    if task.deadline is not None and time.monotonic() - began > task.deadline:
        raise TaskTimeout(f"took longer than {task.deadline:g}s")
    return value
