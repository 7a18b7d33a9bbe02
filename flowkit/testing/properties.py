"""Ready-made properties: each returns an ordinary hypothesis test of a flow.

    from flowkit.testing import flow, properties

    F = flow("shop.py", override={"raw": SMALL})
    test_cache = properties.cache_transparent(F)
    test_resume = properties.resume_equals_clean(F, max_faults=2)

Profiles, ``settings`` and the example database work as ever. A failure shows the smallest
parameters, schedule and fault plan, the last steps, the first task that differs, and the line
that replays it.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from flowkit.annotations import MISSING
from flowkit.errors import FlowError, OptionError
from flowkit.secrets import command_without, holds_secret
from flowkit.testing import checks, strategies
from flowkit.testing.checks import Violation
from flowkit.testing.edits import Edit
from flowkit.testing.results import RunResult
from flowkit.testing.sandbox import Case, Sandbox
from flowkit.testing.subject import FlowUnderTest
from flowkit.testing.tokens import read_token, token

if TYPE_CHECKING:
    from flowkit.graph import BoundTask

Check = Callable[[FlowUnderTest, Case], None]
Cases = Callable[[FlowUnderTest], st.SearchStrategy[Case]]

#: All but the explanation, which costs as much as the rest and says nothing of a flow.
PHASES = (Phase.explicit, Phase.reuse, Phase.generate, Phase.target, Phase.shrink)
#: Faults that leave the results as they are.
_HARMLESS = ("slow", "unpicklable", "corrupt", "store", "clock")
_FAILURES = ("fail", "fail", "fail", "timeout", "hang", "lost")  # drawn as often as named


@dataclass(frozen=True, slots=True)
class Property:
    """One ready-made property.

    Attributes:
        name: Its name.
        statement: What holds.
        check: Checks one case.
        kinds: Kinds of faults that are drawn.
        least, most: How many faults.
        cases: Draws cases; from ``kinds`` if it is None.
        nothing: Says why there is nothing to check of a flow, or nothing; then it holds.
    """

    name: str
    check: Check
    kinds: Sequence[str] = ()
    least: int = 0
    most: int = 2
    cases: Cases | None = None
    nothing: Callable[[FlowUnderTest], str] = lambda flow: ""

    @property
    def statement(self) -> str:
        """What holds, as a sentence."""
        return (self.check.__doc__ or "").strip()

    def __call__(self, flow: FlowUnderTest, *, max_faults: int | None = None) -> Any:
        """Return a hypothesis test of a flow."""
        most = self.most if max_faults is None else max_faults

        def drawn() -> st.SearchStrategy[Case]:
            if self.cases is not None:
                return self.cases(flow)
            return flow.cases(self.kinds, max_faults=most, min_faults=min(self.least, most))

        def test(case: Case) -> None:
            checked(self, flow, case)

        test.__name__ = test.__qualname__ = f"test_{self.name}"
        test.__doc__ = self.statement
        found: Any = given(case=st.deferred(drawn))(test)
        # As a default only, so that whoever uses it may still put @settings over it.
        found._hypothesis_internal_use_settings = settings(
            suppress_health_check=[HealthCheck.too_slow], deadline=None, phases=PHASES
        )
        found.flowkit_property = (self, flow)
        return found


def checked(found: Property, flow: FlowUnderTest, case: Case) -> None:
    """Check one case; what does not hold is told with the line that replays it.

    Raises:
        Violation: It does not hold.
    """
    try:
        found.check(flow, case)
    except Violation as violation:
        story = f"{violation}\n{_story(case)}\nreplay: {_line(flow, found, case)}"
        told = Violation(f"{found.name}: {found.statement}\n{violation.masked(story)}")
        told.what = violation.what
        raise told from None


def _story(case: Case) -> str:
    lines = [f"parameters: {dict(case.params)!r}", f"faults: {case.faults or 'none'}"]
    lines.append(f"schedule: {list(case.schedule) or 'definition order'}, {case.workers} workers")
    if case.extra is not None:
        lines.append(f"besides: {case.extra!r}")
    return "\n".join(lines)


def _line(flow: FlowUnderTest, found: Property, case: Case) -> str:
    """Return what checks a case again; a secret that was given is to be given again."""
    hidden = [n for n, value in case.params.items() if n in flow.fixed and holds_secret(value)]

    def kept(values: Any) -> Any:
        return {n: v for n, v in values.items() if n not in hidden} if isinstance(values, Mapping) else values

    word = token(found.name, replace(case, params=kept(case.params), extra=kept(case.extra)))
    test = os.environ.get("PYTEST_CURRENT_TEST", "").rpartition(" ")[0]
    if test and "flowkit:" not in test:
        return f"pytest '{test}' --flowkit-replay {word}"
    target = os.path.relpath(str(flow.target)) if ".py" in str(flow.target) else str(flow.target)
    given = [*(("-O", text) for text in flow.typed), *(("-P", f"{name}=") for name in hidden), ("--replay", word)]
    return command_without(flow.secrets, shlex.join(["flowkit", "test", target, *(w for pair in given for w in pair)]), str)


def replay(flow: FlowUnderTest, word: str) -> Property:
    """Check the case that a token stands for; return the property that holds.

    Raises:
        Violation: It does not hold.
        OptionError: It is no token, or of no property.
    """
    flow.load()  # what a value in the token may be an instance of
    name, case = read_token(word)
    found = PROPERTIES.get(name)
    if found is None:
        raise OptionError.unknown("property", name, f"--replay {word}", PROPERTIES, "Copy the whole word from the failure.")
    extra = {**flow.given, **case.extra} if isinstance(case.extra, Mapping) else case.extra
    checked(found, flow, replace(case, params={**flow.given, **case.params}, extra=extra))
    return found


# Properties whose cases are of their own kind


def _pairs(flow: FlowUnderTest) -> st.SearchStrategy[Case]:
    return st.builds(lambda case, extra: Case(case.params, extra=extra), flow.cases(), flow.params())


def _orders(flow: FlowUnderTest) -> st.SearchStrategy[Case]:
    """Cases in which some tasks come late: what others take from them without saying so is then not there."""
    return st.builds(
        Case,
        params=flow.params(),
        faults=flow.faults(("late", "late", "slow"), min=1, max=3),
        schedule=flow.schedules(),
        workers=st.sampled_from((4, 2, 4, 1)),
    )


def _edited(flow: FlowUnderTest) -> st.SearchStrategy[Case]:
    """Cases in which only parameters without a default are drawn: an edit is of the code."""
    needed = {name: p for name, p in flow.parameters.items() if p.default is MISSING}
    numbers = st.integers(0, len(flow.all_edits) - 1)
    return st.builds(lambda params, n: Case(params, extra=n), strategies.parameters(needed, flow.given), numbers)


def _edit_precision(flow: FlowUnderTest, case: Case) -> None:
    """A neutral edit runs nothing again; one of a function runs its users, and what gets another result from them."""
    from flowkit.testing import edits

    edit = edits.from_the(int(case.extra or 0), flow.all_edits)
    setting = flow.setting(Case(case.params))
    sandbox = Sandbox(flow.target)
    # In the copy from the start: results may hold paths into the flow's folder.
    sandbox.replace(edit.file, edits.text_of(flow.sandbox.file.parent / edit.file))
    before = sandbox.run(setting)
    sandbox.replace(edit.file, edit.text)
    try:
        fresh = sandbox.fresh().run(setting)
    except FlowError:
        if not edit.function:
            raise
        return  # it made a wrong flow of a right one: a number of what runs at import
    after = sandbox.run(setting)
    if not edit.function:
        _moved(flow, case, edit)
    checks._same(f"after an edit ({edit.what}) a run with reuse gives something else than one without", fresh, after)
    sure = edits.users(flow.sandbox.file, edit.function, surely=True) if edit.function else set()
    may = edits.users(flow.sandbox.file, edit.function) if edit.function else set()
    moved = {name for name, _ in _looked_up(before) ^ _looked_up(after)}
    changed = {name.partition("[")[0] for name in moved | after.ran | after.failed}
    changed |= {report.task.name for report in after.reports.values() if may & _written_in(report.task)}
    for name, report in after.reports.items():
        again = name in after.ran and name in before.ran
        excused = after.reasons[name].code in ("cache=False", "other") or any(up.name in changed for up in report.task.upstream())
        if again and not excused and not may & _written_in(report.task) and not _uses(report.task, may):
            raise Violation(f"{edit.what}: `{name}` ran again, and does not use it: {after.reasons[name]}", after)
        if _qualified(report.task) in sure and after.states[name] == "cached":
            raise Violation(f"{edit.what}: `{name}` uses it, and was reused", after)


def _qualified(task: BoundTask) -> str:
    return str(getattr(getattr(task.declaration, "function", None), "__qualname__", ""))


def _written_in(task: BoundTask) -> set[str]:
    """Return what the code of a task goes by: its own name, and that of its function or of the one which that was made in."""
    return {task.name, _qualified(task).partition(".")[0]}


def _moved(flow: FlowUnderTest, case: Case, edit: Edit) -> None:
    """Check that code may move: where a file lies is no part of it."""
    sandbox = Sandbox(flow.target)
    before = sandbox.run(flow.setting(Case(case.params)))
    sandbox.replace(edit.file, edit.text)
    after = sandbox.run(flow.setting(Case(case.params)))
    for name in sorted(after.ran & before.ran):
        if after.reasons[name].startswith("code of"):
            raise Violation(f"{edit.what}, in a copy of the folder: `{name}` ran again: {after.reasons[name]}", after)


def _looked_up(result: RunResult) -> set[tuple[str, str]]:
    """Return the nodes with their keys: an element that is now equal to another has that one's result without a run."""
    return {(name, report.key) for name, report in result.reports.items()}


