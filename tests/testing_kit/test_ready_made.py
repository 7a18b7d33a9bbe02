"""Ready-made properties: hold for random flows with faults, find planted bugs, and tell how to replay them."""

import os
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from types import ModuleType

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from flowkit.errors import FlowError
from flowkit.testing import edits, flow, properties
from flowkit.testing.checks import Violation
from flowkit.testing.dags import dags
from flowkit.testing.faultplans import Fault, Plan
from flowkit.testing.schedulechecks import scheduled_flows
from flowkit.testing.sandbox import Case
from flowkit.testing.tokens import read_token

QUIET = settings(suppress_health_check=list(HealthCheck), deadline=None, database=None)
FEW = settings(QUIET, max_examples=50 if os.environ.get("FLOWKIT_SOAK") else 8, derandomize=True, phases=[Phase.generate])

PLANTED = {
    "deterministic": "import random\n@task\ndef a():\n    return random.random()",
    "order_independent": "seen = []\n@task\ndef a():\n    seen.append(1)\n    return 1\n@task\ndef b():\n    return len(seen)",
    "no_input_mutation": "@task\ndef a():\n    return [1]\n@task\ndef b(a):\n    a.append(2)\n    return len(a)",
    "cache_transparent": "calls = __import__('itertools').count()\n@task\ndef a(n: int = 0):\n    import sys\n    sys.modules.setdefault('_planted', []).append(1)\n    return len(sys.modules['_planted'])",
    "secrets_absent": "from pydantic import SecretStr\n@task\ndef a(key: SecretStr = SecretStr('abcdefghijkl')):\n    return 'key ' + key.get_secret_value()",
    "roundtrip": "class Odd:\n    def __init__(self, n): self.n = n\n    def __reduce__(self): return (Odd, (self.n + 1,))\n@task\ndef a():\n    return Odd(1)",
}


def planted(name):
    return flow("from flowkit import task\n" + PLANTED[name] + "\n")


@pytest.mark.parametrize("name", sorted(PLANTED))
def test_a_planted_bug_is_found(name):
    with pytest.raises(Violation) as caught:
        settings(QUIET, max_examples=30, phases=[Phase.generate])(properties.PROPERTIES[name](planted(name)))()
    assert str(caught.value).startswith(f"{name}: ")
    assert "--flowkit-replay" in str(caught.value)


def test_a_flow_of_the_name_of_a_module_that_the_test_imported_is_looked_at_as_any(monkeypatch):
    monkeypatch.setitem(sys.modules, "flow", ModuleType("flow"))
    test_a_planted_bug_is_found("roundtrip")
    subject = planted("roundtrip")
    assert "no content" not in subject.run(Case({})).digests.values()


@pytest.mark.parametrize("name", sorted(properties.PROPERTIES))
def test_it_holds_for_random_flows_with_faults(name):
    found = properties.PROPERTIES[name]

    @FEW
    @given(st.data())
    def holds(data):
        scheduled = name == "schedule_sane"
        subject = flow(data.draw(scheduled_flows()) if scheduled else data.draw(dags(failures=found.kinds == ())).source())
        cases = found.cases(subject) if found.cases else subject.cases(found.kinds, max_faults=found.most, min_faults=found.least)
        properties.checked(found, subject, data.draw(cases))

    holds()


def test_an_edit_that_makes_two_elements_equal_is_judged_by_what_became_of_them():
    subject = flow("""
from flowkit import Collected, task

@task
def days():
    return {"mon": 0, "tue": 1}

@task(each={"day": "days"})
def sold(day):
    return [3, 8, 5][day]

@task
def total(sold: Collected[int]):
    return sum(sold)
""")
    found = edits.all_of(subject.sandbox.file)
    assert any(edit.what.startswith("0 → 1 in days") for edit in found)  # Monday is then what Tuesday was
    for number in range(len(found)):
        properties.checked(properties.edit_precision, subject, Case({}, extra=number))


def test_an_edit_that_leaves_a_list_shorter_is_judged_likewise():
    subject = flow("""
from flowkit import Collected, task

@task
def numbers():
    return list(range(1, 4))

@task(each={"number": "numbers"})
def doubled(number):
    return number * 10

@task
def total(doubled: Collected[int]):
    return sum(doubled)
""")
    for number in range(len(edits.all_of(subject.sandbox.file))):
        properties.checked(properties.edit_precision, subject, Case({}, extra=number))


def test_results_that_are_paths_of_the_flows_folder_are_the_same_after_an_edit(tmp_path):
    (tmp_path / "a.csv").write_text("1")
    (tmp_path / "flow.py").write_text("""
from pathlib import Path
from flowkit import task

@task
def files():
    return [Path(__file__).parent / "a.csv"]

@task
def total(files):
    return len(files) + 1
""")
    subject = flow(tmp_path / "flow.py")
    for number in range(len(edits.all_of(subject.sandbox.file))):
        properties.checked(properties.edit_precision, subject, Case({}, extra=number))


