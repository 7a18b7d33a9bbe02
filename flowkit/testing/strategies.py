"""What hypothesis draws for a flow: parameters, inputs, overrides, faults, schedules, edits."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping, Sequence
from datetime import date, datetime, time, timedelta
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from flowkit.annotations import MISSING
from flowkit.errors import ParameterError
from flowkit.parameters import Parameter, Problem, convert
from flowkit.testing.faultplans import CRASH_POINTS, STORE_OPERATIONS, Fault, Plan

if TYPE_CHECKING:
    from flowkit.graph import BoundTask

Strategy = st.SearchStrategy[Any]

#: What numbers without bounds are drawn from: a parameter is more often a count than a quantity.
FEW = 1000
#: Days around a default, or around a leap day, that dates are drawn from: two may be the ends of a list of days.
DAYS = 100
_LEAP_DAY = date(2024, 2, 29)


def of_type(annotation: object) -> Strategy:
    """Return values of a type as pydantic understands it, constraints included."""
    if annotation is typing.Any or annotation is MISSING:
        return st.none() | st.booleans() | st.integers(-FEW, FEW) | st.text(max_size=8)
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return _constrained(annotation)
    if annotation is int:
        return st.integers(-FEW, FEW)
    if annotation is float:
        return st.floats(-FEW, FEW, allow_nan=False)
    if annotation in (date, datetime, timedelta):
        return near(annotation, _LEAP_DAY)
    if annotation is str:
        return st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
    if isinstance(annotation, type):
        found = _of_class(annotation)
        if found is not None:
            return found
    arguments = typing.get_args(annotation)
    if origin in (list, Sequence):
        return st.lists(of_type(arguments[0] if arguments else typing.Any), max_size=5)
    if origin in (dict, Mapping):
        return st.dictionaries(of_type(arguments[0]), of_type(arguments[1]), max_size=4)
    if origin in (typing.Union, type(int | str)):
        return st.one_of(*[of_type(argument) for argument in arguments])
    return st.from_type(annotation)  # type: ignore[arg-type]  # anything hypothesis knows


def near(annotation: object, about: date) -> Strategy:
    """Return days, times or lengths of time around one: a list of all days between two of them stays short."""
    if annotation is timedelta:
        return st.integers(-DAYS, DAYS).map(lambda days: timedelta(days=days))
    if annotation is datetime:
        moment = about if isinstance(about, datetime) else datetime.combine(about, time())
        return st.integers(-DAYS * 86400, DAYS * 86400).map(lambda seconds: _moved(moment, timedelta(seconds=seconds)))
    day = about.date() if isinstance(about, datetime) else about
    return st.integers(-DAYS, DAYS).map(lambda days: _moved(day, timedelta(days=days)))


def _moved(moment: date, by: timedelta) -> date:
    try:
        return moment + by
    except OverflowError:  # there is nothing beyond ``date.max``, a common "for good"
        return moment


def _constrained(annotation: object) -> Strategy:
    base, *notes = typing.get_args(annotation)
    metadata: list[object] = []
    for note in notes:
        metadata += getattr(note, "metadata", None) or ([] if hasattr(note, "json_schema_extra") else [note])
    bounds: dict[str, Any] = {}
    for one in metadata:
        for name in ("ge", "gt", "le", "lt", "min_length", "max_length", "multiple_of"):
            value = getattr(one, name, None)
            if value is not None:
                bounds[name] = value
    if base in (int, float):
        drawn = _numbers(base, bounds)
    elif base is str and not any(getattr(one, "pattern", None) for one in metadata):
        drawn = st.text(min_size=bounds.get("min_length", 0), max_size=bounds.get("max_length", bounds.get("min_length", 0) + 20))
    else:
        drawn = of_type(base)
        if metadata:
            drawn = st.from_type(typing.Annotated[base, *metadata])  # type: ignore[arg-type]  # hypothesis takes it
    return drawn.filter(lambda value: _fits(value, annotation))


def _numbers(base: object, bounds: Mapping[str, Any]) -> Strategy:
    low = bounds.get("ge", bounds.get("gt"))
    high = bounds.get("le", bounds.get("lt"))
    low = low if low is not None else min(-FEW, high - FEW) if high is not None else -FEW
    high = high if high is not None else max(FEW, low + FEW)
    step = bounds.get("multiple_of")
    if base is int:
        import math

        if step:
            return st.integers(math.ceil(low / step), math.floor(high / step)).map(lambda n: n * step)
        return st.integers(math.ceil(low), math.floor(high))
    return st.floats(low, high, allow_nan=False)


def _of_class(annotation: type) -> Strategy | None:
    """Return instances of a class that hypothesis would not draw as pydantic means it."""
    if issubclass(annotation, PurePath):
        return st.text("abc", min_size=1, max_size=5).map(annotation)
    try:
        import pydantic
    except ImportError:
        return None
    if issubclass(annotation, (pydantic.SecretStr, pydantic.SecretBytes)):
        text = st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=12, max_size=16).map(lambda s: f"sec-{s}")
        return text.map(annotation) if issubclass(annotation, pydantic.SecretStr) else text.map(lambda s: annotation(s.encode()))
    if issubclass(annotation, pydantic.BaseModel):
        fields = {
            name: _or_default(of_type(typing.Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation), field)
            for name, field in annotation.model_fields.items()
        }
        return st.fixed_dictionaries(fields).filter(lambda values: _fits(values, annotation)).map(lambda values: annotation(**values))
    if dataclasses.is_dataclass(annotation):
        hints = typing.get_type_hints(annotation, include_extras=True)
        return st.builds(annotation, **{f.name: of_type(hints[f.name]) for f in dataclasses.fields(annotation) if f.init})
    return None


def _or_default(drawn: Strategy, field: Any) -> Strategy:
    return drawn if field.is_required() else st.just(field.get_default(call_default_factory=True)) | drawn


def _fits(value: object, annotation: object) -> bool:
    try:
        convert(value, annotation, text=False)
    except Problem:
        return False
    return True


def parameter(found: Parameter) -> Strategy:
    """Return values of a parameter: its default first, then whatever its type allows.

    Raises:
        ParameterError: It has no default and no type.
    """
    untyped = found.annotation is typing.Any or _is_path(found.annotation)
    if untyped and found.default is MISSING:
        raise ParameterError(
            f"parameter {found.name!r} of {found.asked_by} ({found.where}) cannot be drawn",
            known="it has no default, and " + ("a path leads nowhere" if _is_path(found.annotation) else "no type"),
            remedy=f"Give it: flow(…, params={{{found.name!r}: …}}).",
        )
    if untyped:
        return st.just(found.default)
    if found.annotation in (date, datetime) and isinstance(found.default, date):
        drawn = near(found.annotation, found.default)
    else:
        drawn = of_type(found.annotation)
    return drawn if found.default is MISSING else st.just(found.default) | drawn


def _is_path(annotation: object) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, PurePath)


def parameters(found: Mapping[str, Parameter], fixed: Mapping[str, object]) -> Strategy:
    """Return values of all parameters that are not fixed; those that have their default are left out."""
    drawn = {name: parameter(p) for name, p in found.items() if name not in fixed}
    defaults = {name: p.default for name, p in found.items()}
    return st.fixed_dictionaries(drawn).map(
        lambda values: {**{n: v for n, v in values.items() if v is not defaults[n]}, **fixed}
    )


def schedules(most: int = 24) -> Strategy:
    """Return scheduling choices; they shrink to none, which is definition order."""
    return st.lists(st.integers(0, 7), max_size=most).map(tuple)


def plans(tasks: Sequence[BoundTask], kinds: Sequence[str], *, most: int = 2, least: int = 0) -> st.SearchStrategy[Plan]:
    """Return fault plans for tasks, of these kinds."""
    drawn = [found for kind in kinds if (found := _faults(kind, tasks)) is not None]
    if not drawn:
        return st.just(Plan())
    return st.lists(st.one_of(drawn), min_size=least, max_size=most).map(lambda found: Plan(tuple(found)))


def _faults(kind: str, tasks: Sequence[BoundTask]) -> st.SearchStrategy[Fault] | None:
    timed = [t.name for t in tasks if t.deadline is not None]
    names = st.sampled_from([t.name for t in tasks])
    once = st.integers(1, 3)
    if kind == "fail":
        errors = st.sampled_from(("", "ConnectionError", "ValueError", "ConnectionError"))
        return st.builds(lambda n, last, e: Fault("fail", n, 1, last, e), names, st.sampled_from((1, 2, 3, None)), errors)
    if kind == "hang":
        return st.builds(lambda n, k: Fault("hang", n, k, k), st.sampled_from(timed), once) if timed else None
    if kind in ("timeout", "lost"):
        return st.builds(lambda n, k: Fault(kind, n, k, k), names, once)
    if kind == "slow":  # where nothing says that it is too slow
        patient = [t.name for t in tasks if t.deadline is None and t.flow.deadline is None]
        return st.builds(lambda n, s: Fault("slow", n, 1, None, str(s)), st.sampled_from(patient), st.integers(1, 100)) if patient else None
    if kind in ("unpicklable", "corrupt", "late"):
        return st.builds(lambda n: Fault(kind, n, 1, None), names)
    if kind == "crash":
        point, count = st.sampled_from(CRASH_POINTS), st.integers(1, max(3, len(tasks)))
        return st.builds(lambda p, k: Fault("crash", "*", k, k, p), point, count)
    if kind == "store":
        return st.builds(lambda o, k: Fault("store", "*", k, k, o), st.sampled_from(STORE_OPERATIONS), st.integers(1, 5))
    if kind == "clock":
        return st.builds(lambda s, k: Fault("clock", "*", k, k, str(s)), st.integers(-86400, 86400), once)
    if kind == "interrupt":
        return st.builds(lambda k: Fault("interrupt", "*", k, k), st.integers(1, max(2, len(tasks))))
    if kind == "teardown":
        return st.builds(lambda k: Fault("teardown", "*", k, k), once)
    raise ValueError(f"no kind of fault: {kind!r}")
