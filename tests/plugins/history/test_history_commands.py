"""``flowkit runs``, ``show``, ``logs``, ``why``, ``repro``, ``--pdb``, and flags with optional values."""

import contextlib
import json
import os
import re
import select
import shutil
import subprocess

import pytest

FLOW = """
    from flowkit import task, Collected, resource
    import os

    @resource
    def shop(town: str = "Ely"):
        yield f"shop in {town}"

    @task
    def items(n: int = 3) -> list[int]:
        return list(range(n))

    @task(each={"item": "items"})
    def load(item: int, shop) -> dict:
        print("loading", item)
        if item == 1 and not os.path.exists("fixed"):
            raise ValueError(f"bad {item} from {shop}")
        return {"item": item}

    @task
    def total(load: Collected[dict]) -> int:
        return len(load)
"""


@pytest.fixture
def failed(project):
    """A flow of which one element failed."""
    project.write("m.py", FLOW)
    assert project.flowkit("run", "m.py", "-P", "n=2").exit_code == 1
    return project


def test_runs_lists_them_newest_first_and_by_what_is_asked(failed):
    failed.write("fixed")
    assert failed.flowkit("run", "m.py", "-P", "n=2").exit_code == 0
    first, second = [line.split() for line in failed.flowkit("runs").out.splitlines()]
    assert (first[1], second[1]) == ("ok", "failed")
    assert len(first[0]) == 7
    assert failed.flowkit("runs", "--status", "failed").out.split()[0] == second[0]
    assert failed.flowkit("runs", "m.py", "-n", "1").out.split()[0] == first[0]
    assert failed.flowkit("runs", "--since", "1h").out.count("\n") == 2
    assert json.loads(failed.flowkit("runs", "--json", "-n", "1").out)["counts"]["cached"] == 2
    assert failed.flowkit("runs", "nosuch.py").exit_code == 4
    assert failed.flowkit("show", second[0][:4]).out.startswith(f"run {second[0]} of m: failed")
    ended = failed.flowkit("show", "zzz")
    assert (ended.exit_code, "there is no run 'zzz'" in ended.err) == (4, True)


def test_runs_takes_the_name_of_a_flow_and_its_path(project):
    source = "from flowkit import Flow, task\nflow = Flow({name!r})\n@task\ndef t(): return 1\n"
    project.write("m.py", source.format(name="first one"))
    for path in ("a/n.py", "b/n.py"):
        project.write(path, source.format(name="twice"))
    for path in ("m.py", "a/n.py", "b/n.py"):
        assert project.run(path).ok
    for name in ("first one", "m.py", "m"):
        line = project.flowkit("runs", name).out
        assert "first one" in line
        assert line.count("\n") == 1
    ended = project.flowkit("runs", "twice")
    assert ended.exit_code == 4
    assert "flows: b/n.py, a/n.py" in ended.err
    assert project.flowkit("runs", "a/n.py").out.count("twice") == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--status", "fialed"], "Did you mean 'failed'?"),
        (["-n", "0"], "0 is not in the range"),
        (["--since", "yesterday"], "no duration"),
    ],
)
def test_runs_refuses_what_it_cannot_mean(failed, words, said):
    ended = failed.flowkit("runs", *words)
    assert ended.exit_code == 4
    assert said in ended.err


def test_counts_are_in_the_order_of_the_last_line_of_a_run(failed):
    assert failed.flowkit("runs").out.rstrip().endswith("2 ran, 1 failed, 1 upstream")


def test_a_child_run_is_found_by_its_flow(project):
    project.write("child.py", "from flowkit import task\n@task\ndef c(): return 1\n")
    project.write("m.py", "import flowkit\n@flowkit.task\ndef p() -> int:\n    return flowkit.run('child.py')['c']\n")
    assert project.run("m.py").ok
    assert project.flowkit("runs", "child.py").out == "no such runs\n"
    assert "child" in project.flowkit("runs", "child.py", "--all").out


def test_show_says_how_to_continue_with_what_has_to_be_given_again(project):
    project.write(
        "flows/m.py",
        """
        from pydantic import SecretStr
        from flowkit import task

        @task
        def login(token: SecretStr, n: int = 1) -> int:
            raise ValueError
        """,
    )
    project.write("flowkit.toml")
    assert project.flowkit("run", "flows/m.py", "-P", "token=hunter-two", "-P", "n=2").exit_code == 1
    run = json.loads(project.flowkit("runs", "--json").out)["id"]
    said = f"continue it with: flowkit run flows/m.py --resume={run}\n  (with token: secrets are not stored)\n"
    assert said in project.flowkit("show").out
    project.write("flows/sub/empty")
    there = subprocess.run(
        project.command("show"), cwd=project.root / "flows" / "sub", env=project.environment(), capture_output=True, text=True, check=True
    )
    assert f"flowkit run ../m.py --resume={run}" in there.stdout


