"""The screen that everything is printed on: its width, its colours, and the characters it can show.

Whatever a user's code brought forth (messages, output, ids) goes through ``clean`` before it is
shown. Nothing here fails a run: a reader who left, a full disk and a character that the encoding
lacks are all taken in silence.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable, Mapping
from typing import TextIO

from flowkit.durations import words
from flowkit.printable import SPELLED, clean
from flowkit.secrets import Mask
from flowkit.streams import lead_nowhere

#: Width of what is not a terminal.
PAPER = 80
NARROWEST = 20
#: From here on seconds are rounded to minutes.
MINUTE = 59.995

_CODES = {
    "bold": "1",
    "dim": "2",
    "red": "31",
    "green": "32",
    "yellow": "33",
    "cyan": "36",
    "magenta": "35",
}


class Screen:
    """Where lines go.

    Args:
        out: What to write to.
        color: ``yes``, ``no`` or ``auto``: on a terminal, unless ``NO_COLOR`` is set.
        environ: The environment.

    Attributes:
        is_terminal: Whether somebody sits in front of it.
        can_move: Whether what was written can be written over.
        color: Whether colours are used.
        width: In columns.
        masked: Takes the secrets of the run out of a text.
    """

    def __init__(
        self, out: TextIO, *, color: str = "auto", environ: Mapping[str, str] = os.environ
    ) -> None:
        self._out: TextIO | None = out
        self.encoding = getattr(out, "encoding", None) or "utf-8"
        self.is_terminal = _is_terminal(out)
        smart = self.is_terminal and environ.get("TERM") != "dumb"
        self.can_move = smart
        self.color = color == "yes" or (color == "auto" and smart and not environ.get("NO_COLOR"))
        self.width = max(NARROWEST, _columns(out, environ)) if self.is_terminal else PAPER
        self.masked: Mask = str

    # Writing

    def write(self, text: str) -> int:
        """Write a text as it is; what cannot be shown is spelled out. Raises nothing."""
        if self._out is not None and text:
            try:
                try:
                    self._out.write(text)
                except UnicodeEncodeError:
                    self._out.write(text.encode(self.encoding, SPELLED).decode(self.encoding))
            except (OSError, ValueError):
                self._abandon()
        return len(text)

    def flush(self) -> None:
        """Have everything shown that was written."""
        if self._out is not None:
            try:
                self._out.flush()
            except (OSError, ValueError):
                self._abandon()

    def isatty(self) -> bool:
        """Whether somebody sits in front of it; for those who take a screen for a file."""
        return self.is_terminal

    def line(self, text: str = "", style: str = "") -> None:
        """Write a line; secrets are masked."""
        self.write(self.paint(self.masked(text), style) + "\n")

    def lines(self, texts: Iterable[str]) -> None:
        """Write several lines, each cleaned of what would disturb the screen."""
        for text in texts:
            cleaned = clean(text, color=self.color)
            self.line(cleaned + ("\x1b[0m" if "\x1b" in cleaned else ""))

    def rule(self, title: str, char: str = "=", style: str = "") -> None:
        """Write a title in the middle of a line of ``char``, or by itself where it fills the line."""
        text = self.masked(clean(title))
        sides = self.width - cells(text) - 2
        if sides > 1:
            text = f"{char * (sides // 2)} {text} {char * (sides - sides // 2)}"
        self.write(self.paint(text, style) + "\n")

    # Looks

    def paint(self, text: str, style: str) -> str:
        """Return ``text`` in a style (``red``, ``bold green``), if the screen has colours."""
        if not self.color or not style or not text:
            return text
        return f"\x1b[{';'.join(_CODES[word] for word in style.split())}m{text}\x1b[0m"

    def can_show(self, text: str) -> bool:
        """Whether the encoding has these characters."""
        try:
            text.encode(self.encoding)
        except (UnicodeEncodeError, LookupError):
            return False
        return True

    def _abandon(self) -> None:
        """Nobody reads on (``| head``), or the disk is full: the run matters more than its report."""
        out, self._out = self._out, None
        if out is not None:
            lead_nowhere(out)


def _is_terminal(out: TextIO) -> bool:
    try:
        return out.isatty()
    except (AttributeError, ValueError, OSError):
        return False


def _columns(out: TextIO, environ: Mapping[str, str]) -> int:
    """Return the width as ``shutil`` finds it, but of the terminal that is written to."""
    stated = environ.get("COLUMNS", "")
    if stated.isdecimal() and int(stated):
        return int(stated)
    try:
        return os.get_terminal_size(out.fileno()).columns or PAPER
    except (AttributeError, ValueError, OSError):
        return PAPER


# --- texts ------------------------------------------------------------------------------------


def first_line(text: str) -> str:
    """Return the first line that says something, cleaned."""
    for line in text.splitlines():
        if line.strip():
            return clean(line.strip())
    return ""


def cells(text: str) -> int:
    """Return how many columns a text takes."""
    if text.isascii():
        return len(text)
    return sum(_cell(character) for character in text)


def _cell(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def fit(text: str, width: int) -> str:
    """Return a text cut to ``width`` columns; what was cut shows as ``…``."""
    if cells(text) <= width:
        return text
    taken, room = [], max(0, width - 1)
    for character in text:
        room -= _cell(character)
        if room < 0:
            break
        taken.append(character)
    return "".join(taken) + "…"


def took(seconds: float) -> str:
    """Return a duration as reports show it: ``0.34s``, ``4.21s``, ``6m12s``."""
    return f"{seconds:.2f}s" if seconds < MINUTE else words(seconds)


def counted(number: int, noun: str) -> str:
    """Return ``1 node``, ``1,234 nodes``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
