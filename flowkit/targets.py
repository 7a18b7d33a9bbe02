"""What can be run, as written: ``m.py``, ``package.module``, a folder, ``m.py::task[id]``, a module, a task."""

from __future__ import annotations

import os
from pathlib import Path
from types import ModuleType

from flowkit.declarations import Declaration
from flowkit.errors import TargetError
from flowkit.imports import module_of
from flowkit.records import record
from flowkit.tasks import declared


@record(frozen=True)
class Selector:
    """What stands behind ``::`` in a target.

    Attributes:
        name: The task's name.
        element: The id in brackets, or None.
        above: ``+name``: all that it needs as well.
        below: ``name+``: all that hangs off it as well.
    """

    name: str
    element: str | None = None
    above: bool = False
    below: bool = False


@record(frozen=True)
class Target:
    """One target as written, split.

    Attributes:
        text: As written.
        module: A path, a dotted name, or a module object.
        selector: What stands behind ``::``.
        local: The task itself, if it was defined inside a function and its module does not show it.
    """

    text: str
    module: Path | str | ModuleType
    selector: Selector | None = None
    local: Declaration | None = None


def parse(target: object) -> Target:
    """Read one target: text, a path, a module, or a task function.

    Raises:
        TargetError: It is none of these.
    """
    if isinstance(target, ModuleType):
        return Target(target.__name__, target)
    if isinstance(target, Path):
        return Target(str(target), target)
    declaration = declared(target)
    if declaration is not None:
        module = module_of(getattr(target, "__module__", ""), declaration.namespace)
        if module is None:
            raise TargetError(
                f"{declaration!r}: its module is not imported any more", remedy="Pass the module's path instead."
            )
        name = _name_in(module, declaration)
        local = declaration if "<locals>" in getattr(target, "__qualname__", "") else None
        return Target(declaration.name, module, Selector(name), local)
    if not isinstance(target, str):
        several = isinstance(target, (list, tuple, set, frozenset))
        raise TargetError(
            f"{target!r} is no target",
            remedy="Pass several targets one after another: flowkit.run(a, b)."
            if several
            else "Pass a path, a module's dotted name, a module, or a function under @task.",
        )
    text, colons, name = target.partition("::")
    if not text:
        raise TargetError(
            f"{target!r} names no module", remedy="Write m.py, m.py::task, or . for the current folder."
        )
    selector = _selector(target, name) if colons else None
    if text.endswith(".py") or os.sep in text or text in (".", "..") or Path(text).is_dir():
        return Target(target, Path(text), selector)
    if Path(text).is_file():
        return Target(target, Path(text), selector)
    return Target(target, text, selector)


def _name_in(module: ModuleType, declaration: Declaration) -> str:
    for name, value in vars(module).items():
        if value is declaration.function:
            return declaration.name if declaration.renamed else name
    return declaration.name


def _selector(target: str, name: str) -> Selector:
    above, below = name.startswith("+"), name.endswith("+")
    name = name.removeprefix("+").removesuffix("+")
    base, bracket, rest = name.partition("[")
    if not base or (bracket and not rest.endswith("]")):
        raise TargetError(f"{target}: no task is named behind '::'", remedy="Write m.py::task or m.py::task[id].")
    return Selector(base, rest[:-1] if bracket else None, above, below)
