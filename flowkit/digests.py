"""The content of a value, canonically: equal content gives equal digests, in every process.

The digest decides what is reused, so two different contents must never share one; that equal
contents share one only saves work. Where both cannot be had, the first wins.

A value is written out by the C pickler and the stream is hashed. Three things make that stream
canonical. The pickler runs in fast mode, without its memo, so it does not matter whether two equal
strings are one object. ``persistent_id`` sees every object first and replaces those that pickle
tells unreliably (sets, classes, functions) or that are more than their pickle (paths, secrets) by
plain parts; large buffers are hashed where they lie. And values that have no end without a memo
(cycles, heavy sharing) are written a second way, see :class:`_ByIdentity`.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import struct
from typing import TYPE_CHECKING, Any, Final

from flowkit.digesters import TELL, Hook, learn, parts_of, tell_class
from flowkit.filefacts import HEX_CHARACTERS, FileFact, FileMemo, FileMemory, digest_file
from flowkit.records import record
from flowkit.sinks import HeavilyShared, Sink, WatchfulSink

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Callable
    from typing import NoReturn

__all__ = [
    "Digest",
    "FileFact",
    "FileMemo",
    "FileMemory",
    "Undigestible",
    "digest",
    "digest_file",
    "digest_with_facts",
    "small",
]

_process_key: Final = os.urandom(32)


class Undigestible(Exception):
    """The value has no content that could be told: it is, or holds, a lock, a socket, an iterator.

    ``path`` says where in the value, as one would write it (``value.pool[0].conn``); ``reason``
    says why, in the words of the type that refused.
    """

    def __init__(self, reason: str, path: str = "value") -> None:
        self.reason = reason
        self.path = path
        super().__init__(f"{path}: {reason}")


@record(frozen=True)
class Digest:
    """The digest of a value, and what was met on the way.

    Attributes:
        hex: 40 hexadecimal characters, 160 bits of SHA-256.
        holds_secret: A pydantic secret is in it, at whatever depth: do not persist it.
        files: Each path in it and what that path held, sorted by path.
        identity_sensitive: The value is cyclic or shares parts heavily. An equal value built
            otherwise may have another digest.
        codes: Each class and function of the user's in it, and what ``code`` returned for it.
    """

    hex: str
    holds_secret: bool = False
    files: tuple[FileFact, ...] = ()
    identity_sensitive: bool = False
    codes: tuple[tuple[object, str], ...] = ()


def digest(
    value: object,
    *,
    hook: Hook | None = None,
    root: str | os.PathLike[str] | None = None,
    secret_key: bytes | None = None,
    memo: FileMemo | None = None,
) -> str:
    """Return the digest of the content of ``value``: 40 hexadecimal characters.

    The arguments and errors are those of :func:`digest_with_facts`.
    """
    return (
        small(value)
        or digest_with_facts(value, hook=hook, root=root, secret_key=secret_key, memo=memo).hex
    )


def digest_with_facts(
    value: object,
    *,
    hook: Hook | None = None,
    root: str | os.PathLike[str] | None = None,
    secret_key: bytes | None = None,
    memo: FileMemo | None = None,
    code: Callable[[Any], str] | None = None,
) -> Digest:
    """Return the digest of the content of ``value``, and the files and secrets met in it.

    Args:
        value: Anything. It is not changed, and nothing of it is kept.
        hook: Asked for each value of a type that is neither the standard library's nor known
            here, before the value is asked itself (``__flowkit_digest__()``) or pickled. It
            returns something digestible that stands for the content, or ``None`` to pass.
            What it raises is raised here.
        root: Paths inside it count by their name relative to it, all others by their own.
        secret_key: Key of the HMAC by which secrets enter the digest. Without one, digests of
            secrets are comparable within this process only.
        memo: Remembers digests of files.
        code: Returns for a class or function of the user's what counts of its code, and ``""`` for
            others: whoever receives an object can call its methods. Called once for each.

    Raises:
        Undigestible: The value, or something in it, cannot be told.
    """
    quick = small(value)
    if quick is not None:
        return Digest(quick)
    where = None if root is None else os.path.abspath(root)
    run = _Run(hook, where, secret_key or _process_key, memo, code)
    try:
        found = run.hex(value)
    except MemoryError:
        raise
    # User code: what __reduce__, __getstate__ and __flowkit_digest__ may raise has no bounds.
    except Exception as error:
        if error is run.hook_error:
            raise
        _blame(run, value, error)
    files = tuple(sorted(run.files.values(), key=lambda fact: fact.path))
    return Digest(found, run.holds_secret, files, run.identity_sensitive, run.codes())


# --- small values -----------------------------------------------------------------------------

_sha256: Final = hashlib.sha256

# A canonical stream starts with pickle's b"\x80\x05", so none of these can be mistaken for one.
_ENCODE_SMALL: Final[dict[type, Callable[[Any], bytes]]] = {
    type(None): lambda _: b"none",
    bool: lambda value: b"true" if value else b"false",
    int: lambda value: b"i%x" % value,
    float: lambda value: b"f" + struct.pack(">d", value),
    str: lambda value: b"s" + value.encode("utf-8", "surrogatepass"),
    bytes: lambda value: b"b" + value,
}


def small(value: object) -> str | None:
    """Return the digest of a ``None``, bool, int, float, str or bytes; ``None`` for other types.

    In a microsecond, where the general way takes ten. Subclasses are other types.
    """
    encode = _ENCODE_SMALL.get(type(value))
    return None if encode is None else _sha256(encode(value)).hexdigest()[:HEX_CHARACTERS]


# --- the general way --------------------------------------------------------------------------


class _TooDeep(Exception):
    """There is no end, or none within reach."""


class _Run:
    """One call of :func:`digest_with_facts`: its arguments, and what was met so far."""

    def __init__(
        self,
        hook: Hook | None,
        root: str | None,
        secret_key: bytes,
        memo: FileMemo | None,
        code: Callable[[Any], str] | None,
    ) -> None:
        self.hook = hook
        self.hook_error: Exception | None = None
        self.secret_key = secret_key
        self.holds_secret = False
        self.identity_sensitive = False
        self.files: dict[str, FileFact] = {}
        self._root = root
        self._memo = memo
        self._code = code
        self._codes: dict[int, tuple[object, str]] = {}
        self._open: list[int] = []
        self._returns = 0
        self._done: dict[int, tuple[object, Any]] = {}

    def code(self, subject: object) -> str:
        """Return what counts of the code of a class or function; nothing where that is not asked for."""
        if self._code is None:
            return ""
        known = self._codes.get(id(subject))
        if known is None:
            known = self._codes[id(subject)] = (subject, self._code(subject))
        return known[1]

    def codes(self) -> tuple[tuple[object, str], ...]:
        """Return the classes and functions met whose code counts, with it."""
        return tuple([known for known in self._codes.values() if known[1]]) if self._codes else ()

    def hex(self, value: object) -> str:
        """Return the digest of ``value``, which may be part of a larger one."""
        quick = small(value)
        if quick is not None:
            return quick
        sink = WatchfulSink()
        pickler = _Canonical(self, sink)
        sink.attach(pickler)
        try:
            pickler.dump(value)
        except HeavilyShared:
            return self._by_identity(value)
        except RecursionError as error:
            if self._open:
                # Not once more at each level: that would take 2 ** depth attempts.
                raise _TooDeep from error
            return self._by_identity(value)
        except ValueError as error:
            if not str(error).startswith("fast mode: can't pickle cyclic"):
                raise
            return self._by_identity(value)
        return sink.hex()

    def _by_identity(self, value: object) -> str:
        sink = Sink()
        _ByIdentity(self, sink).dump(value)
        self.identity_sensitive = True
        return sink.hex()

    def once(self, value: object, parts: Callable[[], Any]) -> Any:
        """Return ``parts()``, computed once for each object, and finite if it leads back here.

        It is for what gets a pickling of its own, of whose memo the outer one knows nothing.
        """
        known = self._done.get(id(value))
        if known is not None:
            return known[1]
        if id(value) in self._open:
            self._returns += 1
            return ("within", len(self._open) - self._open.index(id(value)))
        returns = self._returns
        self._open.append(id(value))
        try:
            found = parts()
        finally:
            self._open.pop()
        if returns == self._returns:  # else it is told relative to where we came from
            self._done[id(value)] = (value, found)
        return found

    def look(self, path: pathlib.Path) -> tuple[str, FileFact]:
        """Return the name by which ``path`` counts, and what it holds."""
        full = os.path.abspath(path)
        fact = self.files.get(full)
        if fact is None:
            fact = self.files[full] = digest_file(full, self._memo)
        root = self._root
        if root is not None and (full == root or full.startswith(root.rstrip(os.sep) + os.sep)):
            return os.path.relpath(full, root).replace(os.sep, "/"), fact
        return path.as_posix(), fact


class _Canonical(pickle.Pickler):
    """Writes a value without memo: the stream tells what is there, not which object it is."""

    def __init__(self, run: _Run, sink: Sink) -> None:
        super().__init__(sink, protocol=5)
        self.fast = True
        self.run = run
        self.table: dict[type, Any] = TELL

    def persistent_id(self, obj: Any) -> Any:
        # Called for each and every object: one lookup for most of them.
        try:
            tell = self.table[type(obj)]
        except KeyError:
            tell = learn(type(obj))
        return None if tell is None else tell(self.run, obj)


class _ByIdentity(pickle.Pickler):
    """Writes a value with memo, for those that would have no end without.

    Which parts are one object shows in the stream, of containers. Of strings and bytes it must
    not: whether equal ones are one object is an accident. So they are written as integers, which
    the memo leaves alone.
    """

    def __init__(self, run: _Run, sink: Sink) -> None:
        super().__init__(sink, protocol=5)
        self.run = run
        self.seen: dict[int, tuple[int, object]] = {}

    def persistent_id(self, obj: Any) -> Any:
        cls = type(obj)
        if cls is str:
            return _as_integer(obj.encode("utf-8", "surrogatepass"))
        if cls is bytes:
            return -_as_integer(obj)
        tell = TELL[cls] if cls in TELL else learn(cls)
        if tell is None:
            return None
        if tell is tell_class:
            return ("class", tell_class(self.run, obj))
        seen = self.seen.get(id(obj))
        if seen is not None:
            return ("again", seen[0])
        # Numbered before its parts are written, so that a cycle through it ends; kept, so that
        # its id stays its own.
        self.seen[id(obj)] = (len(self.seen), obj)
        parts = tell(self.run, obj)
        if parts is None:
            del self.seen[id(obj)]
        return parts


def _as_integer(data: bytes) -> int:
    """Return an integer that no other bytes have; of few digits, as long ones are slow to write."""
    if len(data) > 200:
        data = b"\2" + _sha256(data).digest()
    return int.from_bytes(b"\1" + data, "big")


# --- whose fault it is ------------------------------------------------------------------------


def _blame(run: _Run, value: object, error: Exception) -> NoReturn:
    """Raise what went wrong as :class:`Undigestible`, with the innermost part that fails alone."""
    if isinstance(error, (RecursionError, _TooDeep)):
        raise Undigestible("cannot digest what is nested this deeply") from error
    path, cause = "value", error
    inner = _first_that_fails(run, value)
    while inner is not None and len(path) < 200:
        step, value, cause = inner
        path += step
        inner = _first_that_fails(run, value)
    raise Undigestible(str(cause) or type(cause).__name__, path) from cause


def _first_that_fails(run: _Run, value: object) -> tuple[str, object, Exception] | None:
    for step, part in parts_of(value):
        try:
            run.hex(part)
        except Exception as error:
            return step, part, error
    return None
