"""Digests: which values are the same content, which are not, and what cannot be told."""

from __future__ import annotations

import copy
import hashlib
import json
import math
import os
import pickle
import subprocess
import sys
import threading
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pydantic
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flowkit import sinks
from flowkit.digests import (
    FileMemory,
    Undigestible,
    digest,
    digest_file,
    digest_with_facts,
    small,
)
from tests.timing import ratio, seconds

VALUES_PROGRAM = Path(__file__).with_name("digest_values.py")


# --- what must never be taken for one another -------------------------------------------------


class Cat:
    def __init__(self, name: str) -> None:
        self.name = name


class Dog(Cat):
    pass


class CatModel(pydantic.BaseModel):
    name: str
    lives: int = 9


class DogModel(CatModel):
    pass


def double(x: int) -> int:
    return 2 * x


def triple(x: int) -> int:
    return 3 * x


def adder(n: int) -> Any:
    return lambda x: x + n


COLLISIONS = {
    "integer, float, bool, text, bytes": [1, 1.0, True, "1", b"1", 1 + 0j, Fraction(1)],
    "nothing and what looks like it": [None, False, 0, 0.0, "", b"", [], (), {}, set(), "None"],
    "zero and minus zero": [0.0, -0.0],
    "sequences": [[1, 2], (1, 2), {1, 2}, frozenset((1, 2)), range(1, 3), {1: 2}],
    "keys of a dict": [{1: "a"}, {"1": "a"}, {1.0: "a"}, {True: "a"}],
    "order of a dict": [{"a": 1, "b": 2}, {"b": 2, "a": 1}],
    "nesting": [[[1], 2], [[1, 2]], [1, [2]], [[1], [2]], [1, 2]],
    "where text ends": [["ab", "c"], ["a", "bc"], ["abc"], "abc"],
    "classes with equal attributes": [Cat("x"), Dog("x"), {"name": "x"}, Cat("y")],
    "objects with different functions": [Cat(double), Cat(triple), Cat(adder(1)), Cat(adder(2))],
    "classes": [Cat, Dog, CatModel],
    "models": [CatModel(name="x"), DogModel(name="x"), CatModel(name="x", lives=8)],
    "exceptions": [ValueError(1), ValueError("1"), KeyError(1), ValueError()],
    "paths": [Path("/nowhere/a"), Path("/nowhere/b"), "/nowhere/a", Path("/nowhere")],
    "a set and the digests of its elements": [
        {(1,), (2,)},
        {digest((1,)), digest((2,))},
        sorted([digest((1,)), digest((2,))]),
    ],
}


@pytest.mark.parametrize("values", COLLISIONS.values(), ids=COLLISIONS.keys())
def test_different_contents_never_share_a_digest(values):
    assert len({digest(value) for value in values}) == len(values)
    assert len({digest([value]) for value in values}) == len(values), "nested in a list"
    assert len({digest(Cat(value)) for value in values}) == len(values), "held by an object"


def test_a_digest_is_forty_hexadecimal_characters():
    for value in (1, "x", [1], Cat("x")):
        assert len(digest(value)) == 40
        int(digest(value), 16)


# --- what must be the same --------------------------------------------------------------------


def test_nan_is_stable():
    assert digest(math.nan) == digest(float("nan"))
    assert digest([math.nan]) == digest([float("nan")])


def test_it_does_not_matter_whether_equal_strings_are_one_object():
    built = "".join(["sp", "am"])
    assert digest(["spam", "spam"]) == digest(["spam", built])
    assert digest([b"spam" * 9] * 2) == digest([b"spam" * 9, bytes(bytearray(b"spam" * 9))])


def test_it_does_not_matter_whether_equal_containers_are_one_object():
    row = {"a": 1}
    assert digest([row, row]) == digest([row, dict(row)])


