"""Durations as people write them, and seconds as machines count them."""

from __future__ import annotations

import re
from datetime import timedelta

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_PART = r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|w)"
_WHOLE = rf"(?:{_PART}\s*)+"


def seconds(duration: float | str | timedelta) -> float:
    """Return a duration in seconds.

    Args:
        duration: Seconds as a number, a ``timedelta``, or text: a number with one of the
            units ms, s, m, h, d, w, or several such in a row: ``"1.5s"``, ``"1h30m"``.

    Raises:
        ValueError: It is text of another form, negative, not a number, or infinite.
        TypeError: It is none of the three types (a bool is not a number here).
    """
    if isinstance(duration, timedelta):
        value = duration.total_seconds()
    elif isinstance(duration, str):
        value = _read(duration)
    elif isinstance(duration, (int, float)) and not isinstance(duration, bool):
        try:
            value = float(duration)
        except OverflowError:
            value = float("inf")
    else:
        raise TypeError(f"a duration is seconds, a timedelta, or text like '1h30m', not {duration!r}")
    if not 0 <= value < float("inf"):
        raise ValueError(f"a duration is finite and not negative, unlike {duration!r}")
    return value


def _read(text: str) -> float:
    stripped = text.strip()
    if re.fullmatch(_WHOLE, stripped):
        return sum(float(number) * _UNITS[unit] for number, unit in re.findall(_PART, stripped))
    try:
        return float(stripped)
    except ValueError:
        raise ValueError(f"{text!r} is no duration; write it like '1.5s', '2m', '1h30m' or '7d'") from None


def words(duration: float) -> str:
    """Return seconds as people read them: ``340ms``, ``4.21s``, ``6m12s``, ``1h30m``, ``3d4h``."""
    if duration < 0.9995:
        return f"{duration * 1000:.0f}ms"
    if duration < 59.995:
        return f"{duration:.2f}s"
    whole = round(duration)
    for size, big, small, unit in ((60, "m", "s", 1), (3600, "h", "m", 60), (86400, "d", "h", 3600)):
        if whole < size * (60 if size < 3600 else 24) or size == 86400:
            rest = whole % size // unit
            return f"{whole // size}{big}{rest}{small}" if rest else f"{whole // size}{big}"
    raise AssertionError(duration)  # pragma: no cover - the last row takes everything
