"""The order of hooks, as pluggy has it: last registered first, but for tryfirst and the like."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from flowkit.hookspecs import Again, hookimpl
from flowkit.plugins import Plugins

VECTORS = Path(__file__).parent.parent / "data" / "vectors" / "plugin_order_pluggy.json"
ROWS = json.loads(VECTORS.read_text())["rows"]
ids = pytest.mark.parametrize("row", ROWS, ids=lambda row: ", ".join(row["add"])[:60])


def implementation(name, hook, traits, called):
    """A plugin that notes its name when ``hook`` is called (a wrapper: when it is entered)."""

    def plain(report):
        called.append(name)

    def wrapper(report):
        called.append(name)
        return (yield)

    marks = {trait: True for trait in traits}
    return SimpleNamespace(**{hook: hookimpl(wrapper if "wrapper" in traits else plain, **marks)})


def registered(row, hook, called):
    plugins = Plugins()
    for entry in row["add"]:
        name, _, traits = entry.partition(":")
        plugins.register(
            implementation(name, hook, traits.split(",") if traits else [], called), name
        )
    return plugins


@ids
def test_a_hook_calls_its_implementations_in_pluggys_order(row):
    called: list[str] = []
    call = registered(row, "flowkit_run_ended", called).caller("flowkit_run_ended")
    call(object())
    assert called == row["called"]


@ids
def test_wrappers_are_entered_in_pluggys_order(row):
    plugins = registered(row, "flowkit_run_ended", [])
    wrappers = [entry.partition(":")[0] for entry in row["add"] if "wrapper" in entry]
    entered = [name for _, name in plugins.wrappers("flowkit_run_ended")]
    assert entered == [name for name in row["called"] if name in wrappers]


def test_the_first_answer_in_that_order_decides():
    plugins = Plugins()
    for name, traits in (("a", {"trylast": True}), ("b", {}), ("c", {"tryfirst": True})):

        def answer(name=name):
            return None if name == "c" else Again(not_before=0.0, reason=name)

        plugins.register(SimpleNamespace(flowkit_attempt_failed=hookimpl(answer, **traits)), name)
    ask = plugins.caller("flowkit_attempt_failed", first=True)
    assert ask(object()).reason == "b"
