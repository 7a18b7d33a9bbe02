"""What the command line does with its process and ``flowkit.run()`` never does: signals, garbage."""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import threading
import weakref
from typing import TYPE_CHECKING, Any

from flowkit import garbage
from flowkit.plugins import BUILT_IN

if TYPE_CHECKING:
    from flowkit.runner import Runner
    from flowkit.session import Session

#: What this process was for, once it has ended; what was only planned has no runner.
_ended: list[tuple[weakref.ref[Session], weakref.ref[Runner] | None]] = []

#: The exit code after a second Ctrl-C.
KILLED = 130


class Signals:
    """Ctrl-C and SIGTERM while a run goes on: the first stops it in order, the second kills."""

    def __init__(self) -> None:
        self._before: dict[int, Any] = {}
        self._pressed = False
        self.runner: Runner | None = None

    def install(self, runner: Runner) -> None:
        """Take the signals for a run that is about to start."""
        self.runner = runner
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
        """Note that the run, or the plan, came to its end: nobody works on it any more."""
        _ended.append((weakref.ref(session), weakref.ref(self.runner) if self.runner is not None else None))

    def remove(self) -> None:
        """Give the signals back."""
        for number, handler in self._before.items():
            signal.signal(number, handler)


def own_process() -> None:
    """Have the collector look for garbage less often, and what a run was made of taken apart at exit.

    Called first, so that the latter is done last. Python looks for garbage three times when it exits,
    and through all that is there. Nodes, tasks and reports hold each other: taken apart they are gone
    before, which saves 5 µs a node. Only what is flowkit's own is taken apart; what users' code made is
    found by Python as ever.
    """
    atexit.register(_take_apart)
    garbage.collect_less_often()


def _take_apart() -> None:
    if threading.active_count() > 1:
        return  # a call that hung past its timeout may still end, and tell the runner
    while _ended:
        its_session, its_runner = _ended.pop()
        session, runner = its_session(), its_runner() if its_runner is not None else None
        if session is None:
            continue
        session.forget()
        kept: list[object] = [*session.plugins.manager.get_plugins(), *session.services.values()]
        done = [thing for thing in kept if type(thing).__module__.startswith(f"{BUILT_IN}.")]
        if runner is not None:
            runner.machine.take_apart()
            for report in runner.report.nodes:
                report.unit.report = None
            done += [runner.machine, runner.executor, runner]
        for thing in done:
            getattr(thing, "__dict__", {}).clear()
