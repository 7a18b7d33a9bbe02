"""The kit's own properties over random flows: ``python -m tests.mutations.kit NAME`` ends with 9 if it does not hold."""

import sys

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from flowkit.testing import properties
from flowkit.testing.checks import Violation
from flowkit.testing.dags import dags
from flowkit.testing.faultplans import Fault, Plan
from flowkit.testing.sandbox import Case
from flowkit.testing.schedulechecks import scheduled_flows
from flowkit.testing.subject import flow

#: How many cases of each property are the kit's default budget.
BUDGET = 100
#: The exit code where a property does not hold; an import that fails is something else.
FOUND = 9


def settled(found):
    """Values as they are compared: a mapped task none of whose elements has one is as an empty one."""
    return {n: [] if isinstance(v, list) and all(x is None for x in v) else v for n, v in found.items()}


def values(dag, result):
    """Task → value, as the run gave it; for a mapped task a list, None for an element without one."""
    found = {}
    for knot in dag.knots:
        if knot.kind in ("map", "follow"):
            elements = [(r.unit.coords, n, r) for n, r in result.reports.items() if n.startswith(f"{knot.name}[")]
            found[knot.name] = [result[n] if r.unit.succeeded else None for _, n, r in sorted(elements) if r.word != "skipped"]
        else:
            report = result.reports.get(knot.name)
            found[knot.name] = result[knot.name] if report is not None and report.unit.succeeded else None
    return settled(found)


def expected(dag, n=2, broken=()):
    """The same, as the reference interpreter has it."""
    mapped = {k.name for k in dag.knots if k.kind in ("map", "follow")}
    return settled({k: list((v or {}).values()) if k in mapped else v for k, v in dag.reference(n, broken).items()})


@st.composite
def broken_runs(draw):
    """A random flow, parameters, and tasks that always fail."""
    dag = draw(dags(failures=True, uncached=True))
    names = [k.name for k in dag.knots if k.kind != "list"]
    mapped = [k.name for k in dag.knots if k.kind == "map"]
    broken = draw(st.lists(st.sampled_from(names), max_size=1)) if names else []
    if mapped and draw(st.booleans()):
        broken.append(draw(st.sampled_from(mapped)))
    plan = Plan(tuple(Fault("fail", name, 1, None, "ValueError") for name in broken))
    case = Case({"n": draw(st.integers(0, 20))}, plan, draw(flow(dag.source()).schedules()), draw(st.sampled_from((4, 1, 2))))
    return dag, broken, case


def equal(what, dag, got, wanted, result):
    """Fail with the first task that differs."""
    for name, value in wanted.items():
        if got[name] != value:
            raise Violation(f"{what}: `{name}` is {got[name]}, and the reference says {value}\n{dag.source()}", result)


@given(broken_runs())
def reference(drawn):
    """A run gives what the reference interpreter gives; so does the next one, without the failures."""
    dag, broken, case = drawn
    subject = flow(dag.source())
    n = case.params["n"] if "n: int" in dag.source() else 2
    params = case.params if "n: int" in dag.source() else {}
    case = Case(params, case.faults, case.schedule, case.workers)
    result = subject.run(case)
    equal("with failures", dag, values(dag, result), expected(dag, n, broken), result)
    mended = result.rerun()
    equal("mended", dag, values(dag, mended), expected(dag, n), mended)


@given(dags(failures=True), st.data())
def changed(dag, data):
    """After any change of a constant, and back, a run with reuse gives what the reference gives."""
    from flowkit.testing.sandbox import Sandbox

    sandbox = Sandbox(dag.source())
    first = sandbox.run()
    equal("at first", dag, values(dag, first), expected(dag), first)
    for other in (dag.changed(data.draw(st.integers(0, len(dag.knots) - 1)), by=data.draw(st.integers(10, 20))), dag, data.draw(st.sampled_from((2, 3, 5)))):
        other = dag if isinstance(other, int) and other == dag.factor else other
        if isinstance(other, int):
            from dataclasses import replace

            other = replace(dag, factor=other)
        sandbox.replace("flow.py", other.source())
        result = first.rerun()
        equal("after an edit", other, values(other, result), expected(other), result)


def over_dags(found, **options):
    """A ready-made property over random flows."""

    @given(st.data())
    def test(data):
        subject = flow(data.draw(dags(**options)).source())
        cases = found.cases(subject) if found.cases else subject.cases(found.kinds, max_faults=found.most, min_faults=found.least)
        properties.checked(found, subject, data.draw(cases))

    test.__name__ = f"test_{found.name}"
    return test


@given(st.data())
def scheduled(data):
    """``schedule_sane`` over random schedules, three cases of each: a user's flow gets all of the budget."""
    subject = flow(data.draw(scheduled_flows()))
    for _ in range(3):
        properties.checked(properties.schedule_sane, subject, data.draw(properties.schedule_sane.cases(subject)))


TESTS = {"reference": reference, "changed": changed}
TESTS |= {
    name: over_dags(
        found,
        failures=name not in ("resume_equals_clean", "cache_transparent", "single_flight"),
        uncached=name == "cache_transparent",
        max_tasks=2 if name == "retry_bounds" else 10,
    )
    for name, found in properties.PROPERTIES.items()
}
TESTS["schedule_sane"] = scheduled
#: The same with tasks that are never reused: what is kept of them is for --resume alone.
TESTS["resumed"] = over_dags(properties.PROPERTIES["resume_equals_clean"], uncached=True)


def main(name):
    profile = settings(
        max_examples=BUDGET, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )
    try:
        profile(TESTS[name])()
    except (ImportError, NameError):  # it is no bug of the kind that is looked for, but a bad mutation
        raise
    except Exception as error:  # a mutant may break anything
        print(f"{type(error).__name__}: {str(error)[:600]}")
        return FOUND
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
