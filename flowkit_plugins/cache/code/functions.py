"""What a function says and reaches: its text, decorators, defaults, globals, closure, imports."""

from __future__ import annotations

from importlib.util import resolve_name
from types import CodeType
from typing import TYPE_CHECKING

from flowkit_plugins.cache.code.bytecode import Import, bytecode_hash, closure, loaded, takes
from flowkit_plugins.cache.code.constants import is_scalar
from flowkit_plugins.cache.code.nodes import Growth

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FunctionType

    from flowkit_plugins.cache.code.nodes import Node
    from flowkit_plugins.cache.code.reach import Reach
    from flowkit_plugins.cache.code.syntax import FunctionSyntax


def grow_function(reach: Reach, node: Node, function: FunctionType, *, task: bool) -> None:
    """Fill in the node of a function.

    Args:
        reach: Finds what the function's names stand for.
        node: The node, not grown yet.
        function: Its function.
        task: Whether it is taken as a task, whose arguments are given by flowkit: defaults
            then count by their value, as input, and not as code.

    """
    code = function.__code__
    node.file = code.co_filename
    node.line = code.co_firstlineno
    growth = Growth()
    source = reach.source(code.co_filename, function.__globals__)
    syntax = source.function(code) if source else None
    if syntax is None:
        texts = [bytecode_hash(code)]
    else:
        texts = [syntax.body, *_signature(reach, growth, function, syntax, task=task)]
    if not task:
        _add_defaults(reach, growth, function)
    if takes(function):
        add_code(reach, growth, function)
    kind = "body" if task else "helper"
    growth.settle(node, "bytecode" if syntax is None else kind, *texts)


def plain_hash(reach: Reach, function: FunctionType) -> str | None:
    """Return the hash of a task that takes nothing from outside; None if that is not so plain.

    The same hash as :func:`grow_function` finds, for a fraction of the time: most tasks of a flow
    with thousands are such.
    """
    code = function.__code__
    # What ``takes`` says, in place: this is done for every task of a run.
    if code.co_names or code.co_freevars or "__wrapped__" in function.__dict__ or CodeType in map(type, code.co_consts):
        return None
    bodies = reach.usual_bodies(code.co_filename, function.__globals__)
    usual = bodies.get(f"{code.co_qualname}:{code.co_firstlineno}")
    if usual is not None:
        return usual
    source = reach.source(code.co_filename, function.__globals__)
    found = source.known(code) if source else None
    if found is None:
        return None
    for _, names in found[1]:
        if not reach.of_flowkit(names[0], function.__globals__):
            return None
    body: str = found[0]
    return body


def grow_called(reach: Reach, node: Node, function: FunctionType) -> None:
    """Fill in the node of what a function's code takes from its module, and says nothing else of it."""
    growth = Growth()
    _add_loaded(reach, growth, function)
    growth.settle(node, "helper", "called")


def add_code(reach: Reach, growth: Growth, function: FunctionType) -> None:
    """Follow what a function's code loads and imports, its closure, and what it wraps."""
    code = function.__code__
    _add_loaded(reach, growth, function)
    if code.co_freevars:
        for name, value in closure(function).items():
            reach.add_value(growth, name, value, (function, name))
    wrapped = function.__dict__.get("__wrapped__")
    if wrapped is not None:
        reach.add_value(growth, "__wrapped__", wrapped, (function, "__wrapped__"))


def _add_loaded(reach: Reach, growth: Growth, function: FunctionType) -> None:
    code, names = function.__code__, function.__globals__
    chains, statements = loaded(code, names)
    for chain in sorted(chains) if len(chains) > 1 else chains:
        reach.add_name(growth, chain, names, code.co_filename)
    for statement in statements:
        _add_import(reach, growth, statement, function)


def _signature(
    reach: Reach, growth: Growth, function: FunctionType, syntax: FunctionSyntax, *, task: bool
) -> Iterator[str]:
    """Yield what counts besides the body, and follow what the decorators mention."""
    names = function.__globals__
    foreign = [one for one in syntax.decorators if not reach.of_flowkit(one.names[0], names)]
    for decorator in foreign:
        yield decorator.hash
        for name in decorator.names:
            reach.add_name(growth, tuple(name.split(".")), names, function.__code__.co_filename)
    # Hints run nothing, unless a decorator or a class looks at them.
    if syntax.hints and (foreign or syntax.method):
        yield syntax.hints
    if syntax.defaults and not task:
        yield syntax.defaults


def _add_defaults(reach: Reach, growth: Growth, function: FunctionType) -> None:
    """Follow default values: their text alone would not tell that ``RATE`` has changed."""
    if not (function.__defaults__ or function.__kwdefaults__):
        return
    given = [(str(at), value) for at, value in enumerate(function.__defaults__ or ())]
    for name, value in [*given, *(function.__kwdefaults__ or {}).items()]:
        if is_scalar(value):
            growth.texts.append(reach.default(name, value))
        else:
            reach.add_value(growth, f"{name}=", value, (function, f"{name}="))


def _add_import(reach: Reach, growth: Growth, statement: Import, function: FunctionType) -> None:
    """Follow an import statement inside a function, executed or not."""
    module, names = statement.module, function.__globals__
    if statement.level:
        try:
            package = names.get("__package__") or ""
            module = resolve_name("." * statement.level + module, package)
        except ImportError:
            return
    filename = function.__code__.co_filename
    for name in statement.names:
        home = reach.loaded(module, filename)
        if home is None or name not in vars(home):
            reach.add_module(growth, (f"{module}.{name}", module), filename)
        elif reach.ownership.module(home):
            reach.add_name(growth, (name,), vars(home), filename)
    if statement.names:
        return
    parts = module.split(".")
    for end in range(1, len(parts) + 1):
        home = reach.loaded(".".join(parts[:end]), filename)
        if home is None:
            reach.add_module(growth, (module,), filename)
            return
        if not reach.ownership.module(home):
            return
        for name in statement.attributes:
            reach.add_name(growth, (name,), vars(home), filename)
