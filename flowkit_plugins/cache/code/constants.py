"""What a constant of the user's says: its content, and the code it holds.

A value without code is digested as a whole. A value that holds functions or classes of the user's
(a table of handlers, a ``partial``, an instance) is taken apart: the code becomes edges, so that a
change in it is seen and named, and the rest is digested piece by piece. So is a container with
something that has no content (a lock, a connection): that counts by its type, and by the statements
of its module that made it.
"""

from __future__ import annotations

from collections import deque
from functools import partial
from logging import Logger, LoggerAdapter
from pathlib import PurePath
from types import (
    FunctionType,
    GenericAlias,
    MappingProxyType,
    MethodType,
    ModuleType,
    SimpleNamespace,
    UnionType,
)
from typing import TYPE_CHECKING, Any

from flowkit_plugins.cache.code.bound import add_bound
from flowkit_plugins.cache.code.bytecode import closure
from flowkit_plugins.cache.code.nodes import Growth
from flowkit_plugins.cache.code.ownership import of_flowkit
from flowkit_plugins.cache.code.trees import fold

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from flowkit_plugins.cache.code.nodes import Constant, Node
    from flowkit_plugins.cache.code.reach import Reach

_SCALARS = frozenset({bool, int, float, complex, str, bytes, type(None), type(...)})
_SEQUENCES = (list, tuple, set, frozenset)
# How much of a value is searched for code; a table of a million rows holds none.
_MOST = 10_000
# How deep a value is taken apart. Below, it is digested, for which Python's stack is no limit.
_DEEPEST = 100
# Whose pieces are plain to see. Objects of other people's may hold anything: counters, addresses.
_OPEN = (dict, MappingProxyType, list, tuple, set, frozenset, deque, SimpleNamespace, partial)
_OPAQUE = "opaque "
_NO_STATE = frozenset({"__dict__", "__weakref__"})


def is_scalar(value: object) -> bool:
    """Return whether a value is plain, so that its digest is all there is to say."""
    return value.__class__ in _SCALARS


def attribute(value: object, name: str) -> Any:
    """Return an attribute without asking ``__getattr__``; None if there is none to be had."""
    try:
        return object.__getattribute__(value, name)
    except Exception:
        return None


def grow_constant(reach: Reach, node: Node, constant: Constant) -> None:
    """Fill in the node of a constant: its content, or how it was made where that is not all to be had."""
    growth = Growth()
    shape = Shape(reach, growth.edge)
    text = shape.text(constant.value, node.name)
    texts = [fold("constant", text)]
    if shape.opaque and isinstance(node.keep, dict):
        texts += add_bound(reach, growth, node.name, node.keep)
    growth.settle(node, "opaque" if text.startswith(_OPAQUE) else "constant", *texts)


