"""The source of the user's code as it was imported, parsed once and remembered between processes.

A long-lived process holds old code while the file on disk is already new; hashing the new text for
the old code would give a wrong key. So a file serves only if it is known to be what was imported:
it was seen at import (:func:`remember_import`) and has not changed, or has not changed since this
process began, or compiles to the very code in question. Otherwise there is no source.
"""

from __future__ import annotations

import json
import linecache
import os
import sys
import time
from collections import Counter
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import FunctionType
from typing import TYPE_CHECKING, Any, NamedTuple

from flowkit_plugins.cache.code.bytecode import nested
from flowkit_plugins.cache.code.pieces import Pieces
from flowkit_plugins.cache.code.syntax import ClassSyntax, Decorator, FunctionSyntax, Lines, Module
from flowkit_plugins.cache.code.trees import WALKER, parsed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from types import CodeType, ModuleType

# A file changed twice within one tick of its clock keeps its time (git calls this racy).
_TICK = 50_000_000
_COARSE_TICK = 2_000_000_000


class Stamp(NamedTuple):
    """What tells one version of a file from another."""

    size: int
    mtime_ns: int


class _Imported(NamedTuple):
    stamp: Stamp
    # The module itself may be gone from ``sys.modules`` while its classes are in use.
    names: dict[str, Any]


_imported: dict[str, _Imported] = {}

_UNKNOWN: Any = object()


def remember_import(module: ModuleType) -> None:
    """Note the state of a module's file; to be called as soon as the module was executed.

    A module that is loaded anew replaces what was noted before. Does nothing for a module
    without a file.
    """
    file = getattr(module, "__file__", None)
    if not file:
        return
    try:
        state = Path(file).stat()
    except OSError:
        return
    stamp = Stamp(state.st_size, state.st_mtime_ns)
    _imported[os.path.abspath(file)] = _Imported(stamp, vars(module))


def namespace(cls: type) -> dict[str, Any] | None:
    """Return the globals of the module a class was made in, though that be forgotten since.

    Two folders may each have a ``helpers.py``, and a name leads to one of them only.
    """
    for function in vars(cls).values():
        if isinstance(function, FunctionType):
            names = function.__globals__
            if names.get("__name__") == cls.__module__:
                return names
    first = cls.__qualname__.partition(".")[0]
    module = sys.modules.get(cls.__module__)
    homes = [vars(module)] if module else []
    homes += [one.names for one in _imported.values() if one.names["__name__"] == cls.__module__]
    return next((names for names in homes if first in names and leads_to(names, cls)), None)


def leads_to(names: dict[str, Any], cls: type) -> bool:
    """Return whether a class's name leads from these globals to it, as far as that can be told."""
    value: Any = None
    for name in cls.__qualname__.split("."):
        if name == "<locals>":
            return True
        value = names.get(name)
        names = dict(vars(value)) if isinstance(value, type) else {}
    return value is cls


@contextmanager
def remember_imports() -> Iterator[None]:
    """Note the files of all modules that are loaded within the block; to be put around imports."""
    before = dict(sys.modules)
    try:
        yield
    finally:
        for name, module in list(sys.modules.items()):
            if before.get(name) is not module:
                remember_import(module)


class _Record:
    """What is known of one version of one file; ``None`` stands for "not in the source".

    The tasks of a flow differ in little but their bodies. So ``plain`` holds the bodies alone of
    the functions in which all else is as ``usual``, and ``functions`` the others.
    """

    __slots__ = ("bound", "classes", "functions", "imports", "plain", "stamp", "usual", "whole")

    def __init__(self, stamp: Stamp, known: Mapping[str, Any] | None = None) -> None:
        known = known or {}
        self.stamp = stamp
        self.functions: dict[str, Any] = known.get("functions", {})
        self.plain: dict[str, str] = known.get("plain", {})
        self.usual: list[Any] = known.get("usual", [])
        self.classes: dict[str, Any] = known.get("classes", {})
        self.bound: dict[str, Any] = known.get("bound", {})
        self.imports: dict[str, list[str]] | None = known.get("imports")
        self.whole: Any = known.get("whole")

    def document(self) -> dict[str, Any]:
        """Return all that is known in terms of JSON; ``imports`` may be known to be none."""
        found: dict[str, Any] = {"stamp": self.stamp, **self._functions()}
        if self.classes:
            found["classes"] = self.classes
        if self.bound:
            found["bound"] = self.bound
        if self.imports is not None:
            found["imports"] = self.imports
        if self.whole is not None:
            found["whole"] = self.whole
        return found

    def _functions(self) -> dict[str, Any]:
        """Return ``functions``, ``plain`` and ``usual`` anew, for what is known by now."""
        known = {key: [body, *self.usual] for key, body in self.plain.items()} | self.functions
        rest = {key: _frozen(one[1:]) for key, one in known.items() if one is not None}
        if not rest:
            return {"functions": known} if known else {}
        usual, _ = Counter(rest.values()).most_common(1)[0]
        return {
            "functions": {key: one for key, one in known.items() if rest.get(key) != usual},
            "plain": {key: known[key][0] for key, others in rest.items() if others == usual},
            "usual": usual,
        }


