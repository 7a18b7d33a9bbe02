"""Code fingerprints: one hash over a task's function and all the user's code it reaches.

A fingerprint is a flat map from each part (the task's own body, helpers, classes, constants) to
its hash, and the hash of that map. So recursion is no trouble, and two maps side by side say what
changed. No file name, module name or line enters a hash: code may move.

Of the task itself count the body, the names of the arguments and the decorators that are not
flowkit's; of everything it reaches, all but comments, docstrings and layout.
"""

from __future__ import annotations

import os
import threading
from types import FunctionType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from flowkit_plugins.cache.code.functions import plain_hash
from flowkit_plugins.cache.code.nodes import Constant
from flowkit_plugins.cache.code.ownership import Ownership
from flowkit_plugins.cache.code.reach import Reach
from flowkit_plugins.cache.code.source import SourceMemo, remember_import, remember_imports
from flowkit_plugins.cache.code.trees import fold

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from flowkit_plugins.cache.code.nodes import Node

__all__ = [
    "Fingerprint",
    "Fingerprinter",
    "Part",
    "SourceMemo",
    "explain",
    "remember_import",
    "remember_imports",
]

#: The key of the task's own part. No function can bear such a name.
BODY = "<task>"
_FORMAT = "flowkit-code/1"

Kind = Literal["body", "helper", "class", "constant", "module", "bytecode", "opaque"]


class Part(NamedTuple):
    """One piece of the user's code.

    ``hash`` is that of the piece alone. ``name`` is what the user calls it; ``file`` is relative
    to the user's root where it lies below one. ``file`` and ``line`` are for messages only, and
    empty for constants. ``bound`` tells which parts its names stand for, where that does not go
    without saying: ``from lib import f as g``.
    """

    hash: str
    kind: Kind
    name: str
    file: str = ""
    line: int = 0
    bound: str = ""


class Fingerprint(NamedTuple):
    """The hash over everything reached, and the parts it is made of, the task's own first."""

    hex: str
    parts: Mapping[str, Part]

    def to_json(self) -> dict[str, Any]:
        """Return the fingerprint in terms of JSON."""
        return {"hex": self.hex, "parts": {key: list(part) for key, part in self.parts.items()}}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Fingerprint:
        """Return the fingerprint that :meth:`to_json` wrote.

        Raises:
            ValueError: It is something else.

        """
        try:
            parts = {str(key): Part(*values) for key, values in document["parts"].items()}
            fingerprint = cls(str(document["hex"]), parts)
        except (KeyError, TypeError, AttributeError) as error:
            message = f"not a fingerprint: {error!r}"
            raise ValueError(message) from error
        return fingerprint


class _Reached(NamedTuple):
    """The parts that a body reaches, the hash of their map, and ``bound`` of the body."""

    parts: dict[str, Part]
    hex: str
    bound: str


