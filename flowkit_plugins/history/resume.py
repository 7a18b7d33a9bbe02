"""``--resume``: which run is continued, with what, and what of it is kept.

Readiness is not computed from a list of what is left: the flow is run as ever, every expected
element is looked up by its id and key, and what the continued run recorded as ended well under
exactly that key is kept. An element that is new, or whose task or inputs changed, runs.
"""

from __future__ import annotations

import json
import typing
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from flowkit.errors import FailRequested, OptionError, SelectionError
from flowkit.hookspecs import Known, Stale, hookimpl
from flowkit.options import same
from flowkit.parameters import Given, Problem, Sources, convert
from flowkit.secrets import Mask
from flowkit.values import Handle
from flowkit_plugins.history import facts
from flowkit_plugins.history.reading import (
    BY_HAND,
    ENDED_WELL,
    History,
    HistoryError,
    Repair,
    RunRow,
)

if TYPE_CHECKING:
    from flowkit.inputs import Inputs
    from flowkit.reports import Attempt
    from flowkit.scheduler import Node
    from flowkit.session import Session


class Resumed:
    """The run that this one continues, and those that it continued itself. See ``services.Continuation``.

    Attributes:
        run: Its id.
        mask: Takes secrets out of the ids of nodes, as they are out of those that were noted.
    """

    def __init__(self, history: History, row: RunRow) -> None:
        self.run = row.id
        self.row = row
        self.mask: Mask = str
        self.details = history.details(row)
        self._history = history
        self._chain = _chain(history, row)
        self._ids = frozenset(each.id for each in self._chain)
        self._ended: dict[str, str | None] | None = None
        found: dict[str, Repair] = {}
        for each in reversed(self._chain):
            found.update({repair.node: repair for repair in history.repairs(each)})
        self.repairs = found

    def covers(self, run: str) -> bool:
        """Whether that run is continued, directly or through others."""
        return run in self._ids

    def key_of(self, node: str) -> str | None:
        """Return the key under which a node (full id) ended well; None if it did not."""
        if self._ended is None:
            self._ended = {}
            for run in reversed(self._chain):  # the oldest first; what ended well once has ended
                for end in self._history.nodes(run):
                    if end.word in ENDED_WELL:
                        self._ended[end.node] = end.key
            self._history.close()
        return self._ended.get(self.mask(node))


def _chain(history: History, row: RunRow) -> list[RunRow]:
    found = [row]
    while (above := found[-1].continues) is not None:
        run = history.run(above)
        if run is None or run in found:
            break
        found.append(run)
    return found


def flows_of(session: Session, history: History) -> list[str]:
    """Return the paths of the flows, among those that were ever run, that a session's targets name."""
    known = history.flows()
    found: list[str] = []
    for target in session.targets:
        module = target.module
        for path, file, name in known:
            if path not in found and _names(module, Path(file) if file else None, name):
                found.append(path)
    return found


def _names(target: Path | str | ModuleType, file: Path | None, module: str | None) -> bool:
    if isinstance(target, ModuleType):
        own = getattr(target, "__file__", None)
        return file is not None and own is not None and Path(own).resolve() == file.resolve()
    if isinstance(target, str):
        return module is not None and (module == target or module.startswith(f"{target}."))
    place = target.resolve()
    return file is not None and (place == file.resolve() or place in file.resolve().parents)


def wanted(session: Session, history: History, asked: object) -> Resumed | None:
    """Return the run that ``--resume`` means; None if there is none yet and none was named.

    Raises:
        OptionError: It cannot be resumed, or does not exist.
    """
    try:
        if isinstance(asked, str) and asked:
            row: RunRow | None = history.find(asked)
        else:
            row = history.latest_of(flows_of(session, history))
        if row is None:
            return None
        resumed = Resumed(history, row)
    except SelectionError as error:
        raise OptionError(
            f"--resume: {error.what}", known=error.known, remedy=error.remedy
        ) from None
    except HistoryError as error:
        raise OptionError(f"--resume: {error}", remedy="Run without --resume.") from None
    if session.flags.get("no_cache"):
        raise OptionError(
            "--resume continues from what is stored, which --no-cache ignores",
            remedy="Leave out one of them.",
        )
    if row.status == "running":
        raise OptionError(
            f"--resume: run {row.id} is still running (pid {row.pid})",
            remedy="Wait for it, or stop it.",
        )
    if not resumed.details.get("resumable"):
        raise OptionError(
            f"--resume: run {row.id} was made without a cache (--no-cache) and cannot be resumed",
            remedy="Run it again.",
        )
    session.scheduled_at = facts.scheduled(resumed.details)
    return resumed


