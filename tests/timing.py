"""Bounds on time that a busy machine does not break.

Whatever else a machine does makes a call slower, never faster. So one call within its bound shows
what the code can do, and only twenty seconds of calls without one show that it cannot.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

#: Seconds for which a call is tried again; only code that is too slow takes them all.
PATIENCE = 20.0


def seconds(call: Callable[[], object], *, within: float = math.inf, tries: int = 3, clock: Callable[[], float] = time.perf_counter) -> float:  # fmt: skip
    """The fastest of ``tries`` calls, and of more while none took at most ``within`` seconds."""
    given_up = time.monotonic() + PATIENCE
    least, done = math.inf, 0
    while done < tries or (least > within and time.monotonic() < given_up):
        least, done = min(least, once(call, clock)), done + 1
    return least


def ratio(call: Callable[[], object], reference: Callable[[], object], *, within: float, tries: int = 3) -> float:  # fmt: skip
    """The fastest call over the fastest reference; taken in turn, so that both meet the same machine."""
    given_up = time.monotonic() + PATIENCE
    least, theirs, done = math.inf, math.inf, 0
    while done < tries or (least > within * theirs and time.monotonic() < given_up):
        theirs, least, done = min(theirs, once(reference)), min(least, once(call)), done + 1
    return least / theirs


def once(call: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    begun = clock()
    call()
    return clock() - begun
