"""Why a node has to run again, in words: the first difference between its last key and this one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from flowkit_plugins.cache.files import relative
from flowkit_plugins.cache.fingerprint import BODY, Part
from flowkit_plugins.cache.fingerprint import explain as explain_code
from flowkit_plugins.cache.plans import TaskPlan


def explain(
    before: Mapping[str, Any],
    code_before: Mapping[str, Part] | None,
    plan: TaskPlan,
    counted: Mapping[str, str],
    code_now: Mapping[str, Part],
    root: Path,
) -> str | None:
    """Return what changed since the last success of a node, or None if nothing can be named.

    Args:
        before: The parts of the last key, as they were stored.
        code_before: Its pieces of code; None if it had but its own.
        plan: What is the same for all nodes of the task.
        counted: What each argument from above counts as now.
        code_now: The pieces of code that count now.
        root: Files below it are named relative to it.
    """
    if before.get("code") != plan.hexed:
        if code_before is None:  # it reached nothing: that is not kept
            return f"code of `{code_now[BODY].name}` changed"
        return explain_code(code_before, code_now) or "code changed"
    return (
        _options(before.get("said", {}), plan.said)
        or _parameters(before, plan, root)
        or next(changed_inputs(before, counted, plan), None)
    )


def _options(before: Mapping[str, str], now: Mapping[str, str]) -> str | None:
    for name in ("version", "salt", "environment"):
        old, new = before.get(name), now.get(name)
        if old != new:
            shown = f": {old or 'none'} → {new or 'none'}" if name == "version" else ""
            return f"`{name}` changed{shown}"
    return None


def _parameters(before: Mapping[str, Any], plan: TaskPlan, root: Path) -> str | None:
    fixed: Mapping[str, Any] = before.get("fixed", {})
    for name, (digest, looks) in plan.shown.items():
        old = fixed.get(name)
        if old is None:
            return f"parameter `{name}` is new"
        if old[0] != digest:
            if old[1] != looks:
                return f"parameter `{name}` changed: {old[1]} → {looks}"
            return _file(before.get("files", {}).get(name, {}), plan, name, root) or f"parameter `{name}` changed"
    for name in fixed:
        if name not in plan.shown:
            return f"parameter `{name}` is gone"
    return None


def _file(before: Mapping[str, str], plan: TaskPlan, name: str, root: Path) -> str | None:
    for fact in plan.files.get(name, ()):
        if before.get(fact.path) != fact.digest:
            return f"file {relative(fact.path, root)} changed"
    return None


def changed_inputs(before: Mapping[str, Any], counted: Mapping[str, str], plan: TaskPlan) -> Iterator[str]:
    """Yield what changed of what came from above: ``before`` in the parts of the last key, ``counted`` now."""
    old: Mapping[str, str] = before.get("up", counted)  # what had no key says nothing of them
    for name, now in counted.items():
        element = name in plan.elements
        shown = f"`{name.replace('+', ',') if element else name}`"
        if name not in old:
            yield f"{'element' if element else 'input'} {shown} is new"
        elif old[name] != now:
            yield f"{'element' if element else 'upstream'} {shown} changed"
    for name in old:
        if name not in counted:
            yield f"input `{name}` is gone"
