"""The pytest fixture ``project``: an empty project in a folder of its own, to write flows into and run.

    pytest_plugins = ["flowkit.testing.project"]

    def test_the_total_is_right(project):
        project.write("m.py", '''
            from flowkit import task

            @task
            def total(n: int = 2): return n + 1
        ''')
        assert project.run("m.py", params={"n": 3})["total"] == 4
        assert project.flowkit("run", "m.py").exit_code == 0

While a test has the project, its folder is the current one, and no ``FLOWKIT_*`` variable is set.
"""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from flowkit.runs import Run


@dataclass(frozen=True, slots=True)
class Ended:
    """What became of a command.

    Attributes:
        exit_code: As the shell sees it; negative for a signal that killed it.
        out: What it wrote to standard output; bytes that are no UTF-8 are escaped.
        err: What it wrote to standard error.
    """

    exit_code: int
    out: str
    err: str


class Project:
    """A folder with flows in it.

    Attributes:
        root: The folder; flowkit takes it for the root, as it holds a ``flowkit.toml``.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "flowkit.toml").touch()

    def write(self, path: str, text: str = "") -> Path:
        """Write a file, its text dedented, and the folders above it; return its path.

        A file that is written again is newer than before even where the clock of the file system
        is coarse, so Python never takes its old byte code for it.
        """
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        before = file.stat().st_mtime_ns if file.exists() else 0
        file.write_text(textwrap.dedent(text), encoding="utf-8")
        if before:
            after = max(file.stat().st_mtime_ns, before + 2_000_000_000)
            os.utime(file, ns=(after, after))
        return file

    def read(self, path: str) -> str:
        """Return the text of a file."""
        return (self.root / path).read_text(encoding="utf-8")

    def run(self, *targets: object, **keywords: Any) -> Run:
        """Run flows in this process, as ``flowkit.run`` does."""
        import flowkit

        return flowkit.run(*targets, **keywords)

    def flowkit(
        self,
        *words: str,
        env: dict[str, str] | None = None,
        stdin: str | None = None,
        timeout: float = 60.0,
    ) -> Ended:
        """Run the command line in a process of its own, without a terminal.

        Args:
            words: What follows ``flowkit``.
            env: Variables besides those of this process.
            stdin: What it may read.
            timeout: Seconds after which it is killed and the test fails.
        """
        done = subprocess.run(
            self.command(*words),
            cwd=self.root,
            env={**self.environment(), **(env or {})},
            input=None if stdin is None else stdin.encode(),
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            timeout=timeout,
            check=False,
        )
        out, err = (text.decode(errors="backslashreplace") for text in (done.stdout, done.stderr))
        return Ended(done.returncode, out, err)

    @staticmethod
    def command(*words: str) -> list[str]:
        """Return the command line for ``subprocess``, where ``flowkit()`` is not enough."""
        return [sys.executable, "-m", "flowkit", *words]

    @staticmethod
    def environment() -> dict[str, str]:
        """Return this process's variables without those that change what flowkit does or prints."""
        dropped = ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES")
        return {
            name: value
            for name, value in os.environ.items()
            if name not in dropped and not name.startswith("FLOWKIT_")
        }


@pytest.fixture
def project(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Project:
    """An empty project in a folder of its own, which is the current one; see ``Project``."""
    root = tmp_path_factory.mktemp("project")
    monkeypatch.chdir(root)
    for name in list(os.environ):
        if name.startswith("FLOWKIT_"):
            monkeypatch.delenv(name)
    return Project(root)
