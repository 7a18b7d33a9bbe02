"""Errors as text: how much of a traceback is shown, what a call was made with, an error in one line.

The core has cut the traceback to the user's own frames already; ``--tb`` takes less of it, or all
that Python knows. What a user's ``__str__`` or ``__repr__`` raises is shown in its place.
"""

from __future__ import annotations

from flowkit.errors import TaskFailed
from flowkit_plugins.terminal.style import first_line

#: What ``--tb`` may say.
STYLES = ("long", "short", "native", "no")
#: Characters of an argument's repr that are shown, and lines.
LONGEST_REPR = 200
MOST_LINES = 6


def message(error: BaseException) -> str:
    """Return what an error says, also where asking it raises."""
    try:
        return str(error)
    except Exception as problem:
        return f"<its text cannot be shown: {type(problem).__name__}>"


def headline(error: BaseException | None) -> str:
    """Return an error in one line: ``ValueError: bad``; ``flowkit.fail`` speaks for itself."""
    if error is None:
        return ""
    said = first_line(message(error))
    if isinstance(error, TaskFailed) and said:
        return said
    name = type(error).__name__
    return f"{name}: {said}" if said else name


def lines(text: str, error: BaseException | None, style: str) -> list[str]:
    """Return the lines of a traceback in one of the ``STYLES``.

    Args:
        text: The traceback as the core cut it; may be empty.
        error: The exception, if it is at hand.
        style: ``long``: the user's frames; ``short``: where it was raised; ``native``: as Python
            prints it; ``no``: nothing.
    """
    if style == "no":
        return []
    if style == "native" and error is not None and error.__traceback__ is not None:
        text = _native(error) or text
    if not text:
        if error is None:
            return []
        said = message(error)
        return (
            said if isinstance(error, TaskFailed) and said else f"{type(error).__name__}: {said}"
        ).splitlines()
    found = text.splitlines()
    return _where_raised(found) if style == "short" else found


def _native(error: BaseException) -> str:
    import traceback  # 5 ms, and only this style needs it

    try:
        return "".join(traceback.format_exception(error))
    except Exception:  # a __str__ or a __cause__ that raises
        return ""


def _where_raised(found: list[str]) -> list[str]:
    """Return the last frame of a traceback and what follows it."""
    frames = [i for i, line in enumerate(found) if line.startswith('  File "')]
    return found[frames[-1] :] if frames else found


def is_error_line(line: str) -> bool:
    """Whether a line of a traceback is the error's own: it is not indented, and no heading."""
    if not line or line[0].isspace() or line[0] in "|+":
        return False
    return not line.startswith(
        ("Traceback (most recent", "During handling of", "The above exception")
    )


def shown(name: str, value: object) -> list[str]:
    """Return the lines that show an argument: ``station = 'LHR'``; a repr of many lines is indented."""
    found = short_repr(value).splitlines() or [""]
    if len(found) == 1:
        return [f"  {name} = {found[0]}"]
    body = found if len(found) <= MOST_LINES else [*found[: MOST_LINES - 1], "…"]
    return [f"  {name} =", *(f"    {line}" for line in body)]


def short_repr(value: object) -> str:
    """Return a repr of at most 200 characters, without walking through large containers."""
    import reprlib  # 1 ms, and only failures show arguments

    class Short(reprlib.Repr):
        """Lets out what ``__repr__`` raises, which the original hides."""

        def repr_instance(self, x: object, level: int) -> str:
            del level
            return repr(x)

    short = Short()
    short.maxother = short.maxstring = short.maxlong = LONGEST_REPR
    short.maxlist = short.maxtuple = short.maxdict = short.maxset = short.maxfrozenset = 10
    try:
        text = short.repr(value)
    except Exception as problem:
        return f"<{type(value).__name__} whose repr raises {type(problem).__name__}>"
    return text if len(text) <= LONGEST_REPR else text[: LONGEST_REPR - 1] + "…"
