"""``flowkit repro``: find what a node was called with, and write a test that calls it with that.

The flow is run up to that node, with every upstream answered from what the run stored: nothing is
called. What the node would then have been called with is what it was called with.
"""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path, PurePath
from typing import Any

from flowkit.errors import FailRequested, FlowkitError, OptionError, SelectionError
from flowkit.hookspecs import Known, Stale, hookimpl
from flowkit.inputs import Inputs
from flowkit.parameters import Sources, is_secret
from flowkit.reports import Attempt
from flowkit.scheduler import Node
from flowkit.services import Results
from flowkit.session import Session
from flowkit.settling import reachable
from flowkit.values import Collected, Handle, ValueMissing
from flowkit_plugins.history import facts
from flowkit_plugins.history.reading import BY_HAND, AttemptEnd, History, NodeEnd, RunRow

#: Characters up to which a value is written out in the test.
LONGEST = 2000
ENDED = ("ran", "same", "cached")


class Gathering:
    """Answers for every node of a run from its record, and takes the arguments of one.

    Args:
        node: The full id of that one.
        ends: How nodes ended, by full id.
        results: What is stored of them.
    """

    def __init__(self, node: str, ends: Mapping[str, NodeEnd], results: Results) -> None:
        self._node = node
        self._ends = ends
        self._results = results
        self.arguments: dict[str, object] | None = None
        self.missing: list[str] = []

    @hookimpl(tryfirst=True)
    def flowkit_node_lookup(self, node: Node, inputs: Inputs) -> Known | Stale:
        """Answer from the record."""
        end = self._ends.get(node.full_id)
        if end is None or node.full_id == self._node:
            return Stale(reason="")
        if end.word == "skipped":
            return Known(skipped=end.reason or "")
        handle = self._results.value(end.key) if end.key and end.word in ENDED else None
        return (
            Stale(reason="not stored") if handle is None else Known(value=handle, key=end.key or "")
        )

    @hookimpl
    def flowkit_attempt_started(self, attempt: Attempt) -> None:
        """Take the arguments, and have the attempt end before anything is called."""
        if attempt.full_id == self._node:
            found = attempt.arguments or {}
            try:
                self.arguments = {name: _fetched(value) for name, value in found.items()}
            except ValueMissing as error:  # it was stored, and the store has lost it
                self.missing.append(error.reason)
        else:
            self.missing.append(attempt.full_id)
        attempt.arguments = {"nothing": Handle(partial(_stop))}


def _stop() -> object:
    raise FailRequested("not called")


def _fetched(value: object) -> object:
    if type(value) is Handle:
        return value.get()
    if isinstance(value, Collected):
        return Collected(list(value), list(value.ids))
    return value


def write(history: History, run: RunRow, node: str, output: Path | None) -> Iterator[str]:
    """Write the test of a node, and yield what to say of it.

    Raises:
        SelectionError: Its inputs are not stored.
    """
    details, nodes = history.details(run), history.nodes(run)
    attempts = [attempt for _, attempt in history.attempts(run) if attempt.node == node]
    path, _, name = node.partition("::")
    file = next(
        (Path(f) for p, f, _ in history.flows() if p == path and f),
        Path(str(details["root"])) / path,
    )
    history.close()
    ends = {end.node: end for end in nodes}
    end = ends[node]
    if end.word in ("upstream", "not run", "skipped") and not end.tries:
        raise SelectionError(
            f"{node} was not called in run {run.id}: {end.reason or end.word}",
            remedy="Name a node that was.",
        )
    if end.word in ENDED and (end.reason or "").startswith(BY_HAND):
        raise SelectionError(
            f"{node} was not called in run {run.id}: it was {end.reason}",
            remedy=f"Name the run that it failed in: {run.continues or 'flowkit runs lists them'}.",
        )
    inputs, params = _gathered(file, node, ends, details)
    slug = re.sub(r"\W+", "_", name).strip("_")
    target = output or Path(f"test_{slug}_{run.id}.py")
    text, pickled = _text(
        target,
        file,
        name=name,
        run=run,
        end=end,
        last=attempts[-1:],
        inputs=inputs,
        params=params,
        details=details,
    )
    _put(target, text.encode())
    yield f"{target}: {_said(end, attempts)}"
    if pickled:
        import cloudpickle

        beside = target.with_suffix(".inputs")
        _put(beside, cloudpickle.dumps(pickled))
        yield f"{beside}: {', '.join(sorted(pickled))}"
    yield f"pytest {target}"


def _put(file: Path, content: bytes) -> None:
    try:
        file.write_bytes(content)
    except OSError as error:
        raise OptionError(
            f"-o {file}: cannot be written: {error.strerror or error}",
            remedy="Name a file in a folder that is there.",
        ) from error


