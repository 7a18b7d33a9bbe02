"""A syntax tree as text, the same on every Python from 3.11 on.

``ast.dump`` differs between versions and counts positions and docstrings; this walker does not.
A tree is written in pre-order, one line per node, with the arity of every list, so that two
different trees never give the same text. Left out, since they change nothing that runs: positions,
docstrings and other bare constants, ``pass``, type comments, and the hints inside plain functions.
"""

from __future__ import annotations

import ast
import gc
from hashlib import sha256
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

#: Raised whenever the text written for some tree changes, or what is remembered of one: memos of another number are dropped.
WALKER = 3

_Fields: TypeAlias = "dict[type, tuple[str, ...]]"

# Load, Store and Del follow from where a node stands; the rest has no effect on what runs.
_SILENT = frozenset({"ctx", "kind", "type_comment", "type_ignores"})
_HINTS = frozenset(
    {("arg", "annotation"), ("FunctionDef", "returns"), ("AsyncFunctionDef", "returns")}
)
_BODIES = frozenset({"body", "orelse", "finalbody"})
# Looked at before the call that most statements would make for nothing.
_MAY_IDLE = frozenset({ast.Pass, ast.Expr})
# Decimal text of huge integers is refused by Python, and is slow.
_LONG = 10_000


def parsed(text: str | bytes, path: str) -> ast.Module:
    """Parse a source, without looking for garbage: a tree of thousands of nodes has none, and half its time went there.

    Up to Python 3.12 the parser counts its depth for all threads together, and takes it for a
    mistake of its own (``SystemError``) when another thread, or a finalizer, parses meanwhile.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        for _attempt in range(5):
            try:
                return ast.parse(text, path)
            except SystemError:
                continue
    finally:
        if collecting:
            gc.enable()
    raise ValueError(f"{path} cannot be parsed now")


def fold(*texts: str) -> str:
    """Return one hash over several texts, in order; no two lists of texts share one."""
    return hashed("".join([f"{len(text)}:{text}" for text in texts]))


def hashed(text: str) -> str:
    """Return the hash of one text: :func:`fold` of several is that of each after its length."""
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _table(*, hints: bool) -> _Fields:
    return {
        cls: tuple(
            [
                name
                for name in cls._fields
                if name not in _SILENT and (hints or (cls.__name__, name) not in _HINTS)
            ]
        )
        for cls in vars(ast).values()
        if isinstance(cls, type) and issubclass(cls, ast.AST)
    }


STRICT = _table(hints=True)
LOOSE = _table(hints=False)


def text(root: ast.AST | list[ast.stmt], table: _Fields) -> str:
    """Return a tree as text: one line per node, in pre-order.

    Args:
        root: Any node; or the statements of a body, which count as a module of them.
        table: The fields that count, by class: ``STRICT``, or ``LOOSE`` for the inside of a
            function, where hints run nothing. A class or a decorated function in there is strict
            again: whoever made it may look at its hints.

    """
    lines: list[str] = []
    # A stack of our own: a sum of 2,000 terms is a tree 2,000 deep.
    stack: list[Any]
    if root.__class__ is list:
        stack = [part for part in root if part.__class__ not in _MAY_IDLE or not _idle(part)]
        lines.append(f"Module body*{len(stack)}" if stack else "Module")
        stack.reverse()
    else:
        stack = [root]
    while stack:
        node = stack.pop()
        cls = node.__class__
        if cls is ast.Name:
            lines.append(f"Name {node.id}")
        elif cls is ast.Constant:
            lines.append(_constant(node.value))
        elif cls is ast.Attribute:
            lines.append(f"Attribute {node.attr}")
            stack.append(node.value)
        elif cls is str:
            lines.append(node)
        elif node is None:
            lines.append("None")
        elif cls is ast.Return:
            value = node.value
            if value is None:
                lines.append("Return")
            else:
                lines.append("Return value")
                stack.append(value)
        elif table is LOOSE and (
            cls is ast.ClassDef or (cls in _DEFS and node.decorator_list and node is not root)
        ):
            lines.append(text(node, STRICT))
        else:
            head, inner = _open(node, cls, table)
            lines.append(head)
            inner.reverse()
            stack += inner
    return "\n".join(lines)


_DEFS = frozenset({ast.FunctionDef, ast.AsyncFunctionDef})


def _open(node: Any, cls: type, table: _Fields) -> tuple[str, list[Any]]:
    """Return the line of one node and its children, in order."""
    if cls is ast.JoinedStr:
        parts = list(_merged(node.values))
        return f"JoinedStr {len(parts)}", parts
    if cls is ast.AnnAssign and table is LOOSE and node.simple and node.value is not None:
        # ``x: int = 1`` in a function evaluates no hint: it is ``x = 1``.
        return "Assign targets*1 value", [node.target, node.value]
    head = cls.__name__
    inner: list[Any] = []
    fields = table.get(cls)
    for name in cls._fields if fields is None else fields:  # type: ignore[attr-defined]  # every syntax node's class has it
        value = getattr(node, name, None)
        if value is None:
            continue
        kind = value.__class__
        if kind is list:
            if name in _BODIES:
                value = [p for p in value if p.__class__ not in _MAY_IDLE or not _idle(p)]
            if value:
                head += f" {name}*{len(value)}"
                inner += value
        elif kind is str or kind is int or kind is bool:
            # A bool is that of ``case True:``.
            head += f" {name}={value}"
        elif name == "format_spec" and not node.format_spec.values:
            continue
        elif cls is ast.AnnAssign and name == "annotation" and table is LOOSE and node.simple:
            continue  # likewise
        else:
            head += f" {name}"
            inner.append(value)
    return head, inner


def _idle(statement: object) -> bool:
    cls = statement.__class__
    return cls is ast.Pass or (
        cls is ast.Expr and getattr(statement, "value", None).__class__ is ast.Constant
    )


def _merged(values: Iterable[ast.expr]) -> Iterator[ast.expr]:
    """Join neighbouring texts of an f-string: parsers before and after 3.12 cut them apart."""
    joined = ""
    for value in values:
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            joined += value.value
            continue
        if joined:
            yield ast.Constant(value=joined)
            joined = ""
        yield value
    if joined:
        yield ast.Constant(value=joined)


def _constant(value: object) -> str:
    if isinstance(value, int) and value.bit_length() > _LONG:
        return f"Constant {value:#x}"
    # Not repr(): which characters it escapes depends on the Unicode version.
    return f"Constant {value!a}"
