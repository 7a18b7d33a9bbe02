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

    For a process of our own: ``flowkit.run()`` leaves the caller's collector as it is.
    """
    youngest, *older = gc.get_threshold()
    if 0 < youngest <= 2_000:
        gc.set_threshold(BEFORE_RUN, *older)


def calls_begin() -> None:
    """Leave out what is there until the process exits, and from now on look at what tasks make.

    At exit Python looks at everything again: a module that keeps a file open would lose what it wrote if
    something that is left out held it, such as a cache of ``typing``. In a process that is not ours, nothing is done.
    """
    youngest, *older = gc.get_threshold()
    if youngest == BEFORE_RUN:
        gc.set_threshold(IN_RUN, *older)
        gc.freeze()
        atexit.register(gc.unfreeze)
