"""What a task may ask for: ``run``, ``log``, ``tmp_path``, ``out``, ``rng``, ``scheduled_at``.

All but the last are resources of scope ``task``, made when a task asks and for that attempt alone;
``run`` is there for wider ones, too. ``scheduled_at`` is a value, and counts for reuse as a parameter does.

``out`` needs one hook: what a task wrote is put in its place after the task returned and before
anything sees the value, so that a file in ``out/`` is always that of a success, and of its result.
"""

from __future__ import annotations

import logging
import os
import random
from collections.abc import Callable, Generator, Iterator, Mapping
from datetime import datetime
from pathlib import Path, PurePath
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from flowkit.errors import ResourceError
from flowkit.hookspecs import hookimpl
from flowkit.outcomes import Failure, Skipped, Success
from flowkit.rebuilding import rebuilt
from flowkit.records import record
from flowkit.reports import FILES, current_attempt
from flowkit.resources import resource
from flowkit.values import Collected

if TYPE_CHECKING:
    from flowkit.reports import Attempt, RunInfo
    from flowkit.session import Session

_OUT = "flowkit.out"  # in an attempt's stash

#: Characters that a file name cannot have somewhere, and ``%``, by which they are replaced.
_UNFIT = frozenset('/\\:*?"<>|%')
_LONGEST_NAME = 200  # bytes; file systems take 255


def _attempt(asked: str) -> Attempt:
    attempt = current_attempt()
    if attempt is None:
        raise ResourceError(f"{asked!r} belongs to an attempt, and none is running here")
    return attempt


@hookimpl
def flowkit_inputs(session: Session) -> dict[str, object]:
    """Offer ``scheduled_at``, the time the run is for."""
    return {"scheduled_at": session.scheduled_at}


# --- run, log, tmp_path, rng ------------------------------------------------------------------


@record(frozen=True)
class RunContext:
    """The run, as a task may see it.

    Attributes:
        id: The run's id.
        flow: The name of the task's flow; in such a resource those of all flows of the run.
        params: Parameter → value; read-only.
        scheduled_at: The time the run is for.
        attempt: 1 for the first attempt of the node; None in a resource that attempts share.
    """

    id: str
    flow: str
    params: Mapping[str, object]
    scheduled_at: datetime
    attempt: int | None


def _shared_run() -> RunContext:
    """The run, for a resource that its attempts share."""
    about = _attempt("run").run
    return _context(about, about.flow, None)


@resource(scope="task", shared=_shared_run)
def run() -> RunContext:
    """The run that this attempt belongs to: its id, flow, params, scheduled_at and attempt."""
    attempt = _attempt("run")
    return _context(attempt.run, attempt.task.flow.name, attempt.number)


def _context(about: RunInfo, flow: str, attempt: int | None) -> RunContext:
    return RunContext(about.id, flow, MappingProxyType(dict(about.params)), about.scheduled_at, attempt)


@resource(scope="task")
def log() -> logging.Logger:
    """A logger of the node's own, ``flowkit.<flow>.<node>``; shows INFO unless told otherwise.

    The level is that of ``flowkit.<flow>`` or ``flowkit`` where one of them was given one, else
    INFO or the root logger's, whichever shows more.
    """
    attempt = _attempt("log")
    flow = f"flowkit.{attempt.task.flow.name}"
    above = logging.getLogger(flow)
    # Not by getLogger: it would keep a logger for each of 100,000 nodes for good.
    logger = logging.Logger(f"{flow}.{attempt.node}", _level(above))  # noqa: LOG001 - as just said
    logger.parent = above
    return logger


def _level(above: logging.Logger | None) -> int:
    """Return the level that ``above`` or a logger above it was given; INFO or less if none was."""
    while above is not None and above is not logging.root:
        if above.level:
            return above.level
        above = above.parent
    return min(logging.INFO, logging.root.level)


