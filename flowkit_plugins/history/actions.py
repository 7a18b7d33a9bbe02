"""What ``flowkit runs``, ``show``, ``logs``, ``why``, ``set`` and ``repro`` do."""

from __future__ import annotations

import getpass
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import click

from flowkit import settings
from flowkit.durations import seconds
from flowkit.errors import OptionError, SelectionError, UsageError, did_you_mean
from flowkit.printable import clean
from flowkit_plugins.history import file_of, flowkit_settings, printing
from flowkit_plugins.history.databases import SPAN, open_to_write, transaction, trouble
from flowkit_plugins.history.following import Follower
from flowkit_plugins.history.reading import STATUSES, History, HistoryError, NodeEnd, RunRow
from flowkit_plugins.history.telling import matching, told
from flowkit_plugins.history.tree import roots, tasks_of

#: Seconds between two looks at a run that is followed.
FOLLOW_EVERY = 0.2
#: Ids that the shell is offered.
MOST_COMPLETED = 500


def ids(incomplete: str) -> list[str]:
    """Return the ids of the last runs that begin so, for the shell."""
    try:
        listed = _history(".").listed(most=50)
    except (HistoryError, UsageError, OSError):
        return []
    return [
        name
        for name in ("last", "last-failed", *(run.id for run in listed))
        if name.startswith(incomplete)
    ]


def nodes(run: str, incomplete: str) -> list[str]:
    """Return the nodes of a run whose ids, within the flow or in full, begin so, for the shell."""
    try:
        history = _history(".")
        names = sorted(end.node for end in history.nodes(history.find(run)))  # not as they ended
    except (HistoryError, UsageError, OSError):
        return []
    short = [name.partition("::")[2] for name in names]
    return [name for name in (*short, *names) if name.startswith(incomplete)][:MOST_COMPLETED]


def _history(root: str) -> History:
    found = settings.find([Path(root).resolve()])
    found.check(flowkit_settings())
    return History(file_of(found.root, found["history.url"]))


# --- runs -------------------------------------------------------------------------------------


def runs(
    *,
    flow: str,
    status: Sequence[str],
    since: str | None,
    most: int,
    children: bool,
    as_json: bool,
    root: str,
) -> None:
    """List runs."""
    for word in status:
        if word not in STATUSES:
            raise OptionError.unknown("status", word, f"--status {word}", STATUSES, "Name one of these.")
    history = _history(root)
    after = None
    if since is not None:
        try:
            after = time.time() - seconds(since)
        except ValueError as error:
            raise OptionError(f"--since {since}: {error}") from None
    path = _flow(history, flow) if flow else ""
    listed = history.listed(flow=path, status=status, since=after, most=most, children=children)
    counted = [(run, history.counts(run)) for run in listed]
    history.close()
    if as_json:
        click.echo(
            "\n".join(json.dumps(printing.run_as_json(run, counts)) for run, counts in counted)
        )
        return
    if not counted:
        click.echo(
            f"no runs in {history.file}" if not (flow or status or since) else "no such runs"
        )
    for line in printing.run_lines(counted):
        click.echo(line)


def _flow(history: History, text: str) -> str:
    known = history.flows()
    for path, file, module in known:
        if text in (path, module) or (file is not None and Path(text).resolve() == Path(file)):
            return path
    named = history.called(text) or [path for path, _, _ in known if Path(path).stem == text]
    if len(named) > 1:
        raise SelectionError(
            f"{text!r} is what {len(named)} flows are called",
            known=f"flows: {', '.join(named)}",
            remedy="Name one of these.",
        )
    if named:
        return named[0]
    names = [path for path, _, _ in known]
    raise SelectionError(
        f"no run of a flow {text!r}",
        known=f"flows: {', '.join(names) or 'none'}",
        remedy=did_you_mean(text, names, "Name one of these."),
    )


# --- show, logs, why --------------------------------------------------------------------------


