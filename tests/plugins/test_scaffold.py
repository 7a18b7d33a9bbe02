"""``flowkit new``: what it writes runs, passes its own test, and never costs anybody a file."""

import ast
import os
import subprocess
import sys

import pytest


def new(project, *words, code=0):
    ended = project.flowkit("new", *words)
    assert "Traceback" not in ended.err
    assert ended.exit_code == code, ended
    return ended.out + ended.err


def passes(project, *paths):
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *paths],
        cwd=project.root,
        env=project.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_the_flow_runs_is_reused_and_its_test_passes(project):
    new(project, "demo")
    ended = project.flowkit("run", "demo/flow.py", "-P", "word=Hi")
    assert ended.exit_code == 0, ended
    assert "5 ran" in ended.out
    assert "5 cached" in project.flowkit("run", "demo/flow.py", "-P", "word=Hi").out
    assert project.flowkit("cache", "get", "demo/flow.py::letter").out.startswith("Hi, Ada!\n")
    assert "2 passed" in passes(project, "demo")


def test_it_says_the_next_two_commands_and_they_work(project):
    lines = [line.strip() for line in new(project, "demo").splitlines() if line.startswith("  ")]
    assert lines == ["flowkit run demo/flow.py", "python -m pytest demo/test_flow.py"]
    assert project.flowkit(*lines[0].split()[1:]).exit_code == 0
    assert "2 passed" in passes(project, lines[1].split()[-1])


def test_a_path_of_a_file_is_taken_as_such(project):
    new(project, "flows/etl.py")
    assert sorted(os.listdir(project.root / "flows")) == ["etl.py", "test_etl.py"]
    assert project.flowkit("run", "flows/etl.py").exit_code == 0
    assert "2 passed" in passes(project, "flows")


@pytest.mark.parametrize("name", ["two words", "déjà-vu", "it's", 'quo"ted.py', "a/b/c"])
def test_unusual_names_are_quoted_where_they_have_to_be(project, name):
    new(project, name)
    file = name if name.endswith(".py") else f"{name}/flow.py"
    assert project.flowkit("run", file).exit_code == 0
    assert "2 passed" in passes(project, str((project.root / file).parent))


def test_it_shows_a_parameter_a_map_a_collection_and_a_retry_in_a_few_lines(project):
    new(project, "demo")
    text = project.read("demo/flow.py")
    for word in ("count: int = 3", "each=", "Collected[", "retries="):
        assert word in text
    assert len([line for line in text.splitlines() if line.strip()]) <= 25
    assert ast.parse(project.read("demo/test_flow.py"))


def test_files_that_are_there_are_not_written_over(project):
    project.write("demo/test_flow.py", "mine")
    out = new(project, "demo", code=4)
    assert "demo/test_flow.py is there already" in out
    assert "--force" in out
    assert project.read("demo/test_flow.py") == "mine"
    assert not (project.root / "demo/flow.py").exists()


def test_with_force_they_are(project):
    new(project, "demo")
    assert "demo/flow.py and demo/test_flow.py are there already" in new(project, "demo", code=4)
    project.write("demo/flow.py", "mine")
    new(project, "demo", "--force")
    assert "Collected" in project.read("demo/flow.py")


def test_a_link_that_leads_nowhere_is_there_too(project):
    (project.root / "demo").mkdir()
    (project.root / "demo/flow.py").symlink_to("nowhere")
    assert "is there already" in new(project, "demo", code=4)


@pytest.mark.parametrize("name", ["test_x.py", "_x.py", "flowconf.py", "conftest.py"])
def test_names_that_flowkit_overlooks_are_refused(project, name):
    assert "does not look for flows in files of that name" in new(project, name, code=4)
    assert not (project.root / name).exists()


def test_a_place_that_cannot_be_written_is_said(project):
    project.write("file", "")
    assert "cannot be written" in new(project, "file", code=4)
    assert "cannot be written" in new(project, "file/demo", code=4)


def test_a_name_is_needed(project):
    assert "Missing argument" in new(project, code=4)
