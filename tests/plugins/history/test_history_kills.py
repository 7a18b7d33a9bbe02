"""A run killed at any moment: its journal can be read, and it is resumed to what it would have given."""

import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest

from flowkit_plugins.history.reading import ENDED_WELL, History

KILLS = 200 if os.environ.get("FLOWKIT_SOAK") else 6

FLOW = """
    import os, time
    from pathlib import Path
    from flowkit import task, Collected, resource, skip

    def note(name):
        fd = os.open("ran.txt", os.O_APPEND | os.O_CREAT | os.O_WRONLY)
        os.write(fd, f"{name}\\n".encode())
        os.close(fd)

    @resource
    def base():
        yield 1

    @task(cache=False)
    def words() -> list[str]:
        note("words")
        return [f"w{i}" for i in range(12)]

    @task(each={"word": "words"})
    def long(word: str, n: int = 1) -> str:
        time.sleep(0.01)
        note(f"long[{word}]")
        return word * n

    @task(cache=False)
    def sent(long: str, base) -> str:
        time.sleep(0.005)
        if long.startswith("w3"):
            note("sent[w3]")
            skip("three")
        note(f"sent[{long[: len(long) // 2]}]")
        return long.upper()

    @task
    def report(sent: Collected[str]) -> str:
        note("report")
        Path("report.txt").write_text(",".join(sent))
        return ",".join(sent)
"""


