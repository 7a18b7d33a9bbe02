"""Tasks as pytest fixtures: of all tests, or of one module's; names that are taken; pytest's own overriding."""

import subprocess
import sys

import pytest

SHOP = """
    from __future__ import annotations

    from flowkit import Collected, task

    @task
    def raw(n: int = 2) -> list[int]:
        "The list."
        return list(range(n))

    @task(each={"i": "raw"})
    def double(i: int) -> int: return i * 2

    @task
    def total(double: Collected[int]) -> int: return sum(double)
"""


@pytest.fixture
def shop(project):
    project.write("shop.py", SHOP)
    return project


def pytest_of(project, *words):
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *words],
        cwd=project.root, env=project.environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.stdout + done.stderr


def test_those_of_a_module_are_its_own_and_overridden_by_pytest(shop):
    shop.write(
        "tests/test_shop.py",
        """
        from __future__ import annotations

        import pytest
        from flowkit.testing import flow

        pytestmark = [flow("../shop.py"), pytest.mark.filterwarnings("error")]

        def test_as_it_is(total): assert total == 2

        @pytest.mark.parametrize("raw", [[1, 2, 3]])
        def test_with_another_list(total): assert total == 12

        @pytest.mark.parametrize("n", [4])
        def test_with_another_parameter(total): assert total == 12

        class TestOwn:
            @pytest.fixture
            def raw(self, raw): return [*raw, 5]

            def test_total(self, total): assert total == 12
        """,
    )
    shop.write("tests/test_other.py", "def test_none(total): pass\n")
    said = pytest_of(shop, "tests", "--strict-markers")
    assert "4 passed, 1 error" in said, said
    assert "fixture 'total' not found" in said


def test_a_stand_in_and_a_parameter_of_the_flow_are_the_fixtures(shop):
    shop.write(
        "test_shop.py",
        """
        from flowkit.testing import flow, properties

        pytestmark = flow("shop.py", params={"n": 3}, prefix="shop_")
        test_order = properties.order_independent(pytestmark)

        def test_total(shop_total): assert shop_total == 6
        """,
    )
    shop.write(
        "test_given.py",
        """
        from flowkit.testing import flow

        pytestmark = flow("shop.py", override={"raw": [7]})

        def test_total(total): assert total == 14
        """,
    )
    said = pytest_of(shop)
    assert "3 passed" in said, said


@pytest.mark.parametrize("where", ["plugin", "conftest", "of all"])
def test_a_name_that_is_taken_is_an_error_unless_there_is_a_prefix(shop, where):
    mark = "from flowkit.testing import flow\npytestmark = flow('shop.py'{})\ndef test_it({}total): pass\n"
    if where == "plugin":
        shop.write("shop.py", SHOP + "\n    @task\n    def capsys(): return 1\n")
        name = "capsys"
    elif where == "conftest":
        shop.write("conftest.py", "import pytest\n@pytest.fixture\ndef raw(): return []\n")
        name = "raw"
    else:
        name = "raw"
        shop.write("pytest.ini", "[pytest]\nflowkit_modules = shop.py\n")
        shop.write("other.py", SHOP)
        mark = mark.replace("shop.py", "other.py")
    shop.write("test_it.py", mark.format("", ""))
    said = pytest_of(shop)
    assert f"there is a fixture '{name}' already" in said, said
    assert "prefix" in said
    shop.write("test_it.py", mark.format(", prefix='my_'", "my_"))
    assert "1 passed" in pytest_of(shop)


def test_docstrings_are_listed_with_the_fixtures(shop):
    shop.write("pytest.ini", "[pytest]\nflowkit_modules = shop.py\n")
    said = pytest_of(shop, "--fixtures")
    assert "fixtures defined from shop.py" in said
    assert "The list." in said


def test_a_module_that_cannot_be_imported_is_told_as_ever(shop):
    shop.write("test_it.py", "from flowkit.testing import flow\npytestmark = flow('shop.py')\n1 / 0\n")
    said = pytest_of(shop)
    assert "ZeroDivisionError" in said
    assert "1 error" in said


def test_a_flow_that_is_wrong_is_told_with_its_errors(shop):
    shop.write("shop.py", "from flowkit import task\n@task\ndef a(*b): pass\n")
    shop.write("test_it.py", "from flowkit.testing import flow\npytestmark = flow('shop.py')\ndef test_a(a): pass\n")
    said = pytest_of(shop)
    assert "flow('" in said
    assert "shop.py'): its tasks cannot be fixtures" in said
    assert "INTERNALERROR" not in said
