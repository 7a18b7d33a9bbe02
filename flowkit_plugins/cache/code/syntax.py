"""What a file defines: the hashes of its functions and classes, and what its imports bind."""

from __future__ import annotations

import ast
from copy import copy
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from flowkit_plugins.cache.code.trees import LOOSE, STRICT, fold, hashed, text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

#: The syntax of what has a scope and a name of its own. A tuple: a union takes four times as long.
Definition = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
Def: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda


class Decorator(NamedTuple):
    """One decorator of a function: the hash of its expression, and the names it mentions.

    The first name is the decorator's own (``retry`` of ``@retry(times=LIMIT)``), or empty.
    """

    hash: str
    names: tuple[str, ...]


class FunctionSyntax(NamedTuple):
    """The hashes of one ``def`` or ``lambda``, apart, since each user counts other things.

    ``body`` covers the statements and the shape of the argument list, nothing else; the name of
    the function is in none of them. ``defaults`` and ``hints`` are empty where there are none.
    """

    body: str
    decorators: tuple[Decorator, ...] = ()
    hints: str = ""
    defaults: str = ""
    method: bool = False


class ClassSyntax(NamedTuple):
    """The hash of a whole class, its first line, and the names its own statements mention."""

    hash: str
    line: int
    names: Sequence[str] = ()


class Lines(NamedTuple):
    """The hash of some statements, and what they mention, or what they import, in dotted form."""

    hash: str
    names: Sequence[str]


class Module:
    """One parsed file: finds its definitions by qualified name, and reads its imports."""

    __slots__ = ("_functions", "_lambdas", "_scopes", "tree")

    def __init__(self, tree: ast.Module) -> None:
        self.tree = tree
        self._scopes: dict[str, list[tuple[str, ast.stmt, bool]]] = {}
        self._functions: dict[tuple[str, int], tuple[ast.stmt, bool]] = {}
        self._lambdas: dict[int, list[ast.Lambda]] | None = None

    def function(self, qualname: str, line: int) -> FunctionSyntax | None:
        """Return the function whose code object starts at ``line``, if exactly one does.

        Args:
            qualname: ``co_qualname``.
            line: ``co_firstlineno``: the first decorator's line where there is one.

        """
        if qualname.rpartition(".")[2] == "<lambda>":
            found = self._lambdas_at(line)
            return function_syntax(found[0], method=False) if len(found) == 1 else None
        self._index(_prefix(qualname))
        node, method = self._functions.get((qualname, line), (None, False))
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            return None
        return function_syntax(node, method=method)

    def class_(self, qualname: str) -> ClassSyntax | None:
        """Return the class of that name; definitions that share the name count together."""
        prefix = _prefix(qualname)
        self._index(prefix)
        found = [
            node
            for name, node, _ in self._scopes[prefix]
            if name == qualname and isinstance(node, ast.ClassDef)
        ]
        if not found:
            return None
        mentioned = sorted({name for node in found for name in _class_names(node)})
        written = fold("class", *[text(_nameless(node), STRICT) for node in found])
        return ClassSyntax(written, first_line(found[-1]), mentioned)

    def bound(self, name: str) -> Lines | None:
        """Return of a name the outermost statements that bind it, or are there for their effect and mention it."""
        found = [
            node for node in self.tree.body if not isinstance(node, Definition) and _makes(node, name)
        ]
        if not found:
            return None
        mentioned = {one for one in names(*found) if one.partition(".")[0] != name}
        written = fold("bound", *[text(node, LOOSE) for node in found])
        return Lines(written, sorted(mentioned))

    def whole(self) -> Lines:
        """Return the hash of the module as a whole, and what it imports anywhere, inside functions too."""
        imported: set[str] = set()
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                imported.update([name.name for name in node.names])
            elif isinstance(node, ast.ImportFrom):
                imported.update([_from(node) + name.name for name in node.names])
        return Lines(fold("module", text(self.tree, LOOSE)), sorted(imported))

    def imports(self) -> dict[str, list[str]]:
        """Return what each name imported at module level stands for, in dotted form.

        A name bound in several places (``try: import a except ImportError: import b as a``) has
        several; relative imports keep their dots.
        """
        bindings: dict[str, list[str]] = {}
        for node in _statements(self.tree.body):
            if isinstance(node, ast.Import):
                for name in node.names:
                    bound = name.asname or name.name.partition(".")[0]
                    bindings.setdefault(bound, []).append(name.name if name.asname else bound)
            elif isinstance(node, ast.ImportFrom):
                for name in node.names:
                    bindings.setdefault(name.asname or name.name, []).append(_from(node) + name.name)
        return bindings

    def _index(self, prefix: str) -> None:
        if prefix in self._scopes:
            return
        found: list[tuple[str, ast.stmt, bool]] = []
        self._scopes[prefix] = found
        for body, method in self._bodies(prefix):
            for node in _statements(body):
                if isinstance(node, Definition):
                    name = prefix + node.name
                    found.append((name, node, method))
                    self._functions[name, first_line(node)] = (node, method)

    def _bodies(self, prefix: str) -> Iterator[tuple[Sequence[ast.stmt], bool]]:
        if not prefix:
            yield self.tree.body, False
            return
        outer = prefix[: -len(".<locals>.")] if prefix.endswith(".<locals>.") else prefix[:-1]
        above = _prefix(outer)
        self._index(above)
        local = prefix.endswith(".<locals>.")
        for name, node, _ in self._scopes[above]:
            if name == outer and isinstance(node, ast.ClassDef) != local:
                yield getattr(node, "body", []), not local

    def _lambdas_at(self, line: int) -> list[ast.Lambda]:
        if self._lambdas is None:
            self._lambdas = {}
            for node in ast.walk(self.tree):
                if isinstance(node, ast.Lambda):
                    self._lambdas.setdefault(node.lineno, []).append(node)
        return self._lambdas.get(line, [])


