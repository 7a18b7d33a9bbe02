"""How arrays and frames are told: numpy, pandas, polars and pyarrow, none of which is imported.

Whoever hands us an array has loaded its library already. Nothing is ever sampled, and large
buffers are hashed where they lie.
"""

from __future__ import annotations

import hashlib
import sys
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MOVED_MODULES: Final = {"pathlib._local": "pathlib"}  # since Python 3.13


def class_name(cls: Any) -> str:
    """Return ``module:qualname`` of a class or function, the same on every supported Python."""
    module = cls.__module__
    return f"{MOVED_MODULES.get(module, module)}:{cls.__qualname__}"


def tell_buffer(buffer: Any) -> bytes:
    """Return the SHA-256 of a contiguous buffer, read in place."""
    return hashlib.sha256(buffer).digest()


# --- numpy ------------------------------------------------------------------------------------

PLAIN_KINDS: Final = frozenset("biufcmMSU")
"""Kinds of dtype whose ``str`` says all, and whose bytes are the content."""


def tell_dtype(dtype: Any) -> Any:
    """Return the dtype's name where that is unambiguous, the dtype itself where it is not."""
    is_named = dtype.kind in PLAIN_KINDS and dtype.isbuiltin != 2 and dtype.metadata is None
    return dtype.str if is_named else dtype


def tell_ndarray(value: Any) -> tuple[Any, ...]:
    """Shape, dtype and every element. Fortran order counts; strides and views do not.

    Nor does whether it is mapped from a file: that is how a stored array comes back.
    """
    dtype = value.dtype
    head = ("ndarray", value.shape, tell_dtype(dtype))
    if type(value).__name__ == "MaskedArray":
        return ("masked", *head, value.data, value.mask, value.fill_value)
    if dtype.names is not None:
        # By field: what lies in the padding between fields is nobody's content.
        return (*head, [value[name] for name in dtype.names])
    if dtype.hasobject or dtype.kind == "T":  # T: numpy's strings of any length, held elsewhere
        return (*head, value.astype(object).ravel().tolist())
    if value.flags.c_contiguous:
        return (*head, "C", tell_buffer(_bytes_of(value)))
    if value.flags.f_contiguous:
        return (*head, "F", tell_buffer(_bytes_of(value.T)))
    seen = hashlib.sha256()
    for piece in _pieces(value):
        seen.update(_bytes_of(sys.modules["numpy"].ascontiguousarray(piece)))
    return (*head, "C", seen.digest())


def _bytes_of(value: Any) -> Any:
    """View a C-contiguous array as bytes; dates and the like offer no buffer of their own."""
    width = value.dtype.itemsize
    if not width or not value.size:
        return b""
    numpy = sys.modules["numpy"]
    plain = value.reshape(-1).view(numpy.ndarray).view("u1")
    if value.dtype.char in "gG" and numpy.finfo(value.dtype).nmant == 63:
        # An 80-bit float lies in 16 bytes; the last six are whatever was there before.
        return plain.reshape(-1, 16)[:, :10].tobytes()
    return plain


def _pieces(value: Any) -> Iterator[Any]:
    """Yield the elements in C order, some 64k at a time, so that no second array is made."""
    numpy = sys.modules["numpy"]
    flags = ["external_loop", "buffered", "zerosize_ok"]
    yield from numpy.nditer(value, flags=flags, order="C", buffersize=65536)


def tell_scalar(value: Any) -> tuple[Any, ...]:
    """A numpy scalar: the array without dimensions that it is."""
    return ("scalar", tell_ndarray(sys.modules["numpy"].asarray(value)))


# --- pandas -----------------------------------------------------------------------------------


def _column(series: Any) -> Any:
    """Return the values of a column: the numpy array where it is one, pandas' own where not."""
    if isinstance(series.dtype, sys.modules["numpy"].dtype):
        return series.to_numpy()
    return series.array


def _extras(value: Any) -> tuple[Any, ...]:
    """What pandas objects carry beside their data, subclasses' own metadata included."""
    own = [(name, getattr(value, name, None)) for name in value._metadata if name != "_name"]
    return (dict(value.attrs), value.flags.allows_duplicate_labels, own)


