"""The terminal: what a run looks like, on a screen, in a log, and to a reader who has left."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, SecretStr

from flowkit import facts
from flowkit.errors import OptionError, TaskFailed
from flowkit.graph import BoundFlow, BoundTask, Edge, Graph
from flowkit.reports import (
    LETTERS,
    Attempt,
    NodeReport,
    RunInfo,
    RunReport,
    Section,
    TeardownReport,
)
from flowkit.scheduler import Node, Scheduler
from flowkit.secrets import masking
from flowkit_plugins import terminal
from flowkit_plugins.terminal import live, style, summary, traceback
from flowkit_plugins.terminal.beside import Streams
from flowkit_plugins.terminal.estimate import Past
from flowkit_plugins.terminal.progress import LetterLines, Progress, drained
from flowkit_plugins.terminal.style import Screen

NOW = datetime(2024, 1, 1, tzinfo=UTC)
WEATHER = BoundFlow("weather", "weather.py")
SALES = BoundFlow("sales", "sales.py")


# --- what tests are told with -----------------------------------------------------------------


class HandClock:
    """A clock that somebody winds."""

    def __init__(self) -> None:
        self.time = 0.0

    def now(self) -> float:
        return self.time


class Tty(io.StringIO):
    """A file in front of which somebody sits."""

    def isatty(self) -> bool:
        return True


def a_task(name: str = "clean", flow: BoundFlow = WEATHER, **facts: Any) -> BoundTask:
    return BoundTask(f"{flow.path}::{name}", name, flow, None, **facts)


RUN = RunInfo("f00", Graph([], [WEATHER]), {}, "threads", 4, NOW, 0.0, NOW, "/project")


def ended(
    word: str,
    name: str = "clean",
    *,
    task: BoundTask | None = None,
    error: BaseException | None = None,
    reason: str = "",
    seconds: float | None = None,
    kind: str = "",
    arguments: dict[str, object] | None = None,
    trace: str = "",
    sections: list[Section] | None = None,
    before: tuple[BaseException, ...] = (),
    saved: float = 0.0,
) -> NodeReport:
    """A node that ended; with ``seconds`` it was called, and once more for each error in ``before``."""
    unit = Node(task or a_task(name.partition("[")[0]), (), name)
    unit.error = error
    attempts = []
    if seconds is not None:
        for number, failure in enumerate([*before, error], 1):
            attempt = Attempt(unit, number, RUN, 10.0)
            attempt.ended_at = 10.0 + seconds
            attempt.error = failure
            attempt.again = f"retry {number} of 3" if number <= len(before) else ""
            attempts.append(attempt)
        attempts[-1].kind = kind or ("error" if error else "success")
        attempts[-1].arguments, attempts[-1].traceback, attempts[-1].sections = (
            arguments,
            trace,
            sections,
        )
    return NodeReport(unit, word, reason, attempts, saved)


def a_run(
    *nodes: NodeReport, command: str = "", params: dict[str, object] | None = None, **facts: Any
) -> RunReport:
    tasks = list(dict.fromkeys(node.task for node in nodes))
    flows = list(dict.fromkeys(task.flow for task in tasks)) or [WEATHER]
    run = RunInfo(
        "f00",
        Graph(tasks, flows),
        params or {},
        "threads",
        4,
        NOW,
        0.0,
        NOW,
        "/project",
        command=command,
        mask=masking(params or {}),
    )
    return RunReport(run, list(nodes), duration=facts.pop("duration", 4.21), **facts)


class FakeSession:
    """A session as the terminal sees it."""

    def __init__(
        self, out: io.StringIO | None, answers: dict[str, list[Any]] | None = None, **flags: object
    ) -> None:
        self.out = out
        self.flags = flags
        self.clock = HandClock()
        self.services: dict[type, object] = {}
        self.root = Path("/project")
        self.settings = SimpleNamespace(file=Path("/project/pyproject.toml"))
        self.executor_name, self.slots = "threads", 4
        self.collected, self.selected = 13, 3
        self.registered: list[Any] = []
        self.plugins = SimpleNamespace(
            names=["terminal", "mine", "/project/sub/flowconf.py"],
            origins={
                "terminal": "built in",
                "mine": "my-dist",
                "/project/sub/flowconf.py": "flowconf.py",
            },
            register=lambda plugin, name: self.registered.append(plugin),
            all=lambda hook, **arguments: [
                ("mine", answer) for answer in (answers or {}).get(hook, [])
            ],
        )

    def tell(self, hook: str, *arguments: object) -> None:
        for plugin in list(self.registered):
            if hasattr(plugin, hook):
                getattr(plugin, hook)(*arguments)


def configured(
    out: io.StringIO | None, answers: dict[str, list[Any]] | None = None, **flags: object
) -> FakeSession:
    session = FakeSession(out, answers, **flags)
    terminal.flowkit_configure(session)  # type: ignore[arg-type]
    return session


def printed(report: RunReport, *, out: io.StringIO | None = None, **flags: Any) -> str:
    """All that is printed of a run, from beginning to end."""
    out = out if out is not None else io.StringIO()
    session = configured(out, flags.pop("answers", None), **flags)
    session.tell("flowkit_run_started", report.run)
    for node in report.nodes:
        session.tell("flowkit_node_ended", node)
    session.tell("flowkit_run_ended", report)
    session.tell("flowkit_unconfigure")
    return out.getvalue()


def shown(report: RunReport, **flags: Any) -> list[str]:
    """The lines without the header."""
    lines = printed(report, **flags).splitlines()
    return lines[lines.index("collected 13 tasks, 3 selected") + 2 :]


def section(lines: list[str], title: str, end: str = "=") -> list[str]:
    """The lines below a heading, up to the next."""
    start = next(i for i, line in enumerate(lines) if line.strip("=") == f" {title} ")
    stop = next(
        (i for i, line in enumerate(lines[start + 1 :], start + 1) if line.startswith(end * 2)),
        None,
    )
    return lines[start + 1 : stop]


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "NO_COLOR",
        "COLUMNS",
        "LINES",
        "FORCE_COLOR",
        "TTY_COMPATIBLE",
        "TTY_INTERACTIVE",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")


# --- the screen -------------------------------------------------------------------------------


def written_in(encoding: str, *lines: str) -> str:
    raw = io.BytesIO()
    screen = Screen(io.TextIOWrapper(raw, encoding=encoding, write_through=True))
    for line in lines:
        screen.line(line)
    screen.flush()
    return raw.getvalue().decode(encoding)


def test_characters_that_an_encoding_lacks_are_spelled_out() -> None:
    assert (
        written_in("ascii", "1 → 2 …", "Győr", "日本") == "1 -> 2 ...\nGy\\u0151r\n\\u65e5\\u672c\n"
    )
    assert written_in("latin-1", "é → …") == "é -> ...\n"
    assert written_in("cp1252", "é → … ═") == "é -> … =\n"


def test_a_file_name_that_is_no_utf8_is_spelled_out_and_the_rest_of_its_line_kept() -> None:
    assert written_in("utf-8", "a\udc80b …") == "a\\udc80b …\n"


class Gone(io.StringIO):
    """A pipe that nobody reads."""

    def __init__(self, error: type[Exception] = BrokenPipeError) -> None:
        super().__init__()
        self.error, self.tries = error, 0

    def write(self, text: str) -> int:
        self.tries += 1
        raise self.error(32, "gone")


@pytest.mark.parametrize("error", [BrokenPipeError, OSError, ValueError])
def test_a_reader_who_left_ends_the_printing_and_not_the_run(error: type[Exception]) -> None:
    out = Gone(error)
    printed(a_run(ended("ran"), ended("failed", error=ValueError("bad"))), out=out)
    assert out.tries == 1


def test_a_closed_pipe_at_standard_output_is_silent_up_to_the_exit_of_python() -> None:
    program = (
        "import sys; from flowkit_plugins.terminal.style import Screen; s = Screen(sys.stdout)\n"
        "for _ in range(9999): s.line('x' * 99)\n"
        "s.flush(); print('more'); sys.exit(7)"
    )
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-c", program], stdout=writer, stderr=subprocess.PIPE, check=False
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (7, b"")


@pytest.mark.parametrize(
    ("out", "color", "environ", "expected"),
    [
        (Tty(), "auto", {}, True),
        (Tty(), "auto", {"NO_COLOR": "1"}, False),
        (Tty(), "auto", {"NO_COLOR": ""}, True),
        (Tty(), "auto", {"TERM": "dumb"}, False),
        (Tty(), "no", {}, False),
        (io.StringIO(), "auto", {}, False),
        (io.StringIO(), "auto", {"FORCE_COLOR": "1"}, False),
        (io.StringIO(), "yes", {"NO_COLOR": "1"}, True),
    ],
)
def test_when_there_are_colors(
    out: io.StringIO, color: str, environ: dict[str, str], expected: bool
) -> None:
    assert Screen(out, color=color, environ=environ).color is expected


def test_width_is_that_of_the_terminal_and_80_for_all_else() -> None:
    assert Screen(Tty(), environ={"COLUMNS": "40"}).width == 40
    assert Screen(Tty(), environ={"COLUMNS": "3"}).width == 20
    assert Screen(Tty(), environ={}).width == 80  # a terminal that does not say
    assert Screen(io.StringIO(), environ={"COLUMNS": "40"}).width == 80


def test_what_disturbs_a_screen_is_cleaned_away() -> None:
    assert style.clean("a\x1b[2Jb\x1b[31mred\x1b[0m\x1b]0;title\x07\x1b") == "abred"
    assert style.clean("\x1b[2J\x1b[31mred\x1b[0m", color=True) == "\x1b[31mred\x1b[0m"
    assert style.clean("10%\r100%\r\nbell\x07 back\x08\ttab") == "100%\nbell\\x07 back\\x08\ttab"


def test_wide_characters_take_two_columns() -> None:
    assert style.cells("日本") == 4
    assert style.cells("e\u0301") == 1
    assert style.fit("日本語", 5) == "日本…"
    assert style.fit("short", 5) == "short"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0.00s"), (0.34, "0.34s"), (4.214, "4.21s"), (59.999, "1m"), (372, "6m12s")],
)
def test_durations_as_reports_show_them(seconds: float, text: str) -> None:
    assert style.took(seconds) == text


def test_a_title_wider_than_the_screen_stands_alone() -> None:
    out = Tty()
    Screen(out, environ={"COLUMNS": "20", "NO_COLOR": "1"}).rule("a title of some length")
    assert out.getvalue() == "a title of some length\n"


class Login(BaseModel):
    user: str
    token: SecretStr


def test_secrets_are_masked_wherever_they_turn_up() -> None:
    params: dict[str, object] = {"login": Login(user="ann", token=SecretStr("hunter22")), "n": 3}
    error = ValueError("401 for hunter22")
    failure = ended(
        "failed",
        error=error,
        seconds=0.1,
        trace="ValueError: 401 for hunter22",
        reason="hunter22 changed",
    )
    for flags in ({}, {"verbose": True}, {"tb": "short"}):
        text = printed(
            a_run(failure, params=params, command="flowkit run w.py -P t=hunter22"), **flags
        )
        assert "hunter22" not in text
        assert "401 for **********" in text


# --- what the flags mean ----------------------------------------------------------------------


def test_without_an_output_nothing_is_registered() -> None:
    assert configured(None).registered == []


def test_hooks_that_cost_something_per_attempt_exist_only_where_they_are_looked_at() -> None:
    def listens(session: FakeSession, hook: str) -> bool:
        return any(hasattr(plugin, hook) for plugin in session.registered)

    plain, verbose, screen = (
        configured(io.StringIO()),
        configured(io.StringIO(), verbose=True),
        configured(Tty()),
    )
    assert not listens(plain, "flowkit_attempt_started")
    assert not listens(plain, "flowkit_attempt_ended")
    assert listens(verbose, "flowkit_attempt_ended")
    assert not listens(verbose, "flowkit_attempt_started")
    assert listens(screen, "flowkit_attempt_started")
    assert not listens(configured(Tty(), quiet=True), "flowkit_attempt_started")


@pytest.mark.parametrize("flags", [{"tb": "shrot"}, {"color": "blue"}, {"durations": -1}])
def test_a_flag_with_a_value_it_cannot_have_is_an_error_even_without_an_output(
    flags: dict[str, Any],
) -> None:
    with pytest.raises(OptionError, match="--"):
        configured(None, **flags)


def test_verbose_and_quiet_cancel_out() -> None:
    wanted = terminal.Wanted.of({"verbose": True, "quiet": True})
    assert (wanted.verbose, wanted.quiet) == (False, False)


def test_flags_have_keywords_of_their_own() -> None:
    keywords = [flag.keyword for flag in terminal.flowkit_run_options()]
    assert keywords == ["verbose", "quiet", "show", "durations", "tb", "color"]


# --- header -----------------------------------------------------------------------------------


def test_the_header() -> None:
    text = printed(a_run(), answers={"flowkit_header": [["cache: .flowkit/cache"]]})
    version = r"platform \w+ -- Python 3[.\d]+\S*, flowkit-run \S+"
    lines = text.splitlines()
    assert lines[0] == f"{'=' * 30} flowkit run starts {'=' * 30}"
    assert re.fullmatch(version, lines[1])
    assert lines[2:8] == [
        "rootdir: /project, configfile: pyproject.toml",
        "plugins: mine (my-dist), sub/flowconf.py",
        "executor: threads, 4 at once",
        "cache: .flowkit/cache",
        "collected 13 tasks, 3 selected",
        "",
    ]


def test_the_header_counts_what_was_selected_only_if_that_is_not_all() -> None:
    assert terminal.header.collected(1, 1) == "collected 1 task"
    assert terminal.header.collected(1300, 1299) == "collected 1,300 tasks, 1,299 selected"


def test_built_in_plugins_are_listed_with_v() -> None:
    assert "plugins: terminal (built in), mine (my-dist)" in printed(a_run(), verbose=True)


# --- letters ----------------------------------------------------------------------------------


def letters(width: int, *batches: list[NodeReport], tasks: list[BoundTask] | None = None) -> str:
    """What batches of nodes look like on a terminal without colours."""
    screen = Screen(Tty(), color="no", environ={"COLUMNS": str(width)})
    own = [node.task for batch in batches for node in batch] if tasks is None else tasks
    lines = LetterLines(screen, Progress(dict.fromkeys(own)))
    return "".join([lines.feed(batch) for batch in batches]) + lines.finish()


def row(text: str, percent: int) -> str:
    """A line of letters on a terminal of 40 columns."""
    return f"{text:<33}[{percent:3d}%]\n"


def elements(task: BoundTask, words: list[str]) -> list[NodeReport]:
    return [ended(word, f"{task.name}[{i}]", task=task) for i, word in enumerate(words)]


def test_each_word_has_its_letter_and_all_end_at_100_percent() -> None:
    words = [word for word in LETTERS if word != "retry"]
    assert letters(40, [ended(word, word) for word in words]) == row("weather.py .=csuFTE", 100)


def test_letters_wrap_and_each_full_line_has_a_percentage() -> None:
    nodes = elements(a_task("page"), ["ran"] * 50)
    assert letters(40, nodes[:15], nodes[15:]) == row(f"weather.py {'.' * 21}", 42) + row(
        "." * 29, 100
    )


def test_a_line_that_is_full_at_the_end_is_not_followed_by_an_empty_one() -> None:
    assert letters(40, elements(a_task("page"), ["ran"] * 21)) == row(f"weather.py {'.' * 21}", 100)


def test_flows_that_take_turns_get_a_stretch_each() -> None:
    here, there = a_task("page", WEATHER), a_task("page", SALES)
    pairs = zip(elements(here, ["ran"] * 3), elements(there, ["cached"] * 3), strict=True)
    mixed = [node for pair in pairs for node in pair]
    assert letters(40, mixed, mixed[:2]) == (
        row("weather.py ...", 50) + row("sales.py cccc", 87) + row("weather.py .", 100)
    )


def test_a_flow_whose_line_is_open_goes_on_with_it() -> None:
    here, there = a_task("page", WEATHER), a_task("page", SALES)
    first, second = (
        elements(here, ["ran"]),
        [*elements(there, ["ran"]), *elements(here, ["cached"])],
    )
    lines = letters(40, first, second).splitlines()
    assert [line.partition("  ")[0] for line in lines] == ["weather.py .c", "sales.py ."]


def test_a_path_that_fills_the_line_has_it_to_itself() -> None:
    deep = BoundFlow("deep", "a/very/deep/folder/of/flows.py")
    text = letters(40, elements(a_task("page", deep), ["ran"] * 3))
    assert text == "a/very/deep/folder/of/flows.py\n" + row("...", 100)


def test_a_retry_is_a_letter_before_that_of_its_node() -> None:
    slow = ended("ran", seconds=0.1, before=(ValueError("a"), ValueError("b")))
    assert letters(40, [slow]) == row("weather.py RR.", 100)


def test_a_run_that_was_cut_short_does_not_end_at_100_percent() -> None:
    nodes = elements(a_task("page"), ["ran", "failed", "not run", "not run"])
    assert letters(40, nodes) == row("weather.py .F", 50)


def test_tasks_of_which_nothing_is_known_yet_count_as_one_node() -> None:
    tasks = [a_task("a"), a_task("b"), a_task("c"), a_task("d")]
    assert letters(40, [ended("ran", task=tasks[0])], tasks=tasks) == row("weather.py .", 25)


def test_the_scheduler_knows_how_many_nodes_are_left() -> None:
    task = a_task("page")
    scheduler = Scheduler(Graph([task], [WEATHER]), slots=1)
    scheduler.open = 7
    progress = Progress([task], scheduler)
    progress.done = 3
    assert progress.known == 10
    assert progress.nodes_of(task) == 0
    assert Progress([task]).nodes_of(task) is None


@given(
    nodes=st.lists(
        st.tuples(st.sampled_from([*LETTERS, "not run"]), st.sampled_from("ab")), max_size=200
    ),
    width=st.integers(20, 100),
    cuts=st.lists(st.integers(0, 200), max_size=5),
)
def test_letters_are_complete_within_the_width_and_never_above_100_percent(
    nodes: list[tuple[str, str]], width: int, cuts: list[int]
) -> None:
    tasks = {name: a_task(name, flow) for name, flow in (("a", WEATHER), ("b", SALES))}
    reports = [ended(word, task=tasks[name]) for word, name in nodes if word != "retry"]
    edges = sorted({0, *(min(cut, len(reports)) for cut in cuts), len(reports)})
    batches = [reports[a:b] for a, b in zip(edges, edges[1:], strict=False)]
    text = letters(width, *batches, tasks=list(tasks.values()))
    body = re.sub(r"weather\.py|sales\.py| *\[[ \d]{3}%\]|\s", "", text)
    assert sorted(body) == sorted(report.letter for report in reports if report.letter)
    assert all(len(line) < width for line in text.splitlines())
    assert all(int(percent) <= 100 for percent in re.findall(r"(\d+)%", text))
    if (
        body
        and not any(word == "not run" for word, _ in nodes)
        and {n for w, n in nodes if w != "retry"} == {"a", "b"}
    ):
        assert text.endswith("[100%]\n")


def test_colors_of_letters_are_set_once_per_stretch() -> None:
    task = a_task("page")
    text = LetterLines(Screen(Tty(), environ={}), Progress([task])).feed(
        elements(task, ["ran", "ran", "failed"])
    )
    assert text == "weather.py \x1b[32m..\x1b[0m\x1b[31mF\x1b[0m"


def test_output_that_is_no_terminal_has_no_control_codes() -> None:
    error, captured = (
        ValueError("\x1b[31mbad\x1b[0m"),
        Section("Captured stdout", ["\x1b[1mbold\x07"]),
    )
    noisy = ended(
        "failed", error=error, seconds=0.1, trace="ValueError: \x1b[31mbad", sections=[captured]
    )
    text = printed(
        a_run(noisy, ended("ran"), ended("skipped", reason="\x1b[2J")), show="A", durations=0
    )
    assert all(c.isprintable() or c == "\n" for c in text)


def test_letters_in_a_log_are_flushed_a_few_times_a_second_whatever_the_number_of_nodes() -> None:
    out = io.StringIO()
    session = configured(out, quiet=True)
    session.tell("flowkit_run_started", RUN)
    seen = []
    for step in range(1000):
        session.clock.time = step / 1000
        session.tell("flowkit_node_ended", ended("ran"))
        seen.append(out.getvalue())
    assert seen[0] == "weather.py ."
    assert 9 <= len(set(seen)) <= 12


def test_a_line_per_node_with_v() -> None:
    lines = shown(
        a_run(
            ended("ran", seconds=0.34, reason="no record"),
            ended("cached", "raw", reason="3h ago"),
            ended("upstream", "mean[LHR]", reason="`raw` failed"),
            ended("not run", "total", reason="stopped after 1 failure"),
        ),
        verbose=True,
    )
    assert lines[:4] == [
        "weather.py::clean RAN 0.34s no record",
        "weather.py::raw CACHED 3h ago",
        "weather.py::mean[LHR] UPSTREAM `raw` failed",
        "weather.py::total NOT RUN stopped after 1 failure",
    ]


def test_v_tells_of_retries_as_they_happen() -> None:
    out = io.StringIO()
    session = configured(out, verbose=True)
    session.tell("flowkit_run_started", RUN)
    node = ended("ran", seconds=0.2, before=(ConnectionError("refused\nby peer"),))
    node.attempts[0].again = "retry 1 of 3 in 2s"
    for attempt in node.attempts:
        session.tell("flowkit_attempt_ended", attempt)
    session.tell("flowkit_node_ended", node)
    session.tell("flowkit_unconfigure")
    assert out.getvalue().splitlines()[-2:] == [
        "weather.py::clean RETRY 1 of 3 in 2s: ConnectionError: refused",
        "weather.py::clean RAN 0.20s",
    ]


# --- failures ---------------------------------------------------------------------------------

TRACE = """Traceback (most recent call last):
  File "/project/weather.py", line 14, in page
    return parse(station)
  File "/project/helpers.py", line 3, in parse
    raise ValueError("bad")
