"""How a flow's file becomes a module: afresh, under a stable name, with its folder importable.

Four traps are met here. A byte-code file is trusted by whole seconds and size, so one written
within two seconds of its source's change would hide the next edit: none is. Two folders may each
have a ``utils.py``: what a flow imported from its folder is forgotten before another folder's
flow is loaded. If a module changed on disk since, all that was imported for its folder is imported
anew: another module may hold what it had from it. And what the user's own program imported is
back in its place when the session ends.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import NamedTuple
from weakref import WeakKeyDictionary, ref

from flowkit import tasks
from flowkit.declarations import Declaration, short_path
from flowkit.errors import TargetError
from flowkit.namesakes import kept_apart, loads_a_flow, one_meaning

RACY = 2.0  # seconds


class _Local(NamedTuple):
    """A module that was imported for a flow.

    Attributes:
        module: It, which need not be what bears its name by now. Not held: when Python exits, a file that
            the module keeps open is whole only if nothing else holds the module.
        folder: What it was imported for.
        stamp: mtime_ns and size of its file.
    """

    module: ref[ModuleType]
    folder: str
    stamp: tuple[int, int] | None


_roots: list[str] = []
_local: dict[str, _Local] = {}
#: What the user's program had imported under names that flows have now.
_displaced: dict[str, ModuleType] = {}
_open: list[Importer] = []
#: The files that flows are executed from right now; more than one where a flow runs another at its import.
_executing: list[str] = []
_declared: WeakKeyDictionary[ModuleType, list[Declaration]] = WeakKeyDictionary()


class _Loader(importlib.machinery.SourceFileLoader):
    """Notes what a module declares, and writes no byte-code for a source that has just been changed."""

    def exec_module(self, module: ModuleType) -> None:
        if not loads_a_flow():  # a task's own import: several threads may be at it
            super().exec_module(module)
            return
        declared = _declared[module] = []
        tasks.recorders.append(declared)
        try:
            super().exec_module(module)
        finally:
            tasks.recorders.pop()

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
    """Return the folder to import from, and the dotted name: the package's top, as with ``python -m``.

    A dot in the file's own name stands for no package.
    """
    folder, names = file.parent, [] if file.name == "__init__.py" else [file.stem.replace(".", "_")]
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
    tops = sorted({str(top_of_package(Path(folder) / "x.py")[0]) for folder in folders})
    for top in tops:
        stack.enter_context(importable(top))
    stack.enter_context(kept_apart(tops, _is_nobodys, _drop))
    return stack


def underway() -> set[str]:
    """Return the files that are executed right now: flows', the program's imports, and its script, unless that has tasks."""
    modules = [m for m in list(sys.modules.values()) if getattr(getattr(m, "__spec__", None), "_initializing", False)]
    script = sys.modules.get("__main__")
    names = vars(script) if script is not None else {}
    if script is not None and not any(d is not None and d.namespace is names for d in map(tasks.declared, list(names.values()))):
        modules.append(script)
    return {*_executing, *[os.path.realpath(file) for m in modules if (file := getattr(m, "__file__", None))]}


def declared_in(module: ModuleType) -> list[Declaration]:
    """Return what a module declared of its own while it was executed, whether a name leads there or not."""
    names = vars(module)
    return [declaration for declaration in _declared.get(module, ()) if declaration.namespace is names]


def module_of(name: str, namespace: Mapping[str, object]) -> ModuleType | None:
    """Return the module of that name whose names these are; a newer one may have taken its place."""
    for module in (sys.modules.get(name), _displaced.get(name)):
        if module is not None and (not namespace or vars(module) is namespace):
            return module
    return None


class Importer:
    """Imports the files of one session: each once, and afresh.

    Args:
        root: The project's root, below which a module's dotted path is unique.
        on_import: Told of each module, and of those of its folder that it was the first to import.
    """

    def __init__(
        self, root: Path, on_import: Callable[[Sequence[ModuleType]], None] = lambda modules: None
    ) -> None:
        self._root = root
        self._on_import = on_import
        self._executed: dict[str, ModuleType] = {}
        self._folders: dict[str, None] = {}
        _open.append(self)

    def close(self) -> None:
        """Give the user's program back what bore the names of flows; to be called when nothing runs any more."""
        if self in _open:
            _open.remove(self)
            self._keep()
        if not _open:
            for name, module in _displaced.items():
                for other in [n for n in sys.modules if n.startswith(name + ".") and _is_ours(n)]:
                    del sys.modules[other]
                sys.modules[name] = module
            _displaced.clear()

    def _keep(self) -> None:
        """Keep what tasks imported of the flows' folders: the classes of their results are found there by name."""
        inside = tuple(folder + os.sep for folder in self._folders)
        for name, module in list(sys.modules.items()):
            file = getattr(module, "__file__", None) or ""
            if name not in self._executed and file.startswith(inside) and not _is_library(file):
                self._executed[name] = module

    @contextmanager
    def as_it_was(self) -> Iterator[None]:
        """Have names mean what they meant to the flows, for a result that is read after the session ended.

        By then the names may be the user's program's, or another run's; and no folder is on the path.
        """
        before = {name: sys.modules.get(name) for name in self._executed}
        sys.modules.update(self._executed)
        with ExitStack() as stack:
            for folder in self._folders:
                stack.enter_context(importable(folder))
            stack.enter_context(one_meaning())
            try:
                yield
            finally:
                for name, module in before.items():
                    if module is not None:
                        sys.modules[name] = module
                    else:
                        sys.modules.pop(name, None)

    def load(self, file: Path) -> ModuleType:
        """Import a file and return its module; whatever it raises is the caller's to explain.

        Args:
            file: Absolute path of a Python file.

        Raises:
            TargetError: What it does when it is executed led here.
        """
        if str(file) in _executing:
            raise TargetError(
                f"{short_path(str(file))} runs itself when it is imported",
                remedy="Put what shall happen only when it is run as a script under if __name__ == '__main__'.",
            )
        top, name = top_of_package(file)
        folder = str(top)
        self._folders[folder] = None
        _watch(folder)
        importlib.invalidate_caches()
        _forget(folder)
        free = _free_name(name, file, self._root)
        before = dict(sys.modules)
        with importable(folder), one_meaning():
            try:
                if "." in name and free == name:
                    importlib.import_module(name.rpartition(".")[0])
                self._note(before, folder, file)
                # The package may have imported it, or a flow beside it.
                module = self._executed.get(free)
                if module is None or sys.modules.get(free) is not module:
                    module = _execute(free, file)
            finally:
                self._note(before, folder, file)
        return module

    def _note(self, before: dict[str, ModuleType], folder: str, file: Path) -> None:
        """Remember what was imported since, to know later whether it is still what its file says."""
        found = []
        for name, module in list(sys.modules.items()):
            if before.get(name) is module:
                continue
            before[name] = module
            origin = getattr(module, "__file__", None) or ""
            if origin == str(file) or (origin.startswith(folder + os.sep) and "site-packages" not in origin):
                _local[name] = _Local(ref(module), folder, _stamp(origin))
                self._executed[name] = module
                found.append(module)
        if found:
            self._on_import(found)


