"""From a name in the user's code to the piece of code it stands for.

Follows names through the user's modules, looks through wrappers of other people's making, and
stops at their packages and the standard library. Nodes grow on demand and are shared: a helper of
a thousand tasks is looked at once.

Not seen, as nobody could: ``getattr`` by a computed name, monkeypatching, other files that are
read, and code in C.
"""

from __future__ import annotations

import builtins
import sys
from functools import partial
from pathlib import Path
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType, NoneType
from typing import TYPE_CHECKING, Any, NamedTuple

from flowkit_plugins.cache.code.classes import below, grow_class, grow_module, grow_unloaded
from flowkit_plugins.cache.code.constants import Shape, attribute, grow_constant, held
from flowkit_plugins.cache.code.functions import grow_called, grow_function
from flowkit_plugins.cache.code.modules import Unloaded, from_package, holds, locate, parted
from flowkit_plugins.cache.code.nodes import Constant, Growth, Node
from flowkit_plugins.cache.code.ownership import of_flowkit
from flowkit_plugins.cache.code.source import Source, SourceMemo
from flowkit_plugins.cache.code.trees import fold

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from flowkit_plugins.cache.code.ownership import Ownership

_MISSING: Any = object()
# Re-exports of re-exports are followed this far.
_HANDS = 8


class _Found(NamedTuple):
    """What a name stands for. It is looked up by the namespace's identity, so this is kept."""

    edges: list[tuple[str, Node]]
    text: str
    names: dict[str, Any]


