"""Options as users write them, read as plugins declared them; and what says the same twice."""

from __future__ import annotations

import typing
from collections.abc import Collection, Iterable, Sequence

from flowkit.annotations import MISSING
from flowkit.annotations import text as shown
from flowkit.digests import Undigestible, digest
from flowkit.errors import (
    OptionError,
    UsageError,
    did_you_mean,
    listing,
)
from flowkit.hookspecs import Option
from flowkit.scheduler.triggers import TRIGGERS

#: Options of ``@task`` that the core reads itself.
CORE_OPTIONS = ("name", "each", "provides", "needs", "trigger", "fallback", "allow_failure", "tags")


def converted(option: Option, value: object, where: str) -> object:
    """Return what the user wrote for an option, as its plugin reads it.

    Raises:
        OptionError: It does not fit; says what the option wants.
    """
    try:
        return option.convert(value)
    except (TypeError, ValueError) as error:
        raise OptionError(
            f"{where}: {option.name}={value!r} does not fit: {error}",
            known=f"{option.name} is {option.type}: {option.help}",
            remedy="Write it in one of these forms.",
        ) from error


def names_of(value: object, option: str, where: str) -> tuple[str, ...]:
    """Return an option that is a list of names; one name alone will do."""
    if isinstance(value, str):
        return (value,)
    if isinstance(value, (list, tuple, set, frozenset)) and all(isinstance(v, str) for v in value):
        return tuple(value)
    raise OptionError(f"{where}: {option}={value!r} is no list of names", remedy=f'Write {option}=["name"].')


def flag_of(value: object, option: str, where: str) -> bool:
    """Return an option that is True or False.

    Raises:
        OptionError: It is neither.
    """
    if isinstance(value, bool):
        return value
    raise OptionError(f"{where}: {option}={value!r}", remedy=f"{option} is True or False.")


def trigger_of(value: object, where: str) -> str | None:
    """Return a trigger by its name.

    Raises:
        OptionError: There is no such.
    """
    if value is None or (isinstance(value, str) and value in TRIGGERS):
        return value
    raise OptionError(
        f"{where}: there is no trigger {value!r}",
        known=f"triggers: {listing(TRIGGERS)}",
        remedy=did_you_mean(str(value), TRIGGERS, "Name one of these, or leave trigger= out."),
    )


def no_argument(name: str, names: Sequence[str], before: Collection[str], where: str) -> OptionError | None:
    """Return what is wrong with a name in a key of ``each``, if anything.

    Args:
        name: The name.
        names: Of the task's arguments.
        before: The names that stand before it in ``each``.
        where: The task, and where it is.
    """
    if name in before:
        return OptionError(f"{where}: each names {name!r} twice", remedy="Keep one of the two.")
    if name in names:
        return None
    return OptionError(
        f"{where}: each names {name!r}, which is no argument of it",
        known=f"arguments: {listing(names)}",
        remedy=did_you_mean(name, names, "Name one of its arguments."),
    )


def listed(value: typing.Any) -> list[str]:
    """Return the texts of a flag that takes several, of which one may stand alone."""
    if not value:
        return []
    return [value] if isinstance(value, str) else list(value)


def several(value: object, alone: str | None) -> tuple[str, ...]:
    """Return the values of a flag that may be given several times; ``True`` is the flag alone."""
    if value is True:
        return () if alone is None else (alone,)
    return tuple(listed(value))


def same(one: object, two: object) -> bool:
    """Whether two defaults are the same; by their content where ``==`` does not give a bool, as of arrays."""
    if one is two:
        return True
    if type(one) is not type(two):
        return False
    try:
        return bool(one == two)
    except Exception:
        pass
    try:
        return digest(one) == digest(two)
    except Undigestible:
        return False


def as_written(annotation: object, default: object) -> str:
    """Return a parameter's annotation and default, as in a signature."""
    hint = "no annotation" if annotation is typing.Any else shown(annotation)
    return f"{hint}, required" if default is MISSING else f"{hint} = {default!r}"


def iterate_errors(errors: Iterable[UsageError]) -> list[UsageError]:
    """Return errors without repetition, in order."""
    seen: dict[str, UsageError] = {}
    for error in errors:
        seen.setdefault(str(error), error)
    return list(seen.values())