# --- parameters -------------------------------------------------------------------------------


def parameters(session: Session, sources: Sources, resumed: Resumed) -> Mapping[str, Given]:
    """Return the parameters of the continued run.

    Raises:
        OptionError: Others were given, or some have to be given again.
    """
    noted: dict[str, dict[str, Any]] = resumed.details.get("params", {})
    known = {p.name: p for found in session.parameters.values() for p in found.values()}
    problems: list[str] = []
    found: dict[str, Given] = {}
    for name, then in noted.items():
        if name not in known:
            continue  # the flow was edited; whoever asked for it runs again
        now = sources.find(name)
        given = facts.given_of(then)
        if then["given"] is not None and given is None:
            if now is None:
                kind = (
                    "is a secret, and secrets are not stored"
                    if then["secret"]
                    else "was given from Python, and could not be stored"
                )
                problems.append(f"{name} {kind}: give it again")
        elif now is not None and not _alike(now, given, known[name]):
            problems.append(f"{name} was {then['shown']}, and now {now.origin} says otherwise")
        if given is not None:
            found[name] = Given(given.value, f"run {resumed.run}", text=given.text)
    if problems:
        raise OptionError(
            f"--resume continues run {resumed.run} with its parameters",
            known="\n".join(problems),
            remedy="Leave other values out; for other values start a new run.",
        )
    return found


def _alike(now: Given, then: Given | None, parameter: Any) -> bool:
    """Whether what is given now is what was given then (or the default, if nothing was)."""
    try:
        value = convert(now.value, parameter.annotation, text=now.text)
        before = (
            parameter.default
            if then is None
            else convert(then.value, parameter.annotation, text=then.text)
        )
    except Problem:
        return now == then
    try:
        return bool(value == before)
    except Exception:  # a comparison of the user's own may raise anything, and that of arrays is no bool
        return same(value, before)


# --- what was said by hand ---------------------------------------------------------------------


class ByHand:
    """Gives nodes the ends that ``flowkit set`` gave them. Registered only if there are any."""

    def __init__(self, repairs: Mapping[str, Repair]) -> None:
        self._repairs = repairs
        self._misfits: dict[str, str] = {}

    @hookimpl(tryfirst=True)
    def flowkit_node_lookup(self, node: Node, inputs: Inputs) -> Known | Stale | None:
        """Answer for nodes that were set."""
        repair = self._repairs.get(node.full_id)
        if repair is None:
            return None
        told = f"{BY_HAND} by {repair.who}"
        if repair.what == "skip":
            return Known(skipped=repair.value or "skipped by hand", reason=told)
        if repair.what == "fail":
            return Stale(reason=told)
        try:
            value = _converted(json.loads(repair.value or "null"), node)
        except Problem as problem:
            self._misfits[node.full_id] = f"the value that was {told} does not fit: {problem}"
            return Stale(reason=told)
        return Known(value=Handle(lambda: value), reason=told)

    @hookimpl
    def flowkit_attempt_started(self, attempt: Attempt) -> None:
        """Have a node fail that was set to: fetching this argument ends it, before it is called."""
        repair = self._repairs.get(attempt.full_id)
        reason = self._misfits.get(attempt.full_id, "")
        if repair is not None and repair.what == "fail":
            reason = repair.value or "failed by hand"
        if reason:
            attempt.arguments = {
                **(attempt.arguments or {}),
                "set by hand": Handle(partial(_fail, reason)),
            }


def _fail(reason: str) -> object:
    raise FailRequested(reason)


def _converted(value: object, node: Node) -> object:
    """Return a value from JSON as the task's return annotation has it.

    Raises:
        Problem: It cannot be that.
    """
    declaration = node.task.declaration
    try:
        hints = (
            typing.get_type_hints(declaration.function, include_extras=True) if declaration else {}
        )
        return convert(value, hints["return"], text=False) if "return" in hints else value
    except Problem:
        raise
    except Exception:  # an annotation that cannot be read says nothing
        return value