class Shape:
    """Writes values as text and reports the code in them as edges.

    ``opaque`` says whether something was met of which the text tells the type alone.
    """

    def __init__(self, reach: Reach, edge: Callable[[str, Node], None]) -> None:
        self._reach = reach
        self._edge = edge
        # Where each value was met first, and the value, so that its identity stays taken.
        self._met: dict[int, tuple[int, object]] = {}
        self._depth = 0
        self.opaque = False

    def text(self, value: object, label: str) -> str:
        """Return a value as text, equal for equal content in every process.

        Args:
            value: Any object.
            label: How the code calls it; the labels of its pieces start with it.

        """
        more = len(self._met) <= _MOST and self._depth < _DEEPEST
        if is_scalar(value) or not more or not self.holds_code(value):
            digest = self._leaf(value, label)
            if digest is not None:
                return digest
            if not more or not isinstance(value, _OPEN):
                return self._fallen(value)
        if isinstance(value, FunctionType | type | MethodType | ModuleType):
            return fold("code", *self._follow(value, label))
        if id(value) in self._met:
            return f"met {self._met[id(value)][0]}"
        self._met[id(value)] = (len(self._met), value)
        self._depth += 1
        try:
            return self._apart(value, label)
        finally:
            self._depth -= 1

    def holds_code(self, value: object) -> bool:
        """Return whether a value must be taken apart: there is code of the user's in it.

        An instance holds its class. Paths and loggers are taken out of their containers as well.
        """
        seen: set[int] = set()
        stack = [value]
        ownership = self._reach.ownership
        while stack and len(seen) < _MOST:
            item = stack.pop()
            if is_scalar(item) or id(item) in seen:
                continue
            seen.add(id(item))
            if isinstance(item, PurePath | Logger | LoggerAdapter):
                return True
            if isinstance(item, FunctionType):
                if ownership.function(item):
                    return True
            elif isinstance(item, type):
                if ownership.class_(item):
                    return True
                continue
            elif isinstance(item, ModuleType):
                if ownership.module(item):
                    return True
                continue
            elif ownership.class_(item.__class__):
                return True
            stack += _pieces(item)
        return False

    def _leaf(self, value: object, label: str = "") -> str | None:
        """Return what the content of a value says, None where it has none."""
        place = self._reach.ownership.relative(value) if value.__class__ is str else None
        if place is not None:
            # ``os.path.dirname(__file__)``: a checkout elsewhere is the same code.
            return fold("below the root", place)
        if isinstance(value, ModuleType):
            return fold("module", value.__name__)
        if is_scalar(value):
            return self._reach.digest(value)
        digest, met = self._reach.content(value)
        for node in met:
            self._edge(f"{label}.{node.name}", node)
        return digest

    def _fallen(self, value: object) -> str:
        self.opaque = True
        cls = value.__class__
        return f"{_OPAQUE}{cls.__module__.partition('.')[0]}.{cls.__qualname__}"

    def _apart(self, value: Any, label: str) -> str:
        cls = value.__class__
        if self._reach.ownership.class_(cls):
            return self._instance(value, label)
        if isinstance(value, PurePath):
            # By name alone: ``HERE = Path(__file__).parent`` stands for no content.
            return fold("path", self.text(str(value), label))
        if isinstance(value, Logger | LoggerAdapter):
            # Its name is that of its module, which does not count.
            return f"{_OPAQUE}logging.{cls.__qualname__}"
        if cls is list or cls is tuple:
            texts = [self.text(item, f"{label}[{at}]") for at, item in enumerate(value)]
            return fold(cls.__name__, *texts)
        if cls is dict or cls is MappingProxyType:
            return fold("dict", *self._items(value.items(), label))
        if cls is set or cls is frozenset:
            return fold(cls.__name__, *self._members(value, label))
        if isinstance(value, partial):
            given = [("func", value.func), ("args", value.args), ("keywords", value.keywords)]
            return fold("partial", *self._items(given, label))
        if isinstance(value, GenericAlias | UnionType) or attribute(value, "__origin__"):
            parts = [("of", attribute(value, "__origin__")), ("args", value.__args__)]
            if said := attribute(value, "__metadata__"):  # Annotated: validators may be among it
                parts.append(("metadata", said))
            return fold("alias", *self._items(parts, label))
        if cls.__qualname__ == "TypeAdapter" and cls.__module__.startswith("pydantic."):
            # What pydantic makes of the type bears the addresses of its classes.
            return fold("adapter", *self._items([("type", attribute(value, "_type"))], label))
        if attribute(value, "__wrapped__"):
            return fold("code", *self._follow(value, label))
        return self._instance(value, label)

    def _members(self, value: set[Any] | frozenset[Any], label: str) -> Iterator[str]:
        """Yield the members of a set in an order that the hash seed does not decide."""
        for at, item in enumerate(sorted(value, key=self._sight)):
            yield self.text(item, f"{label}[{at}]")

    def _sight(self, value: object) -> str:
        """Return what is seen of a value without going into it."""
        named = str(attribute(value, "__qualname__") or value.__class__.__qualname__)
        if isinstance(value, PurePath):  # whose attributes are made as they are asked for
            return fold(named, str(value))
        inner = [value, *(value if isinstance(value, tuple) else ()), *_attributes(value).values()]
        return fold(named, *[self._leaf(item) or "" for item in inner if is_scalar(item)])

    def _items(self, items: Iterable[tuple[Any, Any]], label: str) -> Iterator[str]:
        for key, value in items:
            shown = key if isinstance(key, str) else getattr(key, "__name__", "")
            yield self.text(key, f"{label}.keys[{shown}]")
            yield self.text(value, f"{label}[{shown}]")

    def _follow(self, value: object, label: str) -> Iterator[str]:
        for inner, node in self._reach.targets(label, value, (value, label)):
            self._edge(inner, node)
            yield inner[len(label) :]

    def _instance(self, value: object, label: str) -> str:
        cls = value.__class__
        for inner, node in self._reach.targets(f"{label}.__class__", cls, (cls, "")):
            self._edge(inner, node)
        texts = [cls.__qualname__]
        if isinstance(value, dict):
            texts += self._items(dict.items(value), label)
        elif isinstance(value, set | frozenset):
            texts += self._members(value, label)
        elif isinstance(value, list | tuple | deque):
            texts += [self.text(item, f"{label}[{at}]") for at, item in enumerate(value)]
        elif isinstance(value, int | float | complex | str | bytes):
            texts.append(self._leaf(value) or "")
        return fold("instance", *texts, *self._items(sorted(_attributes(value).items()), label))


def _pieces(value: Any) -> list[Any]:
    """Return what a value is made of, as far as that is plain to see."""
    if isinstance(value, dict | MappingProxyType):
        return [*value.keys(), *value.values()]
    if isinstance(value, _SEQUENCES):
        return [*value]
    if isinstance(value, partial):
        return [value.func, value.args, value.keywords]
    if isinstance(value, MethodType):
        return [value.__func__, value.__self__]
    if isinstance(value, GenericAlias | UnionType):
        return [attribute(value, "__origin__"), *value.__args__]
    if isinstance(value, FunctionType):
        return [inner for _, inner in held(value)]
    return [*_attributes(value).values()]


def held(function: FunctionType) -> list[tuple[str, Any]]:
    """Return what a function holds, with the names: first what it wraps, then its closure and its attributes.

    Not what flowkit noted of it: that holds the function.
    """
    attributes = {name: value for name, value in function.__dict__.items() if not of_flowkit(value)}
    wrapped = attributes.pop("__wrapped__", None)
    first = [] if wrapped is None else [("__wrapped__", wrapped)]
    return [*first, *closure(function).items(), *attributes.items()]


def _attributes(value: object) -> dict[str, Any]:
    found: dict[str, Any] = dict(attribute(value, "__dict__") or {})
    for cls in value.__class__.__mro__:
        slots = cls.__dict__.get("__slots__", ())
        for slot in (slots,) if isinstance(slots, str) else slots:
            if slot in _NO_STATE:
                continue
            private = slot.startswith("__") and not slot.endswith("__")
            name = f"_{cls.__name__.lstrip('_')}{slot}" if private else slot
            found[name] = attribute(value, name)
    return found