def show(run: str, verbose: bool, as_json: bool, root: str) -> None:
    """Show what a run did."""
    history = _history(root)
    row = history.find(run)
    tasks = tasks_of(history.graph(row), history.nodes(row), history.running(row))
    story = printing.Story(
        row, history.details(row), history.details(row, "end"), printing.with_running(row, tasks),
        [attempt for _, attempt in history.attempts(row)], history.repairs(row), history.children(row),
    )  # fmt: skip
    history.close()
    if as_json:
        click.echo(json.dumps(story.as_json(), indent=2))
        return
    _say("\n".join(story.lines(verbose=verbose)))


def _say(text: str) -> None:
    """Print what may hold what users' code brought forth."""
    color = sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    click.echo(clean(text, color=color))


def logs(run: str, node: str, follow: bool, root: str) -> None:
    """Show what nodes printed."""
    history = _history(root)
    row = history.find(run)
    after, follower = 0, Follower()
    while True:
        found = history.attempts(row, after)
        running = history.running(row)
        after = found[-1][0] + 1 if found else after
        names = [*(attempt.node for _, attempt in found), *(each.node for each in running)]
        wanted = set(matching(node, names)) if node else None
        word = "running" if row.status == "running" else "was running"
        for line in follower.ended([attempt for _, attempt in found], wanted):
            _say(line)
        for line in follower.running(running, wanted, word):
            _say(line)
        if not follow or (row.status != "running" and not found):
            break
        time.sleep(FOLLOW_EVERY)
        row = history.run(row.id) or row
    if not follower.shown:
        names = [n.node for n in history.nodes(row)]
        if node and not matching(node, names):
            raise _unknown(node, row, names)
        click.echo(f"{node or f'run {row.id}'} printed nothing")
    history.close()


def why(node: str, run: str, root: str) -> None:
    """Say what happened to a node."""
    history = _history(root)
    row = history.find(run)
    nodes = history.nodes(row)
    tasks = tasks_of({}, nodes, history.running(row))
    ends = {end.node: end for task in tasks for end in task.nodes}
    found = _matching(node, row, list(ends))
    attempts = [attempt for _, attempt in history.attempts(row)]
    repairs = {repair.node: repair for repair in history.repairs(row)}
    history.close()
    ago = printing.ago(row.started)
    for name in found[:10]:
        for line in told(
            ends[name], row, ago, nodes=nodes, attempts=attempts, repair=repairs.get(name)
        ):
            _say(line)
    if len(found) > 10:
        click.echo(f"… and {len(found) - 10} more: name one of them")


def _matching(text: str, row: RunRow, names: Sequence[str]) -> list[str]:
    found = matching(text, names)
    if not found:
        raise _unknown(text, row, names)
    return found


def _unknown(text: str, row: RunRow, names: Sequence[str]) -> SelectionError:
    return SelectionError(
        f"run {row.id} has no node {text!r}",
        known=f"it has {len(names)}: {', '.join(names[:5])}{', …' if len(names) > 5 else ''}",
        remedy=did_you_mean(
            text, [n.partition("::")[2] for n in names[:2000]], f"flowkit show {row.id} lists them."
        ),
    )


# --- set, repro -------------------------------------------------------------------------------


def set_(
    *, run: str, node: str, value: str | None, skip: str | None, fail: str | None, root: str
) -> None:
    """Note a repair by hand."""
    given = [
        (what, text)
        for what, text in (("value", value), ("skip", skip), ("fail", fail))
        if text is not None
    ]
    if len(given) != 1:
        raise OptionError(
            "flowkit set: says nothing, or too much",
            remedy="Give one of --value JSON, --skip and --fail.",
        )
    what, text = given[0]
    history = _history(root)
    row = history.find(run)
    if row.status == "running":
        raise SelectionError(f"run {row.id} is still running", remedy="Wait for it, or stop it.")
    name = _node_to_set(history, row, node)
    _reached(history, row, name)
    before = len(history.repairs(row))
    command = printing.command(history.graph(row).get("keys", ()) or [name], history.details(row))
    history.close()
    if what == "value":
        try:
            text = json.dumps(json.loads(text))
        except ValueError:
            text = json.dumps(text)
    _write_repair(history.file, row, name, what, text)
    click.echo(
        f"{name} of run {row.id}: {what} {text}"
        + ("" if not before else ", instead of what was set before")
    )
    click.echo(f"{command} --resume={row.id} takes it from there")