def test_which_fields_of_a_model_were_given_is_content():
    """``model_dump(exclude_unset=True)`` tells, and pickle keeps it; in which order they were given does not show."""
    assert digest(CatModel(name="x")) != digest(CatModel(name="x", lives=9))
    assert digest({"a": [Cat(CatModel(name="x"))]}) != digest({"a": [Cat(CatModel(name="x", lives=9))]})
    assert digest(CatModel(name="x", lives=9)) == digest(CatModel(lives=9, name="x"))


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda parts: (
        st.lists(parts, max_size=4)
        | st.lists(parts, max_size=4).map(tuple)
        | st.dictionaries(st.text() | st.integers() | st.booleans(), parts, max_size=4)
        | st.frozensets(st.text() | st.integers() | st.floats() | st.tuples(st.binary()))
        | parts.map(Cat)
    ),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(plain)
def test_a_copy_has_the_same_digest(value):
    found = digest(value)
    assert digest(value) == found
    assert digest(copy.deepcopy(value)) == found
    assert digest(pickle.loads(pickle.dumps(value))) == found


def canonical(value: Any) -> str:
    """What one would print of a value; of sets, whose order is an accident, sorted."""
    if isinstance(value, Cat):
        return f"Cat({canonical(value.name)})"
    if isinstance(value, dict):
        return "{%s}" % ",".join(f"{k!r}:{canonical(v)}" for k, v in value.items())
    if isinstance(value, frozenset):
        return "f(%s)" % ",".join(sorted(map(repr, value)))
    if isinstance(value, (list, tuple)):
        return f"{type(value).__name__}({','.join(map(canonical, value))})"
    return repr(value)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(plain, plain)
def test_what_prints_differently_has_another_digest(one, other):
    if canonical(one) != canonical(other):
        assert digest(one) != digest(other)


@given(st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary())
def test_the_short_way_agrees_with_the_long_one(value):
    assert small(value) == digest(value) == digest_with_facts(value).hex


def test_the_short_way_declines_subclasses_and_everything_else():
    class Number(int):
        pass

    assert small(Number(1)) is None
    assert small([]) is None
    assert digest(Number(1)) != digest(1)


# --- other processes, other Pythons -----------------------------------------------------------


def digests_of_values(python: str, hash_seed: int) -> dict[str, str]:
    """The digests that another process finds for ``digest_values.VALUES``."""
    env = {**os.environ, "PYTHONHASHSEED": str(hash_seed)}
    command = [python, "-W", "error", str(VALUES_PROGRAM)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, str] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def expected():
    return digests_of_values(sys.executable, 0)


def test_no_two_of_the_standard_librarys_values_share_a_digest(expected):
    assert len(set(expected.values())) == len(expected) > 50


@pytest.mark.parametrize("hash_seed", [1, 2, 3, 4, 5])
def test_the_hash_seed_does_not_matter(expected, hash_seed):
    assert digests_of_values(sys.executable, hash_seed) == expected


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_the_version_of_python_does_not_matter(expected, version):
    found = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))
    if not found:
        pytest.skip(f"no Python {version} here")
    assert digests_of_values(str(found[-1]), 1) == expected


# --- cycles and sharing -----------------------------------------------------------------------


def test_a_cycle_has_an_end_and_is_told_as_sensitive_to_identity():
    loop: dict[str, Any] = {"name": "loop"}
    loop["self"] = [loop]
    facts = digest_with_facts(loop)
    assert facts.identity_sensitive
    assert digest(copy.deepcopy(loop)) == facts.hex
    loop["name"] = "other"
    assert digest(loop) != facts.hex


def test_strings_that_are_one_object_do_not_matter_in_a_cycle_either():
    one: list[Any] = ["spam", "spam"]
    one.append(one)
    other: list[Any] = ["spam", "".join(["sp", "am"])]
    other.append(other)
    assert digest(one) == digest(other)


def test_a_cycle_through_a_set_a_model_or_a_closure_has_an_end():
    cat = Cat("x")
    cat.kin = {cat, 1}
    assert digest(cat) == digest(copy.deepcopy(cat))

    class Node(pydantic.BaseModel):
        next: Any = None

    node = Node()
    node.next = [node]
    assert digest(node) == digest(copy.deepcopy(node))

    def factorial(n: int) -> int:
        return 1 if n < 1 else n * factorial(n - 1)

    assert digest(factorial) == digest(factorial)


