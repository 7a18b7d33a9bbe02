"""Apply each deliberate bug to a copy of the packages, and see whether the kit finds it."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.mutations.kit import FOUND
from tests.mutations.table import MUTATIONS

ROOT = Path(__file__).resolve().parents[2]


def copied(target, mutation):
    """A folder with both packages, one file of them changed; all others are links."""
    for package in ("flowkit", "flowkit_plugins"):
        shutil.copytree(ROOT / package, target / package, ignore=shutil.ignore_patterns("__pycache__"))
    if mutation is not None:
        file = target / place(mutation)
        file.write_text(file.read_text().replace(mutation.old, mutation.new))


def place(mutation):
    """The file that holds the old text once: the one named, or the one of its folder that it moved to."""
    named = ROOT / mutation.file
    for file in (named, *sorted(named.parent.glob("*.py"))):
        if file.exists() and file.read_text().count(mutation.old) == 1:
            return file.relative_to(ROOT)
    raise LookupError(f"{mutation.name}: no file beside {mutation.file} holds the old text once")


def tried(mutation, timeout=30):
    """Whether the kit found it, what it said, and the seconds it took; None stands for the unchanged package."""
    with tempfile.TemporaryDirectory() as folder:
        copied(Path(folder), mutation)
        name = mutation.found_by if mutation else "reference"
        environment = {**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}", "PYTHONDONTWRITEBYTECODE": "1"}
        begun = time.monotonic()
        try:
            done = subprocess.run(
                [sys.executable, "-m", "tests.mutations.kit", name], env=environment, cwd=folder,
                capture_output=True, text=True, timeout=timeout, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return True, "it never ends", time.monotonic() - begun
        return done.returncode == FOUND, (done.stdout + done.stderr)[-1500:], time.monotonic() - begun


def main(names):
    missed = 0
    for mutation in MUTATIONS:
        if names and not any(name in mutation.name for name in names):
            continue
        try:
            found, said, took = tried(mutation)
        except LookupError as error:
            found, said, took = False, str(error), 0.0
        missed += not found
        first = next((line for line in said.splitlines() if line.strip()), "")
        print(f"{'found ' if found else 'MISSED'} {took:5.1f}s  {mutation.name} ({mutation.found_by}): {first[:110]}", flush=True)
    print(f"{missed} missed")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
