"""How a flow's file becomes a module: afresh, under a stable name, with its folder importable.

Three traps are met here. A byte-code file is trusted by whole seconds and size, so one written
within two seconds of its source's change would hide the next edit: none is. Two folders may each
have a ``utils.py``: what a flow imported from its folder is forgotten before another folder's
flow is loaded. And a module that changed on disk since is imported anew.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from types import ModuleType

RACY = 2.0  # seconds

_roots: list[str] = []
#: Modules that came from users' folders: name → (folder it was imported for, mtime_ns and size of its file).
_local: dict[str, tuple[str, tuple[int, int] | None]] = {}


class _Loader(importlib.machinery.SourceFileLoader):
    """Writes no byte-code for a source that has just been changed."""

    def set_data(self, path: str, data: object, *, _mode: int = 0o666) -> None:
        try:
            fresh = time.time() - os.stat(self.path).st_mtime < RACY
        except OSError:
            fresh = True
        if not fresh:
            super().set_data(path, data, _mode=_mode)  # type: ignore[arg-type]  # the stub wants a buffer; importlib hands one


def _hook(path: str) -> importlib.machinery.FileFinder:
    if not any(path == root or path.startswith(root + os.sep) for root in _roots):
        raise ImportError(path)
    return importlib.machinery.FileFinder(
        path,
        (importlib.machinery.ExtensionFileLoader, importlib.machinery.EXTENSION_SUFFIXES),
        (_Loader, importlib.machinery.SOURCE_SUFFIXES),
    )


def _watch(root: str) -> None:
    """Have modules below ``root`` loaded by our loader."""
    if root in _roots or any(root.startswith(known + os.sep) for known in _roots):
        return
    _roots.append(root)
    if _hook not in sys.path_hooks:
        sys.path_hooks.insert(0, _hook)
    for path in list(sys.path_importer_cache):
        if path == root or path.startswith(root + os.sep):
            del sys.path_importer_cache[path]


def top_of_package(file: Path) -> tuple[Path, str]:
    """Return the folder to import from, and the dotted name: the package's top, as with ``python -m``."""
    folder, names = file.parent, [] if file.name == "__init__.py" else [file.stem]
    while (folder / "__init__.py").is_file() and folder.name.isidentifier():
        names.insert(0, folder.name)
        folder = folder.parent
    return folder, ".".join(names) or file.parent.name


@contextmanager
def importable(folder: str) -> Iterator[None]:
    """Have ``folder`` first on ``sys.path`` for as long as this lasts."""
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        try:
            sys.path.remove(folder)
        except ValueError:
            pass  # the user's module rearranged sys.path itself


def all_importable(folders: set[str]) -> ExitStack:
    """Have the folders that flows are imported from on ``sys.path`` for as long as the context lasts."""
    stack = ExitStack()
    for folder in sorted(folders):
        stack.enter_context(importable(str(top_of_package(Path(folder) / "x.py")[0])))
    return stack


def load(
    file: Path, root: Path, on_import: Callable[[Sequence[ModuleType]], None] = lambda modules: None
) -> ModuleType:
    """Import a file afresh and return its module; whatever it raises is the caller's to explain.

    Args:
        file: Absolute path of a Python file.
        root: The project's root, below which a module's dotted path is unique.
        on_import: Told of the module, and of those of its folder that it was the first to import.
    """
    folder, name = top_of_package(file)
    _watch(str(folder))
    importlib.invalidate_caches()
    _forget(str(folder))
    name = _free_name(name, file, root)
    before = set(sys.modules)
    with importable(str(folder)):
        if "." in name and name == top_of_package(file)[1]:
            importlib.import_module(name.rpartition(".")[0])
        spec = importlib.util.spec_from_file_location(
            name,
            file,
            loader=_Loader(name, str(file)),
            submodule_search_locations=[str(file.parent)] if file.name == "__init__.py" else None,
        )
        assert spec is not None  # a loader was given
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        previous = sys.modules.get(name)
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        except BaseException:
            if previous is None:
                del sys.modules[name]
            else:
                sys.modules[name] = previous
            raise
        finally:
            found = _remember(before, str(folder))
            on_import([module, *(m for m in found if m is not module)])
    _local[name] = (str(folder), _stamp(str(file)))
    return module


def _free_name(name: str, file: Path, root: Path) -> str:
    """Return the module's name; a longer one if another module of the process has it."""
    taken = sys.modules.get(name)
    if taken is None or getattr(taken, "__file__", None) == str(file):
        return name
    try:
        return ".".join(file.relative_to(root).with_suffix("").parts)
    except ValueError:
        return f"{file.parent.name}.{name}"


def _forget(folder: str) -> None:
    """Drop modules of other users' folders that this one has, too, and those that changed since.

    Whoever imported such a module before keeps what it holds; a later import gets this folder's.
    """
    for name in _named_in(folder):
        file = getattr(sys.modules.get(name), "__file__", None)
        if file and not _is_library(file) and os.path.dirname(file) not in (folder, os.path.join(folder, name)):
            for other in [n for n in sys.modules if n == name or n.startswith(name + ".")]:
                sys.modules.pop(other)
                _local.pop(other, None)
    for name, (owner, stamp) in list(_local.items()):
        module = sys.modules.get(name)
        file = getattr(module, "__file__", None)
        if module is None or file is None:
            _local.pop(name)
            continue
        top = name.partition(".")[0]
        here = os.path.join(folder, top)
        elsewhere = owner != folder and (os.path.isfile(here + ".py") or os.path.isdir(here))
        if elsewhere or stamp != _stamp(file):
            sys.modules.pop(name, None)
            _local.pop(name)


def _named_in(folder: str) -> list[str]:
    """Return the names of modules in a folder that are imported already."""
    try:
        with os.scandir(folder) as entries:
            names = {e.name.removesuffix(".py") for e in entries if e.name.endswith(".py") or e.is_dir()}
    except OSError:
        return []
    return [name for name in names if name in sys.modules and name != "__main__"]


def _is_library(file: str) -> bool:
    return "site-packages" in file or "dist-packages" in file or file.startswith(_pythons_own())


@cache
def _pythons_own() -> tuple[str, ...]:
    import sysconfig  # 2 ms with its paths, which few flows need

    return tuple({sysconfig.get_path(name) + os.sep for name in ("stdlib", "platstdlib")})


def _remember(before: set[str], folder: str) -> list[ModuleType]:
    found = []
    for name in set(sys.modules) - before:
        file = getattr(sys.modules[name], "__file__", None)
        if file and file.startswith(folder + os.sep) and "site-packages" not in file:
            _local[name] = (folder, _stamp(file))
            found.append(sys.modules[name])
    return found


def _stamp(file: str) -> tuple[int, int] | None:
    try:
        found = os.stat(file)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size
