"""What is measured: one entry here is one row of the table.

A row has contenders, flowkit first: ratios are to that line. To add one (``dag``, ``test``),
append a ``Row`` whose contenders are built by ``flowkit``, ``floor``, ``peer`` or ``command``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks import sources
from tests.benchmarks.workloads import expected

Files = Callable[[str, int, int], dict[str, str]]


@dataclass(frozen=True, slots=True)
class Contender:
    """One line below a row.

    Attributes:
        who: Its name in the table.
        command: What is run; ``{n}``, ``{size}`` and ``{workload}`` are filled in.
        peer: The module that must be installed, or ``""``: asked for with ``--peers`` by that name.
        files: What stands in the scratch folder before, as file name → text.
        is_flowkit: Its run has counts, and is told which plugins to leave out.
        answers: It leaves an answer and the stopwatch's file behind.
        then: What the second process runs, where that is another command. It leaves nothing behind.
    """

    who: str
    command: tuple[str, ...]
    peer: str = ""
    files: Files = lambda workload, n, size: {}
    is_flowkit: bool = False
    answers: bool = True
    then: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Row:
    """One workload and those that run it.

    Attributes:
        name: As ``--rows`` takes it.
        workload: Whose answer is checked.
        full, small: How many steps, layers or elements.
        goal: What is asked of flowkit, in words.
        contenders: flowkit first.
        size: MB of an array, at full size; 1 at small size.
        warm: A second process follows on the same scratch folder, and is a line of its own.
        plugin: The plugin of flowkit's that this is about; all others of ``OPTIONAL`` are left out.
        least: At least so many runs: short processes are noisy.
    """

    name: str
    workload: str
    full: int
    small: int
    goal: str
    contenders: tuple[Contender, ...]
    size: int = 1
    warm: bool = False
    plugin: str = ""
    least: int = 1


#: Built-in plugins that are off but in the rows that are about them.
OPTIONAL = ("cache",)


def flowkit(who: str, *options: str, then: str = "") -> Contender:
    """Return flowkit on a generated flow; with ``then``, that command of its in the second process."""
    return Contender(
        f"flowkit {who}",
        (*console("flowkit"), "run", "flow.py", "-p", "tests.benchmarks.stopwatch", *options),
        files=lambda workload, n, size: {"flow.py": sources.flow(workload, n, size)},
        is_flowkit=True,
        then=(*console("flowkit"), then, "flow.py") if then else (),
    )


def floor(mode: str) -> Contender:
    """Return a hand-written program."""
    return Contender(
        f"by hand: {mode}",
        (sys.executable, "-m", "tests.benchmarks.peers.floors", "{workload}", "{n}", "{size}", mode),
        peer="diskcache" if mode == "diskcache" else "",
    )


def peer(name: str, *options: str) -> Contender:
    """Return another tool."""
    files: dict[str, Files] = {
        "hamilton": lambda workload, n, size: {"hamilton_flow.py": sources.hamilton(workload, n, size)},
        "pytest": lambda workload, n, size: {"test_flow.py": sources.pytest(workload, n, expected(workload, n))},
    }
    return Contender(
        " ".join((name, *options)),
        (sys.executable, "-m", f"tests.benchmarks.peers.{name}", "{workload}", "{n}", "{size}", *options),
        peer=name,
        files=files.get(name, lambda workload, n, size: {}),
    )


def command(who: str, *words: str, peer: str = "", files: dict[str, str] | None = None) -> Contender:
    """Return a command of which only the whole process counts."""
    return Contender(
        who, words, peer, lambda workload, n, size: files or {}, is_flowkit=who.startswith("flowkit run"), answers=False
    )


def console(name: str) -> tuple[str, ...]:
    """Return the command that an installed tool is called by, next to this interpreter."""
    script = Path(sys.executable).with_name(name)
    return (str(script),) if script.exists() else (sys.executable, "-m", name)


def python(code: str) -> tuple[str, ...]:
    """Return the command for some code."""
    return (sys.executable, "-c", code)


_HELLO = "from flowkit import task\n\n\n@task\ndef hello():\n    return 'hello'\n"
_DODO = "def task_hello():\n    return {'actions': [lambda: None]}\n"
_TEST = "def test_hello():\n    assert True\n"
_LIBRARIES = "import click, pluggy, diskcache, concurrent.futures"

ROWS: Sequence[Row] = (
    Row(
        "startup", "one", 1, 1, "whole process ≤ 120 ms, and ahead of every peer",
        (
            command("flowkit run hello.py", *console("flowkit"), "run", "hello.py", files={"hello.py": _HELLO}),
            command("python -c pass", *python("pass")),
            command("python, libraries imported", *python(_LIBRARIES), peer="diskcache"),
            command("doit", *console("doit"), peer="doit", files={"dodo.py": _DODO}),
            command("pytest -q", *console("pytest"), "-q", "test_hello.py", peer="pytest", files={"test_hello.py": _TEST}),
        ),
        least=7,
    ),
    Row(
        "import", "one", 1, 1, "import flowkit ≤ 40 ms, flowkit --help ≤ 110 ms",
        (
            command("import flowkit", *python("import flowkit")),
            command("flowkit --help", *console("flowkit"), "--help"),
            command("python -c pass", *python("pass")),
        ),
        least=7,
    ),
    Row(
        "chain", "chain", 1_000, 50, "inline ≤ 12 µs, threads ≤ 20; building ≤ 17",
        (
            flowkit("inline", "--executor", "inline"),
            flowkit("threads", "--executor", "threads", "-n", "8"),
            floor("loop"),
            floor("pool"),
            peer("dask", "raw"),
            peer("dask"),
            peer("hamilton"),
            peer("joblib"),
            peer("doit"),
            peer("pytest"),
        ),
    ),
    Row(
        "wide", "wide", 10_000, 200, "inline ≤ 12 µs, threads ≤ 20; building ≤ 17",
        (
            flowkit("inline", "--executor", "inline"),
            flowkit("threads", "--executor", "threads", "-n", "8"),
            floor("loop"),
            floor("pool"),
            peer("dask", "raw", "sync"),
            peer("dask", "raw"),
            peer("dask"),
            peer("joblib"),
            peer("hamilton"),
            peer("pytest"),
            peer("doit"),
        ),
    ),
    Row(
        "wide100k", "mapped", 100_000, 1_000, "≤ 20 µs, ≤ 150 MB, no more per node than at 10,000",
        (
            flowkit("inline", "--executor", "inline"),
            flowkit("threads", "--executor", "threads", "-n", "8"),
            floor("loop"),
            peer("joblib"),
            peer("dask", "raw"),
        ),
    ),
    Row(
        "layered", "layered", 50, 5, "≤ 40 µs; building ≤ 55 (20 edges each)",
        (
            flowkit("inline", "--executor", "inline"),
            flowkit("threads", "--executor", "threads", "-n", "8"),
            floor("loop"),
            floor("pool"),
            peer("dask", "raw"),
            peer("dask"),
            peer("hamilton"),
            peer("pytest"),
            peer("doit"),
            peer("joblib"),
        ),
    ),
    Row(
        "sleep", "sleep", 400, 24, "in process ≤ 0.526 s at full size (0.95 of ideal)",
        (
            flowkit("threads", "--executor", "threads", "-n", "8"),
            floor("pool"),
            peer("dask", "raw"),
            peer("joblib"),
            peer("hamilton", "threads"),
            peer("doit", "threads"),
        ),
    ),
    Row(
        "map", "mapped", 50_000, 500, "≤ 40 µs per element",
        (
            flowkit("inline", "--executor", "inline"),
            flowkit("threads", "--executor", "threads", "-n", "8"),
            floor("loop"),
            peer("joblib"),
            peer("dask", "raw"),
        ),
    ),
    Row(
        "big", "big", 1, 1, "≤ 260 MB; one array of 200 MB → its mean, nothing stored",
        (
            flowkit("inline", "--executor", "inline"),
            flowkit("threads", "--executor", "threads", "-n", "8"),
            floor("loop"),
            peer("joblib"),
            peer("hamilton"),
            peer("dask"),
        ),
        size=200,
    ),
    Row(
        "arrays", "arrays", 100, 10, "a chain of 100 arrays of 20 MB: memory of two or three, not of all",
        (
            flowkit("inline", "--executor", "inline"),
            flowkit("threads", "--executor", "threads", "-n", "8"),
            floor("loop"),
        ),
        size=20,
    ),
    Row(
        "cached", "wide", 10_000, 200, "cold ≤ 60 µs; warm ≤ 15 µs and no value loaded, whole process ≤ 300 ms",
        (
            flowkit("inline", "--executor", "inline"),
            flowkit("threads", "--executor", "threads", "-n", "8"),
            floor("sqlite"),
            floor("diskcache"),
            peer("doit"),
            peer("joblib", "memory"),
            peer("hamilton", "cache"),
        ),
        warm=True,
        plugin="cache",
    ),
    Row(
        "plan", "wide", 10_000, 200, "whole process: a plan of what is warm no dearer than the run",
        (flowkit("run", "--executor", "inline"), flowkit("plan", "--executor", "inline", then="plan")),
        warm=True,
        plugin="cache",
    ),
)  # fmt: skip