def tell_pandas_frame(value: Any) -> tuple[Any, ...]:
    """Labels, index and each column; not how pandas lumped columns of a kind together."""
    columns = [_column(series) for _, series in value.items()]
    extras = _extras(value)
    return ("frame", class_name(type(value)), value.columns, value.index, columns, extras)


def tell_pandas_series(value: Any) -> tuple[Any, ...]:
    """Name, index and values."""
    name = class_name(type(value))
    return ("series", name, value.name, value.index, _column(value), _extras(value))


def tell_extension_array(value: Any) -> tuple[Any, ...]:
    """Tell an array of pandas' own; not what it only keeps for speed or safety, and by and by."""
    name = class_name(type(value))
    if hasattr(value, "_ndarray"):  # dates, categories, strings as objects
        return ("extension", name, value.dtype, value._ndarray, getattr(value, "_freq", None))
    if hasattr(value, "_pa_array"):
        return ("extension", name, value.dtype, value._pa_array)
    if hasattr(value, "_mask"):
        # Under a missing value lies whatever was there before.
        data = sys.modules["numpy"].where(value._mask, value._data.dtype.type(0), value._data)
        return ("extension", name, value.dtype, data, value._mask)
    make, args, *states = value.__reduce_ex__(5)
    return ("extension", name, make, args, [_without_caches(state) for state in states])


def _without_caches(state: Any) -> Any:
    if not isinstance(state, dict):
        return state
    return {name: part for name, part in state.items() if name not in ("_cache", "_readonly")}


# --- polars -----------------------------------------------------------------------------------


def tell_polars_frame(value: Any) -> tuple[Any, ...]:
    """The height (a frame may have no column) and the columns."""
    return ("polars", class_name(type(value)), value.height, value.get_columns())


def tell_polars_series(value: Any) -> tuple[Any, ...]:
    """Name, type, which elements are null, and the others."""
    polars = sys.modules["polars"]
    kind = value.dtype
    head = ("polars", class_name(type(value)), value.name, str(kind), len(value))
    if any(word in head[3] for word in ("Object", "Categorical", "Extension")):
        # Categories are numbered in the order in which this process met them.
        return (*head, value.to_list())
    if value.null_count():
        # What lies under a null, and in the last byte of a bitmap, is whatever was there before.
        nulls = value.is_null().cast(polars.UInt8)
        return (*head, _polars_bytes(polars, nulls), value.drop_nulls())
    if isinstance(kind, polars.List):
        lengths = value.list.len()
        return (*head, lengths, value.filter(lengths > 0).explode())
    if isinstance(kind, polars.Array) and kind.shape[0]:
        return (*head, value.cast(polars.List(kind.inner)).explode())
    if isinstance(kind, polars.Struct):
        return (*head, value.struct.unnest())
    plain = value.cast(polars.UInt8) if kind == polars.Boolean else value.to_physical()
    return (*head, _polars_bytes(polars, plain))


def _polars_bytes(polars: Any, series: Any) -> bytes:
    """Hash a flat series without nulls in Arrow's oldest format: one layout for one content."""
    sink = _Hashing()
    oldest = polars.CompatLevel.oldest()
    # A series without nulls may have a bitmap that says so, or none: having dropped one, none.
    padded = polars.concat([series.alias(""), polars.Series("", [None], series.dtype)])
    frame = padded.rechunk().drop_nulls().to_frame()
    frame.write_ipc(sink, compression="uncompressed", compat_level=oldest)
    return sink.seen.digest()


# --- pyarrow ----------------------------------------------------------------------------------


class _Hashing:
    """A file to write to that only hashes."""

    closed = False

    def __init__(self) -> None:
        self.seen = hashlib.sha256()
        self._size = 0

    def write(self, data: Any) -> int:
        self.seen.update(data)
        size = memoryview(data).nbytes
        self._size += size
        return size

    def tell(self) -> int:
        return self._size

    def flush(self) -> None:
        pass

    def close(self) -> None:
        pass


def tell_arrow_table(value: Any) -> tuple[Any, ...]:
    """Schema (names, types and metadata), height and columns; chunks do not count."""
    schema = tell_buffer(value.schema.serialize())
    return ("arrow", class_name(type(value)), schema, value.num_rows, list(value.columns))


