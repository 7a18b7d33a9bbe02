"""A value as bytes and back: a small header, a pickle, and raw buffers aligned to 64 bytes.

::

    signature (32, by the store) | header | pickle stream | pad | buffer | pad | buffer ...

The header gives the format's version, serializer, pickle protocol, compression and, for each
buffer, its stored and raw length and a checksum. Buffers are pickle 5's out-of-band ones (the
data of an array, say): they are never copied on the way out, and mapped on the way in.

Arrays are handed out read-only (:func:`readonly`), the fresh as the stored. All other buffers come
back as writable or not as they were given: a mapped file is mapped privately, so that a frame
changed in place is changed in memory alone, just as a fresh one is.
"""

from __future__ import annotations

import pickle
import struct
import sys
import zlib
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from importlib import import_module
from typing import Any, NamedTuple

from flowkit.records import field, record
from flowkit_plugins.cache.faults import BLOB_UNREADABLE, Damaged, StoreError, Unstorable
from flowkit_plugins.cache.unstorable import failing_path

MAGIC = b"FKB"
VERSION = 1
PROTOCOL = 5
ALIGNMENT = 64
PICKLE = 0
CRC32, XXH3 = 0, 1
CODECS = ("", "zlib", "zstd", "lz4")

_HEADER = struct.Struct("<3sBBBBBIQQ")
#: What refers to nothing, and pickles whatever happens.
_PLAIN = frozenset({type(None), bool, int, float, str, bytes})
_BUFFER = struct.Struct("<QQQ")
_WORTH_COMPRESSING = 1 << 15
_MOST_CONTAINERS = 10_000


class Dumped(NamedTuple):
    """A value in bytes, in pieces. ``buffers`` are views of the value's own memory: do not keep."""

    header: bytes
    stream: bytes
    buffers: tuple[memoryview, ...] = ()

    def size(self, offset: int = 0) -> int:
        """Return the bytes up to the end of the last piece, where the header is at ``offset``."""
        header, stream, buffers = self
        end = offset + len(header) + len(stream)
        for buffer in buffers:
            end += -end % ALIGNMENT + len(buffer)
        return end

    def pieces(self, offset: int = 0) -> Iterator[bytes | memoryview]:
        """Yield what to write one after another, where the header comes at ``offset``."""
        yield self.header
        yield self.stream
        end = offset + len(self.header) + len(self.stream)
        for buffer in self.buffers:
            padding = -end % ALIGNMENT
            if padding:
                yield bytes(padding)
            yield buffer
            end += padding + len(buffer)


#: In a third of the time that the class itself takes: there is one for each result.
_dumped_of: Any = partial(tuple.__new__, Dumped)


@record(frozen=True)
class Layout:
    """Where things are in a blob that was read; nothing in it has been unpickled."""

    header: memoryview
    stream: memoryview
    raw_stream: int
    expected: tuple[tuple[int, int, int], ...]
    checksum: int
    codec: int
    buffers: list[memoryview] = field(factory=list)


def dump(value: object, *, compression: str | None = None) -> Dumped:
    """Return ``value`` in bytes; its large buffers are referred to, not copied.

    A function or class that pickle cannot find by name is refused. To take along its byte-code
    would be possible, but another Python would run that as if it were its own, and Python's version
    is in no key.

    Args:
        value: Anything that pickles.
        compression: ``"zlib"``, ``"zstd"`` or ``"lz4"``, for pieces of 32 kB and more.

    Raises:
        Unstorable: It does not pickle. Names the attribute path that refused.
    """
    if type(value) in _PLAIN and not compression:
        stream = pickle.dumps(value, PROTOCOL)
        dumped: Dumped = _dumped_of((_plain_header(PICKLE, len(stream)), stream, ()))
        return dumped
    buffers: list[pickle.PickleBuffer] = []
    try:
        stream = pickle.dumps(value, PROTOCOL, buffer_callback=buffers.append)
    except Exception as error:  # pickling calls user code (__reduce__, __getstate__)
        cause, path = failing_path(value, error, _pickles)
        raise Unstorable(cause, path=path) from error
    if not buffers and not compression:
        return Dumped(_plain_header(PICKLE, len(stream)), stream)
    return _assemble(PICKLE, stream, _raw(buffers), CODECS.index(compression or ""))


