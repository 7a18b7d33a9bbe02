"""What users write, as a type checker sees it. ``tests/test_house.py`` has mypy read it; nothing runs it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, assert_type

import flowkit
from flowkit import Collected, Failure, Flow, FlowError, From, Outcome, Run, Skipped, Success, fail, hookimpl, resource, skip, task
from flowkit.hookspecs import Again, Option, Section
from flowkit.reports import Attempt, RunReport
from flowkit_plugins.cache import Cache
from flowkit_plugins.limit import Limit
from flowkit_plugins.retry import Retry, RetryAfter
from flowkit_plugins.timeout import Timeout

flow = Flow("weather", defaults={"retries": 2}, timeout="1h")


# A decorator gives the same function back, with its arguments and its result.


@task
def raw(source: Path = Path("data.csv")) -> list[float]:
    return [float(line) for line in source.read_text().splitlines()]


@task()
def empty_brackets(raw: list[float]) -> int:
    return len(raw)


@task(retries=3, timeout="30s", tags=["slow"], version=2)
def clean(raw: list[float]) -> list[float]:
    return [value for value in raw if value == value]


assert_type(raw(), list[float])
assert_type(raw(Path("x.csv")), list[float])
assert_type(empty_brackets([1.0]), int)
assert_type(clean([1.0]), list[float])
clean(["text"])  # type: ignore[list-item]
clean()  # type: ignore[call-arg]


# Options of the built-in plugins are known by name, and so are their values' types.


@task(
    each={"station": "stations"},
    needs=["raw"],
    trigger="all_done",
    fallback="stand_in",
    allow_failure=True,
    cache=Cache(ttl="1h", salt=1),
    limit=Limit(pools={"db": 2}),
    retries=Retry(3, delay=timedelta(seconds=1), on=(ConnectionError,)),
    timeout=Timeout(30, hard=False),
)
def reading(station: str) -> float:
    if station == "closed":
        skip("closed")
    if station == "broken":
        raise RetryAfter("30s")
    return 1.0


@task(allow_failure="yes")  # type: ignore[call-overload, untyped-decorator]
def allow_failure_is_a_bool() -> None:
    pass


@task(owner="ana")
def options_of_other_plugins_are_allowed() -> None:
    pass


# Outcomes.


@task
def looks(clean: Outcome[list[float]]) -> str:
    if isinstance(clean, Success):
        value: list[float] = clean.value
        assert value
        return f"{clean.attempts} {clean.duration} {clean.cached}"
    if isinstance(clean, Failure):
        assert_type(clean.error, BaseException)
        return f"{clean.kind} {clean.traceback}"
    if isinstance(clean, Skipped):
        assert_type(clean.reason, str)
        return clean.reason
    return "nothing else there is"


@task
def page_oncall(clean: Failure) -> None:
    print(clean.error, clean.attempts)


@task
def of_one_class(clean: Failure[ConnectionError | TimeoutError]) -> None:
    fail("too bad")


@task
def value_or_skipped(clean: list[float] | Skipped) -> list[float]:
    return [] if isinstance(clean, Skipped) else clean


# Collected is a read-only sequence.


@task
def report(reading: Collected[float]) -> float:
    assert_type(reading[0], float)
    assert_type(list(reading), list[float])
    names: Sequence[str] = reading.ids
    for name, value in reading.items():
        assert_type(name, str)
        assert_type(value, float)
    return sum(reading) / len(reading) + len(names)


@task
def survivors(reading: Collected[Success[float]]) -> float:
    return sum(each.value for each in reading)


@task
def renamed(values: Annotated[list[float], From("clean")]) -> int:
    return len(values)


# A list stands in for it in a unit test; mypy wants that said.
report([1.0, 2.0])  # type: ignore[arg-type]


# Resources.


@resource
def text(path: Path = Path("a.txt")) -> str:
    return path.read_text()


@resource(scope="task", name="lines")
def opened(path: Path) -> Iterator[list[str]]:
    yield path.read_text().splitlines()


@resource(scope="session")  # type: ignore[call-overload, untyped-decorator]
def scope_of_pytest() -> int:
    return 1


assert_type(text(), str)


# From Python.


def main() -> int:
    try:
        run = flowkit.run("weather.py", clean, params={"n": 3}, override={"raw": [1.0]}, executor="threads", n=4)
    except FlowError as error:
        print(*error.errors)
        return 4
    assert_type(run, Run)
    assert_type(run.ok, bool)
    value: Any = run["clean"]
    print(value, run.outcomes["clean"], run.id, run.report.counts)
    return run.exit_code


# A plugin.


@hookimpl
def flowkit_task_options() -> Sequence[Option]:
    return [Option(name="owner", type="a name", help="Who to ask.")]


@hookimpl
def flowkit_attempt_failed(attempt: Attempt) -> Again | None:
    return Again(not_before=attempt.started_at + 1.0) if attempt.number == 1 else None


@hookimpl
def flowkit_report_sections(report: RunReport) -> Sequence[Section]:
    return [Section("owners", [node.node for node in report.nodes if node.bad])]
