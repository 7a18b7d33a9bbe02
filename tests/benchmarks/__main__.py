"""``python -m tests.benchmarks``: run the rows, check every answer, print the table."""

from __future__ import annotations

import argparse
import ast
import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.benchmarks import processes, table
from tests.benchmarks.rows import OPTIONAL, ROWS, Contender, Row
from tests.benchmarks.stopwatch import FILE
from tests.benchmarks.workloads import expected, tasks_in

ROOT = Path(__file__).resolve().parents[2]
PEERS = ("doit", "hamilton", "joblib", "dask", "pytest")


class Bench:
    """The rows of one call of the program.

    Args:
        small: Whether sizes are small.
        runs: How often each is run.
        limit: Seconds that a process may take.
        peers: Whom to measure against.
    """

    def __init__(self, *, small: bool, runs: int, limit: float, peers: Sequence[str]) -> None:
        self._small = small
        self._runs = runs
        self._limit = limit
        self._peers = peers
        self._built_in: Sequence[str] = importlib.import_module("flowkit_plugins").BUILT_IN
        self._environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "FLOWKIT"))}
        self._environment["PYTHONPATH"] = str(ROOT)

    def measure(self, row: Row) -> tuple[str, list[dict[str, Any]]]:
        """Return the block of a row, and its figures."""
        n, size = (row.small, 1) if self._small else (row.full, row.size)
        title = f"{row.name} ({row.workload} {n})"
        if row.plugin and row.plugin not in self._built_in:
            return f"{title}: skipped, there is no plugin {row.plugin!r}\n", []
        nodes = tasks_in(row.workload, n)
        with tempfile.TemporaryDirectory(prefix="flowkit-bench-") as name:
            contenders = [c for c in row.contenders if self._is_wanted(c)]
            states = [_State(c, self._lay_out(c, row, n, size, Path(name))) for c in contenders]
            for number in range(1 if self._small else max(self._runs, row.least)):
                for state in states:  # in turns: whatever disturbs the machine disturbs all of them
                    if not any(line.problem for line in state.lines(warm=row.warm)):
                        self._once(row, state, n, size, Path(name) / f"run{number}")
        lines = [line for state in states for line in state.lines(warm=row.warm)]
        figures = [{"row": row.name, "n": n, **line.facts(nodes)} for line in lines]
        return table.rendered(title, row.goal, lines, nodes), figures

    def _is_wanted(self, contender: Contender) -> bool:
        return contender.peer not in PEERS or contender.peer in self._peers

    def _lay_out(self, contender: Contender, row: Row, n: int, size: int, folder: Path) -> Path:
        """Write what stands in the scratch folder of each run, compiled as it would be the second time."""
        made = folder / f"of {contender.who}".replace(" ", "-").replace("/", "-")
        made.mkdir()
        files = contender.files(row.workload, n, size)
        for name, text in files.items():
            (made / name).write_text(text)
        if files:  # not in this process: a child's peak memory cannot read below its parent's
            subprocess.run([sys.executable, "-m", "py_compile", *files], cwd=made, check=True)
        return made

    def _once(self, row: Row, state: _State, n: int, size: int, folder: Path) -> None:
        """Run a contender once, and once more on what it left if the row is about that."""
        contender = state.contender
        if contender.peer and importlib.util.find_spec(contender.peer) is None:
            state.cold.problem = f"skipped, {contender.peer} is not installed"
            return
        shutil.copytree(state.template, folder)
        try:
            for line in state.lines(warm=row.warm):
                try:
                    self._time(row, state, line, n, size, folder)
                except processes.WentWrong as error:
                    line.problem = str(error)
                    break
        finally:
            shutil.rmtree(folder)

    def _time(self, row: Row, state: _State, line: table.Line, n: int, size: int, folder: Path) -> None:
        contender, warm = state.contender, line is state.warm
        words = (contender.then if warm else ()) or contender.command
        command = [word.format(workload=row.workload, n=n, size=size) for word in _escaped(words)]
        if contender.is_flowkit:
            command += [w for p in OPTIONAL if p != row.plugin and p in self._built_in for w in ("-p", f"no:{p}")]
        ended = processes.run(command, folder, {**self._environment, "HOME": str(folder)}, self._limit)
        if contender.answers and words is contender.command:
            facts = ast.literal_eval((folder / FILE).read_text())
            _check(row, facts, folder, n, size, flowkit=contender.is_flowkit, warm=warm)
            line.ran.append(facts["ran"])
            if facts["built"] is not None:
                line.built.append(facts["built"])
        line.walls.append(ended.wall)
        line.memories.append(ended.memory)


class _State:
    """A contender with its lines."""

    def __init__(self, contender: Contender, template: Path) -> None:
        self.contender = contender
        self.template = template
        self.cold = table.Line(contender.who)
        self.warm = table.Line(f"{contender.who}, warm")

    def lines(self, *, warm: bool) -> list[table.Line]:
        """Return the lines that are printed of it."""
        return [self.cold, self.warm] if warm and not self.cold.problem else [self.cold]


def _escaped(command: Sequence[str]) -> list[str]:
    """Return a command whose paths and code may hold braces."""
    known = ("{workload}", "{n}", "{size}")
    return [word if word in known else word.replace("{", "{{").replace("}", "}}") for word in command]


def _check(row: Row, facts: dict[str, Any], folder: Path, n: int, size: int, *, flowkit: bool, warm: bool) -> None:
    """Refuse a wrong answer, and a run that did not do what it is measured for."""
    answer = ast.literal_eval((folder / "answer").read_text())
    if answer != expected(row.workload, n, size):
        raise processes.WentWrong(f"wrong answer: {answer!r}")
    if flowkit:
        wanted = {"cached" if warm else "ran": tasks_in(row.workload, n)}
        if facts["counts"] != wanted:
            raise processes.WentWrong(f"counts are {facts['counts']}, not {wanted}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program and return its exit code: 1 if anything went wrong."""
    names = [row.name for row in ROWS]
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--rows", default=",".join(names), help=f"some of {','.join(names)}")
    parser.add_argument("--peers", default="", help=f"some of {','.join(PEERS)}")
    parser.add_argument("--runs", type=int, default=3, help="how often each is run; medians are shown")
    parser.add_argument("--size", choices=("small", "full"), default="full", help="small: to see that it works")
    parser.add_argument("--limit", type=float, default=60.0, help="seconds that one process may take")
    parser.add_argument("--json", type=Path, help="also write the figures to a file")
    asked = parser.parse_args(arguments)
    wanted, peers = asked.rows.split(","), [p for p in asked.peers.split(",") if p]
    for given, known in ((wanted, names), (peers, PEERS)):
        if strange := [name for name in given if name not in known]:
            parser.error(f"unknown: {', '.join(strange)}; known: {', '.join(known)}")
    bench = Bench(small=asked.size == "small", runs=asked.runs, limit=asked.limit, peers=peers)
    print(f"Python {platform.python_version()}, {os.cpu_count()} CPUs; medians; × is to the first line of the row\n")
    figures: list[dict[str, Any]] = []
    for row in ROWS:
        if row.name in wanted:
            text, found = bench.measure(row)
            print(text, flush=True)
            figures += found
    if asked.json:
        asked.json.write_text(json.dumps(figures, indent=1))
    return int(any(f["problem"] and not f["problem"].startswith("skipped") for f in figures))


if __name__ == "__main__":
    sys.exit(main())
