"""How single types are told in plain parts, where pickle would tell them unreliably or too little.

Each function takes a value and returns a tuple of simpler values, which the digest descends into.
It must tell everything one could observe about the value, and nothing of how it lies in memory.
Types that are not found here are pickled. Nothing is imported for a type of another library.
"""

from __future__ import annotations

import array
import functools
import hmac
import os
import pickle
import sys
import types
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

from flowkit import frames
from flowkit.frames import class_name, tell_buffer

if TYPE_CHECKING:
    import pathlib
    from typing import NoReturn

    from flowkit.filefacts import FileFact

Hook: TypeAlias = Callable[[Any], Any]


class Run(Protocol):
    """The digesting of one value, as its parts see it."""

    hook: Hook | None
    hook_error: Exception | None
    secret_key: bytes
    holds_secret: bool

    def code(self, subject: object) -> str:
        """Return what counts of the code of a class or function; nothing where that is not asked for."""

    def hex(self, value: object) -> str:
        """Return the digest of a part."""

    def once(self, value: object, parts: Callable[[], Any]) -> Any:
        """Return ``parts()``, computed once for each object, and finite if it leads back here."""

    def look(self, path: pathlib.Path) -> tuple[str, FileFact]:
        """Return the name by which ``path`` counts, and what it holds."""


Tell: TypeAlias = Callable[[Run, Any], Any]


def _named(run: Run, cls: type) -> str | tuple[str, str]:
    """Return the name of a class, with its code where that counts."""
    code = run.code(cls)
    return (class_name(cls), code) if code else class_name(cls)


# --- the standard library ---------------------------------------------------------------------


def tell_fraction(value: Any) -> tuple[Any, ...]:
    """Python 3.12 pickles fractions otherwise than 3.11."""
    return ("fraction", value.numerator, value.denominator)


def tell_zone(value: Any) -> tuple[Any, ...]:
    """A time zone is its key; the rules behind it belong to the machine."""
    if value.key is None:
        raise TypeError("cannot digest a ZoneInfo that has no key")
    return ("zone", value.key)


def tell_pure_path(run: Run, value: Any) -> tuple[Any, ...]:
    """A pure path is a name; no file stands behind it."""
    return ("pure path", _named(run, type(value)), str(value), getattr(value, "__dict__", None))


def tell_enum(run: Run, value: Any) -> tuple[Any, ...]:
    """The value counts beside the name: ``RED = 1`` edited to ``RED = 2`` is another content."""
    return ("enum", _named(run, type(value)), value.name, value.value)


def tell_exception(run: Run, value: BaseException) -> tuple[Any, ...]:
    """Class, arguments and what was set on it; neither traceback nor cause."""
    # OSError keeps the file name out of args but puts it back for pickling.
    args = value.__reduce__()[1] if isinstance(value, OSError) else value.args
    return ("exception", _named(run, type(value)), args, vars(value))


def tell_code(value: types.CodeType) -> tuple[Any, ...]:
    """What the code does; neither its file nor its line numbers."""
    shape = (value.co_argcount, value.co_posonlyargcount, value.co_kwonlyargcount, value.co_flags)
    names = (value.co_names, value.co_varnames, value.co_freevars, value.co_cellvars)
    return ("code", shape, names, value.co_code, value.co_exceptiontable, value.co_consts)


def tell_array(value: array.array[Any]) -> tuple[Any, ...]:
    """A typed array of the standard library."""
    return ("array", value.typecode, value.itemsize, sys.byteorder, tell_buffer(value))


def tell_memoryview(value: memoryview) -> tuple[Any, ...]:
    """What is seen through it, and how it is laid out."""
    return ("memoryview", value.format, value.shape, value.tobytes())


def tell_pickle_buffer(value: Any) -> tuple[Any, ...]:
    """The large parts of other people's types, offered to be hashed where they lie."""
    return ("buffer", tell_buffer(value.raw()))


# --- pydantic ---------------------------------------------------------------------------------


def tell_model(run: Run, value: Any) -> tuple[Any, ...]:
    """Fields in the order of the class, which of them were given, extra and private values.

    Those that were given show in ``model_dump(exclude_unset=True)``, as pickle keeps them. Cached properties do not
    count: they are made of what does.
    """
    held = value.__dict__
    fields = [(name, held[name]) for name in type(value).model_fields if name in held]
    extra = getattr(value, "__pydantic_extra__", None)
    private = getattr(value, "__pydantic_private__", None)
    given = sorted(getattr(value, "__pydantic_fields_set__", ()))
    return ("model", _named(run, type(value)), fields, extra, private, given)


# --- what needs to know of the run -----------------------------------------------------------


def tell_class(run: Run, cls: type) -> str | tuple[str, str]:
    """Return the name of a class, with its code where that counts."""
    return _named(run, cls)


