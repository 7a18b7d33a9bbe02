"""What the ready-made properties check of one case. Each raises :class:`Violation` where it does not hold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from flowkit.digests import Undigestible, digest
from flowkit.scheduler import State
from flowkit.testing.comparing import first_difference
from flowkit.testing.faultplans import Plan
from flowkit.testing.sandbox import Case, Sandbox

if TYPE_CHECKING:
    from flowkit.graph import BoundTask
    from flowkit.reports import Attempt, NodeReport
    from flowkit.testing.results import RunResult
    from flowkit.testing.subject import FlowUnderTest

#: Steps of the story that a failure shows.
LAST = 15


class Violation(AssertionError):
    """A property does not hold. The text says what, where first, and after which steps; secrets are masked in it.

    Attributes:
        what: What does not hold.
        results: The runs that show it.
    """

    def __init__(self, what: str, *results: RunResult) -> None:
        self.results = results
        self.what = self.masked(what)
        lines = [what]
        for number, result in enumerate(results, 1):
            shown = result.steps[-LAST:]
            if shown:
                which = f" of run {number}" if len(results) > 1 else ""
                lines += [f"the last steps{which}:", *(f"  {step}" for step in shown)]
        super().__init__(self.masked("\n".join(lines)))

    def masked(self, text: str) -> str:
        """Return a text without the secrets of the runs."""
        for result in self.results:
            text = result.mask(text)
        return text


def _same(what: str, one: RunResult, two: RunResult) -> None:
    """Compare two runs by content."""
    first, second = one.digests, two.digests
    name = first_difference(first, second)
    if name is not None:
        raise Violation(f"{what}\nfirst difference: `{name}`\n  {_shown(one, name)}\n  {_shown(two, name)}", one, two)


def _shown(result: RunResult, name: str) -> str:
    told = result.digests.get(name, "not there")
    if len(told) < 32 or " " in told:
        return told
    try:
        text = repr(result[name])
    except Exception as error:
        text = f"{type(error).__name__}: {error}"
    return text if len(text) < 300 else f"{text[:300]}…"


def _quiet(case: Case) -> Case:
    """Return a case without its faults."""
    return Case(case.params, Plan(), case.schedule, case.workers)


#: Why a node may run though nothing changed.
_MUST_RUN = ("", "cache=False", "other", "expired", "upstream")


def cache_transparent(flow: FlowUnderTest, case: Case) -> None:
    """Cold, warm and uncached runs give the same; a warm run loads and repeats nothing."""
    sandbox = Sandbox(flow.target)
    cold = sandbox.run(flow.setting(case))
    off = flow.run(case, no_cache=True)
    _same("a run with reuse gives something else than one without", off, cold)
    warm = cold.rerun(schedule=case.schedule)
    loads = warm.loads
    repeated = {n for n in warm.ran if warm.reasons[n].code not in _MUST_RUN}
    _same("a warm run gives something else than the cold one before it", cold, warm)
    stubborn = [n for n, r in warm.reports.items() if r.word == "cached" and r.task.options.get("cache", True) in (None, False)]
    if stubborn:
        raise Violation(f"`{stubborn[0]}` says cache=False, and was reused", warm)
    kept = not any(f.kind in ("unpicklable", "corrupt", "store") for f in case.faults)
    if kept and repeated and not cold.failed:
        name = min(repeated)
        raise Violation(f"`{name}` ran again though nothing changed: {warm.reasons[name]}", warm)
    if kept and not warm.ran and not warm.failed and loads:
        raise Violation(f"a warm run in which nothing had to run unpickled {loads} values", warm)


def deterministic(flow: FlowUnderTest, case: Case) -> None:
    """Two cold runs give the same."""
    one, two = flow.run(case), flow.run(case)
    _same("two cold runs with the same parameters and schedule differ: time, chance or an order got in", one, two)
    told = flow.elsewhere.run(case) if flow.elsewhere is not None else []
    for other in told[1:]:
        name = first_difference(told[0].digests, other.digests)
        if name is not None:
            shown = "\n".join(f"  {each.shown.get(name, 'not there')}" for each in told)
            raise Violation(f"runs in two processes differ: the order of a set got in, or what only that process has\nfirst difference: `{name}`\n{shown}", one)


def order_independent(flow: FlowUnderTest, case: Case) -> None:
    """Any order that respects the dependencies, and any number of workers, gives the same."""
    plain = flow.run(Case(case.params, workers=1))
    other = flow.run(case)
    _same("another order of the same tasks gives something else: they share what no argument names", plain, other)


def resume_equals_clean(flow: FlowUnderTest, case: Case) -> None:
    """After a crash, the next run and ``--resume`` give what an uninterrupted run gives, and repeat only what was in flight."""
    clean = flow.run(Case(case.params))
    sandbox = Sandbox(flow.target)
    crashed = sandbox.run(flow.setting(case))
    for trace in sandbox.disk.traces.values():
        if trace.blob is not None and trace.blob not in sandbox.disk.blobs:
            raise Violation(f"a record without its value was left on disk: `{trace.node}`", crashed)
    again = crashed.rerun()
    _same("the run after a crash gives something else than an uninterrupted one", clean, again)
    if any(f.kind != "crash" for f in case.faults):
        return
    repeated = set(crashed.ended) & set(again.calls) - {n for n in again.states if again.reasons[n].code in _MUST_RUN and again.reasons[n]}
    if repeated and not clean.failed:
        name = min(repeated)
        raise Violation(f"`{name}` had ended before the crash, and was called again: {again.reasons.get(name)}", crashed, again)
    _resumed_equals_clean(flow, case, clean)


def _resumed_equals_clean(flow: FlowUnderTest, case: Case, clean: RunResult) -> None:
    """Check the same of ``--resume``, which repeats nothing that ended well, ``cache=False`` or not."""
    if flow.flags.get("no_cache"):
        return  # such a run cannot be resumed
    crashed = Sandbox(flow.target).run(flow.setting(case, no_history=False))
    again = crashed.rerun(resume=True)
    _same("a run that was resumed after a crash gives something else than an uninterrupted one", clean, again)
    repeated = {n for n in set(crashed.ended) & set(again.calls) if not _unkept(again.reasons.get(n, ""))}
    if repeated:
        name = min(repeated)
        raise Violation(f"`{name}` had ended well, and --resume called it again: {again.reasons.get(name)}", crashed, again)


def _unkept(reason: str) -> bool:
    """Whether a node is called again since its value cannot be had: nothing could store it, or it had to do with a failure, which is new."""
    return not reason or "not storable" in reason or "a failure" in reason


def retry_bounds(flow: FlowUnderTest, case: Case) -> None:
    """As many attempts as allowed, as far apart as said, for the errors named, and none after a success."""
    result = flow.run(case)
    interrupted = any(f.kind == "interrupt" for f in case.faults)
    for name, report in result.reports.items():
        if report.attempts:
            problem = _retry_problem(report, cut_short=interrupted, crowded=case.workers < len(result.states))
            if problem:
                raise Violation(f"`{name}` {problem}", result)


def _retry_problem(report: NodeReport, *, cut_short: bool, crowded: bool) -> str:
    policy: Any = report.task.options.get("retries")
    attempts = list(report.attempts)
    times = policy.times if policy is not None else 0
    if len(attempts) > 1 + times:
        return f"was called {len(attempts)} times, with {times} retries"
    for attempt, following in zip(attempts, [*attempts[1:], None], strict=True):
        if following is not None and attempt.kind in ("success", "skip"):
            return f"was called again after attempt {attempt.number} had ended well"
        granted = policy is not None and _granted(policy, attempt, attempts[0])
        if following is None and granted and not cut_short:
            return f"failed at attempt {attempt.number} of {1 + times} with a retryable {type(attempt.error).__name__}, and was given up"
        if following is not None and not granted:
            return f"was called again after a {type(attempt.error).__name__} that is not to be retried"
        if following is not None:
            problem = _gap_problem(policy, attempt, following, crowded=crowded or bool(report.task.demands))
            if problem:
                return problem
    return ""


def _granted(policy: Any, attempt: Attempt, first: Attempt) -> bool:
    error = attempt.error
    if error is None or attempt.final or attempt.kind in ("cancelled", "success", "skip") or attempt.number > policy.times:
        return False
    wait = _wait(policy, attempt)
    if wait is None:
        return False
    if policy.within is not None and policy.jitter:
        return bool(attempt.again)  # chance decides whether it is too late
    return policy.within is None or (attempt.ended_at or 0.0) + wait - first.started_at <= policy.within


def _wait(policy: Any, attempt: Attempt) -> float | None:
    """Return the wait that a policy asks for, jitter apart; None if the error is not retried."""
    error = attempt.error
    asked = getattr(error, "delay", None)
    if type(error).__name__ == "RetryAfter" and isinstance(asked, float):
        return asked
    if not isinstance(error, policy.on) or isinstance(error, policy.unless):
        return None
    if isinstance(policy.delay, tuple):
        wait = policy.delay[min(attempt.number, len(policy.delay)) - 1]
    else:
        wait = policy.delay
        for _ in range(attempt.number - 1):
            wait *= policy.backoff
    return float(wait if policy.max_delay is None else min(wait, policy.max_delay))


def _gap_problem(policy: Any, attempt: Attempt, following: Attempt, *, crowded: bool) -> str:
    wait = _wait(policy, attempt) or 0.0
    gap = following.started_at - (attempt.ended_at or 0.0)
    least, most = (wait * 0.5, wait * 1.5) if policy.jitter else (wait, wait)
    if gap < least - 1e-6 or (gap > most + 1e-6 and not crowded):
        return f"waited {gap:g}s after attempt {attempt.number}; its policy says {wait:g}s"
    return ""


def failure_isolation(flow: FlowUnderTest, case: Case) -> None:
    """What does not hang off a failure is as it would be without it; what does never sees a part for the whole."""
    plain = flow.run(_quiet(case))
    sandbox = Sandbox(flow.target)
    result = sandbox.run(flow.setting(case))
    hit = {t.name for t in flow.tasks if any(f.matches(t.name, f"{t.name}[{f.pattern}]") for f in case.faults)}
    hit |= {f.pattern.partition("[")[0] for f in case.faults}
    below = _below(flow.tasks, hit)
    one, two = (
        {n: d for n, d in r.digests.items() if n.partition("[")[0] not in below} for r in (plain, result)
    )
    name = first_difference(one, two)
    if name is not None:
        raise Violation(f"`{name}` hangs off no failed task, and yet is another: {one.get(name)} → {two.get(name)}", plain, result)
    for report in result.reports.values():
        if report.word in ("ran", "same", "cached"):
            _saw_all(report, result)
    _same("once the failure is gone, the next run gives something else than one that never failed", plain, result.rerun())


def _below(tasks: Iterable[BoundTask], names: set[str]) -> set[str]:
    """Return names of tasks that are, or hang off, those named."""
    found = set(names)
    grown = True
    while grown:
        grown = False
        for task in tasks:
            if task.name not in found and any(up.name in found for up in task.upstream()):
                found.add(task.name)
                grown = True
            if task.name in found and task.fallback is not None and task.fallback.name not in found:
                found.add(task.fallback.name)
                grown = True
    return found


def _saw_all(report: NodeReport, result: RunResult) -> None:
    """Check that a node that takes plain values had all of them."""
    if report.task.trigger is not None or result._run is None:
        return
    machine = result._run._runner.machine
    for edge, nodes in machine.upstreams(report.unit):
        if not edge.accepts.plain or edge.accepts.success:
            continue
        for up in nodes:
            absent = up.state is State.SKIPPED and edge.collected
            if not up.succeeded and up.stand_in is None and not absent:
                raise Violation(f"`{report.node}` ran without `{up.id}`, which {up.state.value}", result)


def no_input_mutation(flow: FlowUnderTest, case: Case) -> None:
    """No call changes what it was given."""
    result = flow.run(case, observe=True)
    if result.mutations:
        node, argument = result.mutations[0]
        raise Violation(f"`{node}` changed its argument {argument!r} in place: others were given the same object", result)


def teardown_always(flow: FlowUnderTest, case: Case) -> None:
    """Every resource that was set up is torn down exactly once, the last one first."""
    result = flow.run(case)
    stacks: dict[bool, list[tuple[str, int]]] = {True: [], False: []}
    for what, name, number, scope in result.resources:
        stack = stacks[scope == "task"]
        if what == "up":
            stack.append((name, number))
        elif (name, number) not in stack:
            raise Violation(f"resource {name!r} was torn down twice", result)
        elif stack[-1] != (name, number):
            raise Violation(f"resource {name!r} was torn down before {stack[-1][0]!r}, which was set up after it", result)
        else:
            stack.pop()
    for stack in stacks.values():
        if stack:
            raise Violation(f"resource {stack[-1][0]!r} was set up and never torn down", result)


def key_injective(flow: FlowUnderTest, case: Case) -> None:
    """Other parameters never find the results of these."""
    sandbox = Sandbox(flow.target)
    first = sandbox.run(flow.setting(_quiet(case)))
    others: Mapping[str, object] = case.extra or {}
    other = first.rerun(params=others)
    _same("a run with other parameters found results of the run before it", flow.run(Case(others)), other)


def roundtrip(flow: FlowUnderTest, case: Case) -> None:
    """Every result comes back from the store with the content it had."""
    from flowkit_plugins.cache import serializing
    from flowkit_plugins.cache.faults import Unstorable

    result = flow.run(case)
    if result._run is None:
        return
    with result._run._modules_at_hand():  # classes are stored by the names they have in the flow
        for name in result.ran:
            value = result[name]
            try:
                before = digest(value)
                stored = b"".join(serializing.dump(value).pieces())
            except (Undigestible, Unstorable):
                continue
            after = digest(serializing.restore(serializing.parse(memoryview(bytearray(stored)))))
            if before != after:
                raise Violation(f"the result of `{name}` comes back from the store as something else", result)


def secrets_absent(flow: FlowUnderTest, case: Case) -> None:
    """Secrets among the parameters occur nowhere: not in the store, not in output, errors or reasons."""
    secrets = [v.get_secret_value() for v in case.params.values() if hasattr(v, "get_secret_value")]
    sandbox = Sandbox(flow.target)
    result = sandbox.run(flow.setting(case))
    disk = sandbox.disk
    places = {
        "the stored results": repr(list(disk.blobs.values())),
        "the records": repr((disk.traces, disk.lasts, disk.memos)),
        "the captured output": result.output,
        "the reasons": repr(result.reasons),
        "a traceback": "".join(a.traceback for r in result.reports.values() for a in r.attempts),
    }
    for secret in secrets:
        text = secret.decode() if isinstance(secret, bytes) else str(secret)
        for place, content in places.items():
            if len(text) >= 4 and text in content:
                raise Violation(f"a secret parameter can be read in {place}", result)
