"""``flowkit cache``: the words of it. What they do is in :mod:`.actions`, imported when one is used."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import click

_HELP = """Look at what is kept of earlier runs, take it out, check it, and tidy up.

NODE is m.py::task, or m.py::task[id] for an element of a mapped task. TARGET may also be a module
or a folder."""


def group() -> click.Group:
    """Return the command ``flowkit cache`` with all below it."""
    cache = click.Group(
        "cache", help=_HELP, short_help="Look at kept results, take them out, tidy up."
    )
    for name, text, parameters in _commands():
        command = click.Command(name, callback=_later(name), params=list(parameters), help=text)
        cache.add_command(command)
    return cache


def _commands() -> Sequence[tuple[str, str, Sequence[click.Parameter]]]:
    """Return the name, the help and the parameters of each command."""
    node = click.Argument(["node"], metavar="NODE")
    nodes = click.Argument(["nodes"], metavar="NODE...", nargs=-1, required=True)
    target = click.Argument(["target"], metavar="[TARGET]", required=False)
    file = click.Option(
        ["-o", "--output", "file"],
        metavar="FILE",
        help="A .pkl, .json, .csv, .parquet or .npy file.",
    )
    delete = click.Option(["--delete"], is_flag=True, help="Remove what is damaged.")
    dry = click.Option(["--dry-run", "dry"], is_flag=True, help="Only say what would go.")
    yes = click.Option(["--yes", "-y"], is_flag=True, help="Do not ask.")
    accept = "Keep results although their code changed: they are still right."
    return (
        ("ls", "List the nodes that have a result.", [target]),
        ("stat", "Say what each task takes.", [target]),
        ("get", "Show a node's value, or write it to a file.", [node, file]),
        ("why", "Say whether a run would reuse a node's result, and why.", [node, *_values()]),
        ("accept", accept, [nodes, *_values()]),
        ("pin", "Keep results from gc.", [nodes]),
        ("unpin", "Leave results to gc again.", [nodes]),
        ("verify", "Read every stored value; check its signature and checksums.", [delete]),
        ("gc", "Remove what max_size, max_age and keep_last leave no room for.", [dry]),
        ("clear", "Remove results: all, or those of TARGET.", [target, yes]),
    )


def _values() -> list[click.Parameter]:
    """Return the options that say what a run would be given."""
    return [
        click.Option(
            ["-P", "typed"], multiple=True, metavar="NAME=VALUE", help="Give a parameter its value."
        ),
        click.Option(
            ["--params", "file"], metavar="FILE", help="Values of parameters: JSON, TOML or YAML."
        ),
        click.Option(
            ["-O", "overrides"],
            multiple=True,
            metavar="NAME=OVERRIDE",
            help="Replace a task, resource or parameter.",
        ),
    ]


def _later(name: str) -> Callable[..., None]:
    """Return what imports and calls the action of a command: most calls of flowkit are for others."""

    def act(**given: object) -> None:
        from flowkit_plugins.cache import actions

        actions.ACTIONS[name](**given)

    return act
