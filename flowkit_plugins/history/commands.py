"""The commands ``runs``, ``show``, ``logs``, ``why``, ``set`` and ``repro``, as click knows them.

Every start of the command line makes these, so nothing is imported here that only one of them needs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from flowkit.errors import FlowkitError

RUN_HELP = "RUN is an id, the beginning of one, last, or last-failed."
_ROOT = click.Option(
    ["--root", "root"],
    metavar="FOLDER",
    default=".",
    help="Whose history; found from here upwards.",
)
_JSON = click.Option(["--json", "as_json"], is_flag=True, help="As JSON.")


def commands() -> Sequence[click.Command]:
    """Return the commands."""
    return [_runs(), _show(), _logs(), _why(), _set(), _repro()]


def _runs() -> click.Command:
    words = "ok, failed, interrupted, killed, lost, crashed, refused or running; may be repeated."
    return _command(
        "runs",
        "List runs, the newest first.",
        click.Argument(["flow"], required=False, default=""),
        click.Option(["--status"], multiple=True, metavar="WORD", help=words),
        click.Option(["--since"], metavar="DURATION", help="Only those that began since then: 2d."),
        click.Option(["-n", "most"], type=click.IntRange(1), default=20, metavar="N", help="How many; 20."),
        click.Option(["--all", "children"], is_flag=True, help="Those that tasks started, too."),
        _JSON,
    )


def _show() -> click.Command:
    return _command(
        "show",
        f"Show what a run did. {RUN_HELP}",
        _run(required=False),
        click.Option(["-v", "--verbose"], is_flag=True, help="Every element of mapped tasks."),
        _JSON,
    )


def _logs() -> click.Command:
    return _command(
        "logs",
        f"Show what the nodes of a run printed, and why they failed. {RUN_HELP}",
        _run(required=False),
        click.Argument(["node"], required=False, default="", shell_complete=_complete_node),
        click.Option(["-f", "--follow"], is_flag=True, help="Go on until the run ends."),
    )


def _why() -> click.Command:
    return _command(
        "why",
        "Say what happened to a node, in words.",
        click.Argument(["node"], shell_complete=_complete_node),
        _run(required=False),
    )


def _set() -> click.Command:
    return _command(
        "set",
        f"Say by hand how a node of a run shall have ended, for --resume. {RUN_HELP}",
        _run(required=True),
        click.Argument(["node"], shell_complete=_complete_node),
        click.Option(["--value"], metavar="JSON", help="It succeeded with this (JSON, else text)."),
        _reason("--skip", "skipped by hand", "It was skipped."),
        _reason("--fail", "failed by hand", "It failed."),
    )


def _reason(flag: str, alone: str, text: str) -> click.Option:
    return click.Option([flag], is_flag=False, flag_value=alone, metavar="[REASON]", help=text)


def _repro() -> click.Command:
    return _command(
        "repro",
        "Write a pytest file that calls a node of a run with its stored inputs, and ends as the node did.",
        click.Argument(["which"], metavar="RUN::NODE"),
        click.Option(["-o", "--output"], metavar="FILE", help="Where to; test_<node>_<run>.py."),
    )


def _command(name: str, text: str, *params: click.Parameter) -> click.Command:
    def call(**given: Any) -> None:
        from flowkit_plugins.history import actions
        from flowkit_plugins.history.databases import HistoryError

        try:
            getattr(actions, f"{name}_" if name == "set" else name)(**given)
        except HistoryError as error:
            raise FlowkitError(str(error)) from None

    short = text.removesuffix(RUN_HELP).strip()
    return click.Command(name, callback=call, params=[*params, _ROOT], help=text, short_help=short)


def _run(*, required: bool) -> click.Argument:
    default = None if required else "last"
    return click.Argument(["run"], required=required, default=default, shell_complete=_complete)


def _complete(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Return the ids of the last runs, for the shell."""
    from flowkit_plugins.history import actions

    return actions.ids(incomplete)


def _complete_node(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Return the nodes of the run that is named, or of the last one, for the shell."""
    from flowkit_plugins.history import actions

    return actions.nodes(context.params.get("run") or "last", incomplete)