def test_parts_shared_a_quintillion_times_are_told_once(monkeypatch):
    monkeypatch.setattr(sinks, "FIRST_LOOK", 2**18)
    lists: Any = [1]
    objects: Any = Cat("x")
    for _ in range(60):
        lists = [lists, lists]
        objects = Cat((objects, objects))
    for shared in (lists, objects):
        facts = digest_with_facts(shared)
        assert facts.identity_sensitive
        assert digest(pickle.loads(pickle.dumps(shared))) == facts.hex


def test_sets_shared_a_quintillion_times_are_told_once():
    sets: Any = frozenset([1])
    for i in range(60):
        sets = frozenset([(sets, i), (sets, -1 - i), "a"])
    assert len(digest(sets)) == 40


def test_large_values_are_not_mistaken_for_shared_ones(monkeypatch):
    monkeypatch.setattr(sinks, "FIRST_LOOK", 2**16)
    tags = ("a", "b")
    rows = [{"id": i, "tags": tags, "cat": Cat(i)} for i in range(20_000)]
    watched = digest_with_facts(rows)
    monkeypatch.undo()
    assert not watched.identity_sensitive
    assert digest(rows) == watched.hex


# --- what cannot be told ----------------------------------------------------------------------


def test_the_part_that_cannot_be_told_is_named():
    value = {"a": 1, "pool": [Cat("x"), Cat({"conn": threading.Lock()})]}
    with pytest.raises(Undigestible) as caught:
        digest(value)
    assert str(caught.value) == (
        "value['pool'][1].name['conn']: cannot pickle '_thread.lock' object"
    )


def test_the_part_that_cannot_be_told_is_named_in_slots_too():
    @dataclass(slots=True)
    class Slotted:
        lock: Any

    with pytest.raises(Undigestible, match=r"^value\.lock: cannot pickle"):
        digest(Slotted(threading.Lock()))


@pytest.mark.parametrize("value", [iter([1]), (i for i in ()), map(str, []), zip(), enumerate([])])
def test_an_iterator_has_no_content_yet(value):
    with pytest.raises(Undigestible, match="consumed by reading it"):
        digest({"rows": value})


def test_what_is_nested_too_deeply_is_refused():
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(Undigestible, match="nested this deeply"):
        digest(deep)
    while deep:  # freed one by one, as the interpreter may not recurse that far
        deep = deep.pop()


def test_sets_nested_too_deeply_are_refused_at_once():
    deep = frozenset([0])
    for _ in range(2000):
        deep = frozenset([(deep,)])
    with pytest.raises(Undigestible, match="nested this deeply"):
        digest(deep)


def test_whatever_a_type_raises_when_pickled_makes_it_undigestible():
    class Refuses:
        def __reduce__(self):
            raise ZeroDivisionError("not me")

    with pytest.raises(Undigestible, match=r"^value\[0\]: not me$"):
        digest([Refuses()])


# --- hooks ------------------------------------------------------------------------------------


def test_a_hook_answers_for_strangers_types_only_and_may_pass():
    asked = []

    def hook(value):
        asked.append(type(value))
        return f"cat {value.name.lower()}" if type(value) is Cat else None

    assert digest([Cat("Tom")], hook=hook) == digest([Cat("TOM")], hook=hook)
    assert digest(Cat("Tom"), hook=hook) != digest("cat tom", hook=hook)
    assert digest(Dog("Tom"), hook=hook) == digest(Dog("Tom"))
    digest([1, {"a"}, Path("x"), Fraction(1)], hook=hook)
    assert set(asked) == {Cat, Dog}


def test_a_hook_can_tell_what_could_not_be_told():
    class Handle:
        def __init__(self, name):
            self.name = name
            self.lock = threading.Lock()

    assert len({digest(Handle(n), hook=lambda handle: handle.name.encode()) for n in "aab"}) == 2


def test_what_a_hook_raises_is_raised():
    def hook(_value):
        raise LookupError("plugin is broken")

    with pytest.raises(LookupError, match="plugin is broken"):
        digest([Cat("x")], hook=hook)


