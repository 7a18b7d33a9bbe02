"""Resources under test: set up once where that is said, and torn down whatever happens."""

from flowkit.testing import flow, properties

test_teardown = properties.teardown_always(flow("flow.py"))


def test_each_scope_is_set_up_as_often_as_it_says(flowrun):
    r = flowrun("flow.py")
    assert r["sum_of_sales"] == 23
    ups = [name for what, name, _, _ in r.resources if what == "up"]
    assert ups == ["database", "connection", *["transaction"] * 4]


def test_what_a_failed_attempt_wrote_is_rolled_back(flowrun, faults):
    r = flowrun("flow.py", faults=faults.fail("saved[1]"))
    assert r.states["sum_of_sales"] == "upstream"
    assert [what for what, *_ in r.resources][-2:] == ["down", "down"]