class Fingerprinter:
    """Computes fingerprints. Make one for each run: what it has seen, it does not look at again.

    Several threads may use one.

    Args:
        user_roots: Folders whose code is the user's. Code outside the standard library and
            ``site-packages`` (an editable install) is too.
        memo: Hashes of definitions, kept between runs.
        digest: The content of a value as text; raises for a value that has none.

    """

    def __init__(
        self,
        *,
        user_roots: Sequence[Path],
        memo: SourceMemo | None = None,
        digest: Callable[[object], str],
    ) -> None:
        self.memo = SourceMemo() if memo is None else memo
        self._roots = [os.path.join(os.path.abspath(root), "") for root in user_roots]
        self._reach = Reach(Ownership(user_roots), self.memo, digest)
        # By identity, with the function itself, so that the identity stays taken.
        self._known: dict[tuple[int, str], tuple[object, Fingerprint]] = {}
        self._codes: dict[tuple[int, int], tuple[object, str]] = {}
        self._lock = threading.RLock()
        self._reached: dict[tuple[tuple[str, int], ...], _Reached] = {}
        self._parts: dict[int, Part] = {}
        self._files: dict[str, str] = {}

    def fingerprint(
        self,
        function: Callable[..., object],
        *,
        name: str = "task",
        stop: Callable[[object], bool] | None = None,
    ) -> Fingerprint:
        """Return the fingerprint of a task's or resource's function.

        Args:
            function: What ``@task`` was put on. Under further decorators, the innermost function
                is the task's own code, and the wrappers are code it reaches.
            name: What the user calls it, where it is no function: an instance, a partial, a method.
            stop: Says of a function, class, module or constant's value that it shall not count,
                nor what it reaches.

        """
        with self._lock:
            if stop is not None:
                return self._compute(function, name, stop)
            key = (id(function), name)
            known = self._known.get(key)
            if known is None:
                known = self._known[key] = (function, self._compute(function, name, None))
            return known[1]

    def plain(self, function: Callable[..., object]) -> str | None:
        """Return the fingerprint's hash alone, if the function takes nothing from outside; else None.

        Most tasks of a large flow are such, and what says more is asked for when one has changed.
        """
        with self._lock:
            return plain_hash(self._reach, function) if isinstance(function, FunctionType) else None

    def code(self, subject: object) -> str:
        """Return a hash over a class's code and all that it reaches, or what a function reaches; ``""`` if it is not the user's.

        For what a task receives: it may call its methods, which its own code does not name. What a function says itself
        and holds is told by who asks: there may be a closure for each element, which is not kept here.
        """
        if not self._reach.users(subject):
            return ""
        taken = (subject.__code__, subject.__globals__) if isinstance(subject, FunctionType) else (subject, None)
        key = (id(taken[0]), id(taken[1]))
        with self._lock:
            known = self._codes.get(key)
            if known is None:
                node = self._reach.code(subject)
                reached = self._reached_by(node)
                hashed = fold(_FORMAT, node.hash, reached.bound, reached.hex)
                known = self._codes[key] = (taken, hashed)
            return known[1]

    def said(self, name: str, subject: object) -> str:
        """Return how a reason names a class or function of the user's, with its place; else by ``name``."""
        if isinstance(subject, FunctionType):
            code = subject.__code__
            shown = subject.__qualname__.replace(".<locals>", "")
            return f"`{shown}`{_place(Part('', 'helper', shown, self._shown(code.co_filename), code.co_firstlineno))}"
        if not isinstance(subject, type):
            return f"`{name}`"
        with self._lock:
            part = self._part(self._reach.code(subject), "")
        return f"`{part.name}`{_place(part)}"

    def note(self, subject: object) -> str:
        """Take note of a class or function in a constant that is being digested; its code counts apart, as a part."""
        self._reach.note(subject)
        return ""

    def _compute(
        self, function: object, name: str, stop: Callable[[object], bool] | None
    ) -> Fingerprint:
        if isinstance(function, FunctionType):
            hashed = plain_hash(self._reach, function)
            if hashed is not None:
                code = function.__code__
                file = self._shown(code.co_filename)
                part = Part(hashed, "body", function.__name__, file, code.co_firstlineno)
                return Fingerprint(hashed, {BODY: part})
        wrappers: list[object] = []
        inner = function
        while (wrapped := getattr(inner, "__wrapped__", None)) is not None:
            wrappers.append(inner)
            inner = wrapped
            if any(inner is one for one in wrappers):
                break
        if isinstance(inner, FunctionType):
            root = self._reach.task(inner)
        else:
            root = self._reach.around(name, inner)
        if not root.edges and not wrappers:
            # The hash of a map of one is that one: no other map is hashed to a text like it.
            return Fingerprint(root.hash, {BODY: self._part(root, "")})
        if wrappers or stop:
            reached = self._reach_from(root, wrappers, stop)
        else:
            reached = self._reached_by(root)
        hashed = fold(_FORMAT, root.hash, reached.bound, reached.hex)
        return Fingerprint(hashed, {BODY: self._part(root, reached.bound), **reached.parts})

    def _reached_by(self, node: Node) -> _Reached:
        """Return what a node reaches: thousands of tasks, or of what they make, use the same few names."""
        key = tuple([(label, id(target)) for label, target in node.edges])
        known = self._reached.get(key)
        if known is None:
            known = self._reached[key] = self._reach_from(node, (), None)
        return known

    def _reach_from(
        self, root: Node, wrappers: Sequence[object], stop: Callable[[object], bool] | None
    ) -> _Reached:
        """Return what a body reaches, numbered in the order of labels.

        No file or module name decides that order, so two helpers of one name are told apart by
        the way that leads to them.
        """
        keys = {id(root): BODY}
        taken: dict[str, int] = {}
        order = [root]
        edges: dict[int, list[tuple[str, Node]]] = {}
        for node in order:
            found = self._edges(node, root, wrappers)
            if stop is not None:
                found = [edge for edge in found if not stop(_value(edge[1]))]
            edges[id(node)] = found
            for _, target in found:
                if id(target) not in keys:
                    count = taken[target.name] = taken.get(target.name, 0) + 1
                    keys[id(target)] = target.name if count == 1 else f"{target.name}#{count}"
                    order.append(target)
        parts = {
            keys[id(node)]: self._part(node, _bound(edges[id(node)], keys)) for node in order[1:]
        }
        texts = [text for key in sorted(parts) for text in (key, parts[key].hash, parts[key].bound)]
        return _Reached(parts, fold(*texts), _bound(edges[id(root)], keys))

    def _edges(self, node: Node, root: Node, wrappers: Sequence[object]) -> list[tuple[str, Node]]:
        self._reach.grow(node)
        if not wrappers:
            return node.edges
        if node is root:
            around = self._reach.around("<decorated>", wrappers[0]).edges
            return [*node.edges, *[edge for edge in around if edge[1].subject is not root.subject]]
        if not any(_value(node) is one for one in wrappers):
            return node.edges
        # A wrapper is given all arguments of the task: to it, the task is no helper.
        return [
            (label, root if target.subject is root.subject else target)
            for label, target in node.edges
        ]

    def _part(self, node: Node, bound: str) -> Part:
        part = self._parts.get(id(node))
        if part is None or part.bound != bound:
            kind: Kind = node.kind  # type: ignore[assignment]  # the walkers use the words of Kind
            name = node.name.replace(".<locals>", "")
            part = Part(node.hash, kind, name, self._shown(node.file), node.line, bound)
            if node.kind != "body":
                self._parts[id(node)] = part
        return part

    def _shown(self, file: str) -> str:
        shown = self._files.get(file)
        if shown is None:
            path = os.path.abspath(file) if file and not file.startswith("<") else file
            roots = [root for root in self._roots if path.startswith(root)]
            shown = path[max(map(len, roots)) :] if roots else os.path.basename(path)
            self._files[file] = shown
        return shown


