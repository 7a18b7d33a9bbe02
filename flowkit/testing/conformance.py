"""What every executor has to do, as one suite: for authors of executors.

    from flowkit.testing.conformance import CASES, conforms

    @pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
    def test_my_executor(case):
        conforms(case, "mine")            # a name that a plugin answers to, or a function of the slots

Each case is a flow and what must come of it, however many slots there are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from flowkit.testing.sandbox import Case, Sandbox, Setting

if TYPE_CHECKING:
    from flowkit.executors import Executor
    from flowkit.testing.results import RunResult

Run = Callable[..., "RunResult"]

HEAD = "import time\nfrom flowkit import Collected, Failure, fail, resource, skip, task\n\n"


def conforms(case: Callable[[Run], None], executor: str | Callable[[int], Executor], slots: int = 3) -> None:
    """Check one case on an executor.

    Raises:
        AssertionError: It does not hold.
    """

    def run(source: str, **flags: Any) -> RunResult:
        setting = Setting(Case(workers=slots), executor=executor, flags=flags, patch_sleep=executor == "simulated")
        return Sandbox(HEAD + source).run(setting)

    case(run)


def values_flow(run: Run) -> None:
    """Values go from task to task."""
    r = run("@task\ndef a(): return 1\n@task\ndef b(a): return a + 1\n@task\ndef c(a, b): return [a, b]\n")
    assert r["c"] == [1, 2]
    assert r.exit_code == 0


def elements_keep_their_order(run: Run) -> None:
    """A map of many, gathered, is in source order."""
    r = run("@task\ndef xs(): return list(range(50))\n@task(each={'x': 'xs'})\ndef y(x): return x * x\n@task\ndef s(y: Collected[int]): return list(y)\n")
    assert r["s"] == [x * x for x in range(50)]


def a_failure_stays_where_it_is(run: Run) -> None:
    """One branch fails; the other does not notice."""
    r = run("@task\ndef a(): raise ValueError('no')\n@task\ndef b(a): return 1\n@task\ndef c(): return 2\n")
    assert r.states == {"a": "failed", "b": "upstream", "c": "ran"}
    assert isinstance(r.errors["a"], ValueError)
    assert r.exit_code == 1


def a_failed_call_is_tried_again(run: Run) -> None:
    """Retries are attempts of their own."""
    r = run("tries = []\n@task(retries=2, cache=False)\ndef a():\n    tries.append(1)\n    if len(tries) < 3: raise OSError\n    return len(tries)\n")
    assert r.attempts["a"] == 3
    assert r["a"] == 3


def skips_and_handlers(run: Run) -> None:
    """``skip()``, ``fail()`` and handlers of failures."""
    r = run("@task\ndef a(): skip('why')\n@task\ndef b(): fail('so')\n@task\ndef c(b: Failure): return str(b.error)\n")
    assert r.states == {"a": "skipped", "b": "failed", "c": "ran"}
    assert r["c"] == "so"


def resources_are_torn_down(run: Run) -> None:
    """Last in, first out, after a failure, too."""
    r = run(
        "@resource\ndef one():\n    yield 1\n@resource(scope='task')\ndef two(one):\n    yield one + 1\n"
        "@task\ndef a(two): return two\n@task\ndef b(two, a): raise ValueError\n"
    )
    assert r["a"] == 2
    assert [(e[0], e[1]) for e in r.resources] == [
        ("up", "one"), ("up", "two"), ("down", "two"), ("up", "two"), ("down", "two"), ("down", "one"),
    ]  # fmt: skip


def a_late_call_is_no_success(run: Run) -> None:
    """A timeout ends an attempt that sleeps."""
    r = run("@task(timeout=0.2)\ndef a():\n    for _ in range(200): time.sleep(0.01)\n@task\ndef b(): return 1\n")
    assert r.states == {"a": "timeout", "b": "ran"}


def coroutines_are_awaited(run: Run) -> None:
    """An ``async`` task gives what it returns."""
    assert run("@task\nasync def a(): return 3\n@task\ndef b(a): return a\n")["b"] == 3


def what_is_known_is_not_called(run: Run) -> None:
    """A second run calls nothing."""
    r = run("@task\ndef a(): return [1]\n@task\ndef b(a): return a\n")
    again = r.rerun()
    assert again.ran == set()
    assert again["b"] == [1]


CASES = (
    values_flow,
    elements_keep_their_order,
    a_failure_stays_where_it_is,
    a_failed_call_is_tried_again,
    skips_and_handlers,
    resources_are_torn_down,
    a_late_call_is_no_success,
    coroutines_are_awaited,
    what_is_known_is_not_called,
)