def _tell_set(run: Run, value: set[Any] | frozenset[Any]) -> tuple[Any, ...]:
    name = _named(run, type(value))
    kinds = set(map(type, value))
    if len(kinds) == 1 and kinds <= {int, str, bytes}:
        return (name, "sorted", sorted(value))
    if not value:
        return (name,)
    found = run.once(value, lambda: sorted(map(run.hex, value)))
    return (name, "by digest", found)


def _tell_set_subclass(run: Run, value: set[Any] | frozenset[Any]) -> tuple[Any, ...]:
    # Pickle would list the elements in the order of their hashes.
    return ("subclass", _tell_set(run, value), getattr(value, "__dict__", None))


def _tell_function(run: Run, value: types.FunctionType) -> tuple[Any, ...]:
    code = value.__code__
    head = ("function", value.__module__, value.__qualname__)
    if _is_pythons_own(code.co_filename) and "<" not in value.__qualname__:
        wrapped = value.__dict__.get("__wrapped__")
        if wrapped is not None:  # what ``contextlib`` and ``functools`` make bears the name of what they wrap
            return (*head, wrapped)
        return head  # told by its name, so that it is the same on each version of Python
    cells = value.__closure__ or ()
    held = (code, value.__defaults__, value.__kwdefaults__)
    reached = run.code(value)  # what it calls in turn

    def parts() -> str:
        return run.hex((held, [_cell(cell) for cell in cells], *([reached] if reached else ())))

    return (*head, run.once(value, parts))


def _tell_cached(_: Run, value: Any) -> tuple[Any, ...]:
    """A function under ``lru_cache``; what it remembers is no content."""
    return ("cached function", value.__wrapped__)


def _cell(cell: types.CellType) -> tuple[Any, ...]:
    try:
        return (cell.cell_contents,)
    except ValueError:  # not assigned yet
        return ()


_PYTHONS_OWN: Final = os.path.dirname(os.__file__) + os.sep


def _is_pythons_own(filename: str) -> bool:
    if filename.startswith("<frozen "):
        return True
    return filename.startswith(_PYTHONS_OWN) and "-packages" not in filename


def _tell_builtin(_: Run, value: types.BuiltinFunctionType) -> tuple[Any, ...]:
    owner = value.__self__
    if owner is None or isinstance(owner, types.ModuleType):
        return ("builtin", value.__module__, value.__qualname__)
    return ("method", owner, value.__name__)


def _tell_path(run: Run, value: pathlib.Path) -> tuple[Any, ...]:
    name, fact = run.look(value)
    content = ("directory" if fact.is_directory else "file", fact.digest)
    # The flavour belongs to the machine, a class of one's own to the value.
    plain = type(value).__module__ in ("pathlib", "pathlib._local")
    own = () if plain else (_named(run, type(value)), getattr(value, "__dict__", None))
    return ("path", name, *content, *own)


def _tell_secret(run: Run, value: Any) -> tuple[Any, ...]:
    run.holds_secret = True
    secret = value.get_secret_value()
    if isinstance(secret, str):
        secret = secret.encode("utf-8", "surrogatepass")
    elif not isinstance(secret, bytes):
        secret = run.hex(secret).encode()
    name = _named(run, type(value))
    return ("secret", name, hmac.digest(run.secret_key, secret, "sha256"))


def _refuse_iterator(_: Run, value: object) -> NoReturn:
    # Some of them can be pickled, until Python 3.14.
    raise TypeError(f"cannot digest {type(value).__name__!r} object: it is consumed by reading it")


# --- which type is told how ------------------------------------------------------------------


def _plainly(tell: Callable[[Any], Any]) -> Tell:
    return lambda _, value: tell(value)


def _with_code(tell: Callable[[Any], Any]) -> Tell:
    """Return how to tell a value of another library's class, or of one of the user's that derives from it."""

    def told(run: Run, value: Any) -> Any:
        code = run.code(type(value))
        return (code, tell(value)) if code else tell(value)

    return told


def _asking(plain: Tell | None) -> Tell:
    """Return how to tell a value of a stranger's class: ask the hook, then it, then ``plain``."""

    def tell(run: Run, value: Any) -> Any:
        if run.hook is not None:
            try:
                answer = run.hook(value)
            except Exception as error:
                run.hook_error = error
                raise
            if answer is not None:
                return ("hook", _named(run, type(value)), answer)
        own = getattr(type(value), "__flowkit_digest__", None)
        if own is not None:
            return ("own", _named(run, type(value)), own(value))
        return None if plain is None else plain(run, value)

    return tell


# Exact types only. ``None``: pickle tells it well. Others are learnt as they are met.
TELL: Final[dict[type, Tell | None]] = {
    **dict.fromkeys((type(None), bool, int, float, str, bytes, dict, list, tuple)),
    set: _tell_set,
    frozenset: _tell_set,
    type: tell_class,
    types.FunctionType: _tell_function,
    types.BuiltinFunctionType: _tell_builtin,
    type(functools.lru_cache(len)): _tell_cached,
    types.CodeType: _plainly(tell_code),
    types.MappingProxyType: _plainly(lambda value: ("mapping", dict(value))),
    array.array: _plainly(tell_array),
    memoryview: _plainly(tell_memoryview),
    pickle.PickleBuffer: _plainly(tell_pickle_buffer),
}


