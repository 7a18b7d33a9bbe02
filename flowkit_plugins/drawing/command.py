"""The command ``flowkit graph``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from flowkit.errors import OptionError

if TYPE_CHECKING:
    from flowkit_plugins.drawing.model import Drawing

_SUFFIXES = {
    ".txt": "text",
    ".dot": "dot",
    ".gv": "dot",
    ".mmd": "mermaid",
    ".mermaid": "mermaid",
    ".svg": "svg",
}
_FORMATS = ("text", "dot", "mermaid", "svg")


def command() -> click.Command:
    """Return ``flowkit graph``."""
    return click.Command(
        "graph",
        callback=graph,
        params=[
            click.Argument(["targets"], nargs=-1, metavar="TARGET...", required=False),
            click.Option(
                ["--format", "kind"],
                type=click.Choice(_FORMATS),
                help="How to draw it; text, unless the name of FILE says otherwise.",
            ),
            click.Option(["-o", "--output", "file"], metavar="FILE", help="Write it to a file."),
            click.Option(["--resources"], is_flag=True, help="Draw the flow's resources, too."),
            click.Option(
                ["-p", "plugins"],
                multiple=True,
                metavar="PLUGIN",
                help="Load a plugin, or no:PLUGIN.",
            ),
        ],
        help="Draw what hangs off what: all tasks of a flow, or a task with all that it needs. Nothing is called.",
        short_help="Draw what hangs off what.",
    )


def graph(
    targets: Sequence[str],
    kind: str | None,
    file: str | None,
    resources: bool,
    plugins: Sequence[str],
) -> None:
    """Draw the graph of flows."""
    kind = kind or _kind_of(file)
    drawing = collected(targets, plugins, resources=resources)
    if file is None:
        click.echo(_drawn(drawing, kind, plain=not _shows_lines()), nl=False)
        return
    try:
        Path(file).write_text(_drawn(drawing, kind), encoding="utf-8")
    except OSError as error:
        raise OptionError(
            f"-o {file}: cannot be written: {error.strerror or error}",
            remedy="Name a file in a folder that is there.",
        ) from error


def collected(
    targets: Sequence[str], plugins: Sequence[str] = (), *, resources: bool = False
) -> Drawing:
    """Read flows and return their drawing.

    Raises:
        FlowError: Something is wrong with them.
    """
    from flowkit.cli import open_session
    from flowkit_plugins.drawing.model import draw

    session = open_session(targets, plugins)
    try:
        session.configure({}, later=True)
        found = session.collect()
        return draw(found.restricted(session.select().targets), resources=resources)
    finally:
        session.close()


def _drawn(drawing: Drawing, kind: str, *, plain: bool = False) -> str:
    if kind == "text":
        from flowkit_plugins.drawing.text import text

        return text(drawing, plain=plain)
    if kind == "svg":
        from flowkit_plugins.drawing.svg import svg

        return svg(drawing)
    from flowkit_plugins.drawing import markup

    formats: dict[str, Callable[[Drawing], str]] = {"dot": markup.dot, "mermaid": markup.mermaid}
    return formats[kind](drawing)


def _kind_of(file: str | None) -> str:
    if file is None:
        return "text"
    suffix = Path(file).suffix.lower()
    if suffix not in _SUFFIXES:
        raise OptionError(
            f"-o {file}: nothing says how to draw into {suffix or 'such'} files",
            known=f"known: {', '.join(_SUFFIXES)}",
            remedy="Name it so, or say --format.",
        )
    return _SUFFIXES[suffix]


def _shows_lines() -> bool:
    """Whether the screen can show what the text is drawn with."""
    from flowkit_plugins.drawing.model import TIMES

    try:
        f"↓⇣├┄│{TIMES}".encode(sys.stdout.encoding or "utf-8")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
