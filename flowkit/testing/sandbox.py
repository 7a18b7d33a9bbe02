"""A flow with a store, a clock and a copy of its sources of its own, to run as often as a test likes."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowkit.errors import FlowError
from flowkit.parameters import Sources
from flowkit.session import Session
from flowkit.testing.clock import VirtualClock
from flowkit.testing.faultplans import Plan
from flowkit.testing.results import Planned, RunResult, planned
from flowkit.testing.sources import Mirror, written
from flowkit.testing.world import SimulatedCrash, World

if TYPE_CHECKING:
    from flowkit.executors import Executor
    from flowkit.runner import Runner
    from flowkit.testing.memory import Disk


@dataclass(frozen=True, slots=True)
class Case:
    """All that a simulated run depends on, besides the flow.

    Attributes:
        params: Values of parameters.
        faults: What goes wrong.
        schedule: Choices among what may happen next; the first where it ends.
        workers: How many virtual workers there are.
        extra: Whatever else a property draws: edits, a seed.
    """

    params: Mapping[str, object] = field(default_factory=dict)
    faults: Plan = Plan()  # noqa: RUF009 - frozen
    schedule: tuple[int, ...] = ()
    workers: int = 4
    extra: Any = None

    def __repr__(self) -> str:
        parts = [f"params={dict(self.params)!r}"] if self.params else []
        parts += [f"faults={str(self.faults)!r}"] if self.faults else []
        parts += [f"schedule={list(self.schedule)!r}"] if self.schedule else []
        parts += [f"workers={self.workers}"] if self.workers != 4 else []
        parts += [f"extra={self.extra!r}"] if self.extra is not None else []
        return f"Case({', '.join(parts)})"


@dataclass(frozen=True, slots=True)
class Setting:
    """What a run in a sandbox was asked for."""

    case: Case = Case()
    override: Mapping[str, object] = field(default_factory=dict)
    typed: tuple[str, ...] = ()
    flags: Mapping[str, Any] = field(default_factory=dict)
    patch_sleep: bool = False
    observe: bool = False
    executor: str | Callable[[int], Executor] = "simulated"
    ended: set[str] = field(default_factory=set)
    """Takes the nodes that ended well."""

    def changed(self, changes: Mapping[str, Any]) -> Setting:
        """Return it with some of it changed; faults and schedule hold for one run only."""
        of_case = {n: changes[n] for n in ("params", "faults", "schedule", "workers") if n in changes}
        own = {n: changes[n] for n in ("override", "patch_sleep", "observe", "executor") if n in changes}
        flags = {n: v for n, v in changes.items() if n not in of_case and n not in own}
        if isinstance(of_case.get("faults"), str):
            of_case["faults"] = Plan.parse(of_case["faults"])
        if "schedule" in of_case:
            of_case["schedule"] = tuple(of_case["schedule"])
        case = replace(self.case, **{"faults": Plan(), "schedule": (), **of_case})
        return replace(self, case=case, flags={**self.flags, **flags}, **own)


class Sandbox:
    """A flow with a store and a clock of its own.

    Args:
        target: What ``flowkit.run`` takes; or the text of a module; or file name → text.
        disk: The store; a fresh one in memory if none is given.
        folder: Keep results on disk there instead (no crashes can be simulated then).
    """

    def __init__(self, target: object, *, disk: Disk | None = None, folder: Path | None = None) -> None:
        from flowkit.testing.memory import Disk as Fresh

        if isinstance(target, Mapping) or (isinstance(target, str) and "\n" in target):
            files = target if isinstance(target, Mapping) else {"flow.py": target}
            target = written(files) / next(iter(files))
        self.target: Any = _found(target)
        self.disk = disk if disk is not None else Fresh()
        self.clock = VirtualClock()
        self.folder = folder
        self._mirror: Mirror | None = None
        self._history: Path | None = None

    def fresh(self) -> Sandbox:
        """Return a sandbox of the same flow with an empty store."""
        other = Sandbox(self.target)
        other._mirror = self._mirror
        return other

    # Sources

    def edit(self, file: str, old: str, new: str) -> None:
        """Replace text in a file of the flow, in a copy made for this sandbox.

        Raises:
            LookupError: The file does not hold the text exactly once.
        """
        if self._mirror is None:
            self._mirror = Mirror(self.file)
        self._mirror.edit(file, old, new)

    def replace(self, file: str, text: str) -> None:
        """Give a file of the flow's folder another text, in a copy made for this sandbox."""
        if self._mirror is None:
            self._mirror = Mirror(self.file)
        self._mirror.replace(self._mirror.file.parent / file, text)

    @property
    def file(self) -> Path:
        """The flow's file.

        Raises:
            TypeError: The target is no file.
        """
        if not self.has_file:
            raise TypeError(f"{self.target!r}: only a flow in a file can be edited")
        return Path(self._file).resolve()

    @property
    def has_file(self) -> bool:
        """Whether the target is a file."""
        return self._file.endswith(".py")

    @property
    def _file(self) -> str:
        return str(getattr(self.target, "__file__", self.target)).partition("::")[0]

    @property
    def _where(self) -> object:
        if self._mirror is None:
            return self.target
        _, colons, name = str(self.target).partition("::")
        return f"{self._mirror.file}{colons}{name}"

    # Sessions

    def _session(self, setting: Setting, world: World) -> Session:
        from flowkit.testing.memory import MemoryStorage
        from flowkit_plugins.cache.storage import Storage

        simulated = setting.executor == "simulated"
        executors: dict[str, Callable[[int], Executor]] = {"simulated": lambda slots: world.executor}
        name = setting.executor
        if callable(name):
            executors["given"], name = name, "given"
        session = Session(
            [self._where],
            clock=self.clock if simulated else None,
            seed=0,
            executors=executors,
            scheduled_at=self.clock.start,
        )
        if self.folder is None:
            session.services[Storage] = MemoryStorage(self.disk, world)
        else:
            session.services[Storage] = Storage(self.folder)
        flags = {"executor": name, "n": setting.case.workers, **setting.flags}
        if "history" in session.plugins.names and not flags.setdefault("no_history", True):
            self._keep_history(session, world)
        session.configure(flags)
        session.plugins.register(world, "testing:world")
        return session

    def _keep_history(self, session: Session, world: World) -> None:
        """Have a session's runs written down beside the store: for ``resume`` and ``lf``."""
        from flowkit.testing.journal import PromptJournal
        from flowkit.testing.sources import fresh_folder
        from flowkit_plugins.history.journal import Journal
        from flowkit_plugins.history.reading import History

        if self._history is None:
            self._history = (self.folder or fresh_folder()) / "history.db"
        session.services[History] = History(self._history)
        session.services[Journal] = partial(PromptJournal, world)

    def run(
        self,
        setting: Setting = Setting(),
        enter: Callable[[World], None] = lambda world: None,
    ) -> RunResult:
        """Run the flow to its end, or to its crash.

        Args:
            setting: How.
            enter: Told of the world before anything happens in it.

        Raises:
            FlowError: The flow is wrong; nothing ran.
            Stuck: A call hangs, and nothing will ever stop it.
        """
        case = setting.case
        world = World(
            case.faults, self.clock, schedule=case.schedule, workers=case.workers,
            patch_sleep=setting.patch_sleep, observe=setting.observe,
        )  # fmt: skip
        enter(world)
        runners: list[Runner] = []

        def prepare(runner: Runner) -> None:
            runners.append(runner)
            world.enter(runner)

        run = None
        with self._isolated(), world.sleeping():
            session = self._session(setting, world)
            try:
                sources = session.prepare(Sources(given=case.params), setting.override, setting.typed)
                run = session.execute(params=sources, prepare=prepare)
            except SimulatedCrash:
                pass
            finally:
                session.close()
        setting.ended.update(world.ended)
        if world.crashed:
            run = None
        return RunResult(self, setting, world, run, runners[0].report.nodes if runners else ())

    def plan(self, setting: Setting = Setting()) -> dict[str, Planned]:
        """Return what a run would do to each node."""
        world = World(Plan(), self.clock)
        with self._isolated():
            session = self._session(setting, world)
            try:
                sources = session.prepare(Sources(given=setting.case.params), setting.override, setting.typed)
                return planned(session.plan(sources))
            finally:
                session.close()

    def look(self, override: Mapping[str, object] | None = None, typed: Sequence[str] = ()) -> Session:
        """Return a closed session in which the flow is collected: its graph and its parameters."""
        with self._isolated():
            session = self._session(Setting(), World(Plan(), self.clock))
            try:
                session.collect(override, typed)
            finally:
                session.close()
        return session

    @contextlib.contextmanager
    def _isolated(self) -> Iterator[None]:
        """Keep modules of the original folder out of the way of their copies, and the copies' paths out of errors."""
        if self._mirror is None:
            yield
            return
        names = self._mirror.modules()
        taken = {n: m for n, m in sys.modules.items() if n.partition(".")[0] in names}
        for name in taken:
            del sys.modules[name]
        try:
            yield
        except FlowError as error:
            say = self._mirror.in_original
            raise FlowError([type(e)(say(e.what), known=say(e.known), remedy=say(e.remedy)) for e in error.errors]) from error
        finally:
            for name in [n for n in sys.modules if n.partition(".")[0] in names]:
                del sys.modules[name]
            sys.modules.update(taken)


def _found(target: object) -> object:
    """Return a target whose file is looked for beside the test, too."""
    if isinstance(target, Path):
        target = str(target)
    if not isinstance(target, str):
        return target
    text, colons, name = target.partition("::")
    path = Path(text)
    if not text.endswith(".py") or path.is_file():
        return f"{path.resolve()}{colons}{name}" if path.is_file() else target
    test = os.environ.get("PYTEST_CURRENT_TEST", "").partition("::")[0]
    beside = Path(test).parent / text
    if test and beside.is_file():
        return f"{beside.resolve()}{colons}{name}"
    return target
