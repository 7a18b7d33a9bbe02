"""A plugin under test: its option, its resource, and its errors, through runs of a flow that uses it."""

import pytest

from flowkit import FlowError
from flowkit.testing import flow

pytestmark = flow("flow.py")


def test_the_plugins_resource_is_a_fixture_like_any_other(duty_note):
    assert duty_note == "On duty: ana, ext. 21"


def test_nothing_left_to_sell_is_a_failure_without_a_traceback(flowrun):
    r = flowrun("flow.py", "sold", params={"stock": 0})
    assert r.failed == {"sold"}
    assert str(r.errors["sold"]) == "nothing left to sell"


def test_an_unknown_owner_is_refused_before_anything_runs(flowrun):
    r = flowrun("flow.py").edit("flow.py", '@task(owner="ben")', '@task(owner="zoe")')
    with pytest.raises(FlowError, match="nobody is called 'zoe'"):
        r.rerun()
