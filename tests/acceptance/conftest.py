"""The fixture ``flow``: one flow per test, told as source."""

import textwrap
from dataclasses import dataclass

import pytest

import flowkit
from flowkit.testing.project import Project

#: On the first line of every flow, so that line numbers are those of the test's text.
IMPORTS = (
    "from typing import *; from pathlib import Path; "
    "from flowkit import Collected, Failure, Flow, From, Outcome, Skipped, Success, fail, resource, skip, task"
)


@dataclass
class Written:
    """A flow in a file, and what can be done with it."""

    project: Project
    name: str

    def run(self, target="", **keywords):
        """Run it in this process, inline unless the test says otherwise."""
        keywords.setdefault("executor", "inline")
        return flowkit.run(f"{self.name}{target}", **keywords)

    def value(self, task, **keywords):
        """The value of one task of a run that went well."""
        run = self.run(**keywords)
        assert run.ok, [n for n in run.report.nodes if n.error] or run.report
        return run[task]

    def refusal(self, target="", **keywords):
        """The text of what is wrong with it; nothing may have run."""
        with pytest.raises(flowkit.FlowError) as caught:
            self.run(target, **keywords)
        assert not (self.project.root / "ran").exists()
        return str(caught.value)

    def words(self, target="", **keywords):
        """Node → how it ended, in a word."""
        return {n.node: n.word for n in self.run(target, **keywords).report.nodes}

    def reasons(self, **keywords):
        """Node → why."""
        return {n.node: n.reason for n in self.run(**keywords).report.nodes}


@pytest.fixture
def flow(project):
    """Write a flow; a text that begins with a line end keeps its line numbers below the imports."""

    def write(source, name="m.py"):
        project.write(name, IMPORTS + textwrap.dedent(source))
        return Written(project, name)

    return write