def _execute(name: str, file: Path) -> ModuleType:
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
    theirs = previous is not None and not _is_ours(name)
    sys.modules[name] = module
    _executing.append(str(file))
    try:
        spec.loader.exec_module(module)
    except BaseException:
        if previous is None:
            del sys.modules[name]
        else:
            sys.modules[name] = previous
        raise
    finally:
        _executing.remove(str(file))
    if theirs:
        assert previous is not None
        _displaced.setdefault(name, previous)
    return module


def _is_ours(name: str) -> bool:
    known, module = _local.get(name), sys.modules.get(name)
    return known is not None and module is not None and known.module() is module


def _drop(name: str) -> None:
    """Have a name imported anew; what the user's program imported is kept for it."""
    theirs = not _is_ours(name)
    module = sys.modules.pop(name, None)
    _local.pop(name, None)
    if module is not None and theirs:
        _displaced.setdefault(name, module)


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
                _drop(other)
    for name in [n for n in _local if not _is_ours(n)]:
        del _local[name]
    changed = {known.folder for name, known in _local.items() if known.stamp != _stamp(str(sys.modules[name].__file__))}
    for name, known in list(_local.items()):
        here = os.path.join(folder, name.partition(".")[0])
        elsewhere = known.folder != folder and (os.path.isfile(here + ".py") or os.path.isdir(here))
        if elsewhere or known.folder in changed:
            _drop(name)


def _named_in(folder: str) -> list[str]:
    """Return the names of modules in a folder that are imported already."""
    try:
        with os.scandir(folder) as entries:
            names = {e.name.removesuffix(".py") for e in entries if e.name.endswith(".py") or e.is_dir()}
    except OSError:
        return []
    return [name for name in names if name in sys.modules and name != "__main__"]


def _is_nobodys(module: ModuleType) -> bool:
    """Whether a module is a library's, or built in, and no folder of the user's matters for it."""
    file = getattr(module, "__file__", None)
    return _is_library(file) if file else not hasattr(module, "__path__")


def _is_library(file: str) -> bool:
    return "site-packages" in file or "dist-packages" in file or file.startswith(_pythons_own())


@cache
def _pythons_own() -> tuple[str, ...]:
    import sysconfig  # 2 ms with its paths, which few flows need

    return tuple({sysconfig.get_path(name) + os.sep for name in ("stdlib", "platstdlib")})


def _stamp(file: str) -> tuple[int, int] | None:
    try:
        found = os.stat(file)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size