@resource(scope="task")
def tmp_path() -> Iterator[Path]:
    """A folder of the attempt's own, removed afterwards with all that is in it."""
    import shutil  # these two take 3 ms, and few tasks ask
    import tempfile

    node = folder_name(_attempt("tmp_path").node)[:40]
    folder = tempfile.mkdtemp(prefix=f"flowkit-{node}-")
    try:
        yield Path(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@resource(scope="task")
def rng() -> random.Random:
    """Random numbers that depend on the task's name and its arguments, and on nothing else.

    Each attempt, each run and each process gets the same sequence.
    """
    return random.Random(_seed(_attempt("rng")))


def _seed(attempt: Attempt) -> str:
    from flowkit.digests import Undigestible, digest  # only here: it costs more than all the rest

    declaration = attempt.task.declaration
    assert declaration is not None  # a value is not called
    parts: list[object] = [declaration.name]  # that of the task in the report may say where it is from
    for name, value in sorted((attempt.arguments or {}).items()):
        if name in attempt.task.resources:
            continue
        try:
            # The key of secrets is a constant: a seed is never shown, and must outlive the process.
            content = digest(_content(value), root=attempt.run.root, secret_key=b"flowkit.rng")
        except Undigestible:
            content = attempt.node
        parts.append((name, content))
    return digest(parts)


def _content(value: object) -> object:
    """Return what of an argument is content: an outcome's duration and attempts are not."""
    if isinstance(value, Success):
        return ("success", _content(value.value))
    if isinstance(value, Failure):
        return ("failure", type(value.error).__qualname__, str(value.error))
    if isinstance(value, Skipped):
        return ("skipped", value.reason)
    if isinstance(value, Collected):
        return ("collected", [_content(element) for element in value])
    return value


# --- out --------------------------------------------------------------------------------------


class Out:
    """Gives paths to write to; the files appear in ``out/<node>/`` when the task succeeds.

    Args:
        root: The project's root folder.
        node: The node's id.
    """

    def __init__(self, root: str, node: str) -> None:
        self._area = Path(root, "out", ".staging")
        self._final = Path(root, "out", folder_name(node))
        self._folder = _private_folder(self._area)
        self._staging = self._folder / "new"
        self._names: set[str] = set()
        self._aside = 0
        self.published: list[str] = []  #: the files that were put in their place

    def __call__(self, name: str | PurePath) -> Path:
        """Return the path to write the file (or folder) ``name`` to.

        Args:
            name: Relative; it may have folders in it, which are made.

        Raises:
            ValueError: It is absolute, empty, or has ``..`` in it.
            TypeError: It is not text.
        """
        if not isinstance(name, (str, PurePath)):
            raise TypeError(f"out({name!r}): a file's name, not {type(name).__name__}")
        relative = PurePath(name)
        if not relative.parts or relative.anchor or ".." in relative.parts:
            raise ValueError(
                f"out({str(name)!r}): a name inside the task's own folder, without '..'"
            )
        path = self._staging / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        self._names.add(str(relative))
        return path

    def commit(self, value: object) -> object:
        """Put what was written in its place, and return ``value`` with final paths in it.

        Each file is moved by one rename, which replaces what was there. A folder that was asked
        for by name is replaced as a whole; others are filled up.

        Raises:
            OSError: A file cannot be moved, or a path in ``value`` was never written to.
        """
        moved = _replaced(value, self._final_of, {})
        if self._staging.is_dir():
            self._publish(self._staging, self._final, "")
        return moved

    def discard(self) -> None:
        """Remove what is left of the staging folder, and the folders above it that are empty."""
        import shutil

        shutil.rmtree(self._folder, ignore_errors=True)
        for folder in (self._area, self._area.parent):
            try:
                folder.rmdir()
            except OSError:
                return  # somebody else's files are in it

    def _final_of(self, path: str, *, must_exist: bool) -> str | None:
        """Return where a staging path ends up; None if it is none."""
        for base in (str(self._staging), os.path.realpath(self._staging)):
            if path == base or path.startswith(base + os.sep):
                if must_exist and not os.path.lexists(path):
                    name = os.path.relpath(path, base)
                    raise FileNotFoundError(f"returned out({name!r}), but wrote nothing there")
                return f"{self._final}{path[len(base) :]}"
        return None

    def _publish(self, staged: Path, final: Path, prefix: str) -> None:
        entries = sorted(os.scandir(staged), key=lambda e: e.name)
        if entries:
            final.mkdir(parents=True, exist_ok=True)
        for entry in entries:
            target = final / entry.name
            name = f"{prefix}{entry.name}"
            folder = entry.is_dir(follow_symlinks=False)
            if folder and name not in self._names:
                self._publish(Path(entry.path), target, f"{name}{os.sep}")
                continue
            if (folder and os.path.lexists(target)) or target.is_dir():
                # No rename replaces a folder: the old one steps aside, and goes with our own.
                self._aside += 1
                os.replace(target, self._folder / f"old-{self._aside}")
            os.replace(entry.path, target)
            self.published += _files_in(target) if folder else [str(target)]


@resource(scope="task")
def out() -> Out:
    """Gives paths to write to: ``out("table.csv")``; they appear in ``out/<node>/`` on success."""
    attempt = _attempt("out")
    staging = Out(attempt.run.root, attempt.node)
    if attempt.stash is None:
        attempt.stash = {}
    attempt.stash[_OUT] = staging
    return staging


@hookimpl(wrapper=True)
def flowkit_attempt_call(attempt: Attempt) -> Generator[None, None, None]:
    """Put what ``out`` gave in its place after a success, and remove it after anything else."""
    try:
        yield
    finally:
        if attempt.stash is not None and _OUT in attempt.stash:
            _settle(attempt)


def _settle(attempt: Attempt) -> None:
    assert attempt.stash is not None  # the caller looked
    staging: Any = attempt.stash.pop(_OUT)
    try:
        if attempt.kind == "success":
            attempt.value = staging.commit(attempt.value)
            if staging.published:
                attempt.stash[FILES] = staging.published
    except Exception as error:
        from flowkit.tracebacks import as_text

        attempt.kind = "error"
        attempt.value = None
        attempt.error = error
        attempt.traceback = as_text(error)
    finally:
        staging.discard()


def _files_in(folder: Path) -> list[str]:
    return [os.path.join(above, name) for above, _, names in os.walk(folder) for name in sorted(names)]


def folder_name(node: str) -> str:
    """Return a node's id as the name of a folder, one of its own for each id.

    What cannot be in a file name is written as ``%2F``; so are a dot in front (hidden, or ``..``)
    and ``%`` itself. Of a name that is too long the end is replaced by a digest of the whole.
    """
    unfit = [_is_unfit(c) or (c == "." and not i) for i, c in enumerate(node)]
    name = "".join(f"%{ord(c):02X}" if bad else c for c, bad in zip(node, unfit, strict=True))
    encoded = name.encode()
    if len(encoded) <= _LONGEST_NAME:
        return name
    import hashlib

    mark = hashlib.sha256(node.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    return f"{encoded[: _LONGEST_NAME - 13].decode('utf-8', 'ignore')}~{mark}"


def _is_unfit(character: str) -> bool:
    return character in _UNFIT or character < " " or "\ud800" <= character <= "\udfff"


def _private_folder(area: Path) -> Path:
    """Make and return a folder of our own in ``area``, which others remove when it is empty."""
    import tempfile

    for _ in range(100):
        try:
            area.mkdir(parents=True, exist_ok=True)
            return Path(tempfile.mkdtemp(dir=area))
        except FileNotFoundError:
            continue
    raise ResourceError(f"{area} is removed as often as it is made")


def _replaced(value: Any, final: Callable[..., str | None], seen: dict[int, object]) -> Any:
    """Return ``value`` with staging paths replaced, at any depth; itself where there are none.

    Args:
        value: Paths, text that is one, and containers, dataclasses and models of them.
        final: Returns where a path ends up, or None.
        seen: Objects being looked at, by id: what leads back to itself stays as it is.
    """
    if isinstance(value, PurePath):
        path = final(str(value), must_exist=True)
        return value if path is None else type(value)(path)
    if isinstance(value, str):
        return (final(value, must_exist=False) or value) if type(value) is str else value
    if value is None or isinstance(value, (bytes, int, float)) or id(value) in seen:
        return value
    seen[id(value)] = value
    try:
        return rebuilt(value, lambda part: _replaced(part, final, seen))
    finally:
        del seen[id(value)]
