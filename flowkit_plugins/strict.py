"""``--strict``: a task that changes what it was given fails, and the error names the argument.

Values go from task to task as they are, so whoever changes one changes it for all that have it, now and
not on the next run, where it comes from the store. The content of each argument is digested before and
after the call; what has no content is left out. The testing kit looks for the same in ``no_input_mutation``.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from flowkit.hookspecs import Flag, hookimpl

if TYPE_CHECKING:
    from flowkit.reports import Attempt
    from flowkit.session import Session

_GIVEN = "flowkit.strict"  # in an attempt's stash

#: Of an argument: its name, its value, and the digest of that before the call.
Given = tuple[str, object, str]
Digest = Callable[[object], str]


@hookimpl
def flowkit_run_options() -> Sequence[Flag]:
    """Declare ``--strict``."""
    return [Flag(name="--strict", type=bool, default=False, help="Fail tasks that change what they were given.")]


@hookimpl
def flowkit_configure(session: Session) -> None:
    """Get ready if it is asked for."""
    if session.flags.get("strict"):
        from flowkit.digests import digest

        hook = session.plugins.caller("flowkit_digest", first=True)
        session.plugins.register(Strict(partial(digest, hook=hook, root=session.root)), "strict:check")


class Strict:
    """Compares what calls were given, before and after.

    Args:
        digest: Returns the digest of a value.
    """

    def __init__(self, digest: Digest) -> None:
        self._digest = digest

    @hookimpl(trylast=True)  # what a rehearsal has fail is not called
    def flowkit_attempt_begins(self, attempt: Attempt) -> None:
        """Note the content of the arguments."""
        if attempt.stash is None:
            attempt.stash = {}
        attempt.stash[_GIVEN] = given(attempt, self._digest)

    @hookimpl(wrapper=True, trylast=True)  # innermost: nothing of the attempt is in its place yet
    def flowkit_attempt_call(self, attempt: Attempt) -> Generator[None, None, None]:
        """Fail an attempt that would have ended well, but changed an argument."""
        yield
        before: Any = attempt.stash.pop(_GIVEN, ()) if attempt.stash is not None else ()
        if attempt.kind not in ("success", "skip"):
            return
        names = changed(before, self._digest)
        if names:
            from flowkit.errors import TaskFailed

            said = ", ".join(f"`{name}`" for name in names)
            attempt.kind, attempt.value, attempt.reason = "error", None, ""
            attempt.final = True  # a retry would be given what was changed
            attempt.error = TaskFailed(f"`{attempt.node}` changed what it was given as {said}: let it change a copy")


def given(attempt: Attempt, digest: Digest) -> list[Given]:
    """Return what a call is given and what that holds; resources, and what has no content, excepted."""
    from flowkit.digests import Undigestible

    found = []
    for name, value in (attempt.arguments or {}).items():
        if name not in attempt.task.resources:
            try:
                found.append((name, value, digest(value)))
            except Undigestible:
                continue
    return found


def changed(before: Sequence[Given], digest: Digest) -> list[str]:
    """Return the names of arguments that hold something else now than before the call, or nothing that could be told."""
    from flowkit.digests import Undigestible

    names = []
    for name, value, content in before:
        try:
            same = digest(value) == content
        except Undigestible:
            same = False
        if not same:
            names.append(name)
    return names
