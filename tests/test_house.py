"""The walls that no linter holds: what imports what, how large things are, that everything says what it is."""

import ast
import functools
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import flowkit
import flowkit_plugins
from flowkit import errors
from flowkit.scheduler.states import TRANSITIONS

ROOT = Path(flowkit.__file__).parent.parent
PACKAGES = (flowkit, flowkit_plugins)
FILES = sorted(path for package in ("flowkit", "flowkit_plugins") for path in (ROOT / package).rglob("*.py"))
MODULES = sorted(
    [p.__name__ for p in PACKAGES]
    + [m.name for p in PACKAGES for m in pkgutil.walk_packages(p.__path__, f"{p.__name__}.")]
)

#: What takes long to import, and what only some flows need.
HEAVY = {
    "asyncio", "click", "cloudpickle", "concurrent", "dask", "diskcache", "distributed", "hypothesis", "numpy",
    "pandas", "pluggy", "pydantic", "rich", "sqlite3", "ssl", "tomllib",
}  # fmt: skip
NOT_FOR_HELP = {
    "apprise", "asyncio", "cloudpickle", "concurrent", "croniter", "dask", "diskcache", "distributed", "hypothesis",
    "numpy", "pandas", "pydantic", "rich",
}  # fmt: skip

#: Files that are longer than 400 lines, and how long they may be. This list shrinks.
LONG_FILES = {
    "flowkit/cli.py": 450,
    "flowkit/resolver.py": 460,
    "flowkit/runner.py": 520,
    "flowkit/session.py": 580,
}
MOST_LINES = 400
MOST_LINES_OF_A_FUNCTION = 60
#: Functions that are longer than 60 lines; there is none.
LONG_FUNCTIONS: dict[str, int] = {}

#: Modules that ask the system for the time themselves, and why they may.
ASK_THE_TIME = {
    "flowkit/clock.py": "the one door",
    "flowkit/filefacts.py": "times of files are wall times",
    "flowkit/imports.py": "likewise",
    "flowkit/testing/command.py": "says how long a check took",
    "flowkit/testing/world.py": "puts virtual time in the place of time.sleep",
}


