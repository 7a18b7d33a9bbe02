"""The command line: ``run``, ``tasks``, ``plugins``; other commands come from plugins."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import click

from flowkit import settings, streams
from flowkit.errors import (
    FlowError,
    FlowkitError,
    NothingToRun,
    OptionError,
    PluginError,
    UsageError,
    did_you_mean,
)
from flowkit.hookspecs import Flag
from flowkit.plugins import Plugins
from flowkit.process import Signals, own_process

if TYPE_CHECKING:
    from flowkit.graph import Graph
    from flowkit.planning import Decision
    from flowkit.session import Session

OK, FAILED, INTERRUPTED, INTERNAL, USAGE, NOTHING = range(6)

_FLAGS_OF_CORE: list[click.Parameter] = [
    click.Argument(["targets"], nargs=-1, metavar="TARGET...", required=False),
    click.Option(["-P", "typed"], multiple=True, metavar="NAME=VALUE", help="Give a parameter its value."),
    click.Option(["--params", "params_file"], metavar="FILE", help="Values of parameters: JSON, TOML or YAML."),
    click.Option(
        ["-O", "overrides"],
        multiple=True,
        metavar="NAME=OVERRIDE",
        help="Replace a task, resource or parameter by a value, or by file.py::name.",
    ),
    click.Option(["-k"], metavar="EXPR", help="Only tasks and elements whose name, id or tags match."),
    click.Option(["-m"], metavar="TAGEXPR", help="Only tasks with these tags."),
    click.Option(["--deselect"], multiple=True, metavar="ID", help="Leave out a task or an element."),
    click.Option(["-n"], type=int, metavar="N", help="How many nodes run at once; number of CPUs, at least 4."),
    click.Option(["--executor"], metavar="NAME", help="Where calls run: threads (default), inline, …"),
    click.Option(["-x", "x"], is_flag=True, help="Start nothing more after the first failure."),
    click.Option(["--maxfail"], type=int, metavar="N", help="Start nothing more after N failures."),
    click.Option(["-p", "plugins"], multiple=True, metavar="PLUGIN", help="Load a plugin; no:PLUGIN leaves one out."),
    click.Option(["--plan"], is_flag=True, help="Only say what would run, what would be reused, and why."),
]


class _Group(click.Group):
    """The root command: what plugins add is known once they are loaded."""

    def __init__(self, plugins: Plugins) -> None:
        super().__init__(
            "flowkit",
            help="Workflows for people who know pytest.",
            params=[
                click.Option(
                    ["--version"], is_flag=True, is_eager=True, expose_value=False, callback=_version,
                    help="Say which version this is.",
                ),
                click.Option(
                    ["-p", "plugins"], multiple=True, metavar="PLUGIN", expose_value=False,
                    help="Load a plugin, for the commands that it brings; no:PLUGIN leaves one out.",
                ),
            ],
            context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
        )  # fmt: skip
        self.plugins = plugins
        flags = [flag for _, found in plugins.all("flowkit_run_options") for flag in found]
        self.add_command(_run_command(flags))
        self.add_command(_plan_command(flags))
        self.add_command(_tasks_command())
        self.add_command(_plugins_command(plugins))
        self.add_command(_completion_command())
        for _, commands in plugins.all("flowkit_commands"):
            for command in commands:
                self.add_command(command)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            known = self.list_commands(ctx)
            raise click.UsageError(
                f"there is no command {args[0]!r}. {did_you_mean(args[0], known, 'Commands: ' + ', '.join(known))}", ctx
            ) from error


def _version(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value:
        from flowkit import __version__

        click.echo(f"flowkit {__version__}")
        ctx.exit()


def option_of(flag: Flag) -> click.Option:
    """Return a plugin's flag as a click option."""
    names = [flag.name]
    if flag.short:
        names.append(flag.short if flag.short.startswith("-") else f"-{flag.short}")
    names.append(flag.keyword)
    if flag.type is bool:
        return click.Option(names, is_flag=True, default=bool(flag.default), help=flag.help)
    option = _Optional if flag.optional is not None else click.Option
    found = option(
        names,
        type=flag.type,
        default=None if flag.multiple else flag.default,
        multiple=flag.multiple,
        metavar=flag.metavar,
        help=flag.help,
    )
    if isinstance(found, _Optional):
        found.alone = flag.optional or ""
    return found


