"""Secrets among the parameters, and how they are taken out of a text.

``SecretStr`` hides itself in its repr; what a task prints or raises does not.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

Mask = Callable[[str], str]

#: What stands in the place of a secret; those shorter than this many characters are left alone,
#: since masking every "a" makes a text unreadable and hides nothing.
STARS = "**********"
SHORTEST_SECRET = 4


def masking(params: Mapping[str, object]) -> Mask:
    """Return a function that replaces every secret among the parameters in a text.

    A secret is the value of a pydantic ``SecretStr`` or ``SecretBytes`` (or any ``Secret``), also
    deep in a container, dataclass or model, as it is and as ``repr`` writes it.
    """
    found: set[str] = set()
    if "pydantic" in sys.modules:  # else nobody can have made one
        for secret in _secrets(params, set()):
            if isinstance(secret, bytes):
                found |= {secret.decode("utf-8", "replace"), repr(secret)[2:-1]}
            else:
                found |= {str(secret), repr(str(secret))[1:-1]}
    wanted = sorted((s for s in found if len(s) >= SHORTEST_SECRET), key=len, reverse=True)
    if not wanted:
        return str
    pattern = re.compile("|".join(map(re.escape, wanted)))
    return lambda text: pattern.sub(STARS, text)


def _secrets(value: object, seen: set[int]) -> Iterator[object]:
    if value is None or isinstance(value, (str, bytes, int, float)) or id(value) in seen:
        return
    seen.add(id(value))
    reveal = getattr(type(value), "get_secret_value", None)
    if reveal is not None:
        yield reveal(value)
        return
    inside: Iterable[object] = ()
    if isinstance(value, Mapping):
        inside = [*value.keys(), *value.values()]
    elif isinstance(value, (list, tuple, set, frozenset)):
        inside = value
    elif hasattr(type(value), "model_fields") or hasattr(type(value), "__dataclass_fields__"):
        kind: Any = type(value)
        fields = kind.model_fields if hasattr(kind, "model_fields") else kind.__dataclass_fields__
        inside = [getattr(value, name, None) for name in fields]
    for part in inside:
        yield from _secrets(part, seen)
