"""A long file in pieces, each parsed when one of its functions is asked for, and then dropped.

The tree of a file of 10,000 functions takes 60 MB, and half as long again as those of its pieces:
what is parsed, looked at and freed at once stays in the processor's cache.

A piece begins at the start of a definition that is not indented, and holds the definitions up to
the start of another. A function found at the line where its code says that it begins is written
there and nowhere else: parsed from there on, it is what the whole file has, or a cut through it
is a mistake in syntax. Whatever is not found this way has to be asked of the whole file.

For imports there is no such line. But a piece that begins with a definition begins inside nothing,
unless in a string over several lines: what is in brackets has no definitions. So pieces that bear
neither such a string nor the word are passed over.
"""

from __future__ import annotations

import ast
import re
from bisect import bisect_right
from itertools import pairwise
from typing import TYPE_CHECKING

from flowkit_plugins.cache.code.syntax import Module, first_line, function_syntax

if TYPE_CHECKING:
    from collections.abc import Callable

    from flowkit_plugins.cache.code.syntax import FunctionSyntax

#: Shorter files are parsed as a whole.
LONG = 1 << 15
#: A piece has at least so many lines: each costs 2 µs more than its text.
LINES = 24

_STARTS = (b"@", b"def ", b"async def ", b"class ")
_TELLING = (b"import", b'"' * 3, b"'" * 3)
# Another encoding, and other ends of lines, count lines in other ways.
_SPECIAL = (b"\r", b"\f", b"\xef\xbb\xbf")
_ENCODING = re.compile(rb"#.*coding[:=]")
# For an escape that Python does not know, the parser gives a warning, with the line.
_ESCAPE = re.compile(rb"\\[^\n\\'\"abfnrtvxNuU0-7]")


class Pieces:
    """The functions of one file, by line, and its imports; no pieces if the file is short, or not to be cut.

    Args:
        text: All of it.
        parse: Returns the tree of a text.

    """

    def __init__(self, text: bytes, parse: Callable[[bytes], ast.Module]) -> None:
        self._parse = parse
        self._lines: list[bytes] = []
        self._cuts: list[int] = []
        if len(text) >= LONG and _ordinary(text):
            self._lines = text.split(b"\n")
            self._cuts = _cuts(self._lines)
        # A piece that is asked for again and again, in turn with others, is parsed each time.
        self._patience = 2 * len(self._lines)
        self._at = -1
        self._piece: Module
        self._outermost: dict[int, ast.stmt] = {}

    def function(self, qualname: str, line: int) -> FunctionSyntax | None:
        """Return the function whose code object starts at ``line``, if it is found."""
        at = bisect_right(self._cuts, line - 1) - 1
        if at < 0 or "<lambda>" in qualname or (at != self._at and not self._open(at)):
            return None
        line -= self._cuts[at]
        node = self._outermost.get(line)
        if isinstance(node, ast.FunctionDef) and node.name == qualname:  # as nearly all are
            return function_syntax(node, method=False)
        return self._piece.function(qualname, line)

    def imports(self) -> dict[str, list[str]] | None:
        """Return what :meth:`.Module.imports` does; None if that takes most of the pieces."""
        ends = [*self._cuts, len(self._lines)]
        texts = [b"\n".join(self._lines[a:b]) for a, b in pairwise([0, *ends])]
        telling = [text for text in texts if any(word in text for word in _TELLING)]
        if not self._cuts or len(telling) > len(texts) // 2:
            return None
        bindings: dict[str, list[str]] = {}
        for text in telling:
            try:
                found = Module(self._parse(text)).imports()
            except (SyntaxError, ValueError, RecursionError):
                return None
            for name, targets in found.items():
                bindings.setdefault(name, []).extend(targets)
        return bindings

    def _open(self, at: int) -> bool:
        """Parse a piece; False if there shall be none from now on."""
        end = self._cuts[at + 1] if at + 1 < len(self._cuts) else len(self._lines)
        lines = self._lines[self._cuts[at] : end]
        self._patience -= len(lines)
        try:
            tree = self._parse(b"\n".join(lines)) if self._patience >= 0 else None
        except (SyntaxError, ValueError, RecursionError):
            tree = None
        if tree is None:
            self._cuts, self._lines = [], []
            return False
        self._at = at
        self._piece = Module(tree)
        self._outermost = {
            first_line(node): node for node in tree.body if isinstance(node, ast.FunctionDef)
        }
        return True


def _ordinary(text: bytes) -> bool:
    # One expression for all of it takes forty times as long.
    special = any(one in text for one in _SPECIAL)
    return not (special or _ENCODING.search(text) or _ESCAPE.search(text))


def _cuts(lines: list[bytes]) -> list[int]:
    """Return where pieces begin, counted from 0. Decorators stay with what they decorate."""
    cuts: list[int] = []
    decorated = False
    for at in [at for at, line in enumerate(lines) if line.startswith(_STARTS)]:
        apart = not at or not lines[at - 1].endswith(b"\\")
        if apart and not decorated and (not cuts or at >= cuts[-1] + LINES):
            cuts.append(at)
        decorated = lines[at].startswith(b"@")
    return cuts
