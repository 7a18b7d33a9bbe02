"""What stands above a run: versions, root folder, plugins, executor, and how much was collected."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import flowkit
from flowkit_plugins.terminal.style import Screen, counted

if TYPE_CHECKING:
    from flowkit.session import Session


def write(screen: Screen, session: Session, *, verbose: bool) -> None:
    """Print the header."""
    screen.rule("flowkit run starts", style="bold")
    screen.line(versions())
    screen.line(_places(session))
    plugins = _plugins(session, verbose=verbose)
    if plugins:
        screen.line(f"plugins: {plugins}")
    screen.line(f"executor: {session.executor_name}, {session.slots} at once")
    for _, lines in session.plugins.all("flowkit_header", session=session):
        screen.lines(lines)
    screen.line(collected(session.collected, session.selected), "bold")
    screen.line()


def versions() -> str:
    """Return what runs here: ``platform linux -- Python 3.11.7, flowkit-run 0.1.0``."""
    own = getattr(flowkit, "__version__", "")
    parts = (
        f"Python {platform.python_version()}",
        f"flowkit-run {own}".rstrip(),
    )
    return f"platform {sys.platform} -- {', '.join(parts)}"


def collected(found: int, selected: int) -> str:
    """Return ``collected 13 tasks, 3 selected``."""
    text = f"collected {counted(found, 'task')}"
    return text if selected == found else f"{text}, {selected:,} selected"


def _places(session: Session) -> str:
    file = session.settings.file
    return f"rootdir: {session.root}" + (f", configfile: {file.name}" if file else "")


def _plugins(session: Session, *, verbose: bool) -> str:
    """Return the plugins and where they come from; the built-in ones only if asked."""
    found = []
    for name in session.plugins.names:
        origin = session.plugins.origins.get(name, "")
        if origin == "built in" and not verbose:
            continue
        shown = _below(name, session.root) if origin == "flowconf.py" else f"{name} ({origin})"
        found.append(shown)
    return ", ".join(found)


def _below(path: str, root: Path) -> str:
    prefix = str(root) + os.sep
    return path.removeprefix(prefix)
