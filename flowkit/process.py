"""What the command line does with its process and ``flowkit.run()`` never does: signals, garbage."""

from __future__ import annotations

import atexit
import contextlib
import gc
import os
import signal
import threading
import weakref
from typing import TYPE_CHECKING, Any

from flowkit.plugins import BUILT_IN

if TYPE_CHECKING:
    from flowkit.runner import Runner
    from flowkit.session import Session

#: What this process was for, once it has ended.
_ended: list[tuple[weakref.ref[Runner], weakref.ref[Session]]] = []

#: The exit code after a second Ctrl-C.
KILLED = 130

#: New objects after which the garbage collector looks at them: up to the run, and in it.
BEFORE_RUN, IN_RUN = 1_000_000, 20_000


class Signals:
    """Ctrl-C and SIGTERM while a run goes on: the first stops it in order, the second kills."""

    def __init__(self) -> None:
        self._before: dict[int, Any] = {}
        self._pressed = False
        self.runner: Runner | None = None

    def install(self, runner: Runner) -> None:
        """Take the signals for a run that is about to start."""
        self.runner = runner
        gc.freeze()  # what is there now stays: collections look at what the run makes
        youngest, *older = gc.get_threshold()
        if youngest == BEFORE_RUN:
            gc.set_threshold(IN_RUN, *older)

        if threading.current_thread() is not threading.main_thread():
            return

        def on_signal(number: int, frame: object) -> None:
            if self._pressed:
                os.write(2, b"\nkilled: nothing was torn down\n")
                for call in runner.run.last_words:
                    with contextlib.suppress(Exception):
                        call()
                os._exit(KILLED)
            self._pressed = True
            # Not here: the handler may have interrupted this thread while it held the run's lock.
            threading.Thread(target=runner.interrupt, name="flowkit-interrupt", daemon=True).start()
            signalled = getattr(runner.executor, "signalled", None)
            if signalled is not None:  # only an executor that calls tasks in this very thread has it
                signalled()

        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, on_signal)

    def ended(self, session: Session) -> None:
        """Note that the run came to its end: nobody works on it any more."""
        if self.runner is not None:
            _ended.append((weakref.ref(self.runner), weakref.ref(session)))

    def remove(self) -> None:
        """Give the signals back.

        And the garbage collector all objects: a module that keeps a file open in a cycle would lose
        what it wrote if Python did not look there at exit.
        """
        gc.unfreeze()
        for number, handler in self._before.items():
            signal.signal(number, handler)


def collect_less_often() -> None:
    """Have the garbage collector look less often than after 700 new objects, unless told otherwise.

    A run keeps what it makes: nodes, reports, syntax trees. Looking through them again and again
    took a fifth of the time of 10,000 nodes. Before a run, modules and the graph are made, which
    stay to the end. This process is ours; ``flowkit.run()`` leaves the caller's collector alone.
    """
    youngest, *older = gc.get_threshold()
    if 0 < youngest <= 2_000:
        gc.set_threshold(BEFORE_RUN, *older)


def take_apart_at_exit() -> None:
    """Have what a run was made of taken apart when the process ends; called first, so that it is done last.

    Python looks for garbage three times when it exits, and through all that is there. Nodes, tasks
    and reports hold each other: taken apart they are gone before, which saves 5 µs a node. Only
    what is flowkit's own is taken apart; what users' code made is found by Python as ever.
    """
    atexit.register(_take_apart)


def _take_apart() -> None:
    if threading.active_count() > 1:
        return  # a call that hung past its timeout may still end, and tell the runner
    while _ended:
        its_runner, its_session = _ended.pop()
        runner, session = its_runner(), its_session()
        if runner is None or session is None:
            continue
        session.forget()
        for state in runner.machine.states.values():
            if state.links:
                state.links = []
        for report in runner.report.nodes:
            report.unit.report = None
        kept = [*session.plugins.manager.get_plugins(), *session.services.values()]
        ours = [thing for thing in kept if type(thing).__module__.startswith(f"{BUILT_IN}.")]
        for thing in (*ours, runner.machine, runner.executor, runner):
            getattr(thing, "__dict__", {}).clear()