def _node_to_set(history: History, row: RunRow, text: str) -> str:
    nodes: list[NodeEnd] = history.nodes(row)
    names = [n.node for n in nodes]
    shape = history.graph(row)
    keys = shape.get("keys", ())
    mapped = {keys[place] for place in shape.get("mapped", ())}
    known = set(names)
    names += [key for key in keys if key and key not in known and key not in mapped]
    found = [n for n in matching(text, names) if n == text or n.partition("::")[2] == text]
    if len(found) == 1:
        return found[0]
    if text.endswith("]") and row.status not in ("ok", "failed"):
        # An element that the run did not come to. One that came to its end knows all its elements.
        task = text.partition("[")[0]
        owners = [key for key in mapped if task in (key, key.partition("::")[2])]
        if len(owners) == 1:
            return f"{owners[0]}{text[len(task) :]}"
    raise _unknown(text, row, names)


def _reached(history: History, row: RunRow, name: str) -> None:
    """Refuse a node that ``--resume`` does not come to: it is UPSTREAM, and what failed above it would again.

    Raises:
        SelectionError: It names what is to be set instead.
    """
    nodes = history.nodes(row)
    end = next((each for each in nodes if each.node == name), None)
    if end is None or end.word != "upstream":
        return
    done = {repair.node for repair in history.repairs(row)}
    left = [root for root in roots(name, tasks_of(history.graph(row), nodes)) if root not in done]
    if left:
        more = f", … ({len(left)} in all)" if len(left) > 5 else ""
        raise SelectionError(
            f"{name} did not run in run {row.id}: {end.reason}",
            known=f"what failed above it: {', '.join(left[:5])}{more}",
            remedy=f"Set {'that' if len(left) == 1 else 'those'}: a node below runs once they have ended otherwise.",
        )


def _write_repair(file: Path, row: RunRow, node: str, what: str, text: str) -> None:
    import sqlite3

    try:
        connection = open_to_write(file, 5.0)
        try:
            with transaction(connection):
                first = row.number * SPAN
                ((at,),) = connection.execute(
                    "SELECT coalesce(max(at) + 1, ?) FROM repairs WHERE at BETWEEN ? AND ?",
                    (first, first, first + SPAN - 1),
                ).fetchall()
                connection.execute(
                    "INSERT INTO repairs VALUES (?, ?, ?, ?, ?, ?)",
                    (at, node, what, text, time.time(), _who()),
                )
        finally:
            connection.close()
    except (OSError, sqlite3.Error) as error:
        raise trouble(error, file) from error


def _who() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "somebody"


def repro(which: str, output: str | None, root: str) -> None:
    """Write a test that ends as a node did."""
    from flowkit_plugins.history.repro import write

    run, colons, node = which.partition("::")
    if not colons:
        raise OptionError(
            f"{which}: no '::'", remedy="Write RUN::NODE, as in flowkit repro last-failed::clean."
        )
    history = _history(root)
    row = history.find(run)
    names = [n.node for n in history.nodes(row)]
    found = _matching(node, row, names)
    if len(found) > 1:
        raise SelectionError(
            f"{node!r} is {len(found)} nodes of run {row.id}",
            known=", ".join(found[:5]),
            remedy="Name one of them.",
        )
    for line in write(history, row, found[0], Path(output) if output else None):
        click.echo(line)
