"""The workloads as modules of distinct functions: for flowkit, for Hamilton, for pytest."""

from __future__ import annotations

from collections.abc import Iterator

from tests.benchmarks.workloads import DOUBLES_IN_MB, MODULUS, NAP, Step, steps

#: What the last task of a flow does with its value, so that every answer is checked.
_WRITE = '    pathlib.Path("answer").write_text(repr(value))'

#: The stopwatch is told when the module begins and when it is there: importing it is nobody's cost.
_BEGIN = "from tests.benchmarks import stopwatch\n"
_END = "\nstopwatch.module_loaded()"


def flow(workload: str, n: int, size: int = 0, *, timed: bool = True) -> str:
    """Return a flow of flowkit's.

    Args:
        workload: Its name.
        n: How many steps, layers or elements.
        size: Of an array, in MB.
        timed: Whether the module tells the stopwatch that it is loaded.
    """
    lines = ["import pathlib, time", "from flowkit import Collected, task", _BEGIN if timed else ""]
    if workload == "mapped":
        lines += _mapped(n)
    elif workload in ("big", "arrays"):
        lines += _arrays(workload, n, size)
    else:
        for step in steps(workload, n):
            lines.append(f"@task\ndef {step.name}({', '.join(step.needs)}):")
            lines += _body(step) if step.name != "answer" else [f"    value = {_expression(step)}", *_answer()]
    return "\n".join(lines) + (_END if timed else "") + "\n"


def _answer() -> list[str]:
    return [_WRITE, "    return value"]


def _mapped(n: int) -> Iterator[str]:
    yield f"@task\ndef items():\n    return list(range({n}))"
    yield '@task(each={"item": "items"})\ndef one(item):\n    return item'
    yield "@task\ndef answer(one: Collected):\n    value = sum(one)"
    yield from _answer()


def _arrays(workload: str, n: int, size: int) -> Iterator[str]:
    yield "import numpy"
    yield f'@task\ndef t0():\n    return numpy.arange({size * DOUBLES_IN_MB}, dtype="float64")'
    for i in range(1, n if workload == "arrays" else 1):
        yield f"@task\ndef t{i}(t{i - 1}):\n    return t{i - 1} + 1"
    last = f"t{n - 1}" if workload == "arrays" else "t0"
    yield f"@task\ndef answer({last}):\n    value = float({last}.mean())"
    yield from _answer()


def hamilton(workload: str, n: int, size: int = 0) -> str:
    """Return a module that Hamilton reads: every argument and result is annotated."""
    if workload == "big":
        return (
            "import numpy\n"
            f'def t0() -> numpy.ndarray:\n    return numpy.arange({size * DOUBLES_IN_MB}, dtype="float64")\n'
            "def answer(t0: numpy.ndarray) -> float:\n    return float(t0.mean())\n"
        )
    lines = ["import time"]
    for step in steps(workload, n):
        taken = ", ".join(f"{name}: int" for name in step.needs)
        lines += [f"def {step.name}({taken}) -> int:", *_body(step)]
    return "\n".join(lines) + "\n"


def pytest(workload: str, n: int, answer: float) -> str:
    """Return a test module: every step is a fixture, and one test asks for the last of them."""
    lines = ["import time", "import pytest"]
    for step in steps(workload, n):
        lines += [f"@pytest.fixture\ndef {step.name}({', '.join(step.needs)}):", *_body(step)]
    return "\n".join([*lines, f"def test_answer(answer):\n    assert answer == {answer}"]) + "\n"


def _expression(step: Step) -> str:
    if step.kind == "number":
        return str(step.number)
    if step.kind == "next":
        return f"{step.needs[0]} + 1"
    if step.kind == "nap":
        return "1"
    values = f"sum(({', '.join(step.needs)},))"
    return f"{values} % {MODULUS}" if step.kind == "mix" else values


def _body(step: Step) -> list[str]:
    before = [f"    time.sleep({NAP})"] if step.kind == "nap" else []
    return [*before, f"    return {_expression(step)}"]
