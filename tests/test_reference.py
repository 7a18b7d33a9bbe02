"""The reference is complete, and speaks of nothing that does not exist.

Hooks, options, settings, commands and their flags, errors, public names, and what reports hold are
taken from the code and looked up in ``docs/reference``; then the other way round.
"""

import ast
import dataclasses
import inspect
import re
from pathlib import Path

import click
import pytest

import flowkit
from flowkit import cli, errors, hookspecs, process, reports
from flowkit.plugins import Plugins
from flowkit.options import CORE_OPTIONS
from flowkit.scheduler.triggers import TRIGGERS
from flowkit.settings import CORE as CORE_SETTINGS
from flowkit.settings import PREFIX

ROOT = Path(flowkit.__file__).parent.parent
PAGES = ROOT / "docs/reference"


@pytest.fixture(scope="module")
def plugins():
    """The built-in plugins, whatever else is installed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FLOWKIT_DISABLE_PLUGIN_AUTOLOAD", "1")
        loaded = Plugins()
        loaded.load()
    return loaded


@pytest.fixture(scope="module")
def commands(plugins):
    """Path of a command → the command, the root included: ``flowkit cache ls``."""
    found = {}

    def walk(command, path):
        found[path] = command
        for name, below in getattr(command, "commands", {}).items():
            walk(below, f"{path} {name}")

    walk(cli._Group(plugins), "flowkit")
    return found


def page(name):
    return (PAGES / name).read_text(encoding="utf-8")


def sections(text, level=2):
    """Heading (without its marks and backticks) → what stands below it."""
    parts = re.split(rf"^(#{{1,{level}}}) (.+)$", text, flags=re.M)
    return {parts[i + 1].replace("`", ""): parts[i + 2] for i in range(1, len(parts), 3) if len(parts[i]) == level}


def rows(text):
    """First cell of each row of a table, without the backticks → the other cells."""
    found = {}
    for line in text.splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if cells and cells[0].startswith("`"):
            found[cells[0].replace("`", "")] = cells[1:]
    return found


def options(plugins, hook):
    return {option.name: option for _, found in plugins.all(hook) for option in found}


# --- hooks ------------------------------------------------------------------------------------


def signatures(source):
    """``name(arguments) -> answer`` of each hook that is defined in source, with ``firstresult`` before it."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef) and node.name.startswith("flowkit_"):
            first = "firstresult " if "firstresult" in "".join(map(ast.unparse, node.decorator_list)) else ""
            found.append(f"{first}{node.name}({ast.unparse(node.args)}) -> {ast.unparse(node.returns)}")
    return found


def test_each_hook_is_in_the_reference_with_its_signature_and_in_its_order():
    shown = "\n".join(re.findall(r"^```python\n(.*?)^```", page("hooks.md"), re.M | re.S))
    assert signatures(shown) == signatures(inspect.getsource(hookspecs))


def test_each_value_that_hooks_speak_in_is_in_the_reference():
    words = [name for name in hookspecs.__all__ if name[0].isupper()]
    found = sections(page("hooks.md"), level=3)
    for word in words:
        fields = [f.name for f in dataclasses.fields(getattr(hookspecs, word))]
        assert list(rows(found[word])) == fields, word


def test_each_hook_has_a_test():
    names = [name for name in vars(hookspecs) if name.startswith("flowkit_")]
    tests = set(re.findall(r"^def test_hook_(\w+)\(", (ROOT / "tests/plugins/test_hooks.py").read_text(), re.M))
    assert tests == set(names)


def test_each_hook_says_what_it_is():
    for name, spec in vars(hookspecs).items():
        if name.startswith("flowkit_"):
            assert (spec.__doc__ or "").strip(), name


# --- options and settings ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hook", "heading", "core"),
    [
        ("flowkit_task_options", "Options of a task", CORE_OPTIONS),
        ("flowkit_flow_options", "Options of Flow", ("name", "defaults")),
    ],
)
def test_the_options_of_the_reference_are_those_there_are(plugins, hook, heading, core):
    declared = options(plugins, hook)
    shown = rows(sections(page("options.md"))[heading])
    assert set(shown) == {*core, *declared}, "type and help: " + repr({n: (o.type, o.help) for n, o in declared.items()})
    assert all(all(cells) for cells in shown.values())
    assert all(option.type and option.help for option in declared.values())


def test_the_triggers_of_the_reference_are_those_there_are():
    assert set(rows(sections(page("language.md"))["Triggers"])) == set(TRIGGERS)