def _frozen(value: Any) -> Any:
    """Return what came from JSON in tuples, like what did not."""
    return tuple([_frozen(one) for one in value]) if value.__class__ is list else value


class SourceMemo:
    """The hashes of all definitions seen so far, by file, size and time of change.

    One for a process, and one JSON document between processes. Not safe for use by several
    threads at once.
    """

    def __init__(self) -> None:
        self._records: dict[str, _Record] = {}
        #: Whether there is something that the document it was read from does not hold.
        self.changed = False

    @classmethod
    def from_json(cls, text: str) -> SourceMemo:
        """Return the memo written by :meth:`to_json`; an empty one for any other text."""
        memo = cls()
        try:
            document = json.loads(text)
            if document["walker"] == WALKER:
                for path, known in document["files"].items():
                    memo._records[path] = _Record(Stamp(*known["stamp"]), known)
        except (ValueError, TypeError, KeyError, AttributeError):
            return cls()
        return memo

    def to_json(self) -> str:
        """Return the memo as one document, without files that are gone or have just changed."""
        now = time.time_ns()
        files = {
            path: record.document()
            for path, record in self._records.items()
            if _settled(record.stamp, now) and os.path.exists(path)
        }
        return json.dumps({"walker": WALKER, "files": files}, separators=(",", ":"))

    def record(self, path: str, stamp: Stamp) -> _Record:
        """Return what is known of this version of the file; a new version starts empty."""
        record = self._records.get(path)
        if record is None or record.stamp != stamp or not _settled(stamp, time.time_ns()):
            record = self._records[path] = _Record(stamp)
        return record