def function_syntax(node: Def, *, method: bool) -> FunctionSyntax:
    """Return the hashes of a function's parts.

    Args:
        node: The definition.
        method: Whether it stands directly in a class.

    """
    args = node.args
    # How many have a default is input, like its value; a caller sees it through ``defaults``.
    defaults = ""
    if args.defaults or any(args.kw_defaults):
        texts = [text(value, LOOSE) for value in args.defaults]
        texts += [text(value, LOOSE) if value else "" for value in args.kw_defaults]
        defaults = fold("defaults", *texts)
    if isinstance(node, ast.Lambda):
        written = fold("Lambda", *_shape(args), text(node.body, LOOSE))
        return FunctionSyntax(written, defaults=defaults)
    kind = node.__class__
    body = text(node.body, LOOSE)
    if args.posonlyargs or args.vararg or args.kwonlyargs or args.kwarg:
        written = fold(kind.__name__, *_shape(args), body)
    else:  # the same, in half the time
        given = " ".join([arg.arg for arg in args.args])
        written = hashed(f"{_PLAIN[kind]}{len(given)}:{given}0:0:0:{len(body)}:{body}")
    decorators = tuple([_decorator(value) for value in node.decorator_list])
    return FunctionSyntax(written, decorators, _hints(node), defaults, method)


#: What :func:`fold` begins with for a function that has only plain arguments.
_PLAIN: dict[type, str] = {
    kind: f"{len(kind.__name__)}:{kind.__name__}0:"
    for kind in (ast.FunctionDef, ast.AsyncFunctionDef)
}


def _shape(args: ast.arguments) -> Sequence[str]:
    """Return the names of arguments, by kind."""
    return (
        " ".join([arg.arg for arg in args.posonlyargs]),
        " ".join([arg.arg for arg in args.args]),
        args.vararg.arg if args.vararg else "",
        " ".join([arg.arg for arg in args.kwonlyargs]),
        args.kwarg.arg if args.kwarg else "",
    )


#: Thousands of tasks have the one decorator ``@task``.
_plain_decorators: dict[str, Decorator] = {}


def _decorator(value: ast.expr) -> Decorator:
    if not isinstance(value, ast.Name):
        return Decorator(
            fold("decorator", text(value, LOOSE)), (_callee(value), *_mentioned(value))
        )
    known = _plain_decorators.get(value.id)
    if known is None:
        known = Decorator(fold("decorator", text(value, LOOSE)), (value.id,))
        _plain_decorators[value.id] = known
    return known


