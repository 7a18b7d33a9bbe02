"""History: what every run did is written down, so that a failed one is understood and continued.

Adds the flags ``--resume``, ``--lf``, ``--ff``, ``--pdb`` and ``--no-history``, and the commands ``runs``,
``show``, ``logs``, ``why``, ``set`` and ``repro``. Runs are kept in ``.flowkit/history.db`` below the root.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowkit.durations import seconds
from flowkit.errors import FlowkitError
from flowkit.hookspecs import Flag, Option, hookimpl

if TYPE_CHECKING:
    import click

    from flowkit.graph import Graph
    from flowkit.parameters import Sources
    from flowkit.reports import RunInfo
    from flowkit.selection import Selection
    from flowkit.session import Session

NAME = "history.db"


def _duration(value: Any) -> float | None:
    return None if value in ("forever", False) else seconds(value)


def _url(value: Any) -> str:
    """Return the path in ``sqlite:///history.db``, or a path as it is."""
    if not isinstance(value, str) or not value:
        raise TypeError(f"sqlite:/// and the path of a file, not {value!r}")
    scheme, separator, rest = value.partition("://")
    if not separator:
        return value
    if scheme != "sqlite" or not rest.removeprefix("/"):
        raise ValueError(f"sqlite:/// and the path of a file, not {value!r}; there is no other kind")
    return rest.removeprefix("/")


@hookimpl
def flowkit_run_options() -> Sequence[Flag]:
    """Declare the flags."""
    return [
        Flag(
            name="--resume",
            optional="",
            metavar="[RUN]",
            help="Continue a run (the flow's last, if none is named) with its parameters: what ended well in it is kept.",
        ),
        Flag(
            name="--lf",
            short="--last-failed",
            type=bool,
            default=False,
            help="Run what failed the last time, and what hangs off it; everything, if nothing did.",
        ),
        Flag(
            name="--ff",
            short="--failed-first",
            type=bool,
            default=False,
            help="Run everything, what failed the last time first.",
        ),
        Flag(name="--no-history", type=bool, default=False, help="Write nothing down of this run."),
        Flag(
            name="--pdb",
            type=bool,
            default=False,
            help="Open the debugger where a task fails, with its real inputs; runs inline.",
        ),
    ]


@hookimpl
def flowkit_settings() -> Sequence[Option]:
    """Declare ``[tool.flowkit.history]``."""
    return [
        Option(
            name="history.url",
            type="sqlite:/// and a path",
            help="Where the history is; .flowkit/history.db below the root.",
            convert=_url,
        ),
        Option(
            name="history.keep",
            type="a duration, or forever",
            help="How long runs are kept.",
            default=90 * 86400.0,
            convert=_duration,
        ),
    ]


def file_of(root: Path, written: object) -> Path:
    """Return the history file of a root folder, or the one that ``history.url`` names."""
    return root / str(written) if written else root / ".flowkit" / NAME


@hookimpl
def flowkit_configure(session: Session) -> None:
    """Register what records this session's runs, and what continues another."""
    session.plugins.register(_Session(session), "history:session")