ValueError: bad"""


def test_a_failure_at_length(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    task = a_task("page", parameters={"since": "since"})
    failure = ended(
        "failed",
        "page[3]",
        task=task,
        error=ValueError("bad"),
        seconds=0.34,
        before=(ConnectionError("refused"),),
        arguments={"station": "LHR", "since": 2024},
        trace=TRACE,
        sections=[Section("Captured stdout", ["hello"]), Section("Captured stderr", [])],
    )
    lines = shown(
        a_run(failure, command="flowkit run weather.py -n 2 -P 'since=a b' -k pa --params=p.toml")
    )
    assert section(lines, "FAILURES") == [
        "___________________________________ page[3] ____________________________________",
        "where: given  attempt 2 of 2, 0.34s",
        "  attempt 1: ConnectionError: refused, 0.34s",
        "  station = 'LHR'",
        "  since = 2024  (parameter)",
        "",
        *TRACE.splitlines(),
        "------------------------------- Captured stdout --------------------------------",
        "hello",
        "",
        "re-run: flowkit run 'weather.py::page[3]' -P 'since=a b' --params=p.toml",
    ]


@pytest.mark.parametrize(
    ("command", "repeated"),
    [
        ("", []),
        ("flowkit run w.py", []),
        ("flowkit run w.py -P a=1 -Pb=2 -x", ["-P", "a=1", "-Pb=2"]),
        (
            "flowkit run w.py --plan -O raw=fakes.py::raw -p no:cache",
            ["-O", "raw=fakes.py::raw", "-p", "no:cache"],
        ),
        ("flowkit run w.py -P", ["-P"]),
        ("an open ' quote", []),
    ],
)
def test_a_re_run_repeats_what_decides_on_the_values_of_a_node(
    command: str, repeated: list[str]
) -> None:
    assert [word for words in facts._repeated(command) for word in words] == repeated


def test_a_re_run_names_the_flow_as_it_is_reached_from_here(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "flows").mkdir()
    file = tmp_path / "flows" / "weather.py"
    file.touch()
    monkeypatch.chdir(tmp_path / "flows")
    flow = BoundFlow("weather", "flows/weather.py", str(file))
    assert (
        terminal.failures.rerun(ended("failed", task=a_task(flow=flow)), "")
        == "flowkit run weather.py::clean"
    )


def test_failures_that_do_not_fail_the_run_say_so() -> None:
    allowed = ended("failed", task=a_task(allow_failure=True), error=ValueError("bad"), seconds=0.1)
    replaced = ended("failed", "load", error=ValueError("bad"), seconds=0.1)
    replaced.unit.stand_in = Node(a_task("backup"), (), "backup")
    lines = shown(a_run(allowed, replaced))
    assert any("_ clean (allowed) _" in line for line in lines)
    assert any("_ load (`backup` stands in) _" in line for line in lines)
    assert "FAILED weather.py::clean - ValueError: bad (allowed)" in lines
    assert "FAILED weather.py::load - ValueError: bad (`backup` stands in)" in lines


def test_of_many_failures_of_a_map_the_first_ten_are_shown_in_full() -> None:
    task = a_task("page")
    nodes = [
        ended("failed", f"page[{i}]", task=task, error=ValueError("bad"), seconds=0.0)
        for i in range(10_000)
    ]
    lines = shown(a_run(*nodes))
    assert sum(line.startswith("re-run: ") for line in lines) == 10
    assert "… and 9,990 more failed elements of `page`" in lines
    assert sum(line.startswith("FAILED ") for line in lines) == 11


def test_a_failure_without_an_attempt_shows_its_error() -> None:
    text = printed(a_run(ended("failed", "page", error=TypeError("cannot map over 'x': int"))))
    assert "where: given  not called" in text
    assert "\nTypeError: cannot map over 'x': int\n" in text


def test_a_failure_of_which_nothing_is_known_shows_its_reason() -> None:
    assert "\nworker 3 is gone\n" in printed(a_run(ended("error", reason="worker 3 is gone")))


def test_fail_speaks_for_itself() -> None:
    lines = shown(a_run(ended("failed", error=TaskFailed("no data today"), seconds=0.1)))
    assert "no data today" in lines
    assert "FAILED weather.py::clean - no data today" in lines


@pytest.mark.parametrize(
    ("kind", "reason", "fact"),
    [
        ("timeout", "", "timeout"),
        ("setup", "set-up of 'db' (conf.py:3)", "set-up of 'db' (conf.py:3)"),
        ("lost", "", "worker lost"),
        ("pickle", "", "serialisation"),
    ],
)
def test_where_says_how_an_attempt_ended(kind: str, reason: str, fact: str) -> None:
    failure = ended("error", error=ValueError("bad"), seconds=1.5, kind=kind)
    failure.attempts[-1].reason = reason
    assert f"where: given  attempt 1 of 1, 1.50s, {fact}" in shown(a_run(failure))


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no")

    __repr__ = __str__


def test_errors_and_arguments_that_cannot_be_shown_say_so() -> None:
    failure = ended(
        "failed",
        error=Unspeakable(),
        seconds=0.1,
        arguments={"x": Unspeakable(), "y": [Unspeakable()]},
    )
    lines = shown(a_run(failure))
    assert "  x = <Unspeakable whose repr raises RuntimeError>" in lines
    assert "  y = <list whose repr raises RuntimeError>" in lines
    assert (
        "FAILED weather.py::clean - Unspeakable: <its text cannot be shown: RuntimeError>" in lines
    )


def test_arguments_are_cut_and_secrets_hide_themselves() -> None:
    class Verbose:
        def __repr__(self) -> str:
            return "v" * 1000

    assert traceback.shown("x", SecretStr("hunter22")) == ["  x = SecretStr('**********')"]
    assert len(traceback.short_repr(Verbose())) <= 200
    assert len(traceback.short_repr({i: "v" * 100 for i in range(100)})) <= 200
    assert traceback.short_repr(list(range(10**6))) == "[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, ...]"


def test_an_argument_of_many_lines_is_indented() -> None:
    class Frame:
        def __repr__(self) -> str:
            return "a\nb\nc\nd\ne\nf\ng"

    assert traceback.shown("x", Frame()) == [
        "  x =",
        "    a",
        "    b",
        "    c",
        "    d",
        "    e",
        "    …",
    ]


def test_tracebacks_in_all_styles() -> None:
    try:
        raise ValueError("bad")
    except ValueError as caught:
        error = caught
    assert traceback.lines(TRACE, error, "long") == TRACE.splitlines()
    assert traceback.lines(TRACE, error, "short") == TRACE.splitlines()[3:]
    assert traceback.lines(TRACE, error, "no") == []
    native = traceback.lines(TRACE, error, "native")
    assert native[0] == "Traceback (most recent call last):"
    assert "test_terminal.py" in native[1]
    assert (
        traceback.lines(TRACE, ValueError("from another process"), "native") == TRACE.splitlines()
    )


def test_only_the_errors_own_lines_of_a_traceback_are_red() -> None:
    assert [traceback.is_error_line(line) for line in TRACE.splitlines()] == [False] * 5 + [True]


def test_teardown_errors_have_a_section_and_count_as_errors() -> None:
    broken = TeardownReport("db", "conf.py:3", "load", OSError("gone"), "Traceback…\nOSError: gone")
    lines = shown(a_run(ended("ran"), teardowns=[broken]))
    assert section(lines, "ERRORS") == [
        "_______________________________ teardown of `db` _______________________________",
        "where: conf.py:3 after load",
        "",
        "Traceback…",
        "OSError: gone",
    ]
    assert "ERROR teardown of `db` (conf.py:3) - OSError: gone" in lines
    assert lines[-1].strip("= ") == "1 ran, 1 error in 4.21s"


# --- sums -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("chars", "words"),
    [
        ("fE", ["failed", "timeout", "error"]),
        ("F", ["failed", "timeout"]),
        ("T", ["timeout"]),
        ("su", ["skipped", "upstream"]),
        ("R", ["retried"]),
        ("a", ["failed", "timeout", "error", "skipped", "upstream", "cached", "retried"]),
        (
            "A",
            [
                "failed",
                "timeout",
                "error",
                "skipped",
                "upstream",
                "cached",
                "retried",
                "ran",
                "same",
            ],
        ),
        ("N", []),
        ("aNc", ["cached"]),
        ("xyz?", []),
        ("", []),
    ],
)
def test_what_r_shows(chars: str, words: list[str]) -> None:
    assert summary.shows(chars) == words


def test_the_short_summary_has_one_line_for_like_nodes_and_v_lists_them() -> None:
    mean = a_task("mean")
    nodes = [ended("upstream", f"mean[{i}]", task=mean, reason="`raw` failed") for i in range(3)]
    run = a_run(
        ended("failed", "raw", error=ValueError("bad\nmore")), *nodes, ended("skipped", "odd")
    )
    assert section(shown(run, show="fus"), "short summary") == [
        "FAILED weather.py::raw - ValueError: bad",
        "UPSTREAM weather.py::mean (3 nodes) - `raw` failed",
        "SKIPPED weather.py::odd",
    ]
    assert "UPSTREAM weather.py::mean[1] - `raw` failed" in section(
        shown(run, show="u", verbose=True), "short summary"
    )


def test_nodes_that_were_not_run_are_told_in_one_line_per_reason() -> None:
    nodes = [ended("not run", f"t{i}", reason="stopped after 1 failure") for i in range(12)]
    lines = shown(
        a_run(*nodes, ended("not run", reason="interrupted"), stopped="stopped after 1 failure")
    )
    assert section(lines, "short summary", end="!") == [
        "NOT RUN 12 nodes - stopped after 1 failure",
        "NOT RUN weather.py::clean - interrupted",
    ]
    assert lines[-2].strip("! ") == "stopped: stopped after 1 failure"
    assert lines[-1].strip("= ") == "13 not run in 4.21s"


def test_an_interrupted_run_says_so() -> None:
    lines = shown(a_run(ended("ran"), interrupted=True, stopped="interrupted"))
    assert lines[-2].strip("! ") == "interrupted"


def test_errors_are_cut_to_the_width_on_a_terminal_and_whole_in_a_log(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    run = a_run(ended("failed", error=ValueError("b" * 100), seconds=0.1))
    assert f"FAILED weather.py::clean - ValueError: {'b' * 100}" in printed(run)
    cut = next(
        line
        for line in printed(run, out=Tty(), color="no").splitlines()
        if line.startswith("FAILED")
    )
    assert len(cut) == 60
    assert cut.endswith("…")


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (
            {"upstream": 2, "failed": 1, "cached": 41, "ran": 3},
            "3 ran, 41 cached, 1 failed, 2 upstream in 4.21s",
        ),
        (
            {
                "not run": 12,
                "error": 1,
                "timeout": 1,
                "failed": 1,
                "skipped": 4,
                "same": 1,
                "ran": 2,
            },
            "2 ran, 1 same, 4 skipped, 1 failed, 1 timeout, 1 error, 12 not run in 4.21s",
        ),
        ({}, "nothing to do in 4.21s"),
    ],
)
def test_the_last_line(words: dict[str, int], text: str) -> None:
    nodes = [ended(word, f"{word}{i}") for word, count in words.items() for i in range(count)]
    assert summary.last_line(a_run(*nodes)) == text


def test_the_last_line_tells_what_reuse_saved() -> None:
    nodes = [ended("cached", saved=372.0), ended("cached", "raw", saved=0.3)]
    assert summary.last_line(a_run(*nodes)) == "2 cached in 4.21s (saved 6m12s)"
    assert summary.last_line(a_run(ended("cached", saved=0.001))) == "1 cached in 4.21s"


@pytest.mark.parametrize(("word", "code"), [("ran", "32"), ("failed", "31")])
def test_the_last_line_is_green_or_red(word: str, code: str) -> None:
    last = printed(a_run(ended(word, error=ValueError("bad"))), color="yes").splitlines()[-1]
    assert last.startswith(f"\x1b[1;{code}m==")


def test_the_slowest_nodes() -> None:
    called = [
        ended("ran", name, seconds=seconds)
        for name, seconds in (("a", 0.5), ("b", 2.0), ("d", 1.0))
    ]
    run = a_run(*called, ended("cached", "c"))
    assert section(shown(run, durations=2), "slowest 2 durations") == [
        "   2.00s call     b",
        "   1.00s call     d",
    ]
    assert len(section(shown(run, durations=0), "slowest durations")) == 3


def test_notes_and_sections_of_plugins_are_shown() -> None:
    answers = {"flowkit_report_sections": [[Section("cache", ["3 entries"])]]}
    lines = shown(a_run(ended("ran"), notes=["`x` is not persisted: a lock"]), answers=answers)
    assert section(lines, "cache") == ["3 entries"]
    assert section(lines, "NOTES") == ["`x` is not persisted: a lock"]


def test_the_last_line_comes_even_if_a_plugin_raises_in_its_section() -> None:
    out = io.StringIO()
    session = configured(out)

    def broken(hook: str, **arguments: object) -> list[Any]:
        raise RuntimeError(hook)

    session.plugins.all = broken
    with pytest.raises(RuntimeError):
        session.tell("flowkit_run_ended", a_run(ended("ran")))
    assert out.getvalue().strip("=\n ") == "1 ran in 4.21s"


def test_q_prints_letters_failures_and_the_last_line() -> None:
    failure = ended("failed", "raw", error=ValueError("bad"), seconds=0.1)
    run = a_run(ended("ran", seconds=0.1), failure, notes=["a note"])
    answers = {"flowkit_report_sections": [[Section("cache", ["3 entries"])]]}
    lines = printed(run, quiet=True, answers=answers).splitlines()
    assert lines[0].startswith("weather.py .F")
    assert lines[1].strip("=") == " FAILURES "
    assert lines[-1] == "1 ran, 1 failed in 4.21s"
    assert not {"short", "NOTES", "cache", "platform"} & set(" ".join(lines).split())


def test_q_shows_what_is_asked_for_by_name() -> None:
    text = printed(a_run(ended("skipped", reason="odd")), quiet=True, show="s")
    assert "SKIPPED weather.py::clean - odd" in text


def test_a_run_that_ended_in_an_internal_error_leaves_whole_lines() -> None:
    out = io.StringIO()
    session = configured(out, quiet=True)
    session.tell("flowkit_run_started", RUN)
    session.tell("flowkit_node_ended", ended("ran"))
    session.tell("flowkit_unconfigure")
    assert out.getvalue().startswith("weather.py .")
    assert out.getvalue().endswith("%]\n")


def test_a_run_that_never_began_can_end() -> None:
    session = configured(out := io.StringIO())
    session.tell("flowkit_run_ended", a_run())
    assert "nothing to do" in out.getvalue()


def test_work_grows_no_faster_than_the_number_of_nodes() -> None:
    """Counted, not timed: each node is asked for its word a fixed number of times."""
    asked = 0

    class Counting(NodeReport):
        __slots__ = ()

        def __getattribute__(self, name: str) -> object:
            nonlocal asked
            asked += 1
            return super().__getattribute__(name)

    def cost(size: int) -> int:
        nonlocal asked
        task, asked = a_task("page"), 0
        words = ("failed", "upstream", "not run", "ran")
        nodes = [Counting(Node(task, (i,), f"page[{i}]"), words[i % 4], "why") for i in range(size)]
        printed(a_run(*nodes), show="A", durations=3)
        return asked

    assert cost(8000) < 9 * cost(1000)


# --- the live view ----------------------------------------------------------------------------


class Glass:
    """A terminal of some columns: takes what is written, and says what is seen."""

    def __init__(self, text: str, columns: int = 80) -> None:
        self.rows, self.x, self.y = [""], 0, 0
        for found in re.finditer(r"\x1b\[([?0-9;]*)([A-Za-z])|[^\x1b]", text):
            code = found[2]
            if code is None:
                self._put(found[0], columns)
            elif code == "A":
                self.y = max(0, self.y - int(found[1] or 1))
            elif code == "K":
                self.rows[self.y] = "" if found[1] == "2" else self.rows[self.y][: self.x]
            else:
                assert code in "mhl", found[0]

    def _put(self, character: str, columns: int) -> None:
        if character == "\r":
            self.x = 0
            return
        if character == "\n" or self.x >= columns:
            self.x, self.y = 0, self.y + 1
            self.rows += [""] * (self.y + 1 - len(self.rows))
        if character != "\n":
            row = self.rows[self.y].ljust(self.x)
            self.rows[self.y] = row[: self.x] + character + row[self.x + 1 :]
            self.x += 1

    @property
    def seen(self) -> list[str]:
        return [row.rstrip() for row in self.rows]


class LiveRun:
    """A run on a terminal whose pictures are taken by hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, columns: int = 80, **flags: object) -> None:
        monkeypatch.setenv("COLUMNS", str(columns))
        monkeypatch.setenv("LINES", "24")
        self.out, self.columns = Tty(), columns
        self.clock = HandClock()
        self.page = a_task("page", axes=(None,))
        self.screen = Screen(self.out)
        self.progress = Progress([self.page, a_task("total")])
        self.running = live.Running()
        self.queue: deque[Any] = deque()
        self.lines = LetterLines(self.screen, self.progress)
        block = live.Block(self.screen, self.progress, self.running, self.clock, 0.0)  # type: ignore[arg-type]
        self.block = block
        self.streams = Streams()
        self.painter = live.BlockPainter(
            self.screen, lambda: self.lines.feed(drained(self.queue)), block, self.streams
        )

    def start(self, name: str, at: float) -> Attempt:
        attempt = Attempt(Node(self.page, (), name), 1, RUN, at)
        self.running.flowkit_attempt_started(attempt)
        return attempt

    def picture(self, at: float) -> list[str]:
        self.clock.time = at
        self.painter.paint()
        return Glass(self.out.getvalue(), self.columns).seen