def names(*nodes: ast.AST) -> Iterator[str]:
    """Yield every name these expressions mention, with its attributes: ``helpers.clean``."""
    stack = list(nodes)
    while stack:
        node = stack.pop()
        chain: list[str] = []
        inner = node
        while isinstance(inner, ast.Attribute):
            chain.append(inner.attr)
            inner = inner.value
        if isinstance(inner, ast.Name):
            yield ".".join([inner.id, *reversed(chain)])
        elif inner is not node:
            stack.append(inner)
        else:
            stack.extend(ast.iter_child_nodes(node))


def _callee(decorator: ast.expr) -> str:
    called = decorator.func if isinstance(decorator, ast.Call) else decorator
    return next(names(called), "") if isinstance(called, ast.Name | ast.Attribute) else ""


def _mentioned(decorator: ast.expr) -> list[str]:
    return sorted({*names(decorator)} - {_callee(decorator)})


def _makes(statement: ast.stmt, name: str) -> bool:
    """Return whether a statement binds a name, or does something to what it stands for: ``QUEUE.put(1)``."""
    return any(
        isinstance(part, ast.Name) and part.id == name
        for node in ast.walk(statement)
        if isinstance(node, ast.Expr) or isinstance(getattr(node, "ctx", None), ast.Store | ast.Del)
        for part in ast.walk(node)
    )


def _hints(node: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    args = node.args
    every = args.args
    if args.posonlyargs or args.kwonlyargs or args.vararg or args.kwarg:
        every = [*args.posonlyargs, *every, *args.kwonlyargs]
        every += [arg for arg in (args.vararg, args.kwarg) if arg]
    if node.returns is None and not [arg for arg in every if arg.annotation]:
        return ""
    texts = [f"{arg.arg}={text(arg.annotation, STRICT)}" for arg in every if arg.annotation]
    texts += [text(value, STRICT) for value in getattr(node, "type_params", ())]
    return fold("hints", *texts, text(node.returns, STRICT) if node.returns else "")


def _class_names(node: ast.ClassDef) -> Iterator[str]:
    """Yield what a class mentions outside its methods' bodies, hints in quotes included."""
    yield from names(*node.decorator_list, *node.bases, *[word.value for word in node.keywords])
    for statement in _statements(node.body):
        if isinstance(statement, ast.ClassDef):
            yield from _class_names(statement)
        elif isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from names(*statement.decorator_list, statement.args)
            if statement.returns:
                yield from names(statement.returns)
        else:
            # The bodies of compound statements come along as statements of their own.
            yield from names(
                *[part for part in ast.iter_child_nodes(statement) if isinstance(part, ast.expr)]
            )
            if isinstance(statement, ast.AnnAssign):
                yield from _quoted(statement.annotation)


def _quoted(hint: ast.expr) -> Iterator[str]:
    for part in ast.walk(hint):
        if isinstance(part, ast.Constant) and isinstance(part.value, str):
            try:
                yield from names(ast.parse(part.value, mode="eval"))
            except (SyntaxError, ValueError):
                continue


def _statements(body: Iterable[ast.AST]) -> Iterator[ast.AST]:
    """Yield the statements of one scope in order, those under ``if``, ``try`` and so on too."""
    for node in body:
        yield node
        if not isinstance(node, Definition):
            for name in ("body", "handlers", "cases", "orelse", "finalbody"):
                inner = getattr(node, name, None)
                if isinstance(inner, list):
                    yield from _statements(inner)


def _from(node: ast.ImportFrom) -> str:
    return "." * node.level + (node.module + "." if node.module else "")


def first_line(node: ast.AST) -> int:
    """Return the line at which a definition begins, with its decorators."""
    decorators = node.decorator_list  # type: ignore[attr-defined]  # functions and classes have it
    line: int = decorators[0].lineno if decorators else node.lineno  # type: ignore[attr-defined]  # likewise
    return line


def _nameless(node: ast.ClassDef) -> ast.ClassDef:
    plain = copy(node)
    plain.name = "class"
    return plain


def _prefix(qualname: str) -> str:
    return qualname[: qualname.rfind(".") + 1]