class Reach:
    """Makes nodes and grows them. One for a run: each constant is looked at once."""

    def __init__(
        self, ownership: Ownership, memo: SourceMemo, digest: Callable[[object], str]
    ) -> None:
        self.ownership = ownership
        self._memo = memo
        self._digest = digest
        self._nodes: dict[tuple[int, str], Node] = {}
        # With the names, so that their identity stays taken.
        self._sources: dict[tuple[str, int], tuple[Source | None, object]] = {}
        self._located: dict[tuple[str, str], str | None] = {}
        self._defaults: dict[tuple[str, type, object], str] = {}
        self._began: frozenset[str] | None = None
        self._found: dict[tuple[int, tuple[str, ...]], _Found] = {}
        self._flowkits: dict[tuple[int, str], tuple[bool, dict[str, Any]]] = {}
        self._usual: dict[tuple[str, int], tuple[Mapping[str, str], dict[str, Any]]] = {}
        self._holding: set[int] = set()
        self._met: dict[int, Any] = {}

    def task(self, function: FunctionType) -> Node:
        """Return a grown node for a task's own function."""
        self.loaded("")
        node = Node(function.__name__, function)
        grow_function(self, node, function, task=True)
        return node

    def users(self, subject: object) -> bool:
        """Return whether a class or function is the user's."""
        if isinstance(subject, FunctionType):
            return self.ownership.function(subject)
        return isinstance(subject, type) and self.ownership.class_(subject)

    def code(self, subject: Any) -> Node:
        """Return a grown node for a class of the user's that is at hand as a value; of a function, for what it calls."""
        self.loaded("")
        if isinstance(subject, FunctionType):
            node = Node("called", None)
            grow_called(self, node, subject)
        else:
            node = self._own(subject)
            self.grow(node)
        return node

    def around(self, name: str, value: object) -> Node:
        """Return a grown node that says nothing itself and reaches the code in ``value``."""
        node = Node(name, value)
        growth = Growth()
        self.add_value(growth, name, value, (value, name))
        growth.settle(node, "body", fold("around", type(value).__qualname__))
        return node

    def grow(self, node: Node) -> None:
        """Find out a node's hash and edges, unless that was done."""
        if node.grown:
            return
        subject = node.subject
        if isinstance(subject, FunctionType):
            grow_function(self, node, subject, task=False)
        elif isinstance(subject, type):
            grow_class(self, node, subject)
        elif isinstance(subject, ModuleType):
            grow_module(self, node, subject)
        elif isinstance(subject, Unloaded):
            grow_unloaded(self, node, subject)
        elif isinstance(subject, Constant):
            grow_constant(self, node, subject)

    def digest(self, value: object) -> str | None:
        """Return a value's digest, or None where it has none."""
        return self.content(value)[0]

    def content(self, value: object) -> tuple[str | None, list[Node]]:
        """Return a value's digest, and the code of the user's in it that was met on the way, as a ``deque`` may hold."""
        self._met = {}
        try:
            digest = self._digest(value)
        except Exception:
            return None, []
        return digest, [self._own(subject) for subject in self._met.values()]

    def note(self, subject: Any) -> None:
        """Take note of a class or function that is met in a constant."""
        if self.users(subject):
            self._met[id(subject)] = subject

    def default(self, name: str, value: object) -> str:
        """Return what a plain default value adds to a function's hash; many functions have the same few."""
        kind = value.__class__
        if kind is not int and kind is not str and kind is not bool and kind is not NoneType:
            return fold("default", name, self.digest(value) or "")  # 0.0 and -0.0 are equal, and two values
        key = (name, kind, value)
        known = self._defaults.get(key)
        if known is None:
            known = self._defaults[key] = fold("default", name, self.digest(value) or "")
        return known

    def loaded(self, module: str, filename: str = "") -> ModuleType | None:
        """Return the module that a file imports, if it was loaded when the first task was seen.

        What tasks import while they run would otherwise decide about those looked at later.
        """
        if self._began is None:
            self._began = frozenset(sys.modules)
        found = sys.modules.get(module) if module in self._began else None
        file = getattr(found, "__file__", None)
        if found is None or not file or not self.ownership.module(found):
            return found
        # Another folder's module of the same name may have taken its place.
        return found if self._locate(module, filename) in (None, file) else None

    def source(self, filename: str, names: dict[str, Any] | None = None) -> Source | None:
        """Return the source of a file as it was imported for the module of these names, if there is any to be trusted."""
        key = (filename, id(names))
        try:
            return self._sources[key][0]
        except KeyError:
            found = Source.open(filename, self._memo, names)
            self._sources[key] = (found, names)
            return found

    def add_name(
        self, growth: Growth, chain: tuple[str, ...], names: dict[str, Any], filename: str
    ) -> None:
        """Follow a name with its attributes, through the user's modules, to what it stands for.

        Args:
            growth: Receives what is found.
            chain: The name and the attributes after it, as the code has them.
            names: The globals of the code.
            filename: The file of the code.

        """
        key = (id(names), chain)
        found = self._found.get(key)
        if found is None:
            edges, text = self._follow(chain, names, filename)
            found = self._found[key] = _Found(edges, text, names)
        for edge in found.edges:
            growth.edges[edge[0], id(edge[1])] = edge  # growth.edge(*edge), without the call
        if found.text:
            growth.texts.append(found.text)

    def _follow(
        self, chain: tuple[str, ...], names: dict[str, Any], filename: str
    ) -> tuple[list[tuple[str, Node]], str]:
        name = chain[0]
        value = names.get(name, _MISSING)
        # ``__name__`` and its like would make a renamed module count.
        if value is _MISSING or (name.startswith("__") and name.endswith("__")):
            return [], ""
        depth = 1
        while isinstance(value, ModuleType) and self.ownership.module(value):
            inner = vars(value)
            if depth == len(chain) or chain[depth] not in inner:
                break
            names, name = inner, chain[depth]
            value = inner[name]
            depth += 1
        label = ".".join(chain[:depth])
        if value.__class__ is FunctionType and self.ownership.function(value):  # as most are
            return [(label, self._node(value, value.__code__.co_qualname))], ""
        code = isinstance(value, FunctionType | type | ModuleType)
        if code or not self._from_package(name, value, names, filename):
            edges = [*self.targets(label, value, (names, name))]
            if "__subclasses__" in chain[depth:] and isinstance(value, type):
                edges += below(self, label, value)
            if edges:
                return edges, ""
        # ``from math import sqrt`` is the user's line, though ``sqrt`` is not the user's.
        if value is getattr(builtins, name, _MISSING):
            return [], ""
        stands_for = self._stands_for(name, value, names, filename)
        return [], "" if stands_for == name else fold("import", label, stands_for)

    def _from_package(self, name: str, value: object, names: dict[str, Any], filename: str) -> bool:
        """Return whether a value was imported from a package: then its content does not count."""
        bound = self.imports(names, filename).get(name) or []
        return any(from_package(text, value, self.ownership) for text in bound)

    def of_flowkit(self, decorator: str, names: dict[str, Any]) -> bool:
        """Return whether the expression before a decorator's brackets is one of flowkit's."""
        key = (id(names), decorator)
        known = self._flowkits.get(key)
        if known is None:
            first, *rest = decorator.split(".")
            value = names.get(first, _MISSING)
            for name in rest:
                if not isinstance(value, ModuleType):
                    break
                value = vars(value).get(name, _MISSING)
            known = self._flowkits[key] = (value is not _MISSING and of_flowkit(value), names)
        return known[0]

    def usual_bodies(self, filename: str, names: dict[str, Any]) -> Mapping[str, str]:
        """Return the hashes of a file's functions that have flowkit's decorators alone, as far as they are remembered."""
        key = (filename, id(names))
        known = self._usual.get(key)
        if known is None:
            source = self.source(filename, names)
            bodies, mentioned = source.remembered() if source else ({}, ())
            plain = all(self.of_flowkit(name, names) for name in mentioned)
            known = self._usual[key] = (bodies if plain else {}, names)
        return known[0]

    def add_value(
        self, growth: Growth, label: str, value: object, home: tuple[object, str]
    ) -> None:
        """Note the user's code in a value that is at hand."""
        for inner, node in self.targets(label, value, home):
            growth.edge(inner, node)

    def add_module(self, growth: Growth, wanted: tuple[str, ...], filename: str) -> None:
        """Follow an import of the first of these modules that exists, executed or not."""
        for name in wanted:
            module = self.loaded(name, filename)
            if module is not None:
                last = name.rpartition(".")[2]
                self.add_value(growth, last, module, (module, last))
                return
            if self._add_unloaded(growth, name, filename):
                return

    def add_file(self, growth: Growth, wanted: tuple[str, ...], filename: str) -> None:
        """Follow an import of the first of these modules that has a file, loaded or not."""
        for name in wanted:
            if name and self._add_unloaded(growth, name, filename):
                return

    def targets(
        self, label: str, value: object, home: tuple[object, str]
    ) -> Iterator[tuple[str, Node]]:
        """Yield the user's code that a value is or wraps; nothing for a package's own.

        Args:
            label: How the code calls the value.
            value: Any object.
            home: What binds the value, and under which name. Together they tell one constant
                from another.

        """
        if isinstance(value, FunctionType):
            if self.ownership.function(value):
                yield label, self._node(value, value.__code__.co_qualname)
            elif not of_flowkit(value):
                yield from self._held(label, value)
        elif isinstance(value, type):
            if self.ownership.class_(value):
                yield label, self._node(value, value.__qualname__)
        elif isinstance(value, ModuleType):
            if self.ownership.module(value):
                yield label, self._node(value, value.__name__.rpartition(".")[2])
        elif isinstance(value, BuiltinFunctionType) and isinstance(
            value.__self__, ModuleType | NoneType
        ):
            return
        elif isinstance(value, MethodType):
            yield from self.targets(label, value.__func__, (value, label))
            yield from self.targets(f"{label}.__self__", value.__self__, (value.__self__, home[1]))
        elif self._wraps(value):
            yield from self.targets(label, value.__wrapped__, home)  # type: ignore[attr-defined]  # _wraps looked
        else:
            key = (id(home[0]), home[1])
            if key not in self._nodes:
                self._nodes[key] = Node(home[1], Constant(value), home[0])
            yield label, self._nodes[key]

    def _wraps(self, value: object) -> bool:
        """Return whether this is a package's wrapper that is no function, as of ``lru_cache``."""
        return (
            not isinstance(value, partial)
            and not self.ownership.class_(type(value))
            and isinstance(attribute(value, "__wrapped__"), FunctionType | type)
        )

    def _held(self, label: str, function: FunctionType) -> Iterator[tuple[str, Node]]:
        """Yield the user's code that a package's wrapper holds."""
        if id(function) in self._holding:  # wrappers may hold each other
            return
        self._holding.add(id(function))
        shape = Shape(self, lambda _label, _node: None)
        seen = {id(function)}
        try:
            for name, value in held(function):
                if id(value) not in seen and shape.holds_code(value):
                    marked = label if len(seen) == 1 else f"{label}~{len(seen)}"
                    seen.add(id(value))
                    # By its name there, as the label may grow without end along such wrappers.
                    yield from self.targets(marked, value, (function, name))
        finally:
            self._holding.discard(id(function))

    def _own(self, subject: Any) -> Node:
        """Return the node of a class or function of the user's, by the name that it has wherever it is met."""
        name = subject.__code__.co_qualname if isinstance(subject, FunctionType) else subject.__qualname__
        return self._node(subject, name)

    def _node(self, subject: object, name: str) -> Node:
        key = (id(subject), "")
        node = self._nodes.get(key)
        if node is None:
            node = self._nodes[key] = Node(name, subject, subject)
        return node

    def _add_unloaded(self, growth: Growth, module: str, filename: str) -> bool:
        path = self._locate(module, filename)
        if path and self.ownership.file(path):
            key = (0, path)
            name = module.rpartition(".")[2]
            if key not in self._nodes:
                self._nodes[key] = Node(name, Unloaded(path))
            growth.edge(name, self._nodes[key])
        return path is not None

    def _locate(self, module: str, filename: str) -> str | None:
        place = (module, str(Path(filename).parent))
        if place not in self._located:
            self._located[place] = locate(module, beside=filename)
        return self._located[place]

    def _stands_for(self, name: str, value: object, names: dict[str, Any], filename: str) -> str:
        """Return what a name of somebody else's stands for, after the user's import statements."""
        for _ in range(_HANDS):
            bound = self.imports(names, filename).get(name)
            if not bound:
                break
            try:
                module, last = parted(bound[-1], str(names.get("__package__") or ""))
            except ImportError:
                return name
            above = sys.modules.get(module)
            if above is None or not self.ownership.module(above):
                if any(holds(text, value) for text in bound):
                    return "|".join(sorted(bound))
                break
            # Handed on by another module of the user's.
            name, names, filename = last, vars(above), ""
        if isinstance(value, ModuleType):
            return value.__name__
        home = getattr(value, "__module__", None) or type(value).__module__
        named = getattr(value, "__qualname__", None) or type(value).__qualname__
        return f"{str(home).partition('.')[0]}:{named}"

    def imports(self, names: dict[str, Any], filename: str) -> Mapping[str, list[str]]:
        """Return what each name imported in the module of these globals stands for, in dotted form."""
        source = self.source(str(names.get("__file__") or filename), names)
        return source.imports() if source else {}