def test_the_block_shows_what_runs_bars_and_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    run = LiveRun(monkeypatch)
    monkeypatch.setattr(run.progress, "nodes_of", lambda task: 40)
    run.start("page[3]", at=1.0)
    run.start("page[4]", at=2.0)
    run.queue.extend(elements(run.page, ["ran"] * 9 + ["failed"]))
    assert run.picture(at=3.3) == [
        "weather.py .........F",
        "  page[3]                                               2.3s",
        "  page[4]                                               1.3s",
        "page                     ━━━━━━━━━━                               10/40",
        "10 of 11 done, 2 running, 1 failed, 3.3s",
    ]


class LastTime:
    """What the last run told: page[3] took 40 seconds, a page 20, the total 5; there were 30 pages."""

    def took(self, node: str) -> float | None:
        return {"weather.py::page[3]": 40.0}.get(node)

    def typical(self, task: str) -> float | None:
        return {"weather.py::page": 20.0, "weather.py::total": 5.0}.get(task)

    def count(self, task: str) -> int:
        return {"weather.py::page": 30}.get(task, 0)


def test_the_block_says_how_long_nodes_took_the_last_time_and_the_rest_will_take(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = LiveRun(monkeypatch)
    last = LastTime()
    past = Past(run.progress, 2, before=last, typical=last)
    block = live.Block(run.screen, run.progress, run.running, run.clock, 0.0, past)  # type: ignore[arg-type]
    run.start("page[3]", at=0.0)
    run.start("page[4]", at=10.0)
    run.clock.time = 20.0
    first, second, sums = [style.clean(row) for row in block.rows(79, 14)]
    assert first == f"  {'page[3]':<53}20.0s (last 40.0s)"
    assert second == f"  {'page[4]':<53}10.0s"
    # 30 pages of 20 seconds and 5 for the total, less the 30 that passed, on two slots
    assert sums.endswith(" 0 of 2 done, 2 running, 20.0s, about 4m48s left")
    run.clock.time = 20.6
    assert "about 4m47s left" in block.rows(79, 14)[-1]
    assert "(last" not in block.rows(40, 14)[0]
    run.painter.close()


@pytest.mark.parametrize(
    ("complete", "nodes", "ended", "elapsed", "left"),
    [
        (True, 4, 0, (), 45.0),  # four pages on two slots, then the total
        (True, 4, 3, (), 25.0),
        (True, 4, 3, (15.0,), 10.0),
        (True, 4, 3, (100.0,), 5.0),  # longer than ever: it may end at any moment
        (True, 4, 4, (), 5.0),
        (True, 0, 0, (), 5.0),  # the list is empty this time
        (False, None, 0, (), 305.0),  # the list is not known yet: as many as the last time
    ],
)
def test_the_estimate_is_the_longest_way_through_what_is_open(
    monkeypatch: pytest.MonkeyPatch, complete: bool, nodes: int | None, ended: int,
    elapsed: Sequence[float], left: float,
) -> None:  # fmt: skip
    run = LiveRun(monkeypatch)
    run.painter.close()
    total = run.progress.tasks[1]
    total.edges = (Edge(run.page, "page"),)
    monkeypatch.setattr(run.progress, "nodes_of", lambda task: nodes if task is run.page else 1)
    monkeypatch.setattr(run.progress, "is_complete", lambda task: complete)
    run.progress.of[run.page] = ended
    for number, seconds in enumerate(elapsed):
        run.start(f"page[{number}]", at=200.0 - seconds)
    last = LastTime()
    past = Past(run.progress, 2, before=last, typical=last)
    assert past.left(run.running.now(), 200.0) == left
    assert Past(run.progress, 2).left(run.running.now(), 200.0) is None


def test_without_a_mapped_task_the_last_row_has_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    run = LiveRun(monkeypatch)
    run.painter.close()
    run.progress.of[run.page] = 1
    monkeypatch.setattr(run.progress, "nodes_of", lambda task: 1)
    run.progress.done = 1
    block = live.Block(run.screen, run.progress, run.running, run.clock, 0.0)  # type: ignore[arg-type]
    (sums,) = [style.clean(row) for row in block.rows(79, 14)]
    assert sums == f"{'━' * 10}{' ' * 10} 1 of 2 done, 0 running, 0.0s"


def test_full_lines_scroll_away_and_the_block_vanishes(monkeypatch: pytest.MonkeyPatch) -> None:
    run = LiveRun(monkeypatch, columns=40)
    attempt = run.start("page[3]", at=0.0)
    run.queue.extend(elements(run.page, ["ran"] * 30))
    seen = run.picture(at=1.0)
    assert seen[:2] == ["weather.py ..................... [ 67%]", "........."]
    assert seen[2].startswith("  page[3]")
    run.running.flowkit_attempt_ended(attempt)
    run.queue.extend(elements(run.page, ["cached"] * 30))
    run.picture(at=2.0)
    run.painter.close()
    run.screen.write(run.lines.finish())
    left = "\n".join(Glass(run.out.getvalue(), 40).seen).rstrip()
    assert f"{left}\n" == row(f"weather.py {'.' * 21}", 67) + row("." * 9 + "c" * 23, 86) + row(
        "c" * 7, 98
    )


def test_what_others_print_stands_above_the_block_and_tears_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "stdout", shown := Tty())
    run = LiveRun(monkeypatch)
    run.painter.close()
    run.streams.install()
    run.painter = live.BlockPainter(
        run.screen, lambda: run.lines.feed(drained(run.queue)), run.block, run.streams
    )
    run.start("page[3]", at=0.0)
    run.queue.extend(elements(run.page, ["ran"] * 3))
    run.picture(at=1.0)
    print("closing", end=" ")
    print("the shop")
    print("and more", end="")
    seen = run.picture(at=2.0)
    assert seen[:2] == ["closing the shop", "weather.py ..."]
    run.painter.close()
    assert Glass(run.out.getvalue()).seen[:4] == ["closing the shop", "and more", "weather.py ...", ""]
    print("after")
    run.streams.remove()
    assert (sys.stdout, shown.getvalue()) == (shown, "after\n")


