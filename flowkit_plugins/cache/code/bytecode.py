"""What a function's code takes from outside, and its hash where no source is to be had.

The names are exact: only what the code loads globally, with the attributes that follow at once.
An attribute that merely bears the name of a global is not among them. ``dis`` would take a
hundred times as long as the search in the raw bytes, so it serves only for imports inside
functions, and for versions of Python whose bytecode this file does not know.
"""

from __future__ import annotations

import dis
import inspect
import sys
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, NamedTuple

from flowkit_plugins.cache.code.trees import fold

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_KNOWN = sys.version_info < (3, 15)
_MISSING = -1
_GLOBAL = dis.opmap["LOAD_GLOBAL"]
_NAMES = tuple(
    [dis.opmap[name] for name in ("LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS") if name in dis.opmap]
)
_ATTRIBUTE = dis.opmap.get("LOAD_ATTR", _MISSING)
_METHOD = dis.opmap.get("LOAD_METHOD", _MISSING)
_ATTRIBUTES = (_ATTRIBUTE, _METHOD)
_IMPORT = dis.opmap["IMPORT_NAME"]
_EXTENDED = dis.EXTENDED_ARG
_PASSED_OVER = (0, _EXTENDED)
# In the lowest bit of the argument, 3.12 on keeps whether a method is loaded.
_ATTRIBUTE_SHIFT = 1 if sys.version_info >= (3, 12) else 0
_LOADS = frozenset({"LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"})
_FOLLOWS = frozenset({"LOAD_ATTR", "LOAD_METHOD"})


class Import(NamedTuple):
    """An import statement inside a function: ``from module import names``, or ``import module``.

    ``attributes`` are all attributes the function mentions, of whatever: the bytecode does not
    say which of them belong to the module.
    """

    module: str
    level: int
    names: tuple[str, ...]
    attributes: tuple[str, ...]


def takes(function: FunctionType) -> bool:
    """Return whether a function may take anything from outside; quickly."""
    code = function.__code__
    return bool(
        code.co_names
        or code.co_freevars
        or CodeType in map(type, code.co_consts)
        or "__wrapped__" in function.__dict__
    )


def loaded(
    code: CodeType, names: Mapping[str, object]
) -> tuple[set[tuple[str, ...]], list[Import]]:
    """Return which of these names the code, and code nested in it, loads globally, and what it imports.

    ``helpers.clean(x)`` is ``("helpers", "clean")``.
    """
    found: set[tuple[str, ...]] = set()
    statements: list[Import] = []
    for inner in nested(code):
        if not inner.co_names:
            continue
        if _KNOWN:
            # A copy with its caches zeroed: what follows an instruction is 0 up to the next one.
            raw = inner.co_code
            found.update(_scan(raw, inner, names))
            if _IMPORT in raw and any(True for _ in _offsets(raw, _IMPORT)):
                statements += _imports(inner)
        else:
            found.update([chain for chain in _disassemble(inner) if chain[0] in names])
            statements += _imports(inner)
    return found, statements


def bytecode_hash(code: CodeType) -> str:
    """Return the hash of compiled code; it holds for this minor version of Python alone."""
    return fold("bytecode", f"{sys.version_info[0]}.{sys.version_info[1]}", _described(code))


def closure(function: FunctionType) -> dict[str, object]:
    """Return what a function's closure holds, by name; without what is not assigned yet."""
    held: dict[str, object] = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            held[name] = cell.cell_contents
        except ValueError:
            continue
    return held


def nested(code: CodeType) -> Iterator[CodeType]:
    """Yield the code object and all those inside it."""
    yield code
    if CodeType in map(type, code.co_consts):
        for value in code.co_consts:
            if value.__class__ is CodeType:
                yield from nested(value)


def _scan(raw: bytes, code: CodeType, wanted: Mapping[str, object]) -> list[tuple[str, ...]]:
    names = code.co_names
    found: list[tuple[str, ...]] = []
    # Bodies of classes alone look names up one by one.
    others = () if code.co_flags & inspect.CO_OPTIMIZED else _NAMES
    for opcode in (_GLOBAL, *others):
        shift = opcode == _GLOBAL
        offset = raw.find(opcode)
        while offset >= 0:
            if not offset % 2:
                name = names[_argument(raw, offset) >> shift]
                if name in wanted:
                    following = _next(raw, offset)
                    if raw[following] in _ATTRIBUTES:
                        found.append((name, *_attributes(raw, following, names)))
                    else:
                        found.append((name,))
            offset = raw.find(opcode, offset + 1)
    return found


def _attributes(raw: bytes, offset: int, names: tuple[str, ...]) -> Iterator[str]:
    while raw[offset] in _ATTRIBUTES:
        shift = _ATTRIBUTE_SHIFT if raw[offset] == _ATTRIBUTE else 0
        yield names[_argument(raw, offset) >> shift]
        offset = _next(raw, offset)


def _imports(code: CodeType) -> list[Import]:
    attributes: set[str] = set()
    modules: list[tuple[str, int, tuple[str, ...]]] = []
    level: object = 0
    names: object = None
    for step in dis.get_instructions(code):
        if step.opname.startswith(("LOAD_CONST", "LOAD_SMALL_INT")):
            level, names = names, step.argval
        elif step.opname == "IMPORT_NAME":
            depth = level if isinstance(level, int) else 0
            modules.append((step.argval, depth, names if isinstance(names, tuple) else ()))
        elif step.opname in _FOLLOWS:
            attributes.add(step.argval)
    return [Import(*module, tuple(sorted(attributes))) for module in modules]


def _offsets(raw: bytes, opcode: int) -> Iterator[int]:
    offset = raw.find(opcode)
    while offset >= 0:
        if not offset % 2:
            yield offset
        offset = raw.find(opcode, offset + 1)


def _argument(raw: bytes, offset: int) -> int:
    value = raw[offset + 1]
    shift = 8
    while offset >= 2 and raw[offset - 2] == _EXTENDED:
        offset -= 2
        value |= raw[offset + 1] << shift
        shift += 8
    return value


def _next(raw: bytes, offset: int) -> int:
    """Return the offset of the instruction after this one and its caches."""
    offset += 2
    while raw[offset] in _PASSED_OVER:
        offset += 2
    return offset


def _disassemble(code: CodeType) -> Iterator[tuple[str, ...]]:
    chain: list[str] = []
    for step in dis.get_instructions(code):
        if step.opname == "EXTENDED_ARG":
            continue
        if chain and step.opname in _FOLLOWS:
            chain.append(step.argval)
            continue
        if chain:
            yield tuple(chain)
        chain = [step.argval] if step.opname in _LOADS else []
    if chain:
        yield tuple(chain)


def _described(value: object) -> str:
    """Return a constant as text, equal for equal constants whatever the hash seed."""
    if isinstance(value, CodeType):
        counts = (value.co_argcount, value.co_posonlyargcount, value.co_kwonlyargcount)
        names = (value.co_names, value.co_varnames, value.co_freevars, value.co_cellvars)
        consts = [_described(const) for const in value.co_consts]
        return fold(
            "code",
            value.co_code.hex(),
            repr((*counts, value.co_flags)),
            ascii(names),
            value.co_exceptiontable.hex(),
            *consts,
        )
    if isinstance(value, frozenset):
        return fold("frozenset", *sorted([_described(item) for item in value]))
    if isinstance(value, tuple):
        return fold("tuple", *[_described(item) for item in value])
    return fold(value.__class__.__name__, ascii(value))
