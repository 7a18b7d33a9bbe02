"""Texts that users' code brought forth, as they can be printed: a terminal obeys what a text may hold."""

from __future__ import annotations

import codecs
import re

#: The name of what ``codecs`` does with characters that an encoding lacks, here: it spells them out.
SPELLED = "flowkit.spelled"

_ESCAPE = r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[ -/]*[0-Z\\^-~])?|\x9b[0-?]*[ -/]*[@-~]"
_PLAIN = str.maketrans({"→": "->", "…": "...", "═": "=", "━": "=", "╸": "-", "·": "-"})
_CONTROLS = {c: f"\\x{c:02x}" for c in (*range(32), *range(127, 160)) if chr(c) not in "\t\n\x1b"}


def clean(text: str, *, color: bool = False) -> str:
    """Return a text that prints where it is put: without control codes, colours excepted if ``color``."""
    if text.isprintable():
        return text
    if "\r" in text:
        # As on a screen: what stands before a return was written over.
        text = "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n"))
    text = re.sub(_ESCAPE, lambda found: found[0] if color and _is_color(found[0]) else "", text)
    return text.translate(_CONTROLS)


def _is_color(code: str) -> bool:
    return code.startswith("\x1b[") and code.endswith("m")


def _spelled(error: UnicodeError) -> tuple[str | bytes, int]:
    """Return what stands for the characters that an encoding lacks, and where to go on."""
    if not isinstance(error, UnicodeEncodeError):
        return codecs.backslashreplace_errors(error)
    lacking = error.object[error.start : error.end].translate(_PLAIN)
    return lacking.encode("ascii", "backslashreplace").decode(), error.end


codecs.register_error(SPELLED, _spelled)
