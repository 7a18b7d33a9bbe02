"""``Flow``: the optional name, defaults and plugin options of a module of tasks."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from flowkit.declarations import short_path


class Flow:
    """What a module says of itself as a flow: ``flow = Flow(defaults={"retries": 2})``.

    Args:
        name: How reports call it; the module's name if not given.
        defaults: Task options for every task of the module that does not say otherwise.
        options: Options that plugins bring (``timeout``, ``schedule``, ``notify`` …); checked
            when the flow is collected.

    Attributes:
        where: ``file:line`` where it was made.
    """

    def __init__(
        self, name: str | None = None, *, defaults: Mapping[str, object] | None = None, **options: object
    ) -> None:
        self.name = name
        self.defaults: dict[str, object] = dict(defaults or {})
        self.options = options
        caller = sys._getframe(1)  # noqa: SLF001 - inspect would have to be imported, and reads the file
        self.where = f"{short_path(caller.f_code.co_filename)}:{caller.f_lineno}"

    def __repr__(self) -> str:
        return f"Flow({self.name!r})"
