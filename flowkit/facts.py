"""What reports say of a run, as text without secrets: parameters, the command, errors, how to run a node again.

Shared by those who write for machines and for people alike; nothing here knows of a format.
"""

from __future__ import annotations

import os
import re
from itertools import islice
from typing import TYPE_CHECKING

from flowkit.errors import TaskFailed
from flowkit.secrets import STARS, holds_secret
from flowkit.tracebacks import message

if TYPE_CHECKING:
    from flowkit.reports import NodeReport, RunInfo

LONGEST_SHOWN = 500

#: Options of ``flowkit run`` that decide what a node is, and so are said again; all take a value.
_REPEATED = ("-P", "-O", "-p", "--params")
_ESCAPE = r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[ -/]*[0-Z\\^-~])?"


def parameters(run: RunInfo) -> dict[str, str]:
    """Return the parameters as text; of one that is, or holds, a secret nothing is seen."""
    found = {}
    for name, value in run.params.items():
        if holds_secret(value):
            found[name] = STARS
            continue
        try:
            found[name] = run.mask(repr(value))[:LONGEST_SHOWN]
        except Exception:  # a repr of the user's may raise anything
            found[name] = f"<{type(value).__name__}>"
    return found


def versions() -> dict[str, str]:
    """Return the versions that a result may depend on."""
    import sys

    from flowkit import __version__

    return {"flowkit": __version__, "python": sys.version.split()[0], "system": sys.platform}


def headline(error: BaseException | None) -> str:
    """Return an error in one line: ``ValueError: bad``; ``flowkit.fail`` speaks for itself. Not masked."""
    if error is None:
        return ""
    said = next((line.strip() for line in message(error).splitlines() if line.strip()), "")
    said = plain(said)
    if isinstance(error, TaskFailed) and said:
        return said
    name = type(error).__name__
    return f"{name}: {said}" if said else name


def error_of(node: NodeReport) -> BaseException | None:
    """Return what a node failed with, wherever that is noted."""
    last = node.last
    return node.error or (last.error if last is not None else None)


def excuse(node: NodeReport) -> str:
    """Return why a failed node does not fail the run; empty if it does."""
    if node.unit.stand_in is not None:
        return f"`{node.unit.stand_in.id}` stands in"
    return "allowed to fail" if node.task.allow_failure else ""


def plain(text: str) -> str:
    """Return a text without the codes that colour it on a terminal."""
    return re.sub(_ESCAPE, "", text) if "\x1b" in text else text


def rerun(node: NodeReport, typed: str) -> str:
    """Return the command that runs just this node, with the parameters and overrides of the one ``typed``.

    What has a secret in it is left out: the stars in its place would be taken for the value. ``withheld`` names it.
    """
    import shlex  # 2 ms, and only failures need it

    said = [words for words in _repeated(typed) if STARS not in words[-1]]
    return shlex.join(["flowkit", "run", f"{_target(node)}::{node.node}", *(word for words in said for word in words)])


def withheld(typed: str) -> list[str]:
    """Return the names of the parameters and overrides whose values ``rerun`` leaves out, as they have secrets in them."""
    left_out = [words for words in _repeated(typed) if STARS in words[-1]]
    return [words[-1].removeprefix("-P").removeprefix("-O").partition("=")[0].strip() for words in left_out]


def _target(node: NodeReport) -> str:
    """Return the flow as it is named from here: its path is relative to the root folder."""
    flow = node.task.flow
    if flow.file is None or os.path.exists(flow.path):
        return flow.path
    return os.path.relpath(flow.file)


def _repeated(typed: str) -> list[list[str]]:
    """Return what a command said of parameters, overrides and plugins: each option, with its value if that is a word of its own."""
    import shlex

    try:
        words = iter(shlex.split(typed))
    except ValueError:  # what was typed into Python need not be a shell's
        return []
    found: list[list[str]] = []
    for word in words:
        if word in _REPEATED:
            found.append([word, *islice(words, 1)])
        elif word.startswith("--params=") or (
            word.startswith(("-P", "-O", "-p")) and not word.startswith("--")
        ):
            found.append([word])
    return found
