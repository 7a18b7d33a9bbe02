"""Values of the standard library, by name; as a program, prints the digest of each.

Run by ``test_digests.py`` in other processes, under other hash seeds and other Pythons, which have
none of flowkit's dependencies: so ``flowkit/__init__.py`` is kept out of it.
"""

from __future__ import annotations

import array
import collections
import dataclasses
import datetime
import decimal
import enum
import fractions
import functools
import ipaddress
import json
import operator
import pathlib
import random
import re
import sys
import types
import uuid
import zoneinfo


class Color(enum.Enum):
    RED = 1
    BLUE = "b"


class Access(enum.Flag):
    READ = 1
    WRITE = 2


class Level(enum.IntEnum):
    LOW = 1


Point = collections.namedtuple("Point", "x y")


@dataclasses.dataclass
class Order:
    number: int
    tags: set


@dataclasses.dataclass(frozen=True, slots=True)
class Price:
    amount: int
    currency: str = "EUR"


class Slotted:
    __slots__ = ("a", "b")


class Plain:
    pass


class OwnList(list):
    pass


class OwnStr(str):
    __slots__ = ()


class OwnSet(set):
    pass


def with_attributes(value, **attributes):
    for name, part in attributes.items():
        setattr(value, name, part)
    return value


def noted(error):
    error.add_note("seen on Monday")
    return error


STRINGS = ("x", "yy", "zzz")
UTC = datetime.timezone.utc
BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")

VALUES = {
    "none": None,
    "huge integer": 10**5000,
    "surrogate": "\ud800",
    "floats": [float("nan"), -0.0, float("inf")],
    "list": [1, 2.5, "x", b"y", None, True],
    "dict": {"a": 1, 2: "b", (1, 2): {}},
    "rows": [{"id": i, "name": f"n{i}", "x": i * 0.5} for i in range(3000)],
    "long strings": ["x" * 100_000, b"y" * 200_000],
    "empty set": set(),
    "set of strings": set(STRINGS),
    "set of integers": {3, 1, 2},
    "set of all sorts": {1, "a", 2.5, None, (1, frozenset(STRINGS))},
    "frozenset": frozenset({("a", 1), ("b", 2), None}),
    "nested sets": {"k": [{"x": frozenset({"q", "r", frozenset(STRINGS)})}]},
    "set subclass": with_attributes(OwnSet(["a", "b", ("t", 1)]), k=2),
    "enum": [Color.RED, Color.BLUE, Level.LOW, re.I],
    "flags": Access.READ | Access.WRITE,
    "namedtuple": Point(1, 2),
    "dataclass": Order(1, set(STRINGS)),
    "frozen slots dataclass": Price(1),
    "slots": with_attributes(Slotted(), a=1, b=set(STRINGS)),
    "plain object": with_attributes(Plain(), tags=set(STRINGS), n=3),
    "list subclass": with_attributes(OwnList([1, 2]), k=1),
    "str subclass": OwnStr("q"),
    "datetime": datetime.datetime(2024, 1, 2, 3, 4, 5, 6),
    "datetime utc": datetime.datetime(2024, 1, 2, tzinfo=UTC),
    "datetime zone": datetime.datetime(2024, 1, 2, tzinfo=BERLIN, fold=1),
    "date": datetime.date(2024, 1, 2),
    "time": datetime.time(1, 2, 3),
    "timedelta": datetime.timedelta(days=1, microseconds=3),
    "zone": BERLIN,
    "decimal": decimal.Decimal("1.10"),
    "fraction": fractions.Fraction(1, 3),
    "complex": 1 + 2j,
    "uuid": uuid.UUID(int=5),
    "range": range(3),
    "slice": slice(1, 2),
    "path": pathlib.Path("/nonexistent/x"),
    "pure path": pathlib.PurePosixPath("a/b"),
    "windows path": pathlib.PureWindowsPath("a/b"),
    "ordered dict": collections.OrderedDict(a=1, b=2),
    "defaultdict": collections.defaultdict(list, a=[1]),
    "counter": collections.Counter("abca"),
    "deque": collections.deque([1, 2], maxlen=3),
    "chain map": collections.ChainMap({"a": 1}),
    "namespace": types.SimpleNamespace(a=1),
    "mapping proxy": types.MappingProxyType({"a": 1}),
    "pattern": re.compile("a+", re.I),
    "address": ipaddress.ip_address("1.2.3.4"),
    "network": ipaddress.ip_network("10.0.0.0/8"),
    "array": array.array("d", [1, 2]),
    "bytearray": bytearray(b"xx"),
    "memoryview": memoryview(b"abc"),
    "exception": noted(ValueError("bad", 3)),
    "os error": FileNotFoundError(2, "no", "f.txt"),
    "attribute error": AttributeError("x", name="n", obj=3),
    "exception group": ExceptionGroup("g", [ValueError(1)]),
    "classes": [int, Order, Color, type(None), pathlib.PurePath],
    "generic alias": list[int],
    "singletons": [..., NotImplemented],
    "library function": json.dumps,
    "builtin functions": [len, dict.fromkeys, [1].append, str.upper],
    "bound method": datetime.datetime(2024, 1, 1).isoformat,
    "partial": functools.partial(json.loads, "x"),
    "itemgetter": operator.itemgetter(1),
    "random state": random.Random(3).getstate(),
}


def import_digest():
    """Return ``digest``, imported past the package's own ``__init__``."""
    package = types.ModuleType("flowkit")
    package.__path__ = [str(pathlib.Path(__file__).parents[2] / "flowkit")]
    sys.modules["flowkit"] = package
    from flowkit.digests import digest

    return digest


if __name__ == "__main__":
    digest = import_digest()
    print(json.dumps({name: digest(value) for name, value in VALUES.items()}))
