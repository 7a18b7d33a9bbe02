"""The pytest plugin: ``flowrun``, ``flowsched``, ``faults``, tasks as fixtures, ``--flowkit-check``, and ``project``.

It is loaded wherever flowkit is installed, so it imports nothing of flowkit before something is
asked of it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from flowkit.testing.faultplans import Plan
    from flowkit.testing.results import RunResult
    from flowkit.testing.timetables import ScheduledFlow

pytest_plugins = ["flowkit.testing.project"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options and settings."""
    group = parser.getgroup("flowkit")
    group.addoption(
        "--flowkit-check", action="append", default=[], metavar="FLOW", help="Check the ready-made properties of a flow."
    )
    group.addoption("--flowkit-replay", metavar="TOKEN", help="Check one case of a property again, the one a failure printed.")
    group.addoption("-O", dest="flowkit_overrides", action="append", default=[], metavar="NAME=OVERRIDE", help="For --flowkit-check: what stands in.")
    parser.addini("flowkit_modules", "Flows whose tasks are fixtures.", type="linelist", default=[])
    parser.addini("flowkit_prefix", "What the names of those fixtures begin with.", default="")


def pytest_configure(config: pytest.Config) -> None:
    """Say what the mark is; leave other tests alone if flows are to be checked."""
    config.addinivalue_line("markers", "flow(flow): what pytestmark = flow(…) is: the flow's tasks are fixtures of the module's tests.")
    if config.getoption("--flowkit-check") and config.args_source is not config.ArgsSource.ARGS:
        config.args = []


@pytest.hookimpl(trylast=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Make fixtures of the tasks of ``flowkit_modules``."""
    config = session.config
    for target in config.getini("flowkit_modules"):
        from flowkit.testing.fixtures import expose
        from flowkit.testing.subject import FlowUnderTest

        flow = FlowUnderTest(target, prefix=config.getini("flowkit_prefix"))
        flow.beside(config.rootpath)
        expose(flow, session)


def pytest_collectstart(collector: pytest.Collector) -> None:
    """Make fixtures of the tasks of a module's ``pytestmark = flow(…)``."""
    if not isinstance(collector, pytest.Module) or not _marked(collector.path):
        return
    from flowkit.testing.fixtures import expose
    from flowkit.testing.subject import FlowUnderTest

    try:
        marks = getattr(collector.obj, "pytestmark", ())
    except BaseException:  # what is wrong with the module is told when it is collected
        return
    for flow in marks if isinstance(marks, (list, tuple)) else [marks]:
        if isinstance(flow, FlowUnderTest):
            flow.beside(collector.path.parent)
            expose(flow, collector)


def _marked(file: Path) -> bool:
    """Whether a module may have such a mark: others are not imported before their time."""
    try:
        text = file.read_bytes()
    except OSError:
        return False
    return b"pytestmark" in text and b"flow(" in text


def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    """Add a test for each property of each flow to be checked; have a property replay one case."""
    for target in config.getoption("--flowkit-check"):
        items.extend(_checks(session, target, config.getoption("flowkit_overrides")))
    word = config.getoption("--flowkit-replay")
    for item in items:
        made = getattr(getattr(item, "obj", None), "flowkit_property", None)
        if word and made is not None:
            item.obj = _replaying(word, made[1])  # type: ignore[attr-defined]  # a Function has it


def _replaying(word: str, flow: Any) -> Callable[[], None]:
    from flowkit.testing.properties import replay

    def test_replay() -> None:
        replay(flow, word)

    return test_replay


def _checks(session: pytest.Session, target: str, overrides: list[str]) -> Iterator[pytest.Item]:
    from flowkit.testing.properties import PROPERTIES
    from flowkit.testing.subject import FlowUnderTest

    flow = FlowUnderTest(target, typed=overrides)
    for name in PROPERTIES:
        yield _Check.from_parent(session, name=f"flowkit:{target}:{name}", flow=flow, check=name)


class _Check(pytest.Item):
    """One property of one flow."""

    def __init__(self, *, flow: Any, check: str, **given: Any) -> None:
        super().__init__(**given)
        self._flow = flow
        self._check = check

    def runtest(self) -> None:
        """Check it."""
        from flowkit.testing.properties import PROPERTIES, replay

        word = self.config.getoption("--flowkit-replay")
        if word:
            replay(self._flow, word)
        elif why := PROPERTIES[self._check].nothing(self._flow):
            pytest.skip(f"nothing to check: {why}")
        else:
            PROPERTIES[self._check](self._flow)()

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """Show what does not hold, without a traceback of our own."""
        from flowkit.errors import FlowError
        from flowkit.testing.checks import Violation

        if isinstance(excinfo.value, (Violation, FlowError)):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int | None, str]:
        """Say what is tested."""
        return self.path, None, self.name


@pytest.fixture(scope="session")
def flowrun() -> Callable[..., RunResult]:
    """Run a flow on the simulator, in a fresh sandbox for each call; so it may be used under ``@given``.

    ``flowrun("shop.py", "report", params={…}, override={…}, faults=…, schedule=[…], workers=2, patch_sleep=True,
    on_disk=False, replay=TOKEN)``, and flags as for ``flowkit.run``. The target is a path (taken from the current folder, or
    beside the test), a module, the text of one, or file name → text.
    """
    return run_flow


def run_flow(
    target: object, *tasks: str, store: Any = None, on_disk: bool = False, replay: str = "", **given: Any
) -> RunResult:
    """Run a flow in a fresh sandbox; see ``flowrun``. ``replay`` is a result's ``replay_token``: the same again."""
    from flowkit.testing.sandbox import Sandbox, Setting

    if len(tasks) > 1:
        raise TypeError(f"flowrun takes one task to run, not {', '.join(tasks)}; it runs all without")
    folder = None
    if on_disk:
        from flowkit.testing.sources import fresh_folder

        folder = fresh_folder()
    sandbox = Sandbox(target, disk=store, folder=folder)
    if tasks:
        sandbox.target = f"{sandbox.target}::{tasks[0]}"
    if replay:
        from flowkit.testing.tokens import read_token

        sandbox.look()  # imports what a value in the token may be an instance of
        case = read_token(replay)[1]
        same = {"params": case.params, "faults": case.faults, "schedule": case.schedule, "workers": case.workers}
        given = {**same, **given}
    return sandbox.run(Setting().changed(given))


@pytest.fixture(scope="session")
def flowsched() -> Callable[[object], ScheduledFlow]:
    """Say when a flow would run: ``flowsched("shop.py").between("2026-03-28", "2026-03-31", tz="Europe/Paris")``.

    That gives ticks with ``.at`` (UTC), ``.local``, ``.params`` and ``.started``; with ``down=[(from, to)]`` nobody
    is there to start runs from one time until before the other, and the flow's ``catchup`` says what comes of it.
    The target is as for ``flowrun``.
    """
    from flowkit.testing.timetables import schedule_of

    return schedule_of


@pytest.fixture(scope="session")
def faults() -> Plan:
    """Where fault plans begin: ``faults.fail("load", times=3).slow("clean", 90)``."""
    from flowkit.testing.faultplans import faults as none

    return none


def pytest_report_header(config: pytest.Config) -> str | None:
    """Say which flows' tasks are fixtures."""
    modules = config.getini("flowkit_modules")
    return f"flowkit: tasks of {', '.join(os.path.relpath(m) for m in modules)}" if modules else None
