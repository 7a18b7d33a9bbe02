"""Records: small slotted classes made from annotations, as ``dataclasses`` makes them, in a fraction of the time.

A dataclass writes its methods as text and compiles them, half a millisecond a class, and a run
needs sixty classes before it can begin. The methods of a record are the same few functions for
every class, so that making one is quick; making an instance is slower. A class of which many are
made writes its own ``__init__``, which is kept, and has the rest made.

To everybody else a record is a dataclass: it prints, compares, matches, copies and pickles like
one, and ``dataclasses.fields``, ``replace`` and ``asdict`` take it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from reprlib import recursive_repr
from typing import TYPE_CHECKING, Any, TypeVar, dataclass_transform

if TYPE_CHECKING:
    import inspect

T = TypeVar("T")


class _Factory:
    """Makes the default of a field, anew for each instance."""

    __slots__ = ("make",)

    def __init__(self, make: Callable[[], object]) -> None:
        self.make = make


def field(*, factory: Callable[[], T]) -> T:
    """Have a default made for each instance anew, by calling ``factory``."""
    return _Factory(factory)  # type: ignore[return-value]  # as dataclasses.field() is typed


class _Shape:
    """What a record is made of.

    Attributes:
        types: Field → its annotation.
        names: The fields, in order.
        positional: Those that may be given by position.
        constants: Field → its default.
        factories: Field → what makes its default.
        as_dataclass: The fields as a dataclass has them, once somebody asked.
    """

    __slots__ = ("as_dataclass", "constants", "factories", "names", "positional", "types")

    def __init__(self, cls: Any, kw_only: bool) -> None:
        self.types: dict[str, Any] = {}
        self.positional: tuple[str, ...] = ()
        self.constants: dict[str, object] = {}
        self.factories: dict[str, Callable[[], object]] = {}
        self.as_dataclass: Mapping[str, object] | None = None
        above: _Shape | None = getattr(cls, "__record__", None)
        if above is not None:
            self.types.update(above.types)
            self.positional = above.positional
            self.constants.update(above.constants)
            self.factories.update(above.factories)
        own, body = cls.__annotations__, vars(cls)
        self.types.update(own)
        self.names = tuple(self.types)
        if not kw_only:
            self.positional += tuple([name for name in own if name not in self.positional])
        for name in own:
            if name in body:
                default = body[name]
                if type(default) is _Factory:
                    self.factories[name] = default.make
                else:
                    self.constants[name] = default

    def tails(self) -> dict[int, tuple[object, ...]]:
        """Return for each number of arguments that will do, given by position, what follows them."""
        found: dict[int, tuple[object, ...]] = {}
        if self.positional == self.names:
            tail: tuple[object, ...] = ()
            found[len(self.names)] = tail
            for place in reversed(range(len(self.names))):
                if self.names[place] not in self.constants:
                    break
                tail = found[place] = (self.constants[self.names[place]], *tail)
        return found

    def has_default(self, name: str) -> bool:
        """Whether a field need not be given."""
        return name in self.constants or name in self.factories


@dataclass_transform(field_specifiers=(field,))
def record(
    *, frozen: bool = False, eq: bool = True, kw_only: bool = False
) -> Callable[[type[T]], type[T]]:
    """Make a class a record: what it annotates are its fields, and it has slots for no more.

    Methods that it writes itself are kept, and ``__post_init__`` is called.

    Args:
        frozen: Setting a field raises ``dataclasses.FrozenInstanceError``; an ``__init__`` or
            ``__post_init__`` of its own sets by ``object.__setattr__``.
        eq: Whether two are equal if all their fields are; else each is equal to itself alone.
            Of those that compare by their fields, only frozen ones have a hash.
        kw_only: Whether all its fields are given by name.
    """

    def make(cls: type[T]) -> type[T]:
        own = cls.__annotations__
        shape = _Shape(cls, kw_only)
        body = _methods(cls, shape, frozen=frozen, eq=eq)
        # A default is no attribute of the class: there, its slot is.
        body.update([(name, value) for name, value in vars(cls).items() if name not in own])
        for name in ("__dict__", "__weakref__"):
            body.pop(name, None)
        body["__qualname__"] = cls.__qualname__
        body["__slots__"] = tuple(own)
        body["__match_args__"] = shape.positional
        body["__record__"] = shape
        # A class that exists gets no slots any more: it is made once again, 5 µs. A metaclass would
        # save that, and make every isinstance() of such a class slower by 0.1 µs.
        metaclass: Any = type(cls)
        made: type[T] = metaclass(cls.__name__, cls.__bases__, body)
        return made

    return make


def replaced(this: T, /, **changes: object) -> T:
    """Return a record like this one, but for some fields."""
    kind: Any = type(this)
    same = {name: getattr(this, name) for name in kind.__record__.names if name not in changes}
    made: T = kind(**same, **changes)
    return made


def fields(kind: Any) -> tuple[str, ...]:
    """Return the names of the fields of a record, in order."""
    shape: _Shape = kind.__record__
    return shape.names


# --- the methods of records -------------------------------------------------------------------


def _methods(cls: type, shape: _Shape, *, frozen: bool, eq: bool) -> dict[str, Any]:
    """Return what a record has, unless it writes it itself."""
    methods: dict[str, Any] = {
        "__repr__": _repr,
        "__replace__": replaced,
        "__dataclass_fields__": _DataclassFields(),
        "__dataclass_params__": _DataclassParams(frozen, eq),
        "__signature__": _Signature(),
    }
    if "__init__" not in vars(cls):
        put: Callable[[object, str, object], None] = object.__setattr__ if frozen else setattr
        methods["__init__"] = _initializer(cls, shape, put)
    if eq:
        methods["__eq__"] = _eq
        methods["__hash__"] = _hash if frozen else None
    if frozen:
        methods["__setattr__"] = _refuse_to_set
        methods["__delattr__"] = _refuse_to_delete
        methods["__getstate__"] = _getstate
        methods["__setstate__"] = _setstate
    return methods


def _initializer(
    cls: type, shape: _Shape, put: Callable[[object, str, object], None]
) -> Callable[..., None]:
    names = shape.names
    tails = shape.tails()
    post_init = hasattr(cls, "__post_init__")

    def initialise(self: Any, /, *args: object, **named: object) -> None:
        tail = tails.get(len(args))
        values = _arranged(shape, call, args, named) if named or tail is None else args + tail
        for name, value in zip(names, values):  # noqa: B905  # they are as many
            put(self, name, value)
        if post_init:
            self.__post_init__()

    initialise.__name__ = "__init__"
    call = initialise.__qualname__ = f"{cls.__qualname__}.__init__"
    initialise.__dict__["__record__"] = shape  # for _Signature, which looks whose it is
    return initialise


def _arranged(
    shape: _Shape, call: str, args: tuple[object, ...], named: dict[str, object]
) -> tuple[object, ...]:
    """Return the value of each field, as Python hands arguments over.

    Raises:
        TypeError: An argument is missing, unknown, or given twice; worded as Python words it.
    """
    given = dict(zip(shape.positional, args))  # noqa: B905  # too many show by their number
    given.update(named)
    values = shape.constants | given
    for name, make in shape.factories.items():
        if name not in given:
            values[name] = make()
    if len(given) == len(args) + len(named) and len(values) == len(shape.names):
        try:
            return tuple([values[name] for name in shape.names])
        except KeyError:
            pass  # one is missing where another one is unknown
    raise TypeError(f"{call}() {_what_does_not_fit(shape, args, named)}")


def _what_does_not_fit(shape: _Shape, args: Sequence[object], named: Mapping[str, object]) -> str:
    by_position = shape.positional[: len(args)]
    for name in named:
        if name not in shape.types:
            return f"got an unexpected keyword argument {name!r}"
        if name in by_position:
            return f"got multiple values for argument {name!r}"
    if len(args) > len(by_position):
        return _too_many(shape, args, named)
    given = {*by_position, *named, *shape.constants, *shape.factories}
    return _missing(shape, [name for name in shape.names if name not in given])


def _too_many(shape: _Shape, args: Sequence[object], named: Mapping[str, object]) -> str:
    most = len(shape.positional) + 1  # Python counts self
    least = most - sum(map(shape.has_default, shape.positional))
    takes = f"{most}" if least == most else f"from {least} to {most}"
    others = sum(name not in shape.positional for name in named)
    s = "s" if others > 1 else ""
    more = f" positional arguments (and {others} keyword-only argument{s})" if others else ""
    return f"takes {takes} positional argument{'s' if most > 1 else ''} but {len(args) + 1}{more} were given"


def _missing(shape: _Shape, missing: Sequence[str]) -> str:
    positional = [name for name in missing if name in shape.positional]
    kind = "positional" if positional else "keyword-only"
    *first, last = [repr(name) for name in positional or missing]
    listed = f"{', '.join(first)}{',' if len(first) > 1 else ''} and {last}" if first else last
    return f"missing {len(first) + 1} required {kind} argument{'s' if first else ''}: {listed}"


@recursive_repr()
def _repr(self: Any) -> str:
    inside = ", ".join([f"{name}={getattr(self, name)!r}" for name in self.__record__.names])
    return f"{type(self).__qualname__}({inside})"


def _values(self: Any) -> tuple[Any, ...]:
    return tuple([getattr(self, name) for name in self.__record__.names])


def _eq(self: object, other: object) -> Any:
    """Return whether they are equal; NotImplemented for another class, so that Python asks the other side."""
    if other.__class__ is not self.__class__:
        return NotImplemented
    return _values(self) == _values(other)


def _hash(self: object) -> int:
    return hash(_values(self))


def _refuse_to_set(self: object, name: str, value: object) -> None:
    _refuse(self, "assign to", name)
    object.__setattr__(self, name, value)


def _refuse_to_delete(self: object, name: str) -> None:
    _refuse(self, "delete", name)
    object.__delattr__(self, name)


def _refuse(self: Any, verb: str, name: str) -> None:
    """Refuse to change a frozen record; what a class below it has besides is not the record's."""
    if name in self.__record__.names or "__record__" in vars(type(self)):
        from dataclasses import FrozenInstanceError

        raise FrozenInstanceError(f"cannot {verb} field {name!r}")


