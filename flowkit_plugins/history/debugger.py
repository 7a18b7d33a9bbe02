"""``--pdb``: open the debugger in the frame of the task that failed, with what it was called with."""

from __future__ import annotations

import contextlib
import sys
import traceback
from types import TracebackType
from typing import TYPE_CHECKING

from flowkit.hookspecs import hookimpl
from flowkit.reports import Attempt
from flowkit.services import Display

if TYPE_CHECKING:
    from flowkit.session import Session

KINDS = ("error", "timeout", "setup")


class Debugger:
    """Stops the run, inline, at each failed attempt that is not made again.

    Args:
        session: Whose runs; its display, if there is one, leaves the screen to the debugger.
    """

    def __init__(self, session: Session) -> None:
        self._services = session.services

    @hookimpl(trylast=True)
    def flowkit_attempt_ended(self, attempt: Attempt) -> None:
        """Open the debugger; quitting it goes on with the run."""
        error = attempt.error
        if attempt.kind not in KINDS or attempt.again or error is None or attempt.final:
            return
        place = _innermost_of_user(error.__traceback__, attempt)
        if place is None:
            return
        display = self._services.get(Display)
        with contextlib.ExitStack() as stack:
            if display is not None:
                stack.enter_context(display.released())
            # Not what stands in its place: the debugger's prompt is edited with the real one only.
            stack.enter_context(contextlib.redirect_stdout(sys.__stdout__ or sys.stdout))
            _interact(attempt, error, place)


def _interact(attempt: Attempt, error: BaseException, place: TracebackType) -> None:
    import pdb  # noqa: T100 - what --pdb is for

    for section in attempt.sections or ():
        print(f"--- {section.title} ---", *section.lines, sep="\n")  # noqa: T201 - said to whoever sits at the debugger
    print(f">>> {attempt.full_id} failed, attempt {attempt.number}")  # noqa: T201 - said to whoever sits at the debugger
    print("".join(traceback.format_exception_only(error)), end="")  # noqa: T201 - said to whoever sits at the debugger
    sys.stdout.flush()
    debugger = pdb.Pdb()
    debugger.reset()
    debugger.interaction(None, place)


def _innermost_of_user(found: TracebackType | None, attempt: Attempt) -> TracebackType | None:
    """Return the part of a traceback that begins where the task was called.

    The debugger shows its innermost frame; ``up`` leads to the task's own, and no further.
    """
    declaration = attempt.task.declaration
    code = getattr(declaration.function, "__code__", None) if declaration else None
    step = found
    while step is not None:
        if step.tb_frame.f_code is code:
            return step
        step = step.tb_next
    return found