class _Optional(click.Option):
    """An option that takes a value only with ``=``, or after the targets (ruling E13)."""

    alone = ""


def spelled_out(command: click.Command, arguments: Sequence[str]) -> list[str]:
    """Return the arguments of a command with every optional value written as ``--flag=value``.

    Raises:
        OptionError: A list of tasks would swallow the target, or seems meant to.
    """
    options = {name: p for p in command.params if isinstance(p, click.Option) for name in p.opts}
    found: list[str] = []
    rest = list(arguments)
    targets = 0
    while rest:
        word = rest.pop(0)
        if word == "--":
            return [*found, word, *rest]
        option = options.get(word)
        if isinstance(option, _Optional):
            found += _with_values(option, word, rest, after_targets=targets > 0)
        elif option is not None and not option.is_flag:
            found += [word, *rest[:1]]
            del rest[:1]
        else:
            found.append(word)
            targets += not word.startswith("-")
    return found


def _with_values(option: _Optional, flag: str, rest: list[str], *, after_targets: bool) -> list[str]:
    """Take from ``rest`` the words that are values of an optional flag."""
    most = (1 << 30 if option.multiple else 1) if after_targets else 0
    values: list[str] = []
    while rest and len(values) < most and not rest[0].startswith("-"):
        values.append(rest.pop(0))
    doubtful = values or (rest[:1] if option.multiple else [])
    for word in doubtful:
        if os.path.isfile(word):
            raise OptionError(
                f"{flag} {word}: is {word} what to run, or a value of {flag}?",
                remedy=f"Write targets first, as in flowkit run {word} {flag}, and values with '=': {flag}=…",
            )
    return [f"{flag}={value}" for value in values or [option.alone]]


def _run_command(flags: Sequence[Flag]) -> click.Command:
    return click.Command(
        "run",
        callback=_run,
        params=[*_FLAGS_OF_CORE, *(option_of(flag) for flag in flags)],
        help="Run flows: module.py, package.module, a folder, module.py::task or module.py::task[id].",
        short_help="Run flows.",
    )


def _plan_command(flags: Sequence[Flag]) -> click.Command:
    core = [p for p in _FLAGS_OF_CORE if p.name != "plan"]
    json = click.Option(["--json", "as_json"], is_flag=True, help="One JSON object a line.")
    return click.Command(
        "plan",
        callback=lambda targets, **given: _run(targets, **given, plan=True),
        params=[*core, *(option_of(flag) for flag in flags if flag.name != "--json"), json],
        help="Say what a run would do to every node, and why. Nothing is called.",
        short_help="Say what would run, what would be reused, and why.",
    )


def _run(targets: Sequence[str], **given: Any) -> None:
    click.get_current_context().exit(run_command(targets, given))


def run_command(targets: Sequence[str], given: Mapping[str, Any]) -> int:
    """Run as ``flowkit run`` does and return the exit code; prints what went wrong."""
    from flowkit.parameters import Sources

    flags = dict(given)
    typed, file = flags.pop("typed", ()), flags.pop("params_file", None)
    overrides, plugins = flags.pop("overrides", ()), flags.pop("plugins", ())
    planning = flags.pop("plan", False)
    as_json = planning and (flags.pop("as_json", False) or flags.pop("json", False))
    import shlex

    command = shlex.join(["flowkit", *sys.argv[1:]])
    session: Session | None = None
    handler = Signals()
    try:
        session = open_session(targets, plugins, command=command)
        session.configure(flags, later=True)
        sources = session.prepare(Sources(typed=typed, file=file), overrides=overrides)
        if flags.get("verbose"):
            for variable in sources.strangers({n for found in session.parameters.values() for n in found}):
                streams.tell(f"warning: ${variable} names no parameter of this flow")
        if planning:
            for note in session.notes:
                streams.tell(f"note: {note}")
            print_plan(session.plan(sources), as_json=as_json, graph=session.graph if flags.get("verbose") else None)
            handler.ended(session)
            return OK
        run = session.execute(params=sources, keep=False, prepare=handler.install)
        handler.ended(session)
        return run.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    finally:
        handler.remove()
        if session is not None:
            session.close()