class _Session:
    """What of the history takes part in one session."""

    def __init__(self, session: Session) -> None:
        from flowkit.services import Before, Continuation, Needs, Remembered, Typical
        from flowkit_plugins.history.before import Durations
        from flowkit_plugins.history.reading import History
        from flowkit_plugins.history.recorder import Recorder

        self._session = session
        flags = session.flags
        own = file_of(session.root, session.settings["history.url"])
        self._history = session.services.get(History) or History(own)
        file = self._history.file
        self._told: list[str] = []
        self._resumed = None
        asked = flags.get("resume")
        if asked is not None and asked is not False:
            from flowkit_plugins.history.resume import ByHand, wanted

            self._resumed = wanted(session, self._history, asked)
            if self._resumed is None:
                self._told.append("resume: there is no earlier run of this flow; this is a new one")
            else:
                self._told.append(
                    f"resume: continues run {self._resumed.run}, which {_ended(self._resumed.row.status)}"
                )
                session.services[Continuation] = self._resumed
                if self._resumed.repairs:
                    session.plugins.register(ByHand(self._resumed.repairs), "history:by hand")
        if flags.get("pdb"):
            from flowkit_plugins.history.debugger import Debugger

            session.executor_name = "inline"
            session.plugins.register(Debugger(session), "history:debugger")
        durations = Durations(History(file), lambda: session.services.get(Remembered))
        session.services[Before] = session.services[Typical] = durations
        self._durations = durations
        if not flags.get("no_history"):
            session.services[Needs] = Kept(self._history)
            keep = session.settings["history.keep"]
            recorder = Recorder(
                session, file, keep=keep, resumed=self._resumed, durations=durations
            )
            session.plugins.register(recorder, "history:recorder")

    @hookimpl
    def flowkit_header(self, session: Session) -> Sequence[str]:
        """Say what is continued, or repeated."""
        return self._told

    @hookimpl
    def flowkit_run_started(self, run: RunInfo) -> None:
        """Learn what must not be looked for by its name."""
        if self._resumed is not None:
            self._resumed.mask = run.mask

    @hookimpl
    def flowkit_plan_started(self, run: RunInfo) -> None:
        """Get ready to say how long nodes took."""
        self._durations.begin([flow.path for flow in run.graph.flows], run.id)

    @hookimpl
    def flowkit_parameters(self, session: Session, sources: Sources) -> Mapping[str, object]:
        """Return the parameters of the run that is continued."""
        if self._resumed is None:
            return {}
        from flowkit_plugins.history.resume import parameters

        return parameters(session, sources, self._resumed)

    @hookimpl
    def flowkit_select(self, graph: Graph, selection: Selection) -> Selection | None:
        """Narrow or order the run by what failed the last time."""
        flags = self._session.flags
        if not flags.get("lf") and not flags.get("ff"):
            return None
        from flowkit.scheduler import Scheduler
        from flowkit.services import FailedBefore
        from flowkit_plugins.history.reading import HistoryError
        from flowkit_plugins.history.selecting import Failed, failed_first, failures, only_failed

        try:
            failed = failures(graph, self._history)
            self._history.close()
        except HistoryError as error:
            self._told.append(f"last failed: unknown, everything runs: {error}")
            return None
        flag = "--lf" if flags.get("lf") else "--ff"
        if flag == "--ff":
            failed_first(graph, failed)
        services = self._session.services
        chosen = (
            only_failed(graph, selection, failed, lambda: services.get(Scheduler))
            if flag == "--lf"
            else None
        )
        if chosen is not None:
            self._session.services[FailedBefore] = Failed(failed)
        if chosen is not None or (flag == "--ff" and failed):
            count = sum(len(nodes) for nodes in failed.values())
            self._told.append(f"{flag}: {count} failed the last time")
        else:
            self._told.append(f"{flag}: nothing of this failed the last time; everything runs")
        return chosen

    @hookimpl
    def flowkit_unconfigure(self, session: Session) -> None:
        """Close the file."""
        self._history.close()


def _ended(status: str) -> str:
    words = {
        "ok": "ended well",
        "lost": "was lost",
        "killed": "was killed",
        "interrupted": "was interrupted",
    }
    return words.get(status, status)


class Kept:
    """What the cache must not sweep away. See ``services.Needs``."""

    def __init__(self, history: Any) -> None:
        self._history = history

    def keys(self) -> set[str]:
        """Return the keys that runs which did not end well need to be resumed.

        Raises:
            FlowkitError: Nobody can tell, so nothing may be swept.
        """
        from flowkit_plugins.history.reading import HistoryError

        try:
            found: set[str] = self._history.needed_keys()
        except HistoryError as error:
            raise FlowkitError(f"what runs need to be resumed is not known: {error}") from None
        finally:
            self._history.close()
        return found


@hookimpl
def flowkit_commands() -> Sequence[click.Command]:
    """Add the commands."""
    from flowkit_plugins.history.commands import commands

    return commands()