def test_ids_of_runs_and_nodes_are_completed(failed):
    run = json.loads(failed.flowkit("runs", "--json").out)["id"]

    def completed(*words):
        done = subprocess.run(
            failed.command(), capture_output=True, text=True, check=False, cwd=failed.root,
            env={**failed.environment(), "_FLOWKIT_COMPLETE": "bash_complete", "COMP_WORDS": " ".join(["flowkit", *words]),
                 "COMP_CWORD": str(len(words))},
        )  # fmt: skip
        return [line.partition(",")[2] for line in done.stdout.splitlines()]

    assert completed("show", "la") == ["last", "last-failed"]
    assert completed("show", run[:3]) == [run]
    assert completed("logs", "last", "load") == ["load[0]", "load[1]"]
    assert completed("why", "tot") == ["total"]
    assert completed("set", run, "m.py::it") == ["m.py::items"]


def test_repro_refuses_a_node_that_was_set_by_hand(failed):
    assert failed.flowkit("set", "last", "load[1]", "--value", "{}").exit_code == 0
    assert failed.flowkit("run", "m.py", "--resume").exit_code == 0
    ended = failed.flowkit("repro", "last::load[1]")
    assert ended.exit_code == 4
    assert "it was set by hand" in ended.err


def test_show_tells_the_tree_the_reasons_and_the_critical_path(failed):
    out = failed.flowkit("show").out
    assert "n=2" in out
    assert "F load ×2  1 failed, 1 ran" in out
    assert "F load[1]  FAILED" in out
    assert "- ValueError: bad 1 from shop in Ely" in out
    assert "u total  UPSTREAM  1 of 2 `load` failed: 1" in out
    assert "critical path" in out
    assert "--resume=" in out
    shown = json.loads(failed.flowkit("show", "--json").out)
    assert [t["task"] for t in shown["tasks"]] == ["m.py::items", "m.py::load", "m.py::total"]
    (bad,) = [n for n in shown["nodes"] if n["word"] == "failed"]
    assert bad["attempts"][0]["arguments"] == {"item": "1"}
    assert shown["params"]["n"]["given"]["value"] == ["2"]


def test_the_critical_path_counts_what_retries_took(project):
    project.write(
        "m.py",
        """
        import time
        from flowkit import task

        tries = []

        @task(retries={"times": 1, "delay": "300ms"})
        def flaky() -> int:
            tries.append(1)
            time.sleep(0.05)
            if len(tries) == 1:
                raise ConnectionError
            return 1

        @task
        def after(flaky: int) -> int:
            return 1
        """,
    )
    assert project.flowkit("run", "m.py").exit_code == 0
    (line,) = [line for line in project.flowkit("show").out.splitlines() if line.startswith("critical path")]
    milliseconds = re.fullmatch(r"critical path, .*: flaky (\d+)ms → after .*", line)
    assert milliseconds, line
    assert 390 <= int(milliseconds[1]) < 1000


def test_a_fallback_is_not_what_the_task_that_failed_waited_for(project):
    project.write(
        "m.py",
        """
        import time
        from flowkit import task

        @task
        def first() -> int:
            time.sleep(0.05)
            return 1

        @task(fallback="spare")
        def may(first: int) -> int:
            time.sleep(0.02)
            raise RuntimeError("no")

        @task
        def spare() -> int:
            return 5

        @task
        def use(may: int) -> int:
            return may
        """,
    )
    assert project.flowkit("run", "m.py").exit_code == 0
    assert json.loads(project.flowkit("show", "--json").out)["critical_path"] == ["m.py::first", "m.py::may", "m.py::use"]


def test_logs_show_what_was_printed(failed):
    assert "loading 0" in failed.flowkit("logs").out
    only = failed.flowkit("logs", "last", "load[1]").out
    assert "loading 1" in only
    assert "ValueError: bad 1" in only
    assert "loading 0" not in only
    assert "loading 1" in failed.flowkit("logs", "last", "-f").out
    assert failed.flowkit("logs", "last", "nosuch").exit_code == 4


def test_why_says_what_happened_in_words(failed):
    said = failed.flowkit("why", "load[1]").out
    assert said.startswith("`m.py::load[1]` failed in run ")
    assert "It was called because: no record." in said
    assert "ValueError: bad 1" in said
    assert "did not run, because something above it failed" in failed.flowkit("why", "total").out
    ended = failed.flowkit("why", "lood[1]")
    assert (ended.exit_code, "Did you mean 'load[1]'?" in ended.err) == (4, True)


