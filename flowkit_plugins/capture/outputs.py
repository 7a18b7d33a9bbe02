"""What one attempt printed and logged, as far as it is kept."""

from __future__ import annotations

import codecs
import io
import threading

from flowkit.hookspecs import Section
from flowkit.secrets import Mask

#: Characters that are kept of the beginning of a text, and as many of its end.
HALF = 512 * 1024

_TITLES = {"stdout": "Captured stdout", "stderr": "Captured stderr", "log": "Captured log"}


class Clipped:
    """A growing text of which the first and the last ``HALF`` characters are kept.

    Args:
        mask: Applied to the whole text before any of it is left out, so that no part of a secret
            survives at the edge.
    """

    __slots__ = ("_head", "_left_out", "_mask", "_size", "_tail", "written")

    def __init__(self, mask: Mask) -> None:
        self._mask = mask
        self._head = ""
        self._tail = io.StringIO()
        self._size = 0
        self._left_out = 0
        self.written = 0

    def add(self, text: str) -> None:
        """Append."""
        self.written += len(text)
        self._tail.write(text)
        self._size += len(text)
        if self._size > 2 * HALF:
            self._cut()

    def _cut(self) -> None:
        text = self._mask(self._tail.getvalue())
        if not self._head:
            self._head, text = text[:HALF], text[HALF:]
        kept = text[-HALF:]
        self._left_out += len(text) - len(kept)
        self._tail = io.StringIO()
        self._size = self._tail.write(kept)

    def lines(self, *, whole: bool = False) -> list[str]:
        """Return the lines as a terminal shows them: what a carriage return overwrote is gone.

        Args:
            whole: Only those that have ended.
        """
        if len(self._head) + self._size > 2 * HALF:
            self._cut()
        text = self._mask(self._tail.getvalue())
        if self._left_out:
            text = f"{self._head}\n… {self._left_out:,} characters left out …\n{text}"
        elif self._head:
            text = self._head + text
        lines = text.split("\n")
        if whole or not lines[-1]:
            lines.pop()
        return [line.rstrip("\r").rpartition("\r")[2] for line in lines]


class Output:
    """What one attempt printed and logged."""

    __slots__ = ("_decoders", "_lock", "_mask", "_texts")

    def __init__(self, mask: Mask) -> None:
        self._mask = mask
        self._texts: dict[str, Clipped] = {}
        self._decoders: dict[str, codecs.IncrementalDecoder] = {}
        # Reentrant: the garbage collector may run a finalizer that prints while we hold it.
        self._lock = threading.RLock()

    def add(self, which: str, text: str) -> None:
        """Append to ``stdout``, ``stderr`` or ``log``."""
        with self._lock:
            if which not in self._texts:
                self._texts[which] = Clipped(self._mask)
            self._texts[which].add(text)

    def add_bytes(self, which: str, data: bytes, encoding: str) -> None:
        """Append bytes; what cannot be decoded is replaced."""
        with self._lock:
            decoder = self._decoders.get(which)
            if decoder is None:
                decoder = self._decoders[which] = codecs.getincrementaldecoder(encoding)("replace")
            self.add(which, decoder.decode(data))

    def size(self) -> int:
        """Return how many characters were written."""
        return sum(text.written for text in list(self._texts.values()))

    def sections(self, *, whole: bool = False) -> list[Section]:
        """Return what there is, titled; with ``whole``, only lines that have ended."""
        with self._lock:
            found = [
                (title, self._texts[which].lines(whole=whole))
                for which, title in _TITLES.items()
                if which in self._texts
            ]
        return [Section(title, lines) for title, lines in found if lines]