def _gathered(
    file: Path, node: str, ends: Mapping[str, NodeEnd], details: dict[str, Any]
) -> tuple[dict[str, object], dict[str, object]]:
    """Return what a node was called with, and the parameters of its resources."""
    name = node.partition("::")[2]
    session = Session([f"{file}::{name}"])
    session.scheduled_at = facts.scheduled(details)
    try:
        known = {flag.keyword for flag in session.known_flags()}
        session.configure(
            {"executor": "inline", **({"no_history": True} if "no_history" in known else {})}
        )
        results = session.services.get(Results)
        if results is None:
            raise FlowkitError("flowkit repro needs the cache plugin: inputs are stored there")
        gathering = Gathering(node, ends, results)
        session.plugins.register(gathering, "history:gathering")
        sources = session.prepare(Sources())
        for parameter, noted in details.get("params", {}).items():
            given = facts.given_of(noted)
            if given is not None:
                sources.far[parameter] = given
            elif noted["given"] is not None and sources.find(parameter) is None:
                raise FlowkitError(
                    f"parameter {parameter!r} is not stored: set $FLOWKIT_PARAM_{parameter.upper()}"
                )
        run = session.execute(params=sources, keep=False)
        if gathering.arguments is None:
            lacking = ", ".join(gathering.missing) or "its list of elements"
            raise SelectionError(
                f"the inputs of {node} are not stored any more: {lacking}",
                remedy="Resume the run instead, or run it again with --pdb.",
            )
        task = next(
            t
            for t in run.report.run.graph.tasks
            if t.name == name.partition("[")[0] and t.given is None
        )
        wanted = {
            p for r in reachable(list(task.resources.values())) for p in r.parameters.values()
        }
        return gathering.arguments, {p: run.report.run.params[p] for p in sorted(wanted)}
    finally:
        session.close()


def _text(
    target: Path, file: Path, *, name: str, run: RunRow, end: NodeEnd, last: list[AttemptEnd],
    inputs: Mapping[str, object], params: Mapping[str, object], details: Mapping[str, Any],
) -> tuple[str, dict[str, object]]:  # fmt: skip
    """Return the test, and the values that have to be stored beside it."""
    pickled: dict[str, object] = {}
    here = target.resolve().parent
    lines = [f"        {key!r}: {_value(key, value, pickled)}," for key, value in inputs.items()]
    more = [
        f"        {key!r}: {_value(key, value, pickled)},"
        for key, value in params.items()
        if not is_secret(value)
    ]
    folder = os.path.relpath(str(details["folder"]), here)
    where = os.path.relpath(file, here)
    error = f": {last[0].error.splitlines()[0]}" if last and last[0].error else ""
    body = "\n".join(lines + more)
    used = [
        helper
        for helper in ("call", "secret", "stored")
        if helper == "call" or f"{helper}(" in body
    ]
    text = [
        f'"""{_quoted(f"{end.node} of run {run.id}, which {_ended(end)}{error}")}',
        "",
        "Written by flowkit repro: the task is called with the inputs that it had in that run.",
        '"""',
        "",
        "from pathlib import Path",
        "",
        f"from flowkit_plugins.history.replay import {', '.join(used)}",
        "",
        "HERE = Path(__file__).parent",
        "",
        "",
        f"def test_{re.sub(r'[^0-9a-zA-Z_]+', '_', name).strip('_')}_of_run_{run.id}():",
        "    inputs = {",
        *lines,
        "    }",
    ]
    extra = ", params=params" if more else ""
    if more:
        text += ["    params = {", *more, "    }"]
    text += [f"    call(HERE / {where!r}, {name!r}, inputs{extra}, folder=HERE / {folder!r})", ""]
    return "\n".join(text), pickled


def _value(name: str, value: object, pickled: dict[str, object]) -> str:
    """Return a value as Python writes it, or the call that fetches it from beside the test."""
    if is_secret(value):
        return f"secret({name!r})"
    if isinstance(value, PurePath):
        return f"Path({str(value)!r})"
    text = (
        repr(value)
        if isinstance(value, (str, int, float, bool, list, tuple, dict, type(None)))
        else ""
    )
    if text and len(text) <= LONGEST:
        try:
            if ast.literal_eval(text) == value:
                return text
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            pass
    pickled[name] = value
    return f"stored(__file__, {name!r})"


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"""', "'''")


def _ended(end: NodeEnd) -> str:
    words = {"timeout": "took too long", "error": "could not be run", "cached": "was reused", "skipped": "was skipped",
             "same": "ran", "replaced": "failed", "interrupted": "was interrupted"}  # fmt: skip
    return words.get(end.word, end.word)


def _said(end: NodeEnd, attempts: list[AttemptEnd]) -> str:
    error = attempts[-1].error if attempts and attempts[-1].error else ""
    return f"calls `{end.node}`, which {_ended(end)}{f': {error.splitlines()[0]}' if error else ''}"
