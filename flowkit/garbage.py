"""When Python looks for garbage: not while a large graph or its nodes are made, and seldom before a run.

A run keeps what it makes: tasks, nodes, reports. Looking through them again and again took a fifth of
the time of 10,000 nodes, and Python looks through everything once more, three times, when it exits.
"""

from __future__ import annotations

import atexit
import gc
from collections.abc import Iterator
from contextlib import contextmanager

#: New objects after which the collector looks at them, in a process of our own: up to the run, and in it.
BEFORE_RUN, IN_RUN = 1_000_000, 20_000


@contextmanager
def no_garbage() -> Iterator[None]:
    """Leave the collector off for as long as nothing is made but what stays."""
    on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if on:
            gc.enable()


def collect_less_often() -> None:
    """Have the collector look less often than after 700 new objects, unless told otherwise.

    For a process of our own: ``flowkit.run()`` leaves the caller's collector as it is, and so do all
    functions below.
    """
    youngest, *older = gc.get_threshold()
    if 0 < youngest <= 2_000:
        gc.set_threshold(BEFORE_RUN, *older)


def libraries_loaded() -> None:
    """Leave what is there now out for good, also at exit: Python, libraries and flowkit itself."""
    if gc.get_threshold()[0] == BEFORE_RUN:
        gc.freeze()


def calls_begin() -> None:
    """Leave out what was made for the run, and from now on look at what tasks make.

    Until the process exits: a module that keeps a file open in a cycle would lose what it wrote if
    Python did not look there at all.
    """
    youngest, *older = gc.get_threshold()
    if youngest == BEFORE_RUN:
        gc.set_threshold(IN_RUN, *older)
        gc.freeze()
        atexit.register(gc.unfreeze)
