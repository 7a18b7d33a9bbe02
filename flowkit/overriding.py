"""Overrides: what stands in for a task, a resource or a parameter in one run (``-O``, ``override=``)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from flowkit.errors import OptionError, ParameterError, UsageError, did_you_mean, listing
from flowkit.lookup import Override
from flowkit.parameters import Problem, convert, named
from flowkit.secrets import STARS, wants_secret
from flowkit.tasks import Task, declared


def read(
    given: Mapping[str, object] | None, typed: Sequence[str], load: Callable[[str], object], errors: list[UsageError]
) -> dict[str, Override]:
    """Return the overrides of a run, by name.

    Args:
        given: Name → value or function, from Python.
        typed: ``name=override`` texts of ``-O``.
        load: Returns what the ``file.py::name`` of such a text names.
        errors: Takes what is wrong with them.
    """
    found: dict[str, Override] = {}
    try:
        found = {name: override_of(name, value, f"override[{name!r}]") for name, value in named(given, "override").items()}
    except ParameterError as error:
        errors.append(error)
    for text in typed:
        name, equals, value = text.partition("=")
        if not equals or not name:
            lacks = "no name before the '='" if equals else "no '='"
            errors.append(OptionError(f"-O {text}: {lacks}", remedy="Write -O name=value or -O name=file.py::name."))
            continue
        try:
            origin = f"-O {name}"
            found[name] = override_of(name, load(text), origin) if "::" in value else Override(name, origin, text=value)
        except UsageError as error:
            errors.append(error)
    return found


def unused(overrides: Mapping[str, Override], known: Collection[str], *, surely: bool) -> list[UsageError]:
    """Return an error for each override of a name that nothing asks for.

    Args:
        overrides: By name.
        known: The names that could be asked for.
        surely: Whether all that asks could be read; else a known name may be asked for by what could not.
    """
    return [
        OptionError(
            f"{override.origin}: nothing asks for {name!r}",
            known=f"known: {listing(n for n in known if n != name)}",
            remedy="Take it out."
            if name in known
            else did_you_mean(name, known, "Name a task, a resource or a parameter of the flow."),
        )
        for name, override in overrides.items()
        if not override.used and (surely or name not in known)
    ]


def override_of(name: str, value: object, origin: str) -> Override:
    """Return the override that a value or a function makes; a function is a task, unless it is declared otherwise."""
    found = declared(value)
    if found is not None:
        declaration = type(found)(found.function, {**found.options, "name": name})
    elif callable(value) and not isinstance(value, type):
        declaration = Task(value, {"name": name})
    else:
        return Override(name, origin, value=value)
    return Override(name, origin, declaration=declaration)


def converted(override: Override, annotation: object) -> object:
    """Return the value of an override as an annotation wants it.

    Raises:
        ParameterError: It does not fit.
    """
    text = override.text is not None
    value = override.text if text else override.value
    try:
        return convert(value, annotation, text=text)
    except Problem as problem:
        quoted = STARS if wants_secret(annotation) else value
        said = f"{override.origin}={quoted}: does" if text else f"{override.origin}: {quoted!r} does"
        raise ParameterError(f"{said} not fit", known=str(problem), remedy="Give a value that does.") from None