def test_repro_writes_a_test_that_ends_as_the_node_did(failed, monkeypatch):
    ended = failed.flowkit("repro", "last::load[1]", "-o", "test_it.py")
    assert ended.exit_code == 0, ended.err
    assert "'item': 1" in failed.read("test_it.py")
    scope = {"__file__": str(failed.root / "test_it.py")}
    exec(compile(failed.read("test_it.py"), "test_it.py", "exec"), scope)
    (test,) = [value for name, value in scope.items() if name.startswith("test_")]
    with pytest.raises(ValueError, match="bad 1 from shop in Ely"):
        test()
    failed.write("fixed")
    test()


@pytest.mark.parametrize(("output", "said"), [("no/x.py", "No such file or directory"), (".", "Is a directory")])
def test_repro_says_where_it_cannot_write(failed, output, said):
    ended = failed.flowkit("repro", "last::load[1]", "-o", output)
    assert ended.exit_code == 4, ended
    assert ended.err.startswith(f"error: -o {output}: cannot be written: {said}")


def test_repro_uses_the_inputs_that_were_stored_though_the_code_above_changed(project):
    project.write(
        "m.py",
        """
        from flowkit import task

        @task
        def above() -> object:
            return {1, 2, 3}

        @task
        def below(above: object) -> int:
            raise ValueError(len(above))
        """,
    )
    assert not project.run("m.py").ok
    text = project.read("m.py")
    project.write("m.py", text.replace("return {1, 2, 3}", "return {9}"))
    assert project.flowkit("repro", "last::below", "-o", "test_it.py").exit_code == 0
    scope = {"__file__": str(project.root / "test_it.py")}
    exec(compile(project.read("test_it.py"), "test_it.py", "exec"), scope)
    (test,) = [value for name, value in scope.items() if name.startswith("test_")]
    with pytest.raises(ValueError, match="3"):
        test()


def test_repro_says_that_the_store_has_lost_the_inputs(failed):
    shutil.rmtree(failed.root / ".flowkit" / "results")
    ended = failed.flowkit("repro", "last::load[1]")
    assert ended.exit_code == 4
    assert "the inputs of m.py::load[1] are not stored any more" in ended.err


def test_pdb_opens_in_the_frame_of_the_task_with_its_inputs(failed):
    ended = failed.flowkit("run", "m.py", "--pdb", "-P", "n=2", stdin="p item, shop\nc\n")
    assert ended.exit_code == 1
    assert "(1, 'shop in Ely')" in ended.out


def test_nothing_is_painted_over_the_debuggers_prompt(failed):
    """On a terminal the live view is there by then: it has to give way."""
    pty = pytest.importorskip("pty")
    failed.write("m.py", FLOW.replace("bad {item}", "bad {__import__('time').sleep(1) or item}"))
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        failed.command("run", "m.py", "--pdb", "-P", "n=2"), cwd=failed.root, stdin=theirs, stdout=theirs, stderr=theirs,
        env={**failed.environment(), "TERM": "xterm"},
    )  # fmt: skip
    os.close(theirs)
    seen = b""
    while b"(Pdb)" not in seen:
        seen += os.read(ours, 4096)
    assert b"1 running" in seen, "there was a live view before"
    pictures = 0
    while select.select([ours], [], [], 0.5)[0]:  # the rest of the prompt; a live view would never be still
        seen += os.read(ours, 4096)
        pictures += 1
        assert pictures < 20, "and none now"
    os.write(ours, b"p shop\nc\n")
    with contextlib.suppress(OSError):  # the other end is closed
        while more := os.read(ours, 4096):
            seen += more
    os.close(ours)
    assert process.wait(20) == 1
    assert b"'shop in Ely'" in seen


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["m.py", "--refresh"], 0),
        (["m.py", "--refresh", "items", "total"], 0),
        (["--refresh=items", "m.py"], 0),
        (["--resume", "m.py"], 0),
        (["m.py", "--resume", "last"], 0),
        (["--refresh", "m.py"], 4),
        (["m.py", "--refresh", "m.py"], 4),
        (["-P", "n=2", "--refresh", "m.py"], 4),
    ],
)
def test_optional_values_are_taken_with_an_equals_sign_or_after_the_targets(failed, words, code):
    failed.write("fixed")
    ended = failed.flowkit("run", *words)
    assert ended.exit_code == code, ended.out + ended.err


@pytest.mark.parametrize("command", [["show"], ["logs"], ["why", "t"]])
def test_what_a_task_brought_forth_reaches_no_pipe_as_control_codes(project, command):
    project.write("m.py", """
from flowkit import task
@task
def t():
    print("\\x1b[2Jgone\\x08")
    raise ValueError("\\x1b[31mred\\x07")
""")
    project.flowkit("run", "m.py")
    told = project.flowkit(*command).out
    assert "red\\x07" in told
    assert [c for c in told if c < " " and c != "\n"] == []