def test_who_received_a_failure_may_be_called_again_by_a_resumed_run():
    subject = flow("""
from flowkit import Failure, task

@task
def store():
    raise OSError("no space left on device")

@task
def page(store: Failure):
    return "paged"
""")
    for at in range(1, 5):
        faults = Plan((Fault("crash", "*", at, at, "after_record"),))
        properties.checked(properties.resume_equals_clean, subject, Case({}, faults))


@pytest.mark.parametrize(
    ("annotation", "default", "low", "high"),
    [
        ("date", date(2013, 2, 4), date(2012, 10, 27), date(2013, 5, 15)),
        ("date", None, date(2023, 11, 21), date(2024, 6, 8)),
        ("date", date.max, date(9999, 9, 22), date.max),
        ("datetime", datetime(2013, 2, 4, tzinfo=UTC), datetime(2012, 10, 27, tzinfo=UTC), datetime(2013, 5, 15, tzinfo=UTC)),
        ("timedelta", timedelta(days=1), timedelta(days=-100), timedelta(days=100)),
    ],
)
def test_days_are_drawn_near_the_default_so_that_lists_of_days_stay_short(annotation, default, low, high):
    said = "" if default is None else f" = {default!r}".replace("datetime.", "").replace("timezone.utc", "UTC")
    subject = flow(f"from datetime import *\nfrom flowkit import task\n@task\ndef a(day: {annotation}{said}):\n    return day")
    found = []

    @settings(QUIET, max_examples=200)
    @given(subject.params())
    def draws(values):
        found.append(values.get("day", default))

    draws()
    assert low <= min(found) < max(found) <= high


def test_a_replay_fails_the_same_way_in_a_new_process(project):
    project.write("m.py", "from flowkit import task\n" + PLANTED["order_independent"])
    first = project.flowkit("test", "m.py", "--only", "order_independent", "--examples", "20")
    assert first.exit_code == 1, first.out + first.err
    line = next(line for line in first.out.splitlines() if line.startswith("replay: "))
    word = line.split()[-1]
    assert read_token(word)[0] == "order_independent"
    again = project.flowkit("test", "m.py", "--replay", word)
    assert again.exit_code == 1
    assert "first difference: `b`" in again.out
    fine = project.flowkit("test", "m.py", "--only", "roundtrip", "--examples", "3")
    assert fine.exit_code == 0, fine.out + fine.err


def test_a_task_with_effects_is_refused_without_a_stand_in():
    text = "from flowkit import task\n@task(effect=True)\ndef charge(n: int = 1):\n    return n\n"
    with pytest.raises(FlowError, match="effect=True"):
        settings(QUIET, max_examples=2)(properties.deterministic(flow(text)))()
    settings(QUIET, max_examples=2)(properties.deterministic(flow(text, override={"charge": 1})))()


def test_parameters_are_drawn_within_their_constraints():
    text = (
        "from typing import Annotated\nfrom pydantic import Field\nfrom flowkit import task\n@task\n"
        "def a(n: Annotated[int, Field(ge=3, le=5)], name: str = 'x', ok: bool = True):\n    return n\n"
    )

    @settings(QUIET, max_examples=30)
    @given(flow(text).params())
    def within(params):
        assert 3 <= params["n"] <= 5

    within()


def test_pytest_checks_a_flow_without_test_code(project):
    project.write("m.py", "from flowkit import task\n@task\ndef a(n: int = 1):\n    return n\n@task(effect=True)\ndef b(a):\n    return a\n")
    project.write(
        "conftest.py",
        "from hypothesis import settings\nsettings.register_profile('few', max_examples=4)\nsettings.load_profile('few')\n",
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--flowkit-check", "m.py", "-O", "b=1", "-p", "no:cacheprovider"],
        cwd=project.root, env=project.environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert f"{len(properties.PROPERTIES) - 1} passed, 1 skipped" in done.stdout, done.stdout + done.stderr  # no schedule


def test_tasks_are_fixtures_and_pytest_overrides_them(project):
    project.write("pytest.ini", "[pytest]\nflowkit_modules = shop.py\n")
    project.write(
        "shop.py",
        """
        from flowkit import Collected, task

        @task
        def raw(n: int = 2):
            "The list."
            return list(range(n))

        @task(each={"i": "raw"})
        def double(i): return i * 2

        @task
        def total(double: Collected[int]): return sum(double)
        """,
    )
    project.write(
        "test_shop.py",
        """
        import pytest

        def test_as_it_is(total):
            assert total == 2

        @pytest.mark.parametrize("raw", [[1, 2, 3]])
        def test_with_another_list(total):
            assert total == 12

        @pytest.mark.parametrize("n", [4])
        def test_with_another_parameter(total):
            assert total == 12

        class TestOwn:
            @pytest.fixture
            def raw(self): return [5]

            def test_total(self, total): assert total == 10
        """,
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", "2"],
        cwd=project.root, env=project.environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "4 passed" in done.stdout, done.stdout + done.stderr