def _value(node: Node) -> object:
    return node.subject.value if isinstance(node.subject, Constant) else node.subject


def _bound(edges: Sequence[tuple[str, Node]], keys: Mapping[int, str]) -> str:
    """Return a hash over what labels stand for, of those that end in another name."""
    bound = [
        f"{label}={key}"
        for label, target in edges
        if (key := keys[id(target)]) != label and not label.endswith(f".{key}")
    ]
    return fold(*bound) if bound else ""


def explain(old: Mapping[str, Part], new: Mapping[str, Part]) -> str | None:
    """Return in words the first difference between two maps of parts; None if there is none.

    The task's own code comes first, then what it reaches, nearest first; then what is no longer
    used, and what is used now; last, a name that stands for something else.
    """
    for key, part in new.items():
        before = old.get(key)
        if before is not None and before.hash != part.hash:
            return f"{_said(key, part)} changed"
    for key, part in old.items():
        if key not in new:
            return f"code no longer uses `{part.name}`"
    for key, part in new.items():
        if key not in old:
            return f"code now uses `{part.name}`{_place(part)}"
    for key, part in new.items():
        if old[key].bound != part.bound:
            return f"{_said(key, part)} changed"
    return None


def _said(key: str, part: Part) -> str:
    if part.kind in ("constant", "opaque"):
        return f"constant `{part.name}`"
    return f"code of `{part.name}`{'' if key == BODY else _place(part)}"


def _place(part: Part) -> str:
    return f" ({part.file}:{part.line})" if part.file and part.line else ""