class Source:
    """One file as imported. Parses nothing as long as the memo has the answer."""

    def __init__(self, path: str, record: _Record, memo: SourceMemo, *, verify: bool) -> None:
        self.path = path
        #: Whether every function must first prove that it was compiled from this text.
        self.verify = verify
        self._record = record
        self._memo = memo
        self._text: str | None = None
        self._module: Module | None = None
        self._pieces: Pieces | None = None
        self._codes: dict[tuple[str, int], CodeType] = {}

    @classmethod
    def open(cls, filename: str, memo: SourceMemo, names: dict[str, Any] | None = None) -> Source | None:
        """Return the source of ``co_filename``, or None if there is none that can be trusted.

        ``names`` are those of the module in question, where there is one: a file that was imported
        twice may have been another the first time.
        """
        path = os.path.abspath(filename)
        try:
            state = os.stat(path)
        except (OSError, ValueError):
            return cls._typed_in(filename)
        stamp = Stamp(state.st_size, state.st_mtime_ns)
        seen = _imported.get(path)
        if seen is not None and seen.stamp != stamp:
            return None
        recent = max(state.st_mtime_ns, state.st_ctime_ns) >= _BEGAN
        sure = seen is not None and (names is None or names is seen.names)
        return cls(path, memo.record(path, stamp), memo, verify=recent and not sure)

    @classmethod
    def _typed_in(cls, filename: str) -> Source | None:
        """Return what a notebook or the prompt left with :mod:`linecache`, if anything."""
        cached: Any = linecache.cache.get(filename)
        if cached is None or len(cached) < 4 or cached[1] is not None:
            return None
        # Those names are given out once for each text; ``<string>`` is not.
        unique = "ipykernel" in filename or filename.startswith(("<ipython-", "<python-input-"))
        source = cls(filename, _Record(Stamp(0, 0)), SourceMemo(), verify=not unique)
        source._text = "".join(cached[2])
        return source

    def function(self, code: CodeType) -> FunctionSyntax | None:
        """Return the hashes of the function this code was compiled from, if that is certain."""
        known = self.known(code)
        if known is None or known.__class__ is FunctionSyntax:
            found: FunctionSyntax | None = known
            return found
        body, decorators, *rest = known
        made = tuple([Decorator(hashed, tuple(names)) for hashed, names in decorators])
        return FunctionSyntax(body, made, *rest)

    def known(self, code: CodeType) -> Any:
        """Return the same as :meth:`function`, or a list in its order where the memo had it."""
        if self.verify and not self._proves(code):
            return None
        key = f"{code.co_qualname}:{code.co_firstlineno}"
        record = self._record
        if record.plain:
            body = record.plain.get(key)
            if body is not None:
                return [body, *record.usual]
        known = record.functions.get(key, _UNKNOWN)
        if known is _UNKNOWN:
            known = self._function(code.co_qualname, code.co_firstlineno)
            self._learn(record.functions, key, known)
        return known

    def remembered(self) -> tuple[Mapping[str, str], Sequence[str]]:
        """Return the bodies of functions by name and line, as remembered, and the decorators that all of them have."""
        record = self._record
        if self.verify or not record.plain:
            return {}, ()
        return record.plain, [names[0] for _, names in record.usual[0]]

    def class_(self, qualname: str) -> ClassSyntax | None:
        """Return the hash of a class statement, if the text is certain."""
        known = self._looked_up(self._record.classes, qualname, Module.class_)
        return None if known is None else ClassSyntax(*known)

    def bound(self, name: str) -> Lines | None:
        """Return what the module's own statements make of a name, if the text is certain."""
        known = self._looked_up(self._record.bound, name, Module.bound)
        return None if known is None else Lines(*known)

    def whole(self) -> Lines | None:
        """Return the hash of the file as a whole, and what it imports."""
        if self._record.whole is None:
            module = self._parsed()
            self._record.whole = module.whole() if module else None
            self._memo.changed = True
        return None if self._record.whole is None else Lines(*self._record.whole)

    def imports(self) -> Mapping[str, list[str]]:
        """Return what each name imported at module level stands for, in dotted form."""
        if self._record.imports is None:
            found = self._cut().imports() if self._module is None else None
            if found is None:
                module = self._parsed()
                found = module.imports() if module else {}
            self._record.imports = found
            self._memo.changed = True
        return self._record.imports

    def _looked_up(self, table: dict[str, Any], name: str, find: Callable[[Module, str], Any]) -> Any:
        if self.verify:
            return None
        if name not in table:
            module = self._parsed()
            self._learn(table, name, find(module, name) if module else None)
        return table[name]

    def _learn(self, table: dict[str, Any], key: str, value: object) -> None:
        table[key] = value
        self._memo.changed = True

    def _function(self, qualname: str, line: int) -> FunctionSyntax | None:
        if self._module is None:
            found = self._cut().function(qualname, line)
            if found is not None:
                return found
        module = self._parsed()
        return module.function(qualname, line) if module else None

    def _cut(self) -> Pieces:
        if self._pieces is None:
            try:
                text = self._read()
            except OSError:
                text = b""
            parse = partial(parsed, path=self.path)
            self._pieces = Pieces(text if isinstance(text, bytes) else b"", parse)
        return self._pieces

    def _parsed(self) -> Module | None:
        if self._module is None:
            try:
                self._module = Module(parsed(self._read(), self.path))
            except (OSError, SyntaxError, ValueError, RecursionError):
                return None
        return self._module

    def _read(self) -> str | bytes:
        if self._text is not None:
            return self._text
        with Path(self.path).open("rb") as file:
            data = file.read()
            state = os.fstat(file.fileno())
        if Stamp(state.st_size, state.st_mtime_ns) != self._record.stamp:
            message = f"{self.path} has just changed"
            raise OSError(message)
        return data

    def _proves(self, code: CodeType) -> bool:
        if not self._codes:
            try:
                compiled = compile(self._read(), self.path, "exec", dont_inherit=True)
            except (OSError, SyntaxError, ValueError, RecursionError):
                return False
            self._codes = {
                (inner.co_qualname, inner.co_firstlineno): inner for inner in nested(compiled)
            }
        return self._codes.get((code.co_qualname, code.co_firstlineno)) == code


def _settled(stamp: Stamp, now: int) -> bool:
    tick = _TICK if stamp.mtime_ns % 1_000_000 else _COARSE_TICK
    return now - stamp.mtime_ns > tick


def _process_began() -> int:
    """Return when this process began, in ns; where Linux's tables are missing, when flowkit did.

    Elsewhere, an edit between a helper's import and flowkit's own goes unseen, unless the helper
    was noted with :func:`remember_import`.
    """
    try:
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        up = int(fields[19]) / os.sysconf("SC_CLK_TCK")
        return time.time_ns() - int((time.clock_gettime(time.CLOCK_BOOTTIME) - up) * 1e9)
    except (OSError, ValueError, IndexError, AttributeError):
        return time.time_ns()


_BEGAN = _process_began()
