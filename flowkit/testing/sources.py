"""Where the sources of a sandbox lie: texts written out once, and copies that may be edited.

Times of files are set, not taken: a file written here is old, so that its byte code is kept, and
two texts never share a time, so that one is never taken for the other.
"""

from __future__ import annotations

import atexit
import hashlib
import io
import os
import shutil
import tempfile
import textwrap
import tokenize
from collections.abc import Mapping
from pathlib import Path

from flowkit.declarations import short_path
from flowkit.imports import top_of_package

_EPOCH = 1_500_000_000
_SKIPPED = ("__pycache__", "node_modules", "site-packages", "out", "build", "dist")
_base: list[Path] = []
_written: dict[str, Path] = {}


def _folder() -> Path:
    """Return the folder of this process for all sandboxes."""
    if not _base:
        _base.append(Path(tempfile.mkdtemp(prefix="flowkit-testing-")))
        atexit.register(shutil.rmtree, _base[0], ignore_errors=True)
    return _base[0]


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    encoding = "utf-8"
    if file.suffix == ".py":  # which may say that it is in another
        encoding, _ = tokenize.detect_encoding(io.BytesIO(text.encode()).readline)
    file.write_text(text, encoding=encoding)
    mark = int.from_bytes(hashlib.sha256(text.encode()).digest()[:3]) + int.from_bytes(os.urandom(1))
    os.utime(file, (_EPOCH + mark, _EPOCH + mark))


def written(files: Mapping[str, str]) -> Path:
    """Return a folder with these files in it, the same one for the same texts."""
    name = hashlib.sha256(repr(sorted(files.items())).encode()).hexdigest()[:16]
    folder = _written.get(name)
    if folder is None:
        folder = _written[name] = _folder() / name
        folder.mkdir()
        (folder / "flowkit.toml").touch()
        for path, text in files.items():
            _write(folder / path, textwrap.dedent(text))
    return folder


class Mirror:
    """A copy of the folder that a flow imports from: Python files are copied, all others linked to.

    Attributes:
        root: The copy.
        file: The flow's file in it.
    """

    def __init__(self, file: Path) -> None:
        self.original = top_of_package(file)[0]
        self.root = Path(tempfile.mkdtemp(prefix="mirror-", dir=_folder()))
        _copy(self.original, self.root)
        if not any((self.root / name).exists() for name in ("flowkit.toml", "pyproject.toml")):
            (self.root / "flowkit.toml").touch()
        self.file = self.root / file.relative_to(self.original)
        self._edits = 0

    def in_original(self, text: str) -> str:
        """Return a text with the user's paths for those of the copy."""
        return text.replace(str(self.root) + os.sep, short_path(str(self.original) + os.sep))

    def modules(self) -> set[str]:
        """Return the names that can be imported from the folder."""
        entries = [e for e in self.root.iterdir() if e.suffix == ".py" or (e / "__init__.py").exists()]
        return {entry.stem for entry in entries}

    def edit(self, file: str, old: str, new: str) -> None:
        """Replace text that a file holds exactly once."""
        path = self.root / file
        if not path.is_file():
            path = self.file.parent / file
        with tokenize.open(path) as opened:
            text = opened.read()
        if text.count(old) != 1:
            raise LookupError(f"{file} holds {old!r} {text.count(old)} times; name a text that is there once")
        self.replace(path, text.replace(old, new))

    def replace(self, path: Path, text: str) -> None:
        """Give a file another text."""
        _write(path, text)
        self._edits += 1
        at = _EPOCH + (1 << 25) + self._edits
        os.utime(path, (at, at))


def _copy(source: Path, target: Path) -> None:
    for entry in os.scandir(source):
        if entry.name.startswith(".") or entry.name in _SKIPPED:
            continue
        copy = target / entry.name
        if entry.is_dir():
            if any(name.endswith(".py") for _, _, names in os.walk(entry.path) for name in names):
                copy.mkdir()
                _copy(Path(entry.path), copy)
            else:
                copy.symlink_to(entry.path)
        elif entry.name.endswith((".py", ".toml")):
            shutil.copy2(entry.path, copy)
        else:
            copy.symlink_to(entry.path)


def fresh_folder() -> Path:
    """Return a new folder, which is removed when the process ends."""
    return Path(tempfile.mkdtemp(prefix="store-", dir=_folder()))
