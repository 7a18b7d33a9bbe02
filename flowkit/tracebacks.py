"""A traceback as text, cut to the frames of the user's own code."""

from __future__ import annotations

import os
from functools import cache

_HERE = os.path.dirname(os.path.abspath(__file__)) + os.sep
_PLUGINS = os.path.join(os.path.dirname(os.path.dirname(_HERE)), "flowkit_plugins") + os.sep


def is_users(filename: str) -> bool:
    """Whether a frame's file is neither flowkit's, nor Python's, nor an installed package's."""
    if filename.startswith((_HERE, _PLUGINS, "<frozen")):
        return False
    return "site-packages" not in filename and not filename.startswith(_library())


@cache
def _library() -> tuple[str, ...]:
    import sysconfig  # 2 ms with its paths, and only a failure needs them

    names = ("stdlib", "platstdlib", "purelib", "platlib")
    return tuple({sysconfig.get_path(name) + os.sep for name in names})


def as_text(error: BaseException) -> str:
    """Return the traceback of ``error``: the user's frames, its causes, and its last line.

    Where no frame is the user's, all but flowkit's are kept. An exception whose text cannot be
    made says so instead.
    """
    import traceback  # 5 ms, and only a failure needs it

    try:
        whole = traceback.TracebackException.from_exception(error, limit=None, compact=True)
    except Exception:  # a __str__ or a __cause__ that raises
        return f"{type(error).__name__}: {message(error)}"
    seen: object = whole
    depth = 0
    while isinstance(seen, traceback.TracebackException) and depth < 20:
        frames = [f for f in seen.stack if is_users(f.filename)]
        if not frames:
            frames = [f for f in seen.stack if not f.filename.startswith((_HERE, _PLUGINS))]
        seen.stack = traceback.StackSummary.from_list(frames)
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)
        depth += 1
    try:
        return "".join(whole.format()).rstrip("\n")
    except Exception:
        return f"{type(error).__name__}: {message(error)}"


def message(error: BaseException) -> str:
    """Return an exception's text, also where making it raises."""
    try:
        return str(error)
    except Exception as problem:
        return f"<its text cannot be shown: {type(problem).__name__}>"