def _uses(task: Any, names: set[str]) -> bool:
    """Whether a resource that a task asks for, however indirectly, is among those named."""
    return any(r.declaration.function.__name__ in names or _uses(r, names) for r in task.resources.values())


def _single_flight(flow: FlowUnderTest, case: Case) -> None:
    """Runs at once compute each key once; if the one that computes dies, another does."""
    from flowkit.testing.together import together

    sandbox = Sandbox(flow.target)
    results = together(sandbox, [flow.setting(case), flow.setting(Case(case.params, workers=case.workers))])
    clean = flow.run(Case(case.params))
    checks._same("of two runs at once, one gives something else than a run alone", clean, results[1])
    if results[0].crashed or clean.failed:
        return
    for name in clean.ran:
        calls = sum(result.calls.count(name) for result in results)
        if calls > 1 and not any(r.reasons.get(name, "") and r.reasons[name].code in ("cache=False", "other") for r in results):
            raise Violation(f"two runs at once called `{name}` {calls} times", *results)


def _schedule_sane(flow: FlowUnderTest, case: Case) -> None:
    """Due times strictly increase; none is lost or doubled when clocks change, or by an outage or restart."""
    from flowkit.testing.schedulechecks import schedule_sane as check

    check(flow, case)


def _windows(flow: FlowUnderTest) -> st.SearchStrategy[Case]:
    from flowkit.testing.schedulechecks import windows

    return windows(flow)