def parse(data: memoryview, *, offset: int = 0) -> Layout:
    """Find the pieces of a blob whose header is at ``offset``. Reads lengths, unpickles nothing.

    Raises:
        Damaged: It is short, long, or not in a format known here.
    """
    start = offset + _HEADER.size
    if len(data) < start:
        raise Damaged(BLOB_UNREADABLE, f"only {len(data)} bytes")
    magic, version, _serializer, _protocol, codec, checksum, count, stored, raw = _HEADER.unpack(
        data[offset:start]
    )
    if magic != MAGIC:
        raise Damaged(BLOB_UNREADABLE, "not written by flowkit")
    if version != VERSION or codec >= len(CODECS):
        raise Damaged(BLOB_UNREADABLE, f"format {version}, this flowkit reads {VERSION}")
    table = start + count * _BUFFER.size
    end = table + stored
    if end > len(data):
        raise Damaged(BLOB_UNREADABLE, f"{len(data):,} of at least {end:,} bytes")
    expected = tuple(_BUFFER.iter_unpack(data[start:table]))
    layout = Layout(data[offset:table], data[table:end], raw, expected, checksum, codec)
    for length, _raw, _checksum in expected:
        end += -end % ALIGNMENT
        layout.buffers.append(data[end : end + length])
        end += length
    if end != len(data):
        raise Damaged(BLOB_UNREADABLE, f"{len(data):,} of {end:,} bytes")
    return layout


def check_buffers(layout: Layout) -> None:
    """Compare every buffer with its checksum.

    Raises:
        Damaged: One differs, or the checksum cannot be computed here.
    """
    if not layout.buffers:
        return
    digest = _checksum(layout.checksum)
    for position, (buffer, (_s, _r, expected)) in enumerate(
        zip(layout.buffers, layout.expected, strict=True)
    ):
        if digest(buffer) != expected:
            raise Damaged(BLOB_UNREADABLE, f"buffer {position} does not match its checksum")


def restore(layout: Layout) -> Any:
    """Unpickle a blob whose signature and checksums were found right.

    Raises:
        Damaged: It does not unpickle here: a class has moved or changed, a package is missing.
    """
    try:
        stream: Any = _expand(layout.codec, layout.stream, layout.raw_stream)
        buffers = [
            _expand(layout.codec, buffer, raw)
            for buffer, (_s, raw, _c) in zip(layout.buffers, layout.expected, strict=True)
        ]
        return readonly(pickle.loads(stream, buffers=buffers))
    except Exception as error:  # unpickling calls user code, and imports it
        raise Damaged(BLOB_UNREADABLE, f"{type(error).__name__}: {error}") from error


def readonly(value: Any) -> Any:
    """Make the numpy arrays in ``value`` read-only, in place, and return it.

    Looks into lists, tuples, dicts and dataclasses, at most 10,000 of them, in an order that
    depends on the value alone. Costs nothing while numpy is not imported.
    """
    numpy = sys.modules.get("numpy")
    array: Any = getattr(numpy, "ndarray", None)
    if array is None:
        return value
    seen: dict[int, Any] = {}
    waiting = [value]
    while waiting and len(seen) < _MOST_CONTAINERS:
        item = waiting.pop()
        if isinstance(item, array):
            item.flags.writeable = False
            continue
        inner = _inside(item)
        if inner and id(item) not in seen:
            seen[id(item)] = item
            # Counting types first is C speed: a list of a million numbers costs 12 ms, not 200.
            wanted = {kind for kind in set(map(type, inner)) if _may_hold(kind, array)}
            if wanted:
                waiting.extend(part for part in reversed(inner) if type(part) in wanted)
    return value


