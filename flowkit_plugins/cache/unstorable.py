"""Which part of a value refused to be pickled: found by trying its parts one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from types import FunctionType

_MOST_TRIES = 500
_DEEPEST = 20


def failing_path(
    value: object, error: Exception, encodes: Callable[[object], bool]
) -> tuple[str, str]:
    """Return why ``value`` does not pickle, and the path of the innermost part that does not.

    Args:
        value: What was to be pickled.
        error: What pickling it raised.
        encodes: Whether a part pickles by itself. Called at most 500 times.
    """
    path = "value"
    if isinstance(error, RecursionError) or "recursion" in str(error):
        return "nested too deeply to pickle", path
    left = _MOST_TRIES
    for _depth in range(_DEEPEST):
        try:
            tried = list(islice(_parts(value), left))
            left -= len(tried)
            found = next(((step, part) for step, part in tried if not encodes(part)), None)
        except Exception:  # looking at a user's object calls its code; the path so far will do
            break
        if found is None:
            break
        path += found[0]
        value = found[1]
    return _sentence(value, error), path


def _sentence(value: object, error: Exception) -> str:
    if isinstance(value, (FunctionType, type)):
        kind = "class" if isinstance(value, type) else "function"
        return f"cannot pickle the {kind} {value.__qualname__!r}, which is not found by that name"
    text = str(error) or type(error).__name__
    return text[:1].lower() + text[1:].splitlines()[0] if text[1:] else text


def _parts(value: object) -> Iterator[tuple[str, object]]:
    """Yield what ``value`` consists of, with the text that leads there."""
    if isinstance(value, dict):
        for key, part in list(value.items()):
            yield f"[{key!r:.40}]", part
    elif isinstance(value, (list, tuple)):
        fields = getattr(value, "_fields", None)
        for position, part in enumerate(value):
            yield (f".{fields[position]}" if fields else f"[{position}]"), part
    elif isinstance(value, (set, frozenset)):
        for part in list(value):
            yield f"{{{part!r:.40}}}", part
    if isinstance(value, FunctionType):
        for name, cell in zip(value.__code__.co_freevars, value.__closure__ or (), strict=True):
            yield f".<closure>.{name}", cell.cell_contents
    if isinstance(value, type):
        return
    for name, part in list(getattr(value, "__dict__", {}).items()):
        yield f".{name}", part
    for base in type(value).__mro__:
        slots = base.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if name not in ("__dict__", "__weakref__") and hasattr(value, name):
                yield f".{name}", getattr(value, name)