def test_an_object_may_tell_its_own_content():
    class Table:
        def __init__(self, rows, lock):
            self.rows, self.lock = rows, lock

        def __flowkit_digest__(self):
            return self.rows

    assert digest(Table([1], threading.Lock())) == digest(Table([1], None))
    assert digest(Table([1], None)) != digest(Table([2], None))
    assert digest(Table([1], None)) != digest([1])


# --- secrets ----------------------------------------------------------------------------------


class Login(pydantic.BaseModel):
    user: str
    password: pydantic.SecretStr


def test_a_secret_is_noticed_at_any_depth():
    secret = pydantic.SecretStr("hunter2")
    assert digest_with_facts({"a": [Cat({(1, secret)})]}).holds_secret
    assert digest_with_facts(Login(user="u", password="p")).holds_secret
    assert digest_with_facts(pydantic.SecretBytes(b"x")).holds_secret
    assert not digest_with_facts(["hunter2"]).holds_secret


def test_the_digest_of_a_secret_depends_on_secret_and_key():
    secret = pydantic.SecretStr("hunter2")
    assert digest(secret, secret_key=b"k") == digest(secret, secret_key=b"k")
    assert digest(secret, secret_key=b"k") != digest(secret, secret_key=b"other")
    assert digest(secret) == digest(secret) != digest(secret, secret_key=b"k")
    assert digest(secret, secret_key=b"k") != digest(pydantic.SecretStr("h"), secret_key=b"k")
    assert digest(secret, secret_key=b"k") != digest("hunter2")


# --- files ------------------------------------------------------------------------------------


def test_a_path_counts_by_name_and_content(tmp_path):
    a, b = tmp_path / "a", tmp_path / "b"
    missing = digest(a)
    a.write_text("1")
    b.write_text("1")
    first = digest(a)
    assert len({missing, first, digest(b)}) == 3
    a.write_text("2")
    assert digest(a) != first
    a.write_text("1")
    assert digest(a) == first


