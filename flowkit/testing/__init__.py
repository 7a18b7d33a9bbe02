"""For tests of flows and of plugins: simulated runs, faults, and properties that hold for every flow.

``flow``, ``properties``, ``faults``, ``Sandbox``, ``RunResult`` and ``FlowMachine`` are imported when they are first
asked for; the pytest plugin of the same distribution brings ``flowrun``, tasks as fixtures and
``project``.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flowkit.testing.faultplans import faults
    from flowkit.testing.machine import FlowMachine
    from flowkit.testing.results import RunResult
    from flowkit.testing.sandbox import Sandbox
    from flowkit.testing.subject import flow

__all__ = ["FlowMachine", "RunResult", "Sandbox", "faults", "flow"]

_HOMES = {
    "faults": "faultplans",
    "flow": "subject",
    "FlowMachine": "machine",
    "RunResult": "results",
    "Sandbox": "sandbox",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
