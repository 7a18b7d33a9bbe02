"""``Flow``: the optional name, defaults and plugin options of a module of tasks."""

from __future__ import annotations

from collections.abc import Mapping


class Flow:
    """What a module says of itself as a flow: ``flow = Flow(defaults={"retries": 2})``.

    Args:
        name: How reports call it; the module's name if not given.
        defaults: Task options for every task of the module that does not say otherwise.
        options: Options that plugins bring (``timeout``, ``schedule``, ``notify`` …); checked
            when the flow is collected.
    """

    def __init__(
        self, name: str | None = None, *, defaults: Mapping[str, object] | None = None, **options: object
    ) -> None:
        self.name = name
        self.defaults: dict[str, object] = dict(defaults or {})
        self.options = options

    def __repr__(self) -> str:
        return f"Flow({self.name!r})"
