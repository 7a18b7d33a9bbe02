"""Inputs of a flow: where their values come from, and how text becomes what the annotation says."""

from __future__ import annotations

import json
import os
import sys
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from flowkit.annotations import MISSING
from flowkit.annotations import text as shown
from flowkit.durations import seconds
from flowkit.errors import ParameterError, UsageError, a_kind, did_you_mean, listing
from flowkit.records import field, record
from flowkit.secrets import STARS, concealing, holds_secret, wants_secret
from flowkit.typeparts import parts_of

PREFIX = "FLOWKIT_PARAM_"


@record()
class Parameter:
    """One input of a flow.

    Attributes:
        name: Its name.
        annotation: Its type; ``typing.Any`` where nothing is said.
        default: Its default, or ``MISSING``.
        asked_by: ``task 'clean'``, the first that asks.
        where: ``file:line`` of that.
        users: Keys of the tasks and resources that take it.
        iterated: Whether it is only the source of an ``each``.
        explicit: Whether its annotation was written (not taken from the default).
    """

    name: str
    annotation: object
    default: object
    asked_by: str
    where: str
    users: list[str] = field(factory=list)
    iterated: bool = False
    value: object = MISSING
    origin: str = "default"


@record(frozen=True)
class Given:
    """A value from outside, before it is converted.

    Attributes:
        value: As it came.
        origin: Where from, in words: ``-P since=x``, ``$FLOWKIT_PARAM_SINCE``, ``params.toml``.
        text: Whether it is text that somebody typed.
        way: What to give another one with: ``-P``, ``-O`` or ``override``; the first would lose to the others.
    """

    value: object
    origin: str
    text: bool
    way: str = "-P"


class Sources:
    """All values from outside, nearest first: command line or Python, environment, file.

    Args:
        typed: ``name=value`` texts of ``-P``.
        given: ``params={...}`` of Python.
        file: ``--params FILE``.

    Attributes:
        errors: What cannot be read: texts without ``=``, a file.
    """

    def __init__(
        self, typed: Sequence[str] = (), given: Mapping[str, object] | None = None, file: str | Path | None = None
    ) -> None:
        self.file = str(file) if file else ""
        self.near: dict[str, Given] = {}
        self.errors: list[UsageError] = []
        self._unread: set[str] = set()
        self._whole = True
        for text in typed:
            name, equals, value = text.partition("=")
            if not equals or not name.strip():
                lacks = "no name before the '='" if equals else "no '='"
                self.errors.append(ParameterError(f"-P {text}: {lacks}", remedy="Write -P name=value."))
                self._unread.add(text.strip())
                continue
            self.near[name.strip()] = Given(value, f"-P {text}", text=True)
        try:
            for name, handed in named(given, "params").items():
                self.near[name] = Given(handed, f"params[{name!r}]", text=False)
        except ParameterError as error:
            self.errors.append(error)
            self._whole = False
        read: Mapping[str, Any] = {}
        try:
            read = _read_file(Path(file)) if file else {}
        except ParameterError as error:
            self.errors.append(error)
            self._whole = False
        self.far = {name: Given(value, self.file, text=False) for name, value in read.items()}

    def find(self, name: str) -> Given | None:
        """Return the nearest value for a parameter."""
        if name in self.near:
            return self.near[name]
        variable = PREFIX + name.upper()
        if variable in os.environ:
            return Given(os.environ[variable], f"${variable}", text=True)
        return self.far.get(name)

    def lacks(self, name: str) -> bool:
        """Whether there is surely no value for a parameter: none was meant to be there that could not be read."""
        return self._whole and name not in self._unread and self.find(name) is None

    def unknown(self, known: Iterable[str]) -> Iterator[tuple[str, ParameterError]]:
        """Yield every name that is no parameter of the flow (the environment excepted), with the error for it."""
        names = list(known)
        for name, given in {**self.far, **self.near}.items():
            if name not in names:
                yield name, ParameterError(
                    f"{given.origin}: the flow has no parameter {name!r}",
                    known=f"its parameters: {listing(names)}",
                    remedy=did_you_mean(name, names, "Take it out, or give a task an argument of that name."),
                )

    def strangers(self, known: Iterable[str]) -> list[str]:
        """Return the environment's parameter variables that name no parameter."""
        names = {PREFIX + name.upper() for name in known}
        return sorted(v for v in os.environ if v.startswith(PREFIX) and v not in names)


