"""Edits of a flow's sources: some keep the meaning (a comment, a docstring), some change a constant of a function.

What an edit must run again is told without the cache: by the names that functions mention.
"""

from __future__ import annotations

import ast
import io
import tokenize
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

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

    @property
    def parses(self) -> bool:
        """Whether it leaves Python."""
        with warnings.catch_warnings(action="ignore"):
            try:
                compile(self.text, self.file, "exec", dont_inherit=True)
            except SyntaxError:
                return False
        return True

    def __repr__(self) -> str:
        return f"<edit of {self.file}: {self.what}>"


def all_of(flow: Path) -> list[Edit]:
    """Return the edits there are for a flow and the modules of its folder that it imports."""
    return [edit for file in sources(flow) for edit in _edits(file, flow.parent)]


def from_the(number: int, found: Sequence[Edit]) -> Edit:
    """Return one of some edits, the next one that is Python still: not every place of a line can be told from the tree."""
    at = number % len(found)
    return next(edit for edit in (*found[at:], *found) if edit.parses)


def text_of(file: Path) -> str:
    """Return the text of a source as Python reads it."""
    with tokenize.open(file) as opened:
        return opened.read()


def _tree(file: Path) -> ast.Module:
    with warnings.catch_warnings(action="ignore"):  # Python gave them when it read the file itself
        return ast.parse(text_of(file))


def sources(flow: Path) -> list[Path]:
    """Return the flow's file and the files of its folder that it imports, however deep."""
    found = [flow]
    for file in found:
        for node in ast.walk(_tree(file)):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module]
            for name in names:
                path = flow.parent / (name.replace(".", "/") + ".py")
                if path.is_file() and path not in found:
                    found.append(path)
    return found


def _edits(file: Path, folder: Path) -> Iterator[Edit]:
    text = text_of(file)
    name = file.relative_to(folder).as_posix()
    lines = list(io.StringIO(text))  # a tree counts other lines than str.splitlines()
    functions = [n for n in _tree(file).body if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef))]
    yield Edit(name, NEUTRAL, "a comment at the end", text + "\n# a remark\n")
    for function in functions:
        at = _first_line(function)
        yield Edit(name, NEUTRAL, f"blank lines and a comment above {function.name}", "".join([*lines[:at], "\n# a remark\n\n", *lines[at:]]))
        at = _first_line(function.body[0])
        indent = lines[at][: len(lines[at]) - len(lines[at].lstrip())]
        if len(indent) == function.body[0].col_offset and ast.get_docstring(function) is None:
            new = [*lines[:at], f'{indent}"""A docstring."""\n', *lines[at:]]
            yield Edit(name, NEUTRAL, f"a docstring for {function.name}", "".join(new))
        yield from _constants(function, lines, name)


def _first_line(node: ast.stmt) -> int:
    """Return the index of a statement's first line, decorators included."""
    decorators: list[ast.expr] = getattr(node, "decorator_list", [])
    return min([node.lineno, *(d.lineno for d in decorators)]) - 1


def _constants(function: ast.FunctionDef | ast.AsyncFunctionDef, lines: list[str], name: str) -> Iterator[Edit]:
    """Yield an edit for each number in the body of a function."""
    for node in [n for statement in function.body for n in ast.walk(statement)]:
        if not isinstance(node, ast.Constant) or type(node.value) is not int or node.lineno != node.end_lineno:
            continue
        line = lines[node.lineno - 1]
        # Columns count bytes, and in an f-string they may be another place's.
        if not line.isascii() or line[node.col_offset : node.end_col_offset].replace("_", "") != str(node.value):
            continue
        changed = f"{line[: node.col_offset]}{node.value + 1}{line[node.end_col_offset :]}"
        text = "".join([*lines[: node.lineno - 1], changed, *lines[node.lineno :]])
        what = f"{node.value} → {node.value + 1} in {function.name}, line {node.lineno}"
        yield Edit(name, SEMANTIC, what, text, function.name)


def users(flow: Path, function: str, *, surely: bool = False) -> set[str]:
    """Return the functions that may have to do with another function of theirs, itself included.

    Args:
        flow: The flow's file.
        function: The name of the other.
        surely: Only those whose code calls it, or calls one that does, as far as can be told for sure.
    """
    trees = {file: _tree(file) for file in sources(flow)}
    modules = {".".join(f.relative_to(flow.parent).with_suffix("").parts): _defined(tree) for f, tree in trees.items()}
    mentions: dict[str, set[str]] = {}
    for tree in trees.values():
        aliases = _aliases(tree, modules)
        of_tree = _called(tree, aliases) if surely else {**_mentioned(tree), **{f"{n}.*": names for n, names in aliases.items()}}
        for name, found in of_tree.items():
            mentions.setdefault(name, set()).update(found)
    return _closure(mentions, function)


def _defined(tree: ast.Module) -> set[str]:
    return {n.name for n in tree.body if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))}


def _aliases(tree: ast.Module, modules: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """Return what modules of the flow's folder are called in a file, each with the names that it defines."""
    imported = [a for node in ast.walk(tree) if isinstance(node, ast.Import) for a in node.names]
    return {a.asname or a.name: modules[a.name] for a in imported if a.name in modules}


def _mentioned(tree: ast.Module) -> Mapping[str, set[str]]:
    """Return all names that a definition has in it; ``helper.*`` for a module as a whole, as in ``getattr(helper, …)``."""
    found: dict[str, set[str]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            found.update({a.asname: {a.name} for a in node.names if a.asname})
    for node in tree.body:
        attributes = [n for n in ast.walk(node) if isinstance(n, ast.Attribute)]
        names = [n for n in ast.walk(node) if isinstance(n, ast.Name)]
        inside = {n.id for n in names} | {n.attr for n in attributes}
        owners = {id(n.value) for n in attributes}
        inside |= {f"{n.id}.*" for n in names if id(n) not in owners}
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


def _called(tree: ast.Module, aliases: Mapping[str, set[str]]) -> Mapping[str, set[str]]:
    """Return the names that a function's own statements surely take from its module, or from one that it imported."""
    found: dict[str, set[str]] = {}
    for node in tree.body:
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        nodes = [n for statement in node.body for n in ast.walk(statement)]
        names = [n for n in nodes if isinstance(n, ast.Name)]
        own = {n.arg for n in ast.walk(node) if isinstance(n, ast.arg)}
        own |= {n.id for n in names if not isinstance(n.ctx, ast.Load)}
        attributes = [n for n in nodes if isinstance(n, ast.Attribute) and isinstance(n.value, ast.Name)]
        of_modules = {n.attr for n in attributes if n.attr in aliases.get(ast.unparse(n.value), ())}
        found.setdefault(node.name, set()).update({n.id for n in names} - own | of_modules)
    return found


def _closure(mentions: Mapping[str, set[str]], function: str) -> set[str]:
    found = {function}
    grown = True
    while grown:
        more = {name for name, inside in mentions.items() if name not in found and inside & found}
        grown = bool(more)
        found |= more
    return found
