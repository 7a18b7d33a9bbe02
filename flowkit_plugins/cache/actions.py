"""What the commands below ``flowkit cache`` do."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from flowkit.errors import SelectionError, UsageError
from flowkit_plugins.cache import damage, export, gc, tables
from flowkit_plugins.cache.shelf import Shelf, opened
from flowkit_plugins.cache.sizes import shown
from flowkit_plugins.cache.stored import fetch

DAMAGED = 1


def _none(shelf: Shelf) -> bool:
    """Whether there is no store yet; then that is said."""
    if not shelf.exists:
        click.echo(f"no results are kept in {shelf.place} yet")
    return not shelf.exists


def ls(target: str | None) -> None:
    """List nodes."""
    with opened(target) as shelf:
        if _none(shelf):
            return
        entries = shelf.under(target)
        lines = list(tables.listed(entries, shelf.traces.pins().keys(), shelf.now))
        _print(lines or [f"no results are kept in {shelf.place}"])


def stat(target: str | None) -> None:
    """Say what tasks take."""
    with opened(target) as shelf:
        if _none(shelf):
            return
        names = None if target is None else {entry.task for entry in shelf.under(target)}
        _print(tables.sized(gc.look(shelf), names))


def get(node: str, file: str | None) -> None:
    """Show a value, or write it to a file."""
    with opened(node) as shelf:
        value = fetch(shelf, shelf.one(node))
    if file is not None:
        export.save(value, Path(file))
        return
    text = export.text(value)
    if isinstance(text, bytes):
        sys.stdout.flush()
        sys.stdout.buffer.write(text)
        sys.stdout.buffer.flush()
    else:
        click.echo(text)


def why(node: str, **given: Any) -> None:
    """Say what a run would do to a node, and why."""
    from flowkit.session import Session
    from flowkit_plugins.cache import accept as accept_

    if "::" not in node:
        raise SelectionError(
            f"{node!r} names no task", remedy="Write m.py::task or m.py::task[id]."
        )
    session = Session([node])
    try:
        with opened(node) as shelf:
            _print(accept_.why(session, shelf, node, accept_.Given(**given)))
    finally:
        session.close()


def accept(nodes: Sequence[str], **given: Any) -> None:
    """Write the last records of nodes under their keys of now."""
    from flowkit.session import Session
    from flowkit_plugins.cache import accept as accept_

    with opened(nodes[0]) as shelf:
        entries = [entry for node in nodes for entry in shelf.find(node)]
        wanted = {entry.node: entry.last for entry in entries}
        session = Session(list(nodes))
        try:
            result = accept_.accept(session, shelf, wanted, accept_.Given(**given))
        finally:
            session.close()
    for node in result.stamped:
        click.echo(f"accepted {node}")
    for node in result.fine:
        click.echo(f"{node} is reused as it is")
    for node, reason in result.refused.items():
        click.echo(f"not accepted: {node}: {reason}", err=True)
    if result.refused:
        sys.exit(1)


def pin(nodes: Sequence[str]) -> None:
    """Keep results from gc."""
    with opened(nodes[0]) as shelf:
        for entry in [e for node in nodes for e in shelf.find(node)]:
            if entry.trace is None:
                click.echo(f"{entry.node}: its result is not kept any more", err=True)
                continue
            shelf.traces.pin(entry.last.key, entry.node)
            click.echo(f"pinned {entry.node}")


def unpin(nodes: Sequence[str]) -> None:
    """Leave results to gc again: the present ones, and earlier ones of the same nodes."""
    with opened(nodes[0]) as shelf:
        pins = shelf.traces.pins()
        for entry in [e for node in nodes for e in shelf.find(node)]:
            keys = [
                key for key, note in pins.items() if key == entry.last.key or note == entry.node
            ]
            for key in keys:
                shelf.traces.unpin(key)
            click.echo(f"unpinned {entry.node}" if keys else f"{entry.node} was not pinned")


def verify(delete: bool) -> None:
    """Read every blob."""
    with opened() as shelf:
        if _none(shelf):
            return
        found = damage.look(shelf)
        for blob in found.bad:
            users = ", ".join(blob.nodes[:3]) + (" …" if len(blob.nodes) > 3 else "")
            click.echo(f"damaged: {users or blob.name}: {blob.problem}")
        bad = len(found.bad)
        click.echo(
            f"read {found.read} values, {shown(found.bytes)}: {f'{bad} damaged' if bad else 'all are sound'}"
        )
        if not bad:
            return
        if delete:
            damage.delete(shelf, found)
            click.echo(f"removed {bad}; the tasks run again when they are next needed")
        else:
            click.echo("flowkit cache verify --delete removes them; the tasks then run again")
    sys.exit(DAMAGED)


def collect(dry: bool) -> None:
    """Mark and sweep."""
    with opened() as shelf:
        if _none(shelf):
            return
        policy = gc.policy_of(shelf)
        marked = gc.mark(gc.look(shelf), policy, shelf.needed(), shelf.now)
        swept = None if dry else gc.sweep(shelf, marked)
        _print(tables.swept(marked, dry=dry))
        if swept is not None and swept.files:
            click.echo(
                f"removed {swept.files} files that belonged to nothing, {shown(swept.bytes)}"
            )
        if swept is not None and swept.locks:
            click.echo(f"removed {swept.locks} locks that killed runs left")
        if policy.max_size is not None and marked.after > policy.max_size:
            over = shown(marked.after - policy.max_size)
            click.echo(
                f"still {over} over max_size: the rest is pinned, needed by kept runs, or younger than an hour"
            )


def clear(target: str | None, yes: bool) -> None:
    """Remove results: all, or those of a folder, a flow, a task or a node."""
    with opened(target) as shelf:
        if _none(shelf):
            return
        if target is None:
            _ask(yes, f"Remove all results in {shelf.place}?")
            shelf.close()
            damage.clear_all(shelf)
            click.echo(f"removed all results in {shelf.place}")
            return
        entries = shelf.under(target)
        nodes = {entry.node for entry in entries}
        keys = {entry.last.key for entry in entries}
        kept = gc.look(shelf)
        going = [trace for trace in kept.traces if trace.node in nodes or trace.key in keys]
        _ask(yes, f"Remove {len(going)} results of {target}?")
        rows = {row for trace in going for row in gc.rows_of(trace)} & kept.sizes.keys()
        gc.remove(shelf, [trace.key for trace in going], rows)
        click.echo(f"removed {len(going)} results of {target}")


def _ask(yes: bool, question: str) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError(f"{question} Nobody is there to answer", remedy="Say --yes.")
    click.confirm(question, abort=True)


def _print(lines: Iterable[str]) -> None:
    for line in lines:
        click.echo(line)


ACTIONS: Mapping[str, Callable[..., None]] = {
    "ls": ls,
    "stat": stat,
    "get": get,
    "why": why,
    "accept": accept,
    "pin": pin,
    "unpin": unpin,
    "verify": verify,
    "gc": collect,
    "clear": clear,
}
