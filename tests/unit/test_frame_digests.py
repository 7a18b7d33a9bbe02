"""Digests of arrays and frames: every element, label and type counts; how they lie does not."""

from __future__ import annotations

import copy
import hashlib
import pickle

import pytest

from flowkit.digests import digest
from tests.timing import ratio

np = pytest.importorskip("numpy")
pd = pytest.importorskip("pandas")
pl = pytest.importorskip("polars")
pa = pytest.importorskip("pyarrow")


def copies(value):
    return [copy.deepcopy(value), pickle.loads(pickle.dumps(value, 5))]


def assert_same(*values):
    assert len({digest(value) for value in values}) == 1


def assert_different(*values):
    assert len({digest(value) for value in values}) == len(values)


# --- numpy ------------------------------------------------------------------------------------

GRID = np.arange(24.0).reshape(4, 6)


def test_shape_dtype_and_dimensions_count():
    assert_different(np.zeros(4), np.zeros((2, 2)), np.zeros(4, "i8"), np.zeros(0), [0.0] * 4)
    assert_different(GRID, GRID.astype("f4"), GRID.astype(">f8"), GRID.reshape(6, 4), GRID.T)
    assert_different(np.float64(0), np.array(0.0), np.array([0.0]), 0.0, np.float32(0))
    assert_different(np.zeros((0, 3)), np.zeros((3, 0)), np.zeros(0))
    assert_different(np.array(["2024"], "M8[ns]"), np.array(["2024"], "M8[us]"))


def test_every_element_counts():
    large = np.zeros(1_000_000)
    other = large.copy()
    other[777_777] = 1
    assert_different(large, other, large[::2], other[1::2])


def test_strides_do_not_count():
    for view in (
        GRID[::2, ::3],
        GRID[::-1],
        GRID[:, 2:3],
        GRID.reshape(2, 3, 4).transpose(1, 2, 0),
    ):
        assert_same(view, view.copy(order="C"))