def print_plan(decisions: Sequence[Decision], *, as_json: bool, graph: Graph | None = None) -> None:
    """Print what would happen to each node, and the sum of it; with a graph, the kind of timeout of each, too."""
    from flowkit.durations import words
    from flowkit.planning import timeout_of

    if as_json:
        import json
        from dataclasses import asdict

        click.echo("".join(json.dumps(asdict(d)) + "\n" for d in decisions), nl=False)
        return
    several = len({d.node.partition("::")[0] for d in decisions}) > 1
    names = [d.node if several else d.node.partition("::")[2] for d in decisions]
    width = min(40, max(map(len, names), default=0))
    lines = []
    for name, decision in zip(names, decisions, strict=True):
        took = f"  ({words(decision.took)} the last time)" if decision.took and decision.mark != "c" else ""
        took += timeout_of(graph, decision.node) if graph is not None else ""
        lines.append(f"{decision.mark}  {name:<{width}}  {decision.reason}{took}".rstrip() + "\n")
    click.echo("".join(lines), nl=False)
    marks = [d.mark for d in decisions]
    kinds = (("c", "cached"), (">", "to run"), ("?", "may run"), ("s", "skipped"))
    counts = [f"{marks.count(mark)} {word}" for mark, word in kinds if mark in marks]
    known = sum(d.took or 0.0 for d in decisions if d.mark == ">")
    estimate = f" · estimated {words(known)}" if known else ""
    click.echo((", ".join(counts) or "nothing to do") + estimate)


def open_session(targets: Sequence[str], plugins: Sequence[str] = (), *, command: str = "") -> Session:
    """Return a session for targets of the command line, reporting to standard output."""
    from flowkit.session import Session  # 25 ms, which commands that run nothing need not wait for

    if not targets:
        raise FlowError([UsageError("no target", remedy="Name a module, a folder or a task: flowkit run flow.py")])
    context = click.get_current_context(silent=True)
    root = context.find_root().command if context is not None else None
    loaded = root.plugins if isinstance(root, _Group) else None  # they need not be loaded twice
    return Session(targets, plugin_requests=plugins, out=sys.stdout, command=command, plugins=loaded)


def _tasks_command() -> click.Command:
    return click.Command(
        "tasks",
        callback=_tasks,
        params=[
            click.Argument(["targets"], nargs=-1, metavar="TARGET...", required=False),
            click.Option(["-p", "plugins"], multiple=True, metavar="PLUGIN", help="Load a plugin, or no:PLUGIN."),
        ],
        help="List the tasks of flows: what they take, what they say of themselves, where they stand.",
        short_help="List the tasks of flows.",
    )


def _tasks(targets: Sequence[str], plugins: Sequence[str]) -> None:
    session = open_session(targets, plugins)
    try:
        session.configure({}, later=True)
        graph = session.collect()
    finally:
        session.close()
    from flowkit.listing import lines

    for line in lines(session, graph):
        click.echo(line)


def _plugins_command(plugins: Plugins) -> click.Command:
    def show() -> None:
        width = max(len(name) for name in plugins.names)
        for name in plugins.names:
            plugin = plugins.manager.get_plugin(name)
            doc = (getattr(plugin, "__doc__", "") or "").strip().splitlines()
            click.echo(f"{name:<{width}}  {plugins.origins[name]:<10}  {doc[0] if doc else ''}".rstrip())
        for name in plugins.blocked:
            click.echo(f"{name:<{width}}  left out with -p no:{name}")

    return click.Command(
        "plugins",
        callback=lambda plugins: show(),
        params=[click.Option(["-p", "plugins"], multiple=True, metavar="PLUGIN", help="Load a plugin, or no:PLUGIN.")],
        help="List the plugins: what they are called, where they come from, what they bring.",
        short_help="List the plugins.",
    )


def _completion_command() -> click.Command:
    def show(shell: str) -> None:
        from click.shell_completion import get_completion_class

        kind = get_completion_class(shell)
        assert kind is not None  # click.Choice holds what it knows
        click.echo(kind(click.Command("flowkit"), {}, "flowkit", "_FLOWKIT_COMPLETE").source())

    return click.Command(
        "completion",
        callback=show,
        params=[click.Argument(["shell"], type=click.Choice(["bash", "zsh", "fish"]))],
        help='Print a script for shell completion: eval "$(flowkit completion bash)".',
        short_help="Print a script for shell completion.",
    )


