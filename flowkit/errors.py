"""Everything that can be wrong, said in three parts: what and where, what is known, what to do.

::

    FlowkitError
    ├── UsageError            the flow or the command is wrong; exit code 4
    │   ├── TargetError           a target that cannot be found, imported or read
    │   ├── DeclarationError      a task, resource or flow that is declared wrongly
    │   ├── OptionError           an option, setting, plugin or flag that nobody knows or that does not fit
    │   ├── ResolutionError       an argument that leads nowhere, or to the wrong thing
    │   ├── CycleError            tasks that wait for each other
    │   ├── ParameterError        an input value that is missing, unknown or of the wrong type
    │   └── SelectionError        a selection that matches nothing
    ├── FlowError             all usage errors of one call together (``.errors``)
    ├── NothingToRun          no tasks, or none selected; exit code 5
    ├── PluginError           a plugin raised; exit code 3
    ├── TaskFailed            ``flowkit.fail("reason")``
    ├── TaskTimeout           an attempt took longer than its deadline (also a ``TimeoutError``)
    ├── WorkerLost            the worker that ran an attempt is gone
    └── ResourceError         a resource that yields twice or never

Callers pass facts; the classes write the sentence.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that is most like ``name``, or None if none is near."""
    import difflib  # 3 ms, and only an error needs it

    lowered = {k.lower(): k for k in sorted(known, reverse=True)}
    close = difflib.get_close_matches(name.lower(), lowered, n=1, cutoff=0.6)
    return lowered[close[0]] if close else None


def did_you_mean(name: str, known: Iterable[str], otherwise: str) -> str:
    """Return the remedy line: the nearest known name, or ``otherwise``."""
    near = nearest(name, known)
    return f"Did you mean {near!r}?" if near else otherwise


def a_kind(value: object) -> str:
    """Return the type of a value with its article: ``an int``."""
    name = type(value).__name__
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"


def listing(names: Iterable[str], most: int = 20) -> str:
    """Return names as one sorted line, cut after ``most``."""
    ordered = sorted(names)
    shown = ", ".join(ordered[:most]) or "none"
    return f"{shown}, … ({len(ordered)} in all)" if len(ordered) > most else shown


class FlowkitError(Exception):
    """Root of all errors that flowkit raises on its own account."""


class UsageError(FlowkitError):
    """Something in the flow or the command line is wrong.

    Args:
        what: What is wrong and where.
        known: What flowkit knows that helps; may be empty.
        remedy: What to do.
    """

    def __init__(self, what: str, *, known: str = "", remedy: str = "") -> None:
        self.what = what
        self.known = known
        self.remedy = remedy
        super().__init__(what, known, remedy)

    def __str__(self) -> str:
        lines = [self.what]
        lines += [f"  {line}" for part in (self.known, self.remedy) if part for line in part.splitlines()]
        return "\n".join(lines)

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.what, self.known, self.remedy))


def _rebuild(kind: type[UsageError], what: str, known: str, remedy: str) -> UsageError:
    return kind(what, known=known, remedy=remedy)


class TargetError(UsageError):
    """A target that cannot be found, imported or read."""


class DeclarationError(UsageError):
    """A task, resource or flow that is declared wrongly."""


class OptionError(UsageError):
    """An option, setting, flag or plugin that nobody knows, or whose value does not fit."""

    @classmethod
    def unknown(
        cls, kind: str, name: str, where: str, known: Iterable[str], remedy: str = "Remove it, or load the plugin that brings it with -p."
    ) -> OptionError:
        """Return the error for a name that nobody declared; ``remedy`` is for where no other is near it."""
        names = list(known)
        return cls(
            f"{where}: unknown {kind} {name!r}",
            known=f"known: {listing(names)}",
            remedy=did_you_mean(name, names, remedy),
        )


class ResolutionError(UsageError):
    """An argument that leads nowhere, or to something that does not fit."""


class CycleError(UsageError):
    """Tasks or resources that wait for each other."""

    @classmethod
    def along(cls, path: Sequence[tuple[str, str]]) -> CycleError:
        """Return the error for ``path``: (name, file:line) pairs, the first repeated at the end."""
        width = max(len(name) for name, _ in path)
        steps = "\n".join(f"{name:<{width}}  {where}" for name, where in path)
        names = " → ".join(name for name, _ in path)
        return cls(
            f"a cycle: {names}",
            known=steps,
            remedy="Cut one of these dependencies: take the argument out, or split the task in two.",
        )


class ParameterError(UsageError):
    """An input value that is missing, unknown, or of the wrong type."""


class SelectionError(UsageError):
    """A selection (``::name``, ``[id]``, ``-k``, ``-m``) that cannot be read or matches nothing."""


class FlowError(FlowkitError):
    """All that is wrong with one call, together.

    Attributes:
        errors: The usage errors in the order they were found, never empty.
    """

    def __init__(self, errors: Sequence[UsageError]) -> None:
        self.errors: tuple[UsageError, ...] = tuple(errors)
        super().__init__(self.errors)

    def __str__(self) -> str:
        return "\n\n".join(str(error) for error in self.errors)


class NothingToRun(FlowkitError):
    """The targets hold no tasks, or the selection is valid and empty (exit code 5)."""


class PluginError(FlowkitError):
    """A plugin raised inside a hook. Ends the run; the original is ``__cause__``."""

    def __init__(self, plugin: str, hook: str, error: BaseException) -> None:
        plugin = plugin.partition(":")[0]  # "cache:reuse" is what the plugin "cache" keeps in a session
        self.plugin = plugin
        self.hook = hook
        if plugin.endswith(".py"):  # hooks of a flowconf.py, which belong to the flow
            remedy = f"Mend the hook, or take it out: {_raised_in(plugin, error)}."
        else:
            remedy = f"Run without it with -p no:{plugin}, or report this to its authors."
        super().__init__(f"plugin {plugin!r} failed in {hook}: {type(error).__name__}: {error}\n  {remedy}")


def _raised_in(file: str, error: BaseException) -> str:
    """Return ``file:line`` of the last step within a file on the way to where an error was raised."""
    found, step = file, error.__traceback__
    while step is not None:
        if step.tb_frame.f_code.co_filename.endswith(file):
            found = f"{file}:{step.tb_lineno}"
        step = step.tb_next
    return found


class TaskFailed(FlowkitError):
    """A task ended itself with ``flowkit.fail(reason)``."""


class TaskTimeout(FlowkitError, TimeoutError):
    """An attempt took longer than its deadline."""


class WorkerLost(FlowkitError):
    """The worker that ran an attempt disappeared."""


class ResourceError(FlowkitError):
    """A resource that yields twice or never, or a resource that cannot be used where it is asked for."""


class SkipRequested(BaseException):
    """Raised by ``flowkit.skip``; a BaseException so that ``except Exception`` does not swallow it.

    Attributes:
        resource: The resource whose set-up raised it; ``""`` for a task's own.
    """

    resource = ""


class FailRequested(BaseException):
    """Raised by ``flowkit.fail``; a BaseException so that ``except Exception`` does not swallow it."""


class Cancelled(BaseException):
    """Thrown into an attempt that shall stop; a BaseException for the same reason."""
