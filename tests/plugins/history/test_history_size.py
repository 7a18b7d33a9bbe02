"""A long history: no command reads all of it, and a run's start does not feel it."""

import json
import math
import os
import sqlite3
import time

import pytest

from flowkit.cli import main
from flowkit_plugins.history.databases import SPAN, open_to_write, transaction
from flowkit_plugins.history.facts import shape
from tests.timing import seconds

SOAK = bool(os.environ.get("FLOWKIT_SOAK"))
SIZES = [(10_000, 100), (100_000, 100)] if SOAK else [(1_000, 20)]
COMMANDS = (
    "runs", "runs --status failed", "runs --status lost", "runs m.py", "runs m.py --status failed", "runs m.py --status lost",
    "runs m.py --all", "runs --since 2d -n 5", "show", "show last-failed", "logs last-failed", "why t3 last-failed", "set last-failed t3 --skip",
    "run m.py", "run m.py --lf", "run m.py --ff", "run m.py --resume", "plan m.py",
)  # fmt: skip


def generate(file, runs, nodes):
    """Write a history of so many runs of so many nodes each, every tenth of them failed."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    connection = open_to_write(file, 5.0)
    body = json.dumps({"keys": [f"m.py::t{i}" for i in range(nodes)], "ups": {i: [i - 1] for i in range(1, nodes)}, "mapped": [], "torn": {}})
    now = time.time()
    with transaction(connection):
        connection.execute("INSERT INTO flows VALUES ('m.py', ?, 'm')", (str(file.parent.parent / "m.py"),))
        connection.execute("INSERT INTO graphs VALUES ('g', ?)", (body,))
        for number in range(1, runs + 1):
            status = "failed" if number % 10 == 0 else "ok"
            began = now - (runs - number) * 60
            connection.execute(
                "INSERT INTO runs VALUES (?, ?, 'm', ?, ?, ?, NULL, NULL, 1, 'x', 'g', ?, NULL)",
                (number, f"{number * 2654435761 % (1 << 28):07x}", status, began, began + 5, json.dumps({"ran": nodes})),
            )
            connection.execute("INSERT INTO runs_of VALUES ('m.py', 0, ?, ?)", (number, status))
            connection.execute("INSERT INTO details VALUES (?, 'begin', '{}')", (number,))
            connection.executemany(
                "INSERT INTO nodes VALUES (?, ?, 'ran', 'no record', ?, ?, 0.04, 1)",
                [(number * SPAN + i, f"m.py::t{i}", f"{number:040x}", i * 0.05) for i in range(nodes)],
            )
    connection.close()


def project_with(folder, runs, nodes):
    """A project with one flow and so long a history."""
    from flowkit.testing.project import Project

    project = Project(folder)
    project.write("m.py", "from flowkit import task\n@task\ndef t0(): return 1\n")
    project.write("flowkit.toml")
    generate(project.root / ".flowkit" / "history.db", runs, nodes)
    assert project.flowkit("run", "m.py").exit_code == 0  # --resume needs one with a cache
    return project


@pytest.fixture(scope="module", params=SIZES, ids=lambda size: "{}x{}".format(*size))
def long_history(request, tmp_path_factory):
    return project_with(tmp_path_factory.mktemp("long"), *request.param)


@pytest.fixture(scope="module")
def short_history(tmp_path_factory):
    return project_with(tmp_path_factory.mktemp("short"), 200, SIZES[0][1])


def seconds_of(project, *words, within=math.inf):
    def answers():
        assert project.flowkit(*words).exit_code == 0

    return seconds(answers, within=within)


@pytest.mark.parametrize(
    ("words", "most"),
    [
        (("runs",), 0.2), (("runs", "--status", "failed"), 0.2), (("runs", "m.py"), 0.2), (("runs", "--since", "2d", "-n", "5"), 0.2),
        (("show",), 0.3), (("show", "last-failed"), 0.3), (("why", "t3", "last-failed"), 0.3), (("run", "m.py"), 0.5),
    ],
)  # fmt: skip
def test_commands_answer_at_once(long_history, words, most):
    # Named budgets hold on a quiet machine; a loaded one gets room, which growth would still fill.
    bound = max(most, 4 * seconds_of(long_history, "--help"))
    assert seconds_of(long_history, *words, within=bound) <= bound


def test_a_long_critical_path_is_told_by_its_ends(short_history):
    (line,) = [line for line in short_history.flowkit("show", "last-failed").out.splitlines() if line.startswith("critical")]
    assert line.count("→") == 10
    assert f"t4 40ms → … {SIZES[0][1] - 10} more … → t{SIZES[0][1] - 5} 40ms" in line


def work_of(project, words, monkeypatch):
    """How many steps SQLite takes, on all threads together, to answer a command: the same on every machine."""
    steps = 0

    def step():
        nonlocal steps
        steps += 1
        return 0

    def connect(*given, **options):
        connection = real(*given, **options)
        connection.set_progress_handler(step, 1)
        return connection

    real = sqlite3.connect
    with monkeypatch.context() as patch:
        patch.setattr(sqlite3, "connect", connect)
        patch.chdir(project.root)
        with pytest.raises(SystemExit) as ended:
            main(words.split())
    assert ended.value.code == 0
    return steps


@pytest.mark.parametrize("words", COMMANDS)
def test_no_command_does_more_work_in_a_longer_history(short_history, long_history, words, monkeypatch):
    short = work_of(short_history, words, monkeypatch)
    assert short > 10
    assert work_of(long_history, words, monkeypatch) < 1.2 * short + 300


def test_the_shape_of_a_graph_is_noted_once_for_all_its_runs(project):
    project.write("m.py", "from flowkit import task\n@task\ndef a(): return 1\n@task\ndef b(a): return a\n")
    for _ in range(3):
        run = project.run("m.py")
    name, body = shape(run.report.run.graph)
    assert json.loads(body)["ups"] == {"1": [0]}
    connection = open_to_write(project.root / ".flowkit" / "history.db", 1.0)
    assert connection.execute("SELECT hash FROM graphs").fetchall() == [(name,)]
    connection.close()