def learn(cls: type) -> Tell | None:
    """Find how values of ``cls`` are told, and remember it."""
    if len(TELL) > 10_000:
        # Somebody makes classes as they go; do not keep them all alive.
        for stranger in list(TELL)[1_000:]:
            TELL.pop(stranger, None)
    tell = TELL[cls] = _find(cls)
    return tell


def _find(cls: type) -> Tell | None:
    if issubclass(cls, type):
        return tell_class
    if _is_secret(cls):
        return _tell_secret
    foreign = frames.digester(cls)
    library = cls.__module__.partition(".")[0]
    if foreign is not None:
        plain: Tell | None = _with_code(foreign)
    elif _is_model(cls):
        plain = tell_model
    else:
        plain = _find_in_stdlib(cls)
    known = library in _KNOWN_LIBRARIES or library in sys.stdlib_module_names
    return plain if known and not hasattr(cls, "__flowkit_digest__") else _asking(plain)


_KNOWN_LIBRARIES: Final = frozenset(("numpy", "pandas", "polars", "pyarrow", "pydantic"))


# Found by name, so that nobody pays for loading modules whose values they do not have. In order.
_BASES: Final[tuple[tuple[str, str, Tell], ...]] = (
    ("pathlib", "Path", _tell_path),
    ("pathlib", "PurePath", tell_pure_path),
    ("enum", "Enum", tell_enum),
)
_EXACT: Final[dict[tuple[str, str], Tell]] = {
    ("fractions", "Fraction"): _plainly(tell_fraction),
    ("zoneinfo", "ZoneInfo"): _plainly(tell_zone),
}


def _find_in_stdlib(cls: type) -> Tell | None:
    for library, name, tell in _BASES:
        if _derives(cls, library, name):
            return tell
    if issubclass(cls, (set, frozenset)) and _pickles_by_default(cls):
        return _tell_set_subclass
    if issubclass(cls, BaseException) and _pickles_by_default(cls):
        return tell_exception
    if cls.__module__ in ("builtins", "itertools") and hasattr(cls, "__next__"):
        return _refuse_iterator
    return _EXACT.get((cls.__module__, cls.__qualname__))


def _pickles_by_default(cls: type) -> bool:
    """Return whether no class of the user's has a say in how its values are pickled."""
    ways = ("__reduce__", "__reduce_ex__", "__getstate__")
    return not any(
        way in vars(base) and base.__module__ != "builtins" for base in cls.__mro__ for way in ways
    )


def _is_secret(cls: type) -> bool:
    return _derives(cls, "pydantic", "SecretStr", "SecretBytes", "Secret", "_SecretBase")


def _is_model(cls: type) -> bool:
    return _derives(cls, "pydantic", "BaseModel")


def _derives(cls: type, library: str, *names: str) -> bool:
    """Return whether ``cls`` is, or derives from, a class of the library's so named."""
    return any(
        base.__name__ in names and base.__module__.partition(".")[0] == library
        for base in cls.__mro__
    )


# --- where to look for the part that cannot be told ------------------------------------------


def parts_of(value: object) -> Iterator[tuple[str, object]]:
    """Yield the parts of a value, each with how one would write to get at it."""
    if isinstance(value, dict):
        for key, part in value.items():
            yield f"[{_show(key)}]", part
            yield f" (key {_show(key)})", key
    elif isinstance(value, (list, tuple)):
        yield from ((f"[{number}]", part) for number, part in enumerate(value))
    elif isinstance(value, (set, frozenset)):
        yield from ((f" (element {_show(part)})", part) for part in value)
    elif isinstance(value, types.FunctionType):
        cells = zip(value.__code__.co_freevars, value.__closure__ or (), strict=True)
        yield from ((f".{name}", _cell(cell)) for name, cell in cells)
    if not isinstance(value, (type, types.ModuleType)):
        yield from ((f".{name}", part) for name, part in _attributes(value))


def _attributes(value: object) -> Iterator[tuple[str, object]]:
    """Yield what is set on a value, in its ``__dict__`` and in slots."""
    yield from getattr(value, "__dict__", {}).items()
    for cls in type(value).__mro__:
        slots = vars(cls).get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if name not in ("__dict__", "__weakref__") and hasattr(value, name):
                yield name, getattr(value, name)


def _show(key: object) -> str:
    """Name a key or element; not by its own ``repr`` unless that is known to be harmless."""
    harmless = (str, bytes, int, float, bool, type(None))
    return repr(key)[:40] if type(key) in harmless else f"<{type(key).__name__}>"
