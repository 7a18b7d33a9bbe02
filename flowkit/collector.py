"""Targets → files → modules → declarations, and the chain of ``flowconf.py`` above each."""

from __future__ import annotations

import importlib
import importlib.util
import os
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from flowkit import imports
from flowkit.declarations import Declaration, short_path
from flowkit.errors import (
    FailRequested,
    FlowError,
    NothingToRun,
    SkipRequested,
    TargetError,
    UsageError,
    did_you_mean,
)
from flowkit.finder import FLOWCONF, flow_files
from flowkit.imports import Importer
from flowkit.layers import Layer, read_layer, take_in_unnamed
from flowkit.records import field, record
from flowkit.resources import Resource
from flowkit.targets import Selector, Target
from flowkit.tasks import Task

#: What looking for a module raises if there is none of that name.
_NO_MODULE = (ImportError, ValueError, AttributeError)


@record()
class CollectedFlow:
    """A module with tasks, the flowconf layers above it, nearest first, and what was selected of it."""

    path: str
    file: Path | None
    layer: Layer
    above: list[Layer]
    selectors: list[Selector] = field(factory=list)
    whole: bool = False


class Collector:
    """Reads targets; keeps what is wrong with them until all are read.

    Attributes:
        errors: What is wrong.
        flows: What was found, by path.

    Args:
        root: The project's root folder.
        importer: Executes the files.
        on_flowconf: Told of each ``flowconf.py`` that was loaded (its hooks make it a plugin); returns what is wrong
            with it.
    """

    def __init__(
        self,
        root: Path,
        importer: Importer,
        on_flowconf: Callable[[ModuleType, str], Sequence[UsageError]] = lambda module, path: (),
    ) -> None:
        self.root = root
        self.errors: list[UsageError] = []
        self.flows: dict[str, CollectedFlow] = {}
        self._empty: list[str] = []
        self._notes: list[str] = []
        self._noted = 0
        self._confs: dict[Path, Layer | None] = {}
        self._on_flowconf = on_flowconf
        self._importer = importer

    def add(self, target: Target) -> None:
        """Read one target and note the flows in it."""
        module = target.module
        noted, wrong = self._noted, len(self.errors)
        try:
            if isinstance(module, ModuleType):
                self._add_module(module, target)
            elif isinstance(module, Path):
                self._add_path(module, target)
            else:
                self._add_dotted(module, target)
            if self._noted == noted and len(self.errors) == wrong:
                self._add_nothing(target)
        except UsageError as error:
            self.errors.append(error)

    def _add_nothing(self, target: Target) -> None:
        if target.selector is not None:
            raise TargetError(
                f"{target.text}: no tasks in {target.text.partition('::')[0]}",
                remedy="Put @task over a function of this module.",
            )
        self._empty.append(target.text)

    def notes(self) -> list[str]:
        """Return what is worth a word of targets that are not wrong.

        Raises:
            NothingToRun: None of them holds a task.
        """
        if self._empty and not self.flows and not self.errors:
            raise NothingToRun(
                f"nothing to run: no tasks in {', '.join(self._empty)}\n"
                "  Put @task over a function there, or name another module or folder."
            )
        return [*self._notes, *[f"no tasks in {target}" for target in self._empty]]

    def _add_path(self, path: Path, target: Target) -> None:
        if path.is_dir():
            self._add_folder(path.resolve(), target)
            return
        if not path.is_file():
            raise self._no_file(path, target)
        file = path.resolve()
        if file.suffix != ".py":
            raise TargetError(f"{path} is not a Python file", remedy="Name a module (.py), or a folder of modules.")
        self._add_file(file, target, imported=True)

    def _no_file(self, path: Path, target: Target) -> TargetError:
        folder = path.parent if path.parent.is_dir() else Path()
        known = [p.name for p in sorted(folder.glob("*.py")) if p.is_file()]
        what = f"no such file or folder: {path}"
        if path.exists():
            what = f"{path} is neither a file nor a folder"
        elif path.is_symlink():
            what = f"{path} is a link that leads nowhere: there is no {path.readlink()}"
        return TargetError(
            f"{target.text}: {what}",
            known=f"Python files in {folder}: {', '.join(known) or 'none'}",
            remedy=did_you_mean(path.name, known, "Check the path; it is taken from the current folder."),
        )

    def _add_folder(self, folder: Path, target: Target) -> None:
        underway = imports.underway()  # a script that runs its own folder does not mean itself
        for file in flow_files(folder, self.root):
            if str(file) in underway:
                continue
            try:
                self._add_file(file, target, imported=False)
            except UsageError as error:
                self.errors.append(error)

    def _add_file(self, file: Path, target: Target, *, imported: bool) -> None:
        path = self._relative(file)
        if path in self.flows:
            self._note(self.flows[path], target)
            return
        module = self._load(file)
        layer = read_layer(module, path, self.errors)
        wrong = len(self.errors)
        take_in_unnamed(layer, self.errors, self._notes)
        # If there are no tasks, a resource may have taken their names, and that is said.
        self._add_layer(layer, file, target, imported=imported and len(self.errors) == wrong)

    def _add_layer(self, layer: Layer, file: Path | None, target: Target, *, imported: bool) -> None:
        """Note a module as a flow if it has tasks of its own, or, where it was named, ``imported`` ones."""
        if any(isinstance(layer.names[name], Task) for name in (layer.names if imported else layer.own)):
            self.flows[layer.where] = CollectedFlow(layer.where, file, layer, self._confs_above(file) if file else [])
            self._note(self.flows[layer.where], target)

    def _add_dotted(self, name: str, target: Target) -> None:
        here = os.getcwd()
        try:
            with imports.importable(here), self._explained(name, unless=_NO_MODULE):
                spec = importlib.util.find_spec(name)
        except _NO_MODULE:
            spec = None
        if spec is None or not (spec.origin or spec.submodule_search_locations):
            nearby = [p.name for p in Path().glob("*.py")]
            raise TargetError(
                f"{target.text}: no module named {name!r}, and no such file",
                known=f"Python files here: {', '.join(sorted(nearby)) or 'none'}",
                remedy=did_you_mean(name, nearby, "Name a file (flow.py), a folder, or an importable module."),
            )
        with imports.importable(here):
            self._add_module(self._import(name), target)

    def _import(self, name: str) -> ModuleType:
        with self._explained(name):
            return importlib.import_module(name)

    def _add_module(self, module: ModuleType, target: Target) -> None:
        """Note a module as a flow; a package is a folder, besides what its ``__init__.py`` defines."""
        folders = [] if target.local is not None else getattr(module, "__path__", [])
        noted = self._noted
        self._add_imported(module, target, imported=not folders or target.selector is not None)
        if target.selector is not None and self._noted > noted:
            return
        for folder in map(Path, folders):
            for file in flow_files(folder, self.root):
                inside = file.relative_to(folder).with_suffix("").parts
                try:
                    self._add_imported(self._import(".".join([module.__name__, *inside])), target, imported=False)
                except UsageError as error:
                    self.errors.append(error)

    def _add_imported(self, module: ModuleType, target: Target, *, imported: bool) -> None:
        origin = getattr(module, "__file__", None)
        file = Path(origin).resolve() if origin else None
        path = self._relative(file) if file else module.__name__
        if path in self.flows:
            self._adopt(self.flows[path].layer, target)
            self._note(self.flows[path], target)
        else:
            layer = read_layer(module, path, self.errors)
            self._adopt(layer, target)
            self._add_layer(layer, file, target, imported=imported)

    @staticmethod
    def _adopt(layer: Layer, target: Target) -> None:
        if target.local is not None:
            layer.names[target.local.name] = target.local
            layer.own.append(target.local.name)

    def _note(self, flow: CollectedFlow, target: Target) -> None:
        self._noted += 1
        if target.selector is None:
            flow.whole = True
        else:
            flow.selectors.append(target.selector)

    def _relative(self, file: Path) -> str:
        try:
            return file.relative_to(self.root).as_posix()
        except ValueError:
            return str(file)

    def _confs_above(self, file: Path) -> list[Layer]:
        layers = []
        for folder in file.parents:
            layer = self._conf(folder)
            if layer is not None and layer.where != self._relative(file):  # run itself, it is not above itself
                layers.append(layer)
            if folder == self.root:
                break
        else:
            return layers[:1] if layers and layers[0].where == self._relative(file.parent / FLOWCONF) else []
        return layers

    def _conf(self, folder: Path) -> Layer | None:
        if folder not in self._confs:
            file = folder / FLOWCONF
            self._confs[folder] = None
            if file.is_file():
                module = self._load(file)
                self.errors += self._on_flowconf(module, self._relative(file))
                self._confs[folder] = read_layer(module, self._relative(file), self.errors)
        return self._confs[folder]

    def load_function(self, text: str) -> object:
        """Return what an override ``name=file.py::name`` or ``name=package.module::name`` names.

        Raises:
            TargetError: There is no such file, module or name.
        """
        where, _, name = text.partition("=")[2].partition("::")
        file = Path(where).resolve()
        if file.is_file():
            module = self._load(file)
        else:
            try:
                with imports.importable(os.getcwd()), self._explained(where, unless=(ImportError,)):
                    module = importlib.import_module(where)
            except ImportError as error:
                raise TargetError(f"-O {text}: no such file or module: {where}", remedy="Check the path.") from error
        try:
            return getattr(module, name)
        except AttributeError as error:
            known = [n for n in vars(module) if not n.startswith("_")]
            raise TargetError(
                f"-O {text}: {where} has no {name!r}", remedy=did_you_mean(name, known, "Check the name.")
            ) from error

    def _load(self, file: Path) -> ModuleType:
        with self._explained(short_path(str(file))):
            return self._importer.load(file)

    @contextmanager
    def _explained(self, name: str, *, unless: tuple[type[Exception], ...] = ()) -> Iterator[None]:
        """Have whatever a module raises while it is imported told as what is wrong with it.

        A Ctrl-C is not the module's. It looks like a KeyboardInterrupt of the module's own, which is let
        through with it.
        """
        try:
            yield
        except KeyboardInterrupt:
            raise
        except unless:
            raise
        except BaseException as error:
            raise self._import_failed(name, error) from error

    @staticmethod
    def _import_failed(name: str, error: BaseException) -> TargetError:
        frames = _last_frames(error)
        if isinstance(error, FlowError) and len(error.errors) == 1:  # of a run that it starts
            error = error.errors[0]
        if isinstance(error, UsageError):
            return TargetError(error.what, known=error.known or frames, remedy=error.remedy)
        if isinstance(error, SyntaxError):
            place = f"{short_path(error.filename)}:{error.lineno}" if error.filename else name
            line = (error.text or "").strip()
            return TargetError(f"{place}: not valid Python: {error.msg}", known=line, remedy="Mend that line.")
        if isinstance(error, SystemExit):
            return TargetError(
                f"{name} calls sys.exit({error.code!r}) when it is imported",
                known=_last_frames(error),
                remedy="Put what shall happen only when it is run as a script under if __name__ == '__main__'.",
            )
        if isinstance(error, (SkipRequested, FailRequested)):
            return TargetError(
                f"{name} calls {'skip' if isinstance(error, SkipRequested) else 'fail'}() when it is imported",
                known=_last_frames(error),
                remedy="Call it in a task: it says how that task ends.",
            )
        return TargetError(
            f"{name} cannot be imported: {type(error).__name__}: {_message(error)}",
            known=_last_frames(error),
            remedy="Mend that; python -c 'import …' shows the same.",
        )

def is_resource(declaration: Declaration) -> bool:
    """Whether a declaration is a resource (else it is a task)."""
    return isinstance(declaration, Resource)


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:
        return "(its text cannot be shown)"


def _last_frames(error: BaseException) -> str:
    """Return where an import failed: the frames outside flowkit and the import machinery."""
    frames = [
        f"{short_path(frame.filename)}:{frame.lineno}: {frame.line}"
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith("<frozen") and f"{os.sep}flowkit{os.sep}" not in frame.filename
        and f"importlib{os.sep}" not in frame.filename
    ]
    return "\n".join(frames[-3:])
