"""What of a key is the same for all nodes of a task, and how it is kept for the next explanation."""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Callable, Mapping
from json.encoder import encode_basestring_ascii as quoted
from typing import Any

from flowkit.digests import FileFact
from flowkit.graph import BoundResource
from flowkit.secrets import Mask
from flowkit_plugins.cache.fingerprint import Fingerprint, Part
from flowkit_plugins.cache.policy import Cache

#: Resources of flowkit's own that say nothing about a result.
SILENT = frozenset({"log", "tmp_path", "out", "rng"})
#: Where an object lies says nothing.
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


def hashed(*parts: str) -> str:
    """Return 40 hex digits that name a sequence of texts."""
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:40]


class TaskPlan:
    """What of a key is the same for all nodes of a task.

    Attributes:
        policy: Its ``cache=``; None if it is off.
        never: Why it is never reused, or ``""``.
        hexed: The hash of its function's code, with that of the resources it asks for.
        fixed: Everything that does not depend on the node, as one text.
        shown: Parameter → (digest, how it looks, how exactly) of its parameters, and of its resources'.
        said: Option → how it looks, of those that count.
        files: Parameter → the files that its value stands for.
        besides: Parameter → what counts besides what its value says, by name.
        simple: The key is the same for all nodes (there is one).
        key: That key, once it was made; of no meaning where it is not the same.
        unsure: Some argument has no content, so that equal keys do not mean equal inputs.
        made: The fingerprint behind ``hexed``; None of a plain function, until it is asked for.
        prefix: A hash object fed with ``fixed``, once it was asked for.
        stored: What :func:`stored_parts` begins with, once it was asked for.
    """

    __slots__ = (
        "besides", "files", "fixed", "hexed", "key", "made", "never", "policy", "prefix", "said", "shown", "simple", "stored", "unsure",
    )  # fmt: skip

    def __init__(self, policy: Cache | None, never: str, hexed: str, simple: bool) -> None:
        self.policy = policy
        self.never = never
        self.hexed = hexed
        self.fixed = ""
        self.shown: dict[str, tuple[str, str, str]] = {}
        self.simple = simple
        self.key = ""
        self.unsure = False
        self.made: Fingerprint | None = None
        self.said: dict[str, str] = {}
        self.files: dict[str, tuple[FileFact, ...]] = {}
        self.besides: dict[str, dict[str, str]] = {}
        self.prefix: Any = None
        self.stored = ""


class Counted:
    """What a resource counts by: all of it and its code, hashed; and what to show of that."""

    __slots__ = ("besides", "code", "files", "hexed", "parts", "shown")

    def __init__(self) -> None:
        self.hexed = ""
        self.code = ""
        self.parts: dict[str, Part] = {}
        self.shown: dict[str, tuple[str, str, str]] = {}
        self.files: dict[str, tuple[FileFact, ...]] = {}
        self.besides: dict[str, dict[str, str]] = {}


def silent(resource: BoundResource) -> bool:
    """Whether a resource is flowkit's own and says nothing about a result."""
    return resource.name in SILENT and resource.plugin is not None


def asks_for_run(resources: Mapping[str, BoundResource]) -> bool:
    """Whether flowkit's ``run`` is among some resources, or among those that they ask for."""
    return any(
        (r.name == "run" and r.plugin is not None) or asks_for_run(r.resources)
        for r in resources.values()
    )


def looks(value: object, mask: Mask) -> tuple[str, str]:
    """Return how a parameter looks in a reason, and how where that does not tell it from another: ``1`` from ``'1'``.

    Both have at most 60 characters, no secret, and no address. The second is empty of a text: it is made of the first.
    """
    if isinstance(value, str):
        plain = value.isprintable() and value.strip() == value and value
        return _short(str if plain else repr, value, mask), ""
    return _short(str, value, mask), _short(repr, value, mask)


def _short(shown: Callable[[object], str], value: object, mask: Mask) -> str:
    try:
        text = mask(shown(value))
    except Exception:
        text = f"<{type(value).__name__}>"
    if not isinstance(value, str) and " at 0x" in text:
        text = _ADDRESS.sub("", text)
    return text if len(text) <= 60 else text[:59] + "…"


def stored_parts(plan: TaskPlan, counted: dict[str, str] | None) -> str:
    """Return the parts of a key as JSON, for the explanation of the next one.

    Without ``counted``, what came from above was not told, and nothing is said of it the next time.
    """
    if not plan.stored:
        plan.stored = _fixed_parts(plan)
    if counted is None:
        return f"{plan.stored}}}"
    # Digests are hexadecimal: nothing in them needs quoting, and the encoder would take as long as
    # storing the whole result.
    up = ",".join([f'{quoted(name)}:"{digest}"' for name, digest in counted.items()])
    return f'{plan.stored},"up":{{{up}}}}}'


def _fixed_parts(plan: TaskPlan) -> str:
    """Return what all nodes of a task have in common, as JSON without its end."""
    parts: dict[str, object] = {"code": plan.hexed, "fixed": plan.shown}
    if plan.said:
        parts["said"] = plan.said
    if plan.besides:
        parts["besides"] = plan.besides
    if len(parts) == 2 and not plan.shown:
        return f'{{"code":"{plan.hexed}","fixed":{{}}'
    return json.dumps(parts, separators=(",", ":"))[:-1]


def environment() -> str:
    """Return Python's version and those of the installed distributions, as one hash."""
    from importlib import metadata

    names = sorted({f"{d.metadata['Name']}=={d.version}" for d in metadata.distributions()})
    return hashed(sys.version, *names)
