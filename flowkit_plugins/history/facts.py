"""What is noted of a run at its start: parameters, versions, the commit, the shape of its graph."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterator, Mapping
from datetime import date, datetime, timezone
from pathlib import PurePath
from typing import Any

from flowkit.graph import BoundResource, BoundTask, Graph
from flowkit.parameters import Given
from flowkit.reports import RunInfo
from flowkit.secrets import STARS, holds_secret

LONGEST_SHOWN = 500

#: Flags of the code of generator functions and asynchronous ones.
GENERATOR = 0x20 | 0x200


def facts_of(run: RunInfo, *, resumable: bool) -> dict[str, Any]:
    """Return what the journal notes of a run that begins, as JSON can hold it; no secret is in it."""
    params = {
        name: parameter(name, value, run.given.get(name), run) for name, value in run.params.items()
    }
    return {
        "command": run.command,
        "folder": os.getcwd(),
        "root": run.root,
        "executor": run.executor,
        "slots": run.slots,
        "started": run.started.isoformat(),
        "scheduled_at": run.scheduled_at.isoformat(),
        "zone": zone_of(run.scheduled_at),
        "params": params,
        "options": {
            name: value
            for name, value in run.options.items()
            if _plain(value) and value not in (None, (), False)
        },
        "resumable": resumable,
        "versions": versions(),
        "commit": commit(run.root),
        "host": os.uname().nodename if hasattr(os, "uname") else os.environ.get("COMPUTERNAME", ""),
    }


def zone_of(moment: datetime) -> list[str | None]:
    """Return what of a time's zone its ISO form lacks: ``[key of a ZoneInfo, name of a fixed offset]``.

    A time counts for reuse together with its zone, so one that is read back has to have the same.
    """
    zone: Any = moment.tzinfo
    if isinstance(zone, timezone):
        given = zone.__getinitargs__()  # type: ignore[attr-defined]  # what its own pickling asks
        return [None, given[1] if len(given) > 1 else None]
    return [getattr(zone, "key", None), None]


def scheduled(details: Mapping[str, Any]) -> datetime:
    """Return the time that a run was for, as it was."""
    moment = datetime.fromisoformat(str(details["scheduled_at"]))
    key, name = details.get("zone") or (None, None)
    if key is not None:
        from zoneinfo import ZoneInfo

        return moment.astimezone(ZoneInfo(key))
    if name is not None and (offset := moment.utcoffset()) is not None:
        return moment.replace(tzinfo=timezone(offset, name))
    return moment


def parameter(name: str, value: object, given: Given | None, run: RunInfo) -> dict[str, Any]:
    """Return how one parameter is noted: how it looks, and what was given for it.

    A secret, and what has one in its text, is only named; whoever continues the run gives it again.
    So is a value from Python that JSON cannot hold.
    """
    secret = holds_secret(value)
    noted: dict[str, Any] = {"given": None}
    try:
        looks = STARS if secret else repr(value)
        noted["shown"] = run.mask(looks)[:LONGEST_SHOWN]
        secret = secret or run.mask(looks) != looks
    except Exception:  # a repr of the user's may raise anything
        noted["shown"] = f"<{type(value).__name__}>"
    noted["secret"] = secret
    if given is not None:
        stored = None if secret else _storable(given.value)
        origin = given.origin.partition("=")[0] if secret else run.mask(given.origin)
        noted["given"] = {"text": given.text, "origin": origin, "value": stored}
    return noted


def given_of(noted: Mapping[str, Any]) -> Given | None:
    """Return what was given for a parameter, as it was noted; None if it has to be given again."""
    given = noted["given"]
    if given is None or given["value"] is None:
        return None
    return Given(given["value"][0], str(given["origin"]), text=bool(given["text"]))


def _storable(value: object) -> list[object] | None:
    """Return a value that JSON can hold, in a list; None if it cannot."""
    if isinstance(value, PurePath):
        return [str(value)]
    if isinstance(value, date):
        return [value.isoformat()]
    try:
        if json.loads(json.dumps(value, allow_nan=False)) == value:
            return [value]
    except (TypeError, ValueError, RecursionError):
        pass
    return None


def _plain(value: object) -> bool:
    return _storable(list(value) if isinstance(value, tuple) else value) is not None


def versions() -> dict[str, str]:
    """Return the versions that a result may depend on."""
    from flowkit import __version__

    return {"flowkit": __version__, "python": sys.version.split()[0], "system": sys.platform}


def commit(root: str) -> str | None:
    """Return the git commit that is checked out above ``root``; read from its files, no process is started."""
    folder = root
    while True:
        git = os.path.join(folder, ".git")
        if os.path.exists(git):
            return _head(git)
        above = os.path.dirname(folder)
        if above == folder:
            return None
        folder = above


def _head(git: str) -> str | None:
    try:
        if os.path.isfile(git):  # a worktree or submodule: "gitdir: elsewhere"
            named = _text(git).removeprefix("gitdir:").strip()
            git = os.path.join(os.path.dirname(git), named)
        head = _text(os.path.join(git, "HEAD"))
        if not head.startswith("ref:"):
            return head[:40]
        ref = head.removeprefix("ref:").strip()
        shared = os.path.join(git, "commondir")
        places = [git, os.path.join(git, _text(shared))] if os.path.exists(shared) else [git]
        for place in places:
            if os.path.exists(os.path.join(place, ref)):
                return _text(os.path.join(place, ref))[:40]
            packed = os.path.join(place, "packed-refs")
            if os.path.exists(packed):
                for line in _text(packed).splitlines():
                    if line.endswith(f" {ref}"):
                        return line[:40]
    except (OSError, UnicodeDecodeError):
        pass
    return None


def _text(path: str) -> str:
    with open(path, encoding="utf-8") as file:
        return file.read().strip()


def shape(graph: Graph) -> tuple[str, str]:
    """Return a graph's tasks and edges as JSON, with its hash: equal graphs are kept once.

    ``keys`` are the tasks' (``""`` for a given value), upstreams first; ``ups`` (the positions of what a
    task comes after), ``mapped`` and ``torn`` (resources that it uses and that are torn down) are only
    there for those that have any.
    """
    keys = [task.key if task.given is None else "" for task in graph.tasks]
    ups: dict[int, list[int]] = {}
    mapped: list[int] = []
    torn: dict[int, list[str]] = {}
    place = dict(zip(graph.tasks, range(len(keys)), strict=True))
    for i, task in enumerate(graph.tasks):
        if task.edges or task.elements or task.fallback is not None:
            ups[i] = list(dict.fromkeys([place[up] for up in task.upstream() if up in place]))
        if task.axes:
            mapped.append(i)
        if task.resources and (names := sorted(set(_torn_down(task)))):
            torn[i] = names
    rest = json.dumps({"ups": ups, "mapped": mapped, "torn": torn}, separators=(",", ":"))
    body = f'{{"keys":{_listed(keys)},{rest[1:]}'
    return hashlib.sha256(body.encode()).hexdigest()[:32], body


def _listed(texts: list[str]) -> str:
    """Return texts as a JSON list; if none has anything to escape, as is usual, they need not be seen one by one."""
    joined = '","'.join(texts)
    if texts and len(json.dumps(joined)) == len(joined) + 2 * len(texts):  # only the quotes were
        return f'["{joined}"]'
    return json.dumps(texts, separators=(",", ":"))


def _torn_down(task: BoundTask) -> Iterator[str]:
    """Yield the user's resources of a task that have a teardown."""
    stack: list[BoundResource] = list(task.resources.values())
    while stack:
        resource = stack.pop()
        stack.extend(resource.resources.values())
        code = getattr(resource.declaration.function, "__code__", None)
        if resource.plugin is None and code is not None and code.co_flags & GENERATOR:
            yield f"{resource.name} ({resource.where})"