def named(given: Any, keyword: str) -> Mapping[str, object]:
    """Return values that were given by name in Python, if they were.

    Raises:
        ParameterError: It is no mapping of names.
    """
    if given is None:
        return {}
    if isinstance(given, Mapping) and all(isinstance(name, str) for name in given):
        return given
    problem = f"names are text: {listing(map(repr, given))}" if isinstance(given, Mapping) else f"is {a_kind(given)}"
    raise ParameterError(f"flowkit.run(): {keyword}: {problem}", remedy=f'Write {keyword}={{"name": value}}.')


def _read_file(file: Path) -> dict[str, Any]:
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ParameterError(f"--params {file}: cannot be read: {error}", remedy="Name a readable file.") from error
    try:
        if file.suffix == ".toml":
            import tomllib

            read: Any = tomllib.loads(text)
        elif file.suffix in (".yaml", ".yml"):
            read = _yaml(file, text)
        else:
            read = json.loads(text)
    except ValueError as error:
        raise ParameterError(f"--params {file}: {error}", remedy="It is read as JSON, TOML or YAML by its name.") from error
    if not isinstance(read, dict):
        raise ParameterError(f"--params {file}: holds no table of names and values", remedy='Write {"name": value}.')
    return read


def _yaml(file: Path, text: str) -> Any:
    try:
        import yaml
    except ImportError as error:
        raise ParameterError(
            f"--params {file}: reading YAML needs pyyaml", remedy="pip install pyyaml, or use JSON or TOML."
        ) from error
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error


def settle(parameter: Parameter, sources: Sources) -> ParameterError | None:
    """Give a parameter its value; return what is wrong with it, if anything.

    A parameter that has none and needs none yet keeps ``MISSING``.
    """
    given = sources.find(parameter.name)
    if given is None:
        parameter.value = parameter.default
        return None
    parameter.origin = given.origin
    try:
        parameter.value = convert(given.value, parameter.annotation, text=given.text)
    except Problem as problem:
        name, value, origin = parameter.name, repr(given.value), given.origin
        if wants_secret(parameter.annotation):
            value, origin = STARS, origin.replace(f"={given.value}", f"={STARS}")
        say = f"override={{{name!r}: …}}" if given.way == "override" else f"{given.way} {name}=…"
        return ParameterError(
            f"parameter {name!r} of {parameter.asked_by} ({parameter.where}): {value} does not fit",
            known=f"from {origin}; wanted {shown(parameter.annotation)}:\n{problem}",
            remedy=f"Give a value that does: {say}",
        )
    return None


def default_of(default: object, annotation: object) -> object:
    """Return a default as its parameter has it: as it is, but one of a secret's type that is no secret yet becomes one.

    Raises:
        Problem: It does not fit.
    """
    if default is MISSING or default is None or "pydantic" not in sys.modules:
        return default
    if not wants_secret(annotation) or holds_secret(default):
        return default
    return convert(default, annotation, text=False)


class Problem(Exception):
    """A value does not fit its annotation; the text says why, a line per place."""


def convert(value: object, annotation: object, *, text: bool) -> object:
    """Return a value as its annotation wants it (ruling B8).

    Text is taken as it is if the annotation has ``str`` at its top level; otherwise it is read as
    JSON if it parses and fits; otherwise it is handed to pydantic as text.

    Raises:
        Problem: It does not fit. If the annotation has a secret in it, nothing of the value is in its text.
    """
    try:
        return _converted(value, annotation, text=text)
    except Problem as problem:
        if not wants_secret(annotation):
            raise
        hide = concealing([value, *_leaves(_json(value) if isinstance(value, str) else value)])
        raise Problem(hide(str(problem))) from None


def _converted(value: object, annotation: object, *, text: bool) -> object:
    if annotation is typing.Any or annotation is MISSING:
        return _json(value) if text else value
    if not text:
        return value if type(value) is annotation else _taken(value, annotation)
    assert isinstance(value, str)
    if annotation is str:
        return value
    if _takes_text(annotation):
        return _fitted(value, annotation)
    first: Problem | None = None
    for reading in _readings(value, annotation):
        try:
            return _fitted(reading, annotation)
        except Problem as problem:
            first = first or problem
    assert first is not None  # there is always the text
    raise first from None


