"""Records: whatever one does with a dataclass, a record does too. The dataclass is the reference."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
import re
import subprocess
import sys
import weakref
from typing import Any, Generic, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowkit import records
from flowkit.outcomes import Failure, Success
from flowkit.records import field, fields, record, replaced

NAMES = ("a", "b", "self", "_c", "values", "named", "cls")


def both(wanted, frozen=False, eq=True, kw_only=False):
    """A record and a dataclass of the same fields: name → "required", "constant" or "factory"."""
    made = []
    for decorate, factory in (
        (record(frozen=frozen, eq=eq, kw_only=kw_only), lambda: field(factory=list)),
        (
            dataclasses.dataclass(frozen=frozen, eq=eq, kw_only=kw_only, slots=True),
            lambda: dataclasses.field(default_factory=list),
        ),
    ):
        body: dict[str, Any] = {"__annotations__": dict.fromkeys(wanted, "object"), "__module__": __name__}
        for name, kind in wanted.items():
            if kind != "required":
                body[name] = 7 if kind == "constant" else factory()
        made.append(decorate(type("Thing", (), body)))
    return made


def ended(call):
    """What a call comes to, told so that it can be compared: its answer, or its error."""
    try:
        answer = call()
    except Exception as error:
        # Python 3.13 guesses at what was meant
        return type(error), re.sub(r"\. Did you mean .*", "", str(error))
    return repr(answer)


@st.composite
def shapes(draw):
    """The fields of a class, in an order that dataclasses allow, and how it is made."""
    kw_only = draw(st.booleans())
    kinds = draw(st.dictionaries(st.sampled_from(NAMES), st.sampled_from(["required", "constant", "factory"])))
    if not kw_only:
        kinds = dict(sorted(kinds.items(), key=lambda item: item[1] != "required"))
    return kinds, {"kw_only": kw_only, "frozen": draw(st.booleans()), "eq": draw(st.booleans())}


@st.composite
def calls(draw):
    """Arguments that may fit or not."""
    args = draw(st.lists(st.integers(0, 2), max_size=5))
    names = st.sampled_from([*NAMES, "other"])
    return tuple(args), draw(st.dictionaries(names, st.integers(0, 2), max_size=5))


@given(shapes(), calls())
def test_it_takes_and_refuses_arguments_as_a_dataclass_does(shape, call):
    ours, theirs = both(shape[0], **shape[1])
    args, named = call
    if "self" not in shape[0]:
        named.pop("self", None)  # to a dataclass it is then given twice, to a record it is unknown
    assert ended(lambda: ours(*args, **named)) == ended(lambda: theirs(*args, **named))


@given(shapes())
def test_missing_arguments_are_all_named(shape):
    ours, theirs = both(shape[0], **shape[1])
    assert ended(ours) == ended(theirs)


@given(shapes(), st.lists(st.integers(0, 1), max_size=7), st.lists(st.integers(0, 1), max_size=7))
def test_it_compares_and_hashes_as_a_dataclass_does(shape, one, other):
    def told(cls):
        names = list(shape[0])
        first, second = (cls(**dict(zip(names, (values + [0] * 7)[: len(names)], strict=True))) for values in (one, other))
        hashes = ended(lambda: hash(first) == hash(second)) if shape[1]["eq"] else hash(first) != hash(second)
        return first == second, first != second, first == first, first == 1, first != 1, hashes, first in (None, second)

    ours, theirs = both(shape[0], **shape[1])
    assert told(ours) == told(theirs)


@given(shapes())
def test_a_class_looks_as_a_dataclass_does(shape):
    ours, theirs = both(shape[0], **shape[1])
    assert ours.__match_args__ == theirs.__match_args__
    assert ours.__slots__ == theirs.__slots__
    assert str(inspect.signature(ours)) == str(inspect.signature(theirs))
    assert dataclasses.is_dataclass(ours)
    assert [(f.name, f.type, f.kw_only, f.default, f.default_factory) for f in dataclasses.fields(ours)] == [
        (f.name, f.type, f.kw_only, f.default, f.default_factory) for f in dataclasses.fields(theirs)
    ]
    assert fields(ours) == tuple(f.name for f in dataclasses.fields(theirs))
    assert [name for name in shape[0] if isinstance(vars(ours)[name], int)] == []  # a default is no attribute


@given(shapes(), calls())
def test_it_is_replaced_as_a_dataclass_is(shape, call):
    ours, theirs = both(dict.fromkeys(shape[0], "constant"), **shape[1])
    changes = call[1]
    changes.pop("self", None)  # dataclasses.replace() takes it by position in some versions
    assert ended(lambda: replaced(ours(), **changes)) == ended(lambda: dataclasses.replace(theirs(), **changes))
    assert ended(lambda: dataclasses.replace(ours(), **changes)) == ended(lambda: replaced(ours(), **changes))


@given(shapes())
def test_setting_and_deleting_is_refused_where_a_dataclass_refuses_it(shape):
    def told(cls):
        names = list(shape[0])
        thing = cls(**dict.fromkeys(names, 1))
        return [
            ended(lambda n=name, d=do: d(thing, n)) is None or ended(lambda n=name, d=do: d(thing, n))[0]
            for name in names
            for do in (lambda it, n: setattr(it, n, 2), delattr)
        ]

    ours, theirs = both(shape[0], **shape[1])
    assert told(ours) == told(theirs)


@record(frozen=True)
class Frozen:
    """A frozen one, at the top of a module as pickle wants it."""

    a: int
    b: list[int] = field(factory=list)


@record()
class Open:
    """One that may be changed."""

    a: int
    b: list[int] = field(factory=list)


@record(frozen=True)
class Checked:
    """One that looks at what it is given."""

    a: object = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "a", str(self.a))


@record(kw_only=True)
class Written:
    """One with an ``__init__`` of its own."""

    a: int
    b: int

    def __init__(self, *, a: int = 1, b: int = 2) -> None:
        self.a = a
        self.b = b


@record()
class Below(Open):
    """One with more than another has."""

    c: str = "c"


@pytest.mark.parametrize("kind", [Frozen, Open])
@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_it_pickles_and_copies(kind, protocol):
    thing = kind(1, [2])
    again = pickle.loads(pickle.dumps(thing, protocol))
    assert (again, type(again)) == (thing, kind)
    assert copy.copy(thing) == thing
    assert copy.copy(thing).b is thing.b
    assert copy.deepcopy(thing) == thing
    assert copy.deepcopy(thing).b is not thing.b


@pytest.mark.parametrize("kind", [Frozen, Open])
def test_a_factory_makes_one_for_each(kind):
    assert kind(1).b == []
    assert kind(1).b is not kind(1).b


def test_a_frozen_one_is_refused_by_the_error_of_dataclasses():
    thing = Frozen(1)
    with pytest.raises(dataclasses.FrozenInstanceError, match="cannot assign to field 'a'"):
        thing.a = 2
    with pytest.raises(dataclasses.FrozenInstanceError, match="cannot delete field 'a'"):
        del thing.a
    with pytest.raises(AttributeError):
        thing.other = 2
    assert thing == Frozen(1)


def test_a_plain_class_below_a_frozen_one_may_keep_what_is_its_own():
    class Mine(Frozen):
        pass

    mine = Mine(1)
    mine.note = "n"
    assert mine.note == "n"
    del mine.note
    with pytest.raises(AttributeError):
        mine.a = 2
    assert mine != Frozen(1)
    assert repr(mine).endswith("Mine(a=1, b=[])")


def test_a_class_below_that_writes_its_init_shows_that_ones_signature():
    class Mine(Frozen):
        def __init__(self, *, only: int) -> None:
            super().__init__(only)

    assert list(inspect.signature(Mine).parameters) == ["only"]
    assert Mine(only=3).a == 3


def test_an_open_one_has_room_for_its_fields_alone():
    thing = Open(1)
    thing.a = 2
    assert thing == Open(2)
    with pytest.raises(AttributeError):
        thing.other = 1
    with pytest.raises(TypeError, match="unhashable"):
        hash(thing)
    with pytest.raises(TypeError):
        weakref.ref(thing)


def test_post_init_is_called_and_may_convert():
    assert Checked(3).a == "3"
    assert Checked().a == "None"


def test_an_init_of_its_own_is_kept():
    assert repr(Written(b=3)) == "Written(a=1, b=3)"
    assert Written() == Written(a=1)
    assert Written() != Written(a=2)
    assert replaced(Written(), a=5) == Written(a=5)
    assert list(inspect.signature(Written).parameters) == ["a", "b"]
    assert Written.__match_args__ == ()


def test_what_a_record_inherits_comes_first():
    assert fields(Below) == ("a", "b", "c")
    assert Below.__slots__ == ("c",)
    assert repr(Below(1, [2])) == "Below(a=1, b=[2], c='c')"
    assert Below(1) != Open(1)
    assert isinstance(Below(1), Open)


def test_it_matches():
    match Success(3, cached=True):
        case Success(value=3, cached=True):
            pass
    match Failure(ValueError("no")):
        case Failure(error, traceback):
            assert (str(error), traceback) == ("no", "")


def test_one_that_holds_itself_can_be_shown():
    thing = Open(1)
    thing.b.append(thing)
    assert repr(thing) == "Open(a=1, b=[...])"


def test_it_can_be_generic():
    kind = TypeVar("kind")

    class Above(Generic[kind]):
        __slots__ = ()

    @record(frozen=True)
    class Box(Above[kind]):
        value: kind

    assert Box[int](3) == Box(3)
    assert Box.__parameters__ == (kind,)
    assert not hasattr(Box(3), "__dict__")


def test_it_names_itself_where_it_was_defined():
    assert Frozen.__qualname__ == "Frozen"
    assert Frozen.__module__ == __name__
    assert Frozen.__doc__ == "A frozen one, at the top of a module as pickle wants it."
    assert Frozen.__init__.__qualname__ == "Frozen.__init__"


def test_dataclasses_turn_it_into_a_dict():
    assert dataclasses.asdict(Frozen(1, [2])) == {"a": 1, "b": [2]}
    assert dataclasses.astuple(Open(1)) == (1, [])


def test_defining_one_loads_neither_dataclasses_nor_inspect():
    """That is what they are for: start-up."""
    code = f"""
import importlib.util, sys
spec = importlib.util.spec_from_file_location("records", {records.__file__!r})
module = sys.modules["records"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
@module.record(frozen=True)
class A:
    a: int
print(A(1), {{"dataclasses", "inspect"}} & set(sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "A(a=1) set()\n"


@pytest.mark.parametrize("frozen", [True, False])
def test_a_dataclass_can_be_made_from_one(frozen):
    one = record(frozen=frozen)(type("One", (), {"__annotations__": {"a": int}, "__module__": __name__, "a": 1}))
    two = dataclasses.dataclass(frozen=frozen)(type("Two", (one,), {"__annotations__": {"b": int}, "b": 2}))
    assert repr(two(5)) == "Two(a=5, b=2)"
    assert two(5) == two(5, 2) != two(6, 2)
    with pytest.raises(TypeError, match="frozen"):
        dataclasses.dataclass(frozen=not frozen)(type("Three", (one,), {}))


def test_users_may_extend_outcomes():
    @dataclasses.dataclass(frozen=True)
    class Mine(Success):
        extra: int = 0

    assert Mine(3, extra=4).value == 3
