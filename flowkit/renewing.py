"""Values of a class whose module was loaded anew since: what the user's program, or a test, made of a flow's own classes.

A flow's file is executed afresh for each run, so that there may be several classes of one name. Python
takes them for strangers; to whoever wrote the file there is one.
"""

from __future__ import annotations

import copy
import dataclasses
import enum
import sys
from functools import reduce
from types import ModuleType
from typing import Any

from flowkit.rebuilding import rebuilt


def renewed(value: Any) -> Any:
    """Return a value with enums, models and dataclasses in it as instances of what now bears their classes' names.

    What has other fields now, or is of another kind, stays as it is; so does all that is of today.
    """
    kind = type(value)
    now = _now(kind)
    if now is not None and isinstance(value, enum.Enum):
        return now.__members__.get(value.name, value) if issubclass(now, enum.Enum) else value
    value = rebuilt(value, renewed)
    if now is None or _fields(kind) != _fields(now) or not _fields(kind):
        return value
    copied = copy.copy(value)
    try:
        object.__setattr__(copied, "__class__", now)  # also where the class is frozen
    except TypeError:  # it is laid out differently
        return value
    return copied


def _now(kind: type) -> Any:
    """Return the class that bears the name of a class in its module, if that is another one by now."""
    module = sys.modules.get(kind.__module__)
    if kind.__module__ == "__main__":
        module = _imported(module) or module
    found: Any = reduce(lambda outer, name: getattr(outer, name, None), kind.__qualname__.split("."), module)
    return found if isinstance(found, type) and found is not kind else None


def _imported(script: ModuleType | None) -> ModuleType | None:
    """Return the module that was imported from the file of a script, if any was."""
    file = getattr(script, "__file__", None)
    others = (m for m in list(sys.modules.values()) if m is not script and file and getattr(m, "__file__", None) == file)
    return next(others, None)


def _fields(kind: Any) -> dict[str, str]:
    """Return the fields of a model or dataclass, each with its type as text; none of any other class."""
    types: dict[str, object] = {}
    if dataclasses.is_dataclass(kind):
        types = {field.name: field.type for field in dataclasses.fields(kind)}
    elif isinstance(fields := getattr(kind, "model_fields", None), dict):
        types = {name: field.annotation for name, field in fields.items()}
    return {name: str(wanted).replace(f"{kind.__module__}.", "") for name, wanted in types.items()}
