"""``flowkit new``: a small flow that runs, with a test that passes, to be changed into one's own.

Speaks to flowkit through ``flowkit_commands`` alone.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from flowkit.errors import UsageError
from flowkit.hookspecs import hookimpl

if TYPE_CHECKING:
    import click

#: Names of files that flowkit does not take for flows when it looks through a folder.
_OVERLOOKED = ("flowconf.py", "conftest.py", "setup.py", "__init__.py")

_FLOW = '''\
"""Greet some people, then put all greetings into one letter.

An argument names what it takes: a task, or a parameter of the flow.
"""

from flowkit import Collected, task


@task
def names(count: int = 3) -> list[str]:
    """Whom to greet: `count` is a parameter, given with -P count=2."""
    return ["Ada", "Grace", "Katherine", "Radia"][:count]


@task(each={"name": "names"}, retries=2)
def greeting(name: str, word: str = "Hello") -> str:
    """One call for each name; a call that fails is tried twice more."""
    return f"{word}, {name}!"


@task
def letter(greeting: Collected[str]) -> str:
    """All greetings together, in the order of the names."""
    return "\\n".join(greeting)
'''

_TEST = '''\
"""A task is an ordinary function, and a whole flow runs in a test."""

import importlib.util
from pathlib import Path

import flowkit

FLOW = Path(__file__).with_name({flow})


def test_the_letter_greets_everybody_in_order():
    run = flowkit.run(FLOW, params={{"count": 2, "word": "Hi"}}, no_cache=True)
    assert run.ok
    assert run["letter"] == "Hi, Ada!\\nHi, Grace!"


def test_a_greeting_names_whom_it_greets():
    spec = importlib.util.spec_from_file_location({name}, FLOW)
    flow = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(flow)
    assert flow.greeting("Ada", word="Good morning") == "Good morning, Ada!"
'''


@hookimpl
def flowkit_commands() -> Sequence[click.Command]:
    """Add ``flowkit new``."""
    import click

    return [
        click.Command(
            "new",
            callback=_new,
            params=[
                click.Argument(["path"], metavar="NAME|PATH"),
                click.Option(["--force"], is_flag=True, help="Write over files that are there."),
            ],
            help="Write a small flow and its test: NAME/flow.py in a new folder, or PATH/to/file.py.",
            short_help="Write a small flow and its test.",
        )
    ]


def _new(path: str, force: bool) -> None:
    import click

    flow, test = write(Path(path), force=force)
    shown = shlex.quote(str(flow))
    click.echo(f"wrote {flow} and {test}. Now:\n")
    click.echo(f"  flowkit run {shown}")
    click.echo(f"  python -m pytest {shlex.quote(str(test))}")


def write(path: Path, *, force: bool = False) -> tuple[Path, Path]:
    """Write a flow and its test; return the two files.

    Args:
        path: A folder, in which they are ``flow.py`` and ``test_flow.py``; or the flow's file.
        force: Write over files that are there.

    Raises:
        UsageError: They are there, or cannot be written, or flowkit would overlook them.
    """
    flow = path if path.suffix == ".py" else path / "flow.py"
    if flow.name in _OVERLOOKED or flow.name.startswith(("_", "test_")):
        raise UsageError(
            f"{flow}: flowkit does not look for flows in files of that name",
            remedy="Name it for what it does: flowkit new weather.py",
        )
    test = flow.with_name(f"test_{flow.name}")
    there = [str(file) for file in (flow, test) if os.path.lexists(file)]
    if there and not force:
        raise UsageError(
            f"{' and '.join(there)} {'is' if len(there) == 1 else 'are'} there already",
            remedy="Name another folder or file, or write over with --force.",
        )
    try:
        flow.parent.mkdir(parents=True, exist_ok=True)
        flow.write_text(_FLOW, encoding="utf-8")
        test.write_text(
            _TEST.format(flow=_quoted(flow.name), name=_quoted(_module_name(flow))),
            encoding="utf-8",
        )
    except OSError as error:
        raise UsageError(
            f"{flow} cannot be written: {error.strerror or error}",
            remedy="Name a folder you may write to.",
        ) from error
    return flow, test


def _module_name(flow: Path) -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in flow.stem)


def _quoted(text: str) -> str:
    """Return a text as Python writes it, in double quotes."""
    import json

    return json.dumps(text)
