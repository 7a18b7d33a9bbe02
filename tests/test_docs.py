"""The documentation is true: every file in it is written, every command in it is run, in order.

A block whose first line is ``# name.py`` (or ``.toml``, ``.yaml``) is a file. In a ``console``
block, lines after ``$`` are commands for a shell, and what follows is what they print; durations,
versions, ids of runs, paths and the widths of rules do not count, and ``...`` stands for any lines.
"""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [
    "README.md",
    "docs/tutorial.md",
    "docs/reference/errors.md",
    *sorted(p.relative_to(ROOT).as_posix() for p in (ROOT / "docs/how-to").glob("*.md")),
]
ALL_PAGES = sorted(p.relative_to(ROOT).as_posix() for p in [ROOT / "README.md", *ROOT.glob("docs/**/*.md")])
BLOCK = re.compile(r"^```(python|toml|yaml|console)\n(.*?)^```", re.M | re.S)
FILE = re.compile(r"# ([\w./-]+\.(?:py|toml|yaml))\n")


def normal(line: str) -> str:
    """A line without what differs from run to run."""
    line = line.replace("just now", "0s ago")
    line = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "DATE", line)
    line = re.sub(r"set by hand by \w+", "set by hand by USER", line)
    line = re.sub(r"\b\d+(\.\d+)?(ms|s|m|h)(\d+s)?\b", "TIME", line)
    line = re.sub(r"Python \S+ -- .*|Python \S+ flowkit-run \S+", "VERSIONS", line.replace(",", ""))
    line = re.sub(r"rootdir: \S+", "rootdir: ROOT", line)
    line = re.sub(r'File "[^"]*/', 'File "', line)
    line = re.sub(r"\(saved TIME\)", "", line)
    line = re.sub(r"\b[0-9a-f]{7}\b", "RUN", line)
    line = re.sub(r"[RF.csu=]{2,}(?=\s+\[)", lambda m: "".join(sorted(m[0])).replace("=", "S"), line)
    line = re.sub(r"\(TIME the last time\)|· estimated TIME", "", line)
    return re.sub(r"[-=_\s]+", " ", line).strip()


def matches(shown: list[str], printed: list[str]) -> bool:
    """Whether what was printed is what the page shows."""
    if not shown:
        return not printed
    if shown[0] == "...":
        return any(matches(shown[1:], printed[i:]) for i in range(len(printed) + 1))
    return bool(printed) and shown[0] == printed[0] and matches(shown[1:], printed[1:])


def lines_of(text: str) -> list[str]:
    return [line for line in map(normal, text.splitlines()) if line]


def write_commands(folder: Path) -> None:
    """Put ``flowkit`` and ``python`` into a folder: those of this interpreter and this checkout."""
    folder.mkdir()
    for name, words in (("python", ""), ("flowkit", " -P -m flowkit")):
        (folder / name).write_text(f'#!/bin/sh\nexec "{sys.executable}"{words} "$@"\n', encoding="utf-8")
        (folder / name).chmod(0o755)


def install(project: Path, site: Path) -> None:
    """Do what ``pip install`` would: copy a project's modules, write down its entry points.

    No build back end is needed for that, and no network.
    """
    about = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    facts = site / f"{about['name'].replace('-', '_')}-{about['version']}.dist-info"
    facts.mkdir(parents=True)
    metadata = f"Metadata-Version: 2.1\nName: {about['name']}\nVersion: {about['version']}\n"
    (facts / "METADATA").write_text(metadata, encoding="utf-8")
    groups = about["entry-points"].items()
    lines = [line for name, entries in groups for line in (f"[{name}]", *(f"{k} = {v}" for k, v in entries.items()))]
    (facts / "entry_points.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    for module in project.glob("*.py"):
        shutil.copy(module, site)


def run(command: str, folder: Path, tools: Path) -> str:
    """Run a command as a reader would, with ``flowkit`` and ``python`` at hand; return what it prints."""
    site = tools / "site"
    if command.startswith("pip install "):
        install(folder / command.split()[-1], site)
        return ""
    environment = {n: v for n, v in os.environ.items() if not n.startswith("FLOWKIT_")} | {
        "PATH": f"{tools / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(site)]),
        "PYTHONUTF8": "1",
        "NO_COLOR": "1",
    }
    ended = subprocess.run(
        ["sh", "-c", f"{command}\n"],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        check=False,
    )
    return ended.stdout


@pytest.mark.parametrize("page", PAGES)
def test_everything_on_the_page_runs_as_shown(page: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """What a reader types gives what the page says."""
    folder, tools = tmp_path_factory.mktemp("page"), tmp_path_factory.mktemp("tools")
    write_commands(tools / "bin")
    (folder / "flowkit.toml").touch()
    text = (ROOT / page).read_text(encoding="utf-8")
    ran = 0
    for kind, body in BLOCK.findall(text):
        if kind != "console":
            if name := FILE.match(body):
                file = folder / name[1]
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(body, encoding="utf-8")
            continue
        if "KeyError" in body and page == "README.md":  # "With … taken out of the table"
            flow = folder / "weather.py"
            flow.write_text(flow.read_text(encoding="utf-8").replace('"Rome": 11.0, ', ""), encoding="utf-8")
        for part in re.split(r"^\$ ", body, flags=re.M)[1:]:
            command, _, shown = part.partition("\n")
            printed = run(command, folder, tools)
            assert matches(lines_of(shown), lines_of(printed)), f"$ {command}\n{printed}"
            ran += 1
    assert ran > 2


@pytest.mark.parametrize("page", ALL_PAGES)
def test_python_on_the_page_is_python(page: str) -> None:
    """Also what is only shown compiles."""
    for kind, body in BLOCK.findall((ROOT / page).read_text(encoding="utf-8")):
        if kind == "python":
            compile(body, page, "exec")


@pytest.mark.parametrize("page", ALL_PAGES)
def test_links_on_the_page_lead_somewhere(page: str) -> None:
    """A relative link names a file or folder that exists."""
    here = (ROOT / page).parent
    text = re.sub(r"^```.*?^```", "", (ROOT / page).read_text(encoding="utf-8"), flags=re.M | re.S)
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]
    assert [link for link in links if link and not (here / link).exists()] == []


@pytest.mark.parametrize("page", [p for p in ALL_PAGES if p != "docs/design.md"])
def test_lines_of_the_page_can_be_read(page: str) -> None:
    """Prose is wrapped; a row of a table and a block of code are as long as they are."""
    text = re.sub(r"^```.*?^```", "", (ROOT / page).read_text(encoding="utf-8"), flags=re.M | re.S)
    assert [line for line in text.splitlines() if len(line) > 130 and not line.startswith("|")] == []
