"""What is printed outside of every attempt while a run goes on.

A resource of the run that says good-bye, a thread of the user's, a warning of a library: written
into the live block, such a text would be torn apart and take the block's lines with it. So while
there is a block, standard streams that lead to its terminal hand over what they get, and the block's
painter prints it above. In a log it would stand in the middle of a line of letters: there that line
ends first.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable
from typing import Any, TextIO

_STREAMS = ("stdout", "stderr")


class Beside:
    """A standard stream that can be told to hand over what is written to it.

    Args:
        original: The stream.
        texts: Where texts go while ``held``.

    Attributes:
        held: Whether text is handed over.
    """

    def __init__(self, original: TextIO, texts: deque[str]) -> None:
        self._original = original
        self._texts = texts
        self.held = False

    def write(self, text: str) -> int:
        """Write text, as a text file does."""
        if not self.held:
            return self._original.write(text)
        self._texts.append(text)
        return len(text)

    def __getattr__(self, name: str) -> Any:
        if name == "_original":  # not there yet, while it is copied
            raise AttributeError(name)
        return getattr(self._original, name)


class Between:
    """A standard stream that makes room before what is written to it.

    Args:
        original: The stream.
        make_room: Called before each text.
    """

    def __init__(self, original: TextIO, make_room: Callable[[], None]) -> None:
        self._original = original
        self._make_room = make_room
        self.held = False

    def write(self, text: str) -> int:
        """Write text, as a text file does."""
        if text:
            self._make_room()
        return self._original.write(text)

    def __getattr__(self, name: str) -> Any:
        if name == "_original":  # not there yet, while it is copied
            raise AttributeError(name)
        return getattr(self._original, name)


class Streams:
    """The standard streams of a process with a report, from the session's beginning to its end."""

    def __init__(self) -> None:
        self._texts: deque[str] = deque()
        self._rest = ""
        self._before: dict[str, tuple[TextIO, Beside | Between]] = {}

    def install(self) -> None:
        """Put our streams in the place of those that lead to a terminal."""
        for name in _STREAMS:
            original = getattr(sys, name)
            if original is not None and original.isatty():
                ours = Beside(original, self._texts)
                self._before[name] = (original, ours)
                setattr(sys, name, ours)

    def install_between(self, out: TextIO, make_room: Callable[[], None]) -> None:
        """Put a stream of ours in the place of the one that the report goes to, if it is one of the standard ones."""
        for name in _STREAMS:
            if getattr(sys, name) is out:
                between = Between(out, make_room)
                self._before[name] = (out, between)
                setattr(sys, name, between)

    def remove(self) -> None:
        """Put the streams back; nothing happens if that is so already."""
        for name, (original, ours) in self._before.items():
            if getattr(sys, name) is ours:  # else somebody put theirs there meanwhile
                setattr(sys, name, original)
        self._before.clear()

    def hold(self, *, held: bool) -> None:
        """Hand over what is written from now on, or let it through."""
        for _, ours in self._before.values():
            ours.held = held

    def lines(self) -> str:
        """Return whole lines that were handed over; what is left of the last one is kept."""
        whole, newline, self._rest = self._taken().rpartition("\n")
        return whole + newline

    def last(self) -> str:
        """Return all that was handed over, the last line ended."""
        text, self._rest = self._taken(), ""
        return text if not text or text.endswith("\n") else text + "\n"

    def _taken(self) -> str:
        found = [self._rest]
        while self._texts:
            found.append(self._texts.popleft())
        return "".join(found)
