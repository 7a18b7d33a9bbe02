"""Secrets among the parameters: which types hold any, and how they are taken out of a text.

``SecretStr`` hides itself in its repr; what a task prints or raises does not.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

from flowkit.typeparts import parts_of

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
    if "pydantic" not in sys.modules:  # then nobody can have made one
        return str
    return concealing(_secrets(params, set()))


def concealing(hidden: Iterable[object]) -> Mask:
    """Return a function that replaces texts, and what else is shown as one, in a text."""
    found: set[str] = set()
    for secret in hidden:
        if isinstance(secret, bytes):
            found |= {secret.decode("utf-8", "replace"), repr(secret)[2:-1]}
        else:
            found |= {str(secret), repr(str(secret))[1:-1]}
    wanted = sorted((s for s in found if len(s) >= SHORTEST_SECRET), key=len, reverse=True)
    if not wanted:
        return str
    pattern = re.compile("|".join(map(re.escape, wanted)))
    return lambda text: pattern.sub(STARS, text)


def holds_secret(value: object) -> bool:
    """Whether a value is a secret, or has one in it, however short."""
    return "pydantic" in sys.modules and any(True for _ in _secrets(value, set()))


def wants_secret(annotation: object) -> bool:
    """Whether a type is a secret's, or has one in it; so it is taken to be if it cannot be evaluated and is named like one."""
    return any(
        "Secret" in part if isinstance(part, str) else hasattr(part, "get_secret_value")
        for part in parts_of(annotation)
    )


def command_without(names: Collection[str], command: str, mask: Mask) -> str:
    """Return a command line without the values that it gives for some names, however short, and without other secrets."""
    if names:
        import shlex  # 2 ms, and only secrets need it

        words = []
        for word in shlex.split(command):
            name, equals, _ = word.partition("=")
            hit = equals and name.removeprefix("-P").removeprefix("-O").strip() in names
            words.append(f"{name}={STARS}" if hit else word)
        command = shlex.join(words)
    return mask(command)


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
