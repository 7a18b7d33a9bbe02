"""The benchmark program runs, at its smallest size. It is a tool, not a timed test."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_small_size_runs_and_every_answer_is_right(tmp_path):
    # Given every row at its smallest size, once, against the hand-written floors
    figures = tmp_path / "figures.json"
    command = [sys.executable, "-m", "tests.benchmarks", "--size", "small", "--runs", "1", "--json", str(figures)]

    # When the program runs
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)

    # Then it says nothing went wrong, and flowkit has a figure in each row that it can run
    assert ended.returncode == 0, ended.stdout + ended.stderr
    lines = json.loads(figures.read_text())
    measured = {line["row"] for line in lines if line["who"].startswith("flowkit") and line["wall_s"]}
    assert {"startup", "chain", "wide", "wide100k", "layered", "sleep", "map"} <= measured
    assert all(line["us_per_node"] > 0 for line in lines if line["who"] == "flowkit inline")