def tell_arrow_array(value: Any) -> tuple[Any, ...]:
    """Type, which elements are null, and the others; neither chunks nor slices count."""
    pyarrow = sys.modules["pyarrow"]
    chunked = isinstance(value, pyarrow.ChunkedArray)
    head = ("arrow", "chunked" if chunked else "array", str(value.type), len(value))
    kind = value.type
    wide = _wide_kind(pyarrow.types, kind)
    if wide is not None:
        return (*head, value.cast(wide))
    if value.null_count:
        # What lies under a null, and in the last byte of a bitmap, is whatever was there before.
        return (*head, value.is_valid(), value.drop_null())
    if pyarrow.types.is_primitive(kind):
        return (*head, _fixed(value.chunks if chunked else [value], kind.bit_width // 8))
    if chunked:
        return (*head, value.combine_chunks())
    parts = _arrow_parts(pyarrow, value)
    return (*head, *parts) if parts is not None else (*head, _arrow_bytes(pyarrow, value))


def _wide_kind(types: Any, kind: Any) -> Any:
    """Return the type to cast to first: of whole bytes, without categories, and wide.

    A narrow array of strings cannot hold what many chunks of it can.
    """
    if types.is_boolean(kind):
        return "uint8"
    if types.is_dictionary(kind):
        return kind.value_type
    if types.is_string(kind) or str(kind) == "string_view":
        return "large_string"
    return "large_binary" if types.is_binary(kind) or str(kind) == "binary_view" else None


def _arrow_parts(pyarrow: Any, value: Any) -> tuple[Any, ...] | None:
    """Return what a nested array without nulls consists of, or ``None`` for a flat one."""
    types, kind = pyarrow.types, value.type
    if isinstance(value, pyarrow.ExtensionArray):
        return (value.storage,)
    if types.is_struct(kind):
        return ([field.name for field in kind], value.flatten())
    if types.is_list(kind) or types.is_large_list(kind):
        return (value.value_lengths(), value.flatten())
    return (value.flatten(),) if types.is_fixed_size_list(kind) else None


def _arrow_bytes(pyarrow: Any, value: Any) -> bytes:
    """Hash what Arrow would send: cut to the slice, offsets counted from its start."""
    sink = _Hashing()
    batch = pyarrow.record_batch([value], names=[""])
    with pyarrow.PythonFile(sink, "w") as file, pyarrow.ipc.new_stream(file, batch.schema) as out:
        out.write_batch(batch)
    return sink.seen.digest()


def _fixed(chunks: Any, width: int) -> bytes:
    """Hash fixed-width elements where they lie, one chunk after the other."""
    seen = hashlib.sha256()
    for chunk in chunks:
        buffer = memoryview(chunk.buffers()[1] or b"")
        seen.update(buffer[chunk.offset * width : (chunk.offset + len(chunk)) * width])
    return seen.digest()


TELL: Final[dict[tuple[str, str], Callable[[Any], tuple[Any, ...]]]] = {
    ("numpy", "generic"): tell_scalar,
    ("pandas", "DataFrame"): tell_pandas_frame,
    ("pandas", "Series"): tell_pandas_series,
    ("pandas", "ExtensionArray"): tell_extension_array,
    ("polars", "DataFrame"): tell_polars_frame,
    ("polars", "Series"): tell_polars_series,
    ("pyarrow", "Table"): tell_arrow_table,
    ("pyarrow", "RecordBatch"): tell_arrow_table,
    ("pyarrow", "ChunkedArray"): tell_arrow_array,
    ("pyarrow", "Array"): tell_arrow_array,
}


def digester(cls: type) -> Callable[[Any], tuple[Any, ...]] | None:
    """Return how to tell a value of a class from (or derived from) a library known here."""
    for base in cls.__mro__:
        library = base.__module__.partition(".")[0]
        if library == "numpy" and base.__name__ == "ndarray":
            # Other subclasses carry things of their own; they know best how to be pickled.
            plain = cls.__name__ in ("ndarray", "memmap", "MaskedArray")
            return tell_ndarray if plain and cls.__module__.startswith("numpy") else None
        if (library, base.__name__) in TELL:
            return TELL[library, base.__name__]
    return None
