"""Values as bytes: what goes in comes out, nothing large is copied, what refuses is named."""

from __future__ import annotations

import dataclasses
import io
import subprocess
import sys
import threading

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowkit_plugins.cache import serializing
from flowkit_plugins.cache.faults import Damaged, StoreError, Unstorable
from flowkit_plugins.cache.serializing import check_buffers, dump, parse, readonly, restore

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
VALUES = st.recursive(
    SCALARS | st.binary(max_size=50),
    lambda inner: st.lists(inner) | st.tuples(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@dataclasses.dataclass
class Sensor:
    name: str
    values: object


class Connection:
    def __init__(self) -> None:
        self.conn = threading.Lock()


class Slotted:
    __slots__ = ("lock",)

    def __init__(self) -> None:
        self.lock = threading.Lock()


def joined(value, *, offset=32, **options) -> memoryview:
    return memoryview(bytearray(bytes(offset) + b"".join(dump(value, **options).pieces(offset))))


def there_and_back(value, **options):
    layout = parse(joined(value, **options), offset=32)
    check_buffers(layout)
    return restore(layout)


@given(VALUES)
@settings(max_examples=100, deadline=None)
def test_what_goes_in_comes_out(value):
    back = there_and_back(value)
    assert back == value
    assert type(back) is type(value)


@pytest.mark.parametrize(
    "array",
    [
        np.arange(12.0),
        np.asfortranarray(np.arange(12).reshape(3, 4)),
        np.arange(20)[::3],
        np.zeros((0, 3)),
        np.array(["a", None, 3], dtype=object),
        np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")]),
        np.array(5),
    ],
    ids=["plain", "fortran", "strided", "empty", "objects", "structured", "scalar"],
)
def test_arrays_come_back_equal_and_read_only(array):
    back = there_and_back(array)
    assert back.dtype == array.dtype
    assert back.shape == array.shape
    assert (back == array).all()
    assert not back.flags.writeable


def test_frames_come_back_equal():
    frame = pd.DataFrame({"a": [1, 2, 3], "b": [1.5, None, 2.5], "c": ["x", "y", None]})
    pd.testing.assert_frame_equal(there_and_back(frame), frame)


def test_a_large_array_is_not_copied_on_the_way_out():
    array = np.arange(100_000.0)
    dumped = dump(array)
    assert len(dumped.buffers) == 1
    assert np.shares_memory(np.frombuffer(dumped.buffers[0]), array)
    assert len(dumped.header) + len(dumped.stream) < 1000


def test_buffers_begin_at_multiples_of_64_and_the_size_is_foretold():
    value = [np.arange(3, dtype="u1"), np.arange(100.0), np.arange(7, dtype="u2")]
    data = joined(value)
    assert len(data) == dump(value).size(32)
    addresses = [np.frombuffer(buffer, "u1") for buffer in parse(data, offset=32).buffers]
    start = np.frombuffer(data, "u1").ctypes.data
    assert [(one.ctypes.data - start) % 64 for one in addresses] == [0, 0, 0]


@pytest.mark.parametrize("array", [np.arange(5.0), np.arange(20.0)[::2]], ids=["plain", "strided"])
@pytest.mark.parametrize(
    "wrap",
    [
        lambda a: a,
        lambda a: [1, (a, 2)],
        lambda a: {"x": {"y": [a]}},
        lambda a: Sensor("s", a),
        lambda a: [Sensor("s", {"k": a})] * 3,
    ],
    ids=["bare", "tuple", "dicts", "dataclass", "shared"],
)
def test_arrays_in_containers_are_read_only_fresh_and_back(wrap, array):
    def found(value):
        while not isinstance(value, np.ndarray):
            if isinstance(value, Sensor):
                value = value.values
            elif isinstance(value, dict):
                value = next(iter(value.values()))
            else:
                value = next(part for part in value if not isinstance(part, int))
        return value

    fresh = wrap(array.copy())
    assert readonly(fresh) is fresh
    assert not found(fresh).flags.writeable
    assert not found(there_and_back(wrap(array))).flags.writeable


def test_read_only_ends_on_values_that_hold_themselves():
    value: list[object] = [np.arange(3)]
    value.append(value)
    assert not readonly(value)[0].flags.writeable


def test_plain_values_load_neither_numpy_nor_cloudpickle():
    script = (
        "import sys; from flowkit_plugins.cache import serializing as s, store, traces, writer;"
        "s.readonly([1, {'a': 2}]); s.dump([1, {'a': 2}]);"
        "print(*({'numpy', 'cloudpickle', 'diskcache', 'pydantic', 'asyncio'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.stdout.strip(), done.stderr) == ("", "")


def test_what_pickle_does_not_find_by_name_is_refused():
    """Byte-code that another Python would take for its own is not stored."""

    class Local:
        factor = 2

    where = "test_what_pickle_does_not_find_by_name_is_refused.<locals>"
    for value, kind, name in ((lambda: 1, "function", "<lambda>"), (Local, "class", "Local")):
        with pytest.raises(Unstorable) as caught:
            dump([value])
        said = f"cannot pickle the {kind} '{where}.{name}', which is not found by that name at value[0]"
        assert str(caught.value) == said
    assert there_and_back(threading.Thread) is threading.Thread


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (threading.Lock(), "cannot pickle '_thread.lock' object at value"),
        (Connection(), "cannot pickle '_thread.lock' object at value.conn"),
        ({"a": [0, Connection()]}, "cannot pickle '_thread.lock' object at value['a'][1].conn"),
        (Sensor("s", Slotted()), "cannot pickle '_thread.lock' object at value.values.lock"),
        ([lambda: 1], "cannot pickle the function '<lambda>', which is not found by that name at value[0]"),
        ((x for x in "ab"), "cannot pickle 'generator' object at value"),
        ([memoryview(b"ab")], "cannot pickle memoryview objects at value[0]"),
        ({"f": io.StringIO}, None),
    ],
)
def test_what_refuses_is_named_with_its_path(value, message):
    if message is None:
        assert there_and_back(value) == value
        return
    with pytest.raises(Unstorable) as caught:
        dump(value)
    assert str(caught.value) == message


def test_an_open_file_is_not_quietly_stored_as_its_text():
    with open(__file__) as file, pytest.raises(Unstorable, match=r"TextIOWrapper.*at value.values"):
        dump(Sensor("log", file))


def test_a_value_whose_repr_and_attributes_raise_is_still_reported():
    class Hostile:
        def __reduce__(self):
            raise ValueError("No way\nat all")

        def __getattribute__(self, name):
            if name == "__dict__":
                raise RuntimeError
            return super().__getattribute__(name)

    with pytest.raises(Unstorable, match="no way at value"):
        dump(Hostile())


def test_a_value_nested_too_deeply_is_unstorable():
    value: list[object] = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(Unstorable, match="nested too deeply"):
        dump(value)
    while value:  # taking it apart by hand: freeing it would recurse as deep
        value = value.pop()


@pytest.mark.parametrize("value", [np.zeros(100_000), "ab" * 50_000, 1, [np.arange(5)]])
def test_compression_changes_the_size_and_nothing_else(value):
    back = there_and_back(value, compression="zlib")
    assert (
        np.array_equal(back, value) if not isinstance(value, list) else (back[0] == value[0]).all()
    )
    if not isinstance(value, (int, list)):
        assert dump(value, compression="zlib").size() < dump(value).size() / 10


def test_an_unknown_compression_is_refused():
    with pytest.raises(StoreError, match="unknown compression 'zip'"):
        serializing.check_compression("zip")


def test_a_missing_compression_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "lz4", None)
    monkeypatch.setitem(sys.modules, "lz4.frame", None)
    with pytest.raises(StoreError, match="pip install lz4"):
        serializing.check_compression("lz4")


