"""A history that cannot be written or read never stops a run: it is said, and the run goes on."""

import os
import sqlite3
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from flowkit.reports import NodeReport
from flowkit_plugins.history.databases import SCHEMA, SPAN, TABLES, open_to_write
from flowkit_plugins.history.journal import ROWS_AT_ONCE, sweep
from flowkit_plugins.history.reading import History
from flowkit_plugins.history.rows import node_inserts

FLOW = """
    from flowkit import task

    @task
    def one() -> int:
        print("hello")
        return 1
"""


@pytest.fixture
def flow(project):
    project.write("m.py", FLOW)
    return project


def history_of(project):
    return project.root / ".flowkit" / "history.db"


def made(file, version=SCHEMA):
    file.parent.mkdir(exist_ok=True)
    connection = open_to_write(file, 1.0)
    connection.execute(f"PRAGMA user_version = {version}")
    connection.close()


def said(project):
    ended = project.flowkit("run", "m.py")
    assert ended.exit_code == 0, ended.err
    assert "1 ran" in ended.out or "1 cached" in ended.out
    return ended.out


def test_a_damaged_file_is_said_and_the_run_goes_on(flow):
    history_of(flow).parent.mkdir()
    history_of(flow).write_bytes(b"this is no database, though it is long enough to be one" * 40)
    assert "the history is not recorded" in said(flow)
    assert "is damaged" in flow.flowkit("runs").err
    assert flow.flowkit("run", "m.py", "--lf").exit_code == 0
    ended = flow.flowkit("run", "m.py", "--resume")
    assert ended.exit_code == 4
    assert "is damaged" in ended.err


def test_a_folder_that_cannot_be_made_is_said_and_is_not_damaged(flow):
    flow.write("flowkit.toml", '[history]\nurl = "sqlite:////proc/none/here.db"\n')
    text = said(flow)
    assert "/proc/none is not there, and cannot be made" in text
    assert "damaged" not in text


@pytest.mark.parametrize("url", ["sqlite:///kept/runs.db", "kept/runs.db"])
def test_the_history_may_be_elsewhere(flow, url):
    (flow.root / "kept").mkdir()
    flow.write("flowkit.toml", f'[history]\nurl = "{url}"\n')
    assert flow.flowkit("run", "m.py").exit_code == 0
    assert "1 ran" in flow.flowkit("runs").out
    assert [file.name for file in (flow.root / "kept").glob("[.a-z]*") if "-" not in file.name] == ["runs.db"]
    assert not history_of(flow).exists()


def test_another_kind_of_database_is_refused(flow):
    flow.write("flowkit.toml", '[history]\nurl = "postgresql://host/db"\n')
    ended = flow.flowkit("run", "m.py")
    assert ended.exit_code == 4
    assert "history.url" in ended.err and "sqlite:///" in ended.err