def requested_plugins(arguments: Sequence[str]) -> list[str]:
    """Return the values of ``-p`` in a command line: plugins bring flags, so they are read first."""
    found: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        if argument == "--":
            break
        if argument == "-p":
            found.extend(islice(rest, 1))
        elif argument.startswith("-p") and not argument.startswith("--"):
            found.append(argument[2:].removeprefix("="))
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """The console script: run a command, print what is wrong, exit with the code for it."""
    own_process()
    streams.prepare()
    code = _guarded(sys.argv[1:] if arguments is None else list(arguments))
    streams.settle()
    sys.exit(code)


def _guarded(arguments: Sequence[str]) -> int:
    try:
        code = _main(arguments)
        streams.flush()
    except (FlowError, UsageError) as error:
        _complain(error.errors if isinstance(error, FlowError) else [error])
        return USAGE
    except NothingToRun as error:
        streams.tell(str(error))
        return NOTHING
    except PluginError as error:
        streams.tell(f"error: {error}")
        return INTERNAL
    except BrokenPipeError:
        return OK  # whoever read our output has had enough
    except KeyboardInterrupt:
        return INTERRUPTED
    except FlowkitError as error:
        streams.tell(f"error: {error}")
        return FAILED
    except Exception as error:
        if isinstance(error, OSError) and streams.is_full(error):
            streams.tell(f"error: the output cannot be written: {error.strerror}")
            return FAILED
        import traceback  # a bug of ours: say so, with all that helps to find it

        streams.tell(traceback.format_exc() + "internal error: this is a bug in flowkit or in a plugin; please report it")
        return INTERNAL
    return code


def _complain(errors: Sequence[UsageError]) -> None:
    for error in errors:
        streams.tell(f"error: {error}\n")
    if len(errors) > 1:
        streams.tell(f"{len(errors)} errors; nothing was run")


def _main(arguments: Sequence[str]) -> int:
    plugins = Plugins()
    configured = settings.find([settings.here()]).plugins
    plugins.load([*configured, *requested_plugins(arguments)], configured)
    group = _Group(plugins)
    if os.environ.get("_FLOWKIT_COMPLETE"):
        group.main(list(arguments), prog_name="flowkit", complete_var="_FLOWKIT_COMPLETE")
    ahead, arguments = _plugins_ahead(arguments)
    command = group.commands.get(arguments[0]) if arguments else None
    if command is not None:
        own = ahead if any("-p" in p.opts for p in command.params) else []
        arguments = [arguments[0], *own, *spelled_out(command, arguments[1:])]
    try:
        with group.make_context("flowkit", list(arguments)) as context:
            group.invoke(context)
    except click.exceptions.Exit as exit_:
        return exit_.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.ctx.get_help() if error.ctx else error.message)
        return USAGE
    except click.UsageError as error:
        raise _usage(error) from None
    except click.exceptions.Abort:
        return INTERRUPTED
    except click.ClickException as error:
        raise OptionError(error.format_message()) from None
    return OK


def _plugins_ahead(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return what stands before the command if that is ``-p PLUGIN`` alone, and the rest."""
    rest = list(arguments)
    ahead: list[str] = []
    while rest and rest[0].startswith("-p"):
        ahead += rest[: 2 if rest[0] == "-p" else 1]
        del rest[: 2 if rest[0] == "-p" else 1]
    return ahead, rest


def _usage(error: click.UsageError) -> OptionError:
    """Return click's complaint as one of ours, with the nearest name."""
    context = error.ctx
    remedy = "flowkit --help lists the commands."
    if context is not None and context.command_path != "flowkit":
        remedy = f"{context.command_path} --help lists what it takes."
    if isinstance(error, click.NoSuchOption):
        near = did_you_mean(error.option_name, error.possibilities or (), "")
        remedy = f"{near} {remedy}".strip()
        return OptionError(f"no such option: {error.option_name}", remedy=remedy)
    return OptionError(error.format_message(), remedy=remedy)
