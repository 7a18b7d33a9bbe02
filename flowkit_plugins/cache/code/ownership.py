"""Which code is the user's, and so counts: not flowkit's, the standard library's or a package's.

What lies under a root of the user's counts; so does what was installed in editable form, for it
lies in no ``site-packages``. A root may itself lie in ``site-packages``: then that package counts.
"""

from __future__ import annotations

import os
import sys
import sysconfig
from functools import cache, partial
from pathlib import Path
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_INSTALLED = frozenset({"site-packages", "dist-packages"})
_FLOWKIT = ("flowkit", "flowkit_plugins")


class Ownership:
    """Tells the user's code from everybody else's, by file; remembers each answer."""

    def __init__(self, user_roots: Sequence[Path]) -> None:
        # As given too: what the user's code derives from ``__file__`` is not resolved.
        given = [os.path.join(os.path.abspath(root), "") for root in user_roots]
        # The innermost first.
        self._roots = sorted({*map(_directory, user_roots), *given}, key=len, reverse=True)
        self._files: dict[str, bool] = {}

    def file(self, filename: str) -> bool:
        """Return whether the file is the user's; names in angle brackets are no files."""
        known = self._files.get(filename)
        if known is None:
            known = self._files[filename] = self._decide(filename)
        return known

    def relative(self, path: str) -> str | None:
        """Return a path relative to the user's root that it is in; None if it is in none."""
        for root in self._roots:
            if path.startswith(root):
                return path[len(root) :]
            if path + os.sep == root:
                return ""
        return None

    def function(self, function: FunctionType) -> bool:
        """Return whether the user wrote the function, in a file, a notebook or with ``exec``."""
        filename = function.__code__.co_filename
        if not filename.startswith("<"):
            return self.file(filename)
        return not filename.startswith("<frozen") and self.namespace(function.__globals__)

    def namespace(self, names: Mapping[str, Any]) -> bool:
        """Return whether the globals of a module, or those given to ``exec``, are the user's."""
        file = _file(names)
        if file:
            return self.file(file)
        name = str(names.get("__name__", "__main__"))
        # ``collections.namedtuple`` evaluates its ``__new__`` under such a name.
        return name not in sys.builtin_module_names and not name.startswith("namedtuple_")

    def module(self, module: ModuleType) -> bool:
        """Return whether a module is the user's; so is a folder without ``__init__.py``."""
        file = _file(vars(module))
        if file:
            return self.file(file)
        if module.__name__ == "__main__":
            return True
        return any(self._decide(os.path.join(path, "")) for path in getattr(module, "__path__", ()))

    def class_(self, cls: type) -> bool:
        """Return whether a class was made in the user's code."""
        if cls.__module__ == "builtins" or of_flowkit(cls):
            return False
        module = sys.modules.get(cls.__module__)
        # Packages stay loaded; only the user's modules are ever forgotten.
        return module is None or self.module(module)

    def _decide(self, filename: str) -> bool:
        if filename.startswith("<"):
            return False
        path = os.path.realpath(filename)
        if path.startswith(_own()):
            return False
        for root in self._roots:
            if path.startswith(root) and not _installed(path[len(root) :]):
                return not any(
                    path.startswith(library) and library.startswith(root) for library in _library()
                )
        return not _installed(path) and not path.startswith(_library())


def _file(names: Mapping[str, Any]) -> str:
    """Return the file of a module; none of a script on standard input, whose name is in angle brackets."""
    file = str(names.get("__file__") or "")
    return "" if file.startswith("<") else file


def of_flowkit(value: object) -> bool:
    """Return whether a function, a class or an instance comes from flowkit or its plugins."""
    if isinstance(value, partial):
        value = value.func
    home = getattr(value, "__module__", None)
    if not isinstance(home, str):
        home = type(value).__module__
    return home.partition(".")[0] in _FLOWKIT


@cache
def _library() -> tuple[str, ...]:
    paths = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib")]
    return tuple({_directory(path) for path in paths if path})


@cache
def _own() -> tuple[str, ...]:
    above = Path(__file__).resolve().parents[3]
    return tuple([_directory(above / name) for name in _FLOWKIT])


def _installed(path: str) -> bool:
    return not _INSTALLED.isdisjoint(path.split(os.sep))


def _directory(path: object) -> str:
    return os.path.join(os.path.realpath(str(path)), "")
