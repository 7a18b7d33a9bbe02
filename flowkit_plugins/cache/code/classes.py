"""What a class or a whole module says and reaches."""

from __future__ import annotations

from pathlib import Path
from types import FunctionType, MethodType, ModuleType
from typing import TYPE_CHECKING, Any

from flowkit_plugins.cache.code.bytecode import nested
from flowkit_plugins.cache.code.constants import Shape, attribute, is_scalar
from flowkit_plugins.cache.code.functions import add_code
from flowkit_plugins.cache.code.modules import Unloaded
from flowkit_plugins.cache.code.nodes import Growth
from flowkit_plugins.cache.code.source import leads_to, namespace
from flowkit_plugins.cache.code.trees import fold

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowkit_plugins.cache.code.nodes import Node
    from flowkit_plugins.cache.code.reach import Reach

_SPOKEN_FOR = frozenset({"__annotations__", "__match_args__"})
_MANY = (list, tuple, set, frozenset)
# Where the usual descriptors keep their function: ``cached_property``, pydantic's validators, …
_HOLDS = ("func", "fget", "wrapped", "__wrapped__")


def grow_class(reach: Reach, node: Node, cls: type) -> None:
    """Fill in the node of a class: its statement whole, and all that its methods reach."""
    growth = Growth()
    own = [function for function in _functions(cls) if reach.ownership.function(function)]
    names = namespace(cls) or {}
    node.file = str(names.get("__file__") or "")
    for function in own:
        if not node.file and _belongs(function, cls):
            # In a notebook; generated methods have no such name.
            node.file = function.__code__.co_filename
    source = reach.source(node.file, names or None) if node.file else None
    syntax = source.class_(cls.__qualname__) if source else None
    if syntax is None:
        texts = _made(reach, growth, cls)
    else:
        texts = [syntax.hash]
        node.line = syntax.line
        for name in syntax.names:
            reach.add_name(growth, tuple(name.split(".")), names, node.file)
        texts += _values(reach, growth, cls)
    for base in (*cls.__bases__, type(cls)):
        reach.add_value(growth, base.__qualname__, base, (cls, base.__qualname__))
    if any("__subclasses__" in code.co_names for function in own for code in nested(function.__code__)):
        for label, node_below in below(reach, cls.__qualname__, cls):
            growth.edge(label, node_below)
    for function in own:
        if syntax is None or not _belongs(function, cls):
            reach.add_value(growth, function.__name__, function, (cls, function.__name__))
        elif not function.__code__.co_filename.startswith("<"):
            # Its text is in the class. A generated ``__init__`` follows from that text too.
            add_code(reach, growth, function)
    growth.settle(node, "class", *texts)


def below(reach: Reach, label: str, cls: type) -> Iterator[tuple[str, Node]]:
    """Yield the classes that derive from one, as ``__subclasses__()`` leads to them.

    None that tasks make, and none that no name leads to, as is left over where a decorator made a class anew.
    """
    every: list[type] = type.__subclasses__(cls)
    for derived in every:
        names = namespace(derived) or {}
        at_first = reach.loaded(derived.__module__, str(names.get("__file__") or ""))
        if at_first and "<locals>" not in derived.__qualname__ and leads_to(names, derived):
            name = f"{label}.{derived.__qualname__}"
            yield from reach.targets(name, derived, (cls, name))
            yield from below(reach, name, derived)


def grow_module(reach: Reach, node: Node, module: ModuleType) -> None:
    """Fill in the node of a module that code hands around as an object: all of it counts."""
    growth = Growth()
    names = vars(module)
    node.file = str(getattr(module, "__file__", None) or "")
    node.line = 1
    for name in list(names):
        reach.add_name(growth, (name,), names, node.file)
    if "__getattr__" in names:  # what it imports is nowhere among the names
        reach.add_value(growth, "__getattr__", names["__getattr__"], (names, "__getattr__"))
    source = reach.source(node.file, names) if node.file else None
    whole = source.whole() if source else None
    growth.settle(node, "module", whole.hash if whole else "module")


def grow_unloaded(reach: Reach, node: Node, module: Unloaded) -> None:
    """Fill in the node of a module that is not loaded: its text, and what it imports."""
    growth = Growth()
    node.file, node.line = module.path, 1
    source = reach.source(module.path)
    whole = source.whole() if source else None
    for text in whole.names if whole else ():
        name = text.lstrip(".")
        # One dot is the folder itself, each further one the folder above.
        up = max(len(text) - len(name) - 1, 0)
        beside = Path(module.path).parents[up] / "__init__.py"
        reach.add_file(growth, (name, name.rpartition(".")[0]), str(beside))
    growth.settle(node, "module", whole.hash if whole else "module")


def _made(reach: Reach, growth: Growth, cls: type) -> list[str]:
    """Return what tells apart a class that no ``class`` statement can be found for."""
    texts = ["made", *[base.__qualname__ for base in cls.__bases__]]
    shape = Shape(reach, growth.edge)
    for name, value in sorted(vars(cls).items()):
        plain = not name.startswith("__") and not isinstance(value, FunctionType)
        if name in _SPOKEN_FOR or plain:
            texts += [name, shape.text(value, name)]
    return texts


def _values(reach: Reach, growth: Growth, cls: type) -> Iterator[str]:
    """Yield what the text of a class does not tell of its attributes, and follow the code in them.

    That is what registries hold, the attributes of a class that a function makes, and what the
    methods of a class in it reach. Others may change while tasks run: a counter, a cache.
    """
    shape = Shape(reach, growth.edge)
    made = "<locals>" in cls.__qualname__
    for name, value in vars(cls).items():
        if name.startswith("_") and name.endswith("_"):  # Python's own, and those of ``enum``
            continue
        if isinstance(value, type):
            reach.add_value(growth, name, value, (cls, name))
            continue
        if is_scalar(value):
            told = made
        else:
            held = value.values() if isinstance(value, dict) else value if isinstance(value, _MANY) else ()
            told = any(isinstance(item, FunctionType | type | ModuleType) for item in held)
        if told:
            yield fold("attribute", name, shape.text(value, name))


def _belongs(function: FunctionType, cls: type) -> bool:
    return function.__code__.co_qualname.startswith(cls.__qualname__ + ".")


def _functions(cls: type) -> Iterator[FunctionType]:
    """Yield the functions among a class's attributes, out of properties and their like too."""
    seen: set[int] = set()
    stack: list[Any] = [*vars(cls).values()][::-1]
    while stack:
        value = stack.pop()
        if is_scalar(value) or id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, FunctionType):
            yield value
            stack.append(value.__dict__.get("__wrapped__"))
        elif isinstance(value, property):
            stack += [value.fdel, value.fset, value.fget]
        elif isinstance(value, MethodType | staticmethod | classmethod):
            stack.append(value.__func__)
        elif not isinstance(value, type | ModuleType):
            held = [attribute(value, name) for name in _HOLDS]
            stack += [inner for inner in held if callable(inner)]