def test_the_screen_is_left_to_whoever_needs_it_and_the_block_comes_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = LiveRun(monkeypatch)
    ticker = live.Ticker(lambda: run.painter, first=0.0, period=0.001)
    run.start("page[3]", at=0.0)
    run.queue.extend(elements(run.page, ["ran"] * 3))
    ticker.start()
    while "page[3]" not in run.out.getvalue():
        time.sleep(0.001)
    with ticker.released():
        before = run.out.getvalue()
        run.screen.write("(Pdb) q\n")
        time.sleep(0.02)  # twenty pictures
        assert run.out.getvalue() == before + "(Pdb) q\n"
        assert Glass(before).seen[:2] == ["weather.py ...", ""]
    run.queue.extend(elements(run.page, ["ran"] * 2))
    while ".." not in run.out.getvalue()[len(before) :]:  # a picture without them may come first
        time.sleep(0.001)
    ticker.stop()
    assert Glass(run.out.getvalue()).seen[:3] == ["weather.py ...", "(Pdb) q", ".."]


@pytest.mark.parametrize("columns", [20, 40, 120])
def test_the_block_keeps_within_the_screen(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    run = LiveRun(monkeypatch, columns=columns)
    for number in range(100):
        run.start(f"page[with a rather long id {number}]", at=0.0)
    rows = live.Block(run.screen, run.progress, run.running, run.clock, 0.0).rows(columns - 1, 14)  # type: ignore[arg-type]
    plain = [style.clean(row) for row in rows]
    assert len(rows) == 14
    assert all(len(row) < columns for row in plain)
    assert any("more running" in row for row in plain) or columns == 20
    run.painter.close()


def test_the_bar_of_a_terminal_without_lines_is_drawn_with_signs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = LiveRun(monkeypatch)
    run.painter.close()
    run.screen.encoding = "ascii"
    block = live.Block(run.screen, run.progress, run.running, run.clock, 0.0)  # type: ignore[arg-type]
    monkeypatch.setattr(run.progress, "nodes_of", lambda task: 8)
    run.progress.of[run.page] = 2
    assert any("##########" in row for row in block.rows(79, 14))


def test_the_cursor_is_never_left_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    run = LiveRun(monkeypatch)
    run.picture(at=1.0)
    codes = re.findall(r"\x1b\[\?25([hl])", run.out.getvalue())
    assert codes[-1] == "h"
    run.painter.close()


def test_no_color_keeps_the_block_and_drops_its_colors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    run = LiveRun(monkeypatch)
    run.queue.extend(elements(run.page, ["ran", "failed"]))
    assert any("done" in row for row in run.picture(at=1.0))
    run.painter.close()
    assert not re.search(r"\x1b\[[0-9;]*m", run.out.getvalue().replace("\x1b[0m", ""))


def test_where_tasks_write_to_the_terminal_there_is_no_block(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With ``-s`` nobody stands between a task (or a debugger's prompt) and the terminal."""
    monkeypatch.setattr(sys, "stdout", sys.__stdout__)
    assert isinstance(live.ticker(Screen(Tty()), str, object(), Streams())._make(), live.PlainPainter)  # type: ignore[arg-type]


def test_without_rich_progress_is_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("rich.console", "rich.live"):
        monkeypatch.setitem(sys.modules, name, None)
    out = Tty()
    painter = live.ticker(Screen(out), lambda: "..", object(), Streams())._make()  # type: ignore[arg-type]
    painter.paint()
    painter.close()
    assert out.getvalue() == ".."


class Recorder:
    """A painter that says what it is told."""

    def __init__(self, fail: bool = False) -> None:
        self.painted, self.closed, self.fail = threading.Event(), threading.Event(), fail

    def paint(self) -> None:
        self.painted.set()
        if self.fail:
            raise RuntimeError("cannot paint")

    def close(self) -> None:
        self.closed.set()


def test_the_thread_paints_and_is_gone_once_it_was_stopped() -> None:
    recorder = Recorder()
    ticker = live.Ticker(lambda: recorder, first=0.0, period=0.001)
    ticker.start()
    assert recorder.painted.wait(10)
    ticker.stop()
    ticker.stop()
    assert recorder.closed.is_set()
    assert not [thread for thread in threading.enumerate() if thread.name == "flowkit-terminal"]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_painter_that_fails_is_closed_and_does_not_fail_the_run() -> None:
    recorder = Recorder(fail=True)
    ticker = live.Ticker(lambda: recorder, first=0.0, period=0.001)
    ticker.start()
    assert recorder.closed.wait(10)
    ticker.stop()


def test_a_run_on_a_terminal_looks_like_one_in_a_log_once_it_is_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    run = a_run(*elements(a_task("page"), ["ran"] * 100 + ["failed"]))
    on_terminal = printed(run, out=Tty(), color="no")
    assert on_terminal == printed(run)
    assert "flowkit-terminal" not in [thread.name for thread in threading.enumerate()]


def test_a_run_cut_short_by_an_error_leaves_no_thread() -> None:
    session = configured(Tty())
    session.tell("flowkit_run_started", RUN)
    assert "flowkit-terminal" in [thread.name for thread in threading.enumerate()]
    session.tell("flowkit_unconfigure")
    assert "flowkit-terminal" not in [thread.name for thread in threading.enumerate()]


def test_neither_the_plugin_nor_a_short_run_imports_rich() -> None:
    program = (
        "import sys, threading; sys.path.insert(0, 'tests/plugins'); import test_terminal as t\n"
        "t.printed(t.a_run(t.ended('ran')), out=t.Tty())\n"
        "assert not [m for m in sys.modules if m.split('.')[0] == 'rich'], 'rich'"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=False
    )
    assert "AssertionError: rich" not in done.stderr
    assert done.returncode == 0, done.stderr


def test_what_others_print_in_a_log_stands_on_lines_of_its_own(project) -> None:
    project.write(
        "m.py",
        """
        from flowkit import resource, task

        @resource
        def db():
            yield 1
            print("good-bye")

        @task
        def one(db): return 1

        @task
        def two(one): return 2
        """,
    )
    lines = project.flowkit("run", "m.py", "-q").out.splitlines()
    assert lines[0].split() == ["m.py", "..", "[100%]"]
    assert lines[1] == "good-bye"
    assert lines[2].startswith("2 ran")
    again = project.flowkit("run", "m.py", "-q", "-s", "--refresh").out.splitlines()
    assert "good-bye" in again