def test_nothing_is_swept_while_nobody_knows_what_runs_need(flow):
    assert flow.run("m.py").ok
    whole = history_of(flow).read_bytes()
    history_of(flow).write_bytes(whole[: len(whole) // 2])
    ended = flow.flowkit("cache", "gc")
    assert ended.exit_code == 1
    assert "what runs need to be resumed is not known" in ended.err
    assert "internal error" not in ended.err


@pytest.mark.parametrize("version", [SCHEMA - 1, SCHEMA + 1, 99])
def test_a_file_of_another_version_is_said_and_left_alone(flow, version):
    made(history_of(flow), version)
    assert "written by another version of flowkit" in said(flow)
    connection = sqlite3.connect(history_of(flow))
    assert connection.execute("PRAGMA user_version").fetchone() == (version,)
    connection.close()


def test_a_locked_file_is_said_and_the_run_waits_no_longer_than_it_must(flow):
    made(history_of(flow))
    connection = sqlite3.connect(history_of(flow), isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    try:
        assert "is locked" in said(flow)
    finally:
        connection.close()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_said(flow):
    history_of(flow).parent.mkdir()
    history_of(flow).parent.chmod(0o500)
    assert "the history is not recorded" in said(flow)


def test_a_folder_in_the_place_of_the_file_is_said(flow):
    history_of(flow).mkdir(parents=True)
    assert "the history is not recorded" in said(flow)


def test_the_folder_is_private_and_ignored_by_git(flow):
    said(flow)
    assert history_of(flow).parent.stat().st_mode & 0o777 == 0o700
    assert history_of(flow).stat().st_mode & 0o777 == 0o600
    assert (flow.root / ".flowkit" / ".gitignore").read_text() == "*\n"


def test_no_history_writes_nothing(flow):
    assert flow.flowkit("run", "m.py", "--no-history").exit_code == 0
    assert not history_of(flow).exists()


def test_runs_whose_time_is_over_are_dropped_a_few_at_a_time(flow):
    for _ in range(4):
        assert flow.run("m.py").ok
    connection = open_to_write(history_of(flow), 1.0)
    connection.execute("UPDATE runs SET started = started - 1e7 WHERE number <= 3")
    connection.close()
    assert flow.run("m.py").ok
    history = History(history_of(flow))
    runs = history.listed()
    history.close()
    assert [run.number for run in runs] == [5, 4]
    connection = open_to_write(history_of(flow), 1.0)
    for table in ("nodes", "attempts"):
        ((least,),) = connection.execute(f"SELECT min(at) FROM {table}").fetchall()
        assert least is None or least >> 32 >= 4
    assert connection.execute("SELECT count(*) FROM details").fetchall() == [(4,)]
    assert connection.execute("SELECT count(*) FROM graphs").fetchall() == [(1,)]
    assert sweep(connection, 0.0, 10) == 0
    connection.close()


def test_runs_of_many_nodes_are_dropped_one_at_a_time(flow):
    """So that no run has to wait for the end of several large ones."""
    for _ in range(3):
        assert flow.run("m.py").ok
    connection = open_to_write(history_of(flow), 1.0)
    connection.execute("UPDATE runs SET started = started - 1e7")
    for number in (1, 2):
        rows = [(number * SPAN + 10 + i, f"m.py::t{i}") for i in range(ROWS_AT_ONCE + 1)]
        connection.execute("BEGIN")
        connection.executemany("INSERT INTO nodes VALUES (?, ?, 'ran', NULL, NULL, 0, 0, 1)", rows)
        connection.execute("COMMIT")
    long_ago = time.time() - 1e6
    assert [sweep(connection, long_ago, 10) for _ in range(4)] == [1, 1, 1, 0]
    assert connection.execute("SELECT count(*) FROM nodes").fetchall() == [(0,)]
    connection.close()


def test_what_happened_is_all_there(project):
    project.write(
        "m.py",
        """
        from flowkit import task

        tries = []

        @task(retries=2)
        def flaky() -> int:
            print("attempt", len(tries) + 1)
            tries.append(1)
            if len(tries) < 3:
                raise ConnectionError("refused")
            return 1

        @task
        def loud(flaky: int) -> int:
            print("x" * 300_000)
            raise ValueError("no")
        """,
    )
    run = project.run("m.py", executor="inline")
    history = History(project.root / ".flowkit" / "history.db")
    row = history.find("last")
    attempts = [a for _, a in history.attempts(row)]
    assert row.id == run.id
    assert [(a.node, a.number, a.kind) for a in attempts] == [
        ("m.py::flaky", 1, "error"), ("m.py::flaky", 2, "error"), ("m.py::flaky", 3, "success"), ("m.py::loud", 1, "error"),
    ]  # fmt: skip
    assert "attempt 1" in attempts[0].sections
    assert 200_000 <= len(attempts[3].sections) < 201_000
    assert "characters left out" in attempts[3].sections
    assert {n.node: (n.word, n.tries) for n in history.nodes(row)} == {
        "m.py::flaky": ("ran", 3), "m.py::loud": ("failed", 1),
    }  # fmt: skip
    history.close()


#: Leaves a journal that has to be rolled back, as a kill while the file is being made does.
KILLED = """
import os, sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("PRAGMA journal_mode = DELETE")
db.execute("PRAGMA cache_size = 1")
db.execute("BEGIN IMMEDIATE")
db.execute("CREATE TABLE half (text)")
db.executemany("INSERT INTO half VALUES (?)", [("x" * 5000,)] * 50)
os._exit(0)
"""


def test_a_file_left_half_written_by_a_kill_is_rolled_back_and_read(flow):
    assert flow.flowkit("run", "m.py").exit_code == 0
    subprocess.run([sys.executable, "-c", KILLED, history_of(flow)], check=True)
    assert history_of(flow).with_name("history.db-journal").exists()
    assert "1 ran" in flow.flowkit("runs").out
    assert flow.flowkit("run", "m.py", "--resume").exit_code == 0


@pytest.mark.parametrize("reasons", [["just now"], ["it's", "a?"], [""], ["", "é\n"], ["a\0b"]])
@pytest.mark.parametrize("tries", [(0,), (1,), (0, 2)])
def test_rows_are_what_was_reported_whatever_they_have_in_common(reasons, tries):
    reports, wanted = [], []
    for i in range(203):
        attempts = [SimpleNamespace(started_at=3.0, ended_at=3.5)] * tries[i % len(tries)]
        unit = SimpleNamespace(task=SimpleNamespace(flow=SimpleNamespace(path="m.py")), id=f"t[{i}]")
        reports.append(NodeReport(unit, "same", reasons[i % len(reasons)], attempts, float(i % 2)))
        reports[-1].key = "k" * (i > 150)
        wanted.append((
            7 + i, f"m.py::t[{i}]", "same", reports[-1].reason or None, reports[-1].key or None,
            2.0 if attempts else None, 0.5 if attempts else float(i % 2) or None, len(attempts),
        ))  # fmt: skip
    counts = {"same": 1}
    connection = sqlite3.connect(":memory:")
    for statement in TABLES:
        connection.execute(statement)
    for statement, values in node_inserts(reports, 7, 1.0, str, counts):
        connection.execute(statement, values)
    assert connection.execute("SELECT * FROM nodes ORDER BY at").fetchall() == wanted
    connection.close()
    assert counts == {"same": 204}