@pytest.mark.parametrize(
    "value",
    [
        GRID,
        np.asfortranarray(GRID),
        np.array(7),
        np.int8(7),
        np.datetime64("2024-01-01"),
        np.array(["2024-01-01"], "M8[ns]"),
        np.array(["a", "bcd"]),
        np.array(["a", "bcd"], np.dtypes.StringDType()),
        np.array([{"a", "b"}, 1, None, "x"], object),
        np.zeros(3, [("a", "i1"), ("b", "f8")]),
        np.ma.array([1, 2], mask=[0, 1]),
        np.random.default_rng(3),
        np.dtype([("a", "i1")]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_copies_of_arrays_and_the_like_are_the_same(value):
    assert_same(value, *copies(value))


def test_elements_of_an_object_array_are_told_one_by_one():
    make = lambda part: np.array([part, None], object)
    assert_different(make(1), make(1.0), make("1"), make({"a"}), make(["a"]))
    assert_same(make("spam"), make("".join(["sp", "am"])))


def test_padding_does_not_count():
    layout = np.dtype([("a", "i1"), ("b", "f8")], align=True)
    clean, dirty = np.zeros(3, layout), np.empty(3, layout)
    dirty.view("u1")[:] = 255
    dirty["a"], dirty["b"] = 0, 0
    assert_same(clean, dirty)
    long_clean, long_dirty = np.ones(4, np.longdouble), np.empty(4, np.longdouble)
    long_dirty.view("u1")[:] = 255
    long_dirty[:] = 1
    assert_same(long_clean, long_dirty)


def test_field_names_masks_and_fill_values_count():
    assert_different(np.zeros(3, [("a", "f8")]), np.zeros(3, [("b", "f8")]), np.zeros(3))
    assert_different(
        np.ma.array([1, 2], mask=[0, 1]), np.ma.array([1, 2], mask=[1, 0]), np.array([1, 2])
    )


def test_an_array_mapped_from_a_file_is_the_array(tmp_path):
    mapped = np.memmap(tmp_path / "a", "f8", "w+", shape=GRID.shape)
    mapped[:] = GRID
    assert_same(mapped, GRID)


def test_a_large_array_costs_hardly_more_than_its_sha256():
    large = np.ones(5_000_000)
    assert ratio(lambda: digest(large), lambda: hashlib.sha256(large).digest(), within=1.5) <= 1.5


# --- pandas -----------------------------------------------------------------------------------

FRAME = pd.DataFrame(
    {
        "a": [1, 2, 3],
        "s": ["x", None, "z"],
        "d": pd.date_range("2024", periods=3, tz="Europe/Berlin"),
        "c": pd.Categorical(["u", "v", "u"]),
        "i": pd.array([1, None, 3], "Int64"),
        "o": [{"q"}, 1, 2.0],
    }
)


def test_what_one_sees_of_a_frame_counts():
    attributed = FRAME.copy()
    attributed.attrs["unit"] = "m"
    assert_different(
        FRAME,
        FRAME.rename(columns={"a": "b"}),
        FRAME[FRAME.columns[::-1]],
        FRAME.set_index("a"),
        FRAME.set_index("a", drop=False),
        FRAME.astype({"a": "int32"}),
        FRAME.astype({"c": "str"}),
        FRAME.astype({"s": object}),
        FRAME.iloc[:2],
        FRAME.iloc[::-1],
        FRAME["a"],
        FRAME["a"].rename("b"),
        FRAME[["a"]],
        attributed,
    )


def test_how_a_frame_was_made_does_not_count():
    assert_same(FRAME, FRAME.copy(), FRAME.iloc[:], FRAME[:], *copies(FRAME))
    block = pd.DataFrame(np.arange(6.0).reshape(3, 2), columns=["a", "b"])
    columns = pd.DataFrame({"a": [0.0, 2.0, 4.0]})
    columns["b"] = [1.0, 3.0, 5.0]
    assert_same(block, columns, block.copy())
    keyed = FRAME.set_index(["a", "s"])
    assert_same(keyed, *copies(keyed))


def test_looking_at_a_frame_does_not_change_its_digest():
    frame = FRAME.copy()
    before = digest(frame)
    frame.groupby("c", observed=True).size()
    frame["s"].value_counts()
    _ = frame.index.is_monotonic_increasing, str(frame), frame["d"].dt.year, frame["i"].sum()
    frame.columns.get_loc("a")
    assert digest(frame) == before


def test_what_lies_under_a_missing_value_does_not_count():
    one = pd.arrays.IntegerArray(np.array([1, 5]), np.array([False, True]))
    other = pd.arrays.IntegerArray(np.array([1, 7]), np.array([False, True]))
    assert_same(one, other)
    assert_different(one, pd.arrays.IntegerArray(np.array([1, 5]), np.array([True, False])))


@pytest.mark.parametrize(
    "value",
    [
        pd.Timestamp("2024", tz="UTC"),
        pd.NaT,
        pd.NA,
        pd.Timedelta("1s"),
        pd.Interval(1, 2),
        pd.Period("2024"),
        pd.Series(pd.arrays.SparseArray([0, 0, 1])),
        pd.Series(pd.period_range("2024", periods=2)),
        pd.Series(pd.interval_range(0, 3)),
        pd.Series([1, 2], dtype="int64[pyarrow]"),
        pd.Index(["a"]),
        pd.RangeIndex(3),
        pd.date_range("2024", periods=3),
    ],
    ids=lambda value: type(value).__name__,
)
def test_copies_of_pandas_things_are_the_same(value):
    assert_same(value, *copies(value))


# --- polars and pyarrow -----------------------------------------------------------------------

COLUMNS = {
    "a": [1, None, 3, 4],
    "f": [1.0, 2.0, 3.0, 4.0],
    "s": ["x", None, "zz", "w"],
    "b": [True, False, None, True],
    "l": [[1], None, [], [2, None]],
    "st": [{"q": 1, "w": ["a"]}, None, {"q": None, "w": []}, {"q": 2, "w": None}],
    "bin": [b"a", None, b"", b"ccc"],
}


def test_what_one_sees_of_a_polars_frame_counts():
    frame = pl.DataFrame(COLUMNS)
    assert_different(
        frame,
        frame.rename({"a": "z"}),
        frame.select(frame.columns[::-1]),
        frame[:2],
        frame[::-1],
        frame.with_columns(pl.col("a").cast(pl.Int32)),
        frame["a"],
        frame["a"].rename("z"),
        frame.select([]),
    )
    words = [pl.Enum(["a", "b"]), pl.Enum(["b", "a"]), pl.Categorical, pl.String]
    assert_different(*(pl.Series(["a"], dtype=word) for word in words))


def test_how_a_polars_frame_lies_in_memory_does_not_count():
    frame = pl.DataFrame(COLUMNS)
    pieces = pl.concat([frame[:1], frame[1:]], rechunk=False)
    assert_same(frame, pieces, pl.concat([frame, frame])[4:], frame.clone(), *copies(frame))
    words = pl.Series(["a", "b"], dtype=pl.Categorical)
    assert_same(words, pl.Series(["z", "a", "b"], dtype=pl.Categorical)[1:], *copies(words))
    assert_same(pl.Series([1, 2]), pl.Series([1, 2]).sort())


def test_what_one_sees_of_an_arrow_table_counts():
    table = pa.table(COLUMNS)
    assert_different(
        table,
        table.rename_columns([name + "_" for name in COLUMNS]),
        table.slice(1),
        table.drop_columns(["b"]),
        table.replace_schema_metadata({"a": "b"}),
        table.set_column(0, "a", table["a"].cast("int32")),
        table["a"],
        table["a"].chunk(0),
        table.to_batches()[0],
    )
    assert_different(pa.array(["a"]), pa.array(["a"]).dictionary_encode(), pa.array([b"a"]))


def test_how_an_arrow_table_lies_in_memory_does_not_count():
    table = pa.table(COLUMNS).append_column("dict", pa.array([*"uvu", None]).dictionary_encode())
    pieces = pa.concat_tables([table.slice(0, 1), table.slice(1)])
    assert_same(table, pieces, pa.concat_tables([table, table]).slice(4), *copies(table))
    assert_same(pa.array([True, False, True])[1:], pa.array([False, True]))
    words = pa.array(["a", "b", "a"]).dictionary_encode()
    assert_same(words, pa.array(["q", "a", "b", "a"]).dictionary_encode()[1:])