@pytest.mark.parametrize("missing", [False, True])
def test_without_xxhash_buffers_are_checked_by_crc32(monkeypatch, missing):
    if missing:
        monkeypatch.setitem(sys.modules, "xxhash", None)
    data = joined(np.arange(1000.0))
    layout = parse(data, offset=32)
    assert layout.checksum == (serializing.CRC32 if missing else serializing.XXH3)
    check_buffers(layout)
    data[-1] ^= 1
    with pytest.raises(Damaged, match="buffer 0 does not match its checksum"):
        check_buffers(layout)


def test_a_checksum_that_cannot_be_computed_here_is_damage(monkeypatch):
    layout = parse(joined(np.arange(1000.0)), offset=32)
    monkeypatch.setitem(sys.modules, "xxhash", None)
    with pytest.raises(Damaged, match="needs the package xxhash"):
        check_buffers(layout)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda data: data[:40], "only 40 bytes"),
        (lambda data: data[:-1], "of"),
        (lambda data: data + b"x", "of"),
        (lambda data: data[:32] + b"ABC" + data[35:], "not written by flowkit"),
        (lambda data: data[:35] + b"\x02" + data[36:], "format 2, this flowkit reads 1"),
        (lambda data: data[:44] + b"\xff" * 8 + data[52:], "of at least"),
    ],
    ids=["stub", "short", "long", "foreign", "future", "absurd"],
)
def test_a_blob_that_is_not_as_its_header_says_is_damaged(spoil, reason):
    whole = bytes(joined(np.arange(100.0)))
    with pytest.raises(Damaged, match=reason):
        parse(memoryview(spoil(whole)), offset=32)


def test_a_class_that_is_gone_is_damage_and_names_it():
    data = joined(Sensor("a", 1))
    spoilt = memoryview(bytes(data).replace(b"Sensor", b"Sensot"))
    with pytest.raises(Damaged, match=r"AttributeError: .*Sensot"):
        restore(parse(spoilt, offset=32))
