"""The executors that come with the core, by name; each is imported when it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from flowkit.executors import Executor


def _inline(slots: int) -> Executor:
    from flowkit.executors.inline import InlineExecutor

    return InlineExecutor()


def _threads(slots: int) -> Executor:
    from flowkit.executors.threads import ThreadExecutor

    return ThreadExecutor(slots)


#: Name → how to make one with so many slots.
LOCAL: Mapping[str, Callable[[int], Executor]] = {"inline": _inline, "threads": _threads}