def test_inside_root_the_relative_name_counts(tmp_path, monkeypatch):
    for folder in ("here", "there"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.csv").write_text("1")
    here, there = tmp_path / "here", tmp_path / "there"
    assert digest(here / "x.csv", root=here) == digest(there / "x.csv", root=there)
    assert digest(here / "x.csv", root=here) != digest(here / "x.csv", root=there)
    assert digest(here / "x.csv") != digest(there / "x.csv")
    monkeypatch.chdir(here)
    assert digest(Path("x.csv"), root=here) == digest(here / "x.csv", root=here)


def test_files_are_found_at_any_depth_and_told_sorted(tmp_path):
    for name in "abc":
        (tmp_path / name).write_text(name)
    value = {"b": Cat([tmp_path / "b"]), "ca": {tmp_path / "c", tmp_path / "a"}}
    facts = digest_with_facts([value, tmp_path / "gone", tmp_path / "a"])
    assert [Path(fact.path).name for fact in facts.files] == ["a", "b", "c", "gone"]
    assert facts.files[0].digest == hashlib.sha256(b"a").hexdigest()[:40]
    assert facts.files[0].size == 1
    assert facts.files[3].digest == "missing"


def test_a_directory_is_the_names_and_contents_below_it(tmp_path):
    tree = tmp_path / "tree"
    (tree / "sub").mkdir(parents=True)
    seen = [digest(tree)]
    (tree / "sub" / "a").write_text("1")
    seen.append(digest(tree))
    (tree / "sub" / "a").write_text("2")
    seen.append(digest(tree))
    (tree / "sub" / "a").rename(tree / "sub" / "b")
    seen.append(digest(tree))
    (tree / "empty").mkdir()
    seen.append(digest(tree))
    assert len(set(seen)) == len(seen)
    assert digest_file(tree).is_directory
    assert digest_file(tree).size == 1


def test_links_are_followed_loops_and_broken_ones_have_an_end(tmp_path):
    (tmp_path / "real").write_text("1")
    (tmp_path / "link").symlink_to("real")
    assert digest_file(tmp_path / "link").digest == digest_file(tmp_path / "real").digest
    (tmp_path / "broken").symlink_to("gone")
    assert digest_file(tmp_path / "broken").digest == "missing"
    (tmp_path / "up").symlink_to(tmp_path)
    assert digest_file(tmp_path) == digest_file(tmp_path)


def test_what_is_no_file_is_never_opened_and_a_name_that_cannot_be_is_missing(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert digest_file(tmp_path / "pipe").digest == "special"
    assert digest_file("a\0b").digest == "missing"
    assert digest_file(tmp_path / ("x" * 5000)).digest == "missing"


SECOND = 1_000_000_000


def written(path: Path, text: str, *, at: int) -> Path:
    """Write a file whose time is ``at`` seconds after the epoch."""
    path.write_text(text)
    os.utime(path, ns=(at * SECOND, at * SECOND))
    return path


def test_an_unchanged_file_is_not_read_again(tmp_path):
    memo = FileMemory(now_ns=lambda: 1100 * SECOND)
    path = written(tmp_path / "a", "1", at=1000)
    fact = digest_file(path, memo)
    memo.facts[str(path)] = replace(fact, digest="from memory")
    assert digest_file(path, memo).digest == "from memory"
    assert digest_with_facts(path, memo=memo).files[0].digest == "from memory"
    written(path, "2", at=1001)
    assert digest_file(path, memo).digest != "from memory"


def test_a_file_changed_within_two_seconds_of_the_record_is_read_again(tmp_path):
    memo = FileMemory(now_ns=lambda: 1001 * SECOND)
    path = written(tmp_path / "a", "1", at=1000)
    first = digest_file(path, memo).digest
    written(path, "2", at=1000)  # same size, same time, same inode
    assert digest_file(path, memo).digest != first


def test_a_fact_surely_holds_only_while_the_stat_is_the_same_and_old_enough(tmp_path):
    path = written(tmp_path / "a", "1", at=1000)
    fact = digest_file(path)
    assert fact.surely_holds(recorded_ns=1100 * SECOND)
    assert not fact.surely_holds(recorded_ns=1001 * SECOND)
    written(path, "2", at=1001)
    assert not fact.surely_holds(recorded_ns=1100 * SECOND)
    path.unlink()
    assert not fact.surely_holds(recorded_ns=1100 * SECOND)
    assert digest_file(path).surely_holds(recorded_ns=1100 * SECOND)
    assert not digest_file(tmp_path).surely_holds(recorded_ns=2**62)


# --- what it costs ----------------------------------------------------------------------------


def test_rows_cost_at_most_six_times_a_plain_pickle():
    rows = [{"id": i, "name": f"n{i}", "x": i * 0.5, "ok": True} for i in range(100_000)]

    def plain_pickle():
        return hashlib.sha256(pickle.dumps(rows, 5)).hexdigest()

    assert ratio(lambda: digest(rows), plain_pickle, within=6) <= 6


@pytest.mark.parametrize("value", [7, 123456789, "a name", None, True])
def test_small_values_cost_a_microsecond_or_so(value):
    # A millisecond at a time: on a busy machine a longer one is always disturbed.
    def hashes():
        for _ in range(1_000):
            hashlib.sha256(b"x").hexdigest()

    def digests():
        for _ in range(1_000):
            small(value)

    bound = 1.5e-3 + seconds(hashes, tries=100)
    assert seconds(digests, within=bound, tries=100) <= bound


def test_nothing_heavy_is_imported():
    program = (
        "import sys, types; p = types.ModuleType('flowkit'); p.__path__ = [sys.argv[1]];"
        "sys.modules['flowkit'] = p; import flowkit.digests;"
        "heavy = {'numpy', 'pandas', 'polars', 'pyarrow', 'pydantic', 'click', 'asyncio'};"
        "sys.exit(str(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)"
    )
    package = str(Path(__file__).parents[2] / "flowkit")
    subprocess.run([sys.executable, "-c", program, package], check=True)
