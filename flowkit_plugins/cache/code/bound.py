"""How a constant was made: what counts of one whose content is not to be had, as of a lock or a connection."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from flowkit_plugins.cache.code.modules import parted

if TYPE_CHECKING:
    from flowkit_plugins.cache.code.nodes import Growth
    from flowkit_plugins.cache.code.reach import Reach

# Re-exports of re-exports are followed this far.
_HANDS = 8


def add_bound(reach: Reach, growth: Growth, name: str, names: dict[str, Any]) -> list[str]:
    """Return the text of the statements that bind a name in its module, if they are to be had, and follow what they mention.

    Args:
        reach: Finds the source, and what names stand for.
        growth: Receives what the statements mention.
        name: A name that is bound to a constant.
        names: The globals of the module whose code uses it; it may be imported from another of the user's.

    """
    for _ in range(_HANDS):
        filename = str(names.get("__file__") or "")
        source = reach.source(filename, names) if filename else None
        found = source.bound(name) if source else None
        if found is not None:
            for mentioned in found.names:
                reach.add_name(growth, tuple(mentioned.split(".")), names, filename)
            return [found.hash]
        handed = _handed_on(reach, name, names, filename)
        if handed is None:
            break
        name, names = handed
    return []


def _handed_on(
    reach: Reach, name: str, names: dict[str, Any], filename: str
) -> tuple[str, dict[str, Any]] | None:
    """Return the name that a value has in the user's module it is imported from, and the globals of that module."""
    imports = reach.imports(names, filename)
    for text in [*imports.get(name, ()), *imports.get("*", ())]:
        try:
            module, last = parted(text, str(names.get("__package__") or ""))
        except ImportError:
            continue
        above = sys.modules.get(module)
        last = name if last == "*" else last
        if above is not None and reach.ownership.module(above) and vars(above).get(last) is names[name]:
            return last, vars(above)
    return None
