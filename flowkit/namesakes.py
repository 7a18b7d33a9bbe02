"""Modules of one name in several folders of a run: an import that could mean either is refused.

While a flow loads, its folder is first on the path and finds its own ``utils``. While tasks run, the
folders of all flows are on the path, tasks of several run at once, and Python knows one module by a
name: there such a name has no meaning. What is refused is no ``ImportError``, which the user's code
might take for a module that is not installed.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from types import ModuleType

from flowkit.declarations import short_path
from flowkit.errors import TargetError

#: The folders of all runs under way; a run within a run has others than the one around it.
_folders: list[str] = []
_lock = threading.Lock()
_thread = threading.local()


class _Refusal:
    """A finder that comes first, and refuses what several folders have.

    Attributes:
        files: Name → what it could mean.
    """

    files: Mapping[str, list[str]] = {}

    @classmethod
    def find_spec(cls, name: str, *_: object) -> None:
        """Leave a name to other finders, unless it has several meanings where tasks run.

        Raises:
            TargetError: It has.
        """
        files = cls.files.get(name)
        if files is not None and not loads_a_flow():
            raise TargetError(
                f"import {name}: it is not certain which is meant, as these flows run together",
                known="\n".join(map(short_path, files)),
                remedy=f"Import {name!r} at the top of the module only, rename one of them, or run the flows one by one.",
            )


def loads_a_flow() -> bool:
    """Whether this thread is about to load a flow; others may run tasks meanwhile."""
    return bool(getattr(_thread, "loads", 0))


@contextmanager
def one_meaning() -> Iterator[None]:
    """Have imports of this thread find what its path says: it loads one flow."""
    _thread.loads = getattr(_thread, "loads", 0) + 1
    try:
        yield
    finally:
        _thread.loads -= 1


@contextmanager
def kept_apart(
    folders: Collection[str], keep: Callable[[ModuleType], bool], drop: Callable[[str], None]
) -> Iterator[None]:
    """Refuse to import what several of these folders have, for as long as this lasts.

    Args:
        folders: Where the flows of a run are imported from.
        keep: Says of a module that whoever imports its name gets this one, and rightly.
        drop: Takes a name out of ``sys.modules``.
    """
    with _lock:
        _folders.extend(folders)
        _look(keep, drop)
    try:
        yield
    finally:
        with _lock:
            for folder in folders:
                _folders.remove(folder)
            _look(keep, drop)


def _look(keep: Callable[[ModuleType], bool], drop: Callable[[str], None]) -> None:
    """Find the names that several folders have, and drop the modules that bear them."""
    folders = sorted(set(_folders))
    found: dict[str, list[str]] = {}
    if len(folders) > 1:
        for folder in folders:
            for name, file in _modules_in(folder):
                found.setdefault(name, []).append(file)
    refused = {}
    for name, files in found.items():
        module = sys.modules.get(name)
        if len(files) > 1 and (module is None or not keep(module)):
            refused[name] = files
    _Refusal.files = refused
    if refused and _Refusal not in sys.meta_path:
        sys.meta_path.insert(0, _Refusal)
    elif not refused and _Refusal in sys.meta_path:
        sys.meta_path.remove(_Refusal)
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in refused and not keep(module):
            drop(name)


def _modules_in(folder: str) -> Iterator[tuple[str, str]]:
    """Yield what can be imported from a folder, with its file."""
    try:
        with os.scandir(folder) as entries:
            found = [(entry.name, entry.path, entry.is_dir()) for entry in entries]
    except OSError:
        return
    for name, path, is_folder in found:
        if is_folder:
            if name.isidentifier() and _holds_modules(path):
                yield name, os.path.join(path, "")
        elif name.endswith(".py"):
            yield name.removesuffix(".py"), path


def _holds_modules(folder: str) -> bool:
    try:
        return any(name.endswith(".py") for name in os.listdir(folder))
    except OSError:
        return False
