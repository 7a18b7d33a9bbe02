"""Why a node has to run again, in words: the first difference between its last key and this one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from flowkit.graph import BoundTask
from flowkit_plugins.cache.besides import Besides
from flowkit_plugins.cache.fingerprint import BODY, Part
from flowkit_plugins.cache.fingerprint import explain as explain_code
from flowkit_plugins.cache.keys import Keys
from flowkit_plugins.cache.plans import TaskPlan


def explain(
    before: Mapping[str, Any],
    code_before: Mapping[str, Part] | None,
    task: BoundTask,
    counted: Mapping[str, str],
    keys: Keys,
) -> str | None:
    """Return what changed since the last success of a node, or None if nothing can be named.

    Args:
        before: The parts of the last key, as they were stored.
        code_before: Its pieces of code; None if it had but its own.
        task: The node's.
        counted: What each argument from above counts as now.
        keys: What counts for its task now.
    """
    plan = keys.plan(task)
    if before.get("code") != plan.hexed:
        code_now = keys.code_parts(task)
        if code_before is None:  # it reached nothing: that is not kept
            return f"code of `{code_now[BODY].name}` changed"
        return explain_code(code_before, code_now) or "code changed"
    return (
        _options(before.get("said", {}), plan.said)
        or next(changed_parameters(before, plan, keys.besides), None)
        or next(changed_inputs(before, counted, task, keys.besides), None)
    )


def _options(before: Mapping[str, str], now: Mapping[str, str]) -> str | None:
    for name in ("version", "salt", "environment"):
        old, new = before.get(name), now.get(name)
        if old != new:
            shown = f": {old or 'none'} → {new or 'none'}" if name == "version" else ""
            return f"`{name}` changed{shown}"
    return None


def changed_parameters(before: Mapping[str, Any], plan: TaskPlan, besides: Besides) -> Iterator[str]:
    """Yield what changed of the parameters: ``before`` in the parts of the last key, in ``plan`` now."""
    fixed: Mapping[str, Any] = before.get("fixed", {})
    for name, now in plan.shown.items():
        old = fixed.get(name)
        if old is None:
            yield f"parameter `{name}` is new"
        elif old[0] != now[0]:
            beside = besides.changed(before.get("besides", {}).get(name, {}), plan.besides.get(name, {}))
            values = _values(old, now)
            yield f"parameter `{name}` changed: {values}" if values else next(beside, f"parameter `{name}` changed")
    for name in fixed:
        if name not in plan.shown:
            yield f"parameter `{name}` is gone"


def _values(old: Sequence[str], now: Sequence[str]) -> str:
    """Return two values of a parameter as they differ to the eye; nothing if they do not."""
    if old[1] == now[1] and len(old) == len(now):
        old, now = ([each[0], each[2] or repr(each[1])] for each in (old, now))
    return "" if old[1] == now[1] else f"{old[1]} → {now[1]}"


def changed_inputs(
    before: Mapping[str, Any], counted: Mapping[str, str], task: BoundTask, besides: Besides
) -> Iterator[str]:
    """Yield what changed of what came from above: ``before`` in the parts of the last key, ``counted`` now."""
    old: Mapping[str, str] = before.get("up", counted)  # what had no key says nothing of them
    noted = list(besides.changed(old, counted))
    yield from noted
    sources = {edge.argument: edge.part or edge.source.name for edge in task.edges}
    elements = {"+".join(element.arguments) for element in task.elements}
    for name, now in counted.items():
        if old.get(name) == now or " " in name:  # with a space: told above
            continue
        if name in sources:
            yield f"upstream `{sources[name]}` changed" if name in old else f"input `{name}` is new"
            continue
        shown = f"element `{name.replace('+', ',')}`" if name in elements else f"what `{name}` returns"
        if name not in old:
            yield f"{shown} is new"
        elif not noted:
            yield f"{shown} changed"
    for name in old:
        if name not in counted and " " not in name:
            yield f"input `{name}` is gone"
