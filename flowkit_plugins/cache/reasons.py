"""Why a node has to run again, in words: the first difference between its last key and this one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flowkit_plugins.cache.fingerprint import Part
from flowkit_plugins.cache.fingerprint import explain as explain_code
from flowkit_plugins.cache.keys import TaskPlan


def explain(
    before: Mapping[str, Any],
    code_before: Mapping[str, Part] | None,
    plan: TaskPlan,
    counted: Mapping[str, str],
    code_now: Mapping[str, Part],
) -> str | None:
    """Return what changed since the last success of a node, or None if nothing can be named.

    Args:
        before: The parts of the last key, as they were stored.
        code_before: Its pieces of code; None if they were not kept.
        plan: What is the same for all nodes of the task.
        counted: What each argument from above counts as now.
        code_now: The pieces of code that count now.
    """
    if before.get("code") != plan.code.hex:
        said = explain_code(code_before, code_now) if code_before else None
        return said or "code changed"
    fixed: Mapping[str, Any] = before.get("fixed", {})
    for name, (digest, looks) in plan.shown.items():
        old = fixed.get(name)
        if old is None:
            return f"parameter `{name}` is new"
        if old[0] != digest:
            return _parameter(name, str(old[1]), looks)
    for name in fixed:
        if name not in plan.shown:
            return f"parameter `{name}` is gone"
    up: Mapping[str, Any] = before.get("up", {})
    for name, now in counted.items():
        if name not in up:
            return f"input `{name}` is new"
        if up[name] != now:
            return f"upstream `{name}` changed"
    if any(name not in counted for name in up):
        return "an input is gone"
    if code_before is not None:
        return explain_code(code_before, code_now)
    return None


def _parameter(name: str, old: str, new: str) -> str:
    if old == new:
        return f"file {new} changed"
    return f"parameter `{name}` changed: {old} → {new}"
