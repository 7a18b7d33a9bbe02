"""Edits of a flow's sources: some keep the meaning (a comment, a docstring), some change a constant of a function.

What an edit must run again is told without the cache: by the names that functions mention.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hypothesis import strategies as st

NEUTRAL, SEMANTIC = "neutral", "semantic"


@dataclass(frozen=True, slots=True)
class Edit:
    """One change of one file.

    Attributes:
        file: Relative to the flow's folder.
        kind: ``neutral`` or ``semantic``.
        what: What was done, in words.
        text: The whole new text.
        function: The function that was changed; ``""`` for a neutral edit.
    """

    file: str
    kind: str
    what: str
    text: str
    function: str = ""

    def __repr__(self) -> str:
        return f"<edit of {self.file}: {self.what}>"


def all_of(flow: Path) -> list[Edit]:
    """Return the edits there are for a flow and the modules of its folder that it imports."""
    return [edit for file in sources(flow) for edit in _edits(file, flow.parent)]


def strategy(flow: Path) -> st.SearchStrategy[Edit]:
    """Draw one of them."""
    from hypothesis import strategies as st

    found = all_of(flow)
    return st.sampled_from(found) if found else st.nothing()


def sources(flow: Path) -> list[Path]:
    """Return the flow's file and the files of its folder that it imports, however deep."""
    found = [flow]
    for file in found:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module]
            for name in names:
                path = flow.parent / (name.replace(".", "/") + ".py")
                if path.is_file() and path not in found:
                    found.append(path)
    return found


def _edits(file: Path, folder: Path) -> Iterator[Edit]:
    text = file.read_text(encoding="utf-8")
    name = file.relative_to(folder).as_posix()
    lines = text.splitlines(keepends=True)
    tree = ast.parse(text)
    functions = [n for n in tree.body if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef))]
    yield Edit(name, NEUTRAL, "a comment at the end", text + "\n# a remark\n")
    for function in functions:
        at = min([function.lineno, *(d.lineno for d in function.decorator_list)]) - 1
        yield Edit(name, NEUTRAL, f"blank lines and a comment above {function.name}", "".join([*lines[:at], "\n# a remark\n\n", *lines[at:]]))
        first = function.body[0]
        if first.lineno > function.lineno and ast.get_docstring(function) is None:
            indent = " " * first.col_offset
            new = [*lines[: first.lineno - 1], f'{indent}"""A docstring."""\n', *lines[first.lineno - 1 :]]
            yield Edit(name, NEUTRAL, f"a docstring for {function.name}", "".join(new))
        yield from _constants(function, lines, name)


def _constants(function: ast.FunctionDef | ast.AsyncFunctionDef, lines: list[str], name: str) -> Iterator[Edit]:
    """Yield an edit for each number in the body of a function."""
    for node in [n for statement in function.body for n in ast.walk(statement)]:
        if not isinstance(node, ast.Constant) or type(node.value) is not int or node.lineno != node.end_lineno:
            continue
        line = lines[node.lineno - 1]
        if not line.isascii():
            continue
        changed = f"{line[: node.col_offset]}{node.value + 1}{line[node.end_col_offset :]}"
        text = "".join([*lines[: node.lineno - 1], changed, *lines[node.lineno :]])
        what = f"{node.value} → {node.value + 1} in {function.name}, line {node.lineno}"
        yield Edit(name, SEMANTIC, what, text, function.name)


def users(flow: Path, function: str) -> set[str]:
    """Return the functions that mention a function of theirs, or mention one that does, itself included."""
    mentions: dict[str, set[str]] = {}
    for file in sources(flow):
        for name, found in _mentions(ast.parse(file.read_text(encoding="utf-8"))).items():
            mentions.setdefault(name, set()).update(found)
    return _closure(mentions, function)


def _mentions(tree: ast.Module) -> Mapping[str, set[str]]:
    found: dict[str, set[str]] = {}
    for node in tree.body:
        inside = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
        inside |= {n.attr for n in ast.walk(node) if isinstance(n, ast.Attribute)}
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            inside -= {a.arg for a in (*node.args.args, *node.args.kwonlyargs)}  # those are values
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            found.setdefault(node.name, set()).update(inside)
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for target in targets:
                if isinstance(target, ast.Name):
                    found.setdefault(target.id, set()).update(inside)
    return found


def _closure(mentions: Mapping[str, set[str]], function: str) -> set[str]:
    found = {function}
    grown = True
    while grown:
        more = {name for name, inside in mentions.items() if name not in found and inside & found}
        grown = bool(more)
        found |= more
    return found