@functools.cache
def tree_of(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def relative(path):
    return path.relative_to(ROOT).as_posix()


def python(code, *flags):
    """Run code in an interpreter of its own; return what it prints."""
    done = subprocess.run(
        [sys.executable, *flags, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


# --- names and imports ------------------------------------------------------------------------


def test_the_public_names_are_these():
    """A new one is a promise: it is added here on purpose."""
    assert flowkit.__all__ == [
        "Collected", "Failure", "Flow", "FlowError", "From", "Outcome", "Run", "Skipped", "Success", "fail",
        "hookimpl", "resource", "run", "skip", "task",
    ]  # fmt: skip


def test_the_public_names_are_there_and_sorted():
    assert flowkit.__all__ == sorted(flowkit.__all__)
    assert all(getattr(flowkit, name) is not None for name in flowkit.__all__)


def test_no_module_is_named_like_a_public_function():
    """``import flowkit.task as t`` would yield the function."""
    assert [m for m in MODULES if m.removeprefix("flowkit.") in flowkit.__all__] == []


def test_no_module_has_a_name_that_says_nothing():
    assert [m for m in MODULES if m.rpartition(".")[2] in ("utils", "util", "helpers", "common", "core", "base", "misc")] == []


@pytest.mark.parametrize("order", [MODULES, MODULES[::-1]], ids=["forwards", "backwards"])
def test_every_module_imports_without_a_warning(order):
    """In any order: see the next test."""
    python("".join(f"import {name}\n" for name in order if not name.endswith("__main__")), "-W", "error")


def at_import(tree):
    """The import statements that run when a module is imported."""
    stack = list(tree.body)
    while stack:
        node = stack.pop()
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            yield node
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            continue
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            stack += node.orelse
        else:
            stack += [n for field in ("body", "orelse", "handlers", "finalbody") for n in getattr(node, field, ())]


def imports_of(path):
    """The modules of ours that a module names in its imports."""
    for node in at_import(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in MODULES)
        elif node.module and not node.level:
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                if full in MODULES or node.module in MODULES:
                    yield full if full in MODULES else node.module


def test_no_module_imports_itself_by_way_of_others():
    """So each can be the first one that is imported, alone."""
    names = {path: relative(path).removesuffix(".py").removesuffix("/__init__").replace("/", ".") for path in FILES}
    waiting = {names[path]: {name for name in imports_of(path) if name != names[path]} for path in FILES}
    while ready := [name for name, needs in waiting.items() if not needs & waiting.keys()]:
        for name in ready:
            del waiting[name]
    assert waiting == {}


def test_importing_flowkit_loads_nothing_heavy():
    """Users' modules import it."""
    loaded = python("import sys, flowkit; print(*{m.partition('.')[0] for m in sys.modules})").split()
    assert HEAVY & set(loaded) == set()


def test_help_loads_nothing_that_only_runs_need():
    code = "import sys; from flowkit.cli import main\ntry: main(['--help'])\nexcept SystemExit: print(*sys.modules)"
    loaded = {m.partition(".")[0] for m in python(code).split()}
    assert "click" in loaded
    assert NOT_FOR_HELP & loaded == set()


def test_commands_that_only_read_load_no_part_of_the_engine():
    code = "import sys; from flowkit.cli import main\ntry: main(['runs'])\nexcept SystemExit: print(*sys.modules)"
    loaded = set(python(code).split())
    assert "flowkit_plugins.history.reading" in loaded
    assert {"flowkit.session", "flowkit.runner", "flowkit.lookup", "flowkit.worker"} & loaded == set()


def test_user_code_passes_mypy_strict():
    """``tests/typing/api.py`` is what users write: the decorators keep types, options and outcomes have some."""
    pytest.importorskip("mypy")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "tests/typing/api.py"],
        capture_output=True, text=True, check=False, cwd=ROOT, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


# --- what things say of themselves ------------------------------------------------------------


def public(module):
    """(name, thing) of the public classes and functions that a module defines."""
    for name, thing in vars(module).items():
        if not name.startswith("_") and (inspect.isclass(thing) or inspect.isfunction(thing)):
            if thing.__module__ == module.__name__:
                yield name, thing


@pytest.mark.parametrize("package", PACKAGES, ids=lambda p: p.__name__)
def test_everything_public_has_a_docstring(package):
    """Modules, their public classes and functions, and public methods."""
    silent = []
    for name in (m for m in MODULES if m.partition(".")[0] == package.__name__ and not m.endswith("__main__")):
        module = importlib.import_module(name)
        if not (module.__doc__ or "").strip():
            silent.append(name)
        for thing_name, thing in public(module):
            if not (thing.__doc__ or "").strip():
                silent.append(f"{name}.{thing_name}")
            if inspect.isclass(thing):
                methods = ((n, m) for n, m in vars(thing).items() if inspect.isfunction(m) and not n.startswith("_"))
                silent += [f"{name}.{thing_name}.{n}" for n, m in methods if not inspect.getdoc(m)]
    assert silent == []


def test_the_table_of_states_in_the_design_is_the_schedulers():
    text = (ROOT / "docs/design.md").read_text(encoding="utf-8")
    table = {}
    for left, right in re.findall(r"^\| ([a-z, ]+) \| ([a-z, ]*)\|$", text, re.M):
        if left.strip() != "state":
            for state in left.split(","):
                table[state.strip()] = {word.strip() for word in right.split(",") if word.strip()}
    assert table == {state.value: {after.value for after in follow} for state, follow in TRANSITIONS.items()}


# --- errors -----------------------------------------------------------------------------------


def refused(project, source, target="m.py", **keywords):
    project.write("m.py", f"from flowkit import Flow, resource, task\n{source}")
    with pytest.raises(flowkit.FlowError) as caught:
        flowkit.run(target, **keywords)
    return caught.value


#: Error class → (a flow that is wrong in that way, what it is run with), and the three parts it must say.
REFUSED = {
    errors.TargetError: ("", {"target": "n.py"}, ("n.py: no such file", "Python files in .: m.py", "Did you mean 'm.py'?")),
    errors.DeclarationError: ("@task\ndef a(): yield 1", {}, ("task 'a' (m.py:2)", "", "return a list")),
    errors.OptionError: (
        "@task(retry=3)\ndef a(): pass", {},
        ("task 'a' (m.py:2): unknown option 'retry'", "known: ", "Did you mean 'retries'?"),
    ),
    errors.ResolutionError: (
        "@task\ndef a() -> str: return ''\n@task\ndef b(a: bytes): pass", {},
        ("task 'b' (m.py:4) wants 'a' as bytes", "defined at m.py:2", "Mend one of the two"),
    ),
    errors.CycleError: (
        "@task\ndef a(b): pass\n@task\ndef b(a): pass", {},
        ("a cycle: a → b → a", "m.py:2", "Cut one of these"),
    ),
    errors.ParameterError: (
        "@task\ndef a(n: int): pass", {"params": {"n": "x"}},
        ("parameter 'n' of task 'a' (m.py:2)", "wanted int", "-P n="),
    ),
    errors.SelectionError: (
        "@task\ndef page(): pass", {"target": "m.py::pages"},
        ("m.py::pages: there is no such task", "tasks: page", "Did you mean 'page'?"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED, ids=lambda kind: kind.__name__)
def test_a_usage_error_says_what_is_wrong_what_is_known_and_what_to_do(project, kind):
    source, keywords, (what, known, remedy) = REFUSED[kind]
    error = next(e for e in refused(project, source, **keywords).errors if type(e) is kind)
    assert what in error.what
    assert known in error.known
    assert remedy in error.remedy
    lines = str(error).splitlines()
    assert lines[0] == error.what.splitlines()[0]
    assert all(line.startswith("  ") for line in lines[1:])


def a_plugin_error():
    return errors.PluginError("cache:reuse", "flowkit_node_lookup", ValueError("no"))


#: The others, as flowkit makes them, and what their text has in it.
MADE = {
    errors.FlowError: (lambda: errors.FlowError([errors.TargetError("a"), errors.TargetError("b")]), "a\n\nb"),
    errors.NothingToRun: (lambda: errors.NothingToRun("nothing to run: no task is selected"), "no task is selected"),
    errors.PluginError: (a_plugin_error, "plugin 'cache' failed in flowkit_node_lookup: ValueError: no\n  Run without it"),
    errors.TaskFailed: (lambda: errors.TaskFailed("the disk is full"), "the disk is full"),
    errors.TaskTimeout: (lambda: errors.TaskTimeout("took longer than 2s"), "took longer than 2s"),
    errors.WorkerLost: (lambda: errors.WorkerLost("the worker is gone"), "the worker is gone"),
    errors.ResourceError: (lambda: errors.ResourceError("resource 'db' (m.py:3) yielded twice"), "'db' (m.py:3)"),
    errors.UsageError: (lambda: errors.UsageError("a", known="b\nc", remedy="d"), "a\n  b\n  c\n  d"),
    errors.SkipRequested: (lambda: errors.SkipRequested("odd"), "odd"),
    errors.FailRequested: (lambda: errors.FailRequested("odd"), "odd"),
    errors.Cancelled: (errors.Cancelled, ""),
    errors.FlowkitError: (lambda: errors.FlowkitError("root"), "root"),
}


@pytest.mark.parametrize("kind", MADE, ids=lambda kind: kind.__name__)
def test_an_error_is_its_sentence(kind):
    make, text = MADE[kind]
    assert text in str(make())


def test_every_error_is_in_one_of_the_tables_above():
    every = {thing for _, thing in public(errors) if inspect.isclass(thing) and issubclass(thing, BaseException)}
    assert every == {*REFUSED, *MADE}


def test_every_error_is_in_the_tree_of_the_module():
    for kind in (*REFUSED, *MADE):
        if issubclass(kind, errors.FlowkitError):
            assert kind.__name__ in errors.__doc__


# --- sizes ------------------------------------------------------------------------------------


def test_no_file_is_longer_than_400_lines():
    """Those that are may not grow: split them, then take them out of the list."""
    lengths = {relative(path): len(path.read_text(encoding="utf-8").splitlines()) for path in FILES}
    long = {name: lines for name, lines in lengths.items() if lines > LONG_FILES.get(name, MOST_LINES)}
    assert long == {}
    assert {name for name in LONG_FILES if lengths.get(name, 0) <= MOST_LINES} == set(), "take these out of the list"


def test_no_function_is_longer_than_60_lines():
    long = {}
    for path in FILES:
        for node in ast.walk(tree_of(path)):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                name, lines = f"{relative(path)}::{node.name}", (node.end_lineno or 0) - node.lineno + 1
                if lines > LONG_FUNCTIONS.get(name, MOST_LINES_OF_A_FUNCTION):
                    long[name] = lines
    assert long == {}


def asks_the_time(tree):
    """Whether code reads a clock: ``time.time``, ``time.monotonic``, ``datetime.now`` and the like."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.value.id == "time" or (node.value.id == "datetime" and node.attr in ("now", "utcnow", "today")):
                return True
    return False


def test_there_is_one_door_to_time():
    """The core asks its clock; whoever does not is listed with the reason."""
    asking = {
        relative(path)
        for path in FILES
        if path.is_relative_to(ROOT / "flowkit") and asks_the_time(tree_of(path))
    }
    assert asking == set(ASK_THE_TIME)


def test_what_a_plugin_registers_is_named_after_it():
    """``retry:state``: an error in it names the plugin, and ``-p no:retry`` is the right advice."""
    strange = []
    for path in (p for p in FILES if p.is_relative_to(ROOT / "flowkit_plugins")):
        plugin = path.relative_to(ROOT / "flowkit_plugins").parts[0].removesuffix(".py")
        for name in re.findall(r'plugins\.register\(.*, "([^"]+)"\)', path.read_text(encoding="utf-8")):
            if name.partition(":")[0] != plugin:
                strange.append(f"{relative(path)}: {name}")
    assert strange == []
