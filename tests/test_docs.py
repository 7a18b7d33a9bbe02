"""The documentation is true: every file in it is written, every command in it is run, in order.

A ``python`` block whose first line is ``# name.py`` is a file. In a ``console`` block, lines after
``$`` are commands, and what follows is what they print; durations, versions, paths and the widths
of rules do not count, and ``...`` stands for any lines.
"""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = ["README.md", "docs/tutorial.md"]
BLOCK = re.compile(r"^```(python|console)\n(.*?)^```", re.M | re.S)


def normal(line: str) -> str:
    """A line without what differs from run to run."""
    line = line.replace("just now", "0s ago")
    line = re.sub(r"\b\d+(\.\d+)?(ms|s|m|h)(\d+s)?\b", "TIME", line)
    line = re.sub(r"Python \S+ -- .*|Python \S+ flowkit-run \S+ pluggy \S+", "VERSIONS", line.replace(",", ""))
    line = re.sub(r"rootdir: \S+", "rootdir: ROOT", line)
    line = re.sub(r'File "[^"]*/', 'File "', line)
    line = re.sub(r"\(saved TIME\)", "", line)
    line = re.sub(r"[RF.csu=]{2,}(?=\s+\[)", lambda m: "".join(sorted(m[0])).replace("=", "S"), line)
    line = re.sub(r"\(TIME the last time\)|· estimated TIME", "", line)
    return re.sub(r"[=_\s]+", " ", line).strip()


def matches(shown: list[str], printed: list[str]) -> bool:
    """Whether what was printed is what the page shows."""
    if not shown:
        return not printed
    if shown[0] == "...":
        return any(matches(shown[1:], printed[i:]) for i in range(len(printed) + 1))
    return bool(printed) and shown[0] == printed[0] and matches(shown[1:], printed[1:])


def lines_of(text: str) -> list[str]:
    return [line for line in map(normal, text.splitlines()) if line]


def run(command: str, folder: Path) -> str:
    words = shlex.split(command)
    head = [sys.executable, "-m", "flowkit"] if words[0] == "flowkit" else [sys.executable]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1", "NO_COLOR": "1"}
    ended = subprocess.run(
        head + words[1:], cwd=folder, env=environment, capture_output=True, encoding="utf-8", check=False
    )
    return ended.stdout + ended.stderr


@pytest.mark.parametrize("page", PAGES)
def test_everything_on_the_page_runs_as_shown(page: str, tmp_path: Path) -> None:
    """What a reader types gives what the page says."""
    (tmp_path / "flowkit.toml").touch()
    text = (ROOT / page).read_text(encoding="utf-8")
    ran = 0
    for kind, body in BLOCK.findall(text):
        if kind == "python":
            name = body.splitlines()[0].removeprefix("# ")
            if name.endswith(".py"):
                (tmp_path / name).write_text(body, encoding="utf-8")
            continue
        if "KeyError" in body:  # "With … taken out of the table"
            flow = tmp_path / "weather.py"
            flow.write_text(flow.read_text(encoding="utf-8").replace('"Rome": 11.0, ', ""), encoding="utf-8")
        for part in re.split(r"^\$ ", body, flags=re.M)[1:]:
            command, _, shown = part.partition("\n")
            printed = run(command, tmp_path)
            assert matches(lines_of(shown), lines_of(printed)), f"$ {command}\n{printed}"
            ran += 1
    assert ran > 2
