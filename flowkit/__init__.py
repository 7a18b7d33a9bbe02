"""flowkit: workflows for people who know pytest. Tasks are functions, arguments are dependencies.

The map, from the bottom up; what is not in ``__all__``, ``flowkit.hookspecs``, ``flowkit.executors``
or ``flowkit.testing`` may change:

- words: ``errors``, ``durations``, ``outcomes``, ``values``, ``digests`` and what those stand on, ``records``, ``secrets``
- what the user wrote: ``annotations``, ``declarations``, ``tasks``, ``resources``, ``flows``, ``parameters``
- structure: ``collector`` and ``imports``; ``lookup``, ``options``, ``binding``, ``resolver``; ``axes``, ``graph``, ``selection`` and ``wants``
- ``scheduler``: decides, purely
- execution: ``clock``, ``elements``, ``inputs``, ``lifetimes``, ``lookups``, ``worker``, ``executors``, ``runner``, ``reports``, ``planning``
- extension: ``hookspecs``, ``plugins``, ``services``, ``settings``
- assembly: ``session`` and ``entry`` with ``overriding``, ``settling`` and ``runs``; ``cli``, ``listing``, ``testing``
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flowkit.annotations import From
from flowkit.errors import FlowError
from flowkit.flows import Flow
from flowkit.outcomes import Failure, Outcome, Skipped, Success, fail, skip
from flowkit.resources import resource
from flowkit.tasks import task
from flowkit.values import Collected

if TYPE_CHECKING:
    from flowkit.entry import run
    from flowkit.hookspecs import hookimpl
    from flowkit.runs import Run

__version__ = "0.1.0"

__all__ = [
    "Collected",
    "Failure",
    "Flow",
    "FlowError",
    "From",
    "Outcome",
    "Run",
    "Skipped",
    "Success",
    "fail",
    "hookimpl",
    "resource",
    "run",
    "skip",
    "task",
]

#: Names that are imported when they are first used: users' modules import flowkit and need none.
_LATER = {"run": "flowkit.entry", "Run": "flowkit.runs", "hookimpl": "flowkit.hookspecs"}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module 'flowkit' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(_LATER[name]), name)
    globals()[name] = value
    return value
