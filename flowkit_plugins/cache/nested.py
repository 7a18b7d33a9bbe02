"""A run inside a task: the task did more than its arguments tell, so it is not reused (ruling P15).

And what is left to do with reuse off, that one thing included.
"""

from __future__ import annotations

from flowkit.hookspecs import Stale, hookimpl
from flowkit.reports import Attempt, current_attempt
from flowkit_plugins.cache.serializing import readonly

#: In an attempt's stash.
_RAN_A_FLOW = "flowkit.cache: ran a flow"


def ran_a_flow(attempt: Attempt) -> bool:
    """Whether a run began in an attempt."""
    return attempt.stash is not None and _RAN_A_FLOW in attempt.stash


def note_flow_in_task() -> None:
    """Mark the task in which a run begins, if it is one: it did more than its arguments tell."""
    outer = current_attempt()
    if outer is not None:
        if outer.stash is None:
            outer.stash = {}
        outer.stash[_RAN_A_FLOW] = True


_OFF = "--no-cache"
_STALE = Stale(reason=_OFF)  # one for all nodes


class Off:
    """Reuse is off: says so, and still hands arrays out read-only, so that on and off behave alike."""

    @hookimpl
    def flowkit_run_started(self) -> None:
        """Tell a cache further out that its task runs a flow."""
        note_flow_in_task()

    @hookimpl(trylast=True)  # others may know a node
    def flowkit_node_lookup(self) -> Stale:
        """Say why a node is called."""
        return _STALE

    @hookimpl(trylast=True)
    def flowkit_node_must_run(self) -> str:
        """Say why a node is called."""
        return _OFF

    @hookimpl
    def flowkit_attempt_keep(self, attempt: Attempt) -> None:
        """Make the arrays of a result read-only."""
        readonly(attempt.value)
