"""What counts of a value besides what it says: files, and the user's code. So a reason can name these.

The digest of a value covers both. They are noted beside it, one by one, under names that begin with
``file`` or ``code``. None of that enters a key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from flowkit.digests import Digest, digest
from flowkit.frames import class_name
from flowkit.secrets import Mask
from flowkit_plugins.cache.files import relative
from flowkit_plugins.cache.fingerprint import Fingerprinter
from flowkit_plugins.cache.plans import hashed


class Besides:
    """Notes what counts besides, and says it in words. One per run.

    Args:
        fingerprinter: Knows where code is.
        root: Files below it are named relative to it.
        mask: Takes secrets out of names.
    """

    def __init__(self, fingerprinter: Fingerprinter, root: Path, mask: Mask) -> None:
        self._fingerprinter = fingerprinter
        self._root = root
        self._mask = mask
        self._met: dict[str, object] = {}

    def note(self, found: Digest, into: dict[str, str]) -> None:
        """Note the files and the code in a value."""
        for file in found.files:
            into[f"file {self._mask(relative(file.path, self._root))}"] = file.digest
        codes: dict[str, set[str]] = {}
        for subject, code in found.codes:
            own = "" if isinstance(subject, type) else digest(getattr(subject, "__code__", None))
            codes.setdefault(self._name(class_name(subject), subject), set()).add(f"{own}{code}")
        for name, several in codes.items():
            into[name] = hashed(*sorted(several))

    def note_called(self, function: Callable[..., object], into: dict[str, str]) -> None:
        """Note the code of a function that is called for a key."""
        name = getattr(function, "__qualname__", "key")
        into[self._name(name, function)] = self._fingerprinter.fingerprint(function, name=name).hex

    def _name(self, name: str, subject: object) -> str:
        self._met[name] = subject
        return f"code {name}"

    def changed(self, before: Mapping[str, str], now: Mapping[str, str]) -> Iterator[str]:
        """Yield in words what was there before, too, and is not what it was."""
        for entry, what in now.items():
            if before.get(entry, what) != what:
                kind, space, name = entry.partition(" ")
                if kind == "file" and space:
                    yield f"file {name} changed"
                elif space:
                    yield f"code of {self._fingerprinter.said(name, self._met[name])} changed"
