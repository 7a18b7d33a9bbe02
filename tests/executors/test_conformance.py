"""Every executor passes the suite that ``flowkit.testing.conformance`` gives to authors of executors."""

import pytest

from flowkit.testing.conformance import CASES, conforms


@pytest.mark.parametrize("slots", [1, 3])
@pytest.mark.parametrize("executor", ["inline", "threads", "simulated"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_it_conforms(case, executor, slots):
    conforms(case, executor, slots)