def _taken(value: object, annotation: object) -> object:
    """Return a value from Python as pydantic has it; the user's program may know a flow's classes from another load of it."""
    try:
        return _fitted(value, annotation)
    except Problem:
        from flowkit.renewing import renewed  # needs dataclasses, which takes 10 ms

        again = renewed(value)
        if again is value:
            raise
    return _fitted(again, annotation)


def _readings(text: str, annotation: object) -> Iterator[object]:
    """Yield what a text may stand for: JSON, with numbers to the last digit where the annotation wants them so; itself."""
    read = _json(text)
    if read is not text:
        decimal = sys.modules.get("decimal")  # else nobody can want one
        if decimal is not None and decimal.Decimal in parts_of(annotation):
            yield json.loads(text, parse_float=decimal.Decimal)
        yield read
    yield text


def _json(value: object) -> object:
    try:
        return json.loads(value)  # type: ignore[arg-type]  # callers pass text
    except ValueError:
        return value


def _leaves(value: object) -> Iterator[object]:
    """Yield the texts, numbers and bytes in a value."""
    if isinstance(value, Mapping):
        for inner in value.values():
            yield from _leaves(inner)
    elif isinstance(value, (list, tuple, set, frozenset)):
        for inner in value:
            yield from _leaves(inner)
    elif isinstance(value, (str, bytes, int, float)):
        yield value


def _takes_text(annotation: object) -> bool:
    return str in _members(annotation)


def _members(annotation: object) -> tuple[object, ...]:
    """Return what a value may be at the top level: the members of a union, or the one type."""
    if typing.get_origin(annotation) is typing.Annotated:
        annotation = typing.get_args(annotation)[0]
    return typing.get_args(annotation) if typing.get_origin(annotation) in _UNIONS else (annotation,)


def _fitted(value: object, annotation: object) -> object:
    """Return a value as pydantic has it; a duration may be written as everywhere: ``1h30m``."""
    try:
        return _validate(value, annotation)
    except Problem:
        if not isinstance(value, str) or timedelta not in _members(annotation):
            raise
        try:
            length = timedelta(seconds=seconds(value))
        except (ValueError, OverflowError):
            length = None
        if length is None:
            raise
        return _validate(length, annotation)


_UNIONS = (typing.Union, type(int | str))
_adapters: dict[object, Any] = {}


def _validate(value: object, annotation: object) -> object:
    import pydantic  # 70 ms: only where a value from outside has to be converted

    try:
        adapter = _adapters.get(annotation)
    except TypeError:
        adapter = None
    if adapter is None:
        adapter = _adapter(pydantic, annotation)
        try:
            _adapters[annotation] = adapter
        except TypeError:
            pass
    try:
        return adapter.validate_python(value)
    except pydantic.ValidationError as error:
        lines = []
        for detail in error.errors():
            at = ".".join(str(part) for part in detail["loc"])
            lines.append(f"{at}: {detail['msg']}" if at else detail["msg"])
        raise Problem("\n".join(lines)) from None
    except Exception as error:
        raise Problem(f"{type(error).__name__}: {error}") from None


def _adapter(pydantic: Any, annotation: object) -> Any:
    try:
        return pydantic.TypeAdapter(annotation)
    except pydantic.PydanticSchemaGenerationError:
        return pydantic.TypeAdapter(annotation, config={"arbitrary_types_allowed": True})
    except pydantic.PydanticUserError:
        # Forward references of a class that was defined in a function, and the like.
        return pydantic.TypeAdapter(typing.Any)


def is_secret(value: object) -> bool:
    """Whether a value is a pydantic ``SecretStr`` or ``SecretBytes``."""
    pydantic = sys.modules.get("pydantic")
    return pydantic is not None and isinstance(value, (pydantic.SecretStr, pydantic.SecretBytes))


def masked(value: object) -> str:
    """Return a value as text that may be shown; secrets hide themselves in their repr."""
    try:
        return repr(value)
    except Exception as error:
        return f"<{type(value).__name__} whose repr raises {type(error).__name__}>"