def _getstate(self: object) -> list[object]:
    """Return all values: the usual state of slots would be put back by setting attributes."""
    return list(_values(self))


def _setstate(self: Any, state: Sequence[object]) -> None:
    for name, value in zip(self.__record__.names, state, strict=True):
        object.__setattr__(self, name, value)


# --- what is made when somebody asks ----------------------------------------------------------


class _DataclassFields:
    """``__dataclass_fields__``: those of a dataclass like the record, made for that."""

    def __get__(self, instance: object, owner: Any) -> Mapping[str, object]:
        shape: _Shape = owner.__record__
        if shape.as_dataclass is None:
            shape.as_dataclass = _dataclass(shape).__dataclass_fields__
        return shape.as_dataclass


class _DataclassParams:
    """``__dataclass_params__``: what ``dataclass`` asks a class for that one of its own is made from."""

    def __init__(self, frozen: bool, eq: bool) -> None:
        self.frozen = frozen
        self.eq = eq
        self.init = self.repr = self.match_args = self.slots = True
        self.order = self.unsafe_hash = self.kw_only = self.weakref_slot = False


class _Signature:
    """``__signature__``: what ``help`` and ``inspect.signature`` show where ``__init__`` is ours."""

    def __get__(self, instance: object, owner: Any) -> inspect.Signature:
        shape: _Shape | None = getattr(owner.__init__, "__record__", None)
        if shape is None:
            raise AttributeError("__signature__")  # that of its __init__ holds
        import inspect

        return inspect.signature(_dataclass(shape))


def _dataclass(shape: _Shape) -> Any:
    """Return a dataclass that has the fields of a record."""
    from dataclasses import MISSING, make_dataclass
    from dataclasses import field as dataclass_field

    made: list[tuple[str, Any, Any]] = []
    for name, kind in shape.types.items():
        how: dict[str, Any] = {"kw_only": name not in shape.positional}
        if name in shape.factories:
            how["default_factory"] = shape.factories[name]
        else:
            how["default"] = shape.constants.get(name, MISSING)
        made.append((name, kind, dataclass_field(**how)))
    return make_dataclass("Record", made)
