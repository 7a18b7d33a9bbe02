"""Which files of a folder may be flows, without importing any: importing a script may do anything.

A module has tasks only if flowkit's decorators reach it. So its source says ``flowkit``, or what it
decorates with comes from a module of the user's that leads there: ``from common import task``.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from flowkit.imports import top_of_package

FLOWCONF = "flowconf.py"
SKIPPED_FOLDERS = ("node_modules", "site-packages", "venv", "env", "build", "dist")


def flow_files(folder: Path, root: Path) -> Iterator[Path]:
    """Yield the files below a folder that may have tasks, in order.

    Args:
        folder: Where to look.
        root: The project's root, where modules may be imported from, too.
    """
    for file in sorted(folder.rglob("*.py")):
        if not file.is_file():
            continue  # a folder, a pipe, or a link that leads nowhere, as editors leave beside what they edit
        if any(p.startswith((".", "_")) or p in SKIPPED_FOLDERS for p in file.relative_to(folder).parts[:-1]):
            continue
        name = file.name
        if name == FLOWCONF or name.startswith(("_", "test_")) or name in ("conftest.py", "setup.py"):
            continue
        if _may_have_tasks(file, root):
            yield file


def _may_have_tasks(file: Path, root: Path) -> bool:
    try:
        text = file.read_bytes()
    except OSError:
        return True  # whoever imports it says why it cannot be read
    if b"flowkit" in text:
        return True
    tree = _parsed(text) if b"@" in text else None
    if tree is None:
        return False
    used = {name.id for node in ast.walk(tree) for d in getattr(node, "decorator_list", ()) for name in _names(d)}
    seen = {file}
    return any(
        _leads_to_flowkit(beside, root, seen)
        for name, origin in _imports(tree, file)
        if name in used or name == "*"
        for beside in _files(origin, file, root)
    )


def _leads_to_flowkit(file: Path, root: Path, seen: set[Path]) -> bool:
    """Whether a module names flowkit, or imports one that does, however far."""
    if file in seen:
        return False
    seen.add(file)
    text = file.read_bytes()
    if b"flowkit" in text:
        return True
    tree = _parsed(text)
    return tree is not None and any(
        _leads_to_flowkit(beside, root, seen)
        for _, origin in _imports(tree, file)
        for beside in _files(origin, file, root)
    )


def _parsed(text: bytes) -> ast.Module | None:
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return None


def _names(decorator: ast.expr) -> Iterator[ast.Name]:
    return (node for node in ast.walk(decorator) if isinstance(node, ast.Name))


def _imports(tree: ast.Module, file: Path) -> Iterator[tuple[str, str | Path]]:
    """Yield each name that a module imports, and where from: a dotted name, or a path that lacks its ending."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.asname or alias.name.partition(".")[0], alias.name
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                bound = alias.asname or alias.name
                module = node.module or ""
                if node.level:
                    above = file.parents[min(node.level, len(file.parents)) - 1].joinpath(*filter(None, module.split(".")))
                    yield bound, above
                    yield bound, above / alias.name
                else:
                    yield bound, module
                    yield bound, f"{module}.{alias.name}"


def _files(origin: str | Path, file: Path, root: Path) -> Iterator[Path]:
    """Yield the user's files that an import may mean."""
    if isinstance(origin, Path):
        places = [origin]
    else:
        places = [folder.joinpath(*origin.split(".")) for folder in (top_of_package(file)[0], root)]
    for place in places:
        for found in (place.with_suffix(".py"), place / "__init__.py"):
            if found.is_file():
                yield found