def test_the_settings_of_the_reference_are_those_there_are(plugins):
    declared = {option.name: option for option in CORE_SETTINGS} | options(plugins, "flowkit_settings")
    shown = rows(sections(page("settings.md"))["Settings"])
    assert set(shown) == set(declared), "type and help: " + repr({n: (o.type, o.help) for n, o in declared.items()})
    assert all(all(cells) for cells in shown.values())
    assert all(option.type and option.help for option in declared.values())


def test_the_variables_of_the_reference_are_those_that_are_read():
    """Every name of a variable in the code, and ``FLOWKIT_`` before each setting."""
    used = set()
    for file in [*ROOT.glob("flowkit/**/*.py"), *ROOT.glob("flowkit_plugins/**/*.py")]:
        if "testing" not in file.parts:
            used |= set(re.findall(r'"(FLOWKIT_[A-Z_]*[A-Z])"', file.read_text(encoding="utf-8")))
    shown = set(rows(sections(page("settings.md"))["Environment"]))
    assert {name for name in shown if name.startswith(PREFIX)} >= used
    assert {"FLOWKIT_PARAM_<NAME>", "FLOWKIT_<SETTING>", "FLOWKIT_PLUGINS", "NO_COLOR"} <= shown


# --- commands ---------------------------------------------------------------------------------


def test_the_commands_of_the_reference_are_those_there_are(commands):
    shown = [name for name in sections(page("commands.md")) if name.split()[0] == "flowkit"]
    assert sorted(shown) == sorted(commands)


def test_the_flags_of_the_reference_are_those_there_are(commands):
    found = sections(page("commands.md"))
    wrong = {}
    for path, command in commands.items():
        declared = {opt for p in command.params if isinstance(p, click.Option) for opt in p.opts}
        shown = {flag for cell in rows(found.get(path, "")) for flag in re.findall(r"(?<![\w-])--?[A-Za-z][\w-]*", cell)}
        lacking, strange = declared - shown, shown - declared
        if lacking or strange:
            help_ = {o: p.help for p in command.params if isinstance(p, click.Option) for o in p.opts if o in lacking}
            wrong[path] = {"not documented": help_, "does not exist": strange}
    assert wrong == {}


def test_every_command_and_flag_has_help(commands):
    for path, command in commands.items():
        assert command.help, path
        for param in command.params:
            if isinstance(param, click.Option):
                assert param.help, f"{path} {param.opts}"


def test_the_letters_of_the_reference_are_those_that_are_printed():
    shown = rows(sections(page("commands.md"))["Letters"])
    assert {letter: cells[0].replace("`", "") for letter, cells in shown.items()} == {
        letter: word for word, letter in reports.LETTERS.items()
    }


def test_the_exit_codes_of_the_reference_are_those_there_are():
    codes = {cli.OK, cli.FAILED, cli.INTERRUPTED, cli.INTERNAL, cli.USAGE, cli.NOTHING, process.KILLED}
    assert set(rows(sections(page("commands.md"))["Exit codes"])) == set(map(str, codes))


# --- errors, names, reports -------------------------------------------------------------------


def test_the_errors_of_the_reference_are_those_there_are():
    kinds = {
        name
        for name, kind in vars(errors).items()
        if inspect.isclass(kind) and issubclass(kind, BaseException) and kind.__module__ == errors.__name__
    }
    shown = set(sections(page("errors.md"), level=3))
    assert kinds <= shown, f"not documented: {kinds - shown}"
    assert {name for name in shown - kinds if name not in ("RetryAfter", "StoreError", "Tampered", "HistoryError")} == set()


def test_every_public_name_is_in_the_reference():
    text = "\n".join(file.read_text(encoding="utf-8") for file in PAGES.glob("*.md"))
    assert [name for name in flowkit.__all__ if f"`{name}`" not in text and f"`flowkit.{name}" not in text] == []


def test_what_tasks_may_ask_plugins_for_is_in_the_reference(plugins):
    declared = {*plugins.resources(), "scheduled_at"}
    assert set(rows(sections(page("language.md"))["Built-in arguments"])) == declared


@pytest.mark.parametrize("kind", ["RunReport", "NodeReport", "Attempt", "RunInfo", "TeardownReport", "Section"])
def test_what_reports_hold_is_in_the_reference(kind):
    """Public attributes, properties and methods of each."""
    cls = getattr(reports, kind)
    names = {n for n in dir(cls) if not n.startswith("_")}
    if dataclasses.is_dataclass(cls):
        names |= {f.name for f in dataclasses.fields(cls)}
    shown = {name.partition("(")[0] for name in rows(sections(page("reports.md"))[kind])}
    private = {"call", "unit"}  # the engine's own
    assert shown == names - private