def _no_file(flow: FlowUnderTest) -> str:
    return "" if flow.sandbox.has_file else "only a flow in a file can be edited"


def _unscheduled(flow: FlowUnderTest) -> str:
    from flowkit.testing.schedulechecks import unscheduled

    return unscheduled(flow)


cache_transparent = Property("cache_transparent", checks.cache_transparent, _HARMLESS)
deterministic = Property("deterministic", checks.deterministic)
order_independent = Property("order_independent", checks.order_independent, cases=_orders)
resume_equals_clean = Property("resume_equals_clean", checks.resume_equals_clean, ("crash",), 1, 1)
retry_bounds = Property("retry_bounds", checks.retry_bounds, (*_FAILURES, "slow"), 1, 3)
failure_isolation = Property("failure_isolation", checks.failure_isolation, _FAILURES, 1, 2)
no_input_mutation = Property("no_input_mutation", checks.no_input_mutation)
teardown_always = Property("teardown_always", checks.teardown_always, (*_FAILURES, "slow", "interrupt", "teardown"))
edit_precision = Property("edit_precision", _edit_precision, cases=_edited, nothing=_no_file)
key_injective = Property("key_injective", checks.key_injective, cases=_pairs)
roundtrip = Property("roundtrip", checks.roundtrip)
secrets_absent = Property("secrets_absent", checks.secrets_absent, ("fail",))
single_flight = Property("single_flight", _single_flight, ("crash",), 0, 1)
schedule_sane = Property("schedule_sane", _schedule_sane, cases=_windows, nothing=_unscheduled)

#: All of them, by name.
PROPERTIES: dict[str, Property] = {
    found.name: found
    for found in (
        cache_transparent,
        deterministic,
        order_independent,
        resume_equals_clean,
        retry_bounds,
        failure_isolation,
        no_input_mutation,
        teardown_always,
        edit_precision,
        key_injective,
        single_flight,
        roundtrip,
        secrets_absent,
        schedule_sane,
    )
}
