"""Two simulated processes at once on one store: they take turns, and who goes next is a choice.

Each runs in a thread of its own, but only the one that has the baton moves; so a schedule means
the same run every time.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

from flowkit.testing.world import Script, World

if TYPE_CHECKING:
    from flowkit.testing.results import RunResult
    from flowkit.testing.sandbox import Sandbox, Setting


class Baton:
    """Held by the one process that moves."""

    def __init__(self, count: int, choices: Script) -> None:
        self._alive = list(range(count))
        self._choices = choices
        self._turn = 0
        self._changed = threading.Condition()

    def take(self, who: int) -> None:
        """Wait until it is the turn of ``who``."""
        with self._changed:
            while self._turn != who:
                self._changed.wait()

    def pass_on(self, who: int, *, ended: bool = False) -> None:
        """Let a choice say who goes next, and wait for one's own turn."""
        with self._changed:
            if ended:
                self._alive.remove(who)
            if self._alive:
                others = [n for n in (*self._alive[who + 1 :], *self._alive) if n != who] or self._alive
                pick = self._choices.choose(2)
                self._turn = others[0] if ended or pick == 0 else who
            self._changed.notify_all()
            while not ended and self._turn != who:
                self._changed.wait()


def together(sandbox: Sandbox, settings: Sequence[Setting]) -> list[RunResult]:
    """Run several settings in one sandbox at once, and return what became of each.

    The first one's schedule also decides who moves next.
    """
    baton = Baton(len(settings), Script(settings[0].case.schedule))
    results: dict[int, RunResult] = {}
    errors: list[BaseException] = []

    def drive(who: int) -> None:
        baton.take(who)
        try:
            results[who] = sandbox.run(settings[who], enter=lambda world: _share(world, baton, who))
        except BaseException as error:
            errors.append(error)
        finally:
            baton.pass_on(who, ended=True)

    threads = [threading.Thread(target=drive, args=(who,), name=f"process-{who}", daemon=True) for who in range(len(settings))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return [results[who] for who in range(len(settings))]


def _share(world: World, baton: Baton, who: int) -> None:
    """Have a world pass the baton on before each of its steps."""
    wait = world.executor.wait

    def turn(timeout: float | None) -> None:
        baton.pass_on(who)
        wait(timeout)

    world.executor.wait = turn  # type: ignore[method-assign]  # this one alone