def killed_after(project, seconds, *words):
    """Start a run and kill its process after a time; whether it was still there."""
    process = subprocess.Popen(
        project.command("run", "m.py", "-n", "4", *words), cwd=project.root, env=project.environment(),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    time.sleep(seconds)
    alive = process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait()
    return alive


def ran(project):
    file = project.root / "ran.txt"
    return file.read_text().splitlines() if file.exists() else []


@pytest.fixture(scope="module")
def whole_seconds(tmp_path_factory):
    """About how long the flow takes, on this machine, in a process of its own."""
    from flowkit.testing.project import Project

    project = Project(tmp_path_factory.mktemp("clean"))
    project.write("m.py", FLOW)
    began = time.monotonic()
    assert project.flowkit("run", "m.py", "-n", "4", "-P", "n=2").exit_code == 0
    return time.monotonic() - began, project.read("report.txt")


@pytest.mark.parametrize("seed", range(KILLS))
def test_a_run_that_was_killed_is_resumed_to_what_it_would_have_given(project, whole_seconds, seed):
    whole, expected = whole_seconds
    project.write("m.py", FLOW)
    chance = random.Random(None if os.environ.get("FLOWKIT_SOAK") else seed)
    history = History(project.root / ".flowkit" / "history.db")
    words = ["-P", "n=2"]
    for _ in range(chance.randint(1, 3)):
        killed_after(project, chance.uniform(0.3, 1.05) * whole, *words)
        runs = history.listed()
        ended = {}
        for run in reversed(runs):
            ended.update({n.node.partition("::")[2]: n for n in history.nodes(run) if n.word in ENDED_WELL})
        assert all(run.status in ("lost", "ok") for run in runs)
        history.close()
        before = len(ran(project))
        words = ["--resume"]
        if not runs:  # it was killed before there was anything to resume
            words = ["-P", "n=2"]
    done = project.flowkit("run", "m.py", "-n", "4", *words)
    assert done.exit_code == 0, done.out + done.err
    assert project.read("report.txt") == expected
    again = ran(project)[before:]
    assert not set(again) & set(ended), "ended well, and ran again"
    last = json.loads(project.flowkit("show", "--json").out)
    nodes = {n["node"]: n["word"] for n in last["nodes"]}
    assert len(nodes) == 1 + 12 + 12 + 1
    assert all(word in ENDED_WELL for word in nodes.values())


def test_a_change_that_was_half_made_when_its_process_was_killed_is_undone_by_whoever_reads(project):
    """SQLite then needs to write before it can read: so it is while the file is set up."""
    project.write("m.py", FLOW)
    assert project.flowkit("run", "m.py", "-P", "n=2").exit_code == 0
    file = project.root / ".flowkit" / "history.db"
    half = f"""
import os, signal, sqlite3
connection = sqlite3.connect({str(file)!r}, isolation_level=None)
connection.execute("PRAGMA journal_mode = DELETE")
connection.execute("PRAGMA cache_size = 1")
connection.execute("BEGIN")
connection.execute("UPDATE runs SET status = 'half'")
connection.execute("CREATE TABLE large (text)")
connection.executemany("INSERT INTO large VALUES (?)", [("x" * 5000,)] * 200)
os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", half], check=False).returncode == -signal.SIGKILL
    assert file.with_name("history.db-journal").stat().st_size
    history = History(file)
    assert [run.status for run in history.listed()] == ["ok"]
    history.close()


def test_a_lost_run_names_what_was_running_and_what_was_not_torn_down(project):
    project.write(
        "m.py",
        """
        import time
        from flowkit import task, resource

        @resource
        def database():
            yield 1

        @task
        def first(database) -> int:
            return 1

        @task
        def slow(first: int) -> int:
            open("started", "w").close()
            time.sleep(30)
            return 1
        """,
    )
    process = subprocess.Popen(
        project.command("run", "m.py"), cwd=project.root, env=project.environment(), stdout=subprocess.DEVNULL
    )
    while not (project.root / "started").exists():
        time.sleep(0.02)
    time.sleep(2.5)  # what runs longer than a second is written down
    assert "running" in project.flowkit("runs").out
    process.kill()
    process.wait()
    shown = project.flowkit("show").out
    assert "lost" in shown.splitlines()[0]
    assert "> slow  RUNNING" in shown
    assert "not torn down: database (m.py:" in shown


def test_a_run_that_was_interrupted_says_what_it_cut_short_and_is_continued(project):
    project.write(
        "m.py",
        """
        import os, time
        from flowkit import task

        @task(cache=False)
        def first() -> int:
            return 1

        @task(cache=False)
        def second(first: int) -> int:
            open("started", "w").close()
            while not os.path.exists("go"):
                time.sleep(0.02)
            return 2
        """,
    )
    process = subprocess.Popen(
        project.command("run", "m.py"), cwd=project.root, env=project.environment(), stdout=subprocess.DEVNULL
    )
    while not (project.root / "started").exists():
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 2
    assert "interrupted" in project.flowkit("runs").out
    assert "! second  INTERRUPTED" in project.flowkit("show").out
    why = project.flowkit("why", "second").out
    assert "was interrupted while it ran" in why
    assert "because: interrupted" not in why
    project.write("go")
    assert "1 ran, 1 cached" in project.flowkit("run", "m.py", "--resume").out


def test_a_second_ctrl_c_is_remembered_as_killed(project):
    project.write(
        "m.py",
        """
        import time
        from flowkit import task

        @task
        def stubborn():
            open("started", "w").close()
            while True:
                try:
                    time.sleep(0.05)
                except BaseException:
                    pass
        """,
    )
    process = subprocess.Popen(
        project.command("run", "m.py", "--executor", "inline"), cwd=project.root, env=project.environment(),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    while not (project.root / "started").exists():
        time.sleep(0.02)
    time.sleep(0.3)
    for _ in range(20):
        process.send_signal(signal.SIGINT)
        time.sleep(0.1)
        if process.poll() is not None:
            break
    assert process.wait(10) == 130
    assert "killed" in project.flowkit("runs").out
    project.write("other.py", "from flowkit import task\n@task\ndef t(): return 1\n")
    assert project.flowkit("run", "other.py").exit_code == 0
    assert not list((project.root / ".flowkit").glob("killed-*"))
    assert "killed" in project.flowkit("runs", "m.py").out
