"""Sizes as people write them, ``10GB``, and bytes as machines count them."""

from __future__ import annotations

import re

_STEPS = ("", "k", "M", "G", "T", "P")
_WRITTEN = r"(\d+(?:\.\d+)?)\s*([kmgtp]?)(i?)b?"


def size(written: object) -> int:
    """Return a size in bytes.

    Args:
        written: A number of bytes, or text: a number with kB, MB, GB, TB or PB (thousands), or
            KiB, MiB, GiB … (1024s); the ``B`` may be left out.

    Raises:
        ValueError: It is text of another form, or less than one byte.
        TypeError: It is neither a number nor text.
    """
    if isinstance(written, str):
        found = re.fullmatch(_WRITTEN, written.strip(), re.IGNORECASE)
        if found is None:
            raise ValueError(f"{written!r} is no size; write it like '500MB', '10GB' or '1.5GiB'")
        number, unit, binary = found.groups()
        if binary and not unit:
            raise ValueError(f"{written!r} is no size; write it like '10GB'")
        steps = [step.lower() for step in _STEPS].index(unit.lower())
        value = int(float(number) * (1024 if binary else 1000) ** steps)
    elif isinstance(written, (int, float)) and not isinstance(written, bool):
        if written != written or written in (float("inf"), float("-inf")):  # noqa: PLR0124 - NaN
            raise ValueError(f"a size is finite, unlike {written!r}")
        value = int(written)
    else:
        raise TypeError(f"a number of bytes, or text like '10GB', not {written!r}")
    if value < 1:
        raise ValueError(f"a size is at least one byte, unlike {written!r}")
    return value


def shown(count: float) -> str:
    """Return bytes as people read them: ``0 B``, ``340 B``, ``1.2 kB``, ``15 MB``."""
    for step in _STEPS:
        if count < 999.5 or step == _STEPS[-1]:
            few = count < 9.95 and step
            return f"{count:.1f} {step}B" if few else f"{count:.0f} {step}B"
        count /= 1000
    raise AssertionError(count)  # pragma: no cover - the last step takes everything
