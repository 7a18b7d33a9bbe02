"""Where modules are, without importing them, and whose an imported name is."""

from __future__ import annotations

import sys
from importlib.machinery import PathFinder
from importlib.util import resolve_name
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flowkit_plugins.cache.code.ownership import Ownership


class Unloaded:
    """A module that some function imports when it is called, and nobody has yet; known by its file's path."""

    __slots__ = ("path",)

    def __init__(self, path: str) -> None:
        self.path = path


def locate(module: str, *, beside: str) -> str | None:
    """Return the source file of a module that is not loaded; nothing is executed for it.

    Args:
        module: Its full name.
        beside: The importing file, whose folder is looked in first: a flow's helpers are
            importable only while it loads.

    """
    folders: Sequence[str] | None = [str(Path(beside).parent), *sys.path]
    name = ""
    spec = None
    for part in module.split("."):
        name = f"{name}.{part}" if name else part
        if folders is None:
            return None
        try:
            spec = PathFinder.find_spec(name, folders)
        except (ImportError, AttributeError, ValueError):
            return None
        if spec is None:
            return None
        folders = spec.submodule_search_locations
    origin = spec.origin if spec else None
    return origin if origin and origin.endswith(".py") else None


def parted(binding: str, package: str) -> tuple[str, str]:
    """Return the module and the name of ``helpers.clean`` or ``..helpers.clean``.

    Raises:
        ImportError: A relative import leads out of ``package``.

    """
    rest = binding.lstrip(".")
    dots = binding[: len(binding) - len(rest)]
    module, _, name = rest.rpartition(".")
    return (resolve_name(dots + module, package) if dots else module), name


def holds(binding: str, value: object) -> bool:
    """Return whether ``math.pi`` (of ``from math import pi``) is this very value."""
    module, _, name = binding.rpartition(".")
    if sys.modules.get(binding) is value:
        return True
    names = getattr(sys.modules.get(module), "__dict__", {})
    return name in names and names[name] is value


def from_package(binding: str, value: object, ownership: Ownership) -> bool:
    """Return whether a value was imported under this dotted name from somebody's package."""
    module = sys.modules.get(binding.rpartition(".")[0])
    return module is not None and not ownership.module(module) and holds(binding, value)