def _inside(item: Any) -> list[Any] | tuple[Any, ...]:
    if isinstance(item, (list, tuple)):
        return item
    if isinstance(item, dict):
        return list(dict.values(item))
    fields = getattr(type(item), "__dataclass_fields__", None)
    return [getattr(item, name, None) for name in fields] if fields else ()


def _may_hold(kind: type, array: type) -> bool:
    return issubclass(kind, (array, list, tuple, dict)) or hasattr(kind, "__dataclass_fields__")


def _pickles(part: object) -> bool:
    try:
        pickle.dumps(part, PROTOCOL)
    except Exception:
        return False
    return True


def _raw(buffers: list[pickle.PickleBuffer]) -> list[memoryview]:
    try:
        return [buffer.raw() for buffer in buffers]
    except BufferError as error:
        raise Unstorable(str(error), path="value") from error


@lru_cache(maxsize=256)  # most values of a flow are small, and of few lengths
def _plain_header(serializer: int, length: int) -> bytes:
    return _HEADER.pack(MAGIC, VERSION, serializer, PROTOCOL, 0, CRC32, 0, length, length)


def _assemble(serializer: int, stream: bytes, buffers: list[memoryview], codec: int) -> Dumped:
    kind = XXH3 if _xxh3() else CRC32
    digest = _checksum(kind)
    stored = [_shrink(codec, buffer) for buffer in buffers]
    short = bytes(_shrink(codec, stream))
    header = _HEADER.pack(
        MAGIC, VERSION, serializer, PROTOCOL, codec, kind, len(stored), len(short), len(stream)
    )
    table = (
        _BUFFER.pack(len(small), len(buffer), digest(small))
        for small, buffer in zip(stored, buffers, strict=True)
    )
    return Dumped(b"".join((header, *table)), short, tuple(map(memoryview, stored)))


def _xxh3() -> Callable[[Any], int] | None:
    try:
        import xxhash
    except ImportError:
        return None
    return xxhash.xxh3_64_intdigest


def _checksum(kind: int) -> Callable[[Any], int]:
    if kind == CRC32:
        return zlib.crc32
    digest = _xxh3()
    if digest is None or kind != XXH3:
        raise Damaged(BLOB_UNREADABLE, "its checksum needs the package xxhash")
    return digest


def _shrink(codec: int, piece: bytes | memoryview) -> bytes | memoryview:
    """Return ``piece`` compressed, or as it is where that gains nothing."""
    if not codec or len(piece) < _WORTH_COMPRESSING:
        return piece
    name = CODECS[codec]
    if name == "zlib":
        small = zlib.compress(piece, 1)
    elif name == "zstd":
        small = _package("zstandard").ZstdCompressor(level=1).compress(piece)
    else:
        small = _package("lz4.frame").compress(bytes(piece))
    return small if len(small) < len(piece) else piece


def _expand(codec: int, piece: memoryview, raw: int) -> memoryview | bytearray:
    """Return the raw bytes of ``piece``; a piece that was not compressed is returned itself."""
    if len(piece) == raw:
        return piece
    name = CODECS[codec]
    if name == "zlib":
        return bytearray(zlib.decompress(piece))
    if name == "zstd":
        return bytearray(_package("zstandard").ZstdDecompressor().decompress(piece, raw))
    return bytearray(_package("lz4.frame").decompress(bytes(piece)))


def check_compression(name: str | None) -> None:
    """Refuse a compression that is unknown or whose package is not installed.

    Raises:
        StoreError: It names the package.
    """
    if name and name not in CODECS:
        raise StoreError(
            f"unknown compression {name!r}",
            known=f"Known are {', '.join(CODECS[1:])}.",
            remedy="Leave it out: results are then stored as they are.",
        )
    if name in ("zstd", "lz4"):
        _package("zstandard" if name == "zstd" else "lz4.frame")


def _package(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError as error:
        package = name.split(".", maxsplit=1)[0]
        raise StoreError(
            f"results are to be compressed with {package}, which is not installed",
            known="zlib comes with Python, but is slower.",
            remedy=f"pip install {package}",
        ) from error
